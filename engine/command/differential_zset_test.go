package command

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/engine/resp"
)

func sortedSetGroup() redisGroup {
	return redisGroup{
		name: "zset",
		draw: func(g *generator) []string {
			if g.oneIn(6) {
				return g.generic()
			}
			return g.sortedSetCommand()
		},
		reads: func(key string) [][]string {
			return [][]string{{"ZRANGE", key, "0", "-1", "WITHSCORES"}, {"ZCARD", key}}
		},
	}
}

// shortScores gives numbers in a reply one form: 7.0 writes 17 digits, and 7.2 the fewest, which other tests pin.
func shortScores(v resp.Value) resp.Value {
	return mapNumbers(v, func(f float64) float64 { return f })
}

// unsignedZeros makes zeros of minus zeros. Redis forgets the sign in small sorted sets, as we do in all, and keeps it in large ones.
func unsignedZeros(v resp.Value) resp.Value {
	return mapNumbers(v, func(f float64) float64 { return f + 0 }) // minus zero plus zero is zero
}

func mapNumbers(v resp.Value, change func(float64) float64) resp.Value {
	if v.Kind == resp.BulkKind || v.Kind == resp.DoubleKind {
		if f, err := strconv.ParseFloat(v.Str, 64); err == nil {
			v.Str = strconv.FormatFloat(change(f), 'g', -1, 64)
		}
	}
	elems := v.Elems
	v.Elems = nil
	for _, e := range elems {
		v.Elems = append(v.Elems, mapNumbers(e, change))
	}
	return v
}

// keepsSigns reports whether Redis has a sorted set that is so large that it keeps the sign of a zero.
func keepsSigns(t testing.TB, r *redis) bool {
	for _, k := range append([]string{lexKey}, genKeys...) {
		if r.do(t, "OBJECT", "ENCODING", k).Str == "skiplist" {
			return true
		}
	}
	return false
}

// TestPoppedSignAgainstRedis has the one large sorted set popped empty, so that only what was there before says why a sign was kept.
func TestPoppedSignAgainstRedis(t *testing.T) {
	r, ok := startRedis(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so signs were not compared with those of a real Redis")
		return
	}
	l := newLocal(t, resp.V2, func() int64 { return time.Now().UnixMilli() })
	r.do(t, "CONFIG", "SET", "zset-max-listpack-entries", "2")
	for _, pop := range []string{"ZPOPMAX a 100", "ZPOPMIN a 100", "ZMPOP 1 a MIN COUNT 100"} {
		for _, command := range []string{"ZADD a 0 b inf c -0 d", pop, "ZCARD a"} {
			if problem := compare(t, l, r, strings.Fields(command)); problem != "" {
				t.Errorf("%s: %s", command, problem)
			}
		}
	}
}

// compareRandomScored compares ZRANDMEMBER: the replies must have the same form, and ours must be of members that there are, with their
// scores, and different ones where a count is not negative.
func compareRandomScored(t testing.TB, l *local, r *redis, args []string) string {
	want, got := r.do(t, args...), l.do(t, args...)
	differ := fmt.Sprintf("got %s, Redis says %s", exact(got), exact(want))
	flat, flatWant := leavesOf(got), leavesOf(want)
	if got.Kind != want.Kind || len(got.Elems) != len(want.Elems) || len(flat) != len(flatWant) {
		return differ
	}
	if got.Kind != resp.BulkKind && got.Kind != resp.ArrayKind {
		if exact(got) != exact(want) {
			return differ
		}
		return ""
	}
	step := 1
	if len(args) == 4 {
		step = 2
	}
	seen := map[string]bool{}
	for i := 0; i < len(flat); i += step {
		score := l.do(t, "ZSCORE", args[1], flat[i].Str)
		again := seen[flat[i].Str] && !strings.HasPrefix(args[2], "-")
		if seen[flat[i].Str] = true; score.Kind == resp.NullKind || again || step == 2 && (exact(score) != exact(flat[i+1]) || flat[i+1].Kind != flatWant[i+1].Kind) {
			return fmt.Sprintf("%q is no member, has another score, or came twice: %s", flat[i].Str, exact(got))
		}
	}
	return ""
}

