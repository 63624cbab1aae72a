package sim

import (
	"math/rand/v2"
	"time"
)

// dice draws from one stream of the seed's randomness. Each purpose has a stream of its own, so that a draw more in one
// place does not change everything elsewhere.
type dice struct{ *rand.Rand }

// The streams.
const (
	streamSwarm uint64 = iota + 1
	streamNetwork
	streamTime
	streamNemesis
	streamOperator
	streamDisk
	streamNode   // one for each life of each process
	streamClient // one for each client
	streamFaults
	streamVerbs
	streamClassic
)

func newDice(seed, stream, index uint64) dice {
	return dice{rand.New(rand.NewPCG(seed, stream<<32|index))}
}

// chance reports true with probability p.
func (d dice) chance(p float64) bool { return p > 0 && d.Float64() < p }

// between draws a duration from lo to hi, evenly.
func (d dice) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(d.Int64N(int64(hi-lo)))
}

// around draws a duration with the given mean, exponentially, at most ten times the mean.
func (d dice) around(mean time.Duration) time.Duration {
	return time.Duration(min(d.ExpFloat64(), 10) * float64(mean))
}

// pick draws one of the values.
func pick[T any](d dice, values ...T) T { return values[d.IntN(len(values))] }
