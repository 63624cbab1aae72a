package driver

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/migration"
)

// A handoff that has been decided, or for which the target is prepared, needs both sides to come to its end. When one of them is lost for good, an
// operator says what is to count. What this node can find out itself it asks first, over and over for as long as Config.ResolvePatience: while the other
// side answers, also with an error, nothing is resolved,
// nor while it is not in the map here, so that it cannot be asked, unless the answer is that it knows nothing of the handoff: its directory is another, or it has given the import up. Such an answer may wait for a
// disk that is slow, so it is also asked, on a lane of its own, what needs none: a node that answers only that lives, too, and
// if it is ended meanwhile the order is to be given again. One order about a slot is carried out at a time. A Kvrocks is
// asked only whether it serves the slot, when nothing more can reach it from here: then nothing is aborted.
//
//	| here                        | commit                                        | abort                                             |
//	|-----------------------------|-----------------------------------------------|---------------------------------------------------|
//	| target, prepared for e+1    | serves under e+1, as if the source had said   | deletes what it imported                          |
//	|                             | commit                                        |                                                   |
//	| source, released under e+1, | goes on as if the target had answered: the    | serves its copy under e+2, in one batch with the  |
//	| the commit not answered     | copy is cleaned or kept                       | slot's phase; the job fails                       |
//
// A side that comes back all the same finds that the slot is served under a greater epoch than its own, and stops: what clients have written there
// meanwhile is lost. That is what the operator vouches for by naming the node.

// resolving is an order of an operator.
type resolving struct {
	d     *Driver
	slot  slot.Slot
	what  engine.Resolution
	other cluster.NodeID
	done  func(string, error)
	// begun is when the other side was first asked; alive says that it has answered something since.
	begun time.Duration
	alive atomic.Bool
	// outside is the other side if it is a Kvrocks, of which nothing is said while the order is carried out.
	outside *kvrocks
}

// Resolve implements engine.Migrator.
func (d *Driver) Resolve(sl slot.Slot, what engine.Resolution, other cluster.NodeID, done func(string, error)) {
	r := &resolving{d: d, slot: sl, what: what, other: other, done: done}
	rec := d.node.Record(sl)
	d.mu.Lock()
	s, another := d.sources[sl], d.resolving[sl]
	if !another {
		d.resolving[sl] = true
		r.done = func(text string, err error) {
			d.mu.Lock()
			delete(d.resolving, sl)
			d.mu.Unlock()
			done(text, err)
		}
	}
	d.mu.Unlock()
	switch {
	case another:
		r.fail(fmt.Errorf("slot %d is being resolved already: wait until that has an answer", sl))
	case rec.State == cluster.Prepared && rec.Job.Node == other:
		r.askSource(rec)
	case rec.State == cluster.Prepared:
		r.fail(fmt.Errorf("the source of slot %d is node %s: name it, to say that it is lost", sl, rec.Job.Node))
	case rec.State == cluster.Released && s != nil && s.seen().step == migration.StepCommitting && rec.Peer == other:
		r.askTarget(s, rec)
	case rec.State == cluster.Released && s != nil && s.seen().step == migration.StepCommitting:
		r.fail(fmt.Errorf("slot %d was given to node %s: name it, to say that it is lost", sl, rec.Peer))
	default:
		r.fail(fmt.Errorf("there is nothing to resolve: slot %d is %s here; only a slot that is prepared, or was released and waits for its target's answer, can be resolved", sl, rec.State))
	}
}

