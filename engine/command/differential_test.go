package command

import (
	"flag"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/engine/host/redistest"
	"godwit/engine/resp"
)

// operations is how many commands each group is compared with, in each version of the protocol.
var operations = flag.Int("operations", 2000, "how many random commands of each group to compare with a real Redis, in each version of the protocol")

// redisGroup is the commands of a type, mixed with those on keys.
type redisGroup struct {
	name string
	// draw draws a command of the group.
	draw func(g *generator) []string
	// reads are commands that show all of a key of the group's type.
	reads func(key string) [][]string
}

func redisGroups() []redisGroup {
	return []redisGroup{stringGroup(), bitmapGroup(), dumpGroup(), sortGroup(), hashGroup(), listGroup(), setGroup(), sortedSetGroup()}
}

// TestAgainstRedis runs random commands against this package and a real Redis, and compares each reply: kind and bytes, after putting
// what Redis leaves unordered or random into a canonical form (see compare). Time of day is the real one: relative times are
// drawn so that no two are near each other, and replies in remaining time may differ a little.
func TestAgainstRedis(t *testing.T) {
	if _, ok := redistest.Start(t); !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so random commands were not compared with a real Redis")
		return
	}
	for _, group := range redisGroups() {
		for _, version := range []resp.Version{resp.V2, resp.V3} {
			t.Run(fmt.Sprintf("%s/RESP%d", group.name, version), func(t *testing.T) {
				t.Parallel()
				r, _ := startRedis(t)
				done := 0
				for done < *operations && !t.Failed() {
					rapid.Check(t, func(rt *rapid.T) { done += againstRedis(t, rt, r, group, version) })
				}
				t.Logf("%d commands compared", done)
			})
		}
	}
}

// againstRedis compares one sequence of commands on empty servers, and then what all keys hold. It returns their number.
func againstRedis(t *testing.T, rt *rapid.T, r *redis, group redisGroup, version resp.Version) int {
	l := openLocal(t, version, func() int64 { return time.Now().UnixMilli() }, nil)
	defer l.close(t) // there are thousands of these
	r.do(t, "HELLO", strconv.Itoa(int(version)))
	r.do(t, "FLUSHALL")
	g := generator{t: rt, far: 10_000}
	n := rapid.IntRange(1, 60).Draw(rt, "commands")
	for range n {
		args := group.draw(&g)
		if problem := compare(t, l, r, args); problem != "" {
			rt.Fatalf("%q: %s", args, problem)
		}
		l.check(t, genKeys...)
	}
	for _, k := range genKeys {
		for _, args := range append(group.reads(k), []string{"TYPE", k}, []string{"PEXPIRETIME", k}) {
			if problem := compare(t, l, r, args); problem != "" {
				rt.Fatalf("in the end %q: %s", args, problem)
			}
		}
	}
	return n
}

// compare runs a command on both servers and says how the replies differ, "" if they do not.
func compare(t testing.TB, l *local, r *redis, args []string) string {
	signed := false
	switch name := strings.ToUpper(args[0]); name {
	case "SPOP", "SRANDMEMBER", "HRANDFIELD":
		return compareRandom(t, l, r, name, args)
	case "ZRANDMEMBER":
		return compareRandomScored(t, l, r, args)
	case "ZPOPMIN", "ZPOPMAX", "ZMPOP": // they may take the large set away of which they reply
		signed = keepsSigns(t, r)
	}
	want, got := r.do(t, args...), l.do(t, args...)
	if sameReply(args, got, want) || sameReply(args, unsignedZeros(got), unsignedZeros(want)) && (signed || keepsSigns(t, r)) {
		return ""
	}
	return fmt.Sprintf("got %s, Redis says %s", exact(got), exact(want))
}

