package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine"
)

// planTime is how long a node may take to count the records of a plan.
const planTime = 10 * time.Minute

func newMigratePlanCommand() *cobra.Command {
	var f jobFlags
	var slots, to string
	var limit limitFlags
	var exact, asJSON bool
	c := &cobra.Command{
		Use:   "plan --node HOST:PORT --slots RANGES --to NODE",
		Short: "Show what a job would be, without starting it",
		Long: `Show what a job would be, without starting it: how much it would move, whether that fits on the target, whether the target
can be reached and knows this node, about how long it would take, and for how long the writers of a slot would wait.

The sizes of slots of more than 64 KiB are estimated, unless --exact has all their records counted. The exit status is 0 if
nothing stands in the way.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			throttle, err := limit.text(time.Now())
			if err != nil {
				return err
			}
			r, err := askPlan(f, slots, to, exact, throttle)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				printPlan(c.OutOrStdout(), r)
			}
			if err == nil && !r.Possible {
				err = errors.New("this job cannot be done: " + strings.Join(r.Problems, "; "))
			}
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&slots, "slots", "", "the slots to move, as `RANGES` such as \"0-100 200\"")
	c.Flags().StringVar(&to, "to", "", "the `NODE` that gets them: address, id or beginning of an id")
	c.Flags().BoolVar(&exact, "exact", false, "count all records instead of estimating")
	limit.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.MarkFlagRequired("slots") // they exist: defined above
	_ = c.MarkFlagRequired("to")
	return c
}

// askPlan asks the source for a plan.
func askPlan(f jobFlags, slots, to string, exact bool, throttle string) (engine.PlanReport, error) {
	var r engine.PlanReport
	set, target, _, err := whatAndWhere(f, slots, to)
	if err != nil {
		return r, err
	}
	c, err := dial(f.node, f.password)
	if err != nil {
		return r, err
	}
	defer c.close()
	args := []string{"GODWIT", "MIGRATION", "PLAN", set.String(), string(target)}
	if exact {
		args = append(args, "EXACT")
	}
	if throttle != "" {
		args = append(args, "THROTTLE", throttle)
	}
	return r, explain(f.node, c.jsonWithin(planTime, &r, args...))
}

func printPlan(out io.Writer, r engine.PlanReport) {
	how := "counted"
	if r.Estimated > 0 {
		how = fmt.Sprintf("estimated for %d of the slots", r.Estimated)
	}
	show(out, "slots     %d: %s\nto        %s\n", r.Slots, r.Ranges, r.Target)
	show(out, "size      %s in %d records, %s; the largest slot has %s\n", bytesText(r.Bytes), r.Records, how, bytesText(r.LargestBytes))
	switch {
	case !r.Reachable:
	case r.TargetFreeBytes < 0:
		show(out, "target    version %s\n", r.TargetVersion)
	default:
		show(out, "target    version %s, %s free on its disk\n", r.TargetVersion, bytesText(uint64(r.TargetFreeBytes)))
	}
	show(out, "time      about %s, at %s/s (%s)\n", (time.Duration(r.EstimatedMs) * time.Millisecond).Round(100*time.Millisecond), bytesText(uint64(r.RateBytes)), r.RateFrom)
	from := "the target, as nothing was measured yet"
	if r.PausesMeasured {
		from = "99 % of the handovers so far"
	}
	show(out, "pause     writers of a slot wait up to %g ms at its handover (%s)\n", r.PauseMs, from)
	if r.JobsBefore > 0 {
		show(out, "queue     %d jobs of this node have not ended\n", r.JobsBefore)
	}
	for _, w := range r.Warnings {
		show(out, "warning   %s\n", w)
	}
	for _, p := range r.Problems {
		show(out, "problem   %s\n", p)
	}
}
