package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"godwit/engine/key"
)

// TestManyRangeDeletesAreFlushed: range deletes do not gather in the memory table, where each read after a write of one pays for all.
func TestManyRangeDeletesAreFlushed(t *testing.T) {
	st := openMem(t)
	p, ok := st.kv.(*pebbleKV)
	if !ok {
		t.Fatalf("the store is on %T, not on Pebble", st.kv)
	}
	drop := func(n int) {
		for i := range n {
			b := st.NewBatch()
			lo := binary.BigEndian.AppendUint32([]byte("drop"), uint32(i))
			b.DeleteRange(key.Span{Lo: lo, Hi: append(lo[:len(lo):len(lo)], 0)})
			st.Commit(b)
		}
	}
	drop(maxRangeDeletes - 1)
	if n := p.db.Metrics().Flush.Count; n != 0 {
		t.Fatalf("%d flushes after %d range deletes", n, maxRangeDeletes-1)
	}
	drop(1)
	for began := time.Now(); p.db.Metrics().Flush.Count == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("no flush after %d range deletes", maxRangeDeletes)
		}
	}
}

// TestPressure: a store whose flushes are held up says so before writes have to wait for them, and says it no more when they are done.
func TestPressure(t *testing.T) {
	hold := make(chan struct{})
	o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			<-hold
		}
		return nil
	})))
	o.MemTableBytes = 1 << 20
	st, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if why := st.Pressure(); why != "" {
		t.Fatalf("a new store: %s", why)
	}
	value := make([]byte, 32<<10)
	written := 0
	for ; st.Pressure() == ""; written += len(value) {
		if written > 4*int(o.MemTableBytes) {
			t.Fatalf("no pressure after %d bytes", written)
		}
		b := st.NewBatch()
		b.Set(binary.BigEndian.AppendUint32([]byte("fill"), uint32(written)), value)
		st.Commit(b)
	}
	if why := st.Pressure(); !strings.Contains(why, "MB in memory wait to be written") || written < 2*int(o.MemTableBytes) {
		t.Errorf("%q after %d bytes", why, written)
	}
	close(hold)
	if err := st.kv.(*pebbleKV).db.Flush(); err != nil { // returns when all memory tables are written
		t.Fatal(err)
	}
	if why := st.Pressure(); why != "" {
		t.Errorf("when all is written: %s", why)
	}
}

func BenchmarkPressure(b *testing.B) {
	st := openMem(b)
	for b.Loop() {
		st.Pressure()
	}
}

// TestSimulatedStoreFlushesItself: Pebble begins no log, and so no flush, by a commit to a simulated store, but at the moments that the store chooses, and with
// large commits nothing goes on when Commit has returned.
func TestSimulatedStoreFlushesItself(t *testing.T) {
	logs, asked, large := 0, 0, 0
	o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite) && strings.HasSuffix(op.Path, ".log") {
			logs++
		}
		return nil
	})))
	o.Sim = &Sim{IgnoreLogSync: func(bool) {}, Caches: NewCaches(), MayFlush: func() bool { asked++; return true }}
	st := mustOpen(t, o)
	defer mustClose(t, st)
	db := st.kv.(*pebbleKV).db
	rng := rand.New(rand.NewPCG(1, 2))
	commit := func(records int) {
		b := st.NewBatch()
		for range records {
			b.Set(fmt.Appendf(nil, "%032x", rng.Uint64()), []byte("value"))
		}
		if b.Bytes()+simRecordBytes*records > simLargeBytes {
			large++ // for which it asks twice, and Pebble too begins a log for most
		}
		logsBefore, askedBefore := logs, asked
		st.Commit(b)
		if logs-logsBefore > asked-askedBefore {
			t.Fatalf("%d logs by a commit of %d records, and the store asked %d times whether it may flush", logs-logsBefore, records, asked-askedBefore)
		}
		if n := db.Metrics().MemTable.Count; n != 1 {
			t.Fatalf("%d memtables after a commit of %d records", n, records)
		}
	}
	for range 50 {
		commit(1 + rng.IntN(2000))
		for range rng.IntN(200) {
			commit(1 + rng.IntN(10))
		}
	}
	if large < 10 || asked-2*large < 10 {
		t.Fatalf("%d large commits, asked %d times: the memtables were not tested", large, asked)
	}
}
