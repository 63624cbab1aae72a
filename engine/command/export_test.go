package command

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
)

var exportSlot = slot.OfKey([]byte("{e}"))

// fillExport writes keys of all types.
func fillExport(t testing.TB, l *local) {
	t.Helper()
	l.do(t, "SET", "{e}s", "v")
	l.do(t, "SET", "{e}t", strings.Repeat("w", 900), "PXAT", "90000")
	for i := range 700 {
		l.do(t, "SADD", "{e}set", fmt.Sprint("m", i))
	}
	for i := range 9 {
		l.do(t, "RPUSH", "{e}list", fmt.Sprint(i, strings.Repeat("x", i*20)))
		l.do(t, "LPUSH", "{e}list", fmt.Sprint("l", i))
		l.do(t, "HSET", "{e}hash", fmt.Sprint("f", i), fmt.Sprint("v", i))
		l.do(t, "ZADD", "{e}zset", fmt.Sprint(0.1*float64(i)), fmt.Sprint("z", i))
	}
	l.do(t, "ZADD", "{e}zset", "-inf", "low", "+inf", "high", "1e-320", "tiny", "0.30000000000000004", "sum")
	l.do(t, "PEXPIREAT", "{e}list", "91000")
	l.do(t, "SET", "{e}\x00zero", "")
}

func digestOf(t testing.TB, l *local) store.Digest {
	t.Helper()
	d, err := data.ContentDigest(l.st, exportSlot)
	if err != nil {
		t.Fatal(err)
	}
	if err := data.CheckSlot(l.st, exportSlot); err != nil {
		t.Fatal(err)
	}
	return d
}

// importAll carries out an export, in place of what is there within a span.
func importAll(t testing.TB, l *local, drop key.Span, commands []byte) {
	t.Helper()
	if err := CheckExport(exportSlot, commands); err != nil {
		t.Fatal(err)
	}
	tx := data.Begin(l.st, data.WriteIndexed, 0)
	tx.SetRand(l.rand)
	tx.DropKeys(exportSlot, drop)
	if err := l.table.Import(&tx, commands, l.rand); err != nil {
		t.Fatal(err)
	}
	tx.Commit()
}

// TestExportIsContent requires that what an export tells, in parts of any size, makes the same content.
func TestExportIsContent(t *testing.T) {
	now := func() int64 { return 1000 }
	from := newLocal(t, resp.V2, now)
	fillExport(t, from)
	want := digestOf(t, from)
	rapid.Check(t, func(r *rapid.T) {
		to := openFuzzed(t, resp.V2, now)
		defer to.close(t)
		lim := store.ChunkLimits{Bytes: rapid.IntRange(1, 20_000).Draw(r, "bytes"), Records: rapid.IntRange(1, 900).Draw(r, "items")}
		parts := 0
		for rest := key.DataSpan(exportSlot); ; parts++ {
			e, err := Export(from.st, exportSlot, rest, lim)
			if err != nil {
				t.Fatal(err)
			}
			if e.Items > lim.Records {
				t.Fatalf("%d items, at most %d were asked for", e.Items, lim.Records)
			}
			importAll(t, to, key.Span{}, e.Commands)
			if rest.Lo = e.Covers.Hi; e.Last {
				break
			}
		}
		if got := digestOf(t, to); got != want {
			t.Fatalf("%d parts made %v of %v", parts, got, want)
		}
	})
}

// TestExportReplaces requires that a key that is dropped and told anew is what it is at the other side, whatever it was.
func TestExportReplaces(t *testing.T) {
	now := func() int64 { return 1000 }
	from, to := newLocal(t, resp.V2, now), newLocal(t, resp.V2, now)
	fillExport(t, from)
	fillExport(t, to)
	to.do(t, "DEL", "{e}list")
	to.do(t, "SADD", "{e}list", "another type")
	to.do(t, "SREM", "{e}set", "m3")
	to.do(t, "SET", "{e}extra", "1")
	to.do(t, "PERSIST", "{e}t")
	for _, user := range []string{"{e}list", "{e}set", "{e}extra", "{e}t"} {
		if digestOf(t, from) == digestOf(t, to) {
			t.Fatalf("equal before %q was replaced", user)
		}
		span := data.ContentSpan(exportSlot, []byte(user))
		e, err := Export(from.st, exportSlot, span, store.ChunkLimits{Bytes: 1 << 30, Records: 1 << 30})
		if err != nil || !e.Last {
			t.Fatal(e, err)
		}
		importAll(t, to, span, e.Commands)
	}
	if a, b := digestOf(t, from), digestOf(t, to); a != b {
		t.Fatalf("%v and %v", a, b)
	}
}

// TestExportRefuses requires that nothing but an export of the slot is carried out.
func TestExportRefuses(t *testing.T) {
	l := newLocal(t, resp.V2, func() int64 { return 1000 })
	request := func(args ...string) []byte { return AppendRequest(nil, byteArgs(args)) }
	for name, b := range map[string][]byte{
		"another command": request("DEL", "{e}a"),
		"another slot":    request("SET", "other", "1"),
		"no arguments":    {0},
		"an arity":        request("HSET", "{e}a", "f"),
		"cut off":         request("SET", "{e}a", "value")[:7],
		"too many":        {0xff, 0xff, 0x7f, 1, 'a'},
		"unknown":         request("NOPE", "{e}a", "1", "2"),
	} {
		if err := CheckExport(exportSlot, b); !errors.Is(err, ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.do(t, "SET", "{e}a", "1")
	tx := data.Begin(l.st, data.WriteIndexed, 0)
	tx.SetRand(l.rand)
	if err := l.table.Import(&tx, request("RPUSH", "{e}a", "1"), l.rand); !errors.Is(err, ErrExport) {
		t.Errorf("an error reply: %v", err)
	}
	tx.Discard()
}
