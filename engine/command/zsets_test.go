package command

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"godwit/engine/data"
	"godwit/engine/resp"
)

// TestSortedSetLimits: members that are too long are refused before anything is written, and replies that would be too large take nothing
// away.
func TestSortedSetLimits(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	l.replyLimit = 2000
	longest := strings.Repeat("e", data.MaxElement)
	if got := l.do(t, "ZADD", "long", "1", longest).String(); got != "1" {
		t.Errorf("the longest member: %s", got)
	}
	for _, args := range [][]string{{"ZADD", "long", "1", "a", "2", longest + "e"}, {"ZADD", "long", "INCR", "2", longest + "e"}, {"ZINCRBY", "long", "1", longest + "e"}} {
		before := l.st.Last()
		if got := l.do(t, args...).String(); got != "(error) "+errElementTooLong || l.st.Last() != before {
			t.Errorf("%s with a member too long: %s", args[0], got)
		}
	}
	for i := range 100 {
		l.do(t, "ZADD", "z", strconv.Itoa(i), "a member of a length "+strconv.Itoa(i))
	}
	for _, request := range []string{
		"ZRANGE z 0 -1", "ZRANGE z -inf inf BYSCORE", "ZREVRANGEBYLEX z + -", "ZPOPMIN z 100", "ZPOPMAX z 90", "ZMPOP 1 z MIN COUNT 90", "BZMPOP 0 1 z MIN COUNT 90",
		"ZRANDMEMBER z 90", "ZRANDMEMBER z -1000000000", "ZUNION 1 z", "ZINTER 2 z z WITHSCORES", "ZDIFF 1 z", "ZSCAN z 0 COUNT 1000",
	} {
		if got := l.do(t, strings.Fields(request)...).String(); got != "(error) "+errReplyTooBig {
			t.Errorf("%s: %.100s", request, got)
		}
		l.check(t, "z")
	}
	if got := l.do(t, "ZPOPMIN", "z", "20"); len(got.Elems) != 40 {
		t.Errorf("ZPOPMIN: %.100s", got)
	}
	if got := l.do(t, "ZCARD", "z").Int; got != 80 {
		t.Errorf("%d members are left of 80", got)
	}
}

// TestBigSortedSet: what is done to a few members of a large sorted set, or to all, does not write more than with a small one.
func TestBigSortedSet(t *testing.T) {
	const n = 50_000
	l := newLocal(t, resp.V2, fixed(1))
	for from := 0; from < n; from += 10_000 {
		l.tx.Reset(l.st, data.Write, 1)
		z, _ := l.tx.OpenSortedSet([]byte("{z}"))
		for i := range 10_000 {
			z.Fill(fmt.Append(nil, "m", from+i), float64(from+i))
		}
		z.Save()
		l.tx.Commit()
	}
	for request, want := range map[string]string{
		"ZRANK {z} m40000": "40000", "ZREVRANK {z} m49999": "0", "ZRANGE {z} 25000 25000": `["m25000"]`, "ZRANGE {z} 49999 49999 REV": `["m0"]`,
		"ZRANGEBYSCORE {z} (100 +inf LIMIT 3 1": `["m104"]`, "ZCOUNT {z} 10 (20": "10", "ZREVRANGEBYSCORE {z} 99 0 LIMIT 0 1": `["m99"]`,
	} {
		if got := l.do(t, strings.Fields(request)...).String(); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
	for _, request := range []string{
		"ZADD {z} 5 m9", "ZREM {z} m8", "ZPOPMIN {z}", "ZPOPMAX {z} 2", "ZREMRANGEBYRANK {z} 100 101", "RENAME {z} {z}2", "ZREMRANGEBYRANK {z}2 0 -1",
	} {
		l.do(t, strings.Fields(request)...)
		if l.written > 500 {
			t.Errorf("%s wrote %d bytes", request, l.written)
		}
	}
	if v := l.do(t, "DBSIZE"); v.Int != 0 {
		t.Errorf("%s keys are left", v)
	}
	l.check(t, "{z}")
}
