package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
	"godwit/migration/driver"
	"godwit/sim/disk"
)

// Crash points. Seeds crash machines where chance strikes; this crashes them everywhere, one run for each place: one slot
// moves between two nodes while clients write to it, and at each message that a party has executed, each reply that it has
// taken in, each record that it has written and each sync of its disk that is about to happen, the power of the source, of
// the target or of both goes, with all, nothing or parts of the unsynced data kept. No other fault occurs. The run then
// goes on as every other: everything must come to an end, a new job must succeed, and all properties must hold.
//
// A move without failures and with few writes resumes nothing and has no round of changes. A second one has busier clients and
// a source that has already crashed while it copied; only its points in steps that the first does not have are struck.
//
// A third move is told everything that a job can be: to rest and to go on, to cut over after it was held, and to come back while its
// copy is kept. Its points are struck in the steps that only such a move has.
//
// A point on a disk is "just before the sync": with everything kept, the disk holds what it would just after the sync, and
// nobody has learnt of it.

// CrashPoint is a place in the move where the power can go.
type CrashPoint struct {
	Index int
	Step  string // of the move, as Steps has it, or where the records say it is while the source has none
	Node  string // "source" or "target": where it happens
	Event string // what has just happened there, or, of a sync, is about to

	move   crashMove
	number int    // among all points of the move
	op     uint64 // number of the operation of the disk; syncs only
}

func (c CrashPoint) String() string { return fmt.Sprintf("%s: %s %s", c.Step, c.Node, c.Event) }

// CrashCase is a run of its own: where the power goes, whose, and what the disks keep of what was not synced.
type CrashCase struct {
	Point     int
	Who, Kept string // of Roles, and of DiskStates
}

func (c CrashCase) String() string { return fmt.Sprintf("%d/%s/%s", c.Point, c.Who, c.Kept) }

// DiskStates are what a crash can leave of what was not synced.
func DiskStates() []string { return []string{"lost", "kept", "torn"} }

// ParseCrashCase reads what String gives.
func ParseCrashCase(text string) (CrashCase, error) {
	f := strings.Split(text, "/")
	if len(f) == 3 && slices.Contains(Roles(), f[1]) && slices.Contains(DiskStates(), f[2]) {
		if n, err := strconv.Atoi(f[0]); err == nil && n >= 0 {
			return CrashCase{n, f[1], f[2]}, nil
		}
	}
	return CrashCase{}, fmt.Errorf("crash case %q: want POINT/%s/%s, such as 12/both/torn",
		text, strings.Join(Roles(), "|"), strings.Join(DiskStates(), "|"))
}

// CrashCases lists every case of the points.
func CrashCases(points []CrashPoint) []CrashCase {
	var out []CrashCase
	for _, p := range points {
		for _, who := range Roles() {
			for _, kept := range DiskStates() {
				out = append(out, CrashCase{p.Index, who, kept})
			}
		}
	}
	return out
}

// crashMove is one of the moves whose points are struck.
type crashMove struct {
	resumed bool // the second: with busy clients, of a source that has crashed before
	told    bool // the third: with everything that operators can tell it
}

// CrashPoints runs each move once, without a crash at a point, and lists the points: all of the first, and those of the
// others in steps that the ones before do not have. It fails when a property does not hold, and when a step has no point.
func CrashPoints(cfg Config) ([]CrashPoint, error) {
	var points []CrashPoint
	for _, move := range []crashMove{{}, {resumed: true}, {told: true}} {
		missing := stepsWithout(points)
		w, result := runCrashCase(nil, CrashPoint{move: move}, cfg)
		if result.Violation != nil {
			return nil, result.Violation
		}
		for _, p := range w.points.points {
			if slices.Contains(missing, p.Step) || move == (crashMove{}) {
				p.Index = len(points)
				points = append(points, p)
			}
		}
	}
	if missing := stepsWithout(points); len(missing) > 0 {
		return nil, fmt.Errorf("no crash point in the steps %s", strings.Join(missing, ", "))
	}
	return points, nil
}

// stepsWithout lists the steps of a move in which there is no point.
func stepsWithout(points []CrashPoint) []string {
	return slices.DeleteFunc(Steps(), func(step string) bool {
		return slices.ContainsFunc(points, func(p CrashPoint) bool { return p.Step == step })
	})
}

// RunCrashCase runs a case of the points.
func RunCrashCase(c CrashCase, points []CrashPoint, cfg Config) (Result, error) {
	if c.Point >= len(points) {
		return Result{}, fmt.Errorf("crash case %s: there are points 0 to %d", c, len(points)-1)
	}
	_, result := runCrashCase(&c, points[c.Point], cfg)
	return result, nil
}

