package data

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// fill puts n keys of one hash tag, and a little into other slots.
func fill(t testing.TB, st *store.Store, n int) {
	t.Helper()
	update(t, st, Write, 1, func(tx *Tx) {
		for i := range n {
			e := tx.Load(fmt.Appendf(nil, "{big}%07d", i))
			tx.PutString(&e, nil, NoExpiry)
			if i%10 == 0 {
				e := tx.Load(fmt.Appendf(nil, "small%d", i))
				tx.PutString(&e, nil, NoExpiry)
			}
		}
	})
}

// clutter puts what is no record into many slots: index entries of collections' elements and bookkeeping of moves.
func clutter(st *store.Store) {
	b := st.NewBatch()
	for s := slot.Slot(0); s < slot.Count; s += 97 {
		b.Set(key.AppendBook(nil, s, "cursor"), nil)
		b.Set(append(key.AppendElement(nil, s, key.Element, key.Generation{}), 'e'), nil)
	}
	st.Commit(b)
}

func scanAll(t testing.TB, tx *Tx, count int, between func(round int)) map[string]int {
	t.Helper()
	seen := map[string]int{}
	cursor := uint64(0)
	for round := 0; ; round++ {
		n := 0
		cursor = tx.Scan(cursor, count, func(user []byte, _ *Record) { seen[string(user)]++; n++ })
		if tx.Err() != nil {
			t.Fatal(tx.Err())
		}
		if n > count+1 {
			t.Fatalf("a call with count %d visited %d keys", count, n)
		}
		if cursor == 0 {
			return seen
		}
		between(round)
	}
}

// TestScanVisitsEachKeyOnce: the cursor is all that connects the calls, also within one big slot whose keys share a long prefix.
func TestScanVisitsEachKeyOnce(t *testing.T) {
	st := openStore(t)
	fill(t, st, 3000)
	clutter(st)
	for _, count := range []int{1, 7, 10, 1000, 1 << 40} {
		tx := Begin(st, Read, 1)
		seen := scanAll(t, &tx, count, func(int) { tx.Reset(st, Read, 1) })
		if len(seen) != 3300 {
			t.Errorf("count %d: %d keys of 3300", count, len(seen))
		}
		for k, n := range seen {
			if n != 1 {
				t.Errorf("count %d: key %q was visited %d times", count, k, n)
			}
		}
	}
}

// TestScanWhileKeysComeAndGo: keys that stay are visited, whatever happens to others between calls.
func TestScanWhileKeysComeAndGo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := openStore(t)
		fill(t, st, 100)
		tx := Begin(st, Read, 1)
		count := rapid.IntRange(1, 30).Draw(rt, "count")
		seen := scanAll(t, &tx, count, func(round int) {
			w := Begin(st, WriteIndexed, 1)
			for i := range 5 {
				e := w.Load(fmt.Appendf(nil, "{big}new%d-%d", round, i))
				if rapid.Bool().Draw(rt, "add") {
					w.PutString(&e, nil, NoExpiry)
				} else {
					w.Delete(fmt.Appendf(nil, "{big}new%d-%d", rapid.IntRange(0, round).Draw(rt, "old"), i))
				}
			}
			w.Commit()
			tx.Reset(st, Read, 1)
		})
		for i := range 100 {
			if seen[fmt.Sprintf("{big}%07d", i)] != 1 {
				rt.Fatalf("key %d was visited %d times", i, seen[fmt.Sprintf("{big}%07d", i)])
			}
		}
	})
}

// TestScanNeverDividesAHash: a cursor names a hash, so a call that ended between two keys of one hash would skip the second.
func TestScanNeverDividesAHash(t *testing.T) {
	first, second := collision(t)
	st := openStore(t)
	put(t, st, first, "", NoExpiry)
	put(t, st, second, "", NoExpiry)
	put(t, st, "{big}other", "", NoExpiry)
	put(t, st, "{big}another", "", NoExpiry)
	tx := Begin(st, Read, 1)
	if seen := scanAll(t, &tx, 1, func(int) { tx.Reset(st, Read, 1) }); len(seen) != 4 || seen[first] != 1 || seen[second] != 1 {
		t.Fatalf("seen %v", seen)
	}
}

// collision finds two keys of one slot and one hash; by the birthday paradox among about 2^17.
func collision(t testing.TB) (first, second string) {
	t.Helper()
	seen := map[uint32]string{}
	for i := range 1 << 20 {
		k := fmt.Sprintf("{big}c%d", i)
		if other, ok := seen[key.Hash([]byte(k))]; ok {
			return other, k
		}
		seen[key.Hash([]byte(k))] = k
	}
	t.Fatal("no two keys share a hash")
	return "", ""
}

