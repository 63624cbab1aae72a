package sim

import (
	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// keptCopy checks "kept-copy": a source deletes its copy of a slot only when the ownership of the one to whom it released
// it is durable there.
type keptCopy struct {
	w *world
	// durable is the highest epoch under which a process is known to have been the durable owner, by process and slot.
	durable []map[slot.Slot]cluster.Epoch
	pending []map[slot.Slot]owned
}

// owned is an ownership that has been committed and is not known to be durable.
type owned struct {
	epoch cluster.Epoch
	at    store.Position
}

func newKeptCopy(w *world) *keptCopy {
	k := &keptCopy{w: w}
	for range w.procs {
		k.durable = append(k.durable, map[slot.Slot]cluster.Epoch{})
		k.pending = append(k.pending, map[slot.Slot]owned{})
	}
	return k
}

func (k *keptCopy) recorded(p *process, sl slot.Slot, r cluster.Record) {
	switch {
	case r.State == cluster.Serving && p.node == nil: // read from the disk at the start
		k.durable[p.index][sl] = max(k.durable[p.index][sl], r.Epoch)
	case r.State == cluster.Serving:
		k.pending[p.index][sl] = owned{r.Epoch, p.node.Store().Last()}
	case r.State == cluster.Released && r.DataGone && p.node != nil:
		q := k.w.procOf(r.Peer)
		if q == nil {
			k.w.violate("kept-copy", "node %d deletes its copy for somebody unknown: %s", p.index, recordOf(sl, r))
			return
		}
		k.settle(q)
		if k.durable[q.index][sl] < r.Epoch {
			k.w.violate("kept-copy", "node %d deletes its copy though node %d is not the durable owner: %s", p.index, q.index, recordOf(sl, r))
		}
	}
}

// settle takes note of what has become durable.
func (k *keptCopy) settle(p *process) {
	if p.node == nil || len(k.pending[p.index]) == 0 {
		return
	}
	durable := p.node.Store().Durable()
	for _, sl := range k.w.keys.slots {
		if o, ok := k.pending[p.index][sl]; ok && o.at <= durable {
			k.durable[p.index][sl] = max(k.durable[p.index][sl], o.epoch)
			delete(k.pending[p.index], sl)
		}
	}
}

func (k *keptCopy) ran(p *process) { k.settle(p) }

func (k *keptCopy) crashed(p *process) { clear(k.pending[p.index]) }
