package sim

import "godwit/engine"

// checkDigests demands "digests": no job has found the copies to differ after takeover. A node that finds it also logs it:
// see check_log.go.
func (w *world) checkDigests() {
	for _, p := range w.procs {
		for _, j := range p.node.Migrator().Jobs() {
			w.judgeDigests(p, &j)
		}
	}
}

func (w *world) judgeDigests(p *process, j *engine.JobStatus) {
	if j.Differ > 0 {
		w.violate("digests", "job %d of node %d found %d slots whose copies differ: %s", j.ID.Counter, p.index, j.Differ, j.Error)
	}
}
