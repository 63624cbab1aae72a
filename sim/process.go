package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration/driver"
	"godwit/sim/disk"
)

// process is a machine with one node on it. Its disk outlives its crashes.
type process struct {
	w       *world
	index   int
	id      cluster.NodeID
	host    string
	port    int
	address string // host:port

	up   bool
	life int // counts the times that it was started
	node *engine.Node
	disk *disk.FS
	seat *seat
	skew time.Duration
	// The monotonic clock runs at 1 + driftRate since driftSince and was ahead by driftBase then; the wall clock runs with it, less
	// wallDrift, by which it was set back.
	driftRate                        float64
	driftBase, driftSince, wallDrift time.Duration
	stalledUntil                     time.Duration // until then the node stands still
	busyUntil                        time.Duration // until then it has no room for what arrives
	broken                           error         // how its disk fails to write now; nil if it does not
	misread                          bool          // reads of its disk fail, or return flipped bits
	misled                           bool          // reads of its disk have failed in a life before, or returned flipped bits
	config                           int           // which of the configurations its node has
	nameless                         bool          // it has lost its disk and must be given its id
	lost                             bool          // it does not come back before an operator has resolved what it took part in
	loops                            int           // times that it will still crash while it starts
	started                          time.Duration // when this life began
	looped                           bool          // this life is one of those
	dice                             dice          // of crashes and of the disk

	worked work // in this life, as far as it was counted

	// left is what the disk holds since the power went in the middle of the event that is running; nil otherwise.
	left *disk.FS

	records map[slot.Slot]cluster.Record // as observed in this life
	last    map[slot.Slot]cluster.Record // as observed in the life before
	// wrote is the position of the last command in this life that could write to a slot; kept only if the nemesis aims at reads.
	wrote map[slot.Slot]store.Position
}

func newProcess(w *world, i int) *process {
	p := &process{w: w, index: i, host: fmt.Sprintf("10.0.0.%d", i+1), port: 6379, address: fmt.Sprintf("10.0.0.%d:6379", i+1), dice: newDice(w.seed, streamDisk, uint64(i))}
	p.id = cluster.NodeID(fmt.Sprintf("%040d", i+1))
	p.disk = p.newDisk()
	return p
}

// newDisk is an empty disk for the machine.
func (p *process) newDisk() *disk.FS {
	o := disk.Options{Seed: p.dice.Uint64(), OnOp: p.onOp}
	if p.w.engine == EngineMemory { // Pebble has goroutines, which may read when the run is over
		o.Spares = p.w.room.files
	}
	return disk.New(o)
}

// dataDir is where a node keeps its data.
const dataDir = "/data"

func (p *process) addr() string { return p.address }

