package store

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
)

const (
	slotA = slot.Slot(7)
	slotB = slot.Slot(8) // its span touches slotA's
	slotC = slot.Slot(300)
)

// has reports whether changes name a key.
func (c *Changes) has(k []byte) bool {
	return slices.ContainsFunc(c.Keys, func(o []byte) bool { return bytes.Equal(o, k) }) ||
		slices.ContainsFunc(c.Spans, func(s key.Span) bool { return s.Contains(k) })
}

// checkShape checks what holds of every Changes of a slot: keys ascend, spans ascend and do not touch, and none of it lies
// outside the data of the slot.
func checkShape(t interface {
	Helper()
	Errorf(string, ...any)
}, c Changes, s slot.Slot) {
	t.Helper()
	data := key.DataSpan(s)
	for i, k := range c.Keys {
		if !data.Contains(k) {
			t.Errorf("key %x is not data of slot %d", k, s)
		}
		if i > 0 && bytes.Compare(c.Keys[i-1], k) >= 0 {
			t.Errorf("keys %x and %x do not ascend", c.Keys[i-1], k)
		}
	}
	for i, sp := range c.Spans {
		if !data.Covers(sp) || sp.Empty() {
			t.Errorf("span %x to %x is empty or not data of slot %d", sp.Lo, sp.Hi, s)
		}
		if i > 0 && bytes.Compare(c.Spans[i-1].Hi, sp.Lo) >= 0 {
			t.Errorf("spans %d and %d touch", i-1, i)
		}
	}
}

// tracked is a tracker and what it must know: the keys whose records changed since the last Take.
type tracked struct {
	t       *Tracker
	changed map[string]bool
}

// TestTrackerMissesNothing compares trackers with the plainest model: the difference of the content before and after each
// batch. It covers every limit from one that holds no key at all to one that is never reached.
func TestTrackerMissesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		rapid.Check(t, func(t *rapid.T) { trackerMissesNothing(t, shared(options)) })
	})
}

// sharedStore and sharedMemory are one store each for all trials of a property: opening one costs more than a trial.
var (
	sharedStore  = sync.OnceValue(func() *Store { return openShared(testOptions) })
	sharedMemory = sync.OnceValue(func() *Store { return openShared(memoryOptions) })
)

func openShared(options func(vfs.FS) Options) *Store {
	st, err := Open(options(vfs.NewMem()))
	if err != nil {
		panic(err)
	}
	return st
}

// shared is the shared store of an engine.
func shared(options func(vfs.FS) Options) *Store {
	if o := options(vfs.NewMem()); o.Sim != nil {
		return sharedMemory()
	}
	return sharedStore()
}

