package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/engine/slot"
)

// TestDemo runs the demo, small.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	cmd := godwit("demo", "--keys", "2000", "--slots", "12", "--duration", "6s", "--dir", dir, "--json")
	var progress strings.Builder
	cmd.Stderr = &progress
	out, err := cmd.Output()
	var r demoReport
	if jerr := json.Unmarshal(out, &r); jerr != nil {
		t.Fatalf("%v (%v)\n%s%s", err, jerr, out, &progress)
	}
	if err != nil || !r.OK || len(r.Failures) > 0 {
		t.Fatalf("the demo failed: %v\n%s%s", err, out, &progress)
	}
	if r.SlotsMoved < 12 || r.Jobs < 7 || r.DigestsEqual == 0 || r.BytesMoved == 0 || r.MBPerSecond <= 0 || r.PauseMaxMs <= 0 {
		t.Errorf("the moves are not as they should be:\n%s", out)
	}
	if !r.KilledInMove || r.OutageSlots == 0 || r.Verdict != "ok" || r.RecordedOps < 100 || r.KeysVerified != 2000 || r.Operations < 1000 {
		t.Errorf("the kill or the clients are not as they should be:\n%s", out)
	}
	for path, want := range map[string]string{r.Picture: "<html", r.History: "rec:{", filepath.Join(dir, "node-3.log"): "msg=ready"} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, want that it has %q", path, err, want)
		}
	}
	if out, err := godwit("demo", "--dir", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "is not empty") {
		t.Errorf("a directory that is in use: %v\n%s", err, out)
	}
}

// TestDemoInterrupted interrupts the demo: its nodes must not stay behind.
func TestDemoInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	cmd := godwit("demo", "--keys", "2000", "--slots", "12", "--dir", dir)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	pids := awaitPids(t, dir, 3)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-over:
		if err == nil || !strings.Contains(out.String(), "interrupted; the nodes are stopped") {
			t.Errorf("an interrupted demo ends with %v\n%s", err, &out)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the demo goes on")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("node %d is still there", pid)
		}
	}
}

