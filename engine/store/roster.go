package store

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// roster says of records and elements that they are certainly not in the store, so that what is new costs no look: HSET, SADD and
// ZADD must find out whether a member is new, and SET whether it replaces something. Pebble would ask each memory table, over which
// there are no filters, and the filter of a table in each level.
//
// It is one Bloom filter of fixed size for the whole store, whose bits lie together, 512 for each key, so that a look costs one
// cache miss. Of a slot that is not *known* it says nothing. A store that is opened empty knows all slots, and one that is not none; a slot
// becomes known by being read once, a piece at a time, by those who have looked in vain (learn): who needs it pays for it. Nothing is taken
// out: bits of what was deleted make a look needless only until the filter is cleared, which it is when it is full.
//
// Invariants.
//  1. While a slot is known, every record and every element of it that is visible is in the filter. What commits is added before it is
//     visible, whether the slot is known or not, or the slot is forgotten before.
//  2. The gate is held shared from then until it is visible. Who begins to learn a slot, ends it or clears the filter holds it
//     exclusively for that moment: no commit is half way.
//  3. What it does depends on the order of calls only, never on addresses or time.
type roster struct {
	words []atomic.Uint64 // blocks of blockWords
	// unknown has a bit for each slot that is not known.
	unknown [slot.Count / 64]atomic.Uint64
	// clears counts how often the filter was cleared; it is odd from before the first bit goes until after the last.
	clears atomic.Uint32
	// added counts the keys that have changed the filter since it was cleared, and read those that were found in a slot.
	added, read atomic.Int64
	full        int64       // added at which the filter is cleared
	retired     atomic.Bool // there are too many keys in the store: it says nothing any more

	gate sync.RWMutex

	learner sync.Mutex   // held by who learns; guards next
	slot    atomic.Int32 // which is being learned, -1 if none; changed with the gate held exclusively
	stale   atomic.Bool  // that slot was forgotten since
	next    []byte       // from where on it is to be read
}

const (
	blockWords = 8 // a line of the processor's cache
	// probes is how many bits stand for a key, and bitsPerKey how many bits there are for each key of a full filter: it is wrong about
	// one of forty keys then, and of 170 when it is two thirds full; if its keys are elements of lists, some of which share a block (neighbours), about one of 25, and of 74.
	probes     = 5
	bitsPerKey = 8
	// learnRows is how many keys are read at once: it takes about as long as the look in vain that it follows.
	learnRows = 64
)

// newRoster makes a roster of so many bytes, which knows all slots or none.
func newRoster(size int64, known bool) *roster {
	blocks := max(size/(8*blockWords), 1)
	r := &roster{words: make([]atomic.Uint64, blocks*blockWords), full: blocks * blockWords * 64 / bitsPerKey}
	r.slot.Store(-1)
	if !known {
		r.forgetAll()
	}
	return r
}

// openRoster makes a roster for a store that was just opened.
func openRoster(size int64, from reader) (*roster, error) {
	it, err := from.newIter(key.UserSpan())
	if err != nil {
		return nil, err
	}
	empty := !it.First()
	return newRoster(size, empty), it.Close()
}

// place is the block of a key and the bits in it, as the first and the step to the next.
func (r *roster) place(k []byte) (block []atomic.Uint64, first, step uint32) {
	h := hashOf(k)
	at := r.at(h)
	return r.words[at : at+blockWords : at+blockWords], uint32(h), uint32(h)>>9 | 1
}

// at is where the block of a hash begins.
func (r *roster) at(h uint64) uint64 {
	return (h >> 32) * uint64(len(r.words)/blockWords) >> 32 * blockWords
}

// touch brings the places of keys, given by their hashes, into the processor's cache, all at once, as rowCache.touch does with rows.
func (r *roster) touch(hashes []uint64) (read uint32) {
	for _, h := range hashes {
		read += uint32(r.words[r.at(h)].Load())
	}
	return read
}

// absent reports whether a key is certainly not in the store. helpless says that it could not know, and should learn if a look shows that
// the key is not there.
func (r *roster) absent(k []byte) (absent, helpless bool) {
	sl, ok := cached(k)
	if !ok || r.retired.Load() {
		return false, false
	}
	clears := r.clears.Load()
	if r.unknown[sl/64].Load()&(1<<(sl%64)) != 0 {
		return false, true
	}
	block, bit, step := r.place(k)
	for range probes {
		if block[bit>>6&(blockWords-1)].Load()&(1<<(bit&63)) == 0 {
			return clears&1 == 0 && r.clears.Load() == clears, false
		}
		bit += step
	}
	return false, r.added.Load() > r.full
}

