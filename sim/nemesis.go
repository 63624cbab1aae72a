package sim

import (
	"sort"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/sim/disk"
)

// The fault model, in words. Which classes occur in a run, and how often, is drawn by the seed (swarm.go). Each kind has a mark (marks.go), a
// long run that never reaches one fails, and each mark has a directed test (faults_test.go).
//
// Network, per message: a request or a reply can be lost, a reply after its request was executed; delayed, moderately or for so long that it
// arrives after everything that was sent since, also after its caller has given it up; a request between nodes can arrive twice, the
// second time much later. A connection can break at any moment, with requests underway or without, for its calling end first: what is on its
// way can still be executed until the other end notices. In a part of the runs messages of one connection keep their order. In the
// others those that are late are overtaken, and in most of them a few more; in some all overtake each other. That is more than TCP allows. A
// request is never altered, and one of a client never arrives twice: nothing in the Redis protocol could tell.
//
// Partitions: one direction between two machines is dead; one machine is cut off from all others, and perhaps from the clients; one machine hears
// some of the others and speaks to the rest; or the machines fall into two groups. What is sent into a partition is lost.
//
// Links: all messages between two machines, in one direction or both, can be slow for a while. Two nodes can be found at each
// other's address by the other nodes for a while; clients know better.
//
// Machines: a node can lose power at any moment, also between two file operations of one event, while it is starting, some times in a row, and
// together with others; chances are drawn for moments at which a move changes state, and at which a command has read what is not
// durable yet. Of what was not synced the disk keeps nothing, everything, or parts, also torn ones. The node comes back on the same disk, after a moment or after some seconds.
//
// Restarts: a node has one of two configurations, an old one and a new one, which differ in the migrator's limits, windows and deadlines, in how long
// commands wait, and in the sweeper's pace; a restart can change it, so that nodes with both work together. After a start the operator can give the
// node the map of the beginning, as the old one that it is or as if it were new.
//
// Nodes: one can stand still for up to three seconds, as in a long garbage collection: what it would do and what arrives waits,
// and then happens at once. One can have no room for a while for slots that arrive: it refuses what is sent, but for what writers wait for.
//
// Disks: a sync can take a quarter of a second. A disk can be full, or fail a sync of the log: the node that notices ends, and finds a disk in
// order when it is started again. A node that flushes a memtable on such a disk ends before it does: Pebble panics there with locks held.
// Reads of tables can fail for a while, and reads of anything while a node starts: it fails what needs them, or ends. A bit can be flipped in what reads
// return, of a table for a while, of any file while a node starts: the node must notice, and end or fail the read. Nothing that was read wrong may be
// served: no property excuses it. The medium stays whole, as with a bad cable; the next start finds it so.
//
// Wiped nodes: one that serves nothing and takes part in no undecided move can lose its disk. It comes back on an empty one, under its old id, and is
// given its id and a map of the time when it served: it must ask before it serves anything. (What a node serves is lost with its disk: there is one copy.)
//
// Lost nodes: a party of a move, which serves nothing else, can be lost for good where the other side cannot end the move by itself: the source when the target is
// prepared, the target when the source has decided and is not answered. An operator says how it ends; then the machine comes back on an empty disk. What it has told
// clients since the other side's copy was complete may be lost, nothing else.
//
// Clocks: every clock, monotonic ones too, can be fast or slow by up to 5 percent. Wall clocks are off by up to a bound and jump
// within it, forwards and back, each for itself.
//
// Operators: maps are pushed to some nodes or all, with a new version each: true ones, old ones, and such as give slots to
// anybody. Jobs are started at any time, also for slots that move already, and cancelled. Tools move slots by the verbs of Redis (SETSLOT, MIGRATE), can be killed at any step,
// and others mend what they leave behind. Handoffs are resolved though the other side lives: that is refused, and while
// the question is asked neither the links between the two nor the other node fail, since then the operator would be right.
//
// What never happens: a disk that lies about a sync or loses what was synced; damage of several bits in what was written last, which cannot be told
// from a torn write; bytes altered on the wire; two nodes with one id; another secret; a monotonic clock that goes back.

