package store

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"

	"godwit/engine/key"
)

// memory is the engine of most simulated runs: all records in a tree, and a log from which open makes the tree again.
// Opening it, committing to it and closing it cost a hundredth of what Pebble takes, and nothing of it runs on a goroutine
// of its own, so that it is deterministic as it is.
type memory struct {
	mu      sync.Mutex
	records records
	version uint64 // counts the changes of records
	log     *memoryLog
	free    []*pebble.Batch // that were used, and are empty
}

func openMemory(o *Options) (kv, error) {
	m := &memory{records: newRecords()}
	var err error
	m.log, err = openMemoryLog(o.FS, o.Dir, &m.records)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *memory) get(k, dst []byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, found := m.records.get(k, dst)
	return v, found, nil
}

func (m *memory) newIter(span key.Span) (*Iter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return newMemoryIter(&m.mu, &m.records, span), nil
}

func (m *memory) newSnapshot() snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memorySnapshot{m: m, records: m.records.copy()}
}

// memorySnapshot is a set that nobody changes.
type memorySnapshot struct {
	m       *memory
	records records
}

func (s *memorySnapshot) get(k, dst []byte) ([]byte, bool, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	v, found := s.records.get(k, dst)
	return v, found, nil
}

func (s *memorySnapshot) newIter(span key.Span) (*Iter, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return newMemoryIter(&s.m.mu, &s.records, span), nil
}

func (s *memorySnapshot) close() {}

func (m *memory) newBatch() *Batch {
	both := &struct {
		Batch
		view memoryBatch
	}{view: memoryBatch{memory: m}}
	both.b, both.m = m.batch(), &both.view
	return &both.Batch
}

func (m *memory) newIndexedBatch() *Batch {
	b := m.newBatch()
	b.indexed = true
	return b
}

// batch is an empty batch that belongs to no Pebble.
func (m *memory) batch() *pebble.Batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.free)
	if n == 0 {
		return new(pebble.Batch)
	}
	b := m.free[n-1]
	m.free = m.free[:n-1]
	return b
}

// memoryBatch makes a batch readable: with a set that is the engine's and has the writes of the batch on top. It is
// made when it is needed first, and anew when the engine's has changed since.
type memoryBatch struct {
	memory  *memory
	view    records
	version uint64 // of the engine's records below view
	bytes   int    // of the batch that view has; 0: there is no view
}

// look is the set that shows the present and the writes of b. The engine's mutex is held.
func (v *memoryBatch) look(b *pebble.Batch) (*records, error) {
	m := v.memory
	if b.Empty() {
		return &m.records, nil
	}
	if v.bytes == 0 || v.version != m.version {
		v.view, v.version, v.bytes = m.records.copy(), m.version, batchrepr.HeaderLen
	}
	if all := b.Repr(); len(all) > v.bytes {
		ops := append([]byte(nil), all[v.bytes:]...)
		v.bytes = len(all)
		if err := v.view.change(ops, 0); err != nil {
			return nil, fmt.Errorf("store: batch: %w", err)
		}
	}
	return &v.view, nil
}

func (v *memoryBatch) get(b *pebble.Batch, k, dst []byte) ([]byte, bool, error) {
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	c, err := v.look(b)
	if err != nil {
		return dst, false, err
	}
	value, found := c.get(k, dst)
	return value, found, nil
}

func (v *memoryBatch) newIter(b *pebble.Batch, span key.Span) (*Iter, error) {
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	c, err := v.look(b)
	if err != nil {
		return nil, err
	}
	return newMemoryIter(&v.memory.mu, c, span), nil
}

// maxFree bounds the batches that are kept for another use; few are open at a time.
const maxFree = 16

func (v *memoryBatch) release(b *pebble.Batch) {
	m := v.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) < maxFree {
		b.Reset()
		m.free = append(m.free, b)
	}
}

// apply makes a batch visible even if the log cannot take it, as Pebble does: the store ends then.
func (m *memory) apply(b *Batch) error {
	if b.b.Empty() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	payload, err := m.log.append(b.b.Repr())
	m.version++
	if err := m.records.change(batchrepr.Reader(payload[batchrepr.HeaderLen:]), max(int(b.b.Count()), leastRoom)); err != nil {
		panic(err) // the batch was built by this process
	}
	return err
}

func (m *memory) committed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.log.isLong() {
		return nil
	}
	return m.log.replace(&m.records)
}

func (m *memory) sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.sync()
}

func (m *memory) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.replace(&m.records)
}

// diskBytes counts what the records take in a log that was just replaced, roughly.
func (m *memory) diskBytes(span key.Span) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n uint64
	for _, r := range m.records.span(span) {
		n += uint64(len(r.key) + len(r.value))
	}
	return n, nil
}

func (m *memory) buildTable(dst, records []byte) ([]byte, error) { return append(dst, records...), nil }

func (m *memory) ingest(paths []string) (*Batch, error) {
	b := m.newBatch()
	for _, path := range paths {
		raw, err := readFile(m.log.fs, path)
		if err == nil {
			err = recordTable(b, raw)
		}
		if err != nil {
			b.Discard()
			return nil, err
		}
	}
	return b, nil
}

// pressure: nothing waits in memory.
func (m *memory) pressure() string { return "" }

func (m *memory) metrics() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("in memory: %d records; log: %d bytes, %d of them synced\n", m.records.tree.Len(), m.log.end, m.log.synced)
}

func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.close()
}

func (m *memory) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.abandon()
}
