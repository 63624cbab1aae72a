package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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

// simMemory is from how much memory on a process that runs seeds collects garbage wherever it is. A worker seldom gets there, see simRoom;
// what runs seeds side by side does.
const simMemory = 128 << 20

// simRoom is how much a worker allocates before it collects garbage, between two seeds: some eight of them. There a collection is cheap, since what a run
// lives on, some 10 MB, is garbage by then, and since nothing runs beside it: in the middle of a run it has a quarter of the one thread, and all the
// while each pointer that is written is noted for it.
const simRoom = 56 << 20

// simConfig tunes this process for runs that follow one another, unless the environment does.
func simConfig() sim.Config {
	if !collectsAsTold() {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(simMemory)
	}
	return sim.Config{Caches: store.NewCaches(), Spares: sim.NewSpares()}
}

// collectsAsTold says whether the environment decides when this process collects garbage.
func collectsAsTold() bool { return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" }

// simTidier collects the garbage of a worker.
type simTidier struct {
	allocated []metrics.Sample
	next      uint64 // from how many bytes that were ever allocated on
}

func newSimTidier() *simTidier {
	return &simTidier{allocated: []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}, next: simRoom}
}

// tidy is to be called between two seeds, while their common memory is all that lives.
func (t *simTidier) tidy() {
	metrics.Read(t.allocated)
	if now := t.allocated[0].Value.Uint64(); now >= t.next && !collectsAsTold() {
		runtime.GC()
		t.next = now + simRoom
	}
}
