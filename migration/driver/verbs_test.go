package driver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/migration"
)

// tell gives a job a verb, which must change something or not, and answer with these words.
func (w *world) tell(n *node, counter uint64, verb engine.JobVerb, changed bool, words string, ranges ...slot.Range) {
	w.t.Helper()
	a, err := n.driver().Tell(counter, verb, ranges)
	if err != nil || a.Changed != changed || !strings.Contains(a.Message, words) || a.Job.Counter != counter {
		w.t.Errorf("%s: changed %v, %q, %v; want changed %v, %q", verb, a.Changed, a.Message, err, changed, words)
	}
	durable := false // as it is when an operator is answered
	n.Store().WhenDurable(n.Store().Last(), func() { durable = true })
	w.until("the order is durable", func() bool { return durable })
}

func (w *world) refused(n *node, counter uint64, verb engine.JobVerb, words string, ranges ...slot.Range) {
	w.t.Helper()
	if a, err := n.driver().Tell(counter, verb, ranges); err == nil || !strings.Contains(err.Error(), words) {
		w.t.Errorf("%s: %+v, %v; want an error with %q", verb, a, err, words)
	}
}

// filled is a world of nodes of which the first has a slot with records.
func filled(t *testing.T, seed uint64, nodes int) (*world, shadow) {
	w := newWorld(t, seed)
	cfg := quick()
	cfg.Source.GiveUpAfter = 5 * time.Second
	w.born(nodes, cfg)
	m := shadow{}
	for i := range 40 {
		m.set(w, i, "v")
	}
	return w, m
}

// TestHold: a held job copies and verifies, keeps up with what is written, over restarts of both nodes, and hands over when it is told.
func TestHold(t *testing.T) {
	for seed := range uint64(4) {
		w, m := filled(t, seed, 2)
		from, to := w.nodes[0], w.nodes[1]
		job := w.startWith(engine.JobOptions{Hold: true}, 0, 1, testSlot)
		holds := func() {
			w.until("the slot is held", func() bool { return from.stepOf(testSlot) == migration.StepHolding })
		}
		holds()
		if st := from.job(job); st.State != engine.JobWAL || st.Step != "holding" || !strings.Contains(st.Waiting, "cut over") || st.Held.Len() != 1 {
			t.Fatalf("status %+v", st)
		}
		for i := range 30 {
			m.set(w, i, "held")
			m.del(w, 30+i%10)
		}
		w.until("the changes have been sent", func() bool {
			return len(to.records(key.KindSpan(testSlot, key.Record))) == len(m) && from.stepOf(testSlot) == migration.StepHolding
		})
		w.pass(20 * time.Second) // longer than a target may be silent
		if st := from.job(job); st.Step != "holding" {
			t.Fatalf("after a while: status %+v", st)
		}
		if seed&1 != 0 {
			to.crash()
		}
		if seed&2 != 0 {
			from.crash()
			holds()
		}
		w.refused(from, job, engine.VerbCutOver, "not one of the job's", slot.Range{First: 1, Last: 1})
		w.tell(from, job, engine.VerbCutOver, true, "1 slots")
		w.tell(from, job, engine.VerbCutOver, false, "none of these slots is held", slot.Range{First: testSlot, Last: testSlot})
		st := w.ended(from, job)
		w.pass(3 * time.Second)
		checkMoved(w, from, to, m, st)
		w.tell(from, job, engine.VerbCutOver, false, "has ended with MIGRATION_SUCCESS: 1 of 1 slots moved")
		w.close()
	}
}

// TestHoldOfManySlots: slots that are held make room for others, up to a bound; a cutover can name some.
func TestHoldOfManySlots(t *testing.T) {
	w := newWorld(t, 3)
	cfg := quick()
	cfg.SlotsAtOnce, cfg.HeldAtOnce = 2, 5
	w.born(2, cfg)
	n := w.nodes[0]
	slots := []slot.Slot{1, 2, 3, 4, 5, 6, 7, 8}
	job := w.startWith(engine.JobOptions{Hold: true}, 0, 1, slots...)
	w.until("five are held", func() bool { st := n.job(job); return st.Held.Len() >= 5 })
	w.pass(10 * time.Second)
	if st := n.job(job); st.Held.Len() < 5 || st.Held.Len() > 6 || st.Moved.Len() != 0 {
		t.Fatalf("status %+v", st)
	}
	w.tell(n, job, engine.VerbCutOver, true, "3 slots", slot.Range{First: 2, Last: 4})
	w.until("three have moved and the others are held", func() bool { st := n.job(job); return st.Moved.Len() == 3 && st.Held.Len() == 5 })
	w.tell(n, job, engine.VerbCancel, true, "5 slots")
	if st := w.ended(n, job); st.State != engine.JobFail || st.Moved.Len() != 3 {
		t.Fatalf("status %+v", st)
	}
	w.tell(n, job, engine.VerbCancel, false, "has ended with MIGRATION_FAIL: 3 of 8 slots moved: cancelled by an operator")
}

