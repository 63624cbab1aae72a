package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"godwit/engine/key"
)

// Digest identifies the content of a span: the sum, modulo 2^128, of a 128-bit hash over each record, and their number.
// It does not depend on the order in which records are added, so spans can be added up. It guards against mistakes, not
// against an adversary who chooses records.
type Digest struct {
	Hi, Lo  uint64
	Records uint64
}

// Add adds a record to the digest.
func (d *Digest) Add(k, v []byte) {
	var buf [256]byte
	d.add(buf[:0], k, v)
}

// add adds a record and returns the memory that it has used, to be used for the next.
func (d *Digest) add(buf, k, v []byte) []byte {
	b := binary.AppendUvarint(buf[:0], uint64(len(k)))
	b = append(b, k...)
	b = append(b, v...)
	d.addHash(xxh3.Hash128(b))
	return b
}

func (d *Digest) addHash(h xxh3.Uint128) {
	lo := d.Lo + h.Lo
	if lo < d.Lo {
		d.Hi++
	}
	d.Lo = lo
	d.Hi += h.Hi
	d.Records++
}

// Merge adds another span's digest.
func (d *Digest) Merge(o Digest) {
	records := d.Records + o.Records
	d.addHash(xxh3.Uint128{Hi: o.Hi, Lo: o.Lo})
	d.Records = records
}

func (d Digest) String() string { return fmt.Sprintf("%016x%016x/%d", d.Hi, d.Lo, d.Records) }

// DigestSize is the length of an encoded digest in bytes.
const DigestSize = 24

// Append appends the digest as three big-endian 64-bit words: high, low, number of records.
func (d Digest) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, d.Hi)
	dst = binary.BigEndian.AppendUint64(dst, d.Lo)
	return binary.BigEndian.AppendUint64(dst, d.Records)
}

// ParseDigest reads what Append wrote.
func ParseDigest(b []byte) (Digest, error) {
	if len(b) != DigestSize {
		return Digest{}, fmt.Errorf("store: a digest has %d bytes, got %d", DigestSize, len(b))
	}
	return Digest{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, nil
}

// Chunk is a run of records that tile a span from its low end.
type Chunk struct {
	// Covers is the span that the chunk speaks for, gaps included: from the span's low end to just after the last record
	// read, or to the span's high end if Last.
	Covers key.Span
	// Records is the records in key order, each as uvarint length, key, uvarint length, value. Empty if only a digest
	// was asked for.
	Records []byte
	// Bytes is how many bytes of keys and values were read, Count in how many records.
	Bytes, Count int
	// Digest is over the records of the chunk, if it was asked for.
	Digest Digest
	// Last says that nothing of the span is left beyond Covers.
	Last bool
}

// ChunkLimits bounds one chunk: it ends after the record that reaches either limit.
type ChunkLimits struct {
	Bytes   int // of keys and values
	Records int
}

// ChunkParts selects what ReadChunk computes.
type ChunkParts uint8

// The parts of a chunk.
const (
	WithRecords ChunkParts = 1 << iota
	WithDigest
)

// firstRecords is how much room there is for records at first, in bytes, unless the limits say that less will do: most slots have no more.
const firstRecords = 16 << 10

// ReadChunk reads records from the low end of a span until a limit is reached.
func ReadChunk(r Reader, span key.Span, lim ChunkLimits, parts ChunkParts) (Chunk, error) {
	return AppendChunk(nil, r, span, lim, parts)
}

// AppendChunk is ReadChunk, but for Records, which come after what dst holds.
func AppendChunk(dst []byte, r Reader, span key.Span, lim ChunkLimits, parts ChunkParts) (Chunk, error) {
	it, err := r.NewIter(span)
	if err != nil {
		return Chunk{}, err
	}
	c := Chunk{Covers: span, Records: dst}
	var hashed []byte
	ok := it.First()
	for ; ok; ok = it.Next() {
		k := it.Key()
		v, err := it.ValueAndErr()
		if err != nil {
			_ = it.Close() // the read error is the one to report
			return Chunk{}, fmt.Errorf("store: read chunk: %w", err)
		}
		if parts&WithDigest != 0 {
			hashed = c.Digest.add(hashed, k, v)
		}
		if parts&WithRecords != 0 {
			c.Records = AppendRecord(roomFor(c.Records, len(k)+len(v), lim), k, v)
		}
		c.Bytes += len(k) + len(v)
		if c.Count++; c.Bytes >= lim.Bytes || c.Count >= lim.Records {
			c.Covers.Hi = append(append(make([]byte, 0, len(k)+1), k...), 0)
			ok = it.Next()
			break
		}
	}
	c.Last = !ok
	if c.Last {
		c.Covers.Hi = span.Hi
	}
	if err := it.Close(); err != nil {
		return Chunk{}, fmt.Errorf("store: read chunk: %w", err)
	}
	return c, nil
}

// roomFor makes room for a record of so many bytes: a little, then four times as much as there was, and all that a chunk may hold, lengths of records
// included, which are guessed, as soon as those are half of it or more. Memory that is not used costs as much as copying what is: it is cleared.
func roomFor(b []byte, record int, lim ChunkLimits) []byte {
	const lengths = 2 * binary.MaxVarintLen32
	switch record += lengths; {
	case cap(b)-len(b) >= record:
		return b
	case len(b)+record <= firstRecords:
		first := min(firstRecords, lim.Bytes+lim.Bytes/8+record, min(lim.Records, firstRecords)*2*record)
		return slices.Grow(b, max(first-len(b), record))
	case len(b) < lim.Bytes:
		room := 4 * len(b)
		if room >= lim.Bytes/2 {
			room = lim.Bytes + lim.Bytes/8
		}
		return slices.Grow(b, max(room-len(b), record))
	default:
		return b
	}
}

// AppendRecord appends a record in the encoding of Chunk.Records.
func AppendRecord(dst, k, v []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(k)))
	dst = append(dst, k...)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// NextRecord splits the first record off records in the encoding of Chunk.Records. The slices alias b.
func NextRecord(b []byte) (k, v, rest []byte, err error) {
	k, rest, ok := lengthPrefixed(b)
	if ok {
		v, rest, ok = lengthPrefixed(rest)
	}
	if !ok {
		return nil, nil, nil, fmt.Errorf("store: records end in the middle of one, %d bytes before the end", len(b))
	}
	return k, v, rest, nil
}

func lengthPrefixed(b []byte) (head, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}
