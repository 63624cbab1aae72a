package driver

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// quick makes the times short and the limits small enough for a slot of a few dozen records to show everything.
func quick() Config {
	return Config{
		Source: migration.Config{RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, LagKeys: 3, Rounds: 8, Pauses: 1000, AbortTries: 1000, GiveUpAfter: 10 * time.Minute},
		// Below the walk's small size a chunk is replaced rather than halved.
		ChunkRecords: 7, DigestRecords: 20, IngestBytes: 64 << 20, SmallSlotBytes: 1, CallTimeout: 40 * time.Millisecond, AskAfter: 200 * time.Millisecond,
		Spoil: true,
	}
}

// shadow is the content that clients have been told of.
type shadow map[string]string

func (m shadow) set(w *world, i int, v string) {
	w.t.Helper()
	if got := w.cmd("SET", keyOf(i), v).String(); got != "OK" {
		w.t.Fatalf("SET: %s", got)
	}
	m[keyOf(i)] = v
}

func (m shadow) del(w *world, i int) {
	w.t.Helper()
	w.cmd("DEL", keyOf(i))
	delete(m, keyOf(i))
}

// check compares what a node serves with the shadow, by commands and by records.
func (m shadow) check(w *world, n *node) {
	w.t.Helper()
	for k, v := range m {
		if got := w.do(n, "GET", k); got.Str != v {
			w.t.Fatalf("%s is %s, want %q", k, got, v)
		}
	}
	if got := len(n.records(key.KindSpan(testSlot, key.Record))); got != len(m) {
		w.t.Fatalf("%d records, want %d", got, len(m))
	}
}

// checkMoved checks what must hold when the slot has moved from one node to another.
func checkMoved(w *world, from, to *node, m shadow, st engine.JobStatus) {
	w.t.Helper()
	if st.State != engine.JobSuccess || st.Step != "done" || st.Error != "" || st.Slots != 1 || !slices.Contains(st.Moved, slot.Range{First: testSlot, Last: testSlot}) || st.EndedMs == 0 || st.Differ != 0 {
		w.t.Fatalf("status %+v", st)
	}
	if r := from.Record(testSlot); r.State != cluster.Released || !r.DataGone || r.Job != st.ID {
		w.t.Fatalf("the source's record: %+v", r)
	}
	if r := to.Record(testSlot); r.State != cluster.Serving || r.Job != st.ID || r.Epoch != from.Record(testSlot).Epoch {
		w.t.Fatalf("the target's record: %+v", r)
	}
	if live := to.driver().importing; len(live) != 0 {
		w.t.Fatalf("the target looks for silent sources of %v", live)
	}
	if left := from.records(key.SlotSpan(testSlot)); len(left) != 0 {
		w.t.Fatalf("the source still holds %d records", len(left))
	}
	m.check(w, to)
	for _, n := range w.nodes {
		if strings.Contains(n.logs.String(), "differ") {
			w.t.Fatalf("a difference was reported:\n%s", n.logs.String())
		}
		if n.driver().Busy() {
			w.t.Fatal("a driver is still busy")
		}
	}
}

