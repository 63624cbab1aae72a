package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
	"godwit/migration"
	"godwit/migration/driver"
)

// The matrix of crashes: real processes are killed, and links cut, at every step of a move. A process stops itself (SIGSTOP) as its slot
// enters the step, so that what is struck is struck there and not where chance has it; then the source, the target, both or the
// link between them is struck, and what lives goes on.

// haltVariable names the environment variable with the file in which a server is told where to stop.
const haltVariable = "GODWIT_TEST_HALT"

// haltHere makes a server stop where the file says, once: "STEP before", "STEP after", by whether what is to be done in the step has been
// carried out. What changes meanwhile counts as little as soon as it is five keys, so that most moves have rounds of changes.
func haltHere(file string) driver.Config {
	return driver.Config{Source: migration.Config{LagKeys: 5}, OnStep: func(_ slot.Slot, step string, carriedOut bool) {
		want, err := os.ReadFile(file)
		if err != nil || string(want) != haltText(step, carriedOut) {
			return
		}
		if err := os.Remove(file); err != nil {
			panic(err)
		}
		resumed := make(chan os.Signal, 1)
		signal.Notify(resumed, syscall.SIGCONT)
		defer signal.Stop(resumed)
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			panic(err)
		}
		<-resumed // the process may stop later than kill returns: the thread that takes the signal may be in a sync
	}}
}

func haltText(step string, carriedOut bool) string {
	if carriedOut {
		return step + " after"
	}
	return step + " before"
}

// crashRepetitions is how often each case of the matrix is run: GODWIT_CRASH_REPETITIONS, or 0, which means a few cases of it.
func crashRepetitions(t *testing.T) int {
	t.Helper()
	text := os.Getenv("GODWIT_CRASH_REPETITIONS")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("GODWIT_CRASH_REPETITIONS is %q: want a number of repetitions", text)
	}
	return n
}

// crashSteps are the steps of a move as its status names them, in their order.
var crashSteps = []string{"starting", "suspended", "base", "resume", "changes", "verify", "holding", "pausing", "deciding", "committing", "confirming", "keeping", "cleaning"}

// crashVictims are who is struck.
var crashVictims = []string{"source", "target", "both", "link"}

// crashMatrix runs cases on one cluster, one after the other.
type crashMatrix struct {
	*killCluster
	halts []string // by node: the file that stops it
	// ordered is where the last order was sent, which may have been answered.
	ordered *conn
	cells   map[[2]string]*crashCell
}

// crashCell is what the repetitions of a case came to.
type crashCell struct {
	runs, good int
	longest    time.Duration // from the strike to the end of the job
}

// run moves the slot once, with the victim struck in the step. A move that does not come by the step, such as one during which nobody
// wrote and which has no changes, is followed by another.
func (m *crashMatrix) run(step, victim string, repetition int) {
	m.t.Helper()
	for range 20 {
		if m.struck(step, victim, repetition) {
			return
		}
	}
	m.t.Fatalf("%s/%s: none of 20 moves has come by the step", step, victim)
}

// struck is run, for one move. It reports whether the move came by the step.
func (m *crashMatrix) struck(step, victim string, repetition int) bool {
	source, target := m.owner, (m.owner+1)%len(m.nodes)
	args := []string{"GODWIT", "MIGRATION", "START", strconv.Itoa(int(m.slot)), m.ids[target]}
	switch step {
	case "holding":
		args = append(args, "HOLD")
	case "keeping":
		args = append(args, "HOLD-SOURCE", "10m")
	}
	first := step
	switch step {
	case "suspended":
		first = "base" // where it is told to rest
	case "resume":
		first = "changes" // where it is struck for a first time
	}
	job := m.latest(source) + 1
	number := strconv.FormatUint(job, 10)
	m.halt(source, first, repetition%2 == 1)
	m.order(source, args...)
	if !m.awaitHalted(source, job) {
		m.finish(source, target, job)
		return false
	}
	switch step {
	case "suspended":
		m.halt(source, step, repetition%2 == 1)
		m.proceed(source)
		m.order(source, "GODWIT", "MIGRATION", "PAUSE", number)
	case "resume":
		m.kill(source)
		m.halt(source, step, repetition%2 == 1)
		m.restart(source)
	}
	if first != step && !m.awaitHalted(source, job) {
		m.finish(source, target, job)
		return false
	}
	before := m.write.lost()
	began := time.Now()
	m.strike(step, victim, source, target, repetition, job)
	switch step {
	case "suspended":
		m.tell(source, "RESUME", number)
	case "holding":
		m.tell(source, "CUTOVER", number)
	case "keeping":
		m.tell(source, "CLEAN", number)
	}
	m.finish(source, target, job)
	cell := m.cells[[2]string{step, victim}]
	cell.longest = max(cell.longest, time.Since(began))
	if lost := m.write.lost() - before; victim == "link" && lost > 0 {
		m.t.Errorf("%s/%s: %d commands of clients have failed, though no connection of a client was struck", step, victim, lost)
	}
	m.checkLoaded()
	return true
}

// strike ends or cuts off the victims, of which the source has stopped, and brings them back.
func (m *crashMatrix) strike(step, victim string, source, target, repetition int, job uint64) {
	switch victim {
	case "source":
		m.kill(source)
		m.restart(source)
	case "target":
		m.kill(target)
		m.proceed(source)
		m.restart(target)
	case "both":
		m.kill(source, target)
		m.restart(source, target)
	case "link":
		how := []linkState{linkClosed, linkSilent}[repetition%2]
		m.proxies[source].set(how)
		m.proxies[target].set(how)
		m.proceed(source)
		if step != "suspended" && step != "keeping" { // where nothing is sent
			eventually(m.t, "the cut is felt", func() error {
				if m.proxies[source].cutOff() || m.proxies[target].cutOff() || m.ended(source, job) {
					return nil
				}
				return errors.New("nothing was cut")
			})
		}
		m.proxies[source].set(linkUp)
		m.proxies[target].set(linkUp)
	}
}

