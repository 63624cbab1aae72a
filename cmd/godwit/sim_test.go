package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

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

// TestSeedRange counts at both ends of what a seed can be.
func TestSeedRange(t *testing.T) {
	for r, want := range map[seedRange]int{{7, 7}: 1, {1, 5}: 5, {math.MaxUint64 - 1, math.MaxUint64}: 2} {
		next, got := r.each(), 0
		for seed, ok := next(); ok && got < 10; seed, ok = next() {
			if seed != r.first+uint64(got) {
				t.Errorf("%v: seed %d came as number %d", r, seed, got)
			}
			got++
		}
		if got != want {
			t.Errorf("%v: %d seeds", r, got)
		}
	}
}

// TestSimWork runs what a worker process runs: the seeds that it is told, one JSON object a line.
func TestSimWork(t *testing.T) {
	var out bytes.Buffer
	if err := simWork(strings.NewReader(`{"Seed":2}{"Seed":4,"Checkpoints":true,"Lines":true}`), &out); err != nil {
		t.Fatal(err)
	}
	var seeds []uint64
	lines, checkpoints := 0, 0
	for line := range strings.Lines(out.String()) {
		var a simAnswer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if a.Result == nil {
			lines++
			continue
		}
		if !a.Result.OK() {
			t.Errorf("seed %d: %v", a.Result.Seed, a.Result.Violation)
		}
		if seeds = append(seeds, a.Result.Seed); len(seeds) == 1 && lines > 0 {
			t.Error("lines that nobody asked for")
		}
		checkpoints += len(a.Result.Checkpoints)
	}
	if lines < 1000 || checkpoints == 0 || checkpoints > lines {
		t.Errorf("%d lines, %d checkpoints", lines, checkpoints)
	}
	if len(seeds) != 2 || seeds[0] != 2 || seeds[1] != 4 {
		t.Errorf("ran seeds %v, want 2 and 4", seeds)
	}
	if err := simWork(strings.NewReader(`{"Seed":"x"}`), &out); err == nil {
		t.Error("the seed x was accepted")
	}
}

// TestSimTidier demands a collection when enough was allocated since the one before, and none else.
func TestSimTidier(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	tidier := newSimTidier()
	allocate := func() { runtime.KeepAlive(make([]byte, simRoom)) }
	collections := func() uint32 {
		var m runtime.MemStats
		tidier.tidy()
		runtime.ReadMemStats(&m)
		return m.NumGC
	}
	for range 2 {
		allocate()
		before := collections() // one of them at least is by the bytes above
		if after := collections(); after != before {
			t.Errorf("%d collections, though nothing was allocated", after-before)
		}
		allocate()
		if after := collections(); after != before+1 {
			t.Errorf("%d collections after %d bytes", after-before, simRoom)
		}
		t.Setenv("GOGC", "100")
		allocate()
		if after := collections(); after != before+1 {
			t.Error("a collection, though the environment decides")
		}
		t.Setenv("GOGC", "")
	}
}

// fakeWorker is a pool whose workers are this shell script, which is run for each task, with its seed in $seed.
func fakeWorker(script string) *simPool {
	return &simPool{hang: time.Second, command: func() *exec.Cmd {
		return exec.Command("sh", "-c", "while read -r task; do seed=${task##*:}; seed=${seed%?}; "+script+"; done")
	}}
}

// TestSimPool runs seeds in workers of which some end, hang or print what is no result: each seed has a result, and the pool goes on.
func TestSimPool(t *testing.T) {
	pool := fakeWorker(`case $seed in 3) exit 7;; 5) exec sleep 60;; 6) echo "?";; *) echo "{\"Result\": {\"Seed\": $seed}}";; esac`)
	ordered, next := newInOrder(), uint64(1)
	for s := range pool.run(3, seedRange{1, 12}.each()) {
		err := ordered.add(s, func(r *sim.Result) error {
			if r.Seed != next {
				t.Errorf("seed %d came in the place of %d", r.Seed, next)
			}
			next++
			text := ""
			if r.Violation != nil {
				text = r.Violation.Error()
			}
			for seed, want := range map[uint64]string{3: "exit status 7", 5: "did not end within 1s", 6: "output"} {
				if seed == r.Seed && (!strings.Contains(text, want) || r.Violation.Property != propertyProcess) {
					t.Errorf("seed %d: got %q, want %q", seed, text, want)
				}
			}
			if failed := r.Seed == 3 || r.Seed == 5 || r.Seed == 6; !failed && text != "" {
				t.Errorf("seed %d: %s", r.Seed, text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := pool.err(); err != nil || next != 13 || len(ordered.waiting) != 0 {
		t.Errorf("%v: %d seeds, %d are left", err, next-1, len(ordered.waiting))
	}
}

// TestSimPoolGivesUp demands that workers that always end are not started for ever.
func TestSimPoolGivesUp(t *testing.T) {
	pool, results := fakeWorker("exit 1"), 0
	for range pool.run(2, seedRange{1, math.MaxUint64}.each()) {
		results++
	}
	if err := pool.err(); err == nil || results > maxWorkerDeaths+2 {
		t.Errorf("%v after %d results", err, results)
	}
}

// TestSimRunFlags gives flags that do not go together.
func TestSimRunFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--seeds", "1-5", "--for", "1s"}, {"--from", "7"}, {"--for", "-1s"}, {"--workers", "0"}, {"--seeds", "5-1"}, {"--hang", "0s"}, {"x"},
	} {
		if out, err := simOut(append([]string{"run"}, args...)...); err == nil {
			t.Errorf("run %q was accepted: %.100s", args, out)
		}
	}
}

// TestSimSummary sums up runs of which some failed, and prints what a reader needs to go on.
func TestSimSummary(t *testing.T) {
	s := newSimSummary(time.Now())
	for seed := uint64(10); seed < 30; seed++ {
		r := sim.Result{Seed: seed, Operations: 1, Succeeded: 1, FaultKinds: []sim.FaultCount{{Kind: sim.Marks()[0], Count: 1}}}
		switch {
		case seed == 13:
			r.Violation = &sim.Violation{Property: "pause", Detail: "long"}
		case seed%2 == 0:
			r.Violation = &sim.Violation{Property: "digests", Detail: "differ"}
		}
		s.add(&r)
	}
	var text, line bytes.Buffer
	if err := errors.Join(s.print(&text, time.Second, false), s.print(&line, time.Second, true)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"9 ok, 11 failed (seeds 10 to 29); 20.0 seeds/s", "1 of ", "never: ", "digests   10     10 12 14 16 18", "godwit sim replay 10 --trace", "pause     1      13",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
	var got summaryLine
	if err := json.Unmarshal(line.Bytes(), &got); err != nil || got.Properties["digests"].Failed != 10 || len(got.Properties["digests"].First) != maxFirstSeeds || got.Marks != len(got.MarksMissing)+1 {
		t.Errorf("%v: %s", err, line.String())
	}
	var shown bytes.Buffer
	p := newSimProgress(&shown, time.Minute, s)
	p.show()
	p.end()
	if !strings.HasPrefix(shown.String(), "20 seeds, ") || !strings.Contains(shown.String(), "11 failed (digests, pause), 0s of 1m0s\n") {
		t.Errorf("progress: %q", shown.String())
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
