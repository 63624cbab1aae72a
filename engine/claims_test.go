package engine

import (
	"strings"
	"testing"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// handOver makes the records say that a slot has moved.
func handOver(from, to *testNode, s slot.Slot, e cluster.Epoch) {
	from.Exclusive(s, func(o *Owned) {
		o.Commit(from.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: e, Peer: to.ID()})
	})
	to.Exclusive(s, func(o *Owned) {
		o.Commit(to.Store().NewBatch(), cluster.Record{State: cluster.Serving, Epoch: e, Peer: from.ID()})
	})
}

// A node alone in its map has nobody to ask: it serves before the answer to the map has left.
func TestBirthOfASingleNode(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(nil)
	c := n.client()
	c.send("CLUSTERX", "SETNODES", nodesText("a 0-16383"), "1")
	c.send("SET", keyIn(7), "v")
	if n.serving() != "0-16383" {
		t.Errorf("it serves %q at once", n.serving())
	}
	w.run()
	if got := c.taken(); got != "OK | OK" {
		t.Errorf("answers %s", got)
	}
}

// A new cluster comes up although a controller gives the nodes their ids and maps one after another; commands that come
// meanwhile wait for a moment.
func TestBirthOneByOne(t *testing.T) {
	w := newWorld(t)
	nodes := []*testNode{w.addNode(nil), w.addNode(nil), w.addNode(nil)}
	lines := []string{"a 0-99", "b 100-199", "c 200-16383"}
	early := nodes[0].client()
	for i, n := range nodes {
		n.setNodes("1", "", lines...)
		if i == 0 {
			early.send("SET", keyIn(7), "v")
		}
		w.advance(claimRestMin / 2)
	}
	if got := early.taken(); got != "" {
		t.Errorf("a command did not wait for the claim: %s", got)
	}
	w.advance(4 * claimRestMin)
	for i, want := range []string{"0-99", "100-199", "200-16383"} {
		if got := nodes[i].serving(); got != want {
			t.Errorf("node %d serves %q, want %s", i, got, want)
		}
	}
	if got := early.taken(); got != "OK" {
		t.Errorf("the command that waited was answered %s", got)
	}
	for i, n := range nodes {
		if len(n.calls) > 20 {
			t.Errorf("node %d was asked %d times", i, len(n.calls))
		}
	}
}

// Nothing is served at birth before every node of the map has answered. Commands wait a second, not longer.
func TestBirthWaitsForEveryNode(t *testing.T) {
	w := newWorld(t)
	a, b := w.named("a"), w.named("b")
	b.down = true
	a.setNodes("1", "", "a 0-99", "b 100-16383")
	c, late := a.client(), a.client()
	c.send("GET", keyIn(7))
	w.advance(claimWait / 2)
	if got := c.taken(); got != "" {
		t.Errorf("a command at birth is answered %s", got)
	}
	w.advance(claimWait)
	if got := c.taken(); got != "(error) CLUSTERDOWN Hash slot not served" {
		t.Errorf("a command that waited was answered %q", got)
	}
	late.want("(error) CLUSTERDOWN Hash slot not served", "GET", keyIn(7))
	w.advance(10 * claimRetry)
	a.restart()
	w.advance(10 * claimRetry)
	if a.serving() != "" {
		t.Errorf("with b down a serves %s", a.serving())
	}
	b.down = false
	w.advance(3 * claimRetry)
	if a.serving() != "0-99" {
		t.Errorf("after b has answered, which has no map yet, a serves %q", a.serving())
	}
}

// An abort of a slot's import ends the claim of it, and answers the command that waits for the claim: nobody else would wake it, since the record is
// the first that the slot has.
func TestAbortEndsClaim(t *testing.T) {
	w := newWorld(t)
	a, b := w.named("a"), w.named("b")
	b.down = true
	a.setNodes("1", "", "a 0-99", "b 100-16383")
	waits := a.client()
	waits.send("GET", keyIn(7))
	w.run()
	if got := waits.taken(); got != "" {
		t.Fatalf("a command at birth is answered %s", got)
	}
	a.Exclusive(7, func(o *Owned) { o.Commit(a.Store().NewBatch(), cluster.Record{State: cluster.Aborted, Epoch: 2}) })
	w.run()
	if got := waits.taken(); got != "(error) CLUSTERDOWN Hash slot not served" {
		t.Errorf("the command that waited for the claim was answered %q", got)
	}
}

