package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A table ends with the version of its format, 4 bytes, and 8 that all tables have. Tables of rows have version 4, which no checksum covers: with its
// lowest bit flipped, Pebble would take them for tables of columns.
const (
	tableMagic      = "\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"
	tableEnd        = 4 + len(tableMagic)
	versionRows     = 4
	versionOfChecks = 6 // from which on a checksum covers it
)

// tableFS refuses tables of versions that the store never writes. It hands out the files of the other one.
type tableFS struct{ vfs.FS }

// Unwrap implements vfs.FS.
func (fs tableFS) Unwrap() vfs.FS { return fs.FS }

// Open implements vfs.FS.
func (fs tableFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err //nolint:wrapcheck // Pebble looks at what the file system says
	}
	if err := checkTableVersion(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return f, nil
}

// checkTableVersion fails with ErrDamaged if a table is of no version that the store writes. All else about a table Pebble checks.
func checkTableVersion(f vfs.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("how long the table is: %w", err)
	}
	var end [tableEnd]byte
	if info.Size() < int64(len(end)) {
		return nil // Pebble says what it lacks
	}
	if _, err := f.ReadAt(end[:], info.Size()-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the version of the table: %w", err)
	}
	if v := binary.LittleEndian.Uint32(end[:]); string(end[4:]) == tableMagic && v != versionRows && v < versionOfChecks {
		return fmt.Errorf("a table of version %d, want %d, or %d and above: %w", v, versionRows, versionOfChecks, ErrDamaged)
	}
	return nil
}
