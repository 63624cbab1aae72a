package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// writer sends writes to a slot, as fast as it may and one at a time, to whichever node has it.
type writer struct {
	w       *world
	at      int
	session *engine.Session
	got     []byte
	args    []string
	n       int
	written map[string]string
	slowest time.Duration // that a write took
	began   time.Duration
}

// turn takes the answer, if there is one, and sends the next write.
func (c *writer) turn(key, value string) {
	w := c.w
	if c.args != nil {
		v, _, err := resp.ParseReply(c.got)
		if err != nil {
			return
		}
		c.got = c.got[:0]
		var sl, port int
		switch {
		case v.Kind != resp.ErrorKind:
			c.n++
			c.written[c.args[1]] = c.args[2]
			c.slowest = max(c.slowest, w.now-c.began)
			c.args, c.began = []string{"SET", key, value}, w.now
		case strings.HasPrefix(v.Str, "MOVED "):
			if _, err := fmt.Sscanf(v.Str, "MOVED %d 127.0.0.1:%d", &sl, &port); err != nil {
				w.t.Fatal(err)
			}
			c.session.Close()
			c.session, c.at = nil, port-7000
		case !strings.HasPrefix(v.Str, "TRYAGAIN"):
			w.t.Fatalf("%q: %s", c.args, v.Str)
		}
	} else {
		c.args, c.began = []string{"SET", key, value}, w.now
	}
	if c.session == nil {
		var err error
		c.session, err = w.nodes[c.at].NewSession(engine.SessionOptions{Remote: "10.0.0.9:5000", Deliver: func(b []byte) { c.got = append(c.got, b...) }})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	c.session.Execute([][]byte{[]byte(c.args[0]), []byte(c.args[1]), []byte(c.args[2])})
	c.session.Flush()
}

// overrun writes 100 kB a second into a slot that is moved at 20 kB a second, until the job ends.
func overrun(t *testing.T, overload engine.Overload) (w *world, st engine.JobStatus, writers []*writer, waited map[string]bool) {
	t.Helper()
	w = newWorld(t, 2)
	w.inOrder = true
	cfg := quick()
	cfg.Source.LagKeys, cfg.Source.LagBytes, cfg.Source.Rounds, cfg.Source.ConvergeWithin = 20, 2000, 4, 20*time.Second
	cfg.ChunkBytes, cfg.ChunkRecords, cfg.DigestRecords = 1000, 100, 1000
	w.born(2, cfg)
	for i := range 200 {
		w.cmd("SET", keyOf(i), strings.Repeat("v", 100))
	}
	other := slot.Slot(1)
	tag := tagOf(other)
	n := w.nodes[0]
	job := w.startWith(engine.JobOptions{Throttle: "20kB/s", OnOverload: overload}, 0, 1, testSlot)
	for range 4 {
		writers = append(writers, &writer{w: w, written: map[string]string{}})
	}
	waited = map[string]bool{}
	for i := 0; !n.job(job).State.Ended(); i++ {
		for k, c := range writers {
			c.turn(keyOf(k+4*(i%250)), fmt.Sprintf("%0100d", i))
		}
		if i%100 == 0 { // writers of other slots are not slowed
			began := w.now
			w.cmd("SET", "{"+tag+"}", fmt.Sprint(i))
			if w.now-began > 30*time.Millisecond {
				t.Fatalf("a write to another slot took %v", w.now-began)
			}
		}
		waited[n.job(job).Waiting] = true
		w.pass(4 * time.Millisecond)
		if w.now > 5*time.Minute {
			t.Fatalf("it goes on for ever: %+v", n.job(job))
		}
	}
	return w, n.job(job), writers, waited
}

// TestSlow: the writers of a slot that is written faster than it can be sent are slowed down until it can be handed over, and write as fast as ever
// then. No write is lost.
func TestSlow(t *testing.T) {
	w, st, writers, waited := overrun(t, engine.OverloadSlow)
	if st.State != engine.JobSuccess || !waited["the slot is written faster than it can be sent: its writers are slowed down"] {
		t.Fatalf("%+v, waited %v", st, waited)
	}
	before, slowest := 0, time.Duration(0)
	for _, c := range writers {
		before += c.n
		slowest = max(slowest, c.slowest)
	}
	if slowest < 30*time.Millisecond || slowest > 5*time.Second {
		t.Errorf("the slowest write took %v", slowest)
	}
	began := w.now
	for i := range 250 {
		for k, c := range writers {
			c.turn(keyOf(k+4*i), fmt.Sprintf("after %d", i))
		}
		w.pass(4 * time.Millisecond)
	}
	after := -before
	content := map[string]string{}
	for _, c := range writers {
		after += c.n
		for k, v := range c.written {
			content[k] = v
		}
	}
	if perSecond := float64(after) / (w.now - began).Seconds(); perSecond < 500 {
		t.Errorf("after the move %.0f writes a second", perSecond)
	}
	t.Logf("moved in %d ms, the slowest write took %v, %d writes before and %d after", st.EndedMs-st.StartedMs, slowest, before, after)
	w.pass(time.Second)
	for k, v := range content {
		if got := w.do(w.nodes[1], "GET", k); got.Str != v && !strings.HasPrefix(got.Str, "after") {
			t.Fatalf("%s is %s, want %q", k, got, v)
		}
	}
}

// TestKeepOnOverload: with writers that are left alone the job says after its time that the slot cannot be handed over, and it stays.
func TestKeepOnOverload(t *testing.T) {
	w, st, writers, waited := overrun(t, engine.OverloadKeep)
	if st.State != engine.JobFail || !strings.Contains(st.Error, "cannot converge: for 2") || w.nodes[0].Record(testSlot).State != cluster.Serving {
		t.Fatalf("%+v", st)
	}
	for _, c := range writers {
		if c.slowest > 50*time.Millisecond {
			t.Errorf("a write took %v", c.slowest)
		}
	}
	if !waited["the slot is written faster than it can be sent"] || waited["the slot is written faster than it can be sent: its writers are slowed down"] {
		t.Errorf("it waited: %v", waited)
	}
}

// TestHotLargeKeyAsCommands: a key that is sent as a whole, and takes longer than a pause may, does not begin pauses that cannot end while it is
// written, and the job says what is in the way. When it is written no more the slot is handed over.
func TestHotLargeKeyAsCommands(t *testing.T) {
	for _, hot := range []bool{true, false} {
		w := newWorld(t, 3)
		w.inOrder = true
		cfg := quick()
		cfg.Source.LagKeys, cfg.Source.Rounds, cfg.Source.ConvergeWithin, cfg.Source.PauseDeadline = 100, 3, 20*time.Second, 100*time.Millisecond
		cfg.ChunkBytes, cfg.ChunkRecords, cfg.Source.WindowBytes = 1000, 100, 2000 // 2 kB each time that an answer comes
		w.born(2, cfg)
		for i := range 600 {
			w.cmd("HSET", keyOf(1), fmt.Sprint("f", i), strings.Repeat("v", 500))
		}
		n := w.nodes[0]
		w.lat = 10 * time.Millisecond
		job := w.startWith(engine.JobOptions{Payload: engine.PayloadCommand, OnOverload: engine.OverloadKeep}, 0, 1, testSlot)
		for i := 0; !n.job(job).State.Ended(); i++ {
			if hot || i < 200 {
				w.cmd("HSET", keyOf(1), "f7", fmt.Sprint(i))
			}
			w.pass(20 * time.Millisecond)
			if w.now > 5*time.Minute {
				t.Fatalf("it goes on for ever: %+v", n.job(job))
			}
		}
		st := n.job(job)
		if st.PausesGivenUp != 0 {
			t.Errorf("hot %v: %d pauses were begun that could not end", hot, st.PausesGivenUp)
		}
		if hot && (st.State != engine.JobFail || !strings.Contains(st.Error, "commands send a changed key as a whole") || n.Record(testSlot).State != cluster.Serving) {
			t.Errorf("hot: %+v", st)
		}
		if !hot && st.State != engine.JobSuccess {
			t.Errorf("not hot any more: %+v", st)
		}
		w.close()
	}
}

// TestPauseBudget: a pause that cannot end is given up at its deadline, its writers go on, and it is tried again.
func TestPauseBudget(t *testing.T) {
	w := newWorld(t, 4)
	cfg := quick()
	cfg.Source.PauseDeadline = 100 * time.Millisecond
	cfg.CallTimeout = time.Second
	w.born(2, cfg)
	for i := range 20 {
		w.cmd("SET", keyOf(i), "v")
	}
	n := w.nodes[0]
	job := w.start(0, 1, testSlot)
	w.silent = func(from *node, _ [][]byte) bool { return from == n && n.paused(testSlot) }
	w.until("the slot pauses", func() bool { return n.paused(testSlot) })
	began := w.now
	if v := w.do(n, "SET", keyOf(1), "w"); v.String() != "OK" {
		t.Fatal(v)
	}
	if took := w.now - began; took > 150*time.Millisecond {
		t.Errorf("a write waited %v for a pause of at most 100 ms", took)
	}
	w.silent = nil
	if st := w.ended(n, job); st.State != engine.JobSuccess || len(st.PausesMs) != 1 || st.PausesMs[0] > 100 || st.PausesGivenUp < 1 {
		t.Errorf("%+v", st)
	}
}

// paused reports whether the writers of a slot are paused.
func (n *node) paused(sl slot.Slot) (yes bool) {
	n.Exclusive(sl, func(o *engine.Owned) { yes = o.Paused() })
	return yes
}
