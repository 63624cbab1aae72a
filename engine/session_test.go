package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// manual makes a node whose syncs the test runs.
func (w *world) manual(change func(*Options)) *testNode {
	w.t.Helper()
	n := w.addNode(change)
	n.autoSync = false
	return n
}

func TestGateHoldsRepliesUntilDurable(t *testing.T) {
	w := newWorld(t)
	n := w.manual(standalone)
	c, reader, idle := n.client(), n.client(), n.client()
	c.send("SET", "a", "1")
	w.run()
	if got := c.taken(); got != "" {
		t.Fatalf("a write was acknowledged before it was durable: %s", got)
	}
	// Another client reads it: its reply depends on the write of the first.
	reader.send("GET", "a")
	reader.send("GET", "elsewhere")
	w.run()
	if got := reader.taken(); got != "" {
		t.Errorf("a read of an unsynced write was answered: %s", got)
	}
	// One that has touched nothing unsynced does not wait.
	idle.send("GET", "b")
	idle.send("PING")
	w.run()
	if got := idle.taken(); got != "(nil) | PONG" {
		t.Errorf("a read of something else: %q", got)
	}
	if c.s.Idle() || reader.s.Idle() {
		t.Error("a session with held replies says that it is idle")
	}
	n.sync()
	if got := c.taken(); got != "OK" {
		t.Errorf("after the sync: %q", got)
	}
	if got := reader.taken(); got != `"1" | (nil)` {
		t.Errorf("after the sync the reader has %q", got)
	}
	reader.send("GET", "a")
	w.run()
	if got := reader.taken(); got != `"1"` {
		t.Errorf("a read of something durable waits: %q", got)
	}
}

// Replies leave in the order of the commands, also when a later one could go at once.
func TestGateKeepsOrder(t *testing.T) {
	w := newWorld(t)
	n := w.manual(standalone)
	c := n.client()
	c.send("SET", "a", "1")
	c.send("PING")
	c.send("SET", "a", "2")
	w.run()
	if got := c.taken(); got != "" {
		t.Errorf("delivered out of order: %s", got)
	}
	n.sync()
	if got := c.taken(); got != "OK | PONG | OK" {
		t.Errorf("got %s", got)
	}
}

// A sync covers what was committed when it began, not what came while it waited to run.
func TestGateManyRounds(t *testing.T) {
	w := newWorld(t)
	n := w.manual(standalone)
	clients := make([]*testClient, 5)
	for i := range clients {
		clients[i] = n.client()
		clients[i].send("SET", fmt.Sprintf("k%d", i), "v")
	}
	if len(n.syncs) != 1 {
		t.Errorf("%d syncs for one round", len(n.syncs))
	}
	n.sync()
	for i, c := range clients {
		if got := c.taken(); got != "OK" {
			t.Errorf("client %d has %q", i, got)
		}
	}
}

func TestGateInOtherModes(t *testing.T) {
	for _, mode := range []SyncMode{SyncInterval, SyncNever} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t)
			n := w.manual(func(o *Options) { o.Sync = mode })
			w.named("b")
			c := n.client()
			// What ownership rests on waits in every mode.
			for _, args := range [][]string{
				{"CLUSTERX", "SETNODEID", string(id("a"))},
				{"CLUSTERX", "SETNODES", nodesText("a 0-99", "b 100-16383"), "1"},
				{"CLUSTERX", "SETSLOT", "100", "NODE", string(id("a")), "2"},
				{"CLUSTERX", "MIGRATE", "5", string(id("b"))},
			} {
				c.send(args...)
				w.run()
				if got := c.taken(); got != "" {
					t.Errorf("%s %s was answered before it was durable: %s", args[0], args[1], got)
				}
				n.sync()
				if got := c.taken(); got != "OK" {
					t.Errorf("%s %s: %s", args[0], args[1], got)
				}
			}
			c.send("SET", keyIn(7), "v")
			w.run()
			if got := c.taken(); got != "OK" {
				t.Errorf("a write waits for the disk: %q", got)
			}
			before := n.Store().Durable()
			w.advance(5_000_000_000)
			n.sync()
			if synced := n.Store().Durable() > before; synced != (mode == SyncInterval) {
				t.Errorf("after 5 s synced is %v", synced)
			}
			// CONFIG SET to always: the next read of what is not durable waits.
			c.send("SET", keyIn(7), "w")
			c.send("CONFIG", "SET", "sync", "always")
			w.run()
			if got := c.taken(); got != "OK | OK" {
				t.Errorf("got %q", got)
			}
			c.send("GET", keyIn(7))
			w.run()
			if got := c.taken(); got != "" {
				t.Errorf("with sync always a read of an unsynced write was answered %s", got)
			}
			n.sync()
			if got := c.taken(); got != `"w"` {
				t.Errorf("got %q", got)
			}
		})
	}
}

