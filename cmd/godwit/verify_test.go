package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"godwit/engine/slot"
)

// verifySlot is the slot of the keys of these tests.
var verifyTag, verifyOf = "{v}", slot.OfKey([]byte("{v}"))

// twoClusters starts two clusters of one node each.
func twoClusters(t *testing.T) (a, b *process) {
	t.Helper()
	nodes := startNodes(t, 2)
	for _, n := range nodes {
		mustRun(t, "cluster", "create", "--nodes", n.addr)
	}
	return nodes[0], nodes[1]
}

// pour runs many commands in pipelines and requires that none is answered with an error.
func pour(t *testing.T, addr string, n int, command func(i int) []string) {
	t.Helper()
	c, err := dial(addr, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const depth = 500
	for i := 0; i < n; i += depth {
		for j := i; j < min(n, i+depth); j++ {
			c.send(command(j)...)
		}
		if err := c.w.Flush(); err != nil {
			t.Fatal(err)
		}
		for range min(n, i+depth) - i {
			if _, err := c.receive(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// verifyRun runs godwit verify and returns its report and exit status.
func verifyRun(t *testing.T, args ...string) (r VerifyReport, status int) {
	t.Helper()
	cmd := godwit(append([]string{"verify", "--json"}, args...)...)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if failed != nil {
		status = failed.ExitCode()
	}
	if status == 1 {
		t.Fatalf("godwit verify %q failed: %s", args, failed.Stderr)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r, status
}

// kinds is the differences as "kind key", sorted.
func (r *VerifyReport) kinds() (out []string) {
	for _, d := range r.Differences {
		out = append(out, d.Kind+" "+d.Key)
	}
	slices.Sort(out)
	return out
}

// TestVerify requires that a comparison finds each kind of difference and no other, and that a repair mends them.
func TestVerify(t *testing.T) {
	a, b := twoClusters(t)
	for _, p := range []*process{a, b} {
		pour(t, p.addr, 3000, func(i int) []string { return []string{"SET", fmt.Sprint(verifyTag, i), fmt.Sprint("value ", i)} })
		pour(t, p.addr, 5000, func(i int) []string { return []string{"HSET", verifyTag + "hash", fmt.Sprint("f", i), "v"} })
		pour(t, p.addr, 200, func(i int) []string { return []string{"RPUSH", verifyTag + "list", fmt.Sprint("e", i)} })
	}
	between := []string{"--from", a.addr, "--to", b.addr, "--slots", strconv.Itoa(int(verifyOf)) + " 7-8"}
	if r, status := verifyRun(t, between...); status != 0 || r.Equal != 3 || r.Items != 3000+5001+201 {
		t.Fatalf("equal copies: %+v, status %d", r, status)
	}
	pour(t, b.addr, 6, func(i int) []string {
		return [][]string{
			{"SET", verifyTag + "1234", "value 1235"}, // one bit
			{"DEL", verifyTag + "77"},
			{"SET", verifyTag + "extra", "x"},
			{"HSET", verifyTag + "hash", "f4321", "w"},
			{"PEXPIREAT", verifyTag + "list", "9999999999999"},
			{"SET", "{06S}", "x"}, // slot 0, which is not compared
		}[i]
	})
	want := []string{"different {v}1234", "different {v}hash", "different {v}list", "extra {v}extra", "missing {v}77"}
	r, status := verifyRun(t, between...)
	if status != statusDiffer || r.Equal != 2 || !slices.Equal(r.kinds(), want) {
		t.Fatalf("found %q, status %d", r.kinds(), status)
	}
	if r, status = verifyRun(t, append(between, "--repair")...); status != statusDiffer || r.Mended != 0 || !strings.Contains(r.Differences[0].Note, "FORCE") {
		t.Errorf("a repair of a slot that is served: %+v, status %d", r, status)
	}
	if r, status = verifyRun(t, append(between, "--most", "2")...); status != statusDiffer || len(r.Differences) != 2 || len(r.More) != 1 {
		t.Errorf("two at most: %+v, status %d", r, status)
	}
	if r, status = verifyRun(t, append(between, "--repair", "--force")...); status != 0 || r.Mended != len(want) {
		t.Errorf("the repair: %+v, status %d", r, status)
	}
	if r, status = verifyRun(t, between...); status != 0 || r.Equal != 3 {
		t.Errorf("after the repair: %+v, status %d", r, status)
	}
	if r, status = verifyRun(t, append(between, "--stored")...); status != statusDiffer || r.Differences[0].Kind != "stored" {
		t.Errorf("copies that were written by clients of two nodes are stored alike: %+v, status %d", r, status)
	}
	mustFail(t, "the only copy", "verify", "--slots", "5", "--from", a.addr, "--to", a.addr)
	mustFail(t, "--slots is empty", "verify", "--slots", " ", "--from", a.addr, "--to", b.addr)
	mustFail(t, "does not answer", "verify", "--slots", "5", "--from", a.addr, "--to", closedAddr(t))
}

// TestVerifyKeptCopy compares the copy that a source keeps with the slot where it went, and mends the copy.
func TestVerifyKeptCopy(t *testing.T) {
	nodes := startNodes(t, 2)
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	sl := strconv.Itoa(int(verifyOf))
	from, to := nodes[0], nodes[1]
	if verifyOf >= slot.Count/2 {
		from, to = to, from
	}
	pour(t, from.addr, 300, func(i int) []string { return []string{"SET", fmt.Sprint(verifyTag, i), "v"} })
	mustRun(t, "migrate", "start", "--node", from.addr, "--slots", sl, "--to", to.addr, "--hold-source", "10m", "--wait")
	pour(t, to.addr, 1, func(int) []string { return []string{"SET", verifyTag + "5", "newer"} })
	between := []string{"--from", to.addr, "--to", from.addr, "--slots", sl}
	mustFail(t, "the only copy", append([]string{"verify", "--repair", "--force"}, between...)...) // what was given away has to be asked for
	between = append(between, "--kept")
	if r, status := verifyRun(t, between...); status != statusDiffer || !slices.Equal(r.kinds(), []string{"different {v}5"}) {
		t.Fatalf("%+v, status %d", r, status)
	}
	if r, status := verifyRun(t, append(between, "--repair")...); status != 0 || r.Mended != 1 {
		t.Errorf("the repair of a copy that is kept: %+v, status %d", r, status)
	}
	if r, status := verifyRun(t, append(between, "--stored")...); status != 0 || r.Equal != 1 {
		t.Errorf("records that were moved as they are: %+v, status %d", r, status)
	}
}

// TestVerifyFindsSlotsThatMove requires that a slot that leaves the node that was chosen for it, before it is compared, is compared with the node
// that serves it then. The node that it has left has nothing of it, which is no reason to delete it elsewhere.
func TestVerifyFindsSlotsThatMove(t *testing.T) {
	nodes := startNodes(t, 3)
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes[:2]))
	mustRun(t, "cluster", "create", "--nodes", nodes[2].addr)
	a, other, b := nodes[0], nodes[1], nodes[2]
	if verifyOf >= slot.Count/2 {
		a, other = other, a
	}
	for _, p := range []*process{a, b} {
		pour(t, p.addr, 300, func(i int) []string { return []string{"SET", fmt.Sprint(verifyTag, i), "v"} })
	}
	pour(t, b.addr, 1, func(int) []string { return []string{"SET", verifyTag + "5", "w"} })
	v := &verifier{ctx: t.Context(), conns: map[string]*conn{}, progress: newVerifyProgress(io.Discard, 1),
		verifyFlags: verifyFlags{from: a.addr, to: b.addr, repair: true, force: true, most: 1000}}
	defer v.close()
	var chosen [2]map[slot.Slot]holder
	for i, addr := range []string{v.from, v.to} {
		var err error
		if chosen[i], err = v.holders(addr, []slot.Slot{verifyOf}); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "migrate", "start", "--node", a.addr, "--slots", strconv.Itoa(int(verifyOf)), "--to", other.addr, "--wait", "--update-map")
	p := pair{chosen[0][verifyOf], chosen[1][verifyOf]}
	if err := v.one(verifyOf, &p); err != nil {
		t.Fatal(err)
	}
	if p.from.addr != other.addr || !slices.Equal(v.report.kinds(), []string{"different {v}5"}) || v.report.Mended != 1 || v.report.Items != 300 {
		t.Errorf("compared with %s: %+v", p.from.addr, v.report)
	}
	c, err := dial(b.addr, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if n, err := c.do(callTime, "CLUSTER", "COUNTKEYSINSLOT", strconv.Itoa(int(verifyOf))); err != nil || n.Int != 300 {
		t.Errorf("the second side has %d keys left of 300, %v", n.Int, err)
	}
}

// busySide is a momentSide that is written to until it was looked at so often.
type busySide struct {
	name  string
	calls *[]string
	busy  int
}

func (s *busySide) open(slot.Slot) error {
	*s.calls = append(*s.calls, s.name)
	return nil
}

func (s *busySide) written() (bool, error) {
	*s.calls = append(*s.calls, s.name+"?")
	s.busy--
	return s.busy >= 0, nil
}

// TestVerifyHoldsAMoment requires that the first side is asked whether it was written to when the second has been opened, and that a slot that
// is written to all the while is not compared.
func TestVerifyHoldsAMoment(t *testing.T) {
	var calls []string
	a, b := &busySide{"a", &calls, 1}, &busySide{"b", &calls, 0}
	if held, err := holdMoment(t.Context(), 7, a, b); !held || err != nil || strings.Join(calls, " ") != "a b a? a b a?" {
		t.Errorf("written to at one look: %v, %v, %q", held, err, calls)
	}
	calls, a.busy = nil, verifyTries
	if held, err := holdMoment(t.Context(), 7, a, b); held || err != nil || len(calls) != 3*verifyTries {
		t.Errorf("written to at every look: %v, %v, %q", held, err, calls)
	}
	r := VerifyReport{Slots: 2, Equal: 1, Written: []slot.Slot{7}}
	if status := exitStatus(r.result()); status != statusWritten {
		t.Errorf("status %d", status)
	}
	r = VerifyReport{Slots: 2, Equal: 1, Moved: []slot.Slot{7}}
	if status := exitStatus(r.result()); status != statusWritten {
		t.Errorf("a slot that moved: status %d", status)
	}
}

// TestVerifyNeedle requires that one flipped bit and one missing key are found among many: ten million with make test-long.
func TestVerifyNeedle(t *testing.T) {
	n := 20_000
	if text := os.Getenv("GODWIT_LONG_KEYS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	a, b := twoClusters(t)
	for _, p := range []*process{a, b} {
		pour(t, p.addr, n, func(i int) []string {
			return []string{"SET", fmt.Sprintf("{%d}%d", i%7, i), fmt.Sprintf("value %08d", i)}
		})
	}
	i, j := n/3, n/2
	pour(t, b.addr, 2, func(k int) []string {
		return [][]string{{"SET", fmt.Sprintf("{%d}%d", i%7, i), fmt.Sprintf("value %08d", i^1)}, {"DEL", fmt.Sprintf("{%d}%d", j%7, j)}}[k]
	})
	var set slot.Set
	for k := range 7 {
		set.Add(slot.OfKey(strconv.AppendInt(nil, int64(k), 10)))
	}
	r, status := verifyRun(t, "--from", a.addr, "--to", b.addr, "--slots", set.String())
	want := []string{fmt.Sprintf("different {%d}%d", i%7, i), fmt.Sprintf("missing {%d}%d", j%7, j)}
	if status != statusDiffer || !slices.Equal(r.kinds(), want) || r.Items != uint64(n) {
		t.Fatalf("found %q among %d, want %q, status %d", r.kinds(), r.Items, want, status)
	}
	t.Logf("%d keys compared in %.1f s", r.Items, r.Seconds)
}
