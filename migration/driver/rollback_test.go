package driver

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/migration"
)

// kept moves the slot from the first node to the second, which keeps its copy so long.
func (w *world) kept(keep time.Duration) uint64 {
	w.t.Helper()
	job := w.startWith(engine.JobOptions{KeepSource: keep}, 0, 1, testSlot)
	w.until("the copy is kept", func() bool { return w.nodes[0].stepOf(testSlot) == migration.StepKeeping })
	return job
}

// back is the job by which a node hands slots back that came by another, if it has one.
func (n *node) back(of cluster.JobID) (engine.JobStatus, bool) {
	for _, j := range n.driver().Jobs() {
		if j.RollbackOf == of {
			return j, true
		}
	}
	return engine.JobStatus{}, false
}

// TestRollback: a slot goes and comes back, with everything that was written since, by sending little more than that, whatever crashes.
func TestRollback(t *testing.T) {
	for seed := range uint64(24) {
		w, m := filled(t, seed, 2)
		from, to := w.nodes[0], w.nodes[1]
		job := w.kept(time.Hour)
		st := from.job(job)
		if st.State != engine.JobClean || st.Step != "keeping" || st.Kept.Len() != 1 || !strings.Contains(st.Waiting, "kept") {
			t.Fatalf("status %+v", st)
		}
		m.set(w, 3, "written at the target")
		m.del(w, 4)
		if seed%2 == 0 {
			w.lose, w.repeat = 20, 20
		}
		w.tell(from, job, engine.VerbRollback, true, "1 slots that have moved are asked back")
		w.tell(from, job, engine.VerbRollback, false, "asked back")
		for range w.rng.IntN(200) {
			w.step(w.now + time.Second)
		}
		if seed%3 == 1 {
			from.crash()
		}
		if seed%3 == 2 {
			to.crash()
		}
		m.set(w, 5, "written meanwhile")
		w.until("the slot is back", func() bool { return from.Record(testSlot).State == cluster.Serving })
		w.lose, w.repeat = 0, 0
		back, found := to.back(st.ID)
		if !found {
			t.Fatal("no job at the target undoes the move")
		}
		back = w.ended(to, back.ID.Counter)
		if st := w.ended(from, job); st.State != engine.JobSuccess || st.Kept.Len() != 0 {
			t.Errorf("the job that was undone: %+v", st)
		}
		if back.Records > 25 && seed%3 == 0 {
			t.Errorf("seed %d: %d records were sent to bring back 2 changes of 40", seed, back.Records)
		}
		w.pass(3 * time.Second)
		checkMoved(w, to, from, m, back)
		w.close()
	}
}

// TestHoldSourceEnds: when its time is over the copy is deleted, and the job cannot be rolled back; a restart does not make the time
// longer. A copy of a slot that came back by another job is not this job's to delete.
func TestHoldSourceEnds(t *testing.T) {
	for seed := range uint64(2) {
		w, m := filled(t, seed, 2)
		from, to := w.nodes[0], w.nodes[1]
		job := w.kept(10 * time.Second)
		w.pass(6 * time.Second)
		if len(from.records(key.KindSpan(testSlot, key.Record))) != 40 {
			t.Fatal("the copy is gone")
		}
		if seed == 1 {
			from.crash()
		}
		w.pass(5 * time.Second)
		checkMoved(w, from, to, m, w.ended(from, job))
		w.refused(from, job, engine.VerbRollback, "the copies for a rollback are gone")

		w.ended(to, w.start(1, 0, testSlot))
		plain := w.start(0, 1, testSlot)
		w.ended(from, plain)
		w.refused(from, plain, engine.VerbRollback, "was started without HOLD-SOURCE")
		w.ended(to, w.start(1, 0, testSlot))

		again := w.kept(10 * time.Second)
		back := w.start(1, 0, testSlot)
		checkMoved(w, to, from, m, w.ended(to, back))
		w.ended(from, again)
		w.pass(20 * time.Second)
		m.check(w, from)
		w.close()
	}
}

// TestRollbackOfManySlots: a rollback in the middle of a job gives up what is left and brings back what has moved, by one job.
func TestRollbackOfManySlots(t *testing.T) {
	w := newWorld(t, 4)
	cfg := quick()
	cfg.SlotsAtOnce = 2
	w.born(2, cfg)
	from, to := w.nodes[0], w.nodes[1]
	job := w.startWith(engine.JobOptions{Hold: true, KeepSource: time.Hour}, 0, 1, 1, 2, 3, 4, 5)
	w.tell(from, job, engine.VerbCutOver, true, "5 slots")
	w.until("three have moved", func() bool { st := from.job(job); return st.Moved.Len() >= 3 && st.Kept.Len() >= 2 })
	w.tell(from, job, engine.VerbRollback, true, "asked back")
	w.ended(from, job)
	w.until("everything is back", func() bool {
		s := from.Serving()
		return s.Len() == 16384 && !to.driver().Busy() && !from.driver().Busy()
	})
	jobs := to.driver().Jobs()
	if st := w.ended(to, jobs[0].ID.Counter); len(jobs) > 2 || st.State != engine.JobSuccess {
		t.Errorf("the slots came back by %d jobs, the first of which ended with %s", len(jobs), st.State)
	}
}

