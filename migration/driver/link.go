package driver

import (
	"cmp"
	"time"

	"godwit/engine"
	"godwit/engine/env"
	"godwit/migration"
)

// link measures how fast the changes of a slot get to the target: bytes of records that were called durable there, over the time that the round took.
// It belongs to the worker that steps the slot's machine.
type link struct {
	began  time.Duration // of the round
	bytes  uint64        // that the slot had sent then
	waited time.Duration // for turns, since then
	asked  time.Duration // when the slot asked for the turn that it waits for
	// trip is what the fastest of the small rounds took: the time of a message and its answer, which no bandwidth shortens. 0 while nobody knows.
	trip time.Duration
	// perSecond is what got through in a second, with the waits for turns and, in free, without them and without the trip; 0 while nobody knows.
	perSecond, free float64
}

// leastMeasured is how many bytes a round must have for its rate to count: of a few records the round trip would be measured.
const leastMeasured = 16 << 10

// tripShare is the part of a round that counts as sending at least, as a divisor: a trip that was measured in a bad moment makes no link infinitely fast.
const tripShare = 4

// begin begins a round, at which the slot has sent so many bytes.
func (l *link) begin(now time.Duration, bytes uint64) {
	l.began, l.bytes, l.waited = now, bytes, 0
}

// end ends it.
func (l *link) end(now time.Duration, bytes uint64) {
	n := bytes - l.bytes
	took := max(now-l.began, time.Microsecond)
	free := max(took-l.waited, time.Microsecond)
	switch {
	case n >= leastMeasured:
		l.perSecond = float64(n) / took.Seconds()
		l.free = float64(n) / max(free-l.trip, free/tripShare, time.Microsecond).Seconds()
	case n > 0 && (l.trip == 0 || free < l.trip):
		l.trip = free
	}
	l.begin(now, bytes)
}

// takes is how long the link is busy with so many bytes if nothing makes them wait, the trip aside; 0 if nobody knows.
func (l *link) takes(bytes int64) time.Duration {
	if l.free == 0 {
		return 0
	}
	return time.Duration(float64(bytes) / l.free * float64(time.Second))
}

// within is a little more than takes no longer than a time if nothing makes it wait, and at least leastJudged: more than ever counts as little.
func (l *link) within(t time.Duration) int64 {
	return max(int64(l.free*t.Seconds())+1, leastJudged)
}

// leastJudged is up to where changed keys are measured whatever the link.
const leastJudged = 128 << 10

// slower keeps the writers of a slot to a rate. The slot's stripe guards it.
type slower struct {
	clock  env.Clock
	rate   migration.Rate
	bucket migration.Bucket
}

// Credit implements engine.Slower.
func (s *slower) Credit() (bytes int, wait time.Duration) {
	now := s.clock.Mono()
	if s.bucket.Ready(now, s.rate) {
		return s.bucket.Credit(), 0
	}
	return 0, s.bucket.Wait(now)
}

// Wrote implements engine.Slower.
func (s *slower) Wrote(bytes int) { s.bucket.Take(bytes) }

// leastWritten is the least that the writers of a slot are slowed down to: a small write every few milliseconds.
const leastWritten migration.Rate = 10_000

// unmeasured is the rate that a link is taken to have while no round was large enough to measure it.
const unmeasured = 1e6

// slow carries out EfSlow.
func (s *sourceSlot) slow(level int) {
	if level == 0 {
		s.d.node.Exclusive(s.slot, func(o *engine.Owned) { o.Slow(nil) })
		return
	}
	rate := max(migration.Rate(cmp.Or(s.link.perSecond, unmeasured))>>level, leastWritten)
	s.d.env.Log.Warn("the writers of a slot are slowed down so that its move keeps up", "slot", s.slot, "bytes per second", int64(rate))
	s.d.node.Exclusive(s.slot, func(o *engine.Owned) { o.Slow(&slower{clock: s.d.env.Clock, rate: min(rate, migration.MaxRate)}) })
}
