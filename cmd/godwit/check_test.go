package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// check runs a check in this process, with some of its flags set for tests, and returns its report and exit status.
func check(t *testing.T, addrs string, args ...string) (*checkReport, int) {
	t.Helper()
	c := newCheckCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	var out, said bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&said)
	c.SetArgs(append([]string{"--addrs", addrs, "--json", "--duration", "700ms"}, args...))
	err := c.Execute()
	status := 0
	if err != nil {
		status = exitStatus(err)
	}
	r := &checkReport{}
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), r); err != nil {
			t.Fatalf("%v in %s", err, out.Bytes())
		}
	}
	t.Logf("status %d, %v; said %q; %+v", status, err, said.String(), *r)
	return r, status
}

// every gives a fault to one in n commands of the named kind, "" for all.
func every(n int, fault fakeFault, names ...string) func(int, []string) fakeFault {
	seen := 0
	return func(_ int, args []string) fakeFault {
		for _, name := range names {
			if args[0] == name {
				if seen++; seen%n == 0 {
					return fault
				}
			}
		}
		return fakeNone
	}
}

var (
	fakeWrites   = []string{"SET", "GETSET", "SETNX", "DEL", "APPEND", "INCR", "INCRBY", "RPUSH", "LPUSH", "LPOP", "SADD", "SREM"}
	fakeAllReads = []string{"GET", "LRANGE", "LLEN", "SMEMBERS", "SISMEMBER", "SCARD"}
)

func TestCheckPassesWhatIsLinearizable(t *testing.T) {
	all := slices.Concat(fakeAllReads, fakeWrites)
	for _, c := range []struct {
		name  string
		nodes int
		f     *fakeRedis
		args  []string
		want  func(*checkReport) bool
	}{
		{"one server", 1, &fakeRedis{single: true}, nil, func(r *checkReport) bool { return !r.Cluster && len(r.Errors) == 0 }},
		{"strings only", 1, &fakeRedis{single: true, strings: true}, nil, func(r *checkReport) bool { return len(r.LeftOut) == 2 && len(r.Errors) == 0 }},
		{"slots change owners", 3, &fakeRedis{}, nil, func(r *checkReport) bool {
			return len(r.LeftOut) == 0 && r.Cluster && r.Redirects["MOVED"] > 0 && len(r.Errors) == 0
		}},
		{"by SHARDS", 2, &fakeRedis{noSlots: true}, nil, func(r *checkReport) bool { return r.Cluster && r.Nodes == 2 && r.Slots == 16384 }},
		{"password", 2, &fakeRedis{password: "secret"}, []string{"--password", "secret"}, func(r *checkReport) bool { return len(r.Errors) == 0 }},
		{"ASK", 2, &fakeRedis{fault: every(10, fakeAsk, all...)}, nil, func(r *checkReport) bool { return r.Redirects["ASK"] > 0 && len(r.Errors) == 0 }},
		{"refused for a moment", 2, &fakeRedis{fault: every(20, fakeRefuse, all...)}, nil, func(r *checkReport) bool {
			return r.Redirects["TRYAGAIN"] > 0 && r.Redirects["CLUSTERDOWN"] > 0 && r.Redirects["LOADING"] > 0 && len(r.Errors) == 0
		}},
		{"connections lost before", 2, &fakeRedis{fault: every(40, fakeCutBefore, all...)}, nil, func(r *checkReport) bool { return r.Errors["connection lost"] > 0 && r.Unknown > 0 }},
		{"connections lost after", 2, &fakeRedis{fault: every(40, fakeCutAfter, all...)}, nil, func(r *checkReport) bool { return r.Errors["connection lost"] > 0 && r.Unknown > 0 }},
		{"no answer", 2, &fakeRedis{fault: every(60, fakeHang, all...)}, []string{"--timeout", "50ms"}, func(r *checkReport) bool { return r.Errors["timeout"] > 0 && r.LongestStallMs >= 50 }},
		{"errors that say nothing", 2, &fakeRedis{fault: every(40, fakeError, fakeWrites...)}, nil, func(r *checkReport) bool { return r.Errors["ERR"] > 0 && r.Unknown > 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startFakeRedis(t, c.nodes, c.f)
			r, status := check(t, f.addrs(), c.args...)
			if status != 0 || r.Verdict != "ok" || r.Judged < 100 || !c.want(r) {
				t.Errorf("status %d, report %+v", status, *r)
			}
		})
	}
}

