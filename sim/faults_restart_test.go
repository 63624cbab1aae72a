package sim

import (
	"testing"
	"time"
)

// TestNamedAfterStall: a machine that has lost its disk and stands still when the operator comes to give it its id gets it when it goes on. Nothing
// else would, where it does not start again.
func TestNamedAfterStall(t *testing.T) {
	w := founded(t)
	p := w.procs[0]
	p.nameless, p.stalledUntil = true, w.now+time.Second
	p.name()
	w.runUntil(p.stalledUntil+100*time.Millisecond, nil)
	if w.failed != nil || p.nameless {
		t.Fatalf("violation %v, nameless %v, want none and a name", w.failed, p.nameless)
	}
}
