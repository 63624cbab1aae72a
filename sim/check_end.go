package sim

import (
	"fmt"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/linearize"
)

// The properties that are judged when a run is over.

// checkLeftovers demands "leftovers": a node has no key of a slot that it does not serve, unless it keeps the copy that it
// has released.
func (w *world) checkLeftovers() {
	for _, p := range w.procs {
		for _, sl := range w.keys.slots {
			r := p.node.Record(sl)
			if r.State == cluster.Serving || r.State == cluster.Released && !r.DataGone {
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

// checkJobs demands "digests": no job has found the copies to differ after takeover; and "leftovers": each copy that was
// released has been deleted.
func (w *world) checkJobs() {
	for _, p := range w.procs {
		for _, j := range p.node.Migrator().Jobs() {
			if j.Differ > 0 {
				w.violate("digests", "job %d of node %d found %d slots whose copies differ: %s", j.ID.Counter, p.index, j.Differ, j.Error)
			}
		}
		for _, sl := range w.keys.slots {
			if r := p.node.Record(sl); r.State == cluster.Released && !r.DataGone {
				w.violate("leftovers", "node %d still has its copy: %s", p.index, recordOf(sl, r))
			}
		}
	}
}

// checkAlarms demands "alarms": no node has raised one.
func (w *world) checkAlarms() {
	for _, p := range w.procs {
		if a := p.node.Alarms(); len(a) > 0 {
			w.violate("alarms", "node %d: %s", p.index, a[0])
		}
	}
}

// historySteps bounds the judgement of one key; a legal key of a hundred operations takes some hundred.
const historySteps = 5_000_000

// checkHistory demands "linearizable": one copy of each key could have answered the clients so. A history that cannot be
// judged is a failure of this package.
func (w *world) checkHistory() {
	if w.failed != nil {
		return
	}
	v, err := linearize.Check(w.history.History(), linearize.Options{ClockError: w.swarm.clockError(), Steps: historySteps})
	switch {
	case err != nil:
		w.violate(propertyHarness, "the history: %v", err)
	case v.Result == linearize.UnknownResult:
		w.violate(propertyHarness, "the history is too uncertain to be judged: %s", v)
	case !v.OK():
		k := &v.Failures[0]
		w.violate("linearizable", "slot %d: %s", slot.OfKey([]byte(k.Key)), fmt.Sprint(k))
		for _, op := range k.Culprits {
			w.failed.Returns = append(w.failed.Returns, time.Duration(op.Return))
		}
	}
}