func trackerMissesNothing(t *rapid.T, st *Store) {
	wipe := st.NewBatch()
	wipe.DeleteRange(key.UserSpan())
	st.Commit(wipe)
	limit := rapid.SampledFrom([]int{0, 60, 200, 500, 1 << 20}).Draw(t, "limit")
	trackers := map[slot.Slot]*tracked{}
	var slots []slot.Slot
	for _, s := range rapid.SampledFrom([][]slot.Slot{{slotA}, {slotA, slotB}, {slotB, slotC}}).Draw(t, "tracked") {
		trackers[s] = &tracked{t: st.Track(s, limit), changed: map[string]bool{}}
		slots = append(slots, s)
	}
	defer func() {
		for _, s := range slots {
			st.Untrack(trackers[s].t)
		}
	}()
	anySlot := rapid.SampledFrom([]slot.Slot{slotA, slotB, slotC})
	anyKey := func(label string) []byte {
		s := anySlot.Draw(t, label+" slot")
		n := rapid.IntRange(0, 9).Draw(t, label)
		switch rapid.IntRange(0, 5).Draw(t, label+" kind") {
		case 0:
			return key.AppendBook(nil, s, fmt.Sprint(n))
		case 1:
			return key.AppendExpiry(nil, s, int64(n), []byte("k"))
		default:
			return numbered(s, n)
		}
	}
	var before map[string]string
	take := func(s slot.Slot) Changes {
		c := trackers[s].t.Take()
		checkShape(t, c, s)
		for _, k := range slices.Sorted(maps.Keys(trackers[s].changed)) {
			if !c.has([]byte(k)) {
				t.Fatalf("slot %d: the change of %x is in no Take (keys %x, spans %x)", s, k, c.Keys, c.Spans)
			}
		}
		clear(trackers[s].changed)
		return c
	}
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		if rapid.IntRange(0, 3).Draw(t, "step") == 0 {
			s := slots[rapid.IntRange(0, len(slots)-1).Draw(t, "take")]
			c := take(s)
			if rapid.Bool().Draw(t, "put back") {
				for _, k := range c.Keys {
					trackers[s].changed[string(k)] = true
				}
				for k := range before {
					if c.has([]byte(k)) {
						trackers[s].changed[k] = true
					}
				}
				trackers[s].t.Put(c)
			}
			continue
		}
		b := st.NewBatch()
		touched := map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "operations") {
			switch rapid.IntRange(0, 4).Draw(t, "operation") {
			case 0:
				k := anyKey("delete")
				b.Delete(k)
				touched[string(k)] = true
			case 1:
				span := key.Span{Lo: anyKey("low"), Hi: anyKey("high")}
				if bytes.Compare(span.Lo, span.Hi) > 0 {
					span.Lo, span.Hi = span.Hi, span.Lo
				}
				if rapid.Bool().Draw(t, "whole slot") {
					span = key.SlotSpan(anySlot.Draw(t, "slot"))
				}
				b.DeleteRange(span)
				for k := range before {
					if span.Contains([]byte(k)) {
						touched[k] = true
					}
				}
			default:
				k := anyKey("set")
				b.Set(k, make([]byte, rapid.IntRange(0, 40).Draw(t, "length")))
				touched[string(k)] = true
			}
		}
		st.Commit(b)
		before = contentForRapid(t, st)
		for k := range touched {
			s, part, _, ok := key.Split([]byte(k))
			if tr := trackers[s]; ok && part != key.Book && tr != nil {
				tr.changed[k] = true
			}
		}
		for _, s := range slots {
			keys, spans, lagBytes := trackers[s].t.Lag()
			if keys+spans == 0 && len(trackers[s].changed) > 0 {
				t.Fatalf("slot %d: %d keys changed but nothing waits", s, len(trackers[s].changed))
			}
			if lagBytes < 0 {
				t.Fatalf("the lag is %d bytes", lagBytes)
			}
		}
	}
	for _, s := range slots {
		take(s)
		if c := trackers[s].t.Take(); !c.Empty() {
			t.Fatalf("Take left something: %+v", c)
		}
		if keys, spans, lagBytes := trackers[s].t.Lag(); keys+spans != 0 || lagBytes != 0 {
			t.Fatalf("lag after Take: %d keys, %d spans, %d bytes", keys, spans, lagBytes)
		}
	}
}

func contentForRapid(t *rapid.T, st *Store) map[string]string {
	it, err := st.NewIter(key.UserSpan())
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	out := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key())] = ""
	}
	return out
}

// TestTrackerNamesOnlyChanges: below the limit a tracker names what was written and nothing else.
func TestTrackerNamesOnlyChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		tr := st.Track(slotA, 1<<20)
		b := st.NewBatch()
		b.Set(numbered(slotA, 1), []byte("v"))
		b.Set(numbered(slotB, 1), []byte("v"))
		b.Set(key.AppendBook(nil, slotA, "cursor"), []byte("v"))
		b.Set(key.Ownership(slotA), []byte("v"))
		b.Set(key.Job(1), []byte("v"))
		b.Delete(numbered(slotA, 2))
		b.DeleteRange(key.KindSpan(slotA, key.Book))
		b.DeleteRange(key.SlotSpan(slotB))
		st.Commit(b)
		c := tr.Take()
		want := [][]byte{numbered(slotA, 1), numbered(slotA, 2)}
		sort.Slice(want, func(i, j int) bool { return bytes.Compare(want[i], want[j]) < 0 })
		if len(c.Spans) != 0 || !slices.EqualFunc(c.Keys, want, bytes.Equal) {
			t.Errorf("keys %x, spans %x", c.Keys, c.Spans)
		}

		b = st.NewBatch()
		b.DeleteRange(key.SlotSpan(slotA))
		b.DeleteRange(key.UserSpan())
		st.Commit(b)
		if c = tr.Take(); len(c.Keys) != 0 || len(c.Spans) != 1 || !bytes.Equal(c.Spans[0].Lo, key.DataSpan(slotA).Lo) || !bytes.Equal(c.Spans[0].Hi, key.DataSpan(slotA).Hi) {
			t.Errorf("a flush: keys %x, spans %x", c.Keys, c.Spans)
		}
	})
}

