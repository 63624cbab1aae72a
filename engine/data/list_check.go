package data

import (
	"encoding/binary"
	"errors"
	"fmt"

	"godwit/engine/key"
)

// checkListElement says what is wrong with an entry of a list or a value apart. Entries come in the order of their positions, and
// before the values.
func (c *slotCheck) checkListElement(t *tally, kind key.Kind, element, value []byte) error {
	if len(element) != positionLen {
		return errors.New("not 8 bytes long")
	}
	n := binary.BigEndian.Uint64(element)
	if kind == listValue {
		t.marks -= mark(n)
		switch {
		case n >= t.List.NextValue:
			return fmt.Errorf("the next value has the number %d", t.List.NextValue)
		case len(value) < minApart:
			return fmt.Errorf("a value of %d bytes lies apart", len(value))
		}
		return nil
	}
	if want := t.List.Head + t.found[kind] - 1; n != want {
		return fmt.Errorf("position %d comes where %d should", n, want)
	}
	e, err := decodeEntry(value)
	if err != nil || !e.apart {
		return err
	}
	t.apart++
	t.marks += mark(binary.BigEndian.Uint64(e.number))
	v, found, err := c.r.Get(append(key.AppendElement(nil, c.slot, listValue, t.Generation), e.number...))
	switch {
	case err != nil:
		return err
	case !found:
		return errors.New("its value is not there")
	case key.Hash(v) != e.hash:
		return errors.New("the hash of its value does not match")
	}
	return nil
}

// mark spreads the bits of a number, so that two sets of numbers of which the sums of marks are equal are the same (splitmix64).
func mark(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
