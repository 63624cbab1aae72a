package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
)

// btake is a blocking command for these tests: BTAKE key [key …] timeout takes the first byte of the first string that there is.
func btake() *command.Spec {
	return &command.Spec{
		Name: "btake", Arity: -3, Flags: command.Write | command.Blocking, FirstKey: 1, LastKey: -2, Step: 1,
		Handler: func(c *command.Context) {
			last := len(c.Args) - 1
			timeout, problem := command.Timeout(c.Args[last])
			if problem != "" {
				c.Out.Error(problem)
				return
			}
			w := &command.Wait{Keys: c.Args[1:last], Type: data.String, Timeout: timeout}
			c.TakeOrWait(w, func(user []byte) bool {
				e := c.Tx.Load(user)
				switch {
				case !e.Found:
					return false
				case e.Type != data.String:
					c.Out.Error("WRONGTYPE")
					return true
				}
				c.Out.Array(2)
				c.Out.Bulk(user)
				c.Out.Bulk(e.Value[:1])
				if len(e.Value) == 1 {
					c.Tx.Remove(&e)
				} else {
					c.Tx.PutString(&e, e.Value[1:], e.ExpireMs)
				}
				return true
			}, c.Out.NullArray)
		},
	}
}

func withBtake(n *testNode) *testNode {
	n.table = command.NewTable(btake())
	return n
}

// noneWait fails if the registry of waiting commands has not come to rest empty.
func noneWait(t *testing.T, n *testNode) {
	t.Helper()
	if got := n.blocking.count.Load(); got != 0 || len(n.blocking.lines) != 0 {
		t.Errorf("%d commands still wait, on %d keys", got, len(n.blocking.lines))
	}
}

func TestBlocking(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.addNode(standalone))
	script(t, n, map[string]*testClient{}, `
		a: SET k x → OK
		a: BTAKE k 0 → ["k" "x"]
		a: BTAKE k 0 →
		a: PING →
		b: SET other x → OK
		b: HSET k f v → 1
		b: DEL k → 1
		b: SET k y → OK
		a: - → ["k" "y"] | PONG
		b: EXISTS k → 0

		a: BTAKE k l 0 →
		b: SET l z → OK
		a: - → ["l" "z"]
		a: BTAKE k 0 →
		b: MULTI → OK
		b: SET k 1 → QUEUED
		b: DEL k → QUEUED
		b: EXEC → [OK 1]
		a: - →
		b: SET m abc → OK
		b: RENAME m k → OK
		a: - → ["k" "a"]
		b: GET k → "bc"
		b: DEL k → 1

		a: MULTI → OK
		a: BTAKE k 0 → QUEUED
		a: PING → QUEUED
		a: EXEC → [(nil) PONG]
		a: HSET h f v → 1
		a: BTAKE k h 0 → (error) WRONGTYPE
		a: BTAKE k -1 → (error) ERR timeout is negative
		a: BTAKE k x → (error) ERR timeout is not a float or out of range
		a: BTAKE k 1e300 → (error) ERR timeout is out of range
	`)
	noneWait(t, n)
}

