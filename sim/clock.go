package sim

import (
	"time"

	"godwit/engine/env"
)

// seat is where a life of a process sits: it implements the seams of engine/env for it. Whatever it schedules is an event
// of that life.
type seat struct {
	p    *process
	life int
	dice dice
}

var (
	_ env.Clock   = (*seat)(nil)
	_ env.Rand    = (*seat)(nil)
	_ env.Workers = (*seat)(nil)
	_ env.Syncer  = (*seat)(nil)
	_ env.Peers   = (*seat)(nil)
)

// dead reports that the life is over, or that the power has gone within the event that is running.
func (s *seat) dead() bool {
	return s.p.life != s.life || s.p.gone()
}

// after schedules an event of the life, which can be stopped.
func (s *seat) after(d time.Duration, fn func()) *timer {
	t := &timer{over: s.dead()}
	s.push(d, function(fn), t)
	return t
}

// then schedules an event of the life that cannot be stopped.
func (s *seat) then(d time.Duration, fn func()) { s.push(d, function(fn), nil) }

func (s *seat) push(d time.Duration, what doer, t *timer) {
	if w := s.p.w; !s.dead() {
		w.queue.push(event{at: w.now + max(d, 0), what: what, proc: s.p, life: s.life, timer: t})
	}
}

// WallMs implements env.Clock: true time plus the skew of this machine.
func (s *seat) WallMs() int64 {
	return unixMs + (s.p.w.now + s.p.skew + s.p.drifted() - s.p.wallDrift).Milliseconds()
}

// Mono implements env.Clock.
func (s *seat) Mono() time.Duration { return s.p.w.now + s.p.drifted() }

// AfterFunc implements env.Clock.
func (s *seat) AfterFunc(d time.Duration, fn func()) env.Timer {
	d = time.Duration(float64(d) / (1 + s.p.driftRate))
	return s.after(d+s.p.w.times.between(0, 100*time.Microsecond), fn)
}

// Uint64 implements env.Rand.
func (s *seat) Uint64() uint64 { return s.dice.Uint64() }

// Submit implements env.Workers.
func (s *seat) Submit(fn func()) {
	s.then(s.p.w.times.between(time.Microsecond, s.p.w.swarm.work), fn)
}

// Schedule implements env.Syncer: what the sync makes durable is what was written when the event runs.
func (s *seat) Schedule(run func()) { s.then(s.p.syncLatency(), run) }

// timer is an event that can be stopped.
type timer struct{ over bool }

// Stop implements env.Timer.
func (t *timer) Stop() bool {
	was := t.over
	t.over = true
	return !was
}
