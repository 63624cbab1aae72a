package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"godwit/engine"
	"godwit/migration"
)

// limitFlags are the flags that together make a limit.
type limitFlags struct {
	rate    string
	windows []string
	zone    string
	auto    int
}

func (f *limitFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.rate, "rate", "", "send and compare at most this `RATE`, such as 20MB/s; unlimited takes a limit back")
	flags.StringArrayVar(&f.windows, "window", nil, "another rate in a part of every day, as `HH:MM-HH:MM=RATE`; several can be given, the first that is open counts")
	flags.StringVar(&f.zone, "zone", "", "the time `ZONE` of the windows as its distance from UTC, such as +02:00 (default: that of this machine today)")
	flags.IntVar(&f.auto, "auto", 0, "slow down while clients wait more than `PERCENT` longer than without moves")
}

// text is the limit in the words that nodes read, "" if no flag was given. now tells the time zone of the windows that have none.
func (f *limitFlags) text(now time.Time) (string, error) {
	if f.rate == "" && len(f.windows) == 0 && f.auto == 0 {
		if f.zone != "" {
			return "", errors.New("--zone is the zone of windows, and none is given")
		}
		return "", nil
	}
	words := []string{"unlimited"}
	if f.rate != "" {
		words[0] = strings.ReplaceAll(f.rate, " ", "")
	}
	for _, w := range f.windows {
		w = strings.ReplaceAll(w, " ", "")
		if _, err := migration.ParseWindow(w); err != nil {
			return "", err
		}
		words = append(words, w)
	}
	if len(f.windows) > 0 {
		zone := f.zone
		if zone == "" {
			zone = now.Format("-07:00")
		}
		words = append(words, "zone="+zone)
	}
	if f.auto != 0 {
		words = append(words, "auto="+strconv.Itoa(f.auto)+"%")
	}
	limit, err := migration.ParseLimit(strings.Join(words, " "))
	return limit.String(), err
}

func newMigrateThrottleCommand() *cobra.Command {
	var f jobFlags
	var limit limitFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "throttle JOB|node --node HOST:PORT [--rate RATE] [--window HH:MM-HH:MM=RATE]",
		Short: "Say how fast a job, or all jobs of a node together, may send and compare records",
		Long: `Say how fast a job, or all jobs of a node together, may send and compare records; without a limit, show it. What is
given replaces the limit that was: --rate unlimited takes it back.

The limit of a job is stored with it. That of the node lasts until its process ends: give it as migration-throttle in its
configuration, too. The final round of a slot, for which its writers wait, is let through, and counted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			words := []string{"GODWIT", "MIGRATION", "THROTTLE", "NODE"}
			if !strings.EqualFold(args[0], "node") {
				counter, err := parseJob(args[0])
				if err != nil {
					return fmt.Errorf("%w; or node, for all jobs together", err)
				}
				words[3] = strconv.FormatUint(counter, 10)
			}
			text, err := limit.text(time.Now())
			if err != nil {
				return err
			}
			if text != "" {
				words = append(words, text)
			}
			node, err := dial(f.node, f.password)
			if err != nil {
				return err
			}
			defer node.close()
			var r engine.ThrottleReport
			if err := node.json(&r, words...); err != nil {
				return explain(f.node, err)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			what := "all jobs of the node together"
			if r.Job != 0 {
				what = fmt.Sprintf("job %d", r.Job)
			}
			show(c.OutOrStdout(), "%s: %s; now %s\n", what, r.Limit, r.Now)
			return nil
		},
	}
	f.add(c)
	limit.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
