package main

import (
	"runtime"
	"testing"

	"godwit/engine/host"
)

// TestAddProcessor: one more goroutine may run at once, the number of loops stays what it was, and whoever says how many is obeyed.
func TestAddProcessor(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "7")
	if addProcessor(&host.Config{}); runtime.GOMAXPROCS(0) != before {
		t.Errorf("%d at once, though the environment says how many", runtime.GOMAXPROCS(0))
	}
	t.Setenv("GOMAXPROCS", "")
	for _, c := range []struct{ processors, loops, want int }{{1, 0, -1}, {2, 0, 1}, {3, 0, 1}, {4, 0, 2}, {4, 3, 3}, {4, -1, -1}} {
		runtime.GOMAXPROCS(c.processors)
		cfg := host.Config{Loops: c.loops}
		addProcessor(&cfg)
		if n := runtime.GOMAXPROCS(0); n != c.processors+1 || cfg.Loops != c.want {
			t.Errorf("%d processors and %d loops: %d at once and %d loops, want %d and %d", c.processors, c.loops, n, cfg.Loops, c.processors+1, c.want)
		}
	}
}
