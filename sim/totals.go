package sim

import (
	"errors"
	"fmt"
)

// Totals sums up runs.
type Totals struct {
	OK, Failed            int
	Operations, Succeeded int
	Cutovers              int
	Pebble                int // runs on Pebble; the others keep their records in memory
	Busy                  int // runs with a cutover while a client wrote to the slot
	Crashed               int // runs with a crash in a move
	Hits                  map[Hit]int
	Faults                map[string]int // by kind
	FaultSeeds            map[string]int // runs in which it struck, by kind
}

// Add adds a run.
func (t *Totals) Add(r *Result) {
	if t.Hits == nil {
		t.Hits, t.Faults, t.FaultSeeds = map[Hit]int{}, map[string]int{}, map[string]int{}
	}
	if r.OK() {
		t.OK++
	} else {
		t.Failed++
	}
	if r.Engine == EnginePebble {
		t.Pebble++
	}
	if r.BusyCutovers > 0 {
		t.Busy++
	}
	if len(r.Hits) > 0 {
		t.Crashed++
	}
	t.Operations += r.Operations
	t.Succeeded += r.Succeeded
	t.Cutovers += r.Cutovers
	for _, f := range r.FaultKinds {
		t.Faults[f.Kind] += f.Count
		t.FaultSeeds[f.Kind]++
	}
	for _, h := range r.Hits {
		t.Hits[h.Hit] += h.Count
	}
}

// Seeds is how many runs were added.
func (t *Totals) Seeds() int { return t.OK + t.Failed }

// Share is a part of the runs, 0 if there are none.
func (t *Totals) Share(part int) float64 { return float64(part) / float64(max(t.Seeds(), 1)) }

// SucceededShare is the part of the operations that succeeded.
func (t *Totals) SucceededShare() float64 {
	return float64(t.Succeeded) / float64(max(t.Operations, 1))
}

// Floors of what many runs must reach: a simulator that idles proves nothing. FloorSeeds runs are enough to judge.
const (
	FloorSeeds     = 300
	floorBusy      = 0.9
	floorCrashed   = 0.5
	floorSucceeded = 0.85
)

// CheckFloors says which floors the runs miss.
func (t *Totals) CheckFloors() error {
	var errs []error
	below := func(what string, share, floor float64) {
		if share < floor {
			errs = append(errs, fmt.Errorf("%s: %.1f %%, want at least %.0f %%", what, 100*share, 100*floor))
		}
	}
	below("seeds with a cutover under writes", t.Share(t.Busy), floorBusy)
	below("seeds with a crash in a move", t.Share(t.Crashed), floorCrashed)
	below("operations that succeed", t.SucceededShare(), floorSucceeded)
	for _, step := range Steps() {
		for _, role := range Roles() {
			if t.Hits[Hit{step, role}] == 0 {
				errs = append(errs, fmt.Errorf("no crash of %s at step %s", role, step))
			}
		}
	}
	return errors.Join(errors.Join(errs...), t.checkMarks())
}
