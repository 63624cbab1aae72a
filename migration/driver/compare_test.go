package driver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/key"
	"godwit/engine/store"
	"godwit/migration"
)

// roundOf is which round a slot is in at its source, 0 if it is in none.
func (n *node) roundOf() migration.RoundKind {
	d := n.driver()
	d.mu.Lock()
	s := d.sources[testSlot]
	d.mu.Unlock()
	if s == nil {
		return 0
	}
	return s.seen().round
}

// pieces counts, of the slot of tests, the tiles that are not stale, those that are, and the gaps between.
func (ts *tiles) pieces() (fresh, stale, gaps int) {
	ts.cut(key.DataSpan(testSlot), func(_ key.Span, t *tile) {
		switch {
		case t == nil:
			gaps++
		case t.stale:
			stale++
		default:
			fresh++
		}
	})
	return fresh, stale, gaps
}

// heldJob is a world of two nodes and a job that moves a slot of many tiles as far as it goes without handing it over.
func heldJob(t *testing.T) (w *world, m shadow, job uint64) { return heldJobWith(t, quick()) }

func heldJobWith(t *testing.T, cfg Config) (w *world, m shadow, job uint64) {
	w, m = newWorld(t, 5), shadow{}
	w.born(2, cfg)
	for i := range 150 {
		m.set(w, i, fmt.Sprint("value ", i))
	}
	return w, m, w.startWith(engine.JobOptions{Hold: true}, 0, 1, testSlot)
}

// TestDamageAtTargetIsFound damages one record of many at the target, while nothing else writes to the slot: what is lost or flipped before the walk
// that verifies the copies is found there and repaired, also if the target has read it before, and what happens to it behind the back of the move
// after that is found after takeover.
func TestDamageAtTargetIsFound(t *testing.T) {
	damage := map[string]func(b *store.Batch, k, v []byte){
		"lost":    func(b *store.Batch, k, _ []byte) { b.Delete(k) },
		"flipped": func(b *store.Batch, k, v []byte) { b.Set(k, append(bytes.Clone(v[:len(v)-1]), v[len(v)-1]^1)) },
	}
	for name, spoil := range damage { //det:ok each is a test of its own
		for i := range 4 {
			verified, readBack := i%2 == 1, i/2 == 1
			t.Run(fmt.Sprintf("%s, verified %v, read back %v", name, verified, readBack), func(t *testing.T) {
				cfg := quick()
				if readBack {
					cfg.IngestBytes = 1
				}
				w, m, job := heldJobWith(t, cfg)
				source, target := w.nodes[0], w.nodes[1]
				if verified {
					w.until("the slot is held", func() bool { return source.stepOf(testSlot) == migration.StepHolding })
				} else {
					w.until("all was sent", func() bool { return source.roundOf() == migration.RoundVerify })
				}
				span := key.Span{Lo: key.AppendRecord(nil, testSlot, []byte(keyOf(70))), Hi: key.DataSpan(testSlot).Hi}
				if all := target.driver().targetOf(testSlot).proven.all; readBack && !verified {
					i := slices.IndexFunc(all, func(t tile) bool { return !t.unread && !t.stale })
					if i < 0 {
						t.Fatal("the target has read nothing back")
					}
					span = all[i].span
				}
				c, err := store.ReadChunk(target.Store(), span, store.ChunkLimits{Bytes: 1, Records: 1}, store.WithRecords)
				if err != nil {
					t.Fatal(err)
				}
				k, v, _, err := store.NextRecord(c.Records)
				if err != nil {
					t.Fatal(err)
				}
				b := target.Store().NewBatch()
				spoil(b, k, v)
				target.Store().Commit(b)
				w.until("the slot is held", func() bool { return source.stepOf(testSlot) == migration.StepHolding })
				w.tell(source, job, engine.VerbCutOver, true, "1 slots")
				st := w.ended(source, job)
				found := strings.Contains(source.logs.String(), "the copies differ before the cutover")
				switch {
				case verified && (st.Differ != 1 || found):
					t.Errorf("%+v; want a difference after takeover\n%s", st, source.logs.String())
				case !verified && (st.Differ != 0 || st.DigestsEqual != 1 || !found):
					t.Errorf("%+v; want a difference before the cutover, repaired\n%s", st, source.logs.String())
				case !verified:
					m.check(w, target)
				}
			})
		}
	}
}

