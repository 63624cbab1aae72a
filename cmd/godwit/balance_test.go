package main

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// loads is what each node has after a plan, by node id.
func loads(nodes []holding, plan []transfer, cost func(slot.Slot) uint64) (map[cluster.NodeID]uint64, map[cluster.NodeID]*slot.Set) {
	sets := map[cluster.NodeID]*slot.Set{}
	for i := range nodes {
		set := slot.SetOf(nodes[i].Slots.Ranges()...)
		sets[nodes[i].ID] = &set
	}
	for _, t := range plan {
		for _, sl := range t.Slots.Slots() {
			sets[t.From].Remove(sl)
			sets[t.To].Add(sl)
		}
	}
	sums := map[cluster.NodeID]uint64{}
	for id, set := range sets {
		for _, sl := range set.Slots() {
			sums[id] += cost(sl)
		}
	}
	return sums, sets
}

func oneEach(slot.Slot) uint64 { return 1 }

// TestBalanceGrow gives a third node its share with as few slots as possible, in one range from each.
func TestBalanceGrow(t *testing.T) {
	nodes := []holding{
		{"a", slot.SetOf(slot.Range{First: 0, Last: 8191}), 1},
		{"b", slot.SetOf(slot.Range{First: 8192, Last: 16383}), 1},
		{"c", slot.Set{}, 1},
	}
	plan, err := balance(nodes, oneEach, &slot.Set{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, p := range plan {
		got += fmt.Sprintf("%s→%s %s; ", p.From, p.To, &p.Slots)
	}
	if want := "a→c 5461-8191; b→c 13654-16383; "; got != want {
		t.Errorf("the plan is %s, want %s", got, want)
	}
}

// TestBalanceDrain empties a node and leaves the others even.
func TestBalanceDrain(t *testing.T) {
	nodes := []holding{
		{"a", slot.SetOf(slot.Range{First: 0, Last: 5000}), 1},
		{"b", slot.SetOf(slot.Range{First: 5001, Last: 12000}), 0},
		{"c", slot.SetOf(slot.Range{First: 12001, Last: 16383}), 1},
	}
	plan, err := balance(nodes, oneEach, &slot.Set{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	sums, _ := loads(nodes, plan, oneEach)
	if sums["b"] != 0 || sums["a"] != 8192 || sums["c"] != 8192 {
		t.Errorf("the nodes have %v afterwards", sums)
	}
	for _, p := range plan {
		if p.From != "b" {
			t.Errorf("%s gives to %s", p.From, p.To)
		}
	}
	if _, err := balance([]holding{{"a", nodes[0].Slots, 0}}, oneEach, &slot.Set{}, 0); err == nil {
		t.Error("the only node may be drained")
	}
}

// TestBalanceRules checks, for any clusters, what balance promises.
func TestBalanceRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "nodes")
		costs := make([]uint64, slot.Count)
		kind := rapid.SampledFrom([]string{"even", "any", "one heavy"}).Draw(t, "costs")
		seed := rapid.Uint64Range(1, 1<<40).Draw(t, "seed")
		for i := range costs {
			seed = seed*6364136223846793005 + 1442695040888963407
			if costs[i] = 4096; kind == "any" {
				costs[i] += seed >> 40
			}
		}
		if kind == "one heavy" {
			costs[seed%slot.Count] = 1 << 40
		}
		cost := func(sl slot.Slot) uint64 { return costs[sl] }
		nodes := make([]holding, n)
		weights := 0.0
		for i := range nodes {
			nodes[i] = holding{ID: cluster.NodeID(fmt.Sprint(i)), Weight: float64(rapid.IntRange(0, 3).Draw(t, "weight"))}
			weights += nodes[i].Weight
		}
		var pinned slot.Set
		pin := rapid.Bool().Draw(t, "pin")
		total, biggest := uint64(0), uint64(0)
		for sl := range slot.Slot(slot.Count) {
			seed = seed*6364136223846793005 + 1442695040888963407
			nodes[(seed>>33)%uint64(n)].Slots.Add(sl)
			if pin && seed>>60 == 0 {
				pinned.Add(sl)
			}
			total += costs[sl]
			biggest = max(biggest, costs[sl])
		}
		tolerance := float64(rapid.IntRange(0, 20).Draw(t, "tolerance")) / 100
		plan, err := balance(nodes, cost, &pinned, tolerance)
		if weights == 0 {
			if err == nil {
				t.Fatal("nobody is left to hold anything, and there is a plan")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		before, _ := loads(nodes, nil, cost)
		after, sets := loads(nodes, plan, cost)
		covered := 0
		for _, set := range sets {
			covered += set.Len()
		}
		if covered != slot.Count {
			t.Fatalf("%d slots are left of %d", covered, slot.Count)
		}
		for _, p := range plan {
			if p.From == p.To || p.Slots.Len() == 0 {
				t.Fatalf("a transfer of nothing: %+v", p)
			}
			for _, sl := range p.Slots.Slots() {
				if pinned.Has(sl) {
					t.Fatalf("slot %d was to stay", sl)
				}
			}
		}
		distance := func(loads map[cluster.NodeID]uint64) float64 {
			d := 0.0
			for i := range nodes {
				d += math.Abs(float64(loads[nodes[i].ID]) - float64(total)*nodes[i].Weight/weights)
			}
			return d
		}
		if distance(after) > distance(before)*1.000001 {
			t.Fatalf("the nodes were %g from their shares, and are %g after the plan", distance(before), distance(after))
		}
		for i := range nodes {
			n := &nodes[i]
			share := float64(total) * n.Weight / weights
			left := 0
			for _, sl := range sets[n.ID].Slots() {
				if !pinned.Has(sl) {
					left++
				}
			}
			switch {
			case n.Weight == 0 && left > 0:
				t.Fatalf("node %s keeps %d slots and has weight 0", n.ID, left)
			case kind == "even" && pinned.Len() == 0 && math.Abs(float64(after[n.ID])-share) > tolerance*share+2*float64(biggest):
				t.Fatalf("node %s has %d, and its share is %g", n.ID, after[n.ID], share)
			}
		}
	})
}

// TestArriving: what a job has still to move, and what is on its way and seen nowhere or twice, counts at its target and stays; what has moved counts
// where it is.
func TestArriving(t *testing.T) {
	set := func(first, last slot.Slot) slot.Set { return slot.SetOf(slot.Range{First: first, Last: last}) }
	job := func(ranges string, ended bool) engine.JobReport {
		return engine.JobReport{Target: "b", Ranges: ranges, Ended: ended}
	}
	a, b := set(0, 12), set(12, 19) // 12 is seen twice, 20 to 21 nowhere, 13 to 19 have moved
	for sl := slot.Slot(22); sl < slot.Count; sl++ {
		a.Add(sl)
	}
	report := func(jobs []engine.JobReport) []member {
		return []member{
			{ID: "a", Report: engine.NodeReport{Serving: a.String(), Jobs: jobs}},
			{ID: "b", Report: engine.NodeReport{Serving: b.String()}},
		}
	}
	members := report([]engine.JobReport{job("10-21", false), job("0-5", true)})
	if !onlyMoving(clusterStatusOf(members), members) {
		t.Error("slots on their way are taken for a fault")
	}
	for _, jobs := range [][]engine.JobReport{nil, {job("10-21", true)}, {job("10-20", false)}, {job("13-21", false)}} {
		if members := report(jobs); onlyMoving(clusterStatusOf(members), members) {
			t.Errorf("slots that no job moves are taken for some on their way: %v", jobs)
		}
	}
	alarmed := report([]engine.JobReport{job("10-21", false)})
	alarmed[1].Report.Alarms = []string{"a copy differs"}
	if onlyMoving(clusterStatusOf(alarmed), alarmed) {
		t.Error("an alarm is passed over")
	}
	nodes := []holding{{"a", set(0, 12), 1}, {"b", set(12, 19), 1}}
	pinned, err := arriving(members, nodes)
	if got := fmt.Sprintf("%s / %s / %s", &nodes[0].Slots, &nodes[1].Slots, &pinned); err != nil || got != "0-9 / 10-21 / 10-12 20-21" {
		t.Errorf("the nodes hold, and pinned is: %s, %v", got, err)
	}
}