func TestLag(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		tr := st.Track(slotA, 1<<20)
		want := func(keys, spans int, lagBytes int64) {
			t.Helper()
			if k, s, b := tr.Lag(); k != keys || s != spans || b != lagBytes {
				t.Errorf("%d keys, %d spans, %d bytes; want %d, %d, %d", k, s, b, keys, spans, lagBytes)
			}
		}
		write := func(i, size int) {
			b := st.NewBatch()
			b.Set(numbered(slotA, i), make([]byte, size))
			st.Commit(b)
		}
		keyLen := int64(len(numbered(slotA, 0)))
		want(0, 0, 0)
		write(1, 100)
		want(1, 0, keyLen+100)
		write(1, 30) // a hot key costs what it is now
		want(1, 0, keyLen+30)
		write(2, 0)
		want(2, 0, 2*keyLen+30)
		b := st.NewBatch()
		b.Delete(numbered(slotA, 1))
		st.Commit(b)
		want(2, 0, 2*keyLen)
		b = st.NewBatch()
		b.DeleteRange(key.KindSpan(slotA, key.Element))
		st.Commit(b)
		want(2, 1, 2*keyLen)
		c := tr.Take()
		want(0, 0, 0)
		write(1, 50)
		tr.Put(c) // what was written since knows its size better
		want(2, 1, 2*keyLen+50)
	})
}

// TestSpansAreBounded: range deletes all over a slot, and keys that arrive in order, do not add up without end.
func TestSpansAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		element := func(i int) key.Span {
			return key.ElementSpan(slotA, key.Element, key.Generation(fmt.Appendf(nil, "%012d", 2*i)))
		}
		tr := st.Track(slotA, 1<<20)
		for i := range 5 * maxSpans {
			b := st.NewBatch()
			b.DeleteRange(element(i))
			st.Commit(b)
			if _, spans, _ := tr.Lag(); spans > maxSpans {
				t.Fatalf("%d spans after %d range deletes", spans, i+1)
			}
		}
		c := tr.Take()
		checkShape(t, c, slotA)
		for i := range 5 * maxSpans {
			if !c.has(element(i).Lo) {
				t.Fatalf("range delete %d was lost", i)
			}
		}
		tr = st.Track(slotB, 4*(keyOverhead+40))
		for i := range 20 * maxSpans {
			b := st.NewBatch()
			b.Set(key.AppendElement(nil, slotB, key.Element, key.Generation(fmt.Appendf(nil, "%012d", i))), nil)
			st.Commit(b)
		}
		if keys, spans, _ := tr.Lag(); spans > maxSpans || keys > 4 {
			t.Errorf("%d keys, %d spans", keys, spans)
		}
		c = tr.Take()
		for i := range 20 * maxSpans {
			if k := key.AppendElement(nil, slotB, key.Element, key.Generation(fmt.Appendf(nil, "%012d", i))); !c.has(k) {
				t.Fatalf("key %d was lost", i)
			}
		}
	})
}

func TestUntrack(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		st := openOn(t, options)
		first := st.Track(slotA, 1<<20)
		second := st.Track(slotA, 1<<20) // replaces the first
		st.Untrack(first)                // says nothing about the second
		b := st.NewBatch()
		b.Set(numbered(slotA, 1), nil)
		st.Commit(b)
		if c := first.Take(); !c.Empty() {
			t.Error("a replaced tracker went on")
		}
		if c := second.Take(); len(c.Keys) != 1 {
			t.Error("the tracker that replaced it does not work")
		}
		st.Untrack(second)
		st.Untrack(second)
		b = st.NewBatch()
		b.Set(numbered(slotA, 1), nil)
		st.Commit(b)
		if c := second.Take(); !c.Empty() {
			t.Error("an untracked slot is tracked")
		}
		if n := st.trackers.count.Load(); n != 0 {
			t.Errorf("%d trackers are counted", n)
		}
	})
}

