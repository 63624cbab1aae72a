package command

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/resp"
)

func fixed(nowMs int64) func() int64 { return func() int64 { return nowMs } }

// TestSpecsAreConsistent checks what the engine relies on without looking.
func TestSpecsAreConsistent(t *testing.T) {
	table := NewTable()
	if !slices.IsSortedFunc(table.All(), func(a, b *Spec) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("All is not sorted by name")
	}
	check := func(s *Spec) {
		switch {
		case s.Name != strings.ToLower(s.Name) || len(s.Name) >= maxName:
			t.Errorf("%s: bad name", s.Name)
		case (s.Handler == nil) != s.Is(Server):
			t.Errorf("%s: exactly the commands with the flag Server have no handler", s.Name)
		case s.Arity == 0:
			t.Errorf("%s: no arity", s.Name)
		case s.Is(Write) && s.Is(ReadOnly), !s.Is(Server) && !s.Is(Write) && !s.Is(ReadOnly):
			t.Errorf("%s: a data command either writes or reads", s.Name)
		case s.Is(NodeWide) && s.FirstKey != 0, !s.Is(Server) && !s.Is(NodeWide) && s.FirstKey == 0 && s.Count == 0:
			t.Errorf("%s: a data command either names keys or is node-wide", s.Name)
		case s.FirstKey != 0 && (s.Step < 1 || s.LastKey == 0):
			t.Errorf("%s: bad key positions", s.Name)
		case s.Summary == "" || s.Group == "" || s.Since == "" || s.Complexity == "":
			t.Errorf("%s: undocumented", s.Name)
		}
	}
	names := map[string]bool{}
	for _, s := range table.All() {
		if names[s.Name] {
			t.Errorf("%s: twice in the table", s.Name)
		}
		names[s.Name] = true
		check(s)
		for _, sub := range s.Sub {
			check(sub)
			if !strings.HasPrefix(sub.Name, s.Name+"|") || len(sub.Sub) != 0 {
				t.Errorf("%s: bad subcommand %s", s.Name, sub.Name)
			}
		}
	}
	for _, want := range []string{"get", "set", "flushall", "cluster", "clusterx", "asking", "hello"} {
		if !names[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestLookup(t *testing.T) {
	table := NewTable()
	for _, name := range []string{"get", "GET", "gEt"} {
		if s := table.Lookup([]byte(name)); s == nil || s.Name != "get" {
			t.Errorf("%s: got %v", name, s)
		}
	}
	for _, name := range []string{"", "ge", "get ", "client|id", strings.Repeat("g", 1000), "ge\xc4"} {
		if s := table.Lookup([]byte(name)); s != nil {
			t.Errorf("%q: got %v", name, s)
		}
	}
	client := table.Lookup([]byte("client"))
	if s := table.LookupSub(client, []byte("SetName")); s == nil || s.Name != "client|setname" {
		t.Errorf("client setname: got %v", s)
	}
	if s := table.LookupSub(client, []byte(strings.Repeat("x", 1000))); s != nil {
		t.Errorf("got %v", s)
	}
	args := byteArgs([]string{"Client", "ID"})
	mget := byteArgs([]string{"MGET", "a", "b", "c"})
	positions := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		if _, problem := table.Check(args); problem != "" {
			t.Fatal(problem)
		}
		s, problem := table.Check(mget)
		if p, err := s.KeyPositions(mget, positions[:0]); problem != "" || err != nil || len(p) != 3 {
			t.Fatal(problem, err, p)
		}
	}); n != 0 {
		t.Errorf("checking a request allocates %v times", n)
	}
}

func TestKeyPositions(t *testing.T) {
	table := NewTable()
	for request, want := range map[string][]int{
		"GET a":             {1},
		"MGET a b c":        {1, 2, 3},
		"MSET a 1 b 2":      {1, 3},
		"RENAME a b":        {1, 2},
		"COPY a b REPLACE":  {1, 2},
		"SET k v EX 10":     {1},
		"DBSIZE":            nil,
		"SCAN 0 MATCH a*":   nil,
		"CLUSTER KEYSLOT k": nil,

		"MIGRATE h 1 k 0 10":                         {3},
		"MIGRATE h 1 k 0 10 COPY REPLACE AUTH keys":  {3},
		"MIGRATE h 1 _ 0 10 KEYS":                    nil,
		"MIGRATE h 1 _ 0 10 keys a b":                {7, 8},
		"MIGRATE h 1 _ 0 10 AUTH2 keys keys KEYS a":  {10},
		"MIGRATE h 1 _ 0 10 AUTH keys COPY KEYS a b": {10, 11},
	} {
		args := byteArgs(strings.Fields(request))
		for i := range args {
			if string(args[i]) == "_" {
				args[i] = nil
			}
		}
		s, problem := table.Check(args)
		if problem != "" {
			t.Fatal(problem)
		}
		if got, err := s.KeyPositions(args, nil); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", request, got, err)
		}
	}
	get := table.Lookup([]byte("get"))
	if _, err := get.KeyPositions(byteArgs([]string{"get"}), nil); !errors.Is(err, ErrNoKeys) {
		t.Errorf("a request that does not pass Check: got %v", err)
	}
}

