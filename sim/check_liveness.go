package sim

import (
	"fmt"
	"time"

	"godwit/engine/cluster"
)

// settle waits until everything has come to an end.
func (w *world) settle(when string) {
	if w.failed != nil {
		return
	}
	deadline := w.now + settleTime
	for w.failed == nil {
		w.oper.verbs.letGo()
		trouble := w.unsettled()
		if trouble == "" {
			return
		}
		if w.now >= deadline {
			w.violate("liveness", "%s, %v later: %s", when, settleTime, trouble)
			return
		}
		w.runUntil(w.now+50*time.Millisecond, nil)
	}
}

// unsettled says what has not come to an end, or "".
func (w *world) unsettled() string {
	for _, c := range w.clients {
		if c.busy {
			return fmt.Sprintf("client %d waits for %q", c.index, c.words())
		}
	}
	for _, p := range w.procs {
		if !p.ready() {
			return fmt.Sprintf("node %d is down", p.index)
		}
		if p.stalled() {
			return fmt.Sprintf("node %d stands still", p.index)
		}
		if p.ended() {
			continue
		}
		for _, j := range p.node.Migrator().Jobs() {
			if !j.State.Ended() {
				return fmt.Sprintf("job %d of node %d is %s, step %s: %s", j.ID.Counter, p.index, j.State, j.Step, j.Error)
			}
		}
	}
	for _, sl := range w.keys.slots {
		var owner *process
		for _, p := range w.procs {
			switch r := p.node.Record(sl); r.State {
			case cluster.Importing, cluster.Prepared:
				return fmt.Sprintf("node %d: %s", p.index, recordOf(sl, r))
			case cluster.Serving:
				if owner != nil {
					return fmt.Sprintf("slot %d is served by nodes %d and %d", sl, owner.index, p.index)
				}
				owner = p
			default:
			}
		}
		if owner == nil {
			return fmt.Sprintf("nobody serves slot %d", sl)
		}
	}
	return ""
}
