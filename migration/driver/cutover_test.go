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
