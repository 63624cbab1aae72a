package data

import (
	"encoding/binary"
	"errors"

	"godwit/engine/key"
)

// MaxElement is the longest element in bytes: a field of a hash, a member of a set. Elements are part of keys on disk, and
// the limit is that of user keys and for their reason; values of fields have no limit of their own.
const MaxElement = key.MaxUserKey

// maxBatchBytes bounds what one transaction writes, so that no batch outgrows what the store can take (4 GiB).
const maxBatchBytes = 1 << 30

// ErrTooLarge is the Err of a transaction that would have written more than 1 GiB: the copy of a huge collection, or a union
// of such. Nothing is written then.
var ErrTooLarge = errors.New("data: the write is too large")

// Collection is a user key opened as a collection of one type: the entry, and the elements under its generation.
//
// What it writes to elements goes to the batch at once, and to the record when Save is called, which every handler that has
// written must do. The first write makes a collection that was missing, and one whose last element goes is removed by Save.
// Until then Entry is what was loaded, and Len counts.
//
// Element lookups see the transaction's own writes in both write modes. Iterators see them in mode WriteIndexed only:
// iterate first, then write.
//
// At the level of members (Get, Put, Delete, Scan, Each, Random …) an element is | hash of the member (4, big-endian) | member |,
// the hash being key.Hash. It serves what it serves among records: a cursor of 32 bits names a place, and a random number
// finds a random member. A type with another layout uses the level of elements: Element, SetElement, DeleteElement, Iter, SetLen.
type Collection struct {
	Entry
	tx    *Tx
	typ   Type
	gen   key.Generation // of the elements; zero until the first write to a collection that is new
	size  uint64
	list  ListPlace
	fresh bool // gen is new in this transaction, so the store has no element of it
	dirty bool // Save has something to do
}

// Open loads a key as a collection of a type. A key that is missing is an empty one. ok is false if the key holds another type:
// then only Entry may be used.
func (t *Tx) Open(user []byte, typ Type) (c Collection, ok bool) {
	c = Collection{Entry: t.Load(user), tx: t, typ: typ}
	if c.Found {
		c.gen, c.size, c.list = c.Generation, c.Size, c.List
	}
	return c, !c.Found || c.Type == typ
}

// Replace begins a new collection in the place of a loaded entry, whatever that was: Save writes it without an expiry, or, if
// it is empty, removes the key.
func (t *Tx) Replace(e *Entry, typ Type) Collection {
	return Collection{Entry: *e, tx: t, typ: typ, dirty: true}
}

// Len is the number of elements, with what was written.
func (c *Collection) Len() uint64 { return c.size }

// SetLen changes the number of elements, for types that write by SetElement and DeleteElement.
func (c *Collection) SetLen(n uint64) {
	if c.size != n {
		c.size, c.dirty = n, true
	}
}

// Save brings the record up to date with what was written to the elements. The collection must not be written to afterwards.
func (c *Collection) Save() {
	if !c.dirty || c.tx.err != nil {
		return
	}
	c.dirty = false
	if c.size > 0 {
		r := Record{Type: c.typ, Generation: c.gen, Size: c.size, List: c.list}
		if c.Found && c.gen == c.Generation {
			r.ExpireMs = c.ExpireMs
		}
		c.tx.Put(&c.Entry, r)
		return
	}
	switch {
	case c.Found && c.gen == c.Generation:
		c.tx.removeRecord(&c.Entry) // its elements were deleted one by one
	case c.Found:
		c.tx.Remove(&c.Entry)
	}
}

// Get returns the value of a member. The value is the caller's, unless this transaction has written it.
func (c *Collection) Get(member []byte) (value []byte, found bool) {
	return c.lookup(c.memberKey(member))
}

// Has reports whether there is a member.
func (c *Collection) Has(member []byte) bool { return c.has(c.memberKey(member)) }

// Put sets the value of a member and reports whether the member is new. value must not change before the transaction ends.
func (c *Collection) Put(member, value []byte) (added bool) {
	c.begin()
	k := c.memberKey(member)
	added = !c.has(k)
	c.set(k, value)
	if added {
		c.SetLen(c.size + 1)
	}
	return added
}

// Fill adds a member that the caller knows to be absent, also among what it has filled in: it saves the look. Put and Delete
// must not name the same member afterwards.
func (c *Collection) Fill(member, value []byte) {
	c.begin()
	c.tx.setElement(c.memberKey(member), value)
	c.SetLen(c.size + 1)
}

