package data

import (
	"encoding/binary"
	"fmt"

	"godwit/engine/key"
	"godwit/engine/store"
)

// Elements iterates over the elements of one kind of a collection, in key order: First, Last, SeekGE or SeekLT, then Next and
// Prev, each of which reports whether there is an element. What Element, Member and Value return is valid until the next
// move. An error of the store ends the iteration and becomes the transaction's. Close it.
type Elements struct {
	tx  *Tx
	it  *store.Iter // nil if there is nothing to iterate over
	buf []byte      // begins with the prefix of the elements' keys
}

// Iter iterates over the elements of a kind, of what is in the store and, in mode WriteIndexed, in the batch.
func (c *Collection) Iter(kind key.Kind) *Elements {
	e := &Elements{tx: c.tx}
	if c.tx.err != nil || c.gen == (key.Generation{}) {
		return e
	}
	span := key.ElementSpan(c.Slot, kind, c.gen)
	it, err := c.tx.Reader().NewIter(span)
	if err != nil {
		c.tx.fail(err)
		return e
	}
	e.it, e.buf = it, span.Lo
	return e
}

// First moves to the first element.
func (e *Elements) First() bool { return e.it != nil && e.it.First() }

// Last moves to the last element.
func (e *Elements) Last() bool { return e.it != nil && e.it.Last() }

// Next moves to the element after this one.
func (e *Elements) Next() bool { return e.it.Next() }

// Prev moves to the element before this one.
func (e *Elements) Prev() bool { return e.it.Prev() }

// SeekGE moves to the first element that is not less.
func (e *Elements) SeekGE(element []byte) bool {
	if e.it == nil {
		return false
	}
	e.buf = append(e.buf[:key.ElementLen], element...)
	return e.it.SeekGE(e.buf)
}

// SeekLT moves to the last element that is less.
func (e *Elements) SeekLT(element []byte) bool {
	if e.it == nil {
		return false
	}
	e.buf = append(e.buf[:key.ElementLen], element...)
	return e.it.SeekLT(e.buf)
}

// SeekHash moves to the first member whose hash is not less.
func (e *Elements) SeekHash(hash uint32) bool {
	return e.SeekGE(binary.BigEndian.AppendUint32(nil, hash))
}

// Element is the element that the iterator is at.
func (e *Elements) Element() []byte { return e.it.Key()[key.ElementLen:] }

// hashLen is the length of the hash before a member.
const hashLen = 4

// Member is the member that the iterator is at: the element less its hash. It is nil for an element that is too short, which
// no version writes and CheckSlot reports.
func (e *Elements) Member() []byte {
	if el := e.Element(); len(el) >= hashLen {
		return el[hashLen:]
	}
	return nil
}

// hash is the hash of the member that the iterator is at.
func (e *Elements) hash() uint32 {
	if el := e.Element(); len(el) >= hashLen {
		return binary.BigEndian.Uint32(el)
	}
	return 0
}

// Value is the value of the element that the iterator is at.
func (e *Elements) Value() []byte {
	v, err := e.it.ValueAndErr()
	if err != nil {
		e.tx.fail(fmt.Errorf("data: read element: %w", err))
	}
	return v
}

// Close ends the iteration.
func (e *Elements) Close() {
	if e.it == nil {
		return
	}
	if err := e.it.Close(); err != nil {
		e.tx.fail(fmt.Errorf("data: iterate: %w", err))
	}
	e.it = nil
}

// Add adds a member without a value and reports whether it is new. One that is there already is not written again, which would be
// a change to those who watch the key and to a move of its slot.
func (c *Collection) Add(member []byte) (added bool) {
	c.begin()
	k := c.memberKey(member)
	if c.has(k) {
		return false
	}
	c.set(k, nil)
	c.SetLen(c.size + 1)
	return true
}

// Each visits the members in the order of hash and member, until visit returns false. Both slices are valid during the call
// only. It holds one member at a time, however many there are. If they are not as many as the record says, the transaction fails:
// the length may be in the reply already.
func (c *Collection) Each(visit func(member, value []byte) bool) {
	it := c.Iter(key.Element)
	n := uint64(0)
	ok := it.First()
	for ; ok && c.tx.err == nil && visit(it.Member(), it.Value()); ok = it.Next() {
		n++
	}
	it.Close()
	if !ok && !c.dirty {
		c.expect(n, c.size)
	}
}

// expect fails the transaction if there were fewer or more elements than its record says.
func (c *Collection) expect(found, want uint64) {
	if found != want && c.tx.err == nil {
		c.tx.fail(fmt.Errorf("%w: key %q has %d elements where its record says %d", ErrCorrupt, c.Key, found, want))
	}
}

// Scan visits about count members from where a cursor points, and returns the cursor to go on with; 0 begins and ends. The
// cursor is a hash, so it holds as those of Tx.Scan do: a member that is there from the first call to the last is visited
// exactly once, and members of one hash are never divided between calls.
func (c *Collection) Scan(cursor uint64, count int, visit func(member, value []byte)) (next uint64) {
	if cursor > 1<<32-1 {
		return 0
	}
	it := c.Iter(key.Element)
	seen := 0
	last := uint32(cursor)
	for ok := it.SeekHash(last); ok && c.tx.err == nil; ok = it.Next() {
		h := it.hash()
		if seen >= max(count, 1) && h != last {
			next = uint64(h)
			break
		}
		seen++
		last = h
		visit(it.Member(), it.Value())
	}
	it.Close()
	if c.tx.err != nil {
		return 0
	}
	return next
}
