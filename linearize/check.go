package linearize

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// ErrOptions is wrapped by errors that say that options make no sense.
var ErrOptions = errors.New("linearize: bad options")

// Options says how to judge. The zero value judges to the end, with clocks that do not err.
type Options struct {
	// ClockError bounds how far the clock of any node may be from true time, jumps included, at any time of the
	// history. 0 (default) to one year; rounded up to ms. Only deadlines depend on it.
	ClockError time.Duration
	// Steps bounds the model steps spent on each key, and on keys together that operations on several keys link; where they
	// do not suffice, the result is Unknown, the same on every machine. 0 (default) means no bound. A legal key of 100
	// operations takes some hundred steps.
	Steps int64
	// Timeout bounds the time spent on each key, or linked keys together, by the real clock: with it, results can differ from run to run.
	// 0 (default) means no bound. Prefer Steps.
	Timeout time.Duration
}

// Validate returns what is wrong with the options, as an error that wraps ErrOptions.
func (o Options) Validate() error {
	switch {
	case o.ClockError < 0 || o.ClockError > 365*24*time.Hour:
		return fmt.Errorf("%w: ClockError %v, must be from 0 to one year", ErrOptions, o.ClockError)
	case o.Steps < 0:
		return fmt.Errorf("%w: Steps %d, must be at least 0", ErrOptions, o.Steps)
	case o.Timeout < 0:
		return fmt.Errorf("%w: Timeout %v, must be at least 0", ErrOptions, o.Timeout)
	}
	return nil
}

// Result is what a check found out.
type Result uint8

// The results.
const (
	// UnknownResult: the check gave up. Whatever runs on verdicts must treat it as a failure of its own making: too
	// many open operations on one key.
	UnknownResult Result = iota
	// Linearizable: there is an order that explains every reply.
	Linearizable
	// Illegal: there is none.
	Illegal
)

// String returns "unknown", "ok" or "illegal".
func (r Result) String() string {
	switch r {
	case UnknownResult:
		return "unknown"
	case Linearizable:
		return "ok"
	case Illegal:
		return "illegal"
	}
	return fmt.Sprintf("result %d", uint8(r))
}

// Verdict is the judgement of a history.
type Verdict struct {
	// Result is Illegal if any key's is, else UnknownResult if any key's is, else Linearizable. A history without a
	// judged operation is linearizable: whoever needs proof must also look at Operations.
	Result Result
	// Keys and Operations count what was judged, Open the writes among them whose outcome is unknown, Dropped the
	// operations left out: failed ones, and reads that nobody saw return.
	Keys, Operations, Open, Dropped int
	// Failures has a verdict for each key that is not Linearizable, or set of linked keys, by first key.
	Failures []KeyVerdict
}

// OK reports whether the history is linearizable. An unknown verdict is not.
func (v Verdict) OK() bool { return v.Result == Linearizable }

// String is one line for the verdict and some for each failing key.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d operations on %d keys, %d of them open, %d left out", v.Result, v.Operations, v.Keys, v.Open,
		v.Dropped)
	for _, k := range v.Failures {
		b.WriteString("\n" + k.String())
	}
	return b.String()
}

// KeyVerdict is the judgement of the operations of one key, or of keys that operations link, where they are not
// linearizable or not decided.
type KeyVerdict struct {
	// Key is the first of Keys, which are sorted: one, unless keys that operations link are in order each for itself, but
	// not all together.
	Key    string
	Keys   []string
	Result Result
	// Operations counts those judged, Open those of them whose outcome is unknown.
	Operations, Open int
	// Culprits, if Illegal, are the operations (mostly one) whose return made the history illegal: everything that
	// returned before can be explained, together with these replies it cannot. The fault lies at them or before.
	// Empty when finding them would have cost too much.
	Culprits []Operation
	// Judged counts the operations called until then, and Ordered how many of these a longest order explains before
	// it gets stuck, in State, which is text for people.
	Judged, Ordered int
	State           string
}

