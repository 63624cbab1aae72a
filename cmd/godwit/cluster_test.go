package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"godwit/engine"
	"godwit/engine/slot"
)

// run runs a godwit command to its end.
func run(args ...string) (string, error) {
	out, err := godwit(args...).CombinedOutput()
	return string(out), err
}

// mustRun is run for commands that have to succeed.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(args...)
	if err != nil {
		t.Fatalf("godwit %q: %v\n%s", args, err, out)
	}
	return out
}

// mustFail is run for commands that have to fail and to say why.
func mustFail(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := run(args...)
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("godwit %q: got %v and %q, want a failure that says %q", args, err, out, want)
	}
}

// startNodes starts empty nodes that make no cluster yet.
func startNodes(t *testing.T, n int, args ...string) []*process {
	t.Helper()
	nodes := make([]*process, n)
	for i := range nodes {
		nodes[i] = startServer(t, append([]string{"--cluster", "--dir", t.TempDir(), "--peer-secret", "of the tests"}, args...)...)
	}
	return nodes
}

func addrsOf(nodes []*process) string {
	addrs := make([]string, len(nodes))
	for i, p := range nodes {
		addrs[i] = p.addr
	}
	return strings.Join(addrs, ",")
}

func statusOf(t *testing.T, p *process) statusReport {
	t.Helper()
	var s statusReport
	if err := json.Unmarshal([]byte(mustRun(t, "cluster", "status", "--node", p.addr, "--json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// closedAddr is an address at which nobody listens.
func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestClusterCreateAndMigrate(t *testing.T) {
	nodes := startNodes(t, 3)
	mustFail(t, "is in no cluster yet", "cluster", "status", "--node", nodes[0].addr)
	out := mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	for _, want := range []string{"slots 0-5460\n", "slots 5461-10921\n", "slots 10922-16383\n", "a cluster of 3 nodes serves all 16384 slots"} {
		if !strings.Contains(out, want) {
			t.Errorf("cluster create does not say %q:\n%s", want, out)
		}
	}
	mustFail(t, "is already in a cluster: it has version 1 of a map", "cluster", "create", "--nodes", addrsOf(nodes))

	s := statusOf(t, nodes[1])
	if !s.Healthy || len(s.Nodes) != 3 || s.Nodes[0].Slots != 5461 || s.Unserved+s.Doubled+s.Differing != "" {
		t.Errorf("the new cluster is not as it should be: %+v", s)
	}
	mustFail(t, `no node is "127.0.0.1:1"`, "migrate", "start", "--node", nodes[0].addr, "--slots", "0", "--to", "127.0.0.1:1")
	mustFail(t, "want ranges", "migrate", "start", "--node", nodes[0].addr, "--slots", " ", "--to", nodes[1].addr)
	mustFail(t, nodes[1].addr+" serves 6000", "migrate", "start", "--node", nodes[0].addr, "--slots", "6000", "--to", nodes[1].addr)
	mustFail(t, "to myself", "migrate", "start", "--node", nodes[0].addr, "--slots", "0", "--to", nodes[0].addr)

	nodes[0].ask("SET {06S} moved\r\n", "+OK\r\n") // slot 0
	out = mustRun(t, "migrate", "start", "--node", nodes[0].addr, "--slots", "0-7, 9", "--to", s.Nodes[2].ID[:10], "--wait")
	if !strings.Contains(out, "MIGRATION_SUCCESS") || !strings.Contains(out, "moved     9 of 9: 0-7 9") || !strings.Contains(out, "digests   9 equal, 0 differ") {
		t.Errorf("the job says:\n%s", out)
	}
	nodes[2].ask("GET {06S}\r\n", "$5\r\nmoved\r\n")
	nodes[0].ask("GET {06S}\r\n", "-MOVED 0 "+nodes[2].addr+"\r\n")
	if s = statusOf(t, nodes[0]); !s.Healthy || s.Differing != "0-7 9" || s.Nodes[2].Slots != 5462+9 {
		t.Errorf("after the move: %+v", s)
	}

	mustRun(t, "migrate", "start", "--node", nodes[2].addr, "--slots", "9", "--to", nodes[0].addr, "--update-map")
	if s = statusOf(t, nodes[1]); !s.Healthy || s.Differing != "" || s.Nodes[1].Report.MapVersion != 2 {
		t.Errorf("after the map has followed: %+v", s)
	}
	if out = mustRun(t, "cluster", "status", "--node", nodes[0].addr); !strings.Contains(out, "healthy: every slot has exactly one server") {
		t.Errorf("cluster status says:\n%s", out)
	}

	var j engine.JobReport
	if err := json.Unmarshal([]byte(mustRun(t, "migrate", "status", "1", "--node", nodes[0].addr, "--json")), &j); err != nil || j.MovedSlots != 9 || !j.Ended {
		t.Errorf("the job in JSON is %+v (%v)", j, err)
	}
	if out = mustRun(t, "migrate", "status", "--node", nodes[0].addr); !strings.Contains(out, "9 of 9 slots moved") {
		t.Errorf("migrate status says:\n%s", out)
	}
	if out = mustRun(t, "migrate", "status", "--node", nodes[1].addr); !strings.Contains(out, "has had no jobs") {
		t.Errorf("migrate status of a node without jobs says:\n%s", out)
	}
	mustFail(t, "no such job", "migrate", "status", "77", "--node", nodes[0].addr)
	mustFail(t, `job "x" is wrong`, "migrate", "cancel", "x", "--node", nodes[0].addr)
}

func TestMigrateCancel(t *testing.T) {
	nodes, dir := startNodes(t, 1), t.TempDir()
	args := []string{"--cluster", "--dir", dir, "--peer-secret", "of the tests"}
	nodes = append(nodes, startServer(t, args...))
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	if err := nodes[1].cmd.Process.Kill(); err != nil { // so that the job cannot go on
		t.Fatal(err)
	}
	if err := <-nodes[1].over; err == nil {
		t.Error("a killed server says that it ended well")
	}
	s, err := run("cluster", "status", "--node", nodes[0].addr)
	if err == nil || !strings.Contains(s, "does not answer") || !strings.Contains(s, "slots are served by no node that answers: 8192-16383") {
		t.Errorf("cluster status without a node: %v\n%s", err, s)
	}
	mustRun(t, "migrate", "start", "--node", nodes[0].addr, "--slots", "5", "--to", nodes[1].addr)
	mustRun(t, "migrate", "cancel", "1", "--node", nodes[0].addr)
	startServer(t, append(args, "--listen", nodes[1].addr)...) // the source waits for its answer for a while
	mustFail(t, "failed after 0 of 1 slots", "migrate", "status", "1", "--node", nodes[0].addr, "--watch")
	nodes[0].ask("SET k12912 stayed\r\nCLUSTER KEYSLOT k12912\r\n", "+OK\r\n:5\r\n")
}

func TestClusterCreateErrors(t *testing.T) {
	nodes := startNodes(t, 1, "--requirepass", "sesame")
	alone := startServer(t, "--dir", t.TempDir())
	gone := closedAddr(t)
	mustFail(t, `address "here" is wrong: want HOST:PORT`, "cluster", "create", "--nodes", "here")
	mustFail(t, gone+" does not answer", "cluster", "create", "--nodes", gone)
	mustFail(t, alone.addr+" is not a node of a cluster: start it with --cluster", "cluster", "create", "--nodes", alone.addr)
	mustFail(t, nodes[0].addr+" wants another password", "cluster", "create", "--nodes", nodes[0].addr)
	mustFail(t, nodes[0].addr+" wants another password", "cluster", "create", "--nodes", nodes[0].addr, "--password", "x")
	mustFail(t, "are the same node", "cluster", "create", "--nodes", nodes[0].addr+","+nodes[0].addr, "--password", "sesame")
	mustRun(t, "cluster", "create", "--nodes", nodes[0].addr, "--password", "sesame")
}

func TestClusterCreateWaits(t *testing.T) {
	first := startNodes(t, 1)[0]
	late := closedAddr(t)
	create := godwit("cluster", "create", "--nodes", first.addr+","+late)
	var out strings.Builder
	create.Stdout, create.Stderr = &out, &out
	if err := create.Start(); err != nil {
		t.Fatal(err)
	}
	startServer(t, "--cluster", "--dir", t.TempDir(), "--peer-secret", "of the tests", "--listen", late)
	if err := create.Wait(); err != nil || !strings.Contains(out.String(), "a cluster of 2 nodes serves all 16384 slots") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestAwaitAnswers(t *testing.T) {
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(over)
	members := []member{{Addr: closedAddr(t)}}
	if err := awaitAnswers(ctx, members, ""); !errors.Is(err, over) {
		t.Errorf("a node that refuses connections is not waited for: %v, %v", err, members[0].Err)
	}
	alone := startServer(t, "--dir", t.TempDir())
	members = append(members, member{Addr: alone.addr})
	if err := awaitAnswers(ctx, members, ""); err != nil || members[1].Err == nil {
		t.Errorf("nodes are waited for although one is wrong: %v, %v", err, members[1].Err)
	}
}

// TestMigrateSteered: a job is held, paused, let go and rolled back by the verbs of the command line, and remembers all of it.
func TestMigrateSteered(t *testing.T) {
	nodes := startNodes(t, 2)
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	nodes[0].ask("SET {06S} old\r\n", "+OK\r\n") // slot 0
	of := func(verb string, args ...string) []string {
		return append([]string{"migrate", verb, "--node", nodes[0].addr}, args...)
	}
	await := func(what string, reached func(j engine.JobReport) bool) {
		t.Helper()
		eventually(t, what, func() error {
			var j engine.JobReport
			if err := json.Unmarshal([]byte(mustRun(t, of("status", "1", "--json")...)), &j); err != nil {
				return err
			}
			if !reached(j) {
				return fmt.Errorf("the job is %+v", j)
			}
			return nil
		})
	}
	mustRun(t, of("start", "--slots", "0-3", "--to", nodes[1].addr, "--hold", "--hold-source", "10m")...)
	await("held", func(j engine.JobReport) bool { return j.Held == "0-3" && j.MovedSlots == 0 && j.Waiting != "" })
	nodes[0].ask("SET {06S} held\r\n", "+OK\r\n")
	mustRun(t, of("pause", "1")...)
	mustRun(t, of("cutover", "1")...) // takes effect when the job goes on
	await("paused", func(j engine.JobReport) bool { return j.MovedSlots == 0 && strings.Contains(j.Waiting, "pause") })
	mustRun(t, of("resume", "1")...)
	await("handed over", func(j engine.JobReport) bool { return j.Kept == "0-3" && j.MovedSlots == 4 && !j.Ended })
	nodes[1].ask("GET {06S}\r\nSET {06S} there\r\n", "$4\r\nheld\r\n+OK\r\n")
	if out := mustRun(t, of("rollback", "1")...); !strings.Contains(out, "asked back") {
		t.Errorf("rollback says %s", out)
	}
	await("rolled back", func(j engine.JobReport) bool { return j.Ended })
	// The job ends when its slots are on their way back, which is a job of the other node.
	eventually(t, "back", func() error {
		if s := statusOf(t, nodes[0]); s.Nodes[0].Slots != slot.Count/2 {
			return fmt.Errorf("the node serves %d slots", s.Nodes[0].Slots)
		}
		return nil
	})
	nodes[0].ask("GET {06S}\r\n", "$5\r\nthere\r\n")
	nodes[1].ask("GET {06S}\r\n", "-MOVED 0 "+nodes[0].addr+"\r\n")
	if s := statusOf(t, nodes[0]); !s.Healthy || s.Differing != "" {
		t.Errorf("after the rollback: %+v", s)
	}
	out := mustRun(t, of("history", "1")...)
	for _, want := range []string{"accepted: 4 slots", "told to rest", "told to cut over", "told to roll back"} {
		if !strings.Contains(out, want) {
			t.Errorf("the history does not say %q:\n%s", want, out)
		}
	}
	mustFail(t, "are back already", of("rollback", "1")...)
	if out = mustRun(t, of("clean", "1")...); !strings.Contains(out, "has ended") {
		t.Errorf("clean of a job that has ended says %s", out)
	}
}
