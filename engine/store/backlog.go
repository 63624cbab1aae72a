package store

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
)

// backlog holds commits that are visible, since the row cache has what they wrote, and that the engine does not have yet: a worker
// applies them beside whoever goes on with the next requests, or, if they are of few rows, who has run a round of requests does when that is over. A read that the row cache, or the roster, cannot answer settles first, which is to apply
// what waits, and so does everything that looks at more than one key.
//
// Invariants.
//  1. Commits are applied, and so logged, in the order in which they were postponed; one that is applied at once comes behind all that
//     had been postponed when it began.
//  2. When settle has returned, the engine has all that was committed before it was called.
//  3. What waits weighs not much more than room: who would add to more settles.
//  4. Who applies what waits is on its way: a worker is scheduled, or somebody settles, or a round is under way.
//
// Locks: applying, then mu.
type backlog struct {
	workers env.Workers // nil if nothing is postponed
	minRows uint32      // fewer wake no worker, which costs more than to apply them
	room    int         // how much may wait, as weight counts
	round   func()      // catchUp, as workers take it

	// waiting counts the commits that are postponed and not applied. It is raised before the row cache shows them.
	waiting atomic.Int64

	applying sync.Mutex // held by who applies
	taken    []*Batch   // what is being applied

	mu        sync.Mutex
	queue     []*Batch     // in the order of their commits
	weight    int          // of the queue
	scheduled bool         // a worker is going to come
	rounds    atomic.Int32 // that are under way; changed with mu held
	counts    Postponed
	reads     atomic.Uint64 // Postponed.Settled
}

// Postponed counts what has become of commits that were to be applied later.
type Postponed struct {
	Commits uint64
	Settled uint64 // how often a read of the engine has applied what waited
	Full    uint64 // how often a commit has filled the backlog
}

// Postponed tells what was postponed since the store was opened.
func (s *Store) Postponed() Postponed {
	q := &s.backlog
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.counts
	out.Settled = q.reads.Load()
	return out
}

const (
	// backlogBytes is how much may wait, in bytes: two milliseconds' work, which is what a read that settles may have to wait. With a quarter of
	// it who commits often waits for a worker that waits for a processor.
	backlogBytes = 256 << 10
	// rowBytes is what a row counts for at least: finding its place in the memory table is most of the work, and of short rows too many would wait.
	rowBytes = 192
	// backlogRows is how many rows wake a worker: it is awake for less than it costs to wake it for fewer.
	backlogRows = 4
	// gatheredBytes is how long a batch may become that commits of fewer rows are gathered into when they are applied, in bytes.
	gatheredBytes = 64 << 10
	// simBacklogBytes is in the place of backlogBytes in a simulated store that does not say otherwise, so that few commits fill it.
	simBacklogBytes = 2 << 10
)

// weight is what a commit counts for in the backlog, in bytes.
func weight(b *Batch) int { return max(b.Bytes(), rowBytes*int(b.b.Count())) }

// postpone makes a commit visible and leaves it to a worker to apply it; it reports false where it must be applied at once. full says that the
// caller is to settle when it is done with the commit.
func (s *Store) postpone(b *Batch) (postponed, full bool) {
	q := &s.backlog
	if q.workers == nil || b.rangeDeletes > 0 || b.apart.Hi != nil || b.Bytes() > q.room ||
		b.b.Count() < q.minRows && q.waiting.Load() == 0 && q.rounds.Load() == 0 {
		return false, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Add(1)
	s.rows.applied(b.b.Reader()) // with mu held: who misses in the cache what was pushed out again finds it in the queue
	q.counts.Commits++
	q.weight += weight(b)
	if full = q.weight > q.room; full {
		q.counts.Full++
	}
	if full && mutant.On(mutant.BacklogLost) {
		q.waiting.Add(-1)
		return true, true
	}
	q.queue = append(q.queue, b)
	if !q.scheduled && (b.b.Count() >= q.minRows || q.rounds.Load() == 0) {
		q.scheduled = true
		q.workers.Submit(q.round)
	}
	return true, full
}

// BeginRound says that requests are going to be run one after another, on this goroutine, and that ApplyRound and EndRound follow: commits of few rows wait for
// that meanwhile, to be applied together. Of a store that postpones nothing rounds cost nothing.
func (s *Store) BeginRound() {
	q := &s.backlog
	if q.workers == nil {
		return
	}
	q.mu.Lock()
	q.rounds.Add(1)
	q.mu.Unlock()
}

// ApplyRound applies what waits for the end of the round, if no worker is going to; it leaves it to one if others apply at this moment. It may wait for the engine. It is
// for a moment when replies have been sent: clients have something to do meanwhile.
func (s *Store) ApplyRound() {
	q := &s.backlog
	if q.workers == nil || !q.unattended() {
		return
	}
	if !q.applying.TryLock() {
		q.attend()
		return
	}
	defer q.applying.Unlock()
	s.applyQueue()
}

// EndRound ends the round, and leaves to a worker what has come since ApplyRound.
func (s *Store) EndRound() {
	q := &s.backlog
	if q.workers == nil {
		return
	}
	q.mu.Lock()
	q.rounds.Add(-1)
	q.mu.Unlock()
	if q.unattended() {
		q.attend()
	}
}

// unattended reports whether commits wait, and no worker is going to come.
func (q *backlog) unattended() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue) > 0 && !q.scheduled
}

