package linearize

import (
	"bytes"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

const (
	originMs = 1_000_000
	errorMs  = 20
)

// mix names the commands of a generated history.
type mix struct {
	name string
	// templates of commands without their first key: V becomes a fresh value, T a deadline soon, K another key, F one of
	// three words, N a small number. EXEC becomes a transaction of the templates that follow it.
	templates [][]string
	linked    bool // commands link keys
}

// mixes are judged key by key, linkedMixes have commands on several keys. Each has a GET.
var mixes = []mix{
	{name: "whole", templates: [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"SET", "V", "NX"}, {"SET", "V", "XX"}, {"SET", "V", "GET"},
		{"GETSET", "V"}, {"GETDEL"}, {"DEL"}, {"EXISTS"}}},
	{name: "framed", templates: [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"APPEND", "V"}, {"APPEND", "V"}, {"DEL"}, {"STRLEN"}}},
	{name: "counter", templates: [][]string{{"GET"}, {"INCR"}, {"INCR"}, {"INCR"}, {"APPEND", "1"}, {"DEL"}, {"SET", "V"}}},
	{name: "expiry", templates: [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"SET", "V", "PX", "30"}, {"SET", "V", "KEEPTTL"},
		{"PEXPIRE", "25"}, {"PEXPIRE", "0"}, {"PEXPIREAT", "T"}, {"PERSIST"}, {"PTTL"}, {"APPEND", "V"}, {"APPEND", ""}, {"EXISTS"}, {"DEL"}}},
	{name: "bitmap", templates: [][]string{{"GET"}, {"GETBIT", "5"}, {"GETBIT", "19"}, {"BITCOUNT"}, {"SETBIT", "5", "1"}, {"SETBIT", "5", "0"}, {"SETBIT", "19", "1"}, {"SET", "V"},
		{"BITFIELD", "INCRBY", "u8", "#1", "N", "GET", "i4", "3"}, {"BITFIELD", "OVERFLOW", "SAT", "INCRBY", "i4", "2", "3"}, {"BITFIELD", "OVERFLOW", "FAIL", "INCRBY", "i4", "16", "5"},
		{"BITFIELD", "SET", "i4", "#3", "N", "SET", "u8", "30", "7"}, {"BITFIELD", "GET", "u8", "4"}, {"STRLEN"}, {"DEL"}, {"PEXPIRE", "25"}}},
	{name: "hash", templates: [][]string{{"HSET", "F", "V"}, {"HSET", "F", "V", "F", "V"}, {"HSETNX", "F", "V"}, {"HGET", "F"}, {"HGETALL"}, {"HMGET", "F", "F"},
		{"HDEL", "F"}, {"HDEL", "F", "F"}, {"HLEN"}, {"HEXISTS", "F"}, {"HKEYS"}, {"HVALS"}, {"HSTRLEN", "F"}, {"PEXPIRE", "25"}, {"TYPE"}, {"DEL"}, {"GET"}}},
	{name: "hash counters", templates: [][]string{{"HINCRBY", "F", "N"}, {"HINCRBY", "F", "N"}, {"HGET", "F"}, {"HGETALL"}, {"HDEL", "F"}, {"HSET", "F", "V"}, {"GET"}}},
	{name: "list", templates: [][]string{{"LPUSH", "V"}, {"RPUSH", "V", "V"}, {"RPUSH", "F"}, {"RPUSHX", "V"}, {"LPOP"}, {"RPOP"}, {"RPOP", "2"}, {"LRANGE", "0", "-1"}, {"LRANGE", "-2", "5"},
		{"LLEN"}, {"LINDEX", "N"}, {"LSET", "N", "V"}, {"LREM", "0", "F"}, {"LTRIM", "0", "3"}, {"BLPOP", "1"}, {"BRPOP", "0.5"}, {"LINSERT", "AFTER", "F", "V"}, {"LINSERT", "BEFORE", "F", "V"}, {"PEXPIRE", "25"}, {"TYPE"}, {"DEL"}, {"GET"}}},
	{name: "set", templates: [][]string{{"SADD", "V"}, {"SADD", "F", "F"}, {"SREM", "F"}, {"SMEMBERS"}, {"SMEMBERS"}, {"SISMEMBER", "F"}, {"SMISMEMBER", "F", "F"}, {"SCARD"},
		{"SPOP"}, {"SRANDMEMBER"}, {"PEXPIRE", "25"}, {"TYPE"}, {"DEL"}, {"GET"}}},
	{name: "sorted set", templates: [][]string{{"ZADD", "N", "V"}, {"ZADD", "N", "F", "N", "F"}, {"ZADD", "GT", "N", "F"}, {"ZADD", "NX", "N", "F"}, {"ZINCRBY", "N", "F"}, {"ZREM", "F"}, {"ZSCORE", "F"}, {"ZCARD"},
		{"ZRANK", "F"}, {"ZREVRANK", "F"}, {"ZPOPMIN"}, {"BZPOPMIN", "0"}, {"ZRANGE", "0", "-1", "WITHSCORES"}, {"ZREVRANGE", "0", "-1"}, {"ZRANGEBYSCORE", "1", "2"}, {"ZCOUNT", "0", "1"},
		{"PEXPIRE", "25"}, {"TYPE"}, {"DEL"}, {"GET"}}},
}

