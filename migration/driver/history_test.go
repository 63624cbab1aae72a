package driver

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
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
	of := fmt.Sprintf("slot %d: ", testSlot)
	want := []string{
		"accepted: 1 slots to node " + string(id(1)), of + "begun", "told to cut over", of + "handed over",
		of + "the copies are compared; the source keeps its own", "told to delete the copies that are kept", of + "the source deletes its copy",
		of + "done", "ended with MIGRATION_SUCCESS: 1 of 1 slots moved",
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
	d.mu.Lock()
	j.header.History = nil // as in a job that was stored before histories were
	d.mu.Unlock()
	if h, _ = d.History(job); h.Events == nil {
		t.Error("a job without events has null for a list")
	}
	if _, err := d.History(99); err == nil {
		t.Error("a job that is not there has a history")
	}
}

// TestHistoryOfManySlots: what a job of many slots was told is not lost among the phases of its slots, nor is its header written for each.
func TestHistoryOfManySlots(t *testing.T) {
	w, _ := filled(t, 6, 2)
	n := w.nodes[0]
	var slots []slot.Slot
	for sl := slot.Slot(0); sl <= slotsNoted; sl++ {
		slots = append(slots, sl)
	}
	job := w.start(0, 1, slots...)
	w.tell(n, job, engine.VerbPause, true, "paused")
	w.tell(n, job, engine.VerbResume, true, "goes on")
	w.ended(n, job)
	h, err := n.driver().History(job)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range h.Events {
		got = append(got, e.What)
	}
	want := []string{"accepted: 17 slots to node " + string(id(1)), "told to rest", "told to go on", "ended with MIGRATION_SUCCESS: 17 of 17 slots moved"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
