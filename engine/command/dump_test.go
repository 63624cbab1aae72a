package command

import (
	"strconv"
	"strings"
	"testing"

	"godwit/engine/data"
	"godwit/engine/rdb"
	"godwit/engine/resp"
)

// TestRestoreSamples: payloads in all encodings make keys from which DUMP makes payloads of the same value.
func TestRestoreSamples(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1000))
	names, byName := samplePayloads(t)
	for _, name := range names {
		if v := l.do(t, "RESTORE", name, "5000", byName[name]).String(); v != "OK" {
			t.Errorf("%s: %s", name, v)
			continue
		}
		if v := l.do(t, "PEXPIRETIME", name).Int; v != 6000 {
			t.Errorf("%s expires at %d", name, v)
		}
		if v := l.do(t, "RESTORE", name+"2", "0", l.do(t, "DUMP", name).Str).String(); v != "OK" {
			t.Errorf("%s of our own payload: %s", name, v)
		}
		for i, args := range anyReads(name) {
			got, want := l.do(t, anyReads(name + "2")[i]...), l.do(t, args...)
			if sorted(got) != sorted(want) {
				t.Errorf("%s: %.200s, was %.200s", name, exact(got), exact(want))
			}
		}
		l.check(t, name, name+"2")
	}
}

// TestRestoreRefused: a payload that is refused changes nothing, also with REPLACE; an expiry that is past removes the key.
func TestRestoreRefused(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1000))
	long := []byte(strings.Repeat("m", data.MaxElement+1))
	payload := func(typ rdb.Type, elements ...[]byte) string {
		n := len(elements)
		if typ == rdb.Hash {
			n /= 2
		}
		w := rdb.NewWriter(typ, uint64(n))
		for _, e := range elements {
			w.Element(e)
			if typ == rdb.ZSet {
				w.Score(1)
			}
		}
		return string(w.Finish())
	}
	l.do(t, "SET", "k", "v")
	for name, c := range map[string]struct{ ttl, payload, want string }{
		"a member too long":        {"0", payload(rdb.Set, long), errElementTooLong},
		"a scored member too long": {"0", payload(rdb.ZSet, long), errElementTooLong},
		"a field too long":         {"0", payload(rdb.Hash, long, long), errElementTooLong},
		"an empty set":             {"0", payload(rdb.Set), errBadFormat},
		"a member twice":           {"0", payload(rdb.Set, long[:1], long[:1]), errBadFormat},
		"no payload":               {"0", "nothing", errPayload},
		"a time out of range":      {"9223372036854775807", payload(rdb.Set, long[:1]), errExpire("restore")},
	} {
		before := l.st.Last()
		if v := l.do(t, "RESTORE", "k", c.ttl, c.payload, "REPLACE").String(); v != "(error) "+c.want || l.st.Last() != before || l.do(t, "GET", "k").Str != "v" {
			t.Errorf("%s: %s", name, v)
		}
	}
	for name, p := range map[string]string{
		"the longest member": payload(rdb.Set, long[1:]), "a long element": payload(rdb.List, long), "a long value": payload(rdb.Hash, long[1:], long),
	} {
		if v := l.do(t, "RESTORE", "k", "0", p, "REPLACE").String(); v != "OK" {
			t.Errorf("%s: %s", name, v)
		}
		l.check(t, "k")
	}
	if v := l.do(t, "RESTORE", "k", "1000", payload(rdb.Set, long[:1]), "REPLACE", "ABSTTL").String(); v != "OK" || l.do(t, "EXISTS", "k").Int != 0 {
		t.Errorf("with an expiry that is past: %s", v)
	}
	l.check(t, "k")
}

// TestDumpLimit: a payload that would be too large for a reply is an error, whatever the type.
func TestDumpLimit(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	l.replyLimit = 1000
	for i := range 100 {
		n := strconv.Itoa(i)
		l.do(t, "RPUSH", "list", "an element "+n)
		l.do(t, "SADD", "set", "a member of a length "+n)
		l.do(t, "HSET", "hash", "field"+n, "value")
		l.do(t, "ZADD", "zset", n, "a member"+n)
		l.do(t, "SADD", "small", n)
	}
	for _, k := range []string{"list", "set", "hash", "zset"} {
		if v := l.do(t, "DUMP", k).String(); v != "(error) "+errReplyTooBig {
			t.Errorf("%s: %.100s", k, v)
		}
	}
	if v := l.do(t, "DUMP", "small"); v.Kind != resp.BulkKind {
		t.Errorf("%.100s", v)
	}
}
