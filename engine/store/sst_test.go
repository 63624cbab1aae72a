package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
	"godwit/engine/slot"
)

const tableSlot = slot.Slot(77)

// fillTables writes n records into the slot of the tests.
func fillTables(t testing.TB, s *Store, n int) {
	t.Helper()
	b := s.NewBatch()
	for i := range n {
		b.Set(key.AppendRecord(nil, tableSlot, fmt.Appendf(nil, "key%d", i)), fmt.Appendf(nil, "value %d of a record that repeats itself", i))
	}
	s.Commit(b)
}

// buildAll builds all tables of the slot at a snapshot.
func buildAll(t testing.TB, s *Store, size int) (tables [][]byte, sums []TableSum, digest Digest) {
	t.Helper()
	snap := s.NewSnapshot()
	defer snap.Close()
	for rest := key.DataSpan(tableSlot); ; {
		b, err := s.BuildTable(snap, rest, size)
		if err != nil {
			t.Fatal(err)
		}
		digest.Merge(b.Digest)
		if len(b.Bytes) > 0 {
			tables, sums = append(tables, b.Bytes), append(sums, SumTable(b.Bytes))
		}
		if rest.Lo = b.Covers.Hi; b.Last {
			return tables, sums, digest
		}
	}
}

func slotDigest(t testing.TB, s *Store) Digest {
	t.Helper()
	c, err := ReadChunk(s, key.DataSpan(tableSlot), ChunkLimits{Bytes: 1 << 40, Records: 1 << 40}, WithDigest)
	if err != nil {
		t.Fatal(err)
	}
	return c.Digest
}