// Waiting implements engine.Migrator.
func (d *Driver) Waiting() []engine.WaitingSlot {
	d.mu.Lock()
	slots := append(sortedSlots(d.importing), sortedSlots(d.sources)...)
	d.mu.Unlock()
	slices.Sort(slots)
	var out []engine.WaitingSlot
	for _, sl := range slices.Compact(slots) {
		rec := d.node.Record(sl)
		w := engine.WaitingSlot{Slot: uint16(sl), State: rec.State.String(), Epoch: uint64(rec.Epoch), Job: rec.Job.String()}
		switch rec.State {
		case cluster.Importing, cluster.Prepared:
			w.Other, w.Resolvable = rec.Job.Node, rec.State == cluster.Prepared
		case cluster.Released:
			if d.Step(sl) == migration.StepCommitting.String() {
				w.Other, w.Resolvable = rec.Peer, true
			}
		case cluster.None, cluster.Serving, cluster.Aborted: // these wait for nobody
		}
		if w.Other != "" {
			out = append(out, w)
		}
	}
	return out
}

func (r *resolving) fail(err error) { r.d.env.Workers.Submit(func() { r.done("", err) }) }

// did answers when what was done is durable.
func (r *resolving) did(text string) {
	r.d.env.Log.Warn("an operator has resolved a handoff", "slot", r.slot, "as", string(r.what), "lost", r.other, "result", text)
	text += fmt.Sprintf("; keep node %s off, or cut off from clients, until its directory is wiped or it has heard of this: it would serve what it has", r.other)
	r.d.node.Store().WhenDurable(r.d.node.Store().Last(), func() { r.done(text, nil) })
}

// resolveAsks is how often the other side is asked at least before it counts as silent, however long that takes. The first question can go into a
// connection of before its last start, and would be all that is known of a node that is well.
const resolveAsks = 3

// ask asks the other side what m says, over and over until it answers or has been silent for as long as an operator must wait. done is not called once
// this node is closed.
func (r *resolving) ask(m migration.Message, done func(migration.Reply, error)) {
	if mutant.On(mutant.ResolveBlind) {
		r.d.env.Workers.Submit(func() { done(migration.Reply{}, errUnasked) })
		return
	}
	r.begun = r.d.env.Clock.Mono()
	r.askAgain(m, 1, r.d.cfg.Source.RetryMin, done)
}

// errUnknown refuses an order about a node that cannot be asked, since nobody here knows where it is: it may be well.
func (r *resolving) errUnknown() error {
	return fmt.Errorf("node %s is not in the cluster map here, so it cannot be asked whether it lives: give this node a map that has it, without slots", r.other)
}

// askAgain asks for the nth time, and rests for a while before the next.
func (r *resolving) askAgain(m migration.Message, n int, rest time.Duration, done func(migration.Reply, error)) {
	d := r.d
	r.ping()
	d.call(r.other, env.Control, &m, func(reply migration.Reply, err error) {
		d.mu.Lock()
		patience := d.cfg.ResolvePatience
		d.mu.Unlock()
		_, known := d.node.Peer(r.other)
		switch waited := d.env.Clock.Mono() - r.begun; {
		case d.isClosed():
		case !known:
			r.done("", r.errUnknown())
		case err == nil || answered(err):
			done(reply, err)
		case n < resolveAsks || waited < patience:
			next := min(2*rest, d.cfg.Source.RetryMax)
			d.env.Clock.AfterFunc(rest, func() { r.askAgain(m, n+1, next, done) })
		case r.alive.Load():
			r.done("", fmt.Errorf("node %s lives, and has not answered about slot %d for %s: nothing is resolved while it does; wait for it, or end it", r.other, r.slot, waited.Round(time.Millisecond)))
		default:
			done(reply, err)
		}
	})
}

// ping asks the other side something that it answers without its disk, whatever else it has to do.
func (r *resolving) ping() {
	d := r.d
	p, ok := d.node.Peer(r.other)
	if !ok {
		return
	}
	d.env.Peers.Call(p, env.Probe, [][]byte{[]byte("PEER"), []byte("CAPACITY")}, d.cfg.CallTimeout, func(_ []byte, err error) {
		if err == nil || answered(err) {
			r.alive.Store(true)
		}
	})
}

// errUnasked stands for the silence of a node that the mutant does not ask.
var errUnasked = errors.New("nobody was asked")

