package driver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/migration"
)

// onTheirWay counts the slots that a node is moving at this moment: neither held, nor at rest, nor over.
func (n *node) onTheirWay() int {
	d := n.driver()
	d.mu.Lock()
	slots := sortedSlots(d.sources)
	d.mu.Unlock()
	return len(slices.DeleteFunc(slots, func(sl slot.Slot) bool {
		switch n.stepOf(sl) {
		case migration.StepHolding, migration.StepSuspended, migration.StepKeeping, migration.StepDone, migration.StepFailed:
			return true
		default:
			return false
		}
	}))
}

// checkLists looks whether the lists by which the queue decides say of each slot of each job what its stored progress and its machine say. The worlds of
// all tests of this package are checked after each step.
func (w *world) checkLists() {
	for _, n := range w.nodes {
		d, ok := n.Migrator().(*Driver)
		if !ok || n.down {
			continue
		}
		d.mu.Lock()
		jobs := slices.DeleteFunc(slices.Clone(d.jobs), func(j *job) bool { return j.header.EndedMs != 0 })
		for _, j := range jobs {
			var want lists
			for _, sl := range j.order {
				switch s, p := d.sources[sl], j.slots[sl]; {
				case s != nil && s.job == j && s.seen().step == migration.StepKeeping:
					want.kept = append(want.kept, s)
				case s != nil && s.job == j:
					want.machines = append(want.machines, s)
				case p.ended():
				case p.stored:
					want.left = append(want.left, sl)
				default:
					want.fresh = append(want.fresh, sl)
				}
			}
			got := &j.lists
			if !slices.Equal(got.fresh, want.fresh) || !slices.Equal(got.left, want.left) || !slices.Equal(got.machines, want.machines) || !slices.Equal(got.kept, want.kept) {
				d.mu.Unlock()
				w.t.Fatalf("the lists of job %d of node %s are %s, want %s", j.header.Counter, n.ID(), got, &want)
			}
		}
		d.mu.Unlock()
	}
}

// String tells what is in the lists.
func (l *lists) String() string {
	slotsOf := func(list []*sourceSlot) (out []slot.Slot) {
		for _, s := range list {
			out = append(out, s.slot)
		}
		return out
	}
	return fmt.Sprintf("fresh %d, left %d, machines %d, kept %d", l.fresh, l.left, slotsOf(l.machines), slotsOf(l.kept))
}

// TestQueueOrder: slots that were left from before a restart and those that have not begun take their turns in one order, and no list that was handed out
// before changes.
func TestQueueOrder(t *testing.T) {
	fresh := make([]slot.Slot, 0, 8)
	fresh = append(fresh, 1, 4, 9)
	l := lists{fresh: fresh, left: []slot.Slot{2, 3, 7}}
	var order []slot.Slot
	for l.pending() {
		order = append(order, l.next())
		l.skip(l.next())
		if len(order) == 1 {
			l.joins(5)
		}
	}
	if want := []slot.Slot{1, 2, 3, 4, 5, 7, 9}; !slices.Equal(order, want) {
		t.Errorf("slots begin in the order %d, want %d", order, want)
	}
	if want := []slot.Slot{1, 4, 9}; !slices.Equal(fresh, want) {
		t.Errorf("the order of the job has become %d, want %d", fresh, want)
	}
	if !l.over() {
		t.Error("all have been taken out, and the lists are not empty")
	}
}

