package sim

import (
	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// durable keeps account of which ownership records are known to have reached the disks, and checks two properties with it.
// "commit-point": a target serves a slot that moves to it only when the source's release of it is durable, or the source is lost for good; that sync is
// what decides the move. "kept-copy": a source deletes its copy only when the new owner's ownership is durable.
type durable struct {
	w *world
	// served and released are the highest epochs under which a process is known to have been the durable owner of a slot,
	// or to have given it away durably.
	served, released []map[slot.Slot]cluster.Epoch
	pending          []map[slot.Slot][]committed
}

// committed is a record that is visible and not known to be durable.
type committed struct {
	record cluster.Record
	at     store.Position
}

func newDurable(w *world) *durable {
	d := &durable{w: w}
	for range w.procs {
		d.served = append(d.served, map[slot.Slot]cluster.Epoch{})
		d.released = append(d.released, map[slot.Slot]cluster.Epoch{})
		d.pending = append(d.pending, map[slot.Slot][]committed{})
	}
	return d
}

func (d *durable) recorded(p *process, sl slot.Slot, old, r cluster.Record) {
	if p.node == nil { // read from the disk at the start
		d.reached(p, sl, r)
		return
	}
	d.pending[p.index][sl] = append(d.pending[p.index][sl], committed{r, p.node.Store().Last()})
	switch {
	case r.State == cluster.Serving && !r.Job.IsZero() && (old.State == cluster.Prepared || old.State == cluster.Importing):
		source := d.w.procOf(r.Job.Node)
		if source == nil {
			d.w.violate("commit-point", "node %d serves a slot of somebody unknown: %s", p.index, recordOf(sl, r))
			return
		}
		d.settle(source)
		if l := d.w.nemesis.faults.losing; source.lost && l != nil && l.slot == sl && l.other == p && l.asked != 0 { // an operator has said so, here
			return
		}
		if d.released[source.index][sl] < r.Epoch {
			d.w.violate("commit-point", "node %d serves a slot that node %d has not durably released: %s; there: %s",
				p.index, source.index, recordOf(sl, r), recordOf(sl, source.record(sl)))
		}
	case r.State == cluster.Released && r.DataGone:
		target := d.w.procOf(r.Peer)
		if target == nil {
			d.w.violate("kept-copy", "node %d deletes its copy for somebody unknown: %s", p.index, recordOf(sl, r))
			return
		}
		d.settle(target)
		if d.served[target.index][sl] < r.Epoch {
			d.w.violate("kept-copy", "node %d deletes its copy though node %d is not the durable owner: %s", p.index, target.index, recordOf(sl, r))
		}
	}
}

// reached notes that a record is on a disk for good.
func (d *durable) reached(p *process, sl slot.Slot, r cluster.Record) {
	switch r.State {
	case cluster.Serving:
		d.served[p.index][sl] = max(d.served[p.index][sl], r.Epoch)
	case cluster.Released:
		d.released[p.index][sl] = max(d.released[p.index][sl], r.Epoch)
	default:
	}
}

// settle takes note of what has become durable on a process.
func (d *durable) settle(p *process) {
	pending := d.pending[p.index]
	if p.node == nil || len(pending) == 0 {
		return
	}
	until := p.node.Store().Durable()
	for _, sl := range d.w.keys.slots {
		list, n := pending[sl], 0
		for n < len(list) && list[n].at <= until {
			d.reached(p, sl, list[n].record)
			n++
		}
		switch {
		case n == len(list) && n > 0:
			delete(pending, sl)
		case n > 0:
			pending[sl] = list[n:]
		}
	}
}

// crashed forgets what may not have reached the disk; what did is read at the next start.
func (d *durable) crashed(p *process) { clear(d.pending[p.index]) }
