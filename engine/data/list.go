package data

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"godwit/engine/key"
)

// ListPlace is what the record of a list holds beside its size.
type ListPlace struct {
	// Head is the position of the first element. The others have the positions after it, without a gap.
	Head uint64
	// NextValue is the number of the next value that is stored apart from its entry.
	NextValue uint64
}

// A list is one entry for each element, under its position (8 bytes, big-endian). Positions have no gaps, so an index is a position
// by arithmetic, and both ends grow and shrink without touching what lies between. The entry of a small value holds it;
// that of a larger one holds its number, under which the value lies apart, as an element of kind listValue.
//
//	| offset | size | field of an entry                                                                 |
//	|--------|------|-----------------------------------------------------------------------------------|
//	| 0      | 1    | 0: the value follows; 1: the value lies apart                                     |
//	| 1      | rest | 0: the value, at most maxInline bytes                                             |
//	|        | 12   | 1: number of the value (8, big-endian), hash of the value (4, big-endian, key.Hash) |
//
// So what inserts or removes in the middle moves entries, those on the side where there are fewer, and never a value apart; and what
// looks for a value reads values apart only where the hash matches.
//
// Format 1 had values of more than minApart-1 bytes apart. They stay where they are until they are replaced, and both forms are read
// alike, so that a list may hold equal values in both.
const (
	entryInline = 0
	entryApart  = 1

	entryApartLen = 1 + 8 + 4
	positionLen   = 8

	// maxInline is the longest value in an entry: long enough that most values need one key, and short enough that moving entries
	// is not moving values. minApart is the length of the shortest that may lie apart.
	maxInline = 256
	minApart  = 65

	// listMiddle is the position of the first element of a new list. 2^63 can be pushed at either end.
	listMiddle = 1 << 63

	// listValue is the kind of the values that lie apart, under their numbers (8 bytes, big-endian).
	listValue = key.Score
)

// End is an end of a list.
type End uint8

// The ends.
const (
	Left  End = iota // where the first element is
	Right            // where the last one is
)

// Sequence is a user key opened as a list. An index counts from the left, from 0. What is written is not read again by the
// same Sequence, except as Len: read first, then write.
type Sequence struct{ Collection }

// OpenList loads a key as a list. A key that is missing is an empty one. ok is false if the key holds another type.
func (t *Tx) OpenList(user []byte) (s Sequence, ok bool) {
	c, ok := t.Open(user, List)
	return Sequence{c}, ok
}

// ReplaceList begins a new list in the place of a loaded entry, as Replace does.
func (t *Tx) ReplaceList(e *Entry) Sequence { return Sequence{t.Replace(e, List)} }

// Push adds an element at an end.
func (s *Sequence) Push(at End, value []byte) {
	if s.gen == (key.Generation{}) {
		s.list = ListPlace{Head: listMiddle}
	}
	s.begin()
	if at == Left {
		s.list.Head--
		s.putEntry(s.list.Head, value)
	} else {
		s.putEntry(s.list.Head+s.size, value)
	}
	s.SetLen(s.size + 1)
}

// Pop removes the element at an end of a list that is not empty, and returns its value, which is the caller's.
func (s *Sequence) Pop(at End) (value []byte) {
	i := uint64(0)
	if at == Right {
		i = s.size - 1
	}
	e, ok := s.entry(i)
	if !ok {
		return nil
	}
	value = s.valueOf(e)
	s.dropValue(e)
	s.dropEntries(i, 1)
	s.shrink(at, 1)
	return value
}

// At returns the value at an index that is less than Len. It is the caller's.
func (s *Sequence) At(i uint64) (value []byte) {
	e, ok := s.entry(i)
	if !ok {
		return nil
	}
	return s.valueOf(e)
}

// SetAt replaces the value at an index that is less than Len.
func (s *Sequence) SetAt(i uint64, value []byte) {
	e, ok := s.entry(i)
	if !ok {
		return
	}
	s.dropValue(e)
	s.putEntry(s.list.Head+i, value)
	s.dirty = true
}

// Each visits the values of n elements from an index on, going away from an end, until visit returns false. There must be as
// many. The slice is valid during the call only, and one value is held at a time.
func (s *Sequence) Each(from End, i, n uint64, visit func(value []byte) bool) {
	s.walk(from, i, n, func(_ uint64, e listEntry) bool {
		v := s.valueOf(e)
		return s.tx.err == nil && visit(v)
	})
}