// TestMovesAreEquivalent moves a slot of random content while it is written, with every kind of limits, in any order of events:
// the target ends with exactly what clients were told, whatever the limits were.
func TestMovesAreEquivalent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := quick()
		cfg.ChunkBytes = rapid.SampledFrom([]int{1, 100, 256 << 10}).Draw(rt, "chunk bytes")
		cfg.ChunkRecords = rapid.SampledFrom([]int{1, 3, 4096}).Draw(rt, "chunk records")
		cfg.DigestRecords = rapid.SampledFrom([]int{1, 5, 16384}).Draw(rt, "digest records")
		cfg.TrackerBytes = rapid.SampledFrom([]int{1, 400, 16 << 20}).Draw(rt, "tracker bytes")
		cfg.IngestBytes = rapid.SampledFrom([]int{1, 200, 64 << 20}).Draw(rt, "ingest bytes")
		cfg.Source.WindowBytes = rapid.SampledFrom([]int{1, 300, 8 << 20}).Draw(rt, "window bytes")
		cfg.Source.PauseDeadline = rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Millisecond}).Draw(rt, "pause deadline")
		lose := rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "lost calls")
		w := newWorld(&scoped{TB: t, rt: rt}, rapid.Uint64().Draw(rt, "seed"))
		defer w.close()
		w.inOrder = true
		w.born(2, cfg)
		w.inOrder = false
		m := shadow{}
		for i := range rapid.IntRange(0, 60).Draw(rt, "records") {
			m.set(w, i, fmt.Sprint("before ", i))
		}
		w.lose, w.repeat = lose, lose
		job := w.start(0, 1, testSlot)
		for i := range rapid.IntRange(0, 60).Draw(rt, "writes") {
			for range w.rng.IntN(30) {
				w.step(w.now)
			}
			switch k := w.rng.IntN(80); w.rng.IntN(12) {
			case 0, 1, 2:
				m.del(w, k)
			case 3:
				if owner := w.nodes[0]; owner.Record(testSlot).State == cluster.Serving && w.rng.IntN(4) == 0 {
					w.cmd("DEL", keyOf(k))
					delete(m, keyOf(k))
				}
			default:
				m.set(w, k, fmt.Sprint("during ", i))
			}
		}
		st := w.ended(w.nodes[0], job)
		w.lose, w.repeat = 0, 0
		w.pass(time.Second)
		checkMoved(w, w.nodes[0], w.nodes[1], m, st)
		if lose == 0 && (st.DigestsEqual != 1 || st.Verified != "confirmed" || len(st.PausesMs) != 1) {
			rt.Fatalf("status %+v", st)
		}
	})
}

// scoped lets a world fail a trial of rapid.
type scoped struct {
	testing.TB
	rt *rapid.T
}

func (s *scoped) Helper()                      {}
func (s *scoped) Cleanup(func())               {}
func (s *scoped) Fatal(args ...any)            { s.rt.Fatal(args...) }
func (s *scoped) Fatalf(f string, args ...any) { s.rt.Fatalf(f, args...) }
func (s *scoped) Error(args ...any)            { s.rt.Error(args...) }

// TestFlushWhileMoving: a flush of the source is a change like others.
func TestFlushWhileMoving(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t, seed)
		w.born(2, quick())
		m := shadow{}
		for i := range 50 {
			m.set(w, i, "v")
		}
		job := w.start(0, 1, testSlot)
		w.until("it copies", func() bool { return w.nodes[0].stepOf(testSlot) >= migration.StepCopying })
		w.want(w.nodes[0], "OK", "FLUSHALL")
		if w.nodes[0].Record(testSlot).State == cluster.Serving {
			clear(m)
			m.set(w, 3, "after")
			checkMoved(w, w.nodes[0], w.nodes[1], m, w.ended(w.nodes[0], job))
		}
	}
}

// TestCrashInEachStep takes the power from the source or the target in each step of a move. The job goes on under its id, and
// what clients were told stays.
func TestCrashInEachStep(t *testing.T) {
	for step := migration.StepStarting; step <= migration.StepCleaning; step++ {
		for victim := range 2 {
			t.Run(fmt.Sprintf("%s, node %d", step, victim), func(t *testing.T) {
				reached := 0
				for seed := range uint64(6) {
					w := newWorld(t, seed)
					w.born(2, quick())
					m := shadow{}
					for i := range 40 {
						m.set(w, i, "v")
					}
					var opts engine.JobOptions
					if opts.Hold = step == migration.StepHolding; step == migration.StepKeeping {
						opts.KeepSource = 5 * time.Second
					}
					job := w.startWith(opts, 0, 1, testSlot)
					if step == migration.StepSuspended {
						w.until("it copies", func() bool { return w.nodes[0].stepOf(testSlot) == migration.StepCopying })
						w.tell(w.nodes[0], job, engine.VerbPause, true, "paused")
					}
					w.until("the step, or the end", func() bool {
						return w.nodes[0].stepOf(testSlot) == step || w.nodes[0].job(job).State.Ended()
					})
					if w.nodes[0].stepOf(testSlot) == step {
						reached++
					}
					w.nodes[victim].crash()
					switch step {
					case migration.StepHolding:
						w.tell(w.nodes[0], job, engine.VerbCutOver, true, "not held any more")
					case migration.StepSuspended:
						w.tell(w.nodes[0], job, engine.VerbResume, true, "goes on")
					default:
					}
					m.set(w, 3, "after the crash")
					m.del(w, 4)
					st := w.ended(w.nodes[0], job)
					w.pass(time.Second)
					checkMoved(w, w.nodes[0], w.nodes[1], m, st)
					if got := st.ID; got.Counter != job {
						t.Errorf("another job: %v", got)
					}
				}
				if reached == 0 {
					t.Errorf("no run came to the step")
				}
			})
		}
	}
}

