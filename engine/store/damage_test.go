package store

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writtenDir makes a directory with a table, a MANIFEST of some records and a log of some chunks, as a process leaves it that is killed.
func writtenDir(t *testing.T) vfs.FS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s := openAt(t, fs)
	for i := range 3 {
		put(s, fmt.Sprintf("table %d", i))
	}
	s.Flush()
	for i := range 5 {
		put(s, fmt.Sprintf("log %d", i)+strings.Repeat("x", 10<<10*(i/4)))
	}
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Abandon()
	return clone
}

func openAt(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := tryOpen(fs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryOpen(fs vfs.FS) (*Store, error) {
	return Open(Options{
		FS: fs, Dir: "d", Syncer: &heldSyncer{}, Fatal: func(err error) { panic(err) },
		Sim: &Sim{IgnoreLogSync: func(bool) {}, Caches: NewCaches()},
	})
}

func put(s *Store, k string) {
	b := s.NewBatch()
	b.Set([]byte(k), []byte("v"))
	s.Commit(b)
}

// names lists the logs and MANIFESTs.
func names(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	all, err := fs.List("d")
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(n string) bool { return !strings.HasSuffix(n, ".log") && !strings.HasPrefix(n, "MANIFEST") })
	slices.Sort(all)
	return all
}

func contentOf(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// used is how much of a file its chunks take, from the beginning.
func used(name string, b []byte) int {
	c := chunks{header: manifestHeader}
	if strings.HasSuffix(name, ".log") {
		c.header = logHeader
		_, _ = fmt.Sscanf(name, "%d.log", &c.log)
	}
	at := 0
	for {
		size, ok := c.right(b[at:min(len(b), (at/chunkBlock+1)*chunkBlock)])
		if !ok {
			return at
		}
		at += size
	}
}

// TestDamage flips every bit of a MANIFEST and a log, one at a time: the directory must not open.
func TestDamage(t *testing.T) {
	fs := writtenDir(t)
	flipped := 0
	for _, name := range names(t, fs) {
		right := contentOf(t, fs, "d/"+name)
		n := used(name, right)
		for at := range n {
			if at > 200 && at < n-200 && at%37 != 0 {
				continue // within a long value
			}
			for bit := range 8 {
				wrong := slices.Clone(right)
				wrong[at] ^= 1 << bit
				write(t, fs, "d/"+name, wrong)
				flipped++
				if err := checkDamage(fs, "d"); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s, byte %d of %d, bit %d: %v", name, at, n, bit, err)
				}
			}
		}
		write(t, fs, "d/"+name, right)
	}
	if flipped < 5_000 {
		t.Errorf("%d bits were flipped only", flipped)
	}
	openAt(t, fs).Abandon()
}

// TestDamageOfMany overwrites parts of chunks that have two others behind them: the next one need not say yet that they were synced.
func TestDamageOfMany(t *testing.T) {
	fs := writtenDir(t)
	for _, name := range names(t, fs) {
		right := contentOf(t, fs, "d/"+name)
		n := used(name, right)
		if n < 150 {
			continue
		}
		for at := range min(n/3, 90) {
			wrong := slices.Clone(right)
			for i := range 5 {
				wrong[at+i] ^= 0xa5
			}
			write(t, fs, "d/"+name, wrong)
			if _, err := tryOpen(fs); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s, byte %d of %d: %v", name, at, n, err)
			}
		}
		write(t, fs, "d/"+name, right)
	}
}

// TestTornIsNotDamage cuts the log off at every byte, and fills what was cut off with zeros or with what an older log had there: the directory
// opens.
func TestTornIsNotDamage(t *testing.T) {
	fs := writtenDir(t)
	list := names(t, fs)
	log := "d/" + list[slices.IndexFunc(list, func(n string) bool { return strings.HasSuffix(n, ".log") && used(n, contentOf(t, fs, "d/"+n)) > 1000 })]
	right := contentOf(t, fs, log)
	older := slices.Clone(right)
	for i := range older {
		older[i] ^= byte(i*7 + 3)
	}
	for at := range used(log[2:], right) {
		if at > 600 && at%101 != 0 {
			continue
		}
		for _, tail := range [][]byte{nil, make([]byte, len(right)-at), older[at:]} {
			write(t, fs, log, append(slices.Clone(right[:at]), tail...))
			if err := checkDamage(fs, "d"); err != nil {
				t.Fatalf("cut at byte %d, %d bytes behind it: %v", at, len(tail), err)
			}
		}
	}
}