// Take removes a member that the caller knows to be there: it saves the look. Put and Delete must not name the same member
// afterwards.
func (c *Collection) Take(member []byte) {
	if c.tx.err != nil {
		return
	}
	c.tx.deleteElement(c.memberKey(member))
	c.SetLen(c.size - 1)
}

// Delete removes a member and reports whether there was one.
func (c *Collection) Delete(member []byte) bool {
	k := c.memberKey(member)
	if !c.has(k) {
		return false
	}
	c.unset(k)
	c.SetLen(c.size - 1)
	return true
}

// Element returns the value of an element, as Get does of a member.
func (c *Collection) Element(kind key.Kind, element []byte) (value []byte, found bool) {
	return c.lookup(c.elementKey(kind, element))
}

// SetElement sets an element, new or not; SetLen is the caller's business. value must not change before the transaction ends.
func (c *Collection) SetElement(kind key.Kind, element, value []byte) {
	c.begin()
	c.set(c.elementKey(kind, element), value)
}

// DeleteElement deletes an element, if there is one; SetLen is the caller's business.
func (c *Collection) DeleteElement(kind key.Kind, element []byte) {
	c.unset(c.elementKey(kind, element))
}

// begin gives a new collection its generation.
func (c *Collection) begin() {
	if c.gen == (key.Generation{}) {
		c.gen, c.fresh = c.tx.newGeneration(), true
	}
}

// elementKey builds the key of an element in the transaction's buffer, where it stands until the next one.
func (c *Collection) elementKey(kind key.Kind, element []byte) []byte {
	t := c.tx
	t.elementBuf = append(key.AppendElement(t.elementBuf[:0], c.Slot, kind, c.gen), element...)
	return t.elementBuf
}

// memberKey builds the key of a member in the transaction's buffer, where it stands until the next one.
func (c *Collection) memberKey(member []byte) []byte {
	t := c.tx
	t.elementBuf = appendMember(t.elementBuf[:0], c.Slot, c.gen, member)
	return t.elementBuf
}

// lookup reads an element, own writes first.
func (c *Collection) lookup(k []byte) (value []byte, found bool) {
	t := c.tx
	if t.err != nil || c.gen == (key.Generation{}) {
		return nil, false
	}
	if w := t.own.find(k); w != nil {
		return w.value, !w.deleted
	}
	if c.fresh && t.mode == Write {
		return nil, false
	}
	value, found, err := t.get(k)
	if err != nil {
		t.fail(err)
	}
	return value, found
}

func (c *Collection) has(k []byte) bool {
	t := c.tx
	if t.err != nil || c.gen == (key.Generation{}) {
		return false
	}
	if w := t.own.find(k); w != nil {
		return !w.deleted
	}
	if c.fresh && t.mode == Write {
		return false
	}
	found, err := t.hasRow(k)
	if err != nil {
		t.fail(err)
	}
	return found
}

func (c *Collection) set(k, value []byte) {
	c.tx.setElement(k, value)
	if c.tx.mode == Write {
		c.tx.own.note(k, value, present)
	}
}

func (c *Collection) unset(k []byte) {
	if c.tx.err != nil {
		return
	}
	c.tx.deleteElement(k)
	if c.tx.mode == Write {
		c.tx.own.note(k, nil, deleted)
	}
}

// newGeneration draws a generation.
func (t *Tx) newGeneration() (g key.Generation) {
	if t.rand == nil {
		panic("data: a collection is made in a transaction without SetRand")
	}
	binary.BigEndian.PutUint64(g[:8], t.rand())
	binary.BigEndian.PutUint32(g[8:], uint32(t.rand()))
	return g
}

// setElement writes an element, unless the batch has become too large.
func (t *Tx) setElement(k, value []byte) {
	if t.err != nil {
		return
	}
	b := t.writer()
	limit := maxBatchBytes
	if t.lowLimitBytes > 0 {
		limit = t.lowLimitBytes
	}
	if b.Bytes()+len(k)+len(value) > limit {
		t.fail(ErrTooLarge)
		return
	}
	b.Set(k, value)
	t.noteWrite(k)
}

func (t *Tx) deleteElement(k []byte) {
	t.writer().Delete(k)
	t.noteWrite(k)
}

// noteWrite remembers to which collection an element under k belongs.
func (t *Tx) noteWrite(k []byte) {
	g := key.Generation(k[key.PrefixLen:key.ElementLen])
	if n := len(t.wrote); n == 0 || t.wrote[n-1] != g {
		t.wrote = append(t.wrote, g)
	}
}
