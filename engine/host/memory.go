package host

import "runtime/metrics"

// memory is what the Go runtime says that the process uses and has taken from the system, in bytes. Memory that Pebble
// allocates outside the Go heap is not in it.
func memory() (used, taken uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	value := func(s metrics.Sample) uint64 {
		if s.Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return s.Value.Uint64()
	}
	return value(samples[0]), value(samples[1])
}