// Those who wait are served in the order in which they came, whatever keys they wait for, and each once.
func TestBlockingIsFirstComeFirstServed(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.addNode(standalone))
	clients := map[string]*testClient{}
	script(t, n, clients, `
		a: BTAKE k 0 →
		b: BTAKE l k 0 →
		c: BTAKE k l 0 →
		d: BTAKE l 0 →
		e: BTAKE k 0 →
		p: SET k 123 → OK
		a: - → ["k" "1"]
		b: - → ["k" "2"]
		c: - → ["k" "3"]
		d: - →
		p: SET l xy → OK
		d: - → ["l" "x"]
		p: GET l → "y"
		e: - →
		p: SET k 4 → OK
		e: - → ["k" "4"]
	`)
	noneWait(t, n)
	// One who comes while another is under way to the key queues behind it; a plain command does not.
	for _, c := range clients {
		c.s.Close()
	}
	first, second, third, p := n.client(), n.client(), n.client(), n.client()
	first.send("BTAKE", "k", "0")
	w.run()
	p.send("SET", "k", "1")
	second.send("BTAKE", "k", "0")
	third.send("BTAKE", "k", "0")
	w.run()
	if got := first.taken() + second.taken(); got != `["k" "1"]` {
		t.Errorf("got %s", got)
	}
	if n.blocking.count.Load() != 2 {
		t.Errorf("%d wait", n.blocking.count.Load())
	}
	p.send("SET", "k", "2")
	p.send("GETDEL", "k")
	w.run()
	p.send("SET", "k", "3")
	w.run()
	if got := second.taken() + third.taken() + p.taken(); got != `["k" "3"]`+`OK | OK | "2" | OK` {
		t.Errorf("got %s", got)
	}
	p.want("OK", "SET", "k", "4")
	if got := third.taken(); got != `["k" "4"]` {
		t.Errorf("got %s", got)
	}
	noneWait(t, n)
}

// Nobody is forgotten when the one whom a commit woke goes away before it has looked.
func TestBlockingPassesOn(t *testing.T) {
	for _, how := range []string{"closes", "is unblocked", "is killed"} {
		w := newWorld(t)
		n := withBtake(w.addNode(standalone))
		first, second, untried, p := n.client(), n.client(), n.client(), n.client()
		first.send("BTAKE", "k", "0")
		second.send("BTAKE", "k", "0")
		w.run()
		p.send("SET", "k", "1")
		untried.send("BTAKE", "k", "0")
		switch how {
		case "closes":
			first.s.Close()
		case "is unblocked":
			p.send("CLIENT", "UNBLOCK", fmt.Sprint(first.s.id), "ERROR")
		case "is killed":
			p.send("CLIENT", "KILL", "ID", fmt.Sprint(first.s.id))
		}
		w.run()
		if got := second.taken(); got != `["k" "1"]` {
			t.Errorf("%s: the second has %q", how, got)
		}
		if n.blocking.count.Load() != 1 {
			t.Errorf("%s: %d wait", how, n.blocking.count.Load())
		}
		p.send("SET", "k", "2")
		w.run()
		if got := untried.taken(); got != `["k" "2"]` {
			t.Errorf("%s: the third has %q", how, got)
		}
		noneWait(t, n)
	}
}

// One that queued behind another looks at its keys when that one found nothing: it may wait for more than the key that they
// share.
func TestBlockingBehindOneThatFindsNothing(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.addNode(standalone))
	first, second, p := n.client(), n.client(), n.client()
	p.want("OK", "SET", "l", "1")
	first.send("BTAKE", "k", "0")
	w.run()
	p.send("SET", "k", "1")
	second.send("BTAKE", "k", "l", "0")
	p.send("DEL", "k")
	w.run()
	if got := first.taken() + second.taken(); got != `["l" "1"]` {
		t.Errorf("got %q", got)
	}
	first.s.Close()
	noneWait(t, n)
}

// A commit between a command's look at its keys and its going back to wait makes it look again.
func TestBlockingChangeWhileItRuns(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.addNode(standalone))
	a, p := n.client(), n.client()
	a.send("BTAKE", "k", "0")
	w.run()
	b := a.s.pending.blocked
	if end := n.blocking.begin(b); end != waitGoesOn {
		t.Fatalf("the wait has ended: %d", end)
	}
	n.blocking.looked(b)
	p.want("OK", "SET", "k", "1")
	n.blocking.ran(b, a.s.pending)
	w.run()
	if got := a.taken(); got != `["k" "1"]` {
		t.Errorf("got %q", got)
	}
	noneWait(t, n)
}

// A command whose time is over while it runs again in vain does not wait on.
func TestBlockingTimeoutWhileItRuns(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.addNode(standalone))
	a := n.client()
	a.send("BTAKE", "k", "1")
	w.run()
	b := a.s.pending.blocked
	n.blocking.begin(b)
	w.advance(2 * time.Second)
	n.blocking.looked(b)
	n.blocking.ran(b, a.s.pending)
	w.run()
	if got := a.taken(); got != "(nil)" {
		t.Errorf("got %q", got)
	}
	noneWait(t, n)
}

