package store

import (
	"github.com/cockroachdb/pebble/v2"
)

// OpKind is what one write of a batch does.
type OpKind uint8

// The kinds of writes.
const (
	OpSet         OpKind = iota // Key has the value Value from now on
	OpDelete                    // Key is gone
	OpDeleteRange               // every key from Key up to but not including Hi is gone
)

// Op is one write of a batch. Its slices are the batch's: they are valid until the batch is written to, committed or discarded.
type Op struct {
	Kind  OpKind
	Key   []byte
	Value []byte // of OpSet
	Hi    []byte // of OpDeleteRange
}

// Each visits the writes of a batch in the order in which they were made. What follows from a write that no command may
// forget, such as that a watched key has changed, is derived from here.
func (b *Batch) Each(visit func(Op)) {
	r := b.b.Reader()
	for {
		kind, k, v, ok, err := r.Next()
		if err != nil {
			panic(err) // the batch was built by this process
		}
		if !ok {
			return
		}
		switch kind {
		case pebble.InternalKeyKindRangeDelete:
			visit(Op{Kind: OpDeleteRange, Key: k, Hi: v})
		case pebble.InternalKeyKindDelete:
			visit(Op{Kind: OpDelete, Key: k})
		case pebble.InternalKeyKindSet:
			visit(Op{Kind: OpSet, Key: k, Value: v})
		default:
			panic("store: a batch has a write that Batch cannot make")
		}
	}
}
