package driver

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/store"
)

// The payload "command" sends items of the content of a slot (package data) as commands, and compares content by its logical digest. Spans
// of a round are then spans of items, and a key is always sent as a whole, in as many messages as it takes: the first deletes what
// the target has of it.
//
// The tracker knows of stored keys. Which user key an element belongs to is found by a look at all records of the slot, once a round, and only if
// elements have changed of which the record has not. What goes back to the tracker is the key of the record.

// readItems builds the next message of the first walk, of commands or of a logical digest.
func (s *stream) readItems() ([]byte, error) {
	w := &s.walks[0]
	if w.how == walkCompare && s.outside != nil {
		return s.readExpected()
	}
	if w.how == walkCompare {
		c, err := data.ReadContent(s.snap, s.slot, w.span, w.limits, store.WithDigest)
		if err != nil {
			return nil, err
		}
		s.cost = c.Bytes
		s.last = covered{changes: store.Changes{Spans: []key.Span{c.Covers}}, records: int(c.Digest.Records), digest: true}
		s.advance(c.Covers.Hi, c.Last)
		return appendOp(nil, opContent, spanBytes(c.Covers), c.Digest.Append(nil)), nil
	}
	e, err := command.Export(s.snap, s.slot, w.span, w.limits)
	if err != nil {
		return nil, err
	}
	s.cost = e.Bytes
	part := key.Span{Lo: w.span.Lo, Hi: e.Covers.Hi}
	drop := key.Span{Lo: data.KeysFrom(s.slot, part.Lo), Hi: data.KeysFrom(s.slot, part.Hi)}
	if w.how == walkCopy {
		drop.Hi = drop.Lo
	}
	if s.last = (covered{changes: store.Changes{Spans: []key.Span{data.WholeKeys(s.slot, part)}}}); w.key != nil {
		s.last.changes = store.Changes{Keys: [][]byte{w.key}}
	}
	s.records += uint64(e.Items)
	s.bytes += uint64(e.Bytes)
	s.advance(e.Covers.Hi, e.Last)
	if len(e.Commands) == 0 && drop.Empty() {
		return nil, nil
	}
	return appendOp(nil, opCommands, spanBytes(drop), e.Commands), nil
}

// beginKeyAgain makes the first walk, if it stands within a key, begin with that key anew: a walk that comes before it may send the key too, and
// what is left of it would follow all of it.
func (s *stream) beginKeyAgain() {
	if len(s.walks) > 0 && s.walks[0].how != walkCompare {
		w := &s.walks[0]
		w.how = walkReplace
		w.span.Lo = data.WholeKeys(s.slot, w.span).Lo
	}
}

// advance goes on behind what was read of the first walk.
func (s *stream) advance(to []byte, last bool) {
	if s.walks[0].span.Lo = to; last {
		s.walks = s.walks[1:]
	}
}

// resolve turns the changes that a round has taken into walks over the keys that they belong to, before those that are there already.
func (s *stream) resolve() error {
	c := s.taken
	users := map[string]bool{}
	generations := map[key.Generation]bool{}
	whole := false
	var walks []walk
	for _, k := range c.Keys {
		_, kind, rest, _ := key.Split(k)
		switch kind {
		case key.Record:
			if _, user, ok := key.SplitRecord(rest); ok {
				users[string(user)] = true
			}
		case key.Element, key.Score:
			if g, _, ok := key.SplitElement(rest); ok {
				generations[g] = true
			}
		case key.Expiry, key.Book: // the record changes with its expiry; the books do not move
		}
	}
	for _, span := range c.Spans {
		records := key.KindSpan(s.slot, key.Record)
		switch g, one := s.generationOf(span); {
		case one:
			generations[g] = true
		case records.Covers(span):
			walks = append(walks, walk{span: s.wideSpan(span), how: walkCompare, limits: s.digestLimits()})
		default:
			whole = true
		}
	}
	if err := s.addOwners(users, generations); err != nil {
		return err
	}
	if s.outside != nil && (whole || len(walks) > 0) {
		s.anew("so much has changed that nobody knows which keys have been deleted")
		walks, whole = nil, false
	}
	switch {
	case len(s.walks) > 0: // all of the slot is walked anyway
		walks = nil
	case whole:
		walks = []walk{{span: key.DataSpan(s.slot), how: walkCompare, limits: s.digestLimits()}}
	}
	var keys []walk
	for user := range users { //det:ok sorted below
		span := data.ContentSpan(s.slot, []byte(user))
		keys = append(keys, walk{span: span, how: walkReplace, limits: s.chunkLimits(), key: key.AppendRecord(nil, s.slot, []byte(user))})
	}
	slices.SortFunc(keys, func(a, b walk) int { return bytes.Compare(a.span.Lo, b.span.Lo) })
	s.walks = slices.Concat(keys, walks, s.walks)
	s.taken = store.Changes{}
	return nil
}

