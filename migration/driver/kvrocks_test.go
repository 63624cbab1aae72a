package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/data"
	"godwit/engine/host"
	"godwit/engine/host/kvrockstest"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/migration"
)

// twoSystems is a node of a cluster that has all slots, and a Kvrocks beside it in the map, both on real sockets.
type twoSystems struct {
	t    *testing.T
	cfg  Config
	dir  string
	addr string // of the node
	logs logBuffer

	mu   sync.Mutex
	node *host.Server
	// disk is where the Kvrocks keeps its data, reference a server that is told what the cluster is told.
	disk, reference *host.Server
	kv              *kvrockstest.Server
}

// logBuffer collects what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

var kvrocksID = strings.Repeat("k", cluster.NodeIDLen)

// newTwoSystems starts both. The retries of the node are short, so that tests are.
func newTwoSystems(t *testing.T, judge func(conn, command string) kvrockstest.Fate) *twoSystems {
	t.Helper()
	w := &twoSystems{t: t, dir: filepath.Join(t.TempDir(), "node"), addr: "127.0.0.1:0"}
	w.cfg.Source = migration.Config{RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond, GiveUpAfter: 20 * time.Second}
	alone := func() *host.Server {
		s, err := host.Start(host.Config{Listen: "127.0.0.1:0", Dir: t.TempDir(), Sync: engine.SyncNever, CacheBytes: 8 << 20, SweepInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shutDown(t, s) })
		return s
	}
	w.disk, w.reference = alone(), alone()
	w.kv = kvrockstest.Start(t, kvrocksID, w.disk.Addr().String(), judge)
	w.start()
	t.Cleanup(func() { shutDown(t, w.source()) })
	w.want("OK", "CLUSTERX", "SETNODEID", string(id(0)))
	// The first map has no Kvrocks, which does not answer what a node asks that is new.
	w.want("OK", "CLUSTERX", "SETNODES", mapLine(string(id(0)), w.addr, "0-16383"), "1")
	w.until("the node serves", func() bool {
		serving := w.source().Node().Serving()
		return serving.Len() == slot.Count
	})
	w.setMap("0-16383", "", 2)
	return w
}

func shutDown(t *testing.T, s *host.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func (w *twoSystems) source() *host.Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node
}

// start starts the node, at the address that it had.
func (w *twoSystems) start() {
	w.t.Helper()
	newMigrator, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := host.Start(host.Config{
		Listen: w.addr, Dir: w.dir, Cluster: true, Sync: engine.SyncNever, CacheBytes: 8 << 20, NewMigrator: newMigrator, SweepInterval: -1, Version: "0.0.0-test",
		Log: slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.node, w.addr = s, s.Addr().String()
}

// restart ends the node's process, as far as one process can, and begins another.
func (w *twoSystems) restart() {
	w.t.Helper()
	shutDown(w.t, w.source())
	w.start()
}

// mapLine is a node in a map.
func mapLine(id, addr, slots string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("%s %s %s master - %s\n", id, host, port, slots)
}

// setMap gives both a map that says which slots are whose.
func (w *twoSystems) setMap(ours, theirs string, version int) {
	w.t.Helper()
	text := mapLine(string(id(0)), w.addr, ours) + mapLine(kvrocksID, w.kv.Addr(), theirs)
	w.kv.SetMap(text, int64(version))
	w.want("OK", "CLUSTERX", "SETNODES", text, fmt.Sprint(version))
}

// socket is a connection on which one command is said at a time.
type socket struct {
	nc  net.Conn
	buf []byte
}

// say says a command and waits for the answer.
func (s *socket) say(args ...string) (resp.Value, error) {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := s.nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return resp.Value{}, err
	}
	if _, err := s.nc.Write(b); err != nil {
		return resp.Value{}, err
	}
	piece := make([]byte, 64<<10)
	for {
		if v, rest, err := resp.ParseReply(s.buf); err == nil {
			s.buf = rest
			return v, nil
		}
		n, err := s.nc.Read(piece)
		s.buf = append(s.buf, piece[:n]...)
		if err != nil {
			return resp.Value{}, err
		}
	}
}

// ask says one command to a server.
func ask(addr string, args ...string) (resp.Value, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return resp.Value{}, err
	}
	defer nc.Close()
	return (&socket{nc: nc}).say(args...)
}

