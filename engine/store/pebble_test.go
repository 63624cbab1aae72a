package store

import (
	"encoding/binary"
	"testing"
	"time"

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
