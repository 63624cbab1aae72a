// Package store is the only door to Pebble: batches, positions and durability, snapshots, change tracking, digests. For the
// simulator it can keep the records in memory instead (Sim.Memory).
//
// Vocabulary. A *position* numbers the commits of this process, from 1. A commit is *visible* when Commit returns and
// *durable* once a sync that began after it has ended. A *tracker* collects what changes in one slot.
//
// Invariants.
//  1. A commit is visible before it is durable, never the other way round; Durable() never exceeds Last() and never goes back.
//  2. WhenDurable(p, fn) runs fn only when every commit up to p would survive the loss of power.
//  3. What a tracker collects is derived from the batch itself: no writer can forget it.
//  4. A failed write or sync ends the process (Options.Fatal): what is on disk is unknown then, and going on would be guessing.
//  5. What is read is what was written: a table that is not ends the process, or fails the read; a log or MANIFEST that is not keeps the
//     directory from being opened (ErrDamaged). A read that fails changes nothing and fails alone.
//
// Concurrency: all methods are safe for concurrent use. That a tracker misses nothing needs the caller's slot lock: see Track.
package store

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/reuse"
)

// Errors of Open.
var (
	// ErrInUse says that another process has the directory open.
	ErrInUse = errors.New("the directory is in use by another process")
	// ErrFormat says that the directory was written by a version that this one does not know. Nothing was touched.
	ErrFormat = errors.New("unknown format version")
)

// Position numbers a commit of this process. It means nothing after a restart.
type Position uint64

// Options configures a store. Validate is called by Open.
type Options struct {
	// FS is the file system and Dir the directory on it; Dir is made if it is missing.
	FS  vfs.FS
	Dir string
	// CacheBytes is the size of the block cache in bytes; 0 means 256 MiB. The memtables are taken out of it; two of them, as many as there
	// mostly are, leave it half.
	CacheBytes int64
	// RowCacheBytes is the size of the cache of records and elements in bytes; 0 means 256 MiB, or 8 KiB in the simulator. Less
	// than 4 KiB, a negative number for one, means none. The roster, which knows what is not there, takes an eighth of that more.
	RowCacheBytes int64
	// MemTableBytes is the size of a memtable in bytes; 0 means 64 MiB.
	MemTableBytes uint64
	// Syncer schedules sync rounds.
	Syncer env.Syncer
	// Workers apply commits beside whoever has made them, for a program that runs all requests on one goroutine and has a processor to spare; those of few rows
	// it applies itself, when a round of requests is over (BeginRound), or at once outside of rounds. Nil for commits that are applied before Commit returns. Without a row cache they all are.
	Workers env.Workers
	// Fatal is called with an error after which the store cannot go on. It must not return.
	Fatal func(error)
	// Log receives what Pebble reports; nil discards it.
	Log *slog.Logger
	// Sim makes Pebble deterministic for the simulator; nil in production.
	Sim *Sim
}

// Validate names the first field that is wrong, its value and what would be right.
func (o *Options) Validate() error {
	switch {
	case o.FS == nil:
		return errors.New("store: FS is missing")
	case o.Dir == "":
		return errors.New("store: Dir is empty: name the directory that holds the data")
	case o.Syncer == nil:
		return errors.New("store: Syncer is missing")
	case o.Fatal == nil:
		return errors.New("store: Fatal is missing")
	case o.CacheBytes < 0:
		return fmt.Errorf("store: CacheBytes is %d: it must not be negative", o.CacheBytes)
	}
	return nil
}

// Sim is what makes a store deterministic, and fast, for the simulator.
type Sim struct {
	// Memory keeps the records in memory, and on the file system no more than a log that Open replays: some times as fast as
	// Pebble on what a simulated node holds, and its equal in what readers see and in what a crash leaves. The other fields
	// but BacklogBytes are for Pebble.
	Memory bool
	// IgnoreLogSync switches off and on the effect of syncing write-ahead logs.
	IgnoreLogSync func(bool)
	// MayFlush is asked before a memtable is flushed; nil always agrees. On a disk that fails Pebble panics there, with locks
	// held, where production would have ended: the simulator ends the node instead.
	MayFlush func() bool
	// BacklogBytes is how much of what is committed may wait to be applied; 0 stands for 2 KiB, which few commits fill.
	BacklogBytes int
	// Caches may be shared by the nodes of one process, one after another or together.
	Caches *Caches
}

