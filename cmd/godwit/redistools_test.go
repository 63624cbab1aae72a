package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// reshardSlots is how many slots redis-cli moves: GODWIT_RESHARD_SLOTS, or few.
func reshardSlots(t *testing.T) int {
	text := os.Getenv("GODWIT_RESHARD_SLOTS")
	if text == "" {
		return 60
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 5000 {
		t.Fatalf("GODWIT_RESHARD_SLOTS is %q: want a number of slots, 1 to 5000", text)
	}
	return n
}

// clusterTool is redis-cli --cluster against the nodes of a test.
type clusterTool struct {
	t     *testing.T
	cli   string
	dirs  []string
	nodes []*process
}

func newClusterTool(t *testing.T) *clusterTool {
	c := &clusterTool{t: t, cli: redisTool(t, "redis-cli")}
	for i := range 3 {
		c.dirs = append(c.dirs, t.TempDir())
		c.nodes = append(c.nodes, c.start(i, "127.0.0.1:0"))
	}
	mustRun(t, "cluster", "create", "--nodes", addrsOf(c.nodes))
	return c
}

func (c *clusterTool) start(node int, listen string) *process {
	c.t.Helper()
	return startServer(c.t, "--cluster", "--dir", c.dirs[node], "--peer-secret", "of the tests", "--listen", listen)
}

// restart ends all nodes in an orderly way and starts them again.
func (c *clusterTool) restart() {
	c.t.Helper()
	for _, n := range c.nodes {
		n.signal(syscall.SIGTERM)
	}
	for i, n := range c.nodes {
		c.nodes[i] = c.start(i, n.addr)
	}
}

// do runs a subcommand of redis-cli --cluster to its end.
func (c *clusterTool) do(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.cli, append([]string{"--cluster"}, args...)...).CombinedOutput()
	return string(out), err
}

// must is do for what has to succeed, with nothing that redis-cli shows as an error.
func (c *clusterTool) must(args ...string) string {
	c.t.Helper()
	out, err := c.do(args...)
	if err != nil || strings.Contains(out, "[ERR]") || strings.Contains(out, "***") || strings.Contains(out, "failed") {
		c.t.Fatalf("redis-cli --cluster %q: %v\n%s", args, err, tail(out))
	}
	return out
}

// healthy requires that check finds nothing, asked of each node.
func (c *clusterTool) healthy() {
	c.t.Helper()
	for _, n := range c.nodes {
		out := c.must("check", n.addr)
		if !strings.Contains(out, "All nodes agree about slots configuration") || !strings.Contains(out, "All 16384 slots covered") || strings.Contains(out, "[WARNING]") {
			c.t.Fatalf("check of %s:\n%s", n.addr, out)
		}
	}
}

// tail is the end of a long text.
func tail(text string) string { return text[max(0, len(text)-4000):] }

func (c *clusterTool) ask(node int, args ...string) string {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(c.nodes[node].addr)
	out, err := exec.Command(c.cli, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// counters is clients that increment keys all over the slots, by the cluster client of go-redis with its defaults. What they were told is
// what the keys must hold in the end.
type counters struct {
	client *redis.ClusterClient
	stop   context.CancelFunc
	done   sync.WaitGroup
	counts []atomic.Int64 // by key
	failed atomic.Pointer[error]
	ops    atomic.Int64
}

func counterKey(i int) string { return "counter:" + strconv.Itoa(i) }

// startCounters begins to load a cluster.
func startCounters(t *testing.T, nodes []*process, clients int) *counters {
	ctx, stop := context.WithCancel(t.Context())
	l := &counters{
		client: redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(addrsOf(nodes), ",")}),
		stop:   stop, counts: make([]atomic.Int64, 3000),
	}
	t.Cleanup(func() { stop(); _ = l.client.Close() })
	for c := range clients {
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			for i := c; ctx.Err() == nil; i += clients {
				at := i * 7 % len(l.counts)
				if _, err := l.client.Incr(context.Background(), counterKey(at)).Result(); err != nil {
					l.failed.CompareAndSwap(nil, &err)
					return
				}
				l.counts[at].Add(1)
				l.ops.Add(1)
			}
		}()
	}
	return l
}

// settle stops the load, and requires that no client saw an error and every key holds what its increments came to.
func (l *counters) settle(t *testing.T) {
	t.Helper()
	l.stop()
	l.done.Wait()
	if err := l.failed.Load(); err != nil {
		t.Fatalf("a client saw an error: %v", *err)
	}
	for i := range l.counts {
		want := l.counts[i].Load()
		got, err := l.client.Get(context.Background(), counterKey(i)).Int64()
		if want == 0 && errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil || got != want {
			t.Fatalf("%s is %d (%v), want %d", counterKey(i), got, err, want)
		}
	}
	t.Logf("%d increments meanwhile, no error", l.ops.Load())
}

