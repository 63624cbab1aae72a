// Package key lays out bytes on disk so that a slot is one contiguous span of keys.
//
//	| offset | size  | field                                                                      |
//	|--------|-------|----------------------------------------------------------------------------|
//	| 0      | 1     | length of the namespace, n; 0 marks the node's own records                 |
//	| 1      | n     | namespace ("0" for database 0)                                             |
//	| 1+n    | 2     | slot, big-endian                                                           |
//	| 3+n    | 1     | kind                                                                       |
//	| 4+n    | rest  | by kind, below                                                             |
//
//	| kind           | rest                                                                         |
//	|----------------|------------------------------------------------------------------------------|
//	| 0x00 book      | name; per-slot bookkeeping of moves: never moved, dies with the span         |
//	| 0x10 record    | hash of user key (4, big-endian), user key                                   |
//	| 0x20 element   | generation (12), element; the element is by type, see the package data       |
//	| 0x30 score     | generation (12), score, member; of a list: generation (12), number of a value |
//	| 0x40 expiry    | expiry in unix ms (8, big-endian), user key                                  |
//
// The hash in front of a record's user key is the low half of its XXH3 64. It gives a slot's keys an order in which a position
// fits into 32 bits, so that a SCAN cursor, 64 bits by protocol, names a place in a slot of any size, needs no memory of the
// server, and outlives restarts. In the order of the user keys it cannot: any few bytes of a key ("user:000…") may be
// shared by all of them, and then a call either returns all of these or starts over.
//
// The elements of a collection lie under its generation and not under its user key: a rename within a slot writes the record
// anew and touches no element, and the user key is not repeated in each.
//
// The node's own records are | 0 | table (1) | rest |: table 1 holds ownership records (slot, 2 bytes big-endian), table 2
// jobs (counter, 8 bytes big-endian), table 3 named values, table 4 hints of where slots are (slot, 2 bytes big-endian).
//
// Invariants: every key of a slot in a namespace lies in SlotSpan; keys that move with the slot lie in DataSpan, which is
// SlotSpan less the bookkeeping; no key of the node lies in either.
package key

import (
	"bytes"
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"godwit/engine/slot"
)

// Kind says what a key within a slot holds.
type Kind byte

// The kinds, in key order.
const (
	Book    Kind = 0x00 // per-slot bookkeeping of moves
	Record  Kind = 0x10 // a user key's record: type, generation, expiry, size, and for strings the value
	Element Kind = 0x20 // a part of a collection, under its generation
	Score   Kind = 0x30 // the score index of a sorted set; of a list: the values that lie apart
	Expiry  Kind = 0x40 // the index by time of the records that expire
)

// namespace is the one namespace of this version, database 0.
const namespace = '0'

// PrefixLen is the length of what stands before the rest of a key: namespace, slot and kind.
const PrefixLen = 5

// MaxUserKey is the longest user key in bytes. Redis allows 512 MiB; Pebble keeps whole keys in its index blocks, where
// long ones cost every reader, so the limit here is 64 KiB less room for prefix and suffix.
const MaxUserKey = 65000

// Span is the keys from Lo up to but not including Hi.
type Span struct{ Lo, Hi []byte }

// Contains reports whether k lies in the span.
func (s Span) Contains(k []byte) bool {
	return bytes.Compare(s.Lo, k) <= 0 && bytes.Compare(k, s.Hi) < 0
}

// Empty reports whether no key lies in the span.
func (s Span) Empty() bool { return bytes.Compare(s.Lo, s.Hi) >= 0 }

// Covers reports whether all of o lies in the span.
func (s Span) Covers(o Span) bool {
	return bytes.Compare(s.Lo, o.Lo) <= 0 && bytes.Compare(o.Hi, s.Hi) <= 0
}

// prefixBytes is the length of what appendPrefix appends.
const prefixBytes = 5

// appendPrefix appends namespace, slot and kind.
func appendPrefix(dst []byte, s slot.Slot, k Kind) []byte {
	return append(dst, 1, namespace, byte(s>>8), byte(s), byte(k))
}

// AppendRecord appends the key of a user key's record to dst and returns the result.
func AppendRecord(dst []byte, s slot.Slot, user []byte) []byte {
	return append(AppendRecordSeek(dst, s, Hash(user)), user...)
}

// Hash is the position of a user key among the records of its slot. Different keys may share one.
func Hash(user []byte) uint32 { return uint32(xxh3.Hash(user)) }

// AppendRecordSeek appends the bound from which on the records of a slot have at least the given hash.
func AppendRecordSeek(dst []byte, s slot.Slot, hash uint32) []byte {
	return binary.BigEndian.AppendUint32(appendPrefix(dst, s, Record), hash)
}

// SplitRecord returns the hash and the user key of the rest of a record's key. user aliases rest.
func SplitRecord(rest []byte) (hash uint32, user []byte, ok bool) {
	if len(rest) < 4 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(rest), rest[4:], true
}

// AppendExpiry appends the key of the expiry index entry of a user key that expires at expireMs (unix, not negative).
func AppendExpiry(dst []byte, s slot.Slot, expireMs int64, user []byte) []byte {
	dst = appendPrefix(dst, s, Expiry)
	dst = binary.BigEndian.AppendUint64(dst, uint64(expireMs))
	return append(dst, user...)
}

// AppendBook appends the key of a named bookkeeping value of a slot.
func AppendBook(dst []byte, s slot.Slot, name string) []byte {
	return append(appendPrefix(dst, s, Book), name...)
}

