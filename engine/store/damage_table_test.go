package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/key"
)

// TestDamagedTable flips bits of a table, one at a time: what it holds is then served right, or not at all, and nothing panics. All bits of its end are
// tried, which no checksum covers, and some of the rest.
func TestDamagedTable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openAt(t, fs)
	const keys = 5
	for i := range keys {
		putValue(s, fmt.Sprintf("key %d", i), 1)
	}
	s.Flush()
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Abandon()
	names, err := clone.List("d")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".sst") })
	if len(names) != 1 {
		t.Fatalf("tables: %q", names)
	}
	name := "d/" + names[0]
	right := contentOf(t, clone, name)
	served, refused := 0, 0
	tried := 0
	for at := range right {
		if at < len(right)-64 && at%7 != 0 {
			continue
		}
		tried += 8
		for bit := range 8 {
			wrong := slices.Clone(right)
			wrong[at] ^= 1 << bit
			fs := clone.CrashClone(vfs.CrashCloneCfg{})
			write(t, fs, name, wrong)
			switch why, got := readAll(fs, keys); {
			case why != "":
				refused++
			case got != keys:
				t.Errorf("byte %d of %d, bit %d: %d of %d keys were served", at, len(right), bit, got, keys)
			default:
				served++
			}
		}
	}
	t.Logf("%d bits: served right %d, refused %d", tried, served, refused)
	if refused < tried/2 {
		t.Errorf("of %d bits %d were noticed", tried, refused)
	}
	if why, got := readAll(clone, keys); why != "" || got != keys {
		t.Errorf("the right table: %s, %d keys", why, got)
	}
}

// readAll opens a directory and looks for the keys, by themselves and in order. It returns why that was refused, or how many were there as they should be.
func readAll(fs vfs.FS, keys int) (refused string, right int) {
	s, err := Open(Options{
		FS: fs, Dir: "d", Syncer: &heldSyncer{}, Fatal: func(err error) { refused = err.Error() },
		Sim: &Sim{IgnoreLogSync: func(bool) {}, Caches: NewCaches()},
	})
	if err != nil {
		return err.Error(), 0
	}
	defer s.Abandon()
	it, err := s.NewIter(key.Span{Hi: []byte("l")})
	if err != nil {
		return err.Error(), 0
	}
	inOrder := 0
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Key()) == fmt.Sprintf("key %d", inOrder) {
			inOrder++
		}
	}
	if err := it.Close(); err != nil {
		return err.Error(), 0
	}
	for i := range inOrder {
		v, ok, err := s.Get([]byte(fmt.Sprintf("key %d", i)))
		if err != nil {
			return err.Error(), 0
		}
		if ok && bytes.Equal(v, make([]byte, 1)) {
			right++
		}
	}
	return refused, right
}
