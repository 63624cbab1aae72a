package host

import (
	cryptorand "crypto/rand"
	"math/rand/v2"
	"sync"
	"time"

	"godwit/engine/env"
)

// Clock is the machine's clock.
type Clock struct {
	start time.Time
	life  life
}

var _ env.Clock = (*Clock)(nil)

// NewClock returns a clock whose monotonic time starts now.
func NewClock() *Clock { return &Clock{start: time.Now()} }

// WallMs implements env.Clock.
func (c *Clock) WallMs() int64 { return time.Now().UnixMilli() }

// Mono implements env.Clock.
func (c *Clock) Mono() time.Duration { return time.Since(c.start) }

// AfterFunc implements env.Clock: fn runs on a goroutine of its own.
func (c *Clock) AfterFunc(d time.Duration, fn func()) env.Timer {
	return time.AfterFunc(d, func() { c.life.run(fn) })
}

// Close lets no timer fire any more and waits for those that have.
func (c *Clock) Close() { c.life.end() }

// Rand is a source of randomness seeded by the system.
type Rand struct {
	mu  sync.Mutex
	src *rand.ChaCha8
}

var _ env.Rand = (*Rand)(nil)

// NewRand returns a source that nobody can predict.
func NewRand() *Rand {
	var seed [32]byte
	_, _ = cryptorand.Read(seed[:]) // never fails: the process would have ended
	return &Rand{src: rand.NewChaCha8(seed)}
}

// Uint64 implements env.Rand.
func (r *Rand) Uint64() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Uint64()
}