func (p *process) onOp(o disk.Op) {
	b := append(p.w.trace.room(), byte(o.Kind))
	b = append(append(b, o.Path...), 0)
	b = append(append(b, o.To...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(o.Offset))
	b = binary.BigEndian.AppendUint64(b, o.Hash)
	p.w.trace.note(p.w.now, p.index, traceDisk, b, o.String)
	p.w.cover.operated(p.w, o)
	p.w.points.operated(p, o)
}

// syncLatency draws how long a sync takes on this machine.
func (p *process) syncLatency() time.Duration {
	s, d := &p.w.swarm, p.w.times
	if !p.w.nemesis.over && d.chance(s.slowSync) {
		p.w.nemesis.count(markSlowSync)
		return d.between(s.slowTime/4, s.slowTime)
	}
	return 20*time.Microsecond + d.around(s.sync)
}

// start opens the node on what its disk holds.
func (p *process) start() {
	if p.up || p.lost || p.w.failed != nil {
		return
	}
	p.up = true
	p.life++
	p.started = p.w.now
	p.records, p.wrote = map[slot.Slot]cluster.Record{}, map[slot.Slot]store.Position{}
	p.seat = &seat{p: p, life: p.life, dice: newDice(p.w.seed, streamNode, uint64(p.index)<<16|uint64(p.life))}
	p.w.notef(p.index, traceLife, "start, life %d", p.life)
	p.restarted()
	p.run(p.open)
}

func (p *process) open() {
	w := p.w
	cfg := w.configs[p.config]
	cfg.driver.Busy, cfg.driver.Spoil = p.refusal, true
	newMigrator, err := driver.New(cfg.driver)
	if err != nil {
		w.violate(propertyHarness, "the driver's configuration: %v", err)
		return
	}
	o := &observer{p: p, life: p.life}
	n, err := engine.Open(engine.Options{
		Clock: p.seat, Peers: p.seat, Rand: p.seat, Workers: p.seat, Syncer: p.seat, FS: p.disk, Fatal: p.fatal, Dir: dataDir,
		StoreSim:    &store.Sim{Memory: w.engine == EngineMemory, IgnoreLogSync: p.disk.IgnoreLogSync, MayFlush: p.mayFlush, BacklogBytes: w.swarm.backlog, Caches: w.caches},
		ApplyBeside: w.swarm.beside, Observer: o, Commands: w.room.commands, Log: slog.New(&logWatch{o: o}),
		Cluster: true, Addr: p.addr(), Sync: engine.SyncAlways, PeerSecret: "secret",
		SweepInterval: cfg.sweep,
		Limits:        engine.Limits{ParkDeadline: cfg.park, ParkedCommands: w.swarm.parked},
		NewMigrator:   newMigrator, Version: "sim",
	})
	if err != nil && p.gone() {
		return // it does not matter any more
	}
	if err != nil && p.excuse(err) != "" {
		p.fatal(err)
		return
	}
	if err != nil {
		w.violate("opens", "node %d cannot open its directory: %v", p.index, err)
		return
	}
	p.node = n
	p.w.checks.opened(p)
	w.nemesis.faults.opened(p)
}

// run runs something on this machine, and crashes it if the power went in the middle.
func (p *process) run(fn func()) {
	fn()
	p.ran()
}

// ran ends what was run on this machine.
func (p *process) ran() {
	if !p.up {
		return
	}
	p.disk.Settle()
	p.w.checks.ran(p)
	if p.gone() {
		p.crash("in the middle of an event")
	}
	p.w.points.strike()
}

// gone reports that the machine has no power: it is down, or the power went in the middle of the event that is running.
func (p *process) gone() bool { return !p.up || p.left != nil || p.disk.Captured() != nil }

// cut takes the power away in the middle of the event that is running: nothing that it does from now on reaches anybody.
func (p *process) cut() {
	if !p.gone() {
		p.left = p.disk.CrashClone(p.crashOptions())
		p.disk.Mute()
	}
}

// crash takes the power away: whatever was not synced is kept or lost by the coins of the disk.
func (p *process) crash(how string) {
	if !p.up {
		return
	}
	w := p.w
	w.cover.crashed(p)
	w.cover.worked(p)
	left := p.disk.Captured()
	switch {
	case p.left != nil:
		left = p.left
	case left == nil:
		left = p.disk.CrashClone(p.crashOptions())
	}
	w.notef(p.index, traceLife, "crash %s", how)
	p.markCrash(left)
	p.stalledUntil, p.busyUntil = 0, 0
	w.nemesis.faults.crashLoop(p)
	w.features.look(w)
	p.up = false
	p.disk.Mute()
	if p.node != nil {
		p.last = p.records
		p.node.Abandon()
	}
	p.node, p.disk, p.left, p.worked = nil, left, nil, work{}
	w.net.down(p)
	w.checks.crashed(p)
	w.oper.crashed(p)
	w.after(w.nemesis.restartDelay(), p.start)
}

// markCrash counts a crash by when it strikes and by what it leaves of the disk.
func (p *process) markCrash(left *disk.FS) {
	n := p.w.nemesis
	n.count(markCrash)
	switch starting := p.w.now == p.started; {
	case starting && p.looped:
		n.mark(markCrashLoop)
	case !starting && p.gone():
		n.mark(markCrashMidway)
	}
	p.misled = p.misled || p.misreads() > 0
	loss := left.Loss()
	if loss.Blocks+loss.Entries > 0 {
		n.mark(markLost)
	}
	if loss.Torn > 0 {
		n.mark(markTorn)
	}
}

func (p *process) crashOptions() disk.CrashOptions {
	if keep, planned := p.w.points.keeps(); planned {
		return disk.CrashOptions{Seed: p.dice.Uint64(), KeepPercent: keep}
	}
	return disk.CrashOptions{Seed: p.dice.Uint64(), KeepPercent: pick(p.dice, 0, 0, 50, 90, 100)}
}

// armCrash lets the power go at one of the next file operations.
func (p *process) armCrash() {
	if p.up {
		p.disk.CrashAt(1+uint64(p.dice.IntN(12)), p.crashOptions())
	}
}

// record is the slot's ownership record in this life's memory.
func (p *process) record(sl slot.Slot) cluster.Record { return p.records[sl] }

// latest is the slot's ownership record in this life's memory or, of a machine that is down, as it was when it went down.
func (p *process) latest(sl slot.Slot) cluster.Record {
	if !p.up || p.node == nil {
		return p.last[sl]
	}
	return p.records[sl]
}

// serves reports whether the process is up and its record says that it serves the slot.
func (p *process) serves(sl slot.Slot) bool {
	return p.up && p.records[sl].State == cluster.Serving
}

// ready reports whether the node is up and open.
func (p *process) ready() bool { return p.up && p.node != nil }

// errDown is what a local command is answered when the machine is down.
var errDown = errors.New("the node is down")

// local runs a command on the machine itself, as an operator does who is logged in there. done gets the reply, never if
// the machine crashes before.
func (p *process) local(args []string, done func(resp.Value)) error {
	if !p.ready() || p.stalled() {
		return errDown
	}
	var failure error
	p.run(func() {
		life := p.seat
		var in []byte
		var s *engine.Session
		s, failure = p.node.NewSession(engine.SessionOptions{Remote: "127.0.0.1:9", Local: p.addr(), Loopback: true, Deliver: func(b []byte) {
			if life.dead() {
				return
			}
			in = append(in, b...)
			v, _, err := resp.ParseReply(in)
			if err != nil {
				return
			}
			text := v.String()
			p.w.trace.note(p.w.now, p.index, traceReply, []byte(text), func() string { return fmt.Sprintf("%.40q: %s", args, text) })
			life.after(time.Microsecond, func() { s.Close(); done(v) })
		}})
		if failure != nil {
			return
		}
		raw := toArgs(p.w.net, args)
		p.w.trace.note(p.w.now, p.index, traceArrive, join(nil, raw), func() string { return fmt.Sprintf("%.200q", args) })
		s.Execute(raw)
		s.Flush()
	})
	return failure
}
