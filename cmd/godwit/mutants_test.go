//go:build mutants

package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/engine/mutant"
)

// TestMutantRouteBeforeLock plants the bug that no single-threaded simulator can see, routing a command before its slot's
// lock is held, and requires that what clients are told gives it away.
func TestMutantRouteBeforeLock(t *testing.T) {
	const rounds = 12
	defer mutant.Set("")
	for round := 1; round <= rounds; round++ {
		mutant.Set(mutant.RouteBeforeLock)
		began := time.Now()
		s := &stress{clients: 32, slots: 2, keys: 4, movers: 2, duration: 5 * time.Second}
		v := s.run(t, uint64(round))
		mutant.Set("")
		t.Logf("round %d: %d operations, %d slots moved, %v", round, s.rec.Len(), s.moves, time.Since(began).Round(time.Millisecond))
		if !v.OK() {
			t.Logf("found: %v", v)
			return
		}
		for _, p := range s.problems {
			t.Log(p)
		}
	}
	t.Errorf("the stress test has not found the mutant in %d rounds", rounds)
}

// TestMutantVerifyGap plants a comparison that passes over what lies between chunks, and requires that TestVerifyWalk's check finds it.
func TestMutantVerifyGap(t *testing.T) {
	mutant.Set(mutant.VerifyGap)
	defer mutant.Set("")
	missed := false
	rapid.Check(t, func(t *rapid.T) { missed = !walkFinds(t) || missed })
	if !missed {
		t.Error("every walk has found what differs")
	}
}