// TestRollbackOutlastsKeepTime: a rollback that was accepted is not dropped when the target cannot be reached until the time is over
// for which the copy was to be kept. If the target then refuses, the job ends and says so.
func TestRollbackOutlastsKeepTime(t *testing.T) {
	for seed := range uint64(4) {
		w, m := filled(t, seed, 3)
		from, to := w.nodes[0], w.nodes[1]
		job := w.kept(5 * time.Second)
		refuse := seed&1 != 0
		if refuse {
			w.ended(to, w.start(1, 2, testSlot))
		}
		to.down = true
		w.tell(from, job, engine.VerbRollback, true, "asked back")
		w.pass(7 * time.Second)
		if seed&2 != 0 {
			from.crash()
		}
		w.pass(20 * time.Second)
		if st := from.job(job); st.State.Ended() || !strings.Contains(st.Waiting, "asked to hand the slot back") {
			t.Fatalf("seed %d: the order was dropped: %+v", seed, st)
		}
		to.down = false
		st := w.ended(from, job)
		if refuse {
			if st.State != engine.JobSuccess || !strings.Contains(st.Error, "cannot be rolled back") {
				t.Errorf("seed %d: %+v", seed, st)
			}
			m.check(w, w.nodes[2])
		} else {
			w.until("the slot is back", func() bool { return from.Record(testSlot).State == cluster.Serving })
			m.check(w, from)
		}
		w.close()
	}
}

// TestNotHandedBack: a node hands back only what it has by the job that is undone, to the node that made it.
func TestNotHandedBack(t *testing.T) {
	w, _ := filled(t, 2, 3)
	job := w.kept(time.Hour)
	w.ended(w.nodes[1], w.start(1, 2, testSlot))
	w.tell(w.nodes[0], job, engine.VerbRollback, true, "asked back")
	w.until("the target has refused", func() bool { return strings.Contains(w.nodes[0].job(job).Error, "has had to do with other jobs since") })
	w.tell(w.nodes[0], job, engine.VerbClean, true, "deleted now")
	w.ended(w.nodes[0], job)
	w.pass(time.Second) // until the end is durable
	w.nodes[0].crash()
	if st := w.nodes[0].job(job); st.State != engine.JobSuccess || !strings.Contains(st.Error, "has had to do with other jobs since") {
		t.Errorf("the job has ended without saying why the slot did not come back: %+v", st)
	}
	from := engine.PeerInfo{ID: id(2), Incarnation: w.nodes[2].Incarnation()}
	m := migration.Message{Kind: migration.MsgReturn, Slot: testSlot, Job: w.nodes[0].job(job).ID, Epoch: 1}
	if r := w.nodes[1].driver().handBack(from, m); r.Kind != migration.ReplyRefused || !strings.Contains(r.Text, "made by another node") {
		t.Errorf("asked by another node: %+v", r)
	}
}

// TestAskedBackTwiceAtOnce: a question that is executed twice at the same time, on two connections, is answered twice with yes.
func TestAskedBackTwiceAtOnce(t *testing.T) {
	w, _ := filled(t, 2, 2)
	job := w.kept(time.Hour)
	from, to := w.nodes[0], w.nodes[1]
	m := migration.Message{Kind: migration.MsgReturn, Slot: testSlot, Job: from.job(job).ID, Epoch: from.Record(testSlot).Epoch - 1}
	asker := engine.PeerInfo{ID: from.ID(), Incarnation: from.Incarnation()}
	answers := make(chan migration.Reply, 2)
	to.Exclusive(testSlot, func(*engine.Owned) { // where both wait, if they can
		for range 2 {
			go func() { answers <- to.driver().handBack(asker, m) }()
		}
		for range 10_000 {
			runtime.Gosched()
		}
	})
	for range 2 {
		if r := <-answers; r.Kind != migration.ReplyReturning {
			t.Errorf("refused: %s", r.Text)
		}
	}
	if n := len(to.driver().Jobs()); n != 1 {
		t.Errorf("%d jobs hand the slot back", n)
	}
}
