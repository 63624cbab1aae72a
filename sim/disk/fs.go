// Package disk is a file system in memory for the simulator: everything that it does, and everything that a power
// loss leaves of it, is a function of the calls made and of a seed.
//
// It implements the vfs.FS of Pebble, so a simulated node runs the real Pebble on it. Files and directories are
// nodes; a directory's entry gives a node a name; a hard link is a second entry for one node. Contents are durable in
// units of blocks (BlockBytes), directories in units of entries.
//
// # What a power loss can take
//
// A crash (CrashClone, or CrashAt from within an operation) makes a new FS of what the disk would hold. For each block
// and each change of an entry since it was last synced, a coin decides whether the change is there; where it is not,
// what was last synced is:
//
//   - Bytes are durable when Sync or SyncData of their file has returned. SyncTo and Close make nothing durable.
//   - An entry (creation, link, rename, directory) is durable when the directory that holds it was opened with OpenDir
//     and synced. A file that was synced and whose entry was not can be gone, with every byte of it.
//   - Of a file that grew, later blocks can be there and earlier ones not, which then read as zeros; the length is that
//     of the last block kept.
//   - A block can be torn: a prefix of its change is there, the rest is what was synced before.
//   - Changes of one directory are kept in order, as journaling file systems do it: a crash loses the latest of them,
//     and never an earlier one without the later ones. CrashOptions.Unordered takes this away, as file systems do that
//     promise no more than POSIX. (Pebble v2.1.7 does not survive that: it creates a MANIFEST and the marker that names
//     it, and syncs the directory once for both. It was mended later.)
//   - A rename is one change, atomic also between two directories, until one of them is synced alone.
//   - A removal is lost until its directory is synced after the Settle that follows it (see below).
//   - Locks and open files end with the machine.
//
// What is never lost, and what never happens:
//
//  1. Synced stays: bytes and entries that were synced, and not changed since, are in every crash clone.
//  2. Nothing is invented: each byte of a clone's file is the synced one, the current one, or a zero between blocks.
//  3. KeepPercent 0 is exactly what was synced; KeepPercent 100 is the current state (with removals that are not
//     settled undone).
//  4. Coins are stateless: a coin depends on the seeds, the path and the number of the block alone; what else happened
//     on the disk cannot shift it. (What a coin keeps is still lost behind an earlier loss in the same directory, or in
//     the same log whose sync was ignored.)
//  5. A clone shares nothing with its origin, which goes on to work: a Pebble that is being closed on it harms nothing.
//  6. The order and content of operations reported to OnOp, and the outcome of a crash, do not depend on when removals
//     are executed between two calls of Settle.
//  7. Nothing observable depends on the order of a Go map, on time or on addresses. Modification times are constant.
//
// Two fields that Pebble writes differ between equal runs; nothing that it does depends on them, and they do not vary in
// length: the wall clock in a MANIFEST (creation times of tables), and in a log how much of it was synced, which the
// writer of the next record can read before or after the flusher has stored it. Hashes in Op and String leave them out.
//
// # Removals
//
// Pebble removes obsolete files on a goroutine of its own, at a time that no seed decides. Remove and RemoveAll are
// therefore no operations: they are neither reported nor numbered, and cannot be the point of a crash. They show at
// once to whoever lists or opens, but to a crash, to a sync of the directory and to the count of bytes used they have
// not happened until Settle. The simulator calls Settle when the goroutine is known to be idle
// (pebble.DB.TestOnlyWaitForCleaning). Who never calls it gets removals back at each crash, which recovery must bear
// anyway.
//
// # Commits that are visible and not durable
//
// Pebble publishes a batch before its log is synced. A simulator that wants to crash in between, without Pebble's own
// asynchronous flusher, commits with pebble.Sync between IgnoreLogSync(true) and IgnoreLogSync(false): the bytes are
// written, and the sync of a "*.log" file reports success and does nothing. Pebble writes into later records how much of
// the log it believes synced, and takes a hole before that for corruption; so of a log whose sync was ignored, a crash
// keeps a prefix of what is not durable (cut in the middle of a block, possibly), never a later block without an earlier
// one. The window must not span a rotation of the log. The next sync that is not ignored makes all of it durable.
//
// # Use
//
// An FS is safe for concurrent use. OnOp is called with the FS locked, on the goroutine that does the operation, and
// must not call the FS.
package disk

