package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"godwit/engine/mutant"
	"godwit/sim"
)

func newSimShrinkCommand() *cobra.Command {
	var name, out string
	var runs int
	c := &cobra.Command{
		Use:   "shrink SEED",
		Short: "Reduce a failing run to a small schedule that fails in the same way, and save it as text",
		Long: "Reduce a failing run: fewer nodes, clients, slots, records, a shorter time, and only those faults, jobs and operations that it takes.\n" +
			"What is left still violates the same property, and, if it is about a mutant, the correct code passes it.\n" +
			"`godwit sim replay --schedule FILE` runs it.",
		Example: "  go run -tags mutants ./cmd/godwit sim shrink 3 --mutant late-unpause --out sim/testdata/late-unpause.schedule",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			seed, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return fmt.Errorf("seed %q is not a number", args[0])
			}
			return simShrink(c.OutOrStdout(), c.ErrOrStderr(), seed, mutant.Name(name), runs, out)
		},
	}
	c.Flags().StringVar(&name, "mutant", "", "plant this bug (needs the build tag mutants)")
	c.Flags().StringVar(&out, "out", "", "the file to write; the terminal if there is none")
	c.Flags().IntVar(&runs, "runs", sim.DefaultShrinkRuns, "how many runs to spend")
	return c
}

// simShrink shrinks a seed and writes the schedule to a file, or to out.
func simShrink(out, progress io.Writer, seed uint64, name mutant.Name, runs int, path string) error {
	uproot, err := plant(name)
	if err != nil {
		return err
	}
	uproot()
	s, err := sim.Shrink(seed, name, runs, simConfig(), func(line string) {
		_, _ = fmt.Fprintln(progress, line) // a terminal that is gone misses nothing
	})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := s.Schedule.Write(&text, s.Result.Actions); err != nil {
		return err
	}
	if path == "" {
		_, err = out.Write(text.Bytes())
		return err
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %v\n", path, s.Result.Violation)
	return err
}
