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

// leg is a part of a pause.
type leg uint8

// The legs of a pause, in their order. Each ends with something that only a message or a sync can bring.
const (
	legFinal   leg = iota // until all that had changed was read, and the prepare could be sent
	legPrepare            // until the target has answered that it is prepared: its sync, and the trip of the last data
	legDecide             // until the decision is durable at the source
	legCommit             // until the target has answered that it serves
	pauseLegs
)

var legNames = [pauseLegs]string{"final", "prepare", "decide", "commit"}

// legTimes is how long each leg took.
type legTimes [pauseLegs]time.Duration

// add adds the legs of a pause.
func (t *legTimes) add(o *legTimes) {
	for i := range t {
		t[i] += o[i]
	}
}

// means are the legs of one pause, in milliseconds, if there were so many.
func (t *legTimes) means(pauses int) (ms [pauseLegs]float64) {
	for i := range ms {
		ms[i] = float64((t[i] / time.Duration(max(pauses, 1))).Microseconds()) / 1000
	}
	return ms
}

// legOver notes that a leg of the pause is over. What is said twice, and what is not of a pause, counts for nothing.
func (s *sourceSlot) legOver(l leg) {
	if !s.pausing || s.leg != l {
		return
	}
	now := s.d.env.Clock.Mono()
	s.legs[l], s.legBegan, s.leg = now-s.legBegan, now, l+1
}

// pauseHistogram counts pauses by their length, since the node was started. Driver.mu guards it.
type pauseHistogram struct {
	handedOver [len(pauseBounds) + 1]uint64
	total      time.Duration
	legs       legTimes // of all of them
	givenUp    uint64
}

// add counts a pause that led to the handover.
func (h *pauseHistogram) add(d time.Duration, legs *legTimes) {
	h.legs.add(legs)
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
	out := make([]engine.Counter, 0, len(h.handedOver)+len(h.legs)+6)
	n := uint64(0)
	for i, c := range h.handedOver {
		n += c
		bound := "inf"
		if i < len(pauseBounds) {
			bound = fmt.Sprint(pauseBounds[i].Milliseconds())
		}
		out = append(out, engine.Counter{Name: "migration_pause_ms_le_" + bound, Value: n})
	}
	for l, name := range legNames {
		out = append(out, engine.Counter{Name: "migration_pause_" + name + "_us_sum", Value: uint64(h.legs[l].Microseconds())})
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