// An answer "expired" is a deletion, committed and durable before it leaves, and it waits where writes wait.
func TestExpiredReadIsAWrite(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-16383")[0]
	k := keyIn(7)
	c := n.client()
	c.want("OK", "SET", k, "v", "PX", "50")
	w.advance(60_000_000)
	n.autoSync = false
	before := n.Store().Last()
	c.send("GET", k)
	w.run()
	if n.Store().Last() != before+1 {
		t.Errorf("%d commits for an expired read, want 1", n.Store().Last()-before)
	}
	if got := c.taken(); got != "" {
		t.Errorf("an answer \"expired\" left before it was durable: %s", got)
	}
	n.sync()
	if got := c.taken(); got != "(nil)" {
		t.Errorf("got %q", got)
	}
	// The clock goes back: the key stays away.
	w.wallMs -= 1000
	n.autoSync = true
	c.want("(nil)", "GET", k)
	w.wallMs += 1000

	// In a paused slot reads are served, but this one is a write.
	c.want("OK", "SET", k, "v", "PX", "50")
	c.want("OK", "SET", k+"{"+k+"}", "other")
	n.Exclusive(7, (*Owned).Pause)
	c.want(`"v"`, "GET", k)
	w.advance(60_000_000)
	c.send("GET", k)
	w.run()
	if got := c.taken(); got != "" {
		t.Errorf("an expired key in a paused slot was answered %s", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	if got := c.taken(); got != "(nil)" {
		t.Errorf("after the pause: %q", got)
	}
}

func TestPauseParksWritesAndServesReads(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-16383")[0]
	k := keyIn(7)
	c1, c2, reader := n.client(), n.client(), n.client()
	c1.want("OK", "SET", k, "0")
	n.Exclusive(7, (*Owned).Pause)
	c1.send("APPEND", k, "a")
	c1.send("GET", k)
	c1.send("APPEND", k, "b")
	c2.send("APPEND", k, "c")
	w.run()
	if got := c1.taken() + c2.taken(); got != "" {
		t.Errorf("a paused write was answered %s", got)
	}
	reader.want(`"0"`, "GET", k)
	reader.want("OK", "SET", keyIn(8), "v") // another slot
	reader.want("OK", "SET", keyIn(7+stripeCount), "v")
	if f := infoFields(t, reader.do("INFO", "clients").Str); f["blocked_clients"] != "2" {
		t.Errorf("blocked_clients:%s", f["blocked_clients"])
	}
	if c1.s.Backlog() == 0 {
		t.Error("commands behind a parked one are not counted")
	}
	reader.send("FLUSHALL") // touches the paused slot too
	w.run()
	if got := reader.taken(); got != "" {
		t.Errorf("FLUSHALL passed a pause: %s", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	if got := c1.taken(); got != `2 | "0a" | 3` && got != `2 | "0ac" | 4` {
		t.Errorf("the first client has %s", got)
	}
	if got := c2.taken(); got != "3" && got != "2" && got != "4" {
		t.Errorf("the second client has %s", got)
	}
	if got := reader.taken(); got != "OK" {
		t.Errorf("FLUSHALL: %s", got)
	}
	reader.want("0", "DBSIZE")
}

// Commands parked by different clients run in the order in which they came.
func TestUnpauseKeepsArrivalOrder(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-16383")[0]
	k := keyIn(7)
	n.Exclusive(7, (*Owned).Pause)
	for i := range 9 {
		n.client().send("APPEND", k, fmt.Sprint(i))
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	n.client().want(`"012345678"`, "GET", k)
}

func TestSealParksReads(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	n := nodes[0]
	k := keyIn(7)
	n.client().want("OK", "SET", k, "v")
	n.Exclusive(7, func(o *Owned) { o.Pause(); o.Seal() })
	c := n.client()
	c.send("GET", k)
	w.run()
	if got := c.taken(); got != "" {
		t.Errorf("a read of a sealed slot was answered %s", got)
	}
	// Decided, but the target has not answered: still parked.
	n.Exclusive(7, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	writer := n.client()
	writer.send("SET", k, "w")
	w.run()
	if got := c.taken() + writer.taken(); got != "" {
		t.Errorf("before the target has answered: %s", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	if got := c.taken() + " " + writer.taken(); got != "(error) MOVED 7 127.0.0.1:7001 (error) MOVED 7 127.0.0.1:7001" {
		t.Errorf("after the target has answered: %s", got)
	}
}

func TestParkDeadline(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	n := nodes[0]
	deadline := n.Options().Limits.ParkDeadline
	// At the target, prepared: TRYAGAIN.
	n.Exclusive(200, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Prepared, Epoch: 1, Peer: id("b")})
	})
	c := n.client()
	c.send("GET", keyIn(200))
	c.send("PING")
	w.advance(deadline - 1)
	if got := c.taken(); got != "" {
		t.Errorf("before the deadline: %s", got)
	}
	w.advance(1)
	if got := c.taken(); got != "(error) "+cluster.TryAgain+" | PONG" {
		t.Errorf("at the deadline: %s", got)
	}
	// Served after all, before the deadline.
	c.send("SET", keyIn(200), "v")
	w.run()
	n.Exclusive(200, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Serving, Epoch: 2})
		o.Unpause()
	})
	w.run()
	if got := c.taken(); got != "OK" {
		t.Errorf("after the target serves: %s", got)
	}
	w.advance(2 * deadline)
	if got := c.taken(); got != "" {
		t.Errorf("answered twice: %s", got)
	}
	// At a source that is undecided: it waits on.
	n.Exclusive(7, (*Owned).Pause)
	c.send("SET", keyIn(7), "v")
	w.advance(3 * deadline)
	if got := c.taken(); got != "" {
		t.Errorf("an undecided source answered %s", got)
	}
	// At a source that has decided, whose target does not answer: MOVED.
	n.Exclusive(7, func(o *Owned) {
		o.Seal()
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	w.advance(deadline)
	if got := c.taken(); got != "(error) MOVED 7 127.0.0.1:7001" {
		t.Errorf("at the deadline of a decided source: %s", got)
	}
}

// Where there is no pause to give up, what would be parked beyond the bound is answered at once.
func TestParkLimitDecided(t *testing.T) {
	for name, limits := range map[string]Limits{"commands": {ParkedCommands: 2}, "bytes": {ParkedBytes: 20}} {
		for state, want := range map[cluster.State]string{cluster.Released: "MOVED 7 127.0.0.1:7001", cluster.Prepared: cluster.TryAgain} {
			t.Run(name+" "+state.String(), func(t *testing.T) {
				w := newWorld(t)
				n := w.addNode(func(o *Options) { o.Limits = limits })
				n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
				n.setNodes("1", "", "a 0-99", "b 100-16383")
				n.Exclusive(7, func(o *Owned) {
					o.Pause()
					o.Seal()
					o.Commit(n.Store().NewBatch(), cluster.Record{State: state, Epoch: 2, Peer: id("b")})
				})
				var clients []*testClient
				for range 4 {
					c := n.client()
					c.send("APPEND", keyIn(7), "x")
					clients = append(clients, c)
				}
				w.run()
				parked, _ := n.Parked(7)
				for i, c := range clients {
					got := c.taken()
					if i < parked && got != "" || i >= parked && got != "(error) "+want {
						t.Errorf("%d are parked, and client %d has %q", parked, i, got)
					}
				}
				if parked == 0 || parked > 3 {
					t.Errorf("%d commands are parked", parked)
				}
			})
		}
	}
}

// Reaching the bound of what is parked is told to the migrator, which abandons the pause; no request is refused.
func TestParkLimit(t *testing.T) {
	for name, limits := range map[string]Limits{"commands": {ParkedCommands: 3}, "bytes": {ParkedBytes: 30}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.addNode(func(o *Options) { o.Limits = limits })
			n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
			n.setNodes("1", "", "a 0-16383")
			n.Exclusive(7, (*Owned).Pause)
			var clients []*testClient
			for range 5 {
				c := n.client()
				c.send("APPEND", keyIn(7), "x")
				clients = append(clients, c)
			}
			w.run()
			if len(n.mig.limits) != 1 || n.mig.limits[0] != 7 {
				t.Errorf("the migrator was told %v", n.mig.limits)
			}
			n.Exclusive(7, (*Owned).Unpause)
			w.run()
			for i, c := range clients {
				if got := c.taken(); got != fmt.Sprint(i+1) {
					t.Errorf("client %d has %q", i, got)
				}
			}
		})
	}
}

// A client that leaves takes its parked command with it.
func TestCloseForgetsParked(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-16383")[0]
	n.Exclusive(7, (*Owned).Pause)
	c, stays := n.client(), n.client()
	c.send("APPEND", keyIn(7), "gone")
	stays.send("APPEND", keyIn(7), "x")
	c.s.Close()
	c.s.Close()
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	if got := stays.taken(); got != "1" {
		t.Errorf("the other client has %s", got)
	}
	c.send("PING")
	w.run()
	if got := c.taken(); got != "" {
		t.Errorf("a closed session answered %s", got)
	}
}

func TestProtocolErrorEndsTheSession(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	c := n.client()
	c.s.Execute(bytesOf([]string{"SET", "a", "1"}))
	c.s.Fail("ERR Protocol error: invalid multibulk length")
	c.s.Execute(bytesOf([]string{"PING"}))
	c.s.Flush()
	w.run()
	if got := c.taken(); got != "OK | (error) ERR Protocol error: invalid multibulk length" {
		t.Errorf("got %s", got)
	}
	if !c.s.Closing() || !c.s.Idle() {
		t.Errorf("closing %v, idle %v", c.s.Closing(), c.s.Idle())
	}
}

// The sweeper deletes what expired in served slots, and passes over those that are paused or only arriving.
func TestSweeper(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.SweepInterval = 0 })
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
	n.setNodes("1", "", "a 0-16383")
	c := n.client()
	for _, s := range []slot.Slot{7, 8, 9} {
		c.want("OK", "SET", keyIn(s), "v", "PX", "50")
	}
	n.Exclusive(8, (*Owned).Pause)
	n.Exclusive(9, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Importing, Epoch: 1, Peer: id("b")})
	})
	w.advance(1_000_000_000)
	if got := n.stats.expired.Load(); got != 1 {
		t.Errorf("%d keys swept, want only the one in slot 7", got)
	}
	n.Exclusive(8, (*Owned).Unpause)
	w.advance(1_000_000_000)
	if got := n.stats.expired.Load(); got != 2 {
		t.Errorf("%d keys swept after the pause", got)
	}
}

