package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// maxFileBytes bounds a file: 64 GiB is far above what a simulation holds in memory, so a write beyond it is a mistake.
const maxFileBytes = 64 << 30

// node is a file or a directory, whatever names it has. All fields are guarded by the mutex of its FS.
type node struct {
	birth string // path at creation: what coins of blocks are drawn for, since it does not change with renames
	dir   bool
	links int // entries that point here, those of ghosts included

	// Of a file. Invariant: synced <= len(data), and a file never shrinks. What was last synced is data[:synced] with
	// the bytes in old put in their places; so a sync copies nothing, and overwriting synced bytes copies them once.
	data   []byte
	synced int
	old    map[int]*preimage // by number of the block: of those that were overwritten since
	lied   bool              // a sync was ignored since the last one that was not

	// Of a directory. Invariant: a name is never in both children and ghosts. What was last synced is children and
	// ghosts, with the entries in changed put in their places.
	children map[string]*node
	ghosts   map[string]*node // entries removed since the last Settle
	changed  map[string]*node // synced entries whose names changed since; nil: there was none
}

// preimage is what was overwritten of a block since it was last synced. One write of a log overwrites a hundred bytes
// of a recycled block and is synced at once: keeping the whole block doubles the cost of a commit.
type preimage struct {
	from, to int    // what was overwritten lies in here, counted from the block's start
	synced   []byte // what was there, from on; shorter than to-from if the block grew
}

func newDir(birth string) *node {
	return &node{
		birth: birth, dir: true,
		children: make(map[string]*node), ghosts: make(map[string]*node), changed: make(map[string]*node),
	}
}

// preserve keeps the synced bytes that a write to [from, to) is about to change.
func (n *node) preserve(from, to int) {
	for b := from / BlockBytes; b*BlockBytes < min(to, n.synced); b++ {
		start := b * BlockBytes
		block := n.data[start:min(start+BlockBytes, n.synced)] // its synced bytes, where they were not overwritten
		first, last := max(from-start, 0), min(to-start, BlockBytes)
		old := n.old[b]
		if old == nil {
			if first >= len(block) {
				continue // it only grows
			}
			if n.old == nil {
				n.old = make(map[int]*preimage)
			}
			n.old[b] = &preimage{from: first, to: last, synced: slices.Clone(block[first:min(last, len(block))])}
			continue
		}
		if first < old.from {
			old.synced = slices.Concat(block[first:old.from], old.synced)
			old.from = first
		}
		if last > old.to {
			if old.to < len(block) {
				old.synced = append(old.synced, block[old.to:min(last, len(block))]...)
			}
			old.to = last
		}
	}
}

// syncFile makes the content durable.
func (n *node) syncFile() {
	n.synced, n.lied = len(n.data), false
	clear(n.old)
}

// noteChange keeps the synced entry of a name that changes.
func (n *node) noteChange(name string, was *node) {
	if _, ok := n.changed[name]; !ok {
		n.changed[name] = was
	}
}

func (n *node) info(p string) vfs.FileInfo {
	return fileInfo{name: path.Base(p), sizeBytes: int64(len(n.data)), dir: n.dir}
}

func (n *node) dump(b *strings.Builder, p string) {
	if !n.dir {
		fmt.Fprintf(b, "%s %d %d %016x\n", p, len(n.data), n.synced, contentHash(p, 0, n.data))
		return
	}
	fmt.Fprintf(b, "%s dir\n", p)
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		n.children[name].dump(b, path.Join(p, name))
	}
}

// file is an open file or directory.
type file struct {
	fs       *FS
	n        *node
	path     string // at the time of opening
	log      bool   // IgnoreLogSync concerns it
	writable bool
	closed   bool
	pos      int64
}

var _ vfs.File = (*file)(nil)

// check fails if the file is closed or, for an access to its content, is a directory.
func (h *file) check(op string) error {
	switch {
	case h.closed:
		return pathError(op, h.path, fs.ErrClosed)
	case h.n.dir:
		return pathError(op, h.path, errIsDir)
	}
	return nil
}

// Close ends the use of the file. It makes nothing durable.
func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("close", h.path, fs.ErrClosed)
	}
	h.closed = true
	return nil
}

// Read reads from the position, which Write shares.
func (h *file) Read(p []byte) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n, err := h.readAt(p, h.pos)
	h.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	return n, err
}

// ReadAt reads from an offset; fewer bytes than asked for come with io.EOF.
func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.readAt(p, off)
}

