package driver

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/host/kvrockstest"
	"godwit/engine/slot"
	"godwit/migration"
)

// kvrocks is what the node's driver keeps of the Kvrocks.
func (w *twoSystems) kvrocks() (*Driver, *kvrocks) {
	d := w.source().Node().Migrator().(*Driver)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d, d.kvrocksOf(cluster.NodeID(kvrocksID))
}

// TestKvrocksLockOrder asks how a job stands, which looks at the turns of a Kvrocks under Driver.mu, beside steps of an import that waits.
func TestKvrocksLockOrder(t *testing.T) {
	w := newTwoSystems(t, nil)
	d, k := w.kvrocks()
	stepped, asked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stepped)
		i, one := &kvrocksImport{}, make(chan struct{})
		for range 20_000 {
			k.locked(i, func() { one <- struct{}{} })
			<-one
		}
	}()
	go func() {
		defer close(asked)
		for {
			select {
			case <-stepped:
				return
			default:
			}
			d.mu.Lock()
			k.waiting(kvSlot)
			d.mu.Unlock()
		}
	}()
	for _, done := range []chan struct{}{stepped, asked} {
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("the driver and its Kvrocks wait for each other")
		}
	}
}

// otherSlot is another slot than that of the keys of these tests.
var otherSlot = slot.OfKey([]byte("{u}"))

// migrateTwo starts a job that gives both slots away.
func (w *twoSystems) migrateTwo() {
	w.t.Helper()
	w.fill(false)
	cl := w.client()
	for i := range 50 {
		if v, err := cl.do("SET", fmt.Sprintf("{u}%d", i), "v"); err != nil || v.Str != "OK" {
			w.t.Fatalf("SET: %s, %v", v, err)
		}
	}
	w.want("OK", "CLUSTERX", "MIGRATE", fmt.Sprintf("%d %d", min(kvSlot, otherSlot), max(kvSlot, otherSlot)), kvrocksID)
}

// servesBoth checks that a job of both slots has moved them.
func (w *twoSystems) servesBoth(j engine.JobReport) {
	w.t.Helper()
	if j.State != engine.JobSuccess || !w.kv.Serves(kvSlot) || !w.kv.Serves(otherSlot) {
		w.t.Errorf("the job ended as %+v\n%s", j, w.logs.String())
	}
	w.equal()
	if n := len(w.kv.Keys(otherSlot)); n != 50 {
		w.t.Errorf("the Kvrocks has %d keys of the other slot, want 50", n)
	}
}

// TestKvrocksRemembersOne loses the answer to IMPORT 1 of a slot while another waits for its turn: what the Kvrocks remembers of the first is asked for
// before the import of the second takes it away.
func TestKvrocksRemembersOne(t *testing.T) {
	seen := 0
	w := newTwoSystems(t, func(_, command string) kvrockstest.Fate {
		if strings.HasPrefix(command, "cluster import ") && strings.HasSuffix(command, " 1") {
			if seen++; seen == 1 {
				return kvrockstest.Lost
			}
		}
		return kvrockstest.Answered
	})
	w.migrateTwo()
	w.servesBoth(w.ended())
}

// TestKvrocksRemembersOneAfterRestart loses that answer, and then the process of the node. In the next one the slot that is not decided comes first.
func TestKvrocksRemembersOneAfterRestart(t *testing.T) {
	var decided atomic.Int64 // the slot whose answer was lost, -1: none yet
	decided.Store(-1)
	var silent, restarted atomic.Bool
	w := newTwoSystems(t, func(conn, command string) kvrockstest.Fate {
		var sl int64
		if n, _ := fmt.Sscanf(command, "cluster import %d 1", &sl); n == 1 && strings.HasSuffix(command, " 1") && decided.CompareAndSwap(-1, sl) {
			silent.Store(true)
			return kvrockstest.Lost
		}
		if silent.Load() && strings.HasPrefix(command, "client setname ") {
			return kvrockstest.CutOff
		}
		return kvrockstest.Answered
	})
	waits := make(chan struct{})
	wait := sync.OnceFunc(func() { close(waits) })
	t.Cleanup(wait)
	w.cfg.OnStep = func(sl slot.Slot, step string, carriedOut bool) {
		if restarted.Load() && int64(sl) == decided.Load() && step == migration.StepCommitting.String() && !carriedOut {
			<-waits
		}
	}
	w.restart() // with that
	w.migrateTwo()
	w.until("an answer is lost", silent.Load)
	restarted.Store(true)
	w.restart()
	silent.Store(false)
	w.until("the other slot waits for the one that is decided", func() bool {
		return strings.Contains(w.job().Waiting, fmt.Sprintf("waits for slot %d, which is decided", decided.Load()))
	})
	wait()
	w.servesBoth(w.ended())
}

// TestKvrocksStartsWhileItAborts says a start while IMPORT 2 is under way: each message is answered once.
func TestKvrocksStartsWhileItAborts(t *testing.T) {
	said, answer := make(chan struct{}), make(chan struct{})
	w := newTwoSystems(t, func(_, command string) kvrockstest.Fate {
		if command == fmt.Sprintf("cluster import %d 2", kvSlot) {
			close(said)
			<-answer
		}
		return kvrockstest.Answered
	})
	type answered struct {
		name  string
		reply migration.Reply
		err   error
	}
	answers := make(chan answered, 10)
	_, k := w.kvrocks()
	say := func(name string, kind migration.MessageKind, attempt cluster.Attempt) {
		m := migration.Message{Kind: kind, Slot: kvSlot, Job: cluster.JobID{Node: id(0), Counter: 1}, Attempt: attempt}
		k.handle(&m, func(r migration.Reply, err error) { answers <- answered{name, r, err} })
	}
	say("start", migration.MsgStart, 1)
	if a := <-answers; a.err != nil || a.reply.Kind != migration.ReplyStarted {
		t.Fatalf("the first start is answered %+v", a)
	}
	say("abort", migration.MsgAbort, 1)
	<-said
	say("start again", migration.MsgStart, 2)
	if a := <-answers; a.name != "start again" || a.err == nil {
		t.Errorf("while it aborts: %+v", a)
	}
	close(answer)
	if a := <-answers; a.name != "abort" || a.reply.Kind != migration.ReplyAborted {
		t.Errorf("then: %+v", a)
	}
	say("start at last", migration.MsgStart, 3)
	if a := <-answers; a.name != "start at last" || a.reply.Kind != migration.ReplyStarted {
		t.Errorf("at last: %+v", a)
	}
}
