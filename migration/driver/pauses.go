package driver

import (
	"fmt"
	"time"

	"godwit/engine"
)

// pauseBounds are the upper ends of the parts of the histogram of pauses; what is longer is counted in a last part.
var pauseBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// pauseHistogram counts pauses by their length, since the node was started. Driver.mu guards it.
type pauseHistogram struct {
	handedOver [len(pauseBounds) + 1]uint64
	total      time.Duration
	givenUp    uint64
}

// add counts a pause that led to the handover.
func (h *pauseHistogram) add(d time.Duration) {
	i := 0
	for i < len(pauseBounds) && d > pauseBounds[i] {
		i++
	}
	h.handedOver[i]++
	h.total += d
}

// count is how many pauses there were.
func (h *pauseHistogram) count() (n uint64) {
	for _, c := range h.handedOver {
		n += c
	}
	return n
}

// Metrics implements engine.Migrator: the pauses as a cumulative histogram, as those who collect metrics want it.
func (d *Driver) Metrics() []engine.Counter {
	held, most, _ := d.HeldByJobs()
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.pauses
	out := make([]engine.Counter, 0, len(h.handedOver)+6)
	n := uint64(0)
	for i, c := range h.handedOver {
		n += c
		bound := "inf"
		if i < len(pauseBounds) {
			bound = fmt.Sprint(pauseBounds[i].Milliseconds())
		}
		out = append(out, engine.Counter{Name: "migration_pause_ms_le_" + bound, Value: n})
	}
	return append(out,
		engine.Counter{Name: "migration_memory_bytes", Value: uint64(held)},
		engine.Counter{Name: "migration_memory_most_of_a_job_bytes", Value: uint64(most)},
		engine.Counter{Name: "migration_pause_us_sum", Value: uint64(h.total.Microseconds())},
		engine.Counter{Name: "migration_pauses", Value: n},
		engine.Counter{Name: "migration_pauses_given_up", Value: h.givenUp},
		engine.Counter{Name: "migration_refused_busy", Value: d.arrivals.refusedSoFar()})
}

// expectedPause is how long a pause is to be expected, in milliseconds: the longest end of the part of the histogram in which the 99th percentile
// lies, or the target while nothing was measured.
func (d *Driver) expectedPause() (ms float64, measured bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.pauses
	n, seen := h.count(), uint64(0)
	for i, c := range h.handedOver {
		if seen += c; n > 0 && seen*100 >= n*99 {
			return float64(pauseBounds[min(i, len(pauseBounds)-1)].Microseconds()) / 1000, true
		}
	}
	return float64(d.cfg.Source.PauseTarget.Microseconds()) / 1000, false
}
