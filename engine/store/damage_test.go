package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// firstLogDir is a directory that was never flushed.
func firstLogDir(t *testing.T) vfs.FS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s := openAt(t, fs)
	for i := range 5 {
		put(s, fmt.Sprintf("log %d", i))
	}
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Abandon()
	return clone
}

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

func put(s *Store, k string) { putValue(s, k, 1) }

func putValue(s *Store, k string, size int) {
	b := s.NewBatch()
	b.Set([]byte(k), make([]byte, size))
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

// used is how much of a file its chunks take, from the beginning, and where the last one begins.
func used(name string, b []byte) (n, last int) {
	var c chunks
	if strings.HasSuffix(name, ".log") {
		c.isLog = true
		_, _ = fmt.Sscanf(name, "%d.log", &c.log)
	}
	at := 0
	for {
		size, ok := c.right(b[at:min(len(b), (at/chunkBlock+1)*chunkBlock)])
		if !ok {
			return at, last
		}
		last = at
		at += size
	}
}

// TestDamage flips every bit of a MANIFEST and a log but for its last chunk, one at a time: the directory must not open.
func TestDamage(t *testing.T) {
	t.Run("first log", func(t *testing.T) { flipAll(t, firstLogDir(t)) })
	t.Run("later logs", func(t *testing.T) { flipAll(t, writtenDir(t)) })
}

func flipAll(t *testing.T, fs vfs.FS) {
	t.Helper()
	flipped := 0
	for _, name := range names(t, fs) {
		right := contentOf(t, fs, "d/"+name)
		n, last := used(name, right)
		if strings.HasSuffix(name, ".log") {
			n = last
		}
		for at := range n {
			if at > 200 && at < n-200 && at%37 != 0 {
				continue // within a long value
			}
			for bit := range 8 {
				wrong := slices.Clone(right)
				wrong[at] ^= 1 << bit
				if bytes.Count(wrong[at:], []byte{0}) == len(wrong)-at {
					continue // as a torn write leaves it
				}
				write(t, fs, "d/"+name, wrong)
				flipped++
				if err := checkDamage(fs, "d"); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s, byte %d of %d, bit %d: %v", name, at, n, bit, err)
				}
			}
		}
		write(t, fs, "d/"+name, right)
	}
	if flipped < 1_000 {
		t.Errorf("%d bits were flipped only", flipped)
	}
	openAt(t, fs).Abandon()
}

// TestAcknowledgedBitsAreNoticed flips bits of what was acknowledged, one at a time, also where nothing was written since, and where a record goes on
// in other blocks: the directory must not open.
func TestAcknowledgedBitsAreNoticed(t *testing.T) {
	for _, rotated := range []bool{false, true} {
		for _, size := range []int{1, chunkBlock - 200, 3 * chunkBlock} {
			t.Run(fmt.Sprintf("rotated %v, %d bytes", rotated, size), func(t *testing.T) {
				fs := vfs.NewCrashableMem()
				o := testOptions(fs)
				s := mustOpen(t, o)
				if rotated {
					put(s, "before")
					s.Flush()
				}
				putValue(s, "k", size)
				s.WhenDurable(s.Last(), func() {})
				o.Syncer.(*heldSyncer).run()
				clone := fs.CrashClone(vfs.CrashCloneCfg{})
				s.Abandon()
				list := names(t, clone)
				list = slices.DeleteFunc(list, func(n string) bool { return !strings.HasSuffix(n, ".log") })
				log := list[len(list)-1]
				right := contentOf(t, clone, "d/"+log)
				_, last := used(log, right)
				if last < size {
					t.Fatalf("the last chunk of %s begins at %d", log, last)
				}
				for at := range last {
					if near := at % chunkBlock; near > 60 && near < chunkBlock-60 && last-at > 60 && at%1009 != 0 {
						continue
					}
					wrong := slices.Clone(right)
					wrong[at] ^= 1 << (at % 8)
					write(t, clone, "d/"+log, wrong)
					if err := checkDamage(clone, "d"); !errors.Is(err, ErrDamaged) {
						t.Fatalf("%s, byte %d of %d: %v", log, at, last, err)
					}
				}
				if _, err := Open(testOptions(clone)); !errors.Is(err, ErrDamaged) {
					t.Errorf("opens: %v", err)
				}
				write(t, clone, "d/"+log, right)
				mustClose(t, mustOpen(t, testOptions(clone)))
			})
		}
	}
}

