package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// world is a small deterministic environment: one queue of tasks that the test drains, one clock that it moves, and syncs
// that happen when it says so. It is not the simulator: nothing is random and nothing is lost unless a test says so.
type world struct {
	strangers map[string]bool // addresses at which something refuses to be a peer
	t         *testing.T
	mono      time.Duration
	wallMs    int64
	rand      uint64
	seq       int
	tasks     []func()
	timers    []*testTimer
	nodes     []*testNode
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, wallMs: 1_700_000_000_000}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.close()
		}
	})
	return w
}

// WallMs, Mono and AfterFunc implement env.Clock; Uint64 env.Rand; Submit env.Workers.
func (w *world) WallMs() int64       { return w.wallMs }
func (w *world) Mono() time.Duration { return w.mono }
func (w *world) Uint64() uint64      { w.rand += 0x9e3779b97f4a7c15; return w.rand }
func (w *world) Submit(fn func())    { w.tasks = append(w.tasks, fn) }

func (w *world) AfterFunc(d time.Duration, fn func()) env.Timer {
	w.seq++
	tm := &testTimer{at: w.mono + d, seq: w.seq, fn: fn}
	w.timers = append(w.timers, tm)
	return tm
}

type testTimer struct {
	at   time.Duration
	seq  int
	fn   func()
	done bool
}

func (t *testTimer) Stop() bool {
	was := !t.done
	t.done = true
	return was
}

// run executes tasks, and the syncs of nodes that sync by themselves, until none is left.
func (w *world) run() {
	for steps := 0; ; steps++ {
		if steps > 100_000 {
			w.t.Fatal("the world does not come to rest")
		}
		if len(w.tasks) > 0 {
			fn := w.tasks[0]
			w.tasks = w.tasks[1:]
			fn()
			continue
		}
		synced := false
		for _, n := range w.nodes {
			if n.autoSync && len(n.syncs) > 0 {
				n.syncOnce()
				synced = true
			}
		}
		if !synced {
			return
		}
	}
}

// advance moves both clocks, running the timers that come due in order.
func (w *world) advance(d time.Duration) {
	end := w.mono + d
	for {
		w.run()
		var next *testTimer
		w.timers = slices.DeleteFunc(w.timers, func(t *testTimer) bool { return t.done })
		sort.Slice(w.timers, func(i, j int) bool {
			if w.timers[i].at != w.timers[j].at {
				return w.timers[i].at < w.timers[j].at
			}
			return w.timers[i].seq < w.timers[j].seq
		})
		if len(w.timers) > 0 && w.timers[0].at <= end {
			next = w.timers[0]
		}
		if next == nil {
			break
		}
		w.wallMs += (next.at - w.mono).Milliseconds()
		w.mono = next.at
		next.done = true
		next.fn()
	}
	w.wallMs += (end - w.mono).Milliseconds()
	w.mono = end
	w.run()
}

// testNode is a node and its part of the environment.
type testNode struct {
	*Node
	w        *world
	opts     Options
	fs       *vfs.MemFS
	syncs    []func()
	autoSync bool // syncs happen by themselves
	open     bool
	down     bool // peers cannot reach it
	mig      *fakeMigrator
	calls    []string // what peers asked, "OWNER 0-5"
}

// Schedule implements env.Syncer.
func (n *testNode) Schedule(run func()) { n.syncs = append(n.syncs, run) }

func (n *testNode) syncOnce() {
	runs := n.syncs
	n.syncs = nil
	for _, run := range runs {
		run()
	}
}

// sync runs the syncs that were asked for, and what follows.
func (n *testNode) sync() {
	n.syncOnce()
	n.w.run()
}

// id makes a node id that begins with a letter.
func id(letter string) cluster.NodeID {
	return cluster.NodeID(letter + strings.Repeat("0", cluster.NodeIDLen-len(letter)))
}

