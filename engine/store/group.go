package store

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"godwit/engine/key"
)

// Group collects the writes of commands that run one after another under the same locks, so that they cost one commit together.
// It is a Reader: a later command sees the store with the writes of those before it. A key that several of them write is
// written once, as the last has left it.
//
// Point reads look into the group first. An iterator cannot: before one is made, what was collected is committed, which
// between two commands is always allowed. A Group is not safe for concurrent use, and keeps its buffers from one use to the
// next: Begin it, add, and end with Commit.
type Group struct {
	st     *Store
	commit func(*Batch)

	rows  []groupRow
	index [groupBuckets]uint16 // the latest row of each hash, from 1; 0 is none
	bytes []byte               // keys and values, one after another
	size  int                  // of the rows
	ops   *Batch               // Ops, empty between commands

	expected []uint64 // hashes of the keys that Expect was told of
	touched  uint32   // so that reading them is not for nothing in the eyes of the compiler
}

type groupRow struct {
	hash       uint32
	next       uint16 // row of the same bucket, as in index
	deleted    bool
	key, value []byte
}

// Bounds of a group: what is collected is committed when it has reached one of them.
const (
	groupBuckets = 256 // fewer than rows are likely: clearing them costs more than a chain of two
	groupRows    = 1 << 10
	groupBytes   = 1 << 20
	// groupKeeps is the largest buffer that a group keeps, in bytes, and groupKeepsRows the longest list of rows.
	groupKeeps     = 64 << 10
	groupKeepsRows = 512
)

// Begin begins a group on a store. commit is called with each batch that the group comes to, to have it committed.
func (g *Group) Begin(st *Store, commit func(*Batch)) {
	g.st, g.commit = st, commit
	if g.ops == nil {
		g.ops = st.NewBatch()
	}
}

// End forgets the store; buffers stay unless they are large. Everything must have been committed.
func (g *Group) End() {
	if g.ops != nil && cap(g.ops.b.Repr()) > groupKeeps {
		g.Close()
	}
	if cap(g.rows) > groupKeepsRows {
		g.rows = nil
	}
}

// Close gives back what the group keeps.
func (g *Group) Close() {
	if g.ops != nil {
		g.ops.Discard()
		g.ops = nil
	}
}

// Expect says that a command of the group is going to look for a key, or to write it. It is a hint for Fetch.
func (g *Group) Expect(k []byte) { g.expected = append(g.expected, hashOf(k)) }

// Peek appends the value of a key to dst if it is at hand: in the row cache, with nothing written by the group yet. It waits for no disk.
func (g *Group) Peek(dst, k []byte) ([]byte, bool) {
	if g.st.rows == nil {
		return dst, false
	}
	value, found, _ := g.st.rows.get(k, dst)
	return value, found
}

// Fetch brings into the processor's cache what the store keeps in memory about the keys that are expected, and forgets them. write says that
// they are going to be written. A command that looks for a key waits for the memory; commands that follow each other would
// wait one after another, and do so together here.
func (g *Group) Fetch(write bool) {
	if g.st.rows != nil {
		g.touched += g.st.rows.touch(g.expected)
		if write {
			g.touched += g.st.names.touch(g.expected)
		}
	}
	g.expected = g.expected[:0]
}

// Ops is the batch into which the next command writes: empty, and not to be committed nor discarded. Add takes over what it holds;
// Forget drops it.
func (g *Group) Ops() *Batch { return g.ops }

// Forget drops what the present command has written.
func (g *Group) Forget() {
	g.ops.b.Reset()
	g.ops.rangeDeletes = 0
}

// Add takes over the writes of the command that just ran.
func (g *Group) Add() {
	if g.ops.rangeDeletes > 0 || g.ops.b.Count() > groupRows || g.ops.Bytes() > groupBytes { // it goes by itself, behind what was collected
		g.Commit()
		b := g.ops
		g.ops = g.st.NewBatch()
		g.commit(b)
		return
	}
	r := g.ops.b.Reader()
	for {
		kind, k, v, ok, err := r.Next()
		if err != nil {
			panic(err) // the batch was built by this process
		}
		if !ok {
			break
		}
		g.write(k, v, kind != pebble.InternalKeyKindSet)
	}
	g.Forget()
	if len(g.rows) >= groupRows || g.size >= groupBytes {
		g.Commit()
	}
}

func (g *Group) write(k, v []byte, deleted bool) {
	h := uint32(hashOf(k))
	r := g.find(k, h)
	if r == nil {
		b := &g.index[h%groupBuckets]
		g.rows = append(g.rows, groupRow{hash: h, next: *b, key: g.keep(k)})
		*b = uint16(len(g.rows))
		r = &g.rows[len(g.rows)-1]
	}
	r.deleted = deleted
	if len(r.value) == len(v) {
		copy(r.value, v)
		return
	}
	r.value = g.keep(v)
}

// keep copies bytes into memory that stays until the group is committed.
func (g *Group) keep(b []byte) []byte {
	g.size += len(b)
	at := len(g.bytes)
	g.bytes = append(g.bytes, b...)
	return g.bytes[at:len(g.bytes):len(g.bytes)]
}

func (g *Group) find(k []byte, h uint32) *groupRow {
	for i := g.index[h%groupBuckets]; i != 0; {
		r := &g.rows[i-1]
		if r.hash == h && bytes.Equal(r.key, k) {
			return r
		}
		i = r.next
	}
	return nil
}

// Commit commits what was collected.
func (g *Group) Commit() {
	if len(g.rows) == 0 {
		return
	}
	b := g.st.NewBatch()
	for i := range g.rows {
		if r := &g.rows[i]; r.deleted {
			b.Delete(r.key)
		} else {
			b.Set(r.key, r.value)
		}
	}
	if cap(g.bytes) > groupKeeps {
		g.bytes = nil
	}
	clear(g.rows)
	g.rows, g.bytes, g.size = g.rows[:0], g.bytes[:0], 0
	g.index = [groupBuckets]uint16{}
	g.commit(b)
}

// Get implements Reader.
func (g *Group) Get(k []byte) ([]byte, bool, error) { return g.Append(nil, k) }

// Append implements Reader.
func (g *Group) Append(dst, k []byte) ([]byte, bool, error) {
	if len(g.rows) > 0 {
		if r := g.find(k, uint32(hashOf(k))); r != nil {
			if r.deleted {
				return dst, false, nil
			}
			return append(dst, r.value...), true, nil
		}
	}
	return g.st.Append(dst, k)
}

// NewIter implements Reader.
func (g *Group) NewIter(span key.Span) (*Iter, error) {
	g.Commit()
	return g.st.NewIter(span)
}
