package sim

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"godwit/engine/store"
)

// TestDecided replaces single draws, and no others.
func TestDecided(t *testing.T) {
	// Of the operator: pass 2 draws, 255; the next, 0. Of the clients: pass 256 modulo 256, 128. A rest of a decision.
	d := parseDecisions([]byte{laneOperator, 2, 255, laneOperator, 0, 0, laneClients + lanes, 0, 128, 7})
	own := rand.New(rand.NewPCG(1, 2))
	o, c := d.decide(laneOperator, dice{rand.New(rand.NewPCG(1, 2))}), d.decide(laneClients, newDice(1, 1, 1))
	for i := range 6 {
		got, want := o.Uint64(), own.Uint64()
		switch i {
		case 2:
			want = ^uint64(0)
		case 3:
			want = 0
		}
		if got != want {
			t.Errorf("draw %d of the operator: %x, want %x", i, got, want)
		}
	}
	if got := c.IntN(10); got != 5 {
		t.Errorf("the middle of ten is %d", got)
	}
	for value, says := range map[byte]bool{0: true, 255: false} {
		d := parseDecisions([]byte{laneNetwork, 0, value})
		if n := d.decide(laneNetwork, newDice(1, 1, 1)); n.chance(0.01) != says {
			t.Errorf("%d says %v of a small chance", value, !says)
		}
	}
	if d := parseDecisions(bytes.Repeat([]byte{0, 0, 0}, 2*maxDecisions)); len(d[laneSwarm].list) != maxDecisions {
		t.Errorf("%d decisions count", len(d[laneSwarm].list))
	}
}

// TestDecisions runs short runs: bytes change what happens, equal bytes do not, and no bytes are the seed's own.
func TestDecisions(t *testing.T) {
	caches := store.NewCaches()
	d := newDice(3, 3, 3)
	seen := map[uint64]bool{}
	features := map[string]bool{}
	for seed := uint64(1); seed <= 6; seed++ {
		b := make([]byte, 60)
		for i := range b {
			b[i] = byte(d.IntN(256))
		}
		for _, decisions := range [][]byte{{}, b} {
			r := Run(seed, Config{Caches: caches, Decisions: decisions})
			again := Run(seed, Config{Caches: caches, Decisions: slices.Clone(decisions), Checkpoints: true})
			if !r.OK() && r.Violation.Property != propertyHarness {
				t.Errorf("seed %d, decisions %q: %v", seed, decisions, r.Violation)
			}
			if r.TraceHash != again.TraceHash || !slices.Equal(r.Features, again.Features) {
				t.Errorf("seed %d: two runs of the same decisions differ", seed)
			}
			if seen[r.TraceHash] {
				t.Errorf("seed %d: the bytes decide nothing", seed)
			}
			seen[r.TraceHash] = true
			for _, f := range r.Features {
				features[f] = true
			}
		}
	}
	if len(features) < 20 {
		t.Errorf("only %v happened", features)
	}
}

// TestShortRunEnds gives a run up in which events follow one another for ever at one moment.
func TestShortRunEnds(t *testing.T) {
	w := newWorldOf(crashSeed, crashSwarm(), store.NewCaches(), nil)
	w.decide(parseDecisions(nil))
	var again func()
	again = func() { w.after(0, again) }
	again()
	w.runUntil(1, nil)
	if w.failed == nil || w.failed.Property != "liveness" || w.events != maxShortEvents+1 {
		t.Errorf("after %d events: %v", w.events, w.failed)
	}
}

// TestReadDecisions reads what it writes, and refuses the rest.
func TestReadDecisions(t *testing.T) {
	var file bytes.Buffer
	content := []byte("\x00\"\xff\nx")
	if err := WriteDecisions(&file, 65535, content); err != nil {
		t.Fatal(err)
	}
	if seed, got, err := ReadDecisions(&file); err != nil || seed != 65535 || !bytes.Equal(got, content) {
		t.Errorf("%d %q %v", seed, got, err)
	}
	for _, text := range []string{
		"", "go test fuzz v1\n", "go test fuzz v2\nuint16(1)\n[]byte(\"\")\n", "go test fuzz v1\nuint16(70000)\n[]byte(\"\")\n",
		"go test fuzz v1\n[]byte(\"\")\nuint16(1)\n", "go test fuzz v1\nuint16(1)\n[]byte(x)\n", "go test fuzz v1\nuint16(1)\n[]byte(\"\")\nint(1)\n",
	} {
		if _, _, err := ReadDecisions(strings.NewReader(text)); !errors.Is(err, ErrDecisions) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
