package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/store"
	"godwit/sim"
)

func newSimCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sim",
		Short: "Run clusters of real nodes on simulated network, clocks and disks, and judge what clients saw",
		RunE:  groupOnly,
	}
	c.AddCommand(newSimRunCommand(), newSimReplayCommand(), newSimShrinkCommand(), newSimMutantsCommand(), newSimCrashPointsCommand())
	return c
}

// seedRange is "5" or "1-1000".
type seedRange struct{ first, last uint64 }

func parseSeeds(text string) (seedRange, error) {
	a, b, isRange := strings.Cut(text, "-")
	if !isRange {
		b = a
	}
	first, err1 := strconv.ParseUint(a, 10, 64)
	last, err2 := strconv.ParseUint(b, 10, 64)
	if err1 != nil || err2 != nil || last < first {
		return seedRange{}, fmt.Errorf("--seeds %q: want a seed or a range such as 1-1000", text)
	}
	return seedRange{first, last}, nil
}

// simConfig tunes this process for runs that follow one another.
func simConfig() sim.Config {
	debug.SetGCPercent(400)
	return sim.Config{Caches: store.NewCaches()}
}

func newSimRunCommand() *cobra.Command {
	var seeds, part string
	var asJSON bool
	var workers int
	c := &cobra.Command{
		Use:   "run",
		Short: "Run a range of seeds; the exit status says whether every property held in all of them",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := parseSeeds(seeds)
			if err != nil {
				return err
			}
			if part != "" {
				return simPart(c.OutOrStdout(), r, part)
			}
			return simRun(c.OutOrStdout(), r, workers, asJSON)
		},
	}
	c.Flags().StringVar(&seeds, "seeds", "1-100", "the seeds to run, A-B")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line for each seed, and one for the summary")
	c.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "processes that run seeds side by side")
	c.Flags().StringVar(&part, "part", "", "")
	_ = c.Flags().MarkHidden("part") // it exists: defined above
	return c
}

// simPart runs each n-th seed of a range, from the k-th on, and prints the results for the parent process; part is "k/n".
func simPart(out io.Writer, r seedRange, part string) error {
	var k, n uint64
	if _, err := fmt.Sscanf(part, "%d/%d", &k, &n); err != nil || n == 0 {
		return fmt.Errorf("--part %q: want k/n", part)
	}
	cfg := simConfig()
	enc := json.NewEncoder(out)
	for seed := r.first + k; seed <= r.last && seed >= r.first; seed += n {
		if err := enc.Encode(sim.Run(seed, cfg)); err != nil {
			return err
		}
	}
	return nil
}

// simRun runs the seeds in worker processes: a run uses one thread only, and is faster on a process of its own.
func simRun(out io.Writer, r seedRange, workers int, asJSON bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	workers = int(min(uint64(max(workers, 1)), r.last-r.first+1))
	results := make(chan sim.Result)
	errs := make([]error, workers)
	var group sync.WaitGroup
	for k := range workers {
		group.Go(func() {
			cmd := exec.Command(self, "sim", "run", "--seeds", fmt.Sprintf("%d-%d", r.first, r.last), "--part", fmt.Sprintf("%d/%d", k, workers))
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
			cmd.Stderr = os.Stderr
			errs[k] = simRead(cmd, results)
		})
	}
	go func() {
		group.Wait()
		close(results)
	}()
	var sum sim.Totals
	started := time.Now()
	waiting := map[uint64]sim.Result{}
	next := r.first
	for res := range results {
		waiting[res.Seed] = res
		for {
			res, ok := waiting[next]
			if !ok {
				break
			}
			delete(waiting, next)
			next++
			sum.Add(&res)
			if err := printSeed(out, &res, asJSON); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := printTotals(out, &sum, time.Since(started), asJSON); err != nil {
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

// simRead runs a worker and passes on what it prints.
func simRead(cmd *exec.Cmd, results chan<- sim.Result) error {
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReader(pipe))
	for {
		var res sim.Result
		err := dec.Decode(&res)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(fmt.Errorf("a worker's output: %w", err), cmd.Wait())
		}
		results <- res
	}
	return cmd.Wait()
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
}

func printSeed(out io.Writer, r *sim.Result, asJSON bool) error {
	line := seedLine{
		Seed: r.Seed, Verdict: "ok", Events: r.Events, Operations: r.Operations, Jobs: r.Jobs, Faults: r.Faults,
		VirtualMs: r.Virtual.Milliseconds(), TraceHash: fmt.Sprintf("%016x", r.TraceHash),
	}
	if v := r.Violation; v != nil {
		line.Verdict, line.Property, line.Detail, line.AtMs = "violation", v.Property, v.Detail, v.At.Milliseconds()
	}
	if asJSON {
		return json.NewEncoder(out).Encode(line)
	}
	if r.Violation == nil {
		return nil
	}
	what := strings.ReplaceAll(r.Violation.Error(), "\n  ", "; ") // of a history it has several lines
	_, err := fmt.Fprintf(out, "FAILED seed %d, godwit %s: %s; replay: godwit sim replay %d --trace\n", r.Seed, version(), what, r.Seed)
	return err
}

// simSummary is the last line.
type simSummary struct {
	OK             int                       `json:"ok"`
	Failed         int                       `json:"failed"`
	SeedsPerSecond float64                   `json:"seeds_per_second"`
	Busy           float64                   `json:"cutover_under_writes"` // share of the seeds
	Crashed        float64                   `json:"crash_in_move"`        // share of the seeds
	Succeeded      float64                   `json:"operations_ok"`        // share of the operations
	Cutovers       int                       `json:"cutovers"`
	Crashes        map[string]map[string]int `json:"crashes"` // in moves, by step and who
}

// printTotals prints the last line, or lines for people.
func printTotals(out io.Writer, t *sim.Totals, took time.Duration, asJSON bool) error {
	s := simSummary{
		OK: t.OK, Failed: t.Failed, SeedsPerSecond: round(float64(t.Seeds())/took.Seconds(), 1),
		Busy: round(t.Share(t.Busy), 3), Crashed: round(t.Share(t.Crashed), 3), Succeeded: round(t.SucceededShare(), 3),
		Cutovers: t.Cutovers, Crashes: map[string]map[string]int{},
	}
	for _, step := range sim.Steps() {
		s.Crashes[step] = map[string]int{}
		for _, role := range sim.Roles() {
			s.Crashes[step][role] = t.Hits[sim.Hit{Step: step, Role: role}]
		}
	}
	if asJSON {
		return json.NewEncoder(out).Encode(s)
	}
	_, err := fmt.Fprintf(out, "%d ok, %d failed; %.1f seeds/s; %d cutovers; seeds with a cutover under writes %.1f %%, with a crash in a move %.1f %%; operations ok %.1f %%\n",
		s.OK, s.Failed, s.SeedsPerSecond, s.Cutovers, 100*s.Busy, 100*s.Crashed, 100*s.Succeeded)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "crashes at step\t"+strings.Join(sim.Roles(), "\t")) // Flush reports
	for _, step := range sim.Steps() {
		_, _ = fmt.Fprint(tw, step) // Flush reports
		for _, role := range sim.Roles() {
			_, _ = fmt.Fprintf(tw, "\t%d", s.Crashes[step][role]) // Flush reports
		}
		_, _ = fmt.Fprintln(tw) // Flush reports
	}
	return tw.Flush()
}

func round(f float64, digits int) float64 {
	text := strconv.FormatFloat(f, 'f', digits, 64)
	r, _ := strconv.ParseFloat(text, 64) // just formatted
	return r
}
