package sim

import (
	"time"

	"godwit/linearize"
)

// expiry checks "expiry": where nobody else has written to a key since a SET with PX, its value is not shown later than the
// deadline, nor missing before it, as far as clocks may be wrong. With error e, a write underway in [b, r] has given its value
// a deadline from b−e+ms to r+e+ms on some clock, and a read underway in [b', r'] was judged by a clock that showed from b'−e
// to r'+e. Judged at the moment of the reply; "linearizable" has the general case.
type expiry struct {
	w *world
	e time.Duration // bound of the error of clocks
}

func newExpiry(w *world) *expiry {
	// Deadlines and clocks are in whole milliseconds.
	return &expiry{w, w.swarm.clockError() + 2*time.Millisecond}
}

// read judges a reply that shows a value, or that there is none.
func (c *expiry) read(d *deed, shown linearize.Reply) {
	a, f := d.a, d.floor
	if f == nil || f.ms == 0 || !f.alone || f.end == forever {
		return
	}
	// The read may itself be a mutation, which came after.
	since := a.mutations - f.mutations
	if d.kind != deedRead {
		since--
	}
	if since > 0 {
		return
	}
	ms := time.Duration(f.ms) * time.Millisecond
	switch {
	case shown.Kind == linearize.BulkReply && d.call > f.end+ms+2*c.e:
		c.w.violate("expiry", "client %d, asking at %v, is shown %s by %s %q, which was written until %v for %v; clocks err by %v",
			d.client, d.call, shown, d.cmd, a.name, f.end, ms, c.e)
	case shown.Kind == linearize.NilReply && c.w.now < f.begin+ms-2*c.e:
		c.w.violate("expiry", "client %d finds %q gone at %v, which was written from %v on for %v; clocks err by %v",
			d.client, a.name, c.w.now, f.begin, ms, c.e)
	}
}
