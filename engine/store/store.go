// Package store is the only door to Pebble: batches, positions and durability, snapshots, change tracking, digests.
//
// Vocabulary. A *position* numbers the commits of this process, from 1. A commit is *visible* when Commit returns and
// *durable* once a sync that began after it has ended. A *tracker* collects what changes in one slot.
//
// Invariants.
//  1. A commit is visible before it is durable, never the other way round; Durable() never exceeds Last() and never goes back.
//  2. WhenDurable(p, fn) runs fn only when every commit up to p would survive the loss of power.
//  3. What a tracker collects is derived from the batch itself: no writer can forget it.
//  4. A failed write or sync ends the process (Options.Fatal): what is on disk is unknown then, and going on would be guessing.
//
// Concurrency: all methods are safe for concurrent use. That a tracker misses nothing needs the caller's slot lock: see Track.
package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
)

// FormatVersion is the version of the bytes on disk that this code writes. It reads this version only.
const FormatVersion = 1

// formatFile names the file in the directory that says which version the directory has.
const formatFile = "GODWIT-FORMAT"

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
	// CacheBytes is the size of the block cache in bytes; 0 means 256 MiB.
	CacheBytes int64
	// MemTableBytes is the size of a memtable in bytes; 0 means 64 MiB.
	MemTableBytes uint64
	// Syncer schedules sync rounds.
	Syncer env.Syncer
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

// Sim is what makes Pebble deterministic: commits go through Pebble's synchronous path, which hands the bytes to the
// file system at once, while the file system is told to ignore the sync itself.
type Sim struct {
	// IgnoreLogSync switches off and on the effect of syncing write-ahead logs.
	IgnoreLogSync func(bool)
	// MayFlush is asked before a memtable is flushed; nil always agrees. On a disk that fails Pebble panics there, with locks
	// held, where production would have ended: the simulator ends the node instead.
	MayFlush func() bool
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

// simFlushBytes is how much may be committed before a simulated store must flush explicitly: Pebble would otherwise
// rotate its memtable (256 KiB) at a point that its random tower heights choose.
const simFlushBytes = 96 << 10

// Store is an open store.
type Store struct {
	db    *pebble.DB
	fatal func(error)
	sim   *Sim

	trackers trackers

	last         atomic.Uint64 // position of the latest commit
	durable      atomic.Uint64
	syncer       env.Syncer
	simUnflushed int // bytes committed since the last explicit flush; simulator only

	mu        sync.Mutex
	waiters   []waiter // in the order of their calls
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
	if err := o.FS.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: make directory %s: %w", o.Dir, err)
	}
	if err := checkFormat(o.FS, o.Dir); err != nil {
		return nil, err
	}
	po := pebbleOptions(&o)
	db, err := pebble.Open(o.Dir, po)
	if po.Cache != nil && o.Sim == nil {
		po.Cache.Unref()
	}
	if err != nil {
		if isLockError(err) {
			return nil, fmt.Errorf("store: open %s: %w", o.Dir, ErrInUse)
		}
		return nil, fmt.Errorf("store: open %s: %w", o.Dir, err)
	}
	if o.Sim != nil {
		db.TestOnlyWaitForCleaning()
	}
	return &Store{db: db, fatal: o.Fatal, sim: o.Sim, syncer: o.Syncer}, nil
}

func pebbleOptions(o *Options) *pebble.Options {
	po := &pebble.Options{
		FS:                 o.FS,
		FormatMajorVersion: pebble.FormatValueSeparation,
		Logger:             pebbleLogger{log: o.Log, fatal: o.Fatal},
		EventListener: &pebble.EventListener{
			// Pebble would try a flush that failed again at once and for ever, while commits go on.
			BackgroundError: func(err error) { o.Fatal(fmt.Errorf("store: in the background: %w", err)) },
		},
	}
	if o.Sim != nil {
		po.Cache, po.FileCache = o.Sim.Caches.blocks, o.Sim.Caches.files
		po.MemTableSize = 256 << 10
		po.MemTableStopWritesThreshold = 1000
		po.L0StopWritesThreshold = 1 << 30
		po.L0CompactionThreshold = 1 << 29
		po.L0CompactionFileThreshold = 1 << 29
		po.DisableAutomaticCompactions = true
		po.DisableTableStats = true
		po.MaxManifestFileSize = 1 << 30
		po.Experimental.ReadSamplingMultiplier = -1
		po.Experimental.FileCacheShards = 1
		return po
	}
	cache := o.CacheBytes
	if cache == 0 {
		cache = 256 << 20
	}
	po.Cache = pebble.NewCache(cache)
	po.MemTableSize = o.MemTableBytes
	if po.MemTableSize == 0 {
		po.MemTableSize = 64 << 20
	}
	po.MemTableStopWritesThreshold = 4
	po.L0StopWritesThreshold = 64
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].FilterType = pebble.TableFilter
	}
	return po
}

