package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/rdb"
)

// otherServer is env.Servers with one server behind it, which a test plays: it is given what was sent, and says what comes back.
type otherServer struct {
	w    *world
	said [][]string // commands, the payload of RESTORE as the string that it holds
	play func(round int, commands [][]string) (replies []string, err error)
	n    int

	timeout time.Duration // of the last call
}

// Open is not what MIGRATE uses.
func (o *otherServer) Open(string) env.ServerConn { return nil }

func (o *otherServer) Do(addr string, commands [][][]byte, timeout time.Duration, done func([][]byte, error)) {
	o.timeout = timeout
	var said [][]string
	for _, args := range commands {
		var words []string
		for i, a := range args {
			if i == 3 && strings.HasPrefix(string(args[0]), "RESTORE") {
				v, err := rdb.Decode(a)
				if err != nil {
					o.w.t.Fatal(err)
				}
				a = v.Elements[0]
			}
			words = append(words, string(a))
		}
		said = append(said, words)
	}
	o.w.Submit(func() {
		o.n++
		o.said = append(o.said, said...)
		replies, err := o.play(o.n, said)
		raw := make([][]byte, len(replies))
		for i, r := range replies {
			raw[i] = []byte(r + "\r\n")
		}
		done(raw, err)
	})
}

// take says yes to everything.
func take(_ int, commands [][]string) ([]string, error) {
	replies := make([]string, len(commands))
	for i := range replies {
		replies[i] = "+OK"
	}
	return replies, nil
}

// TestMigrateOut is MIGRATE to another server, which answers, does not, or only after somebody wrote to the keys.
func TestMigrateOut(t *testing.T) {
	k := keyIn(7)
	migrate := []string{"MIGRATE", "h", "1", k, "0", "100"}
	for _, c := range []struct {
		name  string
		args  []string
		setup []string
		play  func(n *testNode) func(int, [][]string) ([]string, error)
		want  string
		said  string // as fmt has it
		left  string // what GET answers in the end
	}{
		{name: "taken", play: func(*testNode) func(int, [][]string) ([]string, error) { return take },
			want: "OK", said: "[[RESTORE-ASKING " + k + " 0 v]]", left: "(nil)"},
		{name: "replace", args: []string{"REPLACE"}, play: func(*testNode) func(int, [][]string) ([]string, error) { return take },
			want: "OK", said: "[[RESTORE-ASKING " + k + " 0 v REPLACE]]", left: "(nil)"},
		{name: "copy", args: []string{"COPY"}, play: func(*testNode) func(int, [][]string) ([]string, error) { return take },
			want: "OK", said: "[[RESTORE-ASKING " + k + " 0 v]]", left: `"v"`},
		{name: "expiry", setup: []string{"PEXPIRE", k, "5000"}, play: func(*testNode) func(int, [][]string) ([]string, error) { return take },
			want: "OK", said: "[[RESTORE-ASKING " + k + " 5000 v]]", left: "(nil)"},
		{name: "auth", args: []string{"AUTH2", "u", "p"}, play: func(*testNode) func(int, [][]string) ([]string, error) { return take },
			want: "OK", said: "[[AUTH u p] [RESTORE-ASKING " + k + " 0 v]]", left: "(nil)"},
		{name: "auth refused", args: []string{"AUTH", "p"},
			play: func(*testNode) func(int, [][]string) ([]string, error) {
				return func(int, [][]string) ([]string, error) { return []string{"-WRONGPASS no", "+OK"}, nil }
			},
			want: "(error) ERR Target instance replied with error: WRONGPASS no", said: "[[AUTH p] [RESTORE-ASKING " + k + " 0 v]]", left: `"v"`},
		{name: "busy", play: func(*testNode) func(int, [][]string) ([]string, error) {
			return func(int, [][]string) ([]string, error) { return []string{"-BUSYKEY it is there"}, nil }
		}, want: "(error) ERR Target instance replied with error: BUSYKEY it is there", said: "[[RESTORE-ASKING " + k + " 0 v]]", left: `"v"`},
		{name: "not reached", play: func(*testNode) func(int, [][]string) ([]string, error) {
			return func(int, [][]string) ([]string, error) { return nil, fmt.Errorf("%w: no", env.ErrConnect) }
		}, want: "(error) IOERR error or timeout connecting to the client", said: "[[RESTORE-ASKING " + k + " 0 v]]", left: `"v"`},
		{name: "no answer", play: func(*testNode) func(int, [][]string) ([]string, error) {
			return func(int, [][]string) ([]string, error) { return nil, env.ErrTimeout }
		}, want: "(error) IOERR error or timeout reading to target instance", said: "[[RESTORE-ASKING " + k + " 0 v]]", left: `"v"`},
		{name: "others wait", play: func(n *testNode) func(int, [][]string) ([]string, error) {
			return func(round int, commands [][]string) ([]string, error) {
				if round > 1 {
					return []string{"-ERR enough"}, nil
				}
				for _, args := range [][]string{{"APPEND", k, "2"}, {"GET", k}, {"MIGRATE", "h", "1", k, "0", "100"}} {
					c := n.client()
					c.send(args...)
					if got := c.take(); len(got) > 0 {
						t.Errorf("%q meanwhile: %v", args, got)
					}
				}
				return take(round, commands)
			}
		}, want: "OK", said: "[[RESTORE-ASKING " + k + " 0 v] [RESTORE-ASKING " + k + " 0 2]]", left: `"2"`},
		{name: "the slot leaves", play: func(n *testNode) func(int, [][]string) ([]string, error) {
			return func(round int, commands [][]string) ([]string, error) {
				n.Exclusive(7, func(o *Owned) {
					o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
				})
				return take(round, commands)
			}
		}, want: "(error) " + errMigrateLeft, said: "[[RESTORE-ASKING " + k + " 0 v]]", left: "(error) MOVED 7 127.0.0.1:7001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			server := &otherServer{w: w}
			a, b := w.addNode(func(o *Options) { o.Servers = server }), w.addNode(nil)
			for i, n := range []*testNode{a, b} {
				n.client().want("OK", "CLUSTERX", "SETNODEID", string(id(string(rune('a'+i)))))
			}
			for _, n := range []*testNode{a, b} {
				n.client().want("OK", "CLUSTERX", "SETNODES", nodesText("a 0-99", "b 100-16383"), "1")
			}
			w.run()
			server.play = c.play(a)
			cl := a.client()
			cl.want("OK", "SET", k, "v")
			if c.setup != nil {
				cl.want("1", c.setup...)
			}
			cl.want(c.want, append(append([]string(nil), migrate...), c.args...)...)
			if got := fmt.Sprint(server.said); got != c.said {
				t.Errorf("said\n%s, want\n%s", got, c.said)
			}
			cl.want(c.left, "GET", k)
			if a.sending.Load() != 0 || a.slots.get(7).sending || a.slots.get(7).parked != nil {
				t.Error("the slot is marked, or waited for, for ever")
			}
		})
	}
}

