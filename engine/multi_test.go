package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// script runs lines of "client: command args" against one node and compares the replies that are delivered by then, in words:
// each line's comment, behind " → ".
func script(t *testing.T, n *testNode, clients map[string]*testClient, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		request, want, _ := strings.Cut(line, " →")
		want = strings.TrimSpace(want)
		name, command, _ := strings.Cut(request, ": ")
		c := clients[name]
		if c == nil {
			c = n.client()
			clients[name] = c
		}
		if command != "-" {
			c.send(strings.Fields(command)...)
		}
		n.w.run()
		if got := strings.TrimSpace(c.taken()); got != want {
			t.Errorf("%s\n got %s\nwant %s", request, got, want)
		}
	}
}

func TestMulti(t *testing.T) {
	n := newWorld(t).addNode(standalone)
	script(t, n, map[string]*testClient{}, `
		a: EXEC → (error) ERR EXEC without MULTI
		a: DISCARD → (error) ERR DISCARD without MULTI
		a: MULTI → OK
		a: MULTI → (error) ERR MULTI calls can not be nested
		a: WATCH x → (error) ERR WATCH inside MULTI is not allowed
		a: SET x 1 → QUEUED
		b: GET x → (nil)
		a: INCR x → QUEUED
		a: GET x → QUEUED
		a: EXEC → [OK 2 "2"]
		b: GET x → "2"

		a: MULTI → OK
		a: EXEC → []
		a: MULTI → OK
		a: SET x 5 → QUEUED
		a: DISCARD → OK
		a: GET x → "2"

		a: MULTI → OK
		a: SET x 6 → QUEUED
		a: NOSUCH → (error) ERR unknown command 'NOSUCH', with args beginning with:
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.
		a: GET x → "2"
		a: MULTI → OK
		a: SET x → (error) ERR wrong number of arguments for 'set' command
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.
		a: MULTI → OK
		a: EXEC now → (error) EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
		a: EXEC → (error) ERR EXEC without MULTI

		a: SET s text → OK
		a: MULTI → OK
		a: SET x 7 → QUEUED
		a: INCR s → QUEUED
		a: HSET s f v → QUEUED
		a: DEL s s → QUEUED
		a: HSET s f v → QUEUED
		a: HGET s f → QUEUED
		a: EXEC → [OK (error) ERR value is not an integer or out of range (error) WRONGTYPE Operation against a key holding the wrong kind of value 1 1 "v"]
		b: GET x → "7"

		a: MULTI → OK
		a: PING → QUEUED
		a: SET x 8 → QUEUED
		a: CLIENT SETNAME me → QUEUED
		a: CLIENT GETNAME → QUEUED
		a: DBSIZE → QUEUED
		a: FLUSHALL → QUEUED
		a: DBSIZE → QUEUED
		a: SET y 1 → QUEUED
		a: SELECT 3 → QUEUED
		a: UNWATCH → QUEUED
		a: MONITOR → QUEUED
		a: WAIT 1 0 → QUEUED
		a: HELLO 3 → (error) ERR Command not allowed inside a transaction
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.

		a: MULTI → OK
		a: PING → QUEUED
		a: SET x 8 → QUEUED
		a: CLIENT SETNAME me → QUEUED
		a: CLIENT GETNAME → QUEUED
		a: DBSIZE → QUEUED
		a: FLUSHALL → QUEUED
		a: DBSIZE → QUEUED
		a: SET y 1 → QUEUED
		a: SELECT 3 → QUEUED
		a: UNWATCH → QUEUED
		a: MONITOR → QUEUED
		a: WAIT 1 0 → QUEUED
		a: EXEC → [PONG OK OK "me" 2 OK 0 OK (error) ERR DB index is out of range OK (error) ERR MONITOR isn't allowed for DENY BLOCKING client 0]
		b: KEYS * → ["y"]

		a: MULTI → OK
		a: RESET → RESET
		a: EXEC → (error) ERR EXEC without MULTI
	`)
}