// generationOf is the one generation to which all keys of a span belong, if it is one.
func (s *stream) generationOf(span key.Span) (g key.Generation, one bool) {
	_, kind, rest, ok := key.Split(span.Lo)
	if !ok || kind != key.Element && kind != key.Score {
		return g, false
	}
	if g, _, ok = key.SplitElement(rest); !ok {
		return g, false
	}
	return g, key.ElementSpan(s.slot, kind, g).Covers(span)
}

// wideSpan widens a span of stored records, or of items, to all records of the same hashes and of those between: whatever lies in the
// span, as a record or as an item, lies in it.
func (s *stream) wideSpan(span key.Span) key.Span {
	records := key.KindSpan(s.slot, key.Record)
	const hashed = key.PrefixLen + 4
	if len(span.Lo) < hashed || len(span.Hi) < hashed {
		return records
	}
	wide := key.Span{Lo: span.Lo[:hashed], Hi: records.Hi}
	if hash := binary.BigEndian.Uint32(span.Hi[key.PrefixLen:]); hash < math.MaxUint32 {
		wide.Hi = key.AppendRecordSeek(nil, s.slot, hash+1)
	}
	return wide
}

// wholeBytes is how many bytes of elements the keys have that changes belong to: a key is sent as a whole, so that the final round would
// take the longer. It stops at about most, where nobody needs to know more. The books of changes stay as they are.
func (s *stream) wholeBytes(most int64) (total int64, err error) {
	if !s.content || s.tracker == nil {
		return 0, nil
	}
	st := s.d.node.Store()
	seen := map[key.Generation]bool{}
	for _, k := range s.tracker.Keys(s.d.cfg.Source.LagKeys) { // if they are more, no pause begins anyway
		g, ok, err := s.collectionOf(k)
		if err != nil {
			return 0, err
		}
		if !ok || seen[g] {
			continue
		}
		seen[g] = true
		for _, kind := range []key.Kind{key.Element, key.Score} {
			c, err := store.ReadChunk(st, key.ElementSpan(s.slot, kind, g), store.ChunkLimits{Bytes: int(most - total), Records: math.MaxInt}, 0)
			if err != nil {
				return 0, err
			}
			if total += int64(c.Bytes); total >= most {
				return total, nil
			}
		}
	}
	return total, nil
}

// collectionOf is the generation of the collection to which a changed key belongs, if it belongs to one that is there.
func (s *stream) collectionOf(k []byte) (g key.Generation, ok bool, err error) {
	_, kind, rest, _ := key.Split(k)
	switch kind {
	case key.Element, key.Score:
		g, _, ok = key.SplitElement(rest)
	case key.Record:
		v, found, err := s.d.node.Store().Get(k)
		if err != nil || !found {
			return g, false, err
		}
		if r, err := data.DecodeRecord(v); err == nil && r.Type != data.String {
			return r.Generation, true, nil
		}
	case key.Expiry, key.Book: // the record changes with its expiry; the books do not move
	}
	return g, ok, nil
}

// addOwners adds the user keys whose collections have one of the generations. A generation of which there is no record has gone with it, which
// is a change of the record that this round or the next one tells.
func (s *stream) addOwners(users map[string]bool, generations map[key.Generation]bool) error {
	if len(generations) == 0 {
		return nil
	}
	it, err := s.snap.NewIter(key.KindSpan(s.slot, key.Record))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			_ = it.Close() // the read error is the one to report
			return err
		}
		if r, err := data.DecodeRecord(v); err == nil && r.Type != data.String && generations[r.Generation] {
			if _, user, ok := key.SplitRecord(it.Key()[key.PrefixLen:]); ok {
				users[string(user)] = true
			}
		}
	}
	return it.Close()
}
