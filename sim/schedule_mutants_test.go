//go:build mutants

package sim

import (
	"testing"

	"godwit/engine/mutant"
	"godwit/engine/store"
)

// TestSchedulesFind runs what was shrunk with the mutant that it is about: the named property must be found broken.
func TestSchedulesFind(t *testing.T) {
	defer mutant.Set("")
	for path, s := range schedules(t) {
		if s.Mutant == "" {
			continue
		}
		mutant.Set(s.Mutant)
		r := Run(0, Config{Schedule: s})
		if r.OK() || r.Violation.Property != s.Property {
			t.Errorf("%s: %v, want a violation of %q by the mutant %s; shrink it anew: godwit sim shrink", path, r.Violation, s.Property, s.Mutant)
		}
	}
}

// TestShrink shrinks a mutant's find and replays what is left from its text.
func TestShrink(t *testing.T) {
	cfg := Config{Caches: store.NewCaches()}
	h, err := Hunt(mutant.NoneReassigned, 1, 100, cfg)
	if err != nil || h.Found == nil {
		t.Fatalf("%+v (%v)", h, err)
	}
	s, err := Shrink(h.Found.Seed, mutant.NoneReassigned, 150, cfg, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if s.Result.Events >= h.Found.Events {
		t.Errorf("%d events of %d are left", s.Result.Events, h.Found.Events)
	}
	small := rewrite(t, s.Schedule)
	defer mutant.Set("")
	mutant.Set(mutant.NoneReassigned)
	if r := Run(0, Config{Schedule: small}); r.OK() || r.Violation.Property != h.Found.Violation.Property || r.TraceHash != s.Result.TraceHash {
		t.Errorf("replayed: %v with hash %016x, want %v with %016x", r.Violation, r.TraceHash, s.Result.Violation, s.Result.TraceHash)
	}
	mutant.Set("")
	if _, err := Shrink(h.Found.Seed, "", 10, cfg, func(string) {}); err == nil {
		t.Error("a seed that the code passes was shrunk")
	}
}
