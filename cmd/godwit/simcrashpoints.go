package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"godwit/sim"
)

func newSimCrashPointsCommand() *cobra.Command {
	var asJSON, trace bool
	var only string
	var workers int
	c := &cobra.Command{
		Use:   "crashpoints",
		Short: "Crash the source, the target and both at every step of a move and before every sync in it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if only != "" {
				return simCrashCase(c.OutOrStdout(), only, trace)
			}
			return simCrashPoints(c.OutOrStdout(), workers, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line for each run, and one for the summary")
	c.Flags().StringVar(&only, "only", "", "run this case only, POINT/WHO/KEPT")
	c.Flags().BoolVar(&trace, "trace", false, "with --only, print everything that happens in the run")
	c.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "runs side by side")
	return c
}

// simCrashCase runs one case again.
func simCrashCase(out io.Writer, text string, trace bool) error {
	which, err := sim.ParseCrashCase(text)
	if err != nil {
		return err
	}
	cfg := simConfig()
	points, err := sim.CrashPoints(cfg)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<16)
	if trace {
		cfg.Trace = w
	}
	r, err := sim.RunCrashCase(which, points, cfg)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "case %s (%s): trace hash %016x\n", which, points[which.Point], r.TraceHash); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !r.OK() {
		return fmt.Errorf("case %s: %w", which, r.Violation)
	}
	return nil
}

// crashLine is a run's line under --json.
type crashLine struct {
	Case      string `json:"case"`
	Point     string `json:"point"`
	Verdict   string `json:"verdict"`
	TraceHash string `json:"trace_hash"`
	Property  string `json:"property,omitempty"`
	Detail    string `json:"detail,omitempty"`
	AtMs      int64  `json:"at_ms,omitempty"`
}

// simCrashPoints runs every case and prints a table, a row for each kind of point.
func simCrashPoints(out io.Writer, workers int, asJSON bool) error {
	points, err := sim.CrashPoints(simConfig())
	if err != nil {
		return fmt.Errorf("the move without a crash: %w", err)
	}
	cases := sim.CrashCases(points)
	results, err := runCrashCases(cases, points, workers)
	if err != nil {
		return err
	}
	type row struct{ points, runs, ok int }
	rows := map[string]*row{}
	var order []string
	for _, p := range points {
		if rows[p.String()] == nil {
			rows[p.String()] = &row{}
			order = append(order, p.String())
		}
		rows[p.String()].points++
	}
	failed := 0
	enc := json.NewEncoder(out)
	for i, which := range cases {
		r, p := &results[i], points[which.Point]
		at := rows[p.String()]
		at.runs++
		line := crashLine{Case: which.String(), Point: p.String(), Verdict: "ok", TraceHash: fmt.Sprintf("%016x", r.TraceHash)}
		if v := r.Violation; v != nil {
			failed++
			line.Verdict, line.Property, line.Detail, line.AtMs = "violation", v.Property, v.Detail, v.At.Milliseconds()
			if !asJSON {
				_, err = fmt.Fprintf(out, "FAILED case %s (%s), godwit %s: %v; replay: godwit sim crashpoints --only %s --trace\n", which, p, version(), v, which)
			}
		} else {
			at.ok++
		}
		if asJSON {
			err = enc.Encode(line)
		}
		if err != nil {
			return err
		}
	}
	if asJSON {
		err = enc.Encode(map[string]int{"points": len(points), "runs": len(cases), "ok": len(cases) - failed, "failed": failed})
	} else {
		tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(tw, "crash at\tpoints\truns\tok\tfailed") // Flush reports
		for _, name := range order {
			r := rows[name]
			_, _ = fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\n", name, r.points, r.runs, r.ok, r.runs-r.ok) // Flush reports
		}
		_, _ = fmt.Fprintf(tw, "all\t%d\t%d\t%d\t%d\n", len(points), len(cases), len(cases)-failed, failed) // Flush reports
		err = tw.Flush()
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d runs failed", failed, len(cases))
	}
	return err
}

// runCrashCases runs the cases side by side, on caches of each worker's own, and returns their results in order.
func runCrashCases(cases []sim.CrashCase, points []sim.CrashPoint, workers int) ([]sim.Result, error) {
	workers = max(workers, 1)
	results := make([]sim.Result, len(cases))
	errs := make([]error, workers)
	var group sync.WaitGroup
	for k := range workers {
		group.Go(func() {
			cfg := simConfig()
			for i := k; i < len(cases); i += workers {
				r, err := sim.RunCrashCase(cases[i], points, cfg)
				if err != nil {
					errs[k] = err
					return
				}
				results[i] = r
			}
		})
	}
	group.Wait()
	return results, errors.Join(errs...)
}