// crashSeed decides what the swarm of the scenario does not: latencies and what the clients do.
const crashSeed = 1

// crashSwarm is small: few clients, no faults, chunks of some records, so that the move takes some dozens of messages.
func crashSwarm() swarm {
	return swarm{
		nodes: 3, clients: 3, slots: 3, safety: time.Second, filler: 14, fillerBytes: 40,
		latency: 300 * time.Microsecond, lateness: 10 * time.Millisecond, fifo: true,
		restart: 50 * time.Millisecond, sync: 500 * time.Microsecond, work: 50 * time.Microsecond,
		think: 8 * time.Millisecond, rush: 4 * time.Millisecond, patience: 300 * time.Millisecond,
		jobs: time.Second, park: time.Second, sweep: 400 * time.Millisecond,
		driver: driver.Config{
			Source: migration.Config{
				WindowBytes: 600, PauseDeadline: 200 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 60 * time.Millisecond,
				GiveUpAfter: 4 * time.Second, LagBytes: 300, LagKeys: 3, Rounds: 10, Pauses: 12, AbortTries: 20,
			},
			ChunkBytes: 1 << 10, ChunkRecords: 6, DigestBytes: 4 << 10, DigestRecords: 16, TrackerBytes: 64 << 10,
			SlotsAtOnce: 1, SmallSlotBytes: 1, CallTimeout: 100 * time.Millisecond, ResolvePatience: 200 * time.Millisecond, AskAfter: 100 * time.Millisecond, SnapshotKept: 2 * time.Second,
		},
	}
}

// swarm is what there is besides the faults.
func (m crashMove) swarm() swarm {
	s := crashSwarm()
	if m.resumed {
		s.clients, s.rush, s.latency = 6, time.Millisecond, time.Millisecond
		s.driver.Source.LagKeys, s.driver.Source.Rounds = 1, 2
	}
	return s
}

// runCrashCase lives the move of a point; with a case, the power goes at the point.
func runCrashCase(c *CrashCase, at CrashPoint, cfg Config) (w *world, result Result) {
	caches := cfg.Caches
	if caches == nil {
		caches = store.NewCaches()
	}
	w = newWorldOf(crashSeed, at.move.swarm(), caches, cfg.Trace)
	if !cfg.Panic {
		defer func() {
			if r := recover(); r != nil {
				w.panicked(r)
				result = w.result()
			}
		}()
	}
	w.crashScenario(&pointWatch{w: w, plan: c, at: at})
	if w.failed == nil {
		w.judge()
	}
	w.shutdown()
	return w, w.result()
}

// crashScenario moves the first slot from its owner to the next node while clients write.
func (w *world) crashScenario(k *pointWatch) {
	w.setup()
	if w.failed != nil {
		return
	}
	source, target := w.procs[0], w.procs[1]
	for _, client := range w.clients {
		client.rest()
	}
	w.checks.pauses.watch()
	w.runUntil(w.now+20*time.Millisecond, nil)
	accepted := false
	w.oper.moved[0] = w.now
	if !k.at.move.resumed {
		k.begin(source, target)
	}
	if k.at.move.told {
		w.oper.verbs.startHeld(source, target, w.keys.slots[0], func() { accepted = true })
		w.oper.verbs.tellEach(source, w.keys.slots[0])
	} else {
		w.oper.migrate(source, target, fmt.Sprint(w.keys.slots[0]), func(resp.Value) { accepted = true })
	}
	if k.at.move.resumed {
		w.runUntil(w.now+jobTime, func() bool { return accepted && source.stepOf(w.keys.slots[0]) == "base" })
		source.crash("before the move goes on")
		w.runUntil(w.now+jobTime, source.ready)
		k.begin(source, target)
	}
	w.after(8*time.Millisecond, func() { // so that tables are written, and the manifest with them
		for _, p := range []*process{source, target} {
			if p.ready() {
				p.run(p.node.Store().Flush)
			}
		}
	})
	w.runUntil(w.now+jobTime, func() bool { return k.fired || accepted && source.ended() })
	if k.plan == nil && !source.ended() {
		w.violate("new-job", "the move without a crash has not ended after %v", jobTime)
	}
	k.open = false
	if k.plan != nil && !k.fired {
		w.violate(propertyHarness, "point %d (%s) was not reached: the scenario is not deterministic", k.at.Index, k.at)
	}
	w.runUntil(w.now+300*time.Millisecond, nil)
	for _, client := range w.clients {
		client.over = true
	}
	w.settle("after the crash")
	w.newJob()
	w.settle("after one more job")
	w.readAll()
}

// ended reports whether every job of the node has ended.
func (p *process) ended() bool {
	if !p.ready() {
		return false
	}
	return !p.node.Migrator().(*driver.Driver).Live()
}