import (
	"cmp"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BlockBytes is the unit in which changes of a file are kept or lost by a crash.
const BlockBytes = 4096

// totalBytes is the size that an FS without capacity reports: 1 TiB.
const totalBytes = 1 << 40

// Options configures an FS. The zero value is usable.
type Options struct {
	// Seed is mixed with the seed of each crash, so that the disks of two nodes that crash with the same seed differ.
	Seed uint64
	// OnOp, when set, is called with each operation that changes the disk, in the order of execution, before it takes
	// effect. It runs with the FS locked and must not call it.
	OnOp func(Op)
	// Spares, when set, is where files take their memory from.
	Spares *Spares
}

// Counters says how much an FS has done since it was made.
type Counters struct {
	Ops          uint64 // operations, those of a machine already dead (see CrashAt) excluded
	Writes       uint64
	WrittenBytes uint64
	Reads        uint64 // by Read and ReadAt; Pebble's caches decide how many, so they do not belong in a trace
	ReadBytes    uint64
	ReadsFailed  uint64 // by FailRead
	ReadsFlipped uint64 // bytes that FlipRead has inverted
	Syncs        uint64 // of files
	SyncsIgnored uint64
	SyncsFailed  uint64 // by FailSync; of files and directories
	DirSyncs     uint64
	Removes      uint64
}

// FS is the file system. Make one with New, or from another with CrashClone.
type FS struct {
	mu        sync.Mutex
	root      *node
	opts      Options
	muted     bool
	counters  Counters
	locks     map[string]bool // by clean path
	journal   []record        // changes of entries whose directory was not synced since, in the order of execution
	unsettled []removal       // since the last Settle, in the order of execution: only sets may be derived from it
	removed   atomic.Bool     // unsettled has something: Settle is called after each event, and seldom has anything to do

	usedBytes     int64 // of files that have an entry, unsettled removals included
	capacityBytes int64 // 0: unlimited
	ignoreLogSync bool
	failSync      []failure
	failRead      []failure
	flips         []flip
	loss          Loss

	crashIn   uint64 // operations until the armed crash; 0: none armed
	crashOpts CrashOptions
	captured  atomic.Pointer[FS] // read several times an event
}

var _ vfs.FS = (*FS)(nil)

// record is one change: of one entry or, by a rename, of two at once.
type record struct {
	sets    []set
	coin    string // path that the coin is drawn for: the new name's
	removal bool   // so that the coin is another one than that of the creation
}

// set makes an entry point to a node; nil takes it away.
type set struct {
	dir  *node
	name string
	n    *node
}

// removal is an entry that was removed and is not settled.
type removal struct {
	dir  *node
	name string
	path string
}

// New returns an empty file system.
func New(o Options) *FS {
	f := &FS{opts: o, locks: make(map[string]bool)}
	f.root = newDir("/")
	f.root.links = 1
	return f
}

// Counters returns what the file system has done so far.
func (f *FS) Counters() Counters {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counters
}

// Mute ends the reports to OnOp and the numbering of operations: the simulator calls it on the disk of a machine that
// has lost power, before it closes what still runs on it. A crash armed by CrashAt mutes when it strikes.
func (f *FS) Mute() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.muted, f.crashIn = true, 0
}

// Settle says that no goroutine is removing files now. Removals made before it take part in crashes by their coins, are
// made durable by the next sync of their directory, and no longer count as bytes used.
func (f *FS) Settle() {
	if !f.removed.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.SortFunc(f.unsettled, func(a, b removal) int { return cmp.Compare(a.path, b.path) })
	for _, r := range f.unsettled {
		n := r.dir.ghosts[r.name]
		if n == nil { // a new entry took the name, and its record replaces the old one
			continue
		}
		delete(r.dir.ghosts, r.name)
		r.dir.noteChange(r.name, n)
		f.journal = append(f.journal, record{sets: []set{{r.dir, r.name, nil}}, coin: r.path, removal: true})
		f.unlink(n)
	}
	clear(f.unsettled)
	f.unsettled = f.unsettled[:0]
	f.removed.Store(false)
}

