package sim

import (
	"runtime"
	"testing"

	"godwit/engine/store"
)

// BenchmarkSeeds runs seeds one after another, as a worker process does, on each engine. One operation is one seed; seeds/s is
// for one worker.
func BenchmarkSeeds(b *testing.B) {
	for _, e := range []Engine{EngineMemory, EnginePebble} {
		b.Run(string(e), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			cfg := Config{Caches: store.NewCaches(), Spares: NewSpares(), Engine: e}
			seed := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				seed++
				if r := Run(seed, cfg); !r.OK() {
					b.Fatalf("seed %d: %v", seed, r.Violation)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seeds/s")
		})
	}
}
