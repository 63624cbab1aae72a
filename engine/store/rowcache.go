package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// rowCache holds copies of records and elements that were read or written lately, so that looking up one of them touches neither
// memory tables nor blocks. It is filled by reads that missed and by every commit, from the batch itself, and belongs to the
// store: whatever writes (a client, a move, the sweeper) passes through Commit, so no writer can forget it.
//
// Invariants.
//  1. Once Commit has returned, the cache holds no value of a key that the commit changed but the new one.
//  2. A read that missed before a commit never fills in what it found behind that commit's back: it fills only if no write of its
//     shard came between (rowShard.changes), and a range delete makes all rows of its slots void (epochs).
//  3. What it does depends on the order of calls only, never on addresses or time.
//
// Each shard is a log of rows, written in a circle: the oldest are overwritten. Neither the log nor the index holds pointers, so
// that a cache of any size costs the garbage collector nothing.
type rowCache struct {
	shards []rowShard
	// epochs counts the range deletes that met each slot, by groups of slots; nil before the first in the group: a store is mostly opened
	// to have a few slots, and 64 KiB would have to be cleared for all.
	epochs [slot.Count / epochGroup]atomic.Pointer[[epochGroup]atomic.Uint32]
}

// epochGroup is how many slots share the memory for their epochs.
const epochGroup = 256

// rowShard is a part of the cache, by hash of the key.
type rowShard struct {
	mu sync.Mutex
	// changes counts the writes of commits that this shard was told of.
	changes uint64
	// buckets holds, for each hash, where in log its latest row begins, in units of rowAlign and from 1; 0 is none.
	buckets []uint32
	// log grows as it is needed, up to size. Rows lie from tail on to head, around its end.
	log        []byte
	size       int
	head, tail int
	rows       int // in log, live or not
}

// A row in the log:
//
//	| offset | size | field                                                        |
//	|--------|------|--------------------------------------------------------------|
//	| 0      | 4    | length of the row with this header, a multiple of 8          |
//	| 4      | 4    | next row of the bucket, as in buckets                        |
//	| 8      | 4    | hash of the key; of what fills up the end of the log, 0      |
//	| 12     | 4    | epoch of the slot                                            |
//	| 16     | 2    | length of the key; 0 for a row that is void                  |
//	| 18     | 2    | free                                                         |
//	| 20     | 4    | length of the value                                          |
//	| 24     |      | key, value                                                   |
const (
	rowHeader = 24
	rowAlign  = 8
	// maxRow is the longest row that is held: a longer one is copied at each hit, and pushes out hundreds.
	maxRow = 8 << 10
	// rowsOfShard is how many rows of the longest length a shard has room for at least.
	rowsOfShard = 8
	// bytesPerBucket is how many bytes of log there are for one bucket: a short row.
	bytesPerBucket = 128
	maxRowShards   = 64
	// touchAtOnce is how many rows are touched at once, and touchBytes how much of each, in steps of a line of the processor's cache: a
	// row of a short key and a hundred bytes.
	touchAtOnce = 16
	touchBytes  = 192
	cacheLine   = 64
	// minRowCache is the smallest cache, in bytes, that is worth having; minRowShard the smallest of several shards.
	minRowCache = 4 << 10
	minRowShard = 1 << 20
)

// newRowCache makes a cache of about so many bytes, index included; nil if they are fewer than minRowCache.
func newRowCache(size int64) *rowCache {
	if size < minRowCache {
		return nil
	}
	shards := 1
	for shards < maxRowShards && size/int64(2*shards) >= minRowShard {
		shards *= 2
	}
	c := &rowCache{shards: make([]rowShard, shards)}
	each := min(size/int64(shards), 1<<32)
	for i := range c.shards {
		c.shards[i].size = int(each*bytesPerBucket/(bytesPerBucket+4)) &^ (rowAlign - 1)
	}
	return c
}

// cached reports whether keys like this are held: records and elements. What is only ever iterated over is not.
func cached(k []byte) (slot.Slot, bool) {
	sl, kind, _, ok := key.Split(k)
	return sl, ok && (kind == key.Record || kind == key.Element)
}

// rowToken is what a read that missed must show to fill in what it has found; the zero token fills nothing.
type rowToken struct {
	shard   *rowShard
	hash    uint32
	epoch   uint32
	changes uint64
}

// get appends the value of a key to dst. If it is not there, the token lets the caller fill it in.
func (c *rowCache) get(k, dst []byte) (value []byte, found bool, t rowToken) {
	sl, ok := cached(k)
	if !ok {
		return dst, false, rowToken{}
	}
	h := hashOf(k)
	t = rowToken{shard: c.shard(h), hash: uint32(h), epoch: c.epoch(sl)}
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	if at := t.shard.find(k, t.hash, t.epoch); at >= 0 {
		return append(dst, t.shard.value(at)...), true, t
	}
	t.changes = t.shard.changes
	return dst, false, t
}