// begin counts and reports an operation that is about to take effect, and strikes the crash that is armed for it.
// f.mu is held.
func (f *FS) begin(op Op, written []byte) {
	if f.muted {
		return
	}
	if f.crashIn > 0 {
		if f.crashIn--; f.crashIn == 0 {
			f.captured.Store(f.crashClone(f.crashOpts))
			f.muted = true
			return
		}
	}
	f.counters.Ops++
	if f.opts.OnOp == nil {
		return
	}
	op.N = f.counters.Ops
	if op.Kind == OpWrite {
		op.Length, op.Hash = len(written), contentHash(op.Path, op.Offset, written)
	}
	f.opts.OnOp(op)
}

// clean makes a path absolute: names are relative to the root, as if it were the working directory.
func clean(name string) string {
	return path.Clean("/" + name)
}

// lookup finds the node at a clean path.
func (f *FS) lookup(op, p string) (*node, error) {
	n := f.root
	for rest := p[1:]; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if !n.dir {
			return nil, pathError(op, p, errNotDir)
		}
		if n = n.children[name]; n == nil {
			return nil, pathError(op, p, fs.ErrNotExist)
		}
	}
	return n, nil
}

// parent finds the directory that holds, or would hold, the entry at a clean path.
func (f *FS) parent(op, p string) (dir *node, name string, err error) {
	if p == "/" {
		return nil, "", pathError(op, p, fs.ErrInvalid)
	}
	dir, err = f.lookup(op, path.Dir(p))
	if err != nil {
		return nil, "", err
	}
	if !dir.dir {
		return nil, "", pathError(op, p, errNotDir)
	}
	return dir, path.Base(p), nil
}

// link adds an entry for n. Its bytes count as used while it has one.
func (f *FS) link(n *node) {
	if n.links++; n.links == 1 {
		f.usedBytes += int64(len(n.data))
	}
}

// unlink takes away an entry of n, and with the last one of a directory those of all that is in it.
func (f *FS) unlink(n *node) {
	if n.links--; n.links > 0 {
		return
	}
	f.usedBytes -= int64(len(n.data))
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		f.unlink(n.children[name])
	}
}

// change carries out the sets as one change, whose coin is drawn for the path.
func (f *FS) change(coin string, sets ...set) {
	f.journal = append(f.journal, record{sets: sets, coin: coin})
	for _, s := range sets {
		previous := s.dir.children[s.name]
		if ghost := s.dir.ghosts[s.name]; ghost != nil {
			delete(s.dir.ghosts, s.name)
			previous = ghost
		}
		s.dir.noteChange(s.name, previous)
		if s.n != nil {
			f.link(s.n)
			s.dir.children[s.name] = s.n
		} else {
			delete(s.dir.children, s.name)
		}
		if previous != nil {
			f.unlink(previous)
		}
	}
}

// syncDir makes the directory's entries durable; those that are being removed, as if they were still there.
func (f *FS) syncDir(dir *node) {
	clear(dir.changed)
	kept := f.journal[:0]
	for _, r := range f.journal {
		r.sets = slices.DeleteFunc(r.sets, func(s set) bool { return s.dir == dir })
		if len(r.sets) > 0 {
			kept = append(kept, r)
		}
	}
	clear(f.journal[len(kept):])
	f.journal = kept
}

// Create creates a file that can be read and written. A file that had the name keeps its content for whoever has it
// open or linked.
func (f *FS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	n, err := f.create("create", p, OpCreate)
	if err != nil {
		return nil, err
	}
	return f.open(n, p, true), nil
}