// attend has a worker come.
func (q *backlog) attend() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.scheduled {
		q.scheduled = true
		q.workers.Submit(q.round)
	}
}

// settle applies what was postponed before it was called.
func (s *Store) settle() {
	if q := &s.backlog; q.waiting.Load() != 0 {
		q.applying.Lock()
		defer q.applying.Unlock()
		s.applyQueue()
	}
}

// settleToRead is settle, for who is going to read the engine.
func (s *Store) settleToRead() {
	q := &s.backlog
	if q.waiting.Load() == 0 || mutant.On(mutant.ReadUnsettled) {
		return
	}
	q.reads.Add(1)
	s.settle()
}

// catchUp is a worker's step: it applies what waits, and has another follow if more has come meanwhile.
func (s *Store) catchUp() {
	s.settle()
	q := &s.backlog
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.scheduled = len(q.queue) > 0; q.scheduled {
		q.workers.Submit(q.round)
	}
}

// applyQueue applies what is in the queue. q.applying is held.
func (s *Store) applyQueue() {
	q := &s.backlog
	q.mu.Lock()
	q.queue, q.taken, q.weight = q.taken[:0], q.queue, 0
	q.mu.Unlock()
	if mutant.On(mutant.BacklogReversed) {
		slices.Reverse(q.taken)
	}
	for rest := q.taken; len(rest) > 0; {
		n := gather(rest)
		s.apply(rest[0])
		rest[0].Discard()
		clear(rest[:n])
		rest = rest[n:]
		q.waiting.Add(-int64(n))
		s.applied()
	}
}

// gather takes the commits behind the first one into it, as long as all are of few rows: each that is applied by itself costs as much again as one row. It returns for how many the first
// one stands then.
func gather(commits []*Batch) (n int) {
	first := commits[0]
	for n = 1; n < len(commits) && first.Bytes() < gatheredBytes; n++ {
		next := commits[n]
		if n == 1 && first.b.Count() >= backlogRows || next.b.Count() >= backlogRows {
			break
		}
		if err := first.b.Apply(next.b, nil); err != nil {
			panic(err) // the batch was built by this process
		}
		next.Discard()
	}
	return n
}

// apply gives a batch to the engine.
func (s *Store) apply(b *Batch) {
	if err := s.kv.apply(b); err != nil {
		s.fatal(fmt.Errorf("store: commit: %w", err))
	}
}

// applied lets the engine do what it does after each commit.
func (s *Store) applied() {
	if err := s.kv.committed(); err != nil {
		s.fatal(fmt.Errorf("store: flush: %w", err))
	}
}

// settled reads the engine when it has everything.
type settled struct{ s *Store }

func (r settled) get(k, dst []byte) ([]byte, bool, error) {
	r.s.settleToRead()
	return r.s.kv.get(k, dst)
}

func (r settled) newIter(span key.Span) (*Iter, error) {
	r.s.settleToRead()
	return r.s.kv.newIter(span)
}
