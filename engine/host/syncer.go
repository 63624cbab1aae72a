package host

import (
	"sync"

	"godwit/engine/env"
)

// Syncer runs sync rounds one after another on one goroutine, which lives until Close.
type Syncer struct {
	life life

	mu     sync.Mutex
	rounds []func()
	wake   chan struct{}
	stop   chan struct{}
	once   sync.Once
}

var _ env.Syncer = (*Syncer)(nil)

// StartSyncer starts the goroutine.
func StartSyncer() *Syncer {
	s := &Syncer{wake: make(chan struct{}, 1), stop: make(chan struct{})}
	go s.loop()
	return s
}

// Schedule implements env.Syncer.
func (s *Syncer) Schedule(run func()) {
	s.mu.Lock()
	s.rounds = append(s.rounds, run)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
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