func (w *twoSystems) want(want string, args ...string) {
	w.t.Helper()
	if v, err := ask(w.addr, args...); err != nil || v.String() != want {
		w.t.Fatalf("%.100q: got %s, %v, want %s", args, v, err, want)
	}
}

// seek is a client of the cluster: it goes where it is sent, and begins anew when a connection ends before anything was said.
type seek struct {
	w     *twoSystems
	socks map[string]*socket
	at    string
}

func (w *twoSystems) client() *seek { return &seek{w: w, socks: map[string]*socket{}, at: w.addr} }

// do executes a command where its slot is, waiting while nobody serves it.
func (c *seek) do(args ...string) (resp.Value, error) {
	for end := time.Now().Add(30 * time.Second); ; {
		s := c.socks[c.at]
		if s == nil {
			nc, err := net.Dial("tcp", c.at)
			if err != nil {
				return resp.Value{}, err
			}
			s = &socket{nc: nc}
			c.socks[c.at] = s
		}
		v, err := s.say(args...)
		if err != nil {
			delete(c.socks, c.at)
			return v, err
		}
		f := strings.Fields(v.Str)
		if v.Kind != resp.ErrorKind || len(f) < 3 || f[0] != "MOVED" && f[0] != "TRYAGAIN" || time.Now().After(end) {
			return v, nil
		}
		if f[0] == "MOVED" {
			c.at = f[2]
		}
	}
}

// until waits for a condition.
func (w *twoSystems) until(what string, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(end) {
			w.t.Fatalf("not within 30 s: %s\n%+v\n%s", what, w.job(), w.logs.String())
		}
		<-time.After(2 * time.Millisecond)
	}
}

// job is the latest job of the node.
func (w *twoSystems) job() engine.JobReport {
	v, err := ask(w.addr, "GODWIT", "MIGRATION", "STATUS")
	var jobs []engine.JobReport
	if err != nil || json.Unmarshal([]byte(v.Str), &jobs) != nil || len(jobs) == 0 {
		return engine.JobReport{} // the node is being restarted
	}
	return jobs[len(jobs)-1]
}

func (w *twoSystems) ended() engine.JobReport {
	w.t.Helper()
	var j engine.JobReport
	w.until("the job ends", func() bool {
		j = w.job()
		return j.State.Ended()
	})
	return j
}

// kvSlot is the slot of the keys of these tests.
var kvSlot = slot.OfKey([]byte("{t}"))

// equal compares what the Kvrocks has with what the reference has.
func (w *twoSystems) equal() {
	w.t.Helper()
	got, err := data.ContentDigest(w.disk.Node().Store(), kvSlot)
	want, err2 := data.ContentDigest(w.reference.Node().Store(), kvSlot)
	if err != nil || err2 != nil {
		w.t.Fatal(err, err2)
	}
	if got != want {
		w.t.Errorf("the Kvrocks has %d items of the slot, the reference %d, or others:\n%q\n%q", got.Records, want.Records, w.kv.Keys(kvSlot), w.logs.String())
	}
}

