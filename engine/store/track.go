package store

import (
	"bytes"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// Changes is what a tracker collected: the keys that were set or deleted, in key order, and the spans in which anything
// may have changed. A key may also lie in a span.
type Changes struct {
	Keys  [][]byte
	Spans []key.Span
	// Charged is what the keys take of the budget of the tracker that they were taken from. Who has taken them returns it when they are gone, or
	// before they are put back.
	Charged int
}

// Empty reports whether nothing changed.
func (c *Changes) Empty() bool { return len(c.Keys) == 0 && len(c.Spans) == 0 }

// Tracker collects which physical keys and spans of one slot changed since the last Take. It holds no values: whoever
// sends a change reads what the key is by then, so that overwriting a key costs nothing more.
//
// Bounded: over its limit, or where its budget has no room, the keys collapse into the span between the smallest and the greatest of them; over
// maxSpans the spans collapse into one.
type Tracker struct {
	slot   slot.Slot
	limit  int
	within Within

	mu       sync.Mutex
	over     bool           // it was switched off: what comes late is for nobody
	charged  int            // to the budget, for keys
	keys     map[string]int // to the size in bytes of what was written last
	keyBytes int            // memory held by keys
	lagBytes int64          // sum of the sizes in keys
	spans    []key.Span
}

// trackers finds the tracker of a slot. The count lets a commit skip the search when nothing is tracked.
type trackers struct {
	count  atomic.Int32
	mu     sync.RWMutex
	bySlot map[slot.Slot]*Tracker
}

// Track switches on the tracking of a slot. limitBytes bounds the memory of the keys that it holds. The caller holds the
// slot's lock exclusively over Track and the opening of the snapshot that the changes are relative to: any gap between the
// two, either way round, loses updates.
func (s *Store) Track(n slot.Slot, limitBytes int) *Tracker {
	return s.TrackWithin(n, limitBytes, Within{})
}

// TrackWithin is Track with a budget that other trackers share, beside the limit of this one.
func (s *Store) TrackWithin(n slot.Slot, limitBytes int, within Within) *Tracker {
	t := &Tracker{slot: n, limit: limitBytes, within: within, keys: map[string]int{}}
	s.trackers.mu.Lock()
	defer s.trackers.mu.Unlock()
	if s.trackers.bySlot == nil {
		s.trackers.bySlot = map[slot.Slot]*Tracker{}
	}
	if s.trackers.bySlot[n] == nil {
		s.trackers.count.Add(1)
	}
	s.trackers.bySlot[n] = t
	return t
}

// Untrack switches a tracker off, if it is still the one of its slot, and returns what it has of its budget.
func (s *Store) Untrack(t *Tracker) {
	t.mu.Lock()
	t.over = true
	t.drop()
	t.mu.Unlock()
	s.trackers.mu.Lock()
	defer s.trackers.mu.Unlock()
	if s.trackers.bySlot[t.slot] == t {
		delete(s.trackers.bySlot, t.slot)
		s.trackers.count.Add(-1)
	}
}

// trackedOp is a change of a batch that a tracker has to know of.
type trackedOp struct {
	t    *Tracker
	key  []byte
	hi   []byte // nil unless the op deletes a range
	size int
}

// collect lists the tracked changes of a batch before it is applied, while its bytes are still ours.
func (ts *trackers) collect(b *pebble.Batch) []trackedOp {
	if ts.count.Load() == 0 {
		return nil
	}
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	var out []trackedOp
	r := b.Reader()
	for {
		kind, k, v, ok, err := r.Next()
		if err != nil {
			panic(err) // the batch was built by this process
		}
		if !ok {
			return out
		}
		if kind == pebble.InternalKeyKindRangeDelete {
			out = ts.collectRange(out, k, v)
			continue
		}
		n, part, _, ok := key.Split(k)
		if !ok || part == key.Book {
			continue
		}
		if kind == pebble.InternalKeyKindDelete && (mutant.On(mutant.DeleteLost) || mutant.On(mutant.ElementLost) && part == key.Element) {
			continue
		}
		if t := ts.bySlot[n]; t != nil {
			out = append(out, trackedOp{t: t, key: bytes.Clone(k), size: len(k) + len(v)})
		}
	}
}

// collectRange finds the tracked slots that a range delete touches.
func (ts *trackers) collectRange(out []trackedOp, lo, hi []byte) []trackedOp {
	if mutant.On(mutant.RangeUntracked) {
		return out
	}
	slots := make([]slot.Slot, 0, len(ts.bySlot))
	for n := range ts.bySlot { //det:ok sorted below
		slots = append(slots, n)
	}
	sort.Slice(slots, func(i, j int) bool { return slots[i] < slots[j] })
	for _, n := range slots {
		data := key.DataSpan(n)
		from, to := maxBytes(lo, data.Lo), minBytes(hi, data.Hi)
		if bytes.Compare(from, to) < 0 {
			out = append(out, trackedOp{t: ts.bySlot[n], key: bytes.Clone(from), hi: bytes.Clone(to)})
		}
	}
	return out
}

func (ts *trackers) record(ops []trackedOp) {
	for _, op := range ops {
		op.t.mu.Lock()
		if op.hi != nil {
			op.t.addSpan(key.Span{Lo: op.key, Hi: op.hi})
		} else {
			op.t.addKey(op.key, op.size)
		}
		op.t.mu.Unlock()
	}
}

// ingested records that tables with records of a span were taken in.
func (ts *trackers) ingested(span key.Span) {
	if ts.count.Load() == 0 {
		return
	}
	ts.mu.RLock()
	ops := ts.collectRange(nil, span.Lo, span.Hi)
	ts.mu.RUnlock()
	ts.record(ops)
}

// keyOverhead is what a map entry costs beside the bytes of the key, roughly.
const keyOverhead = 48

// keyCharge is what a key costs a budget beside its bytes: an entry of a map, or of Changes, at its worst.
const keyCharge = 80

// charge takes a key from the budget, if there is room.
func (t *Tracker) charge(k []byte) bool {
	n := (len(k) + keyCharge) * max(t.within.Times, 1)
	if !t.within.Budget.take(n, t.charged) {
		return false
	}
	t.charged += n
	return true
}

// drop forgets all keys. t.mu is held.
func (t *Tracker) drop() {
	t.keys = map[string]int{} // not cleared: a map keeps the room that it once had
	t.keyBytes = 0
	t.within.Budget.Return(t.charged)
	t.charged = 0
}

func (t *Tracker) addKey(k []byte, size int) {
	if t.over {
		return
	}
	old, known := t.keys[string(k)]
	if !known {
		if t.keyBytes += len(k) + keyOverhead; t.keyBytes > t.limit || !t.charge(k) {
			if mutant.On(mutant.TrackOverflow) {
				t.keyBytes -= len(k) + keyOverhead
				return
			}
			t.collapse(k)
			return
		}
	}
	t.keys[string(k)] = size
	t.lagBytes += int64(size - old)
}

// collapse replaces all keys, and k, by the span from the smallest to the greatest.
func (t *Tracker) collapse(k []byte) {
	lo, hi := bytes.Clone(k), bytes.Clone(k)
	for other := range t.keys { //det:ok minimum and maximum do not depend on order
		lo, hi = minBytes(lo, []byte(other)), maxBytes(hi, []byte(other))
	}
	t.drop()
	t.addSpan(key.Span{Lo: lo, Hi: append(hi, 0)})
}

// maxSpans is how many disjoint spans a tracker holds. Each costs a walk of its own, a message at least, and its bounds' memory:
// many range deletes, or keys that arrive in order and collapse again and again, would otherwise add up without end.
const maxSpans = 256

// addSpan adds a span and keeps spans sorted and disjoint. lagBytes keeps what collapsed keys held: a lower bound.
func (t *Tracker) addSpan(s key.Span) {
	t.spans = append(t.spans, s)
	sort.Slice(t.spans, func(i, j int) bool { return bytes.Compare(t.spans[i].Lo, t.spans[j].Lo) < 0 })
	merged := t.spans[:1]
	for _, s := range t.spans[1:] {
		if top := &merged[len(merged)-1]; bytes.Compare(s.Lo, top.Hi) <= 0 {
			top.Hi = maxBytes(top.Hi, s.Hi)
		} else {
			merged = append(merged, s)
		}
	}
	if len(merged) > maxSpans {
		merged[0].Hi = merged[len(merged)-1].Hi
		merged = merged[:1]
	}
	t.spans = merged
}

// Take returns what changed since the last Take and leaves the tracker empty. Open the snapshot at which the changes are
// read after Take, never before: a change between the two would be in neither.
func (t *Tracker) Take() Changes {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := Changes{Keys: t.sorted(), Spans: t.spans, Charged: t.charged}
	t.keys, t.spans = map[string]int{}, nil
	t.keyBytes, t.lagBytes, t.charged = 0, 0, 0
	return c
}

// Put gives back changes that were taken but did not arrive.
func (t *Tracker) Put(c Changes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range c.Spans {
		t.addSpan(s)
	}
	for _, k := range c.Keys {
		if _, known := t.keys[string(k)]; !known { // else it was written since, which says more of its size
			t.addKey(k, len(k))
		}
	}
}

// Lag says how much is waiting to be taken: keys and spans, and the bytes of the keys' records (spans count with what
// their keys held, a lower bound).
func (t *Tracker) Lag() (keys, spans int, lagBytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.keys), len(t.spans), t.lagBytes
}

// Keys is the keys that wait to be taken, ascending; nil if they are more than most.
func (t *Tracker) Keys(most int) [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) > most {
		return nil
	}
	return t.sorted()
}

// sorted copies the keys in their order. t.mu is held.
func (t *Tracker) sorted() [][]byte {
	keys := make([][]byte, 0, len(t.keys))
	for k := range t.keys { //det:ok sorted below
		keys = append(keys, []byte(k))
	}
	sort.Slice(keys, func(i, j int) bool { return bytes.Compare(keys[i], keys[j]) < 0 })
	return keys
}

// Memory says how many bytes of keys the tracker holds, and how many it may.
func (t *Tracker) Memory() (bytes, limit int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keyBytes, t.limit
}

func minBytes(a, b []byte) []byte {
	if bytes.Compare(a, b) <= 0 {
		return a
	}
	return b
}

func maxBytes(a, b []byte) []byte {
	if bytes.Compare(a, b) >= 0 {
		return a
	}
	return b
}
