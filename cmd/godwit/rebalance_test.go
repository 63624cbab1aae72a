package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"godwit/engine"
	"godwit/engine/slot"
)

// planOf is what a command would do.
func planOf(t *testing.T, args ...string) balancePlan {
	t.Helper()
	var p balancePlan
	if err := json.Unmarshal([]byte(mustRun(t, append(args, "--dry-run", "--json")...)), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestClusterGrowsAndShrinks adds a third node to two, gives it its share, drains the first and takes it out, while clients are judged: no
// wrong answer and no error.
func TestClusterGrowsAndShrinks(t *testing.T) {
	nodes := startNodes(t, 3)
	first, second, third := nodes[0].addr, nodes[1].addr, nodes[2].addr
	mustRun(t, "cluster", "create", "--nodes", first+","+second)
	mustFail(t, "serves slots 0-8191: move them away first", "cluster", "remove", first, "--node", second)
	if out := mustRun(t, "cluster", "rebalance", "--node", first); !strings.Contains(out, "nothing has to move") {
		t.Errorf("a new cluster is not balanced:\n%s", out)
	}

	mustRun(t, "cluster", "add", third, "--node", first)
	if out := mustRun(t, "cluster", "add", third, "--node", first); !strings.Contains(out, "a cluster of 3 nodes") {
		t.Errorf("adding a member again says:\n%s", out)
	}
	plan := planOf(t, "cluster", "rebalance", "--node", first)
	if n := plan.Nodes[2].SlotsAfter; len(plan.Moves) != 2 || n < 5300 || n > 5600 {
		t.Errorf("the third node would get %d slots by %d jobs: %+v", n, len(plan.Moves), plan.Nodes)
	}
	mustFail(t, "there is nobody to ask", "cluster", "rebalance", "--node", first)
	if s := statusOf(t, nodes[0]); s.Nodes[2].Slots != 0 {
		t.Errorf("without --yes %d slots have moved", s.Nodes[2].Slots)
	}
	mustFail(t, "want NODE=WEIGHT", "cluster", "rebalance", "--node", first, "--weight", second+"=much")
	mustFail(t, `no node is "nobody"`, "cluster", "drain", "nobody", "--node", first)
	mustFail(t, "use size, load or slots", "cluster", "rebalance", "--node", first, "--by", "heart")

	// A weight that moves some 300 slots, so that the test does not take long.
	rebalance := []string{"cluster", "rebalance", "--node", first, "--yes", "--weight", third + "=0.04", "--by", "slots"}
	t.Setenv("GODWIT_TEST_BE_GODWIT", "1")
	r, status := check(t, first, "--duration", "60s", "--keys", "300", "--during", os.Args[0]+" "+strings.Join(rebalance, " "))
	if status != 0 || r.Verdict != "ok" || r.During.Cut || len(r.Errors) > 0 {
		t.Errorf("status %d, report %+v", status, *r)
	}
	s := statusOf(t, nodes[1])
	if n := s.Nodes[2].Slots; n < 300 || n > 340 || s.Differing != "" {
		t.Errorf("the third node serves %d slots, and the map differs at %q", n, s.Differing)
	}
	if out := mustRun(t, rebalance...); !strings.Contains(out, "nothing has to move") {
		t.Errorf("the same command again says:\n%s", out)
	}

	// The command is ended in the middle; the next one finds the job and does not plan its slots again.
	drain := []string{"cluster", "drain", third, "--node", first, "--yes"}
	c := godwit(drain...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "drain starts its jobs", func() error {
		if n := len(statusOf(t, nodes[2]).Nodes[2].Report.Jobs); n < 2 {
			return fmt.Errorf("%d jobs", n)
		}
		return nil
	})
	_ = c.Process.Kill()
	_ = c.Wait()
	if plan := planOf(t, drain[:len(drain)-1]...); len(plan.Moves) != 0 {
		t.Errorf("drain, started again, would move %+v", plan.Moves)
	}
	out := mustRun(t, drain...)
	if s := statusOf(t, nodes[0]); s.Nodes[2].Slots != 0 {
		t.Errorf("the drained node still serves %d slots:\n%s", s.Nodes[2].Slots, out)
	}

	// What waits for a person is not waited for.
	mustRun(t, "migrate", "start", "--node", first, "--slots", "0-9", "--to", third, "--hold")
	secondJob := func(what string, reached func(engine.JobReport) bool) {
		t.Helper()
		eventually(t, what, func() error {
			if j := statusOf(t, nodes[0]).Nodes[0].Report.Jobs[1]; !reached(j) {
				return fmt.Errorf("the job is %+v", j)
			}
			return nil
		})
	}
	secondJob("held", func(j engine.JobReport) bool { return j.Step == "holding" })
	mustFail(t, "has a part in job", "cluster", "remove", third, "--node", first)
	if out := mustRun(t, "cluster", "rebalance", "--node", first, "--yes", "--weight", third+"=0.001", "--by", "slots", "--tolerance", "60"); !strings.Contains(out, "nothing has to move") {
		t.Errorf("rebalance beside a held job says:\n%s", out)
	}
	mustRun(t, "migrate", "cancel", "2", "--node", first)
	secondJob("cancelled", func(j engine.JobReport) bool { return j.Ended })
	mustRun(t, "cluster", "remove", third, "--node", first)
	s = statusOf(t, nodes[0])
	if len(s.Nodes) != 2 || s.Nodes[0].Slots+s.Nodes[1].Slots != slot.Count || !s.Healthy {
		t.Errorf("after the removal: %+v", s)
	}
}

// TestRebalanceByLoad: a node all of whose hot slots are its own gives half of their load away, however little they hold.
func TestRebalanceByLoad(t *testing.T) {
	nodes := startNodes(t, 2)
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	mustFail(t, "there is no load to go by: use --by size", "cluster", "rebalance", "--node", nodes[0].addr, "--by", "load", "--sample", "1s", "--dry-run")
	mustFail(t, "--sample 1ms is wrong", "cluster", "rebalance", "--node", nodes[0].addr, "--by", "load", "--sample", "1ms")
	var tags []string // of slots of the first node, the load of each as large as that of another
	first := slot.SetOf(slot.Range{First: 0, Last: slot.Count/2 - 1})
	for i := 0; len(tags) < 8; i++ {
		if tag := fmt.Sprint("t", i); first.Has(slot.OfKey([]byte("{" + tag + "}"))) {
			tags = append(tags, tag)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: nodes[0].addr})
	defer client.Close()
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			p := client.Pipeline()
			for _, tag := range tags {
				p.Set(t.Context(), "{"+tag+"}", i, 0)
				p.Get(t.Context(), "{"+tag+"}")
			}
			if _, err := p.Exec(t.Context()); err != nil {
				done <- err
				return
			}
		}
	}()
	plan := planOf(t, "cluster", "rebalance", "--node", nodes[0].addr, "--by", "load", "--sample", "2s")
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a, b := plan.Nodes[0], plan.Nodes[1]
	if len(plan.Moves) != 1 || plan.Moves[0].From != a.ID || a.Load < 100 || b.Load != 0 || a.LoadAfter < 0.3*a.Load || a.LoadAfter > 0.7*a.Load || a.LoadAfter+b.LoadAfter < 0.99*a.Load {
		t.Fatalf("%+v", plan)
	}
	hot := 0
	moved, err := slotSet(plan.Moves[0].Ranges)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if moved.Has(slot.OfKey([]byte("{" + tag + "}"))) {
			hot++
		}
	}
	if hot < 3 || hot > 5 {
		t.Errorf("%d of 8 hot slots would move, by %s", hot, plan.Moves[0].Ranges)
	}
}
