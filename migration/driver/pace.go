package driver

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"godwit/engine/env"
	"godwit/engine/mutant"
	"godwit/migration"
)

// limiter keeps one limit: the node's, or a job's. pacer.mu guards it.
type limiter struct {
	limit  migration.Limit
	bucket migration.Bucket
	// stopped is when the limit last made somebody wait, as rate and words say.
	stopped time.Duration
	words   string
	held    bool // nothing may be read: the automatic mode measures
}

// stoppedLately is for how long the status says that a limit made a job wait: longer than the waits of a rate that is kept slice by slice.
const stoppedLately = time.Second

// ready reports whether something may be read under the limit, and under what the automatic mode has found if the limit asks for it. pacer.mu is
// held.
func (l *limiter) ready(clock env.Clock, auto *migration.Auto) bool {
	rate, words := l.limit.At(clock.WallMs())
	now := clock.Mono()
	l.held = false
	if l.limit.AutoPercent != 0 && (auto.Hold || rate == 0 || auto.Rate < rate) {
		rate, words, l.held = auto.Rate, auto.String(), auto.Hold
	}
	if !l.held && l.bucket.Ready(now, rate) || mutant.On(mutant.ThrottleIgnored) {
		return true
	}
	l.stopped, l.words = now, words
	return false
}

// wait is how long it is until something may be read, if it was not when ready was asked. pacer.mu is held.
func (l *limiter) wait(now time.Duration) time.Duration {
	if l.held {
		return lookAgain
	}
	return l.bucket.Wait(now)
}

// waiting says which limit made somebody wait in the last second, "" if none did. pacer.mu is held.
func (l *limiter) waiting(now time.Duration) string {
	if l.words == "" || now-l.stopped > stoppedLately {
		return ""
	}
	return l.words
}

// pacer lets slots read what they send or compare, so that all jobs of the node together keep its limit, and each job its own. What a
// final round reads, for which writers wait, is let through and counted: the others wait the longer.
//
// pacer.mu nests in Driver.mu, and nothing is called with it held.
type pacer struct {
	d    *Driver
	mu   sync.Mutex
	node limiter
	// auto is for the limits that ask for it, all of them; latency tells how long clients have waited since it was taken last, and takes it if there
	// are so many replies. thin counts the steps in a row that too few of them have put off.
	auto migration.Auto
	thin int
	// arriving keeps the rate that the automatic mode has found for what other nodes send here.
	arriving migration.Bucket
	latency  func(least uint64) (p99 time.Duration, replies uint64)
	// turns wait, those of jobs of greater priority first, then in the order of their asking.
	turns []turn
	timer env.Timer
	wakes time.Duration // when timer fires; 0 if it is not set
}

// turn is a slot that wants to read.
type turn struct {
	s     *sourceSlot
	round uint64 // of the stream: a turn of a round that is over is for nobody
	first int    // the job's priority
	own   *limiter
}

// lookAgain bounds the wait for a turn, so that a window that opens is noticed.
const lookAgain = time.Second

// ask lets a slot read now, and then reports true, or when its turn comes: then it calls sourceSlot.readPiece. It is called by the worker that
// steps the slot's machine.
func (p *pacer) ask(s *sourceSlot) (now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.adapt(&s.job.limiter)
	t := turn{s: s, round: s.stream.opening, first: s.job.header.Priority, own: &s.job.limiter}
	if len(p.turns) == 0 && p.ready(t) {
		p.take(t.own, p.d.cfg.ChunkBytes)
		return true
	}
	at, _ := slices.BinarySearchFunc(p.turns, t, func(a, b turn) int {
		if a.first >= b.first {
			return -1
		}
		return 1
	})
	p.turns = slices.Insert(p.turns, at, t)
	p.arm()
	return false
}

// ready reports whether a turn has come. p.mu is held.
func (p *pacer) ready(t turn) bool {
	return p.node.ready(p.d.env.Clock, &p.auto) && t.own.ready(p.d.env.Clock, &p.auto)
}

// Numbers of replies in a step of the automatic mode. Of fewer than tellingReplies the 99th percentile is the longest of all: one request that had bad
// luck. So they are counted on, for up to thinSteps; below fewReplies nobody is taken to be there.
const (
	fewReplies     = 20
	tellingReplies = 100
	thinSteps      = 5
)

// adapt steps the automatic mode when it is time, if the node's limit or that of a job asks for it. It is called whenever a slot wants to read or
// has waited, which is often enough while there is anything to slow down. p.mu is held.
func (p *pacer) adapt(own *limiter) {
	percent := p.node.limit.AutoPercent
	if own := own.limit.AutoPercent; own != 0 && (percent == 0 || own < percent) {
		percent = own
	}
	now := p.d.env.Clock.Mono()
	if percent == 0 || now < p.auto.Next {
		return
	}
	p.d.node.MeasureLatency(true)
	p99, replies := p.latency(tellingReplies)
	if replies < tellingReplies {
		if p.thin++; replies >= fewReplies && p.thin < thinSteps && p.auto.Skip(now) {
			return
		}
		p99, replies = p.latency(0)
	}
	p.thin = 0
	if replies < fewReplies {
		p99 = 0
	}
	p.auto.Step(now, p99, percent)
}