// nemesis makes faults happen.
type nemesis struct {
	w      *world
	dice   dice
	faults faults
	over   bool           // the faults have healed
	counts map[string]int // by mark
	struck int            // faults, however many marks each has reached
}

func newNemesis(w *world) *nemesis {
	n := &nemesis{w: w, dice: newDice(w.seed, streamNemesis, 0), counts: map[string]int{}, over: true}
	n.faults = faults{n: n, dice: newDice(w.seed, streamFaults, 0)}
	return n
}

// count counts a fault that has struck.
func (n *nemesis) count(kind string) {
	n.struck++
	n.mark(kind)
}

// mark counts what a fault has brought about, or that one was of a special kind.
func (n *nemesis) mark(kind string) {
	n.counts[kind]++
	n.w.features.struck(kind)
}

// kinds lists the faults that have struck, sorted.
func (n *nemesis) kinds() []string {
	out := make([]string, 0, len(n.counts))
	for k := range n.counts { //det:ok sorted below
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func (n *nemesis) begin() {
	s := &n.w.swarm
	n.over = false
	if s.crashes > 0 {
		n.w.after(n.dice.around(s.crashes), n.crash)
	}
	if s.partitions > 0 {
		n.w.after(n.dice.around(s.partitions), n.partition)
	}
	if s.skew > 0 {
		n.jump()
	}
	n.faults.begin()
}

// heal ends all faults: partitions close, clocks are right, machines come back.
func (n *nemesis) heal() {
	n.over = true
	n.w.net.cuts = nil
	n.w.notef(-1, traceNemesis, "heal")
	n.faults.heal()
	for _, p := range n.w.procs {
		p.skew = 0
		if p.up && !p.gone() {
			p.disk.CrashAt(0, disk.CrashOptions{}) // one that was to strike in the middle of something may not have come to it
		}
		if !p.up {
			n.w.after(n.dice.between(0, 100*time.Millisecond), p.start)
		}
	}
}

func (n *nemesis) restartDelay() time.Duration {
	if n.over {
		return n.dice.between(0, 100*time.Millisecond)
	}
	return n.dice.around(n.w.swarm.restart)
}

// crash lets some machine lose power.
func (n *nemesis) crash() {
	if n.over {
		return
	}
	if !n.faults.several() {
		n.strike(n.w.procs[n.dice.IntN(len(n.w.procs))])
	}
	n.w.after(n.dice.around(n.w.swarm.crashes), n.crash)
}

// maxCrashes bounds how often the power goes in a run that the nemesis takes it: a cluster whose machines start all the time gets nothing done
// that a crash could spoil.
const maxCrashes = 10

// strike crashes a machine now, or in the middle of what it does next.
func (n *nemesis) strike(p *process) {
	if !p.up || n.over || n.counts[markCrash] >= maxCrashes || !n.w.plan.act("crash", "node ", p.index) {
		return
	}
	if n.dice.chance(n.w.swarm.midway) {
		p.armCrash()
		return
	}
	p.crash("")
}

// recorded aims at a move: a party, or both, may crash shortly after an ownership record has changed, or after something
// else has happened to the slot there.
func (n *nemesis) recorded(p *process, sl slot.Slot, r cluster.Record) {
	if n.over || r.Job.IsZero() || !n.dice.chance(n.w.swarm.aimed) {
		return
	}
	within := pick(n.dice, oneSync, oneSync, 3*time.Millisecond, 30*time.Millisecond)
	if r.DataGone {
		within = oneSync // after which nothing is left of the move
	}
	n.aim(p, n.w.procOf(r.Peer), within)
}

// rests aims at a move that waits, for operators or for the end of the time for which a copy is kept, within some time from now. It is met too seldom by
// what is aimed at records, which do not change then.
func (n *nemesis) rests(source, target *process, within time.Duration) {
	if n.over || !n.dice.chance(aimedAtRest*n.w.swarm.aimed) {
		return
	}
	n.w.after(n.dice.between(0, within), func() { n.aim(source, target, oneSync) })
}

// aimedAtRest is how much likelier a crash is aimed at a move that waits than at a step of one.
const aimedAtRest = 6

// oneSync is about as long as a commit is not durable, which is all the time that some steps take.
const oneSync = 200 * time.Microsecond

// aim crashes one of the parties of a move, or both, within some time from now: both in a third of the cases, and in half of those that are to meet a step
// that is over soon.
func (n *nemesis) aim(a, b *process, within time.Duration) {
	d, alone := n.dice.between(0, within), 0.33
	if within == oneSync {
		alone = 0.25
	}
	who := n.dice.Float64()
	if who < 1-alone {
		n.w.after(d, func() { n.strike(a) })
	}
	if who >= alone && b != nil {
		n.w.after(d, func() { n.strike(b) })
	}
}

// partition cuts machines off from each other, for a while.
func (n *nemesis) partition() {
	if n.over {
		return
	}
	w, d := n.w, n.dice
	kind := d.IntN(len(partitionMarks))
	cuts := n.cuts(kind)
	if !w.plan.act("partition", cuts) {
		w.net.cuts = nil
		w.after(d.around(w.swarm.partitions), n.partition)
		return
	}
	n.cut(kind, cuts)
	w.after(d.around(w.swarm.partitioned), func() {
		if !n.over {
			w.net.cuts = nil
			w.notef(-1, traceNemesis, "partition heals")
		}
	})
	w.after(d.around(w.swarm.partitions)+w.swarm.partitioned, n.partition)
}

// The kinds of partitions.
const (
	partitionOneWay   = iota // one direction between two machines
	partitionIsolated        // one machine, from everybody or only from the others
	partitionHalfDeaf        // one machine, in one direction to each of the others: it hears some and speaks to some
	partitionGroups          // two groups
)

// partitionMarks are the marks of the kinds.
var partitionMarks = [...]string{markOneWay, markIsolated, markHalfDeaf, markGroups}

// cut makes a partition.
func (n *nemesis) cut(kind int, cuts []cut) {
	n.w.net.cuts = cuts
	n.count(partitionMarks[kind])
	n.w.notef(-1, traceNemesis, "partition %v", cuts)
}

// cuts draws the directions in which a partition of a kind lets nothing pass.
func (n *nemesis) cuts(kind int) (cuts []cut) {
	d, count := n.dice, len(n.w.procs)
	a := d.IntN(count)
	switch kind {
	case partitionOneWay:
		return []cut{{a, (a + 1 + d.IntN(count-1)) % count}}
	case partitionIsolated:
		for b := range count {
			if b != a {
				cuts = append(cuts, cut{a, b}, cut{b, a})
			}
		}
		if d.chance(0.4) {
			cuts = append(cuts, cut{a, -1}, cut{-1, a})
		}
	case partitionHalfDeaf:
		for b := range count {
			switch {
			case b == a:
			case d.chance(0.5):
				cuts = append(cuts, cut{a, b})
			default:
				cuts = append(cuts, cut{b, a})
			}
		}
	default:
		side := make([]bool, count)
		for i := range side {
			side[i] = i != a && (i == (a+1)%count || d.chance(0.5)) // there is somebody on each side
		}
		for a := range count {
			for b := range count {
				if side[a] != side[b] {
					cuts = append(cuts, cut{a, b})
				}
			}
		}
	}
	return cuts
}

// jump sets the wall clocks anew, each for itself.
func (n *nemesis) jump() {
	if n.over {
		return
	}
	s := &n.w.swarm
	for _, p := range n.w.procs {
		if n.dice.chance(0.6) {
			p.setSkew(n.dice.between(-s.skew, s.skew))
		}
	}
	n.w.notef(-1, traceNemesis, "clocks jump")
	if s.skewChanges > 0 {
		n.w.after(n.dice.around(s.skewChanges), n.jump)
	}
}

// setSkew lets the wall clock of a machine jump.
func (p *process) setSkew(to time.Duration) {
	switch {
	case to > p.skew:
		p.w.nemesis.count(markAhead)
	case to < p.skew:
		p.w.nemesis.count(markBack)
	}
	p.skew = to
}

// procOf is the process with an id, nil if there is none.
func (w *world) procOf(id cluster.NodeID) *process {
	for _, p := range w.procs {
		if p.id == id {
			return p
		}
	}
	return nil
}
