package host

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writeBehind is a file system that has the system begin to write logs to the disk while they grow. Pebble syncs a log that is full in the way of the
// commit that found it full, which took 33 ms for one of 64 MiB of which nothing had been written. Nothing waits for what begins here, which Pebble's
// own setting for it, WALBytesPerSync, would do; and nothing is durable by it. It is used by its address, since Pebble compares file systems.
type writeBehind struct {
	vfs.FS
	// begin has the system begin to write n bytes of a file from an offset on.
	begin func(fd uintptr, offset, n int64)
}

// behindBytes is how many bytes of a log are asked for at a time, and behindPage what they are a multiple of: a page that is being written holds up who writes to it.
const (
	behindBytes = 4 << 20
	behindPage  = 4 << 10
)

// Unwrap implements vfs.FS.
func (fs *writeBehind) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS.
func (fs *writeBehind) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return fs.file(name, f), err //nolint:wrapcheck // Pebble looks at what the file system says
}

// ReuseForWrite implements vfs.FS.
func (fs *writeBehind) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, category)
	return fs.file(name, f), err //nolint:wrapcheck // Pebble looks at what the file system says
}

func (fs *writeBehind) file(name string, f vfs.File) vfs.File {
	if f == nil || !strings.HasSuffix(name, ".log") || f.Fd() == vfs.InvalidFd {
		return f
	}
	return &logFile{File: f, begin: fs.begin}
}

// logFile is a log that is written to from its beginning, by one goroutine at a time.
type logFile struct {
	vfs.File
	begin          func(fd uintptr, offset, n int64)
	written, asked int64
}

// Write implements io.Writer.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	if to := f.written &^ (behindPage - 1); to-f.asked >= behindBytes {
		f.begin(f.Fd(), f.asked, to-f.asked)
		f.asked = to
	}
	return n, err //nolint:wrapcheck // Pebble looks at what the file system says
}