func (f *FS) create(op, p string, kind OpKind) (*node, error) {
	dir, base, err := f.parent(op, p)
	if err != nil {
		return nil, err
	}
	if old := dir.children[base]; old != nil && old.dir {
		return nil, pathError(op, p, errIsDir)
	}
	f.begin(Op{Kind: kind, Path: p}, nil)
	n := &node{birth: p}
	f.change(p, set{dir, base, n})
	return n, nil
}

func (f *FS) open(n *node, p string, writable bool) *file {
	return &file{fs: f, n: n, path: p, log: path.Ext(p) == ".log", writable: writable}
}

// Open opens a file or directory for reading.
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.openExisting(name)
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.Apply(file)
	}
	return file, nil
}

func (f *FS) openExisting(name string) (*file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	n, err := f.lookup("open", p)
	if err != nil {
		return nil, err
	}
	return f.open(n, p, false), nil
}

// OpenReadWrite opens a file for reading and writing, and creates it if it does not exist.
func (f *FS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.openReadWrite(clean(name))
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.Apply(file)
	}
	return file, nil
}

func (f *FS) openReadWrite(p string) (*file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.parent("open", p)
	if err != nil {
		return nil, err
	}
	n := dir.children[base]
	if n == nil {
		if n, err = f.create("open", p, OpCreate); err != nil {
			return nil, err
		}
	}
	if n.dir {
		return nil, pathError("open", p, errIsDir)
	}
	return f.open(n, p, true), nil
}

// OpenDir opens a directory, to sync it.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	file, err := f.openExisting(name)
	if err != nil {
		return nil, err
	}
	if !file.n.dir {
		return nil, pathError("open", file.path, errNotDir)
	}
	return file, nil
}

// Link gives the file oldname a second name. The new one must not exist.
func (f *FS) Link(oldname, newname string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := clean(oldname), clean(newname)
	n, err := f.lookup("link", from)
	if err != nil {
		return err
	}
	if n.dir {
		return pathError("link", from, fs.ErrPermission)
	}
	dir, base, err := f.parent("link", to)
	if err != nil {
		return err
	}
	if dir.children[base] != nil {
		return pathError("link", to, fs.ErrExist)
	}
	f.begin(Op{Kind: OpLink, Path: from, To: to}, nil)
	f.change(to, set{dir, base, n})
	return nil
}

// Rename moves a file or directory. A file replaces one that has the new name.
func (f *FS) Rename(oldname, newname string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.rename(clean(oldname), clean(newname), OpRename)
	return err
}

func (f *FS) rename(from, to string, kind OpKind) (*node, error) {
	fromDir, fromBase, err := f.parent("rename", from)
	if err != nil {
		return nil, err
	}
	n := fromDir.children[fromBase]
	if n == nil {
		return nil, pathError("rename", from, fs.ErrNotExist)
	}
	toDir, toBase, err := f.parent("rename", to)
	if err != nil {
		return nil, err
	}
	switch old := toDir.children[toBase]; {
	case old == n: // two names of one file: as POSIX has it, both stay
		return n, nil
	case n.dir && strings.HasPrefix(to, from+"/"):
		return nil, pathError("rename", to, fs.ErrInvalid)
	case old == nil:
	case old.dir: // os.Rename refuses also those that rename(2) would replace
		return nil, pathError("rename", to, fs.ErrExist)
	case n.dir:
		return nil, pathError("rename", to, errNotDir)
	}
	f.begin(Op{Kind: kind, Path: from, To: to}, nil)
	f.change(to, set{toDir, toBase, n}, set{fromDir, fromBase, nil})
	return n, nil
}

// ReuseForWrite renames a file and opens it for reading and writing from its beginning; its content stays until it is
// overwritten.
func (f *FS) ReuseForWrite(oldname, newname string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := clean(oldname), clean(newname)
	n, err := f.lookup("reuse", from)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, pathError("reuse", from, errIsDir)
	}
	if n, err = f.rename(from, to, OpReuse); err != nil {
		return nil, err
	}
	return f.open(n, to, true), nil
}