// compareRandom runs a command whose reply is random: the replies must have the same form, and ours must be of members that
// there are, and different ones where a count is not negative. What ours took away is then taken from Redis too.
func compareRandom(t testing.TB, l *local, r *redis, name string, args []string) string {
	const scratch = "{a}scratch"
	read := "SMEMBERS"
	if name == "HRANDFIELD" {
		read = "HGETALL"
	}
	there := l.do(t, read, args[1])
	theirs := append([]string{args[0], scratch}, args[2:]...)
	r.do(t, "DEL", scratch)
	r.do(t, "COPY", args[1], scratch)
	want, got := r.do(t, theirs...), l.do(t, args...)
	if form(got) != form(want) {
		return fmt.Sprintf("got %s, Redis says %s", exact(got), exact(want))
	}
	r.do(t, "DEL", scratch)
	members := leaves(got)
	width := 1
	if name == "HRANDFIELD" && len(args) == 4 {
		width = 2
	}
	known := map[string]bool{}
	step := 1
	if name == "HRANDFIELD" {
		step = 2
	}
	for i := 0; i+step <= len(there.Elems); i += step {
		entry := there.Elems[i].Str
		if width == 2 {
			entry += "=" + there.Elems[i+1].Str
		}
		known[entry] = true
	}
	seen := map[string]bool{}
	for i := 0; i+width <= len(members); i += width {
		entry := strings.Join(members[i:i+width], "=")
		again := seen[entry] && (len(args) < 3 || !strings.HasPrefix(args[2], "-"))
		if seen[entry] = true; !known[entry] || again {
			return fmt.Sprintf("%q is no member, or came twice: %s", entry, exact(got))
		}
	}
	if name == "SPOP" && len(members) > 0 {
		if n := r.do(t, append([]string{"SREM", args[1]}, members...)...); n.Int != int64(len(members)) {
			return fmt.Sprintf("took %q, of which Redis had %d", members, n.Int)
		}
	}
	return ""
}

// leaves lists the strings of a reply that is no error.
func leaves(v resp.Value) (out []string) {
	if v.Kind == resp.BulkKind {
		return []string{v.Str}
	}
	for _, e := range v.Elems {
		out = append(out, leaves(e)...)
	}
	return out
}

// form is a reply without the bytes of its strings.
func form(v resp.Value) string {
	if v.Kind == resp.BulkKind {
		v.Str = ""
	}
	if len(v.Elems) == 0 {
		return exact(v)
	}
	parts := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		parts[i] = form(e)
	}
	return string(v.Kind) + "[" + strings.Join(parts, " ") + "]"
}

// exact writes a reply with its kinds.
func exact(v resp.Value) string {
	if len(v.Elems) == 0 {
		return string(v.Kind) + v.String()
	}
	parts := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		parts[i] = exact(e)
	}
	return string(v.Kind) + "[" + strings.Join(parts, " ") + "]"
}

// toleranceMs is how much later one of the two servers may carry out a command.
const toleranceMs = 30_000

// sameReply compares replies, allowing for order where there is none and for time that passed.
func sameReply(args []string, got, want resp.Value) bool {
	name := strings.ToUpper(args[0])
	if name[0] == 'Z' {
		got, want = shortScores(got), shortScores(want)
	}
	switch name {
	case "KEYS", "SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS":
		return got.Kind == want.Kind && sorted(got) == sorted(want)
	case "HGETALL":
		return got.Kind == want.Kind && sorted(pairs(got)) == sorted(pairs(want))
	case "SCAN", "SSCAN":
		return sameScan(got, want, func(v resp.Value) resp.Value { return v })
	case "HSCAN", "ZSCAN":
		return sameScan(got, want, pairs)
	case "SORT", "SORT_RO":
		if sortLeavesOpen(args) {
			return got.Kind == want.Kind && sorted(got) == sorted(want)
		}
	case "RANDOMKEY": // one of the keys; which ones there are, KEYS tells
		return got.Kind == want.Kind
	case "TTL", "EXPIRETIME":
		return near(got, want, toleranceMs/1000)
	case "PTTL", "PEXPIRETIME":
		return near(got, want, toleranceMs)
	}
	return exact(got) == exact(want)
}

// sameScan compares what a call visited, not its cursor.
func sameScan(got, want resp.Value, group func(resp.Value) resp.Value) bool {
	if len(got.Elems) != 2 || len(want.Elems) != 2 {
		return exact(got) == exact(want)
	}
	return exact(got.Elems[0]) == exact(want.Elems[0]) && sorted(group(got.Elems[1])) == sorted(group(want.Elems[1]))
}

// pairs makes an array of pairs of an aggregate of fields and values in turn.
func pairs(v resp.Value) resp.Value {
	out := resp.Value{Kind: resp.ArrayKind}
	for i := 0; i+1 < len(v.Elems); i += 2 {
		out.Elems = append(out.Elems, resp.Value{Kind: resp.ArrayKind, Elems: v.Elems[i : i+2]})
	}
	return out
}

func near(got, want resp.Value, tolerance int64) bool {
	if got.Kind != resp.IntKind || want.Kind != resp.IntKind || got.Int < 0 || want.Int < 0 {
		return exact(got) == exact(want)
	}
	return max(got.Int, want.Int)-min(got.Int, want.Int) <= tolerance
}

