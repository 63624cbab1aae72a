package engine

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencyBuckets is how many lengths are told apart: eight for each power of two microseconds, up to 2^32.
const latencyBuckets = 8 * 32

// latency counts how long clients wait for replies: from when a command begins to run until its reply leaves, with the wait for the disk, without
// that for a slot or a key. Of a pipeline the last commands count. It counts from when somebody wants to know.
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

// count counts a reply that leaves now, of a command that began then.
func (n *Node) countLatency(s *Session, began time.Duration) {
	if !s.isPeer.Load() {
		n.latency.buckets[bucketOf(n.opts.Clock.Mono()-began)].Add(1)
	}
}

// MeasureLatency says whether it is to be counted how long clients wait.
func (n *Node) MeasureLatency(on bool) { n.latency.on.Store(on) }

// TakeLatency is the 99th percentile of how long clients have waited since it was asked last, to within an eighth, and of how many replies.
func (n *Node) TakeLatency() (p99 time.Duration, replies uint64) {
	var counts [latencyBuckets]uint64
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
