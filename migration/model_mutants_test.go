//go:build mutants

package migration

import (
	"testing"

	"godwit/engine/mutant"
)

// ordersFor is what operators want of the move in which a mutant shows.
func ordersFor(name mutant.Name) Orders {
	switch name {
	case mutant.HoldIgnored:
		return Orders{Hold: true}
	case mutant.RollbackStale, mutant.HeldServes, mutant.CleanAfterReturn:
		return Orders{Keep: true}
	default:
		return Orders{}
	}
}

// TestModelMutants breaks the machines on purpose, one rule at a time: the exploration must notice each.
func TestModelMutants(t *testing.T) {
	for _, name := range []mutant.Name{
		mutant.NoPause, mutant.ServeEarly, mutant.LostCommitReply, mutant.LateUnpause, mutant.CancelAfter,
		mutant.ForgetfulSource, mutant.ForgetfulTarget, mutant.ServingCounts, mutant.LateStart, mutant.LatePrepared, mutant.StaleAttempt,
		mutant.UndurableAnswer, mutant.NoneReassigned, mutant.MapSteals, mutant.ReplayApply, mutant.SkipApply,
		mutant.PrepareUnsynced, mutant.AckUndurable, mutant.PurgeEarly, mutant.ResumeFromNew, mutant.HoldIgnored,
		mutant.RollbackStale, mutant.HeldServes, mutant.CleanAfterReturn, mutant.BusyApplied,
		mutant.ResolveBlind,
	} {
		t.Run(string(name), func(t *testing.T) {
			mutant.Set(name)
			defer mutant.Set("")
			for _, b := range []modelBounds{
				{writes: 1, faults: 0, attempts: 5, states: 300_000},
				{writes: 1, faults: 1, attempts: 5, states: 300_000},
				{writes: 2, faults: 1, attempts: 5, states: 300_000},
				{writes: 1, faults: 2, attempts: 5, states: 1_500_000},
			} {
				b.busy, b.losses = name == mutant.BusyApplied, name == mutant.ResolveBlind
				r := explore(newModelOf(ordersFor(name), b), b)
				if r.failure != "" {
					t.Logf("found in %d states, %d steps: %s", r.states, len(r.trace), r.failure)
					return
				}
			}
			t.Errorf("the exploration does not notice this mutant")
		})
	}
}