// addNode opens a node in cluster mode; change may alter its options.
func (w *world) addNode(change func(*Options)) *testNode {
	w.t.Helper()
	n := &testNode{w: w, fs: vfs.NewMem(), autoSync: true}
	port := 7000 + len(w.nodes)
	n.opts = Options{
		Clock: w, Rand: w, Workers: w, Syncer: n, Peers: &testPeers{from: n}, FS: n.fs, Dir: "data",
		Log:     slog.New(slog.DiscardHandler),
		Fatal:   func(err error) { w.t.Fatalf("fatal: %v", err) },
		Cluster: true, Addr: fmt.Sprintf("127.0.0.1:%d", port), SweepInterval: -1,
		NewMigrator: func(node *Node) Migrator { n.mig = &fakeMigrator{n: node, w: w}; return n.mig },
		Version:     "0.0.0-test",
	}
	if change != nil {
		change(&n.opts)
	}
	w.nodes = append(w.nodes, n)
	n.start()
	return n
}

func (n *testNode) start() {
	n.w.t.Helper()
	node, err := Open(n.opts)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.Node, n.open = node, true
	n.w.run()
}

func (n *testNode) close() {
	if !n.open {
		return
	}
	n.open = false
	if err := n.Close(); err != nil {
		n.w.t.Error(err)
	}
}

// restart closes the node in an orderly way and opens it again.
func (n *testNode) restart() {
	n.w.t.Helper()
	n.close()
	n.start()
}

// wipe closes the node and opens it again with an empty directory and its old id.
func (n *testNode) wipe(letter string) {
	n.w.t.Helper()
	n.close()
	n.fs = vfs.NewMem()
	n.opts.FS = n.fs
	n.start()
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id(letter)))
}

// testClient is a connection.
type testClient struct {
	t   *testing.T
	w   *world
	s   *Session
	got []byte
}

func (n *testNode) client() *testClient { return n.clientFrom("10.0.0.9:5000", false) }

func (n *testNode) clientFrom(remote string, loopback bool) *testClient {
	n.w.t.Helper()
	c := &testClient{t: n.w.t, w: n.w}
	s, err := n.NewSession(SessionOptions{Remote: remote, Local: n.opts.Addr, Loopback: loopback, Deliver: func(b []byte) { c.got = append(c.got, b...) }})
	if err != nil {
		n.w.t.Fatal(err)
	}
	c.s = s
	return c
}

func bytesOf(args []string) [][]byte {
	out := make([][]byte, len(args))
	for i, a := range args {
		out[i] = []byte(a)
	}
	return out
}

// send executes a command and flushes, without letting the world run.
func (c *testClient) send(args ...string) {
	c.s.Execute(bytesOf(args))
	c.s.Flush()
}

// take returns the replies that have been delivered so far.
func (c *testClient) take() []resp.Value {
	c.t.Helper()
	var out []resp.Value
	for len(c.got) > 0 {
		v, rest, err := resp.ParseReply(c.got)
		if err != nil {
			c.t.Fatalf("delivered bytes %q: %v", c.got, err)
		}
		out, c.got = append(out, v), rest
	}
	return out
}

// taken is take in words, separated by " | ".
func (c *testClient) taken() string {
	c.t.Helper()
	var parts []string
	for _, v := range c.take() {
		parts = append(parts, v.String())
	}
	return strings.Join(parts, " | ")
}

// do executes a command, lets the world run and returns the one reply.
func (c *testClient) do(args ...string) resp.Value {
	c.t.Helper()
	c.send(args...)
	c.w.run()
	got := c.take()
	if len(got) != 1 {
		c.t.Fatalf("%q has %d replies: %v", args, len(got), got)
	}
	return got[0]
}

// want executes a command and compares the reply in words.
func (c *testClient) want(want string, args ...string) {
	c.t.Helper()
	if got := c.do(args...).String(); got != want {
		c.t.Errorf("%q\n got %s\nwant %s", args, got, want)
	}
}

// testPeers is env.Peers between the nodes of a world: every call is a connection of its own, handshake first.
type testPeers struct{ from *testNode }

