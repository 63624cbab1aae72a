package sim

import (
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/migration/driver"
)

// bounds checks "bounds": what waits and what is in flight stays within its limits. A slot whose
// move is decided parks no more than Limits says, and all slots together no more commands than there are sessions; what a slot has on its way unanswered is within the window
// and one message; the changed keys of a slot take no more than their limit; what the slots of a job hold together is within the job's
// memory and what one long record takes beyond it. When everything has come to an end, no command is
// parked, no slot is tracked, no memory is held for moves and no snapshot is open but those that targets keep for sources that have not come to compare.
type bounds struct {
	w *world
	// decided is how many commands were found to wait, more than may, when a source was first looked at after its decision.
	decided map[parkedAt]int
	conns   []int // open, by process
}

// boundsEvery is how often the checker looks.
const boundsEvery = 40 * time.Millisecond

func newBounds(w *world) *bounds { return &bounds{w: w, decided: map[parkedAt]int{}} }

// watch looks at all nodes, and again later.
func (c *bounds) watch() {
	c.conns = append(c.conns[:0], make([]int, len(c.w.procs))...)
	for _, conn := range c.w.net.conns {
		if conn.toLife == conn.to.life && !conn.closed {
			c.conns[conn.to.index]++
		}
	}
	for _, p := range c.w.procs {
		if !p.ready() || p.gone() {
			continue
		}
		moves := p.node.Migrator().(*driver.Driver)
		c.lookMoves(p, moves.Held())
		_, most, limit := moves.HeldByJobs()
		c.lookJobs(p, most, limit)
		parked := 0
		for _, sl := range c.w.keys.slots {
			n, bytes := p.node.Parked(sl)
			if l := &p.node.Options().Limits; n > 0 || len(c.decided) > 0 { // else nothing is over, and nothing is to be forgotten
				c.lookParked(p, sl, p.record(sl).State, n, bytes, l)
			}
			parked += n
		}
		c.lookSessions(p, p.node.Sessions(), c.conns[p.index], parked)
	}
	c.w.after(boundsEvery, c.watch)
}

// lookMoves judges what slots hold that are given away.
func (c *bounds) lookMoves(p *process, held []driver.Held) {
	for _, h := range held {
		if h.WindowBytes > 0 && h.WindowBytes-h.LastBytes >= h.WindowLimit {
			c.w.violate("bounds", "node %d has %d bytes of slot %d on their way unanswered, %d of them in the last message, of at most %d",
				p.index, h.WindowBytes, h.Slot, h.LastBytes, h.WindowLimit)
		}
		if h.TrackerBytes > h.TrackerLimit {
			c.w.violate("bounds", "node %d holds %d bytes of changed keys of slot %d, of at most %d", p.index, h.TrackerBytes, h.Slot, h.TrackerLimit)
		}
	}
}

// longRecord is what a record takes that is longer than a message, which nobody knows before it was read: the workload has shorter ones.
const longRecord = 4 << 10

// lookJobs judges what the slots of a job have held together at most.
func (c *bounds) lookJobs(p *process, most, limit int) {
	if most > limit+longRecord {
		c.w.violate("bounds", "the slots of a job have held %d bytes together on node %d, of at most %d", most, p.index, limit)
	}
}

// lookParked judges what waits for a slot. At a source that has not decided yet a bound gives the pause up, a step of work later:
// until then more may come, and stays if the decision is faster. After the decision nothing may come on top of that.
func (c *bounds) lookParked(p *process, sl slot.Slot, state cluster.State, commands, bytes int, l *engine.Limits) {
	at := parkedAt{p.index, sl}
	over := commands > l.ParkedCommands || bytes > l.ParkedBytes+l.BulkBytes
	if !over || state == cluster.Serving {
		delete(c.decided, at)
		return
	}
	before, seen := c.decided[at]
	if !seen && state == cluster.Released {
		c.decided[at] = commands
		return
	}
	if !seen || commands > before {
		c.w.violate("bounds", "node %d has parked %d commands of %d bytes for a slot, of at most %d and %d", p.index, commands, bytes,
			l.ParkedCommands, l.ParkedBytes)
	}
}

// parkedAt is a slot of a node.
type parkedAt struct {
	node int
	slot slot.Slot
}

// lookSessions judges how many sessions there are: one for each connection that is open, and one for a command of the
// operator. Each parks one command at most.
func (c *bounds) lookSessions(p *process, sessions, conns, parked int) {
	if most := conns + operatorSessions; sessions > most {
		c.w.violate("bounds", "node %d has %d sessions, of at most %d", p.index, sessions, most)
	}
	if parked > sessions {
		c.w.violate("bounds", "node %d has parked %d commands of %d sessions", p.index, parked, sessions)
	}
}

// operatorSessions bounds the sessions of commands that the operator runs on a machine, which wait for a sync or for a job.
const operatorSessions = 32

// judgeIdle judges a node when everything has come to an end.
func (c *bounds) judgeIdle(p *process, snapshots, trackers, parked, held int) {
	if snapshots != 0 || trackers != 0 || parked != 0 || held != 0 {
		c.w.violate("bounds", "node %d has nothing to do, and %d snapshots open that nobody keeps, %d slots tracked, %d commands parked, %d bytes held for moves", p.index, snapshots, trackers, parked, held)
	}
}

// checkIdle demands "bounds" of all nodes when everything has come to an end.
func (w *world) checkIdle() {
	for _, p := range w.procs {
		snapshots, trackers := p.node.Store().Held()
		parked := 0
		for _, sl := range w.keys.slots {
			n, _ := p.node.Parked(sl)
			parked += n
		}
		moves := p.node.Migrator().(*driver.Driver)
		held, _, _ := moves.HeldByJobs()
		w.checks.bounds.judgeIdle(p, snapshots-moves.Takeovers(), trackers, parked, held)
	}
}

// calling reports whether a job still holds memory.
func (w *world) calling() bool {
	for _, p := range w.procs {
		if held, _, _ := p.node.Migrator().(*driver.Driver).HeldByJobs(); held != 0 {
			return true
		}
	}
	return false
}
