package driver

import (
	"math"
	"time"

	"godwit/engine"
	"godwit/engine/key"
	"godwit/migration"
)

// meter tells how many bytes a second a job reads to send or compare: a mean in which what is older counts less. pacer.mu guards it.
type meter struct {
	at        time.Duration
	perSecond float64
}

// meterMemory is after what time something counts a third.
const meterMemory = 5 * time.Second

// add counts bytes.
func (m *meter) add(now time.Duration, bytes int) {
	m.perSecond = m.rate(now) + float64(bytes)/meterMemory.Seconds()
	m.at = now
}

// rate is the mean at a time.
func (m *meter) rate(now time.Duration) float64 {
	return m.perSecond * math.Exp(-(now-m.at).Seconds()/meterMemory.Seconds())
}

// rate is how fast a job goes at present, in bytes per second.
func (p *pacer) rate(j *job) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(j.meter.rate(p.d.env.Clock.Mono()))
}

// Parts of the way of a slot that are behind it when it comes to a step. They go by what usually takes time: the base is most of it, then the
// walk that compares.
const (
	doneBase   = 0.6
	doneVerify = 0.7
	doneHeld   = 0.95
)

// fraction is which part of its way a slot has behind it. Within the base it goes by what was sent of what the slot takes in tables, which is
// a guess: they are compressed, and do not have what is in memory.
func (s *sourceSlot) fraction(step migration.Step, round migration.RoundKind) float64 {
	switch {
	case step.Decided():
		return 1
	case step == migration.StepHolding || step == migration.StepPausing:
		return doneHeld
	case step != migration.StepCopying:
		return s.view.fraction // as it was before it rests, or begins an attempt
	case round == migration.RoundVerify:
		return doneVerify
	case round == migration.RoundChanges:
		return max(s.view.fraction, doneBase)
	}
	if s.size == 0 {
		return 0
	}
	return doneBase * min(float64(s.account().bytes-s.link.bytes)/float64(s.size), 0.99)
}

// estimate notes what the slot takes in tables.
func (s *sourceSlot) estimate() {
	s.size = 0
	if n, err := s.d.node.Store().DiskBytes(key.DataSpan(s.slot)); err == nil { // without it the part is not known, which is no harm
		s.size = n
	}
}

// tellProgress says how far a job is, of which so many slots are behind it, parts of slots included, and how long the rest takes if it goes on like that.
func tellProgress(st *engine.JobStatus, parts float64, nowMs int64) {
	st.Percent = math.Floor(1000*parts/float64(max(st.Slots, 1))) / 10
	if elapsed := nowMs - st.StartedMs; st.Percent >= 1 && st.Percent < 100 && elapsed > 0 && st.Position == 0 {
		st.LeftMs = int64(float64(elapsed) * (100 - st.Percent) / st.Percent)
	}
}
