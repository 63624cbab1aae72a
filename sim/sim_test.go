package sim

import (
	"os"
	"strconv"
	"testing"

	"godwit/engine/store"
)

func TestSeeds(t *testing.T) {
	n := 20
	if s := os.Getenv("SIM_SEEDS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	caches := store.NewCaches()
	for seed := range n {
		r := Run(uint64(seed+1), Config{Caches: caches})
		if !r.OK() {
			t.Errorf("seed %d: %v", seed+1, r.Violation)
		}
		t.Logf("%+v", r)
	}
}

func TestOne(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64)
	if err != nil {
		t.Skip()
	}
	f, _ := os.Create("/tmp/trace.txt")
	defer f.Close()
	r := Run(seed, Config{Trace: f, Panic: true})
	t.Logf("%+v", r)
	if !r.OK() {
		t.Errorf("seed %d: %v", seed, r.Violation)
	}
}
