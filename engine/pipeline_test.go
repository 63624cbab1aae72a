package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// pipe sends commands, one string each, as one pipeline.
func (c *testClient) pipe(commands ...string) {
	all := make([][][]byte, len(commands))
	for i, text := range commands {
		all[i] = bytesOf(strings.Fields(text))
	}
	c.s.ExecuteAll(all)
	c.s.Flush()
}

// ownRand gives a node random bits that no other node draws from.
type ownRand struct{ *rand.PCG }

// randomCommand is a command on a few keys, which often hold another type than it wants.
func randomCommand(r *rand.Rand) string {
	k := func() string { return fmt.Sprintf("k%d", r.IntN(6)) }
	m := func() string { return fmt.Sprintf("m%d", r.IntN(5)) }
	long := strings.Repeat("v", 1+r.IntN(200))
	switch r.IntN(42) {
	case 0, 1:
		return "SET " + k() + " " + long
	case 2:
		return fmt.Sprintf("SET %s %d PX %d", k(), r.IntN(100), 1+r.IntN(60))
	case 3, 4:
		return "GET " + k()
	case 5:
		return "INCR " + k()
	case 6:
		return "APPEND " + k() + " x"
	case 7:
		return "DEL " + k()
	case 8:
		return "DEL " + k() + " " + k()
	case 9, 10:
		return "HSET " + k() + " " + m() + " " + long
	case 11:
		return "HDEL " + k() + " " + m()
	case 12:
		return "HGETALL " + k()
	case 13, 14:
		return "SADD " + k() + " " + m() + " " + m()
	case 15:
		return "SREM " + k() + " " + m()
	case 16:
		return "SMEMBERS " + k()
	case 17, 18:
		return fmt.Sprintf("ZADD %s %d %s", k(), r.IntN(9), m())
	case 19:
		return "ZRANGE " + k() + " 0 -1 WITHSCORES"
	case 20, 21:
		return "LPUSH " + k() + " " + long + " b"
	case 22:
		return "RPUSH " + k() + " " + m()
	case 23:
		return "LPOP " + k()
	case 24:
		return "LRANGE " + k() + " 0 -1"
	case 25:
		return fmt.Sprintf("PEXPIRE %s %d", k(), r.IntN(50))
	case 26:
		return "PTTL " + k()
	case 27:
		return "TYPE " + k()
	case 28:
		return "RENAME " + k() + " " + k()
	case 29:
		return "SUNIONSTORE " + k() + " " + k() + " " + k()
	case 30:
		return "LSET " + k() + " 0 " + m()
	case 31:
		return "LINSERT " + k() + " BEFORE b " + long
	case 32:
		return "NOSUCH " + k()
	case 33, 34:
		return "MULTI"
	case 35, 36, 37:
		return "EXEC"
	case 38:
		return "WATCH " + k()
	case 39:
		return "BLPOP " + k() + " " + k() + " 0.002"
	case 40:
		return "BZPOPMIN " + k() + " 0.001"
	default:
		return "ZINCRBY " + k() + " 1 " + m()
	}
}