// Caches is a block cache and a file cache that several simulated stores share, since each costs memory to create.
type Caches struct {
	blocks *pebble.Cache
	files  *pebble.FileCache
}

// NewCaches makes caches for simulated stores.
func NewCaches() *Caches {
	return &Caches{blocks: pebble.NewCache(8 << 20), files: pebble.NewFileCache(1, 1000)}
}

// Close gives the memory back. The stores that used the caches must be closed, or never be used again.
func (c *Caches) Close() {
	c.blocks.Unref()
	c.files.Unref()
}

// Store is an open store.
type Store struct {
	kv    kv
	rows  *rowCache // nil if there is none
	names *roster   // nil if there are no rows
	fatal func(error)
	fs    vfs.FS // and dir, to stage tables
	dir   string
	room  reuse.Slices // for tables and what they are made of

	backlog  backlog
	trackers trackers
	// snapshots counts those that are open.
	snapshots atomic.Int64

	last    atomic.Uint64 // position of the latest commit
	durable atomic.Uint64
	syncer  env.Syncer
	round   func() // syncRound, as the syncer takes it

	mu        sync.Mutex
	waiters   []waiter // in the order of their calls
	spare     []waiter // empty: room for those of the next round but one
	scheduled bool     // a sync round is scheduled and has not yet taken the waiters
	closed    bool
}

type waiter struct {
	at Position
	fn func()
}

// Open opens or creates the store in a directory.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	var err error
	if o.FS, err = makeDir(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("store: make directory %s: %w", o.Dir, err)
	}
	s := &Store{fatal: o.Fatal, syncer: o.Syncer, fs: o.FS, dir: o.Dir}
	s.round, s.room.Spoil = s.syncRound, o.Sim != nil
	if o.RowCacheBytes == 0 {
		o.RowCacheBytes = 256 << 20
		if o.Sim != nil {
			o.RowCacheBytes = 8 << 10 // so small that rows are pushed out
		}
	}
	s.rows = newRowCache(o.RowCacheBytes)
	word, open := formatPebble, openPebble
	if o.Sim != nil && o.Sim.Memory {
		word, open = formatMemory, openMemory
	}
	older, err := checkFormat(o.FS, o.Dir, word)
	if err != nil {
		return nil, err
	}
	if s.kv, err = open(&o); err != nil {
		if isLockError(err) {
			return nil, fmt.Errorf("store: open %s: %w", o.Dir, ErrInUse)
		}
		return nil, fmt.Errorf("store: open %s: %w", o.Dir, err)
	}
	if older { // now that nobody else has the directory open
		err = writeFormat(o.FS, o.Dir, word)
	}
	if err == nil {
		err = dropStaged(o.FS, o.Dir)
	}
	if err == nil && s.rows != nil {
		s.names, err = openRoster(o.RowCacheBytes/8, s.kv)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", o.Dir, err), s.kv.close())
	}
	if s.rows != nil {
		s.backlog.workers, s.backlog.round, s.backlog.minRows, s.backlog.room = o.Workers, s.catchUp, backlogRows, backlogBytes
		if o.Sim != nil {
			s.backlog.minRows, s.backlog.room = 1, cmp.Or(o.Sim.BacklogBytes, simBacklogBytes)
		}
	}
	return s, nil
}

// isLockError tells a held lock from other failures to open; Pebble passes on what the file system said.
func isLockError(err error) bool {
	var held interface{ LockHeld() bool }
	if errors.As(err, &held) {
		return held.LockHeld()
	}
	return lockHeldBySystem(err)
}

