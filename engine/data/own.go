package data

import "bytes"

// ownWrites is what a transaction of mode Write has written to elements and may want to read: its batch cannot be read. A
// command names few elements as a rule, so they are a list; an index is made when they are many.
type ownWrites struct {
	keys  []byte // of all, one after another
	list  []ownWrite
	index map[string]int // from key to place in list; nil while the list is short
}

// ownWrite is the latest write to one element.
type ownWrite struct {
	from, to int // the key's place in keys
	value    []byte
	deleted  bool
}

// fate says whether a write leaves an element there.
type fate bool

const (
	present fate = false
	deleted fate = true
)

// ownListMax is how many elements are looked through one by one.
const ownListMax = 16

// reset forgets all writes and keeps small buffers.
func (o *ownWrites) reset() {
	if cap(o.list) > ownListMax {
		*o = ownWrites{}
		return
	}
	clear(o.list) // the values are not ours to keep
	o.keys, o.list, o.index = keepSmall(o.keys)[:0], o.list[:0], nil
}

// find returns the write to an element, nil if there was none.
func (o *ownWrites) find(k []byte) *ownWrite {
	if o.index != nil {
		if i, ok := o.index[string(k)]; ok {
			return &o.list[i]
		}
		return nil
	}
	for i := range o.list {
		if w := &o.list[i]; bytes.Equal(o.keys[w.from:w.to], k) {
			return w
		}
	}
	return nil
}

// note records a write. The key is copied, the value is not.
func (o *ownWrites) note(k, value []byte, f fate) {
	if w := o.find(k); w != nil {
		w.value, w.deleted = value, bool(f)
		return
	}
	from := len(o.keys)
	o.keys = append(o.keys, k...)
	o.list = append(o.list, ownWrite{from: from, to: len(o.keys), value: value, deleted: bool(f)})
	switch {
	case o.index != nil:
		o.index[string(k)] = len(o.list) - 1
	case len(o.list) > ownListMax:
		o.index = make(map[string]int, 2*len(o.list))
		for i, w := range o.list {
			o.index[string(o.keys[w.from:w.to])] = i
		}
	}
}