// Generation names a collection within its slot: random bits, drawn when the collection is made, that its record holds.
type Generation [GenerationLen]byte

// GenerationLen is the length of a generation in bytes. With 96 bits, a collection made in a slot of a million others takes the
// generation of one of them with a probability of 2^-76; with 64 it would be 2^-44, too much for a slot in which ten thousand
// are made a second for years.
const GenerationLen = 12

// ElementLen is the length of what AppendElement appends.
const ElementLen = PrefixLen + GenerationLen

// AppendElement appends the key of an element of a collection: everything up to and including the generation, to which
// the caller appends the element. kind is Element or Score.
func AppendElement(dst []byte, s slot.Slot, kind Kind, g Generation) []byte {
	return append(appendPrefix(dst, s, kind), g[:]...)
}

// ElementSpan is the span of the elements of a kind of one collection. Its low end is what AppendElement appends.
func ElementSpan(s slot.Slot, kind Kind, g Generation) Span {
	lo := AppendElement(nil, s, kind, g)
	return Span{Lo: lo, Hi: successor(lo)}
}

// SplitElement returns the generation and the element of the rest of an element's key. element aliases rest.
func SplitElement(rest []byte) (g Generation, element []byte, ok bool) {
	if len(rest) < GenerationLen {
		return g, nil, false
	}
	return Generation(rest), rest[GenerationLen:], true
}

// Split returns the slot, kind and rest of a key; ok is false for the node's own records and for bytes that are no key.
// rest aliases k.
func Split(k []byte) (s slot.Slot, kind Kind, rest []byte, ok bool) {
	if len(k) < PrefixLen || k[0] != 1 || k[1] != namespace {
		return 0, 0, nil, false
	}
	s = slot.Slot(binary.BigEndian.Uint16(k[2:4]))
	return s, Kind(k[4]), k[PrefixLen:], s.Valid()
}

// SplitExpiry returns the time and the user key of the rest of an expiry index key.
func SplitExpiry(rest []byte) (expireMs int64, user []byte, ok bool) {
	if len(rest) < 8 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(rest)), rest[8:], true
}

// KindSpan is the span of the keys of one kind in a slot.
func KindSpan(s slot.Slot, k Kind) Span {
	return prefixSpan(appendPrefix(make([]byte, 0, 2*prefixBytes), s, k))
}

// SlotSpan is the span of all keys of a slot, bookkeeping included.
func SlotSpan(s slot.Slot) Span {
	return prefixSpan(append(make([]byte, 0, 2*prefixBytes), 1, namespace, byte(s>>8), byte(s)))
}

// DataSpan is the span of the keys of a slot that move with it.
func DataSpan(s slot.Slot) Span {
	all := SlotSpan(s)
	return Span{Lo: succeed(appendPrefix(nil, s, Book)), Hi: all.Hi}
}

// UserSpan is the span of all slots.
func UserSpan() Span { return Span{Lo: []byte{1, namespace}, Hi: []byte{1, namespace + 1}} }

// prefixSpan is the span of the keys that start with p. It stands where p does, if there is room.
func prefixSpan(p []byte) Span {
	n := len(p)
	both := append(p, p...)
	return Span{Lo: both[:n:n], Hi: succeed(both[n:])}
}

// successor is the smallest key greater than every key that starts with p.
func successor(p []byte) []byte {
	return succeed(bytes.Clone(p))
}

// succeed makes p its successor.
func succeed(out []byte) []byte {
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] < 0xff {
			out[i]++
			return out[:i+1]
		}
	}
	return nil
}

// The node's own tables.
const (
	tableOwnership = 1
	tableJob       = 2
	tableNamed     = 3
	tableHint      = 4
)

// Ownership is the key of the ownership record of a slot.
func Ownership(s slot.Slot) []byte { return []byte{0, tableOwnership, byte(s >> 8), byte(s)} }

// OwnershipSpan is the span of all ownership records.
func OwnershipSpan() Span {
	return Span{Lo: []byte{0, tableOwnership}, Hi: []byte{0, tableOwnership + 1}}
}

// OwnershipSlot returns the slot of a key in OwnershipSpan.
func OwnershipSlot(k []byte) (slot.Slot, bool) {
	if len(k) != 4 || k[0] != 0 || k[1] != tableOwnership {
		return 0, false
	}
	s := slot.Slot(binary.BigEndian.Uint16(k[2:]))
	return s, s.Valid()
}

// Hint is the key of what is known of a slot's owner from hearsay.
func Hint(s slot.Slot) []byte { return []byte{0, tableHint, byte(s >> 8), byte(s)} }

// HintSpan is the span of all hints, in the order of the slots.
func HintSpan() Span { return Span{Lo: []byte{0, tableHint}, Hi: []byte{0, tableHint + 1}} }

// HintSlot returns the slot of a key in HintSpan.
func HintSlot(k []byte) (slot.Slot, bool) {
	if len(k) != 4 || k[0] != 0 || k[1] != tableHint {
		return 0, false
	}
	s := slot.Slot(binary.BigEndian.Uint16(k[2:]))
	return s, s.Valid()
}

// Job is the key of a job by the counter of its id.
func Job(counter uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0, tableJob}, counter) }

// JobSpan is the span of all jobs, oldest first.
func JobSpan() Span { return Span{Lo: []byte{0, tableJob}, Hi: []byte{0, tableJob + 1}} }

// Named is the key of a named value of the node.
func Named(name string) []byte { return append([]byte{0, tableNamed}, name...) }
