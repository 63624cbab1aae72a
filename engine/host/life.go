package host

import "sync"

// life lets callbacks run until it ends, and then waits for those that are running.
type life struct {
	mu      sync.Mutex
	running int
	over    bool
	quiet   chan struct{} // closed when over and nothing runs; made by end
}

// enter reports whether a callback may run; if so, leave must follow it.
func (l *life) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.running++
	return true
}

func (l *life) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if l.over && l.running == 0 {
		close(l.quiet)
	}
}

// run runs fn unless life is over.
func (l *life) run(fn func()) {
	if !l.enter() {
		return
	}
	defer l.leave()
	fn()
}

// end lets no further callback run and returns when none is running. It must not be called from a callback.
func (l *life) end() {
	l.mu.Lock()
	if !l.over {
		l.over = true
		l.quiet = make(chan struct{})
		if l.running == 0 {
			close(l.quiet)
		}
	}
	quiet := l.quiet
	l.mu.Unlock()
	<-quiet
}
