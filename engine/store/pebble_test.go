package store

import (
	"encoding/binary"
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
