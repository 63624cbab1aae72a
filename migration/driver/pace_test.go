package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
)

// throttled is a world whose first node has slots of some 20 kB each.
func throttled(t *testing.T, slots ...slot.Slot) (*world, *node) {
	t.Helper()
	w := newWorld(t, 1)
	w.inOrder = true
	cfg := quick()
	cfg.ChunkBytes, cfg.ChunkRecords, cfg.SlotsAtOnce = 1000, 100, 2
	w.born(2, cfg)
	for _, sl := range slots {
		tag := tagOf(sl)
		for i := range 20 {
			w.cmd("SET", fmt.Sprintf("{%s}%d", tag, i), strings.Repeat("v", 1000))
		}
	}
	return w, w.nodes[0]
}

// tagOf is a hash tag of a slot.
func tagOf(sl slot.Slot) string {
	for i := 0; ; i++ {
		if tag := fmt.Sprint(i); slot.OfKey([]byte(tag)) == sl {
			return tag
		}
	}
}

// sent is what a job has sent, of all that is counted against a rate.
func (w *world) sentBy(n *node, counters ...uint64) (bytes uint64) {
	for _, c := range counters {
		bytes += n.job(c).Bytes
	}
	return bytes
}

// TestThrottle: a job keeps to its rate, says so, and to another from the moment at which it is told; the rate survives a restart.
func TestThrottle(t *testing.T) {
	w, n := throttled(t, 1, 2)
	began := w.now
	job := w.startWith(engine.JobOptions{Throttle: "2kB/s", Hold: true}, 0, 1, 1, 2)
	allowed := func(rate float64, since time.Duration) uint64 { // and a message of each slot
		return uint64(rate*(w.now-since).Seconds()) + 2*1100
	}
	for range 6 {
		w.pass(time.Second)
		if sent := w.sentBy(n, job); sent > allowed(2000, began) || sent < uint64(2000*(w.now-began).Seconds())*8/10 {
			t.Fatalf("%d bytes were sent in %v at 2 kB/s", sent, w.now-began)
		}
		if st := n.job(job); st.RateBytes < 300 || st.RateBytes > 2600 {
			t.Fatalf("the status says %d bytes a second", st.RateBytes)
		}
		if st := n.job(job); st.Waiting != "throttle of the job: 2 kB/s" || st.Throttle != "2kB/s" {
			t.Fatalf("status %+v", st)
		}
	}
	n.crash()
	w.pass(time.Second)
	if st := n.job(job); st.Waiting != "throttle of the job: 2 kB/s" {
		t.Fatalf("after a restart: status %+v", st)
	}
	limit := "unlimited"
	for _, changed := range []bool{true, false} {
		r, err := n.driver().Throttle(job, &limit)
		if err != nil || r.Changed != changed || r.Limit != "unlimited" {
			t.Errorf("%+v %v", r, err)
		}
	}
	w.pass(2 * time.Second)
	if st := n.job(job); st.Held.Len() != 2 {
		t.Errorf("without a limit: status %+v", st)
	}
	w.tell(n, job, engine.VerbCutOver, true, "2 slots")
	if st := w.ended(n, job); st.State != engine.JobSuccess {
		t.Errorf("status %+v", st)
	}
	if _, err := n.driver().Throttle(job, &limit); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("a job that has ended: %v", err)
	}
	if h, err := n.driver().History(job); err != nil || !strings.Contains(fmt.Sprint(h.Events), "told to keep to unlimited") {
		t.Errorf("%+v %v", h.Events, err)
	}
}

// TestThrottleOfPayloads: whatever a job sends, what is read for it counts, in its base and in the walk before it is held.
func TestThrottleOfPayloads(t *testing.T) {
	for _, payload := range []engine.Payload{engine.PayloadRaw, engine.PayloadCommand, engine.PayloadTables} {
		w, n := throttled(t, 1)
		cfg := &n.driver().cfg
		cfg.DigestBytes, cfg.TableBytes = 1000, 4000
		began := w.now
		job := w.startWith(engine.JobOptions{Throttle: "4kB/s", Hold: true, Payload: payload}, 0, 1, 1)
		w.until("the slot is held", func() bool { return n.job(job).Held.Len() == 1 })
		// Some 20 kB are sent, and as much compared. Whoever reads last of each owes a piece, of 4 kB at most.
		if took := w.now - began; took < 8*time.Second || took > 13*time.Second {
			t.Errorf("%s: 40 kB took %v at 4 kB/s", payload, took)
		}
		w.close()
	}
}

