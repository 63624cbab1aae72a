package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/mutant"
	"godwit/sim"
)

// replayOptions are the flags of "sim replay".
type replayOptions struct {
	trace          bool
	html, schedule string
	decisions      string
	mutant         string
	nodes          []string
	slots          []int
	jobs           []string
	kinds          []string
	from, to       time.Duration
	filtered       bool // by a flag that was given
	seed           uint64
}

func newSimReplayCommand() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:   "replay SEED | --schedule FILE | --decisions FILE",
		Short: "Run one seed, schedule or input of the fuzzer again, and show what happens in it as lines or as a page",
		Long: "Run one seed, schedule or input of FuzzSchedule again. --trace prints a line for everything that happens: seconds of virtual time, where (node n0, client c0),\n" +
			"kind, text. The filters narrow it, and imply it. --html writes one page that shows the run in any browser, without a network.\n" +
			"The exit status says whether every property held.\n\nKinds: " + strings.Join(sim.MomentKinds(), ", ") + ".",
		Example: "  godwit sim replay 763 --slot 15891 --kind record,fault,client\n" +
			"  godwit sim replay 763 --node n1 --from 2.1s --to 2.4s\n" +
			"  godwit sim replay 763 --html run.html\n" +
			"  godwit sim replay --schedule sim/testdata/late-unpause.schedule --trace --kind record,client\n" +
			"  godwit sim replay --decisions fuzz/testdata/fuzz/FuzzSchedule/caf81e9797b19c76 --trace",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range []string{"node", "slot", "job", "kind", "from", "to"} {
				o.filtered = o.filtered || c.Flags().Changed(name)
			}
			given := len(args)
			for _, file := range []string{o.schedule, o.decisions} {
				if file != "" {
					given++
				}
			}
			if given != 1 {
				return errors.New("want one of a seed, --schedule FILE and --decisions FILE")
			}
			if len(args) == 1 {
				seed, err := strconv.ParseUint(args[0], 10, 64)
				if err != nil {
					return fmt.Errorf("seed %q is not a number", args[0])
				}
				o.seed = seed
			}
			return simReplay(c.OutOrStdout(), &o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.trace, "trace", false, "print messages, replies, file operations, records, faults and what clients do")
	f.StringVar(&o.html, "html", "", "write the run as one page to this file")
	f.StringVar(&o.schedule, "schedule", "", "run the schedule in this file instead of a seed, with the mutant that it names if this binary has mutants")
	f.StringVar(&o.decisions, "decisions", "", "run this input of FuzzSchedule: a seed, and bytes that decide in its place")
	f.StringVar(&o.mutant, "mutant", "", "plant this bug (needs the build tag mutants)")
	f.StringSliceVar(&o.nodes, "node", nil, "show these nodes only, and messages to and from them: n0,n2")
	f.IntSliceVar(&o.slots, "slot", nil, "show what is about these slots only")
	f.StringSliceVar(&o.jobs, "job", nil, "show what is about these jobs only, by number")
	f.StringSliceVar(&o.kinds, "kind", nil, "show these kinds only")
	f.DurationVar(&o.from, "from", 0, "show from this virtual time on, such as 2.1s")
	f.DurationVar(&o.to, "to", 0, "show until this virtual time")
	return c
}

// again is the command that replays the run, with the mutant if there is one.
func (o *replayOptions) again(bug mutant.Name) string {
	text := "godwit sim replay "
	switch {
	case o.schedule != "":
		text += "--schedule " + o.schedule
	case o.decisions != "":
		text += "--decisions " + o.decisions
	default:
		text += strconv.FormatUint(o.seed, 10)
	}
	if bug != "" {
		text += " --mutant " + string(bug)
	}
	return text + " --trace"
}

// filter is the filter that the flags ask for.
func (o *replayOptions) filter() (sim.Filter, error) {
	f := sim.Filter{Slots: o.slots, Kinds: o.kinds, From: o.from, To: o.to}
	for _, text := range o.nodes {
		n, err := strconv.Atoi(strings.TrimPrefix(text, "n"))
		if err != nil || n < 0 {
			return f, fmt.Errorf("--node %q: want a node such as n1", text)
		}
		f.Nodes = append(f.Nodes, n)
	}
	for _, text := range o.jobs {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return f, fmt.Errorf("--job %q: want a number", text)
		}
		f.Jobs = append(f.Jobs, n)
	}
	return f, f.Validate()
}

// plant switches a mutant on, and returns what switches it off. The empty name plants nothing.
func plant(name mutant.Name) (uproot func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	if !mutant.Built {
		return nil, sim.ErrNoMutants
	}
	if !slices.ContainsFunc(sim.Mutants(), func(m sim.Mutant) bool { return m.Name == name }) {
		return nil, fmt.Errorf("no mutant is called %q", name)
	}
	mutant.Set(name)
	return func() { mutant.Set("") }, nil
}

// openSchedule reads a schedule from a file.
func openSchedule(path string) (*sim.Schedule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	s, err := sim.ReadSchedule(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// openDecisions reads an input of the fuzzer from a file.
func openDecisions(path string) (seed uint64, decisions []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = f.Close() }() // read only
	if seed, decisions, err = sim.ReadDecisions(f); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	return seed, decisions, nil
}

// simReplay runs what the options ask for.
func simReplay(out io.Writer, o *replayOptions) error {
	filter, err := o.filter()
	if err != nil {
		return err
	}
	cfg := simConfig()
	bug := mutant.Name(o.mutant)
	if o.schedule != "" {
		if cfg.Schedule, err = openSchedule(o.schedule); err != nil {
			return err
		}
		if bug == "" && mutant.Built {
			bug = cfg.Schedule.Mutant
		}
	}
	if o.decisions != "" {
		if o.seed, cfg.Decisions, err = openDecisions(o.decisions); err != nil {
			return err
		}
	}
	uproot, err := plant(bug)
	if err != nil {
		return err
	}
	defer uproot()
	lines := bufio.NewWriterSize(out, 1<<16)
	page := sim.NewPage()
	show := sim.NewTimeline(lines, filter)
	cfg.Watch = func(m *sim.Moment) {
		if o.trace || o.filtered {
			show.Add(m)
		}
		if o.html != "" {
			page.Add(m)
		}
	}
	if !o.trace && !o.filtered && o.html == "" {
		cfg.Watch = nil
	}
	r := sim.Run(o.seed, cfg)
	if err := errors.Join(printRun(lines, &r, true, o.again(bug)), lines.Flush()); err != nil {
		return err
	}
	if o.html != "" {
		if err := writePage(o.html, page, &r, bug); err != nil {
			return err
		}
	}
	if !r.OK() {
		return fmt.Errorf("seed %d: %w", r.Seed, r.Violation)
	}
	if cfg.Schedule != nil && cfg.Schedule.Mutant != "" && bug == cfg.Schedule.Mutant {
		return fmt.Errorf("the mutant %s was not found: want a violation of %q", bug, cfg.Schedule.Property)
	}
	return nil
}

// writePage writes the page of a run to a file.
func writePage(path string, page *sim.Page, r *sim.Result, bug mutant.Name) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("godwit %s", version())
	if bug != "" {
		title += ", mutant " + string(bug)
	}
	w := bufio.NewWriter(f)
	return errors.Join(page.Write(w, r, title), w.Flush(), f.Close())
}
