package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine/env"
	"godwit/engine/slot"
)

// slotWaits are the commands that wait until a slot has changed hands: SETSLOT and MIGRATE. Unlike parked ones they are not to run on the slot, so
// that they have no part in its limits and deadlines: they only look at it.
type slotWaits struct {
	count atomic.Int64 // of all: with none a change of a record pays one atomic load

	mu sync.Mutex // taken after the stripes
	by map[slot.Slot][]*slotWait
}

// slotWait is a command that waits for a slot. It looks when the slot's record has changed, and every slotLook: what is no record, such as the
// end of a job, is noticed that late.
type slotWait struct {
	n     *Node
	s     *Session
	p     *parkedCommand // as what it waits in its session
	slot  slot.Slot
	until time.Duration // on the monotonic clock
	late  string        // the answer at the deadline

	mu    sync.Mutex // held over a look; taken before all other locks
	look  slotLooker
	timer env.Timer
	over  bool
}

// slotLooker looks whether a wait is over. It answers done, an error reply, or notYet. It must not block, and is called without locks, one call
// at a time.
type slotLooker func() string

// What a slotLooker answers beside errors.
const (
	notYet = ""
	done   = "OK"
)

// slotLook is how often a command that waits for a slot looks of its own accord.
const slotLook = 50 * time.Millisecond

// awaitSlot leaves the command that runs pending until look says that its wait is over, or for the given time, after which late is answered.
// s.mu is held.
func (s *Session) awaitSlot(sl slot.Slot, patience time.Duration, late string, look slotLooker) {
	n := s.n
	w := &slotWait{n: n, s: s, p: &parkedCommand{session: s}, slot: sl, until: n.opts.Clock.Mono() + patience, late: late, look: look}
	s.pending, s.slot = w.p, sl
	n.slotWaits.add(w)
	n.opts.Workers.Submit(w.step)
}

// step looks, and answers the command if its wait is over.
func (w *slotWait) step() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	reply := notYet
	if gone := !w.s.waits(w.p); !gone {
		if reply = w.look(); reply == notYet && w.n.opts.Clock.Mono() >= w.until {
			reply = w.late
		}
		if reply == notYet {
			w.timer = w.n.opts.Clock.AfterFunc(slotLook, w.step)
			return
		}
	}
	w.over = true
	w.n.slotWaits.remove(w)
	w.n.opts.Workers.Submit(func() { w.s.complete(w.p, func() { w.s.answerSlot(reply) }) })
}

// answerSlot replies what a slotLooker said. What it has seen of records and jobs may be as new as the latest commit.
func (s *Session) answerSlot(reply string) {
	s.dependAlways(s.n.store.Last())
	if reply == done {
		s.out.OK()
	} else {
		s.out.Error(reply)
	}
}

// waits reports whether a command still waits.
func (s *Session) waits(p *parkedCommand) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.pending == p
}

func (ws *slotWaits) add(w *slotWait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.by == nil {
		ws.by = map[slot.Slot][]*slotWait{}
	}
	ws.by[w.slot] = append(ws.by[w.slot], w)
	ws.count.Add(1)
}

func (ws *slotWaits) remove(w *slotWait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	list := slices.DeleteFunc(ws.by[w.slot], func(o *slotWait) bool { return o == w })
	if ws.count.Add(-1); len(list) == 0 {
		delete(ws.by, w.slot)
		return
	}
	ws.by[w.slot] = list
}

// wake makes all who wait for a slot look again, off the caller's stack. The slot's stripe is held.
func (ws *slotWaits) wake(sl slot.Slot) {
	if ws.count.Load() == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.by[sl] {
		w.n.opts.Workers.Submit(w.step)
	}
}