// touch brings the rows of keys, given by their hashes, into the processor's cache, without looking whose rows they are. Each lies
// somewhere else in memory: who looks one up after another waits twice for each, and here all wait at once. That works only while no lock
// is taken between the reads, so the shards are locked first, and those that are in use are left out. What it returns means nothing:
// without it the compiler would leave the reads out.
func (c *rowCache) touch(hashes []uint64) (read uint32) {
	var held uint64 // a bit for each shard, of which there are no more than maxRowShards
	for _, h := range hashes {
		held |= 1 << (h >> 32 & uint64(len(c.shards)-1))
	}
	for rest := held; rest != 0; rest &= rest - 1 {
		if i := bits.TrailingZeros64(rest); !c.shards[i].mu.TryLock() {
			held &^= 1 << i
		}
	}
	var buckets [touchAtOnce]uint32
	for len(hashes) > 0 {
		now := hashes[:min(len(hashes), touchAtOnce)]
		hashes = hashes[len(now):]
		for i, h := range now {
			buckets[i] = 0
			if s := c.shard(h); held>>(h>>32&uint64(len(c.shards)-1))&1 != 0 && len(s.buckets) > 0 {
				buckets[i] = *s.bucket(uint32(h))
			}
		}
		for i, h := range now {
			if buckets[i] == 0 {
				continue
			}
			log := c.shard(h).log[int(buckets[i]-1)*rowAlign:]
			for at := 0; at < min(len(log), touchBytes); at += cacheLine {
				read += uint32(log[at])
			}
		}
	}
	for rest := held; rest != 0; rest &= rest - 1 {
		c.shards[bits.TrailingZeros64(rest)].mu.Unlock()
	}
	return read
}

// fill takes in what a read that missed has found.
func (c *rowCache) fill(t rowToken, k, value []byte) {
	if t.shard == nil || rowLen(k, value) > t.shard.longest() {
		return
	}
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	if t.shard.changes == t.changes && t.shard.find(k, t.hash, t.epoch) < 0 {
		t.shard.add(k, value, t.hash, t.epoch)
	}
}

// applied takes in the operations of a batch, which makes them visible if the engine does not have them yet, before Commit returns.
func (c *rowCache) applied(ops batchrepr.Reader) {
	for {
		kind, k, v, ok, err := ops.Next()
		switch {
		case err != nil:
			panic(err) // the batch was built by this process
		case !ok:
			return
		case kind == pebble.InternalKeyKindRangeDelete:
			c.dropSpan(key.Span{Lo: k, Hi: v})
			continue
		}
		if sl, ok := cached(k); ok {
			c.write(sl, k, v, kind == pebble.InternalKeyKindSet)
		}
	}
}

// write takes in that a key was set or, if present is false, deleted.
func (c *rowCache) write(sl slot.Slot, k, v []byte, present bool) {
	h := hashOf(k)
	hash, epoch, s := uint32(h), c.epoch(sl), c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	if at := s.find(k, hash, epoch); at >= 0 {
		if present && len(s.value(at)) == len(v) {
			copy(s.value(at), v)
			return
		}
		s.void(at)
	}
	if present && rowLen(k, v) <= s.longest() {
		s.add(k, v, hash, epoch)
	}
}

// dropSpan makes all rows void that may lie in a span.
func (c *rowCache) dropSpan(span key.Span) {
	first, last := slotsOf(span)
	if first > last {
		return
	}
	for sl := first; sl <= last; sl++ {
		group := &c.epochs[sl/epochGroup]
		if group.Load() == nil {
			group.CompareAndSwap(nil, new([epochGroup]atomic.Uint32))
		}
		group.Load()[sl%epochGroup].Add(1)
	}
}

// slotsOf is the first and the last slot that a span of data may meet; first is greater if it meets none.
func slotsOf(span key.Span) (first, last int) {
	all := key.UserSpan()
	lo, hi := maxBytes(span.Lo, all.Lo), minBytes(span.Hi, all.Hi)
	if bytes.Compare(lo, hi) >= 0 {
		return 1, 0
	}
	first, last = 0, slot.Count-1
	if at := len(all.Lo); len(lo) >= at+2 {
		first = int(binary.BigEndian.Uint16(lo[at:]))
	}
	if at := len(all.Lo); len(hi) >= at+2 && bytes.HasPrefix(hi, all.Lo) {
		if last = int(binary.BigEndian.Uint16(hi[at:])); len(hi) == at+2 {
			last-- // it ends where that slot begins
		}
	}
	return first, min(last, slot.Count-1)
}

func (c *rowCache) epoch(sl slot.Slot) uint32 {
	if group := c.epochs[sl/epochGroup].Load(); group != nil {
		return group[sl%epochGroup].Load()
	}
	return 0
}

func (c *rowCache) shard(h uint64) *rowShard { return &c.shards[h>>32&uint64(len(c.shards)-1)] }

// longest is the longest row that the shard holds.
func (s *rowShard) longest() int { return min(maxRow, s.size/rowsOfShard) }

func rowLen(k, v []byte) int { return (rowHeader + len(k) + len(v) + rowAlign - 1) &^ (rowAlign - 1) }

// The fields of the row at an offset of the log.

func (s *rowShard) field(at, offset int) uint32 { return binary.LittleEndian.Uint32(s.log[at+offset:]) }

