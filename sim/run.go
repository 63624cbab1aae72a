package sim

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/store"
	"godwit/linearize"
)

// Config says how to run.
type Config struct {
	// Trace receives the readable trace of a run; nil for none.
	Trace io.Writer
	// Caches are shared by runs that follow one another; nil makes new ones, which costs some milliseconds.
	Caches *store.Caches
	// Watch receives everything that happens, as it happens; nil for nothing. It must not change what it gets.
	Watch func(*Moment)
	// Schedule replaces what the seed draws; Run then goes by the schedule's own seed. nil for none.
	Schedule *Schedule
	// Engine is what the nodes keep their records in; "" lets the seed choose.
	Engine Engine
	// Decisions replace single draws of a short run of the seed; nil for the whole run as it is drawn. See Decisions in decisions.go.
	Decisions []byte
	// Panic lets a panic of the code under test through, with its stack, instead of making it a violation.
	Panic bool
	// Checkpoints asks for those of the result.
	Checkpoints bool
	// Planted makes the run depend on the order of a map, to see that whoever compares runs notices.
	Planted bool
}

// Result is what came of a run.
type Result struct {
	Seed       uint64
	Engine     Engine
	Violation  *Violation // nil if every property held
	Events     uint64
	Operations int // of clients, redirections and repetitions not counted
	Succeeded  int
	Unknown    int
	Jobs       int
	Faults     int          // that struck; one can reach several marks
	FaultKinds []FaultCount // the marks, sorted by kind
	Virtual    time.Duration
	TraceHash  uint64
	Cutovers   int
	// BusyCutovers are those with a client's write to the slot between start and takeover.
	BusyCutovers int
	// Hits are the crashes within moves.
	Hits []HitCount
	// Actions are what happened of what a schedule can leave out, in order; empty unless the run had one.
	Actions []Action `json:"-"`
	// Checkpoints are the hashes after each so many lines of the trace, if they were asked for.
	Checkpoints []Checkpoint `json:",omitempty"`
	// Features are what happened in a run with decisions that tells it from others, sorted.
	Features []string `json:",omitempty"`
}

// OK reports whether every property held.
func (r *Result) OK() bool { return r.Violation == nil }

// FaultCount says how often a kind of fault has struck.
type FaultCount struct {
	Kind  string
	Count int
}

// Lengths of the phases, in virtual time.
const (
	setupTime  = time.Second
	settleTime = 60 * time.Second // within which everything must have come to an end after the faults have healed
	jobTime    = 20 * time.Second // within which a new job must succeed
	finalTries = 8                // of a read at the end: connections that broke unnoticed cost one each
)

// Run runs one seed.
func Run(seed uint64, cfg Config) (result Result) {
	s := drawSwarm(seed)
	var decided *decisions
	if cfg.Decisions != nil {
		decided = parseDecisions(cfg.Decisions)
		s = rollSwarm(decided.decide(laneSwarm, newDice(seed, streamSwarm, 0)))
		s.short()
	}
	if cfg.Schedule != nil {
		s, seed = cfg.Schedule.swarm, cfg.Schedule.Seed
	}
	caches := cfg.Caches
	if caches == nil || s.misreads() {
		caches = store.NewCaches()
		defer caches.Close()
	}
	w := newWorldOf(seed, s, caches, cfg.Trace)
	w.planted = cfg.Planted
	w.trace.marks = cfg.Checkpoints
	if decided != nil {
		w.decide(decided)
		w.features.seen = map[string]bool{}
	}
	w.engine = cmp.Or(cfg.Engine, engineOf(seed))
	w.trace.also(cfg.Watch)
	if cfg.Schedule != nil {
		w.plan = newPlan(w, cfg.Schedule)
	}
	if !cfg.Panic {
		defer func() {
			if r := recover(); r != nil {
				w.panicked(r)
				result = w.result()
			}
		}()
	}
	w.live()
	if w.failed == nil {
		w.judge()
	}
	w.shutdown()
	return w.result()
}

// panicked makes a violation of a panic. The nodes are left as they are: locks may be held.
func (w *world) panicked(r any) {
	var v *Violation
	if err, ok := r.(error); ok && errors.As(err, &v) {
		w.failed = v
		return
	}
	w.failed = nil
	w.violate("panic", "%v", r)
}

