package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/host"
	"godwit/engine/key"
	"godwit/engine/slot"
)

// killKeys is how many keys lie in the slot whose move is interrupted: GODWIT_KILL_KEYS or a default.
func killKeys(t *testing.T) int {
	t.Helper()
	text := os.Getenv("GODWIT_KILL_KEYS")
	switch {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("GODWIT_KILL_KEYS is %q: want a number of keys", text)
		}
		return n
	case testing.Short():
		return 20_000
	}
	return 100_000
}

// killCluster is a cluster of three processes with one slot that holds many keys and is written to all the time.
type killCluster struct {
	t       *testing.T
	dirs    []string
	addrs   []string     // at which others reach the nodes
	listen  []string     // where the nodes listen, kept over restarts
	proxies []*peerProxy // by node, if connections can be cut
	env     [][]string   // by node, if there is something to tell it

	nodes []*process
	ids   []string
	tag   string
	slot  slot.Slot
	keys  int
	owner int // index of the node that serves the slot
	write *writers
}

func newKillCluster(t *testing.T, keys int) *killCluster {
	return &killCluster{t: t, keys: keys, tag: "{kill}", slot: slot.OfKey([]byte("{kill}"))}
}

// startKillCluster makes the cluster and loads the keys.
func startKillCluster(t *testing.T, keys int) *killCluster {
	t.Helper()
	k := newKillCluster(t, keys)
	k.start()
	return k
}

// serve starts a node.
func (k *killCluster) serve(node int, listen string) *process {
	k.t.Helper()
	args := []string{"--cluster", "--dir", k.dirs[node], "--listen", listen}
	if k.proxies != nil {
		args = append(args, "--announce", k.proxies[node].addr)
	}
	var env []string
	if k.env != nil {
		env = k.env[node]
	}
	return startServerWith(k.t, env, args...)
}

// start starts three nodes, makes them a cluster and loads the keys.
func (k *killCluster) start() {
	t := k.t
	t.Helper()
	for i := range 3 {
		k.dirs = append(k.dirs, filepath.Join(t.TempDir(), strconv.Itoa(i)))
		p := k.serve(i, "127.0.0.1:0")
		k.nodes, k.listen = append(k.nodes, p), append(k.listen, p.addr)
		k.addrs = append(k.addrs, p.addr)
		if k.proxies != nil {
			k.proxies[i].lead(p.addr)
			k.addrs[i] = k.proxies[i].addr
		}
	}
	m, err := createCluster(context.Background(), k.addrs, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Nodes {
		k.ids = append(k.ids, string(m.Nodes[i].ID))
		if m.Nodes[i].Slots.Has(k.slot) {
			k.owner = i
		}
	}
	began := time.Now()
	c := k.dial(k.owner)
	defer c.close()
	k.batches(c, func(names []string) []string {
		args := make([]string, 0, 2*len(names)+1)
		args = append(args, "MSET")
		for _, n := range names {
			args = append(args, n, k.value(n))
		}
		return args
	}, func(_ []string, r reply) {
		if r.Text != "OK" {
			t.Fatalf("MSET: %+v", r)
		}
	})
	t.Logf("%d keys loaded in %v", k.keys, time.Since(began).Round(time.Millisecond))
}

func (k *killCluster) dial(node int) *conn {
	k.t.Helper()
	c, err := dial(k.addrs[node], "")
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// value is what the loaded key of that name holds.
func (k *killCluster) value(name string) string { return name + strings.Repeat(".", 64-len(name)) }

// batches runs a command for every thousand of the loaded keys, eight on their way at once.
func (k *killCluster) batches(c *conn, command func(names []string) []string, answered func(names []string, r reply)) {
	k.t.Helper()
	var sent [][]string
	receive := func() {
		r, err := c.receive()
		if err != nil {
			k.t.Fatal(err)
		}
		answered(sent[0], r)
		sent = sent[1:]
	}
	if err := c.nc.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		k.t.Fatal(err)
	}
	for at := 0; at < k.keys; at += 1000 {
		var names []string
		for i := at; i < min(at+1000, k.keys); i++ {
			names = append(names, fmt.Sprintf("%s:loaded:%d", k.tag, i))
		}
		c.send(command(names)...)
		if err := c.w.Flush(); err != nil {
			k.t.Fatal(err)
		}
		if sent = append(sent, names); len(sent) == 8 {
			receive()
		}
	}
	for len(sent) > 0 {
		receive()
	}
}

// kill ends nodes as a power failure would, as far as a process can: without a word.
func (k *killCluster) kill(nodes ...int) {
	k.t.Helper()
	for _, n := range nodes {
		if err := k.nodes[n].cmd.Process.Signal(syscall.SIGKILL); err != nil {
			k.t.Fatal(err)
		}
	}
	for _, n := range nodes {
		if err := <-k.nodes[n].over; err == nil {
			k.t.Errorf("node %d had ended by itself:\n%s", n, k.nodes[n].output())
		}
	}
}

// restart starts killed nodes where they were.
func (k *killCluster) restart(nodes ...int) {
	k.t.Helper()
	for _, n := range nodes {
		k.nodes[n] = k.serve(n, k.listen[n])
	}
}

// move starts the move of the slot to a node and returns the job.
func (k *killCluster) move(to int) uint64 {
	k.t.Helper()
	c := k.dial(k.owner)
	defer c.close()
	text, err := c.text("GODWIT", "MIGRATION", "START", strconv.Itoa(int(k.slot)), k.ids[to])
	if err != nil {
		k.t.Fatal(err)
	}
	counter, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		k.t.Fatal(err)
	}
	return counter
}