// fill writes keys of all types, large ones among them if they are to be, to the node and to the reference.
func (w *twoSystems) fill(large bool) {
	w.t.Helper()
	long := "long"
	if large {
		long = strings.Repeat(long, 100_000)
	}
	var commands [][]string
	add := func(args ...string) { commands = append(commands, args) }
	add("SET", "{t}string", "v")
	add("SET", "{t}empty", "")
	add("SET", "{t}bytes", "\x00\r\n\xff")
	add("SET", "{t}expires", "v", "PXAT", "4102444800123")
	add("SET", "{t}three megabytes", strings.Repeat(long, 8))
	add("RPUSH", "{t}list", "a", "b", long, "a", "")
	add("ZADD", "{t}zset", "1.5", "a", "-inf", "b", "1e300", "c", "0.1", "d", "-0", "e")
	add("PEXPIREAT", "{t}zset", "4102444800123")
	add("SETBIT", "{t}bits", "1000", "1")
	parts := 1
	if large {
		parts = 4
	}
	for n := range parts {
		hash, set, list, zset := []string{"HSET", "{t}H"}, []string{"SADD", "{t}S"}, []string{"RPUSH", "{t}L"}, []string{"ZADD", "{t}Z"}
		for i := range 1000 {
			m := fmt.Sprint(n*1000 + i)
			hash, set, list = append(hash, "f"+m, "value of "+m), append(set, m), append(list, "element "+m)
			zset = append(zset, fmt.Sprint(float64(i)/3), m)
		}
		add(hash...)
		add(set...)
		add(list...)
		add(zset...)
	}
	for i := range 300 {
		add("SET", fmt.Sprintf("{t}k%d", i), strings.Repeat("x", i))
	}
	node, reference := w.client(), &seek{w: w, socks: map[string]*socket{}, at: w.reference.Addr().String()}
	for _, args := range commands {
		a, err := node.do(args...)
		b, err2 := reference.do(args...)
		if err != nil || err2 != nil || a.String() != b.String() {
			w.t.Fatalf("%.60q: %s, %v; %s, %v", args, a, err, b, err2)
		}
	}
}

// write writes to the cluster, and to the reference what the cluster has done, until it is told to stop. It must see no error.
func (w *twoSystems) write(seed uint64, stop <-chan struct{}) {
	cl, reference := w.client(), &seek{w: w, socks: map[string]*socket{}, at: w.reference.Addr().String()}
	draws := &world{rng: rand.New(rand.NewPCG(seed, 1))}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		args := draws.drawTyped(i)
		if args[0] == "PEXPIREAT" {
			args[2] = "4102444800" + fmt.Sprint(100+i%900)
		}
		a, err := cl.do(args...)
		b, err2 := reference.do(args...)
		if err != nil || err2 != nil || a.String() != b.String() {
			w.t.Errorf("%.60q: the cluster answers %s, %v; the reference %s, %v", args, a, err, b, err2)
			return
		}
	}
}

// during runs functions beside the test until the function that it returns is called, or the test ends.
func (w *twoSystems) during(fns ...func(stop chan struct{})) (end func()) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	for _, fn := range fns {
		done.Add(1)
		go func() {
			defer done.Done()
			fn(stop)
		}()
	}
	end = sync.OnceFunc(func() {
		close(stop)
		done.Wait()
	})
	w.t.Cleanup(end)
	return end
}

// migrate starts the move of the slot.
func (w *twoSystems) migrate() {
	w.t.Helper()
	w.want("OK", "CLUSTERX", "MIGRATE", fmt.Sprint(int(kvSlot)), kvrocksID)
}

// TestMoveToKvrocks moves a slot with keys of all types to a Kvrocks while it is written: each command is answered as by a server
// on which nothing moves, and the Kvrocks is left with the same content.
func TestMoveToKvrocks(t *testing.T) {
	w := newTwoSystems(t, nil)
	w.fill(true)
	stop := w.during(func(stop chan struct{}) { w.write(1, stop) })
	w.migrate()
	j := w.ended()
	if j.State != engine.JobSuccess || j.Payload != "command" || j.Verified != "before cutover only" {
		t.Errorf("the job ended as %+v", j)
	}
	stop()
	w.equal()
	if !w.kv.Serves(kvSlot) {
		t.Error("the Kvrocks does not serve the slot")
	}
	if r := w.source().Node().Record(kvSlot); r.State != cluster.Released || string(r.Peer) != kvrocksID || !r.DataGone {
		t.Errorf("the record is %+v", r)
	}
	moved := fmt.Sprintf("(error) MOVED %d %s", kvSlot, w.kv.Addr())
	w.want(moved, "GET", "{t}string")
	w.restart()
	w.want(moved, "GET", "{t}string")
	w.setMap(fmt.Sprintf("0-%d %d-16383", kvSlot-1, kvSlot+1), fmt.Sprint(int(kvSlot)), 3)
	w.want(moved, "GET", "{t}string")
	w.kv.Restart() // by its map it serves the slot now, which is on its disk
	if v, err := w.client().do("GET", "{t}string"); err != nil || v.Str != "v" {
		t.Errorf("after the map, and a restart of the Kvrocks: %s, %v", v, err)
	}
	t.Logf("%d records, %d bytes, pauses %v", j.Records, j.Bytes, j.PausesMs)
}

