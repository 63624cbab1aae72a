package store

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// overwrite writes n keys of a slot.
func overwrite(st *Store, sl slot.Slot, from, n int) {
	for i := from; i < from+n; {
		b := st.NewBatch()
		for range 1000 {
			if i < from+n {
				b.Set(numbered(sl, i), nil)
			}
			i++
		}
		st.Commit(b)
	}
}

// TestBudget requires that trackers that share a budget keep to it, that one that finds no room loses nothing, that a small one is not made to
// collapse by a large one, and that all comes back.
func TestBudget(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		const limit, others = 1 << 20, slotB
		st := openOn(t, options)
		var budget Budget
		budget.SetLimit(limit)
		large := st.TrackWithin(slotA, 64<<20, Within{Budget: &budget})
		small := st.TrackWithin(others, 64<<20, Within{Budget: &budget})
		for i := range 30 {
			overwrite(st, slotA, 1000*i, 1000)
			if used := budget.Used(); used > limit-limit/keptForSmall {
				t.Fatalf("%d bytes are in use, of %d", used, limit)
			}
		}
		overwrite(st, others, 0, 10)
		if keys, spans, _ := small.Lag(); keys != 10 || spans != 0 {
			t.Errorf("a small tracker has %d keys and %d spans", keys, spans)
		}
		if _, spans, _ := large.Lag(); spans == 0 {
			t.Error("a tracker took more than there was")
		}
		c := large.Take()
		for i := range 30_000 {
			if !c.has(numbered(slotA, i)) {
				t.Fatalf("key %d was lost", i)
			}
		}
		if used := budget.Used(); used < c.Charged {
			t.Errorf("%d bytes are in use, %d of them for what was taken", used, c.Charged)
		}
		budget.Return(c.Charged)
		large.Put(c)
		st.Untrack(large)
		overwrite(st, slotA, 0, 10) // says nothing to a tracker that is off
		st.Untrack(small)
		if used := budget.Used(); used != 0 {
			t.Errorf("%d bytes are in use of trackers that are gone", used)
		}
	})
}

// TestBudgetIsWhatIsHeld requires that changed keys, and what was taken of them, take no more of the heap than of the budget.
func TestBudgetIsWhatIsHeld(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools have kept goes with the second
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const margin = 64 << 10
	for _, keyLen := range []int{16, 33, 49, 200} {
		var budget Budget
		budget.SetLimit(1 << 30)
		tr := &Tracker{limit: 1 << 30, within: Within{Budget: &budget}, keys: map[string]int{}}
		before := heap()
		for i := range 30_000 {
			tr.addKey(fmt.Appendf(nil, "%0*d", keyLen, i), 1)
		}
		if grown, used := heap()-before, budget.Used(); grown > used+margin || used > 3*grown {
			t.Errorf("%d keys of %d bytes take %d bytes of the heap, and %d of the budget", len(tr.keys), keyLen, grown, used)
		}
		c := tr.Take()
		if grown, used := heap()-before, budget.Used(); grown > used+margin || used > 3*grown {
			t.Errorf("%d keys of %d bytes that were taken take %d bytes of the heap, and %d of the budget", len(c.Keys), keyLen, grown, used)
		}
		budget.Return(c.Charged)
		c.Charged = 0
		tr.Put(c)
		c = Changes{}
		tr.collapse(key.Ownership(slotA))
		if grown, used := heap()-before, budget.Used(); grown > margin || used != 0 {
			t.Errorf("keys of %d bytes that have collapsed take %d bytes of the heap, and %d of the budget", keyLen, grown, used)
		}
		runtime.KeepAlive(tr)
		runtime.KeepAlive(c)
	}
}
