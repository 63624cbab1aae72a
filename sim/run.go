package sim

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"time"

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
	// Spares are shared likewise; nil for none.
	Spares *Spares
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
	chosen := cmp.Or(cfg.Engine, engineOf(seed))
	if caches == nil || s.misreads() && chosen == EnginePebble { // the other does not read its caches
		caches = store.NewCaches()
		defer caches.Close()
	}
	w := newWorldIn(cfg.Spares.take(), seed, s, caches, chosen, cfg.Trace)
	w.planted = cfg.Planted
	w.trace.marks = cfg.Checkpoints
	if decided != nil {
		w.decide(decided)
		w.features.seen = map[string]bool{}
	}
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
	result = w.result()
	cfg.Spares.give(w)
	return result
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
		name, value := w.keys.fillers[i][j], pad+w.keys.unique()
		argv = append(argv, name, value)
		op := operation([]string{"SET", name, value})
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
	w.runUntil(w.now+callsEnd, func() bool { return !w.calling() })
}

// callsEnd is how long a call of a job that has ended may still wait for an answer that was lost, at most. It holds its message until then.
const callsEnd = 10 * time.Second

// judge judges what is left when everything is over.
func (w *world) judge() {
	w.checkLeftovers()
	w.checkDigests()
	w.checkIdle()
	w.checkAlarms()
	w.checkHistory()
}

func (w *world) shutdown() {
	for _, p := range w.procs {
		if p.node != nil {
			w.cover.worked(p)
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