// TestThrottleOfTheNode: all jobs together keep the node's rate, those of greater priority first, and a job with a rate of its own does not hold
// up the others. A window that opens is noticed.
func TestThrottleOfTheNode(t *testing.T) {
	w, n := throttled(t, 1, 2, 3)
	limit := "3kB/s"
	if _, err := n.driver().Throttle(0, &limit); err != nil {
		t.Fatal(err)
	}
	began := w.now
	slow := w.startWith(engine.JobOptions{Throttle: "500B/s", Priority: 5}, 0, 1, 1)
	plain := w.start(0, 1, 2)
	last := w.startWith(engine.JobOptions{Priority: -1}, 0, 1, 3)
	w.pass(5 * time.Second)
	jobs := []uint64{slow, plain, last}
	if sent := w.sentBy(n, jobs...); sent > uint64(3000*5)+3*1100 || sent < 12_000 {
		t.Errorf("%d bytes were sent in 5 s at 3 kB/s", sent)
	}
	if a, b, c := w.sentBy(n, slow), w.sentBy(n, plain), w.sentBy(n, last); a < 2000 || a > 4700 || b < 9000 || c > 1100 {
		t.Errorf("the jobs sent %d, %d and %d bytes", a, b, c)
	}
	for i, want := range []string{"throttle of the job: 500 B/s", "throttle of the node: 3 kB/s", "throttle of the node: 3 kB/s"} {
		if st := n.job(jobs[i]); st.Waiting != want {
			t.Errorf("job %d waits: %q, want %q", jobs[i], st.Waiting, want)
		}
	}
	// The world's time begins at 22:13 UTC; the window opens at 22:15.
	limit = "1kB/s 22:15-23:00=1MB/s"
	if _, err := n.driver().Throttle(0, &limit); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Second)
	if st := n.job(plain); st.State.Ended() {
		t.Errorf("the window counts before it opens: %+v", st)
	}
	w.until("the others have moved", func() bool { return n.job(plain).State.Ended() && n.job(last).State.Ended() })
	if took := w.now - began; took > 103*time.Second {
		t.Errorf("the window was noticed after %v", took)
	}
	if st := w.ended(n, slow); st.EndedMs-st.StartedMs < 20_000/500*1000 {
		t.Errorf("the job's own limit does not count any more: %+v", st)
	}
}

// TestThrottleAndPauses: rounds that wait for their turn can be given up and begun anew in any order of events, and nothing is lost. A final round
// does not wait.
func TestThrottleAndPauses(t *testing.T) {
	for seed := range uint64(12) {
		w, m := filled(t, seed, 2)
		n := w.nodes[0]
		job := w.startWith(engine.JobOptions{Throttle: "400B/s"}, 0, 1, testSlot)
		paused := false
		for i := range 60 {
			for range w.rng.IntN(20) {
				w.step(w.now + 100*time.Millisecond)
			}
			if n.job(job).State.Ended() {
				break
			}
			m.set(w, w.rng.IntN(60), fmt.Sprint("during ", i))
			if w.rng.IntN(6) == 0 {
				verb := engine.VerbPause
				if paused {
					verb = engine.VerbResume
				}
				if a, err := n.driver().Tell(job, verb, nil); err == nil && a.Changed {
					paused = !paused
				}
			}
		}
		if paused {
			w.tell(n, job, engine.VerbResume, true, "goes on")
		}
		st := w.ended(n, job)
		w.pass(3 * time.Second)
		checkMoved(w, n, w.nodes[1], m, st)
		for _, p := range st.PausesMs {
			if p > 500 {
				t.Errorf("seed %d: a pause of %.0f ms: the final round waited for the throttle", seed, p)
			}
		}
		w.close()
	}
}

// TestThrottleAuto: in the automatic mode a job goes as fast as clients bear, after a second in which it is measured what they wait without moves.
func TestThrottleAuto(t *testing.T) {
	w, n := throttled(t, 1)
	p := &n.driver().pacer
	steps := 0
	p.latency = func(uint64) (time.Duration, uint64) { // p.mu is held
		steps++
		if p.auto.Rate > 6e6 && !p.auto.Hold {
			return 1300 * time.Microsecond, 1000
		}
		return time.Millisecond, 1000
	}
	job := w.startWith(engine.JobOptions{Throttle: "1kB/s auto=20%"}, 0, 1, 1)
	w.until("the job moves", func() bool { return n.job(job).Step == "base" })
	w.pass(900 * time.Millisecond)
	if st := n.job(job); st.Bytes != 0 || st.Waiting != "throttle of the job: automatic, while it is measured how long clients wait without moves" {
		t.Fatalf("%+v", st)
	}
	w.pass(5 * time.Second)
	if st := n.job(job); st.Bytes < 3000 || st.Bytes > 6500 || st.Waiting != "throttle of the job: 1 kB/s" {
		t.Fatalf("a smaller rate still counts: %+v", st)
	}
	limit := "auto=20%"
	if _, err := n.driver().Throttle(job, &limit); err != nil {
		t.Fatal(err)
	}
	if st := w.ended(n, job); st.State != engine.JobSuccess || steps < 5 {
		t.Fatalf("%+v, %d steps", st, steps)
	}
	if p.auto.Base != time.Millisecond || p.auto.Rate < 3e6 || p.auto.Rate > 7e6 {
		t.Errorf("%+v", p.auto)
	}
}

// TestThrottleAutoCountsOn: of few replies no percentile is made: they are counted on while the rate stays, for a time; hardly any are nobody.
func TestThrottleAutoCountsOn(t *testing.T) {
	w, n := throttled(t, 1)
	p := &n.driver().pacer
	each, counted := uint64(1000), uint64(0)
	p.latency = func(least uint64) (time.Duration, uint64) { // p.mu is held
		if least != 0 {
			counted += each
		}
		if counted < least {
			return 0, counted
		}
		taken := counted
		counted = 0
		return time.Millisecond, taken
	}
	job := w.startWith(engine.JobOptions{Throttle: "100B/s auto=20%"}, 0, 1, 1)
	w.until("the job moves", func() bool { return n.job(job).Step == "base" })
	steps := func() (changed int) {
		for range 24 { // a step is half a second, and somebody asks at least once a second
			rate := p.auto.Rate
			w.pass(500 * time.Millisecond)
			if p.auto.Rate != rate {
				changed++
			}
		}
		return changed
	}
	for _, c := range []struct {
		each     uint64
		min, max int
	}{{1000, 11, 24}, {30, 2, 6}, {10, 5, 24}} {
		each = c.each
		if changed := steps(); changed < c.min || changed > c.max {
			t.Errorf("with %d replies in a step the rate changed %d times in 12 s, want %d to %d", c.each, changed, c.min, c.max)
		}
	}
}
