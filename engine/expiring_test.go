package engine

import (
	"testing"
	"time"

	"godwit/engine/data"
	"godwit/engine/slot"
)

// holdsExpiring checks the invariant of expiring for every slot that a node serves.
func holdsExpiring(t *testing.T, n *testNode) {
	t.Helper()
	if n.expiring.unknown.Load() {
		return
	}
	if err := data.EachExpiring(n.Store(), func(sl slot.Slot, expireMs int64) {
		if n.expiring.slots[sl/64].Load()&(1<<(sl%64)) == 0 {
			t.Errorf("slot %d is not known to expire", sl)
		}
		if got := n.slots.get(sl).expires; got > expireMs {
			t.Errorf("slot %d expires at %d, it is thought at %d", sl, expireMs, got)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestSweeperFindsWhatExpires: by whatever way a key got its expiry, and after a restart, it goes when its time has come, and the
// sweeper has nothing to look at afterwards.
func TestSweeperFindsWhatExpires(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.Cluster, o.SweepInterval = false, 100*time.Millisecond })
	c := n.client()
	w.advance(time.Second)
	c.want("OK", "SET", "a", "1", "PX", "5000")
	c.want("OK", "SET", "a", "1", "PX", "300") // earlier than before, in the same slot
	c.pipe("SET b 1 PX 700", "SET c 1 PX 900", "SET d 1")
	w.run()
	c.take()
	c.want("1", "EXPIRE", "d", "1")
	c.want("OK", "RENAME", "d", "e")
	c.want("OK", "MULTI")
	c.pipe("SET f 1 PX 400", "SADD g m", "PEXPIRE g 450", "EXEC")
	w.run()
	c.take()
	holdsExpiring(t, n)
	if known := countExpiring(n); known != 7 { // d, which was renamed, is looked at once more
		t.Errorf("%d slots are looked at", known)
	}
	n.restart()
	c = n.client()
	w.advance(350 * time.Millisecond)
	holdsExpiring(t, n)
	c.want("5", "DBSIZE")
	c.pipe("PERSIST c", "GETEX b PX 2000")
	w.run()
	c.take()
	w.advance(time.Second)
	holdsExpiring(t, n)
	c.want("2", "DBSIZE") // b and c
	w.advance(2 * time.Second)
	c.want("1", "DBSIZE")
	if left, err := data.CountKeys(n.Store(), slot.OfKey([]byte("b")), 0); left != 0 || err != nil {
		t.Errorf("%d keys are left, %v", left, err)
	}
	if known := countExpiring(n); known != 0 {
		t.Errorf("%d slots are still looked at", known)
	}
}

func countExpiring(n *testNode) (known int) {
	for sl := range slot.Slot(slot.Count) {
		if n.expiring.slots[sl/64].Load()&(1<<(sl%64)) != 0 {
			known++
		}
	}
	return known
}

// TestSweeperFindsWhatAMoveBrought: what was written beside the clients, as a move does, is found when the slot is served.
func TestSweeperFindsWhatAMoveBrought(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.SweepInterval = 100 * time.Millisecond })
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
	n.client().want("OK", "CLUSTERX", "SETNODES", nodesText("a 0-16383"), "1")
	w.advance(time.Second)
	key := keyIn(7)
	tx := data.Begin(n.Store(), data.Write, w.wallMs)
	e := tx.Load([]byte(key))
	tx.PutString(&e, []byte("v"), w.wallMs+200)
	tx.Commit()
	n.Exclusive(7, func(o *Owned) { o.Remember(o.Record()) })
	w.advance(time.Second)
	holdsExpiring(t, n)
	if left, err := data.CountKeys(n.Store(), 7, 0); left != 0 || err != nil {
		t.Errorf("%d keys are left, %v", left, err)
	}
}