func (h *file) readAt(p []byte, off int64) (int, error) {
	if err := h.check("read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", h.path, fs.ErrInvalid)
	}
	if err := match(h.fs.failRead, h.path); err != nil {
		h.fs.counters.ReadsFailed++
		return 0, pathError("read", h.path, err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	h.fs.counters.Reads++
	n := 0
	if off < int64(len(h.n.data)) {
		n = copy(p, h.n.data[off:])
		h.fs.spoil(h.n, p[:n], off)
	}
	h.fs.counters.ReadBytes += uint64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write writes at the position. On a full disk it writes what there is room for and fails with ErrNoSpace.
func (h *file) Write(p []byte) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n, err := h.writeAt(p, h.pos)
	h.pos += int64(n)
	return n, err
}

// leastFileBytes is the memory that a file takes at first when it grows.
const leastFileBytes = 2 << 10

// WriteAt writes at an offset; a gap behind the end is filled with zeros.
func (h *file) WriteAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.writeAt(p, off)
}

func (h *file) writeAt(p []byte, off int64) (int, error) {
	if err := h.check("write"); err != nil {
		return 0, err
	}
	switch {
	case !h.writable:
		return 0, pathError("write", h.path, fs.ErrPermission)
	case off < 0:
		return 0, pathError("write", h.path, fs.ErrInvalid)
	case off > maxFileBytes-int64(len(p)):
		return 0, pathError("write", h.path, errTooBig)
	case len(p) == 0:
		return 0, nil
	}
	f, n := h.fs, h.n
	var full error
	if room, limited := f.room(n); limited && off+int64(len(p))-int64(len(n.data)) > room {
		full = pathError("write", h.path, ErrNoSpace)
		fits := int64(len(n.data)) + room - off
		if fits <= 0 {
			return 0, full
		}
		p = p[:fits]
	}
	f.begin(Op{Kind: OpWrite, Path: h.path, Offset: off}, p)
	f.counters.Writes++
	f.counters.WrittenBytes += uint64(len(p))

	from, to := int(off), int(off)+len(p)
	n.preserve(from, to)
	if grown := to - len(n.data); grown > 0 {
		if n.links > 0 {
			f.usedBytes += int64(grown)
		}
		if gap := from - len(n.data); gap > 0 {
			n.data = append(n.data, make([]byte, gap)...)
		}
		switch { // twice as much: logs are appended to in small pieces
		case to <= cap(n.data):
		case f.opts.Spares != nil:
			n.data = f.opts.Spares.grow(n.data, to)
		default:
			n.data = slices.Grow(n.data, max(to, leastFileBytes))
		}
		n.data = append(n.data[:from], p...)
	} else {
		copy(n.data[from:to], p)
	}
	return len(p), full
}

// Sync makes the content of a file, or the entries of a directory, durable.
func (h *file) Sync() error {
	f := h.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case h.closed:
		return pathError("sync", h.path, fs.ErrClosed)
	case h.n.dir:
		f.begin(Op{Kind: OpSyncDir, Path: h.path}, nil)
		if err := match(f.failSync, h.path); err != nil {
			f.counters.SyncsFailed++
			return pathError("sync", h.path, err)
		}
		f.counters.DirSyncs++
		f.syncDir(h.n)
	case h.log && f.ignoreLogSync:
		f.begin(Op{Kind: OpSyncIgnored, Path: h.path}, nil)
		f.counters.SyncsIgnored++
		h.n.lied = true
	default:
		f.begin(Op{Kind: OpSync, Path: h.path}, nil)
		if err := match(f.failSync, h.path); err != nil {
			f.counters.SyncsFailed++
			return pathError("sync", h.path, err)
		}
		f.counters.Syncs++
		h.n.syncFile()
	}
	return nil
}

// SyncData is Sync.
func (h *file) SyncData() error { return h.Sync() }

// SyncTo promises nothing and does nothing, as sync_file_range does on Linux for all that a caller may rely on.
func (h *file) SyncTo(int64) (fullSync bool, err error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return false, pathError("sync", h.path, fs.ErrClosed)
	}
	return false, nil
}

// Preallocate does nothing.
func (h *file) Preallocate(int64, int64) error { return nil }

// Prefetch does nothing.
func (h *file) Prefetch(int64, int64) error { return nil }

// Fd returns vfs.InvalidFd: there is no descriptor.
func (h *file) Fd() uintptr { return vfs.InvalidFd }

// Stat describes the file under the name that it was opened by.
func (h *file) Stat() (vfs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return nil, pathError("stat", h.path, fs.ErrClosed)
	}
	return h.n.info(h.path), nil
}

// fileInfo describes a node at one moment.
type fileInfo struct {
	name      string
	sizeBytes int64
	dir       bool
}

func (i fileInfo) Name() string { return i.name }

func (i fileInfo) Size() int64 { return i.sizeBytes }

func (i fileInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// ModTime is the same for all files: nothing may come to depend on it.
func (i fileInfo) ModTime() time.Time { return time.Unix(0, 0).UTC() }

func (i fileInfo) IsDir() bool { return i.dir }

func (i fileInfo) Sys() any { return nil }

func (i fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