// PEER is an unknown command to everybody but a node that has said the right hello.
func TestPeerNeedsHandshake(t *testing.T) {
	w := newWorld(t)
	secret := func(o *Options) { o.PeerSecret = "s3cret" }
	n := w.addNode(secret)
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
	w.addNode(secret).client().want("OK", "CLUSTERX", "SETNODEID", string(id("b")))
	n.setNodes("1", "", "a 0-99", "b 100-16383")
	hello := func(secret, self, expected, version string) []string {
		return []string{"PEER", "HELLO", version, secret, self, "00000000000000ff", expected, "1", "0"}
	}
	a, b := string(id("a")), string(id("b"))
	unknown := func(c *testClient, args ...string) {
		t.Helper()
		v := c.do(args...)
		shown := slices.Clone(args)
		if len(args) > 3 && args[1] == "HELLO" && args[3] != "" {
			shown[3] = "***" // a secret must not end in the log of the node that sent it
		}
		_, text := n.table.Check(bytesOf(shown))
		if v.String() != "(error) "+text {
			t.Errorf("%q answers %s, want %s", args, v, text)
		}
	}
	c := n.client()
	unknown(c, "PEER")
	unknown(c, "PEER", "OWNER", "0-5")
	unknown(c, "PEER", "MIGRATION", "x")
	unknown(c, "PEER", "ANNOUNCE", "1", "1")
	unknown(c, "PEER", "HELLO")
	unknown(c, hello("wrong", b, a, "2")...)
	unknown(c, hello("", b, a, "2")...)
	c.want("(error) ERR this node speaks version 2 of the peer protocol, not 1", hello("s3cret", b, a, "1")...)
	c.want("(error) WRONGNODE this is node "+a+", not the one that was called", hello("s3cret", b, b, "2")...)
	c.want("(error) ERR PEER HELLO takes a node id of 40 bytes and an incarnation in hex", hello("s3cret", "b", a, "2")...)
	unknown(c, "PEER", "OWNER", "0-5")
	if v := c.do(hello("s3cret", b, a, "2")...); v.Str == "" || v.Kind != '$' {
		t.Errorf("the right hello answers %s", v)
	}
	directory := "directory " + n.Incarnation().String() + `\n`
	known := "node " + a + ` 127.0.0.1:7000\nnode ` + b + ` 127.0.0.1:7001\n`
	c.want(`"`+directory+`slot 0 serving 1\nslot 1 serving 1\n`+known+`"`, "PEER", "OWNER", "0-1")
	c.want(`"`+directory+known+`"`, "PEER", "OWNER", "100")
	c.want(`"ok"`, "peer", "announce", "100", "3")
	for _, bad := range [][]string{{"PEER", "ANNOUNCE", "16384", "1"}, {"PEER", "ANNOUNCE", "x", "1"}, {"PEER", "ANNOUNCE", "1", "-1"}} {
		c.want("(error) ERR PEER ANNOUNCE takes a slot and an epoch", bad...)
	}
	c.want("(error) ERR unknown PEER command: this node speaks version 2", "PEER", "SOMETHING")
	c.want("(error) ERR no such message", "PEER", "MIGRATION", "x")
}

