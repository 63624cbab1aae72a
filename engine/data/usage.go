package data

import (
	"fmt"

	"godwit/engine/key"
)

// Bytes estimates what the key of a loaded entry that was found takes on disk before compression: its record and its elements, of
// which it reads the given number of each kind and takes the others to be like them; 0 reads all.
func (t *Tx) Bytes(e *Entry, samples uint64) uint64 {
	t.keyBuf = key.AppendRecord(t.keyBuf[:0], e.Slot, e.Key)
	t.recordBuf = AppendRecord(t.recordBuf[:0], &e.Record)
	total := uint64(len(t.keyBuf) + len(t.recordBuf))
	if e.ExpireMs != NoExpiry {
		total += uint64(len(key.AppendExpiry(nil, e.Slot, e.ExpireMs, e.Key)))
	}
	if e.Type == String {
		return total
	}
	for _, k := range elementKinds(e.Type) {
		total += t.kindBytes(e, k, samples)
	}
	return total
}

// kindBytes estimates what the elements of one kind take.
func (t *Tx) kindBytes(e *Entry, k key.Kind, samples uint64) uint64 {
	if t.err != nil {
		return 0
	}
	it, err := t.Reader().NewIter(key.ElementSpan(e.Slot, k, e.Generation))
	if err != nil {
		t.fail(err)
		return 0
	}
	seen, bytes := uint64(0), uint64(0)
	ok := it.First()
	for ; ok && (samples == 0 || seen < samples); ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			t.fail(fmt.Errorf("data: read element: %w", err))
			break
		}
		seen++
		bytes += uint64(len(it.Key()) + len(v))
	}
	if err := it.Close(); err != nil {
		t.fail(fmt.Errorf("data: iterate: %w", err))
	}
	if !ok || seen == 0 { // that was all
		return bytes
	}
	return bytes / seen * max(e.Size, seen)
}
