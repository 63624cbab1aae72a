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

// FirstExpiry returns when the first key of a slot expires, as the expiry index has it; found is false if none does.
func FirstExpiry(r store.Reader, s slot.Slot) (expireMs int64, found bool, err error) {
	it, err := r.NewIter(key.KindSpan(s, key.Expiry))
	if err != nil {
		return 0, false, err
	}
	for ok := it.First(); ok && !found; ok = it.Next() {
		_, _, rest, _ := key.Split(it.Key())
		expireMs, _, found = key.SplitExpiry(rest) // else not a key that we write; CheckSlot reports it
	}
	if err := it.Close(); err != nil {
		return 0, false, fmt.Errorf("data: look for expiring keys: %w", err)
	}
	return expireMs, found, nil
}

// EachExpiring visits the slots that have keys which expire, in order, each with the expiry of its first. It costs two seeks for each slot that is not empty, however
// many keys those have.
func EachExpiring(r store.Reader, visit func(s slot.Slot, expireMs int64)) error {
	it, err := r.NewIter(key.UserSpan())
	if err != nil {
		return err
	}
	var buf []byte
	for s := slot.Slot(0); s.Valid(); {
		buf = key.AppendExpiry(buf[:0], s, 0, nil)
		if !it.SeekGE(buf) {
			break
		}
		at, kind, rest, ok := key.Split(it.Key())
		if !ok {
			break
		}
		if s = at; kind < key.Expiry {
			continue
		}
		if expireMs, _, ok := key.SplitExpiry(rest); ok && kind == key.Expiry {
			visit(at, expireMs)
		}
		s++
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("data: look for expiring keys: %w", err)
	}
	return nil
}
