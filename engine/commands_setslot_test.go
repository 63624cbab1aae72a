package engine

import (
	"strings"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// TestSetSlotRefuses is what SETSLOT and MIGRATE answer to what cannot be.
func TestSetSlotRefuses(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	c := nodes[0].client()
	a, b, z := string(id("a")), string(id("b")), string(id("z"))
	c.want("OK", "SET", keyIn(7), "v")
	for _, x := range []struct{ command, want string }{
		{"CLUSTER SETSLOT 7 STABLE more", "(error) ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"},
		{"CLUSTER SETSLOT 7 MIGRATING", "(error) ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"},
		{"CLUSTER SETSLOT 7 AWAY " + b, "(error) ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"},
		{"CLUSTER SETSLOT 7", "(error) ERR wrong number of arguments for 'cluster|setslot' command"},
		{"CLUSTER SETSLOT 16384 STABLE", "(error) ERR Invalid or out of range slot"},
		{"CLUSTER SETSLOT -1 STABLE", "(error) ERR Invalid or out of range slot"},
		{"CLUSTER SETSLOT x STABLE", "(error) ERR Invalid or out of range slot"},
		{"CLUSTER SETSLOT 7 MIGRATING " + z, "(error) ERR I don't know about node " + z},
		{"CLUSTER SETSLOT 7 IMPORTING " + z, "(error) ERR I don't know about node " + z},
		{"CLUSTER SETSLOT 7 NODE " + z, "(error) ERR Unknown node " + z},
		{"CLUSTER SETSLOT 107 MIGRATING " + b, "(error) ERR I'm not the owner of hash slot 107"},
		{"CLUSTER SETSLOT 7 MIGRATING " + a, "(error) ERR Can't migrate slot to myself"},
		{"CLUSTER SETSLOT 7 IMPORTING " + b, "(error) ERR I'm already the owner of hash slot 7"},
		{"CLUSTER SETSLOT 7 NODE " + a, "OK"}, // it is
		{"CLUSTER SETSLOT 107 NODE " + b, "OK"},
		{"CLUSTER SETSLOT 7 STABLE", "OK"},
		{"CLUSTER SETSLOT 107 STABLE", "OK"},
		{"CLUSTER BUMPEPOCH", "STILL 1"},
		{"CLUSTER COUNT-FAILURE-REPORTS " + b, "0"},
		{"CLUSTER COUNT-FAILURE-REPORTS " + z, "(error) ERR Unknown node " + z},
		{"MIGRATE 127.0.0.1 7001 k 0", "(error) ERR wrong number of arguments for 'migrate' command"},
		{"MIGRATE 127.0.0.1 7001 k 0 x", "(error) ERR value is not an integer or out of range"},
		{"MIGRATE 127.0.0.1 7001 k x 10", "(error) ERR value is not an integer or out of range"},
		{"MIGRATE 127.0.0.1 7001 k 0 10 COPY NOW", "(error) ERR syntax error"},
		{"MIGRATE 127.0.0.1 7001 k 0 10 AUTH", "(error) ERR syntax error"},
		{"MIGRATE 127.0.0.1 7001 k 0 10 AUTH2 u", "(error) ERR syntax error"},
		{"MIGRATE 127.0.0.1 7001 k 0 10 KEYS k", "(error) ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"},
		{"MIGRATE 127.0.0.1 7001 _ 0 10 KEYS a b", "(error) CROSSSLOT Attempted to access keys that don't hash to the same slot"},
		{"MIGRATE 127.0.0.1 7001 _ 0 10 KEYS", "NOKEY"},
		{"MIGRATE localhost 7001 " + keyIn(7) + " 1 10", "(error) ERR DB index is out of range"},
		{"MIGRATE localhost 7001 " + keyIn(7) + " 0 10 COPY", "(error) ERR COPY to a node of the same cluster: a key is where its slot is"},
		{"MIGRATE localhost 7001 " + keyIn(8) + " 0 10", "NOKEY"},
		{"MIGRATE localhost 7001 " + keyIn(7) + " 0 10", "(error) ERR Slot 7 is not moving to node " + b + ": say CLUSTER SETSLOT 7 MIGRATING to its owner first"},
		{"MIGRATE localhost 7001 " + keyIn(107) + " 0 10", "(error) MOVED 107 127.0.0.1:7001"},
	} {
		args := strings.Fields(x.command)
		for i := range args {
			if args[i] == "_" {
				args[i] = ""
			}
		}
		c.want(x.want, args...)
	}
	if len(nodes[0].mig.jobs) > 0 {
		t.Errorf("there are jobs: %v", nodes[0].mig.jobs)
	}
}

// TestSetSlotTakesNobodysWord: no node takes a slot because SETSLOT NODE says so, or sends its clients to one that does not serve it, and an owner
// with keys gives none away.
func TestSetSlotTakesNobodysWord(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383", "c")
	a, b, c := nodes[0].client(), nodes[1].client(), nodes[2].client()
	a.want("OK", "SET", keyIn(7), "v")
	const holds = "(error) ERR Can't assign hashslot 7 to a different node while I still hold keys for this hash slot: say CLUSTER SETSLOT MIGRATING to its owner first"
	b.want("OK", "CLUSTER", "SETSLOT", "7", "IMPORTING", string(id("a")))
	if text := b.do("CLUSTER", "NODES").Str; !strings.Contains(text, " [7-<-"+string(id("a"))+"]") {
		t.Errorf("the wish is not shown:\n%s", text)
	}
	b.want(holds, "CLUSTER", "SETSLOT", "7", "NODE", string(id("b")))
	a.want(holds, "CLUSTER", "SETSLOT", "7", "NODE", string(id("b")))
	c.want("(error) ERR Node "+string(id("b"))+" does not serve slot 7: it must be told first", "CLUSTER", "SETSLOT", "7", "NODE", string(id("b")))
	b.want("OK", "CLUSTER", "SETSLOT", "7", "STABLE")
	if text := b.do("CLUSTER", "NODES").Str; strings.Contains(text, "[") {
		t.Errorf("the wish is still shown:\n%s", text)
	}
	for i, n := range nodes {
		if owner := n.Owner(7); owner != id("a") || len(n.mig.jobs) > 0 {
			t.Errorf("node %d takes %s for the owner, and has the jobs %v", i, owner, n.mig.jobs)
		}
	}

	// What nobody would miss may go by SETSLOT NODE alone, as with Redis.
	b.send("CLUSTER", "SETSLOT", "8", "NODE", string(id("b")))
	w.run()
	if jobs := nodes[0].mig.jobs; len(jobs) != 1 || jobs[0].Target != id("b") || nodes[0].mig.options.Hold {
		t.Fatalf("the owner has the jobs %v", jobs)
	}
	nodes[0].mig.end(1, JobFail, "it would not go")
	w.advance(time.Second)
	if got := b.taken(); got != "(error) ERR Slot 8 stays: job 1 has failed: it would not go" {
		t.Errorf("got %s", got)
	}
}

// TestSetSlotDrivesAJob: MIGRATING starts a job that is held, MIGRATE cuts it over and waits, STABLE cancels; a job of many slots is told nothing.
func TestSetSlotDrivesAJob(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	mig := nodes[0].mig
	c := nodes[0].client()
	c.want("OK", "SET", keyIn(7), "v")
	migrating := []string{"CLUSTER", "SETSLOT", "7", "MIGRATING", string(id("b"))}
	c.want("OK", migrating...)
	c.want("OK", migrating...)
	if len(mig.jobs) != 1 || !mig.options.Hold || slot.SetOf(mig.jobs[0].Ranges...) != slot.SetOf(slot.Range{First: 7, Last: 7}) {
		t.Fatalf("jobs %v with %v", mig.jobs, mig.options)
	}

	c.send("MIGRATE", "127.0.0.1", "7001", keyIn(7), "0", "300")
	w.run()
	if len(mig.told) == 0 || mig.told[0] != "cutover 1 " || len(c.take()) > 0 {
		t.Fatalf("told %q", mig.told)
	}
	w.advance(time.Second)
	if got := c.taken(); got != "(error) IOERR error or timeout: slot 7 is still on its way, which goes on" {
		t.Errorf("at its timeout MIGRATE answers %s", got)
	}
	c.send("MIGRATE", "127.0.0.1", "7001", keyIn(7), "0", "300")
	w.run()
	nodes[0].Exclusive(7, func(o *Owned) {
		o.Commit(nodes[0].Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	mig.jobs[0].Moved.Append(7)
	w.run() // without time passing: the record wakes it
	if got := c.taken(); got != "OK" {
		t.Errorf("MIGRATE answers %s", got)
	}
	c.want("NOKEY", "MIGRATE", "127.0.0.1", "7001", keyIn(7), "0", "300")
	c.want("OK", "CLUSTER", "SETSLOT", "7", "NODE", string(id("b")))

	c.want("OK", "CLUSTER", "SETSLOT", "8", "MIGRATING", string(id("b")))
	c.send("CLUSTER", "SETSLOT", "8", "STABLE")
	w.run()
	if last := mig.told[len(mig.told)-1]; last != "cancel 2 " || len(c.take()) > 0 {
		t.Fatalf("told %q", last)
	}
	mig.end(2, JobFail, "cancelled")
	w.advance(100 * time.Millisecond)
	if got := c.taken(); got != "OK" {
		t.Errorf("STABLE answers %s", got)
	}

	told := len(mig.told)
	c.want(`"3"`, "GODWIT", "MIGRATION", "START", "20-29", string(id("b")), "HOLD")
	mig.jobs[2].Held.Append(20)
	c.want("(error) ERR Slot 20 is one of the 10 of job 3, which was started otherwise: GODWIT MIGRATION cancel 3 at its source", "CLUSTER", "SETSLOT", "20", "STABLE")
	c.want("(error) ERR Slot 20 is one of the 10 of job 3, which was started otherwise: GODWIT MIGRATION cutover 3 at its source", "CLUSTER", "SETSLOT", "20", "NODE", string(id("b")))
	if len(mig.told) != told {
		t.Errorf("told %q", mig.told[told:])
	}

	// A server that is not the target has its port. Only the tool that said MIGRATING can mean the target by that.
	c.want("OK", "SET", keyIn(30), "v")
	c.want(`"4"`, "GODWIT", "MIGRATION", "START", "30", string(id("b")), "HOLD")
	elsewhere := []string{"MIGRATE", "192.0.2.77", "7001", keyIn(30), "0", "300"}
	c.want("(error) "+errMigrateElsewhere(30, mig.jobs[3]), elsewhere...)
	if len(mig.told) != told {
		t.Errorf("told %q", mig.told[told:])
	}
	c.want("(error) "+errNoServers, "MIGRATE", "192.0.2.77", "7002", keyIn(30), "0", "300")
	c.want("OK", "CLUSTER", "SETSLOT", "30", "MIGRATING", string(id("b")))
	c.send(elsewhere...)
	w.run()
	if len(mig.told) == told || mig.told[told] != "cutover 4 " {
		t.Errorf("told %q", mig.told[told:])
	}
	w.advance(time.Second)
	if got := c.taken(); got != "(error) "+errMigrateTimeout(30) {
		t.Errorf("at its timeout MIGRATE answers %s", got)
	}

	c.send("CLUSTER", "SETSLOT", "7", "MIGRATING", string(id("b")))
	gone := nodes[1].client()
	gone.send("CLUSTER", "SETSLOT", "9", "NODE", string(id("b")))
	gone.s.Close()
	w.advance(time.Second)
	for i, n := range nodes {
		if left := n.slotWaits.count.Load(); left != 0 || len(n.slotWaits.by) > 0 {
			t.Errorf("node %d: %d commands wait for slots for ever", i, left)
		}
	}
}

// TestSetSlotMine says to the owner of a slot that is to move away that it is its own. That gives the job up, and the answer is OK only if the slot is
// served here when the job has ended: it can have decided before it was told, or another one can have begun and moved the slot.
func TestSetSlotMine(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	a, b := nodes[0], nodes[1]
	c := a.client()
	mine := func(job string) {
		t.Helper()
		c.want("OK", "CLUSTER", "SETSLOT", "7", "MIGRATING", string(id("b")))
		c.send("CLUSTER", "SETSLOT", "7", "NODE", string(id("a")))
		w.run()
		if last := a.mig.told[len(a.mig.told)-1]; last != "cancel "+job+" " || len(c.take()) > 0 {
			t.Fatalf("told %q", a.mig.told)
		}
	}
	passes := func(n *testNode, state cluster.State) {
		n.Exclusive(7, func(o *Owned) {
			o.Commit(n.Store().NewBatch(), cluster.Record{State: state, Epoch: 2, Peer: id("b")})
		})
	}

	mine("1")
	a.mig.end(1, JobFail, "cancelled")
	w.advance(100 * time.Millisecond)
	if got := c.taken(); got != "OK" {
		t.Errorf("the slot stays, and the answer is %s", got)
	}

	c.want("OK", "SET", keyIn(7), "v")
	mine("2")
	passes(b, cluster.Serving)
	b.client().want("OK", "SET", keyIn(7), "v")
	passes(a, cluster.Released)
	a.mig.jobs[1].Moved.Append(7)
	w.run()
	if got, want := c.taken(), "(error) "+errHoldsKeys(7); got != want {
		t.Errorf("the slot has left, and the answer is %s, want %s", got, want)
	}
}