// live lives the phases of the run.
func (w *world) live() {
	w.setup()
	w.safety()
	w.liveness()
}

func (w *world) setup() {
	for _, p := range w.procs {
		p.start()
	}
	if w.failed != nil {
		return
	}
	w.oper.found()
	w.runUntil(w.now+setupTime/4, nil)
	w.fill()
	w.runUntil(setupTime, nil)
}

// fill writes the filler, without faults.
func (w *world) fill() {
	order := make([]int, len(w.keys.slots))
	for i := range order {
		order[i] = i
	}
	if w.planted {
		order = order[:0]
		for _, i := range w.keys.index { //det:ok the planted bug: a test demands that the hash shows it
			order = append(order, i)
		}
	}
	for _, i := range order {
		w.fillSlot(i)
	}
}

// fillSlot writes the filler of a slot with one command, which the history has as one for each key.
func (w *world) fillSlot(i int) {
	pad := string(make([]byte, w.swarm.fillerBytes))
	argv := []string{"MSET"}
	var ids []linearize.ID
	for j := range w.swarm.filler {
		name, value := w.keys.fillerKey(i, j), pad+w.keys.unique()
		argv = append(argv, name, value)
		op, err := linearize.Command("SET", name, value)
		w.must(err)
		op.Call, op.Slot = int64(w.now), uint16(w.keys.slots[i])
		id, err := w.history.Begin(op)
		w.must(err)
		ids = append(ids, id)
	}
	w.must(w.procs[w.oper.truth(i)].local(argv, func(v resp.Value) {
		for _, id := range ids {
			reply, err := historyReply(v)
			w.must(err)
			w.must(w.history.End(id, reply, int64(w.now)))
		}
	}))
}

// safety is the phase in which faults happen.
func (w *world) safety() {
	w.notef(-1, traceNote, "safety phase")
	for _, c := range w.clients {
		c.rest()
	}
	w.oper.begin()
	w.nemesis.begin()
	w.checks.watch()
	w.runUntil(w.now+w.swarm.safety, nil)
}

// liveness is the phase in which everything must come to an end.
func (w *world) liveness() {
	if w.failed != nil {
		return
	}
	w.notef(-1, traceNote, "liveness phase")
	w.oper.over = true
	w.nemesis.heal()
	if w.swarm.settled {
		w.after(300*time.Millisecond, func() { w.oper.pushMap(w.oper.truth, 1) })
	}
	w.runUntil(w.now+time.Second, nil)
	for _, c := range w.clients {
		c.over = true
	}
	w.settle("after the faults have healed")
	w.newJob()
	w.settle("after one more job")
	w.readAll()
}

// settle waits until everything has come to an end.
func (w *world) settle(when string) {
	if w.failed != nil {
		return
	}
	deadline := w.now + settleTime
	for w.failed == nil {
		trouble := w.unsettled()
		if trouble == "" {
			return
		}
		if w.now >= deadline {
			w.violate("liveness", "%s, %v later: %s", when, settleTime, trouble)
			return
		}
		w.runUntil(w.now+50*time.Millisecond, nil)
	}
}

// unsettled says what has not come to an end, or "".
func (w *world) unsettled() string {
	for _, c := range w.clients {
		if c.busy {
			return fmt.Sprintf("client %d waits for %q", c.index, c.argv)
		}
	}
	for _, p := range w.procs {
		if !p.ready() {
			return fmt.Sprintf("node %d is down", p.index)
		}
		if p.stalled() {
			return fmt.Sprintf("node %d stands still", p.index)
		}
		for _, j := range p.node.Migrator().Jobs() {
			if !j.State.Ended() {
				return fmt.Sprintf("job %d of node %d is %s, step %s: %s", j.ID.Counter, p.index, j.State, j.Step, j.Error)
			}
		}
	}
	for _, sl := range w.keys.slots {
		var owner *process
		for _, p := range w.procs {
			switch r := p.node.Record(sl); r.State {
			case cluster.Importing, cluster.Prepared:
				return fmt.Sprintf("node %d: %s", p.index, recordOf(sl, r))
			case cluster.Serving:
				if owner != nil {
					return fmt.Sprintf("slot %d is served by nodes %d and %d", sl, owner.index, p.index)
				}
				owner = p
			default:
			}
		}
		if owner == nil {
			return fmt.Sprintf("nobody serves slot %d", sl)
		}
	}
	return ""
}

