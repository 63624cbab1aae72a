package sim

import (
	"cmp"
	"slices"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/sim/disk"
)

// coverage counts what a run has reached: a simulator that idles finds nothing.
type coverage struct {
	operations, succeeded, unknown int
	// Cutovers completed, and those during which a client wrote to the slot between start and takeover.
	cutovers, busyCutovers int
	// hits counts crashes by the step of the move that was struck and by who crashed in it.
	hits map[Hit]int

	writes map[slot.Slot]int // since the start of the move
	// changed has the types, as bits, that were written to while changes of the slot were being sent.
	changed map[slot.Slot]int
	// ranged has the slots in which a wide collection was dropped while changes were tracked.
	ranged map[slot.Slot]bool
	struck map[slot.Slot]strike
}

// strike is the latest crash within a move of a slot.
type strike struct {
	step string
	who  *process
}

// Hit is a crash within a move: at which step, and whether of the source, of the target or of both while one of them was
// still down.
type Hit struct{ Step, Role string }

// The stages of a move, as they can be told from the records of its parties.
const (
	stepCopy    = "copy"    // the target imports
	stepPrepare = "prepare" // the target is prepared, the source has not decided
	stepDecide  = "decide"  // the source has released the slot, the target does not serve it
	stepConfirm = "confirm" // the target serves, the source has its copy
)

// Steps and Roles are what crashes are counted by, in order: the steps of the source's machine, its copying by rounds.
func Steps() []string {
	return []string{"starting", "suspended", "base", "resume", "changes", "verify", "holding", "pausing", "deciding", "committing", "confirming", "keeping", "cleaning"}
}

// Roles are who can crash in a move.
func Roles() []string { return []string{"source", "target", "both"} }

func newCoverage() coverage {
	return coverage{hits: map[Hit]int{}, writes: map[slot.Slot]int{}, changed: map[slot.Slot]int{}, ranged: map[slot.Slot]bool{}, struck: map[slot.Slot]strike{}}
}

// operated notes the tables that a target has on its disk.
func (c *coverage) operated(w *world, o disk.Op) {
	if o.Kind != disk.OpSync || !strings.HasPrefix(o.Path, dataDir+"/tables-in/") {
		return
	}
	if strings.Contains(o.Path, "-base-") {
		w.nemesis.mark(markTableBuilt)
	} else {
		w.nemesis.mark(markTable)
	}
}

// worked notes what workers have done on a machine, and what was done in their place, in this life and since it was looked at.
func (c *coverage) worked(p *process) {
	if p.node == nil {
		return
	}
	m, ok := p.node.Migrator().(interface {
		ReadBack() uint64
		TablesTaken() uint64
	})
	if !ok {
		return
	}
	now, before := work{p.node.Store().Postponed(), m.ReadBack(), m.TablesTaken()}, p.worked
	p.worked = now
	for _, done := range []struct {
		mark string
		n    uint64
	}{
		{markPostponed, now.Commits - before.Commits}, {markReadSettled, now.Settled - before.Settled}, {markBacklogFull, now.Full - before.Full},
		{markReadBack, now.readBack - before.readBack}, {markTablesTaken, now.taken - before.taken},
	} {
		if done.n > 0 {
			p.w.nemesis.counts[done.mark] += int(done.n)
		}
	}
}

// work is what coverage.worked counts.
type work struct {
	store.Postponed
	readBack, taken uint64
}

func (c *coverage) wrote(sl slot.Slot) {
	if _, moving := c.writes[sl]; moving {
		c.writes[sl]++
	}
}

func (c *coverage) recorded(p *process, sl slot.Slot, old, r cluster.Record) {
	if p.node == nil {
		return
	}
	switch {
	case r.State == cluster.Importing && old.State != cluster.Importing && old.State != cluster.Prepared:
		c.writes[sl] = 0
		delete(c.changed, sl)
		delete(c.ranged, sl)
		delete(c.struck, sl)
	case r.State == cluster.Serving && old.State == cluster.Prepared:
		c.cutovers++
		if c.writes[sl] > 0 {
			c.busyCutovers++
		}
		delete(c.writes, sl)
		c.arrived(p.w, sl)
	}
}

// crashed notes which steps of which moves a crash strikes. It is called before the machine goes down.
func (c *coverage) crashed(p *process) {
	w := p.w
	for _, sl := range w.keys.slots {
		r := p.records[sl]
		var source, target *process
		switch {
		case r.State == cluster.Importing || r.State == cluster.Prepared:
			source, target = w.procOf(r.Peer), p
		case p.gives(sl, r):
			source, target = p, w.procOf(r.Peer)
		case r.State == cluster.Serving:
			for _, q := range w.procs {
				if o := q.records[sl]; q != p && o.Peer == p.id && (o.State == cluster.Importing || o.State == cluster.Prepared) {
					source, target = p, q
				} else if q != p && q.gives(sl, o) && o.Peer == p.id && o.Epoch == r.Epoch {
					source, target = q, p
				}
			}
		}
		if source == nil || target == nil {
			continue
		}
		role, other := "source", target
		if p == target {
			role, other = "target", source
		}
		last, struck := c.struck[sl]
		both := struck && last.who == other && !other.up
		step := source.stepOf(sl)
		switch {
		case both:
			step = last.step // where the other's crash left the move
		case step == "":
			continue // the source is down, or is only just taking the slot up again
		}
		c.hits[Hit{step, role}]++
		if both {
			c.hits[Hit{step, "both"}]++
		}
		c.struck[sl] = strike{step: step, who: p}
	}
}

// gives reports whether the machine has released a slot and still has its copy, or has deleted it and does not know yet that this is durable.
func (p *process) gives(sl slot.Slot, r cluster.Record) bool {
	return r.State == cluster.Released && (!r.DataGone || p.stepOf(sl) == "cleaning")
}

// stepOf is the step of a slot that the machine gives away, "" if it is down or its migrator does not say.
func (p *process) stepOf(sl slot.Slot) string {
	if !p.up || p.node == nil {
		return ""
	}
	m, ok := p.node.Migrator().(interface{ Step(slot.Slot) string })
	if !ok {
		return ""
	}
	step := m.Step(sl)
	if !slices.Contains(Steps(), step) {
		return ""
	}
	return step
}

// stageOf tells the stage of a move from the records of its parties, in memory or as they were when they went down.
func stageOf(source, target cluster.Record) string {
	switch {
	case source.State == cluster.Released && target.State == cluster.Serving:
		return stepConfirm
	case source.State == cluster.Released:
		return stepDecide
	case target.State == cluster.Prepared:
		return stepPrepare
	default:
		return stepCopy
	}
}

// list gives the hits, sorted.
func (c *coverage) list() []HitCount {
	var out []HitCount
	for h, n := range c.hits { //det:ok sorted below
		out = append(out, HitCount{h, n})
	}
	slices.SortFunc(out, func(a, b HitCount) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Role, b.Role))
	})
	return out
}

// HitCount says how often something was hit.
type HitCount struct {
	Hit
	Count int
}
