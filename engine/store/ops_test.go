package store

import (
	"fmt"
	"strings"
	"testing"

	"godwit/engine/key"
)

// Each shows every write of a batch, in its order, of both kinds of batches.
func TestBatchEach(t *testing.T) {
	st := openMem(t)
	for name, b := range map[string]*Batch{"plain": st.NewBatch(), "indexed": st.NewIndexedBatch()} {
		b.Set([]byte("b"), []byte("1"))
		b.Delete([]byte("a"))
		b.DeleteRange(key.Span{Lo: []byte("c"), Hi: []byte("e")})
		b.Set([]byte("b"), nil)
		var got []string
		b.Each(func(op Op) { got = append(got, fmt.Sprintf("%d %s %q %q", op.Kind, op.Key, op.Value, op.Hi)) })
		want := `0 b "1" "", 1 a "" "", 2 c "" "e", 0 b "" ""`
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s batch: got %s, want %s", name, s, want)
		}
		b.Discard()
	}
}
