package driver

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/migration"
)

// world runs two or more nodes on one goroutine: what is to be done next is drawn from a seed, so that steps, syncs and calls
// interleave in any way; time passes when nothing else is left, and now and then before.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	now   time.Duration
	todo  []todo
	times []*timer
	nodes []*node
	seq   int
	// lose and repeat are the chances, in percent, that a call is not delivered (or its answer is not) or delivered twice.
	lose, repeat int
	lat          time.Duration                        // how long an answer is on its way, at least
	inOrder      bool                                 // do what was asked for first, first
	silent       func(from *node, args [][]byte) bool // calls whose answers are lost; nil: none beyond lose
	refuse       func(args [][]byte) error            // calls that are answered with this error, and not executed; nil: none
	hang         func(args [][]byte) bool             // calls that have no answer; their arguments are held, as a link holds them; nil: none
	cut          *node                                // what it sends is lost, also what is on its way; nil: nobody's
}

// todo is something that happens to a node, unless it crashes before.
type todo struct {
	n    *node
	life int
	fn   func()
}

type timer struct {
	at   time.Duration
	seq  int
	todo todo
	done bool
}

func (t *timer) Stop() bool {
	was := !t.done
	t.done = true
	return was
}

// node is a node and its part of the world.
type node struct {
	*engine.Node
	w    *world
	opts engine.Options
	fs   *vfs.MemFS
	life int // of a process: what belongs to an earlier one never happens
	down bool
	logs strings.Builder

	slowDisk bool     // sync rounds do not begin until the disk is quick again
	rounds   []func() // that wait for it
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7))}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	for _, n := range w.nodes {
		if !n.down {
			n.down = true
			if err := n.Close(); err != nil {
				w.t.Error(err)
			}
		}
	}
}

func (n *node) later(fn func()) { n.w.todo = append(n.w.todo, todo{n, n.life, fn}) }

// These are the seams of package env.
func (n *node) WallMs() int64       { return 1_700_000_000_000 + n.w.now.Milliseconds() }
func (n *node) Mono() time.Duration { return n.w.now }
func (n *node) Uint64() uint64      { return n.w.rng.Uint64() }
func (n *node) Submit(fn func())    { n.later(fn) }

func (n *node) Schedule(fn func()) {
	if n.slowDisk {
		n.rounds = append(n.rounds, fn)
		return
	}
	n.later(fn)
}

// quickDisk lets the sync rounds of a slow disk begin.
func (n *node) quickDisk() {
	for _, fn := range n.rounds {
		n.later(fn)
	}
	n.slowDisk, n.rounds = false, nil
}

func (n *node) AfterFunc(d time.Duration, fn func()) env.Timer {
	n.w.seq++
	tm := &timer{at: n.w.now + d, seq: n.w.seq, todo: todo{n, n.life, fn}}
	n.w.times = append(n.w.times, tm)
	return tm
}

// Call implements env.Peers: each call is a connection of its own, handshake first.
func (n *node) Call(to env.Peer, _ env.Lane, args [][]byte, timeout time.Duration, done func([]byte, error)) {
	w := n.w
	if w.hang != nil && w.hang(args) {
		n.AfterFunc(timeout, func() {
			done(nil, fmt.Errorf("%w: %d arguments", env.ErrTimeout, len(args)))
		})
		return
	}
	owned := make([][]byte, len(args))
	for i, a := range args {
		owned[i] = slices.Clone(a)
	}
	over := false
	finish := func(b []byte, err error) {
		if !over {
			over = true
			done(b, err)
		}
	}
	n.AfterFunc(timeout, func() { finish(nil, env.ErrTimeout) })
	deliver := func(answered func([]byte, error)) {
		i := slices.IndexFunc(w.nodes, func(o *node) bool { return !o.down && o.opts.Addr == to.Addr })
		if i < 0 {
			return
		}
		target := w.nodes[i]
		if w.refuse != nil {
			if err := w.refuse(owned); err != nil {
				answered(nil, err)
				return
			}
		}
		var got []byte
		session, err := target.NewSession(engine.SessionOptions{Remote: "127.0.0.1:1", Loopback: true, Deliver: func(b []byte) {
			got = append(got, b...)
			hello, rest, err := resp.ParseReply(got)
			if err != nil {
				return
			}
			answer, _, err := resp.ParseReply(rest)
			if err != nil {
				return
			}
			if answer.Kind == resp.ErrorKind {
				err = &env.RemoteError{Text: answer.Str}
			}
			if check := n.CheckHello(to, []byte(hello.Str)); check != nil {
				err = check
			}
			answered([]byte(answer.Str), err)
		}})
		if err != nil {
			w.t.Fatal(err)
		}
		session.Execute(n.Hello(to))
		session.Execute(owned)
		session.Flush()
	}
	fate := w.rng.IntN(100)
	silent := w.silent != nil && w.silent(n, owned)
	w.todo = append(w.todo, todo{fn: func() {
		switch {
		case fate < w.lose/2, n == w.cut: // the call is lost
		case fate < w.lose, silent: // the answer is lost
			deliver(func([]byte, error) {})
		default:
			life := n.life
			deliver(func(b []byte, err error) {
				if w.lat > 0 {
					n.AfterFunc(w.lat, func() { finish(b, err) })
					return
				}
				w.todo = append(w.todo, todo{n, life, func() { finish(b, err) }})
			})
			if w.rng.IntN(100) < w.repeat {
				w.todo = append(w.todo, todo{fn: func() { deliver(func([]byte, error) {}) }})
			}
		}
	}})
}

