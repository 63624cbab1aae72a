package sim

import (
	"time"

	"godwit/engine/data"
)

// durability checks "durability": after each crash, the store of a node that serves a slot has what clients were last told of
// its keys, at once when it has opened. Judged are the keys that are surely known: nothing was under way on them when they
// were last written or read, and nothing is now. Keys with deadlines are not judged. Only what was settled since the node
// was last judged is looked at; before it crashed nothing else can have been lost.
type durability struct {
	w      *world
	judged []time.Duration // by process
	tx     data.Tx
	looked int // keys, for the tests
}

func newDurability(w *world) *durability {
	return &durability{w: w, judged: make([]time.Duration, len(w.procs))}
}

// opened judges a node that has just opened its directory.
func (c *durability) opened(p *process) {
	if p.gone() {
		return
	}
	since := c.judged[p.index]
	c.judged[p.index] = c.w.now
	for _, a := range c.w.history.ledger.order {
		if !a.sure || a.since < since || a.mortal() || !p.serves(a.slot) {
			continue
		}
		c.looked++
		c.tx.Reset(p.node.Store(), data.Read, unixMs+c.w.now.Milliseconds())
		e := c.tx.Load([]byte(a.name))
		if c.tx.Err() != nil {
			return // a read that was made to fail
		}
		if e.Found != a.present || string(e.Value) != a.value {
			c.w.violate("durability", "node %d serves slot %d after a crash, and has lost what was acknowledged of %q until %v: present %v, %.80q; "+
				"in its store: %v, %.80q", p.index, a.slot, a.name, a.since, a.present, a.value, e.Found, e.Value)
			return
		}
	}
}
