// Package command is the table of commands: name, arity, flags, key positions, documentation, handler.
//
// Vocabulary. A *data command* has a handler, which reads and writes keys through a data.Tx and appends one reply. A *server
// command* (flag Server) has none: the node carries it out, since it needs sessions, topology or configuration. A
// *container* is a command with subcommands, whose names are "container|sub" as in Redis.
//
// Invariants.
//  1. A handler appends exactly one reply, whatever its arguments, and never panics for them. One of a blocking command may
//     append none if Context.InLine or Context.Block said that it waits.
//  2. A handler writes only if its command has the flag Write; it has no state, and needs nothing but its Context.
//  3. A handler that replies with an error has written nothing but the deletion of expired keys.
//  4. Every error that a handler or Check gives is one of errors.go.
//
// Contract. The engine calls Table.Check for each request, which settles unknown commands, arity and limits; asks KeyPositions
// for the slots; begins a data.Tx in the mode that Spec.Mode names; runs the handler; and judges the transaction as the
// package data says. A handler may run twice for one request (data.Tx.NeedsWrite): the engine truncates the first reply.
//
// Replies and texts are those of Redis 7.0; a test compares them with a real server.
package command

import (
	"errors"

	"godwit/engine/data"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// Flag is a property of a command; flags are combined by or.
type Flag uint32

// The flags. Those that Redis knows have its meaning and are shown by COMMAND INFO.
const (
	Write      Flag = 1 << iota // may write keys
	ReadOnly                    // reads keys and writes none
	Fast                        // takes constant or logarithmic time
	Admin                       // for operators
	NoAuth                      // allowed before authentication
	DenyOOM                     // may make the data larger
	Loading                     // allowed while the node starts
	Stale                       // allowed while the node cannot serve data
	Blocking                    // may wait for a key to change
	Pubsub                      // belongs to publish and subscribe
	NoScript                    // not allowed in scripts
	Movable                     // key positions need KeyPositions; first, last and step do not suffice
	NodeWide                    // looks at or changes all slots that are visible, and names no keys
	Indexed                     // with several keys, may load a key that it has written: needs data.WriteIndexed
	Server                      // carried out by the node; Handler is nil
	Random                      // its reply depends on Context.Rand
	Dangerous                   // may hurt other users of the node: an ACL category
	Connection                  // an ACL category, for commands of other groups than "connection"
	Apart                       // the first key plays another part than those after it: COMMAND INFO describes it by itself
	Alone                       // not allowed in a transaction
	Asking                      // implies ASKING, which changes nothing here
)

// Context is what a handler works with. It is valid during the call only.
type Context struct {
	// Args is the request, the command's name (and subcommand's) first. Slices must not be kept or changed.
	Args [][]byte
	// Out takes the reply.
	Out *resp.Writer
	// Tx is the transaction, in the mode of the command.
	Tx *data.Tx
	// Rand gives random bits to commands with the flag Random.
	Rand func() uint64
	// Waiter lets a command with the flag Blocking wait; nil if it may not.
	Waiter Waiter
	// Cluster says that the node is one of a cluster: only keys that the request names may be looked up.
	Cluster bool
	// Slot is the slot of a key; nil means slot.OfKey.
	Slot func(key []byte) slot.Slot

	lowReplyLimit int // in tests, what stands for maxReplyBytes
}

// Handler carries out a data command.
type Handler func(*Context)

// Spec describes a command.
type Spec struct {
	// Name is in lower case; that of a subcommand is "container|sub".
	Name string
	// Arity is the number of arguments with the name; a negative one is a minimum.
	Arity int
	Flags Flag
	// FirstKey, LastKey and Step are the positions of keys in the request; a negative last counts from the end. FirstKey 0
	// means no keys.
	FirstKey, LastKey, Step int
	// Optional, if not nil, finds the position of a key that an option names, 0 if it is not given.
	Optional func(args [][]byte) int
	// Reaches, if not nil, reports whether a request looks up keys that it does not name. A node that stands alone must lock all slots
	// for it; in a cluster its handler answers an error.
	Reaches func(args [][]byte) bool
	// Member is the position of the first argument that names a member, or field, of the collection under the first key; 0 if none does, or its
	// position is not fixed. It is a hint.
	Member int
	// Group, Summary, Since and Complexity are what COMMAND DOCS shows.
	Group, Summary, Since, Complexity string
	// Differs says in a few words how the command differs from that of Redis 7.2, beyond what README.md says of all; empty if it
	// does not.
	Differs string
	// Handler is nil if and only if Flags has Server.
	Handler Handler
	// Sub lists the subcommands of a container. NewTable adds HELP.
	Sub []*Spec
	// Count is the position of the argument that says how many keys follow it, 0 if there is none. A key at FirstKey comes
	// before it. If the count is wrong, the handler must find that out, and answer an error, before it looks at any key.
	Count int
	// Keys, if not nil, appends the positions of the keys where neither positions nor a count say them; FirstKey, LastKey and Step are then for
	// COMMAND INFO only, as is Keyword, the word behind which more keys stand.
	Keys    func(args [][]byte, dst []int) []int
	Keyword string
}

// Is reports whether the command has all the given flags.
func (s *Spec) Is(f Flag) bool { return s.Flags&f == f }

// Mode is the mode of the transaction in which a request of this command is to run.
func (s *Spec) Mode(args [][]byte) data.Mode {
	switch {
	case !s.Is(Write):
		return data.Read
	case s.Is(Indexed) && len(args) > 2: // with one key nothing can be named twice
		return data.WriteIndexed
	default:
		return data.Write
	}
}

// ErrNoKeys says that a request's keys cannot be found because its arguments are wrong.
var ErrNoKeys = errors.New("command: invalid arguments, key positions unknown")

// KeyPositions appends the positions in args of the keys of a request that has passed Check. With ErrNoKeys the request has no
// keys that could be locked: its handler answers an error.
func (s *Spec) KeyPositions(args [][]byte, dst []int) ([]int, error) {
	if s.Keys != nil {
		return s.Keys(args, dst), nil
	}
	first, last, step := s.FirstKey, 0, s.Step
	if first != 0 {
		last = s.lastKey(args)
		if first > last {
			return dst, ErrNoKeys
		}
	}
	if s.Count != 0 {
		n, ok := keyCount(args, s.Count)
		if !ok {
			return dst, ErrNoKeys
		}
		if first != 0 {
			dst = append(dst, first)
		}
		first, last, step = s.Count+1, s.Count+n, 1
	}
	if first == 0 {
		return dst, nil
	}
	for i := first; i <= last; i += step {
		dst = append(dst, i)
	}
	if s.Optional != nil {
		if i := s.Optional(args); i > 0 {
			dst = append(dst, i)
		}
	}
	return dst, nil
}

// keyCount reads the number of keys that stand behind position at, which must be positive and no more than arguments do.
func keyCount(args [][]byte, at int) (n int, ok bool) {
	if at >= len(args) {
		return 0, false
	}
	count, ok := parseInt(args[at])
	if !ok || count < 1 || count > int64(len(args)-at-1) {
		return 0, false
	}
	return int(count), true
}

func (s *Spec) lastKey(args [][]byte) int {
	if s.LastKey < 0 {
		return len(args) + s.LastKey
	}
	return min(s.LastKey, len(args)-1)
}
