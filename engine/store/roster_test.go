package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// check reports a key that invariant 1 wants in the filter and is not.
func (r *roster) check(from reader) error {
	it, err := from.newIter(key.UserSpan())
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if absent, _ := r.absent(it.Key()); absent {
			_ = it.Close()
			return fmt.Errorf("%q is in the store, and the roster says that it is not", it.Key())
		}
	}
	return it.Close()
}

// TestRosterIsTransparent: whatever is written, deleted, imported, ingested or forgotten by a restart, also when the filter overflows, no
// key that is there is said to be absent, and reads see what was committed last.
func TestRosterIsTransparent(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		for _, keys := range []int{100, 400, 1000} { // of which a slot has an eighth; the filter is full with 512
			t.Run(fmt.Sprint(keys), func(t *testing.T) { rosterRun(t, options, keys) })
		}
	})
}

func rosterRun(t *testing.T, options func(vfs.FS) Options, keys int) {
	fs := vfs.NewMem()
	o := options(fs)
	o.RowCacheBytes = minRowCache
	st := mustOpen(t, o)
	defer func() { mustClose(t, st) }()
	random := rand.New(rand.NewPCG(uint64(keys), 7))
	want := map[string]string{}
	dropSlot := func(span key.Span) {
		for k := range want {
			if span.Contains([]byte(k)) {
				delete(want, k)
			}
		}
	}
	for round := range 3000 {
		span := key.DataSpan(slot.Slot(random.IntN(8)))
		switch p := random.IntN(1000); {
		case p < 3:
			mustClose(t, st)
			st = mustOpen(t, o)
		case p < 10: // a slot arrives
			b := st.NewBatch()
			b.DeleteRange(span)
			dropSlot(span)
			b.Apart(span)
			for range random.IntN(20) {
				if k := rowKey(random.IntN(keys)); span.Contains(k) {
					b.Set(k, []byte("imported"))
					want[string(k)] = "imported"
				}
			}
			st.Commit(b)
		case p < 20: // as a table
			b := st.NewBatch()
			b.DeleteRange(span)
			dropSlot(span)
			st.Commit(b)
			records := map[string]string{}
			for range 1 + random.IntN(20) {
				if k := rowKey(random.IntN(keys)); span.Contains(k) {
					records[string(k)], want[string(k)] = "ingested", "ingested"
				}
			}
			ingest(t, st, span, records)
		default:
			b := st.NewBatch()
			for range 1 + random.IntN(3) {
				k := rowKey(random.IntN(keys))
				if random.IntN(3) == 0 {
					b.Delete(k)
					delete(want, string(k))
				} else {
					b.Set(k, fmt.Append(nil, round))
					want[string(k)] = fmt.Sprint(round)
				}
			}
			st.Commit(b)
		}
		for range 8 {
			k := rowKey(random.IntN(keys))
			got, found, err := st.Get(k)
			if w, there := want[string(k)]; err != nil || found != there || string(got) != w {
				t.Fatalf("round %d, key %q: %q, %v, %v; want %q, %v", round, k, got, found, err, w, there)
			}
		}
		if round%50 == 0 {
			if err := st.names.check(st.kv); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}

// ingest takes records of a span that is empty in as a table.
func ingest(t *testing.T, st *Store, span key.Span, records map[string]string) {
	t.Helper()
	var raw []byte
	for _, k := range slices.Sorted(maps.Keys(records)) {
		raw = AppendRecord(raw, []byte(k), []byte(records[k]))
	}
	g, err := st.Stage("table")
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) == 0 {
		g.Drop()
		return
	}
	table, err := st.kv.buildTable(nil, raw)
	if err != nil {
		t.Fatal(err)
	}
	stage(t, g, [][]byte{table}, nil)
	if ok, err := g.Ingest(span, []TableSum{SumTable(table)}); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// absentOf counts the keys of some that the roster says are absent.
func absentOf(st *Store, from, to int) (n int) {
	for i := from; i < to; i++ {
		if absent, _ := st.names.absent(rowKey(i)); absent {
			n++
		}
	}
	return n
}

func setRows(st *Store, from, to int) {
	for i := from; i < to; i++ {
		b := st.NewBatch()
		b.Set(rowKey(i), []byte("v"))
		st.Commit(b)
	}
}

func lookFor(t *testing.T, st *Store, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, found, err := st.Get(rowKey(i)); found || err != nil {
			t.Fatal(i, found, err)
		}
	}
}

// TestRosterKnows: a store that was empty knows what is not there; one that was opened with keys, or into which a slot has come, knows it
// when some have looked in vain.
func TestRosterKnows(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewMem()
		o := options(fs)
		o.RowCacheBytes = 64 << 10
		st := mustOpen(t, o)
		defer func() { mustClose(t, st) }()
		const there, all = 1000, 2000 // 125 of a slot, which takes two pieces
		wants := func(when string, atLeast, atMost int) {
			t.Helper()
			if n := absentOf(st, there, all); n < atLeast || n > atMost {
				t.Errorf("%s: %d of %d keys are known to be absent, want %d to %d", when, n, all-there, atLeast, atMost)
			}
		}
		setRows(st, 0, there)
		wants("begun empty", 980, 1000)
		mustClose(t, st)
		st = mustOpen(t, o)
		wants("opened with keys", 0, 0)
		lookFor(t, st, there, there+7)
		wants("read in part", 1, 500)
		lookFor(t, st, there, there+64)
		wants("read", 980, 1000)
		b := st.NewBatch()
		b.Apart(key.DataSpan(3))
		st.Commit(b)
		wants("a slot came", 980-125, 1000-125)
		lookFor(t, st, there, there+40)
		wants("read again", 980, 1000)
	})
}