func TestPeerWithoutSecretNeedsLoopback(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	hello := []string{"PEER", "HELLO", "2", "", string(id("b")), "ff", string(id("a")), "1", "0"}
	_, text := n.table.Check(bytesOf(hello))
	n.clientFrom("10.0.0.5:1", false).want("(error) "+text, hello...)
	if v := n.clientFrom("127.0.0.1:1", true).do(hello...); v.Kind != '$' {
		t.Errorf("from loopback: %s", v)
	}
	s := w.addNode(standalone)
	s.clientFrom("127.0.0.1:1", true).want("(error) "+text, hello...)
}

// Replies to peers pass the gate in every mode.
func TestPeerRepliesAreDurable(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	n := nodes[0]
	n.client().want("OK", "CONFIG", "SET", "sync", "never")
	n.autoSync = false
	link := n.clientFrom("127.0.0.1:1", true)
	link.send("PEER", "HELLO", "2", "", string(id("b")), "ff", string(id("a")), "1", "0")
	w.run()
	link.take()
	n.mig.peer = func(from PeerInfo, payload []byte) ([]byte, store.Position, error) {
		if from.ID != id("b") || from.Incarnation != 0xff {
			t.Errorf("from %+v", from)
		}
		b := n.Store().NewBatch()
		b.Set([]byte{0, 3, 'x'}, payload)
		return []byte("done"), n.Store().Commit(b), nil
	}
	for _, args := range [][]string{{"PEER", "MIGRATION", "m"}, {"PEER", "ANNOUNCE", "7", "9"}} {
		link.send(args...)
		w.run()
		if got := link.taken(); got != "" {
			t.Errorf("%q was answered before it was durable: %s", args, got)
		}
		n.sync()
		if got := link.taken(); got == "" {
			t.Errorf("%q was never answered", args)
		}
	}
	n.Exclusive(8, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	link.send("PEER", "OWNER", "8")
	w.run()
	if got := link.taken(); got != "" {
		t.Errorf("a question was answered from a record that is not durable: %s", got)
	}
	n.sync()
	if got := link.taken(); !strings.Contains(got, `\nslot 8 released 2\n`) {
		t.Errorf("got %s", got)
	}
}
