package sim

import (
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// resolveEvery is how often the operator looks whether a handoff is resolved, and says it again if it is not.
const resolveEvery = 25 * time.Millisecond

// resolveLoss says how a handoff ends of which one side is lost for good, until that is durable: the target that is left has the slot, or the source
// that is left keeps it.
func (o *operator) resolveLoss(l *loss) {
	w, q := o.w, l.other
	r := q.record(l.slot)
	switch {
	case !q.ready() || q.stalled() || l.asked == q.life:
	case (r.State == cluster.Serving || r.Job != l.job) && q.synced(): // with another job it has been resolved, and has moved on since
		w.nemesis.faults.found(l)
		return
	case r.State == cluster.Serving: // what was committed since, nobody else may wait for
		q.node.Store().WhenDurable(q.node.Store().Last(), func() {})
	case l.source && r.State == cluster.Prepared:
		o.resolve(l, "COMMIT", markResolvedTarget)
	case !l.source && r.State == cluster.Released:
		o.stayed[r.Job] = 1
		o.resolve(l, "ABORT", markResolvedSource)
	}
	w.after(resolveEvery, func() { o.resolveLoss(l) })
}

// resolve tells the side that is left how its handoff ends, and waits for the answer, as long as that node lives.
func (o *operator) resolve(l *loss, what, mark string) {
	q := l.other
	l.asked = q.life
	o.sayResolved(q, l.slot, what, l.p, func(answer resp.Value) {
		l.asked = 0
		if answer.Kind != resp.ErrorKind {
			o.w.nemesis.mark(mark)
		}
	})
}

// sayResolved tells a node how a handoff ends.
func (o *operator) sayResolved(p *process, sl slot.Slot, what string, lost *process, done func(resp.Value)) {
	o.w.notef(p.index, traceNote, "resolve slot %d as %s, node %d being lost", sl, what, lost.index)
	_ = p.local([]string{"GODWIT", "MIGRATION", "RESOLVE", strconv.Itoa(int(sl)), what, string(lost.id)}, done) // it was up a moment ago
}

// vouch is an operator who says of a node that it is lost, though it is well and can be reached: until the answer comes neither the links between the
// two nor the other node fail, or else both nodes do. Otherwise the operator would be right, and had lost what is there.
type vouch struct{ asks, lives *process }

// between reports whether a message passes between the two.
func (v *vouch) between(from, to int) bool {
	return v != nil && (from == v.asks.index && to == v.lives.index || from == v.lives.index && to == v.asks.index)
}

// vouchTime bounds how long an operator waits for such an answer of a node that asks with this patience: the last question is asked before that is over, and
// has its own time, and disks take some.
func vouchTime(patience time.Duration) time.Duration { return 2*patience + time.Second }

// resolveInVain resolves a handoff that goes on by itself: the node must ask the other one, and refuse.
func (o *operator) resolveInVain(p *process, sl slot.Slot) {
	w, what := o.w, pick(o.dice, "COMMIT", "ABORT")
	r := p.record(sl)
	other := w.procOf(r.Peer)
	if o.vouching != nil || len(w.net.swapped) > 0 || w.nemesis.faults.losing != nil || !halfway(r) || other == nil || !other.synced() || other.stalled() || p.stalled() {
		return
	}
	v := &vouch{asks: p, lives: other}
	o.vouching = v
	w.after(vouchTime(w.configs[p.config].driver.ResolvePatience), func() { o.vouched(v) })
	o.sayResolved(p, sl, what, other, func(answer resp.Value) {
		if answer.Kind != resp.ErrorKind && o.vouching == v {
			w.violate("verbs", "node %d has resolved slot %d (%s) though node %d lives: %s", p.index, sl, what, other.index, answer)
		}
		o.vouched(v)
		if answer.Kind == resp.ErrorKind && (strings.Contains(answer.Str, " answers") || strings.Contains(answer.Str, " lives")) {
			w.nemesis.mark(markResolveRefused)
		}
	})
}

// halfway reports whether a record is one that needs the other side of its handoff.
func halfway(r cluster.Record) bool {
	return r.State == cluster.Prepared || r.State == cluster.Released && !r.DataGone
}

// vouched ends the time in which the two nodes are spared.
func (o *operator) vouched(v *vouch) {
	if o.vouching == v {
		o.vouching = nil
	}
}

// crashed takes the power of a node that asks another one that has just lost it.
func (o *operator) crashed(p *process) {
	v := o.vouching
	if v == nil || p != v.asks && p != v.lives {
		return
	}
	o.vouching = nil
	if p == v.lives {
		v.asks.crash("with the node that it asks")
	}
}