// latest is the number of the node's latest job, 0 if it has had none.
func (m *crashMatrix) latest(node int) uint64 {
	m.t.Helper()
	c := m.dial(node)
	defer c.close()
	var jobs []engine.JobReport
	if err := c.json(&jobs, "GODWIT", "MIGRATION", "STATUS"); err != nil {
		m.t.Fatal(err)
	}
	latest := uint64(0)
	for _, j := range jobs {
		latest = max(latest, j.Counter)
	}
	return latest
}

// order sends a command to a node that may stop before it answers.
func (m *crashMatrix) order(node int, args ...string) {
	m.t.Helper()
	c := m.dial(node)
	m.t.Cleanup(c.close) // not earlier: a node could take that for a word not to answer
	c.send(args...)
	if err := c.w.Flush(); err != nil {
		m.t.Fatal(err)
	}
	m.ordered = c
}

// tell gives an operator's order about a job.
func (m *crashMatrix) tell(node int, verb, job string) {
	m.t.Helper()
	c := m.dial(node)
	defer c.close()
	if _, err := c.do(callTime, "GODWIT", "MIGRATION", verb, job); err != nil {
		m.t.Fatalf("%s: %v", verb, err)
	}
}

// halt tells a node where to stop.
func (m *crashMatrix) halt(node int, step string, carriedOut bool) {
	m.t.Helper()
	// Renamed, so that the node never reads a part of it.
	part := m.halts[node] + ".part"
	if err := errors.Join(os.WriteFile(part, []byte(haltText(step, carriedOut)), 0o600), os.Rename(part, m.halts[node])); err != nil {
		m.t.Fatal(err)
	}
}

// ended reports whether a node has said that a job of its has ended.
func (m *crashMatrix) ended(node int, job uint64) bool {
	return regexp.MustCompile(fmt.Sprintf(`msg="job ended" job=[0-9a-f]+-%d `, job)).MatchString(m.nodes[node].output())
}

// awaitHalted returns true when a node has stopped itself, false when its job has ended without that.
func (m *crashMatrix) awaitHalted(node int, job uint64) bool {
	m.t.Helper()
	stat := fmt.Sprintf("/proc/%d/stat", m.nodes[node].cmd.Process.Pid)
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(stat)
		if err != nil {
			m.t.Fatal(err)
		}
		// The state follows the name of the command, which stands in parentheses.
		if _, after, _ := strings.Cut(string(text), ") "); strings.HasPrefix(after, "T") {
			return true
		}
		if m.ended(node, job) {
			if err := os.Remove(m.halts[node]); err != nil {
				m.t.Fatalf("job %d has ended, and node %d was told to stop: %v\n%s", job, node, err, m.nodes[node].output())
			}
			return false
		}
	}
	if err := m.ordered.nc.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		m.t.Fatal(err)
	}
	answer, err := m.ordered.receive()
	m.t.Fatalf("node %d has not reached its step; the order was answered by %+v, %v\n%s", node, answer, err, m.nodes[node].output())
	return false
}

// proceed lets a stopped node go on.
func (m *crashMatrix) proceed(node int) {
	m.t.Helper()
	if err := m.nodes[node].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		m.t.Fatal(err)
	}
}

// print writes the table, as Markdown.
func (m *crashMatrix) print() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| step | %s |\n|---|%s\n", strings.Join(crashVictims, " | "), strings.Repeat("---|", len(crashVictims)))
	for _, step := range crashSteps {
		cells := make([]string, 0, len(crashVictims))
		for _, victim := range crashVictims {
			text := ""
			if c := m.cells[[2]string{step, victim}]; c.runs > 0 {
				text = fmt.Sprintf("%d of %d, %.1f s", c.good, c.runs, c.longest.Seconds())
			}
			cells = append(cells, text)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", step, strings.Join(cells, " | "))
	}
	fmt.Println(b.String())
}

// TestCrashMatrix kills the source, the target and both, and cuts the link between them, at every step of a move, with real processes:
// each time the job must go on under its number and move the slot, with every acknowledged write, to one owner, and leave nothing
// behind. It prints a table: how many repetitions were well, and the longest time from the strike to the end of the job.
func TestCrashMatrix(t *testing.T) {
	repetitions := crashRepetitions(t)
	k := newKillCluster(t, 2000)
	m := &crashMatrix{killCluster: k, cells: map[[2]string]*crashCell{}}
	for i := range 3 {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("halt%d", i))
		m.halts = append(m.halts, file)
		k.env = append(k.env, []string{haltVariable + "=" + file})
		k.proxies = append(k.proxies, newPeerProxy(t))
	}
	k.start()
	k.startWriters(4)
	for i, step := range crashSteps {
		for j, victim := range crashVictims {
			cell := &crashCell{}
			m.cells[[2]string{step, victim}] = cell
			runs := repetitions
			if repetitions == 0 && slices.Contains([]string{"base", "pausing", "deciding", "committing"}, step) && i%len(crashVictims) == j {
				runs = 1
			}
			for r := range runs {
				t.Logf("%s/%s, repetition %d", step, victim, r)
				cell.runs++
				if m.run(step, victim, r); t.Failed() {
					t.Fatalf("%s/%s, repetition %d has failed, the matrix ends here", step, victim, r)
				}
				cell.good++
			}
		}
	}
	m.print()
	k.write.stop()
	k.end()
}
