package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"godwit/engine"
	"godwit/engine/slot"
)

// steered is two nodes, one of which has a slot with some megabytes that is written to all the time, and what operators say to them.
type steered struct {
	t        *testing.T
	dirs     [2]string
	nodes    []*process // the first has the slot at the beginning
	tag, sl  string
	write    *hotWriters
	settings []string
}

// startSteered starts the nodes and fills the slot with so many keys of a kilobyte.
func startSteered(t *testing.T, keys int, settings ...string) *steered {
	t.Helper()
	s := &steered{t: t, tag: "steered", dirs: [2]string{t.TempDir(), t.TempDir()}, settings: settings}
	s.sl = strconv.Itoa(int(slot.OfKey([]byte("{" + s.tag + "}"))))
	for i := range s.dirs {
		s.nodes = append(s.nodes, s.serve(i, "127.0.0.1:0"))
	}
	mustRun(t, "cluster", "create", "--nodes", addrsOf(s.nodes))
	if servedSlot(t, s.nodes[1], s.sl) {
		s.nodes[0], s.nodes[1] = s.nodes[1], s.nodes[0]
		s.dirs[0], s.dirs[1] = s.dirs[1], s.dirs[0]
	}
	c := redis.NewClient(&redis.Options{Addr: s.nodes[0].addr})
	defer c.Close()
	for i := 0; i < keys; i += 500 {
		p := c.Pipeline()
		for k := i; k < min(i+500, keys); k++ {
			p.Set(t.Context(), fmt.Sprintf("{%s}still:%d", s.tag, k), strings.Repeat("v", 1000), 0)
		}
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.write = startHotWriters(t, s.nodes, s.tag, 200, 90, 2, true)
	return s
}

func (s *steered) serve(i int, listen string) *process {
	s.t.Helper()
	return startServer(s.t, append([]string{"--cluster", "--dir", s.dirs[i], "--listen", listen}, s.settings...)...)
}

// kill kills a node, and starts it again.
func (s *steered) kill(i int) {
	s.t.Helper()
	addr := s.nodes[i].addr
	if err := s.nodes[i].cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := <-s.nodes[i].over; err == nil {
		s.t.Fatal("a killed server ended without an error")
	}
	s.nodes[i] = s.serve(i, addr)
}

// migrate runs a verb at the first node.
func (s *steered) migrate(verb string, args ...string) string {
	s.t.Helper()
	return mustRun(s.t, append([]string{"migrate", verb, "--node", s.nodes[0].addr}, args...)...)
}

// start starts a job that moves the slot from the first node to the second.
func (s *steered) start(args ...string) {
	s.t.Helper()
	s.migrate("start", append([]string{"--slots", s.sl, "--to", s.nodes[1].addr}, args...)...)
}

// await waits until a job of the first node is as wanted.
func (s *steered) await(job, what string, reached func(j engine.JobReport) bool) {
	s.t.Helper()
	eventually(s.t, what, func() error {
		if j := statusOfJob(s.t, s.nodes[0], job); !reached(j) {
			return fmt.Errorf("the job is %+v", j)
		}
		return nil
	})
}

// settle stops the writers, and requires that nothing is lost at the node that serves the slot.
func (s *steered) settle(at, keys int) {
	s.t.Helper()
	s.write.settle()
	if !servedSlot(s.t, s.nodes[at], s.sl) || servedSlot(s.t, s.nodes[1-at], s.sl) {
		s.t.Fatalf("node %d does not serve the slot, or the other does, too", at)
	}
	c := redis.NewClient(&redis.Options{Addr: s.nodes[at].addr})
	defer c.Close()
	n, err := c.Do(s.t.Context(), "CLUSTER", "COUNTKEYSINSLOT", s.sl).Int()
	if err != nil || n != keys+200 {
		s.t.Fatalf("the slot has %d keys (%v), want %d", n, err, keys+200)
	}
}

// TestSteeredOverKills: a plan, a job that is held, throttled, paused, told to cut over and rolled back by the command line, while clients write and
// every node is killed in the middle. Each order holds over the kills, and no write is lost.
func TestSteeredOverKills(t *testing.T) {
	const keys = 3000
	s := startSteered(t, keys)
	var plan engine.PlanReport
	if err := json.Unmarshal([]byte(s.migrate("plan", "--slots", s.sl, "--to", s.nodes[1].addr, "--exact", "--json")), &plan); err != nil {
		t.Fatal(err)
	}
	if !plan.Possible || !plan.Reachable || !plan.Fits || plan.Records < keys || plan.Bytes < keys*1000 || plan.Bytes > 2*keys*1000 || plan.TargetVersion != plan.Version {
		t.Errorf("the plan is %+v", plan)
	}
	mustFail(t, "pause-target is 5s and pause-deadline 1s", "migrate", "start", "--node", s.nodes[0].addr, "--slots", s.sl, "--to", s.nodes[1].addr, "--pause-target", "5s")

	s.start("--hold", "--hold-source", "10m", "--rate", "100kB/s", "--pause-deadline", "2s")
	s.await("1", "throttled", func(j engine.JobReport) bool {
		return j.Step == "base" && j.Bytes > 0 && j.Waiting == "throttle of the job: 100 kB/s" && j.PauseDeadlineMs == 2000
	})
	s.migrate("throttle", "1", "--window", "00:00-00:00=150kB/s", "--zone", "+00:00")
	s.await("1", "in a window", func(j engine.JobReport) bool {
		return strings.HasPrefix(j.Waiting, "throttle of the job: 150 kB/s (window 00:00-00:00")
	})
	s.migrate("pause", "1")
	s.kill(0)
	s.await("1", "still paused", func(j engine.JobReport) bool { return strings.Contains(j.Waiting, "paused by an operator") && !j.Ended })
	s.migrate("resume", "1")
	s.await("1", "throttled as before", func(j engine.JobReport) bool { return strings.Contains(j.Waiting, "150 kB/s (window") })
	s.migrate("throttle", "1", "--rate", "unlimited")
	s.await("1", "held", func(j engine.JobReport) bool { return j.Held == s.sl })
	if r := reportOf(t, s.nodes[0], "1"); r.ResumedBytes == 0 || r.Settings.PauseDeadlineMs != 2000 || r.Settings.HoldSourceMs != 600_000 {
		t.Errorf("after a kill in the middle of the base the report is %+v", r)
	}
	s.kill(1)
	s.migrate("cutover", "1")
	s.await("1", "handed over", func(j engine.JobReport) bool { return j.Kept == s.sl })
	if r := reportOf(t, s.nodes[0], "1"); r.Pauses.Count != 1 || r.PerSlot[0].Compared != "equal" || !r.PerSlot[0].Moved {
		t.Errorf("%+v", r)
	}
	s.kill(0)
	s.migrate("rollback", "1")
	s.kill(1)
	s.await("1", "rolled back", func(j engine.JobReport) bool { return j.Ended })
	eventually(t, "the slot is back", func() error {
		if !servedSlot(t, s.nodes[0], s.sl) {
			return fmt.Errorf("the first node does not serve it")
		}
		return nil
	})
	if out := s.migrate("clean", "1"); !strings.Contains(out, "has ended") {
		t.Errorf("clean says %s", out)
	}
	s.settle(0, keys)
	out := s.migrate("history", "1")
	for _, want := range []string{"told to rest", "told to go on", "told to cut over", "handed over", "told to roll back"} {
		if !strings.Contains(out, want) {
			t.Errorf("the history does not say %q:\n%s", want, out)
		}
	}
}

// TestCancelAndClean: a job that is cancelled in the middle leaves the slot where it was, over a kill; copies that are kept go when they are to be
// cleaned, and cannot be rolled back then.
func TestCancelAndClean(t *testing.T) {
	const keys = 2000
	s := startSteered(t, keys)
	s.start("--rate", "100kB/s")
	s.await("1", "on its way", func(j engine.JobReport) bool { return j.Bytes > 0 })
	s.migrate("cancel", "1")
	s.kill(0)
	s.await("1", "cancelled", func(j engine.JobReport) bool {
		return j.Ended && j.State == engine.JobFail && strings.Contains(j.Error, "cancelled by an operator") && j.MovedSlots == 0
	})
	eventually(t, "nothing of it is left at the target", func() error {
		if imports := statusOf(t, s.nodes[1]).Nodes; len(imports) > 0 {
			for _, n := range imports {
				if len(n.Report.Imports) > 0 {
					return fmt.Errorf("%+v", n.Report.Imports)
				}
			}
		}
		return nil
	})
	s.start("--hold-source", "10m")
	s.await("2", "kept", func(j engine.JobReport) bool { return j.Kept == s.sl })
	s.kill(0)
	s.migrate("clean", "2")
	s.await("2", "clean", func(j engine.JobReport) bool { return j.Ended && j.State == engine.JobSuccess })
	mustFail(t, "gone", "migrate", "rollback", "2", "--node", s.nodes[0].addr)
	s.settle(1, keys)
}

// TestSettingsOfAProcess: the settings of moves are flags, are changed while the server runs, and what is wrong is refused by both.
func TestSettingsOfAProcess(t *testing.T) {
	s := startSteered(t, 100, "--imports-at-once", "2", "--pause-target", "20ms")
	s.nodes[0].ask("CONFIG SET jobs-at-once 9 pause-deadline 3s\r\nCONFIG SET pause-target 5s\r\nCONFIG SET slots-at-once 0\r\n",
		"+OK\r\n-ERR CONFIG SET failed (possibly related to argument 'pause-target') - pause-target is 5s and pause-deadline 3s: pauses would be begun that cannot end in time; want a target of at most the deadline\r\n"+
			"-ERR CONFIG SET failed (possibly related to argument 'slots-at-once') - slots-at-once is \"0\": want a whole number from 1 to 256\r\n")
	s.nodes[0].ask("CONFIG GET jobs-at-once\r\nCONFIG GET pause-*\r\nCONFIG GET imports-at-once\r\n",
		"*2\r\n$12\r\njobs-at-once\r\n$1\r\n9\r\n*4\r\n$14\r\npause-deadline\r\n$2\r\n3s\r\n$12\r\npause-target\r\n$4\r\n20ms\r\n*2\r\n$15\r\nimports-at-once\r\n$1\r\n2\r\n")
	s.start("--hold", "--converge-within", "9s")
	s.await("1", "held", func(j engine.JobReport) bool {
		return j.Held == s.sl && j.PauseTargetMs == 20 && j.PauseDeadlineMs == 3000 && j.ConvergeWithinMs == 9000
	})
	if out := s.migrate("status", "1"); !strings.Contains(out, "pauses of 20ms if possible and of 3s at most; gives up after 9s") {
		t.Errorf("the status says:\n%s", out)
	}
	s.migrate("cutover", "1")
	s.await("1", "over", func(j engine.JobReport) bool { return j.State == engine.JobSuccess })
	s.settle(1, 100)
	mustFail(t, "pause-target is 5s and pause-deadline 1s", "server", "--cluster", "--dir", t.TempDir(), "--listen", "127.0.0.1:0", "--pause-target", "5s")
	mustFail(t, `want a whole number from 1 to 1024`, "server", "--imports-at-once", "0")
}

// latencyVariable names a file that says how long the clients of a server wait, for its automatic mode.
const latencyVariable = "GODWIT_TEST_LATENCY"

// latencyIn lets clients wait for as long as a file says.
func latencyIn(file string) func(uint64) (time.Duration, uint64) {
	return func(uint64) (time.Duration, uint64) {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		d, err := time.ParseDuration(string(text))
		if err != nil {
			panic(err)
		}
		return d, 1000
	}
}

// TestAutoSlowsDown: in the automatic mode a job goes slower than it began when clients come to wait longer, and faster when they do no more. So it is
// for what a node sends and for what it takes. How long clients wait is told to the servers: what this machine makes of it is not the test's matter.
func TestAutoSlowsDown(t *testing.T) {
	const keys = 20_000
	file := filepath.Join(t.TempDir(), "latency")
	wait := func(d string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(d), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	wait("1ms")
	t.Setenv(latencyVariable, file)
	s := startSteered(t, keys)
	for job, way := range []string{"throttle of the job: ", "the target is busy: throttle of the node: "} {
		number := strconv.Itoa(job + 1)
		wait("1ms")
		if job == 0 {
			s.start("--auto", "20", "--hold", "--payload", "raw")
		} else {
			s.nodes[1].ask("CONFIG SET migration-throttle auto=20%\r\n", "+OK\r\n")
			s.start("--hold", "--payload", "raw")
		}
		at := func(j engine.JobReport, waits string) float64 {
			var mb float64
			if rest, ok := strings.CutPrefix(j.Waiting, way); ok && strings.Contains(rest, " automatic: "+waits) {
				_, _ = fmt.Sscanf(rest, "%f MB/s, ", &mb) // 0 otherwise
			}
			return mb
		}
		fast, slow := 0.0, 0.0
		s.await(number, "at a rate", func(j engine.JobReport) bool {
			fast = at(j, "clients wait 1ms, and 1ms without moves")
			return fast >= 4
		})
		wait("2ms")
		s.await(number, "slower", func(j engine.JobReport) bool {
			fast = max(fast, at(j, "clients wait 1ms, and 1ms without moves")) // it has gone on meanwhile
			slow = at(j, "clients wait 2ms, and ")
			return slow > 0 && slow < fast
		})
		wait("1100us") // which may be measured by then to be what they wait without moves
		s.await(number, "faster", func(j engine.JobReport) bool { return at(j, "clients wait 1.1ms, and ") > slow })
		s.await(number, "held", func(j engine.JobReport) bool { return j.Held == s.sl })
		s.migrate("cancel", number)
		s.await(number, "cancelled", func(j engine.JobReport) bool { return j.Ended })
	}
	s.settle(0, keys)
}
