package command

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
	"strings"
	"testing"

	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// FuzzRequests: whatever the arguments, a command gives exactly one well-formed reply (invariant 1), an error only if it wrote nothing
// (invariant 3), and the slots stay consistent. Arguments are separated by newlines.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{"SET\nk\nv\nEX\n10", "GETEX\nk\nPERSIST", "SETRANGE\nk\n100\nx", "INCRBYFLOAT\nk\n1e400", "SCAN\n5\nMATCH\n[\nCOUNT\n1", "COPY\nk\nj\nDB\n0",
		"MSETNX\nk\n1\nk\n2", "DEL\nk\nk", "COMMAND\nGETKEYS\nMSET\na", "COMMAND\nLIST\nFILTERBY\nACLCAT\nread", "PEXPIRE\nk\n-5\nLT", "GETRANGE\nk\n-1\n5", "FLUSHALL", "KEYS\n*[", "RENAME\nk\nj",
		"HSET\nh\nf\n1\nf\n2", "HDEL\nh\nf\ng", "HINCRBYFLOAT\nh\nf\n1e400", "HRANDFIELD\nh\n-5\nWITHVALUES", "HSCAN\nh\n7\nMATCH\n[\nCOUNT\n1", "HGETALL\nh", "COPY\nh\nk\nREPLACE",
		"SADD\ns\na\na", "SPOP\ns\n2", "SPOP\ns", "SMOVE\ns\nt\nm", "SUNIONSTORE\ns\ns\nt", "SINTERCARD\n2\ns\nt\nLIMIT\n1", "SINTERCARD\n9\ns", "SRANDMEMBER\ns\n-9", "SDIFFSTORE\nh\ns\ns", "RENAME\nh\ns", "LCS\nk\nj\nIDX\nMINMATCHLEN\n1", "RESTORE-ASKING\nn\n0\nx"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, request string, exists bool) {
		args := strings.Split(request, "\n")
		if strings.EqualFold(args[0], "setrange") && len(args) > 2 && len(args[2]) > 6 {
			return // half a gigabyte of zeros is right, but slow
		}
		l := openFuzzed(t, resp.V3, fixed(1_000_000))
		defer l.close(t)
		keys := []string{"k", "j", "h", "s", "t"}
		if exists {
			l.do(t, "SET", "k", "10", "PX", "5")
			l.do(t, "HSET", "h", "f", "1", "g", "x")
			l.do(t, "SADD", "s", "m", "n", "o")
			l.do(t, "SADD", "t", "m")
		}
		before := l.st.Last()
		v := l.do(t, args...)
		if v.Kind == resp.ErrorKind && l.st.Last() != before {
			t.Fatalf("%q wrote something and answered %s", args, v)
		}
		for _, a := range args {
			if len(a) <= key.MaxUserKey {
				keys = append(keys, a)
			}
		}
		l.check(t, keys...)
	})
}

// sealed adds the footer of a payload: the version of RDB that Redis 7.2 writes, and the checksum, which fuzzing would not guess.
func sealed(body []byte) string {
	const jones = 0x95ac9329ac4bc9b5 // the reversed polynomial of Redis' CRC-64
	b := append(append([]byte(nil), body...), 11, 0)
	return string(binary.LittleEndian.AppendUint64(b, ^crc64.Update(^uint64(0), crc64.MakeTable(jones), b)))
}

// FuzzRestore: whatever the payload, RESTORE writes a value that is right in itself or nothing, and a value that it has taken is dumped and
// restored as the same.
func FuzzRestore(f *testing.F) {
	for _, body := range []string{
		"\x00\x05value", "\x00\xc0\x07", "\x01\x02\x01a\x01b", "\x02\x01\x01m", "\x04\x01\x01f\x01v", "\x05\x01\x01m\x00\x00\x00\x00\x00\x00\xf8\x3f",
		"\x03\x01\x01m\x031.5", "\x14\x0d\x0d\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff", "\x0b\x0a\x02\x00\x00\x00\x01\x00\x00\x00\x07\x00",
		"\x12\x01\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff",
	} {
		f.Add([]byte(body), "0", false)
		f.Add([]byte(body), "1000", true)
	}
	f.Fuzz(func(t *testing.T, body []byte, ttl string, raw bool) {
		payload := sealed(body)
		if raw {
			payload = string(body)
		}
		l := openFuzzed(t, resp.V3, fixed(1_000_000))
		defer l.close(t)
		before := l.st.Last()
		v := l.do(t, "RESTORE", "{k}a", ttl, payload)
		l.check(t, "{k}a")
		if v.Kind == resp.ErrorKind {
			if l.st.Last() != before {
				t.Fatalf("%q was refused, %s, and wrote something", payload, v)
			}
			return
		}
		dumped := l.do(t, "DUMP", "{k}a")
		if dumped.Kind != resp.BulkKind {
			t.Fatalf("a restored value is dumped as %s", dumped)
		}
		if v := l.do(t, "RESTORE", "{k}b", "0", dumped.Str); v.Str != "OK" {
			t.Fatalf("what was dumped is not restored: %s", v)
		}
		l.check(t, "{k}a")
		if again := l.do(t, "DUMP", "{k}b"); sortedBytes(again.Str) != sortedBytes(dumped.Str) {
			t.Fatalf("%q is dumped as %q, which is dumped as %q", body, dumped.Str, again.Str)
		}
	})
}