// alone opens a node that stands alone and can call a server.
func (w *world) alone(server *otherServer) *testNode {
	return w.addNode(func(o *Options) { o.Cluster, o.NewMigrator, o.Servers = false, nil, server })
}

// TestMigrateOutPartly: of several keys those that the server has taken go, when the connection broke or one was refused.
func TestMigrateOutPartly(t *testing.T) {
	w := newWorld(t)
	server := &otherServer{w: w}
	n := w.alone(server)
	c := n.client()
	for _, x := range []struct {
		replies []string
		err     error
		want    string
		left    string
	}{
		{[]string{"+OK"}, env.ErrLink, "(error) IOERR error or timeout reading to target instance", `[(nil) "2" "3"]`},
		{[]string{"+OK", "-BUSYKEY no", "+OK"}, nil, "(error) ERR Target instance replied with error: BUSYKEY no", `[(nil) "2" (nil)]`},
		{[]string{"-ERR OOM", "+OK", "*0"}, nil, "(error) ERR Target instance replied with error: ERR OOM", `["1" (nil) (nil)]`},
		{[]string{"?", "+OK"}, errors.New("odd"), "(error) IOERR error or timeout reading to target instance", `["1" (nil) "3"]`},
	} {
		c.want("OK", "MSET", "k1", "1", "k2", "2", "k3", "3")
		server.play = func(int, [][]string) ([]string, error) { return x.replies, x.err }
		c.want(x.want, "MIGRATE", "h", "1", "", "0", "100", "KEYS", "k1", "none", "k2", "k1", "k3")
		c.want(x.left, "MGET", "k1", "k2", "k3")
	}
	if got := fmt.Sprint(server.said[0], server.said[1]); got != "[RESTORE k1 0 1] [RESTORE k2 0 2]" {
		t.Errorf("said %s", got)
	}
	c.want("NOKEY", "MIGRATE", "h", "1", "", "0", "100", "KEYS", "none", "nobody")
}

