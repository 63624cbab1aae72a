package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/host"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/linearize"
	"godwit/migration/driver"
)

// stress is a cluster of three nodes in this process, on real sockets and disks, whose slots move to and fro while clients
// write to them. What the single-threaded simulator cannot see, lock order and lock scope, shows here: to the race
// detector, or in what the clients are told.
type stress struct {
	clients  int
	slots    int
	keys     int // of each kind, in each slot
	movers   int // each has its share of the slots and always moves some
	ballast  int // records in every other slot, so that some moves take long
	duration time.Duration

	nodes   []*host.Server
	ids     []cluster.NodeID
	tags    []string
	targets []slot.Slot
	where   []atomic.Int32 // by slot: the node that owns it, changed by its mover
	log     errorLog

	rec   *linearize.Recorder
	since time.Time
	over  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
	made  atomic.Int64 // operations, which name the generations of keys

	mu        sync.Mutex
	problems  []string
	moves     int
	redirects int
	longest   time.Duration
}

// keyLife is how many operations draw the same key before its successor's turn comes: it bounds what one key's history
// costs to judge.
const keyLife = 4000

// problem notes something that must not happen, and ends the run.
func (s *stress) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.problems) < 10 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
	s.stop()
}

func (s *stress) stop() { s.once.Do(func() { close(s.over) }) }

