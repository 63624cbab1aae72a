package engine

import (
	"strings"
	"testing"

	"godwit/engine/cluster"
	"godwit/engine/key"
)

// TestHintsSurviveRestarts: what was announced is known after a restart, until a map says so, or names the node no more, or is forced.
func TestHintsSurviveRestarts(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383", "c")
	n := nodes[2]
	stored := func() int {
		t.Helper()
		it, err := n.Store().NewIter(key.HintSpan())
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for ok := it.First(); ok; ok = it.Next() {
			count++
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return count
	}
	for _, h := range []cluster.Hint{{Slot: 5, Node: id("b"), Epoch: 2}, {Slot: 5, Node: id("a"), Epoch: 1}, {Slot: 105, Node: id("a"), Epoch: 3}, {Slot: 105, Node: id("b"), Epoch: 3}} {
		n.Announced(h)
	}
	n.restart()
	if n.Owner(5) != id("b") || n.Owner(105) != id("a") || n.Owner(6) != id("a") || stored() != 2 {
		t.Fatalf("after a restart the owners are %s, %s, %s, and %d hints are stored", n.Owner(5), n.Owner(105), n.Owner(6), stored())
	}
	n.client().want("(error) MOVED 5 127.0.0.1:7001", "GET", keyIn(5))

	// The map catches up with slot 5; of the other it knows nothing yet.
	n.client().want("OK", "CLUSTERX", "SETNODES", nodesText("a 0-4 6-99", "b 5 100-16383", "c"), "2")
	n.restart()
	if n.Owner(5) != id("b") || n.Owner(105) != id("a") || stored() != 1 {
		t.Errorf("the owners are %s, %s, and %d hints are stored", n.Owner(5), n.Owner(105), stored())
	}
	// A node that has left owns nothing.
	n.client().want("OK", "CLUSTERX", "SETNODES", strings.ReplaceAll(nodesText("a", "b 0-16383", "c"), string(id("a")), string(id("d"))), "3")
	if n.Owner(105) != id("b") || stored() != 0 {
		t.Errorf("the owner is %s, and %d hints are stored", n.Owner(105), stored())
	}
	n.Announced(cluster.Hint{Slot: 5, Node: id("d"), Epoch: 9})
	n.client().want("OK", "CLUSTERX", "SETNODES", strings.ReplaceAll(nodesText("a", "b 0-16383", "c"), string(id("a")), string(id("d"))), "4", "FORCE")
	if n.Owner(5) != id("b") || stored() != 0 {
		t.Errorf("with force the owner is %s, and %d hints are stored", n.Owner(5), stored())
	}
}
