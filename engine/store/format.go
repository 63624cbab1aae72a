package store

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// FormatVersion is the version of the bytes on disk that this code writes. It reads those from oldestFormat on; a directory of an older version
// gets this one before anything is committed to it.
//
//	| version | what it brought                                                            |
//	|---------|----------------------------------------------------------------------------|
//	| 1       | the layout of engine/key and the encodings of engine/data                  |
//	| 2       | entries of lists hold values of up to 256 bytes, where they held 64        |
const (
	FormatVersion = 2
	oldestFormat  = 1
)

// formatFile names the file in the directory that says which version the directory has.
const formatFile = "GODWIT-FORMAT"

// The format file holds one of these words, a space, the version in decimal, and a newline. They differ so that neither
// engine opens, and takes for empty, what the other has written.
const (
	formatPebble = "godwit"
	formatMemory = "godwit-memory"
)

// makeDir makes a directory, and those above it that are missing, and makes their entries durable: what is synced in a
// directory is lost with it. The entry of a directory that is there already is synced too, if this process may open the
// parent: a crash may have come before its entry was durable. A parent that it may not open, as another user's, is passed
// over then, but not if a directory was just made in it. It returns the file system by which the directory can be opened.
func makeDir(fs vfs.FS, dir string) (vfs.FS, error) {
	var above []string
	existed := false
	for at := dir; ; {
		_, err := fs.Stat(at)
		if err != nil && !oserror.IsNotExist(err) {
			return nil, err
		}
		existed = existed || at == dir && err == nil
		up := fs.PathDir(at)
		if up == at || err == nil && at != dir {
			break
		}
		above = append(above, up)
		at = up
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, at := range above {
		err := syncDir(fs, at)
		if existed && oserror.IsPermission(err) {
			return closedParent{fs, dir, at}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return fs, nil
}

// closedParent is a file system on which the parent of a directory cannot be opened. Pebble would, to sync it; it gets the
// directory itself instead.
type closedParent struct {
	vfs.FS
	dir, parent string
}

func (c closedParent) OpenDir(path string) (vfs.File, error) {
	if path == c.parent {
		path = c.dir
	}
	return c.FS.OpenDir(path)
}

func (c closedParent) Unwrap() vfs.FS { return c.FS }

// syncDir makes the entries of a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkFormat compares the version file with the versions that are known, and writes it into a directory that holds nothing yet. older says that the
// directory has one before FormatVersion: writeFormat must come before the first commit.
func checkFormat(fs vfs.FS, dir, word string) (older bool, err error) {
	path := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		text, err := io.ReadAll(io.LimitReader(f, 64))
		if err != nil {
			return false, fmt.Errorf("store: read %s: %w", path, err)
		}
		var version int
		if _, err := fmt.Sscanf(string(text), word+" %d\n", &version); err != nil {
			return false, fmt.Errorf("store: %s holds %q, want \"%s %d\": %w", path, text, word, FormatVersion, ErrFormat)
		}
		if version < oldestFormat || version > FormatVersion {
			return false, fmt.Errorf("store: %s has format version %d, this program knows %d to %d: %w", dir, version, oldestFormat, FormatVersion, ErrFormat)
		}
		return version < FormatVersion, nil
	}
	if !oserror.IsNotExist(err) {
		return false, fmt.Errorf("store: open %s: %w", path, err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return false, fmt.Errorf("store: list %s: %w", dir, err)
	}
	for _, name := range names {
		if name == "CURRENT" || name == memoryLogFile || len(name) > 9 && name[:9] == "MANIFEST-" {
			return false, fmt.Errorf("store: %s holds a database but no %s file: %w", dir, formatFile, ErrFormat)
		}
	}
	return false, writeFormat(fs, dir, word)
}

// writeFormat makes FormatVersion the version of a directory, durably.
func writeFormat(fs vfs.FS, dir, word string) error {
	path := fs.PathJoin(dir, formatFile)
	temp := path + ".tmp"
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("store: create %s: %w", temp, err)
	}
	_, err = fmt.Fprintf(f, "%s %d\n", word, FormatVersion)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("store: write %s: %w", path, err)
	}
	if err := syncDir(fs, dir); err != nil {
		return fmt.Errorf("store: sync directory %s: %w", dir, err)
	}
	return nil
}
