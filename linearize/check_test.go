package linearize_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/linearize"
)

// hard returns an illegal history whose refutation must try the orders of n open appends.
func hard(n int) *linearize.History {
	h := &linearize.History{}
	for i := range n {
		h.Operations = append(h.Operations, linearize.Operation{Client: i, Key: "hard", Cmd: "APPEND",
			Args: []string{fmt.Sprint(i)}, Return: linearize.Open})
	}
	h.Operations = append(h.Operations,
		linearize.Operation{Client: n, Key: "hard", Cmd: "GET", Call: 1, Return: 2, Outcome: linearize.Ok, Reply: linearize.Bulk("x")},
		linearize.Operation{Client: n, Key: "easy", Cmd: "GET", Call: 1, Return: 2, Outcome: linearize.Ok, Reply: linearize.Nil()})
	return h
}

// TestUnknownIsNotOk runs invariant 1, for both ways of giving up.
func TestUnknownIsNotOk(t *testing.T) {
	if (linearize.Verdict{}).OK() {
		t.Error("the zero verdict is ok")
	}
	for name, opts := range map[string]linearize.Options{
		"steps":   {Steps: 1000},
		"timeout": {Timeout: time.Millisecond},
	} {
		v, err := linearize.Check(hard(12), opts)
		must(t, err)
		if v.OK() || v.Result != linearize.UnknownResult || len(v.Failures) != 1 || v.Failures[0].Key != "hard" {
			t.Errorf("%s: %s", name, v)
		}
		if !strings.HasPrefix(v.String(), "unknown: ") {
			t.Errorf("%s: text %q", name, v)
		}
	}
	// Enough steps decide it, and an illegal key outweighs an undecided one.
	v, err := linearize.Check(hard(5), linearize.Options{})
	must(t, err)
	if v.Result != linearize.Illegal {
		t.Errorf("unbounded: %s", v)
	}
	both := hard(12)
	both.Operations = append(both.Operations, linearize.Operation{Key: "easy", Cmd: "GET", Return: 1, Outcome: linearize.Ok,
		Reply: linearize.Bulk("x")})
	v, err = linearize.Check(both, linearize.Options{Steps: 1000})
	must(t, err)
	if v.Result != linearize.Illegal || len(v.Failures) != 2 || v.Failures[0].Key != "easy" || v.Failures[1].Result != linearize.UnknownResult {
		t.Errorf("illegal and unknown: %s", v)
	}
}

// TestBudgetIsExact: the step budget that just suffices gives the answer, one less gives none.
func TestBudgetIsExact(t *testing.T) {
	h := &linearize.History{}
	for i := range 20 {
		h.Operations = append(h.Operations, linearize.Operation{Key: "k", Cmd: "INCR", Call: int64(i * 10), Return: int64(i*10 + 5),
			Outcome: linearize.Ok, Reply: linearize.Int(int64(i + 1))})
	}
	for steps, want := range map[int64]linearize.Result{19: linearize.UnknownResult, 20: linearize.Linearizable} {
		v, err := linearize.Check(h, linearize.Options{Steps: steps})
		must(t, err)
		if v.Result != want {
			t.Errorf("%d steps: %s, want %s", steps, v, want)
		}
	}
}

