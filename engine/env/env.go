// Package env declares the seams through which the node and the migrator reach the world, so that one program runs
// in production and in the deterministic simulator.
//
// Vocabulary. A *clock* tells wall time (for expiry only; it may jump) and monotonic time (for everything else). A
// *peer* is another node, a *lane* one of the connections to it. *Workers* run steps of long work off the caller's
// stack. The disk is not declared here: it is Pebble's vfs.FS.
//
// Invariants.
//  1. No callback given to a method of this package runs before that method has returned, so a caller may hold locks.
//  2. Callbacks of a node that has crashed or closed never run.
//  3. In the simulator every callback is an event on one goroutine; in production callbacks run concurrently.
package env

import (
	"errors"
	"fmt"
	"time"
)

// Clock tells time and sets timers. It is safe for concurrent use.
type Clock interface {
	// WallMs is the wall clock in milliseconds since the Unix epoch. It may jump in both directions and differs
	// between nodes; expiry alone may depend on it.
	WallMs() int64
	// Mono is the time since an arbitrary start. It never goes back.
	Mono() time.Duration
	// AfterFunc runs fn once, no earlier than d from now, unless the timer is stopped first.
	AfterFunc(d time.Duration, fn func()) Timer
}

// Timer is a pending call of AfterFunc.
type Timer interface {
	// Stop prevents the call and reports whether it did; false means that the call has started or was stopped before.
	Stop() bool
}

// Rand is a source of seeded randomness. It is safe for concurrent use.
type Rand interface {
	Uint64() uint64
}

// Workers runs steps of long work. Submit never blocks and never runs fn on the caller's stack. Steps submitted by one
// caller may run concurrently and in any order in production; each is bounded in size by whoever submits it.
type Workers interface {
	Submit(fn func())
}

// Syncer schedules the store's sync rounds: run is called once, soon, off the caller's stack. In production on the
// syncer goroutine, in the simulator as an event that a crash can forestall.
type Syncer interface {
	Schedule(run func())
}

// Lane selects the connection that a call to a peer travels on, so that control messages never queue behind data.
type Lane uint8

// The lanes.
const (
	// Control carries short messages: starts, pauses, decisions, announcements, questions.
	Control Lane = iota
	// Bulk carries records.
	Bulk
	// Blocks and MoreBlocks carry blocks of tables, whose order does not matter.
	Blocks
	MoreBlocks
	// Probe carries questions that a node answers without its disk, so that no answer that waits for the disk is before theirs.
	Probe
)

var laneNames = [...]string{"control", "bulk", "blocks", "more blocks", "probe"}

func (l Lane) String() string { return laneNames[min(int(l), len(laneNames)-1)] }

// Peer names a node to call: the id that must answer there, and the address at which to look for it.
type Peer struct {
	ID   string // 40 bytes
	Addr string // host:port
}

// Peers calls other nodes. It is safe for concurrent use.
type Peers interface {
	// Call sends a command to a peer and later runs done exactly once with the bulk string that it answered. Calls on
	// one lane to one peer are executed in the order given when the link does not break; the timeout counts from when the
	// call was given, or from when the lane last brought an answer if that is later; nothing is promised across a
	// break, and a call whose done got ErrLink or ErrTimeout may still have been executed, or may yet be, once or
	// twice. An error reply of the peer is a *RemoteError. args are copied before Call returns.
	Call(to Peer, lane Lane, args [][]byte, timeout time.Duration, done func(reply []byte, err error))
}

// Servers runs commands on servers that are no peers. It is safe for concurrent use.
type Servers interface {
	// Do opens a connection to addr, host:port, sends the commands, and later runs done exactly once with their replies as they
	// came, in the order of the commands; if not all came, with those that did and why there are no more. timeout bounds the
	// wait for the connection and each wait for the other side to take bytes or to send some. After ErrConnect nothing was sent;
	// after another error any of the commands may have been executed, or may yet be. The commands must not be changed until done runs.
	Do(addr string, commands [][][]byte, timeout time.Duration, done func(replies [][]byte, err error))
	// Open returns a connection to addr that lasts. It is made by the first ServerConn.Do.
	Open(addr string) ServerConn
}

// ServerConn is a connection to a server that is no peer, for servers to which it matters what is said on one connection. Once it has
// broken it stays so. It is safe for concurrent use.
type ServerConn interface {
	// Do is Servers.Do on this connection: what is given first is sent and answered first. A reply may have limit bytes. After an error
	// the connection is broken.
	Do(commands [][][]byte, limit int, timeout time.Duration, done func(replies [][]byte, err error))
	// Close breaks the connection; what is under way ends with an error. It may be called again.
	Close()
}

// ErrConnect says that Servers could not reach a server.
var ErrConnect = errors.New("the server could not be reached")

// Errors that Peers.Call reports for itself.
var (
	// ErrLink says that the link could not be made, failed its handshake, or broke; the outcome is unknown.
	ErrLink = errors.New("peer link failed")
	// ErrNotPeer is an ErrLink: what answers there has refused the handshake, so it has executed nothing. It is no node, or does not let
	// this one in; a node that has told its own name, as another than the one that was called, is an ErrLink only.
	ErrNotPeer = fmt.Errorf("%w: no peer", ErrLink)
	// ErrTimeout says that no answer came in time; the outcome is unknown.
	ErrTimeout = errors.New("peer call timed out")
)

// WrongNode begins the error reply to a handshake that was meant for another node than the one that answers.
const WrongNode = "WRONGNODE"

// RemoteError is an error reply of a peer: the call was received and refused.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return "peer answered: " + e.Text }

// Handshake is what a Peers implementation runs on every new connection before it carries calls: it sends Hello as its
// first command and gives the bulk reply to CheckHello; an error closes the connection. The node implements it.
type Handshake interface {
	Hello(to Peer) [][]byte
	CheckHello(to Peer, reply []byte) error
}