// Either every write of a transaction is in the store, or none; one commit makes it.
func TestExecIsOneCommit(t *testing.T) {
	w := newWorld(t)
	n := w.manual(standalone)
	c := n.client()
	c.send("MULTI")
	for _, k := range []string{"a", "b", "c", "d"} {
		c.send("SET", k, "1")
		c.send("INCR", k)
	}
	before := n.Store().Last()
	c.send("EXEC")
	w.run()
	if got := n.Store().Last(); got != before+1 {
		t.Errorf("EXEC made %d commits", got-before)
	}
	if got := c.taken(); strings.Contains(got, "[") {
		t.Errorf("EXEC was answered before it was durable: %s", got)
	}
	n.sync()
	if got := c.taken(); !strings.HasSuffix(got, "[OK 2 OK 2 OK 2 OK 2]") {
		t.Errorf("got %s", got)
	}
	// Reads make none, unless they meet an expired key.
	n.autoSync = true
	c.want("OK", "SET", "e", "v", "PX", "10")
	before = n.Store().Last()
	script(t, n, map[string]*testClient{"c": c}, `
		c: MULTI → OK
		c: GET a → QUEUED
		c: GET e → QUEUED
		c: EXEC → ["2" "v"]
	`)
	if n.Store().Last() != before {
		t.Error("a transaction that reads was committed")
	}
	w.advance(20 * time.Millisecond)
	script(t, n, map[string]*testClient{"c": c}, `
		c: MULTI → OK
		c: GET a → QUEUED
		c: GET e → QUEUED
		c: EXEC → ["2" (nil)]
	`)
	if got := n.Store().Last(); got != before+1 {
		t.Errorf("the deletion of an expired key took %d commits", got-before)
	}
}

func TestMultiLimits(t *testing.T) {
	n := newWorld(t).addNode(func(o *Options) {
		standalone(o)
		o.Limits.QueuedCommands, o.Limits.QueuedBytes, o.Limits.WatchedKeys = 3, 20, 2
	})
	script(t, n, map[string]*testClient{}, `
		a: MULTI → OK
		a: PING → QUEUED
		a: PING → QUEUED
		a: PING → QUEUED
		a: PING → (error) ERR a transaction holds 3 commands at most
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.
		a: MULTI → OK
		a: SET k 0123456789abcdef → QUEUED
		a: PING → (error) ERR the arguments of a transaction's commands hold 20 bytes together at most
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.
		a: MULTI → OK
		a: SET k 0123456789abcdef → QUEUED
		a: EXEC → [OK]
		a: WATCH a b → OK
		a: WATCH c → (error) ERR a connection watches 2 keys at most
		a: UNWATCH → OK
		a: WATCH a b c → (error) ERR a connection watches 2 keys at most
		a: WATCH c → OK
	`)
}

func TestMultiWithoutPassword(t *testing.T) {
	n := newWorld(t).addNode(func(o *Options) { standalone(o); o.RequirePass = "secret" })
	script(t, n, map[string]*testClient{}, `
		a: MULTI → (error) NOAUTH Authentication required.
		a: AUTH secret → OK
		a: MULTI → OK
		a: AUTH wrong → QUEUED
		a: EXEC → [(error) WRONGPASS invalid username-password pair or user is disabled.]
	`)
}

func TestWatch(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	clients := map[string]*testClient{}
	script(t, n, clients, `
		a: SET x 1 → OK
		a: HSET h f 1 → 1
	`)
	for _, c := range []struct {
		why     string
		prepare string // by another client, before the watch
		watch   string
		change  string // by another client
		fails   bool
	}{
		{"nothing happened", "SET x 1", "x", "PING", false},
		{"another key was written", "SET x 1", "x", "SET y 1", false},
		{"the key was read", "SET x 1", "x", "GET x", false},
		{"overwritten", "SET x 1", "x", "SET x 1", true},
		{"incremented", "SET x 1", "x", "INCR x", true},
		{"refused to be written", "SET x 1", "x", "SET x 2 NX", false},
		{"deleted", "SET x 1", "x", "DEL x", true},
		{"made", "DEL x", "x", "SET x 1", true},
		{"not there and not made", "DEL x", "x", "DEL x", false},
		{"given an expiry", "SET x 1", "x", "EXPIRE x 100", true},
		{"renamed away", "SET x 1", "x", "RENAME x y", true},
		{"renamed onto", "SET y 1", "x", "RENAME y x", true},
		{"copied", "SET x 1", "x", "COPY x z REPLACE", false},
		{"second of several", "SET x 1", "q x", "SET x 2", true},
		{"flushed", "SET x 1", "x", "FLUSHALL", true},
		{"not there when flushed", "SET {x}y 1", "x", "FLUSHALL", false},
		{"a field added", "HSET h f 1", "h", "HSET h g 1", true},
		{"a field set to what it was", "HSET h f 1", "h", "HSET h f 1", true},
		{"a member added that was there", "SADD s m", "s", "SADD s m", false},
		{"a field overwritten", "HSET h f 1", "h", "HSET h f 2", true},
		{"a field of another hash overwritten", "HSET h f 1", "h", "HSET j f 2", false},
		{"the last field deleted", "HSET h f 1", "h", "HDEL h f", true},
		{"a hash flushed", "HSET h f 1", "h", "FLUSHALL", true},
		{"written in a transaction", "SET x 1", "x", "MULTI|INCR x|EXEC", true},
		{"written in a transaction that was discarded", "SET x 1", "x", "MULTI|INCR x|DISCARD", false},
	} {
		b := n.client()
		for _, text := range []string{"FLUSHALL", c.prepare} {
			b.do(strings.Fields(text)...)
		}
		a := n.client()
		a.want("OK", append([]string{"WATCH"}, strings.Fields(c.watch)...)...)
		for _, text := range strings.Split(c.change, "|") {
			b.do(strings.Fields(text)...)
		}
		a.want("OK", "MULTI")
		a.want("QUEUED", "SET", "result", "done")
		want := "[OK]"
		if c.fails {
			want = "(nil)"
		}
		if got := a.do("EXEC").String(); got != want {
			t.Errorf("%s: EXEC answered %s, want %s", c.why, got, want)
		}
		if got := b.do("EXISTS", "result").Int == 0; got != c.fails {
			t.Errorf("%s: nothing written is %v", c.why, got)
		}
		// The watch is over.
		b.do("SET", "x", "again")
		a.want("OK", "MULTI")
		a.want("[]", "EXEC")
		a.s.Close()
		b.s.Close()
	}
	if got := n.watches.count.Load(); got != 0 || len(n.watches.byKey) != 0 || len(n.watches.byGeneration) != 0 {
		t.Errorf("%d keys are still watched", got)
	}
}

