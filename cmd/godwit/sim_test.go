package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"godwit/sim"
)

func TestParseSeeds(t *testing.T) {
	for text, want := range map[string]seedRange{"7": {7, 7}, "1-1000": {1, 1000}} {
		if got, err := parseSeeds(text); err != nil || got != want {
			t.Errorf("%q: got %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "5-", "-5", "9-3", "1-2-3"} {
		if got, err := parseSeeds(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

// TestSimPart runs what a worker process runs: its share of the seeds, one JSON object a line.
func TestSimPart(t *testing.T) {
	var out bytes.Buffer
	if err := simPart(&out, seedRange{1, 4}, "1/2"); err != nil {
		t.Fatal(err)
	}
	var seeds []uint64
	for line := range strings.Lines(out.String()) {
		var r sim.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if !r.OK() {
			t.Errorf("seed %d: %v", r.Seed, r.Violation)
		}
		seeds = append(seeds, r.Seed)
	}
	if len(seeds) != 2 || seeds[0] != 2 || seeds[1] != 4 {
		t.Errorf("ran seeds %v, want 2 and 4", seeds)
	}
	for _, part := range []string{"", "1", "1/0", "a/b"} {
		if err := simPart(&out, seedRange{1, 4}, part); err == nil {
			t.Errorf("the part %q was accepted", part)
		}
	}
}

// TestPrintSeed checks the order of the keys and the line that replays a failure.
func TestPrintSeed(t *testing.T) {
	r := sim.Result{Seed: 5, Events: 1, Operations: 2, Jobs: 3, Faults: 4, Virtual: 5e6, TraceHash: 0xab}
	var out bytes.Buffer
	if err := printSeed(&out, &r, true); err != nil {
		t.Fatal(err)
	}
	want := `{"seed":5,"verdict":"ok","events":1,"operations":2,"jobs":3,"faults":4,"virtual_ms":5,"trace_hash":"00000000000000ab"}` + "\n"
	if out.String() != want {
		t.Errorf("got %swant %s", out.String(), want)
	}
	out.Reset()
	r.Violation = &sim.Violation{Property: "one-owner", Detail: "two", At: 1e9}
	if err := printSeed(&out, &r, false); err != nil {
		t.Fatal(err)
	}
	if line := out.String(); !strings.Contains(line, "seed 5") || !strings.Contains(line, "one-owner at 1.000000 s: two") || !strings.Contains(line, "godwit sim replay 5") {
		t.Errorf("got %s", line)
	}
}
