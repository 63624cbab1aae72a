package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/sim/disk"
)

// Faults of single machines and links beyond power, partitions and jumping clocks. The model stands at the head of nemesis.go.

// faults draws from a stream of its own.
type faults struct {
	n    *nemesis
	dice dice
}

// begin starts the faults that the swarm has drawn.
func (f *faults) begin() {
	s := &f.n.w.swarm
	f.every(s.stalls, f.stall)
	f.every(s.slowLinks, f.slowLink)
	f.every(s.fullDisks, f.fullDisk)
	f.every(s.failedSyncs, f.failedSync)
	f.every(s.swaps, f.swap)
	if s.drift > 0 {
		f.drift()
	}
}

// every lets a fault strike at random times, with a mean between; 0 is never.
func (f *faults) every(mean time.Duration, strike func()) {
	if mean <= 0 {
		return
	}
	f.n.w.after(f.dice.around(mean), func() {
		if !f.n.over {
			strike()
			f.every(mean, strike)
		}
	})
}

// heal ends what does not end by itself.
func (f *faults) heal() {
	w := f.n.w
	w.net.slow, w.net.swapped = nil, nil
	for _, p := range w.procs {
		p.setDrift(0)
		p.wallDrift = p.drifted()
		p.loops, p.fullUntil = 0, 0
		if p.up {
			p.repair()
		}
	}
}

// machine draws a machine that is up, nil if the one drawn is not.
func (f *faults) machine() *process {
	if p := f.n.w.procs[f.dice.IntN(len(f.n.w.procs))]; p.ready() {
		return p
	}
	return nil
}

// stall makes a node stand still, as a long garbage collection does: what it would do, and what arrives, waits.
func (f *faults) stall() {
	p, d := f.machine(), f.dice.between(200*time.Millisecond, pick(f.dice, 400*time.Millisecond, time.Second, 3*time.Second))
	if p == nil || !f.n.w.plan.act("stall", "node ", p.index, " ", d) {
		return
	}
	p.stall(d)
}

func (p *process) stall(d time.Duration) {
	p.stalledUntil = max(p.stalledUntil, p.w.now+d)
	p.w.nemesis.count("stall")
	p.w.notef(p.index, traceNemesis, "stalls for %v", d)
}

// stalled reports that the node stands still.
func (p *process) stalled() bool { return p.up && p.w.now < p.stalledUntil }

// drift lets each monotonic clock run at a rate of its own; the wall clock runs with it.
func (f *faults) drift() {
	s := &f.n.w.swarm
	for _, p := range f.n.w.procs {
		rate := s.drift * (2*f.dice.Float64() - 1)
		p.setDrift(rate)
		f.n.w.notef(p.index, traceNemesis, "clock drifts by %.4f", rate)
	}
	f.n.count("drift")
}

// drifted is by how much the monotonic clock of the machine is ahead of true time.
func (p *process) drifted() time.Duration {
	return p.driftBase + time.Duration(p.driftRate*float64(p.w.now-p.driftSince))
}

// setDrift changes the rate of the machine's clock from now on.
func (p *process) setDrift(rate float64) {
	p.driftBase, p.driftSince, p.driftRate = p.drifted(), p.w.now, rate
}

// clockError bounds by how much a wall clock is off.
func (s *swarm) clockError() time.Duration {
	return s.skew + time.Duration(s.drift*float64(s.safety+2*setupTime))
}

// slowLink makes the links of two machines, or of one direction between them, slow for a while.
func (f *faults) slowLink() {
	w, d := f.n.w, f.dice
	a := d.IntN(len(w.procs))
	b := (a + 1 + d.IntN(len(w.procs)-1)) % len(w.procs)
	by, d1 := pick(d, 10*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond), d.between(300*time.Millisecond, 2*time.Second)
	both := d.chance(0.6)
	if !w.plan.act("slow-link", a, " to ", b, " by ", by) {
		return
	}
	w.net.slow = append(w.net.slow[:0:0], slowLink{cut{a, b}, by})
	if both {
		w.net.slow = append(w.net.slow, slowLink{cut{b, a}, by})
	}
	w.notef(-1, traceNemesis, "slow links %v", w.net.slow)
	w.after(d1, func() {
		if !f.n.over {
			w.net.slow = nil
		}
	})
}

// slowLink is a direction between two machines in which every message takes longer, by a mean.
type slowLink struct {
	cut
	by time.Duration
}

// slowness draws what a message takes longer between two machines.
func (n *network) slowness(from, to int) time.Duration {
	for _, s := range n.slow {
		if s.from == from && s.to == to {
			n.w.nemesis.count("slow link")
			return s.by/2 + n.dice.around(s.by/2)
		}
	}
	return 0
}

// fullDisk leaves a disk no more than a little space, for a while. The node that notices ends; when it starts again
// there is space.
func (f *faults) fullDisk() {
	p, room, d := f.machine(), f.dice.Int64N(6<<10), f.dice.between(100*time.Millisecond, time.Second)
	if p == nil || !f.n.w.plan.act("full-disk", "node ", p.index) {
		return
	}
	p.fill(room, d)
}

// fill leaves the disk of a machine some bytes, for a while.
func (p *process) fill(room int64, d time.Duration) {
	usage, err := p.disk.GetDiskUsage("/")
	p.w.must(err)
	p.disk.SetCapacity(int64(usage.UsedBytes) + room)
	p.fullUntil, p.broken = p.w.now+d, disk.ErrNoSpace
	p.w.notef(p.index, traceNemesis, "the disk has %d bytes left", room)
	p.w.after(d, func() {
		if p.up && p.w.now >= p.fullUntil && errors.Is(p.broken, disk.ErrNoSpace) {
			p.repair()
		}
	})
}

