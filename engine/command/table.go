package command

import (
	"slices"
	"sort"
	"strings"

	"godwit/engine/key"
)

// Table finds commands by name. It does not change after NewTable and is safe for concurrent use.
type Table struct {
	byName map[string]*Spec
	subs   map[string]*Spec // by full name
	all    []*Spec          // containers and plain commands, sorted by name
}

// NewTable returns the table of all commands. Tests may add some of their own.
func NewTable(more ...*Spec) *Table {
	t := &Table{byName: map[string]*Spec{}, subs: map[string]*Spec{}}
	for _, group := range [][]*Spec{stringSpecs(), bitmapSpecs(), hashSpecs(), listSpecs(), setSpecs(), sortedSetSpecs(), keySpecs(), dumpSpecs(), sortSpecs(), objectSpecs(), serverSpecs(), transactionSpecs(), observationSpecs(), godwitSpecs(), migrateSpecs(), more} {
		t.all = append(t.all, group...)
	}
	for i, s := range t.all {
		if len(s.Sub) > 0 {
			container := *s // the caller's stays as it is
			container.Sub = append(slices.Clip(s.Sub), helpSpec(s))
			t.all[i] = &container
		}
	}
	sort.Slice(t.all, func(i, j int) bool { return t.all[i].Name < t.all[j].Name })
	for _, s := range t.all {
		t.byName[s.Name] = s
		for _, sub := range s.Sub {
			t.subs[sub.Name] = sub
		}
	}
	return t
}

// All lists containers and plain commands by name. The caller must not change it.
func (t *Table) All() []*Spec { return t.all }

// maxName bounds the names that are looked up: longer ones are not in the table.
const maxName = 64

// Lookup finds a container or plain command by its name in any case (ASCII), nil if there is none. It does not allocate.
func (t *Table) Lookup(name []byte) *Spec {
	var buf [maxName]byte
	n := lower(buf[:0], name)
	if n == nil {
		return nil
	}
	return t.byName[string(n)]
}

// LookupSub finds a subcommand of a container, nil if there is none. It does not allocate.
func (t *Table) LookupSub(container *Spec, sub []byte) *Spec {
	var buf [2 * maxName]byte
	n := append(append(buf[:0], container.Name...), '|')
	if n = lower(n, sub); n == nil {
		return nil
	}
	return t.subs[string(n)]
}

// lower appends name in lower case, or returns nil if name is too long for a command.
func lower(dst, name []byte) []byte {
	if len(name) >= maxName {
		return nil
	}
	return appendLower(dst, name)
}

// appendLower appends b with its ASCII letters in lower case.
func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// lookupFull finds a command or subcommand by its full name, as COMMAND INFO takes it: "get", "client|id".
func (t *Table) lookupFull(name []byte) *Spec {
	container, sub, found := strings.Cut(strings.ToLower(string(name)), "|")
	if !found {
		return t.byName[container]
	}
	return t.subs[container+"|"+sub]
}

// maxRequestBytes bounds the arguments of one request together, so that no batch outgrows what the store can take (4 GiB).
const maxRequestBytes = 1 << 30

// Check finds the command of a request, for a container that of its subcommand, and reports what is wrong with the request
// as an error to be sent, or "". It knows unknown commands, wrong arity, and keys and requests that are too long. args is
// not empty. It does not allocate unless there is an error.
func (t *Table) Check(args [][]byte) (s *Spec, problem string) {
	if s = t.Lookup(args[0]); s == nil {
		return nil, errUnknown(args)
	}
	if len(s.Sub) > 0 && len(args) > 1 {
		sub := t.LookupSub(s, args[1])
		if sub == nil {
			return nil, errUnknownSub(args[0], args[1])
		}
		s = sub
	}
	if s.Arity > 0 && len(args) != s.Arity || len(args) < -s.Arity {
		return nil, errArity(s.Name)
	}
	total := 0
	for _, a := range args {
		total += len(a)
	}
	if total > maxRequestBytes {
		return nil, errRequestTooBig
	}
	if total > key.MaxUserKey && s.hasLongKey(args) {
		return nil, errKeyTooLong
	}
	return s, ""
}

// hasLongKey reports whether a key of a request is too long.
func (s *Spec) hasLongKey(args [][]byte) bool {
	if s.Keys != nil {
		for _, i := range s.Keys(args, nil) {
			if len(args[i]) > key.MaxUserKey {
				return true
			}
		}
		return false
	}
	if s.FirstKey > 0 {
		for i := s.FirstKey; i <= s.lastKey(args); i += s.Step {
			if len(args[i]) > key.MaxUserKey {
				return true
			}
		}
	}
	if s.Optional != nil && len(args[s.Optional(args)]) > key.MaxUserKey { // if it is not given, the name stands for it
		return true
	}
	if s.Count > 0 {
		n, _ := keyCount(args, s.Count)
		for _, k := range args[s.Count+1:][:n] {
			if len(k) > key.MaxUserKey {
				return true
			}
		}
	}
	return false
}
