package cluster

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/slot"
)

// TestClaimsRules: whatever happens in whatever order, the numbered rules of Claims hold, and slots are served only by complete rounds.
func TestClaimsRules(t *testing.T) {
	served := 0
	rapid.Check(t, func(t *rapid.T) {
		var c Claims
		c.SetSelf(id("b"))
		anySlot := rapid.Map(rapid.IntRange(0, 3), func(n int) slot.Slot { return slot.Slot(n) })
		anyNode := rapid.Map(rapid.SampledFrom([]string{"a", "c", "d"}), id)
		settled := map[uint64]bool{}
		records := map[slot.Slot]bool{}
		said := map[NodeID]bool{} // answered this round
		var r Round
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0:
				c.SetBase([]Contact{{ID: id("a")}, {ID: id("b")}, {ID: anyNode.Draw(t, "base")}})
				r = Round{}
			case 1:
				if s := anySlot.Draw(t, "claim"); !records[s] {
					c.Claim(s)
				}
			case 2:
				s := anySlot.Draw(t, "record")
				records[s] = true
				c.Drop(s)
			case 3:
				r = c.Ask()
				clear(said)
				if r.Number != 0 && slices.ContainsFunc(r.Whom, func(to Contact) bool { return to.ID == id("b") }) {
					t.Fatal("it asks itself")
				}
			case 4, 5:
				from := anyNode.Draw(t, "from")
				a := Answer{Incarnation: Incarnation(rapid.IntRange(1, 2).Draw(t, "incarnation"))}
				if rapid.Bool().Draw(t, "knows") {
					a.Slots = []SlotAnswer{{Slot: anySlot.Draw(t, "slot"), State: State(rapid.IntRange(0, int(Aborted)).Draw(t, "state"))}}
				}
				if rapid.Bool().Draw(t, "names") {
					a.Known = []Contact{{ID: anyNode.Draw(t, "named")}}
				}
				c.Answered(r.Number, from, a)
				said[from] = true
			case 6:
				c.Failed(r.Number, anyNode.Draw(t, "failed"))
			case 7:
				c.Resume()
			case 8:
				out := c.Settle(r.Number)
				if len(out.Serve) > 0 && (settled[r.Number] || r.Number == 0) {
					t.Fatalf("round %d serves %v a second time", r.Number, out.Serve)
				}
				settled[r.Number] = true
				for _, s := range out.Serve {
					if records[s] || !slices.Contains(r.Slots, s) {
						t.Fatalf("slot %d is served, of which there is a record or no question", s)
					}
					records[s] = true
					served++
				}
				for _, to := range c.Base() {
					if len(out.Serve) > 0 && to.ID != id("b") && !said[to.ID] {
						t.Fatalf("slots are served although %s has not answered", to.ID.Short())
					}
				}
			}
			for s := range records {
				if c.Claiming(s) || slices.Contains(c.yielded, s) {
					t.Fatalf("slot %d is claimed and has a record", s)
				}
			}
			for _, s := range c.open {
				if slices.Contains(c.yielded, s) {
					t.Fatalf("slot %d is open and yielded", s)
				}
			}
		}
	})
	if served == 0 {
		t.Error("nothing was ever served: the test draws too badly to mean anything")
	}
}

// TestClaimsOfTooManyNodes: while more nodes are named than are asked, nothing is served.
func TestClaimsOfTooManyNodes(t *testing.T) {
	for _, count := range []int{MaxNodes, MaxNodes + 1} {
		var known []Contact
		for i := range count {
			known = append(known, Contact{ID: NodeID(fmt.Sprintf("%0*d", NodeIDLen, i))})
		}
		var c Claims
		c.SetSelf(known[0].ID)
		c.SetBase(known[:2])
		c.Claim(7)
		served := 0
		for range 4 {
			r := c.Ask()
			for _, to := range r.Whom {
				c.Answered(r.Number, to.ID, Answer{Incarnation: 1, Known: known})
			}
			served += len(c.Settle(r.Number).Serve)
		}
		if want := max(0, MaxNodes+1-count); served != want {
			t.Errorf("%d nodes are named: %d slots are served, want %d", count, served, want)
		}
	}
}

// TestClaimsOfTooManyNodesInMaps: so too if the maps have them. That they were too many outlasts a restart, which sets what
// Base said, and ends with the next smaller base.
func TestClaimsOfTooManyNodesInMaps(t *testing.T) {
	var known []Contact
	for i := range 2 * MaxNodes {
		known = append(known, Contact{ID: NodeID(fmt.Sprintf("%0*d", NodeIDLen, i))})
	}
	var c Claims
	c.SetSelf(known[0].ID)
	c.Claim(7)
	serves := func() (served int) {
		for range 2 {
			r := c.Ask()
			for _, to := range r.Whom {
				c.Answered(r.Number, to.ID, Answer{Incarnation: 1})
			}
			served += len(c.Settle(r.Number).Serve)
		}
		return served
	}
	if c.SetBase(known) || len(c.Base()) != MaxNodes+1 || serves() != 0 {
		t.Errorf("of %d nodes %d are kept, and something is served", len(known), len(c.Base()))
	}
	if c.SetBase(c.Base()) || serves() != 0 {
		t.Error("after a restart something is served")
	}
	if !c.SetBase(known[:MaxNodes]) || len(c.Base()) != MaxNodes || serves() != 1 {
		t.Errorf("of %d nodes %d are kept, or nothing is served", MaxNodes, len(c.Base()))
	}
}
