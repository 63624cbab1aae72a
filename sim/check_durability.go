package sim

import (
	"time"

	"godwit/engine/cluster"
	"godwit/engine/data"
	"godwit/engine/slot"
)

// durability checks "durability": after each crash, the store of a node that serves a slot has what clients were last told of
// its keys, at once when it has opened. Judged are the keys that are surely known: nothing was under way on them when they
// were last written or read, or nothing but the write that was shown, and nothing else is now. Keys with deadlines are not judged. Of a slot that the node has served since it
// was last judged only what was settled since then is looked at: a crash can have taken nothing else. Of one that has arrived
// since then, everything is.
type durability struct {
	w      *world
	judged []map[slot.Slot]judgement // by process
	tx     data.Tx
	looked int // keys, for the tests
}

// judgement is when a slot was last judged at a node, and under which epoch it was served then.
type judgement struct {
	at    time.Duration
	epoch cluster.Epoch
}

func newDurability(w *world) *durability {
	c := &durability{w: w}
	for range w.procs {
		c.judged = append(c.judged, map[slot.Slot]judgement{})
	}
	return c
}

// opened judges a node that has just opened its directory.
func (c *durability) opened(p *process) {
	if p.gone() {
		return
	}
	before := c.judged[p.index]
	now := map[slot.Slot]judgement{}
	for _, sl := range c.w.keys.slots {
		if p.serves(sl) {
			now[sl] = judgement{c.w.now, p.record(sl).Epoch}
		}
	}
	c.judged[p.index] = now
	for _, a := range c.w.history.ledger.order {
		if !a.sure || a.mortal() {
			continue
		}
		served, serves := now[a.slot]
		if last := before[a.slot]; !serves || a.since < last.at && last.epoch == served.epoch {
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
