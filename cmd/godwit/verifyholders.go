package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// holder is a node that has a copy of a slot, and what it reported of it then: a report that is another when the slot is compared
// says that this is not the copy any more that was chosen.
type holder struct {
	addr   string
	report engine.VerifySlot
}

// pair is the two holders of a slot that are compared.
type pair struct{ from, to holder }

// errMoved says that a node does not have the copy of a slot that it had when it was chosen.
var errMoved = errors.New("the slot has changed hands")

// verifyTries is how often a slot that is being written to, or that nobody holds, is looked at.
const verifyTries = 5

// verifyRest waits before another try.
func verifyRest(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-time.After(time.Duration(try) * 20 * time.Millisecond):
		return nil
	}
}

// holders says which node is asked for each slot: the one named if it serves it, or, with --kept, keeps a copy of it; or else the one
// of its cluster that serves it. A slot that is handed over at this moment is served by nobody, and looked for again.
func (v *verifier) holders(addr string, slots []slot.Slot) (map[slot.Slot]holder, error) {
	out := map[slot.Slot]holder{}
	for try := range verifyTries {
		if err := verifyRest(v.ctx, try); err != nil {
			return nil, err
		}
		var err error
		if slots, err = v.look(out, addr, slots); err != nil {
			return nil, err
		}
		if len(slots) == 0 {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%s does not serve the slots %s, and no node of its cluster that answers does", addr, setOf(slots))
}

// look looks once for who holds slots, and returns those that nobody was found to hold.
func (v *verifier) look(out map[slot.Slot]holder, addr string, slots []slot.Slot) (left []slot.Slot, err error) {
	if left, err = v.ask(out, addr, slots, v.kept); err != nil || len(left) == 0 {
		return left, err
	}
	members, err := findMembers(addr, v.password)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		serving, err := slotSet(m.Report.Serving)
		if m.Err != nil || err != nil {
			continue
		}
		var here, elsewhere []slot.Slot
		for _, sl := range left {
			if serving.Has(sl) {
				here = append(here, sl)
			} else {
				elsewhere = append(elsewhere, sl)
			}
		}
		if len(here) > 0 {
			missed, err := v.ask(out, m.Addr, here, false)
			if err != nil {
				return nil, err
			}
			left = append(elsewhere, missed...)
		}
	}
	return left, nil
}

// ask asks a node which of some slots it serves, or keeps if that counts, and returns the others.
func (v *verifier) ask(out map[slot.Slot]holder, addr string, slots []slot.Slot, kept bool) (left []slot.Slot, err error) {
	c, err := v.conn(addr)
	if err != nil {
		return nil, err
	}
	reports, err := openVerify(c, slots)
	if err != nil {
		return nil, err
	}
	for _, r := range reports {
		if r.Data && (kept || r.State == cluster.Serving.String()) {
			out[r.Slot] = holder{addr, r}
		} else {
			left = append(left, r.Slot)
		}
	}
	_, err = c.text("GODWIT", "VERIFY", "CLOSE") // a present that is held keeps old versions on the disk
	return left, err
}

func setOf(slots []slot.Slot) *slot.Set {
	var set slot.Set
	for _, sl := range slots {
		set.Add(sl)
	}
	return &set
}

// openVerify holds the present of slots at a node.
func openVerify(c *conn, slots []slot.Slot) ([]engine.VerifySlot, error) {
	var out []engine.VerifySlot
	return out, explain(c.addr, c.json(&out, "GODWIT", "VERIFY", "OPEN", setOf(slots).String()))
}

// again looks once more for who holds a slot.
func (v *verifier) again(sl slot.Slot) (p pair, err error) {
	for _, side := range []struct {
		addr string
		is   *holder
	}{{v.from, &p.from}, {v.to, &p.to}} {
		found, err := v.holders(side.addr, []slot.Slot{sl})
		if err != nil {
			return p, err
		}
		*side.is = found[sl]
	}
	return p, nil
}

// compare compares a slot; nil if it is being written to or moved. Where it has moved, p is who holds it then.
func (v *verifier) compare(sl slot.Slot, p *pair) (*verifyWalk, error) {
	for range verifyTries {
		if p.from.addr == p.to.addr {
			return nil, fmt.Errorf("slot %d: the only copy is that of %s: name two nodes or clusters that each have one, or say --kept for one that was given away", sl, p.from.addr)
		}
		a, err := v.conn(p.from.addr)
		if err != nil {
			return nil, err
		}
		b, err := v.conn(p.to.addr)
		if err != nil {
			return nil, err
		}
		from, to := verifyNode{a, p.from}, verifyNode{b, p.to}
		w := &verifyWalk{from: from, to: to, slot: sl, stored: v.stored, most: v.most, progress: v.progress.add}
		held, err := holdMoment(v.ctx, sl, from, to)
		switch {
		case err == nil && held:
			return w, w.run()
		case err == nil:
			v.report.Written = append(v.report.Written, sl)
			return nil, nil
		case !errors.Is(err, errMoved):
			return nil, err
		}
		if *p, err = v.again(sl); err != nil {
			return nil, err
		}
	}
	v.report.Moved = append(v.report.Moved, sl)
	return nil, nil
}

// momentSide is a node whose present can be held.
type momentSide interface {
	// open is GODWIT VERIFY OPEN; errMoved if the node has not the copy that it had when it was chosen.
	open(sl slot.Slot) error
	// written reports whether the slot was written to since.
	written() (bool, error)
}

// holdMoment holds the present of a slot at two nodes and reports whether that is the same moment. The first is opened first: if nothing was
// written there until the second had opened its own, what the first holds is what it had at that moment, too. It is tried a few times.
func holdMoment(ctx context.Context, sl slot.Slot, a, b momentSide) (bool, error) {
	for try := range verifyTries {
		if err := verifyRest(ctx, try); err != nil {
			return false, err
		}
		if err := errors.Join(a.open(sl), b.open(sl)); err != nil {
			return false, err
		}
		if written, err := a.written(); err != nil || !written {
			return err == nil, err
		}
	}
	return false, nil
}