// pointWatch counts the points of a move as they are passed, and takes the power away at one of them. The methods of a nil
// pointWatch do nothing.
type pointWatch struct {
	w              *world
	source, target *process
	open           bool // points count
	points         []CrashPoint
	plan           *CrashCase // nil: only list the points
	at             CrashPoint // of the plan; without one it says only which move
	armed          *process   // whose disk will cut the power by itself
	armedLife      int
	due, fired     bool
}

// begin counts the points from now on.
func (k *pointWatch) begin(source, target *process) {
	k.w.points = k
	k.source, k.target, k.open = source, target, true
	if k.plan == nil || k.at.op == 0 {
		return
	}
	p := source
	if k.at.Node == "target" {
		p = target
	}
	k.armedLife = p.life
	if k.hits(p) {
		k.armed = p
		p.disk.CrashAt(k.at.op-p.disk.Counters().Ops, p.crashOptions())
	}
}

// hits reports whether the plan takes the power of a machine away.
func (k *pointWatch) hits(p *process) bool {
	return k.plan.Who == "both" || k.plan.Who == "source" && p == k.source || k.plan.Who == "target" && p == k.target
}

// keeps is how much of what was not synced the plan leaves, in percent.
func (k *pointWatch) keeps() (percent int, planned bool) {
	if k == nil || k.plan == nil {
		return 0, false
	}
	switch k.plan.Kept {
	case "kept":
		return 100, true
	case "torn":
		return 50, true
	default:
		return 0, true
	}
}

// reach passes a point on a machine, in the middle of an event of it.
func (k *pointWatch) reach(p *process, event string) {
	if k == nil || !k.open || p != k.source && p != k.target || p.gone() {
		return
	}
	if k.pass(p, event, 0) && k.hits(p) {
		p.cut()
	}
}

// pass counts a point and reports whether it is the planned one.
func (k *pointWatch) pass(p *process, event string, op uint64) bool {
	node := "source"
	if p == k.target {
		node = "target"
	}
	sl := k.w.keys.slots[0]
	at := CrashPoint{Step: k.step(sl), Node: node, Event: event, move: k.at.move, number: len(k.points), op: op}
	k.points = append(k.points, at)
	if k.plan == nil || k.fired || at.number != k.at.number {
		return false
	}
	at.Index = k.plan.Point
	if at != k.at {
		k.w.violate(propertyHarness, "point %d is %s, and was %s: the scenario is not deterministic", at.Index, at, k.at)
	}
	k.due = true
	return true
}

// step is where the move is: the step of the source's machine or, before it has one and after it has ended, the stage that the records tell.
func (k *pointWatch) step(sl slot.Slot) string {
	if step := k.source.stepOf(sl); step != "" {
		return step
	}
	return stageOf(k.source.record(sl), k.target.record(sl))
}

// executed passes the point after a message of the move.
func (k *pointWatch) executed(p *process, args [][]byte) {
	if k == nil || len(args) < 3 || string(args[0]) != "PEER" {
		return
	}
	event := "executes " + strings.ToLower(string(args[1]))
	if m, err := migration.DecodeMessage(args[2]); err == nil {
		event = "executes " + m.Kind.String()
	}
	k.reach(p, event)
}

// answered passes the point after a reply to a message of the move.
func (k *pointWatch) answered(p *process, text string) {
	if k == nil {
		return
	}
	if r, err := migration.DecodeReply([]byte(text)); err == nil {
		k.reach(p, "gets "+r.Kind.String())
	}
}

// operated passes the point before a sync. The disk is locked: if its own machine is to crash, that was armed before.
func (k *pointWatch) operated(p *process, o disk.Op) {
	if k == nil || !k.open || p != k.source && p != k.target || o.Kind != disk.OpSync && o.Kind != disk.OpSyncDir {
		return
	}
	what := "log"
	switch {
	case o.Kind == disk.OpSyncDir:
		what = "directory"
	case strings.HasSuffix(o.Path, ".sst"):
		what = "table"
	case strings.Contains(o.Path, "MANIFEST"):
		what = "manifest"
	}
	k.pass(p, "syncs "+what, o.N)
}

// strike takes the power of the planned machines away, once the point is passed. It is called between events.
func (k *pointWatch) strike() {
	if k == nil || k.plan == nil || k.fired {
		return
	}
	if k.armed != nil && (!k.armed.up || k.armed.life != k.armedLife) {
		k.due = true
	}
	if !k.due {
		return
	}
	k.fired, k.open = true, false
	for _, p := range []*process{k.source, k.target} {
		if k.hits(p) {
			p.crash("at point " + k.plan.String())
		}
	}
}
