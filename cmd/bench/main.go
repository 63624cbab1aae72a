// Command bench measures Godwit beside redis-server on this machine: the same redis-benchmark runs against both in turn, so that what
// drifts with the machine falls out of the ratio. `make bench` calls it. With -migration it measures moves between two nodes, beside
// what loopback and disk could do: `make bench-migration`.
//
// It listens on loopback only, keeps all data in a directory of its own, which it removes, and ends only processes that it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are what the flags say.
type options struct {
	godwit, redis, benchmark string // programs
	keys, requests, rounds   int
	clients, valueBytes      int
	tests, modes             map[string]bool // nil: all
	payloads, rates          map[string]bool // of moves, likewise
	out                      string          // directory of the results
	overwrite                time.Duration   // how long the overwrite run takes; 0: none
	migration                bool            // measure moves instead of commands
	quick                    bool
	serverArgs               []string // further flags of Godwit
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "godwit-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is data of no use
	defer func(began time.Time) { fmt.Printf("it took %v\n", time.Since(began).Round(time.Second)) }(time.Now())
	if o.overwrite > 0 {
		return runOverwrite(ctx, o, dir)
	}
	if o.migration {
		return runMigration(ctx, o, dir)
	}
	var all []result
	for _, m := range modes {
		if o.modes != nil && !o.modes[m.name] {
			continue
		}
		results, err := m.run(ctx, o, dir)
		if err != nil {
			return err
		}
		all = append(all, results...)
	}
	if len(all) == 0 {
		return errors.New("no test was chosen")
	}
	return writeResults(o, all)
}

// quick is what -quick changes: the ratios are rougher, of one run instead of the median of three, and take two minutes instead of fifteen.
const (
	quickKeys     = 200_000
	quickRequests = 100_000
)

func parseOptions(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.godwit, "godwit", "bin/godwit", "the `PROGRAM` to measure")
	f.StringVar(&o.redis, "redis", "redis-server", "the `PROGRAM` to measure it by")
	f.StringVar(&o.benchmark, "redis-benchmark", "redis-benchmark", "the `PROGRAM` that makes the load")
	f.IntVar(&o.keys, "keys", 1_000_000, "keys that are there before, and from which requests draw")
	f.IntVar(&o.requests, "requests", 300_000, "requests of a run")
	f.IntVar(&o.rounds, "rounds", 3, "runs of each test on each system, in turn, of which the median counts; of moves 1 unless it is given")
	f.IntVar(&o.clients, "clients", 50, "connections")
	f.IntVar(&o.valueBytes, "bytes", 128, "bytes of a value")
	f.StringVar(&o.out, "out", "bench-results", "`DIRECTORY` for the table (CSV) and the plot (SVG)")
	f.DurationVar(&o.overwrite, "overwrite", 0, "instead of the tests, overwrite keys for so long and show the longest gaps between replies")
	f.BoolVar(&o.migration, "migration", false, "instead of the tests, measure moves between two nodes")
	f.BoolVar(&o.quick, "quick", false, "fewer keys, requests and rounds")
	tests := f.String("tests", "", "only these tests, such as set-p1,get-p16; of moves, only these loads, such as \"one slot\"")
	modes := f.String("modes", "", "only these modes: never, always, small-cache")
	payloads := f.String("payloads", "", "of moves, only these payloads: raw, sst, command")
	rates := f.String("rates", "", "of moves, only those under so many writes a second: 0, 3000, 5000, 30000")
	extra := f.String("server-args", "", "further flags of godwit server, separated by spaces")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.quick {
		o.keys, o.requests, o.rounds = quickKeys, quickRequests, 1
	}
	if o.migration && !given(f, "rounds") {
		o.rounds = 1 // each fills two new nodes
	}
	o.tests, o.modes, o.payloads, o.rates, o.serverArgs = setOf(*tests), setOf(*modes), setOf(*payloads), setOf(*rates), strings.Fields(*extra)
	for _, p := range []*string{&o.godwit, &o.redis, &o.benchmark} {
		path, err := exec.LookPath(*p)
		if err != nil {
			return nil, fmt.Errorf("%s is missing: make build makes godwit, the package redis has redis-server and redis-benchmark", *p)
		}
		if *p, err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	if o.keys < 1 || o.requests < 1 || o.rounds < 1 || o.clients < 1 || o.valueBytes < 1 {
		return nil, errors.New("keys, requests, rounds, clients and bytes must be positive")
	}
	return o, nil
}

// given reports whether a flag was given.
func given(f *flag.FlagSet, name string) (found bool) {
	f.Visit(func(g *flag.Flag) { found = found || g.Name == name })
	return found
}

func setOf(list string) map[string]bool {
	if list == "" {
		return nil
	}
	set := map[string]bool{}
	for _, name := range strings.Split(list, ",") {
		set[strings.TrimSpace(name)] = true
	}
	return set
}