func TestScanRefusesNoCursor(t *testing.T) {
	st := openStore(t)
	fill(t, st, 50)
	for _, cursor := range []uint64{slot.Count << 32, 1<<64 - 1, (slot.Count-1)<<32 | 0xffffffff} {
		tx := Begin(st, Read, 1)
		if next := tx.Scan(cursor, 10, func([]byte, *Record) {}); next != 0 || tx.Err() != nil {
			t.Errorf("cursor %d: next %d, %v", cursor, next, tx.Err())
		}
	}
}

func TestEnumerationsSeeVisibleLiveKeysOnly(t *testing.T) {
	st := openStore(t)
	clutter(st)
	put(t, st, "live", "", NoExpiry)
	put(t, st, "later", "", 200)
	put(t, st, "dead", "", 100)
	put(t, st, "hidden", "", NoExpiry)
	var visible slot.Set
	visible.AddRange(slot.Range{First: 0, Last: slot.Count - 1})
	visible.Remove(slot.OfKey([]byte("hidden")))
	tx := Begin(st, Read, 101)
	begin := func() *Tx {
		tx.Reset(st, Read, 101)
		tx.SetVisible(&visible)
		return &tx
	}
	want := []string{"later", "live"}
	var got []string
	begin().ForEach(func(user []byte, _ *Record) { got = append(got, string(user)) })
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("ForEach: %q", got)
	}
	got = nil
	begin().Scan(0, 1000, func(user []byte, _ *Record) { got = append(got, string(user)) })
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("Scan: %q", got)
	}
	if n := begin().CountAll(); n != 2 {
		t.Errorf("CountAll: %d", n)
	}
	random := map[string]bool{}
	for i := range uint64(500) {
		random[string(begin().RandomKey(func() uint64 { return i * 0x9e3779b97f4a7c15 }))] = true
	}
	if len(random) != 2 || !random["live"] || !random["later"] {
		t.Errorf("RandomKey: %v", random)
	}
	if tx.NeedsWrite() {
		t.Error("an enumeration asked for a write")
	}
	for user, want := range map[string]int64{"live": 1, "later": 1, "dead": 0, "hidden": 1} {
		s := slot.OfKey([]byte(user))
		n, err := CountKeys(st, s, 101)
		keys, err2 := ListKeys(st, s, 101, 10)
		if n != want || int64(len(keys)) != want || err != nil || err2 != nil {
			t.Errorf("slot of %q: %d keys, %v; listed %q, %v", user, n, err, keys, err2)
		}
	}
}

func TestRandomKeyOfNothing(t *testing.T) {
	tx := Begin(openStore(t), Read, 1)
	if k := tx.RandomKey(func() uint64 { return 7 }); k != nil {
		t.Errorf("got %q", k)
	}
}

func TestListKeysLimits(t *testing.T) {
	st := openStore(t)
	fill(t, st, 30)
	s := slot.OfKey([]byte("{big}"))
	for _, n := range []int{0, 1, 29, 30, 31} {
		keys, err := ListKeys(st, s, 1, n)
		if len(keys) != min(n, 30) || err != nil {
			t.Errorf("asked for %d, got %d, %v", n, len(keys), err)
		}
	}
}

// TestFlush: everything visible goes; bookkeeping and slots that are not visible stay.
func TestFlush(t *testing.T) {
	for _, c := range []struct {
		name   string
		hidden []slot.Range
		all    bool
	}{
		{name: "standalone", all: true},
		{name: "all visible"},
		{name: "holes", hidden: []slot.Range{{First: 0, Last: 0}, {First: 97, Last: 97}, {First: 5000, Last: 9000}, {First: 16383, Last: 16383}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := openStore(t)
			fill(t, st, 2000)
			clutter(st)
			var visible slot.Set
			visible.AddRange(slot.Range{First: 0, Last: slot.Count - 1})
			for _, r := range c.hidden {
				for s := r.First; s <= r.Last; s++ {
					visible.Remove(s)
				}
			}
			type content struct{ books, data int64 }
			look := func() map[slot.Slot]content {
				out := map[slot.Slot]content{}
				for s := slot.Slot(0); s < slot.Count; s++ {
					books, err := countSpan(st, key.KindSpan(s, key.Book))
					if err != nil {
						t.Fatal(err)
					}
					data, err := countSpan(st, key.DataSpan(s))
					if err != nil {
						t.Fatal(err)
					}
					out[s] = content{books, data}
				}
				return out
			}
			before := look()
			update(t, st, Write, 1, func(tx *Tx) {
				if !c.all {
					tx.SetVisible(&visible)
				}
				tx.Flush()
			})
			for s, after := range look() {
				want := before[s]
				if c.all || visible.Has(s) {
					want.data = 0
				}
				if after != want {
					t.Fatalf("slot %d (visible %v): had %+v, has %+v", s, visible.Has(s), before[s], after)
				}
			}
		})
	}
}

