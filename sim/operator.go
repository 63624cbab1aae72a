package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// operator is the controller of the cluster and the people who move slots: it names the nodes, pushes maps, starts and
// cancels jobs. It works on the machines themselves, so that no fault of the network stands between.
type operator struct {
	w       *world
	dice    dice
	version int64
	over    bool // starts nothing of itself any more
	// moved is, for each slot, when it was last asked to move; clients prefer slots that move.
	moved []time.Duration
	jobs  int // accepted
	verbs *verbs
	// vouching is an operator who is wrong about a node; nil if there is none.
	vouching *vouch
	// stayed is how many slots of a job an operator has given back to the source, its target being lost.
	stayed map[cluster.JobID]int
	// tool is at work by the classic verbs; nil if none is. tools counts them.
	tool    *tool
	tools   int
	classic dice // of tools
	flushed int
}

func newOperator(w *world) *operator {
	return &operator{w: w, dice: newDice(w.seed, streamOperator, 0), moved: make([]time.Duration, len(w.keys.slots)), verbs: newVerbs(w), stayed: map[cluster.JobID]int{}, classic: newDice(w.seed, streamClassic, 0)}
}

// moveTime is about how long a move keeps clients interested.
const moveTime = 400 * time.Millisecond

// moving reports whether some slot was asked to move lately.
func (o *operator) moving() bool {
	for _, at := range o.moved {
		if at > 0 && o.w.now-at < moveTime {
			return true
		}
	}
	return false
}

// focus draws the slot for an operation: one that moves, most of the time.
func (o *operator) focus(d dice) int {
	if d.chance(0.75) {
		first := d.IntN(len(o.moved))
		for i := range o.moved {
			n := (first + i) % len(o.moved)
			if at := o.moved[n]; at > 0 && o.w.now-at < moveTime {
				return n
			}
		}
	}
	return d.IntN(len(o.moved))
}