func leavesOf(v resp.Value) (out []resp.Value) {
	if v.Kind != resp.ArrayKind {
		return []resp.Value{v}
	}
	for _, e := range v.Elems {
		out = append(out, leavesOf(e)...)
	}
	return out
}

func (g *generator) score() string {
	return g.pick("score", "0", "-0", "0", "1", "1", "2", "3", "-1", "-2.5", "0.1", "1e3", "inf", "-inf", "3.14159265358979", "1e20", "-1e-7", "1000000000000000000000", "x", "nan", "",
		"+5", " 1", "0x10", "1e400", "1e-400", "Infinity", "5.")
}

func (g *generator) scoredMembers() (args []string) {
	for range 1 + g.small("pairs") {
		args = append(args, g.score(), g.member())
	}
	if g.oneIn(30) {
		args = append(args, "alone")
	}
	if g.oneIn(30) {
		for i := range 140 {
			args = append(args, strconv.Itoa(i%7), "m"+strconv.Itoa(i%135))
		}
	}
	return args
}

func (g *generator) scoreBound() string {
	return g.pick("bound", "-inf", "+inf", "inf", "0", "1", "(1", "2", "(-1", "(inf", "(-inf", "0.1", "1000", "(", "", "x", "nan", "1e400", " 1", "[1")
}

func (g *generator) lexBound() string {
	return g.pick("lex", "-", "+", "-", "+", "[a", "(a", "[b", "(c", "[", "(", "[a longer member", "x", "", "++", "[\xff")
}

func (g *generator) limit() []string {
	if !g.oneIn(3) {
		return nil
	}
	return []string{g.cased("LIMIT"), g.pick("offset", "0", "1", "2", "-1", "x", "100"), g.pick("limit", "0", "1", "2", "-1", "-5", "100", "x")}
}

func (g *generator) withScores() []string {
	switch g.pick("withscores", "no", "yes", "yes", "odd") {
	case "yes":
		return []string{g.cased("WITHSCORES")}
	case "odd":
		if g.oneIn(5) {
			return []string{g.pick("odd", "BOGUS", "LIMIT", "REV", "BYLEX", "BYSCORE", "WITHSCORE")}
		}
	}
	return nil
}

// rangeArgs draws the bounds and options of ZRANGE and ZRANGESTORE.
func (g *generator) rangeArgs() (args []string) {
	switch g.pick("by", "rank", "rank", "score", "score", "lex") {
	case "rank":
		args = []string{g.index(), g.index()}
	case "score":
		args = append([]string{g.scoreBound(), g.scoreBound(), g.cased("BYSCORE")}, g.limit()...)
	default:
		args = append([]string{g.lexBound(), g.lexBound(), g.cased("BYLEX")}, g.limit()...)
	}
	if g.oneIn(2) {
		args = append(args, g.cased("REV"))
	}
	if g.oneIn(20) {
		args = append(args, "LIMIT", "0", "1")
	}
	return args
}

// combineArgs draws number of keys, keys and options of ZUNION and its kin.
func (g *generator) combineArgs() []string {
	keys := g.keys()
	args := append([]string{g.numKeys(keys)}, keys...)
	if g.oneIn(3) {
		args = append(args, g.cased("WEIGHTS"))
		for range keys {
			args = append(args, g.pick("weight", "1", "2", "0.5", "-1", "inf", "3", "x"))
		}
	}
	if g.oneIn(3) {
		args = append(args, g.cased("AGGREGATE"), g.cased(g.pick("aggregate", "SUM", "MIN", "MAX", "MIN", "MAX", "BOGUS")))
	}
	return args
}