func (p *testPeers) Call(to env.Peer, lane env.Lane, args [][]byte, timeout time.Duration, done func([]byte, error)) {
	w := p.from.w
	owned, _ := cloneArgs(args)
	w.Submit(func() {
		var target *testNode
		for _, n := range w.nodes {
			if n.open && !n.down && n.opts.Addr == to.Addr {
				target = n
			}
		}
		if p.from.w.strangers[to.Addr] && p.from.open {
			done(nil, fmt.Errorf("%w: %s", env.ErrNotPeer, to.Addr))
			return
		}
		if target == nil || p.from.down || !p.from.open {
			w.AfterFunc(timeout, func() { done(nil, env.ErrTimeout) })
			return
		}
		link := &testLink{w: w}
		s, err := target.NewSession(SessionOptions{Remote: "127.0.0.1:1", Loopback: true, Deliver: link.deliver})
		if err != nil {
			done(nil, err)
			return
		}
		finish := func(b []byte, err error) { s.Close(); done(b, err) }
		link.next = func(hello []byte, err error) {
			if err == nil {
				err = p.from.CheckHello(to, hello)
			}
			if err != nil {
				finish(nil, err)
				return
			}
			target.calls = append(target.calls, string(owned[1])+" "+string(owned[len(owned)-1]))
			link.next = finish
			s.Execute(owned)
			s.Flush()
		}
		s.Execute(p.from.Hello(to))
		s.Flush()
	})
}

// testLink turns delivered bytes into answers.
type testLink struct {
	w    *world
	next func([]byte, error)
}

func (l *testLink) deliver(b []byte) {
	v, _, err := resp.ParseReply(b)
	if err == nil && v.Kind == resp.ErrorKind {
		err = &env.RemoteError{Text: v.Str}
	}
	l.w.Submit(func() { l.next([]byte(v.Str), err) })
}

// fakeMigrator is a Migrator of which a test sets what it says.
type fakeMigrator struct {
	pauseTarget string
	n           *Node
	w           *world
	err         error // of Start and Tell
	jobs        []JobStatus
	imports     []ImportStatus
	waits       map[uint64]func(JobStatus)
	timeout     time.Duration
	limits      []slot.Slot
	options     JobOptions
	told        []string
	throttle    string
	resolved    []string
	peer        func(PeerInfo, []byte) ([]byte, store.Position, error)
}

func (m *fakeMigrator) Recover() error { return nil }
func (m *fakeMigrator) Close()         {}

func (m *fakeMigrator) Start(ranges []slot.Range, to cluster.NodeID, opts JobOptions) (cluster.JobID, error) {
	m.options = opts
	if m.err != nil {
		return cluster.JobID{}, m.err
	}
	id := cluster.JobID{Node: m.n.ID(), Incarnation: m.n.Incarnation(), Counter: uint64(len(m.jobs) + 1)}
	set := slot.SetOf(ranges...)
	b := m.n.Store().NewBatch()
	b.Set([]byte{0, 2, 1}, []byte("job"))
	m.n.Store().Commit(b)
	m.jobs = append(m.jobs, JobStatus{ID: id, Target: to, Ranges: ranges, State: JobStart, Slots: set.Len()})
	return id, nil
}

func (m *fakeMigrator) Tell(counter uint64, verb JobVerb, ranges []slot.Range) (JobAnswer, error) {
	set := slot.SetOf(ranges...)
	m.told = append(m.told, fmt.Sprintf("%s %d %s", verb, counter, &set))
	return JobAnswer{Changed: true, Message: "so be it"}, m.err
}

func (m *fakeMigrator) Resolve(s slot.Slot, what Resolution, other cluster.NodeID, done func(string, error)) {
	m.resolved = append(m.resolved, fmt.Sprintf("%d %s %s", s, what, other))
	if what == ResolveAbort {
		done("", errors.New("no"))
		return
	}
	done("done", nil)
}

func (m *fakeMigrator) Waiting() []WaitingSlot {
	return []WaitingSlot{{Slot: 5, State: "prepared", Epoch: 2, Other: "x", Job: "1/2", Resolvable: true}, {Slot: 7, State: "importing", Epoch: 1, Other: "y", Job: "1/3"}}
}

func (m *fakeMigrator) Throttle(counter uint64, limit *string) (ThrottleReport, error) {
	if limit != nil {
		m.throttle = *limit
	}
	return ThrottleReport{Job: counter, Limit: m.throttle, Changed: limit != nil}, m.err
}