// mapText is a map that gives each slot of the keyspace to the process that says.
func (o *operator) mapText(owner func(i int) int) string {
	var b strings.Builder
	for _, p := range o.w.procs {
		fmt.Fprintf(&b, "%s %s %d master -", p.id, p.host, p.port)
		for i, sl := range o.w.keys.slots {
			if owner(i) == p.index {
				fmt.Fprintf(&b, " %d", sl)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// found sets the cluster up: ids and the first map, which is pushed to every node.
func (o *operator) found() {
	w := o.w
	text := o.mapText(func(i int) int { return i % len(w.procs) })
	o.version++
	for _, p := range w.procs {
		ok := func(v resp.Value) {
			if v.Kind != resp.SimpleKind {
				w.violate(propertyHarness, "setting up node %d: %s", p.index, v)
			}
		}
		w.must(p.local([]string{"CLUSTERX", "SETNODEID", string(p.id)}, ok))
		w.must(p.local([]string{"CLUSTERX", "SETNODES", text, strconv.FormatInt(o.version, 10)}, ok))
	}
}

// truth is the process that serves each slot, or served it when it was last known.
func (o *operator) truth(i int) int { return o.w.checks.owners.last[i] }

// begin starts the operator's work of the safety phase.
func (o *operator) begin() {
	s := &o.w.swarm
	o.w.after(o.dice.around(s.jobs), o.turn)
	if s.maps > 0 {
		o.w.after(o.dice.around(s.maps), o.push)
	}
}

// turn starts or cancels a job.
func (o *operator) turn() {
	if o.over {
		return
	}
	w, s := o.w, &o.w.swarm
	if o.dice.chance(s.cancels) {
		if w.plan.act("cancel") {
			o.cancel()
		}
	} else if slots := 1 + o.dice.IntN(3); w.plan.act("job") {
		o.start(slots)
	}
	if o.flushed < maxFlushes && o.dice.chance(s.flushes) && w.plan.act("flush-all") {
		o.flushAll(w.procs[o.dice.IntN(len(w.procs))])
	}
	if o.dice.chance(s.flush) {
		if p := w.procs[o.dice.IntN(len(w.procs))]; p.ready() {
			p.run(p.node.Store().Flush)
		}
	}
	w.after(o.dice.around(s.jobs), o.turn)
}

// start asks some node to give up to n of its slots to another.
func (o *operator) start(n int) {
	w := o.w
	i := o.dice.IntN(len(w.keys.slots))
	from := w.owner(w.keys.slots[i])
	if from == nil || !from.ready() {
		return
	}
	to := w.procs[(from.index+1+o.dice.IntN(len(w.procs)-1))%len(w.procs)]
	var chosen []int
	for k := range w.keys.slots {
		j := (i + k) % len(w.keys.slots)
		if len(chosen) < n && from.serves(w.keys.slots[j]) {
			chosen = append(chosen, j)
		}
	}
	o.move(from, to, chosen)
	if o.flushed < maxFlushes && o.dice.chance(w.swarm.flushes) {
		p := pick(o.dice, from, to)
		w.after(o.dice.between(0, 60*time.Millisecond), func() {
			if !o.over && w.plan.act("flush-all") {
				o.flushAll(p)
			}
		})
	}
}

// move starts a job.
func (o *operator) move(from, to *process, chosen []int) {
	w := o.w
	if l := w.nemesis.faults.losing; l != nil && (from == l.p || to == l.p) {
		return // it is to have nothing but what it is lost with
	}
	if len(chosen) > 0 && o.classic.chance(w.swarm.classic) && o.reshard(from, to, w.keys.slots[chosen[0]]) {
		o.moved[chosen[0]] = w.now
		return
	}
	var names []string
	for _, j := range chosen {
		names = append(names, strconv.Itoa(int(w.keys.slots[j])))
	}
	migrate := o.migrate
	if o.dice.chance(w.swarm.verbs) {
		migrate = o.verbs.migrate
	}
	migrate(from, to, strings.Join(names, " "), func(v resp.Value) {
		if v.Kind == resp.ErrorKind {
			return // busy or not its own any more
		}
		o.jobs++
		for _, j := range chosen {
			o.moved[j] = w.now
		}
	})
	for _, j := range chosen {
		o.moved[j] = w.now
	}
}

// recorded acts on what a record says of a move, now and then: a slot that has just been decided is cancelled, too late, and one that has
// just arrived is sent back to where it came from.
func (o *operator) recorded(p *process, sl slot.Slot, r cluster.Record) {
	w, s := o.w, &o.w.swarm
	if o.tool != nil {
		o.tool.recorded(p, sl, r)
	}
	if o.over || w.nemesis.over || r.Job.IsZero() {
		return
	}
	o.verbs.recorded(p, r)
	soon := func(most time.Duration, class string, fn func()) {
		w.after(o.dice.between(0, most), func() {
			if !o.over && p.ready() && w.plan.act(class) {
				fn()
			}
		})
	}
	if halfway(r) && o.dice.chance(s.resolves) {
		soon(pick(o.dice, 100*time.Microsecond, 3*time.Millisecond), "resolve", func() { o.resolveInVain(p, sl) })
	}
	switch {
	case r.State == cluster.Released && !r.DataGone && o.dice.chance(s.cancels):
		soon(5*time.Millisecond, "cancel", func() { o.cancelJob(p, r.Job.Counter) })
	case r.State == cluster.Serving && o.dice.chance(s.returns):
		soon(pick(o.dice, time.Millisecond, 30*time.Millisecond), "job", func() {
			if to := w.procOf(r.Peer); to != nil && p.serves(sl) {
				o.move(p, to, []int{w.keys.index[sl]})
			}
		})
	}
}

func (o *operator) migrate(from, to *process, slots string, done func(resp.Value)) {
	o.w.notef(from.index, traceNote, "migrate %s to node %d", slots, to.index)
	_ = from.local([]string{"CLUSTERX", "MIGRATE", slots, string(to.id), "ASYNC"}, done) // it was up a moment ago
}

// maxFlushes bounds how often data are flushed in a run: each costs every key an operation of unknown outcome.
const maxFlushes = 2

// flushAll tells a node to delete what it has. It has no model of its own: for the history each key may be deleted at any
// time from now on, those included that come into use while the command waits for a slot that is paused.
func (o *operator) flushAll(p *process) {
	w := o.w
	if !p.ready() || o.flushed >= maxFlushes {
		return
	}
	o.flushed++
	perhaps := func(slot int, name string) {
		op := operation([]string{"DEL", name})
		op.Client, op.Slot, op.Call = len(w.clients), uint16(w.keys.slots[slot]), int64(w.now)
		id, err := w.history.Begin(op)
		w.must(err)
		w.must(w.history.Unknown(id))
	}
	for i := range w.keys.slots {
		for _, name := range w.keys.fillers[i] {
			perhaps(i, name)
		}
		for j, h := range w.keys.hot[i] {
			for g := range h.generation + 4 {
				for _, name := range w.keys.hotNames(i, j, g) {
					perhaps(i, name)
				}
			}
		}
	}
	w.notef(p.index, traceNote, "flush")
	w.nemesis.faults.flushes(p)
	_ = p.local([]string{"FLUSHALL"}, func(resp.Value) {}) // it was up a moment ago
}

// cancel cancels a live job, if there is one; in half of the cases the same slot is asked to move to the same node again at once.
func (o *operator) cancel() {
	w := o.w
	p := w.procs[o.dice.IntN(len(w.procs))]
	if !p.ready() {
		return
	}
	var live []engine.JobStatus
	for _, j := range p.node.Migrator().Jobs() {
		if !j.State.Ended() {
			live = append(live, j)
		}
	}
	if len(live) == 0 {
		return
	}
	j := live[o.dice.IntN(len(live))]
	o.cancelJob(p, j.ID.Counter)
	to, again := w.procOf(j.Target), o.dice.chance(0.5)
	w.after(o.dice.around(20*time.Millisecond), func() {
		if again && !o.over && w.plan.act("job") {
			o.again(p, to, j.Ranges)
		}
	})
}

// again asks a node to move to another what it still serves of some slots.
func (o *operator) again(from, to *process, ranges []slot.Range) {
	var chosen []int
	for i, sl := range o.w.keys.slots {
		if from.serves(sl) && slices.ContainsFunc(ranges, func(r slot.Range) bool { return r.First <= sl && sl <= r.Last }) {
			chosen = append(chosen, i)
		}
	}
	if len(chosen) > 0 && from.ready() && to != nil {
		o.move(from, to, chosen)
	}
}

func (o *operator) cancelJob(p *process, counter uint64) {
	o.w.notef(p.index, traceNote, "cancel job %d", counter)
	_ = p.local([]string{"GODWIT", "MIGRATION", "CANCEL", strconv.FormatUint(counter, 10)}, func(resp.Value) {}) // it was up a moment ago
}

// push pushes a map, right or wrong, to some nodes or to all.
func (o *operator) push() {
	if o.over {
		return
	}
	w := o.w
	owner := o.truth
	switch o.dice.IntN(4) {
	case 0: // the map of the beginning
		owner = func(i int) int { return i % len(w.procs) }
	case 1: // any map
		shift := make([]int, len(w.keys.slots))
		for i := range shift {
			shift[i] = o.dice.IntN(len(w.procs))
		}
		owner = func(i int) int { return shift[i] }
	}
	if each := pick(o.dice, 0.4, 1); w.plan.act("map") {
		o.pushMap(owner, each)
	}
	w.after(o.dice.around(w.swarm.maps), o.push)
}

// pushMap pushes a map under the next version to each node with a probability.
func (o *operator) pushMap(owner func(i int) int, each float64) {
	w := o.w
	text := o.mapText(owner)
	o.version++
	for _, p := range w.procs {
		if o.dice.chance(each) && p.ready() {
			w.notef(p.index, traceNote, "push map %d", o.version)
			_ = p.local([]string{"CLUSTERX", "SETNODES", text, strconv.FormatInt(o.version, 10)}, func(v resp.Value) { // it was up a moment ago
				if v.Kind == resp.ErrorKind {
					w.violate("maps", "node %d refuses map %d: %s", p.index, o.version, v)
				}
			})
		}
	}
}

// recordOf is a record in a few words.
func recordOf(sl slot.Slot, r cluster.Record) string {
	text := fmt.Sprintf("slot %d %s(%d)", sl, r.State, r.Epoch)
	if !r.Job.IsZero() {
		text += fmt.Sprintf(" job %d/%c attempt %d", r.Job.Counter, r.Job.Node[cluster.NodeIDLen-1], r.Attempt)
	}
	if r.DataGone {
		text += " data gone"
	}
	return text
}
