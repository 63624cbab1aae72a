package sim

import (
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/store"
)

// checkLeftovers demands "leftovers", when everything has come to an end: a node has no key of a slot that it does not serve,
// and each copy that was released has been deleted.
func (w *world) checkLeftovers() {
	for _, p := range w.procs {
		for _, sl := range w.keys.slots {
			r := p.node.Record(sl)
			if r.State == cluster.Serving {
				continue
			}
			if r.State == cluster.Released && !r.DataGone {
				w.violate("leftovers", "node %d still has its copy: %s", p.index, recordOf(sl, r))
				continue
			}
			if n, err := count(p.node.Store(), key.SlotSpan(sl)); err != nil || n > 0 {
				w.violate("leftovers", "node %d has %d keys of a slot that it does not serve: %s (%v)", p.index, n, recordOf(sl, r), err)
			}
		}
	}
}

func count(r store.Reader, span key.Span) (n int, err error) {
	it, err := r.NewIter(span)
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}