func TestMode(t *testing.T) {
	table := NewTable()
	for request, want := range map[string]data.Mode{
		"GET a": data.Read, "SET a 1": data.Write, "DEL a": data.Write, "DEL a a": data.WriteIndexed, "MSET a 1 a 2": data.Write,
		"SCAN 0": data.Read, "FLUSHALL": data.Write,
	} {
		args := byteArgs(strings.Fields(request))
		if got := table.Lookup(args[0]).Mode(args); got != want {
			t.Errorf("%s: got %d, want %d", request, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	longest := strings.Repeat("k", key.MaxUserKey)
	if v := l.do(t, "SET", longest, "v"); v.Str != "OK" {
		t.Errorf("the longest key: %s", v)
	}
	for _, args := range [][]string{{"SET", longest + "k", "v"}, {"GET", longest + "k"}, {"MSET", "a", "1", longest + "k", "v"}, {"DEL", "a", longest + "k"}} {
		if v := l.do(t, args...); v.Kind != resp.ErrorKind || v.Str != errKeyTooLong {
			t.Errorf("%s with a key too long: %s", args[0], v)
		}
	}
	if v := l.do(t, "SET", "k", longest+longest); v.Str != "OK" {
		t.Errorf("a value longer than any key: %s", v)
	}
	for _, request := range []string{"SETRANGE k 536870912 x", "SETRANGE k 536870911 xy"} {
		if v := l.do(t, strings.Fields(request)...); v.Kind != resp.ErrorKind || v.Str != errTooLong {
			t.Errorf("%s: %s", request, v)
		}
	}
	for _, request := range []string{"SETBIT k 4294967296 1", "BITFIELD k SET u8 4294967296 1"} {
		if v := l.do(t, strings.Fields(request)...); v.Kind != resp.ErrorKind || v.Str != errBitOffset {
			t.Errorf("%s: %s", request, v)
		}
	}
	half := make([]byte, maxRequestBytes/2)
	if _, problem := l.table.Check([][]byte{[]byte("mset"), []byte("a"), half, []byte("b"), half}); problem != errRequestTooBig {
		t.Errorf("a request too large: %q", problem)
	}
}

// TestWrongType: what the commands on strings and on keys do with a key that is a hash.
func TestWrongType(t *testing.T) {
	plant := func(l *local) {
		l.tx.Reset(l.st, data.Write, 1)
		c, _ := l.tx.Open([]byte("h"), data.Hash)
		c.Put([]byte("f"), nil)
		c.Save()
		l.tx.Commit()
	}
	for request, want := range map[string]string{
		"GET h": "wrong", "GETSET h 1": "wrong", "GETDEL h": "wrong", "GETEX h": "wrong", "APPEND h 1": "wrong", "STRLEN h": "wrong", "INCR h": "wrong",
		"INCRBYFLOAT h 1": "wrong", "GETRANGE h 0 1": "wrong", "SETRANGE h 0 x": "wrong", "SETRANGE h 0 ": "wrong", "SET h 1 GET": "wrong",
		"SET h 1 NX GET": "wrong", "DECRBY h 5": "wrong",
		"SET h 1": "OK", "SET h 1 XX": "OK", "SETEX h 10 1": "OK", "MSET h 1": "OK", "SET h 1 NX": "(nil)", "SETNX h 1": "0", "MSETNX h 1": "0", "MGET h": "[(nil)]",
		"DEL h": "1", "TYPE h": "hash", "EXISTS h": "1", "EXPIRE h 100": "1", "TTL h": "-1", "RENAME h i": "OK", "COPY h i": "1",
		"SCAN 0 TYPE hash": `["0" ["h"]]`, "SCAN 0 TYPE string": `["0" []]`,
	} {
		l := newLocal(t, resp.V2, fixed(1000))
		plant(l)
		args := strings.Split(request, " ")
		if want == "wrong" {
			want = "(error) " + errWrongType
		}
		if got := l.do(t, args...).String(); got != want {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
		l.check(t, "h", "i")
	}
}

// TestExpiredReads: reading an expired key deletes it, so that a clock that is behind does not see it again.
func TestExpiredReads(t *testing.T) {
	for _, request := range []string{"GET k", "EXISTS k k", "TTL k", "MGET k a k", "STRLEN k", "TYPE k", "GETRANGE k 0 1", "SET k v XX", "APPEND k ", "DEL k", "RENAME k x", "MSETNX k 1 k 2"} {
		now := int64(1000)
		l := newLocal(t, resp.V2, func() int64 { return now })
		l.do(t, "SET", "k", "v", "PX", "100")
		now = 1101
		want := l.do(t, strings.Split(request, " ")...)
		fresh := newLocal(t, resp.V2, fixed(1101))
		if got := fresh.do(t, strings.Split(request, " ")...); got.String() != want.String() {
			t.Errorf("%s: got %s on an expired key, %s on none", request, want, got)
		}
		now = 1000
		if got, want := l.do(t, "PTTL", "k"), fresh.do(t, "PTTL", "k"); got.String() != want.String() {
			t.Errorf("%s: with the clock back the key has %s, want %s", request, got, want)
		}
		l.check(t, "k", "x")
	}
}

// TestAbsoluteTimes pins replies that depend on the time to the millisecond.
func TestAbsoluteTimes(t *testing.T) {
	now := int64(1_000_000)
	l := newLocal(t, resp.V2, func() int64 { return now })
	for _, c := range []struct {
		request string
		afterMs int64
		want    string
	}{
		{"SET k v PX 1500", 0, "OK"},
		{"PTTL k", 0, "1500"},
		{"TTL k", 0, "2"},
		{"TTL k", 1, "1"},
		{"PEXPIRETIME k", 0, "1001500"},
		{"EXPIRETIME k", 0, "1002"},
		{"PTTL k", 1499, "0"},
		{"EXISTS k", 0, "1"},
		{"DBSIZE", 0, "1"},
		{"DBSIZE", 1, "0"},
		{"KEYS *", 0, "[]"},
		{"SCAN 0", 0, `["0" []]`},
		{"RANDOMKEY", 0, "(nil)"},
		{"EXISTS k", 0, "0"},
		{"SET k v", 0, "OK"},
		{"PEXPIREAT k 1001501", 0, "1"}, // now: already past for EXPIRE
		{"EXISTS k", 0, "0"},
		{"SET k v PXAT 1001500", 0, "OK"}, // past: not even written
		{"EXISTS k", 0, "0"},
		{"SET k v EX 10", 0, "OK"},
		{"SET k w KEEPTTL", 5000, "OK"},
		{"PTTL k", 0, "5000"},
		{"GETEX k PERSIST", 0, `"w"`},
		{"PTTL k", 0, "-1"},
	} {
		now += c.afterMs
		if got := l.do(t, strings.Fields(c.request)...).String(); got != c.want {
			t.Fatalf("at %d, %s: got %s, want %s", now, c.request, got, c.want)
		}
		l.check(t, "k")
	}
}

func TestScanInPages(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	for i := range 500 {
		l.do(t, "SET", fmt.Sprintf("{t}%d", i), "v")
	}
	seen := map[string]int{}
	cursor, calls := "0", 0
	for {
		v := l.do(t, "SCAN", cursor, "COUNT", "20", "MATCH", "*5*")
		for _, e := range v.Elems[1].Elems {
			seen[e.Str]++
		}
		calls++
		if cursor = v.Elems[0].Str; cursor == "0" {
			break
		}
	}
	want := 0
	for i := range 500 {
		if strings.Contains(fmt.Sprint(i), "5") {
			want++
		}
	}
	if len(seen) != want || calls < 25 || calls > 26 {
		t.Errorf("%d keys in %d calls, want %d in 25", len(seen), calls, want)
	}
	for k, n := range seen {
		if n != 1 {
			t.Errorf("%s was returned %d times", k, n)
		}
	}
}

// TestGlobIsNotExponential runs a pattern that takes a naive matcher longer than the universe will last.
func TestGlobIsNotExponential(t *testing.T) {
	if MatchGlob([]byte(strings.Repeat("a*", 40)+"b"), []byte(strings.Repeat("a", 2000)), false) {
		t.Error("matched")
	}
	deep := []byte(strings.Repeat("*?", key.MaxUserKey))
	if !MatchGlob(deep, []byte(strings.Repeat("a", key.MaxUserKey)), false) {
		t.Error("the deepest recursion did not match")
	}
}

func TestGlobCase(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		ignoreCase bool
		want       bool
	}{{"MaxC*", "maxclients", true, true}, {"MaxC*", "maxclients", false, false}, {"[A-M]ax", "max", true, true}, {"\\Max", "mAX", true, true}} {
		if got := MatchGlob([]byte(c.pattern), []byte(c.s), c.ignoreCase); got != c.want {
			t.Errorf("%q, %q, %v: got %v", c.pattern, c.s, c.ignoreCase, got)
		}
	}
}

func TestParseInt(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "-1": -1, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "1000000000000000000": 1e18} {
		if got, ok := parseInt([]byte(in)); !ok || got != want {
			t.Errorf("%q: got %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "-9223372036854775809", "9999999999999999999", "18446744073709551616", "1_0"} {
		if got, ok := parseInt([]byte(in)); ok {
			t.Errorf("%q: got %d", in, got)
		}
	}
}

func BenchmarkSetGet(b *testing.B) {
	l := newLocal(b, resp.V2, fixed(1))
	set := byteArgs([]string{"SET", "key:000001", strings.Repeat("v", 128)})
	get := byteArgs([]string{"GET", "key:000001"})
	b.ReportAllocs()
	for b.Loop() {
		l.run(b, set)
		l.run(b, get)
	}
}