func TestCheckFindsWhatIsNot(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(int, []string) fakeFault
	}{
		{"acknowledged writes lost", every(50, fakeLose, fakeWrites...)},
		{"acknowledged SETs lost", every(10, fakeLose, "SET")},
		{"acknowledged APPENDs lost", every(20, fakeLose, "APPEND")},
		{"acknowledged pushes lost", every(20, fakeLose, "RPUSH", "LPUSH")},
		{"acknowledged pops lost", every(10, fakeLose, "LPOP")},
		{"acknowledged members lost", every(20, fakeLose, "SADD")},
		{"removed members back", every(5, fakeLose, "SREM")},
		{"stale reads", every(20, fakeStale, "GET")},
		{"stale lists", every(20, fakeStale, "LRANGE", "LLEN")},
		{"stale sets", every(20, fakeStale, "SMEMBERS", "SCARD", "SISMEMBER")},
		{"executed twice", every(20, fakeTwice, "INCR", "INCRBY", "APPEND")},
		{"pushed twice", every(20, fakeTwice, "RPUSH", "LPUSH")},
		{"added twice", every(20, fakeTwice, "SADD")},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			history, picture := filepath.Join(dir, "h.jsonl"), filepath.Join(dir, "h.html")
			f := startFakeRedis(t, 2, &fakeRedis{fault: c.fault})
			r, status := check(t, f.addrs(), "--history", history, "--picture", picture)
			if status != statusIllegal || r.Verdict != "illegal" || r.History != history || r.Picture != picture {
				t.Fatalf("status %d, report %+v", status, *r)
			}
			// The evidence stands by itself.
			file, err := os.Open(history)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			h, err := linearize.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			v, err := linearize.Check(h, linearize.Options{Steps: checkSteps})
			if err != nil || v.Result != linearize.Illegal || v.String() != r.VerdictText {
				t.Errorf("the history that was written: %v, %v", v, err)
			}
			page, err := os.ReadFile(picture)
			if err != nil || !bytes.Contains(page, []byte(v.Failures[0].Key)) {
				t.Errorf("the picture does not show %s: %v", v.Failures[0].Key, err)
			}
		})
	}
}

