package linearize

import (
	"bytes"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

// reference is a store written apart from the model, the plainest way: one map, one clock reading per command.
type reference struct {
	keys map[string]entry
}

type entry struct {
	text     string
	deadline int64 // unix ms; 0 = none
}

func (s *reference) run(op Operation, nowMs int64) Reply {
	e, ok := s.keys[op.Key]
	if ok && e.deadline != 0 && e.deadline <= nowMs {
		delete(s.keys, op.Key)
		e, ok = entry{}, false
	}
	old := Nil()
	if ok {
		old = Bulk(e.text)
	}
	one := func(b bool) Reply {
		if b {
			return Int(1)
		}
		return Int(0)
	}
	switch op.Cmd {
	case "GET":
		return old
	case "STRLEN":
		return Int(int64(len(e.text)))
	case "EXISTS":
		return one(ok)
	case "GETDEL":
		delete(s.keys, op.Key)
		return old
	case "DEL":
		delete(s.keys, op.Key)
		return one(ok)
	case "APPEND":
		e.text += op.Args[0]
		s.keys[op.Key] = e
		return Int(int64(len(e.text)))
	case "INCR":
		n := int64(0)
		if ok {
			var err error
			if n, err = strconv.ParseInt(e.text, 10, 64); err != nil {
				return Error("ERR value is not an integer or out of range")
			}
		}
		e.text = strconv.FormatInt(n+1, 10)
		s.keys[op.Key] = e
		return Int(n + 1)
	case "GETSET":
		s.keys[op.Key] = entry{text: op.Args[0]}
		return old
	case "PERSIST":
		if !ok || e.deadline == 0 {
			return Int(0)
		}
		s.keys[op.Key] = entry{text: e.text}
		return Int(1)
	case "PEXPIREAT", "PEXPIRE":
		if !ok {
			return Int(0)
		}
		n, _ := strconv.ParseInt(op.Args[0], 10, 64)
		if op.Cmd == "PEXPIRE" {
			n += nowMs
		}
		if n <= nowMs {
			delete(s.keys, op.Key)
			return Int(1)
		}
		s.keys[op.Key] = entry{text: e.text, deadline: n}
		return Int(1)
	case "PTTL":
		switch {
		case !ok:
			return Int(-2)
		case e.deadline == 0:
			return Int(-1)
		}
		return Int(e.deadline - nowMs)
	case "SET":
		next := entry{text: op.Args[0]}
		if len(op.Args) > 1 {
			switch op.Args[1] {
			case "NX":
				if ok {
					return Nil()
				}
			case "XX":
				if !ok {
					return Nil()
				}
			case "KEEPTTL":
				next.deadline = e.deadline
			case "PX":
				n, _ := strconv.ParseInt(op.Args[2], 10, 64)
				next.deadline = nowMs + n
			case "GET":
				s.keys[op.Key] = next
				return old
			}
		}
		s.keys[op.Key] = next
		return Status("OK")
	}
	panic("no reference for " + op.Cmd)
}

const (
	originMs = 1_000_000
	errorMs  = 20
)

// mix names the commands of a generated history.
type mix struct {
	name string
	// templates of commands without key; V becomes a fresh value, T a deadline soon.
	templates [][]string
}

var mixes = []mix{
	{"whole", [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"SET", "V", "NX"}, {"SET", "V", "XX"}, {"SET", "V", "GET"},
		{"GETSET", "V"}, {"GETDEL"}, {"DEL"}, {"EXISTS"}}},
	{"framed", [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"APPEND", "V"}, {"APPEND", "V"}, {"DEL"}, {"STRLEN"}}},
	{"counter", [][]string{{"GET"}, {"INCR"}, {"INCR"}, {"INCR"}, {"APPEND", "1"}, {"DEL"}, {"SET", "V"}}},
	{"expiry", [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"SET", "V", "PX", "30"}, {"SET", "V", "KEEPTTL"},
		{"PEXPIRE", "25"}, {"PEXPIRE", "0"}, {"PEXPIREAT", "T"}, {"PERSIST"}, {"PTTL"}, {"APPEND", "V"}, {"APPEND", ""}, {"EXISTS"}, {"DEL"}}},
}

