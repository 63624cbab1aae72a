package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// patience is how long a client of the tests waits for a reply. Nothing that a cluster does on purpose takes so long.
const patience = 30 * time.Second

// maxHops bounds the redirects of one command. A handover costs a client at most a few; more are a loop.
const maxHops = 16

// errHops says that a command was redirected in a circle.
var errHops = fmt.Errorf("redirected %d times", maxHops)

// seeker is a client that follows redirects and retries nothing else. One goroutine uses it.
type seeker struct {
	entry     string // the node that is asked first
	conns     map[string]*conn
	where     map[slot.Slot]string // where a slot was found last
	redirects int
	longest   time.Duration // that a command took, redirects included
}

func newSeeker(entry string) *seeker {
	return &seeker{entry: entry, conns: map[string]*conn{}, where: map[slot.Slot]string{}}
}

func (s *seeker) close() {
	for _, c := range s.conns {
		c.close()
	}
}

// at is where a slot is thought to be.
func (s *seeker) at(sl slot.Slot) string {
	if addr := s.where[sl]; addr != "" {
		return addr
	}
	return s.entry
}

// to returns a connection to a node.
func (s *seeker) to(addr string) (*conn, error) {
	if c := s.conns[addr]; c != nil {
		return c, nil
	}
	c, err := dial(addr, "")
	if err != nil {
		return nil, err
	}
	s.conns[addr] = c
	return c, nil
}

// lose closes a connection that failed, after which nobody knows what became of the command on it.
func (s *seeker) lose(addr string) {
	if c := s.conns[addr]; c != nil {
		c.close()
		delete(s.conns, addr)
	}
}

// once sends a command to where the slot is thought to be. moved says that the reply is a redirect, which has been noted.
func (s *seeker) once(sl slot.Slot, args ...string) (r reply, moved bool, err error) {
	addr := s.at(sl)
	c, err := s.to(addr)
	if err != nil {
		return reply{}, false, err
	}
	r, err = c.do(patience, args...)
	var refused errReply
	switch {
	case err == nil:
		s.where[sl] = addr
	case !errors.As(err, &refused):
		s.lose(addr)
	case strings.HasPrefix(r.Text, "MOVED "):
		s.where[sl] = r.Text[strings.LastIndexByte(r.Text, ' ')+1:]
		s.redirects++
		return r, true, nil
	}
	return r, false, err
}

// do sends a command whose first key is args[1] until it is not redirected.
func (s *seeker) do(args ...string) (reply, error) {
	sl := slot.OfKey([]byte(args[1]))
	for range maxHops {
		if r, moved, err := s.once(sl, args...); !moved {
			return r, err
		}
	}
	return reply{}, fmt.Errorf("%q: %w", args, errHops)
}

// record is do for an operation that is judged. Each redirected try is an operation that failed. since is what the
// recorder's axis begins with.
func (s *seeker) record(rec *linearize.Recorder, since time.Time, client int, args ...string) (reply, error) {
	began := time.Now()
	defer func() { s.longest = max(s.longest, time.Since(began)) }()
	sl := slot.OfKey([]byte(args[1]))
	for range maxHops {
		op, err := linearize.Command(args...)
		if err != nil {
			return reply{}, err
		}
		op.Client, op.Slot, op.Call = client, uint16(sl), int64(time.Since(since))
		id, err := rec.Begin(op)
		if err != nil {
			return reply{}, err
		}
		r, moved, err := s.once(sl, args...)
		at := int64(time.Since(since))
		var refused errReply
		if err != nil && !errors.As(err, &refused) {
			return reply{}, errors.Join(err, rec.Unknown(id))
		}
		if err := rec.End(id, judged(r), at); err != nil {
			return reply{}, err
		}
		if !moved {
			return r, err
		}
	}
	return reply{}, fmt.Errorf("%q: %w", args, errHops)
}

// judged is a reply as histories have it.
func judged(r reply) linearize.Reply {
	switch {
	case r.Null:
		return linearize.Nil()
	case r.Kind == '-':
		return linearize.Error(r.Text)
	case r.Kind == ':':
		return linearize.Int(r.Int)
	case r.Kind == '$':
		return linearize.Bulk(r.Text)
	}
	return linearize.Status(r.Text)
}

// tagOf returns a hash tag whose slot passes.
func tagOf(pass func(slot.Slot) bool) (tag string, sl slot.Slot) {
	for i := 0; ; i++ {
		tag = fmt.Sprintf("{%d}", i)
		if sl = slot.OfKey([]byte(tag)); pass(sl) {
			return tag, sl
		}
	}
}
