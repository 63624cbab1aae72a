package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"godwit/sim"
)

// simRunOptions are the flags of "sim run".
type simRunOptions struct {
	seeds   string
	from    uint64
	long    time.Duration
	hang    time.Duration
	workers int
	asJSON  bool
}

func newSimRunCommand() *cobra.Command {
	var o simRunOptions
	c := &cobra.Command{
		Use:   "run",
		Short: "Run a range of seeds, or seeds for some time; the exit status says whether every property held in all of them",
		Long: "Run a range of seeds (--seeds), or seeds one after the other for some time (--for, --from).\n" +
			"A seed that fails prints one line, with the command that replays it. The summary says by property which seeds failed, what faults struck\n" +
			"and where moves crashed. Progress goes to standard error: one live line on a terminal, else a line every ten seconds.\n" +
			"Interrupted, it lets the seeds that run come to their end and prints the summary of what there is.\n\n" +
			fmt.Sprintf("The exit status is 0 if every property held and, from %d seeds on, every kind of fault struck and the floors were reached.", sim.FloorSeeds),
		Example: "  godwit sim run --seeds 1-1000\n" +
			"  godwit sim run --for 10m --from 1000000 --workers 4",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			next, err := o.plan(c.Flags().Changed("seeds"), c.Flags().Changed("from"))
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
			return simRun(ctx, c.OutOrStdout(), c.ErrOrStderr(), &o, next)
		},
	}
	f := c.Flags()
	f.StringVar(&o.seeds, "seeds", "1-100", "the seeds to run, A-B")
	f.DurationVar(&o.long, "for", 0, "run seeds from --from on for this long, such as 10m, instead of --seeds")
	f.Uint64Var(&o.from, "from", 1, "with --for, the first seed")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object a line for each seed, and one for the summary")
	f.IntVar(&o.workers, "workers", runtime.NumCPU(), "processes that run seeds side by side")
	f.DurationVar(&o.hang, "hang", 2*time.Minute, "a seed that takes longer, in real time, has failed; the goroutines of its process are printed")
	return c
}

// plan checks the flags and gives the seeds that they ask for.
func (o *simRunOptions) plan(seedsGiven, fromGiven bool) (next func() (uint64, bool), err error) {
	switch {
	case o.workers < 1:
		return nil, fmt.Errorf("--workers %d: want at least 1", o.workers)
	case o.hang <= 0:
		return nil, fmt.Errorf("--hang %v: want more than 0", o.hang)
	case o.long < 0:
		return nil, fmt.Errorf("--for %v: want more than 0", o.long)
	case o.long > 0 && seedsGiven:
		return nil, errors.New("want --seeds or --for, and not both")
	case o.long == 0 && fromGiven:
		return nil, errors.New("--from goes with --for: a range is --seeds A-B")
	case o.long > 0:
		return seedRange{o.from, math.MaxUint64}.each(), nil
	}
	r, err := parseSeeds(o.seeds)
	if err != nil {
		return nil, err
	}
	o.workers = int(min(uint64(o.workers), max(r.last-r.first, r.last-r.first+1))) // of all seeds there are 2^64
	return r.each(), nil
}

// simRun runs the seeds in worker processes until there are no more, the time is over, or the context ends.
func simRun(ctx context.Context, out, errOut io.Writer, o *simRunOptions, next func() (uint64, bool)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	started := time.Now()
	var broken error // of the output: nobody reads it any more
	stopped := make(chan struct{})
	pool := &simPool{command: simWorkerCommand(self, "GOMAXPROCS=1"), hang: o.hang}
	results := pool.run(o.workers, func() (uint64, bool) {
		select {
		case <-stopped:
			return 0, false
		default:
		}
		if ctx.Err() != nil || o.long > 0 && time.Since(started) >= o.long {
			return 0, false
		}
		return next()
	})
	sum := newSimSummary(started)
	progress := newSimProgress(errOut, o.long, sum)
	defer progress.end()
	ordered := newInOrder()
	each := func(r *sim.Result) error {
		sum.add(r)
		if !r.OK() {
			progress.clear()
		}
		return printSeed(out, r, o.asJSON)
	}
	for open := true; open; {
		select {
		case s, ok := <-results:
			if open = ok; !ok || broken != nil {
				continue
			}
			if broken = ordered.add(s, each); broken != nil {
				close(stopped)
			}
		case <-progress.tick():
			progress.show()
		}
	}
	progress.end()
	if err := errors.Join(broken, pool.err()); err != nil {
		return err
	}
	if err := sum.print(out, time.Since(started), o.asJSON); err != nil {
		return err
	}
	if sum.Failed > 0 {
		return fmt.Errorf("%d of %d seeds failed", sum.Failed, sum.Seeds())
	}
	if sum.Seeds() < sim.FloorSeeds {
		return nil
	}
	return sum.CheckFloors()
}

// seedLine is a seed's line under --json.
type seedLine struct {
	Seed       uint64 `json:"seed"`
	Verdict    string `json:"verdict"`
	Events     uint64 `json:"events"`
	Operations int    `json:"operations"`
	Jobs       int    `json:"jobs"`
	Faults     int    `json:"faults"`
	VirtualMs  int64  `json:"virtual_ms"`
	TraceHash  string `json:"trace_hash"`
	Property   string `json:"property,omitempty"`
	Detail     string `json:"detail,omitempty"`
	AtMs       int64  `json:"at_ms,omitempty"`
	Version    string `json:"version,omitempty"` // of a violation
	Replay     string `json:"replay,omitempty"`  // of a violation
}

// replaySeed is the command that replays a seed.
func replaySeed(seed uint64) string { return fmt.Sprintf("godwit sim replay %d --trace", seed) }

func printSeed(out io.Writer, r *sim.Result, asJSON bool) error {
	return printRun(out, r, asJSON, replaySeed(r.Seed))
}

// printRun prints the line of a run; without JSON, if it has failed only. replay is the command that runs it again.
func printRun(out io.Writer, r *sim.Result, asJSON bool, replay string) error {
	line := seedLine{
		Seed: r.Seed, Verdict: "ok", Events: r.Events, Operations: r.Operations, Jobs: r.Jobs, Faults: r.Faults,
		VirtualMs: r.Virtual.Milliseconds(), TraceHash: fmt.Sprintf("%016x", r.TraceHash),
	}
	if v := r.Violation; v != nil {
		line.Verdict, line.Property, line.Detail, line.AtMs = "violation", v.Property, v.Detail, v.At.Milliseconds()
		line.Version, line.Replay = version(), replay
	}
	if asJSON {
		return json.NewEncoder(out).Encode(line)
	}
	if r.Violation == nil {
		return nil
	}
	_, err := fmt.Fprintln(out, failureLine(fmt.Sprintf("seed %d", r.Seed), r.Violation, replay))
	return err
}

// failureLine is the one line of a failure: what ran, the version, the property with its virtual time, and what replays it.
func failureLine(what string, v *sim.Violation, replay string) string {
	return fmt.Sprintf("FAILED %s, godwit %s: %s; replay: %s", what, version(), strings.ReplaceAll(v.Error(), "\n  ", "; "), replay)
}
