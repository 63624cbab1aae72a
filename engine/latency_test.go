package engine

import (
	"testing"
	"time"
)

// TestLatencyBuckets: a duration is counted in a bucket whose end is at most an eighth above it.
func TestLatencyBuckets(t *testing.T) {
	last := -1
	for us := int64(1); us < 1<<33; us += 1 + us/20 {
		d := time.Duration(us) * time.Microsecond
		i := bucketOf(d)
		if i < last {
			t.Fatalf("%v is counted below shorter ones", d)
		}
		last = i
		if end := bucketEnd(i); us < 1<<31 && (end < d || end > d+d/8+2*time.Microsecond) {
			t.Fatalf("%v is counted as up to %v", d, end)
		}
	}
}

// TestLatency: what clients wait is counted with the wait for the disk, only while somebody wants to know.
func TestLatency(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.Cluster = false })
	c := n.client()
	c.want("OK", "SET", "k", "v")
	if _, replies := n.TakeLatency(0); replies != 0 {
		t.Errorf("%d replies were counted unasked", replies)
	}
	n.MeasureLatency(true)
	for range 200 {
		c.want(`"v"`, "GET", "k")
	}
	c.want("OK", "SET", "k", "v")
	for _, args := range [][]string{{"INFO"}, {"PING"}, {"DBSIZE"}, {"CONFIG", "GET", "maxclients"}} {
		c.do(args...) // of the node as a whole: not counted
	}
	if p99, replies := n.TakeLatency(202); replies != 201 || p99 != 0 {
		t.Errorf("%d replies, p99 %v: fewer than asked for are not taken", replies, p99)
	}
	if p99, replies := n.TakeLatency(201); replies != 201 || p99 > 2*time.Microsecond {
		t.Errorf("%d replies, p99 %v", replies, p99)
	}
	if p99, replies := n.TakeLatency(0); replies != 0 || p99 != 0 {
		t.Errorf("asked again: %d replies, p99 %v", replies, p99)
	}
}