// errSync is how an injected sync fails.
var errSync = errors.New("injected failure of a sync")

// failedSync makes the next sync of a log fail: the node ends.
func (f *faults) failedSync() {
	p, glob := f.machine(), "*.log"
	if p == nil || !f.n.w.plan.act("failed-sync", "node ", p.index) {
		return
	}
	p.failSync(glob)
}

func (p *process) failSync(glob string) {
	p.w.must(p.disk.FailSync(glob, errSync))
	p.broken = errSync
	p.w.notef(p.index, traceNemesis, "syncs of %s fail", glob)
}

// repair ends what is wrong with the disk of a machine, but for bits that have flipped.
func (p *process) repair() {
	p.broken = nil
	p.disk.SetCapacity(0)
	for _, glob := range []string{"*.log", "*"} {
		p.w.must(p.disk.FailSync(glob, nil))
	}
}

// excuse names the injected fault that makes it right that a node ends with an error, "" if none does.
func (p *process) excuse(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, disk.ErrNoSpace.Error()):
		return "full disk"
	case strings.Contains(text, errSync.Error()):
		return "failed sync"
	default:
		return ""
	}
}

// fatal is what a node calls that cannot go on. Only a fault of its disk makes that right. It returns, other than on a real
// machine: the handler runs on to its end on a disk that is no more, as when the power goes; a panic would leave locks held.
func (p *process) fatal(err error) {
	if p.gone() {
		p.repair()
		return
	}
	kind := p.excuse(err)
	if kind == "" {
		p.w.violate("fatal", "node %d cannot go on: %v", p.index, err)
	} else {
		p.w.nemesis.count(kind)
	}
	p.cut()
	p.repair() // the handler must come to its end
}

// mayFlush ends a node that is about to flush on a disk that fails.
func (p *process) mayFlush() bool {
	if !p.gone() && p.broken != nil {
		p.fatal(fmt.Errorf("flush: %w", p.broken))
	}
	return !p.gone()
}

// restarted prepares a machine that comes back: there is space on its disk again, and in a crash loop the power goes
// again while the node starts.
func (p *process) restarted() {
	p.repair()
	if p.looped = p.loops > 0; p.looped {
		p.loops--
		p.disk.CrashAt(1+uint64(p.dice.IntN(20)), p.crashOptions())
	}
}

// crashLoop decides whether the machine that crashes now will crash again, some times, while it starts.
func (f *faults) crashLoop(p *process) {
	if f.n.over || p.loops > 0 || !f.dice.chance(f.n.w.swarm.crashLoops) {
		return
	}
	p.loops = 2 + f.dice.IntN(4)
}

// several lets some machines lose power at one moment.
func (f *faults) several() bool {
	if !f.dice.chance(f.n.w.swarm.several) {
		return false
	}
	struck := 0
	first := f.dice.IntN(len(f.n.w.procs))
	count := 2 + f.dice.IntN(len(f.n.w.procs)-1)
	for i := range count {
		if p := f.n.w.procs[(first+i)%len(f.n.w.procs)]; p.up && f.n.w.plan.act("crash", "node ", p.index) {
			p.crash("with others")
			struck++
		}
	}
	if struck > 1 {
		f.n.count("several at once")
	}
	return true
}

// swap lets two nodes be found at each other's address, for a while; their connections break.
func (f *faults) swap() {
	w, d := f.n.w, f.dice
	a := d.IntN(len(w.procs))
	b := (a + 1 + d.IntN(len(w.procs)-1)) % len(w.procs)
	long := d.between(200*time.Millisecond, 1500*time.Millisecond)
	if !w.plan.act("swap", a, " and ", b) {
		return
	}
	w.net.swap(w.procs[a], w.procs[b])
	w.after(long, func() { w.net.swapped = nil })
}

// swap exchanges the addresses of two machines as the nodes see them.
func (n *network) swap(a, b *process) {
	n.swapped = []*process{a, b}
	n.w.notef(-1, traceNemesis, "nodes %d and %d are at each other's address", a.index, b.index)
	for _, c := range append([]*conn(nil), n.conns...) {
		if c.from != nil && (c.to == a || c.to == b) {
			c.break_("the address changed hands")
		}
	}
}

// at is the machine that answers at an address at this moment, nil if nobody does.
func (n *network) at(addr string) *process {
	p := n.find(addr)
	if len(n.swapped) == 2 && p == n.swapped[0] {
		return n.swapped[1]
	}
	if len(n.swapped) == 2 && p == n.swapped[1] {
		return n.swapped[0]
	}
	return p
}

// importing is a machine at which a slot arrives, nil if there is none.
func (w *world) importing(sl slot.Slot) *process {
	for _, p := range w.procs {
		if p.ready() && p.record(sl).State == cluster.Importing {
			return p
		}
	}
	return nil
}

// Marks lists the kinds of faults that a long run must have seen, each with what it takes for it to count.
func Marks() []string {
	return []string{
		"crash", "crash loop", "drift", "drop", "duplicate", "failed sync", "full disk", "late", "lost reply", "partition",
		"reset", "several at once", "skew", "slow link", "stall", "wrong node",
	}
}

// checkMarks says which faults never struck.
func (t *Totals) checkMarks() error {
	var errs []error
	for _, m := range Marks() {
		if t.Faults[m] == 0 {
			errs = append(errs, fmt.Errorf("no fault of the kind %q struck", m))
		}
	}
	return errors.Join(errs...)
}
