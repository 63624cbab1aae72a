package engine

import (
	"testing"

	"godwit/engine/slot"
)

// TestSlotLoad: commands that write to a slot are counted one by one, those that read it roughly, however they come.
func TestSlotLoad(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	c := n.client()
	sl := slot.OfKey([]byte("{a}"))
	c.want("OK", "SET", "{b}1", "v")
	for range 100 {
		c.want("OK", "SET", "{a}1", "v")
	}
	c.want("OK", "MSET", "{a}1", "v", "{a}2", "v") // one command
	c.want("(error) WRONGTYPE Operation against a key holding the wrong kind of value", "LPUSH", "{a}1", "x")
	c.want("0", "DEL", "{a}none")
	if writes, reads := n.slotLoad(sl); writes != 101 || reads > readsCounted {
		t.Errorf("%d writes, %d reads", writes, reads)
	}
	for range 40 * readsCounted {
		c.want(`"v"`, "GET", "{a}1")
	}
	// As one pipeline, of which commands are run together.
	var pipeline []string
	for i := range 400 {
		pipeline = append(pipeline, "SET {a}1 w", "GET {b}1")
		if i%2 == 0 {
			pipeline = append(pipeline, "GET {a}1")
		}
	}
	c.pipe(pipeline...)
	w.run()
	if got := len(c.take()); got != len(pipeline) {
		t.Fatalf("%d replies to %d commands", got, len(pipeline))
	}
	writes, reads := n.slotLoad(sl)
	if want := uint64(40*readsCounted + 200); writes != 501 || reads+2*readsCounted < want || reads > want+400 {
		t.Errorf("%d writes, %d reads, want 501 and about %d", writes, reads, want)
	}
	if writes, reads := n.slotLoad(slot.OfKey([]byte("{b}"))); writes != 1 || reads == 0 || reads > 600 {
		t.Errorf("a slot that was read 400 times: %d writes, %d reads", writes, reads)
	}
	if writes, reads := n.slotLoad(slot.OfKey([]byte("other"))); writes+reads != 0 {
		t.Errorf("a slot without load: %d writes, %d reads", writes, reads)
	}
}
