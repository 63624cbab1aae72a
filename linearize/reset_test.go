package linearize_test

import (
	"errors"
	"reflect"
	"strconv"
	"testing"

	"godwit/linearize"
)

// TestRecorderReset records two histories one after the other in one recorder, and judges them with one checker, which must be as if each had
// one of its own.
func TestRecorderReset(t *testing.T) {
	const page = 256 // operations of a recorder
	r, c := linearize.NewRecorder(1), new(linearize.Checker)
	var first *linearize.History
	for round := range 3 {
		own := linearize.NewRecorder(int64(round + 1))
		for _, to := range []*linearize.Recorder{own, r} {
			for i := range 2*page + 10 - 100*round {
				op, err := linearize.Command("SET", "k", string(rune('a'+round))+strconv.Itoa(i))
				if i%5 == 4 {
					op, err = linearize.Transaction([]string{"GET", "k"}, []string{"DEL", "k"})
				}
				op.Call = int64(10 * i)
				id, err2 := to.Begin(op)
				if err := errors.Join(err, err2); err != nil || int(id) != i {
					t.Fatalf("operation %d is %d: %v", i, id, err)
				}
				reply := linearize.Status("OK")
				if i%5 == 4 {
					reply = linearize.Array(linearize.Bulk(string(rune('a'+round))+strconv.Itoa(i-1)), linearize.Int(1))
				}
				if round == 2 && i == 104 { // what nobody wrote
					reply = linearize.Array(linearize.Bulk("?"), linearize.Int(1))
				}
				if err := to.End(id, reply, op.Call+1); err != nil {
					t.Fatal(err)
				}
			}
		}
		h := r.History()
		if first == nil {
			first = h
		}
		if !reflect.DeepEqual(h, own.History()) {
			t.Errorf("round %d: the history differs", round)
		}
		got, err := c.Check(h, linearize.Options{})
		want, err2 := linearize.Check(h, linearize.Options{})
		if err := errors.Join(err, err2); err != nil || got.String() != want.String() || got.OK() != (round < 2) {
			t.Errorf("round %d: %v, want %v: %v", round, got, want, err)
		}
		r.Reset(int64(round + 2))
		if r.Len() != 0 || r.UnknownMutations("k") != 0 {
			t.Errorf("%d operations after Reset", r.Len())
		}
	}
	if first.UnixMs != 1 || len(first.Operations) != 2*page+10 || first.Operations[0].Args[0] != "a0" {
		t.Error("a history changed when its recorder was used again")
	}
}