// cutGap says what the trial of a cut leaves open, by the words of the mutants.
type cutGap string

const (
	noGap    cutGap = ""
	trackGap cutGap = "tracking starts after the snapshot, and not under one lock"
	roundGap cutGap = "the round's snapshot is opened before the changes are taken"
)

// copyWhileWriting moves a slot's content by cut, rounds and a final round under the lock, while writers go on, and reports how
// many records of the copy are wrong in the end.
func copyWhileWriting(t *testing.T, st *Store, seed uint64, gap cutGap) int {
	t.Helper()
	wipe := st.NewBatch()
	wipe.DeleteRange(key.SlotSpan(slotA))
	st.Commit(wipe)
	var lock sync.Mutex // of the slot: writers hold it over commit and track
	var writers sync.WaitGroup
	var writing atomic.Int32
	const records, writes = 20, 60
	for w := range 2 {
		writers.Add(1)
		writing.Add(1)
		go func() {
			defer writers.Done()
			defer writing.Add(-1)
			r := seeded(seed<<8 | uint64(w))
			for i := range writes {
				b := st.NewBatch()
				switch k := numbered(slotA, r.IntN(records)); r.IntN(8) {
				case 0:
					b.DeleteRange(key.Span{Lo: k, Hi: append(k, 0)})
				case 1, 2:
					b.Delete(k)
				default:
					b.Set(k, fmt.Appendf(nil, "%d-%d", w, i))
				}
				lock.Lock()
				st.Commit(b)
				lock.Unlock()
			}
		}()
	}
	// meanwhile lets the writers get on, so that a gap is one whatever the scheduler does.
	meanwhile := func() {
		for at := st.Last(); st.Last() < at+5 && writing.Load() > 0; {
			runtime.Gosched()
		}
	}
	var tr *Tracker
	var snap *Snapshot
	meanwhile()
	if gap == trackGap {
		snap = st.NewSnapshot()
		meanwhile()
		tr = st.Track(slotA, 1<<20)
	} else {
		lock.Lock()
		tr = st.Track(slotA, 1<<20)
		snap = st.NewSnapshot()
		lock.Unlock()
	}
	defer st.Untrack(tr)
	got := content(t, snap, key.DataSpan(slotA))
	snap.Close()
	round := func() {
		var c Changes
		if gap == roundGap {
			snap = st.NewSnapshot()
			meanwhile()
			c = tr.Take()
		} else {
			c = tr.Take()
			meanwhile() // harmless this way round: what is written now is sent twice
			snap = st.NewSnapshot()
		}
		defer snap.Close()
		for _, sp := range c.Spans {
			for k := range got {
				if sp.Contains([]byte(k)) {
					delete(got, k)
				}
			}
			maps.Copy(got, content(t, snap, sp))
		}
		for _, k := range c.Keys {
			v, found, err := snap.Get(k)
			if err != nil {
				t.Error(err)
			}
			if delete(got, string(k)); found {
				got[string(k)] = string(v)
			}
		}
	}
	for range 6 {
		round()
	}
	writers.Wait()
	round() // the final one, with writers paused
	want := content(t, st, key.DataSpan(slotA))
	wrong := 0
	for i := range records {
		if k := numbered(slotA, i); got[string(k)] != want[string(k)] {
			wrong++
		}
	}
	return wrong
}

// TestCutLosesNoUpdate: with tracking switched on and the snapshot opened in one step of the writers' lock, and the changes of
// a round taken before its snapshot is opened, a copy made while others write ends equal. Any gap loses updates, which
// shows that the trials could notice.
func TestCutLosesNoUpdate(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		const trials = 300
		for seed := range uint64(trials) {
			if n := copyWhileWriting(t, shared(options), seed, noGap); n != 0 {
				t.Fatalf("trial %d: %d records of the copy are wrong", seed, n)
			}
		}
		for _, gap := range []cutGap{trackGap, roundGap} {
			lost := 0
			for seed := uint64(0); seed < trials && lost == 0; seed++ {
				if copyWhileWriting(t, shared(options), seed, gap) != 0 {
					lost++
					t.Logf("%s: an update was lost in trial %d", gap, seed)
				}
			}
			if lost == 0 {
				t.Errorf("%s: no trial lost an update", gap)
			}
		}
	})
}