// fault is what happens to a command of the node on the link of its slot.
type fault struct {
	begins string // how the command begins
	nth    int    // of those, from 1
	fate   kvrockstest.Fate
}

// judge makes the fault happen once.
func (f *fault) judge() func(conn, command string) kvrockstest.Fate {
	seen := 0
	return func(conn, command string) kvrockstest.Fate {
		if conn != linkName(kvSlot) || !strings.HasPrefix(command, f.begins) {
			return kvrockstest.Answered
		}
		if seen++; seen != f.nth {
			return kvrockstest.Answered
		}
		return f.fate
	}
}

var fateNames = map[kvrockstest.Fate]string{kvrockstest.CutOff: "cut off", kvrockstest.Lost: "answer lost", kvrockstest.Dies: "killed before", kvrockstest.DiesLater: "killed after"}

// oneOwner watches, until it is told to stop, that the node does not serve a slot that the Kvrocks serves.
func (w *twoSystems) oneOwner(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		theirs := w.kv.Serves(kvSlot) // first: the slot does not come back
		if theirs && w.source().Node().Record(kvSlot).State == cluster.Serving {
			w.t.Error("both serve the slot")
			return
		}
		<-time.After(100 * time.Microsecond)
	}
}

// TestKvrocksFaults breaks the link, or kills the Kvrocks, at each command by which a slot moves, while it is written: the move goes on by itself and
// ends, nothing is lost, and nobody serves the slot beside another.
func TestKvrocksFaults(t *testing.T) {
	importing := fmt.Sprintf("cluster import %d ", kvSlot)
	const cut, lost, dies, diesLater = kvrockstest.CutOff, kvrockstest.Lost, kvrockstest.Dies, kvrockstest.DiesLater
	for _, at := range []struct {
		fault
		fates []kvrockstest.Fate
	}{
		{fault{begins: "client setname", nth: 1}, []kvrockstest.Fate{dies}},
		{fault{begins: "cluster info", nth: 1}, []kvrockstest.Fate{lost}},
		{fault{begins: importing + "0", nth: 1}, []kvrockstest.Fate{lost, diesLater}},
		{fault{begins: "set ", nth: 1}, []kvrockstest.Fate{lost}},
		{fault{begins: "set ", nth: 100}, []kvrockstest.Fate{cut, dies}},
		{fault{begins: "zmscore ", nth: 1}, []kvrockstest.Fate{lost}},
		{fault{begins: "get ", nth: 250}, []kvrockstest.Fate{diesLater}},
		{fault{begins: "cluster info", nth: 2}, []kvrockstest.Fate{cut, diesLater}},
		{fault{begins: importing + "1", nth: 1}, []kvrockstest.Fate{cut, lost}}, // and TestKvrocksForgets
	} {
		for _, fate := range at.fates {
			f := fault{at.begins, at.nth, fate}
			t.Run(fmt.Sprintf("%s %d %s", f.begins, f.nth, fateNames[fate]), func(t *testing.T) {
				w := newTwoSystems(t, f.judge())
				w.fill(false)
				stop := w.during(func(stop chan struct{}) { w.write(uint64(f.nth), stop) }, func(stop chan struct{}) { w.oneOwner(stop) })
				w.migrate()
				j := w.ended()
				stop()
				if j.State != engine.JobSuccess || !w.kv.Serves(kvSlot) {
					t.Errorf("the job ended as %+v", j)
				}
				w.equal()
				if n := w.kv.Links("godwit-"); n > 0 {
					t.Errorf("%d links are left", n)
				}
			})
		}
	}
}
