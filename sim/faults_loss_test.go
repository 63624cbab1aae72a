package sim

import (
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/linearize"
	"godwit/migration"
)

// TestTakenBack: what a machine that is lost for good had told is no floor for anybody any more, whatever it wrote there last.
func TestTakenBack(t *testing.T) {
	for _, lost := range []bool{true, false} {
		s := tell(t)
		s.do(1, okReply, "SET", "k", "1;", "PX", "100")
		if lost {
			s.w.history.forget(s.in["it"])
		}
		s.w.now += 50 * time.Millisecond
		s.do(2, linearize.Nil(), "GET", "k")
		demand(t, s.w, map[bool]string{false: "expiry"}[lost])
	}
}

// TestPartedWhenAsked: a source that is lost takes with it what it has told since it asked its target to prepare, not only since the target is prepared: the
// message can be late, and the source has given the pause up and served on before it arrives.
func TestPartedWhenAsked(t *testing.T) {
	w := founded(t)
	w.nemesis.over = false
	f, sl := w.nemesis.faults, w.keys.slots[0]
	p, q := w.procs[0], w.procs[1]
	job := cluster.JobID{Node: p.id, Incarnation: p.node.Incarnation(), Counter: 1}
	prepare := func(a cluster.Attempt) *call {
		m := migration.Message{Kind: migration.MsgPrepare, Slot: sl, Job: job, Attempt: a}
		return &call{args: [][]byte{[]byte("PEER"), []byte("MIGRATION"), m.Append(nil)}}
	}
	write := func() {
		f.served(p, sl)
		f.answered(p, sl, linearize.ID(0))
	}
	l := &loss{p: p, source: true, slot: sl, moves: true, parted: map[cluster.Attempt]parted{}}
	f.losing = l
	write()
	f.sends(p, prepare(1)) // is late: the pause is given up meanwhile
	write()
	write()
	f.sends(p, prepare(1)) // a repetition
	write()
	f.recorded(q, sl, cluster.Record{State: cluster.Prepared, Epoch: 1, Job: job, Attempt: 1, Peer: p.id})
	if got := l.parted[1]; l.other != q || l.unshared() != 3 || got != (parted{told: 1, writes: 1}) {
		t.Errorf("of the attempt that was asked for, %d writes are lost, since %+v", l.unshared(), got)
	}
	f.sends(p, prepare(3))
	write()
	f.recorded(q, sl, cluster.Record{State: cluster.Prepared, Epoch: 1, Job: job, Attempt: 3, Peer: p.id})
	if got := l.parted[3]; l.unshared() != 1 || got != (parted{told: 4, writes: 4}) {
		t.Errorf("of the next attempt, %d writes are lost, since %+v", l.unshared(), got)
	}
}

// TestLostIsFound: a machine that was lost comes back once its handoff is resolved, also if the other side goes on to commit what nobody waits for.
func TestLostIsFound(t *testing.T) {
	w := founded(t)
	sl := w.keys.slots[0]
	q := w.owner(sl)
	p := w.procs[(q.index+1)%len(w.procs)]
	l := &loss{p: p, source: true, slot: sl, moves: true, other: q, gone: true}
	w.nemesis.faults.losing, p.lost = l, true
	p.wipe()
	b := q.node.Store().NewBatch()
	b.Set(key.Named("unawaited"), []byte("value"))
	q.node.Store().Commit(b)
	if q.synced() {
		t.Fatal("nothing is to be synced")
	}
	w.oper.resolveLoss(l)
	w.runUntil(w.now+10*time.Second, func() bool { return !p.lost })
	if p.lost {
		t.Error("the machine is not found")
	}
}

