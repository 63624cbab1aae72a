//go:build mutants

package data

import (
	"testing"

	"godwit/engine/mutant"
)

// TestExpiredResurrect shows what the mutant breaks: a clock that is behind sees the key again.
func TestExpiredResurrect(t *testing.T) {
	mutant.Set(mutant.ExpiredResurrect)
	defer mutant.Set("")
	st := openStore(t)
	put(t, st, "k", "v", 100)
	update(t, st, Write, 101, func(tx *Tx) {
		if e := tx.Load([]byte("k")); e.Found {
			t.Error("an expired key was found")
		}
	})
	tx := Begin(st, Read, 99)
	if e := tx.Load([]byte("k")); !e.Found {
		t.Error("the mutant has no effect")
	}
}