// So many commands may wait for a claim, and no more.
func TestBirthBoundsWhatWaits(t *testing.T) {
	w := newWorld(t)
	a, b := w.addNode(func(o *Options) { o.Limits.ParkedCommands = 2 }), w.named("b")
	b.down = true
	a.setNodes("1", "", "a 0-99", "b 100-16383")
	var got []string
	for range 3 {
		c := a.client()
		c.send("GET", keyIn(7))
		w.advance(claimRestMin)
		got = append(got, c.taken())
	}
	if strings.Join(got, ",") != ",,(error) CLUSTERDOWN Hash slot not served" {
		t.Errorf("answers %q", got)
	}
}

// The hole that made birth ask: a node whose directory was lost comes back under its old id with an old map, and would serve
// what it had moved away.
func TestBirthOfAWipedNode(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200", "c 400-500")
	a, b, c := nodes[0], nodes[1], nodes[2]
	handOver(a, b, 7, 2)
	handOver(a, c, 8, 2)
	handOver(c, b, 8, 3)
	c.Exclusive(9, func(o *Owned) { // an import from a that has just begun
		o.Commit(c.Store().NewBatch(), cluster.Record{State: cluster.Importing, Epoch: 1, Peer: id("a")})
	})
	b.down = true
	a.wipe("a")
	a.setNodes("1", "", "a 0-99", "b 100-200", "c 400-500")
	w.advance(5 * claimRetry)
	if a.serving() != "" {
		t.Errorf("a serves %s before b has answered", a.serving())
	}
	b.down = false
	w.advance(5 * claimRetry)
	if a.serving() != "0-6 10-99" || b.serving() != "7-8 100-200" {
		t.Errorf("a serves %s, b %s", a.serving(), b.serving())
	}
	a.client().want("(error) MOVED 7 127.0.0.1:7001", "GET", keyIn(7))
	a.client().want("(error) CLUSTERDOWN Hash slot not served", "GET", keyIn(9))
	// A forced map is the way out for what no record of is left but those of others.
	a.setNodes("2", "force", "a 0-6 9-99", "b 7-8 100-200", "c 400-500")
	if a.serving() != "0-6 9-99" {
		t.Errorf("after a forced map a serves %s", a.serving())
	}
}

// The map that a wiped node is given is so old that the node which now has its slot is not in it: it learns of it.
func TestBirthLearnsOfLaterNodes(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200")
	a, b, c := nodes[0], nodes[1], w.named("c")
	for _, n := range []*testNode{a, b, c} {
		n.setNodes("2", "", "a 0-99", "b 100-200", "c")
	}
	handOver(a, c, 7, 2)
	c.down = true
	a.wipe("a")
	a.setNodes("1", "", "a 0-99", "b 100-200")
	w.advance(10 * claimRetry)
	if a.serving() != "" {
		t.Errorf("a serves %s while c, of which b knows, has not answered", a.serving())
	}
	c.down = false
	w.advance(3 * claimRetry)
	if a.serving() != "0-6 8-99" {
		t.Errorf("a serves %s", a.serving())
	}
}

// A node that others knew of, but that nobody names any more, is not waited for.
func TestClaimForgetsWhoIsNamedNoMore(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200", "c 400-500")
	a, b, c, d := nodes[0], nodes[1], nodes[2], w.named("d")
	c.down = true
	d.setNodes("2", "", "a 0-99", "b 100-200", "d 300")
	w.advance(5 * claimRetry)
	if d.serving() != "" {
		t.Errorf("d serves %s while c, of which a and b know, has not answered", d.serving())
	}
	for _, version := range []string{"2", "3"} { // two maps without c
		a.setNodes(version, "", "a 0-99", "b 100-200", "d 300")
		b.setNodes(version, "", "a 0-99", "b 100-200", "d 300")
	}
	w.advance(5 * claimRetry)
	if d.serving() != "300" {
		t.Errorf("d serves %q", d.serving())
	}
}