// step lets one thing happen, and reports whether there was anything but a timer further away than limit.
func (w *world) step(limit time.Duration) bool {
	w.times = slices.DeleteFunc(w.times, func(t *timer) bool { return t.done || t.todo.n.life != t.todo.life })
	if len(w.todo) > 0 && (len(w.times) == 0 || w.rng.IntN(200) > 0) {
		i := 0
		if !w.inOrder {
			i = w.rng.IntN(len(w.todo))
		}
		next := w.todo[i]
		w.todo = slices.Delete(w.todo, i, i+1)
		if next.n == nil || next.n.life == next.life {
			next.fn()
		}
		w.checkLists()
		return true
	}
	if len(w.times) == 0 {
		return false
	}
	next := slices.MinFunc(w.times, func(a, b *timer) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.seq - b.seq
	})
	if next.at > limit {
		return false
	}
	w.now, next.done = next.at, true
	next.todo.fn()
	w.checkLists()
	return true
}

// until lets things happen until a condition holds, within an hour of the world's time.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	limit := w.now + time.Hour
	for i := 0; !cond(); i++ {
		if !w.step(limit) || i > 2_000_000 {
			w.t.Fatalf("nothing more happens, but not: %s", what)
		}
	}
}

// pass lets d pass.
func (w *world) pass(d time.Duration) {
	end := w.now + d
	for w.step(end) {
	}
	w.now = end
}

// id makes a node id that begins with a letter.
func id(i int) cluster.NodeID {
	return cluster.NodeID(string(rune('a'+i)) + strings.Repeat("0", cluster.NodeIDLen-1))
}