// TestQueue: jobs over the limit wait, and take their turns by priority and age; the status says where each stands.
func TestQueue(t *testing.T) {
	w := newWorld(t, 5)
	cfg := quick()
	cfg.JobsAtOnce, cfg.SlotsAtOnce = 1, 1
	w.born(2, cfg)
	n := w.nodes[0]
	first := w.start(0, 1, 1, 2, 3, 4, 5, 6)
	w.until("the first job moves", func() bool { return n.job(first).Step == "base" })
	second := w.start(0, 1, 10)
	urgent := w.startWith(engine.JobOptions{Priority: 7}, 0, 1, 20, 21)
	held := w.startWith(engine.JobOptions{Priority: -1, Hold: true}, 0, 1, 30)
	// places waits until the jobs have these places; it would wait for ever if they came to have others.
	places := func(want ...int) {
		t.Helper()
		w.until(fmt.Sprint("places ", want), func() bool {
			for i, counter := range []uint64{first, second, urgent, held} {
				st := n.job(counter)
				if st.Position != want[i] || strings.Contains(st.Waiting, fmt.Sprintf("place %d in the queue: 1 jobs", want[i])) != (want[i] > 0) {
					return false
				}
			}
			return true
		})
	}
	places(0, 2, 1, 3)
	places(1, 2, 0, 3)
	if st := n.job(first); st.Moved.Len() > 3 || st.State.Ended() {
		t.Errorf("the urgent job waited for all of another: %+v", st)
	}
	places(0, 1, 0, 2)
	if st := n.job(urgent); st.State != engine.JobSuccess {
		t.Errorf("the urgent job had to make room: %+v", st)
	}
	w.tell(n, first, engine.VerbPause, true, "paused")
	w.ended(n, second)
	w.until("the last job holds", func() bool { st := n.job(held); return st.Held.Len() == 1 && st.Step == "holding" })
	w.tell(n, first, engine.VerbResume, true, "goes on")
	if st := w.ended(n, first); st.State != engine.JobSuccess {
		t.Errorf("%+v", st)
	}
	w.tell(n, held, engine.VerbCutOver, true, "1 slots")
	w.ended(n, held)
}

// TestQueueAfterRestart: slots that were on their way, held or at rest before a restart go on no more at once than others, also when
// the job is resumed.
func TestQueueAfterRestart(t *testing.T) {
	w := newWorld(t, 3)
	cfg := quick()
	cfg.SlotsAtOnce, cfg.HeldAtOnce = 2, 40
	w.born(2, cfg)
	n := w.nodes[0]
	var slots []slot.Slot
	for sl := range slot.Slot(12) {
		slots = append(slots, sl)
	}
	job := w.startWith(engine.JobOptions{Hold: true}, 0, 1, slots...)
	allHeld := func() bool { st := n.job(job); return st.Held.Len() == len(slots) }
	most := 0
	watched := func(cond func() bool) func() bool {
		return func() bool {
			most = max(most, n.onTheirWay())
			return cond()
		}
	}
	w.until("all are held", watched(allHeld))
	n.crash()
	for _, sl := range slots { // those that wait in the queue are the job's, too, although they have made attempts and are not on their way
		if _, err := n.driver().Start([]slot.Range{{First: sl, Last: sl}}, id(1), engine.JobOptions{}); err == nil {
			t.Fatalf("a second job was started for slot %d", sl)
		}
	}
	w.until("all are held again", watched(allHeld))
	w.tell(n, job, engine.VerbPause, true, "paused")
	w.pass(time.Second)
	n.crash()
	w.pass(time.Second)
	if st := n.job(job); st.Step != "suspended" || n.onTheirWay() != 0 {
		t.Errorf("after a restart a paused job is at %+v, %d slots on their way", st, n.onTheirWay())
	}
	w.tell(n, job, engine.VerbResume, true, "goes on")
	if st := n.job(job); strings.Contains(st.Waiting, "paused") {
		t.Errorf("a job that goes on says %q", st.Waiting)
	}
	w.until("all are held once more", watched(allHeld))
	w.tell(n, job, engine.VerbCutOver, true, "12 slots")
	w.until("all have moved", watched(func() bool { return n.job(job).State.Ended() }))
	if st := n.job(job); st.State != engine.JobSuccess || st.Moved.Len() != len(slots) {
		t.Errorf("%+v", st)
	}
	if most > cfg.SlotsAtOnce {
		t.Errorf("%d slots were on their way at once, %d may be", most, cfg.SlotsAtOnce)
	}
}

