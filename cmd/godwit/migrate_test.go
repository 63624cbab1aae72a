package main

import (
	"bytes"
	"strings"
	"testing"

	"godwit/engine"
)

// TestJobTexts: what people see of a job that runs: how far it is, how fast, how long, and what it waits for.
func TestJobTexts(t *testing.T) {
	j := engine.JobReport{
		ID: "1f3a5c7e-4", Counter: 4, Target: "abcdef0123456789", State: engine.JobWAL, Step: "changes", Slots: 100, MovedSlots: 35, Bytes: 1_200_000_000, Records: 9,
		Percent: 35.4, RateBytes: 20_000_000, LeftMs: 61_400, Waiting: "throttle of the node: 20 MB/s (window 07:00-23:00 UTC+02:00)",
	}
	if got := paceText(j); got != "35.4 % at 20.0 MB/s, about 1m2s left" {
		t.Errorf("pace: %q", got)
	}
	for name, text := range map[string]string{"line": jobLine(j), "bar": barText(j)} {
		for _, want := range []string{"35", "100", "1.20 GB", "35.4 % at 20.0 MB/s, about 1m2s left", "waits: throttle of the node"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q has no %q", name, text, want)
			}
		}
	}
	var out bytes.Buffer
	p := newJobProgress(&out)
	p.show(j)
	p.end()
	if !strings.Contains(out.String(), "35.4 %") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("not on a terminal: %q", out.String())
	}
	out.Reset()
	j.Ended, j.Waiting = true, ""
	if printJob(&out, j); strings.Contains(out.String(), "progress") {
		t.Errorf("a job that has ended: %s", out.String())
	}
}
