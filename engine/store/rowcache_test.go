package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
	"godwit/engine/slot"
)

func rowKey(i int) []byte {
	user := fmt.Appendf(nil, "key:%d", i)
	return key.AppendRecord(nil, slot.Slot(i%8), user)
}

// TestRowCacheIsTransparent: with caches of any size, reads see what was committed last, whatever is overwritten, deleted,
// dropped by spans or pushed out, and by batches so large that Pebble takes their bytes away.
func TestRowCacheIsTransparent(t *testing.T) {
	for _, size := range []int64{-1, minRowCache, 8 << 10, 64 << 10, 8 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			o := testOptions(vfs.NewMem())
			o.CacheBytes, o.MemTableBytes, o.RowCacheBytes = 1<<20, 256<<10, size
			st := mustOpen(t, o)
			defer mustClose(t, st)
			if (st.rows == nil) != (size < 0) {
				t.Fatalf("cache %v", st.rows)
			}
			random := rand.New(rand.NewPCG(uint64(size), 1))
			want := map[string][]byte{}
			const keys = 400
			for round := range 6000 {
				b := st.NewBatch()
				ops := 1 + random.IntN(4)
				if round%500 == 499 {
					ops = keys // more than half a memtable
				}
				for range ops {
					k := rowKey(random.IntN(keys))
					switch p := random.IntN(100); {
					case p < 1:
						sl, _, _, _ := key.Split(k)
						b.DeleteRange(key.DataSpan(sl))
						for other := range want {
							if key.DataSpan(sl).Contains([]byte(other)) {
								delete(want, other)
							}
						}
					case p < 20:
						b.Delete(k)
						delete(want, string(k))
					default:
						n := []int{0, 10, 10, 10, 100, 300, 700, maxRow}[random.IntN(8)]
						v := bytes.Repeat([]byte{byte(round), byte(round >> 8)}, n)
						b.Set(k, v)
						want[string(k)] = v
					}
				}
				st.Commit(b)
				for range 8 {
					k := rowKey(random.IntN(keys))
					got, found, err := st.Append([]byte("<"), k)
					w, there := want[string(k)]
					if err != nil || found != there || !bytes.Equal(got, append([]byte("<"), w...)) {
						t.Fatalf("round %d, key %q: %d bytes, %v, %v; want %d, %v", round, k, len(got), found, err, len(w), there)
					}
				}
			}
		})
	}
}

// TestRowCacheHits: what was read or written is found again, also when the log has gone around many times.
func TestRowCacheHits(t *testing.T) {
	c := newRowCache(64 << 10)
	value := make([]byte, 100)
	for i := range 10_000 {
		k := rowKey(i)
		if _, found, token := c.get(k, nil); found {
			t.Fatalf("row %d was there before it was", i)
		} else {
			c.fill(token, k, value)
		}
		for j := max(0, i-300); j <= i; j += 50 {
			if _, found, _ := c.get(rowKey(j), nil); !found {
				t.Fatalf("row %d is gone after %d", j, i)
			}
		}
	}
	rows := 0
	for i := range 10_000 {
		if _, found, _ := c.get(rowKey(i), nil); found {
			rows++
		}
	}
	if room := 64 << 10 / rowLen(rowKey(9999), value); rows < room*9/10 || rows > room {
		t.Fatalf("%d rows are held, there is room for %d", rows, room)
	}
}

// TestRowCacheFillsNothingStale: invariant 2, for each kind of write that can come between a miss and its fill.
func TestRowCacheFillsNothingStale(t *testing.T) {
	k := rowKey(1)
	sl, _, _, _ := key.Split(k)
	for name, write := range map[string]func(c *rowCache){
		"set":         func(c *rowCache) { c.write(sl, k, []byte("new"), true) },
		"delete":      func(c *rowCache) { c.write(sl, k, nil, false) },
		"range":       func(c *rowCache) { c.dropSpan(key.DataSpan(sl)) },
		"every range": func(c *rowCache) { c.dropSpan(key.UserSpan()) },
	} {
		c := newRowCache(64 << 10)
		_, _, token := c.get(k, nil)
		write(c)
		c.fill(token, k, []byte("old"))
		if v, found, _ := c.get(k, nil); string(v) == "old" {
			t.Errorf("%s: found %v %q", name, found, v)
		}
	}
}

// TestRowCacheKeepsToData: what is no record and no element is not held, and a span that meets no slot voids nothing.
func TestRowCacheKeepsToData(t *testing.T) {
	c := newRowCache(64 << 10)
	for _, k := range [][]byte{key.Named("id"), key.Ownership(3), key.AppendExpiry(nil, 3, 7, []byte("k")), key.AppendBook(nil, 3, "b"), {1}, nil} {
		_, _, token := c.get(k, nil)
		c.fill(token, k, []byte("v"))
		if _, found, _ := c.get(k, nil); found {
			t.Errorf("%x is held", k)
		}
	}
	k := key.AppendElement(nil, 9, key.Element, key.Generation{1})
	c.write(9, k, []byte("v"), true)
	for _, span := range []key.Span{key.OwnershipSpan(), key.DataSpan(8), {Lo: key.SlotSpan(10).Lo, Hi: key.UserSpan().Hi}} {
		c.dropSpan(span)
		if _, found, _ := c.get(k, nil); !found {
			t.Fatalf("%x dropped slot 9", span)
		}
	}
	c.dropSpan(key.Span{Lo: k, Hi: append(bytes.Clone(k), 0)})
	if _, found, _ := c.get(k, nil); found {
		t.Fatal("the row outlives its deletion")
	}
}

