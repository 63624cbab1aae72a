package command

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/engine/resp"
)

// TestAgainstRedis runs random commands against this package and a real Redis, and compares each reply. Time of day is the
// real one: relative times are drawn so that no two are near each other, and replies in remaining time may differ a little.
func TestAgainstRedis(t *testing.T) {
	r, ok := startRedis(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so random commands were not compared with a real Redis")
		return
	}
	rapid.Check(t, func(rt *rapid.T) {
		l := newLocal(t, resp.V2, func() int64 { return time.Now().UnixMilli() })
		r.do(t, "HELLO", "2")
		r.do(t, "FLUSHALL")
		g := generator{t: rt, far: 10_000}
		for range rapid.IntRange(1, 60).Draw(rt, "commands") {
			args := g.command()
			want, got := r.do(t, args...), l.do(t, args...)
			if !sameReply(args[0], got, want) {
				rt.Fatalf("%q: got %s, Redis says %s", args, got, want)
			}
			l.check(t, genKeys...)
		}
		for _, k := range genKeys {
			for _, args := range [][]string{{"GET", k}, {"PEXPIRETIME", k}} {
				if want, got := r.do(t, args...), l.do(t, args...); !sameReply(args[0], got, want) {
					rt.Fatalf("in the end %q: got %s, Redis says %s", args, got, want)
				}
			}
		}
	})
}

// toleranceMs is how much later one of the two servers may carry out a command.
const toleranceMs = 30_000

// sameReply compares replies, allowing for order where there is none and for time that passed.
func sameReply(command string, got, want resp.Value) bool {
	switch strings.ToUpper(command) {
	case "KEYS":
		return sorted(got) == sorted(want)
	case "SCAN":
		return len(got.Elems) == len(want.Elems) && (len(got.Elems) == 0 || sorted(got.Elems[1]) == sorted(want.Elems[1]))
	case "RANDOMKEY": // one of the keys; which ones there are, KEYS tells
		return got.Kind == want.Kind
	case "TTL", "EXPIRETIME":
		return near(got, want, toleranceMs/1000)
	case "PTTL", "PEXPIRETIME":
		return near(got, want, toleranceMs)
	}
	return got.String() == want.String()
}

func near(got, want resp.Value, tolerance int64) bool {
	if got.Kind != resp.IntKind || want.Kind != resp.IntKind || got.Int < 0 || want.Int < 0 {
		return got.String() == want.String()
	}
	return max(got.Int, want.Int)-min(got.Int, want.Int) <= tolerance
}

func sorted(v resp.Value) string {
	elems := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		elems[i] = e.String()
	}
	sort.Strings(elems)
	return strings.Join(elems, " ")
}

var genKeys = []string{"a", "b", "{a}1", "{a}2", ""}

// generator draws commands: mostly right ones, over few keys, so that they meet.
type generator struct {
	t   *rapid.T
	far int // seconds; grows, so that no two relative times are near each other
}

func (g *generator) pick(name string, from ...string) string {
	return rapid.SampledFrom(from).Draw(g.t, name)
}

func (g *generator) key() string { return g.pick("key", genKeys...) }

func (g *generator) value() string {
	return g.pick("value", "", "v", "0", "10", "-5", "3.5", "1e3", "9223372036854775807", "-9223372036854775808", " 1", "Hello World", "a\x00\xffb")
}

func (g *generator) integer() string {
	return g.pick("integer", "0", "1", "-1", "2", "7", "-20", "100", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "x", "", "1.0")
}

func (g *generator) cased(word string) string {
	if rapid.IntRange(0, 3).Draw(g.t, "case") == 0 {
		return strings.ToLower(word)
	}
	return word
}

// relative draws a time to live.
func (g *generator) relative(unitMs int) string {
	if rapid.IntRange(0, 9).Draw(g.t, "odd time") == 0 {
		return g.pick("time", "-1", "x", "9223372036854775807", "-9223372036854775808", "")
	}
	g.far += 1000
	return strconv.Itoa(g.far * 1000 / unitMs)
}

// absolute draws a time far ahead; a past one is left to the scripts, since Redis counts such keys until it finds them.
func (g *generator) absolute(unitMs int) string {
	if rapid.IntRange(0, 9).Draw(g.t, "odd time") == 0 {
		return g.pick("time", "-1", "x", "0", "9223372036854775807", "")
	}
	return strconv.Itoa((4_102_444_800 + rapid.IntRange(0, 3).Draw(g.t, "second")) * 1000 / unitMs)
}