var linkedMixes = []mix{
	{name: "several keys", linked: true, templates: [][]string{{"GET"}, {"GET"}, {"SET", "V"}, {"MSET", "V", "K", "V"}, {"MGET", "K"}, {"MGET", "K", "K"}, {"MSETNX", "V", "K", "V"},
		{"DEL", "K"}, {"EXISTS", "K", "K"}, {"APPEND", "V"}, {"SET", "V", "PX", "30"}}},
	{name: "moves", linked: true, templates: [][]string{{"LMOVE", "K", "LEFT", "RIGHT"}, {"LMOVE", "K", "RIGHT", "LEFT"}, {"BLMOVE", "K", "LEFT", "LEFT", "0.1"}, {"RPUSH", "V"}, {"LRANGE", "0", "-1"}, {"SMOVE", "K", "F"}, {"SADD", "F"},
		{"SMEMBERS"}, {"RENAME", "K"}, {"COPY", "K"}, {"GET"}, {"SET", "V"}, {"DEL"}, {"PEXPIRE", "25"}}},
	{name: "transactions", linked: true, templates: [][]string{{"GET"}, {"SET", "V"}, {"MGET", "K"}, {"EXEC", "SET V", "GET"}, {"EXEC", "GET", "MGET K", "INCR"}, {"EXEC", "SADD F", "SMEMBERS"},
		{"EXEC", "DEL K", "MSET V K V", "GETDEL"}, {"DEL"}, {"PEXPIRE", "25"}, {"EXEC", "LMOVE K LEFT RIGHT", "RPUSH V", "TYPE"}}},
}