// EXEC holds the locks of the watched keys too: a change of one cannot be on its way while EXEC looks.
func TestExecLocksWatchedKeys(t *testing.T) {
	n := newWorld(t).addNode(standalone)
	c := n.client()
	c.want("OK", "WATCH", keyIn(9), keyIn(5), keyIn(9+stripeCount))
	got := c.s.watched.lockWith([]slot.Slot{7, 11})
	if want := []slot.Slot{5, 7, 9, 9 + stripeCount, 11}; !slices.Equal(got, want) {
		t.Errorf("EXEC locks slots %v, want %v", got, want)
	}
}

func TestWatchEnds(t *testing.T) {
	n := newWorld(t).addNode(standalone)
	script(t, n, map[string]*testClient{}, `
		a: SET x 1 → OK
		a: WATCH x x → OK
		a: WATCH x → OK
		a: SET x 2 → OK
		a: MULTI → OK
		a: EXEC → (nil)
		a: WATCH x → OK
		b: INCR x → 3
		a: UNWATCH → OK
		a: MULTI → OK
		a: EXEC → []
		a: WATCH x → OK
		b: INCR x → 4
		a: MULTI → OK
		a: DISCARD → OK
		a: MULTI → OK
		a: EXEC → []
		a: WATCH x → OK
		b: INCR x → 5
		a: RESET → RESET
		a: MULTI → OK
		a: EXEC → []
	`)
	c := n.client()
	c.want("OK", "WATCH", "x")
	if n.watches.count.Load() != 1 {
		t.Errorf("%d keys are watched", n.watches.count.Load())
	}
	c.s.Close()
	if n.watches.count.Load() != 0 {
		t.Error("a closed session watches on")
	}
}

// A key that expires between WATCH and EXEC fails it, and its deletion is committed; one that had expired before was not there.
func TestWatchExpiry(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	a, b := n.client(), n.client()
	exec := func(want string) {
		t.Helper()
		a.want("OK", "MULTI")
		a.want("QUEUED", "GET", "other")
		a.want(want, "EXEC")
	}
	b.want("OK", "SET", "x", "1", "PX", "50")
	a.want("OK", "WATCH", "x")
	exec("[(nil)]")
	a.want("OK", "WATCH", "x")
	w.advance(100 * time.Millisecond)
	before := n.Store().Last()
	exec("(nil)")
	if n.Store().Last() != before+1 {
		t.Error("EXEC told of an expired key without deleting it")
	}
	// Expired before the watch: the key is not there, whether or not it is in the store.
	b.want("OK", "SET", "x", "1", "PX", "50")
	w.advance(100 * time.Millisecond)
	a.want("OK", "WATCH", "x")
	b.want("(nil)", "GET", "x")
	exec("[(nil)]")
	a.want("OK", "WATCH", "x")
	b.want("OK", "SET", "x", "1")
	exec("(nil)")
	// Expired, and deleted by the sweeper.
	b.want("OK", "SET", "x", "1", "PX", "50")
	a.want("OK", "WATCH", "x")
	w.advance(100 * time.Millisecond)
	n.sweepRound()
	exec("(nil)")
}

