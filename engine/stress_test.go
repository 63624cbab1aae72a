package engine

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/command"
	"godwit/engine/env"
	"godwit/engine/resp"
)

// threads is an environment of real goroutines and real time.
type threads struct{ began time.Time }

func (th threads) WallMs() int64       { return time.Now().UnixMilli() }
func (th threads) Mono() time.Duration { return time.Since(th.began) }
func (th threads) Uint64() uint64      { return rand.Uint64() }
func (th threads) Submit(fn func())    { go fn() }
func (th threads) Schedule(fn func())  { go fn() }
func (th threads) AfterFunc(d time.Duration, fn func()) env.Timer {
	return time.AfterFunc(d, fn)
}

// threadClient is a client of a node with real goroutines, which waits for its replies.
type threadClient struct {
	t       *testing.T
	s       *Session
	replies chan resp.Value
}

func newThreadClient(t *testing.T, n *Node) *threadClient {
	c := &threadClient{t: t, replies: make(chan resp.Value, 100)}
	s, err := n.NewSession(SessionOptions{Remote: "r:1", Deliver: func(b []byte) {
		for len(b) > 0 {
			v, rest, err := resp.ParseReply(b)
			if err != nil {
				t.Errorf("delivered %q: %v", b, err)
				return
			}
			c.replies <- v
			b = rest
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.s = s
	return c
}

func (c *threadClient) do(args ...string) resp.Value {
	c.s.Execute(bytesOf(args))
	c.s.Flush()
	select {
	case v := <-c.replies:
		return v
	case <-time.After(30 * time.Second):
		c.t.Errorf("%q was not answered", args)
		return resp.Value{Kind: resp.ErrorKind, Str: "no answer"}
	}
}

// openThreads opens a node in threads, with the commands of these tests.
func openThreads(t *testing.T) *Node {
	th := threads{time.Now()}
	n, err := Open(Options{
		Clock: th, Rand: th, Workers: th, Syncer: th, FS: vfs.NewMem(), Dir: "d", SweepInterval: -1, Sync: SyncNever,
		Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { panic(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.table = command.NewTable(btake())
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestStressBlocking lets clients with goroutines of their own wait for keys while others fill these, unblock them, and close:
// whatever is put in is taken out exactly once or is still there.
func TestStressBlocking(t *testing.T) {
	n := openThreads(t)
	const keys, producers, consumers, rounds = 4, 3, 12, 400
	key := func(r *rand.Rand) string { return fmt.Sprintf("k%d", r.IntN(keys)) }
	var put, taken atomic.Int64
	done := make(chan struct{})
	consume := func(r *rand.Rand) {
		c := newThreadClient(t, n)
		defer func() { c.s.Close() }()
		for {
			select {
			case <-done:
				return
			default:
			}
			args := []string{"BTAKE"}
			for range 1 + r.IntN(3) {
				args = append(args, key(r))
			}
			switch v := c.do(append(args, []string{"0.001", "0.01", "0.2"}[r.IntN(3)])...); {
			case v.Kind == resp.ArrayKind:
				taken.Add(1)
			case v.Kind == resp.ErrorKind && v.Str != errUnblocked:
				t.Errorf("BTAKE answered %s", v)
			}
			if r.IntN(50) > 0 {
				continue
			}
			// A client that closes while it waits has taken something if and only if it was told so: with Sync never, replies
			// are delivered in one step with the command.
			c.s.Execute(bytesOf([]string{"BTAKE", key(r), "0"}))
			c.s.Flush()
			c.s.Close()
			select {
			case v := <-c.replies:
				if v.Kind == resp.ArrayKind {
					taken.Add(1)
				}
			default:
			}
			c = newThreadClient(t, n)
		}
	}
	produce := func(r *rand.Rand) {
		c := newThreadClient(t, n)
		defer func() { c.s.Close() }()
		for range rounds {
			switch k := key(r); r.IntN(3) {
			case 0:
				c.do("APPEND", k, "x")
				put.Add(1)
			case 1:
				c.do("MULTI")
				c.do("APPEND", k, "xx")
				c.do("APPEND", key(r), "x")
				c.do("EXEC")
				put.Add(3)
			case 2:
				c.do("MULTI")
				c.do("BTAKE", k, "0")
				if v := c.do("EXEC"); len(v.Elems) != 1 {
					t.Errorf("EXEC answered %s", v)
				} else if v.Elems[0].Kind == resp.ArrayKind {
					taken.Add(1)
				}
			}
			if r.IntN(10) == 0 {
				c.do("CLIENT", "UNBLOCK", fmt.Sprint(1+r.IntN(2*consumers)), []string{"TIMEOUT", "ERROR"}[r.IntN(2)])
			}
			if r.IntN(4) == 0 {
				for yields := 0; n.blocking.count.Load() == 0 && yields < 1000; yields++ {
					runtime.Gosched() // let somebody wait
				}
			}
		}
	}
	var consuming, producing sync.WaitGroup
	for i := range consumers {
		consuming.Go(func() { consume(rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	for i := range producers {
		producing.Go(func() { produce(rand.New(rand.NewPCG(2, uint64(i)))) })
	}
	producing.Wait()
	close(done)
	consuming.Wait()
	c := newThreadClient(t, n)
	left := int64(0)
	for i := range keys {
		left += c.do("STRLEN", fmt.Sprintf("k%d", i)).Int
	}
	c.s.Close()
	if taken.Load()+left != put.Load() {
		t.Errorf("%d were put in, %d taken out, %d are left", put.Load(), taken.Load(), left)
	}
	if got := n.blocking.count.Load(); got != 0 || len(n.blocking.lines) != 0 {
		t.Errorf("%d commands still wait, on %d keys", got, len(n.blocking.lines))
	}
}

// TestStressBlockingForgetsNobody: as many are put in as there are clients that wait without a timeout, in batches, from several
// sides; each is served.
func TestStressBlockingForgetsNobody(t *testing.T) {
	n := openThreads(t)
	for round := range 30 {
		const clients = 24
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				c := newThreadClient(t, n)
				defer c.s.Close()
				if v := c.do("BTAKE", "a", "b", "0"); v.Kind != resp.ArrayKind {
					t.Errorf("BTAKE answered %s", v)
				}
			})
		}
		for i := range 4 {
			all.Go(func() {
				c := newThreadClient(t, n)
				defer c.s.Close()
				c.do("APPEND", []string{"a", "b"}[i%2], "1")
				c.do("APPEND", []string{"a", "b"}[round%2], "23456")
			})
		}
		if all.Wait(); t.Failed() {
			return
		}
		c := newThreadClient(t, n)
		if got := c.do("EXISTS", "a", "b").Int; got != 0 {
			t.Fatalf("%d keys are left", got)
		}
		c.s.Close()
	}
}