// A new node is given, by its first map, what another serves: it does not take it.
func TestBirthTakesNothing(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200")
	c := w.named("c")
	c.setNodes("2", "", "a", "b 100-200", "c 0-99 300")
	w.advance(10 * claimRetry)
	if c.serving() != "300" || nodes[0].serving() != "0-99" {
		t.Errorf("c serves %s, a %s", c.serving(), nodes[0].serving())
	}
	c.client().want("(error) MOVED 7 127.0.0.1:7000", "GET", keyIn(7))
}

// Two new nodes with different first maps, each of which gives it everything.
func TestTwoBirthsOfOneSlot(t *testing.T) {
	w := newWorld(t)
	a, b := w.named("a"), w.named("b")
	a.client().send("CLUSTERX", "SETNODES", nodesText("a 0-99", "b"), "1")
	b.client().send("CLUSTERX", "SETNODES", nodesText("a", "b 0-99"), "1")
	for range 200 {
		w.advance(claimRetry / 10)
		if a.serving() != "" && b.serving() != "" {
			t.Fatalf("a serves %s, b %s", a.serving(), b.serving())
		}
	}
	if a.serving()+b.serving() != "0-99" {
		t.Errorf("a serves %q, b %q", a.serving(), b.serving())
	}
}

// Claims follow the map: what a newer one gives to another is not claimed any more, and its node gets it.
func TestClaimEndsWithItsMap(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200", "c 400-500")
	a, b, c := nodes[0], nodes[1], nodes[2]
	c.down = true
	a.setNodes("2", "", "a 0-99 300", "b 100-200", "c 400-500")
	waits := a.client()
	waits.send("GET", keyIn(300))
	w.run()
	for _, n := range nodes[:2] {
		n.setNodes("3", "", "a 0-99", "b 100-200 300", "c 400-500")
	}
	if got := waits.taken(); got != "(error) MOVED 300 127.0.0.1:7001" {
		t.Errorf("the command that waited for the claim was answered %q", got)
	}
	c.down = false
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" || b.serving() != "100-200 300" {
		t.Errorf("a serves %s, b %s", a.serving(), b.serving())
	}
}

// A map that comes while the nodes of the one before are asked may name others: the answers to the old questions are void.
func TestNewMapMakesOldAnswersVoid(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200")
	a, c := nodes[0], w.named("c")
	c.setNodes("1", "force", "c 300")
	cl := a.client()
	cl.send("CLUSTERX", "SETNODES", nodesText("a 0-99 300", "b 100-200"), "2")
	cl.send("CLUSTERX", "SETNODES", nodesText("a 0-99 300", "b 100-200", "c"), "3")
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" || c.serving() != "300" {
		t.Errorf("a serves %s, c %s", a.serving(), c.serving())
	}
}

// An id that is given after the map makes the node claim what the map gives to that id, and nothing else.
func TestIDAfterTheMap(t *testing.T) {
	w := newWorld(t)
	n, b := w.addNode(func(o *Options) { o.Addr = "elsewhere:1" }), w.named("b")
	b.down = true
	n.setNodes("1", "", "a 0-99", "b 100-200")
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("z")))
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
	w.advance(3 * claimRetry)
	if n.serving() != "" {
		t.Errorf("it serves %s before b has answered", n.serving())
	}
	b.down = false
	w.advance(3 * claimRetry)
	if n.serving() != "0-99" {
		t.Errorf("it serves %q", n.serving())
	}
}

// A new map gives b a slot that a serves: b asks and keeps redirecting to a.
func TestClaimOfAServedSlot(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	b := nodes[1]
	b.setNodes("2", "", "a 0-6 8-99", "b 7 100-16383")
	if got := strings.Join(nodes[0].calls, ","); got != "OWNER 7" {
		t.Errorf("a was asked %q", got)
	}
	w.advance(10 * claimRetry)
	b.client().want("(error) MOVED 7 127.0.0.1:7000", "GET", keyIn(7))
	if b.Record(7).State != cluster.None {
		t.Errorf("record %+v", b.Record(7))
	}
}