// answered reports whether the error of a call says that something answers at the address of the other side: with an error, with what cannot be read, or by
// refusing the handshake without saying that it is another node. That may be the other side, with another version or another secret, and alive.
func answered(err error) bool {
	var refused *env.RemoteError
	return errors.As(err, &refused) || errors.Is(err, migration.ErrMessage) || errors.Is(err, env.ErrNotPeer)
}

// errLives refuses an order, since the other side lives, whatever it answers.
func (r *resolving) errLives(err error) error {
	return fmt.Errorf("node %s answers with an error (%w): nothing is resolved while it does; end it, if it is lost", r.other, err)
}

// askSource asks the source of an import what became of it.
func (r *resolving) askSource(rec cluster.Record) {
	d := r.d
	m := migration.Message{Kind: migration.MsgAsk, Slot: r.slot, Job: rec.Job, Attempt: rec.Attempt, Epoch: rec.Epoch}
	r.ask(m, func(reply migration.Reply, err error) {
		switch {
		case err == nil && reply.Kind != migration.ReplyRefused: // refused: by another directory, so that the source's is gone
			d.asked(m, reply)
			err := fmt.Errorf("node %s answers (%s): nothing is to be resolved, the slot goes on by itself", r.other, reply.Kind)
			if reply.Kind == migration.ReplyPending { // which has changed nothing here
				r.done("", err)
				return
			}
			d.node.Store().WhenDurable(d.node.Store().Last(), func() { r.done("", err) })
		case answered(err):
			r.done("", r.errLives(err))
		default:
			r.atTarget(rec)
		}
	})
}

// atTarget does at a target what its source would have told it.
func (r *resolving) atTarget(rec cluster.Record) {
	d := r.d
	m := migration.Message{Kind: migration.MsgCommit, Slot: r.slot, Job: rec.Job, Attempt: rec.Attempt, Epoch: rec.Epoch + 1}
	want, text := migration.ReplyServing, fmt.Sprintf("slot %d is served here under epoch %d", r.slot, rec.Epoch+1)
	if r.what == engine.ResolveAbort {
		m.Kind, m.Epoch = migration.MsgAbort, rec.Epoch
		want, text = migration.ReplyAborted, fmt.Sprintf("the import of slot %d is given up and deleted", r.slot)
	}
	reply, _, err := d.handle(rec.Job.Node, m)
	switch {
	case err != nil:
		r.done("", err)
	case reply.Kind != want || r.what == engine.ResolveAbort && !r.aborted(rec.Job): // a target also says that it has aborted what it has not any more
		r.done("", fmt.Errorf("slot %d has changed meanwhile: it is %s here", r.slot, d.node.Record(r.slot).State))
	default:
		r.did(text)
	}
}

// aborted reports whether the slot's record says that the import of a job was given up.
func (r *resolving) aborted(job cluster.JobID) bool {
	rec := r.d.node.Record(r.slot)
	return rec.State == cluster.Aborted && rec.Job == job
}

// askTarget asks the target of a slot that was decided whether it has it.
func (r *resolving) askTarget(s *sourceSlot, rec cluster.Record) {
	d := r.d
	d.mu.Lock()
	k := s.job.outside()
	d.mu.Unlock()
	if k != nil {
		r.askOutside(k, s)
		return
	}
	m := migration.Message{Kind: migration.MsgCommit, Slot: r.slot, Job: rec.Job, Attempt: rec.Attempt, Epoch: rec.Epoch}
	r.ask(m, func(reply migration.Reply, err error) {
		switch {
		case err == nil && (reply.Kind == migration.ReplyServing || reply.Kind == migration.ReplyCommitted):
			s.post(migration.EvReply{Message: m.Kind, Attempt: m.Attempt, Reply: reply})
			r.done("", fmt.Errorf("node %s answers: it serves slot %d, and the job goes on by itself", r.other, r.slot))
		case answered(err):
			r.done("", r.errLives(err))
		case err == nil && r.what == engine.ResolveCommit: // it was wiped, or an operator has given up the import there
			r.done("", fmt.Errorf("node %s answers (%s): it does not have slot %d, of which the only copy is here; only ABORT can be right", r.other, reply.Kind, r.slot))
		default:
			r.decide(s)
		}
	})
}

