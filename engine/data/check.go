package data

import (
	"errors"
	"fmt"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// ErrInvariant says that a slot's keys do not fit together.
var ErrInvariant = errors.New("data: invariant violated")

// CheckSlot reads all of a slot and reports the first violation of invariant 1 (the expiry index is exact) or 4 (records
// decode), and any key that no version of this package writes or that lies in a slot that is not its own. r must be a
// moment: a snapshot, or a store that nobody writes to.
func CheckSlot(r store.Reader, s slot.Slot) (err error) {
	expiring, err := checkRecords(r, s)
	if err != nil {
		return err
	}
	entries, err := countSpan(r, key.KindSpan(s, key.Expiry))
	if err != nil {
		return err
	}
	if entries != expiring { // each such record was found to have its entry, so there are entries without a record
		return fmt.Errorf("%w: slot %d has %d records with an expiry and %d entries in the expiry index", ErrInvariant, s, expiring, entries)
	}
	return nil
}

// checkRecords checks the records of a slot, each with its entry of the expiry index, and counts those with an expiry.
func checkRecords(r store.Reader, s slot.Slot) (expiring int64, err error) {
	it, err := r.NewIter(key.KindSpan(s, key.Record))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, _, rest, _ := key.Split(it.Key())
		hash, user, ok := key.SplitRecord(rest)
		if !ok || hash != key.Hash(user) || slot.OfKey(user) != s {
			return 0, fmt.Errorf("%w: slot %d holds a record under the key %x, which is not one of its own", ErrInvariant, s, it.Key())
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return 0, fmt.Errorf("data: check: %w", err)
		}
		rec, err := DecodeRecord(v)
		if err != nil {
			return 0, fmt.Errorf("%w: slot %d, key %q: %w", ErrInvariant, s, user, err)
		}
		if rec.ExpireMs == NoExpiry {
			continue
		}
		expiring++
		_, found, err := r.Get(key.AppendExpiry(nil, s, rec.ExpireMs, user))
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, fmt.Errorf("%w: slot %d, key %q expires at %d, but the expiry index does not know", ErrInvariant, s, user, rec.ExpireMs)
		}
	}
	return expiring, nil
}
