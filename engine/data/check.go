package data

import (
	"encoding/binary"
	"errors"
	"fmt"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// ErrInvariant says that a slot's keys do not fit together.
var ErrInvariant = errors.New("data: invariant violated")

// CheckSlot reads all of a slot and reports the first violation of invariant 1 (the expiry index is exact), 4 (records
// decode) or 5 (collections are whole), and any key that no version of this package writes or that lies in a slot that is
// not its own. r must be a moment: a snapshot, or a store that nobody writes to. It remembers each collection of the slot.
func CheckSlot(r store.Reader, s slot.Slot) error {
	c := slotCheck{r: r, slot: s, collections: map[key.Generation]*tally{}}
	if err := c.walk(key.Record, c.record); err != nil {
		return err
	}
	entries, err := countSpan(r, key.KindSpan(s, key.Expiry))
	if err != nil {
		return err
	}
	if entries != c.expiring { // each such record was found to have its entry, so there are entries without a record
		return c.violated("%d records have an expiry, and the expiry index has %d entries", c.expiring, entries)
	}
	for _, kind := range []key.Kind{key.Element, key.Score} {
		if err := c.walk(kind, c.element); err != nil {
			return err
		}
	}
	return c.sizes()
}

// slotCheck is a check of one slot.
type slotCheck struct {
	r           store.Reader
	slot        slot.Slot
	expiring    int64
	collections map[key.Generation]*tally
	order       []*tally // the collections in the order of their records
}

// tally is a collection and what was found of it.
type tally struct {
	user []byte
	Record
	found map[key.Kind]uint64 // number of keys of each kind
	apart uint64              // of a list: how many entries have a value apart
	marks uint64              // of a list: the sum of the marks of the numbers in entries, less those of the values apart
}

func (c *slotCheck) violated(format string, args ...any) error {
	return fmt.Errorf("%w: slot %d: %w", ErrInvariant, c.slot, fmt.Errorf(format, args...))
}

// walk calls visit for each key of a kind with what follows the kind.
func (c *slotCheck) walk(kind key.Kind, visit func(kind key.Kind, rest, value []byte) error) (err error) {
	it, err := c.r.NewIter(key.KindSpan(c.slot, kind))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("data: check: %w", err)
		}
		if err := visit(kind, it.Key()[key.PrefixLen:], v); err != nil {
			return err
		}
	}
	return nil
}

// record checks a record with its entry of the expiry index, and begins the tally of a collection.
func (c *slotCheck) record(_ key.Kind, rest, value []byte) error {
	hash, user, ok := key.SplitRecord(rest)
	if !ok || hash != key.Hash(user) || slot.OfKey(user) != c.slot {
		return c.violated("a record lies under %x, which is not a key of the slot", rest)
	}
	rec, err := DecodeRecord(value)
	if err != nil {
		return c.violated("key %q: %w", user, err)
	}
	if rec.ExpireMs != NoExpiry {
		c.expiring++
		_, found, err := c.r.Get(key.AppendExpiry(nil, c.slot, rec.ExpireMs, user))
		if err != nil {
			return err
		}
		if !found {
			return c.violated("key %q expires at %d, but the expiry index does not know", user, rec.ExpireMs)
		}
	}
	if rec.Type == String {
		return nil
	}
	if other := c.collections[rec.Generation]; other != nil {
		return c.violated("keys %q and %q have one generation, %x", other.user, user, rec.Generation)
	}
	t := &tally{user: append([]byte(nil), user...), Record: rec, found: map[key.Kind]uint64{}}
	c.collections[rec.Generation] = t
	c.order = append(c.order, t)
	return nil
}

// element checks that an element belongs to a collection, and has the form that its type gives it.
func (c *slotCheck) element(kind key.Kind, rest, value []byte) error {
	g, element, ok := key.SplitElement(rest)
	t := c.collections[g]
	if !ok || t == nil {
		return c.violated("an element of kind %#x lies under %x, which is no collection's generation", kind, rest)
	}
	t.found[kind]++
	var err error
	switch t.Type {
	case List:
		err = c.checkListElement(t, kind, element, value)
	case ZSet:
		err = c.checkScored(t, kind, element, value)
	case String, Hash, Set, Stream:
		err = t.checkElement(kind, element, value)
	}
	if err != nil {
		return c.violated("key %q, a %s: element %x of kind %#x: %w", t.user, t.Type, element, kind, err)
	}
	return nil
}

// checkElement says what is wrong with the form of an element.
func (t *tally) checkElement(kind key.Kind, element, value []byte) error {
	switch t.Type {
	case Hash, Set:
		switch {
		case kind != key.Element:
			return errors.New("not a kind of this type")
		case len(element) < hashLen || binary.BigEndian.Uint32(element) != key.Hash(element[hashLen:]):
			return errors.New("the hash does not match")
		case t.Type == Set && len(value) > 0:
			return fmt.Errorf("a member with a value of %d bytes", len(value))
		}
	case String, List, ZSet, Stream:
	}
	return nil
}

// sizes checks that each collection has as many elements as its record says, and at least one.
func (c *slotCheck) sizes() error {
	for _, t := range c.order {
		if t.Size == 0 || t.found[key.Element] != t.Size {
			return c.violated("key %q, a %s, has %d elements, and by its record %d", t.user, t.Type, t.found[key.Element], t.Size)
		}
		if t.Type == ZSet && t.found[key.Score] != t.Size {
			return c.violated("key %q, a zset, has %d entries in its score index for %d members", t.user, t.found[key.Score], t.Size)
		}
		if t.Type == List && (t.found[listValue] != t.apart || t.marks != 0) {
			return c.violated("key %q, a list, has %d values apart, which are not those that %d entries name", t.user, t.found[listValue], t.apart)
		}
	}
	return nil
}
