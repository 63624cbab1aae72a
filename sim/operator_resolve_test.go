package sim

import (
	"strings"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/store"
)

// TestSlowDiskIsNoLoss: an operator calls the source of a slot lost whose disk is so slow that it answers no question about the slot for as long as it is
// asked. It answers others, which need no disk, and the target must refuse: it would serve the slot beside the source, which has decided nothing.
func TestSlowDiskIsNoLoss(t *testing.T) {
	silent := 0
	for seed := uint64(1); seed <= 20; seed++ {
		s := crashSwarm()
		s.slowTime = 8 * time.Second
		w := newWorldOf(seed, s, store.NewCaches(), nil)
		w.setup()
		w.nemesis.over = false
		sl := w.keys.slots[0]
		source := w.owner(sl)
		target := w.procs[(source.index+1)%len(w.procs)]
		w.oper.move(source, target, []int{0})
		w.runUntil(w.now+5*time.Second, func() bool { return target.record(sl).State == cluster.Prepared && target.synced() })
		if w.failed != nil || target.record(sl).State != cluster.Prepared {
			t.Fatalf("seed %d: the target is not prepared: %v", seed, w.failed)
		}
		w.swarm.slowSync = 1 // from here on
		answer := ""
		w.oper.vouching = &vouch{asks: target, lives: source}
		w.oper.sayResolved(target, sl, "COMMIT", source, func(v resp.Value) { answer = v.String() })
		w.runUntil(w.now+5*time.Second, func() bool { return answer != "" })
		switch {
		case w.failed != nil || !strings.HasPrefix(answer, "(error)") || target.record(sl).State == cluster.Serving:
			t.Errorf("seed %d: RESOLVE: %s (%v)", seed, answer, w.failed)
		case strings.Contains(answer, " lives"):
			silent++
		}
		w.shutdown()
	}
	if silent == 0 {
		t.Error("in no world was the source silent about the slot: the test shows nothing")
	}
}
