package command

import (
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/engine/resp"
)

// samplePayloads are those of the package rdb that Redis 7.0 reads too, by name.
func samplePayloads(t interface{ Fatal(args ...any) }) (names []string, byName map[string]string) {
	text, err := os.ReadFile("../rdb/testdata/payloads.txt")
	if err != nil {
		t.Fatal(err)
	}
	byName = map[string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.SplitN(line, " ", 3)
		if words[0] == "#" || words[0] == "set-listpack" {
			continue
		}
		raw, err := hex.DecodeString(words[1])
		if err != nil {
			t.Fatal(err)
		}
		names, byName[words[0]] = append(names, words[0]), string(raw)
	}
	return names, byName
}

// anyReads are commands that together show all of a key of any type.
func anyReads(key string) [][]string {
	return [][]string{{"GET", key}, {"LRANGE", key, "0", "-1"}, {"SMEMBERS", key}, {"HGETALL", key}, {"ZRANGE", key, "0", "-1", "WITHSCORES"}}
}

// dumpGroup restores payloads that Redis made, and damaged ones.
func dumpGroup() redisGroup {
	return redisGroup{
		name: "dump",
		draw: func(g *generator) []string {
			switch {
			case g.oneIn(6):
				return g.generic()
			case g.oneIn(6):
				return g.pickCommand(anyReads(g.key())...)
			}
			return g.restore()
		},
		reads: anyReads,
	}
}

func (g *generator) restore() []string {
	ttl := "0"
	if g.oneIn(3) {
		ttl = g.pick("ttl", "-1", "x", "", "-9223372036854775808", "9223372036854775808", g.relative(1), g.relative(1), g.relative(1))
		if ttl == "9223372036854775807" { // Redis adds the time of day to it, and the key expires in the past
			ttl = "1000000"
		}
	}
	var options []string
	for range g.small("options") {
		switch o := g.cased(g.pick("option", "REPLACE", "REPLACE", "REPLACE", "ABSTTL", "IDLETIME", "FREQ", "BOGUS")); strings.ToUpper(o) {
		case "ABSTTL":
			options = append(options, o)
			ttl = g.pick("absolute", "1", "0", "4102444800000", "4102444801000", "-1", "x")
		case "IDLETIME":
			options = append(options, o, g.pick("idle", "0", "10", "10", "-1", "x"))
		case "FREQ":
			options = append(options, o, g.pick("freq", "0", "255", "255", "256", "-1", ""))
		default:
			options = append(options, o)
		}
	}
	if g.oneIn(20) {
		options = append(options, g.pick("alone", "IDLETIME", "FREQ"))
	}
	return g.keyed("RESTORE", append([]string{ttl, g.payload()}, options...)...)
}

func (g *generator) payload() string {
	if g.oneIn(10) {
		return g.pick("odd payload", "", "x", "0123456789", "\x00\x01a\x0b\x00", "\x00\x01a\xff\xff01234567")
	}
	names, byName := samplePayloads(g.t)
	payload := []byte(byName[rapid.SampledFrom(names).Draw(g.t, "payload")])
	if g.oneIn(10) {
		payload[rapid.IntRange(0, len(payload)-1).Draw(g.t, "damaged")] ^= 1 << rapid.IntRange(0, 7).Draw(g.t, "bit")
	}
	return string(payload)
}

// TestDumpAgainstRedis carries random values of each type from here to a real Redis and back, by DUMP and RESTORE, and compares all that
// they hold, expiry included.
func TestDumpAgainstRedis(t *testing.T) {
	r, ok := startRedis(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so payloads were not exchanged with a real Redis")
		return
	}
	for _, group := range []redisGroup{stringGroup(), bitmapGroup(), listGroup(), setGroup(), hashGroup(), sortedSetGroup()} {
		t.Run(group.name, func(t *testing.T) {
			carried := 0
			rapid.Check(t, func(rt *rapid.T) { carried += carryKeys(t, rt, r, group) })
			t.Logf("%d values carried each way", carried)
		})
	}
}

// carryKeys makes random values at both servers, and restores in each what the other dumps. It returns the number of values.
func carryKeys(t *testing.T, rt *rapid.T, r *redis, group redisGroup) (carried int) {
	l := newLocal(t, resp.V2, func() int64 { return time.Now().UnixMilli() })
	r.do(t, "HELLO", "2")
	r.do(t, "FLUSHALL")
	for _, limit := range []struct {
		setting string
		n       int
	}{{"hash-max-listpack-entries", 128}, {"zset-max-listpack-entries", 128}, {"set-max-intset-entries", 512}, {"list-max-listpack-size", -2}} {
		if rapid.Bool().Draw(rt, limit.setting) {
			limit.n = 2
		}
		r.do(t, "CONFIG", "SET", limit.setting, strconv.Itoa(limit.n))
	}
	g := generator{t: rt, far: 10_000}
	for range rapid.IntRange(1, 40).Draw(rt, "commands") {
		args := group.draw(&g)
		if problem := compare(t, l, r, args); problem != "" {
			rt.Fatalf("%q: %s", args, problem)
		}
	}
	for _, k := range genKeys {
		ours, theirs := l.do(t, "DUMP", k), r.do(t, "DUMP", k)
		if ours.Kind != theirs.Kind {
			rt.Fatalf("DUMP %q: %s, Redis says %s", k, exact(ours), exact(theirs))
		}
		if ours.Kind == resp.NullKind {
			continue
		}
		carried++
		when := strconv.FormatInt(max(l.do(t, "PEXPIRETIME", k).Int, 0), 10)
		for _, s := range []struct {
			server
			payload string
		}{{l, theirs.Str}, {r, ours.Str}} {
			if v := s.do(t, "RESTORE", k, when, s.payload, "ABSTTL"); !strings.Contains(exact(v), "BUSYKEY") {
				rt.Fatalf("RESTORE over %q: %s", k, exact(v))
			}
			if v := s.do(t, "RESTORE", k, when, s.payload, "ABSTTL", "REPLACE"); exact(v) != "+OK" {
				rt.Fatalf("RESTORE %q of %x: %s", k, s.payload, exact(v))
			}
		}
		for _, args := range append(group.reads(k), []string{"TYPE", k}, []string{"PEXPIRETIME", k}) {
			if problem := compare(t, l, r, args); problem != "" {
				rt.Fatalf("restored, %q: %s", args, problem)
			}
		}
	}
	l.check(t, genKeys...)
	return carried
}