// Find visits the indexes of the elements that have a value, going away from an end and looking at n elements at most, until visit
// returns false.
func (s *Sequence) Find(from End, value []byte, n uint64, visit func(i uint64) bool) {
	i := uint64(0)
	if from == Right {
		i = s.size - 1 // of an empty list nothing is visited
	}
	hash := key.Hash(value)
	s.walk(from, i, min(n, s.size), func(i uint64, e listEntry) bool {
		same := false
		switch {
		case !e.apart:
			same = bytes.Equal(e.inline, value)
		case e.hash == hash && len(value) >= minApart:
			same = bytes.Equal(s.valueOf(e), value)
		}
		return !same || visit(i)
	})
}

// Drop removes n elements at an end, of which there must be as many. All of them go at once; of a part the values that lie
// apart are deleted one by one.
func (s *Sequence) Drop(at End, n uint64) {
	switch {
	case n == 0 || s.tx.err != nil:
		return
	case n == s.size && s.Found && s.gen == s.Generation && !s.dirty:
		s.tx.Remove(&s.Entry)
		s.size = 0
		return
	}
	first := uint64(0)
	if at == Right {
		first = s.size - n
	}
	s.walk(Left, first, n, func(_ uint64, e listEntry) bool {
		s.dropValue(e)
		return s.tx.err == nil
	})
	s.dropEntries(first, n)
	s.shrink(at, n)
}

// Insert puts a new element before the one at an index of a list that is not empty; Len is an index here. It moves the entries on the side where there are
// fewer.
func (s *Sequence) Insert(i uint64, value []byte) {
	if i < s.size/2 {
		s.walk(Left, 0, i, func(j uint64, e listEntry) bool { return s.moveEntry(e, s.list.Head+j-1) })
		s.list.Head--
	} else {
		s.walk(Left, i, s.size-i, func(j uint64, e listEntry) bool { return s.moveEntry(e, s.list.Head+j+1) })
	}
	s.putEntry(s.list.Head+i, value)
	s.SetLen(s.size + 1)
}

// Remove removes the elements at some indexes, which are less than Len and ascend. It closes the gaps from the side where there are
// fewer entries to move.
func (s *Sequence) Remove(indexes []uint64) {
	if len(indexes) == 0 {
		return
	}
	n := uint64(len(indexes))
	first, last := indexes[0], indexes[n-1]
	from, i, steps, to := Left, first, s.size-first, first // to is where the next entry that stays goes
	if last+1 < steps {
		from, i, steps, to = Right, last, last+1, last
	}
	s.walk(from, i, steps, func(j uint64, e listEntry) bool {
		if len(indexes) > 0 && j == indexes[0] && from == Left {
			indexes = indexes[1:]
			s.dropValue(e)
			return s.tx.err == nil
		}
		if k := len(indexes); k > 0 && j == indexes[k-1] && from == Right {
			indexes = indexes[:k-1]
			s.dropValue(e)
			return s.tx.err == nil
		}
		ok := s.moveEntry(e, s.list.Head+to)
		if from == Left {
			to++
		} else {
			to--
		}
		return ok
	})
	if from == Left {
		s.dropEntries(s.size-n, n)
		s.shrink(Right, n)
	} else {
		s.dropEntries(0, n)
		s.shrink(Left, n)
	}
}

// shrink takes n elements off an end; their entries are gone.
func (s *Sequence) shrink(at End, n uint64) {
	if at == Left {
		s.list.Head += n
	}
	s.SetLen(s.size - n)
}

// listEntry is an entry as it was read. It aliases what it was read from.
type listEntry struct {
	raw    []byte
	apart  bool
	inline []byte // with apart false: the value
	number []byte // with apart true: the number of the value, as the element that it is under
	hash   uint32 // with apart true: the hash of the value
}

// decodeEntry reads an entry. The error is an ErrCorrupt.
func decodeEntry(b []byte) (listEntry, error) {
	switch {
	case len(b) >= 1 && b[0] == entryInline && len(b) <= 1+maxInline:
		return listEntry{raw: b, inline: b[1:]}, nil
	case len(b) == entryApartLen && b[0] == entryApart:
		return listEntry{raw: b, apart: true, number: b[1:9], hash: binary.BigEndian.Uint32(b[9:])}, nil
	}
	return listEntry{}, fmt.Errorf("%w: an entry of a list is %x", ErrCorrupt, b[:min(len(b), maxInline)])
}

