package host

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"godwit/engine"
	"godwit/engine/slot"
)

// TestWithoutLoops runs what the loops could break with a goroutine for each connection, as on other systems.
func TestWithoutLoops(t *testing.T) {
	t.Setenv(loopsEnv, "-1")
	for name, test := range map[string]func(*testing.T){
		"pipelining": TestPipelining, "partial reads": TestPartialReads, "large value": TestLargeValue, "protocol errors": TestProtocolErrors,
		"quit": TestQuit, "half closed": TestHalfClosed, "churn": TestChurn, "parked command": TestParkedCommand,
		"parked command of a closed peer": TestParkedCommandOfAClosedPeer, "bounded pipeline": TestParkedPipelineIsBounded,
		"unread replies": TestUnreadReplies, "slow reader": TestSlowReaderIsKept, "CLIENT KILL": TestClientKillClosesTheSocket,
		"shutdown": TestShutdownLetsCommandsFinish, "bounded shutdown": TestShutdownIsBounded, "peers": TestPeersNeedAHandshake,
	} {
		t.Run(name, test)
	}
}

// TestLongCommandHoldsUpNobody: while a command does not come to its end, the other connections of its loop are served, and what
// arrives for its own connection waits its turn.
func TestLongCommandHoldsUpNobody(t *testing.T) {
	s := start(t, func(c *Config) { c.Loops = 1 })
	stuck, other := dial(t, s), dial(t, s)
	for _, c := range []*client{stuck, other} {
		c.send("PING\r\n")
		c.expect("+PONG\r\n")
	}
	for range 3 {
		held, release := make(chan struct{}), make(chan struct{})
		var locked sync.WaitGroup
		locked.Go(func() {
			s.Node().Exclusive(slot.OfKey([]byte("a")), func(*engine.Owned) { // a command on it takes as long as this
				close(held)
				<-release
			})
		})
		<-held
		stuck.send("SET a 1\r\n")
		for i := range 100 {
			other.send(fmt.Sprintf("ECHO %02d\r\n", i))
			other.expect(fmt.Sprintf("$2\r\n%02d\r\n", i))
			stuck.send("INCR a\r\n")
		}
		close(release)
		locked.Wait()
		var want strings.Builder
		want.WriteString("+OK\r\n")
		for i := range 100 {
			fmt.Fprintf(&want, ":%d\r\n", i+2)
		}
		stuck.expect(want.String())
	}
	if n := len(s.loops.all); n != 1 {
		t.Errorf("%d loops, want 1", n)
	}
}

// watchedRounds counts the rounds under way, and holds up whoever applies one while it is told to.
type watchedRounds struct {
	rounds
	underWay, applied atomic.Int32
	hold              atomic.Pointer[chan struct{}]
	held              atomic.Int32
}

func (w *watchedRounds) BeginRound() {
	w.underWay.Add(1)
	w.rounds.BeginRound()
}

func (w *watchedRounds) ApplyRound() {
	if c := w.hold.Load(); c != nil {
		w.held.Add(1)
		<-*c
	}
	w.rounds.ApplyRound()
	w.applied.Add(1)
}

func (w *watchedRounds) EndRound() {
	w.rounds.EndRound()
	w.underWay.Add(-1)
}

// TestRounds: a loop runs what arrives in rounds, each of which is applied and ends, also if it is taken over in the middle, and while the engine holds up who applies one the
// other connections are served.
func TestRounds(t *testing.T) {
	w := &watchedRounds{}
	s := start(t, func(c *Config) {
		c.Loops = 1
		c.watchRounds = func(r rounds) rounds {
			w.rounds = r
			return w
		}
	})
	first, other := dial(t, s), dial(t, s)
	for _, c := range []*client{first, other} {
		c.send("PING\r\n")
		c.expect("+PONG\r\n")
	}
	for range 3 {
		before := w.applied.Load()
		release := make(chan struct{})
		w.hold.Store(&release)
		first.send("SET a 1\r\n")
		first.expect("+OK\r\n")
		if !until(func() bool { return w.held.Load() > 0 }) {
			t.Fatal("a round does not come to its end")
		}
		w.hold.Store(nil)
		if n := w.underWay.Load(); n != 1 {
			t.Errorf("%d rounds are under way, want 1", n)
		}
		other.send("PING\r\n")
		other.expect("+PONG\r\n")
		close(release)
		if !until(func() bool { return w.applied.Load() >= before+2 && w.underWay.Load() == 0 }) {
			t.Fatalf("%d rounds were applied and %d are under way, want 2 and 0", w.applied.Load()-before, w.underWay.Load())
		}
		w.held.Store(0)
	}
}

// TestPutOffReplyIsNotHeldUp: a reply that is to be written when other connections have had their turns does not wait for one whose
// command does not come to its end.
func TestPutOffReplyIsNotHeldUp(t *testing.T) {
	s := start(t, func(c *Config) { c.Loops = 1 })
	l := s.loops.all[0]
	first, other, stuck := dial(t, s), dial(t, s), dial(t, s)
	for _, c := range []*client{first, other, stuck} {
		c.send("PING\r\n")
		c.expect("+PONG\r\n")
	}
	if !until(s.looped) {
		t.Fatal("the loop does not have the connections")
	}
	s.Node().Exclusive(slot.OfKey([]byte("a")), func(*engine.Owned) { // a command on it takes as long as this
		l.mu.Lock() // the loop sees the first connection, and then waits here until the others can be seen together
		first.send("PING\r\n")
		other.send("ECHO b\r\n")
		stuck.send("SET a 1\r\n")
		l.mu.Unlock()
		first.expect("+PONG\r\n")
		other.expect("$1\r\nb\r\n")
	})
	stuck.expect("+OK\r\n")
}