// await polls the job at its source until it is as wanted.
func (k *killCluster) await(source int, counter uint64, what string, pass func(engine.JobReport) bool) engine.JobReport {
	k.t.Helper()
	c := k.dial(source)
	defer c.close()
	var j engine.JobReport
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(time.Millisecond) {
		if err := c.json(&j, "GODWIT", "MIGRATION", "STATUS", strconv.FormatUint(counter, 10)); err != nil {
			k.t.Fatal(err)
		}
		if pass(j) {
			return j
		}
	}
	for i, n := range k.nodes {
		k.t.Logf("log of node %d:\n%s", i, n.output())
	}
	k.t.Fatalf("the job is not %s: %+v", what, j)
	return j
}

// finish waits for the end of a job that must have moved the slot, and checks who owns it now.
func (k *killCluster) finish(source, to int, counter uint64) engine.JobReport {
	k.t.Helper()
	j := k.await(source, counter, "over", func(j engine.JobReport) bool { return j.Ended })
	if j.State != engine.JobSuccess || j.MovedSlots != 1 || j.Differ != 0 {
		k.t.Fatalf("the job has not moved the slot: %+v", j)
	}
	k.owner = to
	k.checkOwner()
	return j
}

// checkOwner requires that one node says that it serves the slot, the one that should.
func (k *killCluster) checkOwner() {
	k.t.Helper()
	for i := range k.nodes {
		c := k.dial(i)
		var owners []engine.OwnerReport
		if err := c.json(&owners, "GODWIT", "OWNERS", strconv.Itoa(int(k.slot))); err != nil {
			k.t.Fatal(err)
		}
		if serves := owners[0].State == "serving"; len(owners) != 1 || serves != (i == k.owner) {
			k.t.Errorf("node %d says of the slot that node %d serves: %+v", i, k.owner, owners)
		}
		r, err := c.do(callTime, "CLUSTER", "COUNTKEYSINSLOT", strconv.Itoa(int(k.slot)))
		if err != nil {
			k.t.Fatal(err)
		}
		if i == k.owner && r.Int < int64(k.keys) || i != k.owner && r.Int != 0 {
			k.t.Errorf("node %d counts %d keys in the slot that node %d serves", i, r.Int, k.owner)
		}
		c.close()
	}
}

// checkLoaded requires that every loaded key is there.
func (k *killCluster) checkLoaded() {
	k.t.Helper()
	c := k.dial(k.owner)
	defer c.close()
	wrong := 0
	k.batches(c, func(names []string) []string { return append([]string{"MGET"}, names...) }, func(names []string, r reply) {
		if len(r.Items) != len(names) {
			k.t.Fatalf("MGET of %d keys: %+v", len(names), r)
		}
		for i, item := range r.Items {
			if item.Text != k.value(names[i]) {
				if wrong++; wrong < 5 {
					k.t.Errorf("%s holds %q", names[i], item.Text)
				}
			}
		}
	})
	if wrong > 0 {
		k.t.Errorf("%d of %d loaded keys are lost", wrong, k.keys)
	}
}

