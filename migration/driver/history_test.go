package driver

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"godwit/engine"
	"godwit/migration"
)

// TestHistory: what became of a job is remembered in order, over a restart, and bounded.
func TestHistory(t *testing.T) {
	w, _ := filled(t, 6, 2)
	n := w.nodes[0]
	job := w.startWith(engine.JobOptions{Hold: true, KeepSource: time.Minute}, 0, 1, testSlot)
	w.until("the slot is held", func() bool { return n.stepOf(testSlot) == migration.StepHolding })
	w.tell(n, job, engine.VerbCutOver, true, "1 slots")
	w.until("the copy is kept", func() bool { return n.stepOf(testSlot) == migration.StepKeeping })
	w.pass(time.Second)
	n.crash()
	w.tell(n, job, engine.VerbClean, true, "deleted")
	w.ended(n, job)
	h, err := n.driver().History(job)
	if err != nil || h.Job.Counter != job || h.Forgotten != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	var got []string
	for i, e := range h.Events {
		if got = append(got, e.What); i > 0 && e.AtMs < h.Events[i-1].AtMs {
			t.Errorf("event %d is older than the one before", i)
		}
	}
	slot := fmt.Sprintf("slot %d: ", testSlot)
	want := []string{
		"accepted: 1 slots to node " + string(id(1)), slot + "begun", "told to cut over", slot + "handed over",
		slot + "the copies are compared; the source keeps its own", "told to delete the copies that are kept", slot + "the source deletes its copy",
		slot + "done", "ended with MIGRATION_SUCCESS: 1 of 1 slots moved",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	d := n.driver()
	j := d.find(job)
	d.mu.Lock()
	for range historyKept {
		j.note("again")
	}
	d.mu.Unlock()
	if h, _ = d.History(job); len(h.Events) != historyKept || h.Forgotten != len(want) {
		t.Errorf("%d events, %d forgotten", len(h.Events), h.Forgotten)
	}
	if _, err := d.History(99); err == nil {
		t.Error("a job that is not there has a history")
	}
}