func (s *rowShard) setField(at, offset int, v uint32) {
	binary.LittleEndian.PutUint32(s.log[at+offset:], v)
}

func (s *rowShard) key(at int) []byte {
	n := int(binary.LittleEndian.Uint16(s.log[at+16:]))
	return s.log[at+rowHeader : at+rowHeader+n]
}

func (s *rowShard) value(at int) []byte {
	from := at + rowHeader + int(binary.LittleEndian.Uint16(s.log[at+16:]))
	return s.log[from : from+int(s.field(at, 20))]
}

// bucket is where the first row of a hash is told.
func (s *rowShard) bucket(hash uint32) *uint32 { return &s.buckets[hash&uint32(len(s.buckets)-1)] }

// find returns where the row of a key begins, -1 if there is none.
func (s *rowShard) find(k []byte, hash, epoch uint32) int {
	if s.log == nil {
		return -1
	}
	for place := *s.bucket(hash); place != 0; {
		at := int(place-1) * rowAlign
		if s.field(at, 8) == hash && bytes.Equal(s.key(at), k) {
			if s.field(at, 12) != epoch {
				return -1 // there is one row of a key at most: add makes the older void
			}
			return at
		}
		place = s.field(at, 4)
	}
	return -1
}

// void takes a row out of its bucket. Its place in the log is free when the circle comes round.
func (s *rowShard) void(at int) {
	s.unlink(at)
	binary.LittleEndian.PutUint16(s.log[at+16:], 0)
}

func (s *rowShard) unlink(at int) {
	place := uint32(at/rowAlign) + 1
	next := s.field(at, 4)
	b := s.bucket(s.field(at, 8))
	if *b == place {
		*b = next
		return
	}
	for p := *b; p != 0; {
		before := int(p-1) * rowAlign
		if p = s.field(before, 4); p == place {
			s.setField(before, 4, next)
			return
		}
	}
}

// add writes a new row at the head. A void row of the key, of an older epoch, may be there: it is taken out.
func (s *rowShard) add(k, v []byte, hash, epoch uint32) {
	n := rowLen(k, v)
	for s.head+n > len(s.log) && len(s.log) < s.size {
		s.grow()
	}
	for place := *s.bucket(hash); place != 0; {
		at := int(place-1) * rowAlign
		if s.field(at, 8) == hash && bytes.Equal(s.key(at), k) {
			s.void(at)
			break
		}
		place = s.field(at, 4)
	}
	at := s.room(n)
	s.setField(at, 0, uint32(n))
	s.setField(at, 4, *s.bucket(hash))
	s.setField(at, 8, hash)
	s.setField(at, 12, epoch)
	binary.LittleEndian.PutUint16(s.log[at+16:], uint16(len(k)))
	s.setField(at, 20, uint32(len(v)))
	copy(s.log[at+rowHeader:], k)
	copy(s.log[at+rowHeader+len(k):], v)
	*s.bucket(hash) = uint32(at/rowAlign) + 1
	s.rows++
}

// firstLog is how long a log is at first.
const firstLog = 2 << 10

// grow makes the log twice as long, before it has ever gone around its end, and the index with it.
func (s *rowShard) grow() {
	log := make([]byte, min(max(2*len(s.log), firstLog), s.size))
	copy(log, s.log)
	s.log = log
	buckets := 1
	for buckets < len(s.log)/bytesPerBucket {
		buckets *= 2
	}
	if buckets == len(s.buckets) {
		return
	}
	s.buckets = make([]uint32, buckets)
	for at := s.tail; at < s.head; at += int(s.field(at, 0)) {
		if binary.LittleEndian.Uint16(s.log[at+16:]) != 0 {
			b := s.bucket(s.field(at, 8))
			s.setField(at, 4, *b)
			*b = uint32(at/rowAlign) + 1
		}
	}
}

// room makes room for a row of n bytes at the head, and returns where that is. The oldest rows go.
func (s *rowShard) room(n int) int {
	if s.head+n > s.size { // the rest of the log becomes a row that is void
		s.evict(s.size - s.head)
		if rest := s.size - s.head; rest >= rowHeader {
			s.setField(s.head, 0, uint32(rest))
			binary.LittleEndian.PutUint16(s.log[s.head+16:], 0)
			s.rows++
		}
		s.head = 0
	}
	s.evict(n)
	at := s.head
	s.head += n
	return at
}

// evict drops the oldest rows until the next n bytes from head on, which do not go around the end, are free.
func (s *rowShard) evict(n int) {
	for s.rows > 0 && s.tail >= s.head && s.tail < s.head+n {
		if s.size-s.tail < rowHeader {
			s.tail = 0 // too little for a row: the circle went on at the beginning
			continue
		}
		if binary.LittleEndian.Uint16(s.log[s.tail+16:]) != 0 {
			s.unlink(s.tail)
		}
		s.tail += int(s.field(s.tail, 0))
		s.rows--
		if s.tail == s.size {
			s.tail = 0
		}
	}
	if s.rows == 0 {
		s.tail = s.head
	}
}
