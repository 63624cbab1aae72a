package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"godwit/engine/slot"
)

// redisTool finds one of Debian's redis-tools. Where it is missing the test says so loudly, and fails in CI.
func redisTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	const hint = "%s is not installed: NOTHING WAS TESTED with it (apt-get install redis-tools)"
	if os.Getenv("CI") == "true" {
		t.Fatalf(hint, name)
	}
	t.Skipf(hint, name)
	return ""
}

// TestRedisToolsOnACluster runs the ordinary tools against three nodes that the command line made a cluster of, before,
// during and after moves.
func TestRedisToolsOnACluster(t *testing.T) {
	cli, benchmark := redisTool(t, "redis-cli"), redisTool(t, "redis-benchmark")
	nodes := startNodes(t, 3)
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	ask := func(node int, want string, args ...string) {
		t.Helper()
		host, port, _ := net.SplitHostPort(nodes[node].addr)
		out, err := exec.Command(cli, append([]string{"-c", "-h", host, "-p", port}, args...)...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || !strings.Contains(got, want) {
			t.Errorf("redis-cli -c %q at node %d: got %q and %v, want %q", args, node, got, err, want)
		}
	}
	all := func(round string) {
		t.Helper()
		for i := range 30 {
			k, v := fmt.Sprintf("key:%d", i), fmt.Sprintf("%s:%d", round, i)
			ask(i%3, "OK", "SET", k, v)
			ask((i+1)%3, v, "GET", k)
			ask((i+2)%3, v, "GET", k)
		}
		for node := range nodes {
			ask(node, "cluster_state:ok", "CLUSTER", "INFO")
			ask(node, "connected", "CLUSTER", "NODES")
		}
	}
	bench := func(round string) {
		t.Helper()
		host, port, _ := net.SplitHostPort(nodes[1].addr)
		args := []string{"-h", host, "-p", port, "--cluster", "-t", "set,get,incr", "-r", "10000", "-n", "15000", "-c", "12", "-P", "8", "-q"}
		out, err := exec.Command(benchmark, args...).CombinedOutput()
		text := string(out)
		if err != nil || strings.Count(text, "requests per second") != 3 || strings.Contains(strings.ToLower(text), "err") ||
			!strings.Contains(text, "3 master nodes") {
			t.Errorf("%s: redis-benchmark %q: %v\n%s", round, args, err, text)
		}
	}
	move := func(slots string, from, to int) {
		t.Helper()
		mustRun(t, "migrate", "start", "--node", nodes[from].addr, "--slots", slots, "--to", nodes[to].addr, "--update-map")
	}
	all("before")
	bench("before")

	// The slots of the cli's keys and some of the benchmark's are moved to and fro.
	var over atomic.Bool
	moved := make(chan int)
	go func() {
		n := 0
		for ; !over.Load(); n++ {
			from, to := 0, 2
			if n%2 == 1 {
				from, to = to, from
			}
			out, err := run("migrate", "start", "--node", nodes[from].addr, "--slots", "0-63", "--to", nodes[to].addr, "--wait")
			if err != nil {
				t.Errorf("move %d: %v\n%s", n, err, out)
				break
			}
		}
		moved <- n
	}()
	bench("during moves")
	all("during moves")
	over.Store(true)
	n := <-moved
	t.Logf("%d moves of 64 slots meanwhile", n)
	if n == 0 {
		t.Error("nothing was moved meanwhile")
	}

	for i := range 5 {
		s := statusOf(t, nodes[0])
		sl := slot.OfKey([]byte(fmt.Sprintf("key:%d", i)))
		for from := range s.Nodes {
			set, err := slotSet(s.Nodes[from].Report.Serving)
			if err != nil {
				t.Fatal(err)
			}
			if set.Has(sl) {
				at := indexOf(t, nodes, s.Nodes[from].Address)
				move(fmt.Sprint(int(sl)), at, (at+1)%3)
			}
		}
	}
	all("after")
	bench("after")
}

// indexOf finds a node by its address.
func indexOf(t *testing.T, nodes []*process, addr string) int {
	t.Helper()
	for i, p := range nodes {
		if p.addr == addr {
			return i
		}
	}
	t.Fatalf("no node listens at %s", addr)
	return 0
}
