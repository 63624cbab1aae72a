// Package envtest is the conformance suite of the seams in package env: what the node relies on, checked against the real
// implementation and the simulator's alike.
//
// An implementation gives a factory of worlds, and its test says:
//
//	for _, c := range envtest.Cases() {
//		t.Run(c.Name, func(t *testing.T) { c.Run(t, newWorld(t)) })
//	}
//
// The suite itself starts no goroutine and reads no clock: time passes, and callbacks run, while it calls World.Until, and
// in production at any time. It calls the seams with a lock held that callbacks take: one that ran on the caller's stack
// would block for ever.
package envtest

import (
	"fmt"
	"sync"
	"time"

	"godwit/engine/env"
)

// T is the part of testing.T that the suite needs.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// World is one implementation of the seams, as a node has it, and other nodes to call. Each case gets a new one.
type World struct {
	Clock   env.Clock
	Rand    env.Rand
	Workers env.Workers
	Syncer  env.Syncer
	Peers   env.Peers

	// Serve makes a peer. answer is called for one call of a lane at a time, possibly on another goroutine; the
	// arguments are valid during the call only.
	Serve func(answer func(args [][]byte) Answer) env.Peer
	// Cut breaks the links to a peer; new ones can be made.
	Cut func(env.Peer)
	// Nobody is a peer that cannot be reached. Stranger is one at whose address another node answers.
	Nobody, Stranger env.Peer
	// Until lets the world go on until the condition holds and reports whether it came to hold within reason: some
	// seconds of the world's time. The condition must be quick.
	Until func(condition func() bool) bool
	// Close ends the node: none of its callbacks runs any more.
	Close func()
}

// Answer is what a peer answers: nothing at all, an error reply, or a bulk string.
type Answer struct {
	Silent bool
	Error  string
	Reply  []byte
}

// Case is one test of the suite.
type Case struct {
	Name string
	Run  func(T, *World)
}

// Cases are the tests of the suite.
func Cases() []Case {
	return []Case{
		{"a timer runs once and not early", timerRuns},
		{"timers run by their time", timersOrdered},
		{"a stopped timer does not run", timerStopped},
		{"monotonic time does not go back", monoForward},
		{"randomness does not repeat", randVaries},
		{"workers run every step once", workersRun},
		{"a step may submit steps", workersNest},
		{"sync rounds run once each, one at a time", syncerRuns},
		{"a call is answered", callAnswered},
		{"calls of a lane are executed and answered in order", callsOrdered},
		{"arguments are copied before Call returns", callCopies},
		{"an error reply is a RemoteError", callRefused},
		{"a callback may call", callNests},
		{"a call without an answer times out", callTimesOut},
		{"a break fails what is outstanding, and the link comes back", callCut},
		{"a peer that cannot be reached fails calls", callNobody},
		{"another node at the address fails calls", callStranger},
		{"nothing runs after Close", closeEnds},
	}
}

// log is what callbacks did. Callbacks may run concurrently.
type log struct {
	mu     sync.Mutex
	events []string
}

// holding calls fn with the lock held that add takes.
func (l *log) holding(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, fmt.Sprintf(format, args...))
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.events...)
}

// await waits for n events and fails when there are fewer or more.
func (l *log) await(t T, w *World, n int) []string {
	t.Helper()
	w.Until(func() bool { return len(l.all()) >= n })
	pass(w, 20*time.Millisecond)
	got := l.all()
	if len(got) != n {
		t.Fatalf("%d callbacks ran, want %d: %q", len(got), n, got)
	}
	return got
}

// pass lets some of the world's time go by.
func pass(w *World, d time.Duration) {
	end := w.Clock.Mono() + d
	w.Clock.AfterFunc(d, func() {}) // a world that goes from event to event needs one there
	w.Until(func() bool { return w.Clock.Mono() >= end })
}