// checkFormat compares the version file with FormatVersion and writes it into a directory that holds nothing yet.
func checkFormat(fs vfs.FS, dir string) error {
	path := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		text, err := io.ReadAll(io.LimitReader(f, 64))
		if err != nil {
			return fmt.Errorf("store: read %s: %w", path, err)
		}
		var version int
		if _, err := fmt.Sscanf(string(text), "godwit %d\n", &version); err != nil {
			return fmt.Errorf("store: %s holds %q, want \"godwit %d\": %w", path, text, FormatVersion, ErrFormat)
		}
		if version != FormatVersion {
			return fmt.Errorf("store: %s has format version %d, this program knows version %d only: %w", dir, version, FormatVersion, ErrFormat)
		}
		return nil
	}
	if !oserror.IsNotExist(err) {
		return fmt.Errorf("store: open %s: %w", path, err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("store: list %s: %w", dir, err)
	}
	for _, name := range names {
		if name == "CURRENT" || len(name) > 9 && name[:9] == "MANIFEST-" {
			return fmt.Errorf("store: %s holds a database but no %s file: %w", dir, formatFile, ErrFormat)
		}
	}
	return writeFormat(fs, dir, path)
}

func writeFormat(fs vfs.FS, dir, path string) error {
	temp := path + ".tmp"
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("store: create %s: %w", temp, err)
	}
	_, err = fmt.Fprintf(f, "godwit %d\n", FormatVersion)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("store: write %s: %w", path, err)
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("store: open directory %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("store: sync directory %s: %w", dir, err)
	}
	return nil
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
	err := s.db.LogData([]byte{0}, pebble.Sync)
	return errors.Join(err, s.db.Close())
}

// Abandon closes a simulated store whose node has crashed, without writing to what the crash left behind.
func (s *Store) Abandon() {
	s.mu.Lock()
	s.closed, s.waiters = true, nil
	s.mu.Unlock()
	s.db.TestOnlyWaitForCleaning()
	_ = s.db.Close() // the files belong to a disk that nobody will read again
}

// Commit makes a batch visible and returns its position. It takes over the batch, which must not be used afterwards. The
// caller holds the locks of the slots that the batch writes.
func (s *Store) Commit(b *Batch) Position {
	size := b.b.Len()
	tracked := s.trackers.collect(b.b)
	if s.sim != nil {
		s.sim.IgnoreLogSync(true)
	}
	opts := pebble.NoSync
	if s.sim != nil {
		opts = pebble.Sync
	}
	err := s.db.Apply(b.b, opts)
	if s.sim != nil {
		s.sim.IgnoreLogSync(false)
	}
	if err != nil {
		s.fatal(fmt.Errorf("store: commit: %w", err))
	}
	if tracked != nil {
		s.trackers.record(tracked)
	}
	_ = b.b.Close() // only returns the batch to a pool
	p := Position(s.last.Add(1))
	if s.sim != nil {
		if s.simUnflushed += size; s.simUnflushed > simFlushBytes {
			s.Flush()
		}
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
		s.syncer.Schedule(s.syncRound)
	}
}

// syncRound makes durable everything that was committed before it began, and runs the waiters that this satisfies: all
// of those that it finds, since a waiter waits for a commit that had returned.
func (s *Store) syncRound() {
	s.mu.Lock()
	waiters := s.waiters
	s.waiters, s.scheduled = nil, false
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	last := s.Last()
	if last > s.Durable() {
		if err := s.db.LogData([]byte{0}, pebble.Sync); err != nil {
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
}

// Flush writes the memtable to a table.
func (s *Store) Flush() {
	if s.sim != nil && s.sim.MayFlush != nil && !s.sim.MayFlush() {
		return
	}
	if err := s.db.Flush(); err != nil {
		s.fatal(fmt.Errorf("store: flush: %w", err))
	}
	s.simUnflushed = 0
	if s.sim != nil {
		s.db.TestOnlyWaitForCleaning()
	}
}

// Metrics is a human-readable account of Pebble's state.
func (s *Store) Metrics() string { return s.db.Metrics().String() }

// DiskBytes estimates the space on disk of a span, in bytes.
func (s *Store) DiskBytes(span key.Span) (uint64, error) {
	return s.db.EstimateDiskUsage(span.Lo, span.Hi)
}

// pebbleLogger passes Pebble's log on and its fatal errors to the node.
type pebbleLogger struct {
	log   *slog.Logger
	fatal func(error)
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.log != nil {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log.Error(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf("store: "+format, args...))
}

var _ = mutant.On
