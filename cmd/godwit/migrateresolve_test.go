package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/engine/slot"
)

// TestResolveFromOutside loses the source of a slot that it has decided to give away: the target that waits is found by asking any node, and resolved once it
// has asked for as long as it is set to.
func TestResolveFromOutside(t *testing.T) {
	var nodes []*process
	var halts []string
	for i := range 3 {
		halts = append(halts, filepath.Join(t.TempDir(), "halt"))
		env := []string{haltVariable + "=" + halts[i]}
		nodes = append(nodes, startServerWith(t, env, "--cluster", "--dir", t.TempDir(), "--resolve-patience", "2s"))
	}
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	sl := strconv.Itoa(int(slot.OfKey([]byte("k"))))
	at := 0
	for !servedSlot(t, nodes[at], sl) {
		at++
	}
	source, target, third := nodes[at], nodes[(at+1)%3], nodes[(at+2)%3]
	ask := func(p *process, args ...string) string {
		t.Helper()
		c, err := dial(p.addr, "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		text, err := c.text(args...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	lost := ask(source, "CLUSTER", "MYID")
	ask(source, "SET", "k", "v")
	if out := mustRun(t, "migrate", "unresolved", "--node", third.addr); !strings.Contains(out, "no slot waits") {
		t.Errorf("at first: %s", out)
	}
	if err := os.WriteFile(halts[at], []byte(haltText("committing", false)), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "migrate", "start", "--node", source.addr, "--slots", sl, "--to", target.addr)
	stat := fmt.Sprintf("/proc/%d/stat", source.cmd.Process.Pid)
	eventually(t, "the source stops when it has decided", func() error {
		text, err := os.ReadFile(stat)
		if _, after, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(after, "T") {
			err = fmt.Errorf("its state is %.1s", after)
		}
		return err
	})
	if err := source.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-source.over; err == nil {
		t.Error("a node that was killed has ended well")
	}
	want := fmt.Sprintf("godwit migrate resolve commit|abort --node %s --slot %s --lost %s\n", target.addr, sl, lost)
	for _, args := range [][]string{{"--lost", lost}, nil} {
		out, err := run(append([]string{"migrate", "unresolved", "--node", third.addr}, args...)...)
		if !strings.Contains(out, want) || (err == nil) != (args != nil) { // the lost one does not answer either
			t.Errorf("unresolved %q: %v\n%s\nwant a line that ends in %s", args, err, out, want)
		}
	}
	began := time.Now()
	out := mustRun(t, "migrate", "resolve", "commit", "--node", target.addr, "--slot", sl, "--lost", lost)
	if took := time.Since(began); took < 2*time.Second || !strings.Contains(out, "is served here") || !strings.Contains(out, "keep node "+lost+" off") {
		t.Errorf("after %s: %s", took, out)
	}
	if got := ask(target, "GET", "k"); got != "v" {
		t.Errorf("the target shows %q", got)
	}
	if out := mustRun(t, "migrate", "unresolved", "--node", third.addr, "--lost", lost); !strings.Contains(out, "no slot waits") {
		t.Errorf("at the end: %s", out)
	}
}
