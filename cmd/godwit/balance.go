package main

import (
	"cmp"
	"fmt"
	"slices"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// holding is what a node serves, or will when the jobs that run have ended, and which share of the whole it should have.
type holding struct {
	ID     cluster.NodeID
	Slots  slot.Set
	Weight float64 // 0: nothing
}

// transfer is slots that should go from one node to another.
type transfer struct {
	From  cluster.NodeID `json:"from"`
	To    cluster.NodeID `json:"to"`
	Slots slot.Set       `json:"-"`
	Cost  uint64         `json:"cost"`
}

// balance plans which slots go where, so that what each node has comes near its share of the cost of all slots. Nodes within the
// tolerance (0.05: 5 % of their share) of it are left alone, but for those of weight 0, which keep nothing. It moves as little as it
// can: only nodes above their share give, only those below get, and a slot goes only where the two are nearer to their shares
// afterwards. Of a node, the slots that go to another are the highest that it has, so that they make few ranges. pinned slots stay.
//
// The plan depends on its arguments alone.
func balance(nodes []holding, cost func(slot.Slot) uint64, pinned *slot.Set, tolerance float64) ([]transfer, error) {
	total, weights := uint64(0), 0.0
	load := make([]float64, len(nodes))
	for i, n := range nodes {
		weights += n.Weight
		for _, sl := range n.Slots.Slots() {
			load[i] += float64(cost(sl))
			total += cost(sl)
		}
	}
	if weights <= 0 {
		return nil, fmt.Errorf("no node is left to hold the %d slots: one weight at least must be above 0", slot.Count)
	}
	share := func(i int) float64 { return float64(total) * nodes[i].Weight / weights }
	excess := func(i int) float64 { return load[i] - share(i) }
	given := map[[2]int]*transfer{}
	for from := range nodes {
		emptied := nodes[from].Weight == 0
		if !emptied && excess(from) <= tolerance*share(from) && !anyBelow(len(nodes), share, load, tolerance) {
			continue
		}
		mine := nodes[from].Slots.Slots()
		slices.Reverse(mine)
		to := -1
		for _, sl := range mine {
			if pinned.Has(sl) {
				continue
			}
			if !emptied && excess(from) <= 0 {
				break
			}
			c := float64(cost(sl))
			if to < 0 || excess(to)+c/2 > 0 { // the one before has its share
				to = neediest(len(nodes), from, func(i int) float64 { return excess(i) / max(share(i), 1) }, func(i int) bool { return nodes[i].Weight > 0 })
			}
			if to < 0 {
				break
			}
			// Both come nearer to their shares, together, if the slot is smaller than the difference of their excesses.
			if !emptied && c >= excess(from)-excess(to) {
				continue
			}
			load[from] -= c
			load[to] += c
			t := given[[2]int{from, to}]
			if t == nil {
				t = &transfer{From: nodes[from].ID, To: nodes[to].ID}
				given[[2]int{from, to}] = t
			}
			t.Slots.Add(sl)
			t.Cost += cost(sl)
		}
	}
	plan := make([]transfer, 0, len(given))
	for _, t := range given {
		plan = append(plan, *t)
	}
	slices.SortFunc(plan, func(a, b transfer) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return plan, nil
}

// anyBelow reports whether a node has less than its share, by more than the tolerance.
func anyBelow(nodes int, share func(int) float64, load []float64, tolerance float64) bool {
	for i := range nodes {
		if share(i)-load[i] > tolerance*share(i) {
			return true
		}
	}
	return false
}

// neediest is the node of the least excess among those that may have slots, or -1.
func neediest(nodes, not int, excess func(int) float64, may func(int) bool) int {
	best := -1
	for i := range nodes {
		if i != not && may(i) && (best < 0 || excess(i) < excess(best)) {
			best = i
		}
	}
	return best
}