// end stops the nodes and requires that those that do not serve the slot have kept nothing of it.
func (k *killCluster) end() {
	k.t.Helper()
	for _, n := range k.nodes {
		n.signal(syscall.SIGTERM)
	}
	for i, dir := range k.dirs {
		if strings.Contains(k.nodes[i].output(), "level=ERROR") {
			k.t.Errorf("node %d has logged an error:\n%s", i, k.nodes[i].output())
		}
		if i == k.owner {
			continue
		}
		srv, err := host.Start(host.Config{Listen: "127.0.0.1:0", Dir: dir})
		if err != nil {
			k.t.Fatal(err)
		}
		it, err := srv.Node().Store().NewIter(key.SlotSpan(k.slot))
		if err != nil {
			k.t.Fatal(err)
		}
		if it.First() {
			k.t.Errorf("node %d has kept %q of the slot that node %d serves", i, it.Key(), k.owner)
		}
		if err := errors.Join(it.Close(), srv.Shutdown(context.Background())); err != nil {
			k.t.Error(err)
		}
	}
}

// writers write to the slot. Every key has one writer, which numbers what it does to it: what the key holds at the end tells
// how far it came, and that may not be less than what was acknowledged.
type writers struct {
	k    *killCluster
	over chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	written  []*writtenKey
	problems []string
	acked    int
	unknown  int
	refused  map[string]int // error replies that say that nothing was done, by their first word
}

// writtenKey is a key and what its writer knows of it. The operations are numbered from 1; each tenth deletes.
type writtenKey struct {
	name  string
	acked int // the last operation that was acknowledged
	tried int // the last operation that was sent
}

func deletes(op int) bool { return op%10 == 0 }

// check says what is wrong with what the key holds.
func (w *writtenKey) check(r reply) error {
	if r.Null {
		for op := w.acked; op <= w.tried; op++ {
			if deletes(op) { // none counts as the deletion before the first
				return nil
			}
		}
		return fmt.Errorf("%s is gone: operation %d of %d was acknowledged", w.name, w.acked, w.tried)
	}
	op, err := strconv.Atoi(r.Text)
	if err != nil || deletes(op) || op < w.acked || op > w.tried {
		return fmt.Errorf("%s holds %q: operation %d of %d was acknowledged", w.name, r.Text, w.acked, w.tried)
	}
	return nil
}

// startWriters begins to write with that many clients.
func (k *killCluster) startWriters(clients int) {
	k.write = &writers{k: k, over: make(chan struct{}), refused: map[string]int{}}
	for id := range clients {
		k.write.wg.Go(func() { k.write.run(id) })
	}
}

// keysPerWriter is among how many keys a writer chooses.
const keysPerWriter = 50

func (w *writers) run(id int) {
	addrs := w.k.addrs
	r := rand.New(rand.NewPCG(uint64(id), 1))
	s := newSeeker(addrs[id%len(addrs)])
	defer s.close()
	generation := 0
	fresh := func() *writtenKey {
		generation++
		key := &writtenKey{name: fmt.Sprintf("%s:written:%d:%d", w.k.tag, id, generation)}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.written = append(w.written, key)
		return key
	}
	keys := make([]*writtenKey, keysPerWriter)
	for i := range keys {
		keys[i] = fresh()
	}
	for {
		if w.isOver() {
			return
		}
		i := r.IntN(len(keys))
		known, err := w.one(s, keys[i], r.IntN(4) == 0)
		switch {
		case err != nil:
			w.mu.Lock()
			w.problems = append(w.problems, err.Error())
			w.mu.Unlock()
			return
		case !known:
			// What was sent may still happen, after whatever would be sent next.
			keys[i] = fresh()
			s.where = map[slot.Slot]string{}
			s.entry = addrs[r.IntN(len(addrs))]
		}
	}
}

// one writes or reads a key. known is false when the outcome is not.
func (w *writers) one(s *seeker, key *writtenKey, read bool) (known bool, err error) {
	args := []string{"GET", key.name}
	if !read {
		key.tried++
		args = []string{"SET", key.name, strconv.Itoa(key.tried)}
		if deletes(key.tried) {
			args = []string{"DEL", key.name}
		}
	}
	for began := time.Now(); time.Since(began) < time.Minute; {
		if _, err := s.to(s.at(w.k.slot)); err != nil {
			// The node is dead and nothing has been sent. Others may know of another owner.
			s.where = map[slot.Slot]string{}
			time.Sleep(10 * time.Millisecond)
			if s.entry = w.other(s.entry); w.isOver() {
				return false, nil
			}
			continue
		}
		r, moved, err := s.once(w.k.slot, args...)
		var refused errReply
		switch {
		case moved:
			time.Sleep(time.Millisecond) // the node that it names may be dead, or not know yet
			continue
		case errors.As(err, &refused):
			word, _, _ := strings.Cut(r.Text, " ")
			w.mu.Lock()
			w.refused[word]++
			w.mu.Unlock()
			if word == "TRYAGAIN" || word == "CLUSTERDOWN" {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return false, fmt.Errorf("%q: %w", args, err)
		case err != nil:
			w.mu.Lock()
			w.unknown++
			w.mu.Unlock()
			return false, nil
		case read:
			return true, key.check(r)
		}
		key.acked = key.tried
		w.mu.Lock()
		w.acked++
		w.mu.Unlock()
		return true, nil
	}
	return false, fmt.Errorf("%q was not answered for a minute", args)
}

// lost is how many commands had an outcome that their client does not know.
func (w *writers) lost() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unknown
}