func (m *fakeMigrator) Plan(ranges []slot.Range, to cluster.NodeID, opts PlanOptions, done func(PlanReport)) error {
	if m.err == nil {
		m.n.Options().Workers.Submit(func() {
			done(PlanReport{Slots: len(ranges), Target: to, Exact: opts.Exact, RateFrom: opts.Throttle})
		})
	}
	return m.err
}

func (m *fakeMigrator) Metrics() []Counter { return []Counter{{"migration_pauses", 7}} }

func (m *fakeMigrator) Settings() []Setting { return []Setting{{"pause-target", m.pauseTarget}} }

func (m *fakeMigrator) CheckSettings([]Setting) error { return m.err }

func (m *fakeMigrator) Set(list []Setting) {
	for _, s := range list {
		m.pauseTarget = s.Value
	}
}

func (m *fakeMigrator) CheckThrottle(string) error { return m.err }

func (m *fakeMigrator) History(counter uint64) (JobHistory, error) {
	return JobHistory{Job: JobReport{Counter: counter}, Events: []JobEvent{{1, "begun"}}}, m.err
}

func (m *fakeMigrator) Report(counter uint64) (JobDetails, error) {
	return JobDetails{Job: JobReport{Counter: counter}, RepeatedBytes: 7}, m.err
}

func (m *fakeMigrator) Jobs() []JobStatus { return m.jobs }

func (m *fakeMigrator) WhenDone(counter uint64, timeout time.Duration, fn func(JobStatus)) {
	if m.waits == nil {
		m.waits = map[uint64]func(JobStatus){}
	}
	m.waits[counter] = fn
	m.timeout = timeout
}

// end ends a job, or with a state that is no end, the wait for it.
func (m *fakeMigrator) end(counter uint64, state JobState, text string) {
	j := &m.jobs[counter-1]
	j.State, j.Error = state, text
	if fn := m.waits[counter]; fn != nil {
		fn(*j)
	}
}

var errNoPeer = errors.New("no such message")

func (m *fakeMigrator) HandlePeer(from PeerInfo, payload []byte) ([]byte, store.Position, error) {
	if m.peer == nil {
		return nil, 0, errNoPeer
	}
	return m.peer(from, payload)
}

func (m *fakeMigrator) ParkLimit(s slot.Slot)     { m.limits = append(m.limits, s) }
func (m *fakeMigrator) Importing() []ImportStatus { return m.imports }

func (m *fakeMigrator) Busy() bool {
	for _, j := range m.jobs {
		if !j.State.Ended() {
			return true
		}
	}
	return len(m.imports) > 0
}

// nodesText writes a SETNODES text: "a 0-99" is node a, which lives on port 7000, with these slots.
func nodesText(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		letter, slots, _ := strings.Cut(l, " ")
		fmt.Fprintf(&b, "%s 127.0.0.1 %d master - %s\n", id(letter), 7000+int(letter[0]-'a'), slots)
	}
	return b.String()
}

// born opens nodes a, b, … and gives all of them their ids and one first map.
func (w *world) born(lines ...string) []*testNode {
	w.t.Helper()
	nodes := make([]*testNode, len(lines))
	for i, l := range lines {
		nodes[i] = w.addNode(nil)
		nodes[i].client().want("OK", "CLUSTERX", "SETNODEID", string(id(l[:1])))
	}
	for _, n := range nodes {
		n.client().want("OK", "CLUSTERX", "SETNODES", nodesText(lines...), "1")
	}
	for _, n := range nodes {
		n.calls = nil
	}
	return nodes
}

// named opens a node and gives it its id and nothing else.
func (w *world) named(letter string) *testNode {
	w.t.Helper()
	n := w.addNode(nil)
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id(letter)))
	return n
}

// keyIn finds a key whose slot is s.
func keyIn(s slot.Slot) string {
	for i := 0; ; i++ {
		if k := fmt.Sprintf("k%d", i); slot.OfKey([]byte(k)) == s {
			return k
		}
	}
}

func slotOf(key string) slot.Slot { return slot.OfKey([]byte(key)) }

// rawOf executes a command and returns the bytes of the reply.
func (c *testClient) rawOf(args ...string) string {
	c.send(args...)
	c.w.run()
	raw := string(c.got)
	c.got = nil
	return raw
}