// TestDigestSaidAgain requires that a digest which a source says again is answered from what the target remembers, and only as long as nothing has written
// there: not after a write, nor after a range delete, nor of a span that is another.
func TestDigestSaidAgain(t *testing.T) {
	w, _, _ := heldJob(t)
	source, target := w.nodes[0], w.nodes[1]
	w.until("the slot is held", func() bool { return source.stepOf(testSlot) == migration.StepHolding })
	at := target.driver().targetOf(testSlot)
	piece := func(of func(t *tile) bool) *tile {
		t.Helper()
		for i := range at.proven.all {
			if known := &at.proven.all[i]; !known.stale && of(known) {
				return known
			}
		}
		t.Fatal("the target knows no such piece")
		return nil
	}
	differs := func(span key.Span, digest store.Digest) (differ bool) {
		t.Helper()
		target.Exclusive(testSlot, func(*engine.Owned) {
			var err error
			if differ, err = target.driver().differs(at, testSlot, &op{kind: opDigest, span: span, digest: digest}); err != nil {
				t.Fatal(err)
			}
		})
		return differ
	}
	said := piece(func(*tile) bool { return true })
	span, digest := said.span, said.digest
	other := digest
	other.Lo++
	if differs(span, digest) || !differs(span, other) {
		t.Error("said again, what is equal differs, or what differs is equal")
	}
	said.digest = other // what is remembered, and not what is there: so it shows which of the two answers
	if differs(span, other) {
		t.Error("a digest said again is not answered from memory")
	}
	said.digest = digest
	if !differs(key.Span{Lo: span.Lo, Hi: key.DataSpan(testSlot).Hi}, digest) {
		t.Error("a longer span is answered from what is known of a part")
	}
	writes := map[string]func(b *store.Batch, k []byte, span key.Span){
		"a write":        func(b *store.Batch, k []byte, _ key.Span) { b.Set(k, []byte("another value")) },
		"a deletion":     func(b *store.Batch, k []byte, _ key.Span) { b.Delete(k) },
		"a range delete": func(b *store.Batch, _ []byte, span key.Span) { b.DeleteRange(span) },
	}
	for _, name := range []string{"a write", "a deletion", "a range delete"} {
		said := piece(func(t *tile) bool { return t.digest.Records > 0 && !differs(t.span, t.digest) })
		span, digest := said.span, said.digest
		it, err := target.Store().NewIter(span)
		if err != nil {
			t.Fatal(err)
		}
		it.First()
		k := bytes.Clone(it.Key())
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		b := target.Store().NewBatch()
		writes[name](b, k, span)
		target.Store().Commit(b)
		if !differs(span, digest) {
			t.Errorf("after %s the digest of before is still found equal", name)
		}
	}
}

// TestReadOnce requires that what nothing has written to is not read again: the source knows all digests when it verifies the copies, and the
// target knows those of what has not changed between that and the takeover.
func TestReadOnce(t *testing.T) {
	w, m, job := heldJob(t)
	source, target := w.nodes[0], w.nodes[1]
	w.until("the slot is verified", func() bool { return source.roundOf() == migration.RoundVerify })
	d := source.driver()
	s := &d.sources[testSlot].stream
	if fresh, stale, gaps := s.tiles.pieces(); fresh < 5 || stale != 0 || gaps != 0 {
		t.Errorf("the source knows %d pieces, has %d stale ones and %d gaps; want it to know all", fresh, stale, gaps)
	}
	w.until("the slot is held", func() bool { return source.stepOf(testSlot) == migration.StepHolding })
	at := target.driver().targetOf(testSlot)
	fresh, stale, gaps := at.proven.pieces()
	if fresh < 5 || stale != 0 || gaps != 0 {
		t.Errorf("the target knows %d pieces, has %d stale ones and %d gaps; want it to know all", fresh, stale, gaps)
	}
	m.set(w, 70, "another value")
	w.tell(source, job, engine.VerbCutOver, true, "1 slots")
	w.until("the slot is taken over", func() bool { return at.takeover != nil })
	if f, s, g := at.taken.pieces(); f != fresh-1 || s != 1 || g != 0 {
		t.Errorf("after one write the target knows %d pieces, has %d stale ones and %d gaps; want %d, 1 and none", f, s, g, fresh-1)
	}
	w.until("the copies are compared", func() bool { return source.stepOf(testSlot) == migration.StepConfirming })
	if f, st, g := s.tiles.pieces(); f+st != fresh || g != 0 {
		t.Errorf("after takeover the source compares %d pieces and %d gaps; want the %d pieces of the target, and no gap", f+st, g, fresh)
	}
	w.until("two pieces are read at once", func() bool {
		c := d.sources[testSlot].confirm
		return c != nil && c.reading == confirmReaders
	})
	checkMoved(w, source, target, m, w.ended(source, job))
	ended := w.now
	w.until("the target has heard that the comparison is over", func() bool { return at.takeover == nil })
	if late := w.now - ended; late > time.Second {
		t.Errorf("the target keeps its snapshot for %v after the job has ended", late)
	}
	if snapshots, trackers := target.Store().Held(); snapshots != 0 || trackers != 0 || len(at.taken.all)+len(at.proven.all) != 0 {
		t.Errorf("the target still has %d snapshots, %d trackers and %d tiles", snapshots, trackers, len(at.taken.all)+len(at.proven.all))
	}
	if len(s.tiles.all) != 0 {
		t.Errorf("the source still has %d tiles", len(s.tiles.all))
	}
}
