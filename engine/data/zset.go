package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"godwit/engine/key"
)

// A sorted set has two keys for each member: an element as sets have it, whose value is the score, and an entry of the score
// index, of kind key.Score: score, member, without a value. Scores are 8 bytes, big-endian, whose order is that of the numbers:
// the bits of the float64, all inverted if it is negative, and otherwise with the first one set. Minus zero is written as zero, and NaN
// is no score. Members of one score are in the order of their bytes, as in Redis.
const scoreLen = 8

// AppendScore appends the encoding of a score.
func AppendScore(dst []byte, score float64) []byte {
	return binary.BigEndian.AppendUint64(dst, scoreOrder(score))
}

// scoreOrder maps scores to numbers of the same order.
func scoreOrder(score float64) uint64 {
	b := math.Float64bits(score + 0) // minus zero becomes zero
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

// DecodeScore reads what AppendScore wrote. The error is an ErrCorrupt.
func DecodeScore(b []byte) (float64, error) {
	if len(b) != scoreLen {
		return 0, fmt.Errorf("%w: a score of %d bytes", ErrCorrupt, len(b))
	}
	order := binary.BigEndian.Uint64(b)
	bits := ^order
	if order>>63 != 0 {
		bits = order &^ (1 << 63)
	}
	score := math.Float64frombits(bits)
	if math.IsNaN(score) || scoreOrder(score) != order {
		return 0, fmt.Errorf("%w: a score %x", ErrCorrupt, b)
	}
	return score, nil
}

// Order is a direction through a sorted set.
type Order uint8

// The orders.
const (
	Ascending  Order = iota // from the lowest score
	Descending              // from the highest
)

// SortedSet is a user key opened as a sorted set. Its members are written by the methods of this type only.
type SortedSet struct{ Collection }

// OpenSortedSet loads a key as a sorted set. A key that is missing is an empty one. ok is false if the key holds another type.
func (t *Tx) OpenSortedSet(user []byte) (s SortedSet, ok bool) {
	c, ok := t.Open(user, ZSet)
	return SortedSet{c}, ok
}

// ReplaceSortedSet begins a new sorted set in the place of a loaded entry, as Replace does.
func (t *Tx) ReplaceSortedSet(e *Entry) SortedSet { return SortedSet{t.Replace(e, ZSet)} }

// Scored is the score of a member, if there is one.
type Scored struct {
	Score float64
	Found bool
}

// Look returns the score of a member.
func (s *SortedSet) Look(member []byte) Scored {
	v, found := s.Get(member)
	if !found {
		return Scored{}
	}
	return Scored{s.ScoreOf(v), true}
}

// ScoreOf is the score that the value of a member holds, as Scan, Draws and Sample visit it. One that cannot be read fails the
// transaction.
func (c *Collection) ScoreOf(value []byte) float64 {
	score, err := DecodeScore(value)
	if err != nil {
		c.tx.fail(fmt.Errorf("key %q: %w", c.Key, err))
	}
	return score
}

// Put sets the score of a member, which is not NaN; was is what Look says of it.
func (s *SortedSet) Put(member []byte, score float64, was Scored) {
	s.begin()
	switch {
	case !was.Found:
		s.SetLen(s.size + 1)
	case was.Score == score:
		return
	case s.tx.err == nil:
		s.tx.deleteElement(s.scoreKey(member, was.Score))
	}
	s.set(s.memberKey(member), AppendScore(nil, score))
	s.tx.setElement(s.scoreKey(member, score), nil)
}

// Fill adds a member that the caller knows to be absent, also among what it has filled in: it saves the look. The member must not be
// named again.
func (s *SortedSet) Fill(member []byte, score float64) {
	s.begin()
	var buf [scoreLen]byte
	s.tx.setElement(s.memberKey(member), AppendScore(buf[:0], score))
	s.tx.setElement(s.scoreKey(member, score), nil)
	s.SetLen(s.size + 1)
}

// Delete removes a member and reports whether there was one.
func (s *SortedSet) Delete(member []byte) bool {
	was := s.Look(member)
	if !was.Found || s.tx.err != nil {
		return false
	}
	s.unset(s.memberKey(member))
	s.tx.deleteElement(s.scoreKey(member, was.Score))
	s.SetLen(s.size - 1)
	return true
}

// Take removes a member that the caller knows to be there with that score: it saves the look. The member must not be named again.
func (s *SortedSet) Take(member []byte, score float64) {
	if s.tx.err != nil {
		return
	}
	s.tx.deleteElement(s.memberKey(member))
	s.tx.deleteElement(s.scoreKey(member, score))
	s.SetLen(s.size - 1)
}

// scoreKey builds the key of an entry of the score index in the transaction's buffer.
func (s *SortedSet) scoreKey(member []byte, score float64) []byte {
	t := s.tx
	t.elementBuf = key.AppendElement(t.elementBuf[:0], s.Slot, key.Score, s.gen)
	t.elementBuf = AppendScore(t.elementBuf, score)
	t.elementBuf = append(t.elementBuf, member...)
	return t.elementBuf
}

// Range is a part of a sorted set in its order. The zero value is all of it.
type Range struct {
	lo []byte // the first entry of the score index that may be in it
	hi []byte // the first entry behind it; nil if it goes to the end
}

// ScoreBound is an end of a range of scores.
type ScoreBound struct {
	Score     float64 // not NaN
	Exclusive bool
}

// ScoreRange is the members with scores between two bounds.
func ScoreRange(low, high ScoreBound) Range {
	from, to := scoreOrder(low.Score), scoreOrder(high.Score)
	if low.Exclusive {
		from++ // of no score there are as many as that it could overflow
	}
	if !high.Exclusive {
		to++
	}
	return Range{binary.BigEndian.AppendUint64(nil, from), binary.BigEndian.AppendUint64(nil, to)}
}

// LexBound is an end of a range of members.
type LexBound struct {
	// Infinite is -1 for a bound before all members, 1 for one behind them, and otherwise 0.
	Infinite  int8
	Member    []byte
	Exclusive bool
}

// LexRange is the members between two bounds, if all have one score. If not, the low bound counts among those of the lowest score
// and the high one among those of the highest.
func (s *SortedSet) LexRange(low, high LexBound) Range {
	var first, last []byte
	it := s.Iter(key.Score)
	if it.First() {
		first = scorePart(it.Element())
		it.Last()
		last = scorePart(it.Element())
	}
	it.Close()
	r := Range{}
	switch low.Infinite {
	case 0:
		r.lo = low.after(first, low.Exclusive)
	case 1:
		r.lo = bytes.Repeat([]byte{0xff}, scoreLen) // no score is as high
	}
	switch high.Infinite {
	case 0:
		r.hi = high.after(last, !high.Exclusive)
	case -1:
		r.hi = []byte{}
	}
	return r
}

// after is where a bound lies in the score index: before its member, or right behind it.
func (b LexBound) after(score []byte, behind bool) []byte {
	at := append(bytes.Clone(score), b.Member...)
	if behind {
		at = append(at, 0)
	}
	return at
}

// scorePart is the bytes of the score in an entry of the score index, a copy.
func scorePart(entry []byte) []byte { return bytes.Clone(entry[:min(len(entry), scoreLen)]) }

// Walk visits the members of a range until visit returns false. The member is valid during the call only. visit may Take it.
func (s *SortedSet) Walk(r Range, o Order, visit func(member []byte, score float64) bool) {
	it := s.Iter(key.Score)
	defer it.Close()
	if o == Ascending {
		for ok := it.SeekGE(r.lo); ok && (r.hi == nil || bytes.Compare(it.Element(), r.hi) < 0); ok = it.Next() {
			if !s.visit(it, visit) {
				return
			}
		}
		return
	}
	ok := false
	if r.hi == nil {
		ok = it.Last()
	} else {
		ok = it.SeekLT(r.hi)
	}
	for ; ok && bytes.Compare(it.Element(), r.lo) >= 0; ok = it.Prev() {
		if !s.visit(it, visit) {
			return
		}
	}
}

// visit decodes the entry of the score index that an iterator is at, and reports whether to go on.
func (s *SortedSet) visit(it *Elements, visit func(member []byte, score float64) bool) bool {
	e := it.Element()
	score, err := DecodeScore(e[:min(len(e), scoreLen)])
	if err != nil {
		s.tx.fail(fmt.Errorf("key %q: %w", s.Key, err))
	}
	return s.tx.err == nil && visit(e[scoreLen:], score)
}

// WalkRanks visits n members from a rank on, of which there must be as many, until visit returns false, as Walk does. It passes over
// those between that rank and the nearer end.
func (s *SortedSet) WalkRanks(o Order, rank, n uint64, visit func(member []byte, score float64) bool) {
	if n == 0 || s.tx.err != nil {
		return
	}
	if o == Descending {
		rank = s.size - 1 - rank
	}
	size, left := s.size, n
	it := s.Iter(key.Score)
	var ok bool
	if rank < size/2 {
		for ok = it.First(); ok && rank > 0; rank-- {
			ok = it.Next()
		}
	} else {
		ok = it.Last()
		for back := size - 1 - rank; ok && back > 0; back-- {
			ok = it.Prev()
		}
	}
	for ; ok; left-- {
		if !s.visit(it, visit) || left == 1 {
			left = 0
			break
		}
		if o == Ascending {
			ok = it.Next()
		} else {
			ok = it.Prev()
		}
	}
	it.Close()
	s.expect(n-left, n)
}

// Rank returns the number of members before one that has the given score, in ascending order. It reads from both ends at once, so that it
// costs as much as the nearer one is far.
func (s *SortedSet) Rank(member []byte, score float64) (rank uint64) {
	want := append(AppendScore(nil, score), member...)
	up, down := s.Iter(key.Score), s.Iter(key.Score)
	upOK, downOK, found := up.First(), down.Last(), false
	for i := uint64(0); upOK && downOK && i < s.size; i++ {
		if found = bytes.Equal(up.Element(), want); found {
			rank = i
			break
		}
		if found = bytes.Equal(down.Element(), want); found {
			rank = s.size - 1 - i
			break
		}
		upOK, downOK = up.Next(), down.Prev()
	}
	up.Close()
	down.Close()
	if !found && s.tx.err == nil {
		s.tx.fail(fmt.Errorf("%w: key %q has member %q and not its score", ErrCorrupt, s.Key, member))
	}
	return rank
}