// TestLostIsFoundWhenTheSlotHasGone: a machine comes back also if the slot has been resolved and given away by another job between two looks.
func TestLostIsFoundWhenTheSlotHasGone(t *testing.T) {
	w := founded(t)
	sl := w.keys.slots[0]
	q := w.owner(sl)
	p := w.procs[(q.index+1)%len(w.procs)]
	job := cluster.JobID{Node: q.id, Incarnation: q.node.Incarnation(), Counter: 7}
	q.node.Exclusive(sl, func(o *engine.Owned) {
		o.Commit(q.node.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: o.Record().Epoch + 1, Job: job, Peer: w.procs[(q.index+2)%len(w.procs)].id})
	})
	q.node.Store().WhenDurable(q.node.Store().Last(), func() {})
	w.runUntil(w.now+10*time.Second, q.synced)
	before := job
	before.Counter--
	for _, l := range []*loss{{job: job}, {job: before}} {
		l.p, l.slot, l.moves, l.other, l.gone = p, sl, true, q, true
		w.nemesis.faults.losing, p.lost = l, true
		if p.ready() {
			p.wipe()
		}
		w.oper.resolveLoss(l)
		w.runUntil(w.now+time.Second, func() bool { return !p.lost })
		if gone := l.job != job; p.lost == gone {
			t.Errorf("given away by another job than the one that was resolved: %v; the machine is still lost: %v", gone, p.lost)
		}
	}
}

// await runs the world until something is so, ten seconds at most.
func await(t *testing.T, w *world, what string, so func() bool) {
	t.Helper()
	w.runUntil(w.now+10*time.Second, so)
	if w.failed != nil || !so() {
		t.Fatalf("not so: %s (%v)", what, w.failed)
	}
}

// drain moves all slots of a machine to another.
func drain(t *testing.T, w *world, from, to *process) {
	t.Helper()
	for i, sl := range w.keys.slots {
		if w.owner(sl) == from {
			w.oper.move(from, to, []int{i})
			await(t, w, "the machine is drained", func() bool { return from.record(sl).DataGone })
		}
	}
}

// TestAwaitedIsNotLost: a machine is not lost as the source of a slot while the one that had given it the slot has not heard that it arrived: that one would
// wait for ever, since the operator resolves one handoff. Once it has heard, the machine is lost, and all comes to an end.
func TestAwaitedIsNotLost(t *testing.T) {
	w := newWorldOf(1, crashSwarm(), store.NewCaches(), nil)
	w.setup()
	t.Cleanup(w.shutdown)
	sl := w.keys.slots[0]
	a := w.owner(sl)
	p, q := w.procs[(a.index+1)%3], w.procs[(a.index+2)%3]
	drain(t, w, p, q)
	w.oper.move(a, p, []int{0})
	await(t, w, "the first move is decided", func() bool { return a.record(sl).State == cluster.Released })
	w.net.cuts = []cut{{p.index, a.index}} // no answer arrives
	await(t, w, "the machine serves", func() bool { return p.serves(sl) && p.synced() })
	w.oper.move(p, q, []int{0})
	await(t, w, "the target is prepared", func() bool { return q.record(sl).State == cluster.Prepared })
	w.net.cuts = append(w.net.cuts, cut{q.index, p.index}) // which the machine does not hear
	l := &loss{p: p, source: true, slot: sl, moves: true, other: q, parted: map[cluster.Attempt]parted{}}
	stands := func() bool {
		return q.record(sl).State == cluster.Prepared && q.synced() && p.ready() && p.keepsOnly(sl)
	}
	await(t, w, "nothing else is in the way", stands)
	if a.record(sl).DataGone || l.stands() {
		t.Errorf("the machine can be lost, and the record of the one before is %v", a.record(sl))
	}
	w.net.cuts = w.net.cuts[1:]
	await(t, w, "the one before has heard", func() bool { return a.record(sl).DataGone && a.synced() && stands() })
	if !l.stands() {
		t.Error("the machine can still not be lost")
	}
}

