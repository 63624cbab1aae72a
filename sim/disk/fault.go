package disk

import (
	"fmt"
	"io/fs"
	"path"
)

// Errors are *fs.PathError that wrap one of these, or one of io/fs: ErrNotExist, ErrExist, ErrInvalid (also the root
// where it cannot be meant), ErrPermission (writing to a file that was opened for reading), ErrClosed.
var (
	// ErrNoSpace is returned by a write that would grow a file beyond the capacity. vfs.IsNoSpaceError knows it.
	ErrNoSpace error = systemError("no space left on device")
	// ErrLocked is returned by Lock while the lock is held. It matches the EAGAIN that a real lock gives.
	ErrLocked error = lockError{}
)

const (
	errNotDir   = systemError("not a directory")
	errIsDir    = systemError("is a directory")
	errNotEmpty = systemError("directory not empty")
	errTooBig   = systemError("file too large")
)

// systemError stands for the error number of the operating system that has this text. The simulator does not import the
// system's packages, and callers compare with their numbers (vfs.IsNoSpaceError does); the text is all they share.
type systemError string

func (e systemError) Error() string { return string(e) }

// Is reports whether the target is the system's error of that name.
func (e systemError) Is(target error) bool { return target.Error() == string(e) }

// lockError says what EAGAIN means for a lock.
type lockError struct{}

func (lockError) Error() string { return "the lock is held by another user of this disk" }

// LockHeld reports true: this is how those who may not know the system's error numbers recognise a held lock.
func (lockError) LockHeld() bool { return true }

// Is reports whether the target is EAGAIN.
func (lockError) Is(target error) bool {
	return systemError("resource temporarily unavailable").Is(target)
}

func pathError(op, p string, err error) error {
	return &fs.PathError{Op: op, Path: p, Err: err}
}

// failure makes operations on files fail whose path, or its last element, matches the pattern.
type failure struct {
	glob string
	err  error
}

// match returns the error of the first failure that concerns the path.
func match(failures []failure, p string) error {
	for _, r := range failures {
		whole, _ := path.Match(r.glob, p) // patterns were checked when they were set
		base, _ := path.Match(r.glob, path.Base(p))
		if whole || base {
			return r.err
		}
	}
	return nil
}

func setFailure(failures []failure, glob string, err error) ([]failure, error) {
	if _, bad := path.Match(glob, ""); bad != nil {
		return failures, fmt.Errorf("disk: pattern %q: %w", glob, bad)
	}
	var kept []failure
	for _, r := range failures {
		if r.glob != glob {
			kept = append(kept, r)
		}
	}
	if err != nil {
		kept = append(kept, failure{glob, err})
	}
	return kept, nil
}

// FailSync makes each sync fail with err that concerns a file or directory whose path, or the last element of it,
// matches the pattern (as path.Match has it); a nil err ends that. A failed sync makes nothing durable, and leaves what
// it was for to the next one. It fails on a malformed pattern.
func (f *FS) FailSync(glob string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var bad error
	f.failSync, bad = setFailure(f.failSync, glob, err)
	return bad
}

// FailRead makes each read of a file that matches the pattern fail with err; a nil err ends that. It fails on a
// malformed pattern.
func (f *FS) FailRead(glob string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var bad error
	f.failRead, bad = setFailure(f.failRead, glob, err)
	return bad
}

// flip is a byte that reads of a file return with a bit inverted.
type flip struct {
	n      *node
	offset int64
}

// FlipRead inverts the lowest bit of the byte at an offset in whatever reads of the file return from now on, as a cable or a
// controller does that fails: what is on the medium stays right, so a crash clone is whole. It goes with the file through
// renames, and ends with ReadRight. It fails if there is no such file or byte.
func (f *FS) FlipRead(name string, offset int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.byteOf(name, offset)
	if err == nil {
		f.flips = append(f.flips, flip{n, offset})
	}
	return err
}

// ReadRight ends what FlipRead began, for all files.
func (f *FS) ReadRight() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flips = nil
}

// spoil inverts in b, which was read from an offset of a file, what FlipRead asks for.
func (f *FS) spoil(n *node, b []byte, offset int64) {
	for _, p := range f.flips {
		if at := p.offset - offset; p.n == n && at >= 0 && at < int64(len(b)) {
			b[at] ^= 1
			f.counters.ReadsFlipped++
		}
	}
}

// byteOf finds the file that has a byte at an offset.
func (f *FS) byteOf(name string, offset int64) (*node, error) {
	p := clean(name)
	n, err := f.lookup("flip", p)
	switch {
	case err != nil:
		return nil, err
	case n.dir:
		return nil, pathError("flip", p, errIsDir)
	case offset < 0 || offset >= int64(len(n.data)):
		return nil, pathError("flip", p, fs.ErrInvalid)
	}
	return n, nil
}

// IgnoreLogSync switches off, and on again, the effect of syncing files that are named "*.log". See the package comment
// for what that models and what a crash then leaves.
func (f *FS) IgnoreLogSync(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ignoreLogSync = on
}

// SetCapacity bounds the bytes of all files; 0 or less is no bound. Names and directories cost nothing. A capacity below
// what is used fails the next write that grows a file, and takes nothing away.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacityBytes = max(0, bytes)
}

// room returns by how many bytes a file can grow. One without a name does not count.
func (f *FS) room(n *node) (bytes int64, limited bool) {
	if f.capacityBytes == 0 || n.links == 0 {
		return 0, false
	}
	return max(0, f.capacityBytes-f.usedBytes), true
}

// FlipBit inverts the lowest bit of the byte at an offset, in what is read now and in what a crash leaves, as a medium
// does that forgets: no sync repairs it. It fails if there is no such file or byte.
func (f *FS) FlipBit(name string, offset int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.byteOf(name, offset)
	if err != nil {
		return err
	}
	n.data[offset] ^= 1
	block, at := int(offset/BlockBytes), int(offset%BlockBytes)
	if old := n.old[block]; old != nil && at >= old.from && at-old.from < len(old.synced) {
		old.synced[at-old.from] ^= 1
	}
	return nil
}
