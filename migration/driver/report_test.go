package driver

import (
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
)

// report is all that a node knows of a job.
func (n *node) report(counter uint64) engine.JobDetails {
	n.w.t.Helper()
	r, err := n.driver().Report(counter)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return r
}

// TestReportTimes: the steps of a slot add up to the time of its job, and those of a job to those of its slots.
func TestReportTimes(t *testing.T) {
	w := newWorld(t, 3)
	w.inOrder, w.lat = true, 3*time.Millisecond
	w.born(2, quick())
	n := w.nodes[0]
	for i := range 300 {
		w.cmd("SET", keyOf(i), "v")
	}
	job := w.start(0, 1, testSlot, 1)
	w.ended(n, job)
	for range 2 {
		r := n.report(job)
		sums := map[string]float64{}
		for _, s := range r.PerSlot {
			sum := 0.0
			for _, step := range s.Steps {
				sum += step.Ms
				sums[step.Step] += step.Ms
			}
			if took := float64(r.Job.EndedMs - r.Job.StartedMs); s.Slot == testSlot && (sum < 0.8*took || sum > took+1) {
				t.Errorf("the steps of the slot took %.1f ms, the job %.1f: %+v", sum, took, s.Steps)
			}
		}
		for _, step := range r.Steps {
			if got := sums[step.Step]; got < step.Ms-0.01 || got > step.Ms+0.01 {
				t.Errorf("the slots were at %s for %.3f ms, the job says %.3f", step.Step, got, step.Ms)
			}
		}
		if len(r.Steps) < 6 || len(r.PerSlot) != 2 || r.Pauses.Count != 2 || r.ResumedBytes+r.RepeatedBytes != 0 {
			t.Errorf("%+v", r)
		}
		n.crash() // all of it is stored
	}
}

// TestReportResumed: after a crash of the source only what differs is sent again, and the report says how much that was.
func TestReportResumed(t *testing.T) {
	w := newWorld(t, 4)
	cfg := quick()
	cfg.DigestRecords = 200
	w.born(2, cfg)
	n := w.nodes[0]
	for i := range 900 {
		w.cmd("SET", keyOf(i), "the value of a key")
	}
	job := w.startWith(engine.JobOptions{Hold: true}, 0, 1, testSlot)
	held := func() bool { return n.job(job).Held.Len() == 1 }
	w.until("it is held", held)
	whole := n.report(job).PerSlot[0]
	n.crash()
	w.cmd("SET", keyOf(77), "while it compares")
	w.until("it is held again", held)
	again := n.report(job).PerSlot[0]
	if whole.ResumedRecords != 0 || whole.Records != 900 || again.ResumedRecords > 2*replaceRecords || again.Records > 4*replaceRecords {
		t.Errorf("at first %+v, after the crash %+v", whole, again)
	}
}

// TestReportRepeated: what a busy target refused is counted as sent once, and as repeated.
func TestReportRepeated(t *testing.T) {
	w, m := filled(t, 9, 2)
	n := w.nodes[0]
	asked := 0
	w.nodes[1].driver().cfg.Busy = func() string {
		if asked++; asked%2 == 1 {
			return "every other time"
		}
		return ""
	}
	job := w.start(0, 1, testSlot)
	st := w.ended(n, job)
	checkMoved(w, n, w.nodes[1], m, st)
	if r := n.report(job); r.RepeatedBytes < 300 || r.RepeatedBytes != r.PerSlot[0].RepeatedBytes || r.Job.Records != uint64(len(m)) {
		t.Errorf("%d bytes were repeated, %d records sent of %d: %+v", r.RepeatedBytes, r.Job.Records, len(m), r.PerSlot)
	}
}

func TestPauseSummary(t *testing.T) {
	var ms []float64
	for i := range 200 {
		ms = append(ms, float64((i*37)%200)+1)
	}
	if got, want := pausesOf(ms, 3), (engine.PauseSummary{Count: 200, P50Ms: 100, P90Ms: 180, P99Ms: 198, LongestMs: 200, GivenUp: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := pausesOf(nil, 0); got != (engine.PauseSummary{}) {
		t.Errorf("of none: %+v", got)
	}
	if got := pausesOf([]float64{7}, 0); got.P50Ms != 7 || got.P99Ms != 7 {
		t.Errorf("of one: %+v", got)
	}
}

// TestReportOfMany: slots that have not begun are there, too.
func TestReportOfMany(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	var slots []slot.Slot
	for sl := range slot.Slot(30) {
		slots = append(slots, sl)
	}
	job := w.start(0, 1, slots...)
	w.until("some have moved", func() bool { st := w.nodes[0].job(job); return st.Moved.Len() > 2 })
	moved, pending := 0, 0
	for i, s := range w.nodes[0].report(job).PerSlot {
		if int(s.Slot) != i {
			t.Fatalf("slot %d at place %d", s.Slot, i)
		}
		if s.Moved {
			moved++
		}
		if s.Step == "pending" {
			pending++
		}
	}
	if moved < 3 || pending == 0 {
		t.Errorf("%d moved, %d are pending", moved, pending)
	}
}
