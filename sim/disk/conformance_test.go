package disk_test

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/sim/disk"
)

// TestConformance runs the same cases on the real disk and on the simulated one: what they show must be equal.
func TestConformance(t *testing.T) {
	worlds := []struct {
		name string
		make func(t *testing.T) (vfs.FS, string)
	}{
		{"real", func(t *testing.T) (vfs.FS, string) { return vfs.Default, t.TempDir() }},
		{"simulated", func(t *testing.T) (vfs.FS, string) {
			f := disk.New(disk.Options{})
			check(t, f.MkdirAll("/base", 0o755))
			return f, "/base"
		}},
	}
	for _, w := range worlds {
		for _, c := range conformance {
			t.Run(w.name+"/"+c.name, func(t *testing.T) {
				f, dir := w.make(t)
				c.run(t, world{f, dir})
			})
		}
	}
}

// world is a file system with the directory that a case may use.
type world struct {
	vfs.FS
	dir string
}

func (w world) at(name string) string { return w.PathJoin(w.dir, name) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, f vfs.FS, name, content string) {
	t.Helper()
	file, err := f.Create(name, vfs.WriteCategoryUnspecified)
	check(t, err)
	_, err = io.WriteString(file, content)
	check(t, err)
	check(t, file.Sync())
	check(t, file.Close())
}

func syncDir(t testing.TB, f vfs.FS, name string) {
	t.Helper()
	d, err := f.OpenDir(name)
	check(t, err)
	check(t, d.Sync())
	check(t, d.Close())
}

func get(t testing.TB, f vfs.FS, name string) string {
	t.Helper()
	file, err := f.Open(name)
	check(t, err)
	defer file.Close()
	b, err := io.ReadAll(file)
	check(t, err)
	return string(b)
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func wantNames(t testing.TB, f vfs.FS, dir string, want ...string) {
	t.Helper()
	got, err := f.List(dir)
	check(t, err)
	slices.Sort(got) // the real one promises no order
	if !slices.Equal(got, want) {
		t.Fatalf("List(%s) = %q, want %q", dir, got, want)
	}
}

func wantErr(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: got error %v, want %v", what, err, target)
	}
}

