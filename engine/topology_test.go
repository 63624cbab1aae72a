package engine

import (
	"testing"

	"godwit/engine/cluster"
)

// setNodes pushes a map as a controller does.
func (n *testNode) setNodes(version, force string, lines ...string) {
	n.w.t.Helper()
	args := []string{"CLUSTERX", "SETNODES", nodesText(lines...), version}
	if force != "" {
		args = append(args, force)
	}
	n.client().want("OK", args...)
}

func (n *testNode) serving() string {
	s := n.Serving()
	return s.String()
}

// A controller pushes the same map under a higher version about a second after it has started a move, and again after the
// move has ended, still with the old owner. Neither may disturb what the node knows better.
func TestMapNeverTakesNorReturnsASlot(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	a, b := nodes[0], nodes[1]
	if a.serving() != "0-99" || b.serving() != "100-16383" {
		t.Fatalf("at birth a serves %s and b %s", a.serving(), b.serving())
	}
	a.client().want("OK", "SET", keyIn(7), "v")

	// A higher version that gives a's slot to b: a goes on serving, b does not begin.
	for _, n := range nodes {
		n.setNodes("2", "", "a 0-6 8-99", "b 7 100-16383")
	}
	w.advance(10 * claimRetry)
	if a.serving() != "0-99" || b.serving() != "100-16383" {
		t.Errorf("after a map that gives 7 to b, a serves %s and b %s", a.serving(), b.serving())
	}
	a.client().want(`"v"`, "GET", keyIn(7))
	b.client().want("(error) MOVED 7 127.0.0.1:7000", "GET", keyIn(7))

	// a hands 7 over to b; then the controller, late, pushes the old owner again.
	a.Exclusive(7, func(o *Owned) {
		o.Commit(a.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	b.Exclusive(7, func(o *Owned) {
		o.Commit(b.Store().NewBatch(), cluster.Record{State: cluster.Serving, Epoch: 2, Peer: id("a")})
	})
	for _, n := range nodes {
		n.setNodes("3", "", "a 0-99", "b 100-16383")
	}
	w.advance(10 * claimRetry)
	if a.serving() != "0-6 8-99" || b.serving() != "7 100-16383" {
		t.Errorf("after the handoff and an old map, a serves %s and b %s", a.serving(), b.serving())
	}
	a.client().want("(error) MOVED 7 127.0.0.1:7001", "GET", keyIn(7))
	a.restart()
	w.advance(10 * claimRetry)
	if a.serving() != "0-6 8-99" {
		t.Errorf("after a restart a serves %s", a.serving())
	}
}

func TestMapVersions(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	n.setNodes("1", "", "a 0-16383") // same version, other content: ignored
	if n.Map().Owner(200).ID != id("b") {
		t.Error("a map of the same version was taken")
	}
	n.client().want("(error) ERR Invalid cluster version", "CLUSTERX", "SETNODES", nodesText("a 0-16383"), "0")
	n.setNodes("0", "force", "a 0-50", "b 51-16383")
	if n.Map().Version != 0 || n.serving() != "0-50" {
		t.Errorf("after a forced map version %d, serving %s", n.Map().Version, n.serving())
	}
	if r := n.Record(60); r.State != cluster.Released || r.Epoch != 2 || r.Peer != id("b") {
		t.Errorf("a slot that a forced map takes away: %+v", r)
	}
	n.setNodes("0", "FORCE", "a 0-70", "b 71-16383")
	if n.serving() != "0-70" {
		t.Errorf("after another forced map serving %s", n.serving())
	}
}

// A forced map leaves slots alone that are about to change hands.
func TestForcedMapSparesMoves(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	n.Exclusive(5, func(o *Owned) { o.Pause() })
	n.Exclusive(200, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Prepared, Epoch: 1, Peer: id("b")})
	})
	n.setNodes("2", "force", "a 100-16383", "b 0-99")
	if n.Record(5).State != cluster.Serving || n.Record(200).State != cluster.Prepared || n.Record(6).State != cluster.Released || n.Record(201).State != cluster.Serving {
		t.Errorf("records %v %v %v %v", n.Record(5).State, n.Record(200).State, n.Record(6).State, n.Record(201).State)
	}
}

func TestNodeIDIsDetected(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(nil)
	w.named("b")
	n.setNodes("1", "", "a 0-99", "b 100-16383")
	if n.ID() != id("a") || n.serving() != "0-99" {
		t.Errorf("id %q, serving %s", n.ID(), n.serving())
	}
	n.restart()
	if n.ID() != id("a") || n.serving() != "0-99" {
		t.Errorf("after a restart id %q, serving %s", n.ID(), n.serving())
	}
}

func TestDetectSelf(t *testing.T) {
	m, err := cluster.ParseNodes(string(id("a"))+" localhost 7000 master - 0-9\n"+string(id("b"))+" 10.0.0.2 7000 master -\n"+
		string(id("c"))+" ::1 7001 master -\n", 1)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]cluster.NodeID{
		"127.0.0.1:7000": id("a"), "10.0.0.2:7000": id("b"), "10.0.0.2:7002": "", "10.0.0.3:7000": "", "[::1]:7001": id("c"),
		"0.0.0.0:7001": id("c"), "nonsense": "", "": "",
	} {
		n := &Node{opts: Options{Addr: addr}}
		if got := n.detectSelf(m); got != want {
			t.Errorf("%q is found as %q, want %q", addr, got, want)
		}
	}
}

// An announcement of a higher epoch than one's own means that another is right.
func TestAnnouncementOfAHigherEpoch(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	a := nodes[0]
	a.Announced(cluster.Hint{Slot: 7, Node: id("b"), Epoch: 1})
	if a.Record(7).State != cluster.Serving {
		t.Fatal("an announcement of the same epoch took the slot")
	}
	var answer error
	done := false
	p, _ := nodes[1].Peer(id("a"))
	nodes[1].Announce(p, 7, 5, func(err error) { answer, done = err, true })
	w.run()
	if !done || answer != nil {
		t.Errorf("announcing: done %v, %v", done, answer)
	}
	if r := a.Record(7); r.State != cluster.Released || r.Epoch != 5 || len(a.Alarms()) != 1 {
		t.Errorf("record %+v, alarms %v", r, a.Alarms())
	}
	a.client().want("(error) MOVED 7 127.0.0.1:7001", "GET", keyIn(7))
	// An older hint does not replace a newer one.
	a.Announced(cluster.Hint{Slot: 7, Node: id("a"), Epoch: 4})
	a.client().want("(error) MOVED 7 127.0.0.1:7001", "GET", keyIn(7))
}