// awaitPids waits until the nodes of a demo are ready and returns their process ids.
func awaitPids(t *testing.T, dir string, n int) []int {
	t.Helper()
	pattern := regexp.MustCompile(`msg=ready.* pid=(\d+)`)
	for range 200 {
		var pids []int
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, path := range logs {
			text, err := os.ReadFile(path)
			if m := pattern.FindSubmatch(text); err == nil && m != nil {
				pid, _ := strconv.Atoi(string(m[1]))
				pids = append(pids, pid)
			}
		}
		if len(pids) == n {
			return pids
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the nodes of the demo are not ready")
	return nil
}

func TestDemoOptions(t *testing.T) {
	for want, args := range map[string][]string{
		"--nodes is 1: want 2 to 16":        {"--nodes", "1"},
		"--slots is 5: want 12 to 5461":     {"--slots", "5"},
		"--value-size is 1: want 24 to":     {"--value-size", "1"},
		"--clients is 1: want 4 to 1000":    {"--clients", "1"},
		"--keys is 0: want 100 to":          {"--keys", "0"},
		"--duration is 1s: want 3s to 1h":   {"--duration", "1s"},
		"unknown flag: --nodess":            {"--nodess", "1"},
		"invalid argument \"x\" for \"--ke": {"--keys", "x"},
	} {
		mustFail(t, want, append([]string{"demo"}, args...)...)
	}
}

func demoNodes(n int) []*demoNode {
	nodes := make([]*demoNode, n)
	for i := range nodes {
		nodes[i] = &demoNode{index: i, addr: "a" + strconv.Itoa(i)}
		nodes[i].born.AddRange(slot.Range{First: slot.Slot(i * slot.Count / n), Last: slot.Slot((i+1)*slot.Count/n - 1)})
	}
	return nodes
}

func TestDemoPlan(t *testing.T) {
	for _, c := range []struct{ nodes, moves int }{{2, 8}, {3, 12}, {3, 96}, {3, 97}, {5, 23}, {16, 1024}} {
		nodes := demoNodes(c.nodes)
		p := newDemoPlan(nodes, c.moves)
		total, all := p.kill.Len(), p.kill.Len()
		for i, set := range p.there {
			total += 2 * set.Len()
			all += set.Len()
			for _, sl := range set.Slots() {
				if !nodes[i].born.Has(sl) || p.kill.Has(sl) {
					t.Errorf("%+v: slot %d is planned for twice or not of node %d", c, sl, i)
				}
			}
			if set.Len() == 0 {
				t.Errorf("%+v: nothing moves from node %d", c, i)
			}
		}
		moving := p.moving()
		if total != c.moves || moving.Len() != all || p.kill.Len() < c.moves/2 {
			t.Errorf("%+v: %d moves of %d slots (%d counted)", c, total, moving.Len(), all)
		}
		recorded := p.recorded(recordedKeys)
		unique := slices.Compact(slices.Sorted(slices.Values(recorded)))
		if len(unique) != len(recorded) || len(recorded) == 0 || len(recorded) > recordedKeys {
			t.Errorf("%+v: recorded slots %d", c, recorded)
		}
		for _, sl := range recorded {
			if !moving.Has(sl) {
				t.Errorf("%+v: recorded slot %d does not move", c, sl)
			}
		}
	}
}

func TestDemoKeys(t *testing.T) {
	p := newDemoPlan(demoNodes(3), 12)
	moving := p.moving()
	k := newDemoKeys(demoOptions{keys: 100, valueSize: 64}, moving)
	for i := range k.count {
		if in := moving.Has(slot.OfKey([]byte(k.name(i)))); i%2 == 0 && !in {
			t.Errorf("%s does not lie in a slot that moves", k.name(i))
		}
		value := k.value(i, 7)
		if len(value) != 64 || k.version(i, value) != 7 || k.version(i+1, value) != -1 || k.version(i, value[:63]) != -1 {
			t.Errorf("the value %q of key %d is not read back", value, i)
		}
	}
	for _, bad := range []string{"", "1", "1.", "1.2", "1.x.", "..", "1.-1."} {
		if v := k.version(1, bad); v != -1 {
			t.Errorf("%q is taken for version %d", bad, v)
		}
	}
}

func TestLoadClientKnowsWhatMayBeThere(t *testing.T) {
	d := &demo{o: demoOptions{keys: 100, valueSize: 64}}
	p := newDemoPlan(demoNodes(3), 12)
	d.keys = newDemoKeys(d.o, p.moving())
	c := newLoadClient(d, nil, 1, 3)
	c.acked[2], c.unknown[2] = 5, []int{6, 8}
	for version := range 10 {
		want := version == 5 || version == 6 || version == 8
		if got := c.may(2, d.keys.value(7, version)); got != want {
			t.Errorf("version %d: got %t", version, got)
		}
	}
	if c.may(2, "") || c.may(2, d.keys.value(4, 5)) {
		t.Error("nothing, or the value of another key, is taken for its own")
	}
}

// TestDemoOutage checks which operations are excused: those on slots of the killed node, while it was away.
func TestDemoOutage(t *testing.T) {
	d := &demo{outage: demoOutage{node: &demoNode{addr: "n"}, begin: 100, end: 200, slots: slot.SetOf(slot.Range{First: 5, Last: 9})}}
	for _, c := range []struct {
		begin, end int64
		slot       slot.Slot
		want       bool
	}{
		{110, 120, 5, true}, {50, 100, 9, true}, {200, 300, 7, true}, {50, 300, 7, true},
		{110, 120, 4, false}, {110, 120, 10, false}, {50, 99, 5, false}, {201, 300, 5, false},
	} {
		if got := d.outage.covers(clientEvent{begin: c.begin, end: c.end, slot: c.slot}); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
	if (&demoOutage{slots: d.outage.slots}).covers(clientEvent{slot: 5}) {
		t.Error("an outage that never was excuses an operation")
	}

	late := clientEvent{begin: 210, end: 220, slot: 5, connecting: true}
	if d.remembered(late) {
		t.Error("an error counts as remembered although no attempt to connect has failed")
	}
	d.refused.Store("n", int64(199))
	if !d.remembered(late) {
		t.Error("an error that the library remembered is not recognised")
	}
	for _, e := range []clientEvent{{begin: 210, end: 220, slot: 4, connecting: true}, {begin: 210, end: 220, slot: 5}} {
		if d.remembered(e) {
			t.Errorf("%+v counts as remembered", e)
		}
	}
	d.refused.Store("n", int64(205))
	if d.remembered(late) {
		t.Error("an error counts as remembered although an attempt failed after the return")
	}
}

func TestDemoReportNamesFailures(t *testing.T) {
	good := demoReport{Verdict: "ok", KilledInMove: true}
	if f := good.failures(); len(f) != 0 {
		t.Errorf("a good report fails: %q", f)
	}
	for want, spoil := range map[string]func(*demoReport){
		"acknowledged writes are lost": func(r *demoReport) { r.Lost = 1 },
		"cannot have been there":       func(r *demoReport) { r.WrongReads = 1 },
		"clients saw 2 errors":         func(r *demoReport) { r.Errors = 2 },
		"the verdict is unknown":       func(r *demoReport) { r.Verdict = "unknown" },
		"the verdict is illegal":       func(r *demoReport) { r.Verdict = "illegal" },
		"copies of 3 slots differ":     func(r *demoReport) { r.DigestsDiffer = 3 },
		"no node was killed":           func(r *demoReport) { r.KilledInMove = false },
		"is not healthy: two owners":   func(r *demoReport) { r.Problems = []string{"two owners"} },
	} {
		r := good
		spoil(&r)
		if f := r.failures(); len(f) != 1 || !strings.Contains(f[0], want) {
			t.Errorf("got %q, want one failure that says %q", f, want)
		}
	}
}

func TestMoveTime(t *testing.T) {
	d := &demo{jobs: []*demoJob{{begin: 0, end: 10}, {begin: 5, end: 20}, {begin: 30, end: 60}},
		outage: demoOutage{node: &demoNode{}, begin: 40, end: 45}}
	if got := d.moveTime(); got != 20+30-5 {
		t.Errorf("got %d", got)
	}
}