var conformance = []struct {
	name string
	run  func(t *testing.T, w world)
}{
	{"create, write, read", func(t *testing.T, w world) {
		f, err := w.Create(w.at("a"), vfs.WriteCategoryUnspecified)
		check(t, err)
		n, err := f.Write([]byte("hello "))
		check(t, err)
		want(t, "written", n, 6)
		_, err = f.Write([]byte("world"))
		check(t, err)
		want(t, "content through another handle", get(t, w, w.at("a")), "hello world")

		// The position is shared by Read and Write, ReadAt has none.
		n, err = f.Read(make([]byte, 4))
		want(t, "read at the end", n, 0)
		wantErr(t, "read at the end", err, io.EOF)
		buf := make([]byte, 5)
		n, err = f.ReadAt(buf, 6)
		check(t, err)
		want(t, "ReadAt", string(buf[:n]), "world")
		n, err = f.ReadAt(buf, 8)
		wantErr(t, "short ReadAt", err, io.EOF)
		want(t, "short ReadAt", string(buf[:n]), "rld")
		n, err = f.ReadAt(buf, 100)
		wantErr(t, "ReadAt behind the end", err, io.EOF)
		want(t, "ReadAt behind the end", n, 0)
		n, err = f.ReadAt(nil, 3)
		check(t, err)
		want(t, "empty ReadAt", n, 0)
		if _, err = f.ReadAt(buf, -1); err == nil {
			t.Fatal("ReadAt at -1 succeeds")
		}

		info, err := f.Stat()
		check(t, err)
		want(t, "size", info.Size(), 11)
		want(t, "name", info.Name(), "a")
		want(t, "dir", info.IsDir(), false)
		want(t, "regular", info.Mode().IsRegular(), true)
		check(t, f.SyncData())
		_, err = f.SyncTo(5)
		check(t, err)
		check(t, f.Sync())
		check(t, f.Preallocate(0, 4096))
		_ = f.Prefetch(0, 4096) // the real one returns errno 0 as an error
		check(t, f.Close())
	}},
	{"read in pieces", func(t *testing.T, w world) {
		put(t, w, w.at("a"), "abcdef")
		f, err := w.Open(w.at("a"), vfs.SequentialReadsOption, vfs.RandomReadsOption)
		check(t, err)
		defer f.Close()
		var parts []string
		for {
			buf := make([]byte, 4)
			n, err := f.Read(buf)
			if err != nil {
				wantErr(t, "Read", err, io.EOF)
				break
			}
			parts = append(parts, string(buf[:n]))
		}
		want(t, "parts", strings.Join(parts, "|"), "abcd|ef")
	}},
	{"closed files", func(t *testing.T, w world) {
		f, err := w.Create(w.at("a"), vfs.WriteCategoryUnspecified)
		check(t, err)
		check(t, f.Close())
		_, err = f.Write([]byte("x"))
		wantErr(t, "Write", err, fs.ErrClosed)
		_, err = f.Read(make([]byte, 1))
		wantErr(t, "Read", err, fs.ErrClosed)
		_, err = f.ReadAt(make([]byte, 1), 0)
		wantErr(t, "ReadAt", err, fs.ErrClosed)
		wantErr(t, "Sync", f.Sync(), fs.ErrClosed)
		wantErr(t, "Close", f.Close(), fs.ErrClosed)
	}},
	{"open for reading does not write", func(t *testing.T, w world) {
		put(t, w, w.at("a"), "x")
		f, err := w.Open(w.at("a"))
		check(t, err)
		defer f.Close()
		if _, err = f.Write([]byte("y")); err == nil {
			t.Fatal("Write succeeds")
		}
		want(t, "content", get(t, w, w.at("a")), "x")
	}},
	{"create over a file", func(t *testing.T, w world) {
		put(t, w, w.at("a"), "old")
		check(t, w.Link(w.at("a"), w.at("b")))
		open, err := w.Open(w.at("a"))
		check(t, err)
		defer open.Close()
		put(t, w, w.at("a"), "new")
		want(t, "a", get(t, w, w.at("a")), "new")
		want(t, "b", get(t, w, w.at("b")), "old")
		b, err := io.ReadAll(open)
		check(t, err)
		want(t, "open handle", string(b), "old")
	}},
	{"open read-write", func(t *testing.T, w world) {
		f, err := w.OpenReadWrite(w.at("a"), vfs.WriteCategoryUnspecified)
		check(t, err)
		_, err = f.WriteAt([]byte("end"), 5)
		check(t, err)
		_, err = f.WriteAt([]byte("AB"), 0)
		check(t, err)
		check(t, f.Close())
		want(t, "a gap reads as zeros", get(t, w, w.at("a")), "AB\x00\x00\x00end")
		f, err = w.OpenReadWrite(w.at("a"), vfs.WriteCategoryUnspecified, vfs.RandomReadsOption)
		check(t, err)
		_, err = f.Write([]byte("xyz"))
		check(t, err)
		_, err = f.WriteAt([]byte("x"), -1)
		if err == nil {
			t.Fatal("WriteAt at -1 succeeds")
		}
		check(t, f.Close())
		want(t, "it is not truncated", get(t, w, w.at("a")), "xyz\x00\x00end")
	}},
	{"missing files", func(t *testing.T, w world) {
		_, err := w.Open(w.at("no"))
		wantErr(t, "Open", err, fs.ErrNotExist)
		want(t, "as Pebble asks", oserror.IsNotExist(err), true)
		_, err = w.OpenDir(w.at("no"))
		wantErr(t, "OpenDir", err, fs.ErrNotExist)
		_, err = w.Stat(w.at("no"))
		wantErr(t, "Stat", err, fs.ErrNotExist)
		_, err = w.List(w.at("no"))
		wantErr(t, "List", err, fs.ErrNotExist)
		wantErr(t, "Remove", w.Remove(w.at("no")), fs.ErrNotExist)
		wantErr(t, "Rename", w.Rename(w.at("no"), w.at("b")), fs.ErrNotExist)
		wantErr(t, "Link", w.Link(w.at("no"), w.at("b")), fs.ErrNotExist)
		_, err = w.ReuseForWrite(w.at("no"), w.at("b"), vfs.WriteCategoryUnspecified)
		wantErr(t, "ReuseForWrite", err, fs.ErrNotExist)
		_, err = w.Create(w.at("no/a"), vfs.WriteCategoryUnspecified)
		wantErr(t, "Create", err, fs.ErrNotExist)
		_, err = w.OpenReadWrite(w.at("no/a"), vfs.WriteCategoryUnspecified)
		wantErr(t, "OpenReadWrite", err, fs.ErrNotExist)
		_, err = w.Lock(w.at("no/LOCK"))
		wantErr(t, "Lock", err, fs.ErrNotExist)
		check(t, w.RemoveAll(w.at("no")))
		check(t, w.RemoveAll(w.at("no/a")))
		wantNames(t, w, w.dir)
	}},
	{"a file is no directory", func(t *testing.T, w world) {
		put(t, w, w.at("a"), "x")
		_, err := w.Open(w.at("a/b"))
		wantErr(t, "Open", err, syscall.ENOTDIR)
		_, err = w.Create(w.at("a/b"), vfs.WriteCategoryUnspecified)
		wantErr(t, "Create", err, syscall.ENOTDIR)
		_, err = w.List(w.at("a"))
		wantErr(t, "List", err, syscall.ENOTDIR)
		wantErr(t, "MkdirAll", w.MkdirAll(w.at("a"), 0o755), syscall.ENOTDIR)
		wantErr(t, "MkdirAll below", w.MkdirAll(w.at("a/b/c"), 0o755), syscall.ENOTDIR)
	}},
	{"a directory is no file", func(t *testing.T, w world) {
		check(t, w.MkdirAll(w.at("d/e"), 0o755))
		f, err := w.Open(w.at("d"))
		check(t, err)
		if _, err = f.Read(make([]byte, 1)); err == nil {
			t.Fatal("Read of a directory succeeds")
		}
		if _, err = f.Write([]byte("x")); err == nil {
			t.Fatal("Write to a directory succeeds")
		}
		check(t, f.Close())
		if _, err = w.Create(w.at("d"), vfs.WriteCategoryUnspecified); err == nil {
			t.Fatal("Create over a directory succeeds")
		}
		if _, err = w.OpenReadWrite(w.at("d"), vfs.WriteCategoryUnspecified); err == nil {
			t.Fatal("OpenReadWrite of a directory succeeds")
		}
		if err = w.Link(w.at("d"), w.at("l")); err == nil {
			t.Fatal("Link of a directory succeeds")
		}
		wantNames(t, w, w.dir, "d")
	}},
	{"directories", func(t *testing.T, w world) {
		check(t, w.MkdirAll(w.at("d/e/f"), 0o755))
		check(t, w.MkdirAll(w.at("d/e"), 0o755))
		put(t, w, w.at("d/x"), "x")
		put(t, w, w.at("d/e/y"), "y")
		wantNames(t, w, w.at("d"), "e", "x")
		wantNames(t, w, w.at("d/e/"), "f", "y")
		info, err := w.Stat(w.at("d/e"))
		check(t, err)
		want(t, "dir", info.IsDir(), true)
		want(t, "mode", info.Mode().IsDir(), true)
		want(t, "name", info.Name(), "e")
		d, err := w.OpenDir(w.at("d"))
		check(t, err)
		check(t, d.Sync())
		check(t, d.SyncData())
		full, err := d.SyncTo(1)
		check(t, err)
		want(t, "SyncTo of a directory", full, false)
		check(t, d.Close())
	}},
	{"remove", func(t *testing.T, w world) {
		check(t, w.MkdirAll(w.at("d"), 0o755))
		put(t, w, w.at("d/a"), "content")
		f, err := w.Open(w.at("d/a"))
		check(t, err)
		defer f.Close()
		if err = w.Remove(w.at("d")); err == nil {
			t.Fatal("Remove of a directory that is not empty succeeds")
		}
		check(t, w.Remove(w.at("d/a")))
		_, err = w.Open(w.at("d/a"))
		wantErr(t, "Open", err, fs.ErrNotExist)
		b, err := io.ReadAll(f)
		check(t, err)
		want(t, "an open file keeps its content", string(b), "content")
		check(t, w.Remove(w.at("d")))
		wantNames(t, w, w.dir)
		put(t, w, w.at("d"), "now a file")
		want(t, "d", get(t, w, w.at("d")), "now a file")
	}},
	{"remove all", func(t *testing.T, w world) {
		check(t, w.MkdirAll(w.at("d/e"), 0o755))
		put(t, w, w.at("d/a"), "x")
		put(t, w, w.at("d/e/b"), "x")
		put(t, w, w.at("f"), "x")
		check(t, w.RemoveAll(w.at("d")))
		check(t, w.RemoveAll(w.at("f")))
		wantNames(t, w, w.dir)
		check(t, w.MkdirAll(w.at("d"), 0o755))
		wantNames(t, w, w.at("d"))
	}},
	{"link", func(t *testing.T, w world) {
		put(t, w, w.at("a"), "one")
		check(t, w.Link(w.at("a"), w.at("b")))
		wantErr(t, "Link over a file", w.Link(w.at("a"), w.at("b")), fs.ErrExist)
		want(t, "as Pebble asks", oserror.IsExist(w.Link(w.at("a"), w.at("b"))), true)
		f, err := w.OpenReadWrite(w.at("a"), vfs.WriteCategoryUnspecified)
		check(t, err)
		_, err = f.Write([]byte("two"))
		check(t, err)
		check(t, f.Close())
		want(t, "b", get(t, w, w.at("b")), "two")
		check(t, w.Remove(w.at("a")))
		want(t, "b", get(t, w, w.at("b")), "two")
		put(t, w, w.at("a"), "three")
		want(t, "b", get(t, w, w.at("b")), "two")
	}},
	{"rename", func(t *testing.T, w world) {
		check(t, w.MkdirAll(w.at("d"), 0o755))
		put(t, w, w.at("a"), "a")
		put(t, w, w.at("b"), "b")
		check(t, w.Rename(w.at("a"), w.at("b")))
		wantNames(t, w, w.dir, "b", "d")
		want(t, "b", get(t, w, w.at("b")), "a")
		check(t, w.Rename(w.at("b"), w.at("d/c")))
		wantNames(t, w, w.dir, "d")
		want(t, "d/c", get(t, w, w.at("d/c")), "a")
		check(t, w.Rename(w.at("d/c"), w.at("d/c")))
		want(t, "d/c", get(t, w, w.at("d/c")), "a")
	}},
	{"rename of an open file", func(t *testing.T, w world) {
		f, err := w.Create(w.at("tmp"), vfs.WriteCategoryUnspecified)
		check(t, err)
		check(t, w.Rename(w.at("tmp"), w.at("a")))
		_, err = f.Write([]byte("x"))
		check(t, err)
		check(t, f.Close())
		want(t, "a", get(t, w, w.at("a")), "x")
	}},
	{"rename between two names of one file", func(t *testing.T, w world) {
		put(t, w, w.at("a"), "x")
		check(t, w.Link(w.at("a"), w.at("b")))
		check(t, w.Rename(w.at("a"), w.at("b")))
		wantNames(t, w, w.dir, "a", "b")
	}},
	{"rename of directories", func(t *testing.T, w world) {
		check(t, w.MkdirAll(w.at("d/e"), 0o755))
		check(t, w.MkdirAll(w.at("empty"), 0o755))
		put(t, w, w.at("d/e/a"), "x")
		put(t, w, w.at("f"), "x")
		for _, c := range [][2]string{{"f", "d"}, {"d", "f"}, {"empty", "d"}, {"d", "d/e/d"}} {
			if err := w.Rename(w.at(c[0]), w.at(c[1])); err == nil {
				t.Fatalf("Rename of %s to %s succeeds", c[0], c[1])
			}
		}
		if err := w.Rename(w.at("d"), w.at("empty")); err == nil {
			t.Fatal("Rename over an empty directory succeeds")
		}
		check(t, w.Rename(w.at("d"), w.at("g")))
		want(t, "a", get(t, w, w.at("g/e/a")), "x")
		wantNames(t, w, w.dir, "empty", "f", "g")
	}},
	{"reuse", func(t *testing.T, w world) {
		put(t, w, w.at("1.log"), "0123456789")
		f, err := w.ReuseForWrite(w.at("1.log"), w.at("2.log"), vfs.WriteCategoryUnspecified)
		check(t, err)
		_, err = f.Write([]byte("ab"))
		check(t, err)
		_, err = f.Write([]byte("cd"))
		check(t, err)
		check(t, f.Close())
		wantNames(t, w, w.dir, "2.log")
		want(t, "content", get(t, w, w.at("2.log")), "abcd456789")
	}},
	{"lock", func(t *testing.T, w world) {
		put(t, w, w.at("LOCK"), "x")
		l, err := w.Lock(w.at("LOCK"))
		check(t, err)
		want(t, "it is emptied", get(t, w, w.at("LOCK")), "")
		other, err := w.Lock(w.at("OTHER"))
		check(t, err)
		if again, err := w.Lock(w.at("LOCK")); err == nil || again != nil {
			t.Fatal("a second Lock succeeds")
		}
		check(t, l.Close())
		l, err = w.Lock(w.at("LOCK"))
		check(t, err)
		check(t, l.Close())
		check(t, other.Close())
		wantNames(t, w, w.dir, "LOCK", "OTHER")
	}},
	{"disk usage", func(t *testing.T, w world) {
		u, err := w.GetDiskUsage(w.dir)
		check(t, err)
		if u.TotalBytes == 0 || u.AvailBytes > u.TotalBytes || u.UsedBytes > u.TotalBytes {
			t.Fatalf("usage %+v", u)
		}
		_, err = w.GetDiskUsage(w.at("no"))
		wantErr(t, "of a missing path", err, fs.ErrNotExist)
	}},
	{"paths", func(t *testing.T, w world) {
		want(t, "PathBase", w.PathBase("/a/b.c"), "b.c")
		want(t, "PathDir", w.PathDir("/a/b.c"), "/a")
		want(t, "PathJoin", w.PathJoin("/a", "b", "", "../c"), "/a/c")
		want(t, "Unwrap", w.Unwrap(), vfs.FS(nil))
		put(t, w, w.at("a"), "x")
		want(t, "a path that is not clean", get(t, w, w.dir+"/.//a"), "x")
	}},
	{"copies of vfs", func(t *testing.T, w world) {
		content := strings.Repeat("0123456789abcdef", 1000)
		put(t, w, w.at("a"), content)
		check(t, vfs.Copy(w, w.at("a"), w.at("b")))
		want(t, "Copy", get(t, w, w.at("b")), content)
		check(t, vfs.LimitedCopy(w, w.at("a"), w.at("c"), 5000))
		want(t, "LimitedCopy", get(t, w, w.at("c")), content[:5000])
		check(t, vfs.LinkOrCopy(w, w.at("a"), w.at("d")))
		want(t, "LinkOrCopy", get(t, w, w.at("d")), content)
		check(t, w.MkdirAll(w.at("from/sub"), 0o755))
		put(t, w, w.at("from/sub/x"), "x")
		ok, err := vfs.Clone(w, w, w.at("from"), w.at("to"))
		check(t, err)
		want(t, "cloned", ok, true)
		want(t, "Clone", get(t, w, w.at("to/sub/x")), "x")
	}},
}
