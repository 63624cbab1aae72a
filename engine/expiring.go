package engine

import (
	"math/bits"
	"sync/atomic"

	"godwit/engine/slot"
)

// expiring knows which slots may have keys that expire, so that the sweeper need not look at the others: its looks would cost two
// seeks for each slot, ten times a second, whether anything expires or not.
//
// Invariant: a slot that this node serves, and that has an entry in the expiry index, is in slots, and its state's expires is not
// after that entry; or unknown is true. Whoever writes an entry for a client adds it, under the slot's lock held exclusively;
// under that lock alone is a slot taken out. What moves bring is found by a walk over the index when the slot is served.
type expiring struct {
	slots   [slot.Count / 64]atomic.Uint64
	unknown atomic.Bool // there may be slots that are not in slots
}

// addExpiring takes in that a key of a slot expires at expireMs. The stripe is held exclusively.
func (n *Node) addExpiring(sl slot.Slot, expireMs int64) {
	st, word, bit := n.slots.change(sl), &n.expiring.slots[sl/64], uint64(1)<<(sl%64)
	if word.Load()&bit == 0 {
		st.expires = expireMs
		word.Or(bit)
		return
	}
	st.expires = min(st.expires, expireMs)
}

// dropExpiring takes in that no key of a slot expires. The stripe is held exclusively.
func (n *Node) dropExpiring(sl slot.Slot) { n.expiring.slots[sl/64].And(^(uint64(1) << (sl % 64))) }

// nextDue is the first slot, from a slot on, that may have a key that was expired at nowMs.
func (n *Node) nextDue(from slot.Slot, nowMs int64) (slot.Slot, bool) {
	for i := int(from) / 64; i < len(n.expiring.slots); i++ {
		mask := n.expiring.slots[i].Load()
		if i == int(from)/64 {
			mask &= ^uint64(0) << (from % 64)
		}
		for ; mask != 0; mask &= mask - 1 {
			sl := slot.Slot(i*64 + bits.TrailingZeros64(mask))
			mu := &n.stripes[stripeOf(sl)]
			mu.RLock()
			expires := n.slots.get(sl).expires
			mu.RUnlock()
			if nowMs > expires {
				return sl, true
			}
		}
	}
	return 0, false
}
