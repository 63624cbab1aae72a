package sim

import (
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// Faults of nodes, clocks and links beyond power, partitions and jumping clocks; those of disks are in faults_disk.go, those of
// restarts in faults_restart.go. The model stands at the head of nemesis.go.

// faults draws from a stream of its own.
type faults struct {
	n      *nemesis
	dice   dice
	wiping *process // which is drained, to lose its disk; nil if none is
	losing *loss    // nil if no machine is lost or about to be
}

// begin starts the faults that the swarm has drawn.
func (f *faults) begin() {
	s := &f.n.w.swarm
	f.every(s.stalls, f.stall)
	f.every(s.slowLinks, f.slowLink)
	f.every(s.fullDisks, f.fullDisk)
	f.every(s.failedSyncs, f.failedSync)
	f.every(s.readErrors, f.readError)
	f.every(s.flips, f.flip)
	f.every(s.swaps, f.swap)
	f.every(s.wipes, f.wipe)
	f.every(s.losses, f.lose)
	f.every(s.busies, f.busy)
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
	if f.losing != nil {
		f.losing.severed = nil
	}
	for _, p := range w.procs {
		p.setDrift(0)
		p.wallDrift = p.drifted()
		p.loops, p.busyUntil = 0, 0
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
	if p == nil || f.n.w.oper.vouching != nil || !f.n.w.plan.act("stall", "node ", p.index, " ", d) {
		return
	}
	p.stall(d)
}

func (p *process) stall(d time.Duration) {
	p.stalledUntil = max(p.stalledUntil, p.w.now+d)
	p.w.nemesis.count(markStall)
	p.w.notef(p.index, traceNemesis, "stalls for %v", d)
}

// busy lets a node have no room for what arrives, for a while.
func (f *faults) busy() {
	p, d := f.machine(), f.dice.between(20*time.Millisecond, pick(f.dice, 60*time.Millisecond, 300*time.Millisecond, time.Second))
	if p == nil || !f.n.w.plan.act("busy", "node ", p.index, " ", d) {
		return
	}
	p.busyUntil = max(p.busyUntil, p.w.now+d)
	p.w.notef(p.index, traceNemesis, "has no room for %v", d)
}

// refusal is why the node of a machine takes no data, "" if it does.
func (p *process) refusal() string {
	if p.w.now >= p.busyUntil {
		return ""
	}
	p.w.nemesis.count(markBusy)
	return "the simulator says so"
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
		if rate > 0 {
			f.n.count(markFast)
		} else {
			f.n.count(markSlow)
		}
	}
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
			n.w.nemesis.count(markSlowLink)
			return s.by/2 + n.dice.around(s.by/2)
		}
	}
	return 0
}

// swap lets two nodes be found at each other's address, for a while; their connections break.
func (f *faults) swap() {
	w, d := f.n.w, f.dice
	a := d.IntN(len(w.procs))
	b := (a + 1 + d.IntN(len(w.procs)-1)) % len(w.procs)
	long := d.between(200*time.Millisecond, 1500*time.Millisecond)
	if w.oper.vouching != nil || !w.plan.act("swap", a, " and ", b) {
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
