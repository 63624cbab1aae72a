package fuzz

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration/driver"
)

// nodes is two nodes and all that they have of the world, on one goroutine.
type nodes struct {
	t     testing.TB
	now   time.Duration
	rand  uint64
	tasks []func()
	times []*timer
	list  []*engine.Node
}

type timer struct {
	at   time.Duration
	fn   func()
	done bool
}

func (t *timer) Stop() bool {
	was := !t.done
	t.done = true
	return was
}

// These are the seams of package env.
func (w *nodes) WallMs() int64       { return 1_700_000_000_000 + w.now.Milliseconds() }
func (w *nodes) Mono() time.Duration { return w.now }
func (w *nodes) Uint64() uint64      { w.rand += 0x9e3779b97f4a7c15; return w.rand }
func (w *nodes) Submit(fn func())    { w.tasks = append(w.tasks, fn) }
func (w *nodes) Schedule(fn func())  { w.tasks = append(w.tasks, fn) }

func (w *nodes) AfterFunc(d time.Duration, fn func()) env.Timer {
	tm := &timer{at: w.now + d, fn: fn}
	w.times = append(w.times, tm)
	return tm
}

// link is the calls of one node.
type link struct {
	*nodes
	self int
}

// Call implements env.Peers: each call is a connection of its own.
func (l *link) Call(to env.Peer, _ env.Lane, args [][]byte, timeout time.Duration, done func([]byte, error)) {
	owned := make([][]byte, len(args))
	for i, a := range args {
		owned[i] = slices.Clone(a)
	}
	l.Submit(func() {
		i := slices.IndexFunc(l.list, func(n *engine.Node) bool { return string(n.ID()) == to.ID })
		if i < 0 {
			l.AfterFunc(timeout, func() { done(nil, env.ErrTimeout) })
			return
		}
		c := l.connect(l.list[i])
		c.s.Execute(l.list[l.self].Hello(to))
		c.s.Execute(owned)
		c.s.Flush()
		var wait func()
		wait = func() {
			if v := c.replies(); len(v) == 2 {
				var err error
				if v[1].Kind == resp.ErrorKind {
					err = &env.RemoteError{Text: v[1].Str}
				}
				done([]byte(v[1].Str), err)
				c.s.Close()
				return
			}
			if len(l.tasks) > 0 { // else it waits for something that does not come: the call is lost
				l.Submit(wait)
				return
			}
			l.AfterFunc(timeout, func() { c.s.Close(); done(nil, env.ErrTimeout) })
		}
		l.Submit(wait)
	})
}

// quiet lets everything happen that is due within d.
func (w *nodes) quiet(d time.Duration) {
	end := w.now + d
	for steps := 0; ; steps++ {
		if steps > 1_000_000 {
			w.t.Fatal("the nodes do not come to rest")
		}
		if len(w.tasks) > 0 {
			fn := w.tasks[0]
			w.tasks = w.tasks[1:]
			fn()
			continue
		}
		w.times = slices.DeleteFunc(w.times, func(t *timer) bool { return t.done })
		if len(w.times) == 0 {
			return
		}
		next := slices.MinFunc(w.times, func(a, b *timer) int { return int(a.at - b.at) })
		if next.at > end {
			w.now = end
			return
		}
		w.now, next.done = next.at, true
		next.fn()
	}
}

// client is a connection.
type client struct {
	t   testing.TB
	s   *engine.Session
	got []byte
}

func (w *nodes) connect(n *engine.Node) *client {
	w.t.Helper()
	c := &client{t: w.t}
	s, err := n.NewSession(engine.SessionOptions{Remote: "127.0.0.1:9", Loopback: true, Deliver: func(b []byte) { c.got = append(c.got, b...) }})
	if err != nil {
		w.t.Fatal(err)
	}
	c.s = s
	return c
}

// replies is what has been delivered so far, which must be whole replies.
func (c *client) replies() []resp.Value {
	c.t.Helper()
	var out []resp.Value
	for rest := c.got; len(rest) > 0; {
		v, next, err := resp.ParseReply(rest)
		if err != nil {
			c.t.Fatalf("delivered %q: %v", c.got, err)
		}
		out, rest = append(out, v), next
	}
	return out
}

func id(i int) cluster.NodeID {
	return cluster.NodeID(string(rune('a'+i)) + strings.Repeat("0", cluster.NodeIDLen-1))
}

func (w *nodes) open(disks []*vfs.MemFS) {
	w.t.Helper()
	newMigrator, err := driver.New(driver.Config{Spoil: true})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, fs := range disks {
		n, err := engine.Open(engine.Options{
			Clock: w, Rand: w, Workers: w, Syncer: w, Peers: &link{w, i}, FS: fs, Dir: "data", StoreSim: &store.Sim{Memory: true},
			Fatal:   func(err error) { w.t.Fatalf("fatal: %v", err) },
			Cluster: true, Addr: fmt.Sprintf("127.0.0.1:%d", 7000+i), SweepInterval: -1, NewMigrator: newMigrator, Version: "0.0.0-fuzz",
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.list = append(w.list, n)
	}
}

func (w *nodes) close() {
	for _, n := range w.list {
		if err := n.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// template makes the directories of two nodes that have their ids and one map.
var template = sync.OnceValue(func() []*vfs.MemFS {
	disks := []*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem()}
	w := &nodes{t: &testing.B{}}
	w.open(disks)
	text := fmt.Sprintf("%s 127.0.0.1 7000 master - 0-63\n%s 127.0.0.1 7001 master - 64-127\n", id(0), id(1))
	for i, n := range w.list {
		c := w.connect(n)
		for _, args := range [][]string{{"CLUSTERX", "SETNODEID", string(id(i))}, {"CLUSTERX", "SETNODES", text, "1"}, {"SET", userKey(slot.Slot(64*i + 1)), "v"}} {
			c.s.Execute(words(args...))
			c.s.Flush()
			w.quiet(0)
		}
		for _, v := range c.replies() {
			if v.String() != "OK" {
				panic(v.String())
			}
		}
		c.s.Close()
	}
	w.close()
	return disks
})

func newNodes(t testing.TB) *nodes {
	t.Helper()
	w := &nodes{t: t}
	var disks []*vfs.MemFS
	for _, d := range template() {
		disks = append(disks, d.CrashClone(vfs.CrashCloneCfg{}))
	}
	w.open(disks)
	w.quiet(0)
	return w
}

func words(args ...string) [][]byte {
	out := make([][]byte, len(args))
	for i, a := range args {
		out[i] = []byte(a)
	}
	return out
}

// userKey is a key of a slot.
func userKey(s slot.Slot) string {
	for i := 0; ; i++ {
		if k := fmt.Sprintf("k%d", i); slot.OfKey([]byte(k)) == s {
			return k
		}
	}
}
