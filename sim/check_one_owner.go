package sim

import (
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// oneOwner checks two properties. "one-owner": at no moment do two nodes that are up have a record that says that they
// serve a slot; judged when a record changes, at a restart too, and when a command runs. "epochs": the epoch under which a
// slot is served never goes back.
type oneOwner struct {
	w *world
	// epoch is the highest under which a slot was served, last the process that did; both by index of the keyspace.
	epoch []cluster.Epoch
	last  []int
}

func newOneOwner(w *world) *oneOwner {
	n := len(w.keys.slots)
	return &oneOwner{w: w, epoch: make([]cluster.Epoch, n), last: make([]int, n)}
}

func (o *oneOwner) recorded(p *process, sl slot.Slot, r cluster.Record) {
	i, ours := o.w.keys.index[sl]
	if !ours {
		o.w.violate("one-owner", "node %d has a record of slot %d, which no map gives to anybody: %s", p.index, sl, recordOf(sl, r))
		return
	}
	if r.State != cluster.Serving {
		return
	}
	o.alone(p, sl)
	if r.Epoch < o.epoch[i] {
		o.w.violate("epochs", "node %d begins to serve slot %d under epoch %d, after %d", p.index, sl, r.Epoch, o.epoch[i])
	}
	o.epoch[i], o.last[i] = r.Epoch, p.index
}

func (o *oneOwner) served(p *process, sl slot.Slot) {
	r := p.record(sl)
	if r.State != cluster.Serving {
		o.w.violate("one-owner", "node %d runs a command on a slot that it does not serve: %s", p.index, recordOf(sl, r))
		return
	}
	o.alone(p, sl)
}

// alone demands that no other process serves the slot.
func (o *oneOwner) alone(p *process, sl slot.Slot) {
	for _, q := range o.w.procs {
		if q != p && q.serves(sl) {
			o.w.violate("one-owner", "nodes %d and %d both serve: %s; %s", p.index, q.index, recordOf(sl, p.record(sl)), recordOf(sl, q.record(sl)))
		}
	}
}