// mayArrive says why nothing may arrive from other nodes at this moment, "" if something may: what the automatic mode finds for what this
// node sends holds for what it takes, too, once for either.
func (p *pacer) mayArrive() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node.limit.AutoPercent == 0 {
		return ""
	}
	p.adapt(&p.node)
	if !p.auto.Hold && p.arriving.Ready(p.d.env.Clock.Mono(), p.auto.Rate) {
		return ""
	}
	return "throttle of the node: " + p.auto.String()
}

// adapts reports whether the node's rate is found by how long its clients wait.
func (p *pacer) adapts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node.limit.AutoPercent != 0
}

// arrived counts what has arrived.
func (p *pacer) arrived(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arriving.Take(bytes)
}

// take counts what is read; a negative number gives back. p.mu is held.
func (p *pacer) take(own *limiter, n int) {
	p.node.bucket.Take(n)
	own.bucket.Take(n)
}

// read says how much was read by a slot whose turn had come, or of a final round, for which nothing was set aside.
func (p *pacer) read(s *sourceSlot, setAside, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take(&s.job.limiter, n-setAside)
	s.job.meter.add(p.d.env.Clock.Mono(), n)
	p.arm()
}

// serve gives those their turn for whom it has come.
func (p *pacer) serve() {
	var served []turn
	p.mu.Lock()
	p.wakes = 0
	for _, t := range p.turns {
		p.adapt(t.own)
	}
	for i := 0; i < len(p.turns) && p.node.ready(p.d.env.Clock, &p.auto); {
		t := p.turns[i]
		if !t.own.ready(p.d.env.Clock, &p.auto) {
			i++ // a job that waits for itself holds nobody up
			continue
		}
		p.turns = slices.Delete(p.turns, i, i+1)
		p.take(t.own, p.d.cfg.ChunkBytes)
		served = append(served, t)
	}
	p.arm()
	p.mu.Unlock()
	for _, t := range served {
		t.s.enqueue(queued{step: func() { t.s.turnCame(t.round) }})
	}
}

// arm sets the timer to when the next turn can come. p.mu is held.
func (p *pacer) arm() {
	if len(p.turns) == 0 {
		return
	}
	now := p.d.env.Clock.Mono()
	wait := lookAgain
	p.node.ready(p.d.env.Clock, &p.auto)
	for _, t := range p.turns {
		t.own.ready(p.d.env.Clock, &p.auto)
		wait = min(wait, max(p.node.wait(now), t.own.wait(now)))
	}
	at := now + max(wait, 1)
	if p.timer != nil && p.wakes != 0 {
		if p.wakes <= at {
			return
		}
		p.timer.Stop()
	}
	p.wakes = at
	p.timer = p.d.env.Clock.AfterFunc(at-now, func() {
		if !p.d.isClosed() {
			p.serve()
		}
	})
}

// set changes a limit.
func (p *pacer) set(l *limiter, limit migration.Limit) {
	p.mu.Lock()
	l.limit, l.words = limit, ""
	p.mu.Unlock()
	p.serve()
}

// limitOf is a limit, and in words what of it counts at this moment.
func (p *pacer) limitOf(l *limiter) (limit migration.Limit, now string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, now = l.limit.At(p.d.env.Clock.WallMs())
	return l.limit, now
}

// waiting says which limit makes a job wait, "" if none does.
func (p *pacer) waiting(j *job) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.d.env.Clock.Mono()
	if words := j.limiter.waiting(now); words != "" {
		return "throttle of the job: " + words
	}
	if words := p.node.waiting(now); words != "" && slices.ContainsFunc(p.turns, func(t turn) bool { return t.own == &j.limiter }) {
		return "throttle of the node: " + words
	}
	return ""
}

// close ends the waiting.
func (p *pacer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turns = nil
	if p.timer != nil {
		p.timer.Stop()
	}
}

// readPaced reads the next piece of the round, when the job has memory for it and the limits allow it.
func (s *sourceSlot) readPaced() {
	if s.reserve() {
		s.readReserved()
	}
}

// readReserved reads the next piece when the limits allow it.
func (s *sourceSlot) readReserved() {
	p := &s.d.pacer
	if _, round := s.machine.Now(); round == migration.RoundFinal {
		p.read(s, 0, s.readPiece())
		return
	}
	if p.ask(s) {
		p.read(s, s.d.cfg.ChunkBytes, s.readPiece())
		return
	}
	s.link.asked = s.d.env.Clock.Mono()
}

// turnCame reads what the slot has waited for, unless the round is over.
func (s *sourceSlot) turnCame(round uint64) {
	n := 0
	if s.stream.opening == round {
		s.link.waited += s.d.env.Clock.Mono() - s.link.asked
		n = s.readPiece()
	}
	s.d.pacer.read(s, s.d.cfg.ChunkBytes, n)
}

// parseThrottle reads a limit that an operator gives.
func parseThrottle(text string) (migration.Limit, error) {
	l, err := migration.ParseLimit(text)
	if err != nil {
		return l, fmt.Errorf("the throttle is wrong: %w", err)
	}
	return l, nil
}