// TestCheckKeepsEvidence: what is not linearizable is written down though nobody asked for it beforehand, the rest is not.
func TestCheckKeepsEvidence(t *testing.T) {
	t.Chdir(t.TempDir())
	f := startFakeRedis(t, 1, &fakeRedis{})
	if r, status := check(t, f.addrs()); status != 0 || r.History != "" || r.Picture != "" {
		t.Errorf("status %d, report %+v", status, *r)
	}
	f = startFakeRedis(t, 1, &fakeRedis{fault: every(50, fakeLose, fakeWrites...)})
	r, status := check(t, f.addrs())
	if status != statusIllegal {
		t.Errorf("status %d", status)
	}
	for _, name := range []string{r.History, r.Picture} {
		if !strings.Contains(name, r.Run) {
			t.Errorf("file %q is not named after run %s", name, r.Run)
		}
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckRemovesItsKeys(t *testing.T) {
	f := startFakeRedis(t, 2, &fakeRedis{})
	f.data["other"] = "stays"
	if r, status := check(t, f.addrs()); status != 0 || r.KeysLeft != 0 || f.left() != 1 {
		t.Errorf("status %d, %d said to be left, %d keys there", status, r.KeysLeft, f.left())
	}
	if _, status := check(t, f.addrs(), "--keep"); status != 0 || f.left() < 2 {
		t.Errorf("status %d, %d keys there after --keep", status, f.left())
	}
}

func TestCheckCannotRun(t *testing.T) {
	f := startFakeRedis(t, 1, &fakeRedis{password: "secret"})
	for _, c := range []struct {
		name, addrs string
		args        []string
	}{
		{"nobody there", closedAddr(t), nil},
		{"no password", f.addrs(), nil},
		{"wrong password", f.addrs(), []string{"--password", "other"}},
		{"no address", "localhost", nil},
		{"no clients", f.addrs(), []string{"--clients", "0"}},
		{"no such flag", f.addrs(), []string{"--duratoin", "1s"}},
		{"an argument", f.addrs(), []string{"7000"}},
	} {
		if _, status := check(t, c.addrs, c.args...); status != statusUnproven {
			t.Errorf("%s: status %d, want %d", c.name, status, statusUnproven)
		}
	}
}

// TestCheckUnproven: a history that is legal because nothing was ever done proves nothing.
func TestCheckUnproven(t *testing.T) {
	t.Chdir(t.TempDir())
	f := startFakeRedis(t, 1, &fakeRedis{fault: every(1, fakeError, fakeWrites...)})
	if r, status := check(t, f.addrs()); status != statusUnproven || r.Verdict != "unknown" || r.Reason == "" {
		t.Errorf("status %d, report %+v", status, *r)
	}
	f = startFakeRedis(t, 1, &fakeRedis{fault: every(1, fakeRefuse, slices.Concat(fakeAllReads, fakeWrites)...)})
	r, status := check(t, f.addrs(), "--timeout", "50ms", "--clients", "2")
	if status != statusUnproven || r.Verdict != "unknown" || !r.StallNotOver {
		t.Errorf("status %d, report %+v", status, *r)
	}
}

func TestCheckOtherNodesAnswer(t *testing.T) {
	f := startFakeRedis(t, 2, &fakeRedis{})
	if r, status := check(t, closedAddr(t)+","+f.addrs()); status != 0 || r.Nodes != 3 {
		t.Errorf("status %d, %d nodes", status, r.Nodes)
	}
}

func TestCheckDuring(t *testing.T) {
	f := startFakeRedis(t, 2, &fakeRedis{})
	began := time.Now()
	r, status := check(t, f.addrs(), "--duration", "20s", "--during", "sleep 0.2; echo done")
	if took := time.Since(began); status != 0 || r.During == nil || r.During.Error != "" || r.During.Cut || took > 15*time.Second {
		t.Errorf("status %d after %v, %+v", status, took, r.During)
	}
	if want := (checkLead + checkTail + 200*time.Millisecond).Seconds(); r.Seconds < want {
		t.Errorf("clients ran for %.2f s, want %.2f at least", r.Seconds, want)
	}
	// One that fails leaves no proof of anything under it.
	if r, status := check(t, f.addrs(), "--duration", "20s", "--during", "exit 3"); status != statusUnproven || r.Verdict != "ok" || !strings.Contains(r.During.Error, "3") {
		t.Errorf("status %d, %+v", status, r.During)
	}
	// One that does not end is ended, with what it has started.
	mark := filepath.Join(t.TempDir(), "mark")
	r, status = check(t, f.addrs(), "--duration", "1500ms", "--during", "(sleep 2; touch "+mark+") & wait")
	if status != 0 || !r.During.Cut || r.Seconds > 10 {
		t.Errorf("status %d, %+v, %.1f s", status, r.During, r.Seconds)
	}
	time.Sleep(2 * time.Second)
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the command started is still running: %v", err)
	}
}

func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		text, code, to string
	}{
		{"MOVED 5 10.0.0.1:7000", "MOVED", "10.0.0.1:7000"},
		{"ASK 5 :7000", "ASK", "192.0.2.1:7000"},
		{"MOVED 5 ?:7000", "MOVED", "192.0.2.1:7000"},
		{"MOVED 5 2001:db8::1:7000", "MOVED", "[2001:db8::1]:7000"},
		{"MOVED 5 [2001:db8::1]:7000", "MOVED", "[2001:db8::1]:7000"},
		{"MOVED 5", "MOVED", ""},
		{"MOVED 5 host", "MOVED", ""},
		{"MOVED 5 host:http", "MOVED", ""},
		{"ERR 5 host:1", "ERR", ""},
		{"", "", ""},
	} {
		code, to, ok := redirect(c.text, "192.0.2.1:6379")
		if code != c.code || to != c.to || ok != (c.to != "") {
			t.Errorf("%q: %q %q %v, want %q %q", c.text, code, to, ok, c.code, c.to)
		}
	}
}

