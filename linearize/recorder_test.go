package linearize_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"godwit/linearize"
)

func command(t testing.TB, client int, call int64, argv ...string) linearize.Operation {
	t.Helper()
	op, err := linearize.Command(argv...)
	if err != nil {
		t.Fatal(err)
	}
	op.Client, op.Call = client, call
	return op
}

func begin(t testing.TB, r *linearize.Recorder, op linearize.Operation) linearize.ID {
	t.Helper()
	id, err := r.Begin(op)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecorder(t *testing.T) {
	r := linearize.NewRecorder(5)
	set := begin(t, r, command(t, 1, 20, "set", "k", "v"))
	get := begin(t, r, command(t, 2, 10, "GET", "k"))
	moved := begin(t, r, command(t, 3, 30, "INCR", "k"))
	lost := begin(t, r, command(t, 3, 40, "INCR", "k"))
	lostRead := begin(t, r, command(t, 4, 41, "GET", "k"))
	unsent := begin(t, r, command(t, 4, 42, "DEL", "k"))
	begin(t, r, command(t, 5, 50, "DEL", "k")) // never ended
	must(t, r.End(get, linearize.Nil(), 11))
	must(t, r.End(set, linearize.Status("OK"), 25))
	must(t, r.End(moved, linearize.Error("MOVED 5 node:1"), 35))
	must(t, r.Unknown(lost))
	must(t, r.Unknown(lostRead))
	must(t, r.Fail(unsent, 43))
	if n := r.UnknownMutations("k"); n != 1 {
		t.Errorf("unknown mutations %d, want 1", n)
	}
	if r.Len() != 7 {
		t.Errorf("%d operations, want 7", r.Len())
	}
	want := []linearize.Operation{
		{Client: 2, Key: "k", Cmd: "GET", Call: 10, Return: 11, Outcome: linearize.Ok, Reply: linearize.Nil()},
		{Client: 1, Key: "k", Cmd: "SET", Args: []string{"v"}, Call: 20, Return: 25, Outcome: linearize.Ok, Reply: linearize.Status("OK")},
		{Client: 3, Key: "k", Cmd: "INCR", Call: 30, Return: 35, Outcome: linearize.Fail, Reply: linearize.Error("MOVED 5 node:1")},
		{Client: 3, Key: "k", Cmd: "INCR", Call: 40, Return: linearize.Open},
		{Client: 4, Key: "k", Cmd: "GET", Call: 41, Return: linearize.Open},
		{Client: 4, Key: "k", Cmd: "DEL", Call: 42, Return: 43, Outcome: linearize.Fail},
		{Client: 5, Key: "k", Cmd: "DEL", Call: 50, Return: linearize.Open},
	}
	h := r.History()
	if h.UnixMs != 5 || !reflect.DeepEqual(h.Operations, want) {
		t.Errorf("history %v\nwant %v", h.Operations, want)
	}
	v, err := linearize.Check(h, linearize.Options{})
	must(t, err)
	if !v.OK() || v.Operations != 4 || v.Open != 2 || v.Dropped != 3 {
		t.Errorf("verdict %s", v)
	}
}

func TestRecorderRefuses(t *testing.T) {
	r := linearize.NewRecorder(0)
	if _, err := r.Begin(linearize.Operation{Key: "k", Cmd: "LPUSH"}); !errors.Is(err, linearize.ErrHistory) {
		t.Errorf("a command without model: %v", err)
	}
	if _, err := r.Begin(linearize.Operation{Key: "k", Cmd: "GET", Call: -1}); !errors.Is(err, linearize.ErrHistory) {
		t.Errorf("a negative time: %v", err)
	}
	id := begin(t, r, command(t, 0, 10, "GET", "k"))
	if err := r.End(id, linearize.Nil(), 9); !errors.Is(err, linearize.ErrHistory) {
		t.Errorf("an end before the beginning: %v", err)
	}
	must(t, r.End(id, linearize.Nil(), 10))
	if err := r.Unknown(id); !errors.Is(err, linearize.ErrRecorder) {
		t.Errorf("ended twice: %v", err)
	}
	for _, id := range []linearize.ID{-1, 1} {
		if err := r.Unknown(id); !errors.Is(err, linearize.ErrRecorder) {
			t.Errorf("id %d that was never given: %v", id, err)
		}
	}
}

// TestRecorderConcurrent: goroutines that record at the same time give the same history as one that does it alone.
func TestRecorderConcurrent(t *testing.T) {
	const clients, count = 8, 100
	client := func(r *linearize.Recorder, c int) {
		for i := range count {
			at := int64(i*100 + c)
			id := begin(t, r, command(t, c, at, "SET", fmt.Sprint("k", i%7), fmt.Sprint(c, "-", i)))
			must(t, r.End(id, linearize.Status("OK"), at+3))
			r.Event(linearize.Event{Tag: "n", Start: at, Description: fmt.Sprint(c)})
			r.UnknownMutations("k")
		}
	}
	alone, together := linearize.NewRecorder(0), linearize.NewRecorder(0)
	var wg sync.WaitGroup
	for c := range clients {
		client(alone, clients-1-c)
		wg.Go(func() { client(together, c) })
	}
	wg.Wait()
	if !reflect.DeepEqual(alone.History(), together.History()) {
		t.Error("the histories differ")
	}
}

// TestForget takes answers back: what was read does not count any more, what was written may be gone, or not. What had failed stays so.
func TestForget(t *testing.T) {
	r := linearize.NewRecorder(0)
	set := begin(t, r, command(t, 1, 10, "SET", "k", "v"))
	must(t, r.End(set, linearize.Status("OK"), 11))
	get := begin(t, r, command(t, 1, 20, "GET", "k"))
	must(t, r.End(get, linearize.Bulk("v"), 21))
	moved := begin(t, r, command(t, 1, 30, "SET", "k", "w"))
	must(t, r.End(moved, linearize.Error("MOVED 5 node:1"), 31))
	gone := begin(t, r, command(t, 1, 40, "GET", "k"))
	must(t, r.End(gone, linearize.Nil(), 41))
	verdict := func(want linearize.Result) {
		t.Helper()
		if v, err := linearize.Check(r.History(), linearize.Options{}); err != nil || v.Result != want {
			t.Errorf("%v (%v), want %v", v, err, want)
		}
	}
	verdict(linearize.Illegal)
	if op, err := r.Forget(set); err != nil || op.Cmd != "SET" || op.Outcome != linearize.Unknown {
		t.Errorf("forgot %v (%v)", op, err)
	}
	verdict(linearize.Illegal) // somebody has read it
	for _, id := range []linearize.ID{get, moved} {
		if _, err := r.Forget(id); err != nil {
			t.Error(err)
		}
	}
	verdict(linearize.Linearizable)
	if n := r.UnknownMutations("k"); n != 1 {
		t.Errorf("%d unknown mutations, want 1", n)
	}
	if h := r.History(); h.Operations[2].Outcome != linearize.Fail {
		t.Errorf("what was sent elsewhere is %v", h.Operations[2])
	}
	if _, err := r.Forget(4); !errors.Is(err, linearize.ErrRecorder) {
		t.Errorf("an operation that nobody began: %v", err)
	}
}