func (g *generator) sortedSetCommand() []string {
	name := g.pick("command", "ZADD", "ZADD", "ZADD", "ZADD", "ZADD", "ZINCRBY", "ZSCORE", "ZMSCORE", "ZREM", "ZREM", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZRANK", "ZREVRANK",
		"ZRANGE", "ZRANGE", "ZRANGE", "ZRANGESTORE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZREVRANGE", "ZPOPMIN", "ZPOPMAX", "ZMPOP", "ZRANDMEMBER",
		"ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREMRANGEBYLEX", "ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZINTERCARD", "ZSCAN", "SADD")
	switch name {
	case "ZADD":
		args := g.keyed(name)
		for range g.small("options") {
			args = append(args, g.cased(g.pick("option", "NX", "XX", "GT", "LT", "CH", "INCR", "CH", "INCR")))
		}
		if strings.Contains(strings.ToUpper(strings.Join(args, " ")), "INCR") && !g.oneIn(5) {
			return append(args, g.score(), g.member())
		}
		return append(args, g.scoredMembers()...)
	case "ZINCRBY":
		return g.keyed(name, g.score(), g.member())
	case "ZSCORE", "ZRANK", "ZREVRANK":
		return g.keyed(name, g.member())
	case "ZMSCORE", "ZREM", "SADD":
		return g.keyed(name, g.members()...)
	case "ZCOUNT", "ZREMRANGEBYSCORE":
		return g.keyed(name, g.scoreBound(), g.scoreBound())
	case "ZLEXCOUNT", "ZREMRANGEBYLEX":
		return g.sameScored(name, g.lexBound(), g.lexBound())
	case "ZREMRANGEBYRANK":
		return g.keyed(name, g.index(), g.index())
	case "ZRANGE":
		return g.ranged(g.keyed(name), append(g.rangeArgs(), g.withScores()...))
	case "ZRANGESTORE":
		return g.ranged(g.keyed(name, g.key()), g.rangeArgs())
	case "ZRANGEBYSCORE", "ZREVRANGEBYSCORE":
		return append(g.keyed(name, g.scoreBound(), g.scoreBound()), append(g.limit(), g.withScores()...)...)
	case "ZRANGEBYLEX", "ZREVRANGEBYLEX":
		return append(g.sameScored(name, g.lexBound(), g.lexBound()), append(g.limit(), g.withScores()...)...)
	case "ZREVRANGE":
		return append(g.keyed(name, g.index(), g.index()), g.withScores()...)
	case "ZPOPMIN", "ZPOPMAX":
		args := g.keyed(name)
		if g.oneIn(2) {
			args = append(args, g.count())
		}
		if g.oneIn(20) {
			args = append(args, "BOGUS", "1")
		}
		return args
	case "ZMPOP":
		keys := g.keys()
		args := append([]string{g.cased(name), g.numKeys(keys)}, keys...)
		return append(append(args, g.cased(g.pick("end", "MIN", "MAX", "MIN", "MAX", "MIN", "MAX", "LEFT"))), g.popTail()...)
	case "ZRANDMEMBER":
		args := g.keyed(name)
		if g.oneIn(3) {
			return args
		}
		return append(append(args, g.count()), g.withScores()...)
	case "ZUNION", "ZINTER", "ZDIFF":
		return append(append([]string{g.cased(name)}, g.combineArgs()...), g.withScores()...)
	case "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE":
		return g.keyed(name, g.combineArgs()...)
	case "ZINTERCARD":
		keys := g.keys()
		args := append([]string{g.cased(name), g.numKeys(keys)}, keys...)
		if g.oneIn(2) {
			args = append(args, g.cased("LIMIT"), g.pick("limit", "0", "1", "2", "100", "-1", "x", ""))
		}
		return args
	case "ZSCAN":
		return g.keyed(name, append([]string{g.pick("cursor", "0", "0", "0", "x", "-1x", "")}, g.scanTail()...)...)
	default:
		return g.keyed(name)
	}
}

// lexKey is the key for ranges by lex: they have a meaning only where all members have one score.
const lexKey = "{a}lex"

// sameScored is a command on lexKey, or in its place one that adds to that.
func (g *generator) sameScored(name string, args ...string) []string {
	if g.oneIn(3) {
		args = []string{"ZADD", lexKey}
		for range 1 + g.small("members") {
			args = append(args, "0", g.member())
		}
		return args
	}
	return append([]string{g.cased(name), lexKey}, args...)
}

// ranged puts a command and the arguments of its range together. A range by lex is one of lexKey.
func (g *generator) ranged(command, args []string) []string {
	if strings.Contains(strings.ToUpper(strings.Join(args, " ")), "BYLEX") {
		command[len(command)-1] = lexKey
		if command[1] == lexKey && len(command) == 3 {
			command[1] = "a"
		}
	}
	return append(command, args...)
}
