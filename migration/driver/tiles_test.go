package driver

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// spanOf is a span of keys of a slot, by their numbers.
func spanOf(sl slot.Slot, lo, hi int) key.Span {
	return key.Span{Lo: numbered(sl, lo), Hi: numbered(sl, hi)}
}

func numbered(sl slot.Slot, n int) []byte { return key.AppendRecordSeek(nil, sl, uint32(n)) }

// TestTilesAgainstModel puts, extends and changes tiles at random, beside a model that keeps for each number of a small space which tile it belongs
// to, and requires that they ascend, do not overlap, and know a span exactly as long as nothing in it has changed.
func TestTilesAgainstModel(t *testing.T) {
	const space, sl = 64, slot.Slot(7)
	rng := rand.New(rand.NewPCG(1, 2))
	lim := store.ChunkLimits{Bytes: 100, Records: 100}
	for range 300 {
		var ts tiles
		type piece struct {
			lo, hi int
			d      store.Digest
			stale  bool
		}
		var model []piece
		put := func(p piece) {
			kept := model[:0:0]
			for _, o := range model {
				if o.hi <= p.lo || p.hi <= o.lo {
					kept = append(kept, o)
				}
			}
			model = append(kept, p)
		}
		for step := range 40 {
			lo := rng.IntN(space)
			hi := lo + 1 + rng.IntN(space-lo)
			d := store.Digest{Lo: uint64(step), Records: 1}
			switch rng.IntN(4) {
			case 0, 1:
				ts.put(tile{span: spanOf(sl, lo, hi), bytes: 60, digest: d})
				put(piece{lo: lo, hi: hi, d: d})
			case 2:
				ts.changed(store.Changes{Keys: [][]byte{numbered(sl, lo)}})
				for i := range model {
					model[i].stale = model[i].stale || model[i].lo <= lo && lo < model[i].hi
				}
			default:
				ts.changed(store.Changes{Spans: []key.Span{spanOf(sl, lo, hi)}})
				for i := range model {
					model[i].stale = model[i].stale || model[i].lo < hi && lo < model[i].hi
				}
			}
			if len(ts.all) != len(model) {
				t.Fatalf("there are %d tiles, want %d", len(ts.all), len(model))
			}
			for _, p := range model {
				d, ok := ts.known(spanOf(sl, p.lo, p.hi))
				if ok == p.stale || ok && d != p.d {
					t.Fatalf("%d to %d: known %v, %v; want stale %v, %v", p.lo, p.hi, ok, d, p.stale, p.d)
				}
				if _, ok := ts.known(spanOf(sl, p.lo, p.hi+1)); ok {
					t.Fatalf("%d to %d is known, of which only a part is a tile", p.lo, p.hi+1)
				}
			}
			at := key.DataSpan(sl).Lo
			ts.cut(key.DataSpan(sl), func(span key.Span, _ *tile) {
				if !bytes.Equal(span.Lo, at) || span.Empty() {
					t.Fatalf("a piece begins at %x, want %x", span.Lo, at)
				}
				at = span.Hi
			})
			if !bytes.Equal(at, key.DataSpan(sl).Hi) {
				t.Fatalf("the pieces end at %x", at)
			}
		}
	}

	var ts tiles
	for i := range 4 {
		ts.extend(tile{span: spanOf(sl, i, i+1), bytes: 40, digest: store.Digest{Lo: 1, Records: 1}}, lim)
	}
	if d, ok := ts.known(spanOf(sl, 2, 4)); len(ts.all) != 2 || !ok || d != (store.Digest{Lo: 2, Records: 2}) {
		t.Errorf("four tiles of 40 bytes became %d, want 2 of two each", len(ts.all))
	}
}

// TestTilesAreBounded requires that no more tiles are kept than may be, and that the others count as not known.
func TestTilesAreBounded(t *testing.T) {
	var ts tiles
	for i := range maxTiles + 10 {
		ts.put(tile{span: spanOf(1, i, i+1)})
	}
	if _, ok := ts.known(spanOf(1, maxTiles+1, maxTiles+2)); len(ts.all) != maxTiles || ok {
		t.Errorf("%d tiles are kept, want %d", len(ts.all), maxTiles)
	}
	pieces := 0
	ts.cut(key.DataSpan(1), func(key.Span, *tile) { pieces++ })
	if pieces != maxTiles+2 {
		t.Errorf("the slot is cut into %d pieces, want %d: the tiles, and what is before and behind them", pieces, maxTiles+2)
	}
}