// born opens nodes a, b, … in one cluster, of which the first has all slots.
func (w *world) born(count int, cfg Config) {
	w.t.Helper()
	var text strings.Builder
	for i := range count {
		slots := "0-16383"
		if i > 0 {
			slots = ""
		}
		fmt.Fprintf(&text, "%s 127.0.0.1 %d master - %s\n", id(i), 7000+i, slots)
		n := &node{w: w, fs: vfs.NewCrashableMem()}
		newMigrator, err := New(cfg)
		if err != nil {
			w.t.Fatal(err)
		}
		n.opts = engine.Options{
			Clock: n, Rand: n, Workers: n, Syncer: n, Peers: n, Dir: "data", CacheBytes: 1 << 20, MemTableBytes: 1 << 20,
			Log:     slog.New(slog.NewTextHandler(&n.logs, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Fatal:   func(err error) { w.t.Fatalf("fatal: %v", err) },
			Cluster: true, Addr: fmt.Sprintf("127.0.0.1:%d", 7000+i), SweepInterval: -1, NewMigrator: newMigrator, Version: "0.0.0-test",
		}
		w.nodes = append(w.nodes, n)
		n.open()
		w.want(n, "OK", "CLUSTERX", "SETNODEID", string(id(i)))
	}
	for _, n := range w.nodes {
		w.want(n, "OK", "CLUSTERX", "SETNODES", text.String(), "1")
	}
	w.until("the first node serves", func() bool { s := w.nodes[0].Serving(); return s.Len() == slot.Count })
}

func (n *node) open() {
	n.w.t.Helper()
	n.opts.FS = n.fs
	opened, err := engine.Open(n.opts)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.Node, n.down = opened, false
}

// crash takes the power away and opens the node again with what had been synced.
func (n *node) crash() {
	n.w.t.Helper()
	after := n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.life++
	n.slowDisk, n.rounds = false, nil
	if err := n.Close(); err != nil {
		n.w.t.Fatal(err)
	}
	n.fs = after
	n.open()
}

// wipe takes the power away and gives the node an empty disk, and the id that it had.
func (n *node) wipe() {
	n.w.t.Helper()
	id := n.ID()
	n.life++
	if err := n.Close(); err != nil {
		n.w.t.Fatal(err)
	}
	n.fs = vfs.NewCrashableMem()
	n.open()
	n.w.want(n, "OK", "CLUSTERX", "SETNODEID", string(id))
}

// do executes a command on a node and waits for the answer.
func (w *world) do(n *node, args ...string) resp.Value {
	w.t.Helper()
	var got []byte
	s, err := n.NewSession(engine.SessionOptions{Remote: "10.0.0.9:5000", Deliver: func(b []byte) { got = append(got, b...) }})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	raw := make([][]byte, len(args))
	for i, a := range args {
		raw[i] = []byte(a)
	}
	s.Execute(raw)
	s.Flush()
	var v resp.Value
	w.until(fmt.Sprint("an answer to ", args), func() bool {
		v, _, err = resp.ParseReply(got)
		return err == nil
	})
	return v
}

func (w *world) want(n *node, want string, args ...string) {
	w.t.Helper()
	if got := w.do(n, args...).String(); got != want {
		w.t.Fatalf("%q: got %s, want %s", args, got, want)
	}
}

// cmd executes a command on whichever node has the slot, as a cluster client does.
func (w *world) cmd(args ...string) resp.Value {
	w.t.Helper()
	at := 0
	for range 1000 {
		v := w.do(w.nodes[at], args...)
		if v.Kind != resp.ErrorKind {
			return v
		}
		switch {
		case strings.HasPrefix(v.Str, "MOVED "):
			var sl, port int
			if _, err := fmt.Sscanf(v.Str, "MOVED %d 127.0.0.1:%d", &sl, &port); err != nil {
				w.t.Fatal(err)
			}
			at = port - 7000
		case strings.HasPrefix(v.Str, "TRYAGAIN"), strings.HasPrefix(v.Str, "CLUSTERDOWN"):
		default:
			w.t.Fatalf("%q: %s", args, v.Str)
		}
	}
	w.t.Fatalf("%q is sent round and round", args)
	return resp.Value{}
}

func (n *node) driver() *Driver { return n.Migrator().(*Driver) }

// start begins a job that moves slots from one node to another.
func (w *world) start(from, to int, slots ...slot.Slot) uint64 {
	w.t.Helper()
	return w.startWith(engine.JobOptions{}, from, to, slots...)
}

func (w *world) startWith(opts engine.JobOptions, from, to int, slots ...slot.Slot) uint64 {
	w.t.Helper()
	var ranges []slot.Range
	for _, s := range slots {
		ranges = append(ranges, slot.Range{First: s, Last: s})
	}
	job, err := w.nodes[from].driver().Start(ranges, id(to), opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return job.Counter
}

func (n *node) job(counter uint64) engine.JobStatus {
	for _, j := range n.driver().Jobs() {
		if j.ID.Counter == counter {
			return j
		}
	}
	return engine.JobStatus{State: engine.JobNone}
}

// ended waits for the end of a job.
func (w *world) ended(n *node, counter uint64) engine.JobStatus {
	w.t.Helper()
	w.until(fmt.Sprintf("job %d has ended", counter), func() bool { return n.job(counter).State.Ended() })
	return n.job(counter)
}

// stepOf is where a slot stands at its source.
func (n *node) stepOf(sl slot.Slot) migration.Step {
	d := n.driver()
	d.mu.Lock()
	s := d.sources[sl]
	d.mu.Unlock()
	if s == nil {
		return migration.StepIdle
	}
	return s.seen().step
}

// records is what a node's store holds in a span.
func (n *node) records(span key.Span) map[string]string {
	n.w.t.Helper()
	it, err := n.Store().NewIter(span)
	if err != nil {
		n.w.t.Fatal(err)
	}
	out := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key())] = string(it.Value())
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		n.w.t.Fatal(err)
	}
	return out
}

// keyOf is user key i of the slot of tests.
func keyOf(i int) string { return fmt.Sprintf("{t}%d", i) }

var testRanges = []slot.Range{{First: testSlot, Last: testSlot}}

var testSlot = slot.OfKey([]byte("{t}"))
