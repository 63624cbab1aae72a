//go:build mutants

package sim

import (
	"testing"

	"godwit/engine/mutant"
	"godwit/engine/store"
)

// TestHunt finds the mutants that show at once; `godwit sim mutants` looks for all.
func TestHunt(t *testing.T) {
	cfg := Config{Caches: store.NewCaches()}
	quick := 0
	for _, m := range Mutants() {
		if m.Budget > LeastBudget {
			continue
		}
		quick++
		h, err := Hunt(m.Name, FirstSeed(0), m.Budget, cfg)
		if err != nil || h.Found == nil {
			t.Errorf("mutant %s is not found within %d seeds (%v)", m.Name, h.Seeds, err)
			continue
		}
		if correct := Run(h.Found.Seed, cfg); !correct.OK() {
			t.Errorf("mutant %s: the correct code fails seed %d too", m.Name, h.Found.Seed)
		}
	}
	if quick < 10 {
		t.Errorf("%d mutants are looked for, want 10 at least", quick)
	}
	for name, property := range map[mutant.Name]string{
		mutant.AckBeforeSync: "durability", mutant.PurgeEarly: "kept-copy", mutant.NoneReassigned: "one-owner",
	} {
		if h, err := Hunt(name, FirstSeed(3), LeastBudget, cfg); err != nil || h.Found == nil || h.Found.Violation.Property != property {
			t.Errorf("mutant %s after %d seeds: %+v (%v), want a violation of %q", name, h.Seeds, h.Found, err, property)
		}
	}
}

// TestHuntEnds looks for a mutant that does not exist: the budget ends the search.
func TestHuntEnds(t *testing.T) {
	if h, err := Hunt("no-such", FirstSeed(1), 2, Config{Caches: store.NewCaches()}); err != nil || h.Found != nil || h.Seeds != 2 {
		t.Errorf("%+v (%v), want 2 seeds and no find", h, err)
	}
}
