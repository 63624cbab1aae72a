package store

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"godwit/engine/key"
	"godwit/engine/mutant"
)

// Reader reads records: the store itself (the present), a Snapshot (a moment), or an indexed Batch (the present and the
// batch's own writes).
type Reader interface {
	// Get returns the value of a key, or nil and false. The value is the caller's.
	Get(k []byte) (value []byte, found bool, err error)
	// Append appends the value of a key to dst and returns the result; without a value, dst and false.
	Append(dst, k []byte) (out []byte, found bool, err error)
	// NewIter iterates over a span in key order. Close it.
	NewIter(span key.Span) (*Iter, error)
}

// Get implements Reader.
func (s *Store) Get(k []byte) ([]byte, bool, error) { return s.Append(nil, k) }

// Append implements Reader. It looks into the row cache first, and into the roster then.
func (s *Store) Append(dst, k []byte) ([]byte, bool, error) {
	if s.rows == nil {
		return s.kv.get(k, dst)
	}
	value, found, token := s.rows.get(k, dst)
	if found {
		return value, true, nil
	}
	absent, helpless := s.names.absent(k)
	if absent {
		return dst, false, nil
	}
	s.settleToRead()
	value, found, err := s.kv.get(k, dst)
	switch {
	case err != nil:
	case found:
		s.rows.fill(token, k, value[len(dst):])
	case helpless:
		s.names.learn(k, settled{s})
	}
	return value, found, err
}

// NewIter implements Reader.
func (s *Store) NewIter(span key.Span) (*Iter, error) { return settled{s}.newIter(span) }

// Snapshot is the store at a moment. Close it; an open snapshot keeps old versions on disk.
type Snapshot struct {
	s  snapshot
	of *Store
}

// NewSnapshot opens a snapshot of everything visible now.
func (s *Store) NewSnapshot() *Snapshot {
	s.snapshots.Add(1)
	if !mutant.On(mutant.SnapUnsettled) {
		s.settleToRead()
	}
	return &Snapshot{s.kv.newSnapshot(), s}
}

// Get implements Reader.
func (s *Snapshot) Get(k []byte) ([]byte, bool, error) { return s.s.get(k, nil) }

// Append implements Reader.
func (s *Snapshot) Append(dst, k []byte) ([]byte, bool, error) { return s.s.get(k, dst) }

// NewIter implements Reader.
func (s *Snapshot) NewIter(span key.Span) (*Iter, error) { return s.s.newIter(span) }

// Close releases the snapshot.
func (s *Snapshot) Close() {
	s.of.snapshots.Add(-1)
	s.s.close()
}

// Held says how many snapshots are open and how many slots are tracked: both 0 when nobody moves anything.
func (s *Store) Held() (snapshots, trackers int) {
	return int(s.snapshots.Load()), int(s.trackers.count.Load())
}

// Batch collects writes that become visible together. It is not safe for concurrent use, and ends with Commit or Discard.
type Batch struct {
	// b holds the writes, in Pebble's encoding, for both engines.
	b       *pebble.Batch
	m       *memoryBatch // nil on Pebble
	indexed bool
	st      *Store // of an indexed batch

	rangeDeletes int64 // their number
	apart        key.Span
}

// NewBatch makes a batch that cannot be read.
func (s *Store) NewBatch() *Batch { return s.kv.newBatch() }

// NewIndexedBatch makes a batch that can be read, its own writes over the store's.
func (s *Store) NewIndexedBatch() *Batch {
	b := s.kv.newIndexedBatch()
	b.st = s
	return b
}

// Set writes a record. Both slices are copied.
func (b *Batch) Set(k, v []byte) { must(b.b.Set(k, v, nil)) }

// Delete removes a record.
func (b *Batch) Delete(k []byte) { must(b.b.Delete(k, nil)) }

// DeleteRange removes all records of a span; writes that the batch makes afterwards stay.
func (b *Batch) DeleteRange(span key.Span) {
	must(b.b.DeleteRange(span.Lo, span.Hi, nil))
	b.rangeDeletes++
}

// Apart says that all that the batch writes, and that clients read, lies in a span that nobody reads for now: the row cache drops what it has of the
// slots of the span, and takes nothing in.
func (b *Batch) Apart(span key.Span) { b.apart = span }

// must turns an error of a batch into a panic: a batch in memory fails only when it is used after Commit or grows past
// 4 GiB, both of which are bugs of this process.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Empty reports whether nothing was written.
func (b *Batch) Empty() bool { return b.b.Empty() }

// Bytes is the size of the batch in bytes.
func (b *Batch) Bytes() int { return b.b.Len() }

// Indexed reports whether the batch can be read.
func (b *Batch) Indexed() bool { return b.indexed }

// Discard releases a batch that is not committed.
func (b *Batch) Discard() {
	if b.m != nil {
		b.m.release(b.b)
	} else {
		_ = b.b.Close() // only returns the batch to a pool
	}
	b.b = nil
}

// Get implements Reader for an indexed batch.
func (b *Batch) Get(k []byte) ([]byte, bool, error) { return b.Append(nil, k) }

// Append implements Reader for an indexed batch.
func (b *Batch) Append(dst, k []byte) ([]byte, bool, error) {
	b.st.settleToRead()
	if b.m != nil {
		return b.m.get(b.b, k, dst)
	}
	return pebbleGet(b.b, k, dst)
}

// NewIter implements Reader for an indexed batch.
func (b *Batch) NewIter(span key.Span) (*Iter, error) {
	b.st.settleToRead()
	if b.m != nil {
		return b.m.newIter(b.b, span)
	}
	return pebbleIter(b.b, span)
}

// lockHeldBySystem recognises what flock and fcntl answer when another process has the lock. POSIX lets fcntl say EACCES;
// with a path beside it, the same number says that a file may not be opened.
func lockHeldBySystem(err error) bool {
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK) {
		return true
	}
	var path *fs.PathError
	return errors.Is(err, syscall.EACCES) && !errors.As(err, &path)
}
