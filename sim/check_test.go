package sim

import (
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// bare is a world without faults whose machines are off.
func bare(t *testing.T) *world {
	t.Helper()
	s := drawSwarm(1)
	s.skew, s.drift, s.nodes = 0, 0, 3
	return newWorldOf(1, s, store.NewCaches(), nil)
}

// founded is such a world whose nodes are open and serve what the first map gives them.
func founded(t *testing.T) *world {
	t.Helper()
	w := bare(t)
	w.setup()
	t.Cleanup(w.shutdown)
	demand(t, w, "")
	return w
}

// seeming makes a machine seem to be up with this record of the first slot.
func (p *process) seeming(r cluster.Record) *process {
	p.up = true
	if p.records == nil {
		p.records = map[slot.Slot]cluster.Record{}
	}
	p.records[p.w.keys.slots[0]] = r
	return p
}

// demand demands that the property, and nothing before it, was violated; "" for none.
func demand(t *testing.T, w *world, property string) {
	t.Helper()
	switch {
	case property == "" && w.failed != nil:
		t.Errorf("rejected: %v", w.failed)
	case property != "" && w.failed == nil:
		t.Errorf("accepted, must violate %s", property)
	case property != "" && w.failed.Property != property:
		t.Errorf("violates %s, must violate %s: %v", w.failed.Property, property, w.failed)
	}
}

// job is one that another node has begun.
func (w *world) jobOf(node int) cluster.JobID {
	return cluster.JobID{Node: w.procs[node].id, Incarnation: 1, Counter: 1}
}

// losing makes the first node seem lost for good, as the source of a move to the second one, to which an operator has said in that life how it ends.
func (w *world) losing(sl slot.Slot, life int) *loss {
	l := &loss{p: w.procs[0], other: w.procs[1], source: true, slot: sl, gone: true, asked: life}
	l.p.lost = true
	w.nemesis.faults.losing = l
	return l
}

func TestOneOwner(t *testing.T) {
	for name, c := range map[string]struct {
		property string
		do       func(w *world)
	}{
		"two serve": {"one-owner", func(w *world) {
			w.procs[0].seeming(cluster.Record{State: cluster.Serving, Epoch: 1})
			r := cluster.Record{State: cluster.Serving, Epoch: 2}
			w.checks.owners.recorded(w.procs[1].seeming(r), w.keys.slots[0], r)
		}},
		"the other has released": {"", func(w *world) {
			w.procs[0].seeming(cluster.Record{State: cluster.Released, Epoch: 2})
			r := cluster.Record{State: cluster.Serving, Epoch: 2}
			w.checks.owners.recorded(w.procs[1].seeming(r), w.keys.slots[0], r)
		}},
		"the other is down": {"", func(w *world) {
			w.procs[0].seeming(cluster.Record{State: cluster.Serving, Epoch: 1}).up = false
			r := cluster.Record{State: cluster.Serving, Epoch: 2}
			w.checks.owners.recorded(w.procs[1].seeming(r), w.keys.slots[0], r)
		}},
		"a command without a record": {"one-owner", func(w *world) {
			w.checks.owners.served(w.procs[0].seeming(cluster.Record{State: cluster.Prepared}), w.keys.slots[0])
		}},
		"a command of the owner": {"", func(w *world) {
			w.checks.owners.served(w.procs[0].seeming(cluster.Record{State: cluster.Serving, Epoch: 1}), w.keys.slots[0])
		}},
		"a slot of nobody": {"one-owner", func(w *world) {
			w.checks.owners.recorded(w.procs[0], w.keys.slots[0]+1, cluster.Record{State: cluster.Serving, Epoch: 1})
		}},
		"an older epoch": {"epochs", func(w *world) {
			r := cluster.Record{State: cluster.Serving, Epoch: 5}
			w.checks.owners.recorded(w.procs[0].seeming(r), w.keys.slots[0], r)
			r.Epoch = 4
			w.checks.owners.recorded(w.procs[0].seeming(r), w.keys.slots[0], r)
		}},
		"the same epoch, after a restart": {"", func(w *world) {
			r := cluster.Record{State: cluster.Serving, Epoch: 5}
			w.checks.owners.recorded(w.procs[0].seeming(r), w.keys.slots[0], r)
			w.checks.owners.recorded(w.procs[0].seeming(r), w.keys.slots[0], r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := bare(t)
			c.do(w)
			demand(t, w, c.property)
		})
	}
}

func TestCommitPoint(t *testing.T) {
	for name, c := range map[string]struct {
		property string
		do       func(w *world, sl slot.Slot)
	}{
		"served before the release is durable": {"commit-point", func(w *world, sl slot.Slot) {
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"served after": {"", func(w *world, sl slot.Slot) {
			w.checks.disks.reached(w.procs[0], sl, cluster.Record{State: cluster.Released, Epoch: 2})
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"served after another release": {"commit-point", func(w *world, sl slot.Slot) {
			w.checks.disks.reached(w.procs[0], sl, cluster.Record{State: cluster.Released, Epoch: 1})
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"served, as an operator has said, whose source is lost": {"", func(w *world, sl slot.Slot) {
			w.losing(sl, 1)
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"served before an operator has said so": {"commit-point", func(w *world, sl slot.Slot) {
			w.losing(sl, 0)
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"served by a node that was not told": {"commit-point", func(w *world, sl slot.Slot) {
			w.losing(sl, 1)
			w.checks.disks.recorded(w.procs[2], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"another slot served": {"commit-point", func(w *world, sl slot.Slot) {
			w.losing(w.keys.slots[1], 1)
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"served, as an operator has said, whose source is not lost yet": {"commit-point", func(w *world, sl slot.Slot) {
			w.losing(sl, 1).p.lost = false
			w.checks.disks.recorded(w.procs[1], sl, cluster.Record{State: cluster.Prepared}, cluster.Record{State: cluster.Serving, Epoch: 2, Job: w.jobOf(0)})
		}},
		"deleted before the new owner is durable": {"kept-copy", func(w *world, sl slot.Slot) {
			w.checks.disks.recorded(w.procs[0], sl, cluster.Record{}, cluster.Record{State: cluster.Released, Epoch: 2, Peer: w.procs[1].id, DataGone: true})
		}},
		"deleted after": {"", func(w *world, sl slot.Slot) {
			w.checks.disks.reached(w.procs[1], sl, cluster.Record{State: cluster.Serving, Epoch: 2})
			w.checks.disks.recorded(w.procs[0], sl, cluster.Record{}, cluster.Record{State: cluster.Released, Epoch: 2, Peer: w.procs[1].id, DataGone: true})
		}},
		"deleted for nobody": {"kept-copy", func(w *world, sl slot.Slot) {
			w.checks.disks.recorded(w.procs[0], sl, cluster.Record{}, cluster.Record{State: cluster.Released, Epoch: 2, Peer: "somebody", DataGone: true})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := founded(t)
			c.do(w, w.keys.slots[0])
			demand(t, w, c.property)
		})
	}
}

func TestPause(t *testing.T) {
	for _, serves := range []bool{true, false} {
		for over, property := range map[time.Duration]string{time.Millisecond: "pause", -time.Millisecond: ""} {
			w := founded(t)
			owner := w.owner(w.keys.slots[0])
			if !serves { // then it may have to ask around
				owner = w.procs[(owner.index+1)%len(w.procs)]
				property = ""
			}
			s := served{call: &call{args: [][]byte{[]byte("GET"), []byte(w.keys.fillers[0][0])}}, since: w.now}
			w.now += w.checks.pauses.bound + over
			w.checks.pauses.look(owner, owner.life, &s)
			demand(t, w, property)
		}
	}
}

func TestLeftovers(t *testing.T) {
	w := founded(t)
	w.checkLeftovers()
	demand(t, w, "")
	sl := w.keys.slots[0]
	p := w.procs[(w.owner(sl).index+1)%len(w.procs)]
	b := p.node.Store().NewBatch()
	b.Set(key.AppendRecord(nil, sl, []byte(w.keys.fillers[0][0])), []byte("left"))
	p.node.Store().Commit(b)
	w.checkLeftovers()
	demand(t, w, "leftovers")
}

func TestLiveness(t *testing.T) {
	for name, c := range map[string]struct {
		settled bool
		do      func(w *world)
	}{
		"everything at an end": {true, func(*world) {}},
		"a client waits":       {false, func(w *world) { w.clients[0].busy = true }},
		"a node is down":       {false, func(w *world) { w.procs[0].crash("for a test") }},
		"a node stands still":  {false, func(w *world) { w.procs[0].stalledUntil = w.now + time.Second }},
	} {
		t.Run(name, func(t *testing.T) {
			w := founded(t)
			c.do(w)
			if trouble := w.unsettled(); (trouble == "") != c.settled {
				t.Errorf("unsettled: %q", trouble)
			}
		})
	}
	// What never ends is a violation.
	w := founded(t)
	w.clients[0].busy = true
	w.settle("in a test")
	demand(t, w, "liveness")
}

func TestFinalReads(t *testing.T) {
	w := founded(t)
	w.readAll()
	demand(t, w, "")
	w = founded(t)
	w.procs[0].stalledUntil = forever
	w.readAll()
	demand(t, w, "final-reads")
}

func TestNewJob(t *testing.T) {
	w := founded(t)
	w.newJob()
	demand(t, w, "")
	w = founded(t)
	for _, p := range w.procs {
		p.stalledUntil = forever
	}
	w.newJob()
	demand(t, w, "new-job")
}

func TestOpens(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		w := founded(t)
		p := w.procs[0]
		p.crash("for a test")
		if damaged {
			w.must(p.disk.FlipBit(dataDir+"/GODWIT-FORMAT", 0)) // of the medium, which no fault does
		}
		w.runUntil(w.now+5*time.Second, nil)
		demand(t, w, map[bool]string{true: "opens"}[damaged])
	}
}

func TestMaps(t *testing.T) {
	for last, property := range map[int64]string{1: "", -1: "maps"} { // what the operator takes for the version of the last map
		w := founded(t)
		w.oper.version = last
		w.oper.pushMap(w.oper.truth, 1)
		w.runUntil(w.now+time.Second, nil)
		demand(t, w, property)
	}
}

func TestPanic(t *testing.T) {
	over := false
	r := Run(4, Config{Watch: func(m *Moment) {
		if m.At > time.Second && !over {
			over = true
			panic("for a test")
		}
	}})
	if r.Violation == nil || r.Violation.Property != "panic" || r.Violation.Detail != "for a test" {
		t.Errorf("want a violation of panic, got %v", r.Violation)
	}
}
