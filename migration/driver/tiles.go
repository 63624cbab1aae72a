package driver

import (
	"bytes"
	"slices"

	"godwit/engine/key"
	"godwit/engine/store"
)

// tiles remembers which digest the records of a slot had, piece by piece, when they were read last, and where something has been written
// since. So what is to be compared need not be read again on either side as long as nothing has touched it.
//
// Invariant: they ascend and do not overlap. What lies between them is not known.
type tiles struct {
	all []tile
}

// tile is a span that was read.
type tile struct {
	span   key.Span
	bytes  int // of keys and values
	digest store.Digest
	// stale says that something may have been written there since: then only the span counts, so that both sides cut the slot in the same places.
	stale bool
	// unread says, at a target, that nobody has read it yet: it has no digest, but for the number of records.
	unread bool
}

// fits reports whether both tiles together, of which other comes later, are one within limits.
func (t *tile) fits(other *tile, lim store.ChunkLimits) bool {
	return t.bytes+other.bytes <= lim.Bytes && int(t.digest.Records+other.digest.Records) <= lim.Records && bytes.Equal(t.span.Hi, other.span.Lo)
}

// grow adds the tile that comes behind this one.
func (t *tile) grow(other *tile) {
	t.span.Hi = other.span.Hi
	t.bytes += other.bytes
	t.digest.Merge(other.digest)
}

// maxTiles bounds the tiles of a slot. At 1 MiB each (Config.DigestBytes), they are the first 16 GiB, of which they take some 4 MB.
const maxTiles = 16 << 10

// find is the index of the first tile that ends behind a key.
func (ts *tiles) find(k []byte) int {
	i, _ := slices.BinarySearchFunc(ts.all, k, func(t tile, k []byte) int {
		if bytes.Compare(t.span.Hi, k) <= 0 {
			return -1
		}
		return 1
	})
	return i
}

// put adds a tile in place of those that it overlaps, and keeps the slices.
func (ts *tiles) put(t tile) {
	from := ts.find(t.span.Lo)
	to := from
	for to < len(ts.all) && bytes.Compare(ts.all[to].span.Lo, t.span.Hi) < 0 {
		to++
	}
	if to == from && len(ts.all) >= maxTiles {
		return
	}
	ts.all = slices.Replace(ts.all, from, to, t)
}

// extend adds a tile behind all others, as a part of the last one if both together are within limits.
func (ts *tiles) extend(t tile, lim store.ChunkLimits) {
	if n := len(ts.all); n > 0 {
		if last := &ts.all[n-1]; !last.stale && last.fits(&t, lim) {
			last.grow(&t)
			return
		}
	}
	ts.put(t)
}

// changed makes the tiles stale that changes lie in.
func (ts *tiles) changed(c store.Changes) {
	if len(ts.all) == 0 {
		return
	}
	for _, k := range c.Keys {
		if i := ts.find(k); i < len(ts.all) && ts.all[i].span.Contains(k) {
			ts.all[i].stale = true
		}
	}
	for _, s := range c.Spans {
		for i := ts.find(s.Lo); i < len(ts.all) && bytes.Compare(ts.all[i].span.Lo, s.Hi) < 0; i++ {
			ts.all[i].stale = true
		}
	}
}

// fresh is the tile that is a span, if there is one that is not stale.
func (ts *tiles) fresh(span key.Span) *tile {
	if i := ts.find(span.Lo); i < len(ts.all) {
		if t := &ts.all[i]; !t.stale && bytes.Equal(t.span.Lo, span.Lo) && bytes.Equal(t.span.Hi, span.Hi) {
			return t
		}
	}
	return nil
}

// known is the digest of a span, if it is a tile's that was read and is not stale.
func (ts *tiles) known(span key.Span) (store.Digest, bool) {
	if t := ts.fresh(span); t != nil && !t.unread {
		return t.digest, true
	}
	return store.Digest{}, false
}

// wasRead gives the tile that is a span its digest, and reports whether it has waited for it.
func (ts *tiles) wasRead(span key.Span, d store.Digest) bool {
	t := ts.fresh(span)
	if t == nil || !t.unread {
		return false
	}
	t.digest, t.unread = d, false
	return true
}

// cut calls each with the pieces of a span in which all tiles lie, in order: the tiles, and what is between them.
func (ts *tiles) cut(whole key.Span, each func(span key.Span, t *tile)) {
	at := whole.Lo
	for i := range ts.all {
		t := &ts.all[i]
		if bytes.Compare(at, t.span.Lo) < 0 {
			each(key.Span{Lo: at, Hi: t.span.Lo}, nil)
		}
		each(t.span, t)
		at = t.span.Hi
	}
	if bytes.Compare(at, whole.Hi) < 0 {
		each(key.Span{Lo: at, Hi: whole.Hi}, nil)
	}
}
