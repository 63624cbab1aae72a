// Package reuse keeps large byte slices that nobody needs any more for those who need one next. A message of some MiB costs more in new
// memory, which the system hands out page by page and cleared, than in copying it.
package reuse

import "sync"

// Slices are byte slices that can be used again. What lies there unused is the garbage collector's, so that nothing has to bound it. The zero value
// is ready, and safe for concurrent use.
type Slices struct {
	// Spoil, set before the first use, has Put overwrite every slice, however small, and keep none: who still uses one that was given away shows it at once,
	// and each time. For tests and simulations.
	Spoil bool

	pool sync.Pool
}

// Least is what a slice must have room for to be kept, in bytes: the allocator is quick with smaller ones.
const Least = 128 << 10

// spoilt is what Spoil overwrites slices with.
const spoilt = 0xdd

// Get returns an empty slice: one that was put, of whatever capacity, or nil.
func (s *Slices) Get() []byte {
	if b, ok := s.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

// Put gives a slice away: nobody may use its memory any more but who gets it.
func (s *Slices) Put(b []byte) {
	if s.Spoil {
		b = b[:cap(b)]
		for i := range b {
			b[i] = spoilt
		}
		return
	}
	if cap(b) >= Least {
		s.pool.Put(&b)
	}
}