func (w *writers) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// other is another node than that one, for a client that knows all.
func (w *writers) other(addr string) string {
	for i, a := range w.k.addrs {
		if a == addr {
			return w.k.addrs[(i+1)%len(w.k.addrs)]
		}
	}
	return w.k.addrs[0]
}

// stop ends the writing and requires that no acknowledged write is lost.
func (w *writers) stop() {
	t := w.k.t
	t.Helper()
	close(w.over)
	w.wg.Wait()
	for _, p := range w.problems {
		t.Error(p)
	}
	s := newSeeker(w.k.addrs[w.k.owner])
	defer s.close()
	for _, key := range w.written {
		r, err := s.do("GET", key.name)
		if err == nil {
			err = key.check(r)
		}
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d writes acknowledged, %d unknown, refused %v", w.acked, w.unknown, w.refused)
}

// TestKill kills the source, the target and both, each in the middle of a move of a large slot that is being written to: the
// job must go on and move the slot, with every acknowledged write, to one owner, and leave nothing behind.
func TestKill(t *testing.T) {
	k := startKillCluster(t, killKeys(t))
	k.startWriters(8)
	for _, c := range []struct {
		name string
		kill func(source, target int) []int
	}{
		{"source", func(source, _ int) []int { return []int{source} }},
		{"target", func(_, target int) []int { return []int{target} }},
		{"both", func(source, target int) []int { return []int{source, target} }},
	} {
		source, target := k.owner, (k.owner+1)%3
		began := time.Now()
		job := k.move(target)
		seen := k.await(source, job, "in the middle", func(j engine.JobReport) bool {
			return j.Records > uint64(k.keys)*4/10 || j.Ended
		})
		victims := c.kill(source, target)
		k.kill(victims...)
		if seen.MovedSlots > 0 {
			t.Errorf("%s: the slot had moved before the kill: load more keys", c.name)
		}
		died := time.Now()
		time.Sleep(200 * time.Millisecond) // so that the others notice
		k.restart(victims...)
		j := k.finish(source, target, job)
		t.Logf("%s: killed after %v at %d of %d records (%s); over %v after the kill: %d more sent, pauses %v ms, verified: %s",
			c.name, died.Sub(began).Round(time.Millisecond), seen.Records, k.keys, seen.Step,
			time.Since(died).Round(time.Millisecond), int64(j.Records)-int64(seen.Records), j.PausesMs, j.Verified)
		k.checkLoaded()
	}
	k.write.stop()
	k.end()
}

// TestKillAtAnyMoment kills at random moments of moves that are so short that many fall on the handover.
func TestKillAtAnyMoment(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	k := startKillCluster(t, 2000)
	k.startWriters(4)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	usual := 100 * time.Millisecond // how long a move takes, by those seen
	for round := range rounds {
		source, target := k.owner, (k.owner+1+r.IntN(2))%3
		victims := [][]int{{source}, {target}, {source, target}}[round%3]
		began := time.Now()
		job := k.move(target)
		delay := time.Duration(r.Int64N(int64(usual * 3 / 2)))
		time.Sleep(delay)
		k.kill(victims...)
		k.restart(victims...)
		j := k.finish(source, target, job)
		t.Logf("nodes %v of %d → %d killed after %v; over after %v, %s", victims, source, target, delay.Round(time.Millisecond),
			time.Since(began).Round(time.Millisecond), j.Verified)
		k.checkLoaded()
		source, target = k.owner, (k.owner+1)%3
		began = time.Now()
		k.finish(source, target, k.move(target))
		usual = (usual + time.Since(began)) / 2
	}
	k.write.stop()
	k.end()
}