// TestDamageOfFirstRecord flips each bit of the first of some records, on each engine: a store must not open, least of all without the others.
func TestDamageOfFirstRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		fs := vfs.NewCrashableMem()
		o := options(fs)
		s := mustOpen(t, o)
		first, log, right := 0, "", []byte(nil)
		for i := range 3 {
			s.WhenDurable(set(s, fmt.Sprint("k", i), "acknowledged"), func() {})
			o.Syncer.(*heldSyncer).run()
			for _, n := range names(t, fs) {
				if strings.HasSuffix(n, ".log") {
					log, right = "d/"+n, contentOf(t, fs, "d/"+n)
				}
			}
			if i == 0 {
				first = len(bytes.TrimRight(right, "\x00"))
			}
		}
		clone := fs.CrashClone(vfs.CrashCloneCfg{})
		s.Abandon()
		if first < 40 {
			t.Fatalf("the first record ends at %d", first)
		}
		for at := range first {
			for bit := range 8 {
				wrong := slices.Clone(right)
				wrong[at] ^= 1 << bit
				write(t, clone, log, wrong)
				if s, err := Open(options(clone)); !errors.Is(err, ErrDamaged) {
					t.Errorf("byte %d of %d, bit %d: %v", at, first, bit, err)
					if err == nil {
						s.Abandon()
					}
				}
			}
		}
	})
}

// TestDamageOfMany overwrites parts of chunks that have two others behind them: the next one need not say yet that they were synced.
func TestDamageOfMany(t *testing.T) {
	fs := writtenDir(t)
	for _, name := range names(t, fs) {
		right := contentOf(t, fs, "d/"+name)
		n, _ := used(name, right)
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

// TestFullBlocks ends a block of a log in every way: the filling behind its last chunk is no damage, a flipped bit in that chunk is.
func TestFullBlocks(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		for size := chunkBlock - 100; size < chunkBlock; size++ {
			fs := vfs.NewCrashableMem()
			s := openAt(t, fs)
			if flushed {
				put(s, "before")
				s.Flush()
			}
			putValue(s, "long", size)
			for range 4 {
				put(s, "behind")
			}
			clone := fs.CrashClone(vfs.CrashCloneCfg{})
			s.Abandon()
			if err := checkDamage(clone, "d"); err != nil {
				t.Fatalf("a value of %d bytes: %v", size, err)
			}
			list := slices.DeleteFunc(names(t, clone), func(n string) bool { return !strings.HasSuffix(n, ".log") })
			log := "d/" + list[len(list)-1]
			wrong := contentOf(t, clone, log)
			wrong[size/2] ^= 1
			write(t, clone, log, wrong)
			if err := checkDamage(clone, "d"); !errors.Is(err, ErrDamaged) {
				t.Fatalf("a bit of a value of %d bytes: %v", size, err)
			}
		}
	}
}

// TestTornIsNotDamage cuts the log off at every byte, and fills what was cut off with zeros or with what an older log had there: the directory
// opens.
func TestTornIsNotDamage(t *testing.T) {
	fs := writtenDir(t)
	list := names(t, fs)
	var log string
	var right []byte
	var end int
	for _, name := range list {
		b := contentOf(t, fs, "d/"+name)
		if n, _ := used(name, b); strings.HasSuffix(name, ".log") && n > end {
			log, right, end = "d/"+name, b, n
		}
	}
	older := slices.Clone(right)
	for i := range older {
		older[i] ^= byte(i*7 + 3)
	}
	for at := range end {
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