// TestPauseGivenUp reaches the limit of parked commands again and again: each time the pause is given up, what was taken goes
// back to the tracker, and in the end the slot has moved.
func TestPauseGivenUp(t *testing.T) {
	w := newWorld(t, 4)
	w.born(2, quick())
	m := shadow{}
	for i := range 40 {
		m.set(w, i, "v")
	}
	n := w.nodes[0]
	job := w.start(0, 1, testSlot)
	last := cluster.Attempt(0)
	for range 5 {
		w.until("it copies", func() bool { return n.stepOf(testSlot) == migration.StepCopying })
		m.set(w, 50, fmt.Sprint("before pause ", last))
		w.until("it pauses", func() bool { return n.stepOf(testSlot) == migration.StepPausing })
		n.driver().ParkLimit(testSlot)
		w.until("the pause is over", func() bool { return n.stepOf(testSlot) != migration.StepPausing })
		attempt := n.driver().find(job).slots[testSlot].attempt
		if attempt < last+2 {
			t.Errorf("attempt %d after %d: a pause that was given up leads to a new one, and each pause is one", attempt, last)
		}
		last = attempt
	}
	n.driver().ParkLimit(99) // not moving: nothing
	checkMoved(w, n, w.nodes[1], m, w.ended(n, job))
}

// TestFinalRoundIsGivenBack loses the messages of the final round: the pause passes its deadline, and what they carried is sent
// again in the next round, with what has been written since.
func TestFinalRoundIsGivenBack(t *testing.T) {
	for seed := range uint64(5) {
		cfg := quick()
		cfg.ChunkRecords = 1 // a message for each key
		cfg.Source.LagKeys = 30
		w := newWorld(t, seed)
		w.born(2, cfg)
		m := shadow{}
		for i := range 40 {
			m.set(w, i, "v")
		}
		n := w.nodes[0]
		job := w.start(0, 1, testSlot)
		w.until("it copies", func() bool { return n.stepOf(testSlot) == migration.StepCopying })
		w.until("a pause begins", func() bool { return n.stepOf(testSlot) == migration.StepStarting })
		for i := range 10 {
			m.set(w, i, "while it begins")
		}
		if n.stepOf(testSlot) == migration.StepStarting {
			w.until("it pauses", func() bool { return n.stepOf(testSlot) == migration.StepPausing })
		}
		w.lose = 100
		w.until("the pause is given up", func() bool { return n.stepOf(testSlot) != migration.StepPausing })
		w.lose = 0
		m.set(w, 3, "after it")
		checkMoved(w, n, w.nodes[1], m, w.ended(n, job))
	}
}

// TestCancel gives a job up at a random moment: the slot is whole, on one side or the other, and can be moved again.
func TestCancel(t *testing.T) {
	stayed := 0
	for seed := range uint64(30) {
		w := newWorld(t, seed)
		w.born(2, quick())
		m := shadow{}
		for i := range 40 {
			m.set(w, i, "v")
		}
		job := w.start(0, 1, testSlot)
		for range w.rng.IntN(250) {
			w.step(w.now + time.Second)
		}
		if _, err := w.nodes[0].driver().Tell(job, engine.VerbCancel, nil); err != nil {
			t.Fatal(err)
		}
		if seed%3 == 0 {
			w.nodes[0].crash()
		}
		st := w.ended(w.nodes[0], job)
		if st.State == engine.JobSuccess {
			w.pass(time.Second)
			checkMoved(w, w.nodes[0], w.nodes[1], m, st)
			continue
		}
		stayed++
		w.pass(3 * time.Second) // a target that was not told asks
		if st.Step != "failed" || st.Moved.Len() != 0 || (seed%3 != 0 && st.Error != "cancelled by an operator") {
			t.Errorf("status %+v", st)
		}
		if left := w.nodes[1].records(key.SlotSpan(testSlot)); len(left) != 0 {
			t.Errorf("%d records are left at the target", len(left))
		}
		m.check(w, w.nodes[0])
		checkMoved(w, w.nodes[0], w.nodes[1], m, w.ended(w.nodes[0], w.start(0, 1, testSlot)))
	}
	if stayed < 5 {
		t.Errorf("only %d jobs were cancelled in time", stayed)
	}
	w := newWorld(t, 1)
	w.born(1, quick())
	if _, err := w.nodes[0].driver().Tell(9, engine.VerbCancel, nil); err == nil || !strings.Contains(err.Error(), "no job 9") {
		t.Errorf("cancelling a job that is not there: %v", err)
	}
}

