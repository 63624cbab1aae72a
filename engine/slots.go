package engine

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// stripeCount is the number of locks that guard the slots. A stripe guards every slot that is congruent to it: with 1,024,
// 16 slots share one, and two random commands collide with probability 1/1024.
const stripeCount = 1024

func stripeOf(s slot.Slot) int { return int(s) % stripeCount }

// slotState is what the node knows of a slot while it runs. The slot's stripe guards it: reading needs the stripe shared,
// changing needs it exclusively, except lastWrite and writes, which commands that hold the stripe exclusively change.
type slotState struct {
	// record is never changed in place; nil means None, as it does for most slots of most nodes.
	record *cluster.Record
	// paused parks writes: the source's final round is being sent.
	paused bool
	// sealed parks reads too: the decision has been handed to the store, or the target has not answered commit yet.
	sealed bool
	// sending parks writes and reads: MIGRATE has sent keys to a server that is no peer, and awaits its answer.
	sending bool
	// lastWrite is the position of the latest commit that touched the slot's data or record.
	lastWrite store.Position
	// writes counts the commands that have written to the slot, since the node was opened.
	writes uint64
	// expires is before all expiries of the slot's keys; see expiring.
	expires int64
	// parked is nil when nothing waits.
	parked *parkedList
	// slow is nil unless writes wait for their turns, so that a move keeps up with them.
	slow *slowing
}

// parkedList is the commands that wait for a slot, oldest first.
type parkedList struct {
	commands []*parkedCommand
	bytes    int // of their arguments
}

// slotTable is the states of all slots, by stripe. Those of a stripe are made when one of its slots first changes: a node that
// is opened to have a few slots, as simulated ones are by the thousand, would else clear half a megabyte.
type slotTable [stripeCount]*slotsOfStripe

// slotsOfStripe is what is known of the slots of a stripe.
type slotsOfStripe struct {
	states [slot.Count / stripeCount]slotState
	// reads counts the commands that have only read the slots, since the node was opened: see Session.countRead. The stripe does not guard it.
	reads [slot.Count / stripeCount]atomic.Uint64
}

// get is the state of a slot as it is now. The stripe is held.
func (t *slotTable) get(s slot.Slot) slotState {
	if of := t[stripeOf(s)]; of != nil {
		return of.states[int(s)/stripeCount]
	}
	return slotState{}
}

// change is the state of a slot to be changed. The stripe is held exclusively, and the state is valid as long.
func (t *slotTable) change(s slot.Slot) *slotState {
	of := &t[stripeOf(s)]
	if *of == nil {
		*of = new(slotsOfStripe)
	}
	return &(*of).states[int(s)/stripeCount]
}

// readsCounted is how many reads of a session stand for one another: every so many-th is counted, for all of them, so that sessions that read the
// same slot seldom touch the same memory. It is a prime, lest it be a multiple of how many slots a client goes round.
const readsCounted = 61

// countRead counts a read of a slot, roughly. The stripe is held.
func (s *Session) countRead(sl slot.Slot) {
	if s.reads++; s.reads%readsCounted == 0 {
		if of := s.n.slots[stripeOf(sl)]; of != nil {
			of.reads[int(sl)/stripeCount].Add(readsCounted)
		}
	}
}

// slotLoad is how many commands have written to a slot, and how many have only read it, since the node was opened; reads by countRead.
func (n *Node) slotLoad(sl slot.Slot) (writes, reads uint64) {
	i := stripeOf(sl)
	n.stripes.lock(i, shared)
	defer n.stripes.unlock(i, shared)
	if of := n.slots[i]; of != nil {
		writes, reads = of.states[int(sl)/stripeCount].writes, of.reads[int(sl)/stripeCount].Load()
	}
	return writes, reads
}

// rec is the slot's ownership record. The stripe is held.
func (st slotState) rec() cluster.Record {
	if st.record == nil {
		return cluster.Record{}
	}
	return *st.record
}

// state is the state of the slot's ownership record. The stripe is held.
func (st slotState) state() cluster.State {
	if st.record == nil {
		return cluster.None
	}
	return st.record.State
}

// recorded is the slots that have had a record since the node was opened: where a walk over the records has to look. A slot
// is added while its stripe is held exclusively, and stays.
type recorded [slot.Count / 64]atomic.Uint64

func (r *recorded) add(s slot.Slot) { r[s/64].Or(1 << (s % 64)) }

// stripes lists the stripes of these slots among those from 64*group on, as bits.
func (r *recorded) stripes(group int) (mask uint64) {
	for i := group; i < len(r); i += stripeCount / 64 {
		mask |= r[i].Load()
	}
	return mask
}

