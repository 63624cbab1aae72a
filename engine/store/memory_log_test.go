package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
)

const logPath = "d/" + memoryLogFile

// writtenLog is the log of a store that held "a" when it was put in place, then got "b", which was synced, and "c" and "d", which
// were not. ends are the ends of the installed part and of the three records.
func writtenLog(t testing.TB) (raw []byte, ends []int64) {
	t.Helper()
	fs := vfs.NewMem()
	st := mustOpen(t, memoryOptions(fs))
	set(st, "a", "1")
	mustClose(t, st)
	o := memoryOptions(fs)
	st = mustOpen(t, o)
	end := func() { ends = append(ends, st.kv.(*memory).log.end) }
	end()
	st.WhenDurable(set(st, "b", "2"), func() {})
	o.Syncer.(*heldSyncer).run()
	end()
	set(st, "c", "3")
	end()
	b := st.NewBatch()
	b.DeleteRange(key.Span{Lo: []byte("a"), Hi: []byte("b")})
	b.Delete([]byte("x"))
	b.Set([]byte("d"), []byte("4"))
	st.Commit(b)
	end()
	raw = []byte(files(t, fs, "d")[memoryLogFile])
	st.Abandon()
	return raw, ends
}

// read is what a log holds, as keys in order.
func read(raw []byte) (string, error) {
	r := newRecords()
	err := readLog(bytes.Clone(raw), &r)
	var keys strings.Builder
	r.tree.Scan(func(r *record) bool { keys.Write(r.key); return true })
	return keys.String(), err
}

func TestMemoryLogGolden(t *testing.T) {
	raw, ends := writtenLog(t)
	golden(t, "testdata/memory-log-v1.golden", fmt.Sprintf("%s\n%v\n", hex.Dump(raw), ends))
}

// TestMemoryLogTorn cuts the log at every byte: what was put in place must be whole, and of the rest whole records count.
func TestMemoryLogTorn(t *testing.T) {
	raw, ends := writtenLog(t)
	for n := range len(raw) + 1 {
		got, err := read(raw[:n])
		want := "a"
		switch {
		case n < int(ends[0]):
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%d bytes: %q, %v", n, got, err)
			}
			continue
		case n >= int(ends[3]):
			want = "bcd"
		case n >= int(ends[2]):
			want = "abc"
		case n >= int(ends[1]):
			want = "ab"
		}
		if err != nil || got != want {
			t.Errorf("%d bytes: %q, %v; want %q", n, got, err, want)
		}
	}
}

// TestMemoryLogDamaged changes every byte: damage of what a later record knows as synced is an error, and of the rest a tail that
// was lost.
func TestMemoryLogDamaged(t *testing.T) {
	raw, ends := writtenLog(t)
	for n := range raw {
		bad := bytes.Clone(raw)
		bad[n] ^= 1
		got, err := read(bad)
		switch {
		case n < int(ends[1]): // installed, and what the records behind it vouch for
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d: %q, %v", n, got, err)
			}
		case n < int(ends[2]):
			if err != nil || got != "ab" {
				t.Errorf("byte %d: %q, %v", n, got, err)
			}
		default:
			if err != nil || got != "abc" {
				t.Errorf("byte %d: %q, %v", n, got, err)
			}
		}
	}
}

// TestMemoryLogGivenUp: a whole record behind a hole that was not synced is given up for good: it does not come back behind
// what is written later.
func TestMemoryLogGivenUp(t *testing.T) {
	raw, ends := writtenLog(t)
	for i := ends[1]; i < ends[2]; i++ {
		raw[i] = 0
	}
	fs := vfs.NewMem()
	mustClose(t, mustOpen(t, memoryOptions(fs)))
	writeFile(t, fs, logPath, string(raw))
	all := key.Span{Lo: []byte("a"), Hi: []byte("z")}
	for range 3 {
		st := mustOpen(t, memoryOptions(fs))
		got := content(t, st, all)
		delete(got, "e")
		if len(got) != 2 || got["a"] != "1" || got["b"] != "2" {
			t.Fatalf("the store shows %v", got)
		}
		set(st, "e", strings.Repeat("x", int(ends[2]-ends[1])))
		mustClose(t, st)
	}
}

// TestMemoryLogReplaced: a long log is replaced, and again, and what it holds stays.
func TestMemoryLogReplaced(t *testing.T) {
	fs := vfs.NewMem()
	st := mustOpen(t, memoryOptions(fs))
	longest := 0
	for i := range 3000 {
		set(st, fmt.Sprint("k", i%10), strings.Repeat("v", 100)+fmt.Sprint(i))
		longest = max(longest, len(files(t, fs, "d")[memoryLogFile]))
	}
	if longest < logLong || longest > 2*logLong {
		t.Errorf("the log had up to %d bytes", longest)
	}
	mustClose(t, st)
	st = mustOpen(t, memoryOptions(fs))
	defer mustClose(t, st)
	for i := 2990; i < 3000; i++ {
		wantValue(t, st, fmt.Sprint("k", i%10), strings.Repeat("v", 100)+fmt.Sprint(i))
	}
	if m := st.Metrics(); !strings.Contains(m, "10 records") {
		t.Error(m)
	}
}

// TestDamagedLogIsNotOpened: the error reaches who opens the store, and the directory can be opened by another one then.
func TestDamagedLogIsNotOpened(t *testing.T) {
	raw, _ := writtenLog(t)
	fs := vfs.NewMem()
	mustClose(t, mustOpen(t, memoryOptions(fs)))
	raw[logHead+recordHead] ^= 1
	writeFile(t, fs, logPath, string(raw))
	for range 2 {
		if _, err := Open(memoryOptions(fs)); !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	}
}

func FuzzReadLog(f *testing.F) {
	raw, _ := writtenLog(f)
	f.Add(raw, 0, byte(0))
	f.Add(raw, 60, byte(7))
	f.Add([]byte{}, 0, byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at int, with byte) {
		if at >= 0 && at < len(b) {
			b[at] ^= with
		}
		r := newRecords()
		if err := readLog(b, &r); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