// TestThereAndBack moves a slot onward and back: what older jobs left to do ends with the return.
func TestThereAndBack(t *testing.T) {
	w := newWorld(t, 5)
	w.born(3, quick())
	m := shadow{}
	for i := range 30 {
		m.set(w, i, "v")
	}
	for round, hop := range [][2]int{{0, 1}, {1, 2}, {2, 0}, {0, 1}, {1, 0}} {
		m.set(w, round, fmt.Sprint("round ", round))
		m.del(w, 20+round)
		from, to := w.nodes[hop[0]], w.nodes[hop[1]]
		st := w.ended(from, w.start(hop[0], hop[1], testSlot))
		w.pass(time.Second)
		checkMoved(w, from, to, m, st)
		if got, want := to.Record(testSlot).Epoch, cluster.Epoch(round+2); got != want {
			t.Errorf("after %d moves the epoch is %d, want %d", round+1, got, want)
		}
	}
}

// TestBackBeforeCommitIsAnswered: a source that never heard the answer to its commit gets the slot back, and its target loses its
// directory: nobody can answer any more, but the slot's return says that the commit had arrived.
func TestBackBeforeCommitIsAnswered(t *testing.T) {
	w := newWorld(t, 6)
	w.born(2, quick())
	m := shadow{}
	m.set(w, 1, "v")
	source, target := w.nodes[0], w.nodes[1]
	w.silent = func(from *node, args [][]byte) bool {
		msg, err := migration.DecodeMessage(args[len(args)-1])
		return from == source && err == nil && msg.Kind == migration.MsgCommit
	}
	there := w.start(0, 1, testSlot)
	w.until("the target serves", func() bool { return target.Record(testSlot).State == cluster.Serving })
	back := w.ended(target, w.start(1, 0, testSlot))
	target.wipe()
	w.silent = nil
	if st := w.ended(source, there); st.State != engine.JobSuccess {
		t.Errorf("the job there: %+v", st)
	}
	if r := source.Record(testSlot); r.State != cluster.Serving || r.Job != back.ID {
		t.Errorf("the slot's record: %+v", r)
	}
	m.check(w, source)
}

