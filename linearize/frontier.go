package linearize

import "slices"

// Most histories overlap little: a few operations are under way at a time, and soon all have returned. Those are judged in the order of
// time, without a search: at each return the orders are extended in all ways that let the operation take effect before it, and what they
// lead to is kept by which of the others have taken effect in them. So nothing is tried twice, and nothing that happened long ago is ever
// taken back. Where too much is under way at once, that is too much to keep, and Porcupine searches from the last moment at which nothing was.

// maxUnderWay bounds how many operations may be under way: the work of a return doubles with each, and open ones stay for ever.
const maxUnderWay = 5

// frontierSteps bounds the model steps of a part before the search takes over.
const frontierSteps = 1 << 12

// frontier is what all orders lead to at a moment.
type frontier struct {
	keys  int
	under [maxUnderWay]*input // the operations under way, each in a place; nil: a free one
	count int                 // of them
	top   int                 // the places from here on are free
	// reach has, for each set of operations under way that have taken effect, as bits of places, the states after the orders of these and
	// of all that has returned; nil: there is no such order.
	reach [1 << maxUnderWay]states
	steps int
	room  states // for what a step leads to, until it is kept
}

// begin judges operations, sorted by their calls, as far as that needs no search. It returns the state at the last moment when nothing was
// under way, before the n-th of them, n being all if all were judged; not legal says that they have no explanation.
func (p *part) begin(b *budget, ins []*input) (state states, n int, legal bool) {
	f := frontier{keys: len(p.keys)}
	f.reach[0] = make(states, len(p.keys))
	for i := 0; ; {
		at := f.earliest()
		if i < len(ins) && (at < 0 || ins[i].op.Call <= f.under[at].op.Return) { // intervals are closed: what touches overlaps
			if f.count == 0 {
				state, n = f.reach[0], i
			}
			ins[i].window(p.unixMs, p.errorMs)
			if !f.call(ins[i]) {
				return state, n, true
			}
			i++
			continue
		}
		if at < 0 || f.under[at].op.Return == Open { // what is under way now may run or not
			return f.reach[0], len(ins), true
		}
		if !f.returned(b, at) {
			return state, n, true
		}
		if f.dead() {
			return nil, n, false
		}
	}
}

// earliest is the place of the operation that returns first, -1 if none is under way.
func (f *frontier) earliest() int {
	first := -1
	for at, in := range f.under[:f.top] {
		if in != nil && (first < 0 || in.op.Return < f.under[first].op.Return) {
			first = at
		}
	}
	return first
}

// call takes in an operation; false if there are too many.
func (f *frontier) call(in *input) bool {
	at := slices.Index(f.under[:], nil)
	if at < 0 {
		return false
	}
	f.under[at] = in
	f.count++
	f.top = max(f.top, at+1)
	return true
}

// returned ends the operation in a place: in every order it has taken effect by now. False says that this has come to too much, or that
// the budget is spent.
func (f *frontier) returned(b *budget, at int) bool {
	bit := 1 << at
	for set := range 1 << f.top {
		if set&bit != 0 || f.reach[set] == nil {
			continue
		}
		for next, in := range f.under[:f.top] {
			if in == nil || set&(1<<next) != 0 {
				continue
			}
			if f.steps++; f.steps > frontierSteps || !b.take() {
				return false
			}
			after := stepInto(f.room[:0], f.reach[set], in, f.keys)
			f.room = after[:0]
			if len(after) == 0 {
				continue
			}
			to := &f.reach[set|1<<next]
			if *to == nil && slices.Equal(f.reach[set], after) { // as where it only reads
				*to = f.reach[set]
			} else if *to == nil {
				*to = slices.Clone(after)
			} else if !slices.Equal(*to, after) {
				*to = canonical(slices.Concat(*to, after), f.keys)
			}
			if len(*to) > maxWorlds*f.keys {
				return false
			}
		}
	}
	for set := range 1 << f.top {
		if set&bit == 0 {
			f.reach[set], f.reach[set|bit] = f.reach[set|bit], nil
		}
	}
	f.under[at] = nil
	f.count--
	for f.top > 0 && f.under[f.top-1] == nil {
		f.top--
	}
	return true
}

// dead reports that no order is left.
func (f *frontier) dead() bool {
	for _, s := range f.reach[:1<<f.top] {
		if s != nil {
			return false
		}
	}
	return true
}