func (g *generator) setOptions() (opts []string) {
	for range rapid.SampledFrom([]int{0, 0, 1, 1, 2, 3}).Draw(g.t, "options") {
		switch o := g.cased(g.pick("option", "NX", "XX", "GET", "KEEPTTL", "PERSIST", "EX", "PX", "EXAT", "PXAT", "BOGUS")); strings.ToUpper(o) {
		case "EX":
			opts = append(opts, o, g.relative(1000))
		case "PX":
			opts = append(opts, o, g.relative(1))
		case "EXAT":
			opts = append(opts, o, g.absolute(1000))
		case "PXAT":
			opts = append(opts, o, g.absolute(1))
		default:
			opts = append(opts, o)
		}
	}
	return opts
}

func (g *generator) conditions() (opts []string) {
	for range rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(g.t, "options") {
		opts = append(opts, g.cased(g.pick("option", "NX", "XX", "GT", "LT")))
	}
	return opts
}

func (g *generator) keys() (keys []string) {
	for range rapid.IntRange(1, 4).Draw(g.t, "keys") {
		keys = append(keys, g.key())
	}
	return keys
}

func (g *generator) command() []string {
	name := g.pick("command", "GET", "SET", "GETSET", "GETDEL", "GETEX", "SETNX", "SETEX", "PSETEX", "MGET", "MSET", "MSETNX", "APPEND", "STRLEN", "INCR",
		"DECR", "INCRBY", "DECRBY", "INCRBYFLOAT", "GETRANGE", "SUBSTR", "SETRANGE", "DEL", "UNLINK", "EXISTS", "TYPE", "TOUCH", "EXPIRE", "PEXPIRE",
		"EXPIREAT", "PEXPIREAT", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST", "RENAME", "RENAMENX", "COPY", "SCAN", "KEYS", "RANDOMKEY",
		"DBSIZE", "FLUSHALL")
	args := []string{g.cased(name)}
	add := func(more ...string) []string { return append(args, more...) }
	switch name {
	case "SET":
		return add(append([]string{g.key(), g.value()}, g.setOptions()...)...)
	case "GETEX":
		return add(append([]string{g.key()}, g.setOptions()...)...)
	case "GETSET", "SETNX", "APPEND":
		return add(g.key(), g.value())
	case "SETEX":
		return add(g.key(), g.relative(1000), g.value())
	case "PSETEX":
		return add(g.key(), g.relative(1), g.value())
	case "MGET", "DEL", "UNLINK", "EXISTS", "TOUCH":
		return add(g.keys()...)
	case "MSET", "MSETNX":
		for _, k := range g.keys() {
			args = add(k, g.value())
		}
		if rapid.IntRange(0, 9).Draw(g.t, "odd") == 0 {
			return add("alone")
		}
		return args
	case "INCRBY", "DECRBY":
		return add(g.key(), g.integer())
	case "INCRBYFLOAT":
		return add(g.key(), g.pick("float", "0.1", "-2.5", "1e10", "3", "x", "0.000001", "-1e-9", "123456789.987654321"))
	case "GETRANGE", "SUBSTR":
		return add(g.key(), g.integer(), g.integer())
	case "SETRANGE":
		return add(g.key(), g.pick("offset", "0", "1", "3", "20", "-1", "x", "536870912"), g.value())
	case "EXPIRE":
		return add(append([]string{g.key(), g.relative(1000)}, g.conditions()...)...)
	case "PEXPIRE":
		return add(append([]string{g.key(), g.relative(1)}, g.conditions()...)...)
	case "EXPIREAT":
		return add(append([]string{g.key(), g.absolute(1000)}, g.conditions()...)...)
	case "PEXPIREAT":
		return add(append([]string{g.key(), g.absolute(1)}, g.conditions()...)...)
	case "RENAME", "RENAMENX":
		return add(g.key(), g.key())
	case "COPY":
		return add(append([]string{g.key(), g.key()}, g.pick("replace", "REPLACE", "BOGUS", "REPLACE"))...)
	case "SCAN":
		return add("0", "COUNT", "1000", "MATCH", g.pattern())
	case "KEYS":
		return add(g.pattern())
	case "RANDOMKEY", "DBSIZE":
		return args
	case "FLUSHALL":
		if rapid.IntRange(0, 9).Draw(g.t, "really") > 0 {
			return []string{"DBSIZE"}
		}
		return args
	}
	return add(g.key())
}