// String is a few lines for people.
func (k KeyVerdict) String() string {
	var b strings.Builder
	name := "key"
	if len(k.Keys) > 1 {
		name = "keys"
	}
	fmt.Fprintf(&b, "%s %s: %s: %d operations, %d open", name, quoteAll(k.Keys), k.Result, k.Operations, k.Open)
	for _, op := range k.Culprits {
		fmt.Fprintf(&b, "\n  no order explains: %s (%s)", op, op.interval())
	}
	if len(k.Culprits) > 0 {
		fmt.Fprintf(&b, "\n  best order has %d of the %d operations until then, and leaves the %s %s", k.Ordered, k.Judged,
			name, k.State)
	}
	return b.String()
}

// quoteAll quotes as many texts as people want to see.
func quoteAll(texts []string) string {
	var shown []string
	for i, t := range texts {
		if i == shownItems {
			return strings.Join(shown, ", ") + fmt.Sprintf(" and %d more", len(texts)-i)
		}
		shown = append(shown, quote(t))
	}
	return strings.Join(shown, ", ")
}

// Check judges a history. It does not change it. The error wraps ErrHistory or ErrOptions; then there is no verdict,
// and the zero Verdict's result is unknown.
func Check(h *History, opts Options) (Verdict, error) { return new(Checker).Check(h, opts) }

// Checker judges histories one after the other, each in the memory that the one before has left. The zero value is ready. It is not
// safe for concurrent use.
type Checker struct {
	ins   []input
	parts []partInput // of which so many are in use
	used  int
}

// expect returns room for so many parts of an operation.
func (c *Checker) expect(n int) []partInput {
	const leastParts = 256
	if c == nil {
		return make([]partInput, n)
	}
	if n > len(c.parts)-c.used {
		c.parts, c.used = make([]partInput, max(n, leastParts, 2*len(c.parts))), 0 // the smaller one stays with the parts that stand in it
	}
	room := c.parts[c.used : c.used+n : c.used+n]
	c.used += n
	return room
}

// forget ends the use of all that the history needed.
func (c *Checker) forget() {
	clear(c.ins)
	clear(c.parts[:c.used])
	c.used = 0
}

// Check judges a history as the function Check does.
func (c *Checker) Check(h *History, opts Options) (Verdict, error) {
	defer c.forget()
	parts, v, err := partition(c, h, opts)
	if err != nil {
		return Verdict{}, err
	}
	v.Result = Linearizable
	for _, p := range parts {
		r, p := p.judge(opts)
		if r == Linearizable {
			continue
		}
		k := KeyVerdict{Key: p.keys[0], Keys: p.keys, Result: r, Operations: len(p.ins), Open: p.open()}
		if r == Illegal {
			v.Result = Illegal
			p.diagnose(&k)
		} else if v.Result == Linearizable {
			v.Result = UnknownResult
		}
		v.Failures = append(v.Failures, k)
	}
	return v, nil
}

// part is the operations that are judged together, in canonical order: those of one key, or of several that operations
// on several keys link, directly or through others.
type part struct {
	keys            []string // sorted; inputs name them by position
	ins             []*input
	unixMs, errorMs int64
}

// partition validates h and returns its parts by first key, which stand in the checker's memory, and a verdict that has the counts.
func partition(c *Checker, h *History, opts Options) ([]*part, Verdict, error) {
	if err := opts.Validate(); err != nil {
		return nil, Verdict{}, err
	}
	all, err := h.inputs(c)
	if err != nil {
		return nil, Verdict{}, err
	}
	sorted := make([]*input, len(all))
	for i := range all {
		sorted[i] = &all[i]
	}
	if byCall := func(a, b *input) int { return compareOperations(a.op, b.op) }; !slices.IsSortedFunc(sorted, byCall) {
		slices.SortStableFunc(sorted, byCall)
	}
	var v Verdict
	ins := sorted[:0]
	links := newLinks()
	for _, in := range sorted {
		op := in.op
		if op.Outcome == Fail || op.Outcome == Unknown && in.reads() {
			v.Dropped++
			continue
		}
		v.Operations++
		if op.Outcome == Unknown {
			v.Open++
		}
		first := -1
		in.eachKey(func(key string, place *int) {
			*place = links.number(key)
			if first >= 0 {
				links.join(first, *place)
			}
			first = *place
		})
		if first >= 0 { // else a transaction that has not run
			ins = append(ins, in)
		}
	}
	v.Keys = len(links.keys)
	return links.parts(ins, h.UnixMs, int64((opts.ClockError+time.Millisecond-1)/time.Millisecond)), v, nil
}