// TestRosterOverflows: a filter full of what is gone is cleared and filled anew; one that cannot hold what is there says nothing any more.
func TestRosterOverflows(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.RowCacheBytes = minRowCache
	st := mustOpen(t, o)
	defer func() { mustClose(t, st) }()
	setRows(st, 0, 200)
	for i := 1000; i < 2000; i++ { // come and go
		b := st.NewBatch()
		b.Set(rowKey(i), nil)
		st.Commit(b)
		b = st.NewBatch()
		b.Delete(rowKey(i))
		st.Commit(b)
	}
	for i := 200; i < 400; i++ {
		lookFor(t, st, i, i+1)
	}
	if n := absentOf(st, 200, 400); st.names.clears.Load() != 2 || n < 190 {
		t.Errorf("cleared %d times, and %d of 200 keys are known to be absent", st.names.clears.Load()/2, n)
	}
	setRows(st, 3000, 5000)
	for range 4 {
		lookFor(t, st, 200, 1000)
	}
	if n := absentOf(st, 200, 400); !st.names.retired.Load() || n != 0 {
		t.Errorf("retired %v, and %d of 200 keys are known to be absent", st.names.retired.Load(), n)
	}
}

// TestRosterConcurrently: while others write, look in vain and let slots arrive, and the filter overflows, each finds what it has written.
func TestRosterConcurrently(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.RowCacheBytes = minRowCache
	st := mustOpen(t, o)
	defer func() { mustClose(t, st) }()
	var wg sync.WaitGroup
	for w := range 8 { // each has a slot of its own: rowKey(i) lies in slot i%8
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 3))
			there := map[int]bool{}
			for range 3000 {
				i := random.IntN(90)*8 + w
				b := st.NewBatch()
				switch p := random.IntN(100); {
				case p < 2:
					b.DeleteRange(key.DataSpan(slot.Slot(w)))
					b.Apart(key.DataSpan(slot.Slot(w)))
					clear(there)
					fallthrough
				case p < 30:
					b.Set(rowKey(i), []byte("v"))
					there[i] = true
				default:
					b.Delete(rowKey(i))
					delete(there, i)
				}
				st.Commit(b)
				i = random.IntN(90)*8 + w
				if _, found, err := st.Get(rowKey(i)); err != nil || found != there[i] {
					t.Errorf("key %d: %v, %v; want %v", i, found, err, there[i])
					return
				}
			}
		})
	}
	wg.Wait()
	if st.names.clears.Load() == 0 {
		t.Error("the filter never overflowed")
	}
}

// BenchmarkGetAbsent looks for what is not there.
func BenchmarkGetAbsent(b *testing.B) {
	st := openMem(b)
	setRows(st, 0, 50_000)
	keys := make([][]byte, 50_000)
	for i := range keys {
		keys[i] = rowKey(100_000 + i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, found, err := st.Append(nil, keys[i%len(keys)]); found || err != nil {
			b.Fatal(found, err)
		}
		i++
	}
}
