package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/mutant"
	"godwit/sim"
)

func newSimMutantsCommand() *cobra.Command {
	var only string
	var seeds, workers int
	c := &cobra.Command{
		Use:   "mutants",
		Short: "Plant each known bug in the real code and look for a seed that shows it (needs the build tag mutants)",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !mutant.Built {
				return sim.ErrNoMutants
			}
			if only != "" {
				h, err := sim.Hunt(mutant.Name(only), seeds, simConfig())
				if err != nil {
					return err
				}
				return json.NewEncoder(c.OutOrStdout()).Encode(h)
			}
			return simMutants(c.OutOrStdout(), seeds, workers)
		},
	}
	c.Flags().StringVar(&only, "only", "", "look for this mutant only, and print what came of it as JSON")
	c.Flags().IntVar(&seeds, "seeds", sim.DefaultHunt, "how many seeds to try for each")
	c.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "mutants that are looked for side by side, each in a process of its own")
	return c
}

// simMutants looks for all mutants and prints a table. It fails if a required one is not found.
func simMutants(out io.Writer, seeds, workers int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	list := sim.Mutants()
	hunts := make([]sim.Hunted, len(list))
	took := make([]time.Duration, len(list))
	errs := make([]error, len(list))
	free := make(chan struct{}, max(workers, 1))
	var group sync.WaitGroup
	for i := range list {
		group.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			started := time.Now()
			cmd := exec.Command(self, "sim", "mutants", "--only", string(list[i].Name), "--seeds", strconv.Itoa(seeds))
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
			raw, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal(raw, &hunts[i])
			}
			if err != nil {
				errs[i] = fmt.Errorf("mutant %s: %w", list[i].Name, err)
			}
			took[i] = time.Since(started)
		})
	}
	group.Wait()
	missing := printHunts(out, list, hunts, took)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("not found within %d seeds: %s", seeds, strings.Join(missing, ", "))
	}
	return nil
}

// printHunts prints the table and returns the required mutants that were not found.
func printHunts(out io.Writer, list []sim.Mutant, hunts []sim.Hunted, took []time.Duration) (missing []string) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "mutant\tseeds\tproperty\tseconds") // a terminal that is gone misses nothing
	for i, m := range list {
		found := "not found"
		if f := hunts[i].Found; f != nil {
			found = f.Violation.Property
		} else if m.Required {
			missing = append(missing, string(m.Name))
			found = "NOT FOUND (required)"
		}
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%s\t%.1f\n", m.Name, hunts[i].Seeds, found, took[i].Seconds()) // a terminal that is gone misses nothing
	}
	_ = tw.Flush() // a terminal that is gone misses nothing
	return missing
}