func TestTopologyRefusesNonsense(t *testing.T) {
	for _, wire := range []string{
		"+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n", "*1\r\n*3\r\n:9\r\n:8\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n*4\r\n+slots\r\n*1\r\n:1\r\n+nodes\r\n*0\r\n", "*1\r\n*4\r\n+slots\r\n*2\r\n:1\r\n:2\r\n+nodes\r\n*0\r\n",
	} {
		r, err := readReply(bufio.NewReader(strings.NewReader(wire)), 0)
		if err != nil {
			t.Fatal(err)
		}
		slots := &checkTopology{Owners: map[slot.Slot]string{}}
		shards := &checkTopology{Owners: map[slot.Slot]string{}}
		if slots.readSlots(r, "192.0.2.1:1") && len(slots.Owners) > 0 || shards.readShards(r, "192.0.2.1:1") && len(shards.Owners) > 0 {
			t.Errorf("%q was understood: %v %v", wire, slots.Owners, shards.Owners)
		}
	}
}

// TestCheckGodwit checks three real nodes while slots move between them.
func TestCheckGodwit(t *testing.T) {
	nodes := startNodes(t, 3)
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODWIT_TEST_BE_GODWIT", "1")
	during := fmt.Sprintf("%s migrate start --node %s --to %s --slots 0-199 --wait", self, nodes[0].addr, nodes[1].addr)
	r, status := check(t, nodes[2].addr, "--duration", "60s", "--keys", "300", "--during", during)
	if status != 0 || r.Verdict != "ok" || !r.Cluster || r.During.Cut {
		t.Errorf("status %d, report %+v", status, *r)
	}
	if r.Redirects["MOVED"] == 0 || len(r.Errors) > 0 {
		t.Errorf("redirects %v, errors %v", r.Redirects, r.Errors)
	}
}

// TestCheckRedisDuringReshard checks a real Redis cluster while slots move between its nodes, where there is a Redis.
func TestCheckRedisDuringReshard(t *testing.T) {
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("NOT RUN: NO CHECK OF A REAL REDIS CLUSTER DURING A RESHARD: %v. Install Debian's redis-server and redis-tools.", err)
			if os.Getenv("CI") != "" {
				t.Fail()
			}
			return
		}
	}
	addrs := startRedisCluster(t, 3)
	id, err := exec.Command("redis-cli", "-u", "redis://"+addrs[1], "CLUSTER", "MYID").Output()
	if err != nil {
		t.Fatal(err)
	}
	during := fmt.Sprintf("redis-cli --cluster reshard %s --cluster-from all --cluster-to %s --cluster-slots 300 --cluster-yes",
		addrs[0], strings.TrimSpace(string(id)))
	r, status := check(t, addrs[2], "--duration", "60s", "--keys", "300", "--during", during)
	if status != 0 || r.Verdict != "ok" || !r.Cluster || r.Nodes != 3 || r.During.Cut {
		t.Errorf("status %d, report %+v", status, *r)
	}
	if r.Redirects["MOVED"] == 0 {
		t.Error("no client was redirected: nothing moved under the check")
	}
}

// startRedisCluster starts n Redis servers and makes them a cluster.
func startRedisCluster(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		addr := redisAddr(t)
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--cluster-enabled", "yes",
			"--save", "", "--appendonly", "no")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		addrs = append(addrs, addr)
		eventually(t, addr+" answers", func() error {
			c, err := dial(addr, "")
			if err == nil {
				_, err = c.text("PING")
				c.close()
			}
			return err
		})
	}
	args := append(append([]string{"--cluster", "create"}, addrs...), "--cluster-yes")
	if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
	eventually(t, "the cluster is made", func() error {
		out, err := exec.Command("redis-cli", "--cluster", "check", addrs[0]).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return addrs
}

// redisAddr is a free address whose port, 10,000 added, is a port, too: the bus of a Redis cluster.
func redisAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := closedAddr(t)
		if tcp, err := net.ResolveTCPAddr("tcp", addr); err == nil && tcp.Port+10000 < 1<<16 {
			return addr
		}
	}
	t.Fatal("no free port below 55536")
	return ""
}

// eventually waits until something works.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestCheckIsInterrupted: what was seen until an interrupt is judged, and cleaned up.
func TestCheckIsInterrupted(t *testing.T) {
	f := startFakeRedis(t, 1, &fakeRedis{})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	o := checkOptions{addrs: []string{f.addrs()}, duration: time.Minute, timeout: time.Second, clients: 2, keys: 3, rate: 1000}
	r, err := runCheck(ctx, o, io.Discard)
	if err != nil || r.Verdict != "ok" || !r.Interrupted || f.left() != 0 {
		t.Errorf("%v, %+v, %d keys left", err, r, f.left())
	}
}
