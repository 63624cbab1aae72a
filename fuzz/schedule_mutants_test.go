//go:build mutants

package fuzz

import (
	"testing"

	"godwit/engine/mutant"
	"godwit/engine/store"
)

// TestSchedulesFindMutants plants bugs: some kept input must show each, and the correct code passes them all (TestKeepSchedules).
func TestSchedulesFindMutants(t *testing.T) {
	list := readInputs(t, schedules)
	caches := store.NewCaches()
	for _, name := range []mutant.Name{mutant.ServeEarly, mutant.ForgetfulSource, mutant.NoneReassigned, mutant.PurgeEarly} {
		t.Run(string(name), func(t *testing.T) {
			mutant.Set(name)
			defer mutant.Set("")
			if !shown(t, list, caches) {
				t.Errorf("none of %d inputs shows it", len(list))
			}
		})
	}
}

// TestShortRunsFindMutants plants bugs that need a moment of their own, which few of the kept inputs meet, being kept for other things: one
// of them must show each, or one of the first seeds without decisions. The correct code passes it.
func TestShortRunsFindMutants(t *testing.T) {
	const seeds = 1000 // the rarest of them is shown by one in five hundred
	list := readInputs(t, schedules)
	for seed := range uint16(seeds) {
		list = append(list, input{seed: seed})
	}
	caches := store.NewCaches()
	for _, name := range []mutant.Name{
		mutant.NoPause, mutant.NoDrain, mutant.LostCommitReply, mutant.LateUnpause, mutant.UndurableAnswer, mutant.TrackGap, mutant.RoundGap,
		mutant.AckBeforeSync,
	} {
		t.Run(string(name), func(t *testing.T) {
			mutant.Set(name)
			defer mutant.Set("")
			if !shown(t, list, caches) {
				t.Errorf("none of %d runs shows it", len(list))
			}
		})
	}
}

// shown reports whether the planted bug breaks a property in the run of some input, of which the correct code passes the first that it does.
func shown(t *testing.T, list []input, caches *store.Caches) bool {
	t.Helper()
	for i, in := range list {
		r := runSchedule(in.seed, in.decisions, caches)
		if !judged(&r) {
			continue
		}
		t.Logf("input %d, seed %d, decisions %q: %s", i, in.seed, in.decisions, r.Violation.Property)
		mutant.Set("")
		if correct := runSchedule(in.seed, in.decisions, caches); !correct.OK() {
			t.Errorf("the correct code: %v", correct.Violation)
		}
		return true
	}
	return false
}
