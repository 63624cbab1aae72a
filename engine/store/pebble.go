package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"godwit/engine/key"
)

// pebbleKV is the engine of production.
type pebbleKV struct {
	db  *pebble.DB
	sim *Sim // nil in production

	options *pebble.Options // for tables that are built to be sent

	unflushed    int           // what was applied since the last flush, as simTableBytes counts; simulator only
	flushed      chan struct{} // gets one when a flush is over, if it has none; simulator only
	rangeDeletes atomic.Int64  // applied since the last flush that they caused; production only
}

// maxRangeDeletes is after how many range deletes the memory table is flushed. The first read after each sorts all that the table
// holds, half a microsecond each, so that dropping many collections would slow reads down more and more: a thousand cost each
// read half a millisecond at worst. In a table on disk they are sorted once.
const maxRangeDeletes = 1000

// A simulated store flushes explicitly, since nothing may depend on when Pebble rotates its memtable by itself: that goes by random tower
// heights, begins a flush on another goroutine while the commit goes on, and syncs the log that it closes while the disk is told to ignore syncs.
const (
	// simTableBytes is what may go into a memtable, each record counted as large as its tower can make it (Pebble's arenaskl.MaxNodeSize): a little less than
	// the 256 KiB that it has.
	simTableBytes = 240 << 10
	// simRecordBytes is the most that a record takes in a memtable beside its key and value.
	simRecordBytes = 200
	// simLargeBytes is what a commit of its own flush has: a little less than the half of a memtable from which on Pebble flushes it as it is, and begins that
	// as the last thing.
	simLargeBytes = simTableBytes / 2
)

func openPebble(o *Options) (kv, error) {
	if err := checkDamage(o.FS, o.Dir); err != nil {
		return nil, err
	}
	po, flushed := pebbleOptions(o), make(chan struct{}, 1)
	if o.Sim != nil {
		po.EventListener.FlushEnd = func(pebble.FlushInfo) { // one at a time, so there is still room if there was
			if len(flushed) == 0 {
				flushed <- struct{}{}
			}
		}
	}
	db, err := pebble.Open(o.Dir, po)
	if po.Cache != nil && o.Sim == nil {
		po.Cache.Unref()
	}
	if err != nil {
		return nil, err
	}
	if o.Sim != nil {
		db.TestOnlyWaitForCleaning()
	}
	po.EnsureDefaults()
	return &pebbleKV{db: db, sim: o.Sim, options: po, flushed: flushed}, nil
}

func pebbleOptions(o *Options) *pebble.Options {
	po := &pebble.Options{
		FS:                 tableFS{o.FS},
		FormatMajorVersion: pebble.FormatValueSeparation,
		Logger:             pebbleLogger{log: o.Log, fatal: o.Fatal},
		EventListener: &pebble.EventListener{
			// Pebble would try a flush that failed again at once and for ever, while commits go on.
			BackgroundError: func(err error) { o.Fatal(fmt.Errorf("store: in the background: %w", err)) },
		},
	}
	// Blocks of rows: to make a block of columns costs half as much again, which flushes and compactions do more often than anybody reads one.
	po.Experimental.EnableColumnarBlocks = func() bool { return false }
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
	po.MemTableSize = o.MemTableBytes
	if po.MemTableSize == 0 {
		po.MemTableSize = 64 << 20
	}
	po.Cache = pebble.NewCache(cacheBytes(o.CacheBytes, int64(po.MemTableSize)))
	po.MemTableStopWritesThreshold = 4
	po.L0StopWritesThreshold = 64
	// Pebble would rewrite the base level for every two memtables that were flushed, and let it hold 64 MiB, as much as one of them. That
	// costs more than all else that a write costs. A look at a key that is in no cache may ask five tables more for it, each a bloom
	// filter.
	po.L0CompactionThreshold = 10
	po.LBaseMaxBytes = max(64<<20, 4*int64(po.MemTableSize))
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].FilterType = pebble.TableFilter
	}
	return po
}

// cacheBytes is how large Pebble is told that its block cache is. Pebble takes what memtables hold out of it, two of them at nearly all times: the
// one that is written to, and the one that is flushed or kept for the next. A cache smaller than these would hold no block at all, not even
// of an index, and each look would read and decompress three or more. So those two leave it half of what was asked for.
func cacheBytes(asked, memTable int64) int64 {
	if asked == 0 {
		asked = 256 << 20
	}
	return max(asked, asked/2+2*memTable)
}

func (p *pebbleKV) get(k, dst []byte) ([]byte, bool, error) { return pebbleGet(p.db, k, dst) }

func (p *pebbleKV) newIter(span key.Span) (*Iter, error) { return pebbleIter(p.db, span) }

func pebbleGet(r pebble.Reader, k, dst []byte) ([]byte, bool, error) {
	v, closer, err := r.Get(k)
	switch {
	case err == pebble.ErrNotFound: //nolint:errorlint // Pebble returns it as it is, and errors.Is costs as much as the look itself
		return dst, false, nil
	case err != nil:
		return dst, false, fmt.Errorf("store: get: %w", err)
	}
	return append(dst, v...), true, closer.Close()
}

func pebbleIter(r pebble.Reader, span key.Span) (*Iter, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: span.Lo, UpperBound: span.Hi})
	if err != nil {
		return nil, fmt.Errorf("store: iterate: %w", err)
	}
	return &Iter{p: it}, nil
}

func (p *pebbleKV) newSnapshot() snapshot { return pebbleSnapshot{p.db.NewSnapshot()} }