// generate runs random commands one after another against the reference, draws an interval round each moment of
// execution, and hides the outcome of some. The history that comes out is linearizable by construction.
func generate(t *rapid.T, m mix, keys, count, openMax int) *History {
	type planned struct {
		op   Operation
		at   int64 // moment of execution, ns; none if negative
		fail bool
	}
	var plan []planned
	open := 0
	for i := range count {
		template := rapid.SampledFrom(m.templates).Draw(t, "command")
		argv := []string{template[0], fmt.Sprintf("k%d", rapid.IntRange(0, keys-1).Draw(t, "key"))}
		// The moments are ms apart by up to 10, so that deadlines of 30 ms pass now and then.
		at := int64(i+1)*10e6 + rapid.Int64Range(0, 9e6).Draw(t, "at")
		for _, a := range template[1:] {
			switch a {
			case "V":
				a = fmt.Sprintf("v%d;", i)
			case "T":
				a = strconv.FormatInt(originMs+at/1e6+rapid.Int64Range(-5, 40).Draw(t, "deadline"), 10)
			}
			argv = append(argv, a)
		}
		op, err := Command(argv...)
		if err != nil {
			t.Fatal(err)
		}
		op.Client = rapid.IntRange(0, 3).Draw(t, "client")
		op.Call = max(0, at-rapid.Int64Range(0, 30e6).Draw(t, "before"))
		p := planned{op: op, at: at}
		switch outcome := rapid.IntRange(0, 9).Draw(t, "outcome"); {
		case outcome == 0 && open < openMax:
			open++
			p.at += rapid.Int64Range(0, 200e6).Draw(t, "late")
			if rapid.Bool().Draw(t, "never") {
				p.at = -1
			}
		case outcome == 1:
			p.at, p.fail = -1, true
			p.op.Return, p.op.Outcome, p.op.Reply = at, Fail, Error("MOVED 1 n:1")
		default:
			p.op.Outcome = Ok
			p.op.Return = at + rapid.Int64Range(0, 30e6).Draw(t, "after")
		}
		plan = append(plan, p)
	}
	slices.SortStableFunc(plan, func(a, b planned) int { return int(a.at - b.at) })
	store := reference{keys: map[string]entry{}}
	h := &History{UnixMs: originMs}
	for _, p := range plan {
		if p.at >= 0 {
			clockMs := originMs + p.at/1e6 + rapid.Int64Range(-errorMs, errorMs).Draw(t, "clock error")
			r := store.run(p.op, clockMs)
			if p.op.Outcome == Ok {
				p.op.Reply = r
			}
		}
		h.Operations = append(h.Operations, p.op)
	}
	return h
}

var generatedOptions = Options{ClockError: errorMs * time.Millisecond, Steps: 5_000_000}

func judge(t rapid.TB, h *History) Verdict {
	t.Helper()
	v, err := Check(h, generatedOptions)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestLegalAccepted: whatever a correct store answers, under any overlap, clock error and loss of replies, is accepted
// (invariant 3), whatever order the operations are given in (invariant 2), and survives its file.
func TestLegalAccepted(t *testing.T) {
	for _, m := range mixes {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := generate(t, m, 2, rapid.IntRange(1, 40).Draw(t, "count"), 8)
				v := judge(t, h)
				if !v.OK() {
					t.Fatalf("a legal history is judged %s", v)
				}
				var file bytes.Buffer
				if err := Write(&file, h); err != nil {
					t.Fatal(err)
				}
				back, err := Read(&file)
				if err != nil {
					t.Fatal(err)
				}
				shuffled := &History{UnixMs: h.UnixMs, Operations: slices.Clone(h.Operations)}
				rand.New(rand.NewSource(1)).Shuffle(len(shuffled.Operations), func(i, j int) {
					shuffled.Operations[i], shuffled.Operations[j] = shuffled.Operations[j], shuffled.Operations[i]
				})
				if w := judge(t, shuffled); !reflect.DeepEqual(v, w) {
					t.Fatalf("another order of the same operations: %s, was %s", w, v)
				}
				shuffled.Sort()
				if !reflect.DeepEqual(back, shuffled) {
					t.Fatalf("read back %v, wrote %v", back, shuffled)
				}
			})
		})
	}
}

