package store

import (
	"math"
	"sync"
)

// Budget is memory that trackers share, for changed keys that they hold and those that were taken from them. It may be used from any goroutine; a nil
// one is without bounds.
type Budget struct {
	mu          sync.Mutex
	limit, used int
}

// Within is the budget that a tracker takes its keys from.
type Within struct {
	Budget *Budget
	// Times is what a key counts for, as a multiple of what it takes in a tracker and in Changes: more for who makes more of it. 0 means 1.
	Times int
}

// SetLimit changes how many bytes may be in use. What is in use stays.
func (b *Budget) SetLimit(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = bytes
}

// Used is how many bytes are in use.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Return gives bytes back.
func (b *Budget) Return(bytes int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= bytes
}

// Take takes bytes for something that can be done without, and reports whether there was room.
func (b *Budget) Take(bytes int) bool { return b.take(bytes, math.MaxInt) }

// smallHolders is how many holders may have their first bytes when all else is in use: a part of the budget, as a divisor, is kept for those that
// have less than a small part of it.
const smallHolders, keptForSmall = 256, 4

// take takes bytes for a holder of so many, if there is room.
func (b *Budget) take(bytes, held int) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.limit
	if held > b.limit/smallHolders-bytes {
		limit -= b.limit / keptForSmall
	}
	if b.used+bytes > limit {
		return false
	}
	b.used += bytes
	return true
}
