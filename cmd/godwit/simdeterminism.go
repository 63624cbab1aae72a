package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"godwit/sim"
)

// determinismOptions are the flags of "sim determinism".
type determinismOptions struct {
	seeds   string
	binary  string
	workers int
	hang    time.Duration
	planted bool
}

func newSimDeterminismCommand() *cobra.Command {
	var o determinismOptions
	c := &cobra.Command{
		Use:   "determinism",
		Short: "Run each seed several times, in one process and in others, and demand equal traces",
		Long: "Run each seed in a process with one thread, and twice in a process with four that collects garbage more often; with --binary, also in a\n" +
			"process of another binary, such as one that was built with -race. Processes run many seeds one after the other, so that what a seed leaves\n" +
			"behind would show in the next. The hashes over everything that can be observed must be equal.\n" +
			"Where they are not, the first event that differs is printed, with those before it: both runs are repeated until they part again.",
		Example: "  godwit sim determinism --seeds 1-200\n" +
			"  go build -race -o godwit-race ./cmd/godwit && godwit sim determinism --seeds 1-10 --binary ./godwit-race",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := parseSeeds(o.seeds)
			if err != nil {
				return err
			}
			if o.workers < 1 || o.hang <= 0 {
				return errors.New("want --workers and --hang to be more than 0")
			}
			ways, err := o.ways()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
			return simDeterminism(ctx, c.OutOrStdout(), &o, r, ways)
		},
	}
	f := c.Flags()
	f.StringVar(&o.seeds, "seeds", "1-20", "the seeds to run, A-B")
	f.StringVar(&o.binary, "binary", "", "run each seed with this godwit too, which was built otherwise from the same source")
	f.IntVar(&o.workers, "workers", runtime.NumCPU(), "seeds that run side by side")
	f.DurationVar(&o.hang, "hang", 5*time.Minute, "a run that takes longer, in real time, has failed")
	f.BoolVar(&o.planted, "planted", false, "plant an iteration over a map, which must be reported: to see that this command would notice")
	return c
}

// way is one way to run seeds: a process, and how often it runs each.
type way struct {
	name    string
	command func() *exec.Cmd
	times   int
}

// ways are the ways that are compared, with the first.
func (o *determinismOptions) ways() ([]way, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out := []way{
		{"GOMAXPROCS=1", simWorkerCommand(self, "GOMAXPROCS=1"), 1},
		{"GOMAXPROCS=4", simWorkerCommand(self, "GOMAXPROCS=4", "GOGC=50"), 2},
	}
	if o.binary != "" {
		path, err := exec.LookPath(o.binary)
		if err != nil {
			return nil, fmt.Errorf("--binary: %w", err)
		}
		out = append(out, way{o.binary, simWorkerCommand(path, "GOMAXPROCS=2"), 1})
	}
	return out, nil
}

// maxMismatches is after how many seeds with unequal traces the command ends.
const maxMismatches = 5

// mismatchTries is how often two ways are run again to see where they part.
const mismatchTries = 5

// simDeterminism compares the ways over the seeds.
func simDeterminism(ctx context.Context, out io.Writer, o *determinismOptions, r seedRange, ways []way) error {
	var mu sync.Mutex // guards what follows, and out
	var errs []error
	next, seeds, runs, mismatches := r.each(), 0, 0, 0
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || len(errs) > 0 || mismatches >= maxMismatches {
			return 0, false
		}
		return next()
	}
	var group sync.WaitGroup
	for range o.workers {
		group.Go(func() {
			t := determinismTeam{o: o, ways: ways, workers: make([]*simWorker, len(ways))}
			defer t.end()
			for seed, ok := take(); ok; seed, ok = take() {
				n, report, err := t.compare(seed)
				mu.Lock()
				runs += n
				switch {
				case err != nil:
					errs = append(errs, fmt.Errorf("seed %d: %w", seed, err))
				case report != "":
					mismatches++
					show(out, "UNEQUAL seed %d, godwit %s: %sagain: godwit sim determinism --seeds %d\n", seed, version(), report, seed)
				default:
					seeds++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if mismatches > 0 {
		return fmt.Errorf("%d of %d seeds have traces that differ from run to run", mismatches, seeds+mismatches)
	}
	var names []string
	for _, w := range ways {
		names = append(names, fmt.Sprintf("%s ×%d", w.name, w.times))
	}
	_, err := fmt.Fprintf(out, "%d seeds, %d runs (%s): equal traces\n", seeds, runs, strings.Join(names, ", "))
	return err
}

// determinismTeam is a worker for each way. They keep running, so that one seed follows another in a process.
type determinismTeam struct {
	o       *determinismOptions
	ways    []way
	workers []*simWorker
}

func (t *determinismTeam) end() {
	for _, w := range t.workers {
		if w != nil {
			_ = w.end() // it has said all that it had to say
		}
	}
}

// run runs a seed in one way.
func (t *determinismTeam) run(way int, task simTask, each func(sim.Line)) (sim.Result, error) {
	if t.workers[way] == nil {
		w, err := startSimWorker(t.ways[way].command())
		if err != nil {
			return sim.Result{}, err
		}
		t.workers[way] = w
	}
	task.Planted = t.o.planted
	r, err := t.workers[way].run(task, t.o.hang, each)
	if err != nil {
		return r, fmt.Errorf("%s: %w", t.ways[way].name, err)
	}
	return r, nil
}

// compare runs a seed in all ways and reports where traces part, "" if they do not.
func (t *determinismTeam) compare(seed uint64) (runs int, report string, err error) {
	var first sim.Result
	for i, w := range t.ways {
		for range w.times {
			r, err := t.run(i, simTask{Seed: seed, Checkpoints: true}, nil)
			if err != nil {
				return runs, "", err
			}
			if runs++; runs == 1 {
				first = r
			} else if r.TraceHash != first.TraceHash {
				report, err := t.explain(i, &first, &r)
				return runs, report, err
			}
		}
	}
	return runs, "", nil
}

// explain finds where the runs of a seed part: one of the first way, and one of another. Only their checkpoints are known, so both are
// run again, with their traces, until they part again.
func (t *determinismTeam) explain(other int, a, b *sim.Result) (string, error) {
	names := [2]string{t.ways[0].name, t.ways[other].name}
	text := fmt.Sprintf("hash %016x with %s, %016x with %s", a.TraceHash, names[0], b.TraceHash, names[1])
	from, to, line := sim.Parted(a.Checkpoints, b.Checkpoints)
	text += fmt.Sprintf("; equal until %.6f s, %d lines of the trace", from.At.Seconds(), line)
	if to.At > 0 {
		text += fmt.Sprintf(", and no more at %.6f s", to.At.Seconds())
	}
	for range mismatchTries {
		var lines [2][]sim.Line
		for side, i := range [2]int{0, other} {
			if _, err := t.run(i, simTask{Seed: a.Seed, Lines: true}, func(l sim.Line) { lines[side] = append(lines[side], l) }); err != nil {
				return "", err
			}
		}
		if d := sim.Compare(lines[0], lines[1]); d != nil {
			return text + "; run again, " + d.Show(names[0], names[1]), nil
		}
	}
	return fmt.Sprintf("%s; run again %d times, their traces were equal\n", text, mismatchTries), nil
}
