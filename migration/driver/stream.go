package driver

import (
	"time"

	"godwit/engine"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// stream reads the rounds of a slot and keeps books of what each message covered, until the target calls it durable. It
// belongs to the worker that steps the slot's machine.
//
// A round is read at one snapshot: first the changed keys, then the walks over spans. What is not freed when the round is
// given up goes back to the tracker, so that nothing is ever in neither.
type stream struct {
	d       *Driver
	slot    slot.Slot
	later   func(func()) // runs a step after this one, on the slot's worker
	memory  *memory      // of the job
	opening uint64       // counts the rounds begun and ended, so that a late step knows that its round is over
	tracker *store.Tracker
	snap    *store.Snapshot
	kind    migration.RoundKind
	// differed says that a digest of the round did not match, expected that this is how some changes are carried.
	differed, expected bool

	tables  *tables       // the base goes as tables, whose sender reads the round; nil otherwise
	content bool          // the payload is commands: walks are over items, and keys is empty
	outside *kvrocks      // the target is a Kvrocks, and content is true; nil otherwise
	broken  error         // why nothing more is read; nil mostly
	taken   store.Changes // with content: taken from the tracker, and not made walks yet
	charged int           // to the job's budget of changes, for what was taken from the tracker in this round
	keys    [][]byte      // still to be read, ascending
	walks   []walk        // still to be walked, the first next
	tiles   tiles         // what was read of the slot, since tracking was switched on; empty if the payload is commands

	last    covered            // by the piece that was read last
	unsent  bool               // the piece that was read last has no message yet
	cost    int                // bytes that were read for it
	large   int                // bytes of the next message of the base, if they are more than Config.ChunkBytes
	room    int                // what of large there was memory for when the read was asked for
	stale   bool               // the slot is handed back: for the mutant rollback-stale
	older   *store.Snapshot    // of the round before; nil but for the mutant walk-over-change
	covers  map[uint64]covered // by message
	records uint64
	bytes   uint64
}

// walk is a span still to be walked.
type walk struct {
	span   key.Span
	how    walkHow
	limits store.ChunkLimits
	key    []byte // of the record whose items the span is; nil: none, or several
	again  bool   // with outside: what is compared was just replaced
	tiles  bool   // what is read is remembered as tiles
	tile   int    // bytes of the tile that the span is, where copies are compared after takeover; 0: it is none
	known  *tile  // with walkCompare: the digest of the span, which need not be read; nil mostly
}

type walkHow uint8

const (
	walkCopy    walkHow = iota // the target has nothing there: send the records
	walkCompare                // send digests
	walkReplace                // send the records in place of whatever the target has
)

// covered is what a message speaks for.
type covered struct {
	changes store.Changes
	records int // in the span of a digest
	digest  bool
	again   bool          // of a walk that is
	copied  bool          // it is of the base
	body    []byte        // of the message, if it is of the base: to be used again when nobody sends it any more
	sentAt  time.Duration // if it is of the base
}

// replaceRecords is how many records a span may have that is replaced rather than halved again when its digests differ.
const replaceRecords = 64

func (s *stream) chunkLimits() store.ChunkLimits {
	return store.ChunkLimits{Bytes: s.d.cfg.ChunkBytes, Records: s.d.cfg.ChunkRecords}
}

// copyLimits bounds the next message of the base.
func (s *stream) copyLimits() store.ChunkLimits {
	large := min(s.large, s.room)
	if large <= s.d.cfg.ChunkBytes {
		return s.chunkLimits()
	}
	return store.ChunkLimits{Bytes: large, Records: s.d.cfg.ChunkRecords * (large / s.d.cfg.ChunkBytes)}
}

// quickAnswer is how soon a message of the base is answered, at most, if the next may be twice as long, and slowAnswer how late if it should be half
// as long.
const quickAnswer, slowAnswer = 150 * time.Millisecond, 500 * time.Millisecond

// answered learns from how long the answer to a message of the base has taken how long the next may be: a target makes tables of long ones, but on
// a slow link they are on their way for as long as a call may take.
func (s *stream) answered(c covered) {
	switch took := s.d.env.Clock.Mono() - c.sentAt; {
	case s.d.cfg.TableBytes < s.d.cfg.IngestBytes: // it would be of no use
	case took <= quickAnswer:
		s.large = min(max(2*s.large, 2*s.d.cfg.ChunkBytes), s.d.cfg.TableBytes)
	case took > slowAnswer:
		s.large /= 2
	}
}

// tileLimits bounds what is read of the span of a tile, which may have grown.
func (s *stream) tileLimits() store.ChunkLimits {
	return store.ChunkLimits{Bytes: 2 * s.d.cfg.DigestBytes, Records: 2 * s.d.cfg.DigestRecords}
}

func (s *stream) digestLimits() store.ChunkLimits { return s.d.digestLimits() }

// digestLimits bounds a tile.
func (d *Driver) digestLimits() store.ChunkLimits {
	return store.ChunkLimits{Bytes: d.cfg.DigestBytes, Records: d.cfg.DigestRecords}
}

// quietTiles is one in how many tiles may have changed, at most, of a slot that counts as quiet.
const quietTiles = 8

// quiet reports whether next to nothing was written to the slot since its base was begun.
func (s *stream) quiet() bool {
	if s.kind != migration.RoundBase {
		return false
	}
	keys, spans, _ := s.lag()
	return spans == 0 && keys <= len(s.tiles.all)/quietTiles
}

// open opens a round and calls opened when it can be read.
func (s *stream) open(k migration.RoundKind, opened func()) {
	s.closeRound()
	s.kind, s.differed, s.expected, s.large = k, false, false, 0
	s.covers = map[uint64]covered{}
	switch k {
	case migration.RoundBase:
		s.cut(walk{span: key.DataSpan(s.slot), how: walkCopy, limits: s.chunkLimits()}, opened)
	case migration.RoundResume:
		s.anew("nobody knows which keys the source has deleted meanwhile")
		s.cut(walk{span: key.DataSpan(s.slot), how: walkCompare, limits: s.digestLimits(), tiles: !s.content}, opened)
	default:
		s.openChanges(k, opened)
	}
}

// cut switches tracking on and opens the snapshot in one step, under the slot's lock: a write is in the snapshot or tracked.
func (s *stream) cut(w walk, opened func()) {
	if s.walks = []walk{w}; (mutant.On(mutant.ResumeFromNew) || mutant.On(mutant.RollbackStale) && s.stale) && w.how == walkCompare {
		s.walks = nil
	}
	s.tiles = tiles{}
	st := s.d.node.Store()
	if s.tracker != nil {
		st.Untrack(s.tracker)
		s.tracker = nil
	}
	if mutant.On(mutant.TrackGap) {
		s.snap = st.NewSnapshot()
		s.later(func() {
			s.tracker = s.track()
			opened()
		})
		return
	}
	s.d.node.Exclusive(s.slot, func(*engine.Owned) {
		s.tracker = s.track()
		s.snap = st.NewSnapshot()
	})
	opened()
}

// track switches tracking on. With the payload "command" a changed key becomes the walk over all that it consists of, which is counted unless the target
// is a Kvrocks: there a tracker that collapses makes the copy begin anew, which is worse than memory.
func (s *stream) track() *store.Tracker {
	within := store.Within{Budget: &s.memory.changes}
	if s.content && s.outside == nil {
		within.Times = walkTimes
	}
	return s.d.node.Store().TrackWithin(s.slot, s.d.cfg.TrackerBytes, within)
}

// openChanges takes what changed and then, as a step of its own, opens the snapshot at which it is read. A write between
// the two is in the snapshot and in the next round: sent twice, never lost.
func (s *stream) openChanges(k migration.RoundKind, opened func()) {
	st := s.d.node.Store()
	take := func() {
		c := s.tracker.Take()
		s.charged += c.Charged
		s.expected = len(c.Spans) > 0
		if s.content {
			s.taken = c
		} else {
			s.tiles.changed(c)
			s.keys = c.Keys
			for _, span := range c.Spans {
				s.walks = append(s.walks, walk{span: span, how: walkCompare, limits: s.digestLimits()})
			}
		}
		if k == migration.RoundVerify {
			s.walks = s.verification()
		}
	}
	snapshot := func() { s.snap = st.NewSnapshot() }
	first, second := take, snapshot
	if mutant.On(mutant.RoundGap) {
		first, second = snapshot, take
	}
	first()
	round := s.opening
	s.later(func() {
		if s.opening == round {
			// Under the lock, only so that expected is right: a commit is visible a moment before it is tracked.
			s.d.node.Exclusive(s.slot, func(*engine.Owned) {
				second()
				if keys, spans, _ := s.lag(); keys+spans > 0 {
					s.expected = true // written between the two, so in this snapshot and in the next round
				}
			})
			opened()
		}
	})
}

// verification is the walk over the whole slot: of what has not changed since it was read, by the digest that it had. The target reads all of it.
func (s *stream) verification() (walks []walk) {
	s.tiles.cut(key.DataSpan(s.slot), func(span key.Span, t *tile) {
		w := walk{span: span, how: walkCompare, limits: s.digestLimits(), tiles: !s.content}
		if t != nil {
			w.limits = s.tileLimits()
		}
		if t != nil && !t.stale {
			known := *t
			w.known = &known
		}
		walks = append(walks, w)
	})
	return walks
}

// read reads the next piece of the round: a body, or nil when nothing is left; last says that nothing follows.
func (s *stream) read() (body []byte, last bool, err error) {
	s.cost = 0
	if s.broken != nil {
		return nil, false, s.broken
	}
	if !s.taken.Empty() {
		if err := s.resolve(); err != nil {
			return nil, false, err
		}
	}
	switch {
	case len(s.keys) > 0:
		body, err = s.readKeys()
	case len(s.walks) > 0 && s.content:
		body, err = s.readItems()
	case len(s.walks) > 0:
		body, err = s.readWalk()
	}
	s.unsent = body != nil
	return body, len(s.keys) == 0 && len(s.walks) == 0, err
}

// readKeys builds a message of changed keys as they are in the snapshot: puts, and deletes of those that are not there.
func (s *stream) readKeys() ([]byte, error) {
	var puts, deletes []byte
	n := 0
	lim := s.chunkLimits()
	for n < len(s.keys) && n < lim.Records && len(puts)+len(deletes) < lim.Bytes {
		k := s.keys[n]
		v, found, err := s.snap.Get(k)
		if err != nil {
			return nil, err
		}
		if found {
			puts = store.AppendRecord(puts, k, v)
			s.bytes += uint64(len(k) + len(v))
		} else {
			deletes = appendBytes(deletes, k)
			s.bytes += uint64(len(k))
		}
		n++
	}
	s.records += uint64(n)
	s.cost = len(puts) + len(deletes)
	s.last = covered{changes: store.Changes{Keys: s.keys[:n:n]}}
	s.keys = s.keys[n:]
	body := make([]byte, 0, len(puts)+len(deletes)+2*opHead) // exactly: what it had room for beside would count as held
	if len(puts) > 0 {
		body = appendOp(body, opPut, puts)
	}
	if len(deletes) > 0 {
		body = appendOp(body, opDelete, deletes)
	}
	return body, nil
}

// readWalk builds the next message of the first walk.
func (s *stream) readWalk() ([]byte, error) {
	w := &s.walks[0]
	switch {
	case w.how == walkCopy:
		return s.readCopy()
	case w.known != nil:
		t := w.known
		s.cost = t.bytes // which the target reads
		s.advance(t.span.Hi, true)
		return s.askDigest(t.span, t.digest), nil
	case w.how == walkReplace:
		c, err := store.ReadChunk(s.at(), w.span, w.limits, store.WithRecords)
		if err != nil {
			return nil, err
		}
		s.cost = c.Bytes
		s.advance(c.Covers.Hi, c.Last)
		s.last = covered{changes: store.Changes{Spans: []key.Span{c.Covers}}, records: c.Count}
		s.count(c.Count, len(c.Records))
		return appendOp(nil, opReplace, spanBytes(c.Covers), c.Records), nil
	default:
		c, err := store.ReadChunk(s.at(), w.span, w.limits, store.WithDigest)
		if err != nil {
			return nil, err
		}
		if w.tiles {
			s.tiles.put(tile{span: c.Covers, bytes: c.Bytes, digest: c.Digest})
		}
		s.cost = c.Bytes
		s.advance(c.Covers.Hi, c.Last)
		return s.askDigest(c.Covers, c.Digest), nil
	}
}

// at is the snapshot at which walks read.
func (s *stream) at() *store.Snapshot {
	if s.older != nil {
		return s.older
	}
	return s.snap
}

// askDigest builds the message that asks whether a span has a digest at the target.
func (s *stream) askDigest(span key.Span, d store.Digest) []byte {
	s.last = covered{changes: store.Changes{Spans: []key.Span{span}}, records: int(d.Records), digest: true}
	return appendOp(nil, opDigest, spanBytes(span), d.Append(nil))
}

// readCopy builds the next message of the base, and remembers the tiles that it consists of.
func (s *stream) readCopy() ([]byte, error) {
	lim, tileLim := s.copyLimits(), s.digestLimits()
	var body []byte
	if lim.Bytes > tileLim.Bytes { // there have been some of less, so the slot is large
		body = s.d.bodyRoom(lim.Bytes + lim.Bytes/8)
	}
	body = appendOp(body, opPut) // the records come behind it, and are not copied
	covers := s.walks[0].span
	n := 0
	for last := false; !last && s.cost < lim.Bytes && n < lim.Records; {
		part := store.ChunkLimits{Bytes: min(lim.Bytes-s.cost, tileLim.Bytes), Records: min(lim.Records-n, tileLim.Records)}
		c, err := store.AppendChunk(body, s.at(), s.walks[0].span, part, store.WithRecords|store.WithDigest)
		if err != nil {
			return nil, err
		}
		s.tiles.extend(tile{span: c.Covers, bytes: c.Bytes, digest: c.Digest}, tileLim)
		body, covers.Hi, last = c.Records, c.Covers.Hi, c.Last
		s.cost += c.Bytes
		n += c.Count
		s.advance(c.Covers.Hi, last)
	}
	s.count(n, len(body)-opHead)
	if n == 0 {
		s.d.bodies.Put(body)
		body = nil
	} else {
		endOp(body)
	}
	s.last = covered{changes: store.Changes{Spans: []key.Span{covers}}, records: n, copied: true, body: body}
	return body, nil
}

// count counts records that were read to be sent.
func (s *stream) count(records, bytes int) {
	s.records += uint64(records)
	s.bytes += uint64(bytes)
}

// sent binds what was read last to its message.
func (s *stream) sent(seq uint64) {
	if s.last.copied {
		s.last.sentAt = s.d.env.Clock.Mono()
	}
	s.covers[seq] = s.last
	s.unsent = false
}

// free forgets a message: what it covered is durable at the target.
func (s *stream) free(seq uint64) {
	if c := s.covers[seq]; c.copied {
		s.answered(c)
		s.d.bodies.Put(c.body) // the machine has let go of it, and calls have copies
	}
	delete(s.covers, seq)
}

// redo puts the span of a digest that differed back, to be halved, or replaced once it is small. It is a surprise if the
// round verifies: the changed keys have been sent, so there should be no difference to repair, unless changes were
// collapsed into spans or came between the taking of the keys and the snapshot. The first of a
// round is reported.
func (s *stream) redo(seq uint64) (span key.Span, surprise bool) {
	c, ok := s.covers[seq]
	delete(s.covers, seq)
	if !ok || len(c.changes.Spans) == 0 {
		return key.Span{}, false
	}
	surprise = s.kind == migration.RoundVerify && !s.differed && !s.expected
	s.differed = true
	w := walk{span: c.changes.Spans[0], how: walkReplace, limits: s.chunkLimits()}
	switch {
	case c.digest && c.records > replaceRecords:
		w.how, w.limits = walkCompare, store.ChunkLimits{Bytes: s.d.cfg.DigestBytes, Records: c.records/2 + 1}
	case s.content:
		w.span = data.WholeKeys(s.slot, w.span)
		s.beginKeyAgain()
	}
	s.walks = append([]walk{w}, s.walks...)
	if s.outside != nil {
		s.compareAgain(c.again)
	}
	return w.span, surprise
}

// giveBack ends the round: what was not freed, what was read and not sent, and what was not read goes back to the tracker.
func (s *stream) giveBack() {
	var c store.Changes
	for _, k := range sortedSeqs(s.covers) {
		c.Keys = append(c.Keys, s.covers[k].changes.Keys...)
		c.Spans = append(c.Spans, s.covers[k].changes.Spans...)
	}
	if s.unsent { // the piece is on its way to a machine that has no use for it any more
		c.Keys = append(c.Keys, s.last.changes.Keys...)
		c.Spans = append(c.Spans, s.last.changes.Spans...)
	}
	c.Keys = append(c.Keys, s.keys...)
	for _, w := range s.walks {
		if w.key != nil {
			c.Keys = append(c.Keys, w.key)
		} else {
			c.Spans = append(c.Spans, w.span)
		}
	}
	c.Keys = append(c.Keys, s.taken.Keys...)
	c.Spans = append(c.Spans, s.taken.Spans...)
	s.uncharge()
	if s.tracker != nil && !c.Empty() {
		s.tracker.Put(c)
	}
	s.closeRound()
}

// uncharge returns what the changes of the round had of the job's budget.
func (s *stream) uncharge() {
	s.memory.changes.Return(s.charged)
	s.charged = 0
}

func (s *stream) closeRound() {
	s.opening++
	s.uncharge()
	if s.older != nil {
		s.older.Close()
		s.older = nil
	}
	switch {
	case s.snap != nil && mutant.On(mutant.WalkOverChange):
		s.older = s.snap
	case s.snap != nil:
		s.snap.Close()
	}
	s.snap, s.tables = nil, nil
	s.keys, s.walks, s.covers, s.last, s.unsent, s.taken = nil, nil, nil, covered{}, false, store.Changes{}
}

// stop ends round and tracking. The tiles stay: the comparison after takeover cuts the slot where they lie.
func (s *stream) stop() {
	s.closeRound()
	s.closeRound() // the mutant walk-over-change keeps a snapshot over the first
	if s.tracker != nil {
		s.d.node.Store().Untrack(s.tracker)
		s.tracker = nil
	}
}

func (s *stream) lag() (keys, spans int, lagBytes int64) {
	if s.tracker == nil {
		return 0, 0, 0
	}
	return s.tracker.Lag()
}

// rebuilt is the body of a message made again from current data: what the mutant rebuilt-retransmit sends.
func (s *stream) rebuilt(seq uint64, body []byte) []byte {
	c, ok := s.covers[seq]
	if !ok || len(c.changes.Keys) == 0 {
		return body
	}
	var puts, deletes []byte
	for _, k := range c.changes.Keys {
		if v, found, err := s.d.node.Store().Get(k); err == nil && found {
			puts = store.AppendRecord(puts, k, v)
		} else {
			deletes = appendBytes(deletes, k)
		}
	}
	return appendOp(appendOp(nil, opPut, puts), opDelete, deletes)
}