// sortedBytes is what two dumps of one value have in common: the order of its elements and the checksum may differ.
func sortedBytes(dump string) (counts [256]int) {
	for _, c := range []byte(dump[:max(len(dump)-8, 0)]) {
		counts[c]++
	}
	return counts
}

// FuzzDamage: whatever a disk gives back for a record, an element and an entry of the score index, no command panics: each answers, or the
// transaction fails with an error that says what is damaged.
func FuzzDamage(f *testing.F) {
	const generation = "generation01"
	for _, record := range []string{
		"\x11\x00value", "\x12\x00" + generation + "\x00\x00\x00\x00\x00\x00\x00\x01", "\x14\x00" + generation + "\x00\x00\x00\x00\x00\x00\x00\x02",
		"\x13\x00" + generation + "\x00\x00\x00\x00\x00\x00\x00\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
		"\x15\x00" + generation + "\x00\x00\x00\x00\x00\x00\x00\x01", "\x12\x00" + generation + "\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		f.Add([]byte(record), []byte("\x00\x00\x00\x00m"), []byte("\x80\x00\x00\x00\x00\x00\x00\x00"), []byte("\x80\x00\x00\x00\x00\x00\x00\x00m"))
		f.Add([]byte(record), []byte("\x80\x00\x00\x00\x00\x00\x00\x00"), []byte("\x00value"), []byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
		f.Add([]byte(record), []byte("\x80\x00\x00\x00\x00\x00\x00\x00"), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x07hash"), []byte("\x00\x00\x00\x00\x00\x00\x00\x07"))
	}
	f.Fuzz(func(t *testing.T, record, element, value, score []byte) {
		l := openFuzzed(t, resp.V3, fixed(1_000_000))
		defer l.close(t)
		for _, request := range []string{
			"GET k", "STRLEN k", "INCR k", "TYPE k", "TTL k", "DUMP k", "OBJECT ENCODING k", "MEMORY USAGE k", "HGETALL k", "HGET k m", "HDEL k m", "HRANDFIELD k 5 WITHVALUES",
			"HSCAN k 0", "HINCRBY k m 1", "LRANGE k 0 -1", "LINDEX k 0", "LINDEX k -1", "LPOP k", "RPUSH k x", "LREM k 0 x", "LINSERT k BEFORE value x", "LPOS k value", "LTRIM k 1 0",
			"SMEMBERS k", "SPOP k", "SPOP k 3", "SRANDMEMBER k -3", "SADD k m n", "SUNION k k", "ZRANGE k 0 -1 WITHSCORES", "ZRANK k m", "ZADD k 5 m", "ZPOPMIN k", "ZREM k m",
			"ZRANGEBYSCORE k -inf +inf", "ZRANDMEMBER k 2 WITHSCORES", "ZREMRANGEBYRANK k 0 0", "SORT k", "COPY k j REPLACE", "RENAME k j", "EXPIRE k 10", "SCAN 0", "DEL k",
		} {
			l.plant(record, element, value, score)
			if err := l.attempt(t, byteArgs(strings.Fields(request))); err != nil && !errors.Is(err, data.ErrCorrupt) {
				t.Fatalf("%s: %v", request, err)
			}
			_ = data.CheckSlot(l.st, slot.OfKey([]byte("k"))) // finds fault or does not
		}
	})
}

// plant writes a record of the key k and parts of its collection as they are given.
func (l *local) plant(record, element, value, score []byte) {
	s := slot.OfKey([]byte("k"))
	b := l.st.NewBatch()
	b.DeleteRange(key.SlotSpan(s))
	b.Set(key.AppendRecord(nil, s, []byte("k")), record)
	if r, err := data.DecodeRecord(record); err == nil {
		b.Set(append(key.AppendElement(nil, s, key.Element, r.Generation), element...), value)
		b.Set(append(key.AppendElement(nil, s, key.Score, r.Generation), score...), value)
	}
	l.st.Commit(b)
}