func (s *stress) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// run does it all and returns the verdict on the history; problems has what else was wrong.
func (s *stress) run(t *testing.T, seed uint64) linearize.Verdict {
	t.Helper()
	s.start(t)
	s.since = time.Now()
	s.rec = linearize.NewRecorder(s.since.UnixMilli())
	s.over = make(chan struct{})
	timer := time.AfterFunc(s.duration, s.stop)
	defer timer.Stop()
	for i := range s.clients {
		s.wg.Go(func() { s.client(i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i := range s.movers {
		s.wg.Go(func() { s.mover(i, rand.New(rand.NewPCG(seed, uint64(1000+i)))) })
	}
	s.wg.Go(func() { s.onlooker(rand.New(rand.NewPCG(seed, 2000))) })
	for i := range 2 {
		s.wg.Go(func() { s.pairs(i, rand.New(rand.NewPCG(seed, uint64(3000+i)))) })
	}
	s.wg.Wait()
	s.readAll()
	s.checkOwners()
	s.shutdown(t)
	v, err := linearize.Check(s.rec.History(), linearize.Options{ClockError: 5 * time.Millisecond, Steps: 50_000_000})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// start makes the cluster.
func (s *stress) start(t *testing.T) {
	t.Helper()
	addrs := make([]string, 3)
	for i := range addrs {
		migrator, err := driver.New(driver.Config{})
		if err != nil {
			t.Fatal(err)
		}
		srv, err := host.Start(host.Config{
			Listen: "127.0.0.1:0", Dir: t.TempDir(), CacheBytes: 8 << 20, MemTableBytes: 4 << 20, Cluster: true,
			NewMigrator: migrator, Log: slog.New(&s.log), Fatal: func(err error) { panic(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		s.nodes = append(s.nodes, srv)
		addrs[i] = srv.Addr().String()
	}
	m, err := createCluster(context.Background(), addrs, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Nodes {
		s.ids = append(s.ids, m.Nodes[i].ID)
	}
	s.where = make([]atomic.Int32, s.slots)
	taken := map[slot.Slot]bool{}
	for i := range s.slots {
		tag, sl := tagOf(func(sl slot.Slot) bool {
			// Slots in pairs share a lock, which 1,024 divides.
			return !taken[sl] && (i%2 == 0 || sl%1024 == s.targets[i-1]%1024)
		})
		taken[sl] = true
		s.tags, s.targets = append(s.tags, tag), append(s.targets, sl)
		for n := range m.Nodes {
			if m.Nodes[n].Slots.Has(sl) {
				s.where[i].Store(int32(n))
			}
		}
		if i%2 == 1 {
			s.load(t, i)
		}
	}
}

// load puts records into a slot that nobody changes.
func (s *stress) load(t *testing.T, i int) {
	t.Helper()
	c := newSeeker(s.addr(0))
	defer c.close()
	value := strings.Repeat("v", 128)
	for n := 0; n < s.ballast; n += 500 {
		args := []string{"MSET"}
		for k := n; k < min(n+500, s.ballast); k++ {
			args = append(args, fmt.Sprintf("%s:ballast:%d", s.tags[i], k), value)
		}
		if _, err := c.do(args...); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stress) addr(node int) string { return s.nodes[node].Addr().String() }

// client draws commands until the run is over.
func (s *stress) client(id int, r *rand.Rand) {
	c := newSeeker(s.addr(r.IntN(len(s.nodes))))
	defer c.close()
	for !s.isOver() {
		args := s.draw(id, r)
		rep, err := c.record(s.rec, s.since, id, args...)
		if err != nil && !strings.HasPrefix(rep.Text, "ERR value is not an integer") {
			s.problem("client %d, %q: %v", id, args, err)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redirects += c.redirects
	s.longest = max(s.longest, c.longest)
}

// The kinds of keys: each has commands of its own, so that every wrong answer can be told from the right ones.
var keyKinds = []string{"list", "count", "register", "mortal"}

// draw draws a command.
func (s *stress) draw(id int, r *rand.Rand) []string {
	n := s.made.Add(1)
	kind := r.IntN(len(keyKinds))
	k := fmt.Sprintf("%s:%s:%d:%d", s.tags[r.IntN(s.slots)], keyKinds[kind], r.IntN(s.keys), n/(keyLife*int64(s.slots*s.keys)))
	unique := fmt.Sprintf("%d.%d;", id, n)
	ttl := fmt.Sprint(5 + r.IntN(200))
	pick := func(commands ...[]string) []string { return commands[r.IntN(len(commands))] }
	switch keyKinds[kind] {
	case "list":
		return pick([]string{"APPEND", k, unique}, []string{"APPEND", k, unique}, []string{"APPEND", k, unique}, []string{"GET", k},
			[]string{"GET", k}, []string{"STRLEN", k}, []string{"GETDEL", k})
	case "count":
		return pick([]string{"INCR", k}, []string{"INCRBY", k, "7"}, []string{"DECR", k}, []string{"GET", k}, []string{"GET", k},
			[]string{"INCR", k}, []string{"DEL", k})
	case "register":
		return pick([]string{"SET", k, unique}, []string{"SET", k, unique, "GET"}, []string{"SET", k, unique, "XX"}, []string{"SETNX", k, unique},
			[]string{"GET", k}, []string{"GET", k}, []string{"EXISTS", k})
	default:
		return pick([]string{"SET", k, unique, "PX", ttl}, []string{"SET", k, unique, "KEEPTTL"}, []string{"PEXPIRE", k, ttl}, []string{"PERSIST", k},
			[]string{"GET", k}, []string{"GET", k}, []string{"EXISTS", k})
	}
}

// mover moves its slots between the nodes until the run is over: one of them, or all that are where the first is.
func (s *stress) mover(id int, r *rand.Rand) {
	var mine []int
	for i := id; i < s.slots; i += s.movers {
		mine = append(mine, i)
	}
	conns := newSeeker("")
	defer conns.close()
	for !s.isOver() {
		first := mine[r.IntN(len(mine))]
		from := int(s.where[first].Load())
		to := (from + 1 + r.IntN(len(s.nodes)-1)) % len(s.nodes)
		job := []int{first}
		if r.IntN(2) == 0 {
			for _, i := range mine {
				if i != first && int(s.where[i].Load()) == from {
					job = append(job, i)
				}
			}
		}
		ranges := make([]string, len(job))
		for n, i := range job {
			ranges[n] = fmt.Sprint(int(s.targets[i]))
		}
		c, err := conns.to(s.addr(from))
		if err != nil {
			s.problem("mover %d: %v", id, err)
			return
		}
		args := []string{"CLUSTERX", "MIGRATE", strings.Join(ranges, " "), string(s.ids[to]), "SYNC"}
		if rep, err := c.do(2*patience, args...); err != nil || rep.Text != "OK" {
			s.problem("mover %d, from node %d: %q: %v, %+v", id, from, args, err, rep)
			return
		}
		for _, i := range job {
			s.where[i].Store(int32(to))
		}
		s.mu.Lock()
		s.moves += len(job)
		s.mu.Unlock()
	}
}

// pairs writes two keys of a slot at once and reads them so: they are never seen to differ.
func (s *stress) pairs(id int, r *rand.Rand) {
	c := newSeeker(s.addr(r.IntN(len(s.nodes))))
	defer c.close()
	for n := 0; !s.isOver(); n++ {
		tag := s.tags[r.IntN(s.slots)]
		one, other := tag+":pair:1", tag+":pair:2"
		if n%2 == 0 {
			value := fmt.Sprintf("%d.%d", id, n)
			if _, err := c.do("MSET", one, value, other, value); err != nil {
				s.problem("MSET: %v", err)
			}
			continue
		}
		rep, err := c.do("MGET", one, other)
		if err != nil || len(rep.Items) != 2 || rep.Items[0].Text != rep.Items[1].Text {
			s.problem("MGET of what is written together: %+v, %v", rep, err)
		}
	}
}

// onlooker asks every node for what concerns the whole of it, for the locks that this takes.
func (s *stress) onlooker(r *rand.Rand) {
	c := newSeeker("")
	defer c.close()
	commands := [][]string{
		{"DBSIZE"}, {"SCAN", "0", "COUNT", "100"}, {"KEYS", "*:pair:*"}, {"RANDOMKEY"}, {"INFO"}, {"CLIENT", "LIST"}, {"CLUSTER", "INFO"},
		{"CLUSTER", "NODES"}, {"CLUSTER", "SLOTS"}, {"CLUSTER", "SHARDS"}, {"GODWIT", "STATUS"}, {"GODWIT", "MIGRATION", "STATUS"},
		{"CLUSTER", "GETKEYSINSLOT", fmt.Sprint(int(s.targets[0])), "10"}, {"CLUSTER", "COUNTKEYSINSLOT", fmt.Sprint(int(s.targets[0]))},
		{"CONFIG", "GET", "*"}, {"COMMAND", "COUNT"},
	}
	for !s.isOver() {
		args := commands[r.IntN(len(commands))]
		conn, err := c.to(s.addr(r.IntN(len(s.nodes))))
		if err == nil {
			_, err = conn.do(patience, args...)
		}
		if err != nil {
			s.problem("onlooker, %q: %v", args, err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// readAll reads what all keys have come to, as one more client.
func (s *stress) readAll() {
	c := newSeeker(s.addr(0))
	defer c.close()
	seen := map[string]bool{}
	for _, op := range s.rec.History().Operations {
		if seen[op.Key] {
			continue
		}
		seen[op.Key] = true
		if _, err := c.record(s.rec, s.since, s.clients, "GET", op.Key); err != nil {
			s.problem("reading %q at the end: %v", op.Key, err)
		}
	}
}

// checkOwners checks what the nodes say of themselves now that no move is under way.
func (s *stress) checkOwners() {
	for i, sl := range s.targets {
		for n, srv := range s.nodes {
			r := srv.Node().Record(sl)
			if owner := n == int(s.where[i].Load()); owner != (r.State == cluster.Serving) {
				s.problem("slot %d: the record of node %d is %s, and owner is %v", sl, n, r.State, owner)
			} else if owner {
				continue
			}
			it, err := srv.Node().Store().NewIter(key.SlotSpan(sl))
			if err != nil {
				s.problem("%v", err)
				continue
			}
			if it.First() {
				s.problem("slot %d: node %d has kept %q", sl, n, it.Key())
			}
			if err := it.Close(); err != nil {
				s.problem("%v", err)
			}
		}
	}
	for n, srv := range s.nodes {
		report := srv.Node().Report()
		for _, a := range report.Alarms {
			s.problem("node %d: ALARM: %s", n, a)
		}
		for _, j := range report.Jobs {
			if j.State != engine.JobSuccess || j.Differ > 0 {
				s.problem("node %d: job %+v", n, j)
			}
		}
	}
}

func (s *stress) shutdown(t *testing.T) {
	t.Helper()
	for _, srv := range s.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	for _, line := range s.log.all() {
		s.problem("logged: %s", line)
	}
}

// report fails the test for every problem.
func (s *stress) report(t *testing.T, v linearize.Verdict) {
	t.Helper()
	for _, p := range s.problems {
		t.Error(p)
	}
	if !v.OK() {
		t.Error(v)
	}
	t.Logf("%d operations, %d redirects, %d slots moved, longest %v", s.rec.Len(), s.redirects, s.moves, s.longest.Round(time.Millisecond))
}

// errorLog keeps what is logged as an error.
type errorLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *errorLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (l *errorLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *errorLog) WithGroup(string) slog.Handler                    { return l }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s", a)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, b.String())
	return nil
}

func (l *errorLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

// TestStress moves slots in all directions under load and wants no error, no lost write and no move that fails.
func TestStress(t *testing.T) {
	duration := 10 * time.Second
	if testing.Short() {
		duration = 2 * time.Second
	}
	s := &stress{clients: 24, slots: 8, keys: 3, movers: 4, ballast: 3000, duration: duration}
	v := s.run(t, uint64(time.Now().UnixNano()))
	s.report(t, v)
	if s.moves < 8 || v.Operations < 1000 {
		t.Errorf("%d slots moved, %d operations: too few to show anything", s.moves, v.Operations)
	}
}

// TestStressParked lets the pauses of many tiny slots follow each other as fast as they can, so that most commands meet one.
func TestStressParked(t *testing.T) {
	duration := 5 * time.Second
	if testing.Short() {
		duration = time.Second
	}
	s := &stress{clients: 32, slots: 2, keys: 4, movers: 2, duration: duration}
	v := s.run(t, uint64(time.Now().UnixNano()))
	s.report(t, v)
	if s.moves < 4 || v.Operations < 1000 {
		t.Errorf("%d slots moved, %d operations: too few to show anything", s.moves, v.Operations)
	}
}