// TestManySlots moves more slots than go at once, and fails half-way: those that had moved have, and the status lists them.
func TestManySlots(t *testing.T) {
	cfg := quick()
	cfg.SlotsAtOnce = 2
	w := newWorld(t, 3)
	w.born(2, cfg)
	slots := []slot.Slot{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	job := w.start(0, 1, slots...)
	most := 0
	w.until("three have moved", func() bool {
		d := w.nodes[0].driver()
		d.mu.Lock()
		defer d.mu.Unlock()
		most = max(most, len(d.sources))
		n := 0
		for _, s := range slots {
			if w.nodes[1].Record(s).State == cluster.Serving {
				n++
			}
		}
		return n >= 3
	})
	if most != 2 {
		t.Errorf("%d slots moved at once", most)
	}
	if _, err := w.nodes[0].driver().Tell(job, engine.VerbCancel, nil); err != nil {
		t.Fatal(err)
	}
	st := w.ended(w.nodes[0], job)
	w.pass(time.Second)
	if st.State != engine.JobFail || st.Moved.Len() < 3 || st.Moved.Len() == len(slots) || st.Slots != len(slots) {
		t.Errorf("status %+v", st)
	}
	moved := slot.SetOf(st.Moved...)
	for _, s := range slots {
		server, other := w.nodes[0], w.nodes[1]
		if moved.Has(s) {
			server, other = other, server
		}
		if server.Record(s).State != cluster.Serving || other.Record(s).State == cluster.Serving {
			t.Errorf("slot %d: moved %v, but the records say %v and %v", s, moved.Has(s), server.Record(s), other.Record(s))
		}
	}
	// The whole outcome is the same after a restart.
	w.nodes[0].crash()
	if again := w.nodes[0].job(job); again.State != st.State || !slices.Equal(again.Moved, st.Moved) || again.Error != st.Error || again.EndedMs != st.EndedMs {
		t.Errorf("after a restart %+v, before %+v", again, st)
	}
}

// TestConfirmFindsADifference changes a record at the target behind everybody's back, between takeover and comparison: it is
// reported by key, and the source's copy is kept.
func TestConfirmFindsADifference(t *testing.T) {
	found := 0
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		w.born(2, quick())
		m := shadow{}
		for i := range 40 {
			m.set(w, i, "v")
		}
		job := w.start(0, 1, testSlot)
		// The final round is empty, so what is flipped in the pause is seen by the comparison only.
		w.until("the target is prepared", func() bool { return w.nodes[1].Record(testSlot).State == cluster.Prepared })
		b := w.nodes[1].Store().NewBatch()
		k := key.AppendRecord(nil, testSlot, []byte(keyOf(17)))
		v, ok, err := w.nodes[1].Store().Get(k)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		v[len(v)-1] ^= 1
		b.Set(k, v)
		w.nodes[1].Store().Commit(b)
		st := w.ended(w.nodes[0], job)
		if !slices.Contains(st.Moved, slot.Range{First: testSlot, Last: testSlot}) {
			continue
		}
		found++
		if st.Differ != 1 || st.DigestsEqual != 0 {
			t.Fatalf("status %+v", st)
		}
		if !strings.Contains(w.nodes[0].logs.String(), keyOf(17)) {
			t.Errorf("the log does not name the key:\n%s", w.nodes[0].logs.String())
		}
		if r := w.nodes[0].Record(testSlot); r.DataGone || len(w.nodes[0].records(key.KindSpan(testSlot, key.Record))) != len(m) {
			t.Errorf("the copy was not kept: %+v", r)
		}
	}
	if found == 0 {
		t.Error("no run came to the comparison")
	}
}

// TestConfirmAfterRestart: a target that restarts loses its takeover snapshot; the job says so.
func TestConfirmAfterRestart(t *testing.T) {
	w := newWorld(t, 2)
	w.born(2, quick())
	m := shadow{}
	for i := range 40 {
		m.set(w, i, "v")
	}
	job := w.start(0, 1, testSlot)
	w.until("it is taken over", func() bool { return w.nodes[1].Record(testSlot).State == cluster.Serving })
	w.until("that is durable", func() bool { return w.nodes[1].Store().Durable() == w.nodes[1].Store().Last() })
	w.nodes[1].crash()
	st := w.ended(w.nodes[0], job)
	if st.Verified != "before cutover only" || st.DigestsEqual != 0 {
		t.Errorf("status %+v", st)
	}
	checkMoved(w, w.nodes[0], w.nodes[1], m, st)
}

func TestStartRefuses(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	d, far := w.nodes[0].driver(), w.nodes[1].driver()
	one := []slot.Range{{First: testSlot, Last: testSlot}}
	want := func(d *Driver, ranges []slot.Range, to cluster.NodeID, text string) {
		t.Helper()
		if _, err := d.Start(ranges, to, engine.JobOptions{}); err == nil || err.Error() != text {
			t.Errorf("got %v, want %s", err, text)
		}
	}
	want(d, one, id(9), "Can't find the destination node id")
	want(d, nil, id(1), "Slot range is invalid")
	want(far, one, id(0), "Can't migrate slot which doesn't belong to me")
	want(far, one, id(1), "Can't migrate slot which doesn't belong to me") // before "myself"
	want(d, one, id(0), "Can't migrate slot to myself")
	job := w.start(0, 1, testSlot)
	want(d, one, id(1), "There is already a migrating job")
	want(d, []slot.Range{{First: 0, Last: slot.Count - 1}}, id(1), "There is already a migrating job")
	w.ended(w.nodes[0], job)
	want(d, one, id(1), "Can't migrate slot which has been migrated")
}

