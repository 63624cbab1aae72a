package data

import (
	"fmt"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Flush deletes all keys of the visible slots. Neighbouring slots share a range delete, since each range delete slows
// reading down until it is compacted away; but none reaches over a slot that is not visible, even if that looks empty (an
// import may be filling it), nor over the bookkeeping of moves, which stays.
func (t *Tx) Flush() {
	if t.err != nil {
		return
	}
	it, err := t.Reader().NewIter(key.UserSpan())
	if err != nil {
		t.fail(err)
		return
	}
	ranges := []slot.Range{{First: 0, Last: slot.Count - 1}}
	if t.visible != nil {
		ranges = t.visible.Ranges()
	}
	for _, r := range ranges {
		t.flushRange(it, r)
	}
	if err := it.Close(); err != nil {
		t.fail(fmt.Errorf("data: flush: %w", err))
	}
}

// flushRange deletes the keys of neighbouring visible slots.
func (t *Tx) flushRange(it *store.Iter, r slot.Range) {
	var first, last slot.Slot // the slots to be deleted next, if pending: only first may have bookkeeping
	pending := false
	remove := func() {
		if pending {
			t.writer().DeleteRange(key.Span{Lo: key.DataSpan(first).Lo, Hi: key.DataSpan(last).Hi})
		}
		pending = false
	}
	for s := r.First; s <= r.Last && it.SeekGE(key.SlotSpan(s).Lo); s++ {
		at, kind, _, ok := key.Split(it.Key())
		if !ok || at > r.Last {
			break
		}
		s = at
		data := key.DataSpan(at)
		if kind == key.Book {
			remove()
			if !it.SeekGE(data.Lo) || !data.Contains(it.Key()) {
				continue
			}
		}
		if !pending {
			first = at
		}
		last, pending = at, true
	}
	remove()
}