// TestHeldTakesNoPlace: a job that has more slots than may be held waits for operators, not for room, and others go past it; told to cut over,
// it takes its turns for all of its slots.
func TestHeldTakesNoPlace(t *testing.T) {
	w := newWorld(t, 5)
	cfg := quick()
	cfg.JobsAtOnce, cfg.SlotsAtOnce, cfg.HeldAtOnce = 1, 4, 2
	w.born(2, cfg)
	n := w.nodes[0]
	held := w.startWith(engine.JobOptions{Hold: true}, 0, 1, 30, 31, 32, 33, 34, 35, 36, 37)
	w.until("as many are held as may", func() bool { return n.job(held).Held.Len() >= cfg.HeldAtOnce && n.onTheirWay() == 0 })
	other := w.start(0, 1, slot.Slot(1))
	if st := w.ended(n, other); st.State != engine.JobSuccess {
		t.Errorf("%+v", st)
	}
	if st := n.job(held); st.Position != 0 || st.Held.Len() >= st.Slots {
		t.Errorf("%+v", st)
	}
	w.tell(n, held, engine.VerbCutOver, true, "8 slots")
	if st := w.ended(n, held); st.State != engine.JobSuccess || st.Moved.Len() != 8 {
		t.Errorf("%+v", st)
	}
}

// TestSmallSlots: four times as many slots move at a time when they are small, and not when one record makes them large.
func TestSmallSlots(t *testing.T) {
	cfg := quick()
	cfg.SlotsAtOnce, cfg.SmallSlotBytes = 2, 1000
	for _, large := range []bool{false, true} {
		w := newWorld(t, 3)
		w.inOrder = true
		w.born(2, cfg)
		from := w.nodes[0]
		var slots []slot.Slot
		for i := range 20 {
			k := fmt.Sprint("key", i)
			slots = append(slots, slot.OfKey([]byte(k)))
			value := "v"
			if large {
				value = strings.Repeat("v", 1000)
			}
			if got := w.do(from, "SET", k, value).String(); got != "OK" {
				t.Fatal(got)
			}
		}
		w.inOrder = false
		job := w.start(0, 1, slots...)
		most := 0
		w.until("the job ends", func() bool {
			on := 0
			for _, sl := range slots {
				if s := from.stepOf(sl); s != migration.StepIdle && !s.Ended() {
					on++
				}
			}
			most = max(most, on)
			return from.job(job).State.Ended()
		})
		if want := map[bool]int{false: 8, true: 2}[large]; most != want {
			t.Errorf("large %v: %d slots were on their way at once, want %d", large, most, want)
		}
		if st := from.job(job); st.State != engine.JobSuccess || st.Moved.Len() != len(slots) {
			t.Errorf("large %v: %+v", large, st)
		}
		w.close()
	}
}

