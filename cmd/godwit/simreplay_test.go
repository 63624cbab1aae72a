package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/engine/mutant"
	"godwit/sim"
)

// simOut runs "godwit sim" with arguments.
func simOut(args ...string) (string, error) {
	var out bytes.Buffer
	c := newSimCommand()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SilenceUsage = true
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

// TestSimReplay replays a seed in each of the ways in which it can be shown.
func TestSimReplay(t *testing.T) {
	quiet, err := simOut("replay", "2")
	if err != nil || strings.Count(quiet, "\n") != 1 || !strings.Contains(quiet, `"verdict":"ok"`) {
		t.Fatalf("%v: %.300s", err, quiet)
	}
	all, err := simOut("replay", "2", "--trace")
	if err != nil || !strings.HasSuffix(all, quiet) {
		t.Errorf("%v: the verdict differs when it is traced", err)
	}
	few, err := simOut("replay", "2", "--kind", "record,fault", "--node", "n1", "--from", "1s")
	if err != nil || len(few) >= len(all) || !strings.Contains(few, "  record  ") || strings.Contains(few, "  send  ") {
		t.Errorf("%v: filtered: %.300s", err, few)
	}
	path := filepath.Join(t.TempDir(), "run.html")
	if _, err := simOut("replay", "2", "--html", path); err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(page, []byte("<!DOCTYPE html>")) || !bytes.HasSuffix(page, []byte("</html>\n")) {
		t.Errorf("%v: no page", err)
	}
	for _, args := range [][]string{{}, {"x"}, {"2", "--schedule", "y"}, {"2", "--decisions", "y"}, {"--schedule", "y", "--decisions", "y"}, {"--decisions", "none"}, {"--decisions", "simreplay_test.go"}, {"2", "--node", "z"}, {"2", "--kind", "sends"}, {"2", "--job", "a"}, {"--schedule", "none"}} {
		if out, err := simOut(append([]string{"replay"}, args...)...); err == nil {
			t.Errorf("replay %q was accepted: %.100s", args, out)
		}
	}
}

// TestSimShrinkRefuses shrinks what does not fail.
func TestSimShrinkRefuses(t *testing.T) {
	if out, err := simOut("shrink", "2"); err == nil || !strings.Contains(err.Error(), "nothing to shrink") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := simOut("shrink", "2", "--mutant", "no-pause"); !mutant.Built && !errors.Is(err, sim.ErrNoMutants) {
		t.Errorf("without mutants: %v", err)
	}
}

// TestSimSchedule replays the schedule that is kept: whether a property is violated depends on whether this binary has mutants.
func TestSimSchedule(t *testing.T) {
	out, err := simOut("replay", "--schedule", "../../sim/testdata/late-unpause.schedule", "--kind", "record,client")
	if mutant.Built != (err != nil) || !strings.Contains(out, "  begin  ") {
		t.Errorf("mutants: %v; %v: %.500s", mutant.Built, err, out)
	}
}

// TestSimDecisions replays an input of the fuzzer, which is a run of its own, and short.
func TestSimDecisions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, []byte("go test fuzz v1\nuint16(2)\n[]byte(\"\\x01\\x02\\x00\")\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	short, err := simOut("replay", "--decisions", path)
	if err != nil {
		t.Fatal(err)
	}
	long, err := simOut("replay", "2")
	if err != nil || short == long || !strings.Contains(short, `"seed":2,"verdict":"ok"`) {
		t.Errorf("%v: %s", err, short)
	}
}
