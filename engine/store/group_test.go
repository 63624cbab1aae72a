package store

import (
	"strconv"
	"testing"
)

// TestGroupGivesBackMemory: what a large group took is not kept by a connection that has nothing to do.
func TestGroupGivesBackMemory(t *testing.T) {
	st := openMem(t)
	var g Group
	use := func(writes, size int) {
		g.Begin(st, func(b *Batch) { st.Commit(b) })
		for i := range writes {
			g.Ops().Set([]byte("k"+strconv.Itoa(i)), make([]byte, size))
			g.Add()
		}
		g.Commit()
		g.End()
	}
	use(4, 10)
	if g.ops == nil {
		t.Error("a small batch is not kept")
	}
	use(1, groupBytes*9/10)
	if g.ops != nil {
		t.Errorf("a batch of %d bytes is kept", cap(g.ops.b.Repr()))
	}
	use(groupRows-1, 10)
	if n := cap(g.rows); n > groupKeepsRows {
		t.Errorf("%d rows are kept", n)
	}
	if n := cap(g.bytes); n > groupKeeps {
		t.Errorf("%d bytes of rows are kept", n)
	}
}
