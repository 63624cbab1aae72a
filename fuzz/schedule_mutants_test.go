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
			for _, in := range list {
				if r := runSchedule(in.seed, in.decisions, caches); judged(&r) {
					t.Logf("%s: %s", inputName(in.seed, in.decisions), r.Violation.Property)
					return
				}
			}
			t.Errorf("none of %d inputs shows it", len(list))
		})
	}
}
