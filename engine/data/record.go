package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"godwit/engine/key"
)

// Type is the type of a key's value.
type Type uint8

// The types. String keeps its value in the record; all others keep elements under the record's generation.
const (
	String Type = 1
	Hash   Type = 2
	List   Type = 3
	Set    Type = 4
	ZSet   Type = 5
	Stream Type = 6
)

// String is the name of the type as TYPE answers it.
func (t Type) String() string {
	switch t {
	case String:
		return "string"
	case Hash:
		return "hash"
	case List:
		return "list"
	case Set:
		return "set"
	case ZSet:
		return "zset"
	case Stream:
		return "stream"
	default:
		return "none"
	}
}

// TypeByName returns the type that TYPE answers by this name, in lower case.
func TypeByName(name string) (Type, bool) {
	for t := String; t <= Stream; t++ {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// NoExpiry is the expiry of a key that does not expire.
const NoExpiry int64 = 0

// Record is what a user key is. The zero value is no record.
type Record struct {
	Type Type
	// ExpireMs is when the key expires, in unix milliseconds, positive; NoExpiry if it does not.
	ExpireMs int64
	// Generation is what the elements of a collection lie under, its own within the slot; zero for strings.
	Generation key.Generation
	// Size is the number of elements of a collection, as the type counts them, and never 0 on disk; 0 for strings.
	Size uint64
	// List is where a list begins; zero for other types.
	List ListPlace
	// Value is the value of a string.
	Value []byte
}

// Expired reports whether a record is past its expiry. As in Redis, the millisecond of the expiry still belongs to the key.
func (r *Record) Expired(nowMs int64) bool { return r.ExpireMs != NoExpiry && nowMs > r.ExpireMs }

// The encoding of a record, version 1.
//
//	| offset | size | field                                                                    |
//	|--------|------|--------------------------------------------------------------------------|
//	| 0      | 1    | high four bits: version, 1; low four bits: type                          |
//	| 1      | 1    | flags: bit 0 = has an expiry; all others 0                               |
//	| 2      | 8    | only with flag 0: expiry, unix ms, big-endian, 1 to 2^63-1               |
//	| then   | rest | string: the value                                                        |
//	|        | 20   | others: generation (12), number of elements (8, big-endian)              |
//	|        | 16   | lists, behind that: head (8, big-endian), next value (8, big-endian)     |
const (
	recordVersion = 1
	flagExpiry    = 1
)

// ErrCorrupt says that bytes on disk are not what this version writes.
var ErrCorrupt = errors.New("data: corrupt record")

// AppendRecord appends the encoding of a record.
func AppendRecord(dst []byte, r *Record) []byte {
	var flags byte
	if r.ExpireMs != NoExpiry {
		flags = flagExpiry
	}
	dst = append(dst, recordVersion<<4|byte(r.Type), flags)
	if r.ExpireMs != NoExpiry {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.ExpireMs))
	}
	if r.Type == String {
		return append(dst, r.Value...)
	}
	dst = append(dst, r.Generation[:]...)
	dst = binary.BigEndian.AppendUint64(dst, r.Size)
	if r.Type == List {
		dst = binary.BigEndian.AppendUint64(dst, r.List.Head)
		dst = binary.BigEndian.AppendUint64(dst, r.List.NextValue)
	}
	return dst
}

// collectionLen is the length of what the record of a collection holds behind its expiry.
func collectionLen(t Type) int {
	if t == List {
		return key.GenerationLen + 8 + 16
	}
	return key.GenerationLen + 8
}

// DecodeRecord reads what AppendRecord wrote. Value aliases b. The error is an ErrCorrupt.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) < 2 {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	r := Record{Type: Type(b[0] & 0x0f)}
	switch {
	case b[0]>>4 != recordVersion:
		return Record{}, fmt.Errorf("%w: version %d, this program knows %d only", ErrCorrupt, b[0]>>4, recordVersion)
	case r.Type < String || r.Type > Stream:
		return Record{}, fmt.Errorf("%w: unknown type %d", ErrCorrupt, r.Type)
	case b[1]&^flagExpiry != 0:
		return Record{}, fmt.Errorf("%w: unknown flags %#x", ErrCorrupt, b[1])
	}
	rest := b[2:]
	if b[1]&flagExpiry != 0 {
		if len(rest) < 8 {
			return Record{}, fmt.Errorf("%w: it ends within the expiry", ErrCorrupt)
		}
		expire := binary.BigEndian.Uint64(rest)
		if expire == 0 || expire > math.MaxInt64 {
			return Record{}, fmt.Errorf("%w: expiry %d", ErrCorrupt, expire)
		}
		r.ExpireMs, rest = int64(expire), rest[8:]
	}
	if r.Type == String {
		r.Value = rest
		return r, nil
	}
	if len(rest) != collectionLen(r.Type) {
		return Record{}, fmt.Errorf("%w: %d bytes of a %s instead of %d", ErrCorrupt, len(rest), r.Type, collectionLen(r.Type))
	}
	r.Generation, rest = key.Generation(rest[:key.GenerationLen]), rest[key.GenerationLen:]
	r.Size = binary.BigEndian.Uint64(rest)
	if r.Type == List {
		r.List = ListPlace{Head: binary.BigEndian.Uint64(rest[8:]), NextValue: binary.BigEndian.Uint64(rest[16:])}
		if r.List.Head+r.Size < r.Size {
			return Record{}, fmt.Errorf("%w: %d elements of a list from position %d on", ErrCorrupt, r.Size, r.List.Head)
		}
	}
	return r, nil
}