// Close syncs what was committed and closes the store. Nothing else may be in progress; waiters that have not run never will.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed, s.waiters = true, nil
	s.mu.Unlock()
	s.settle()
	return s.kv.close()
}

// Abandon closes a simulated store whose node has crashed, without writing to what the crash left behind.
func (s *Store) Abandon() {
	s.mu.Lock()
	s.closed, s.waiters = true, nil
	s.mu.Unlock()
	s.kv.abandon()
}

// Commit makes a batch visible and returns its position. The log has it then, or will have it before anything that is committed later. It takes over
// the batch, which must not be used afterwards. The caller holds the locks of the slots that the batch writes.
func (s *Store) Commit(b *Batch) Position {
	tracked := s.trackers.collect(b.b)
	if s.names != nil {
		s.names.committing(b)
	}
	apart, ops := b.apart, b.b.Reader() // Pebble takes the bytes of a large batch away
	postponed, full := s.postpone(b)
	if !postponed {
		if !mutant.On(mutant.CommitOvertakes) {
			s.settle()
		}
		s.apply(b)
	}
	if s.names != nil {
		s.names.committed()
	}
	if tracked != nil {
		s.trackers.record(tracked)
	}
	switch {
	case postponed || s.rows == nil:
	case apart.Hi != nil:
		s.rows.dropSpan(apart)
	default:
		s.rows.applied(ops)
	}
	p := Position(s.last.Add(1))
	switch {
	case full:
		s.settle()
	case !postponed:
		b.Discard()
		s.applied()
	}
	return p
}

// Last is the position of the latest commit.
func (s *Store) Last() Position { return Position(s.last.Load()) }

// Durable is the greatest position that is known to survive the loss of power.
func (s *Store) Durable() Position { return Position(s.durable.Load()) }

// WhenDurable runs fn once, on a goroutine of the syncer, when everything committed up to p is durable; never on the
// caller's stack. All waiters of a round share one sync.
func (s *Store) WhenDurable(p Position, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.waiters = append(s.waiters, waiter{p, fn})
	if !s.scheduled {
		s.scheduled = true
		s.syncer.Schedule(s.round)
	}
}

// maxSpareWaiters bounds the room that is kept for waiters between rounds, in waiters: 16 KiB.
const maxSpareWaiters = 1024

// syncRound makes durable everything that was committed before it began, and runs the waiters that this satisfies: all
// of those that it finds, since a waiter waits for a commit that had returned.
func (s *Store) syncRound() {
	s.mu.Lock()
	waiters := s.waiters
	s.waiters, s.spare, s.scheduled = s.spare, nil, false
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	last := s.Last()
	if last > s.Durable() {
		if !mutant.On(mutant.SyncUnsettled) {
			s.settle()
		}
		if err := s.kv.sync(); err != nil {
			s.fatal(fmt.Errorf("store: sync: %w", err))
		}
		for {
			d := s.durable.Load()
			if d >= uint64(last) || s.durable.CompareAndSwap(d, uint64(last)) {
				break
			}
		}
	}
	for _, w := range waiters {
		w.fn()
	}
	if cap(waiters) <= maxSpareWaiters {
		clear(waiters)
		s.mu.Lock()
		s.spare = waiters[:0]
		s.mu.Unlock()
	}
}

// Flush writes what is in memory only, the log aside, to a file: Pebble's memtable to a table.
func (s *Store) Flush() {
	s.settle()
	if err := s.kv.flush(); err != nil {
		s.fatal(fmt.Errorf("store: flush: %w", err))
	}
}

// Metrics is a human-readable account of the engine's state.
func (s *Store) Metrics() string { return s.kv.metrics() }

// Pressure says that flushes or compactions are so far behind that writes are likely to wait for them soon, and which, "" if they are not. It
// takes some microseconds.
func (s *Store) Pressure() string { return s.kv.pressure() }

// DiskBytes estimates the space on disk of a span, in bytes.
func (s *Store) DiskBytes(span key.Span) (uint64, error) { return s.kv.diskBytes(span) }
