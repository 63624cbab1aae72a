package host

import (
	"runtime"
	"sync"

	"godwit/engine/env"
)

// Workers runs steps on a bounded number of goroutines, in the order of their submission. The queue has no bound of its
// own, since Submit may not block and a step must not be lost: whoever submits bounds what it has underway.
type Workers struct {
	life  life
	limit int

	mu      sync.Mutex
	queue   []func()
	working int // goroutines
	most    int // the longest that the queue has been
}

var _ env.Workers = (*Workers)(nil)

// NewWorkers returns workers on at most limit goroutines; 0 means four for each processor, since steps wait for the disk.
func NewWorkers(limit int) *Workers {
	if limit <= 0 {
		limit = 4 * runtime.GOMAXPROCS(0)
	}
	return &Workers{limit: limit}
}

// Submit implements env.Workers.
func (w *Workers) Submit(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, fn)
	w.most = max(w.most, len(w.queue))
	if w.working < w.limit {
		w.working++
		go w.work()
	}
}

// work runs steps until there are none; Submit starts it again.
func (w *Workers) work() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.queue = nil
			w.working--
			w.mu.Unlock()
			return
		}
		fn := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.life.run(fn)
		// A step takes a millisecond or many, and the next one follows at once: without this, who answers a client or a peer would wait until
		// the scheduler takes the processor away, after ten of them, from each of the goroutines that run steps.
		runtime.Gosched()
	}
}

// Queued is how many steps wait now, and how many have waited at most.
func (w *Workers) Queued() (now, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue), w.most
}

// Close lets no further step run and waits for those that run.
func (w *Workers) Close() { w.life.end() }
