package disk_test

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/sim/disk"
)

var errMedium = errors.New("the medium failed")

func TestFailSync(t *testing.T) {
	f := disk.New(disk.Options{})
	check(t, f.MkdirAll("d", 0o755))
	put(t, f, "d/a.sst", "")
	syncDir(t, f, "/")
	syncDir(t, f, "/d")
	file := appendTo(t, f, "d/a.sst", "x")
	for _, glob := range []string{"*.sst", "/d/*.sst", "a.*"} {
		check(t, f.FailSync(glob, errMedium))
		wantErr(t, "Sync", file.Sync(), errMedium)
		wantErr(t, "SyncData", file.SyncData(), errMedium)
		want(t, "durable", get(t, crash(f, 1, 0), "d/a.sst"), "")
		check(t, f.FailSync(glob, nil))
	}
	check(t, f.FailSync("*.log", errMedium))
	check(t, file.Sync())
	want(t, "durable", get(t, crash(f, 1, 0), "d/a.sst"), "x")
	want(t, "failed", f.Counters().SyncsFailed, 6)

	check(t, f.FailSync("/d", errMedium))
	put(t, f, "d/b", "")
	d, err := f.OpenDir("d")
	check(t, err)
	wantErr(t, "Sync of a directory", d.Sync(), errMedium)
	wantNames(t, crash(f, 1, 0), "/d", "a.sst")
	check(t, f.FailSync("/d", nil))
	check(t, d.Sync())
	wantNames(t, crash(f, 1, 0), "/d", "a.sst", "b")

	wantErr(t, "a malformed pattern", f.FailSync("[", errMedium), path.ErrBadPattern)
}

func TestFailRead(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "x")
	file, err := f.Open("a")
	check(t, err)
	check(t, f.FailRead("a", errMedium))
	_, err = file.ReadAt(make([]byte, 1), 0)
	wantErr(t, "ReadAt", err, errMedium)
	_, err = file.Read(make([]byte, 1))
	wantErr(t, "Read", err, errMedium)
	check(t, f.FailRead("a", nil))
	_, err = file.ReadAt(make([]byte, 1), 0)
	check(t, err)
	wantErr(t, "a malformed pattern", f.FailRead("[", errMedium), path.ErrBadPattern)
}

func TestFlipRead(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "abc")
	put(t, f, "b", "abc")
	check(t, f.FlipRead("a", 1))
	check(t, f.Rename("a", "c"))
	want(t, "read", get(t, f, "c"), "acc")
	want(t, "read of another file", get(t, f, "b"), "abc")
	want(t, "flipped", f.Counters().ReadsFlipped, 1)
	file, err := f.Open("c")
	check(t, err)
	b := make([]byte, 1)
	_, err = file.ReadAt(b, 2)
	check(t, err)
	want(t, "read beside it", string(b), "c")
	want(t, "after a crash", get(t, crash(f, 1, 100), "c"), "abc")
	f.ReadRight()
	want(t, "read", get(t, f, "c"), "abc")
	wantErr(t, "a byte that is not there", f.FlipRead("c", 3), fs.ErrInvalid)
	wantErr(t, "a file that is not there", f.FlipRead("a", 0), fs.ErrNotExist)
}

// TestLoss checks that a crash says what it took.
func TestLoss(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "")
	want(t, "loss before a crash", f.Loss(), disk.Loss{})
	want(t, "loss of nothing", crash(f, 1, 100).Loss(), disk.Loss{})
	if loss := crash(f, 1, 0).Loss(); loss.Blocks != 0 || loss.Torn != 0 || loss.Entries == 0 {
		t.Errorf("a file whose entry was not synced: %+v", loss)
	}
	syncDir(t, f, "/")
	appendTo(t, f, "a", strings.Repeat("x", 3*disk.BlockBytes))
	want(t, "loss of the blocks", crash(f, 1, 0).Loss(), disk.Loss{Blocks: 3})
	for seed := uint64(1); ; seed++ {
		if seed > 1000 {
			t.Fatal("no block was torn")
		}
		c := crash(f, seed, 50)
		if c.Loss().Torn > 0 {
			break
		}
	}
}