// TestSmallSlotsInARow: behind many small slots the next are taken for small without a look; one that is not counts for what it is as soon as that is seen, and
// those behind it are looked at.
func TestSmallSlotsInARow(t *testing.T) {
	for _, payload := range []engine.Payload{engine.PayloadRaw, engine.PayloadTables, engine.PayloadCommand} {
		w := newWorld(t, 3)
		w.inOrder = true
		cfg := quick()
		cfg.SlotsAtOnce, cfg.SmallSlotBytes = 1, 1000
		w.born(2, cfg)
		from := w.nodes[0]
		const small, large, begun = 2*smallRow + 4, 16, 8
		var slots []slot.Slot
		words := map[slot.Slot]string{}
		for i := 0; len(slots) < small+large; i++ {
			k := fmt.Sprint("key", i)
			if sl := slot.OfKey([]byte(k)); words[sl] == "" {
				slots, words[sl] = append(slots, sl), k
			}
		}
		slices.Sort(slots)
		for i, sl := range slots {
			values := 1
			if i >= small {
				values = 40 // no more than a message each
			}
			for n := range values {
				value := "v"
				if values > 1 {
					value = strings.Repeat(string(rune('a'+n%26)), 50)
				}
				if got := w.do(from, "SET", fmt.Sprintf("{%s}%d", words[sl], n), value).String(); got != "OK" {
					t.Fatal(got)
				}
			}
		}
		w.inOrder = false
		counter := w.startWith(engine.JobOptions{Payload: payload}, 0, 1, slots...)
		j := from.driver().find(counter)
		guesses, wrong, most := 0, 0, 0
		w.until("the job ends", func() bool {
			guesses, wrong = 0, 0
			for _, p := range j.slots {
				if p.guessed {
					guesses++
					if p.size == sizeLarge {
						wrong++
					}
				}
			}
			if i := slices.IndexFunc(j.lists.fresh, func(sl slot.Slot) bool { return j.slots[sl].guessed }); wrong > 0 && i >= 0 {
				t.Fatalf("%s: slot %d is taken for small, though one before it was not", payload, j.lists.fresh[i])
			}
			on := 0
			for _, sl := range slots[small+begun:] { // fewer have begun before the first was seen to be large
				if s := from.stepOf(sl); s != migration.StepIdle && !s.Ended() {
					on++
				}
			}
			most = max(most, on)
			return j.ended()
		})
		if guesses < small-smallRow || wrong < 1 || wrong > begun || j.slots[slots[small+begun]].guessed || most != 1 {
			t.Errorf("%s: %d slots were taken for small without a look, %d of them wrongly, and then %d large ones moved at a time", payload, guesses, wrong, most)
		}
		for i, sl := range slots {
			if got, want := j.slots[sl].size, map[bool]sizeClass{true: sizeSmall, false: sizeLarge}[i < small]; got != want {
				t.Errorf("%s: slot %d of the job counts as %d, want %d", payload, i, got, want)
			}
		}
		if st := w.ended(from, counter); st.State != engine.JobSuccess || st.Moved.Len() != len(slots) {
			t.Errorf("%s: %+v", payload, st)
		}
		w.close()
	}
}

// BenchmarkPump looks what of a job may begin when as much is on its way as may: what every slot's end costs, however many slots the job has.
func BenchmarkPump(b *testing.B) {
	for _, slots := range []int{64, 1024, slot.Count} {
		b.Run(fmt.Sprint(slots), func(b *testing.B) {
			w := newWorld(b, 1)
			w.born(2, quick())
			d := w.nodes[0].driver()
			list := make([]slot.Slot, slots)
			for i := range list {
				list[i] = slot.Slot(i)
			}
			job := w.start(0, 1, list...)
			w.until("the job has begun", func() bool { return w.nodes[0].job(job).Step != "waiting" })
			for b.Loop() {
				d.pumpJobs()
			}
		})
	}
}

// TestJoinWhileEnding: a slot that joins a job when the queue has found it over, and has not ended it yet, begins.
func TestJoinWhileEnding(t *testing.T) {
	w := newWorld(t, 5)
	w.born(2, quick())
	d := w.nodes[0].driver()
	of := cluster.JobID{Node: id(1), Counter: 1}
	job, err := d.startJob([]slot.Range{{First: 1, Last: 1}}, id(1), header{RollbackOf: &of})
	if err != nil {
		t.Fatal(err)
	}
	j := d.find(job.Counter)
	w.until("the slot has moved", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return j.ended()
	})
	if j.header.EndedMs != 0 {
		t.Fatal("the job was ended in the same step")
	}
	if !d.join(j, 2) {
		t.Fatal("the slot has not joined")
	}
	d.endJob(j)
	if st := w.ended(w.nodes[0], job.Counter); st.State != engine.JobSuccess || st.Moved.Len() != 2 {
		t.Errorf("the job ended as %+v", st)
	}
}
