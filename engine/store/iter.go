package store

import "github.com/cockroachdb/pebble/v2"

// Iter walks over a span of a Reader, in the order of keys, and shows the moment at which it was made. First, Last, SeekGE
// or SeekLT places it; they and Next and Prev report whether it is on a record then. Behind the last record Prev goes to
// the last one, and before the first Next to the first. Keys and values are valid until the next move. Close it.
type Iter struct {
	p *pebble.Iterator
	m *memoryIter // nil on Pebble
}

// First goes to the first record of the span.
func (i *Iter) First() bool {
	if i.m != nil {
		return i.m.first()
	}
	return i.p.First()
}

// Last goes to the last record of the span.
func (i *Iter) Last() bool {
	if i.m != nil {
		return i.m.last()
	}
	return i.p.Last()
}

// SeekGE goes to the first record at or after a key.
func (i *Iter) SeekGE(k []byte) bool {
	if i.m != nil {
		return i.m.seekGE(k)
	}
	return i.p.SeekGE(k)
}

// SeekLT goes to the last record before a key.
func (i *Iter) SeekLT(k []byte) bool {
	if i.m != nil {
		return i.m.seekLT(k)
	}
	return i.p.SeekLT(k)
}

// Next goes to the next record.
func (i *Iter) Next() bool {
	if i.m != nil {
		return i.m.next()
	}
	return i.p.Next()
}

// Prev goes to the record before this one.
func (i *Iter) Prev() bool {
	if i.m != nil {
		return i.m.prev()
	}
	return i.p.Prev()
}

// Valid reports whether the iterator is on a record.
func (i *Iter) Valid() bool {
	if i.m != nil {
		return i.m.at != nil
	}
	return i.p.Valid()
}

// Key is the key of the record, nil if the iterator is on none.
func (i *Iter) Key() []byte {
	if i.m != nil {
		return i.m.key()
	}
	return i.p.Key()
}

// Value is the value of the record. Reading it can fail: see Error, or use ValueAndErr.
func (i *Iter) Value() []byte {
	if i.m != nil {
		return i.m.value()
	}
	return i.p.Value()
}

// ValueAndErr is the value of the record.
func (i *Iter) ValueAndErr() ([]byte, error) {
	if i.m != nil {
		return i.m.value(), nil
	}
	return i.p.ValueAndErr()
}

// Error is what ended the walk early, if anything did.
func (i *Iter) Error() error {
	if i.m != nil {
		return nil
	}
	return i.p.Error()
}

// Close releases the iterator and returns what Error does.
func (i *Iter) Close() error {
	if i.m != nil {
		i.m.close()
		return nil
	}
	return i.p.Close()
}
