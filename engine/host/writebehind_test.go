package host

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWriteBehind: of a log, new or used again, all but the last pieces is to be written while it grows, each byte once and in whole pages; other files are left alone.
func TestWriteBehind(t *testing.T) {
	var asked []int64 // ends of what was asked for
	fs := &writeBehind{vfs.Default, func(_ uintptr, offset, n int64) {
		last := int64(0)
		if len(asked) > 0 {
			last = asked[len(asked)-1]
		}
		if offset != last || n < behindBytes || n%behindPage != 0 {
			t.Errorf("asked for %d bytes from %d on, behind %d", n, offset, last)
		}
		asked = append(asked, offset+n)
	}}
	dir := t.TempDir()
	write := func(name string, f vfs.File, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		asked = nil
		var want []byte
		for piece := range 400 {
			p := bytes.Repeat([]byte{byte(piece)}, 32<<10-7)
			if n, err := f.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
			want = append(want, p...)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want the %d that were written", name, len(got), err, len(want))
		}
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	const parts = 400 * (32<<10 - 7) / behindBytes

	f, err := fs.Create(path("1.log"), vfs.WriteCategoryUnspecified)
	write("1.log", f, err)
	if len(asked) != parts {
		t.Errorf("a new log was asked for in %d parts, want %d", len(asked), parts)
	}
	f, err = fs.ReuseForWrite(path("1.log"), path("2.log"), vfs.WriteCategoryUnspecified)
	write("2.log", f, err)
	if len(asked) != parts {
		t.Errorf("a log that is used again was asked for in %d parts, want %d", len(asked), parts)
	}
	f, err = fs.Create(path("3.sst"), vfs.WriteCategoryUnspecified)
	write("3.sst", f, err)
	if len(asked) != 0 {
		t.Errorf("of a table %d parts were asked for", len(asked))
	}
	if _, err := fs.Create(path("none/4.log"), vfs.WriteCategoryUnspecified); err == nil {
		t.Error("a log was made where there is no directory")
	}
}

// TestFileSystemsCompare: Pebble asks whether two file systems are the same one when it takes in a table, which panics if they cannot be compared.
func TestFileSystemsCompare(t *testing.T) {
	fs := diskFS()
	if same := fs; fs != same {
		t.Error("a file system is not itself")
	}
}
