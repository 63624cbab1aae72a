package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// TestSmallCacheHoldsBlocks: memtables larger than the block cache leave it room.
func TestSmallCacheHoldsBlocks(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.CacheBytes, o.RowCacheBytes, o.MemTableBytes = 2<<20, -1, 4<<20
	st := mustOpen(t, o)
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	db := st.kv.(*pebbleKV).db
	value := make([]byte, 1000)
	for i := 0; db.Metrics().Flush.Count < 4; i++ { // until the memtables have their full size
		batch := st.NewBatch()
		batch.Set(numbered(slotA, i), value)
		st.Commit(batch)
	}
	st.Flush()
	for i := range 1000 {
		if _, found, err := st.Get(numbered(slotA, i)); !found || err != nil {
			t.Fatal(found, err)
		}
	}
	inRow := 0 // reads that found all blocks in the cache, one after another; a compaction that is under way may push some out
	for range 10_000 {
		before := db.Metrics().BlockCache.Misses
		if _, found, err := st.Get(numbered(slotA, 500)); !found || err != nil {
			t.Fatal(found, err)
		}
		if inRow++; db.Metrics().BlockCache.Misses != before {
			inRow = 0
		}
		if inRow == 100 {
			return
		}
	}
	t.Error("no block of a record that is read over and over stays in the cache")
}

// BenchmarkGetUncached reads uniformly drawn records of more data than the caches hold, from files that the system may cache: so many times as
// much as block cache and row cache together, which have half each.
func BenchmarkGetUncached(b *testing.B) {
	const records, valueBytes = 400_000, 128
	const data = records * (valueBytes + 32)
	keyOf := func(i int) []byte {
		user := fmt.Appendf(nil, "key:%012d", i)
		return key.AppendRecord(nil, slot.OfKey(user), user)
	}
	for _, times := range []int{32, 8, 2} {
		b.Run(fmt.Sprintf("times=%d", times), func(b *testing.B) {
			o := testOptions(vfs.Default)
			o.Dir = b.TempDir()
			o.CacheBytes, o.RowCacheBytes, o.MemTableBytes = int64(data/times/2), int64(data/times/2), 4<<20
			st := mustOpen(b, o)
			defer func() {
				if err := st.Close(); err != nil {
					b.Error(err)
				}
			}()
			rng := rand.New(rand.NewPCG(1, 2))
			value := make([]byte, valueBytes) // half of it can be compressed
			for i := 0; i < records; {
				batch := st.NewBatch()
				for range 100 {
					for j := range valueBytes / 2 {
						value[j] = byte(rng.Uint32())
					}
					batch.Set(keyOf(i), value)
					i++
				}
				st.Commit(batch)
			}
			st.Flush()
			var dst []byte
			read := func() {
				var found bool
				var err error
				if dst, found, err = st.Append(dst[:0], keyOf(rng.IntN(records))); !found || err != nil {
					b.Fatal(found, err)
				}
			}
			for range 20_000 {
				read()
			}
			runtime.LockOSThread()
			b.ReportAllocs()
			b.ResetTimer()
			before := threadTime()
			for range b.N {
				read()
			}
			b.StopTimer()
			b.ReportMetric(float64(threadTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// rusageThread asks Linux for the calling thread; package syscall has no name for it.
const rusageThread = 1

// threadTime is the processor time of the thread, which says more than the clock on a machine that has other work.
func threadTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(rusageThread, &u) // it fails for a pointer that is none
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