// fill makes a command of a template.
func fill(t *rapid.T, template []string, key func() string, fresh func() string, at int64) []string {
	argv := []string{template[0], key()}
	for _, a := range template[1:] {
		switch a {
		case "V":
			a = fresh()
		case "T":
			a = strconv.FormatInt(originMs+at/1e6+rapid.Int64Range(-5, 40).Draw(t, "deadline"), 10)
		case "K":
			a = key()
		case "F":
			a = rapid.SampledFrom([]string{"f", "g", "h"}).Draw(t, "word")
		case "N":
			a = strconv.Itoa(rapid.IntRange(-1, 3).Draw(t, "number"))
		}
		argv = append(argv, a)
	}
	return argv
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
		// The moments are ms apart by up to 10, so that deadlines of 30 ms pass now and then.
		at := int64(i+1)*10e6 + rapid.Int64Range(0, 9e6).Draw(t, "at")
		key := func() string { return fmt.Sprintf("k%d", rapid.IntRange(0, keys-1).Draw(t, "key")) }
		values := 0
		fresh := func() string {
			values++
			return fmt.Sprintf("v%d.%d;", i, values)
		}
		var op Operation
		var err error
		if template[0] == "EXEC" {
			var commands [][]string
			for _, part := range template[1:] {
				commands = append(commands, fill(t, strings.Fields(part), key, fresh, at))
			}
			op, err = Transaction(commands...)
		} else {
			op, err = Command(fill(t, template, key, fresh, at)...)
		}
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
	for _, m := range slices.Concat(mixes, linkedMixes) {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := generate(t, m, 2+len(m.name)%2, rapid.IntRange(1, 40).Draw(t, "count"), 8)
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
	for _, m := range slices.Concat(mixes, linkedMixes) {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				keys := 1
				if m.linked {
					keys = 2
				}
				h := generate(t, m, keys, rapid.IntRange(10, 30).Draw(t, "count"), 4)
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

// mutilate swaps the replies of two operations with the same command: sometimes still legal, mostly not.
func mutilate(t *rapid.T, h *History) {
	byCommand := map[string][]int{}
	var commands []string
	for i, op := range h.Operations {
		if op.Outcome == Ok {
			if len(byCommand[op.Cmd]) == 1 {
				commands = append(commands, op.Cmd)
			}
			byCommand[op.Cmd] = append(byCommand[op.Cmd], i)
		}
	}
	if len(commands) > 0 {
		some := byCommand[rapid.SampledFrom(commands).Draw(t, "mutilated")]
		i, j := rapid.SampledFrom(some).Draw(t, "one"), rapid.SampledFrom(some).Draw(t, "other")
		h.Operations[i].Reply, h.Operations[j].Reply = h.Operations[j].Reply, h.Operations[i].Reply
	}
}

// TestAloneIsSound: a history with linked keys whose key is illegal by itself is illegal as a whole, as found without
// looking at keys alone.
func TestAloneIsSound(t *testing.T) {
	illegal, together := 0, 0
	for _, m := range linkedMixes {
		rapid.Check(t, func(t *rapid.T) {
			h := generate(t, m, 2, rapid.IntRange(4, 14).Draw(t, "count"), 3)
			mutilate(t, h)
			parts, _, err := partition(new(Checker), h, generatedOptions)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				whole := p.check(generatedOptions)
				for place := range p.keys {
					q, ok := p.alone(place)
					if !ok {
						continue
					}
					switch alone := q.check(generatedOptions); {
					case alone == Illegal && whole == Linearizable:
						t.Fatalf("key %s alone is illegal, together with others it is not: %v", p.keys[place], h.Operations)
					case alone == Illegal:
						illegal++
					case whole == Illegal:
						together++
					}
				}
			}
		})
	}
	if illegal == 0 || together == 0 {
		t.Errorf("%d keys were illegal alone, %d only together with others: the test shows nothing", illegal, together)
	}
}

// TestClosingKeepsVerdict runs invariant 5: legal and mutilated histories get the same verdict with and without the
// closing of observed writes.
func TestClosingKeepsVerdict(t *testing.T) {
	closed, illegal := 0, 0
	for _, m := range slices.Concat(mixes, linkedMixes) {
		rapid.Check(t, func(t *rapid.T) {
			keys := 1
			if m.linked {
				keys = 2
			}
			h := generate(t, m, keys, rapid.IntRange(4, 14).Draw(t, "count"), 5)
			if rapid.Bool().Draw(t, "mutilate") {
				mutilate(t, h)
			}
			parts, _, err := partition(new(Checker), h, generatedOptions)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				b := &budget{}
				want := result(porcupine.CheckOperationsTimeout(porcupineModel(b, p.keys), p.operations(p.ins), 0), b)
				ins := closeObserved(p.ins)
				for i := range ins {
					if ins[i] != p.ins[i] {
						closed++
					}
				}
				got := result(porcupine.CheckOperationsTimeout(porcupineModel(b, p.keys), p.operations(ins), 0), b)
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

// TestBeginKeepsVerdict: judging in the order of time what overlaps little, before the search, leaves the verdict of legal and mutilated
// histories as it is.
func TestBeginKeepsVerdict(t *testing.T) {
	whole, parted, illegal := 0, 0, 0
	for _, m := range slices.Concat(mixes, linkedMixes) {
		rapid.Check(t, func(t *rapid.T) {
			// With more that never return than may be under way, some are left to the search.
			h := generate(t, m, rapid.IntRange(1, 2).Draw(t, "keys"), rapid.IntRange(2, 40).Draw(t, "count"), 2*maxUnderWay)
			if rapid.Bool().Draw(t, "mutilate") {
				mutilate(t, h)
			}
			parts, _, err := partition(new(Checker), h, generatedOptions)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				b := &budget{}
				model, ins := porcupineModel(b, p.keys), closeObserved(p.ins)
				want := result(porcupine.CheckOperationsTimeout(model, p.operations(ins), 0), b)
				if got := p.check(generatedOptions); got != want {
					t.Fatalf("in parts %s, as a whole %s", got, want)
				}
				switch _, n, legal := p.begin(&budget{}, ins); {
				case !legal:
					illegal++
				case n == len(ins):
					whole++
				case n > 0:
					parted++
				}
			}
		})
	}
	if whole == 0 || parted == 0 || illegal == 0 {
		t.Errorf("%d histories needed no search, %d one for their end, %d were illegal without one: want some of each", whole, parted, illegal)
	}
}

// TestOverlapAtAnInstant: operations that touch at one instant are concurrent, and have two orders.
func TestOverlapAtAnInstant(t *testing.T) {
	for at, want := range map[int64]Result{9: Linearizable, 10: Linearizable, 11: Illegal} {
		h := &History{Operations: []Operation{
			{Key: "k", Cmd: "SET", Args: []string{"x"}, Call: 0, Return: 10, Outcome: Ok, Reply: Status("OK")},
			{Key: "k", Cmd: "GET", Call: at, Return: 20, Outcome: Ok, Reply: Nil()},
		}}
		if v := judge(t, h); v.Result != want {
			t.Errorf("a read at %d that shows nothing of a write until 10: %s, want %s", at, v, want)
		}
	}
}