// slotsWhere is the set of slots of whose state match holds, each seen under its lock. Slots without a record are passed over:
// a node that has a few slots, or none, would else take a thousand locks for them.
func (n *Node) slotsWhere(match func(cluster.State) bool) slot.Set {
	var out slot.Set
	for group := range stripeCount / 64 {
		for mask := n.recorded.stripes(group); mask != 0; mask &= mask - 1 {
			i := group*64 + bits.TrailingZeros64(mask)
			n.stripes.lock(i, shared)
			for sl := i; sl < slot.Count; sl += stripeCount {
				if st := n.slots.get(slot.Slot(sl)); st.record != nil && match(st.state()) {
					out.Add(slot.Slot(sl))
				}
			}
			n.stripes.unlock(i, shared)
		}
	}
	return out
}

// parkedCommand is a command that waits: for its slot, in whose list it then is, for a key (blocked), or for the end of
// CLIENT PAUSE.
type parkedCommand struct {
	session *Session
	args    [][]byte // owned
	bytes   int
	timer   env.Timer
	blocked *blockedCommand // nil unless it is one, even while it waits for something else
}

type stripes [stripeCount]sync.RWMutex

// lockMode is how a command holds its stripes.
type lockMode uint8

const (
	shared lockMode = iota
	exclusive
)

func (ss *stripes) lock(i int, m lockMode) {
	if m == exclusive {
		ss[i].Lock()
	} else {
		ss[i].RLock()
	}
}

func (ss *stripes) unlock(i int, m lockMode) {
	if m == exclusive {
		ss[i].Unlock()
	} else {
		ss[i].RUnlock()
	}
}

// lockAll takes every stripe exclusively.
func (ss *stripes) lockAll() {
	for i := range ss {
		ss[i].Lock()
	}
}

func (ss *stripes) unlockAll() {
	for i := range ss {
		ss[i].Unlock()
	}
}

// Owned is a slot whose stripe is held exclusively, handed to the function given to Node.Exclusive and invalid afterwards.
type Owned struct {
	n    *Node
	slot slot.Slot
	wake []*parkedCommand
}

// Exclusive runs fn while the slot's lock is held exclusively: nothing else reads, writes or routes on the slot. fn must be
// short, must not block, and must not call Exclusive.
func (n *Node) Exclusive(s slot.Slot, fn func(*Owned)) {
	o := Owned{n: n, slot: s}
	mu := &n.stripes[stripeOf(s)]
	mu.Lock()
	fn(&o)
	mu.Unlock()
	n.resumeAll(o.wake)
}

// now is the slot's state.
func (o *Owned) now() slotState { return o.n.slots.get(o.slot) }

// change is the slot's state, to be changed.
func (o *Owned) change() *slotState { return o.n.slots.change(o.slot) }

// Record is the slot's ownership record.
func (o *Owned) Record() cluster.Record { return o.now().rec() }

// Store is the node's store.
func (o *Owned) Store() *store.Store { return o.n.store }

// LastWrite is the position of the latest commit on the slot.
func (o *Owned) LastWrite() store.Position { return o.now().lastWrite }

// Commit writes a new ownership record into the batch, commits it and makes the record the current one. Its durability
// is the caller's to await: WhenDurable of the position.
func (o *Owned) Commit(b *store.Batch, r cluster.Record) store.Position {
	b.Set(key.Ownership(o.slot), r.Encode())
	p := o.n.store.Commit(b)
	o.change().lastWrite = p
	o.setRecord(&r)
	return p
}

// Write commits a batch that changes the slot's data but not its record.
func (o *Owned) Write(b *store.Batch) store.Position {
	p := o.n.store.Commit(b)
	o.change().lastWrite = p
	return p
}

func (o *Owned) setRecord(r *cluster.Record) {
	st := o.change()
	if st.state() == cluster.None && r.State == cluster.Aborted { // an import that never began ends the claim that commands wait for
		o.wake = append(o.wake, st.takeParked()...)
	}
	st.record = r
	o.n.recorded.add(o.slot)
	if r.State == cluster.Serving {
		o.n.expiring.unknown.Store(true) // what a move brought may expire
	}
	o.n.mu.Lock()
	o.n.claims.Drop(o.slot)
	if r.State == cluster.Serving {
		delete(o.n.wished, o.slot)
	}
	o.n.mu.Unlock()
	o.n.version.Add(1)
	if r.State != cluster.Serving && o.n.blocking.count.Load() != 0 {
		o.n.blocking.wakeSlot(o.slot) // to be redirected
	}
	o.n.slotWaits.wake(o.slot)
	if o.n.opts.Observer != nil {
		o.n.opts.Observer.Recorded(o.slot, *r)
	}
}

