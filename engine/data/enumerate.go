package data

import (
	"bytes"
	"errors"
	"fmt"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Visit is called with a live key and its record during an enumeration. Both are valid during the call only.
type Visit func(user []byte, r *Record)

// Scan visits about count live keys of the visible slots, from where a cursor points, and returns the cursor to go on
// with. 0 begins, and 0 returned means that all has been visited.
//
// A cursor is a position, slot<<32|hash, in the order of slot and hash of the key, and nothing is remembered between the
// calls: a cursor holds after a restart, and any number are valid at once. A key that is there from the first call to the
// last, in a slot that is visible throughout, is visited exactly once, since its position never changes; a key that comes
// or goes in between may be visited or not. Keys of one hash are never divided between calls.
//
// A call reads no more than count records, expired ones included, plus those that share the last one's hash; a slot that
// holds something but no records costs a seek.
func (t *Tx) Scan(cursor uint64, count int, visit Visit) (next uint64) {
	from := cursor >> 32
	if t.err != nil || from >= slot.Count {
		return 0
	}
	w, err := newWalker(t.Reader(), t.visible)
	if err != nil {
		t.fail(err)
		return 0
	}
	seen := 0
	last := cursor
	for ok := w.seek(slot.Slot(from), uint32(cursor)); ok; ok = w.next() {
		position := uint64(w.at)<<32 | uint64(w.hash)
		if seen >= max(count, 1) && position != last {
			next = position
			break
		}
		seen++
		last = position
		if !t.visitLive(w, visit) {
			break
		}
	}
	if err := w.close(); err != nil {
		t.fail(err)
	}
	if t.err != nil {
		return 0
	}
	return next
}

// visitLive calls visit unless the record is expired, and reports false after an error.
func (t *Tx) visitLive(w *walker, visit Visit) bool {
	r, err := w.record()
	if err != nil {
		t.fail(err)
		return false
	}
	if !r.Expired(t.nowMs) {
		visit(w.user, &r)
	}
	return true
}

// ForEach visits all live keys of the visible slots.
func (t *Tx) ForEach(visit Visit) {
	if t.err != nil {
		return
	}
	w, err := newWalker(t.Reader(), t.visible)
	if err != nil {
		t.fail(err)
		return
	}
	for ok := w.seek(0, 0); ok && t.visitLive(w, visit); ok = w.next() {
	}
	if err := w.close(); err != nil {
		t.fail(err)
	}
}

// RandomKey returns a live key of the visible slots, nil if there is none. It takes the first one after a random position,
// so a key that follows a wide gap is likelier than others: with many keys gaps even out, with few the choice is uneven.
func (t *Tx) RandomKey(rand func() uint64) (user []byte) {
	if t.err != nil {
		return nil
	}
	w, err := newWalker(t.Reader(), t.visible)
	if err != nil {
		t.fail(err)
		return nil
	}
	take := func(k []byte, _ *Record) { user = bytes.Clone(k) }
	bits := rand()
	start := slot.Slot(bits >> 32 % slot.Count)
	for ok := w.seek(start, uint32(bits)); ok && user == nil && t.visitLive(w, take); ok = w.next() {
	}
	if t.err == nil && user == nil { // nothing behind the position: from the beginning to it, and harmlessly beyond
		for ok := w.seek(0, 0); ok && user == nil && t.visitLive(w, take); ok = w.next() {
		}
	}
	if err := w.close(); err != nil {
		t.fail(err)
	}
	return user
}

// CountAll is the number of live keys of the visible slots. It reads their keys but not their values.
func (t *Tx) CountAll() (total int64) {
	if t.err != nil {
		return 0
	}
	w, err := newWalker(t.Reader(), t.visible)
	if err != nil {
		t.fail(err)
		return 0
	}
	for ok := w.seek(0, 0); ok; {
		s := w.at
		for ; ok && w.at == s; ok = w.next() {
			total++
		}
		var due int64
		if due, err = countDue(t.Reader(), s, t.nowMs); err != nil {
			break
		}
		total -= due
	}
	if err := errors.Join(err, w.close()); err != nil {
		t.fail(err)
		return 0
	}
	return total
}

// CountKeys is the number of live keys of a slot.
func CountKeys(r store.Reader, s slot.Slot, nowMs int64) (int64, error) {
	records, err := countSpan(r, key.KindSpan(s, key.Record))
	if err != nil {
		return 0, err
	}
	due, err := countDue(r, s, nowMs)
	return records - due, err
}

// countDue is the number of expired records of a slot: by invariant 1 the index has one entry for each.
func countDue(r store.Reader, s slot.Slot, nowMs int64) (int64, error) {
	return countSpan(r, dueSpan(s, nowMs))
}

// dueSpan is the span of the expiry index entries of a slot that are past.
func dueSpan(s slot.Slot, nowMs int64) key.Span {
	return key.Span{Lo: key.AppendExpiry(nil, s, 0, nil), Hi: key.AppendExpiry(nil, s, max(nowMs, 0), nil)}
}

func countSpan(r store.Reader, span key.Span) (n int64, err error) {
	it, err := r.NewIter(span)
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		return 0, fmt.Errorf("data: count: %w", err)
	}
	return n, nil
}

// ListKeys returns up to n live keys of a slot, in no order that means anything.
func ListKeys(r store.Reader, s slot.Slot, nowMs int64, n int) (users [][]byte, err error) {
	var only slot.Set
	only.Add(s)
	w, err := newWalker(r, &only)
	if err != nil {
		return nil, err
	}
	for ok := w.seek(s, 0); ok && len(users) < n; ok = w.next() {
		var rec Record
		if rec, err = w.record(); err != nil {
			break
		}
		if !rec.Expired(nowMs) {
			users = append(users, bytes.Clone(w.user))
		}
	}
	if err := errors.Join(err, w.close()); err != nil {
		return nil, err
	}
	return users, nil
}