func TestCapacity(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "0123456789")
	f.SetCapacity(15)
	file := appendTo(t, f, "a", "")
	n, err := file.WriteAt([]byte("abcdefgh"), 10)
	want(t, "written of 8", n, 5)
	wantErr(t, "WriteAt", err, disk.ErrNoSpace)
	wantErr(t, "as the system says it", err, syscall.ENOSPC)
	want(t, "as Pebble asks", vfs.IsNoSpaceError(err), true)
	want(t, "content", get(t, f, "a"), "0123456789abcde")
	n, err = file.WriteAt([]byte("ABC"), 0) // what does not grow needs no room
	check(t, err)
	want(t, "overwritten", n, 3)
	n, err = file.WriteAt([]byte("x"), 100)
	want(t, "written behind the end", n, 0)
	wantErr(t, "WriteAt behind the end", err, disk.ErrNoSpace)

	u, err := f.GetDiskUsage("/")
	check(t, err)
	want(t, "usage", u, vfs.DiskUsage{AvailBytes: 0, TotalBytes: 15, UsedBytes: 15})
	want(t, "a clone is as full", usage(t, crash(f, 1, 100)), u)

	// A second name costs nothing; a removal frees when the last one has gone and Settle was called.
	check(t, f.Link("a", "b"))
	check(t, f.Remove("a"))
	f.Settle()
	want(t, "used", usage(t, f).UsedBytes, 15)
	check(t, f.Remove("b"))
	want(t, "used before Settle", usage(t, f).UsedBytes, 15)
	f.Settle()
	want(t, "used after Settle", usage(t, f).UsedBytes, 0)
	check(t, f.MkdirAll("d/e", 0o755))
	put(t, f, "d/e/c", "0123456789")
	put(t, f, "c", "01234")
	check(t, f.Rename("c", "d/e/c"))
	want(t, "used after a replacement", usage(t, f).UsedBytes, 5)
	check(t, f.RemoveAll("d"))
	f.Settle()
	want(t, "used after RemoveAll", usage(t, f).UsedBytes, 0)
	f.SetCapacity(0)
	put(t, f, "a", strings.Repeat("x", 100))
}

func usage(t testing.TB, f *disk.FS) vfs.DiskUsage {
	t.Helper()
	u, err := f.GetDiskUsage("/")
	check(t, err)
	return u
}

func TestFlipBit(t *testing.T) {
	f := disk.New(disk.Options{})
	put(t, f, "a", "abc")
	syncDir(t, f, "/")
	overwrite(t, f, "a", "ABC", 0)
	check(t, f.FlipBit("a", 1))
	want(t, "now", get(t, f, "a"), "ACC")
	want(t, "synced", get(t, crash(f, 1, 0), "a"), "acc")
	want(t, "both", get(t, crash(f, 1, 100), "a"), "ACC")
	wantErr(t, "a missing file", f.FlipBit("b", 0), fs.ErrNotExist)
	wantErr(t, "behind the end", f.FlipBit("a", 3), fs.ErrInvalid)
	wantErr(t, "before the start", f.FlipBit("a", -1), fs.ErrInvalid)
	if f.FlipBit("/", 0) == nil {
		t.Fatal("FlipBit of a directory succeeds")
	}
}

func TestLockError(t *testing.T) {
	f := disk.New(disk.Options{})
	l, err := f.Lock("LOCK")
	check(t, err)
	_, err = f.Lock("/./LOCK")
	wantErr(t, "Lock", err, disk.ErrLocked)
	wantErr(t, "as a real lock says it", err, syscall.EAGAIN)
	var held interface{ LockHeld() bool }
	want(t, "as the store asks", errors.As(err, &held) && held.LockHeld(), true)
	want(t, "text", err.Error(), "lock /LOCK: the lock is held by another user of this disk")
	check(t, l.Close())
	l2, err := f.Lock("LOCK")
	check(t, err)
	wantErr(t, "a second Close", l.Close(), fs.ErrClosed)
	_, err = f.Lock("LOCK")
	wantErr(t, "the second Close released nothing", err, disk.ErrLocked)
	check(t, l2.Close())
}

func TestLimits(t *testing.T) {
	f := disk.New(disk.Options{})
	file := appendTo(t, f, "a", "x")
	if _, err := file.WriteAt([]byte("x"), 1<<62); err == nil {
		t.Fatal("a file of 4 EiB is possible")
	}
	if _, err := file.WriteAt([]byte("x"), 1<<63-1); err == nil {
		t.Fatal("a file of 8 EiB is possible")
	}
	for _, err := range []error{
		f.Remove("/"), f.RemoveAll("/"), f.Rename("/", "x"), f.Rename("a", "/"), f.Link("a", "/"),
	} {
		if err == nil {
			t.Fatal("the root can be replaced")
		}
	}
	if _, err := f.Create("/", vfs.WriteCategoryUnspecified); err == nil {
		t.Fatal("the root can be created")
	}
	if _, err := f.OpenDir("a"); err == nil {
		t.Fatal("OpenDir opens a file")
	}
	check(t, f.MkdirAll("/", 0o755))
}

// TestConcurrentUse lets the race detector look at everything at once.
func TestConcurrentUse(t *testing.T) {
	f := disk.New(disk.Options{OnOp: func(disk.Op) {}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := string(rune('a' + i))
			for range 50 {
				put(t, f, name, "content")
				overwrite(t, f, name, "C", 0)
				_ = f.Link("a", name+"2")
				_, _ = f.List("/")
				_ = crash(f, 1, 50).String()
				_ = f.Remove(name)
				f.Settle()
				_ = f.Counters()
			}
		})
	}
	wg.Wait()
}
