package sim

import (
	"strconv"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/migration/driver"
)

// Faults of machines that go down and come back: crash loops, several at once, another configuration, an old map, an empty disk.

// restarted prepares a machine that comes back: its disk is in order again, and in a crash loop the power goes again while the node
// starts.
func (p *process) restarted() {
	p.repair()
	if p.looped = p.loops > 0; p.looped {
		p.loops--
		p.disk.CrashAt(1+uint64(p.dice.IntN(20)), p.crashOptions())
	}
	p.w.nemesis.faults.spoilStart(p)
	p.w.nemesis.faults.reconfigure(p)
}

// configuration is what a node is started with that can differ from start to start.
type configuration struct {
	driver driver.Config
	park   time.Duration
	sweep  time.Duration
}

// configurations are the old one, which nodes begin with and which the swarm has drawn, and the new one.
func (w *world) configurations() [2]configuration {
	d := newDice(w.seed, streamSwarm, 1)
	c := [2]configuration{
		{w.swarm.driver, w.swarm.park, w.swarm.sweep},
		{w.swarm.forWide(drawDriver(d)), drawPark(d), pick(d, 50*time.Millisecond, 2*time.Second)},
	}
	c[1].driver.ResolvePatience = drawResolvePatience(d, c[1].driver)
	return c
}

// reconfigure lets a machine start with the new configuration, or with the old one again.
func (f *faults) reconfigure(p *process) {
	if f.n.over || !f.dice.chance(f.n.w.swarm.reconfigures) || !f.n.w.plan.act("reconfigure", "node ", p.index) {
		return
	}
	p.reconfigure()
}

func (p *process) reconfigure() {
	p.config = 1 - p.config
	p.w.nemesis.count([]string{markOldConfig, markNewConfig}[p.config])
	p.w.notef(p.index, traceNemesis, "starts with the %s configuration", []string{"old", "new"}[p.config])
}

// opened does what is due when the node of a machine is up: the operator names one that has lost its disk, and may give any an old map.
func (f *faults) opened(p *process) {
	switch {
	case p.nameless:
		f.n.w.after(f.dice.between(0, 20*time.Millisecond), p.name)
	case !f.n.over && p.life > 1 && f.dice.chance(f.n.w.swarm.oldMaps) && f.n.w.plan.act("old-map", "node ", p.index):
		again := f.dice.chance(0.5)
		f.n.w.after(f.dice.between(0, 5*time.Millisecond), func() { p.oldMap(again) })
	}
}

// oldMap gives a node the map of the beginning: as it was then, which the node must refuse or ignore, or under a new version, as a controller
// does that was set up from a backup.
func (p *process) oldMap(again bool) {
	o := p.w.oper
	version := int64(1)
	if again {
		o.version++
		version = o.version
	}
	text := o.mapText(func(i int) int { return i % len(p.w.procs) })
	err := p.local([]string{"CLUSTERX", "SETNODES", text, strconv.FormatInt(version, 10)}, func(v resp.Value) {
		if again && v.Kind == resp.ErrorKind {
			p.w.violate("maps", "node %d refuses map %d: %s", p.index, version, v)
		}
	})
	if err == nil {
		p.w.notef(p.index, traceNemesis, "gets the map of the beginning as version %d", version)
		p.w.nemesis.count(markOldMap)
	}
}

// wipe drains a machine and, once it serves nothing and takes part in no move that is undecided, takes its disk away. It comes back on an
// empty one and is given its id, and a map of the time when it served.
func (f *faults) wipe() {
	p := f.machine()
	if p == nil || f.wiping != nil || f.losing != nil || p.nameless || !f.n.w.plan.act("wipe", "node ", p.index) {
		return
	}
	f.wipeOf(p)
}

func (f *faults) wipeOf(p *process) {
	f.wiping = p
	f.n.w.notef(p.index, traceNemesis, "is drained, to lose its disk")
	f.drain(f.n.w.now + drainTime)
}

// How long a machine is drained before the nemesis gives it up, and how often it looks.
const (
	drainTime  = 2 * time.Second
	drainEvery = 10 * time.Millisecond
)

// drain moves what the machine serves to others, until it can be wiped.
func (f *faults) drain(until time.Duration) {
	p, w := f.wiping, f.n.w
	switch {
	case f.n.over || w.now > until:
		f.wiping = nil
		return
	case p.ready() && p.idle():
		f.wiping = nil
		p.wipe()
		return
	case p.ready() && p.ended():
		for _, sl := range w.keys.slots {
			if p.serves(sl) {
				to := w.procs[(p.index+1+f.dice.IntN(len(w.procs)-1))%len(w.procs)]
				w.oper.migrate(p, to, strconv.Itoa(int(sl)), func(resp.Value) {})
				break
			}
		}
	}
	w.after(drainEvery, func() { f.drain(until) })
}

// idle reports that the machine's records are needed by nobody: it serves no slot, and is no party to a move. Of moves it may only
// be the source of such as have come to their end.
func (p *process) idle() bool { return p.ended() && p.keepsOnly(slot.Count) }

// keepsOnly is idle without regard to one slot, and to what jobs have still to do.
func (p *process) keepsOnly(but slot.Slot) bool {
	for _, sl := range p.w.keys.slots {
		if sl == but {
			continue
		}
		if r := p.record(sl); r.State != cluster.None && (r.State != cluster.Released || !r.DataGone) {
			return false
		}
		for _, q := range p.w.procs {
			r := q.latest(sl)
			if !q.synced() {
				return false // a crash could bring an earlier record back, which needs this node
			}
			if q != p && r.Peer == p.id && (r.State == cluster.Importing || r.State == cluster.Prepared || r.State == cluster.Released && !r.DataGone) {
				return false
			}
		}
	}
	return true
}

// awaited reports whether a machine that has given the slot to this one has not heard yet that it arrived.
func (p *process) awaited(sl slot.Slot) bool {
	for _, q := range p.w.procs {
		if r := q.latest(sl); q != p && r.State == cluster.Released && !r.DataGone && r.Peer == p.id {
			return true
		}
	}
	return false
}

// synced reports that the node is up and that a crash would leave all that it has written.
func (p *process) synced() bool {
	return p.ready() && p.node.Store().Last() <= p.node.Store().Durable()
}

// wipe takes the power and the disk of a machine away.
func (p *process) wipe() {
	p.w.nemesis.count(markWiped)
	p.crash("and loses its disk")
	p.disk = p.newDisk()
	p.nameless = true
}

// name gives a machine that has lost its disk its id and a map of before; what fails is tried again at the next start.
func (p *process) name() {
	if !p.nameless || !p.ready() {
		return
	}
	if p.stalled() { // nobody can log in, and there may be no other start
		p.w.after(p.stalledUntil-p.w.now, p.name)
		return
	}
	o := p.w.oper
	text := o.mapText(func(i int) int { return i % len(p.w.procs) })
	_ = p.local([]string{"CLUSTERX", "SETNODEID", string(p.id)}, func(v resp.Value) { // a crash shows at the next start
		if v.Kind == resp.ErrorKind {
			p.w.violate("maps", "node %d refuses its id: %s", p.index, v)
			return
		}
		_ = p.local([]string{"CLUSTERX", "SETNODES", text, "1"}, func(v resp.Value) { // likewise
			if v.Kind == resp.ErrorKind && v.Str != cluster.ErrClusterVersion.Reply() { // it may have got a newer one meanwhile
				p.w.violate("maps", "node %d refuses its map: %s", p.index, v)
			}
			p.nameless = false
		})
	})
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
		f.n.count(markSeveral)
	}
	return true
}
