package store

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/tidwall/btree"

	"godwit/engine/key"
)

// record is a key and its value. Neither changes.
type record struct{ key, value []byte }

func before(a, b *record) bool { return bytes.Compare(a.key, b.key) < 0 }

type tree = btree.BTreeG[*record]

// treeDegree makes nodes of up to 31 records: small, since a write copies the nodes on its path that a reader may have.
const treeDegree = 16

// records is an ordered set of records that shows moments of itself: a tree that is left to its readers when it changes
// while they have it, and goes on as a copy that shares what does not change. Its mutex is that of the engine.
type records struct {
	tree    *tree
	readers int // of tree as it is
	probe   record
	room    []record // for those to come
}

func newRecords() records {
	return records{tree: btree.NewBTreeGOptions(before, btree.Options{Degree: treeDegree, NoLocks: true})}
}

// pin hands out the tree as it is now; it stays so until unpin.
func (c *records) pin() *tree {
	c.readers++
	return c.tree
}

func (c *records) unpin(t *tree) {
	if t == c.tree {
		c.readers--
	}
}

// copy is a set of its own that is equal now.
func (c *records) copy() records { return records{tree: c.tree.Copy()} }

// find returns the record of a key, or nil.
func (c *records) find(k []byte) *record {
	c.probe.key = k
	r, _ := c.tree.Get(&c.probe)
	return r
}

// get appends a key's value to dst.
func (c *records) get(k, dst []byte) ([]byte, bool) {
	r := c.find(k)
	if r == nil {
		return dst, false
	}
	return append(dst, r.value...), true
}

// change carries out the operations of a batch, whose bytes become the records' and must not change any more. What it returns
// an error for was not written by a batch of this package. It takes the memory of so many new records at once.
func (c *records) change(ops batchrepr.Reader, atOnce int) error {
	c.detach()
	for {
		kind, k, v, ok, err := ops.Next()
		switch {
		case err != nil:
			return fmt.Errorf("operations: %w", err)
		case !ok:
			return nil
		case kind == pebble.InternalKeyKindSet:
			if len(c.room) == 0 {
				c.room = make([]record, max(atOnce, 1))
			}
			r := &c.room[0]
			c.room = c.room[1:]
			*r = record{k, v}
			c.tree.Set(r)
		case kind == pebble.InternalKeyKindDelete:
			c.probe.key = k
			c.tree.Delete(&c.probe)
		case kind == pebble.InternalKeyKindRangeDelete:
			for _, r := range c.span(key.Span{Lo: k, Hi: v}) {
				c.tree.Delete(r)
			}
		default:
			return fmt.Errorf("operations: unknown kind %d", kind)
		}
	}
}

// leastRoom is how many records the engine makes at once at least. The memory is kept while one of them is.
const leastRoom = 16

// detach leaves the tree to its readers.
func (c *records) detach() {
	if c.readers > 0 {
		c.tree, c.readers = c.tree.Copy(), 0
	}
}

// span lists the records of a span.
func (c *records) span(span key.Span) (list []*record) {
	c.probe.key = span.Lo
	c.tree.Ascend(&c.probe, func(r *record) bool {
		if bytes.Compare(r.key, span.Hi) >= 0 {
			return false
		}
		list = append(list, r)
		return true
	})
	return list
}

// memoryIter is an Iter over a moment of a set of records.
type memoryIter struct {
	mu   *sync.Mutex // guards c
	c    *records
	tree *tree
	it   btree.IterG[*record]
	span key.Span // a bound that is nil bounds nothing
	// at is the record that the iterator is on. If there is none, side says whether Prev (+1) or Next (-1) leads back.
	at    *record
	side  int
	probe record
}

// newMemoryIter makes an iterator. c's mutex is held.
func newMemoryIter(mu *sync.Mutex, c *records, span key.Span) *Iter {
	both := &struct {
		Iter
		in memoryIter
	}{in: memoryIter{mu: mu, c: c, tree: c.pin(), span: span, side: -1}}
	both.in.it = both.in.tree.Iter()
	both.m = &both.in
	return &both.Iter
}

func (i *memoryIter) first() bool {
	if i.span.Lo != nil {
		return i.seek(i.span.Lo)
	}
	return i.forward(i.it.First())
}

func (i *memoryIter) last() bool {
	if i.span.Hi != nil {
		return i.seekBefore(i.span.Hi)
	}
	return i.backward(i.it.Last())
}

func (i *memoryIter) seekGE(k []byte) bool {
	if i.span.Lo != nil && bytes.Compare(k, i.span.Lo) < 0 {
		k = i.span.Lo
	}
	return i.seek(k)
}

func (i *memoryIter) seekLT(k []byte) bool {
	if i.span.Hi != nil && bytes.Compare(k, i.span.Hi) > 0 {
		k = i.span.Hi
	}
	return i.seekBefore(k)
}

func (i *memoryIter) seek(k []byte) bool {
	i.probe.key = k
	return i.forward(i.it.Seek(&i.probe))
}

func (i *memoryIter) seekBefore(k []byte) bool {
	i.probe.key = k
	if i.it.Seek(&i.probe) {
		return i.backward(i.it.Prev())
	}
	return i.backward(i.it.Last())
}

func (i *memoryIter) next() bool {
	if i.at == nil && i.side > 0 {
		return false
	}
	if i.at == nil {
		return i.first()
	}
	return i.forward(i.it.Next())
}

func (i *memoryIter) prev() bool {
	if i.at == nil && i.side < 0 {
		return false
	}
	if i.at == nil {
		return i.last()
	}
	return i.backward(i.it.Prev())
}

// forward settles on where the tree's iterator has come to, going up.
func (i *memoryIter) forward(ok bool) bool {
	i.at, i.side = nil, 1
	if ok {
		if r := i.it.Item(); i.span.Hi == nil || bytes.Compare(r.key, i.span.Hi) < 0 {
			i.at = r
		}
	}
	return i.at != nil
}

// backward settles on where the tree's iterator has come to, going down.
func (i *memoryIter) backward(ok bool) bool {
	i.at, i.side = nil, -1
	if ok {
		if r := i.it.Item(); i.span.Lo == nil || bytes.Compare(r.key, i.span.Lo) >= 0 {
			i.at = r
		}
	}
	return i.at != nil
}

func (i *memoryIter) key() []byte {
	if i.at == nil {
		return nil
	}
	return i.at.key
}

func (i *memoryIter) value() []byte {
	if i.at == nil {
		return nil
	}
	return i.at.value
}

func (i *memoryIter) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at = nil
	i.c.unpin(i.tree)
}