func (g *generator) pattern() string {
	return rapid.StringMatching(`([ab{}12*?^\-\\]|\[\^?[ab{}12\-\\]*\]?){0,6}`).Draw(g.t, "pattern")
}

// TestSpecsOfRedis compares what the table says of each command with what Redis says.
func TestSpecsOfRedis(t *testing.T) {
	r, ok := startRedis(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so the command table was not compared with a real Redis")
		return
	}
	unknown := map[string]bool{"clusterx": true, "godwit": true, "client|setinfo": true, "client|no-touch": true} // ours, and of Redis 7.2
	ours := newLocal(t, resp.V2, func() int64 { return 1 })
	var compare func(got, want resp.Value)
	compare = func(got, want resp.Value) {
		name := got.Elems[0].Str
		if unknown[name] {
			return
		}
		if want.Kind == resp.NullKind {
			t.Errorf("Redis does not know %s", name)
			return
		}
		for i, what := range []string{1: "arity", 3: "first key", 4: "last key", 5: "step"} {
			if what != "" && got.Elems[i].Int != want.Elems[i].Int {
				t.Errorf("%s: %s is %s, Redis says %s", name, what, got.Elems[i], want.Elems[i])
			}
		}
		known := map[string]bool{}
		for _, f := range flagNames(&Spec{Flags: ^Flag(0)}) {
			known[f] = true
		}
		if got, want := sorted(got.Elems[2]), sortedOf(want.Elems[2], known); got != want {
			t.Errorf("%s: flags %s, Redis says %s", name, got, want)
		}
		if got, want := sorted(got.Elems[6]), sorted(want.Elems[6]); got != want {
			t.Errorf("%s: categories %s, Redis says %s", name, got, want)
		}
		if got, want := keySpecPlaces(got.Elems[8]), keySpecPlaces(want.Elems[8]); name != "rename" && name != "renamenx" && name != "copy" && got != want {
			t.Errorf("%s: key specification %s, Redis says %s", name, got, want)
		}
		for _, sub := range got.Elems[9].Elems {
			compare(sub, r.do(t, "COMMAND", "INFO", sub.Elems[0].Str).Elems[0])
		}
	}
	all := ours.do(t, "COMMAND")
	if n := ours.do(t, "COMMAND", "COUNT").Int; int(n) != len(all.Elems) {
		t.Errorf("COMMAND COUNT is %d, COMMAND lists %d", n, len(all.Elems))
	}
	for _, got := range all.Elems {
		compare(got, r.do(t, "COMMAND", "INFO", got.Elems[0].Str).Elems[0])
	}
	docs, theirs := ours.do(t, "COMMAND", "DOCS"), r.do(t, "COMMAND", "DOCS")
	known := map[string]resp.Value{}
	for i := 0; i < len(theirs.Elems); i += 2 {
		known[theirs.Elems[i].Str] = theirs.Elems[i+1]
	}
	for i := 0; i < len(docs.Elems); i += 2 {
		name := docs.Elems[i].Str
		for _, field := range []string{"since", "group"} {
			if got, want := docField(docs.Elems[i+1], field), docField(known[name], field); !unknown[name] && got != want {
				t.Errorf("%s: %s is %q, Redis says %q", name, field, got, want)
			}
		}
	}
}

func sortedOf(v resp.Value, known map[string]bool) string {
	var kept resp.Value
	for _, e := range v.Elems {
		if known[e.Str] {
			kept.Elems = append(kept.Elems, e)
		}
	}
	return sorted(kept)
}

// keySpecPlaces drops the flags and notes of key specifications, and keeps where the keys are.
func keySpecPlaces(v resp.Value) string {
	var out []string
	for _, spec := range v.Elems {
		for i := 0; i+1 < len(spec.Elems); i += 2 {
			if name := spec.Elems[i].Str; name == "begin_search" || name == "find_keys" {
				out = append(out, fmt.Sprint(name, spec.Elems[i+1]))
			}
		}
	}
	return strings.Join(out, " ")
}

func docField(v resp.Value, field string) string {
	for i := 0; i+1 < len(v.Elems); i += 2 {
		if v.Elems[i].Str == field {
			return v.Elems[i+1].Str
		}
	}
	return ""
}
