package engine

import (
	"time"

	"godwit/engine/slot"
)

// Slower says how fast a slot may be written. Its methods are called with the slot's stripe held exclusively, must not block and must not
// call back.
type Slower interface {
	// Credit is how many bytes of writes may run now; if none may, wait is how long until some may.
	Credit() (bytes int, wait time.Duration)
	// Wrote says that a write of so many bytes has run.
	Wrote(bytes int)
}

// slowing is what slows the writers of a slot down. The slot's stripe guards it.
type slowing struct {
	by    Slower
	armed bool // a timer will let some of those that wait go on
}

// Slow makes writes of the slot wait for their turns from now on, as s says; nil takes that back. Writes wait as those of a paused slot do, each
// on its connection; when as many wait as may, further ones are not slowed.
func (o *Owned) Slow(s Slower) {
	st := o.change()
	if s != nil {
		st.slow = &slowing{by: s}
		o.n.armSlow(o.slot, st)
		return
	}
	if st.slow == nil {
		return
	}
	st.slow = nil
	if !st.paused && !st.sealed {
		o.wake = append(o.wake, st.takeParked()...)
	}
}

// slowed reports whether a write has to wait for its turn. The stripe is held exclusively.
func (n *Node) slowed(st slotState) bool {
	if st.slow == nil || n.parkedFull(st) {
		return false
	}
	credit, _ := st.slow.by.Credit()
	return credit <= 0
}

// wrote counts a write against what slows the slot. The stripe is held exclusively.
func (n *Node) wrote(sl slot.Slot, bytes int) {
	if slow := n.slots.get(sl).slow; slow != nil {
		slow.by.Wrote(bytes)
	}
}

// armSlow sees to it that those that wait for their turn get it. The stripe is held exclusively.
func (n *Node) armSlow(sl slot.Slot, st *slotState) {
	slow := st.slow
	if slow == nil || slow.armed || st.parked == nil {
		return
	}
	_, wait := slow.by.Credit()
	slow.armed = true
	n.opts.Clock.AfterFunc(max(wait, time.Millisecond), func() { n.wakeSlowed(sl, slow) })
}

// wakeSlowed lets as many of those that wait go on as there is credit for, going by the size of their arguments, oldest first.
func (n *Node) wakeSlowed(sl slot.Slot, slow *slowing) {
	mu := &n.stripes[stripeOf(sl)]
	mu.Lock()
	st := n.slots.change(sl)
	slow.armed = false
	if st.slow != slow || st.paused || st.sealed || st.parked == nil {
		mu.Unlock()
		return
	}
	credit, _ := slow.by.Credit()
	var wake []*parkedCommand
	for credit > 0 && st.parked != nil {
		p := st.parked.commands[0]
		st.unpark(p)
		credit -= max(p.bytes, 1)
		wake = append(wake, p)
	}
	n.armSlow(sl, st)
	mu.Unlock()
	n.resumeAll(wake)
}
