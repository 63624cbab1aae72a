package sim

import (
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// watches checks "watch": an EXEC with watched keys does not run when their slot has left the node since and come back, whatever was
// done to them elsewhere. Judged at the answer. That what was read of a watched key still holds when EXEC runs is judged by
// "linearizable".
type watches struct{ w *world }

// answered judges the answer to an EXEC as it leaves the node. The epoch of a slot rises with each handoff. That of WATCH is read
// when its answer leaves, not before the watch began, and that of EXEC when it arrives, not after it ran: nothing that comes between
// can accuse a node wrongly.
func (c *watches) answered(t *transaction, p *process, sl slot.Slot, v resp.Value) {
	if len(t.watched) > 0 && v.Kind == resp.ArrayKind && t.arrived != t.epoch {
		c.w.violate("watch", "node %d has run an EXEC on slot %d, which it serves under epoch %d; the keys were watched under epoch %d: %q",
			p.index, sl, t.arrived, t.epoch, t.words())
	}
}
