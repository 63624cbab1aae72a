package host

import (
	"sync"
	"time"

	"godwit/engine/env"
)

// Syncer runs sync rounds one after another on one goroutine, which lives until Close. While a loop has requests to run, a round
// waits for it, so that their writes go with it: a sync costs as much for one write as for fifty.
type Syncer struct {
	life life

	mu     sync.Mutex
	rounds []func()
	due    time.Time // when the first of rounds, which waits for loops, begins at the latest
	busy   int       // loops that have requests to run
	wake   chan struct{}
	stop   chan struct{}
	once   sync.Once
}

var _ env.Syncer = (*Syncer)(nil)

// syncPatience is how long a sync round waits for loops that always have another request to run.
const syncPatience = time.Millisecond

// StartSyncer starts the goroutine.
func StartSyncer() *Syncer {
	s := &Syncer{wake: make(chan struct{}, 1), stop: make(chan struct{})}
	go s.loop()
	return s
}

// Schedule implements env.Syncer.
func (s *Syncer) Schedule(run func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rounds = append(s.rounds, run); s.busy == 0 {
		s.begin()
	} else if len(s.rounds) == 1 {
		s.due = time.Now().Add(syncPatience)
	}
}

// begin wakes the goroutine.
func (s *Syncer) begin() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hold tells of a loop that has requests to run. letGo must follow.
func (s *Syncer) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
}

// letGo tells that a loop has run its requests. What waits begins, also while other loops have some: theirs may take long.
func (s *Syncer) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; len(s.rounds) > 0 {
		s.begin()
	}
}

// waits reports whether a round waits for loops.
func (s *Syncer) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rounds) > 0
}

// hurry begins a round that has waited for syncPatience. Loops call it between requests.
func (s *Syncer) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rounds) > 0 && !time.Now().Before(s.due) {
		s.begin()
	}
}

func (s *Syncer) loop() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		s.mu.Lock()
		rounds := s.rounds
		s.rounds = nil
		s.mu.Unlock()
		for _, run := range rounds {
			s.life.run(run)
		}
	}
}

// Close lets no further round run and waits for the one that runs.
func (s *Syncer) Close() {
	s.once.Do(func() { close(s.stop) })
	s.life.end()
}