// TestRedisCliReshards lets redis-cli move slots to one node, and balance the cluster again, under load.
func TestRedisCliReshards(t *testing.T) {
	c := newClusterTool(t)
	slots := reshardSlots(t)
	c.healthy()
	load := startCounters(t, c.nodes, 4)
	began := time.Now()
	c.must("reshard", c.nodes[0].addr, "--cluster-from", "all", "--cluster-to", c.ask(1, "CLUSTER", "MYID"), "--cluster-slots", strconv.Itoa(slots), "--cluster-yes")
	resharded := time.Since(began)
	c.healthy()
	if n := servedBy(t, c.nodes[1]); n < 5461+slots-1 {
		t.Errorf("the node to which %d slots were to move serves %d", slots, n)
	}
	began = time.Now()
	out := c.must("rebalance", c.nodes[2].addr, "--cluster-threshold", "0.01")
	if !strings.Contains(out, "Moving ") {
		t.Errorf("rebalance moved nothing:\n%s", out)
	}
	balanced := time.Since(began)
	c.healthy()
	for i, n := range c.nodes {
		if served := servedBy(t, n); served < 5455 || served > 5470 {
			t.Errorf("after rebalance node %d serves %d slots", i, served)
		}
	}
	load.settle(t)
	c.restart() // what nodes know of each other's slots outlives it
	c.healthy()
	t.Logf("reshard of %d slots: %v, rebalance: %v", slots, resharded.Round(time.Millisecond), balanced.Round(time.Millisecond))
	if slots >= 1000 && resharded > time.Minute {
		t.Errorf("reshard of %d slots took %v", slots, resharded)
	}
}

// servedBy is how many slots a node says that it serves.
func servedBy(t *testing.T, p *process) int {
	t.Helper()
	for _, n := range statusOf(t, p).Nodes {
		if n.Address == p.addr {
			set, err := slotSet(n.Report.Serving)
			if err != nil {
				t.Fatal(err)
			}
			return set.Len()
		}
	}
	t.Fatalf("the status of %s does not tell of itself", p.addr)
	return 0
}

// TestRedisCliFixes kills redis-cli in the middle of moves, and leaves slots open by hand in each way in which they can be; fix mends all of
// it, while clients write and see nothing.
func TestRedisCliFixes(t *testing.T) {
	c := newClusterTool(t)
	load := startCounters(t, c.nodes, 3)
	open := 0
	for round := range 6 {
		from, to := round%3, (round+1)%3
		cmd := exec.Command(c.cli, "--cluster", "reshard", c.nodes[0].addr, "--cluster-from", c.ask(from, "CLUSTER", "MYID"),
			"--cluster-to", c.ask(to, "CLUSTER", "MYID"), "--cluster-slots", "200", "--cluster-yes")
		killAfterMoves(t, cmd, 5+3*round)
		for _, n := range c.nodes {
			if out, _ := c.do("check", n.addr); strings.Contains(out, "open") && strings.Contains(out, "[WARNING]") {
				open++
				break
			}
		}
		out, err := c.do("fix", c.nodes[round%3].addr)
		if err != nil {
			t.Fatalf("round %d: fix: %v\n%s", round, err, tail(out))
		}
		c.healthy()
	}
	t.Logf("redis-cli was killed 6 times and left slots open %d times", open)

	id0, id1 := c.ask(0, "CLUSTER", "MYID"), c.ask(1, "CLUSTER", "MYID")
	set, err := slotSet(statusOf(t, c.nodes[0]).Nodes[0].Report.Serving)
	if err != nil {
		t.Fatal(err)
	}
	slots := set.Slots()
	say := func(node int, slot int, words ...string) {
		t.Helper()
		if got := c.ask(node, append([]string{"CLUSTER", "SETSLOT", strconv.Itoa(slot)}, words...)...); got != "OK" {
			t.Fatalf("SETSLOT %d %q: %s", slot, words, got)
		}
	}
	both, source, target := int(slots[10]), int(slots[20]), int(slots[30])
	say(1, both, "IMPORTING", id0)
	say(0, both, "MIGRATING", id1)
	say(0, source, "MIGRATING", id1)
	say(1, target, "IMPORTING", id0)
	if out, _ := c.do("check", c.nodes[0].addr); !strings.Contains(out, "[WARNING]") {
		t.Errorf("check does not see what is open:\n%s", out)
	}
	if out, err := c.do("fix", c.nodes[2].addr); err != nil {
		t.Fatalf("fix: %v\n%s", err, tail(out))
	}
	c.healthy()
	load.settle(t)
}

// killAfterMoves starts redis-cli, and kills it when it has begun to move so many slots.
func killAfterMoves(t *testing.T, cmd *exec.Cmd, moves int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		if strings.HasPrefix(lines.Text(), "Moving slot ") && strings.Contains(lines.Text(), ":") {
			if seen++; seen == moves {
				break
			}
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if seen < moves {
		t.Fatalf("redis-cli moved %d slots and ended:\n%s", seen, tail(text.String()))
	}
}
