package sim

import (
	"slices"
	"strings"
	"testing"

	"godwit/engine/store"
)

// record runs a seed and keeps its lines.
func record(seed uint64, cfg Config) (Result, []Line) {
	var lines []Line
	cfg.Watch = Lines(func(l Line) { lines = append(lines, l) })
	return Run(seed, cfg), lines
}

// TestPlantedMapOrder plants an iteration over a Go map: the hash must show it, and the comparison must name the command that came
// in another order.
func TestPlantedMapOrder(t *testing.T) {
	cfg := Config{Caches: store.NewCaches(), Planted: true, Checkpoints: true}
	first, lines := record(1, cfg)
	for range 6 { // five slots have 120 orders: seven equal ones do not happen
		r, other := record(1, cfg)
		if r.TraceHash == first.TraceHash {
			continue
		}
		d := Compare(lines, other)
		if d == nil {
			t.Fatal("the hashes differ, and no line does")
		}
		// What shows of it first is the filler of another slot.
		for _, line := range []string{d.A, d.B} {
			if !strings.Contains(line, "  arrive ") || !strings.Contains(line, `["MSET" "{t`) {
				t.Errorf("got the line %s", line)
			}
		}
		if d.A == d.B || len(d.Before) != linesBefore {
			t.Errorf("got %+v", d)
		}
		at := d.Number - 1
		if lines[at].Hash == other[at].Hash || lines[at-1].Hash != other[at-1].Hash {
			t.Errorf("line %d is not where the hashes part", d.Number)
		}
		from, to, line := Parted(first.Checkpoints, r.Checkpoints)
		if from.At > setupTime/4 || to.At < setupTime/4 {
			t.Errorf("the filler is written at %v, and the checkpoints part between %v and %v, line %d", setupTime/4, from.At, to.At, line)
		}
		t.Log(d.Show("a", "b"))
		return
	}
	t.Error("seven runs that depend on the order of a map have one hash")
}

// TestCompare compares runs that are equal, that end early, and that differ where the text does not show it.
func TestCompare(t *testing.T) {
	run := []Line{{1, "one", nil}, {1, "said", nil}, {2, "two", []byte("content")}}
	other := slices.Clone(run)
	other[2] = Line{3, "two", []byte("contempt")}
	if d := Compare(run, slices.Clone(run)); d != nil {
		t.Errorf("equal runs: %+v", d)
	}
	if d := Compare(run, run[:2]); d == nil || d.Number != 3 || d.B != "" || d.A != "two" || len(d.Before) != 2 {
		t.Errorf("a run that ends early: %+v", d)
	}
	d := Compare(run, other)
	if d == nil || !strings.Contains(d.Show("a", "b"), `at byte 5, of 7 and 8: "nt" and "mpt"`) {
		t.Fatalf("another content: %+v", d)
	}
	long := strings.Repeat("x", 400)
	if got := (&Difference{Number: 1, A: long + "ab", B: long + "cb"}).Show("a", "b"); !strings.Contains(got, "x…x") || !strings.Contains(got, "xab    [a]") || len(got) > 500 {
		t.Errorf("long lines: %s", got)
	}
	if other[2].Hash = 2; Compare(run, other) != nil {
		t.Error("what is not hashed was compared")
	}
	if other[1].Text = "unsaid"; Compare(run, other).Number != 2 {
		t.Error("a text that only readable traces have was not compared")
	}
}
