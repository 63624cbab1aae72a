package store

import "godwit/engine/key"

// kv is what a store needs of an ordered key-value engine: Pebble (pebble.go), or, for most runs of the simulator, a tree in
// memory with a log (memory.go). A write is visible when apply returns, and durable when a sync that began later has
// returned; what an iterator or a snapshot shows is the moment at which it was made. All methods are safe for concurrent use.
//
// Batches and iterators are no interfaces: scans and commits would pay for the calls, and for the keys that escape by them.
type kv interface {
	reader
	newSnapshot() snapshot
	newBatch() *Batch
	newIndexedBatch() *Batch
	// apply makes a batch visible, all of it at once. On an error it is unknown what of it the disk has.
	apply(b *Batch) error
	// committed is called after each commit, outside all locks of the engine: the moment for work that only the simulator
	// has to see happen at the same point each time.
	committed() error
	// sync makes durable what was applied before.
	sync() error
	// flush puts what is visible into files that are read faster than the log.
	flush() error
	diskBytes(span key.Span) (uint64, error)
	// buildTable appends a table of records to dst, which is empty; they are in the encoding of Chunk.Records. ingest takes files in that hold such
	// tables, all at once, or returns a batch that does.
	buildTable(dst, records []byte) ([]byte, error)
	ingest(paths []string) (*Batch, error)
	metrics() string
	// pressure says why writes are likely to wait soon, "" if they are not.
	pressure() string
	// close syncs and ends the engine; abandon ends it without a write.
	close() error
	abandon()
}

// reader is Reader for an engine. get appends the value to dst.
type reader interface {
	get(k, dst []byte) (value []byte, found bool, err error)
	newIter(span key.Span) (*Iter, error)
}

// snapshot is a moment of an engine.
type snapshot interface {
	reader
	close()
}