// TestHeardIsNotLost: a machine is not lost as the target of a slot from when the source has the answer that it durably serves, though the source comes to that
// answer later: it would not ask again, and nothing would be left that an operator can resolve. The answer before, which tells of nothing durable, does not count.
func TestHeardIsNotLost(t *testing.T) {
	w := newWorldOf(1, crashSwarm(), store.NewCaches(), nil)
	w.setup()
	t.Cleanup(w.shutdown)
	f, sl := &w.nemesis.faults, w.keys.slots[0]
	q := w.owner(sl)
	p, third := w.procs[(q.index+1)%3], w.procs[(q.index+2)%3]
	drain(t, w, p, third)
	l := &loss{p: p, slot: sl, moves: true, other: q, parted: map[cluster.Attempt]parted{}}
	w.oper.move(q, p, []int{0})
	f.losing = l // from then on the operator moves nothing else of it
	await(t, w, "the target serves, and can be lost", func() bool { return p.serves(sl) && q.synced() && l.stands() })

	hear := func(to *process, kind migration.MessageKind, of slot.Slot, reply migration.ReplyKind) {
		m := migration.Message{Kind: kind, Slot: of, Job: q.record(sl).Job}
		r := migration.Reply{Kind: reply}
		f.hears(to, &call{args: [][]byte{[]byte("PEER"), []byte("MIGRATION"), m.Append(nil)}}, string(r.Encode()))
	}
	hear(q, migration.MsgCommit, sl, migration.ReplyServing)
	hear(q, migration.MsgCommit, w.keys.slots[1], migration.ReplyCommitted)
	hear(q, migration.MsgPrepare, sl, migration.ReplyCommitted)
	hear(third, migration.MsgCommit, sl, migration.ReplyCommitted)
	if !l.stands() {
		t.Error("the machine cannot be lost though the source has not heard that it durably serves")
	}
	hear(q, migration.MsgCommit, sl, migration.ReplyCommitted)
	if q.stepOf(sl) != "committing" || l.stands() {
		t.Errorf("the machine can be lost though the source has heard that it durably serves; the source is %s", q.stepOf(sl))
	}
	l.heard = false
	await(t, w, "the network tells that it was heard", func() bool { return l.heard })
	if r := p.record(sl); r.State != cluster.Serving || !p.synced() {
		t.Errorf("heard, but the machine's record is %v, durable: %t", r, p.synced())
	}
}

// TestFlushedIsLost: what a machine that is lost has shown since it was told to delete all is taken back, though no client has written there; without that it stands.
func TestFlushedIsLost(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		w := newWorldOf(1, crashSwarm(), store.NewCaches(), nil)
		w.setup()
		t.Cleanup(w.shutdown)
		f, sl := &w.nemesis.faults, w.keys.slots[0]
		q := w.owner(sl)
		p, third := w.procs[(q.index+1)%3], w.procs[(q.index+2)%3]
		drain(t, w, p, third)
		l := &loss{p: p, slot: sl, moves: true, other: q, parted: map[cluster.Attempt]parted{}}
		w.oper.move(q, p, []int{0})
		f.losing = l
		await(t, w, "the target serves, and can be lost", func() bool { return p.serves(sl) && q.synced() && l.stands() })
		l.attempt = q.record(sl).Attempt

		f.flushes(third)
		if flushed {
			f.flushes(p)
		}
		read := operation([]string{"GET", "a key"})
		read.Client, read.Slot, read.Call = 1000, uint16(sl), int64(w.now)
		id, err := w.history.Begin(read)
		w.must(err)
		w.must(w.history.End(id, linearize.Nil(), int64(w.now)))
		f.answered(p, sl, id)
		f.n.over = false
		f.strikeOut(l, 1)
		if !l.gone {
			t.Fatalf("the machine was not lost: it can be: %t, it has written %d times", l.stands(), l.unshared())
		}
		for _, op := range w.history.History().Operations {
			if op.Client == 1000 && (op.Outcome == linearize.Unknown) != flushed {
				t.Errorf("told to delete all: %t, and what was read has the outcome %v", flushed, op.Outcome)
			}
		}
	}
}
