//go:build mutants

package cluster

import (
	"testing"

	"godwit/engine/mutant"
)

// TestModelClaimsMutants breaks the claims on purpose, one rule at a time: the exploration must notice each.
func TestModelClaimsMutants(t *testing.T) {
	for _, name := range []mutant.Name{
		mutant.MapSteals, mutant.NoneReassigned, mutant.UndurableAnswer, mutant.BirthUnasked, mutant.ClaimMissing, mutant.ClaimReleased,
		mutant.ClaimNarrow, mutant.ClaimOnce,
	} {
		t.Run(string(name), func(t *testing.T) {
			mutant.Set(name)
			defer mutant.Set("")
			for _, b := range claimChecks() {
				r := exploreClaims(&b)
				if r.failure != "" {
					t.Logf("%s: found in %d states, %d steps: %s %q", b.name, r.states, len(r.trace), r.failure, r.trace)
					return
				}
			}
			t.Error("the exploration does not notice this mutant")
		})
	}
}
