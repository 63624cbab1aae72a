package sim

import (
	"slices"
	"testing"

	"godwit/engine/store"
)

// TestCrashPoints crashes at every point of the moves, each in one case that changes from point to point; `godwit sim
// crashpoints` takes them all.
func TestCrashPoints(t *testing.T) {
	cfg := Config{Caches: store.NewCaches()}
	points, err := CrashPoints(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range Steps() {
		if !slices.ContainsFunc(points, func(p CrashPoint) bool { return p.Step == step }) {
			t.Errorf("no point in step %s", step)
		}
	}
	for _, event := range []string{"syncs log", "syncs table", "syncs manifest", "syncs directory", "executes data", "records prepared"} {
		if !slices.ContainsFunc(points, func(p CrashPoint) bool { return p.Event == event }) {
			t.Errorf("no point at which a party %s", event)
		}
	}
	cases := CrashCases(points)
	if want := 9 * len(points); len(cases) != want {
		t.Fatalf("%d cases of %d points, want %d", len(cases), len(points), want)
	}
	for i := range points {
		which := cases[9*i+4*i%9]
		r, err := RunCrashCase(which, points, cfg)
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if which.Who == "both" {
			want = 2
		}
		if points[i].move.resumed {
			want++ // the crash before the points
		}
		if !r.OK() || r.Faults != want {
			t.Errorf("case %s (%s): %d crashes, want %d; %v; replay: godwit sim crashpoints --only %s --trace", which, points[i], r.Faults, want, r.Violation, which)
		}
		if i == len(points)/2 {
			if again, _ := RunCrashCase(which, points, cfg); again.TraceHash != r.TraceHash {
				t.Errorf("case %s has two trace hashes, %016x and %016x", which, r.TraceHash, again.TraceHash)
			}
		}
	}
}

// TestParseCrashCase checks that cases can be read as they are printed, and nothing else.
func TestParseCrashCase(t *testing.T) {
	for _, c := range CrashCases([]CrashPoint{{Index: 0}, {Index: 31}}) {
		if got, err := ParseCrashCase(c.String()); err != nil || got != c {
			t.Errorf("%s is read as %v (%v)", c, got, err)
		}
	}
	for _, bad := range []string{"", "3", "3/both", "x/both/lost", "-1/both/lost", "3/all/lost", "3/both/gone", "3/both/lost/x"} {
		if got, err := ParseCrashCase(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
	if _, err := RunCrashCase(CrashCase{5, "both", "lost"}, nil, Config{}); err == nil {
		t.Error("a case of a point that does not exist runs")
	}
}
