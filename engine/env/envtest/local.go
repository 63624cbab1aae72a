package envtest

import (
	"sync/atomic"
	"time"
)

func timerRuns(t T, w *World) {
	var l log
	start := w.Clock.Mono()
	l.holding(func() {
		for range 2 {
			w.Clock.AfterFunc(0, func() { l.add("ran") })
			w.Clock.AfterFunc(20*time.Millisecond, func() {
				if d := w.Clock.Mono() - start; d < 20*time.Millisecond {
					l.add("early, after %v", d)
					return
				}
				l.add("ran")
			})
		}
	})
	for _, e := range l.await(t, w, 4) {
		if e != "ran" {
			t.Errorf("a timer of 20 ms ran %s", e)
		}
	}
}

func timersOrdered(t T, w *World) {
	var l log
	w.Clock.AfterFunc(150*time.Millisecond, func() { l.add("second") })
	w.Clock.AfterFunc(5*time.Millisecond, func() { l.add("first") })
	if got := l.await(t, w, 2); got[0] != "first" {
		t.Errorf("the timers ran in the order %q", got)
	}
}

func timerStopped(t T, w *World) {
	var l log
	timer := w.Clock.AfterFunc(20*time.Millisecond, func() { l.add("stopped one") })
	if !timer.Stop() {
		t.Errorf("Stop of a pending timer reported false")
	}
	if timer.Stop() {
		t.Errorf("a second Stop reported true")
	}
	fired := w.Clock.AfterFunc(time.Millisecond, func() { l.add("other") })
	pass(w, 40*time.Millisecond)
	if got := l.await(t, w, 1); got[0] != "other" {
		t.Errorf("the %s ran", got[0])
	}
	if fired.Stop() {
		t.Errorf("Stop of a timer that has run reported true")
	}
}

func monoForward(t T, w *World) {
	last := w.Clock.Mono()
	for range 1000 {
		now := w.Clock.Mono()
		if now < last {
			t.Fatalf("monotonic time went from %v back to %v", last, now)
		}
		last = now
	}
	pass(w, 5*time.Millisecond)
	if now := w.Clock.Mono(); now < last+5*time.Millisecond {
		t.Errorf("monotonic time went from %v to %v in 5 ms", last, now)
	}
}

func randVaries(t T, w *World) {
	seen := map[uint64]bool{}
	for range 1000 {
		seen[w.Rand.Uint64()] = true
	}
	if len(seen) < 1000 {
		t.Errorf("1,000 numbers of 64 bits had %d values", len(seen))
	}
}

func workersRun(t T, w *World) {
	var l log
	const steps = 1000
	var ran [steps]atomic.Int32
	l.holding(func() {
		for i := range steps {
			w.Workers.Submit(func() {
				ran[i].Add(1)
				l.add("%d", i)
			})
		}
	})
	l.await(t, w, steps)
	for i := range ran {
		if n := ran[i].Load(); n != 1 {
			t.Fatalf("step %d ran %d times", i, n)
		}
	}
}

func workersNest(t T, w *World) {
	var l log
	w.Workers.Submit(func() {
		l.holding(func() {
			for i := range 10 {
				w.Workers.Submit(func() { l.add("%d", i) })
			}
		})
	})
	l.await(t, w, 10)
}

func syncerRuns(t T, w *World) {
	var l log
	var running atomic.Int32
	round := func(name string, then func()) func() {
		return func() {
			if running.Add(1) != 1 {
				l.add("%s while another ran", name)
			}
			then()
			running.Add(-1)
			l.add("%s", name)
		}
	}
	l.holding(func() {
		w.Syncer.Schedule(round("first", func() {
			l.holding(func() { w.Syncer.Schedule(round("second", func() {})) })
		}))
	})
	if got := l.await(t, w, 2); got[0] != "first" || got[1] != "second" {
		t.Errorf("the rounds ran as %q", got)
	}
}

func closeEnds(t T, w *World) {
	var before, after log
	closed := atomic.Bool{}
	note := func() {
		if closed.Load() {
			after.add("ran")
		} else {
			before.add("ran")
		}
	}
	to := w.Serve(func([][]byte) Answer { return Answer{} })
	submit := func() {
		for range 20 {
			w.Clock.AfterFunc(0, note)
			w.Clock.AfterFunc(10*time.Millisecond, note)
			w.Workers.Submit(note)
			w.Syncer.Schedule(note)
			call(w, to, "PEER", func([]byte, error) { note() })
		}
	}
	submit()
	w.Close()
	closed.Store(true)
	submit()
	pass(w, 50*time.Millisecond)
	if got := after.all(); len(got) > 0 {
		t.Errorf("%d callbacks ran after Close", len(got))
	}
}