func TestTrimJobs(t *testing.T) {
	cfg := quick()
	cfg.JobsKept = 3
	w := newWorld(t, 1)
	w.born(2, cfg)
	n := w.nodes[0]
	for i := range slot.Slot(8) {
		w.ended(n, w.start(0, 1, i))
	}
	if jobs := n.driver().Jobs(); len(jobs) != 3 || jobs[0].ID.Counter != 6 {
		t.Errorf("%d jobs are remembered, from %v", len(jobs), jobs[0].ID)
	}
	n.crash()
	if jobs := n.driver().Jobs(); len(jobs) < 3 || jobs[len(jobs)-1].ID.Counter != 8 {
		t.Errorf("after a restart %d jobs are remembered", len(jobs))
	}
	if got := w.start(0, 1, 100); got != 9 {
		t.Errorf("the next job is %d: a number was used twice", got)
	}
}

func TestWhenDone(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	d := w.nodes[0].driver()
	var order []string
	note := func(name string) func(engine.JobStatus) {
		return func(st engine.JobStatus) { order = append(order, fmt.Sprint(name, " ", st.State.Ended())) }
	}
	w.lose = 100
	job := w.start(0, 1, testSlot)
	d.WhenDone(99, 0, func(st engine.JobStatus) {
		if st.State != engine.JobNone {
			t.Errorf("an unknown job: %+v", st)
		}
		order = append(order, "unknown")
	})
	d.WhenDone(job, time.Nanosecond, note("short"))
	d.WhenDone(job, time.Hour, note("long"))
	d.WhenDone(job, 0, note("endless"))
	if len(order) != 0 {
		t.Error("a callback ran on the caller's stack")
	}
	w.until("the short one was told", func() bool { return len(order) == 2 })
	w.lose = 0
	w.ended(w.nodes[0], job)
	w.until("all were told", func() bool { return len(order) == 4 })
	d.WhenDone(job, 0, note("late"))
	w.until("the late one was told", func() bool { return len(order) == 5 })
	w.pass(2 * time.Hour)
	got := map[string]bool{}
	for _, o := range order {
		got[o] = true
	}
	if len(order) != 5 || !maps.Equal(got, map[string]bool{"unknown": true, "short false": true, "long true": true, "endless true": true, "late true": true}) {
		t.Errorf("told: %v", order)
	}
}

// TestConfirmEndsWhenEnoughIsKnown: so many records differ that the comparison after takeover is told no more of, while it waits for its turn
// under a throttle. It ends all the same.
func TestConfirmEndsWhenEnoughIsKnown(t *testing.T) {
	w := newWorld(t, 3)
	cfg := quick()
	cfg.DigestBytes, cfg.DigestRecords, cfg.ChunkBytes = 4096, 8, 64
	w.born(2, cfg)
	m := shadow{}
	for i := range 200 {
		m.set(w, i, fmt.Sprint("value ", i))
	}
	source := w.nodes[0]
	job := w.start(0, 1, testSlot)
	w.until("the slot is taken over", func() bool { return source.stepOf(testSlot).String() == "committing" })
	chunk, err := store.ReadChunk(source.Node.Store(), key.DataSpan(testSlot), store.ChunkLimits{Bytes: 1 << 20, Records: 1 << 20}, store.WithRecords)
	if err != nil {
		t.Fatal(err)
	}
	b := source.Node.Store().NewBatch()
	for rest := chunk.Records; len(rest) > 0; {
		k, v, next, err := store.NextRecord(rest)
		if err != nil {
			t.Fatal(err)
		}
		b.Set(k, append(bytes.Clone(v), 'x'))
		rest = next
	}
	source.Node.Store().Commit(b)
	w.do(source, "GODWIT", "MIGRATION", "THROTTLE", fmt.Sprint(job), "1kB/s")
	for range 900 {
		if source.job(job).State.Ended() {
			break
		}
		w.pass(time.Second)
	}
	if st := source.job(job); !st.State.Ended() || st.Differ != 1 {
		t.Errorf("%+v at %s", st, source.stepOf(testSlot))
	}
}