type pebbleSnapshot struct{ s *pebble.Snapshot }

func (s pebbleSnapshot) get(k, dst []byte) ([]byte, bool, error) { return pebbleGet(s.s, k, dst) }

func (s pebbleSnapshot) newIter(span key.Span) (*Iter, error) { return pebbleIter(s.s, span) }

func (s pebbleSnapshot) close() { _ = s.s.Close() } // never fails in Pebble: it only unlinks the snapshot

func (p *pebbleKV) newBatch() *Batch { return &Batch{b: p.db.NewBatch()} }

func (p *pebbleKV) newIndexedBatch() *Batch { return &Batch{b: p.db.NewIndexedBatch(), indexed: true} }

// apply goes through Pebble's synchronous path in the simulator, which hands the bytes to the file system at once, while
// the file system is told to ignore the sync itself.
func (p *pebbleKV) apply(b *Batch) error {
	if p.sim == nil {
		return p.applyInProduction(b)
	}
	size := b.b.Len() + simRecordBytes*int(b.b.Count())
	large := size > simLargeBytes // else it has room, since committed leaves so much
	if large {
		if !p.mayFlush() {
			return nil // the node ends
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.unflushed += size
	p.sim.IgnoreLogSync(true)
	err := p.db.Apply(b.b, pebble.Sync)
	p.sim.IgnoreLogSync(false)
	if large && err == nil {
		for p.db.Metrics().MemTable.Count > 1 {
			<-p.flushed
		}
		p.db.TestOnlyWaitForCleaning()
	}
	return err
}

// mayFlush reports whether a memtable may be flushed.
func (p *pebbleKV) mayFlush() bool { return p.sim == nil || p.sim.MayFlush == nil || p.sim.MayFlush() }

func (p *pebbleKV) applyInProduction(b *Batch) error {
	if err := p.db.Apply(b.b, pebble.NoSync); err != nil || b.rangeDeletes == 0 {
		return err
	}
	if p.rangeDeletes.Add(b.rangeDeletes) < maxRangeDeletes {
		return nil
	}
	p.rangeDeletes.Store(0) // what another commit adds meanwhile is flushed with this
	_, err := p.db.AsyncFlush()
	return err
}

func (p *pebbleKV) committed() error {
	if p.sim == nil || p.unflushed <= simLargeBytes {
		return nil
	}
	return p.flush()
}

func (p *pebbleKV) sync() error { return p.db.LogData([]byte{0}, pebble.Sync) }

func (p *pebbleKV) flush() error {
	if !p.mayFlush() {
		return nil
	}
	err := p.db.Flush()
	p.unflushed = 0
	if p.sim != nil && err == nil {
		p.db.TestOnlyWaitForCleaning()
	}
	return err
}

func (p *pebbleKV) diskBytes(span key.Span) (uint64, error) {
	return p.db.EstimateDiskUsage(span.Lo, span.Hi)
}

// sentBlockBytes is how large the blocks are of a table that is built to be sent or taken in, before they are compressed. Who builds such a
// table is in a hurry, and it is read as a whole next, to be compared: with blocks of 4 KiB, as Pebble has them otherwise, building it took a third more
// processor time, and the first reading twice as much. A look at one key costs the more the larger they are.
const sentBlockBytes = 16 << 10

func (p *pebbleKV) buildTable(dst, records []byte) ([]byte, error) {
	out := memoryObject(slices.Grow(dst, len(records))) // mostly more than it comes to
	o := p.options.MakeWriterOptions(len(p.options.Levels)-1, p.db.TableFormat())
	o.BlockSize, o.IndexBlockSize = sentBlockBytes, sentBlockBytes
	o.FilterPolicy = nil // of no use in the last level, whose filters no look asks: there such a table goes unless something of the slot is above it
	w := sstable.NewWriter(&out, o)
	for len(records) > 0 {
		k, v, rest, err := NextRecord(records)
		if err == nil {
			err = w.Set(k, v)
		}
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		records = rest
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out, nil
}

func (p *pebbleKV) ingest(paths []string) (*Batch, error) {
	if p.sim != nil {
		if !p.mayFlush() {
			return nil, errors.New("the node ends")
		}
		if err := p.flush(); err != nil { // so that no memory table lies over what is ingested
			return nil, err
		}
	}
	err := p.db.Ingest(context.Background(), paths)
	if p.sim != nil && err == nil {
		p.db.TestOnlyWaitForCleaning()
	}
	return nil, err
}

// pressure speaks when three quarters are reached of what makes Pebble stop writes: so much is left for who cannot wait.
func (p *pebbleKV) pressure() string {
	if p.sim != nil {
		return "" // its metrics depend on when flushes end
	}
	m := p.db.Metrics()
	switch stop := uint64(p.options.MemTableStopWritesThreshold) * p.options.MemTableSize; {
	case m.MemTable.Size >= stop/4*3:
		return fmt.Sprintf("%d MB in memory wait to be written to tables", m.MemTable.Size>>20)
	case int(m.Levels[0].Sublevels) >= p.options.L0StopWritesThreshold/4*3:
		return fmt.Sprintf("%d tables lie over each other and wait to be merged", m.Levels[0].Sublevels)
	}
	return ""
}

func (p *pebbleKV) metrics() string { return p.db.Metrics().String() }

func (p *pebbleKV) close() error { return errors.Join(p.sync(), p.db.Close()) }

func (p *pebbleKV) abandon() {
	p.db.TestOnlyWaitForCleaning()
	_ = p.db.Close() // the files belong to a disk that nobody will read again
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