// TestCorruptedRejected: a read that shows what was never written is always found.
func TestCorruptedRejected(t *testing.T) {
	for _, m := range mixes {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := generate(t, m, 1, rapid.IntRange(10, 30).Draw(t, "count"), 4)
				var reads []int
				for i, op := range h.Operations {
					if op.Cmd == "GET" && op.Outcome == Ok {
						reads = append(reads, i)
					}
				}
				if len(reads) == 0 {
					t.Skip("no read")
				}
				i := rapid.SampledFrom(reads).Draw(t, "read")
				h.Operations[i].Reply = Bulk("never written")
				if v := judge(t, h); v.Result != Illegal {
					t.Fatalf("operation %d shows what nobody wrote, and is judged %s", i, v)
				}
			})
		})
	}
}

// TestStaleRejected: in a history without overlap and loss, a read that shows another value than the current one is
// found, and named.
func TestStaleRejected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(3, 30).Draw(t, "count")
		stale := rapid.IntRange(2, count-1).Draw(t, "stale")
		shown := rapid.IntRange(0, stale-2).Draw(t, "shown")
		h := &History{}
		for i := range count {
			at := int64(i) * 1000
			h.Operations = append(h.Operations, Operation{Key: "k", Cmd: "SET", Args: []string{fmt.Sprint(i)}, Call: at,
				Return: at + 10, Outcome: Ok, Reply: Status("OK")})
			read := Operation{Client: 1, Key: "k", Cmd: "GET", Call: at + 20, Return: at + 30, Outcome: Ok, Reply: Bulk(fmt.Sprint(i))}
			if i == stale {
				read.Reply = Bulk(fmt.Sprint(shown))
			}
			h.Operations = append(h.Operations, read)
		}
		v := judge(t, h)
		if v.Result != Illegal || len(v.Failures) != 1 {
			t.Fatalf("want one illegal key, got %s", v)
		}
		k := v.Failures[0]
		if want := []Operation{h.Operations[2*stale+1]}; !reflect.DeepEqual(k.Culprits, want) {
			t.Fatalf("culprits %v, want %v", k.Culprits, want)
		}
		if k.Judged != 2*stale+2 || k.Ordered != k.Judged-1 {
			t.Fatalf("ordered %d of %d, want %d of %d", k.Ordered, k.Judged, 2*stale+1, 2*stale+2)
		}
	})
}

// TestClosingKeepsVerdict runs invariant 5: legal and mutilated histories get the same verdict with and without the
// closing of observed writes.
func TestClosingKeepsVerdict(t *testing.T) {
	closed, illegal := 0, 0
	for _, m := range mixes {
		rapid.Check(t, func(t *rapid.T) {
			h := generate(t, m, 1, rapid.IntRange(4, 14).Draw(t, "count"), 5)
			// Swap the replies of two reads: sometimes still legal, mostly not.
			if rapid.Bool().Draw(t, "mutilate") {
				var reads []int
				for i, op := range h.Operations {
					if op.Cmd == "GET" && op.Outcome == Ok {
						reads = append(reads, i)
					}
				}
				if len(reads) > 1 {
					i, j := rapid.SampledFrom(reads).Draw(t, "one"), rapid.SampledFrom(reads).Draw(t, "other")
					h.Operations[i].Reply, h.Operations[j].Reply = h.Operations[j].Reply, h.Operations[i].Reply
				}
			}
			parts, _, err := partition(h, generatedOptions)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				b := &budget{}
				want := result(porcupine.CheckOperationsTimeout(porcupineModel(b), p.operations(p.ins), 0), b)
				ins := closeObserved(p.ins)
				for i := range ins {
					if ins[i] != p.ins[i] {
						closed++
					}
				}
				got := result(porcupine.CheckOperationsTimeout(porcupineModel(b), p.operations(ins), 0), b)
				if got != want {
					t.Fatalf("with closing %s, without %s", got, want)
				}
				if got == Illegal {
					illegal++
				}
			}
		})
	}
	if closed == 0 || illegal == 0 {
		t.Errorf("%d writes closed, %d histories illegal: the test shows nothing", closed, illegal)
	}
}
