package sim

import (
	"fmt"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// historySteps bounds the judgement of one key; a legal key of a hundred operations takes some hundred.
const historySteps = 5_000_000

// checkHistory demands "linearizable": one copy of each key could have answered the clients so. A history that cannot be
// judged is a failure of this package.
func (w *world) checkHistory() {
	if w.failed != nil {
		return
	}
	v, err := w.room.checker.Check(w.history.History(), linearize.Options{ClockError: w.swarm.clockError(), Steps: historySteps})
	switch {
	case err != nil:
		w.violate(propertyHarness, "the history: %v", err)
	case v.Result == linearize.UnknownResult:
		w.violate(propertyHarness, "the history is too uncertain to be judged: %s", v)
	case !v.OK():
		k := &v.Failures[0]
		w.violate("linearizable", "slot %d: %s", slot.OfKey([]byte(k.Key)), fmt.Sprint(k))
		for _, op := range k.Culprits {
			w.failed.Returns = append(w.failed.Returns, time.Duration(op.Return))
		}
	}
}
