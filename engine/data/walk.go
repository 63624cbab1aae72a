package data

import (
	"fmt"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// walker visits the records of the visible slots in the order of slot, hash and key, with one iterator: a moment of the
// store. It passes over whatever else lies in a slot, and over slots that are not visible, by seeking, so that what it
// costs is proportional to the records visited and the slots that are not empty.
type walker struct {
	it      *store.Iter
	visible *slot.Set
	buf     []byte

	at   slot.Slot
	hash uint32
	user []byte // valid until the next move
}

func newWalker(r store.Reader, visible *slot.Set) (*walker, error) {
	it, err := r.NewIter(key.UserSpan())
	if err != nil {
		return nil, err
	}
	return &walker{it: it, visible: visible}, nil
}

// seek moves to the first record at or after a hash of a slot.
func (w *walker) seek(s slot.Slot, hash uint32) bool {
	next, ok := nextVisible(w.visible, s)
	if !ok {
		return false
	}
	if next != s {
		hash = 0
	}
	w.buf = key.AppendRecordSeek(w.buf[:0], next, hash)
	return w.settle(w.it.SeekGE(w.buf))
}

// next moves to the record after this one.
func (w *walker) next() bool { return w.settle(w.it.Next()) }

// settle moves on to a visible record from wherever the iterator is.
func (w *walker) settle(ok bool) bool {
	for ok {
		s, kind, rest, valid := key.Split(w.it.Key())
		if !valid {
			return false
		}
		visible := w.visible == nil || w.visible.Has(s)
		if kind == key.Record && visible {
			if w.hash, w.user, ok = key.SplitRecord(rest); ok {
				w.at = s
				return true
			}
			ok = w.it.Next() // not a key that we write; CheckSlot reports it
			continue
		}
		if kind > key.Record || !visible {
			s++
		}
		next, found := nextVisible(w.visible, s)
		if !found {
			return false
		}
		w.buf = key.AppendRecordSeek(w.buf[:0], next, 0)
		ok = w.it.SeekGE(w.buf)
	}
	return false
}

// record decodes the record that the walker is at. Its Value is valid until the next move.
func (w *walker) record() (Record, error) {
	v, err := w.it.ValueAndErr()
	if err != nil {
		return Record{}, fmt.Errorf("data: read record: %w", err)
	}
	r, err := DecodeRecord(v)
	if err != nil {
		return Record{}, fmt.Errorf("key %q: %w", w.user, err)
	}
	return r, nil
}

// close ends the walk and returns the error that ended it early, if any.
func (w *walker) close() error {
	if err := w.it.Close(); err != nil {
		return fmt.Errorf("data: iterate: %w", err)
	}
	return nil
}

// nextVisible is the first visible slot from s on.
func nextVisible(visible *slot.Set, s slot.Slot) (slot.Slot, bool) {
	for ; s.Valid(); s++ {
		if visible == nil || visible.Has(s) {
			return s, true
		}
	}
	return 0, false
}
