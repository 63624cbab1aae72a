package driver

import (
	"bytes"

	"godwit/engine"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// readBack reads what has arrived of a base from the target's store while the rest is on its way, beside the session that receives it. So the walk
// before the cutover finds most of the slot read: its digests are answered from the tiles (targetSlot.proven), of which the store tells whether
// anything was written to them since. It cuts the records as the source does, so that the tiles are those that the walk asks for; where it has cut
// them elsewhere, the walk reads as it would without it.
//
// Only what came in messages that became tables is read so, which are sent when nothing is throttled, and only while the source says that next to
// nothing is written there (Message.Quiet): what is written again would have to be read again. What came last is read first, so that the walk, which
// begins with the first, meets this reader once. The slot's stripe guards it.
type readBack struct {
	at []byte // behind the last record of the base; nil: the base has not begun, or something has come that does not follow
	// open is the piece that may still grow, without a span while there is none; readable says that all of it came as it must to be read.
	open     tile
	readable bool
	unread   [][]byte // where tiles begin that are to be read, the next last
	running  bool     // a step is submitted or runs
	// generation counts the bases begun and given up: what was read for an earlier one says nothing of this one.
	generation uint64
}

// begin expects the base of an attempt, or nothing if lo is nil.
func (r *readBack) begin(lo []byte) {
	r.at, r.open, r.unread = lo, tile{}, nil
	r.generation++
}

// cutTiles cuts records as stream.readCopy does. The tiles have no low ends and no digests, but for the number of records in them.
func cutTiles(records []byte, lim store.ChunkLimits) (out []tile) {
	var t tile
	var last []byte
	end := func() {
		t.span.Hi = append(append(make([]byte, 0, len(last)+1), last...), 0)
		out = append(out, t)
		t = tile{}
	}
	for rest := records; len(rest) > 0; {
		k, v, next, err := store.NextRecord(rest)
		if err != nil {
			panic(err) // checked by decodeBody
		}
		last, rest = k, next
		t.bytes += len(k) + len(v)
		if t.digest.Records++; t.bytes >= lim.Bytes || int(t.digest.Records) >= lim.Records {
			end()
		}
	}
	if t.bytes > 0 {
		end()
	}
	return out
}

// came takes the pieces of a put that was applied, and returns those that nothing can be added to any more and that are to be read.
func (r *readBack) came(first []byte, pieces []tile, readable bool, lim store.ChunkLimits) (ready []tile) {
	if bytes.Compare(first, r.at) < 0 {
		r.at = nil // a round of changes: the base has ended
		return nil
	}
	for _, p := range pieces {
		p.span.Lo, r.at = r.at, p.span.Hi
		if r.open.span.Hi != nil && r.open.fits(&p, lim) {
			r.open.grow(&p)
			r.readable = r.readable && readable
			continue
		}
		if r.open.span.Hi != nil && r.readable {
			ready = append(ready, r.open)
		}
		r.open, r.readable = p, readable
	}
	return ready
}

// noteBase notes what a data message that was applied has brought, and has it read. The slot's stripe is held.
func (d *Driver) noteBase(t *targetSlot, m *migration.Message, ops []op) {
	r := &t.back
	if m.Seq == 1 {
		r.begin(key.DataSpan(m.Slot).Lo)
	}
	if r.at == nil {
		return
	}
	if len(ops) != 1 || ops[0].kind != opPut || len(ops[0].records) == 0 {
		r.at = nil
		return
	}
	first, _, _, err := store.NextRecord(ops[0].records)
	if err != nil {
		panic(err) // checked by decodeBody
	}
	lim := d.digestLimits()
	pieces := ops[0].pieces
	if pieces == nil {
		pieces = cutTiles(ops[0].records, lim)
	}
	ready := r.came(first, pieces, ops[0].table != nil && m.Quiet && !d.pacer.adapts(), lim)
	if len(ready) == 0 {
		return
	}
	t.follow(d, m.Slot)
	for _, piece := range ready {
		piece.unread = true
		t.proven.put(piece)
		r.unread = append(r.unread, piece.span.Lo)
	}
	if !r.running {
		r.running = true
		d.env.Workers.Submit(func() { d.readOneBack(m.Slot, t, nil) })
	}
}

// tileRead is a tile that was read back, of a base.
type tileRead struct {
	of     uint64
	span   key.Span
	digest store.Digest
}

// next takes the tile that is to be read next.
func (r *readBack) next(proven *tiles) (tile, bool) {
	for n := len(r.unread); n > 0; n = len(r.unread) {
		lo := r.unread[n-1]
		r.unread = r.unread[:n-1]
		if i := proven.find(lo); i < len(proven.all) {
			if t := proven.all[i]; t.unread && !t.stale && bytes.Equal(t.span.Lo, lo) {
				return t, true
			}
		}
	}
	return tile{}, false
}

// readOneBack takes what was read of the tile before, nil for nothing, and reads the next one, as a step of its own. The stripe is not held while it reads, so
// what it has read counts when the next step has looked whether that is still of this base, and not written to.
func (d *Driver) readOneBack(sl slot.Slot, t *targetSlot, was *tileRead) {
	var piece tile
	var of uint64
	var more bool
	d.node.Exclusive(sl, func(*engine.Owned) {
		if t.noteWrites(); was != nil && t.wasReadBack(was.of, was.span, was.digest) {
			d.readBack.Add(1)
		}
		piece, more = t.back.next(&t.proven)
		t.back.running, of = more, t.back.generation
	})
	if !more {
		return
	}
	var read *tileRead
	c, err := store.ReadChunk(d.node.Store(), piece.span, store.ChunkLimits{Bytes: 1 << 62, Records: int(piece.digest.Records) + 1}, store.WithDigest)
	if err == nil && c.Last { // what cannot be read is reported by the walk, which tries again
		read = &tileRead{of, piece.span, c.Digest}
	}
	d.env.Workers.Submit(func() { d.readOneBack(sl, t, read) })
}

// wasReadBack takes the digest of a tile that was read for a base, and reports whether it says anything, and nobody has asked for the tile yet. The slot's
// stripe is held, and was not while it was read; the writes until now are noted.
func (t *targetSlot) wasReadBack(of uint64, span key.Span, digest store.Digest) bool {
	if t.back.generation != of && !mutant.On(mutant.ReadBackEarlier) {
		return false
	}
	return t.proven.wasRead(span, digest) && t.back.at != nil
}

// ReadBack is how many tiles were read back before the source had sent all of a base.
func (d *Driver) ReadBack() uint64 { return d.readBack.Load() }