// Remove removes a file or an empty directory. See the package comment for when a crash knows of it.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	dir, base, err := f.parent("remove", p)
	if err != nil {
		return err
	}
	n := dir.children[base]
	if n == nil {
		return pathError("remove", p, fs.ErrNotExist)
	}
	if len(n.children) > 0 {
		return pathError("remove", p, errNotEmpty)
	}
	f.remove(dir, base, p)
	return nil
}

// RemoveAll removes a file, or a directory with all that is in it. It is no error if there is none.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	if p == "/" {
		return pathError("remove", p, fs.ErrInvalid)
	}
	dir, err := f.lookup("remove", path.Dir(p))
	if err != nil || dir.children[path.Base(p)] == nil {
		return nil // as os.RemoveAll: a missing parent is no error either
	}
	f.remove(dir, path.Base(p), p)
	return nil
}

// remove takes the entry away and leaves a ghost of it, which goes with the next Settle.
func (f *FS) remove(dir *node, name, p string) {
	f.counters.Removes++
	dir.ghosts[name] = dir.children[name] // with the entry's link
	delete(dir.children, name)
	f.unsettled = append(f.unsettled, removal{dir, name, p})
	f.removed.Store(true)
}

// MkdirAll creates a directory and those above it that are missing.
func (f *FS) MkdirAll(name string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, at := f.root, ""
	for rest := clean(name)[1:]; rest != ""; {
		var base string
		base, rest, _ = strings.Cut(rest, "/")
		at += "/" + base
		child := n.children[base]
		if child == nil {
			f.begin(Op{Kind: OpMkdir, Path: at}, nil)
			child = newDir(at)
			f.change(at, set{n, base, child})
		}
		if !child.dir {
			return pathError("mkdir", at, errNotDir)
		}
		n = child
	}
	return nil
}

// Lock creates the file, or empties it, and holds it until the result is closed. While it is held, a second Lock of
// the same path fails with ErrLocked. A crash clone holds no locks.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	if f.locks[p] {
		return nil, pathError("lock", p, ErrLocked)
	}
	if _, err := f.create("lock", p, OpLock); err != nil {
		return nil, err
	}
	f.locks[p] = true
	return &lock{fs: f, path: p}, nil
}

// lock is a held lock.
type lock struct {
	fs   *FS
	path string
}

// Close releases the lock. A second Close fails with fs.ErrClosed and leaves a lock that another took alone.
func (l *lock) Close() error {
	if l.fs == nil {
		return fs.ErrClosed
	}
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locks, l.path)
	l.fs = nil
	return nil
}

// List returns the names in a directory, sorted.
func (f *FS) List(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	n, err := f.lookup("list", p)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("list", p, errNotDir)
	}
	return slices.Sorted(maps.Keys(n.children)), nil
}

// Stat describes a file or directory.
func (f *FS) Stat(name string) (vfs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	n, err := f.lookup("stat", p)
	if err != nil {
		return nil, err
	}
	return n.info(p), nil
}

// GetDiskUsage returns the capacity and what is used of it; the contents of removed files count until Settle.
func (f *FS) GetDiskUsage(name string) (vfs.DiskUsage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.lookup("statfs", clean(name)); err != nil {
		return vfs.DiskUsage{}, err
	}
	total := cmp.Or(f.capacityBytes, totalBytes)
	return vfs.DiskUsage{
		AvailBytes: uint64(max(0, total-f.usedBytes)),
		TotalBytes: uint64(total),
		UsedBytes:  uint64(f.usedBytes),
	}, nil
}

// PathBase returns the last element of a path.
func (*FS) PathBase(p string) string { return path.Base(p) }

// PathJoin joins the elements of a path.
func (*FS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir returns all but the last element of a path.
func (*FS) PathDir(p string) string { return path.Dir(p) }

// Unwrap returns nil: there is no file system below.
func (*FS) Unwrap() vfs.FS { return nil }

// String lists each file and directory by path: bytes, how many are synced, and the hash of the content. Two file
// systems with equal strings hold the same (but for what hashes leave out).
func (f *FS) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	f.root.dump(&b, "/")
	return b.String()
}
