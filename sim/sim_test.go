package sim

import (
	"bytes"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/store"
)

// TestSeeds runs seeds on the correct code: every property must hold, and something must have happened.
func TestSeeds(t *testing.T) {
	seeds := uint64(80)
	if testing.Short() {
		seeds = 15
	}
	caches := store.NewCaches()
	var sum Totals
	for seed := uint64(1); seed <= seeds; seed++ {
		r := Run(seed, Config{Caches: caches})
		if !r.OK() {
			t.Errorf("seed %d: %v; replay: godwit sim replay %d --trace", seed, r.Violation, seed)
		}
		sum.Add(&r)
	}
	t.Logf("%d cutovers; under writes in %.0f %% of the seeds, a crash in a move in %.0f %%; operations ok %.1f %%; %v",
		sum.Cutovers, 100*sum.Share(sum.Busy), 100*sum.Share(sum.Crashed), 100*sum.SucceededShare(), sum.Hits)
	if sum.Share(sum.Busy) < floorBusy || sum.Share(sum.Crashed) < floorCrashed || sum.SucceededShare() < floorSucceeded {
		t.Error("the runs do too little: see the floors")
	}
}

// TestDeterminism runs seeds twice, once with a readable trace and fresh caches: the hashes must be equal, and differ from
// seed to seed.
func TestDeterminism(t *testing.T) {
	caches := store.NewCaches()
	seen := map[uint64]uint64{}
	for seed := uint64(1); seed <= 10; seed++ {
		a := Run(seed, Config{Caches: caches})
		var text bytes.Buffer
		b := Run(seed, Config{Trace: &text})
		if a.TraceHash != b.TraceHash || a.Events != b.Events {
			t.Errorf("seed %d: hash %016x after %d events, then %016x after %d", seed, a.TraceHash, a.Events, b.TraceHash, b.Events)
		}
		if text.Len() == 0 {
			t.Errorf("seed %d: no trace", seed)
		}
		if other, ok := seen[a.TraceHash]; ok {
			t.Errorf("seeds %d and %d have one hash", other, seed)
		}
		seen[a.TraceHash] = seed
	}
}

// TestQueueOrder checks that events come by time, then in the order in which they were added.
func TestQueueOrder(t *testing.T) {
	var q queue
	d := newDice(1, 1, 1)
	lives := 0 // number the events in the order in which they are added
	add := func(from time.Duration) {
		lives++
		q.push(event{at: from + time.Duration(d.IntN(20)), life: lives})
	}
	for range 500 {
		add(0)
	}
	last := event{at: -1}
	for n := 500; n > 0; n-- {
		e, ok := q.pop()
		if !ok || e.at < last.at || e.at == last.at && e.life < last.life {
			t.Fatalf("event %d at %v after event %d at %v (%v)", e.life, e.at, last.life, last.at, ok)
		}
		if last = e; lives < 2000 && d.chance(0.7) { // later ones take the places of those that were
			add(e.at)
			n++
		}
	}
	if _, ok := q.pop(); ok {
		t.Error("an event too many")
	}
}

// TestCheckersReject feeds the checkers what must not happen.
func TestCheckersReject(t *testing.T) {
	serving := func(e cluster.Epoch) cluster.Record { return cluster.Record{State: cluster.Serving, Epoch: e} }
	for _, c := range []struct {
		property string
		breaks   func(w *world)
	}{
		{"one-owner", func(w *world) {
			sl := w.keys.slots[0]
			w.checks.owners.last[0] = 0
			(&observer{w.procs[1], w.procs[1].life}).Recorded(sl, serving(5))
		}},
		{"one-owner", func(w *world) { (&observer{w.procs[1], w.procs[1].life}).Served(w.keys.slots[0], true) }},
		{"epochs", func(w *world) { (&observer{w.procs[0], w.procs[0].life}).Recorded(w.keys.slots[0], serving(0)) }},
		{"commit-point", func(w *world) {
			p := w.procs[1]
			r := serving(2)
			r.Job = cluster.JobID{Node: w.procs[0].id, Counter: 1}
			w.checks.disks.recorded(p, w.keys.slots[0], cluster.Record{State: cluster.Prepared}, r)
		}},
		{"kept-copy", func(w *world) {
			r := cluster.Record{State: cluster.Released, Epoch: 2, Peer: w.procs[1].id, DataGone: true}
			w.checks.disks.recorded(w.procs[0], w.keys.slots[0], cluster.Record{State: cluster.Released}, r)
		}},
		{"pause", func(w *world) {
			key := []byte(w.keys.tags[0] + "x")
			s := served{call: &call{args: [][]byte{[]byte("SET"), key, key}}, since: w.now}
			w.now += time.Minute
			w.checks.pauses.look(w.procs[0], w.procs[0].life, &s)
		}},
		{"alarms", func(w *world) { w.procs[0].node.Options().Log.Error("ALARM: something") }},
		{"rounds", func(w *world) {
			w.procs[0].node.Options().Log.Error("the copies differ before the cutover: a round missed a change")
		}},
		{"linearizable", func(w *world) {
			w.clients[0].do(0, []string{"STRLEN", w.keys.fillers[0][0]}, nil) // of a GET "sessions" would tell at once
			_ = w.procs[0].local([]string{"SET", w.keys.fillers[0][0], "nobody wrote this"}, func(resp.Value) {})
			w.runUntil(w.now+time.Second, func() bool { return !w.clients[0].busy })
			w.checkHistory()
		}},
	} {
		t.Run(c.property, func(t *testing.T) {
			w := newWorld(1, store.NewCaches(), nil)
			w.setup()
			if w.failed != nil {
				t.Fatal(w.failed)
			}
			c.breaks(w)
			if w.failed == nil || w.failed.Property != c.property {
				t.Errorf("want a violation of %q, got %v", c.property, w.failed)
			}
			w.shutdown()
		})
	}
}

// TestFloors checks that a simulator that idles is told so.
func TestFloors(t *testing.T) {
	var idle Totals
	idle.Add(&Result{Operations: 10, Succeeded: 10})
	if err := idle.CheckFloors(); err == nil {
		t.Error("nothing moved and nothing crashed, and the floors are reached")
	}
	busy := Result{Operations: 10, Succeeded: 9, BusyCutovers: 1}
	for _, step := range Steps() {
		for _, role := range Roles() {
			busy.Hits = append(busy.Hits, HitCount{Hit{step, role}, 1})
		}
	}
	for _, m := range Marks() {
		busy.FaultKinds = append(busy.FaultKinds, FaultCount{m, 1})
	}
	var full Totals
	full.Add(&busy)
	if err := full.CheckFloors(); err != nil {
		t.Error(err)
	}
}