// In cluster mode a transaction is routed as a whole, when its commands are queued and again at EXEC.
func TestMultiInCluster(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	n := nodes[0]
	k7, k8, there := keyIn(7), keyIn(8), keyIn(200)
	clients := map[string]*testClient{}
	fill := strings.NewReplacer("K7", k7, "K8", k8, "THERE", there).Replace
	script(t, n, clients, fill(`
		a: MULTI → OK
		a: SET K7 1 → QUEUED
		a: SET {K7}x 2 → QUEUED
		a: EXEC → [OK OK]
		a: MULTI → OK
		a: SET THERE 1 → (error) MOVED 200 127.0.0.1:7001
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.
		a: MULTI → OK
		a: MSET K7 1 K8 1 → (error) CROSSSLOT Attempted to access keys that don't hash to the same slot
		a: EXEC → (error) EXECABORT Transaction discarded because of previous errors.
		a: MULTI → OK
		a: SET K7 10 → QUEUED
		a: SET K8 10 → QUEUED
		a: EXEC → (error) CROSSSLOT Attempted to access keys that don't hash to the same slot
		a: GET K7 → "1"
		a: WATCH K7 K8 → (error) CROSSSLOT Attempted to access keys that don't hash to the same slot
		a: WATCH THERE → (error) MOVED 200 127.0.0.1:7001
		a: WATCH K8 → OK
		a: MULTI → OK
		a: SET K7 11 → QUEUED
		b: SET K8 1 → OK
		a: EXEC → (nil)
		a: WATCH K8 → OK
		a: MULTI → OK
		a: SET K7 12 → QUEUED
		a: EXEC → [OK]
	`))
	// EXEC waits out a pause, with all of the transaction, and is then refused or run as a whole.
	script(t, n, clients, fill(`
		a: MULTI → OK
		a: SET K7 20 → QUEUED
		a: SET {K7}x 20 → QUEUED
	`))
	n.Exclusive(7, (*Owned).Pause)
	script(t, n, clients, fill(`
		a: EXEC →
		a: PING →
		b: MGET K7 {K7}x → ["12" "2"]
	`))
	n.Exclusive(7, (*Owned).Unpause)
	script(t, n, clients, fill(`
		a: - → [OK OK] | PONG
		a: MULTI → OK
		a: SET K7 30 → QUEUED
		a: SET {K7}x 30 → QUEUED
	`))
	n.Exclusive(7, (*Owned).Pause)
	script(t, n, clients, "a: EXEC →")
	n.Exclusive(7, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
		o.Unpause()
	})
	script(t, n, clients, `
		a: - → (error) MOVED 7 127.0.0.1:7001
		a: EXEC → (error) ERR EXEC without MULTI
	`)
}

// EXEC fails if the slot of a watched key has left, or has left and come back, although nothing has written to the key here.
func TestWatchAndSlotMoves(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	k7, k8 := keyIn(7), keyIn(8)
	setState := func(s slot.Slot, state cluster.State, epoch cluster.Epoch) {
		n.Exclusive(s, func(o *Owned) {
			o.Commit(n.Store().NewBatch(), cluster.Record{State: state, Epoch: epoch, Peer: id("b")})
		})
	}
	for _, c := range []struct {
		why  string
		key  string // that the transaction writes
		move func()
		want string
	}{
		{"stays", k7, func() {}, "[OK]"},
		{"left", k7, func() { setState(7, cluster.Released, 2) }, "(nil)"},
		{"left, another slot's transaction", k8, func() { setState(7, cluster.Released, 4) }, "(nil)"},
		{"left and came back", k7, func() { setState(7, cluster.Released, 6); setState(7, cluster.Serving, 7) }, "(nil)"},
		{"left and came back, another slot's transaction", k8, func() { setState(7, cluster.Released, 8); setState(7, cluster.Serving, 9) }, "(nil)"},
		{"another slot left and came back", k7, func() { setState(8, cluster.Released, 2); setState(8, cluster.Serving, 3) }, "[OK]"},
	} {
		if n.Record(7).State != cluster.Serving {
			setState(7, cluster.Serving, n.Record(7).Epoch+1)
		}
		a := n.client()
		a.want("OK", "WATCH", k7)
		a.want("OK", "MULTI")
		a.want("QUEUED", "SET", c.key, "v")
		c.move()
		if got := a.do("EXEC").String(); got != c.want {
			t.Errorf("%s: EXEC answered %s, want %s", c.why, got, c.want)
		}
	}
	// A watched slot that is about to leave holds the answer back until it is known.
	setState(7, cluster.Serving, n.Record(7).Epoch+1)
	a := n.client()
	a.want("OK", "WATCH", k7)
	a.want("OK", "MULTI")
	a.want("QUEUED", "GET", k8)
	n.Exclusive(7, (*Owned).Seal)
	a.send("EXEC")
	w.run()
	if got := a.taken(); got != "" {
		t.Errorf("EXEC was answered %s while a watched slot's fate was open", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	if got := a.taken(); got != "[(nil)]" {
		t.Errorf("got %s", got)
	}
}
