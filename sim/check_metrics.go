package sim

import (
	"time"

	"godwit/engine"
)

// metrics checks "metrics": what a node counts does not run backwards within a life, and neither does what it says of its
// jobs, which stays within what the job has to do. It looks now and then.
type metrics struct {
	w *world
	// seen is what was last seen of a node, and of its jobs by number, in the life that is named.
	seen []lastSeen
}

type lastSeen struct {
	life     int
	counters []engine.Counter
	jobs     map[uint64]engine.JobStatus
}

// metricsEvery is how often the checker looks.
const metricsEvery = 250 * time.Millisecond

func newMetrics(w *world) *metrics { return &metrics{w: w, seen: make([]lastSeen, len(w.procs))} }

// watch looks at all nodes, and again later.
func (c *metrics) watch() {
	for _, p := range c.w.procs {
		if p.ready() && !p.gone() {
			c.look(p, p.node.Counters(), p.node.Migrator().Jobs())
		}
	}
	c.w.after(metricsEvery, c.watch)
}

// look judges what a node says.
func (c *metrics) look(p *process, counters []engine.Counter, jobs []engine.JobStatus) {
	last := &c.seen[p.index]
	if last.life != p.life || last.jobs == nil {
		*last = lastSeen{life: p.life, jobs: map[uint64]engine.JobStatus{}}
	}
	for i, now := range counters {
		if i < len(last.counters) && now.Value < last.counters[i].Value {
			c.w.violate("metrics", "node %d counts %s backwards: %d, then %d", p.index, now.Name, last.counters[i].Value, now.Value)
		}
	}
	last.counters = counters
	for _, j := range jobs {
		c.within(p, &j)
		if before, known := last.jobs[j.ID.Counter]; known {
			c.forwards(p, &before, &j)
		}
		last.jobs[j.ID.Counter] = j
	}
}

// within demands that a job has not done more than there is to do.
func (c *metrics) within(p *process, j *engine.JobStatus) {
	size := 0
	for _, r := range j.Ranges {
		size += int(r.Last) - int(r.First) + 1
	}
	switch {
	case j.Slots != size, j.Moved.Len() > j.Slots, j.DigestsEqual+j.Differ > j.Slots, len(j.PausesMs) > j.Slots,
		j.LagKeys < 0, j.LagByte < 0, j.Error == "" && j.State == engine.JobFail:
		c.w.violate("metrics", "job %d of node %d says of itself what cannot be: %+v", j.ID.Counter, p.index, *j)
	}
}

// forwards demands that a job has not undone anything, but for a slot that counted as moved and that an operator has given back to the source.
func (c *metrics) forwards(p *process, was, is *engine.JobStatus) {
	back := max(0, was.Moved.Len()-is.Moved.Len())
	given := min(back, c.w.oper.stayed[is.ID])
	c.w.oper.stayed[is.ID] -= given // each slot is given back once
	undone := back > given || is.Records < was.Records || is.Bytes < was.Bytes || is.DigestsEqual < was.DigestsEqual ||
		is.Differ < was.Differ || len(is.PausesMs) < len(was.PausesMs) || was.State.Ended() && is.State != was.State
	if undone {
		c.w.violate("metrics", "job %d of node %d runs backwards: %+v, then %+v", is.ID.Counter, p.index, *was, *is)
	}
}