func TestBlockingEnds(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.addNode(standalone))
	a, p := n.client(), n.client()
	blocked := func(timeout string) {
		t.Helper()
		a.send("BTAKE", "k", timeout)
		w.run()
		if got := a.taken(); got != "" {
			t.Fatalf("answered %s", got)
		}
	}
	expect := func(want string) {
		t.Helper()
		w.run()
		if got := a.taken(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	blocked("0.5")
	w.advance(499 * time.Millisecond)
	expect("")
	w.advance(time.Millisecond)
	expect("(nil)")
	// The time goes on while it runs again in vain.
	blocked("0.5")
	w.advance(300 * time.Millisecond)
	p.send("SET", "k", "1")
	p.send("DEL", "k")
	w.run()
	expect("")
	w.advance(200 * time.Millisecond)
	expect("(nil)")
	p.take()
	blocked("0")
	id := fmt.Sprint(a.s.id)
	if list := p.do("CLIENT", "LIST", "ID", id).Str; !strings.Contains(list, " flags=b ") {
		t.Errorf("CLIENT LIST: %s", list)
	}
	p.want("1", "CLIENT", "UNBLOCK", id)
	expect("(nil)")
	p.want("0", "CLIENT", "UNBLOCK", id)
	p.want("0", "CLIENT", "UNBLOCK", "999")
	p.want("(error) ERR value is not an integer or out of range", "CLIENT", "UNBLOCK", "x")
	p.want("(error) ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR", "CLIENT", "UNBLOCK", id, "NOW")
	blocked("0")
	p.want("1", "CLIENT", "UNBLOCK", id, "ERROR")
	expect("(error) UNBLOCKED client unblocked via CLIENT UNBLOCK")
	blocked("0")
	a.s.Close()
	p.want("OK", "SET", "k", "1")
	p.want(`"1"`, "GET", "k")
	noneWait(t, n)
}

// At a cutover those who wait for keys of the slot are woken and answered MOVED, when the outcome is known; at the target they
// wait again, and a pause that is given up leaves them where they are in line.
func TestBlockingAndSlotMoves(t *testing.T) {
	w := newWorld(t)
	n := withBtake(w.born("a 0-99", "b 100-16383")[0])
	k, other := keyIn(7), keyIn(8)
	a, b, c, p := n.client(), n.client(), n.client(), n.client()
	there := n.client()
	there.want("(error) MOVED 200 127.0.0.1:7001", "BTAKE", keyIn(200), "0")
	a.send("BTAKE", k, "0")
	b.send("BTAKE", k, "0")
	c.send("BTAKE", other, "0")
	w.run()
	n.Exclusive(7, (*Owned).Pause)
	p.send("SET", k, "1")
	w.run()
	if got := a.taken(); got != "" {
		t.Fatalf("served while the slot is paused: %s", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	if got := a.taken() + p.taken(); got != fmt.Sprintf("[%q \"1\"]OK", k) {
		t.Errorf("after a pause that was given up: %s", got)
	}
	a.send("BTAKE", k, "0")
	w.run()
	n.Exclusive(7, func(o *Owned) {
		o.Pause()
		o.Seal()
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	w.run()
	if got := a.taken() + b.taken(); got != "" {
		t.Errorf("answered before the target has the slot: %s", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	w.run()
	moved := "(error) MOVED 7 127.0.0.1:7001"
	if got := b.taken() + a.taken(); got != moved+moved {
		t.Errorf("got %s", got)
	}
	if got := c.taken(); got != "" || n.blocking.count.Load() != 1 {
		t.Errorf("one who waits for another slot's key was answered %q", got)
	}
	// It is back: they can wait here again.
	n.Exclusive(7, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Serving, Epoch: 3})
	})
	a.send("BTAKE", k, "0.1")
	w.advance(200 * time.Millisecond)
	if got := a.taken(); got != "(nil)" {
		t.Errorf("got %s", got)
	}
	c.s.Close()
	noneWait(t, n)
}

func TestClientPause(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	clients := map[string]*testClient{}
	script(t, n, clients, `
		a: CLIENT PAUSE 100 WRITE → OK
		b: SET x 1 →
		b: PING →
		c: GET x → (nil)
		c: MULTI → OK
		c: GET x → QUEUED
		c: EXEC → [(nil)]
		a: CLIENT UNPAUSE → OK
		b: - → OK | PONG
		c: MULTI → OK
		c: SET x 2 → QUEUED
		a: CLIENT PAUSE 100 WRITE → OK
		c: EXEC →
		a: GET x → "1"
	`)
	w.advance(101 * time.Millisecond)
	script(t, n, clients, `
		c: - → [OK]
		a: CLIENT PAUSE 100 → OK
		b: PING →
		c: CLIENT PAUSE 1 →
		d: CLIENT UNPAUSE → OK
		b: - → PONG
		c: - → OK
	`)
	w.advance(2 * time.Millisecond)
	script(t, n, clients, `
		a: CLIENT PAUSE 100 → OK
		b: SET x 9 →
	`)
	clients["b"].s.Close()
	w.advance(101 * time.Millisecond)
	script(t, n, clients, `
		a: GET x → "2"
		a: CLIENT PAUSE x → (error) ERR timeout is not an integer or out of range
		a: CLIENT PAUSE -1 → (error) ERR timeout is negative
		a: CLIENT PAUSE 1 NONE → (error) ERR CLIENT PAUSE mode must be WRITE or ALL
		a: CLIENT PAUSE 1 ALL 1 → (error) ERR syntax error
	`)
	if len(n.pause.waiting) != 0 || n.pause.mode.Load() != pauseOff {
		t.Error("clients are still paused")
	}
}

func TestClientReply(t *testing.T) {
	n := newWorld(t).addNode(standalone)
	script(t, n, map[string]*testClient{}, `
		a: CLIENT REPLY OFF →
		a: SET x 1 →
		a: NOSUCH →
		a: CLIENT REPLY SKIP →
		a: PING →
		a: CLIENT REPLY ON → OK
		a: GET x → "1"
		a: CLIENT REPLY SKIP →
		a: PING →
		a: PING → PONG
		a: CLIENT REPLY SKIP →
		a: CLIENT REPLY SKIP →
		a: PING →
		a: PING → PONG
		a: CLIENT REPLY MAYBE → (error) ERR syntax error
	`)
}

func TestClientKill(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	hung := map[string]int{}
	open := func(remote string) *testClient {
		c := &testClient{t: t, w: w}
		s, err := n.NewSession(SessionOptions{
			Remote: remote, Local: "l:1", Deliver: func(b []byte) { c.got = append(c.got, b...) }, Hangup: func() { hung[remote]++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		c.s = s
		return c
	}
	me, a, b := open("me:1"), open("a:1"), open("b:1")
	id := fmt.Sprint(a.s.id)
	for _, c := range []struct{ want, args string }{
		{"(error) ERR No such client", "x"},
		{"(error) ERR client-id should be greater than 0", "ID x"},
		{"(error) ERR client-id should be greater than 0", "ID 0"},
		{"0", "ID 777"},
		{"(error) ERR Unknown client type 'bad'", "TYPE bad"},
		{"0", "TYPE pubsub"},
		{"0", "ADDR 1.2.3.4:5"},
		{"(error) ERR No such user 'nobody'", "USER nobody"},
		{"(error) ERR syntax error", "SKIPME maybe"},
		{"(error) ERR syntax error", "ADDR x SKIPME"},
		{"(error) ERR syntax error", "FOO bar"},
		{"0", "ID " + id + " ADDR b:1"},
		{"1", "ID " + id + " ADDR a:1"},
		{"OK", "b:1"},
		{"0", "LADDR l:1"},
	} {
		me.want(c.want, append([]string{"CLIENT", "KILL"}, strings.Fields(c.args)...)...)
	}
	for _, c := range []*testClient{a, b} {
		c.send("PING")
	}
	w.run()
	if got := a.taken() + b.taken(); got != "" || hung["a:1"] != 1 || hung["b:1"] != 1 || hung["me:1"] != 0 {
		t.Errorf("killed clients were answered %q; connections were ended: %v", got, hung)
	}
	me.want("1", "CLIENT", "KILL", "USER", "default", "SKIPME", "no")
	if !me.s.Closing() {
		t.Error("a client that killed itself goes on")
	}
}

func TestSlowLog(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { standalone(o); o.RequirePass = "secret" })
	c := n.client()
	c.want("OK", "AUTH", "secret")
	c.want(`["slowlog-log-slower-than" "10000" "slowlog-max-len" "128"]`, "CONFIG", "GET", "slowlog*")
	c.want("0", "SLOWLOG", "LEN")
	c.want("OK", "CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "4")
	c.want("OK", "SLOWLOG", "RESET")
	c.want("OK", "AUTH", "secret")
	c.want("OK", "SET", "k", strings.Repeat("v", 200))
	c.want("OK", "MULTI")
	c.want("QUEUED", "GET", "absent")
	c.want("[(nil)]", "EXEC")
	many := append([]string{"DEL"}, strings.Split(strings.Repeat("k,", 40)+"k", ",")...)
	c.want("1", many...)
	got := c.do("SLOWLOG", "GET", "-1")
	var lines []string
	for _, e := range got.Elems {
		lines = append(lines, e.Elems[0].String()+" "+e.Elems[3].String())
	}
	value := strings.Repeat("v", 128) + "... (72 more bytes)"
	want := []string{
		`6 ["DEL"` + strings.Repeat(` "k"`, 30) + ` "... (11 more arguments)"]`,
		`5 ["GET" "absent"]`,
		`4 ["MULTI"]`,
		`3 ["SET" "k" "` + value + `"]`,
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	c.want("(error) ERR count should be greater than or equal to -1", "SLOWLOG", "GET", "x")
	c.want("OK", "CONFIG", "SET", "slowlog-log-slower-than", "-1")
	c.want("OK", "SLOWLOG", "RESET")
	c.want("0", "SLOWLOG", "LEN")
	c.want("[]", "SLOWLOG", "GET")
}

func TestMonitor(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { standalone(o); o.Limits.MonitorBytes = 1000 })
	script(t, n, map[string]*testClient{}, `
		m: MONITOR → OK
		a: SET k "v\ → OK
		m: - → 1700000000.000000 [0 10.0.0.9:5000] "SET" "k" "\"v\\"
		a: CONFIG GET save → ["save" ""]
		a: AUTH x → (error) ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
		m: PING → PONG | 1700000000.000000 [0 10.0.0.9:5000] "PING"
		m: RESET → RESET
		a: PING → PONG
		m: PING → PONG
	`)
	slow, a := n.client(), n.client()
	slow.want("OK", "MONITOR")
	for range 100 {
		a.send("PING")
	}
	w.run()
	if got := slow.take(); len(got) != 0 || n.monitors.count.Load() != 0 {
		t.Errorf("one that does not keep up is shown %d more, and %d watch", len(got), n.monitors.count.Load())
	}
	var quoted strings.Builder
	writeQuoted(&quoted, []byte("\a\b\t\n\r\x0b\x7f\xff\\\""))
	if got := quoted.String(); got != `"\a\b\t\n\r\x0b\x7f\xff\\\""` {
		t.Errorf("got %s", got)
	}
}

func TestWait(t *testing.T) {
	n := newWorld(t).addNode(standalone)
	script(t, n, map[string]*testClient{}, `
		a: WAIT 3 100 → 0
		a: WAIT x 0 → (error) ERR value is not an integer or out of range
		a: WAIT 0 x → (error) ERR timeout is not an integer or out of range
		a: WAIT 0 -1 → (error) ERR timeout is negative
	`)
}