// TestPosted: sockets are looked after in the order in which they were posted, and the list keeps no more room than it needs.
func TestPosted(t *testing.T) {
	l := &loop{}
	socks := make([]sock, 5)
	next := 0
	take := func() {
		t.Helper()
		if s := l.nextPosted(); s != &socks[next%5] {
			t.Fatalf("the socket after %d others is not the one that was posted then", next)
		}
		next++
	}
	for i := range 1000 {
		l.post(&socks[i%5])
		if i >= 4 {
			take()
		}
	}
	if cap(l.posted) > 16 {
		t.Errorf("a list of at most five has room for %d", cap(l.posted))
	}
	for range 4 {
		take()
	}
	if s := l.nextPosted(); s != nil {
		t.Error("an empty list has something")
	}
}

// TestTakeover: a runner is taken over in a turn only, and ends with it; a turn that has ended just before leaves it the loop's.
func TestTakeover(t *testing.T) {
	l := &loop{of: &loops{wake: make(chan struct{}, 1)}}
	r := &runner{}
	before := uint64(0)
	if !l.turn(r, func() { before = r.beat.Load() }) {
		t.Error("a runner that nobody took over ends")
	}
	if r.beat.CompareAndSwap(before, takenOver) {
		t.Error("a runner was taken over whose turn had ended")
	}
	if l.turn(r, func() {
		if beat := r.beat.Load(); beat%2 != 1 || !r.beat.CompareAndSwap(beat, takenOver) {
			t.Error("a runner cannot be taken over in a turn")
		}
	}) {
		t.Error("a runner that was taken over goes on")
	}
}

// TestIdleConnectionKeepsNoBuffer: a connection that a loop reads has an input buffer only while there is something in it.
func TestIdleConnectionKeepsNoBuffer(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	buffer := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			k := c.looped.(*sock)
			k.mu.Lock() // no turn begins or ends meanwhile
			defer k.mu.Unlock()
			if !k.turning {
				return cap(c.in)
			}
		}
		return -1
	}
	c.send("PING\r\n")
	c.expect("+PONG\r\n")
	if !until(func() bool { return s.looped() && buffer() == 0 }) {
		t.Errorf("an idle connection keeps %d bytes", buffer())
	}
	c.send("ECHO ab") // the rest comes later
	if !until(func() bool { return buffer() > 0 }) {
		t.Error("what has arrived is nowhere")
	}
	c.send("c\r\n")
	c.expect("$3\r\nabc\r\n")
}

// TestLoopAndBack: a connection that a goroutine had to serve, since its client was too far ahead, is a loop's again.
func TestLoopAndBack(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	if err := c.nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil { // else the system makes it as large as what follows
		t.Fatal(err)
	}
	reply := setLarge(c)
	for range 3 {
		const gets = 12
		c.send(strings.Repeat("GET a\r\n", gets))
		if !until(func() bool { return !s.looped() }) { // the sockets take a part of it
			t.Fatal("a loop serves a client that is too far ahead")
		}
		c.expect(strings.Repeat(reply, gets))
		if !until(s.looped) {
			t.Fatal("the loop does not have the connection again")
		}
	}
	c.send("GET b\r\n")
	c.expect("$-1\r\n")
}

// looped reports whether all connections are read by loops.
func (s *Server) looped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		k, ok := c.looped.(*sock)
		if !ok {
			return false
		}
		k.mu.Lock()
		looped := k.looped
		k.mu.Unlock()
		if !looped {
			return false
		}
	}
	return true
}

// TestSockWhoseNumberIsAnothers: closing a socket while it is written and read must not reach another that gets its number.
func TestSockWhoseNumberIsAnothers(t *testing.T) {
	s := start(t, nil)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 50 {
				nc, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				text := fmt.Sprintf("CLIENT ID\r\nECHO %d\r\n", i)
				if i%2 == 0 {
					text += "CLIENT KILL TYPE normal SKIPME no MAXAGE 1000000\r\n" // nobody is so old: it only looks at all of them
				}
				if _, err := io.WriteString(nc, text); err != nil {
					t.Error(err)
				}
				if i%3 != 0 {
					b := make([]byte, 1)
					if _, err := io.ReadFull(nc, b); err != nil || b[0] != ':' {
						t.Errorf("read %q, %v", b, err)
					}
				}
				nc.Close()
			}
		})
	}
	all.Wait()
	if !until(func() bool { return s.connections() == 0 }) {
		t.Errorf("%d connections are left", s.connections())
	}
	for _, l := range s.loops.all {
		l.mu.Lock()
		if len(l.socks) != 0 {
			t.Errorf("a loop knows %d sockets of no connection", len(l.socks))
		}
		l.mu.Unlock()
	}
}
