package command

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"godwit/engine/data"
	"godwit/engine/resp"
)

// TestElementLimit: the longest element is accepted wherever one is written, a longer one is refused before anything is, and where it
// is only looked for it is not found.
func TestElementLimit(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	longest := strings.Repeat("e", data.MaxElement)
	for request, want := range map[string]string{
		"HSET h a 1 %s 2": "2", "HSETNX h2 %s 1": "1", "HINCRBY h3 %s 1": "1", "HINCRBYFLOAT h4 %s 1": `"1"`, "HMSET h5 %s 1": "OK", "SADD s a %s": "2",
	} {
		command := strings.Fields(request)[0]
		key := strings.Fields(request)[1]
		ok, tooLong := strings.Fields(fmt.Sprintf(request, longest)), strings.Fields(fmt.Sprintf(request, longest+"e"))
		if got := l.do(t, ok...).String(); got != want {
			t.Errorf("%s with the longest element: %s", command, got)
		}
		before := l.st.Last()
		if got := l.do(t, tooLong...).String(); got != "(error) "+errElementTooLong || l.st.Last() != before {
			t.Errorf("%s with an element too long: %s", command, got)
		}
		l.check(t, key)
	}
	for _, args := range [][]string{{"HGET", "h", longest + "e"}, {"HDEL", "h", longest + "e"}, {"SISMEMBER", "s", longest + "e"}, {"SMOVE", "s", "x", longest + "e"}} {
		if got := l.do(t, args...).String(); got != "0" && got != "(nil)" {
			t.Errorf("%s of an element too long: %s", args[0], got)
		}
	}
}

// TestReplyLimit: a reply that would become too large is an error, and takes nothing away.
func TestReplyLimit(t *testing.T) {
	for _, version := range []resp.Version{resp.V2, resp.V3} {
		l := newLocal(t, version, fixed(1))
		l.replyLimit = 2000
		for i := range 100 {
			l.do(t, "HSET", "h", "field"+strconv.Itoa(i), "value")
			l.do(t, "SADD", "s", "a member of a length "+strconv.Itoa(i))
		}
		for _, request := range []string{
			"HGETALL h", "HSCAN h 0 COUNT 1000", "HRANDFIELD h 90 WITHVALUES", "HRANDFIELD h -200 WITHVALUES", "HRANDFIELD h -1000000000", "HRANDFIELD h -9223372036854775807",
			"SMEMBERS s", "SUNION s s", "SINTER s s", "SDIFF s none", "SPOP s 100", "SPOP s 90", "SRANDMEMBER s 90", "SRANDMEMBER s -200", "SSCAN s 0 COUNT 1000",
		} {
			if got := l.do(t, strings.Fields(request)...).String(); got != "(error) "+errReplyTooBig {
				t.Errorf("%s: %.100s", request, got)
			}
			l.check(t, "h", "s")
		}
		for request, want := range map[string]int{"HRANDFIELD h 20": 20, "SRANDMEMBER s -20": 20, "HSCAN h 0 COUNT 20": 2, "SPOP s 20": 20} {
			if got := l.do(t, strings.Fields(request)...); len(got.Elems) != want {
				t.Errorf("%s: %.100s", request, got)
			}
		}
		if got := l.do(t, "SCARD", "s").Int; got != 80 {
			t.Errorf("%d members are left of 80", got)
		}
	}
}

// TestBigHash: a hash of many fields is renamed, expired and deleted as fast as a small one, as the size of what is written
// shows, and scanned in parts.
func TestBigHash(t *testing.T) {
	const n = 200_000
	now := int64(1000)
	l := newLocal(t, resp.V2, func() int64 { return now })
	for from := 0; from < n; from += 10_000 {
		l.tx.Reset(l.st, data.Write, 1)
		h, _ := l.tx.Open([]byte("{h}"), data.Hash)
		for i := range 10_000 {
			h.Fill(fmt.Append(nil, "field", from+i), []byte("v"))
		}
		h.Save()
		l.tx.Commit()
	}
	if got := l.do(t, "HLEN", "{h}").Int; got != n {
		t.Fatalf("%d fields", got)
	}
	seen, cursor, calls := 0, "0", 0
	for {
		v := l.do(t, "HSCAN", "{h}", cursor, "COUNT", "10000")
		seen += len(v.Elems[1].Elems) / 2
		calls++
		if cursor = v.Elems[0].Str; cursor == "0" {
			break
		}
	}
	if seen != n || calls > 21 {
		t.Errorf("%d fields in %d calls", seen, calls)
	}
	for _, request := range []string{"RENAME {h} {h}2", "PEXPIRE {h}2 1", "GET {h}2"} {
		if request[0] == 'G' {
			now += 10 // expired
		}
		l.do(t, strings.Fields(request)...)
		if l.written > 300 {
			t.Errorf("%s wrote %d bytes", request, l.written)
		}
	}
	if v := l.do(t, "DBSIZE"); v.Int != 0 {
		t.Errorf("%s keys are left", v)
	}
	l.check(t, "{h}")
}

// TestMemoryUsage: all samples give the bytes of every key on disk, few give an estimate of the same size, and a string is exact.
func TestMemoryUsage(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	l.do(t, "SET", "s", strings.Repeat("v", 1000), "EX", "100")
	if got := l.do(t, "MEMORY", "USAGE", "s").Int; got != 1000+10+10+14 { // value, key, head with expiry, index
		t.Errorf("a string of 1000 bytes takes %d", got)
	}
	for i := range 500 {
		l.do(t, "HSET", "h", "field"+strconv.Itoa(100+i), strings.Repeat("v", 50))
	}
	const element = 17 + 4 + 8 + 50
	all, few := l.do(t, "MEMORY", "USAGE", "h", "SAMPLES", "0").Int, l.do(t, "MEMORY", "USAGE", "h").Int
	if all != 500*element+10+22 || few != all {
		t.Errorf("a hash of %d bytes takes %d, by samples %d", 500*element, all, few)
	}
	l.do(t, "HSET", "one", "f", "v")
	if got := l.do(t, "MEMORY", "USAGE", "one").Int; got != 12+22+17+4+1+1 {
		t.Errorf("a hash of one field takes %d", got)
	}
}