// links is a union-find structure over keys, numbered by first use.
type links struct {
	keys    []string
	numbers map[string]int
	parent  []int
}

func newLinks() *links { return &links{numbers: make(map[string]int)} }

func (l *links) number(key string) int {
	n, known := l.numbers[key]
	if !known {
		n = len(l.keys)
		l.numbers[key] = n
		l.keys, l.parent = append(l.keys, key), append(l.parent, n)
	}
	return n
}

func (l *links) root(n int) int {
	for l.parent[n] != n {
		l.parent[n] = l.parent[l.parent[n]]
		n = l.parent[n]
	}
	return n
}

func (l *links) join(a, b int) { l.parent[l.root(a)] = l.root(b) }

// parts deals the inputs out, whose keys become places among those of their part.
func (l *links) parts(ins []*input, unixMs, errorMs int64) []*part {
	byRoot := make([]*part, len(l.keys))
	place := make([]int, len(l.keys))
	var parts []*part
	order := make([]int, len(l.keys))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(l.keys[a], l.keys[b]) })
	for _, n := range order {
		p := byRoot[l.root(n)]
		if p == nil {
			p = &part{unixMs: unixMs, errorMs: errorMs}
			byRoot[l.root(n)] = p
			parts = append(parts, p)
		}
		place[n] = len(p.keys)
		p.keys = append(p.keys, l.keys[n])
	}
	counts := make([]int, len(l.keys))
	roots := make([]int, len(ins))
	for i, in := range ins {
		in.eachKey(func(_ string, at *int) {
			roots[i] = l.root(*at)
			*at = place[*at]
		})
		counts[roots[i]]++
	}
	room := make([]*input, len(ins))
	for i, in := range ins {
		p := byRoot[roots[i]]
		if p.ins == nil {
			n := counts[roots[i]]
			p.ins, room = room[:0:n], room[n:]
		}
		p.ins = append(p.ins, in)
	}
	return parts
}

// alone returns the part as the key at a place can be judged by itself, and false if it cannot. If that is illegal, so is
// the part.
func (p *part) alone(place int) (*part, bool) {
	q := &part{keys: p.keys[place : place+1], unixMs: p.unixMs, errorMs: p.errorMs}
	for _, in := range p.ins {
		c, ok := in.project(place)
		if !ok {
			return nil, false
		}
		if c != nil {
			c.op = in.op
			q.ins = append(q.ins, c)
		}
	}
	return q, true
}

// quickSteps bounds the first search over linked keys: enough for a legal part, and some milliseconds.
const quickSteps = 1 << 14

// judge judges the part, and returns what the result is about: the part, or one of its keys. Refuting many keys together
// costs much more than refuting one of them, so what is not soon found to be legal is judged key by key before the search
// over all goes on.
func (p *part) judge(opts Options) (Result, *part) {
	if len(p.keys) == 1 {
		return p.check(opts), p
	}
	quick := opts
	if quick.Steps == 0 || quick.Steps > quickSteps {
		quick.Steps = quickSteps
	}
	r := p.check(quick)
	if r == Linearizable {
		return r, p
	}
	for place := range p.keys {
		if q, ok := p.alone(place); ok && q.check(opts) == Illegal {
			return Illegal, q
		}
	}
	if r == UnknownResult {
		r = p.check(opts)
	}
	return r, p
}

// open counts the operations with unknown outcome.
func (p *part) open() int {
	n := 0
	for _, in := range p.ins {
		if in.op.Outcome == Unknown {
			n++
		}
	}
	return n
}

// operations returns ins, which are those of the part or their copies in the same order, as Porcupine takes them.
func (p *part) operations(ins []*input) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(ins))
	for i, in := range ins {
		in.window(p.unixMs, p.errorMs)
		ops[i] = porcupine.Operation{Input: in, Call: in.op.Call, Return: in.op.Return}
	}
	return ops
}

// described is operations with what only pictures need.
func (p *part) described(ins []*input) []porcupine.Operation {
	ops := p.operations(ins)
	for i, lane := range lanesOf(ins) {
		ops[i].ClientId, ops[i].Metadata = lane, p.ins[i].op.interval()
	}
	return ops
}

