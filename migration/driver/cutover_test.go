package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/migration"
)

// TestHandedOverBeforeTargetsSync requires that those who wait for a slot are let go when its target serves, however long its disk takes, and that the
// source counts on nothing of it before that is durable: the target may lose its power meanwhile, comes back prepared, and is told again.
func TestHandedOverBeforeTargetsSync(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprint("crash ", crash), func(t *testing.T) {
			w := newWorld(t, 5)
			w.inOrder = true
			w.born(2, quick())
			source, target := w.nodes[0], w.nodes[1]
			m := shadow{}
			for i := range 50 {
				m.set(w, i, fmt.Sprint("value ", i))
			}
			job := w.start(0, 1, testSlot)
			w.until("the target is prepared", func() bool { return source.stepOf(testSlot) == migration.StepDeciding })
			target.slowDisk = true
			w.until("the pause is over", func() bool {
				source.driver().mu.Lock()
				defer source.driver().mu.Unlock()
				return source.driver().pauses.count() == 1
			})
			if got := w.do(source, "SET", keyOf(0), "x").String(); !strings.Contains(got, "MOVED") {
				t.Errorf("the source answers a write: %s", got)
			}
			w.pass(300 * time.Millisecond)
			if got := target.Record(testSlot).State; got != cluster.Serving {
				t.Errorf("the slot is %s at the target", got)
			}
			if got := source.stepOf(testSlot); got != migration.StepCommitting {
				t.Errorf("the source is %s before the target's ownership is durable", got)
			}
			if crash {
				target.crash()
				if got := target.Record(testSlot).State; got != cluster.Prepared {
					t.Fatalf("the slot is %s at the target after a crash", got)
				}
			} else {
				target.quickDisk()
			}
			if st := w.ended(source, job); st.State != engine.JobSuccess {
				t.Fatalf("%+v\n%s", st, source.logs.String())
			}
			if got := target.Record(testSlot).State; got != cluster.Serving {
				t.Errorf("the slot is %s at the target in the end", got)
			}
			m.check(w, target)
		})
	}
}

// TestPauseLegs requires that a slow disk is found in the leg of the pause that waits for it, and that the legs are the whole pause.
func TestPauseLegs(t *testing.T) {
	w := newWorld(t, 6)
	w.inOrder = true
	w.born(2, quick())
	source, target := w.nodes[0], w.nodes[1]
	m := shadow{}
	for i := range 50 {
		m.set(w, i, fmt.Sprint("value ", i))
	}
	job := w.start(0, 1, testSlot)
	at := func(step migration.Step) {
		t.Helper()
		w.until("the slot is "+step.String(), func() bool { return source.stepOf(testSlot) == step })
	}
	at(migration.StepPausing)
	source.slowDisk, target.slowDisk = true, true
	w.pass(300 * time.Millisecond)
	target.quickDisk()
	at(migration.StepDeciding)
	target.slowDisk = true
	w.pass(200 * time.Millisecond)
	source.quickDisk()
	at(migration.StepCommitting)
	w.pass(100 * time.Millisecond)
	target.quickDisk()
	if st := w.ended(source, job); st.State != engine.JobSuccess {
		t.Fatalf("%+v\n%s", st, source.logs.String())
	}
	r, err := source.driver().Report(job)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Pauses
	if p.FinalMs >= 50 || p.PrepareMs < 300 || p.PrepareMs >= 400 || p.DecideMs < 200 || p.DecideMs >= 300 || p.CommitMs >= 100 {
		t.Errorf("%+v", p)
	}
	if sum := p.FinalMs + p.PrepareMs + p.DecideMs + p.CommitMs; p.Count != 1 || sum < p.LongestMs-0.01 || sum > p.LongestMs+0.01 {
		t.Errorf("the legs come to %.3f ms: %+v", sum, p)
	}
	counters := map[string]uint64{}
	for _, c := range source.driver().Metrics() {
		counters[c.Name] = c.Value
	}
	legs := counters["migration_pause_final_us_sum"] + counters["migration_pause_prepare_us_sum"] + counters["migration_pause_decide_us_sum"] + counters["migration_pause_commit_us_sum"]
	if whole := counters["migration_pause_us_sum"]; whole < 500_000 || legs+4 < whole || legs > whole {
		t.Errorf("the legs are counted as %d us, the pause as %d", legs, whole)
	}
}
