package host

import (
	"fmt"
	"testing"
	"time"

	"godwit/engine"
)

// TestSyncerWaitsForLoops: a round waits while loops have requests to run, until one of them has none, and begins at once otherwise.
func TestSyncerWaitsForLoops(t *testing.T) {
	s := StartSyncer()
	defer s.Close()
	ran := make(chan int, 10)
	schedule := func(i int) { s.Schedule(func() { ran <- i }) }
	expect := func(want int) {
		t.Helper()
		if !until(func() bool { return len(ran) > 0 }) {
			t.Fatalf("round %d does not begin", want)
		}
		if got := <-ran; got != want {
			t.Fatalf("round %d ran, want %d", got, want)
		}
	}
	schedule(1)
	expect(1)
	s.hold()
	s.hold()
	s.mu.Lock()
	s.due = time.Now().Add(-time.Hour) // of an earlier round, which was due long ago
	s.mu.Unlock()
	schedule(2)
	s.mu.Lock()
	if time.Since(s.due) > time.Minute {
		t.Error("a round is due when an earlier one was")
	}
	s.due = time.Now().Add(time.Hour)
	s.mu.Unlock()
	schedule(3)
	s.hurry()
	if !s.waits() || len(s.wake) != 0 || len(ran) != 0 {
		t.Fatal("a round began while loops had requests to run")
	}
	s.letGo()
	expect(2)
	expect(3)
	if s.waits() {
		t.Error("a round waits that has run")
	}
	schedule(4)
	if len(s.wake) != 0 {
		t.Fatal("a round began while a loop had requests to run")
	}
	s.letGo()
	expect(4)
	schedule(5)
	expect(5)
}

// TestSyncerIsNotPutOffForEver: a round begins also when the loops always have another request to run.
func TestSyncerIsNotPutOffForEver(t *testing.T) {
	s := StartSyncer()
	defer s.Close()
	s.hold()
	ran := make(chan int, 1)
	s.Schedule(func() { ran <- 1 })
	if !until(func() bool {
		s.hurry()
		return len(ran) > 0
	}) {
		t.Fatal("a round waits for ever")
	}
	s.letGo()
}

// TestSyncedWriteBesideOthers: a write is answered, durable, however much others have to ask, and a sync serves many writes.
func TestSyncedWriteBesideOthers(t *testing.T) {
	s := start(t, func(c *Config) { c.Loops, c.Sync = 1, engine.SyncAlways })
	const busy = 4
	stop, over := make(chan struct{}), make(chan struct{})
	for range busy {
		c := dial(t, s)
		go func() {
			defer func() { over <- struct{}{} }()
			for asked := 0; ; asked++ {
				c.send("PING\r\n")
				c.expect("+PONG\r\n")
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	c := dial(t, s)
	for i := range 100 {
		c.send(fmt.Sprintf("SET a %d\r\n", i))
		c.expect("+OK\r\n")
		if st := s.Node().Store(); st.Durable() < st.Last() {
			t.Fatalf("write %d was answered, and is not durable", i)
		}
	}
	close(stop)
	for range busy {
		<-over
	}
	if !until(func() bool {
		l := s.loops.all[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		l.syncer.mu.Lock()
		defer l.syncer.mu.Unlock()
		return !l.holding && l.syncer.busy == 0
	}) {
		t.Error("an idle loop holds rounds up")
	}
}