func TestBadInput(t *testing.T) {
	good := linearize.Operation{Key: "k", Cmd: "GET", Return: 1, Outcome: linearize.Ok, Reply: linearize.Nil()}
	with := func(change func(*linearize.Operation)) linearize.Operation {
		op := good
		change(&op)
		return op
	}
	for text, op := range map[string]linearize.Operation{
		"no model for command":             with(func(op *linearize.Operation) { op.Cmd = "get" }),
		"arguments behind the key":         with(func(op *linearize.Operation) { op.Args = []string{"x"} }),
		"before the call":                  with(func(op *linearize.Operation) { op.Call = 2 }),
		"at least 0":                       with(func(op *linearize.Operation) { op.Call = -1 }),
		"open exactly if":                  with(func(op *linearize.Operation) { op.Return = linearize.Open }),
		"ok without a reply":               with(func(op *linearize.Operation) { op.Reply = linearize.Reply{} }),
		"unknown with a reply":             with(func(op *linearize.Operation) { op.Outcome, op.Return = linearize.Unknown, linearize.Open }),
		"outcome 9":                        with(func(op *linearize.Operation) { op.Outcome = 9 }),
		"reply kind 9":                     with(func(op *linearize.Operation) { op.Reply.Kind = 9 }),
		"is not an integer":                with(func(op *linearize.Operation) { op.Cmd, op.Args = "INCRBY", []string{"x"} }),
		"decrement would overflow":         with(func(op *linearize.Operation) { op.Cmd, op.Args = "DECRBY", []string{"-9223372036854775808"} }),
		"must lie within":                  with(func(op *linearize.Operation) { op.Cmd, op.Args = "SETRANGE", []string{"99999999999", "x"} }),
		"bit \"2\"":                        with(func(op *linearize.Operation) { op.Cmd, op.Args = "SETBIT", []string{"1", "2"} }),
		"bit 99999999, must lie":           with(func(op *linearize.Operation) { op.Cmd, op.Args = "SETBIT", []string{"99999999", "1"} }),
		"must be none or a range":          with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITCOUNT", []string{"1"} }),
		"must be i or u and up to 32 bits": with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITFIELD", []string{"GET", "u33", "0"} }),
		"type \"\"":                        with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITFIELD", []string{"GET", "", "0"} }),
		"offset \"#-1\"":                   with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITFIELD", []string{"GET", "u8", "#-1"} }),
		"number \"-1\"":                    with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITFIELD", []string{"SET", "u8", "0", "-1"} }),
		"overflow \"DROP\"":                with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITFIELD", []string{"OVERFLOW", "DROP"} }),
		"operation [\"SET\"":               with(func(op *linearize.Operation) { op.Cmd, op.Args = "BITFIELD", []string{"SET", "u8", "0"} }),
		"contradicts":                      with(func(op *linearize.Operation) { op.Cmd, op.Args = "SET", []string{"v", "NX", "XX"} }),
		"option \"PX\"":                    with(func(op *linearize.Operation) { op.Cmd, op.Args = "SET", []string{"v", "PX"} }),
		"time \"0\"":                       with(func(op *linearize.Operation) { op.Cmd, op.Args = "SET", []string{"v", "PX", "0"} }),
		"time \"9223372036854775807\"":     with(func(op *linearize.Operation) { op.Cmd, op.Args = "EXPIRE", []string{"9223372036854775807"} }),
		"option \"ZZ\"":                    with(func(op *linearize.Operation) { op.Cmd, op.Args = "EXPIRE", []string{"1", "ZZ"} }),
		"options [\"a\" \"b\" \"c\"]":      with(func(op *linearize.Operation) { op.Cmd, op.Args = "GETEX", []string{"a", "b", "c"} }),
		"a deadline in a history":          with(func(op *linearize.Operation) { op.Cmd, op.Args = "PEXPIRE", []string{"10"} }),
		"no value":                         with(func(op *linearize.Operation) { op.Cmd = "SET" }),
		"must be 1 or 2":                   with(func(op *linearize.Operation) { op.Cmd = "EXPIRE" }),
	} {
		_, err := linearize.Check(&linearize.History{Operations: []linearize.Operation{good, op}}, linearize.Options{})
		if !errors.Is(err, linearize.ErrHistory) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "operation 2") {
			t.Errorf("want an error about operation 2 with %q, got %v", text, err)
		}
	}
	for _, h := range []*linearize.History{{UnixMs: -1}, {UnixMs: 1 << 60}, {Events: []linearize.Event{{Tag: "\xff"}}}} {
		if _, err := linearize.Check(h, linearize.Options{}); !errors.Is(err, linearize.ErrHistory) {
			t.Errorf("history %+v: %v", h, err)
		}
	}
	for _, o := range []linearize.Options{{ClockError: -1}, {ClockError: 1 << 62}, {Steps: -1}, {Timeout: -1}} {
		if _, err := linearize.Check(&linearize.History{}, o); !errors.Is(err, linearize.ErrOptions) {
			t.Errorf("options %+v: %v", o, err)
		}
	}
	if _, err := linearize.Command("GET"); !errors.Is(err, linearize.ErrHistory) {
		t.Errorf("a command without key: %v", err)
	}
}

// busy returns a linearizable history of count operations by eight clients over keys keys, all of them overlapping.
func busy(count, keys int) *linearize.History {
	h := &linearize.History{}
	lengths := make([]int64, keys)
	for i := range count {
		k := i % keys
		op := linearize.Operation{Client: i % 8, Key: fmt.Sprint("k", k), Call: int64(i * 10), Return: int64(i*10 + 75), Outcome: linearize.Ok}
		if i/keys%2 == 0 {
			lengths[k] += 2
			op.Cmd, op.Args, op.Reply = "APPEND", []string{"a;"}, linearize.Int(lengths[k])
		} else {
			op.Cmd, op.Reply = "STRLEN", linearize.Int(lengths[k])
		}
		h.Operations = append(h.Operations, op)
	}
	return h
}

func BenchmarkCheck(b *testing.B) {
	for _, keys := range []int{1, 20} {
		b.Run(fmt.Sprintf("operations=2000/keys=%d", keys), func(b *testing.B) {
			h := busy(2000, keys)
			for b.Loop() {
				if v, err := linearize.Check(h, linearize.Options{}); err != nil || !v.OK() {
					b.Fatal(v, err)
				}
			}
		})
	}
}

func BenchmarkRefute(b *testing.B) {
	for _, open := range []int{2, 4, 6} {
		b.Run(fmt.Sprint("open=", open), func(b *testing.B) {
			for b.Loop() {
				if v, err := linearize.Check(hard(open), linearize.Options{}); err != nil || v.Result != linearize.Illegal {
					b.Fatal(v, err)
				}
			}
		})
	}
}