// check judges the part.
func (p *part) check(opts Options) Result {
	if opts.Timeout > 0 {
		// The terse form would leave its goroutine behind when time is up; the verbose one waits for it.
		r, _ := p.trace(opts)
		return r
	}
	b := &budget{limited: opts.Steps > 0, left: opts.Steps}
	ins := closeObserved(p.ins)
	state, n, legal := p.begin(b, ins)
	switch {
	case !legal:
		return result(porcupine.Illegal, b)
	case b.spent || n == len(ins):
		return result(porcupine.Ok, b)
	}
	m := porcupineModel(b, p.keys)
	m.Init = func() any { return state }
	return result(porcupine.CheckOperationsTimeout(m, p.operations(ins[n:]), 0), b)
}

// trace judges the part and returns the orders that were tried, in an order that does not differ from run to run.
func (p *part) trace(opts Options) (Result, porcupine.LinearizationInfo) {
	b := &budget{limited: opts.Steps > 0, left: opts.Steps}
	r, info := porcupine.CheckOperationsVerbose(porcupineModel(b, p.keys), p.described(closeObserved(p.ins)), opts.Timeout)
	// Porcupine collects the partial orders from a map. PartialLinearizations returns its own slices, so sorting
	// them here also settles the order in the picture.
	for _, partials := range info.PartialLinearizations() {
		slices.SortFunc(partials, func(a, b []int) int {
			return cmp.Or(cmp.Compare(len(b), len(a)), slices.Compare(a, b))
		})
	}
	return result(r, b), info
}

// result translates Porcupine's, of which a budget that ran out leaves nothing.
func result(r porcupine.CheckResult, b *budget) Result {
	switch {
	case b.spent:
		return UnknownResult
	case r == porcupine.Ok:
		return Linearizable
	case r == porcupine.Illegal:
		return Illegal
	}
	return UnknownResult
}

// diagnoseSteps bounds each of the some ten checks that look for the culprit: about a second each.
const diagnoseSteps = 1 << 20

// diagnose finds the culprits of an illegal part. Every prefix of a linearizable history is linearizable, if what had
// not returned by then counts as open; so the earliest return that makes it illegal is found by halving.
func (p *part) diagnose(k *KeyVerdict) {
	opts := Options{Steps: diagnoseSteps}
	var times []int64
	for _, in := range p.ins {
		if in.op.Return != Open {
			times = append(times, in.op.Return)
		}
	}
	slices.Sort(times)
	times = slices.Compact(times)
	decided := true
	i, _ := slices.BinarySearchFunc(times, Illegal, func(at int64, _ Result) int {
		r := p.until(at).check(opts)
		decided = decided && r != UnknownResult
		if r == Illegal {
			return 0
		}
		return -1
	})
	if !decided || i == len(times) {
		return
	}
	at := times[i]
	q := p.until(at)
	r, info := q.trace(opts)
	if r != Illegal {
		return
	}
	for _, in := range p.ins {
		if in.op.Return == at {
			k.Culprits = append(k.Culprits, *in.op)
		}
	}
	k.Judged = len(q.ins)
	state := make(states, len(p.keys))
	for _, orders := range info.PartialLinearizationsOperations() {
		if len(orders) == 0 {
			continue
		}
		k.Ordered = len(orders[0])
		for _, op := range orders[0] {
			state = step(state, op.Input.(*input), len(p.keys))
		}
	}
	k.State = describeStates(state, p.keys)
}

// until returns the part as it was seen at a time: later calls have not happened, later returns are open.
func (p *part) until(at int64) *part {
	q := &part{keys: p.keys, unixMs: p.unixMs, errorMs: p.errorMs}
	for _, in := range p.ins {
		if in.op.Call > at {
			continue
		}
		c := in.clone()
		if c.op.Return > at {
			if c.reads() {
				continue
			}
			c.op.Return, c.op.Outcome, c.op.Reply = math.MaxInt64, Unknown, Reply{}
			c.each(func(p *input) { p.free, p.impossible, p.reply = true, false, Reply{} })
		}
		q.ins = append(q.ins, c)
	}
	return q
}
