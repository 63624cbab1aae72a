package sim

import (
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// pauses checks "pause": a command does not wait longer for a node that owns its slot all the while than the deadline of a
// pause, and what disks take, explain. One that waits for a key does, but not at a node that does not own its slot any more. It looks now and then at what every node has not answered yet.
type pauses struct {
	w *world
	// since is when the record of a slot last changed, by process.
	since []map[slot.Slot]time.Duration
	bound time.Duration
}

// pauseEvery is how often the checker looks.
const pauseEvery = 40 * time.Millisecond

// awakeWithin is how long after its slot has left a command may still wait for a key: a few times what a worker takes at most.
const awakeWithin = 20 * time.Millisecond

func newPauses(w *world) *pauses {
	c := &pauses{w: w}
	for range w.procs {
		c.since = append(c.since, map[slot.Slot]time.Duration{})
	}
	// A command can be parked in a pause that is given up, and again in the next before a worker has come to it; its
	// reply then waits for the sync that is underway and for one more.
	sync := max(w.swarm.slowTime, 10*w.swarm.sync) + time.Millisecond
	pause := max(w.configs[0].driver.Source.PauseDeadline, w.configs[1].driver.Source.PauseDeadline)
	c.bound = 2*pause + 3*sync + 100*time.Millisecond
	c.bound += time.Duration(2 * w.swarm.drift * float64(c.bound)) // by a clock that is slow
	return c
}

func (c *pauses) recorded(p *process, sl slot.Slot) { c.since[p.index][sl] = c.w.now }

// watch looks at everything that waits, and again later.
func (c *pauses) watch() {
	for _, conn := range c.w.net.conns {
		if conn.from == nil && len(conn.served) > 0 && !conn.closed {
			c.look(conn.to, conn.toLife, &conn.served[0])
		}
	}
	c.w.after(pauseEvery, c.watch)
}

// look judges the oldest command of a connection.
func (c *pauses) look(p *process, life int, s *served) {
	names := s.names()
	if !p.ready() || p.life != life || len(names) < 2 {
		return
	}
	sl := slot.OfKey(names[1])
	from := max(s.since, c.since[p.index][sl], p.stalledUntil)
	if blocks(string(names[0])) {
		if state := p.record(sl).State; state == cluster.Released && c.w.now-from > awakeWithin && s.conn.session.WaitsForKey() {
			c.w.violate("pause", "node %d has let %.80q wait for a key for %v since the slot left: %s", p.index, s.args, c.w.now-from, recordOf(sl, p.record(sl)))
		}
		return
	}
	if p.record(sl).State == cluster.Serving && c.w.now-from > c.bound {
		c.w.violate("pause", "node %d has not answered %.80q after %v, though it serves the slot: %s; a pause lasts at most %v",
			p.index, s.args, c.w.now-from, recordOf(sl, p.record(sl)), c.w.swarm.driver.Source.PauseDeadline)
	}
}
