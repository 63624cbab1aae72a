package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"godwit/engine/mutant"
	"godwit/sim"
)

// hunted makes a hunt of runs, each of so many seeds; a negative number is one without a find.
func hunted(name mutant.Name, seeds ...int) *hunt {
	h := &hunt{mutant: sim.Mutant{Name: name, Budget: 500}, runs: make([]sim.Hunted, len(seeds))}
	for i, n := range seeds {
		h.runs[i] = sim.Hunted{Name: name, Seeds: max(n, -n)}
		if n > 0 {
			property := "digests"
			if n%2 == 1 {
				property = "rounds"
			}
			h.runs[i].Found = &sim.Result{Violation: &sim.Violation{Property: property}}
		}
	}
	return h
}

func TestHuntLine(t *testing.T) {
	for _, c := range []struct {
		h    *hunt
		want huntLine
	}{
		{hunted("a", 7), huntLine{"a", "1", "1", "7", "7", "7", "500", "rounds", "0.0"}},
		{hunted("a", 9, 4, 1, 20, 3), huntLine{"a", "5", "5", "1", "4", "20", "500", "rounds 3, digests 2", "0.0"}},
		{hunted("a", 2, -500), huntLine{"a", "2", "1", "2", "500", "not found", "500", "digests 1", "0.0"}},
	} {
		if got := c.h.line(); *got != c.want {
			t.Errorf("got %+v, want %+v", *got, c.want)
		}
	}
	if err := missed([]*hunt{hunted("a", 3), hunted("b", 1, 2)}); err != nil {
		t.Error(err)
	}
	err := missed([]*hunt{hunted("a", 3), hunted("b", 1, -500)})
	if err == nil || !strings.Contains(err.Error(), "b (1 of 2 searches, 500 seeds each)") {
		t.Errorf("a search without a find: %v", err)
	}
}

func TestReplaceTable(t *testing.T) {
	kept := "| no-drain | 20 of 20 | 1 | 15 | 104 | 300 | digests 20 |\n"
	text := "before\n" + tableBegin + "\nold\n| track-gap | old |\n| gone | 20 of 20 |\n" + kept + tableEnd + "\nafter\n"
	got, err := replaceTable(text, []*hunt{hunted("track-gap", 3, 5)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, "before\n"+tableBegin+"\n| mutant |") || !strings.HasSuffix(got, "|\n"+tableEnd+"\nafter\n") || strings.Contains(got, "\nold\n") || strings.Contains(got, "| old |") || strings.Contains(got, "| gone |") ||
		!strings.Contains(got, kept+"| track-gap |") ||
		!strings.Contains(got, "\n| track-gap | 2 of 2 | 3 | 5 | 5 | 500 | rounds 2 |\n") || !strings.Contains(got, "\n| route-before-lock | | ") {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"", tableBegin + "\n", tableEnd + "\n" + tableBegin + "\n"} {
		if _, err := replaceTable(bad, nil); err == nil {
			t.Errorf("a document without the marks was taken: %q", bad)
		}
	}
}

// TestSimMutantsFlags demands clear errors: without the build tag, whatever the flags; with it, for flags that make no sense.
func TestSimMutantsFlags(t *testing.T) {
	for _, args := range [][]string{{"--only", "no-such"}, {"--searches", "0"}, {"--seeds", "-1"}} {
		c := newSimMutantsCommand()
		c.SetArgs(args)
		c.SetOut(&bytes.Buffer{})
		c.SilenceErrors, c.SilenceUsage = true, true
		err := c.Execute()
		if err == nil || errors.Is(err, sim.ErrNoMutants) == mutant.Built {
			t.Errorf("%q: %v", args, err)
		}
	}
}
