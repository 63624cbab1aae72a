package driver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/migration"
)

// slowServers are servers to which IMPORT 1 is said, and from which the answer to a question whether a slot is served comes, when a test wants it.
type slowServers struct {
	env.Servers
	saying chan struct{} // closed when IMPORT 1 is about to be said
	say    chan struct{} // lets it be said
	over   chan struct{} // closed when it was answered, or cannot be
	hear   chan struct{} // lets the answer be heard
	asked  func()        // is called when the question was answered, before that is heard
	second atomic.Bool   // IMPORT 1 was said before
}

type slowConn struct {
	env.ServerConn
	s *slowServers
}

func (s *slowServers) Open(addr string) env.ServerConn { return slowConn{s.Servers.Open(addr), s} }

func (c slowConn) Do(commands [][][]byte, limit int, timeout time.Duration, done func([][]byte, error)) {
	first, question := string(slices.Concat(commands[0]...)), false
	if n := len(commands); n > 1 {
		question = string(commands[n-2][0]) == "EXISTS"
	}
	switch {
	case first == fmt.Sprintf("CLUSTERIMPORT%d1", kvSlot) && c.s.second.CompareAndSwap(false, true):
		close(c.s.saying)
		go func() {
			<-c.s.say
			c.ServerConn.Do(commands, limit, timeout, func(replies [][]byte, err error) {
				close(c.s.over)
				<-c.s.hear
				done(replies, err)
			})
		}()
	case question:
		c.ServerConn.Do(commands, limit, timeout, func(replies [][]byte, err error) {
			c.s.asked()
			done(replies, err)
		})
	default:
		c.ServerConn.Do(commands, limit, timeout, done)
	}
}

// slow makes a slot move to the Kvrocks until IMPORT 1 is about to be said.
func (w *twoSystems) slow() *slowServers {
	w.t.Helper()
	w.fill(false)
	d, _ := w.kvrocks()
	s := &slowServers{Servers: d.env.Servers, saying: make(chan struct{}), say: make(chan struct{}), over: make(chan struct{}), hear: make(chan struct{}), asked: func() {}}
	d.env.Servers = s
	w.migrate()
	<-s.saying
	w.until("it is seen that the slot is decided", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.sources[kvSlot].seen().step == migration.StepCommitting
	})
	return s
}

func (w *twoSystems) resolve(what string) string {
	w.t.Helper()
	v, err := ask(w.addr, "GODWIT", "MIGRATION", "RESOLVE", fmt.Sprint(int(kvSlot)), what, kvrocksID)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.String()
}

// TestKvrocksResolvedWhileItIsTold resolves a slot while IMPORT 1 is on its way, and comes after the Kvrocks has said that it does not serve the slot.
func TestKvrocksResolvedWhileItIsTold(t *testing.T) {
	w := newTwoSystems(t, nil)
	s := w.slow()
	close(s.hear)
	s.asked = sync.OnceFunc(func() {
		close(s.say)
		<-s.over
	})
	if got := w.resolve("ABORT"); strings.HasPrefix(got, "(error)") {
		t.Fatalf("RESOLVE: %s", got)
	}
	if r := w.source().Node().Record(kvSlot); r.State != cluster.Serving {
		t.Errorf("the record is %+v", r)
	}
	if w.kv.Serves(kvSlot) {
		t.Error("both serve the slot")
	}
	w.ended()
	w.migrate()
	if j := w.ended(); j.State != engine.JobSuccess {
		t.Errorf("the second job ended as %+v", j)
	}
	w.equal()
}

// TestKvrocksResolvedWhenItServes resolves a slot that the Kvrocks serves, before its answer is heard: nothing is aborted, and the job goes on.
func TestKvrocksResolvedWhenItServes(t *testing.T) {
	w := newTwoSystems(t, nil)
	s := w.slow()
	close(s.say)
	<-s.over
	if got := w.resolve("ABORT"); !strings.Contains(got, "serves slot") {
		t.Errorf("RESOLVE: %s", got)
	}
	close(s.hear)
	if j := w.ended(); j.State != engine.JobSuccess || !w.kv.Serves(kvSlot) {
		t.Errorf("the job ended as %+v", j)
	}
	w.equal()
}