// newJob demands that a job that is started now succeeds.
func (w *world) newJob() {
	if w.failed != nil {
		return
	}
	o := w.oper
	i := o.dice.IntN(len(w.keys.slots))
	from := w.owner(w.keys.slots[i])
	to := w.procs[(from.index+1+o.dice.IntN(len(w.procs)-1))%len(w.procs)]
	accepted := false
	o.migrate(from, to, fmt.Sprint(w.keys.slots[i]), func(v resp.Value) {
		accepted = true
		if v.Kind == resp.ErrorKind {
			w.violate("new-job", "node %d refuses to move slot %d: %s", from.index, w.keys.slots[i], v)
		}
		o.jobs++
	})
	w.runUntil(w.now+jobTime, func() bool { return accepted && to.serves(w.keys.slots[i]) })
	if w.failed == nil && !to.serves(w.keys.slots[i]) {
		jobs := from.node.Migrator().Jobs()
		j := jobs[len(jobs)-1]
		w.violate("new-job", "the move of slot %d from node %d to node %d has not succeeded within %v: %s, step %s: %s",
			w.keys.slots[i], from.index, to.index, jobTime, j.State, j.Step, j.Error)
	}
}

// readAll reads every key once, as a client does.
func (w *world) readAll() {
	if w.failed != nil {
		return
	}
	type wanted struct {
		slot int
		name string
	}
	var list []wanted
	for i := range w.keys.slots {
		for j := range w.swarm.filler + 4 {
			list = append(list, wanted{i, w.keys.fillerKey(i, j)})
		}
		for j, h := range w.keys.hot[i] {
			if h.ops > 0 {
				for g := range h.generation + 1 {
					for _, name := range w.keys.hotNames(i, j, g) {
						list = append(list, wanted{i, name})
					}
				}
			}
		}
	}
	left := len(w.clients)
	for n, c := range w.clients {
		var read func(at int)
		read = func(at int) {
			if at >= len(list) {
				left--
				return
			}
			tries := 0
			var once func()
			once = func() {
				c.do(list[at].slot, []string{"GET", list[at].name}, func(_ resp.Value, ok bool) {
					if tries++; ok {
						read(at + len(w.clients))
					} else if tries < finalTries {
						once() // the connection was one of before, perhaps
					} else {
						w.violate("final-reads", "client %d cannot read %s, all faults having healed", c.index, list[at].name)
					}
				})
			}
			once()
		}
		read(n)
	}
	w.runUntil(w.now+settleTime, func() bool { return left == 0 })
	if w.failed == nil && left > 0 {
		w.violate("final-reads", "%d clients have not read everything after %v", left, settleTime)
	}
}

// judge judges what is left when everything is over.
func (w *world) judge() {
	w.checkLeftovers()
	w.checkJobs()
	w.checkIdle()
	w.checkAlarms()
	w.checkHistory()
}

func (w *world) shutdown() {
	for _, p := range w.procs {
		if p.node != nil {
			p.disk.Mute()
			p.up = false
			p.node.Abandon()
		}
	}
}

func (w *world) result() Result {
	r := Result{
		Seed: w.seed, Engine: w.engine, Violation: w.failed, Events: w.events, Operations: w.cover.operations, Succeeded: w.cover.succeeded,
		Unknown: w.cover.unknown, Jobs: w.oper.jobs, Virtual: w.now, TraceHash: w.trace.sum(),
		Cutovers: w.cover.cutovers, BusyCutovers: w.cover.busyCutovers, Hits: w.cover.list(),
	}
	r.Checkpoints = w.trace.checks
	r.Features = w.features.list(&r)
	if w.plan != nil {
		r.Actions = slices.SortedStableFunc(slices.Values(w.plan.happened), byTime)
	}
	r.Faults = w.nemesis.struck
	for _, k := range w.nemesis.kinds() {
		r.FaultKinds = append(r.FaultKinds, FaultCount{k, w.nemesis.counts[k]})
	}
	return r
}
