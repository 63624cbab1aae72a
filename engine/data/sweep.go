package data

import (
	"fmt"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// sweepBytes ends a step of the sweeper that has much to delete: small collections go element by element.
const sweepBytes = 64 << 10

// SweepSlot deletes up to limit keys of a slot that were expired at nowMs, oldest first, and reports how many, and whether
// more are left. It may stop before the limit when it has written much. The transaction has mode Write, its time is nowMs or
// later, and the caller holds the slot's lock for writing.
func SweepSlot(t *Tx, s slot.Slot, nowMs int64, limit int) (deleted int, more bool) {
	if t.err != nil {
		return 0, false
	}
	it, err := t.Reader().NewIter(dueSpan(s, nowMs))
	if err != nil {
		t.fail(err)
		return 0, false
	}
	for ok := it.First(); ok && t.err == nil; ok = it.Next() {
		if deleted >= limit || t.batch != nil && t.batch.Bytes() > sweepBytes {
			more = true
			break
		}
		_, _, rest, _ := key.Split(it.Key())
		expireMs, user, ok := key.SplitExpiry(rest)
		if !ok {
			continue // not a key that we write; CheckSlot reports it
		}
		t.sweepKey(s, expireMs, user)
		deleted++
	}
	if err := it.Close(); err != nil {
		t.fail(fmt.Errorf("data: sweep: %w", err))
	}
	if t.err != nil {
		return 0, false
	}
	return deleted, more
}

// sweepKey deletes what an entry of the expiry index points to. The record is read and compared although invariant 1 says
// that it must match: an index entry is too little to delete a key on, and one without its record must go as well.
func (t *Tx) sweepKey(s slot.Slot, expireMs int64, user []byte) {
	e := Entry{Key: user, Slot: s}
	t.keyBuf = key.AppendRecord(t.keyBuf[:0], s, user)
	raw, found, err := t.get(t.keyBuf)
	if err != nil {
		t.fail(err)
		return
	}
	if found {
		r, err := DecodeRecord(raw)
		if err != nil {
			t.fail(fmt.Errorf("key %q: %w", user, err))
			return
		}
		if r.ExpireMs == expireMs {
			e.Found, e.Record = true, r
			t.Remove(&e)
			return
		}
	}
	e.ExpireMs = expireMs
	t.dropExpiry(&e)
}

// NextExpiring returns the first slot from a slot on that has a key that was expired at nowMs. It costs two seeks for each
// slot that is not empty, however many keys those have.
func NextExpiring(r store.Reader, from slot.Slot, nowMs int64) (s slot.Slot, found bool, err error) {
	it, err := r.NewIter(key.UserSpan())
	if err != nil {
		return 0, false, err
	}
	s, found = nextExpiring(it, from, nowMs)
	if err := it.Close(); err != nil {
		return 0, false, fmt.Errorf("data: look for expired keys: %w", err)
	}
	return s, found, nil
}

func nextExpiring(it *store.Iter, s slot.Slot, nowMs int64) (slot.Slot, bool) {
	var buf []byte
	for s.Valid() {
		buf = key.AppendExpiry(buf[:0], s, 0, nil)
		if !it.SeekGE(buf) {
			return 0, false
		}
		at, kind, rest, ok := key.Split(it.Key())
		if !ok {
			return 0, false
		}
		if kind == key.Expiry {
			if expireMs, _, ok := key.SplitExpiry(rest); ok && nowMs > expireMs {
				return at, true
			}
		}
		s = at
		if kind >= key.Expiry {
			s++
		}
	}
	return 0, false
}
