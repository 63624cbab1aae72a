package data

import (
	"fmt"
	"slices"

	"godwit/engine/key"
)

// pointDeletes is how many elements are deleted one by one, at 0.8 µs each. More are dropped by one range delete, which itself costs
// the same for any number; but the first read after it puts all range deletes of the memory table in order anew, at 0.5 µs
// each (BenchmarkDrop), so that small collections that come and go must not leave one each.
const pointDeletes = 512

// elementKinds are the kinds of keys that hold parts of a collection.
func elementKinds(t Type) []key.Kind {
	if t == ZSet || t == List {
		return []key.Kind{key.Element, key.Score}
	}
	return []key.Kind{key.Element}
}

// dropElements deletes what belongs to a collection beside its record. It costs no more for a million elements than for
// pointDeletes.
func (t *Tx) dropElements(e *Entry) {
	for _, k := range elementKinds(e.Type) {
		span := key.ElementSpan(e.Slot, k, e.Generation)
		// A batch that cannot be read may have elements that no iterator would find.
		unseen := t.mode == Write && slices.Contains(t.wrote, e.Generation)
		if e.Size > pointDeletes || unseen || !t.deleteEach(span) {
			t.writer().DeleteRange(span)
		}
	}
}

// deleteEach deletes the keys of a span one by one, and reports false if they are too many.
func (t *Tx) deleteEach(span key.Span) bool {
	it, err := t.Reader().NewIter(span)
	if err != nil {
		t.fail(err)
		return true
	}
	n := 0
	for ok := it.First(); ok && n <= pointDeletes; ok = it.Next() {
		t.writer().Delete(it.Key())
		n++
	}
	if err := it.Close(); err != nil {
		t.fail(fmt.Errorf("data: drop elements: %w", err))
	}
	return n <= pointDeletes
}

// copyElements copies what belongs to a collection beside its record.
func (t *Tx) copyElements(src, dst *Entry) {
	for _, k := range elementKinds(src.Type) {
		t.copyKind(src, dst, k)
	}
}

func (t *Tx) copyKind(src, dst *Entry, k key.Kind) {
	if t.err != nil {
		return
	}
	from := key.ElementSpan(src.Slot, k, src.Generation)
	it, err := t.Reader().NewIter(from)
	if err != nil {
		t.fail(err)
		return
	}
	for ok := it.First(); ok && t.err == nil; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			t.fail(fmt.Errorf("data: copy elements: %w", err))
			break
		}
		t.elementBuf = key.AppendElement(t.elementBuf[:0], dst.Slot, k, dst.Generation)
		t.elementBuf = append(t.elementBuf, it.Key()[key.ElementLen:]...)
		t.setElement(t.elementBuf, v)
	}
	if err := it.Close(); err != nil {
		t.fail(fmt.Errorf("data: copy elements: %w", err))
	}
}
