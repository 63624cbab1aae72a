package engine

import (
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine/command"
)

// slowLog holds the latest commands that took long: running, with waiting for locks, but without waiting for a slot, for a
// key or for the disk.
type slowLog struct {
	// slowerThanUs is from how many microseconds on a command is noted; negative notes none. maxLen bounds the entries.
	slowerThanUs, maxLen atomic.Int64

	mu      sync.Mutex
	next    int64
	entries []slowEntry // oldest first
}

type slowEntry struct {
	id           int64
	unix, micros int64
	args         []string
	remote, name string
}

// Bounds of what an entry keeps of its command, as in Redis.
const (
	slowLogArgs  = 32
	slowLogBytes = 128 // of an argument
	// slowLogLimit is the greatest slowlog-max-len: at 32 arguments of 128 bytes, 4 GiB.
	slowLogLimit = 1 << 20
)

func (l *slowLog) init() {
	l.slowerThanUs.Store(10_000)
	l.maxLen.Store(128)
}

// noteAt adds a command that began at a time, if it took long, and returns the time now.
func (l *slowLog) noteAt(s *Session, spec *command.Spec, args [][]byte, began time.Duration) time.Duration {
	now := s.n.opts.Clock.Mono()
	if least := l.slowerThanUs.Load(); least >= 0 && (now-began).Microseconds() >= least {
		l.note(s, spec, args, began)
	}
	return now
}

// note adds a command that began at a time on the monotonic clock, if it took long.
func (l *slowLog) note(s *Session, spec *command.Spec, args [][]byte, began time.Duration) {
	least := l.slowerThanUs.Load()
	if least < 0 {
		return
	}
	micros := (s.n.opts.Clock.Mono() - began).Microseconds()
	if micros < least || spec.Name == "exec" { // its commands are noted one by one
		return
	}
	e := slowEntry{unix: s.n.opts.Clock.WallMs() / 1000, micros: micros, args: shownArgs(spec, args), remote: s.opts.Remote, name: s.shown.Load().name}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.next
	l.next++
	l.entries = append(l.entries, e)
	l.trim()
}

// trim drops the oldest entries over the limit. l.mu is held.
func (l *slowLog) trim() {
	if over := len(l.entries) - int(l.maxLen.Load()); over > 0 {
		clear(l.entries[:over])
		l.entries = l.entries[over:]
	}
}

// shownArgs is what logs show of a command: cut where it is long, and without secrets.
func shownArgs(spec *command.Spec, args [][]byte) []string {
	n := min(len(args), slowLogArgs)
	out := make([]string, 0, n)
	for i, a := range args[:n] {
		switch {
		case i == slowLogArgs-1 && len(args) > slowLogArgs:
			out = append(out, "... ("+strconv.Itoa(len(args)-slowLogArgs+1)+" more arguments)")
		case i > 0 && isSecret(spec, i):
			out = append(out, redacted)
		case len(a) > slowLogBytes:
			out = append(out, string(a[:slowLogBytes])+"... ("+strconv.Itoa(len(a)-slowLogBytes)+" more bytes)")
		default:
			out = append(out, string(a))
		}
	}
	return out
}

// redacted stands for a secret in what is shown.
const redacted = "(redacted)"

// isSecret reports whether an argument may be, or stand beside, a password.
func isSecret(spec *command.Spec, i int) bool {
	switch spec.Name {
	case "auth", "hello", "clusterx":
		return true
	case "config|set":
		return i >= 2
	}
	return false
}

// slowlog answers SLOWLOG GET [count], LEN and RESET.
func (s *Session) slowlog(spec *command.Spec, args [][]byte) {
	l := &s.n.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	switch spec.Name {
	case "slowlog|get":
		count := int64(10)
		switch {
		case len(args) > 3:
			s.out.Error(errArity(spec.Name))
			return
		case len(args) == 3:
			n, err := strconv.ParseInt(string(args[2]), 10, 64)
			if err != nil || n < -1 {
				s.out.Error(errSlowLogCount)
				return
			}
			if count = n; n == -1 {
				count = math.MaxInt64
			}
		}
		s.writeSlowLog(int(min(count, int64(len(l.entries)))))
	case "slowlog|len":
		s.out.Int(int64(len(l.entries)))
	case "slowlog|reset":
		l.entries = nil
		s.out.OK()
	default:
		s.out.Error(errNotHere(spec.Name))
	}
}

// writeSlowLog writes the latest entries, newest first. The log is locked.
func (s *Session) writeSlowLog(count int) {
	entries := s.n.slow.entries
	s.out.Array(count)
	for i := range count {
		e := &entries[len(entries)-1-i]
		s.out.Array(6)
		s.out.Int(e.id)
		s.out.Int(e.unix)
		s.out.Int(e.micros)
		s.out.Array(len(e.args))
		for _, a := range e.args {
			s.out.BulkString(a)
		}
		s.out.BulkString(e.remote)
		s.out.BulkString(e.name)
	}
}

func checkSlowerThan(value string) (string, func(*Node)) {
	v, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return whyNotInteger, nil
	case v < -1:
		return whySlowerThan, nil
	}
	return "", func(n *Node) { n.slow.slowerThanUs.Store(v) }
}

func checkSlowLogLen(value string) (string, func(*Node)) {
	v, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return whyNotInteger, nil
	case v < 0 || v > slowLogLimit:
		return whySlowLogLen, nil
	}
	return "", func(n *Node) { n.slow.maxLen.Store(v) }
}