// TestPipelineEqualsOneByOne: what a pipeline answers, and leaves, is what its commands do one by one, for any commands, transactions and
// blocking reads among them, and any pieces in which they come.
func TestPipelineEqualsOneByOne(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t)
		var clients [2]*testClient
		var nodes [2]*testNode
		for i := range nodes {
			nodes[i] = w.addNode(func(o *Options) { o.Cluster, o.Rand = false, ownRand{rand.NewPCG(seed, 9)} })
			clients[i] = nodes[i].client()
		}
		r := rand.New(rand.NewPCG(seed, 8))
		for round := range 40 {
			commands := make([]string, 1+r.IntN(30))
			for i := range commands {
				commands[i] = randomCommand(r)
			}
			clients[0].pipe(commands...)
			for _, text := range commands {
				clients[1].send(strings.Fields(text)...)
			}
			var got, want []resp.Value
			for waits := 0; waits <= len(commands); waits++ { // each command may wait for a key, but for no longer than 2 ms
				w.advance(2 * time.Millisecond)
				got, want = append(got, clients[0].take()...), append(want, clients[1].take()...)
				if len(got) == len(commands) && len(want) == len(commands) {
					break
				}
			}
			if len(got) != len(commands) || len(want) != len(commands) {
				t.Fatalf("seed %d, round %d: %d and %d replies to %d commands", seed, round, len(got), len(want), len(commands))
			}
			for i := range got {
				if got[i].String() != want[i].String() {
					t.Fatalf("seed %d, round %d, %q in %q\n together: %s\none by one: %s", seed, round, commands[i], commands, got[i], want[i])
				}
			}
			w.advance(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		for i := range 6 {
			sl := slot.OfKey(fmt.Appendf(nil, "k%d", i))
			if err := data.CheckSlot(nodes[0].Store(), sl); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

// TestPipelineIsOneCommit: a pipeline of writes to any keys costs one commit, as long as nothing has to see the store itself.
func TestPipelineIsOneCommit(t *testing.T) {
	n := newWorld(t).born("a 0-16383")[0]
	c := n.client()
	before := n.Store().Last()
	c.pipe("SET a 1", "SET b 2", "GET a", "INCR a", "HSET h f 1", "HSET h f 2", "HGET h f", "LPUSH l x", "LINDEX l 0", "GETDEL b")
	if got := n.Store().Last() - before; got != 1 {
		t.Errorf("%d commits", got)
	}
	c.w.run()
	if got := c.taken(); got != `OK | OK | "1" | 2 | 1 | 0 | "2" | 1 | "x" | "2"` {
		t.Error(got)
	}
	before = n.Store().Last()
	c.pipe("SET a 1", "SADD s m", "SMEMBERS s", "SADD s n") // SMEMBERS iterates
	if got := n.Store().Last() - before; got != 2 {
		t.Errorf("%d commits with an iteration in between", got)
	}
	c.w.run()
	if got := c.taken(); got != `OK | 1 | ["m"] | 1` {
		t.Error(got)
	}
}

// TestPipelineAcrossPausedSlot: the commands before the one that must wait are answered, and those behind it wait for it.
func TestPipelineAcrossPausedSlot(t *testing.T) {
	n := newWorld(t).born("a 0-16383")[0]
	n.Exclusive(7, (*Owned).Pause)
	c, k := n.client(), keyIn(7)
	c.pipe("SET a 1", "INCR a", "SET "+k+" x", "INCR a", "GET "+k)
	c.w.run()
	if got := c.taken(); got != "OK | 2" {
		t.Fatalf("before the pause ends: %s", got)
	}
	n.Exclusive(7, (*Owned).Unpause)
	c.w.run()
	if got := c.taken(); got != `OK | 3 | "x"` {
		t.Fatalf("after it: %s", got)
	}
}

// TestPipelineMeetsExpiredKey: in a paused slot an expired key must not be deleted, nor be told of, whatever else the pipeline writes.
func TestPipelineMeetsExpiredKey(t *testing.T) {
	n := newWorld(t).born("a 0-16383")[0]
	c, k := n.client(), keyIn(7)
	c.want("OK", "SET", k, "x", "PX", "10")
	c.w.advance(20 * time.Millisecond)
	n.Exclusive(7, (*Owned).Pause)
	c.pipe("SET a 1", "GET "+k, "INCR a")
	c.w.run()
	if got := c.taken(); got != "OK" {
		t.Fatalf("in the pause: %s", got)
	}
	if _, found, _ := n.Store().Get(key.AppendRecord(nil, 7, []byte(k))); !found {
		t.Fatal("the key was deleted in the pause")
	}
	n.Exclusive(7, (*Owned).Unpause)
	c.w.run()
	if got := c.taken(); got != "(nil) | 2" {
		t.Fatalf("after it: %s", got)
	}
}

// TestPipelineRedirects: each command of a slot that is another's gets its MOVED, and the others run.
func TestPipelineRedirects(t *testing.T) {
	n := newWorld(t).born("a 0-99", "b 100-16383")[0]
	c, here, there := n.client(), keyIn(7), keyIn(200)
	c.pipe("SET "+here+" 1", "GET "+there, "INCR "+here, "SET "+there+" 1", "GET "+here)
	c.w.run()
	if got := c.taken(); got != `OK | (error) MOVED 200 127.0.0.1:7001 | 2 | (error) MOVED 200 127.0.0.1:7001 | "2"` {
		t.Fatal(got)
	}
}

// TestPipelineWaitsForTheDisk: replies to a group leave when its commit is durable, those to who has read it too.
func TestPipelineWaitsForTheDisk(t *testing.T) {
	n := newWorld(t).born("a 0-16383")[0]
	n.sync()
	n.autoSync = false
	c, other := n.client(), n.client()
	c.pipe("SET a 1", "SET b 2", "GET nothing")
	other.pipe("GET b", "GET nothing")
	n.w.run()
	if got := c.taken() + other.taken(); got != "" {
		t.Fatalf("before the sync: %s", got)
	}
	n.sync()
	if got := c.taken() + " / " + other.taken(); got != `OK | OK | (nil) / "2" | (nil)` {
		t.Fatal(got)
	}
}

// TestPipelineTellsWatchersAndWaiters: a group's commit ends a WATCH and serves a blocked command.
func TestPipelineTellsWatchersAndWaiters(t *testing.T) {
	n := newWorld(t).born("a 0-16383")[0]
	watcher, waiter, c := n.client(), n.client(), n.client()
	watcher.want("OK", "WATCH", "{k}a")
	waiter.send("BLPOP", "{k}l", "0")
	c.pipe("SET {k}a 1", "LPUSH {k}l x", "GET {k}a")
	n.w.run()
	if got := c.taken(); got != `OK | 1 | "1"` {
		t.Error(got)
	}
	if got := waiter.taken(); got != `["{k}l" "x"]` {
		t.Errorf("the waiting command got %s", got)
	}
	watcher.want("OK", "MULTI")
	watcher.want("QUEUED", "GET", "{k}a")
	watcher.want("(nil)", "EXEC")
}

// TestPipelineOfLargeReplies: replies of a group are bounded; what is beyond runs in another.
func TestPipelineOfLargeReplies(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.Cluster = false })
	c := n.client()
	c.want("OK", "SET", "big", strings.Repeat("x", groupReplyBytes))
	commands := make([][][]byte, 20)
	for i := range commands {
		commands[i] = bytesOf([]string{"GET", "big"})
	}
	c.s.mu.Lock()
	ran, alone := c.s.runGroup(commands)
	c.s.mu.Unlock()
	if ran != 1 || alone {
		t.Fatalf("%d commands ran before the replies were handed out", ran)
	}
}

// TestIdleSessionKeepsLittle: the memory of a large reply is not kept.
func TestIdleSessionKeepsLittle(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.Cluster = false })
	c := n.client()
	c.want("OK", "SET", "big", strings.Repeat("x", 4*replyKeeps))
	for _, pipeline := range [][]string{{"GET big"}, {"STRLEN big", "GET big"}} {
		c.pipe(pipeline...)
		w.run()
		c.take()
		if kept := cap(c.s.out.Bytes()); kept > replyKeeps {
			t.Errorf("after %q, %d bytes are kept for replies", pipeline, kept)
		}
	}
}