// TestMigrateOutWaits: keys are not deleted while clients are paused, and are when the client has gone; pipelines and FLUSHALL wait for the answer.
func TestMigrateOutWaits(t *testing.T) {
	w := newWorld(t)
	server := &otherServer{w: w, play: take}
	n := w.alone(server)
	c, other := n.client(), n.client()
	c.want("OK", "SET", "k", "v")
	server.play = func(round int, commands [][]string) ([]string, error) {
		other.want("OK", "CLIENT", "PAUSE", "1000", "WRITE")
		c.s.Close()
		return take(round, commands)
	}
	c.send("MIGRATE", "h", "1", "k", "0", "100")
	w.run()
	other.send("GET", "k")
	w.advance(500 * time.Millisecond)
	if got := other.take(); len(got) > 0 {
		t.Errorf("the key is shown while it may be elsewhere: %v", got)
	}
	w.advance(time.Second)
	if got := other.taken(); got != "(nil)" {
		t.Errorf("then: %s", got)
	}

	other.want("OK", "MSET", "k", "v", "l", "w")
	pipeline, flush, late := n.client(), n.client(), n.client()
	server.play = func(round int, commands [][]string) ([]string, error) {
		pipeline.s.ExecuteAll([][][]byte{bytesOf([]string{"GET", "l"}), bytesOf([]string{"INCR", "n"}), bytesOf([]string{"SET", "k", "x"}), bytesOf([]string{"GET", "l"})})
		pipeline.s.Flush()
		flush.send("FLUSHALL")
		late.send("GET", "k")
		w.advance(n.opts.Limits.ParkDeadline + time.Second) // a wait for an answer has no other end
		if got := fmt.Sprint(pipeline.take(), flush.take(), late.take()); got != `["w" 1] [] []` {
			t.Errorf("meanwhile: %s", got)
		}
		return take(round, commands)
	}
	other.want("OK", "MIGRATE", "h", "1", "k", "0", "100")
	w.run()
	if got := fmt.Sprint(pipeline.take(), flush.take(), len(late.take())); got != `[OK "w"] [OK] 1` && got != `[OK (nil)] [OK] 1` {
		t.Errorf("then: %s", got)
	}
	if n.sending.Load() != 0 {
		t.Error("a slot is marked for ever")
	}
}

// TestMigrateOutLimits: what waits for the other server's answer is bounded, as are its keys and its silence.
func TestMigrateOutLimits(t *testing.T) {
	for name, limits := range map[string]Limits{"commands": {ParkedCommands: 2}, "bytes": {ParkedBytes: 20}} {
		for _, inCluster := range []bool{false, true} {
			t.Run(fmt.Sprint(name, inCluster), func(t *testing.T) {
				w := newWorld(t)
				server := &otherServer{w: w}
				n := w.addNode(func(o *Options) { o.Cluster, o.Servers, o.Limits = inCluster, server, limits })
				if inCluster {
					n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
					n.setNodes("1", "", "a 0-16383")
				}
				k := keyIn(7)
				c := n.client()
				c.want("OK", "SET", k, "v")
				waits, refused := 0, 0
				var clients []*testClient
				server.play = func(round int, commands [][]string) ([]string, error) {
					for range 5 {
						for _, args := range [][]string{{"GET", k}, {"APPEND", k, "x"}, {"FLUSHALL"}} {
							other := n.client()
							other.send(args...)
							clients = append(clients, other)
						}
					}
					w.advance(n.opts.Limits.ParkDeadline + time.Second)
					for _, other := range clients {
						switch got := other.taken(); got {
						case "":
							waits++
						case "(error) " + cluster.TryAgain:
							refused++
						default:
							t.Errorf("meanwhile: %s", got)
						}
					}
					return take(round, commands)
				}
				c.want("OK", "MIGRATE", "h", "1", k, "0", "99999999")
				if waits == 0 || waits > 3 || waits+refused != len(clients) {
					t.Errorf("%d wait, %d were refused", waits, refused)
				}
				if server.timeout != maxSendTimeout {
					t.Errorf("the other server may be silent for %v", server.timeout)
				}
			})
		}
	}
	w := newWorld(t)
	n := w.alone(&otherServer{w: w, play: take})
	c := n.client()
	args := []string{"MIGRATE", "h", "1", "", "0", "100", "KEYS"}
	for i := range maxSendKeys {
		args = append(args, fmt.Sprint("k", i), "k0")
	}
	c.want("OK", "SET", "k1", "v")
	c.want("(error) "+errMigrateCount, append(args, "k")...)
	c.want("OK", args...)
	c.want("(nil)", "GET", "k1")
}