// decide has the slot's worker do what was ordered.
func (r *resolving) decide(s *sourceSlot) {
	if !s.enqueue(queued{step: func() { r.atSource(s) }, dropped: r.changed}) {
		r.changed()
	}
}

// askOutside makes sure that a Kvrocks is told nothing more, and asks whether it serves the slot.
func (r *resolving) askOutside(k *kvrocks, s *sourceSlot) {
	r.outside = k
	k.halt(r.slot, func(serves bool, err error) {
		if err == nil && serves && r.what == engine.ResolveAbort {
			err = fmt.Errorf("node %s serves slot %d: if that is to end, give it a map, or end it, first", r.other, r.slot)
		}
		if err != nil {
			k.resume(r.slot)
			r.done("", err)
			return
		}
		r.decide(s)
	})
}

// changed answers that the slot has gone on meanwhile.
func (r *resolving) changed() {
	if r.outside != nil {
		r.outside.resume(r.slot)
	}
	r.done("", errChanged)
}

// errChanged says that what was to be resolved has come to its end meanwhile.
var errChanged = errors.New("the slot has gone on meanwhile: look at the job")

// atSource is a step of the slot.
func (r *resolving) atSource(s *sourceSlot) {
	d := r.d
	if step, _ := s.machine.Now(); step != migration.StepCommitting {
		r.changed()
		return
	}
	why := fmt.Sprintf("an operator has resolved slot %d as %s: node %s is lost", r.slot, r.what, r.other)
	d.mu.Lock()
	s.job.note(why)
	d.mu.Unlock()
	s.job.persist(nil)
	if r.what == engine.ResolveCommit {
		s.post(migration.EvReply{Message: migration.MsgCommit, Attempt: s.machine.Attempt(), Reply: migration.Reply{Kind: migration.ReplyCommitted, Attempt: s.machine.Attempt()}})
		text := fmt.Sprintf("slot %d counts as taken over by node %s", r.slot, r.other)
		done := func() {
			if r.outside != nil {
				r.outside.forget(r.slot)
			}
			r.did(text)
		}
		if !s.enqueue(queued{step: done, dropped: r.changed}) { // behind the reply, which is written by then
			r.changed()
		}
		return
	}
	var epoch cluster.Epoch
	d.node.Exclusive(r.slot, func(o *engine.Owned) {
		rec := o.Record()
		if rec.State != cluster.Released || rec.Job != s.id || rec.DataGone {
			return
		}
		epoch = rec.Epoch + 1
		b := d.node.Store().NewBatch()
		d.mu.Lock()
		p := s.job.slots[r.slot]
		p.phase, p.slotAccount = migration.PhaseFailed, s.account()
		b.Set(progressKey(s.job.header.Counter, r.slot), p.encode())
		d.mu.Unlock()
		// The job stays in the record: it says that the node has the slot by more than a map, and announces it.
		o.Commit(b, cluster.Record{State: cluster.Serving, Epoch: epoch, Job: s.id, Attempt: rec.Attempt, Peer: r.other})
		o.Unpause()
	})
	if epoch == 0 {
		r.changed()
		return
	}
	s.quit(why)
	d.announce(r.slot, epoch)
	r.did(fmt.Sprintf("slot %d is served here again, under epoch %d", r.slot, epoch))
}

// quit takes a slot out of the driver of which the machine has nothing more to say. It is called on the slot's worker.
func (s *sourceSlot) quit(why string) {
	d := s.d
	for _, t := range s.timers {
		if t != nil {
			t.Stop()
		}
	}
	d.mu.Lock()
	d.dropSource(s)
	k := s.stream.outside
	d.mu.Unlock()
	if k != nil {
		k.forget(s.slot)
	}
	s.close()
	s.held.calls.Store(0) // what is on its way still has nobody whom its end could be told
	s.job.stop(why)
}