// Pause parks writes of the slot from now on. Writes that were admitted before have finished: they held the lock.
func (o *Owned) Pause() { o.change().paused = true }

// Seal parks reads of the slot too.
func (o *Owned) Seal() { o.change().sealed = true }

// Unpause ends pause and seal and runs what was parked, which is routed anew.
func (o *Owned) Unpause() {
	st := o.change()
	st.paused, st.sealed = false, false
	o.wake = append(o.wake, st.takeParked()...)
}

// takeParked empties the list of the commands that wait. The stripe is held exclusively.
func (st *slotState) takeParked() []*parkedCommand {
	if st.parked == nil {
		return nil
	}
	list := st.parked.commands
	st.parked = nil
	return list
}

// Paused reports whether writes are parked.
func (o *Owned) Paused() bool { return o.now().paused }

// Sending reports whether all commands are parked since a server outside of the cluster is being sent keys of the slot.
func (o *Owned) Sending() bool { return o.now().sending }

// resumeAll runs parked commands again, off the caller's stack and outside every lock.
func (n *Node) resumeAll(list []*parkedCommand) {
	for _, p := range list {
		if p.timer != nil {
			p.timer.Stop()
		}
		n.opts.Workers.Submit(func() { p.session.resume(p, verdict{}) })
	}
}

// parkedFull reports that as much waits for a slot as may. While it is paused that ends the pause; where there is no pause to
// give up any more, the next command is answered at once as it would be at the deadline. The stripe is held.
func (n *Node) parkedFull(st slotState) bool {
	l := &n.opts.Limits
	return st.parked != nil && (len(st.parked.commands) >= l.ParkedCommands || st.parked.bytes >= l.ParkedBytes)
}

// park puts a command into a slot's list. The caller holds the slot's stripe exclusively and has re-read the routing
// under it.
func (n *Node) park(s slot.Slot, p *parkedCommand) {
	st := n.slots.change(s)
	if st.parked == nil {
		st.parked = &parkedList{}
	}
	waiting := st.parked
	waiting.commands = append(waiting.commands, p)
	waiting.bytes += p.bytes
	p.timer = n.opts.Clock.AfterFunc(n.opts.Limits.ParkDeadline, func() { n.parkTimeout(s, p) })
	if !st.paused {
		n.armSlow(s, st)
	}
	l := &n.opts.Limits
	if st.paused && (len(waiting.commands) == l.ParkedCommands || waiting.bytes >= l.ParkedBytes && waiting.bytes-p.bytes < l.ParkedBytes) {
		n.opts.Workers.Submit(func() { n.migrator.ParkLimit(s) })
	}
}

// parkTimeout answers a command that has waited too long. A source that has not decided never lets it come to that: its
// pause has a deadline of its own.
func (n *Node) parkTimeout(s slot.Slot, p *parkedCommand) {
	mu := &n.stripes[stripeOf(s)]
	mu.Lock()
	st := n.slots.change(s)
	if !st.unpark(p) {
		mu.Unlock()
		return
	}
	if st.sending {
		n.park(s, p)
		mu.Unlock()
		return
	}
	v := verdict{}
	switch st.state() {
	case cluster.Serving: // still undecided: wait on
		n.park(s, p)
		mu.Unlock()
		return
	case cluster.Prepared:
		v = verdict{kind: verdictError, text: cluster.TryAgain}
	default:
		v = n.redirect(s)
	}
	mu.Unlock()
	n.opts.Workers.Submit(func() { p.session.resume(p, v) })
}

// unpark removes a command from the list and reports whether it was there.
func (st *slotState) unpark(p *parkedCommand) bool {
	if st.parked == nil {
		return false
	}
	for i, q := range st.parked.commands {
		if q != p {
			continue
		}
		st.parked.bytes -= p.bytes
		if st.parked.commands = append(st.parked.commands[:i], st.parked.commands[i+1:]...); len(st.parked.commands) == 0 {
			st.parked = nil
		}
		return true
	}
	return false
}

// forget removes a command that waits no longer: its session closes, or it was answered otherwise.
func (n *Node) forget(s slot.Slot, p *parkedCommand) {
	n.pause.forget(p)
	if p.blocked != nil {
		n.blocking.finish(p.blocked)
	}
	mu := &n.stripes[stripeOf(s)]
	mu.Lock()
	n.slots.change(s).unpark(p)
	mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// Remember makes a record current without writing it. Correct code never does: it exists for the mutants that forget.
func (o *Owned) Remember(r cluster.Record) { o.setRecord(&r) }
