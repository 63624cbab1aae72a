package fuzz

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine/mutant"
	"godwit/engine/store"
	"godwit/sim"
)

var (
	keepFrom  = flag.String("keep", "", "with -run KeepSchedules: the directory of inputs of FuzzSchedule, of which to keep in testdata those that add something")
	plantFlag = flag.String("mutant", "", "plant this bug while fuzzing (needs the build tag mutants)")
)

// schedules is where the inputs of FuzzSchedule are kept.
const schedules = "testdata/fuzz/FuzzSchedule"

// FuzzSchedule lets the fuzzer decide single draws of short simulated runs: every property must hold in all of them.
func FuzzSchedule(f *testing.F) {
	if *plantFlag != "" && !mutant.Built {
		f.Fatal(sim.ErrNoMutants)
	}
	caches := store.NewCaches()
	for seed := range uint16(8) {
		f.Add(seed, []byte{})
	}
	f.Fuzz(func(t *testing.T, seed uint16, decisions []byte) {
		mutant.Set(mutant.Name(*plantFlag))
		var r sim.Result
		if where := within(longest, func() { r = runSchedule(seed, decisions, caches) }); where != "" {
			t.Fatalf("process: seed %d, decisions %q: no end after %v\n%s", seed, decisions, longest, where)
		}
		for _, feature := range r.Features {
			cover(feature)
		}
		if judged(&r) {
			t.Fatalf("seed %d, decisions %q: %v; replay: godwit sim replay --decisions fuzz/%s --trace", seed, decisions, r.Violation,
				filepath.Join(schedules, inputName(seed, decisions)))
		}
	})
}

// longest is what a run may take of real time: a hundred times what one takes on a machine that has nothing else to do. Go's fuzzer ends a worker after
// ten seconds on one input, without its output, so that nobody would see where it hung.
const longest = 8 * time.Second

// within runs something and says, should that take too long, where all goroutines are then.
func within(limit time.Duration, run func()) (where string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	select {
	case <-done:
		return ""
	case <-time.After(limit):
		stacks := make([]byte, 1<<20)
		return string(stacks[:runtime.Stack(stacks, true)])
	}
}

func runSchedule(seed uint16, decisions []byte, caches *store.Caches) sim.Result {
	if decisions == nil {
		decisions = []byte{}
	}
	return sim.Run(uint64(seed), sim.Config{Caches: caches, Decisions: decisions})
}

// judged reports that a property was violated; a workload that cannot be judged is none of the code's faults.
func judged(r *sim.Result) bool { return !r.OK() && r.Violation.Property != "harness" }

// inputName is the name that Go's fuzzer gives the file of an input.
func inputName(seed uint16, decisions []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(inputText(seed, decisions)))[:16]
}

func inputText(seed uint16, decisions []byte) []byte {
	var b bytes.Buffer
	_ = sim.WriteDecisions(&b, seed, decisions) // a buffer does not fail
	return b.Bytes()
}

// input is an input of FuzzSchedule with what its run did.
type input struct {
	seed      uint16
	decisions []byte
	features  []string
}

// readInputs reads and runs the inputs in a directory, in the order of their names.
func readInputs(t *testing.T, dir string) []input {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	caches := store.NewCaches()
	var out []input
	for _, e := range names {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		seed, decisions, err := sim.ReadDecisions(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		r := runSchedule(uint16(seed), decisions, caches)
		if judged(&r) {
			t.Errorf("%s: %v", e.Name(), r.Violation)
		}
		if r.OK() {
			out = append(out, input{uint16(seed), decisions, r.Features})
		}
	}
	return out
}

// maxKept bounds how many inputs are kept: all of them run with every go test.
const maxKept = 48

// cheapest picks inputs one after the other, always the one that adds most features to those before, the shortest of equals, until
// nothing is added.
func cheapest(list []input) []input {
	seen := map[string]bool{}
	adds := func(in input) int {
		return len(slices.DeleteFunc(slices.Clone(in.features), func(f string) bool { return seen[f] }))
	}
	var out []input
	for len(out) < maxKept && len(list) > 0 {
		best := slices.MaxFunc(list, func(a, b input) int {
			return cmp.Or(adds(a)-adds(b), len(b.decisions)-len(a.decisions))
		})
		if adds(best) == 0 {
			break
		}
		for _, f := range best.features {
			seen[f] = true
		}
		out = append(out, best)
	}
	return out
}

// TestKeepSchedules replaces the kept inputs, with -keep, by the fewest of them and of those in another directory that have all features.
// Without, it checks that the kept ones are named as the fuzzer names them, and do different things.
func TestKeepSchedules(t *testing.T) {
	list := readInputs(t, schedules)
	had := len(list)
	if *keepFrom != "" {
		list = append(list, readInputs(t, *keepFrom)...)
	}
	kept, all := cheapest(list), map[string]bool{}
	for _, in := range kept {
		for _, f := range in.features {
			all[f] = true
		}
	}
	t.Logf("%d inputs, %d kept, %d features", len(list), len(kept), len(all))
	if *keepFrom == "" {
		if len(all) < 100 {
			t.Errorf("the %d inputs have %d features", had, len(all))
		}
		for _, in := range list {
			if _, err := os.Stat(filepath.Join(schedules, inputName(in.seed, in.decisions))); err != nil {
				t.Error(err)
			}
		}
		return
	}
	old, err := filepath.Glob(filepath.Join(schedules, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range kept {
		path := filepath.Join(schedules, inputName(in.seed, in.decisions))
		if err := os.WriteFile(path, inputText(in.seed, in.decisions), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWithin tells a run that hangs, with the place, from one that ends.
func TestWithin(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	if where := within(10*time.Millisecond, func() { <-hang }); !strings.Contains(where, "TestWithin") {
		t.Errorf("a run that hangs is at %q", where)
	}
	if where := within(time.Minute, func() {}); where != "" {
		t.Errorf("a run that ends is at %q", where)
	}
}

// TestCheapest picks of inputs that overlap.
func TestCheapest(t *testing.T) {
	list := []input{
		{1, []byte("long"), []string{"a", "b"}}, {2, []byte("x"), []string{"a", "b"}}, {3, nil, []string{"a"}}, {4, []byte("longer"), []string{"c"}},
	}
	var seeds []uint16
	for _, in := range cheapest(list) {
		seeds = append(seeds, in.seed)
	}
	if !slices.Equal(seeds, []uint16{2, 4}) {
		t.Errorf("kept the inputs %v", seeds)
	}
}
