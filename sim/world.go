package sim

import (
	"fmt"
	"io"
	"time"

	"godwit/engine/data"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// unixMs is the true time at which every run begins.
const unixMs = 1_700_000_000_000

// world is one run.
type world struct {
	seed  uint64
	swarm swarm
	now   time.Duration
	queue *queue
	// events counts those that ran, mostEvents bounds them.
	events, mostEvents uint64
	trace              *trace

	times   dice
	net     *network
	procs   []*process
	clients []*client
	keys    *keyspace
	oper    *operator
	nemesis *nemesis
	configs [2]configuration // the old one and the new
	checks  *checks
	cover   coverage
	// features are noted if somebody searches by them.
	features features
	points   *pointWatch // nil unless crash points are what the run is about

	// lostClients counts operations of unknown outcome: each leaves its client number behind.
	lostClients int
	wideTx      data.Tx // reads wide keys, for coverage
	history     *history
	caches      *store.Caches
	room        *room
	engine      Engine // of the stores; Pebble unless Run says otherwise
	failed      *Violation
	plan        *plan // nil: everything that the seed draws happens
	planted     bool  // see Config
}

// propertyHarness names the violations that are this package's own fault, or the workload's.
const propertyHarness = "harness"

// maxEvents bounds a run: more than any that goes anywhere, some hundred thousand being much.
const maxEvents = 3_000_000

// Violation is a property that did not hold.
type Violation struct {
	Property string
	Detail   string
	At       time.Duration // virtual time
	// Returns are when the operations returned whose replies nothing explains, if it is about a history.
	Returns []time.Duration `json:",omitempty"`
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s at %.6f s: %s", v.Property, v.At.Seconds(), v.Detail)
}

// newWorld makes the world of a seed: machines that are off, and nothing in the queue.
func newWorld(seed uint64, caches *store.Caches, out io.Writer) *world {
	return newWorldOf(seed, drawSwarm(seed), caches, out)
}

// newWorldOf makes the world of a seed with a swarm that was not drawn.
func newWorldOf(seed uint64, s swarm, caches *store.Caches, out io.Writer) *world {
	return newWorldIn(newRoom(), seed, s, caches, EnginePebble, out)
}

// newWorldIn makes a world in memory that may have been another's.
func newWorldIn(room *room, seed uint64, s swarm, caches *store.Caches, engine Engine, out io.Writer) *world {
	w := &world{
		seed: seed, swarm: s, mostEvents: maxEvents, queue: &room.queue, trace: newTrace(out), times: newDice(seed, streamTime, 0),
		caches: caches, room: room, engine: engine, cover: newCoverage(),
	}
	w.configs = w.configurations()
	w.history = &history{Recorder: room.recorder, ledger: newLedger(w)}
	w.keys = newKeyspace(&w.swarm)
	w.net = newNetwork(w)
	for i := range w.swarm.nodes {
		w.procs = append(w.procs, newProcess(w, i))
	}
	for i := range w.swarm.clients {
		w.clients = append(w.clients, newClient(w, i))
	}
	w.checks = newChecks(w)
	w.oper = newOperator(w)
	w.nemesis = newNemesis(w)
	return w
}

// violate records the first violation, which ends the run.
func (w *world) violate(property, format string, args ...any) {
	if w.failed == nil {
		w.failed = &Violation{Property: property, Detail: fmt.Sprintf(format, args...), At: w.now}
		w.notef(-1, traceNote, verdictPrefix+"%s: %s", property, w.failed.Detail)
	}
}

// notef adds a line of text to the trace.
func (w *world) notef(node int, kind traceKind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.trace.note(w.now, node, kind, []byte(text), func() string { return text })
}

// after runs fn once the time has passed.
func (w *world) after(d time.Duration, fn func()) { w.later(d, function(fn)) }

// later is after for what is not a function.
func (w *world) later(d time.Duration, what doer) {
	w.queue.push(event{at: w.now + max(d, 0), what: what})
}

// step runs the next event and reports whether there was one.
func (w *world) step() bool {
	ev, ok := w.queue.pop()
	if !ok {
		return false
	}
	w.now = ev.at
	if ev.timer != nil && ev.timer.over {
		return true
	}
	if ev.proc != nil && ev.proc.life == ev.life && ev.proc.stalled() {
		ev.at = ev.proc.stalledUntil
		w.queue.push(ev)
		return true
	}
	if ev.timer != nil {
		ev.timer.over = true
	}
	switch {
	case ev.proc == nil:
		w.events++
		ev.what.do()
	case ev.proc.up && ev.proc.life == ev.life:
		w.events++
		ev.what.do()
		ev.proc.ran()
	}
	w.features.look(w)
	return true
}

// runUntil runs events until the time, the first violation, or until done says so.
func (w *world) runUntil(t time.Duration, done func() bool) {
	for w.failed == nil && w.queue.len() > 0 && w.queue.heap[0].at <= t {
		if done != nil && done() {
			return
		}
		if w.step(); w.events > w.mostEvents {
			w.violate("liveness", "%d events and no end", w.events)
		}
	}
	if w.failed == nil && (done == nil || !done()) {
		w.now = max(w.now, t)
	}
}

// owner is the process that serves a slot now, nil if none does; the one with the highest epoch should there be several.
func (w *world) owner(sl slot.Slot) *process {
	var best *process
	for _, p := range w.procs {
		if p.serves(sl) && (best == nil || p.record(sl).Epoch > best.record(sl).Epoch) {
			best = p
		}
	}
	return best
}

// doer is what an event does. What happens often is a pointer under a type of its own, and takes no memory as a function does that has
// caught variables.
type doer interface{ do() }

// function is a function as a doer.
type function func()

func (f function) do() { f() }

// event is something to do with a time. With a process, it is done only in that life of it.
type event struct {
	at    time.Duration
	what  doer
	proc  *process
	life  int
	timer *timer // nil unless it can be stopped
}

// queue is a heap of events, ordered by time and then by the order in which they were added. What is moved about in the heap has
// no pointers, which would cost more than the order does.
type queue struct {
	heap   []queued
	events []event
	free   []int32 // places in events
	next   uint64
}

// queued is an event in the heap.
type queued struct {
	at    time.Duration
	seq   uint64
	place int32 // in events
}

func (e *queued) before(o *queued) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (q *queue) len() int { return len(q.heap) }

// reset makes the queue empty, and its order begin anew.
func (q *queue) reset() {
	clear(q.events)
	*q = queue{heap: q.heap[:0], events: q.events[:0], free: q.free[:0]}
}

func (q *queue) push(e event) {
	q.next++
	entry := queued{at: e.at, seq: q.next}
	if n := len(q.free); n > 0 {
		entry.place = q.free[n-1]
		q.free = q.free[:n-1]
		q.events[entry.place] = e
	} else {
		entry.place = int32(len(q.events))
		q.events = append(q.events, e)
	}
	q.heap = append(q.heap, entry)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !entry.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = entry
}

func (q *queue) pop() (event, bool) {
	n := len(q.heap) - 1
	if n < 0 {
		return event{}, false
	}
	place := q.heap[0].place
	last := q.heap[n]
	q.heap = q.heap[:n]
	for i := 0; n > 0; {
		child := 2*i + 1
		if child+1 < n && q.heap[child+1].before(&q.heap[child]) {
			child++
		}
		if child >= n || !q.heap[child].before(&last) {
			q.heap[i] = last
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	e := q.events[place]
	q.events[place] = event{} // so that what it refers to can be freed
	q.free = append(q.free, place)
	return e, true
}
