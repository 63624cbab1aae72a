package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"godwit/engine/store"
	"godwit/sim"
)

func newSimCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sim",
		Short: "Run clusters of real nodes on simulated network, clocks and disks, and judge what clients saw",
		RunE:  groupOnly,
	}
	c.AddCommand(newSimRunCommand(), newSimReplayCommand(), newSimShrinkCommand(), newSimMutantsCommand(), newSimCrashPointsCommand(),
		newSimDeterminismCommand(), newSimWorkCommand())
	return c
}

// seedRange is "5" or "1-1000".
type seedRange struct{ first, last uint64 }

func parseSeeds(text string) (seedRange, error) {
	a, b, isRange := strings.Cut(text, "-")
	if !isRange {
		b = a
	}
	first, err1 := strconv.ParseUint(a, 10, 64)
	last, err2 := strconv.ParseUint(b, 10, 64)
	if err1 != nil || err2 != nil || last < first {
		return seedRange{}, fmt.Errorf("--seeds %q: want a seed or a range such as 1-1000", text)
	}
	return seedRange{first, last}, nil
}

// each gives the seeds of the range one after the other.
func (r seedRange) each() func() (uint64, bool) {
	next, over := r.first, false
	return func() (seed uint64, ok bool) {
		if over {
			return 0, false
		}
		seed = next
		next++
		over = seed == r.last
		return seed, true
	}
}

// simMemory is from how much memory on a process that runs seeds collects garbage. A run lives on some 10 MB and leaves as much behind, so that
// one collection serves several runs; more memory would be slower again, since it must be had from the system first.
const simMemory = 128 << 20

// simConfig tunes this process for runs that follow one another, unless the environment does.
func simConfig() sim.Config {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(simMemory)
	}
	return sim.Config{Caches: store.NewCaches(), Spares: sim.NewSpares()}
}
