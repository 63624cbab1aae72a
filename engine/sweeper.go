package engine

import (
	"godwit/engine/cluster"
	"godwit/engine/data"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// The sweeper deletes expired keys that nobody asks for. It walks the expiry index of the slots that this node serves and that have
// something to expire (expiring.go), a bounded number of keys at a time; a key that it deletes is an ordinary write, tracked like any other. It passes over
// paused slots: they are about to move, and the new owner sweeps them.

// sweepKeys is how many keys one step deletes while it holds the slot: at about 3 µs a key, half a millisecond.
const sweepKeys = 128

// sweepSteps bounds the steps of one round, so that a mass expiry does not keep a worker for ever.
const sweepSteps = 64

func (n *Node) armSweeper() {
	if n.opts.SweepInterval < 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.sweep = n.opts.Clock.AfterFunc(n.opts.SweepInterval, func() {
		n.sweepRound()
		n.armSweeper()
	})
}

// sweepRound deletes what has expired, slot by slot, up to its bound.
func (n *Node) sweepRound() {
	nowMs := n.opts.Clock.WallMs()
	if n.expiring.unknown.Swap(false) || mutant.On(mutant.SweepImport) {
		if err := n.findExpiring(); err != nil {
			n.expiring.unknown.Store(true)
			n.opts.Log.Error("the sweeper cannot read the expiry index", "error", err)
			return
		}
	}
	from := slot.Slot(0)
	for range sweepSteps {
		if n.isClosed() {
			return
		}
		sl, found := n.nextDue(from, nowMs)
		if !found {
			return
		}
		if more := n.sweepSlot(sl, nowMs); !more {
			if sl == slot.Count-1 {
				return
			}
			from = sl + 1
		}
	}
}

// findExpiring walks over the expiry index and adds the slots that are in it, to be looked at.
func (n *Node) findExpiring() error {
	return data.EachExpiring(n.store, func(sl slot.Slot, expireMs int64) {
		// What was written since we read the index has been added by who wrote it.
		n.Exclusive(sl, func(*Owned) { n.addExpiring(sl, expireMs) })
	})
}

// sweepSlot deletes some expired keys of a slot and reports whether there may be more that it may delete.
func (n *Node) sweepSlot(sl slot.Slot, nowMs int64) (more bool) {
	n.Exclusive(sl, func(o *Owned) {
		st := o.now()
		if n.opts.Cluster && !mutant.On(mutant.SweepImport) {
			if st.state() != cluster.Serving {
				n.dropExpiring(sl) // if it comes back, it is looked for
				return
			}
			if st.paused || st.sealed {
				return
			}
		}
		var tx data.Tx
		tx.Reset(n.store, data.Write, nowMs)
		deleted := 0
		deleted, more = data.SweepSlot(&tx, sl, nowMs, sweepKeys)
		if err := tx.Err(); err != nil {
			tx.Discard()
			n.opts.Log.Error("the sweeper cannot read a record", "slot", sl, "error", err)
			more = false
			return
		}
		if p, ok := n.commit(&tx); ok {
			o.change().lastWrite = p
			n.stats.expired.Add(uint64(deleted))
		}
		if more {
			return
		}
		switch next, found, err := data.FirstExpiry(n.store, sl); {
		case err != nil:
			n.opts.Log.Error("the sweeper cannot read the expiry index", "slot", sl, "error", err)
		case found:
			o.change().expires = next
		default:
			n.dropExpiring(sl)
		}
	})
	return more
}

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}
