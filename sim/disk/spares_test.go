package disk_test

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/sim/disk"
)

// TestSpares writes files that grow, and a hole, on disks that use the same memory one after the other: they show what others do, and no
// byte of before.
func TestSpares(t *testing.T) {
	spares := disk.NewSpares()
	for round := range 4 {
		fill := byte('a' + round)
		shared, own := disk.New(disk.Options{Spares: spares}), disk.New(disk.Options{})
		for _, f := range []*disk.FS{shared, own} {
			for _, name := range []string{"one", "two"} {
				h, err := f.Create(name, vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				at := int64(0)
				for n := range 200 { // some 60 KiB, in pieces
					piece := bytes.Repeat([]byte{fill + byte(len(name)+n%3)}, 100+n*2)
					if _, err := h.WriteAt(piece, at); err != nil {
						t.Fatal(err)
					}
					at += int64(len(piece))
				}
				if _, err := h.WriteAt([]byte{fill}, at+5000+int64(round)); err != nil { // behind a hole
					t.Fatal(err)
				}
			}
		}
		for _, name := range []string{"one", "two"} {
			if got, want := bytesOf(t, shared, name), bytesOf(t, own, name); !bytes.Equal(got, want) {
				t.Errorf("round %d: %s differs: %d bytes, want %d", round, name, len(got), len(want))
			}
		}
		spares.Reset()
	}
}

// bytesOf reads a file to its end.
func bytesOf(t *testing.T, f *disk.FS, name string) []byte {
	t.Helper()
	h, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := h.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := h.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}
