package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// fakeWay is a way whose worker gives each seed this hash, and this text to the second line of its trace.
func fakeWay(name, hash, text string) way {
	script := `while read -r task; do
  case $task in *Lines*) echo '{"Line":{"Hash":1,"Text":"begin"}}{"Line":{"Hash":` + hash + `,"Text":"` + text + `"}}';; esac
  echo '{"Result":{"TraceHash":` + hash + `,"Checkpoints":[{"At":1000,"Hash":1},{"At":5000000,"Hash":` + hash + `}]}}'
done`
	return way{name, func() *exec.Cmd { return exec.Command("sh", "-c", script) }, 2}
}

// TestSimDeterminism compares ways of running that agree, that do not, that do not while nobody looks, and that end.
func TestSimDeterminism(t *testing.T) {
	base := fakeWay("one", "7", "sent a")
	flaky := fakeWay("two", "8", "sent a")
	flaky.command = func() *exec.Cmd { // another hash, but the same lines
		return exec.Command("sh", "-c", `while read -r task; do
  case $task in *Lines*) echo '{"Line":{"Hash":1,"Text":"begin"}}{"Line":{"Hash":7,"Text":"sent a"}}';; esac
  echo '{"Result":{"TraceHash":8}}'; done`)
	}
	dead := way{"two", func() *exec.Cmd { return exec.Command("sh", "-c", "exit 3") }, 1}
	for name, c := range map[string]struct {
		other way
		want  []string // in the output, or in the error
		fails bool
	}{
		"equal":   {fakeWay("two", "7", "sent a"), []string{"9 seeds, 36 runs (one ×2, two ×2): equal traces"}, false},
		"unequal": {fakeWay("two", "8", "sent b"), []string{"UNEQUAL seed 3, godwit " + version(), "equal until 0.000001 s, 256 lines", "no more at 0.005000 s", "part at line 2:\n    begin\n  - sent a    [one]\n  + sent b    [two]\n", "5 of 5 seeds"}, true},
		"flaky":   {flaky, []string{"run again 5 times, their traces were equal"}, true},
		"dead":    {dead, []string{"seed 1: two: the run ended its process: exit status 3"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			o := determinismOptions{workers: 1, hang: time.Minute}
			err := simDeterminism(context.Background(), &out, &o, seedRange{1, 9}, []way{base, c.other})
			if (err != nil) != c.fails {
				t.Errorf("got %v", err)
			}
			text := out.String()
			if err != nil {
				text += err.Error()
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
		})
	}
	for _, args := range [][]string{{"--binary", "/nowhere"}, {"--seeds", "x"}, {"--workers", "0"}, {"x"}} {
		if out, err := simOut(append([]string{"determinism"}, args...)...); err == nil {
			t.Errorf("determinism %q was accepted: %.100s", args, out)
		}
	}
}
