package data

import (
	"encoding/binary"
	"errors"
	"fmt"

	"godwit/engine/key"
)

// checkScored says what is wrong with a member of a sorted set or an entry of its score index. Each member is found to have its entry,
// and both are counted, so that there are no others.
func (c *slotCheck) checkScored(t *tally, kind key.Kind, element, value []byte) error {
	if kind == key.Score {
		_, err := DecodeScore(element[:min(len(element), scoreLen)])
		if err == nil && len(value) > 0 {
			err = fmt.Errorf("a value of %d bytes", len(value))
		}
		return err
	}
	if len(element) < hashLen || binary.BigEndian.Uint32(element) != key.Hash(element[hashLen:]) {
		return errors.New("the hash does not match")
	}
	if _, err := DecodeScore(value); err != nil {
		return err
	}
	entry := key.AppendElement(nil, c.slot, key.Score, t.Generation)
	entry = append(append(entry, value...), element[hashLen:]...)
	switch _, found, err := c.r.Get(entry); {
	case err != nil:
		return err
	case !found:
		return errors.New("the score index does not know it")
	}
	return nil
}
