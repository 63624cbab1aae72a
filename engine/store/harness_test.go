package store

import (
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
)

var update = flag.Bool("update", false, "write the golden files anew")

// heldSyncer keeps the sync rounds that were scheduled until the test runs them.
type heldSyncer struct {
	mu   sync.Mutex
	runs []func()
	made int // how many were ever scheduled
}

func (h *heldSyncer) Schedule(run func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runs = append(h.runs, run)
	h.made++
}

// run executes the rounds that are scheduled now, and reports how many.
func (h *heldSyncer) run() int {
	h.mu.Lock()
	runs := h.runs
	h.runs = nil
	h.mu.Unlock()
	for _, r := range runs {
		r()
	}
	return len(runs)
}

func testOptions(fs vfs.FS) Options {
	return Options{
		FS: fs, Dir: "d", Syncer: &heldSyncer{}, Fatal: func(err error) { panic(err) },
		CacheBytes: 1 << 20, MemTableBytes: 1 << 20,
	}
}

// memoryOptions are those of a store in memory.
func memoryOptions(fs vfs.FS) Options {
	o := testOptions(fs)
	o.Sim = &Sim{Memory: true}
	return o
}

// onBoth runs a test on each engine.
func onBoth(t *testing.T, test func(t *testing.T, options func(vfs.FS) Options)) {
	t.Run("pebble", func(t *testing.T) { test(t, testOptions) })
	t.Run("memory", func(t *testing.T) { test(t, memoryOptions) })
}

// openMem opens a store on Pebble on a disk of its own in memory, closed at the end of the test.
func openMem(t testing.TB) *Store {
	t.Helper()
	return openOn(t, testOptions)
}

// openOn opens a store of its own, closed at the end of the test.
func openOn(t testing.TB, options func(vfs.FS) Options) *Store {
	t.Helper()
	st := mustOpen(t, options(vfs.NewMem()))
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	st, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func mustClose(t testing.TB, st *Store) {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// set commits one record.
func set(st *Store, k, v string) Position {
	b := st.NewBatch()
	b.Set([]byte(k), []byte(v))
	return st.Commit(b)
}

func wantValue(t testing.TB, r Reader, k, want string) {
	t.Helper()
	v, found, err := r.Get([]byte(k))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(v); !found || got != want {
		t.Errorf("%q is %q, found %v; want %q", k, got, found, want)
	}
}

func wantNone(t testing.TB, r Reader, k string) {
	t.Helper()
	if v, found, err := r.Get([]byte(k)); err != nil || found {
		t.Errorf("%q is %q, found %v, %v; want none", k, v, found, err)
	}
}

// content is what a reader shows of a span.
func content(t rapid.TB, r Reader, span key.Span) map[string]string {
	t.Helper()
	it, err := r.NewIter(span)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key())] = string(it.Value())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// files is the content of each file of a directory.
func files(t testing.TB, fs vfs.FS, dir string) map[string]string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
		f.Close()
	}
	return out
}

func writeFile(t testing.TB, fs vfs.FS, path, text string) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// golden compares a text with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// numbered is the key of record i of a slot, in an order that has nothing to do with i.
func numbered(s slot.Slot, i int) []byte {
	return key.AppendRecord(nil, s, binary.BigEndian.AppendUint32(nil, uint32(i)))
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 1)) }