// TestFlushSparesInvisibleEmptySlots: a range delete over a slot that looks empty could take what an import writes meanwhile.
func TestFlushSparesInvisibleEmptySlots(t *testing.T) {
	st := openStore(t)
	put(t, st, "a", "", NoExpiry) // 15495
	put(t, st, "b", "", NoExpiry) // 3300
	var visible slot.Set
	visible.AddRange(slot.Range{First: 0, Last: slot.Count - 1})
	const importing = 9000
	visible.Remove(importing)
	tracker := st.Track(importing, 1<<20)
	update(t, st, Write, 1, func(tx *Tx) {
		tx.SetVisible(&visible)
		tx.Flush()
	})
	if c := tracker.Take(); !c.Empty() {
		t.Errorf("the flush touched %v", c)
	}
}

func TestFlushOfNothingWritesNothing(t *testing.T) {
	st := openStore(t)
	clutterBooks := st.NewBatch()
	clutterBooks.Set(key.AppendBook(nil, 5, "cursor"), nil)
	st.Commit(clutterBooks)
	tx := Begin(st, Write, 1)
	if tx.Flush(); tx.Batch() != nil {
		t.Error("an empty flush wrote something")
	}
}

func TestSweep(t *testing.T) {
	st := openStore(t)
	for i := range 10 {
		put(t, st, fmt.Sprintf("{big}%d", i), "v", int64(100+i))
	}
	s := slot.OfKey([]byte("{big}"))
	for _, step := range []struct {
		nowMs   int64
		limit   int
		deleted int
		more    bool
	}{{100, 5, 0, false}, {101, 5, 1, false}, {109, 5, 5, true}, {109, 3, 3, false}, {109, 3, 0, false}, {110, 1, 1, false}} {
		next, found, err := FirstExpiry(st, s)
		if due := found && step.nowMs > next; err != nil || due != (step.deleted > 0) {
			t.Fatalf("at %d: next is %d, %v, %v", step.nowMs, next, found, err)
		}
		update(t, st, Write, step.nowMs, func(tx *Tx) {
			if n, more := SweepSlot(tx, s, step.nowMs, step.limit); n != step.deleted || more != step.more {
				t.Fatalf("at %d: deleted %d, more %v", step.nowMs, n, more)
			}
		})
		checkAll(t, st, s)
	}
	if n, _ := countSpan(st, key.SlotSpan(s)); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TestSweepComparesTheRecord: an index entry that the record does not confirm goes, the record stays.
func TestSweepComparesTheRecord(t *testing.T) {
	st := openStore(t)
	put(t, st, "k", "v", 500)
	put(t, st, "{k}plain", "v", NoExpiry)
	s := slot.OfKey([]byte("k"))
	b := st.NewBatch()
	b.Set(key.AppendExpiry(nil, s, 10, []byte("k")), nil)
	b.Set(key.AppendExpiry(nil, s, 10, []byte("{k}plain")), nil)
	b.Set(key.AppendExpiry(nil, s, 10, []byte("{k}gone")), nil)
	st.Commit(b)
	update(t, st, Write, 100, func(tx *Tx) { SweepSlot(tx, s, 100, 10) })
	checkAll(t, st, s)
	if n, _ := CountKeys(st, s, 100); n != 2 {
		t.Errorf("%d keys are left, want 2", n)
	}
}

func TestEachExpiring(t *testing.T) {
	st := openStore(t)
	fill(t, st, 200)
	clutter(st)
	put(t, st, "a", "", 100)   // slot 15495
	put(t, st, "{a}", "", 300) // the same
	put(t, st, "b", "", 200)   // slot 3300
	type first struct {
		s        slot.Slot
		expireMs int64
	}
	var got []first
	if err := EachExpiring(st, func(s slot.Slot, expireMs int64) { got = append(got, first{s, expireMs}) }); err != nil {
		t.Fatal(err)
	}
	if want := []first{{3300, 200}, {15495, 100}}; !slices.Equal(got, want) {
		t.Errorf("visited %v, want %v", got, want)
	}
}

// BenchmarkScanBigSlot shows that a scan of one slot takes time in proportion to its keys, not to their square.
func BenchmarkScanBigSlot(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			st := openStore(b)
			fill(b, st, n)
			for b.Loop() {
				tx := Begin(st, Read, 1)
				scanAll(b, &tx, 100, func(int) {})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/key")
		})
	}
}
