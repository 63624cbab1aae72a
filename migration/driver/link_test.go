package driver

import (
	"testing"
	"time"

	"godwit/engine"
)

// TestSmallHotSlot: a slot of one small key that is written all the time moves over a link on which answers take longer than a pause is to take,
// and nobody is slowed down for it.
func TestSmallHotSlot(t *testing.T) {
	w := newWorld(t, 2)
	w.inOrder = true
	cfg := quick()
	cfg.Source.LagKeys = 2000
	cfg.CallTimeout = 2 * time.Second
	w.born(2, cfg)
	w.cmd("SET", keyOf(1), "1")
	n := w.nodes[0]
	w.lat = 80 * time.Millisecond
	job := w.startWith(engine.JobOptions{}, 0, 1, testSlot)
	from := w.now
	c := &writer{w: w, written: map[string]string{}}
	for !n.job(job).State.Ended() && w.now < from+10*time.Second {
		c.turn(keyOf(1), "12345678")
		if waiting := n.job(job).Waiting; waiting != "" {
			t.Fatalf("after %v it waits: %s", w.now-from, waiting)
		}
		w.pass(4 * time.Millisecond)
	}
	if st := n.job(job); st.State != engine.JobSuccess {
		t.Errorf("%+v", st)
	}
}

// TestLink: the trip of a message is told from what its bytes take, and a few bytes say nothing of a rate.
func TestLink(t *testing.T) {
	const trip = 80 * time.Millisecond
	var l link
	now, bytes := time.Duration(0), uint64(0)
	round := func(n uint64, took time.Duration) {
		l.begin(now, bytes)
		now, bytes = now+took, bytes+n
		l.end(now, bytes)
	}
	round(23, trip)
	if got := l.takes(1 << 20); got != 0 || l.perSecond != 0 {
		t.Errorf("by one small round a MiB takes %v, %v bytes get through in a second", got, l.perSecond)
	}
	round(0, time.Microsecond) // nothing was sent, nothing answered
	round(1<<20, trip+100*time.Millisecond)
	if got := l.takes(1 << 20); got < 99*time.Millisecond || got > 101*time.Millisecond {
		t.Errorf("what took 100 ms is to take %v", got)
	}
	round(23, time.Second)
	round(1<<20, trip)
	if got := l.takes(1 << 20); got != trip/tripShare {
		t.Errorf("what took no longer than a trip is to take %v", got)
	}
}
