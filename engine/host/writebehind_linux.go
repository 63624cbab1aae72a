package host

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncRangeWrite is SYNC_FILE_RANGE_WRITE of sync_file_range(2).
const syncRangeWrite = 2

// diskFS is the file system of a node.
func diskFS() vfs.FS {
	return &writeBehind{vfs.Default, func(fd uintptr, offset, n int64) {
		_ = syscall.SyncFileRange(int(fd), offset, n, syncRangeWrite) // a hint: what cannot be written, the sync tells
	}}
}
