package disk

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"github.com/zeebo/xxh3"
)

// OpKind says what an operation does.
type OpKind uint8

// The operations that are reported and numbered. Reads, Open, Close, SyncTo, Prefetch and removals are not among them.
const (
	OpCreate      OpKind = iota + 1 // Create, or OpenReadWrite of a file that did not exist
	OpReuse                         // ReuseForWrite: Path becomes To
	OpLink                          // Link: Path is also To
	OpRename                        // Rename: Path becomes To
	OpMkdir                         // one directory of MkdirAll that did not exist
	OpLock                          // Lock
	OpWrite                         // Write or WriteAt
	OpSync                          // Sync or SyncData of a file, also one that fails by FailSync
	OpSyncDir                       // Sync of a directory, also one that fails by FailSync
	OpSyncIgnored                   // Sync or SyncData of a log while IgnoreLogSync is on
)

// String gives the kind's name as traces show it.
func (k OpKind) String() string {
	switch k {
	case OpCreate:
		return "create"
	case OpReuse:
		return "reuse"
	case OpLink:
		return "link"
	case OpRename:
		return "rename"
	case OpMkdir:
		return "mkdir"
	case OpLock:
		return "lock"
	case OpWrite:
		return "write"
	case OpSync:
		return "sync"
	case OpSyncDir:
		return "sync-dir"
	case OpSyncIgnored:
		return "sync-ignored"
	default:
		return fmt.Sprintf("OpKind(%d)", uint8(k))
	}
}

// Op is one operation that changes the disk.
type Op struct {
	N      uint64 // number of the operation on this FS, from 1
	Kind   OpKind
	Path   string // absolute and clean
	To     string // the new path of OpReuse, OpLink and OpRename
	Offset int64  // first byte written; OpWrite only
	Length int    // bytes written; OpWrite only
	Hash   uint64 // xxh3 of the bytes written; OpWrite only, and not of the fields that differ between equal runs
}

// String gives the operation as one line of a trace.
func (o Op) String() string {
	switch {
	case o.Kind == OpWrite:
		return fmt.Sprintf("%d write %s [%d,+%d) %016x", o.N, o.Path, o.Offset, o.Length, o.Hash)
	case o.To != "":
		return fmt.Sprintf("%d %s %s %s", o.N, o.Kind, o.Path, o.To)
	default:
		return fmt.Sprintf("%d %s %s", o.N, o.Kind, o.Path)
	}
}

// contentHash is what traces show of bytes at an offset of a file. It covers all but the fields that differ between
// equal runs (see the package comment): nothing of a MANIFEST, whose records are not worth parsing for that.
func contentHash(p string, off int64, content []byte) uint64 {
	switch base := path.Base(p); {
	case strings.HasPrefix(base, "MANIFEST-"):
		return 0
	case strings.HasSuffix(base, ".log"):
		return logHash(off, content)
	default:
		return xxh3.Hash(content)
	}
}

// The format of Pebble's log, from its package record: blocks of 32 KiB are filled with chunks, which do not span them.
//
//	offset  size  field
//	     0     4  checksum of all from the kind on                           (left out)
//	     4     2  length of the payload
//	     6     1  kind: 1-4 plain, 5-8 with a log number, 9-12 with a synced offset
//	     7     4  log number, from kind 5
//	    11     8  how much of the log was synced, from kind 9                (left out)
const (
	logBlockBytes  = 32 << 10
	logHeaderBytes = 19 // of kinds 9 to 12
)

// logHash hashes chunks of a log that begin at an offset. A block that begins with something else is hashed as it is,
// since that is no log of this format. What follows the chunks in a block is the rest of a recycled log, padding, or a
// chunk that a crash has cut, and only its length counts.
func logHash(off int64, content []byte) uint64 {
	h := mix(uint64(len(content)))
	for len(content) > 0 {
		n := min(len(content), int(logBlockBytes-off%logBlockBytes))
		h = mix(h ^ logBlockHash(content[:n]))
		content, off = content[n:], off+int64(n)
	}
	return h
}

func logBlockHash(b []byte) uint64 {
	h := uint64(0)
	for at := 0; at < len(b); {
		chunk := b[at:]
		if len(chunk) < 7 {
			return h
		}
		if kind := chunk[6]; kind < 9 || kind > 12 {
			if at == 0 {
				return xxh3.Hash(b)
			}
			return h
		}
		end := logHeaderBytes + int(binary.LittleEndian.Uint16(chunk[4:]))
		if end > len(chunk) {
			return h
		}
		h = mix(h ^ xxh3.Hash(chunk[4:11]))
		h = mix(h ^ xxh3.Hash(chunk[logHeaderBytes:end]))
		at += end
	}
	return h
}