// stage stages all blocks of tables but those that skip names, the last ones first.
func stage(t testing.TB, g *Staging, tables [][]byte, skip func(table, at int) bool) {
	t.Helper()
	const size = 100
	for n := len(tables) - 1; n >= 0; n-- {
		b := tables[n]
		for at := (len(b) - 1) / size * size; at >= 0; at -= size {
			block := b[at:min(at+size, len(b))]
			if skip != nil && skip(n, at) {
				continue
			}
			if err := g.Put(uint32(n), int64(at), BlockSum(block), block); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// staged lists the files that are staged.
func staged(t testing.TB, s *Store) []string {
	t.Helper()
	names, err := s.fs.List(s.fs.PathJoin(s.dir, stagingDir))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestTablesMoveASlot requires that tables that were built from a span, and staged in blocks in any order, are the same span when they have been
// ingested, also after a restart; that what was written to it before the tables stays deleted, and that rows in the cache do not outlive them.
func TestTablesMoveASlot(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		from := openOn(t, options)
		fillTables(t, from, 500)
		tables, sums, digest := buildAll(t, from, 4<<10)
		if len(tables) < 4 || digest != slotDigest(t, from) || digest.Records != 500 {
			t.Fatalf("%d tables, %v", len(tables), digest)
		}
		fs := vfs.NewMem()
		to := mustOpen(t, options(fs))
		fillTables(t, to, 10)
		b := to.NewBatch()
		b.Set(key.AppendRecord(nil, tableSlot, []byte("left over")), nil)
		to.Commit(b)
		b = to.NewBatch()
		b.DeleteRange(key.SlotSpan(tableSlot))
		to.Commit(b)
		probe := key.AppendRecord(nil, tableSlot, []byte("key7"))
		if _, found, err := to.Get(probe); found || err != nil {
			t.Fatal(found, err)
		}
		g, err := to.Stage("a")
		if err != nil {
			t.Fatal(err)
		}
		stage(t, g, tables, nil)
		stage(t, g, tables[:1], nil) // again
		if ok, err := g.Ingest(key.DataSpan(tableSlot), sums); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if got := slotDigest(t, to); got != digest {
			t.Errorf("ingested %v of %v", got, digest)
		}
		if v, found, err := to.Get(probe); !found || err != nil || len(v) == 0 {
			t.Errorf("a record reads as %q, %v, %v", v, found, err)
		}
		if names := staged(t, to); len(names) != 0 {
			t.Errorf("%q are left", names)
		}
		b = to.NewBatch()
		b.Set(probe, []byte("newer"))
		to.Commit(b)
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		to = mustOpen(t, options(fs))
		if v, _, err := to.Get(probe); string(v) != "newer" || err != nil || slotDigest(t, to).Records != 500 {
			t.Errorf("after a restart a record is %q, %v, of %d", v, err, slotDigest(t, to).Records)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTablesMustBeWhole requires that nothing is ingested unless every block of every table is there and is what was sent.
func TestTablesMustBeWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		s := openOn(t, options)
		fillTables(t, s, 300)
		tables, sums, _ := buildAll(t, s, 4<<10)
		b := s.NewBatch()
		b.DeleteRange(key.DataSpan(tableSlot))
		s.Commit(b)
		try := func(what string, sums []TableSum, change func(g *Staging)) {
			t.Helper()
			g, err := s.Stage("b")
			if err != nil {
				t.Fatal(err)
			}
			change(g)
			if ok, err := g.Ingest(key.DataSpan(tableSlot), sums); ok || err != nil {
				t.Errorf("%s: %v, %v", what, ok, err)
			}
			if d := slotDigest(t, s); d.Records != 0 || len(staged(t, s)) != 0 {
				t.Errorf("%s: %v were ingested, %q are left", what, d, staged(t, s))
			}
		}
		try("a block is missing", sums, func(g *Staging) {
			stage(t, g, tables, func(table, at int) bool { return table == 1 && at == 100 })
		})
		try("the last table is missing", sums, func(g *Staging) { stage(t, g, tables[:len(tables)-1], nil) })
		other := append([]TableSum(nil), sums...)
		other[2].Hash[0]++
		try("a table is another", other, func(g *Staging) { stage(t, g, tables, nil) })
		longer := append([]TableSum(nil), sums...)
		longer[0].Bytes += 100
		try("a table is longer", longer, func(g *Staging) { stage(t, g, tables, nil) })
		try("nothing was sent", sums, func(*Staging) {})
	})
}

func TestBlocksAreChecked(t *testing.T) {
	s := openMem(t)
	g, err := s.Stage("c")
	if err != nil {
		t.Fatal(err)
	}
	block := []byte("some bytes")
	sum := BlockSum(block)
	for what, err := range map[string]error{
		"a flipped bit":       g.Put(0, 0, sum^1, block),
		"a negative offset":   g.Put(0, -1, sum, block),
		"an offset too large": g.Put(0, maxStagedTable-5, sum, block),
		"too many tables":     g.Put(maxStagedTables, 0, sum, block),
	} {
		if !errors.Is(err, ErrBlock) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := g.Put(3, 0, sum, block); err != nil || len(staged(t, s)) != 1 {
		t.Errorf("a good one: %v, %q", err, staged(t, s))
	}
	g.Drop()
	if names := staged(t, s); len(names) != 0 {
		t.Errorf("%q are left", names)
	}
}

// TestStagedTablesGoAtAStart requires that what a process leaves staged does not stay on the disk for ever.
func TestStagedTablesGoAtAStart(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewMem()
		s := mustOpen(t, options(fs))
		g, err := s.Stage("d")
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Put(0, 0, BlockSum([]byte("x")), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, options(fs))
		if _, err := fs.Stat(fs.PathJoin("d", stagingDir)); err == nil {
			t.Errorf("the directory is still there, with %q", staged(t, s))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestArrive requires that the records of a table that arrived come to lie over what was there, and only once it is ingested; that records that are
// not in order are left to the caller; and that nothing stays staged.
func TestArrive(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewCrashableMem()
		s := mustOpen(t, options(fs))
		fillTables(t, s, 50)
		c, err := ReadChunk(s, key.DataSpan(tableSlot), ChunkLimits{Bytes: 1 << 20, Records: 1 << 20}, WithRecords)
		if err != nil {
			t.Fatal(err)
		}
		want := slotDigest(t, s)
		b := s.NewBatch()
		b.DeleteRange(key.DataSpan(tableSlot))
		b.Set(key.AppendRecord(nil, tableSlot, []byte("key7")), []byte("another value"))
		s.Commit(b)
		before := slotDigest(t, s)

		for _, bad := range [][]byte{nil, AppendRecord(bytes.Clone(c.Records), key.AppendRecord(nil, tableSlot, []byte("key1")), nil)} {
			if a, ok, err := s.Arrive("bad", bad); ok || err != nil {
				t.Fatalf("records out of order, or none: %v, %v, %v", a, ok, err)
			}
		}
		if _, _, err := s.Arrive("torn", c.Records[:len(c.Records)-1]); err == nil {
			t.Fatal("records that end in the middle of one were taken")
		}
		for i, take := range []bool{false, true} {
			a, ok, err := s.Arrive(fmt.Sprint("table", i), c.Records)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if got := slotDigest(t, s); got != before {
				t.Fatalf("before the table is ingested: %v, want %v", got, before)
			}
			if take {
				if err := a.Ingest(); err != nil {
					t.Fatal(err)
				}
			}
			a.Drop()
		}
		if names := staged(t, s); len(names) != 0 {
			t.Errorf("%q are left", names)
		}
		if got := slotDigest(t, s); got != want {
			t.Fatalf("after it: %v, want %v", got, want)
		}
		wantValue(t, s, string(key.AppendRecord(nil, tableSlot, []byte("key7"))), "value 7 of a record that repeats itself")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, options(fs))
		if got := slotDigest(t, s); got != want {
			t.Errorf("after a restart: %v, want %v", got, want)
		}
		mustClose(t, s)
	})
}

// TestIngestedIsTracked requires that a tracker hears of a table that is taken in, as it hears of a batch.
func TestIngestedIsTracked(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		tr := st.Track(3, 1<<20)
		k := key.AppendRecord(nil, 3, []byte("k"))
		a, ok, err := st.Arrive("one", AppendRecord(nil, k, []byte("v")))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := a.Ingest(); err != nil {
			t.Fatal(err)
		}
		c := tr.Take()
		if len(c.Spans) != 1 || !c.Spans[0].Contains(k) {
			t.Errorf("the tracker has %d keys and the spans %x, want one that has %x", len(c.Keys), c.Spans, k)
		}
		st.Untrack(tr)
	})
}