// add puts a key into the filter and reports whether that has changed it.
func (r *roster) add(k []byte) (isNew bool) {
	block, bit, step := r.place(k)
	for range probes {
		if w, mask := &block[bit>>6&(blockWords-1)], uint64(1)<<(bit&63); w.Load()&mask == 0 {
			w.Or(mask)
			isNew = true
		}
		bit += step
	}
	if isNew {
		r.added.Add(1)
	}
	return isNew
}

// committing takes in a batch before it becomes visible. The caller calls committed when it is.
func (r *roster) committing(b *Batch) {
	r.gate.RLock()
	if b.apart.Hi != nil {
		r.forget(b.apart)
		return
	}
	ops := b.b.Reader()
	for {
		kind, k, _, ok, err := ops.Next()
		if err != nil {
			panic(err) // the batch was built by this process
		}
		if !ok {
			return
		}
		if kind != pebble.InternalKeyKindSet {
			continue
		}
		if _, ok := cached(k); ok {
			r.add(k)
		}
	}
}

// ingesting takes in that records of a span are about to become visible. The caller calls committed when they are.
func (r *roster) ingesting(span key.Span) {
	r.gate.RLock()
	r.forget(span)
}

func (r *roster) committed() { r.gate.RUnlock() }

// forget makes the slots of a span unknown. The gate is held.
func (r *roster) forget(span key.Span) {
	first, last := slotsOf(span)
	for sl := first; sl <= last; sl++ {
		if w, bit := &r.unknown[sl/64], uint64(1)<<(sl%64); w.Load()&bit == 0 {
			w.Or(bit)
		}
	}
	if at := int(r.slot.Load()); first <= at && at <= last {
		r.stale.Store(true)
	}
}

func (r *roster) forgetAll() {
	for i := range r.unknown {
		r.unknown[i].Store(^uint64(0))
	}
}

// learn clears the filter if it is full, and reads a piece of a slot that is not known: the one that somebody has begun with, or that of k. It
// gives way to whoever learns or commits at the moment, and to errors of the store: the next one tries again.
func (r *roster) learn(k []byte, from reader) {
	if !r.learner.TryLock() {
		return
	}
	defer r.learner.Unlock()
	if r.added.Load() > r.full && !r.clear() {
		return
	}
	sl := slot.Slot(r.slot.Load())
	if r.slot.Load() < 0 || r.stale.Load() {
		if sl, _, _, _ = key.Split(k); !r.begin(sl) {
			return
		}
	}
	span := key.DataSpan(sl)
	if r.next != nil {
		span.Lo = r.next
	}
	it, err := from.newIter(span)
	if err != nil {
		return
	}
	rows, ok := 0, it.First()
	for ; ok && rows < learnRows; ok = it.Next() {
		if _, ok := cached(it.Key()); ok && r.add(it.Key()) {
			r.read.Add(1)
		}
		rows++
	}
	if ok {
		r.next = append(r.next[:0], it.Key()...)
	}
	if it.Close() == nil && !ok {
		r.end(sl)
	}
}

// begin begins to learn a slot.
func (r *roster) begin(sl slot.Slot) bool {
	if !r.gate.TryLock() {
		return false
	}
	defer r.gate.Unlock()
	r.slot.Store(int32(sl))
	r.stale.Store(false)
	r.next = nil
	return true
}

// end makes the slot that was learned known, unless it was forgotten meanwhile.
func (r *roster) end(sl slot.Slot) {
	if !r.gate.TryLock() {
		return
	}
	defer r.gate.Unlock()
	r.slot.Store(-1)
	if !r.stale.Load() {
		r.unknown[sl/64].And(^(uint64(1) << (sl % 64)))
	}
}

// clear empties the filter, and all slots have to be learned anew: what is in the store now may be less than what was added. If that
// was mostly read from the store, it will not be less.
func (r *roster) clear() bool {
	if !r.gate.TryLock() {
		return false
	}
	defer r.gate.Unlock()
	if r.read.Load() > r.full/2 {
		r.retired.Store(true)
		return false
	}
	r.clears.Add(1)
	r.forgetAll()
	for i := range r.words {
		r.words[i].Store(0)
	}
	r.clears.Add(1)
	r.added.Store(0)
	r.read.Store(0)
	r.slot.Store(-1)
	return true
}
