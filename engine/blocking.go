package engine

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// blocking is the registry of commands that wait for keys: BLPOP and its kin.
//
// A command that finds nothing is put, under the exclusive locks of its keys' slots, at the end of the line of each of its
// keys, and holds no lock while it waits. A commit that writes the record of a key, with the type that is waited for, wakes
// the first in line; that one runs again like any command, from routing on, off the stack of the commit. When it has been
// answered it leaves its lines and the next is woken; when it finds nothing it keeps its places. So elements go to those who
// wait in the order of their arrival, and a commit does the same little work for one who waits as for ten thousand.
//
// Between a commit and the run of the one whom it woke, others see the key as it is, and may take from it: the woken command
// then waits on. A blocking command may not: if one is under way to a key, others queue behind it (InLine).
//
// Invariant: if a key holds something, then the first in its line (of those that wait for its type) is woken, or running, or
// waits for its slot or for CLIENT PAUSE, after which it runs again.
type blocking struct {
	count atomic.Int64 // of waiting commands: with none a commit pays one atomic load

	mu    sync.Mutex // taken after sessions' locks and stripes
	next  uint64     // the number of the next command to come
	lines map[string][]*blockedCommand
}

// blockedState is where a command that waits for keys is in its life.
type blockedState uint8

const (
	blockedWaiting blockedState = iota // for a commit, its deadline, CLIENT UNBLOCK, or for something else than keys
	blockedWoken                       // its run has been handed to the workers
	blockedRunning                     // it runs
	blockedDone                        // it is in no line any more
)

// blockedCommand is a command that waits for keys, from when it first found nothing to its answer. blocking.mu guards it.
type blockedCommand struct {
	session  *Session
	pending  *parkedCommand // as what it waits in its session
	keys     []string       // each once
	want     data.Type
	number   uint64 // by arrival
	state    blockedState
	again    bool // a key changed while it ran
	token    bool // a key changed, and it has not looked since: if it never will, the next must
	untried  bool // it came behind one that was under way, and has not looked at its keys yet
	deadline time.Duration
	timer    env.Timer
	end      waitEnd
}

// waitEnd says how a wait for keys ends otherwise than by a key.
type waitEnd uint8

const (
	waitGoesOn    waitEnd = iota
	waitTimeout           // its time is over, or CLIENT UNBLOCK says to answer as if it were
	waitUnblocked         // CLIENT UNBLOCK … ERROR
)

// InLine implements command.Waiter. s.mu and the exclusive locks of the keys' slots are held.
func (s *Session) InLine(w *command.Wait) bool {
	if s.resumed != nil && s.resumed.blocked != nil || !s.n.blocking.underWay(w) {
		return false
	}
	s.blocks, s.untried = w, true
	return true
}

// Block implements command.Waiter.
func (s *Session) Block(w *command.Wait) { s.blocks = w }

// block makes the command that just ran wait for its keys. s.mu and the exclusive locks of the keys' slots are held, so that no
// commit falls between the look at the keys and the place in line.
func (s *Session) block(args [][]byte) {
	n, w, untried := s.n, s.blocks, s.untried
	s.blocks, s.untried = nil, false
	p := s.wait(args)
	s.waitsForKey.Store(true)
	if p.blocked != nil {
		n.blocking.looked(p.blocked) // it keeps its places; resume says what comes next
		return
	}
	b := &blockedCommand{session: s, pending: p, want: w.Type, untried: untried}
	p.blocked = b
	for _, k := range w.Keys {
		if name := string(k); !slices.Contains(b.keys, name) {
			b.keys = append(b.keys, name)
		}
	}
	n.blocking.add(b)
	if w.Timeout > 0 {
		now := n.opts.Clock.Mono()
		if b.deadline = now + w.Timeout; b.deadline < now {
			b.deadline = 1<<63 - 1
		}
		b.timer = n.opts.Clock.AfterFunc(w.Timeout, func() { n.blocking.timeout(b) })
	}
}

// endWait answers a command whose wait for keys ended without one. s.mu is held.
func (s *Session) endWait(p *parkedCommand, end waitEnd) {
	start := s.out.Len()
	if end == waitUnblocked {
		s.out.Error(errUnblocked)
	} else {
		s.out.NullArray()
	}
	if s.reply != replyOn {
		s.mute(start)
	}
	s.n.forget(s.slot, p)
}

// add puts a new command at the end of its lines.
func (bl *blocking) add(b *blockedCommand) {
	bl.mu.Lock()
	defer bl.mu.Unlock()
	bl.next++
	b.number = bl.next
	if bl.lines == nil {
		bl.lines = map[string][]*blockedCommand{}
	}
	for _, k := range b.keys {
		bl.lines[k] = append(bl.lines[k], b)
	}
	bl.count.Add(1)
}

// underWay reports whether a command that waits for one of the keys, and for the type, has been woken and not been answered.
func (bl *blocking) underWay(w *command.Wait) bool {
	if bl.count.Load() == 0 {
		return false
	}
	bl.mu.Lock()
	defer bl.mu.Unlock()
	for _, k := range w.Keys {
		for _, b := range bl.lines[string(k)] {
			if b.want == w.Type && (b.state != blockedWaiting || b.untried) {
				return true
			}
		}
	}
	return false
}

