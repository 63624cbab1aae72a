package sim

import (
	"slices"
	"strings"
	"testing"

	"godwit/engine/store"
)

// TestFeaturesWithinEvent: a fault that strikes a node in the middle of an event, and ends it, is noted with the step of the move. Within the
// event nobody asks the migrator, which may hold its lock.
func TestFeaturesWithinEvent(t *testing.T) {
	w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
	w.features.seen = map[string]bool{}
	w.setup()
	slot := w.keys.slots[0]
	p := w.procs[w.oper.truth(0)]
	w.oper.move(p, w.procs[(p.index+1)%len(w.procs)], []int{0})
	for p.stepOf(slot) == "" && w.step() {
		continue
	}
	step := p.stepOf(slot)
	if step == "" {
		t.Fatal("the move has not begun")
	}
	p.run(func() {
		w.nemesis.count("planted")
		p.cut()
		if w.features.seen["planted"] {
			t.Error("the steps were looked at within the event")
		}
	})
	got := w.features.list(&Result{})
	if p.up || !slices.Contains(got, "planted at "+step) {
		t.Errorf("of a fault at %q there is %q", step, strings.Join(got, ", "))
	}
	w.shutdown()
}
