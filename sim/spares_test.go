package sim

import (
	"testing"

	"godwit/engine/store"
)

// TestSpares runs seeds in memory that other seeds have used, and by themselves: nothing may differ.
func TestSpares(t *testing.T) {
	caches := store.NewCaches()
	shared := Config{Caches: caches, Spares: NewSpares()}
	for seed := uint64(8); seed <= 13; seed++ { // 10 is one on Pebble
		alone := Run(seed, Config{Caches: caches})
		again := Run(seed, shared)
		if alone.TraceHash != again.TraceHash || alone.Operations != again.Operations || !again.OK() {
			t.Errorf("seed %d: hash %016x, %d operations by itself; %016x, %d after others: %v",
				seed, alone.TraceHash, alone.Operations, again.TraceHash, again.Operations, again.Violation)
		}
	}
	if shared.Spares.room == nil {
		t.Fatal("the memory has not come back")
	}
	before := shared.Spares.room
	w := newWorldIn(shared.Spares.take(), 1, drawSwarm(1), caches, EngineMemory, nil)
	if w.room != before || shared.Spares.take() == before {
		t.Error("a run gets the memory that is there, and a second one at the same time does not")
	}
}

// TestSlab demands that what is taken is zero and nobody else's, also after reset.
func TestSlab(t *testing.T) {
	var s slab[int]
	for round := range 3 {
		var all [][]int
		for i := range 50 {
			n := i % 7
			if i == 20 {
				n = 40 // more than a piece
			}
			taken := s.take(n, 16)
			if len(taken) != n || cap(taken) != n {
				t.Fatalf("took %d of %d, asked for %d", len(taken), cap(taken), n)
			}
			for k, v := range taken {
				if v != 0 {
					t.Fatalf("round %d: item %d of piece %d is %d", round, k, i, v)
				}
				taken[k] = i + 1
			}
			all = append(all, taken)
		}
		for i, taken := range all {
			for _, v := range taken {
				if v != i+1 {
					t.Fatalf("round %d: what was taken as %d belongs to %d", round, i+1, v)
				}
			}
		}
		if pieces := len(s.pieces); round > 0 && pieces != s.used {
			t.Errorf("round %d has %d pieces, of which %d are used", round, pieces, s.used)
		}
		s.reset()
	}
}

// TestQueueReset demands that a queue that was reset is as a new one, whatever was left in it.
func TestQueueReset(t *testing.T) {
	var q queue
	for i := range 10 {
		q.push(event{life: i})
	}
	q.pop()
	q.reset()
	if _, ok := q.pop(); ok || q.next != 0 || len(q.free) != 0 {
		t.Errorf("events are left: %+v", q)
	}
	q.push(event{life: 7})
	if e, ok := q.pop(); !ok || e.life != 7 {
		t.Errorf("got %+v, %v", e, ok)
	}
}
