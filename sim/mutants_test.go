//go:build mutants

package sim

import (
	"testing"

	"godwit/engine/mutant"
	"godwit/engine/store"
)

// TestHunt finds mutants that show early; `godwit sim mutants` looks for all.
func TestHunt(t *testing.T) {
	for name, property := range map[mutant.Name]string{
		mutant.AckBeforeSync: "linearizable", mutant.PurgeEarly: "kept-copy", mutant.NoneReassigned: "one-owner",
	} {
		h, err := Hunt(name, 1, 40, Config{Caches: store.NewCaches()})
		if err != nil || h.Found == nil || h.Found.Violation.Property != property {
			t.Errorf("mutant %s after %d seeds: %+v (%v), want a violation of %q", name, h.Seeds, h.Found, err, property)
		}
	}
}
