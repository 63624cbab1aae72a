package sim

import (
	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// checks are the checkers that watch a run. Each is in a file of its own, named by the property.
type checks struct {
	w      *world
	owners *oneOwner
	disks  *durable
	pauses *pauses

	sessions   *sessions
	watches    *watches
	expiry     *expiry
	durability *durability
	metrics    *metrics
	bounds     *bounds
}

func newChecks(w *world) *checks {
	return &checks{w: w, owners: newOneOwner(w), disks: newDurable(w), pauses: newPauses(w), sessions: &sessions{w}, watches: &watches{w},
		expiry: newExpiry(w), durability: newDurability(w), metrics: newMetrics(w), bounds: newBounds(w)}
}

// observer sees what the node of one life does.
type observer struct {
	p    *process
	life int
}

var _ engine.Observer = (*observer)(nil)

// blind reports that the life is over: the power went within the event that is running.
func (o *observer) blind() bool {
	return o.p.life != o.life || o.p.gone()
}

// Served implements engine.Observer.
func (o *observer) Served(sl slot.Slot, write bool) {
	if o.blind() {
		return
	}
	c := o.p.w.checks
	c.owners.served(o.p, sl)
	if write {
		o.p.w.cover.wrote(sl)
		o.p.w.nemesis.wrote(o.p, sl)
		o.p.w.nemesis.faults.served(o.p, sl)
	}
}

// Recorded implements engine.Observer.
func (o *observer) Recorded(sl slot.Slot, r cluster.Record) {
	if o.blind() {
		return
	}
	p := o.p
	w := p.w
	old := p.records[sl]
	p.records[sl] = r
	w.trace.note(w.now, p.index, traceRecord, r.Encode(), func() string { return recordOf(sl, r) })
	w.checks.owners.recorded(p, sl, r)
	w.checks.disks.recorded(p, sl, old, r)
	w.checks.pauses.recorded(p, sl)
	w.cover.recorded(p, sl, old, r)
	w.nemesis.recorded(p, sl, r)
	w.nemesis.faults.recorded(p, sl, r)
	w.oper.recorded(p, sl, r)
	w.points.reach(p, "records "+r.State.String())
}

// ran is called after each event of a process.
func (c *checks) ran(p *process) { c.disks.settle(p) }

// opened is called when a node has opened its directory.
func (c *checks) opened(p *process) { c.durability.opened(p) }

// watch begins what looks at everything now and then.
func (c *checks) watch() {
	c.pauses.watch()
	c.metrics.watch()
	c.bounds.watch()
}

// crashed is called when a process has lost power.
func (c *checks) crashed(p *process) { c.disks.crashed(p) }
