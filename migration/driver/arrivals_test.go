package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
)

// counted is a counter of a node's migrator.
func (n *node) counted(name string) uint64 {
	n.w.t.Helper()
	for _, c := range n.driver().Metrics() {
		if c.Name == name {
			return c.Value
		}
	}
	n.w.t.Fatalf("no counter %s", name)
	return 0
}

// TestBusyTarget: whatever a target refuses, for as long as it has no room, arrives in the end, and nothing twice or in another order; the source
// says what it waits for, and sends little meanwhile.
func TestBusyTarget(t *testing.T) {
	for seed := range uint64(8) {
		w, m := filled(t, seed, 2)
		from, to := w.nodes[0], w.nodes[1]
		busy, asked := false, 0
		to.driver().cfg.Busy = func() string {
			if asked++; busy {
				return "it is at lunch"
			}
			return ""
		}
		job := w.start(0, 1, testSlot)
		said := false
		for i := range 60 {
			busy = w.rng.IntN(3) > 0
			for range w.rng.IntN(30) {
				w.step(w.now + 100*time.Millisecond)
			}
			if busy && i%10 == 5 {
				before := asked
				w.pass(5 * time.Second)
				if n := asked - before; n > 250 { // of one message every 50 ms at most, after some of several
					t.Errorf("seed %d: asked %d times in 5 s for what there is no room for", seed, n)
				}
			}
			st := from.job(job)
			if st.State.Ended() {
				break
			}
			said = said || st.Waiting == "the target is busy: it is at lunch"
			m.set(w, w.rng.IntN(60), fmt.Sprint("during ", i))
		}
		busy = false
		st := w.ended(from, job)
		w.pass(3 * time.Second)
		checkMoved(w, from, to, m, st)
		if to.counted("migration_refused_busy") == 0 || !said {
			t.Errorf("seed %d: %d refusals, said %v", seed, to.counted("migration_refused_busy"), said)
		}
		w.close()
	}
}

// TestBusyForPauses: what writers wait for is taken by a target that refuses everything else.
func TestBusyForPauses(t *testing.T) {
	w, m := filled(t, 4, 2)
	from, to := w.nodes[0], w.nodes[1]
	to.driver().cfg.Busy = func() string {
		if from.stepOf(testSlot).String() == "pausing" {
			return "always when it matters"
		}
		return ""
	}
	job := w.start(0, 1, testSlot)
	for i := 0; !from.job(job).State.Ended(); i++ {
		m.set(w, i%60, fmt.Sprint("during ", i))
	}
	st := w.ended(from, job)
	if st.PausesGivenUp != 0 {
		t.Errorf("%d pauses were given up", st.PausesGivenUp)
	}
	checkMoved(w, from, to, m, st)
}

// TestBusyForTables: blocks that were refused are sent again, and the base goes as tables all the same.
func TestBusyForTables(t *testing.T) {
	w := tablesWorld(t, 3)
	asked := 0
	w.nodes[1].driver().cfg.Busy = func() string {
		if asked++; asked%3 > 0 {
			return "no room for tables"
		}
		return ""
	}
	job := w.startWith(engine.JobOptions{Payload: engine.PayloadTables}, 0, 1, testSlot)
	w.until("it says so", func() bool { st := w.nodes[0].job(job); return st.Waiting == "the target is busy: no room for tables" })
	w.movedTables(job, 1)
}

// TestImportBytes: a target takes no more than it may hold before it is on its disk.
func TestImportBytes(t *testing.T) {
	w, m := filled(t, 6, 2)
	from, to := w.nodes[0], w.nodes[1]
	to.driver().cfg.ImportBytes = 200 // a message or two
	job := w.start(0, 1, testSlot)
	w.until("the job ends", func() bool {
		a := &to.driver().arrivals
		if a.undone > 200+7*100 {
			t.Fatalf("%d bytes are not durable", a.undone)
		}
		return from.job(job).State.Ended()
	})
	checkMoved(w, from, to, m, from.job(job))
	if to.counted("migration_refused_busy") == 0 {
		t.Error("nothing was refused")
	}
	if n := to.driver().arrivals.undone; n != 0 {
		t.Errorf("%d bytes are not durable for ever", n)
	}
}

// TestImportsAtOnce: slots arrive at a node from several others, no more at once than may; the others wait and say why. Slots that are held leave
// their places to others.
func TestImportsAtOnce(t *testing.T) {
	w := newWorld(t, 2)
	cfg := quick()
	cfg.ImportsAtOnce, cfg.ChunkBytes = 2, 200
	w.born(3, cfg)
	for sl := range slot.Slot(12) {
		for i := range 40 {
			w.cmd("SET", fmt.Sprintf("{%s}%d", tagOf(sl), i), strings.Repeat("v", 50))
		}
	}
	if st := w.ended(w.nodes[0], w.start(0, 1, 0, 1, 2, 3, 4, 5)); st.State != engine.JobSuccess {
		t.Fatalf("%+v", st)
	}
	held := w.startWith(engine.JobOptions{Hold: true}, 1, 2, 0, 1, 2)
	w.until("three are held", func() bool { st := w.nodes[1].job(held); return st.Held.Len() == 3 })
	w.pass(time.Second)
	one, two := w.start(1, 2, 3, 4, 5), w.start(0, 2, 6, 7, 8, 9, 10, 11)
	most, said := 0, map[uint64]bool{}
	w.until("both have ended", func() bool {
		moving := 0
		for _, s := range w.nodes[2].driver().Importing() {
			if s.Slot > 2 {
				moving++
			}
		}
		most = max(most, moving)
		a, b := w.nodes[1].job(one), w.nodes[0].job(two)
		const why = "the target is busy: it takes 2 slots at a time"
		said[one], said[two] = said[one] || a.Waiting == why, said[two] || b.Waiting == why
		return a.State.Ended() && b.State.Ended()
	})
	a, b := w.nodes[1].job(one), w.nodes[0].job(two)
	if a.State != engine.JobSuccess || b.State != engine.JobSuccess || most != 2 || !said[one] || !said[two] {
		t.Errorf("%+v\n%+v\nat once %d, said so %v", a, b, most, said)
	}
	w.tell(w.nodes[1], held, engine.VerbCutOver, true, "3 slots")
	w.ended(w.nodes[1], held)
}

// TestAutoForArrivals: the automatic mode of a node slows what arrives, too.
func TestAutoForArrivals(t *testing.T) {
	w, n := throttled(t, 1)
	to := w.nodes[1]
	p := &to.driver().pacer
	p.latency = func(uint64) (time.Duration, uint64) { return time.Millisecond, 1000 }
	limit := "auto=20%"
	if _, err := to.driver().Throttle(0, &limit); err != nil {
		t.Fatal(err)
	}
	job := w.start(0, 1, 1)
	w.until("it is measured what clients wait", func() bool {
		st := n.job(job)
		return st.Waiting == "the target is busy: throttle of the node: automatic, while it is measured how long clients wait without moves"
	})
	if st := n.job(job); st.Step != "base" {
		t.Fatalf("%+v", st)
	}
	if st := w.ended(n, job); st.State != engine.JobSuccess || st.EndedMs-st.StartedMs < 1000 {
		t.Errorf("%+v", st)
	}
	rate := int(p.auto.Rate)
	p.arrived(rate / 10)
	if why := p.mayArrive(); !strings.HasPrefix(why, "throttle of the node: ") {
		t.Errorf("a tenth of a second's share has arrived at once, and it says %q", why)
	}
	w.pass(100 * time.Millisecond)
	if why := p.mayArrive(); why != "" {
		t.Errorf("a tenth of a second later it says %q", why)
	}
}