// TestCutOverOfManySlots: slots that were held are handed over no more at once than others, also when the job is told again, or to rest,
// meanwhile.
func TestCutOverOfManySlots(t *testing.T) {
	w := newWorld(t, 3)
	cfg := quick()
	cfg.SlotsAtOnce, cfg.HeldAtOnce = 3, 40
	w.born(2, cfg)
	n := w.nodes[0]
	var slots []slot.Slot
	for sl := range slot.Slot(30) {
		slots = append(slots, sl)
	}
	job := w.startWith(engine.JobOptions{Hold: true}, 0, 1, slots...)
	w.until("all are held", func() bool { st := n.job(job); return st.Held.Len() == len(slots) })
	w.tell(n, job, engine.VerbCutOver, true, "10 slots", slot.Range{First: 0, Last: 9})
	w.tell(n, job, engine.VerbCutOver, true, "20 slots")
	if st := n.job(job); st.Held.Len() > 0 || st.Waiting != "" {
		t.Errorf("who was told waits for operators: %+v", st)
	}
	most := 0
	watch := func(moved int) {
		w.until("slots have moved", func() bool {
			away := 0
			for _, sl := range slots {
				switch n.stepOf(sl) {
				case migration.StepIdle, migration.StepHolding, migration.StepSuspended, migration.StepDone:
				default:
					away++
				}
			}
			most = max(most, away)
			st := n.job(job)
			return st.Moved.Len() >= moved
		})
	}
	watch(10)
	w.tell(n, job, engine.VerbPause, true, "paused")
	w.pass(time.Second)
	if st := n.job(job); st.Moved.Len() > 10+cfg.SlotsAtOnce {
		t.Errorf("a job that rests hands over: %+v", st)
	}
	w.tell(n, job, engine.VerbResume, true, "goes on")
	w.until("what was held is held again", func() bool {
		return !slices.ContainsFunc(slots, func(sl slot.Slot) bool { return n.stepOf(sl) == migration.StepSuspended })
	})
	w.pass(100 * time.Millisecond)
	watch(len(slots))
	w.ended(n, job)
	t.Logf("%d at once", most)
	if most > cfg.SlotsAtOnce {
		t.Errorf("%d slots were on their way at once, %d may be", most, cfg.SlotsAtOnce)
	}
}

// TestPause: a paused job sends nothing, in whatever step it is, over restarts; it goes on when it is told and loses nothing.
func TestPause(t *testing.T) {
	paused := map[migration.Step]int{}
	for seed := range uint64(30) {
		w, m := filled(t, seed, 2)
		from, to := w.nodes[0], w.nodes[1]
		job := w.start(0, 1, testSlot)
		if seed%5 == 1 { // a phase so short that it is not met by chance
			w.until("the writers wait", func() bool { return from.stepOf(testSlot) == migration.StepPausing })
		} else {
			for range w.rng.IntN(250) {
				w.step(w.now + time.Second)
			}
		}
		before := from.stepOf(testSlot)
		a, err := from.driver().Tell(job, engine.VerbPause, nil)
		if err != nil {
			t.Fatal(err)
		}
		if moved := from.job(job).Moved; a.Changed && !before.Decided() && moved.Len() == 0 {
			paused[before]++
		}
		if seed%3 == 0 {
			w.pass(time.Second)
			from.crash()
		}
		w.pass(time.Second)
		records := from.job(job).Records
		for i := range 10 {
			m.set(w, i, fmt.Sprint("paused ", i))
			m.del(w, 30+i)
		}
		w.pass(20 * time.Second)
		st := from.job(job)
		if st.State.Ended() {
			if st.State != engine.JobSuccess {
				t.Fatalf("status %+v", st)
			}
			continue // the order came too late
		}
		if st.Records != records || st.Moved.Len() != 0 || !strings.Contains(st.Waiting, "resumed") || from.Record(testSlot).State != cluster.Serving {
			t.Fatalf("seed %d: status %+v, %d records sent before", seed, st, records)
		}
		w.tell(from, job, engine.VerbPause, false, "already")
		w.tell(from, job, engine.VerbResume, true, "goes on")
		if a, err := from.driver().Tell(job, engine.VerbResume, nil); err != nil || a.Changed {
			t.Fatalf("resumed again: %+v, %v", a, err)
		}
		st = w.ended(from, job)
		w.pass(3 * time.Second)
		checkMoved(w, from, to, m, st)
		w.close()
	}
	if len(paused) < 3 {
		t.Errorf("paused in the steps %v only", paused)
	}
}

// TestJobsForgotten: the oldest jobs that have ended are forgotten, over the limit, also behind one that has not.
func TestJobsForgotten(t *testing.T) {
	w := newWorld(t, 1)
	cfg := quick()
	cfg.JobsKept = 3
	w.born(2, cfg)
	n := w.nodes[0]
	held := w.startWith(engine.JobOptions{Hold: true}, 0, 1, 1)
	for sl := slot.Slot(2); sl < 9; sl++ {
		w.ended(n, w.start(0, 1, sl))
	}
	last := w.start(0, 1, 9)
	want := []uint64{held, last - 1, last}
	for range 2 {
		var got []uint64
		for _, j := range n.driver().Jobs() {
			got = append(got, j.ID.Counter)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the jobs %v are remembered, want %v", got, want)
		}
		w.ended(n, last)
		w.pass(time.Second)
		n.crash()
	}
}

// TestCancelIsHonest: each answer says what became of the job.
func TestCancelIsHonest(t *testing.T) {
	w, m := filled(t, 1, 2)
	n := w.nodes[0]
	job := w.startWith(engine.JobOptions{KeepSource: time.Minute}, 0, 1, testSlot)
	w.until("the copy is kept", func() bool { return n.stepOf(testSlot) == migration.StepKeeping })
	w.tell(n, job, engine.VerbCancel, false, "too late")
	w.tell(n, job, engine.VerbPause, false, "not paused")
	w.tell(n, job, engine.VerbClean, true, "deleted")
	checkMoved(w, n, w.nodes[1], m, w.ended(n, job))
	w.tell(n, job, engine.VerbCancel, false, "has ended with MIGRATION_SUCCESS: 1 of 1 slots moved")
	w.tell(n, job, engine.VerbClean, false, "has ended")
	w.refused(n, 9, engine.VerbPause, "no job 9")
}
