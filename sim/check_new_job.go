package sim

import (
	"fmt"

	"godwit/engine"
	"godwit/engine/resp"
)

// newJob demands that a job that is started now succeeds.
func (w *world) newJob() {
	if w.failed != nil {
		return
	}
	o := w.oper
	i := o.dice.IntN(len(w.keys.slots))
	from := w.owner(w.keys.slots[i])
	to := w.procs[(from.index+1+o.dice.IntN(len(w.procs)-1))%len(w.procs)]
	accepted := false
	o.migrate(from, to, fmt.Sprint(w.keys.slots[i]), func(v resp.Value) {
		accepted = true
		if v.Kind == resp.ErrorKind {
			w.violate("new-job", "node %d refuses to move slot %d: %s", from.index, w.keys.slots[i], v)
		}
		o.jobs++
	})
	w.runUntil(w.now+jobTime, func() bool { return accepted && to.serves(w.keys.slots[i]) })
	if w.failed == nil && !to.serves(w.keys.slots[i]) {
		var j engine.JobStatus // none, if the node has not even answered
		if jobs := from.node.Migrator().Jobs(); len(jobs) > 0 {
			j = jobs[len(jobs)-1]
		}
		w.violate("new-job", "the move of slot %d from node %d to node %d has not succeeded within %v: %s, step %s: %s",
			w.keys.slots[i], from.index, to.index, jobTime, j.State, j.Step, j.Error)
	}
}