// TestRowCacheStress: readers that hold the lock of a key's slot see what was committed last: a value, or that the key was deleted, or
// its slot dropped.
func TestRowCacheStress(t *testing.T) {
	const keys, slots = 64, 8
	st := openMem(t)
	st.rows = newRowCache(minRowCache)
	var locks [slots]sync.RWMutex
	var writes [slots]uint64
	var latest [keys]uint64 // 0: there is none
	write := func(i int, what int) {
		b := st.NewBatch()
		switch sl := i % slots; {
		case what == 0:
			b.DeleteRange(key.DataSpan(slot.Slot(sl)))
			for j := sl; j < keys; j += slots {
				latest[j] = 0
			}
		case what < 30:
			b.Delete(rowKey(i))
			latest[i] = 0
		default:
			writes[sl]++
			latest[i] = writes[sl]
			b.Set(rowKey(i), fmt.Append(nil, latest[i]))
		}
		st.Commit(b)
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 5))
			for range 20_000 {
				i := random.IntN(keys)
				mu := &locks[i%slots]
				if random.IntN(4) == 0 {
					st.rows.touch([]uint64{hashOf(rowKey(i)), hashOf(rowKey(i + 1)), hashOf(rowKey(keys + i))})
				}
				if random.IntN(3) == 0 {
					mu.Lock()
					write(i, random.IntN(100))
					mu.Unlock()
					continue
				}
				mu.RLock()
				got, found, err := st.Get(rowKey(i))
				want := latest[i]
				mu.RUnlock()
				if err != nil || found != (want != 0) || found && !bytes.Equal(got, fmt.Append(nil, want)) {
					t.Errorf("key %d: %q, %v, want %d, %v", i, got, found, want, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestRowCacheTouch: touching rows, wherever they lie in a log, changes nothing, waits for no shard that is in use, and leaves no other locked.
func TestRowCacheTouch(t *testing.T) {
	for _, size := range []int64{minRowCache, 64 << 10, 8 << 20} {
		c := newRowCache(size)
		const keys = 1000
		var hashes []uint64
		for i := range 2 * keys { // half of them are not there
			hashes = append(hashes, hashOf(rowKey(i)))
		}
		c.touch(hashes) // before there is a log
		present := func() (found string) {
			for i := range 2 * keys {
				v, ok, _ := c.get(rowKey(i), nil)
				found += fmt.Sprintln(i, ok, v)
			}
			return found
		}
		for i := range keys {
			c.write(slot.Slot(i%8), rowKey(i), []byte("value"), true)
			c.touch(hashes[i : i+3]) // the newest row is the end of what is used of the log
		}
		before := present()
		if c.touch(hashes) == 0 {
			t.Errorf("%d bytes: nothing was read", size)
		}
		c.shards[0].mu.Lock()
		c.touch(hashes)
		if c.shards[0].mu.TryLock() {
			t.Errorf("%d bytes: another's lock was released", size)
		}
		c.shards[0].mu.Unlock()
		for i := range c.shards {
			if !c.shards[i].mu.TryLock() {
				t.Fatalf("%d bytes: shard %d of %d is left locked", size, i, len(c.shards))
			}
			c.shards[i].mu.Unlock()
		}
		if present() != before {
			t.Errorf("%d bytes: touching has changed what is there", size)
		}
	}
}

// BenchmarkRowCacheTouch looks up rows of a cache that is larger than the processor's, sixteen at a time.
func BenchmarkRowCacheTouch(b *testing.B) {
	c := newRowCache(128 << 20)
	const keys, together = 400_000, 16
	for i := range keys {
		c.write(slot.Slot(i%8), rowKey(i), make([]byte, 128), true)
	}
	for _, touch := range []bool{false, true} {
		b.Run(fmt.Sprintf("touch=%v", touch), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			var looked [together][]byte
			var hashes [together]uint64
			var dst []byte
			for b.Loop() {
				for i := range looked {
					looked[i] = key.AppendRecord(looked[i][:0], slot.Slot(i%8), strconv.AppendInt([]byte("key:"), int64(random.IntN(keys/8)*8+i%8), 10))
					hashes[i] = hashOf(looked[i])
				}
				if touch {
					c.touch(hashes[:])
				}
				for _, k := range looked {
					var found bool
					if dst, found, _ = c.get(k, dst[:0]); !found {
						b.Fatal("a row is missing")
					}
				}
			}
		})
	}
}

// TestApart: a batch that is written apart leaves nothing of its slot in the cache, neither what was there nor what it writes, and a read that
// missed before it does not fill in what it found.
func TestApart(t *testing.T) {
	s := openMem(t)
	old, other := key.AppendRecord(nil, 7, []byte("old")), key.AppendRecord(nil, 8, []byte("other"))
	b := s.NewBatch()
	b.Set(old, []byte("1"))
	b.Set(other, []byte("2"))
	s.Commit(b)
	_, _, token := s.rows.get(key.AppendRecord(nil, 7, []byte("missed")), nil)
	b = s.NewBatch()
	b.Apart(key.DataSpan(7))
	b.Set(old, []byte("3"))
	s.Commit(b)
	s.rows.fill(token, key.AppendRecord(nil, 7, []byte("missed")), []byte("stale"))
	for _, k := range [][]byte{old, key.AppendRecord(nil, 7, []byte("missed"))} {
		if v, found, _ := s.rows.get(k, nil); found {
			t.Errorf("%q is in the cache as %q", k, v)
		}
	}
	if v, found, _ := s.rows.get(other, nil); !found || string(v) != "2" {
		t.Errorf("the record of the other slot is %q, %v", v, found)
	}
	if v, found, err := s.Get(old); err != nil || !found || string(v) != "3" {
		t.Errorf("Get: %q, %v, %v", v, found, err)
	}
}