// A slot that nobody ever had is served once all have been asked; one of which anybody has a record is not, whatever it says.
func TestClaimOfAnOrphan(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 200-300", "c 400-500")
	a, b, c := nodes[0], nodes[1], nodes[2]
	for s, state := range map[slot.Slot]cluster.State{110: cluster.Importing, 111: cluster.Prepared, 112: cluster.Aborted, 113: cluster.Released} {
		c.Exclusive(s, func(o *Owned) {
			o.Commit(c.Store().NewBatch(), cluster.Record{State: state, Epoch: 9, Peer: id("z")})
		})
	}
	a.setNodes("2", "", "a 0-99 105-115", "b 200-300", "c 400-500")
	if a.serving() != "0-99 105-109 114-115" {
		t.Errorf("a serves %s", a.serving())
	}
	if len(b.calls) != 1 || len(c.calls) != 1 {
		t.Errorf("asked: b %v, c %v", b.calls, c.calls)
	}
	if e := a.Record(105).Epoch; e != 1 {
		t.Errorf("a slot that nobody ever had is served under epoch %d", e)
	}
	a.client().want("OK", "SET", keyIn(105), "v")
	w.advance(10 * claimRetry)
	if a.serving() != "0-99 105-109 114-115" {
		t.Errorf("a serves %s after a while", a.serving())
	}
}

// A claim that waits for a node of the old map still waits for it after a restart, though the new map does not have it.
func TestClaimOutlivesARestart(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200", "c 400-500")
	a, b := nodes[0], nodes[1]
	b.close()
	a.setNodes("2", "", "a 0-200", "c 400-500")
	w.advance(3 * claimRetry)
	a.restart()
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" {
		t.Errorf("a serves %s before b has answered", a.serving())
	}
	b.start()
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" || b.serving() != "100-200" {
		t.Errorf("a serves %s, b %s", a.serving(), b.serving())
	}
}

// As long as one node does not answer, nothing that is claimed is served.
func TestClaimWaitsForEveryNode(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 200-300", "c 400-500")
	a, c := nodes[0], nodes[2]
	c.down = true
	a.setNodes("2", "", "a 0-99 105", "b 200-300", "c 400-500")
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" {
		t.Errorf("with c down a serves %s", a.serving())
	}
	a.client().want("(error) CLUSTERDOWN Hash slot not served", "GET", keyIn(105))
	// The claim outlives a restart.
	a.restart()
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" {
		t.Errorf("after a restart with c down a serves %s", a.serving())
	}
	c.down = false
	w.advance(3 * claimRetry)
	if a.serving() != "0-99 105" {
		t.Errorf("with c up a serves %s", a.serving())
	}
}

// A node that left the map in the very version that gives its slot away is asked too: it was in the old one.
func TestClaimAsksNodesOfTheOldMap(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200", "c 400-500")
	a := nodes[0]
	a.setNodes("2", "", "a 0-200", "c 400-500")
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" {
		t.Errorf("a serves %s, which b still serves", a.serving())
	}
	if len(nodes[1].calls) == 0 {
		t.Error("b was not asked")
	}
}

// Two nodes claim the same slot at the same moment, each by a map of its own: one serves in the end, and never both.
func TestTwoClaimants(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-200")
	a, b := nodes[0], nodes[1]
	ca, cb := a.client(), b.client()
	ca.send("CLUSTERX", "SETNODES", nodesText("a 0-99 300", "b 100-200"), "2")
	cb.send("CLUSTERX", "SETNODES", nodesText("a 0-99", "b 100-200 300"), "2")
	both := func() bool { return a.Record(300).State == cluster.Serving && b.Record(300).State == cluster.Serving }
	for range 200 {
		w.advance(claimRetry / 10)
		if both() {
			t.Fatal("two nodes serve one slot")
		}
	}
	if a.Record(300).State != cluster.Serving && b.Record(300).State != cluster.Serving {
		t.Error("nobody serves the slot")
	}
	if len(a.Alarms()) == 0 && len(b.Alarms()) == 0 {
		t.Error("two maps under one version raised no alarm")
	}
}
