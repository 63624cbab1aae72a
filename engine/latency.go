package engine

import (
	"math/bits"
	"sync/atomic"
	"time"

	"godwit/engine/command"
)

// latencyBuckets is how many lengths are told apart: eight for each power of two microseconds, up to 2^32.
const latencyBuckets = 8 * 32

// latency counts how long clients wait for replies: from when a command begins to run until its reply leaves, with the wait for the disk, without
// that for a slot or a key. Of a pipeline the last commands count. What is asked of the node as a whole does not count: who watches a move asks for its
// status, which takes longer than a read, and would be told of himself. It counts from when somebody wants to know.
type latency struct {
	on      atomic.Bool
	buckets [latencyBuckets]atomic.Uint64
}

// bucketOf is where a duration is counted: the part of 1/8 of the power of two that it lies in.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	power := bits.Len64(us) - 1
	return min(8*power+int(us<<3>>power&7), latencyBuckets-1)
}

// bucketEnd is the longest duration of a bucket.
func bucketEnd(i int) time.Duration {
	power, part := i/8, uint64(i%8)
	return time.Duration((8+part+1)<<power>>3) * time.Microsecond
}

// uncounted is when a command began whose wait does not count.
const uncounted time.Duration = -1

// beganAt is when the command began that was answered last, while it is measured how long clients wait; uncounted if its wait does not count. s.mu
// is held.
func (s *Session) beganAt() time.Duration {
	if !s.n.latency.on.Load() || s.isPeer.Load() {
		return uncounted
	}
	spec := s.lastCmd.Load()
	if spec == nil || spec.Flags&(command.Server|command.NodeWide) != 0 && spec.Name != "exec" {
		return uncounted
	}
	return time.Duration(s.active.Load())
}

// countLatency counts a reply that leaves now, of a command that began then.
func (n *Node) countLatency(began time.Duration) {
	if began != uncounted {
		n.latency.buckets[bucketOf(n.opts.Clock.Mono()-began)].Add(1)
	}
}

// MeasureLatency says whether it is to be counted how long clients wait.
func (n *Node) MeasureLatency(on bool) { n.latency.on.Store(on) }

// TakeLatency is the 99th percentile of how long clients have waited since it was taken last, to within an eighth, and of how many replies. If
// these are fewer than least it takes nothing, and tells only how many there are by now.
func (n *Node) TakeLatency(least uint64) (p99 time.Duration, replies uint64) {
	for i := range n.latency.buckets {
		replies += n.latency.buckets[i].Load()
	}
	if replies < least {
		return 0, replies
	}
	var counts [latencyBuckets]uint64
	replies = 0
	for i := range counts {
		counts[i] = n.latency.buckets[i].Swap(0)
		replies += counts[i]
	}
	seen := uint64(0)
	for i, c := range counts {
		if seen += c; c > 0 && seen*100 >= replies*99 {
			return bucketEnd(i), replies
		}
	}
	return 0, replies
}
