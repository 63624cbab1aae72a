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