// entry reads the entry at an index. If there is none, or it cannot be read, the transaction fails.
func (s *Sequence) entry(i uint64) (e listEntry, ok bool) {
	var pos [positionLen]byte
	binary.BigEndian.PutUint64(pos[:], s.list.Head+i)
	raw, found := s.Element(key.Element, pos[:])
	if s.tx.err != nil {
		return e, false
	}
	if !found {
		s.lost(i)
		return e, false
	}
	e, err := decodeEntry(raw)
	if err != nil {
		s.tx.fail(fmt.Errorf("key %q: %w", s.Key, err))
		return e, false
	}
	return e, true
}

// lost fails the transaction: an element is not where it should be.
func (s *Sequence) lost(i uint64) {
	s.tx.fail(fmt.Errorf("%w: key %q has no element %d where its record says %d", ErrCorrupt, s.Key, i, s.size))
}

// valueOf returns the value of an entry. That of an inline one aliases it.
func (s *Sequence) valueOf(e listEntry) []byte {
	if !e.apart {
		return e.inline
	}
	v, found := s.Element(listValue, e.number)
	if !found && s.tx.err == nil {
		s.tx.fail(fmt.Errorf("%w: key %q has no value with the number %x", ErrCorrupt, s.Key, e.number))
	}
	return v
}

// walk visits n entries from an index on, going away from an end, until visit returns false.
func (s *Sequence) walk(from End, i, n uint64, visit func(i uint64, e listEntry) bool) {
	if n == 0 || s.tx.err != nil {
		return
	}
	head := s.list.Head
	var pos [positionLen]byte
	it := s.Iter(key.Element)
	var ok bool
	if from == Left {
		binary.BigEndian.PutUint64(pos[:], head+i)
		ok = it.SeekGE(pos[:])
	} else {
		binary.BigEndian.PutUint64(pos[:], head+i+1)
		ok = it.SeekLT(pos[:])
	}
	there := true
	for ; s.tx.err == nil; n-- {
		binary.BigEndian.PutUint64(pos[:], head+i)
		if there = ok && bytes.Equal(it.Element(), pos[:]); !there {
			break
		}
		e, err := decodeEntry(it.Value())
		if err != nil {
			s.tx.fail(fmt.Errorf("key %q: %w", s.Key, err))
			break
		}
		if !visit(i, e) || n == 1 {
			break
		}
		if from == Left {
			i++
			ok = it.Next()
		} else {
			i--
			ok = it.Prev()
		}
	}
	it.Close()
	if !there && s.tx.err == nil {
		s.lost(i)
	}
}

// positionKey builds the key of the entry at a position in the transaction's buffer.
func (s *Sequence) positionKey(position uint64) []byte {
	t := s.tx
	t.elementBuf = key.AppendElement(t.elementBuf[:0], s.Slot, key.Element, s.gen)
	t.elementBuf = binary.BigEndian.AppendUint64(t.elementBuf, position)
	return t.elementBuf
}

// putEntry sets the value at a position.
func (s *Sequence) putEntry(position uint64, value []byte) {
	var buf [1 + maxInline]byte
	entry := buf[:0]
	if len(value) <= maxInline {
		entry = append(append(entry, entryInline), value...)
	} else {
		entry = append(entry, entryApart)
		entry = binary.BigEndian.AppendUint64(entry, s.list.NextValue)
		entry = binary.BigEndian.AppendUint32(entry, key.Hash(value))
		s.list.NextValue++
		s.tx.setElement(s.elementKey(listValue, entry[1:9]), value)
	}
	s.tx.setElement(s.positionKey(position), entry)
}

// moveEntry writes an entry at another position, and reports whether to go on.
func (s *Sequence) moveEntry(e listEntry, position uint64) bool {
	s.tx.setElement(s.positionKey(position), e.raw)
	return s.tx.err == nil
}

// dropValue deletes the value of an entry if it lies apart.
func (s *Sequence) dropValue(e listEntry) {
	if e.apart && s.tx.err == nil {
		s.tx.deleteElement(s.elementKey(listValue, e.number))
	}
}

// dropEntries deletes the entries of n indexes, and not their values.
func (s *Sequence) dropEntries(first, n uint64) {
	if s.tx.err != nil {
		return
	}
	from, to := s.list.Head+first, s.list.Head+first+n
	if n <= pointDeletes {
		for p := from; p < to; p++ {
			s.tx.deleteElement(s.positionKey(p))
		}
		return
	}
	lo := bytes.Clone(s.positionKey(from))
	s.tx.writer().DeleteRange(key.Span{Lo: lo, Hi: bytes.Clone(s.positionKey(to))})
	s.tx.noteWrite(lo)
}