// touch wakes the first in line for a key that a write makes worth a look. The stripe of its slot is held exclusively.
func (bl *blocking) touch(op store.Op) {
	if op.Kind != store.OpSet {
		return
	}
	_, kind, rest, ok := key.Split(op.Key)
	if !ok || kind != key.Record {
		return
	}
	_, user, ok := key.SplitRecord(rest)
	if !ok {
		return
	}
	bl.mu.Lock()
	defer bl.mu.Unlock()
	line := bl.lines[string(user)]
	if len(line) == 0 {
		return
	}
	if r, err := data.DecodeRecord(op.Value); err == nil { // what a batch of this process holds is a record
		bl.wakeFirst(line, r.Type)
	}
}

// wakeFirst wakes the first in a line that waits for a type. bl.mu is held.
func (bl *blocking) wakeFirst(line []*blockedCommand, t data.Type) {
	for _, b := range line {
		if b.want == t {
			b.token = true
			bl.wake(b)
			return
		}
	}
}

// wake makes a command run again, now or when its present run has ended. bl.mu is held.
func (bl *blocking) wake(b *blockedCommand) {
	switch b.state {
	case blockedWaiting:
		b.state = blockedWoken
		p := b.pending
		b.session.n.opts.Workers.Submit(func() { p.session.resume(p, verdict{}) })
	case blockedRunning:
		b.again = true
	case blockedWoken, blockedDone: // it will see what is there; or it has no need
	}
}

// begin notes that a command runs again, unless its wait has been ended.
func (bl *blocking) begin(b *blockedCommand) waitEnd {
	bl.mu.Lock()
	defer bl.mu.Unlock()
	if b.end == waitGoesOn {
		b.state, b.again, b.untried = blockedRunning, false, false
	}
	return b.end
}

// looked notes that a command that runs has found nothing. The exclusive locks of its keys' slots are held: what changed
// before, it has seen.
func (bl *blocking) looked(b *blockedCommand) {
	bl.mu.Lock()
	defer bl.mu.Unlock()
	b.token, b.again = false, false
}

// ran notes how a run came out: answered, if pending is nil, and otherwise waiting on as pending says.
func (bl *blocking) ran(b *blockedCommand, pending *parkedCommand) {
	if pending == nil {
		bl.finish(b)
		return
	}
	bl.mu.Lock()
	defer bl.mu.Unlock()
	if b.state == blockedDone {
		return
	}
	b.state, b.pending = blockedWaiting, pending
	if b.deadline != 0 && b.session.n.opts.Clock.Mono() >= b.deadline {
		b.end = waitTimeout // its timer found it running
	}
	if b.again || b.end != waitGoesOn {
		bl.wake(b)
		return
	}
	if b.token {
		return // it has not looked, and will
	}
	for _, k := range b.keys {
		for _, other := range bl.lines[k] {
			if other.untried { // it came while this one was under way, which was its reason to wait
				other.token = true
				bl.wake(other)
				break
			}
		}
	}
}

// finish takes a command out of its lines. If there may be something for those that come next, they are woken.
func (bl *blocking) finish(b *blockedCommand) {
	bl.mu.Lock()
	defer bl.mu.Unlock()
	if b.state == blockedDone {
		return
	}
	b.state = blockedDone
	if b.timer != nil {
		b.timer.Stop()
	}
	bl.count.Add(-1)
	for _, k := range b.keys {
		line := slices.DeleteFunc(bl.lines[k], func(other *blockedCommand) bool { return other == b })
		if len(line) == 0 {
			delete(bl.lines, k)
			continue
		}
		bl.lines[k] = line
		if b.token {
			bl.wakeFirst(line, b.want)
		}
	}
}

// timeout ends a wait whose time is over. One that is under way to a key may still have it.
func (bl *blocking) timeout(b *blockedCommand) {
	bl.mu.Lock()
	defer bl.mu.Unlock()
	if b.state == blockedWaiting && b.end == waitGoesOn {
		b.end = waitTimeout
		bl.wake(b)
	}
}

// unblock ends the wait of a session's command, and reports whether there was one.
func (bl *blocking) unblock(s *Session, end waitEnd) bool {
	bl.mu.Lock()
	defer bl.mu.Unlock()
	b := bl.find(s)
	if b == nil || b.state != blockedWaiting && b.state != blockedWoken || b.end != waitGoesOn {
		return false
	}
	b.end = end
	bl.wake(b)
	return true
}

// find returns the command of a session that waits for keys, or nil. bl.mu is held.
func (bl *blocking) find(s *Session) *blockedCommand {
	for _, line := range bl.lines { //det:ok a session has one such command at most
		for _, b := range line {
			if b.session == s {
				return b
			}
		}
	}
	return nil
}

// wakeSlot makes all that wait for keys of a slot run again, in the order of their arrival: the slot has left, and they are to
// be told where it is.
func (bl *blocking) wakeSlot(sl slot.Slot) {
	if mutant.On(mutant.DeafWaiter) {
		return
	}
	bl.mu.Lock()
	defer bl.mu.Unlock()
	var all []*blockedCommand
	for k, line := range bl.lines { //det:ok sorted below
		if slot.OfKey([]byte(k)) == sl {
			all = append(all, line...)
		}
	}
	slices.SortFunc(all, func(a, b *blockedCommand) int { return cmp.Compare(a.number, b.number) })
	for _, b := range all {
		bl.wake(b)
	}
}