// sorted writes the elements of a reply in order; that of a reply without elements is the reply itself.
func sorted(v resp.Value) string {
	if len(v.Elems) == 0 {
		return exact(v)
	}
	elems := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		elems[i] = exact(e)
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
	return g.pick("value", "", "v", "0", "10", "-5", "3.5", "1e3", "9223372036854775807", "-9223372036854775808", " 1", "Hello World", "a\x00\xffb", "Hallo Welt", "World, hello", "abcabcabba", "cbabac")
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

func (g *generator) commonOptions() (opts []string) {
	for range rapid.SampledFrom([]int{0, 1, 1, 2, 2, 3, 4}).Draw(g.t, "options") {
		switch o := g.cased(g.pick("option", "LEN", "IDX", "IDX", "IDX", "WITHMATCHLEN", "WITHMATCHLEN", "MINMATCHLEN", "MINMATCHLEN", "BOGUS")); strings.ToUpper(o) {
		case "MINMATCHLEN":
			opts = append(opts, o, g.pick("length", "0", "1", "2", "3", "-1", "x", "4"))
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

func stringGroup() redisGroup {
	return redisGroup{
		name: "string",
		draw: func(g *generator) []string {
			if g.oneIn(20) {
				return g.pickCommand(g.keyed("HSET", "f", "v"), g.keyed("RPUSH", "e"), g.keyed("SADD", "m"), g.keyed("ZADD", "1", "m"))
			}
			return g.stringCommand()
		},
		reads: func(key string) [][]string { return [][]string{{"GET", key}} },
	}
}

// oneIn draws true once in n times.
func (g *generator) oneIn(n int) bool { return rapid.IntRange(1, n).Draw(g.t, "one in") == n }

// keyed is a command on a key.
func (g *generator) keyed(name string, args ...string) []string {
	return append([]string{g.cased(name), g.key()}, args...)
}

func (g *generator) pickCommand(from ...[]string) []string {
	return rapid.SampledFrom(from).Draw(g.t, "which")
}

// generic draws a command on keys of any type, or one that makes a key of another type.
func (g *generator) generic() []string {
	switch g.pick("generic", "type", "keys", "move", "move", "expiry", "read") {
	case "type":
		return g.pickCommand(g.keyed("SET", "v"), g.keyed("HSET", "f", "v"), g.keyed("RPUSH", "e", "f"), g.keyed("SADD", "m"), g.keyed("ZADD", "1", "m"))
	case "keys":
		return append([]string{g.cased(g.pick("command", "DEL", "UNLINK", "EXISTS"))}, g.keys()...)
	case "move":
		name := g.pick("command", "RENAME", "RENAMENX", "COPY")
		args := g.keyed(name, g.key())
		if name == "COPY" && !g.oneIn(3) {
			args = append(args, "REPLACE")
		}
		return args
	case "expiry":
		return g.pickCommand(g.keyed("EXPIRE", g.relative(1000)), g.keyed("PERSIST"), g.keyed("TTL"))
	default:
		return g.pickCommand(g.keyed("TYPE"), g.keyed("GET"), []string{"SCAN", "0", "COUNT", "1000", "TYPE", g.pick("type", "hash", "list", "set", "string", "zset")}, []string{"DBSIZE"})
	}
}

func (g *generator) stringCommand() []string {
	name := g.pick("command", "GET", "SET", "GETSET", "GETDEL", "GETEX", "SETNX", "SETEX", "PSETEX", "MGET", "MSET", "MSETNX", "APPEND", "STRLEN", "INCR",
		"DECR", "INCRBY", "DECRBY", "INCRBYFLOAT", "GETRANGE", "SUBSTR", "SETRANGE", "DEL", "UNLINK", "EXISTS", "TYPE", "TOUCH", "EXPIRE", "PEXPIRE",
		"EXPIREAT", "PEXPIREAT", "TTL", "PTTL", "LCS", "LCS", "EXPIRETIME", "PEXPIRETIME", "PERSIST", "RENAME", "RENAMENX", "COPY", "SCAN", "KEYS", "RANDOMKEY",
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
	case "LCS":
		return add(append([]string{g.key(), g.key()}, g.commonOptions()...)...)
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
	unknown := map[string]bool{"clusterx": true, "godwit": true, // ours, and then what Redis 7.2 brought or changed
		"client|setinfo": true, "client|no-touch": true, "cluster|myshardid": true, "waitaof": true, "zrank": true, "zrevrank": true,
		// of Redis 8.4, Valkey 9 and Kvrocks
		"cluster|import":    true,
		"cluster|migration": true, "cluster|migrateslots": true, "cluster|getslotmigrations": true, "cluster|cancelslotmigrations": true}
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
		if got, want := keySpecPlaces(got.Elems[8]), keySpecPlaces(want.Elems[8]); got != want {
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
	kept := resp.Value{Kind: v.Kind}
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
