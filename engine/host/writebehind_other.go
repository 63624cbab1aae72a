//go:build !linux

package host

import "github.com/cockroachdb/pebble/v2/vfs"

// diskFS is the file system of a node.
func diskFS() vfs.FS { return vfs.Default }
