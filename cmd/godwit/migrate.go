package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// Times of a tool that watches a job.
const (
	watchEvery = 200 * time.Millisecond
	// watchLost is how long a source may be out of reach before the tool gives up watching; the job needs no tool.
	watchLost = time.Minute
)

func newMigrateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Move slots to another node while both go on serving",
		Long:  "Move slots to another node while both go on serving. A job belongs to the node that serves the slots, its source: --node names that one.",
		RunE:  groupOnly,
	}
	c.AddCommand(newMigratePlanCommand(), newMigrateStartCommand(), newMigrateStatusCommand(), newMigrateHistoryCommand(), newMigrateReportCommand(), newMigrateThrottleCommand(), newMigrateResolveCommand(), newMigrateUnresolvedCommand())
	for _, v := range jobVerbs {
		c.AddCommand(v.command())
	}
	return c
}

// jobFlags are the flags that all the migrate commands have.
type jobFlags struct{ node, password string }

func (f *jobFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.node, "node", "", "`HOST:PORT` of the node that serves the slots")
	c.Flags().StringVar(&f.password, "password", "", "`PASSWORD` of the nodes (their requirepass)")
	_ = c.MarkFlagRequired("node") // it exists: defined above
}

func newMigrateStartCommand() *cobra.Command {
	var f jobFlags
	var slots, to string
	var wait, newMap, hold bool
	var holdSource time.Duration
	var priority int
	var payloadName string
	var overload string
	var limit limitFlags
	var timing engine.JobOptions
	c := &cobra.Command{
		Use:   "start --node HOST:PORT --slots RANGES --to NODE",
		Short: "Start a job that moves slots",
		Long: `Start a job that moves slots from one node to another. The job goes on by itself, over restarts of both.

NODE is the address of the target, its id, or the beginning of its id. With --wait the command shows the progress and
returns when the job has ended, or has moved everything and only keeps copies; interrupting it leaves the job running. The
map that clients are given does not follow by itself, they are redirected: --update-map (which waits, too) gives all nodes a
new version of it.

With --hold every slot is copied and verified, and its changes are sent as they come, but it is handed over only when
godwit migrate cutover says so. With --hold-source the source keeps its copy of what it handed over for that long, so that
godwit migrate rollback can bring it back by sending only what has changed.

A node moves slots of a few jobs at a time; the others wait, those of greater --priority first. --rate, --window and --auto
limit what the job sends and compares: see godwit migrate throttle, which changes them while it runs.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := interruptible(c.Context())
			defer stop()
			throttle, err := limit.text(time.Now())
			if err != nil {
				return err
			}
			payload, ok := engine.ParsePayload(payloadName)
			if !ok {
				return fmt.Errorf("--payload is %q: want auto, raw, command or sst", payloadName)
			}
			counter, err := startJob(f, slots, to, engine.JobOptions{Payload: payload, Hold: hold, KeepSource: holdSource, Priority: priority, Throttle: throttle, OnOverload: engine.Overload(overload), PauseTarget: timing.PauseTarget, PauseDeadline: timing.PauseDeadline, ConvergeWithin: timing.ConvergeWithin})
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			show(out, "job %d started at %s\n", counter, f.node)
			if !wait && !newMap {
				return nil
			}
			j, err := watchJob(ctx, out, f, counter)
			if err != nil {
				return err
			}
			if err := jobResult(out, j); err != nil || !newMap {
				return err
			}
			m, err := updateMap(f.node, f.password)
			if err != nil {
				return err
			}
			show(out, "all nodes have version %d of the map\n", m.Version)
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVar(&slots, "slots", "", "the slots to move, as `RANGES` such as \"0-100 200\"")
	c.Flags().StringVar(&to, "to", "", "the `NODE` that gets them: address, id or beginning of an id")
	c.Flags().BoolVar(&hold, "hold", false, "hand nothing over until told: godwit migrate cutover")
	c.Flags().DurationVar(&holdSource, "hold-source", 0, "keep what was handed over for this `TIME` (such as 10m), for godwit migrate rollback")
	c.Flags().StringVar(&payloadName, "payload", "auto", "send the slots as `PAYLOAD`: raw (records), sst (sorted tables), command (commands), or auto, by their size")
	c.Flags().IntVar(&priority, "priority", 0, "go before jobs of a smaller `NUMBER`, -100 to 100")
	limit.add(c.Flags())
	c.Flags().Var(choice{&overload, []string{"slow", "keep"}}, "on-overload", "when a slot is written faster than it can be sent: `slow` its writers down (default), or keep the slot and fail")
	c.Flags().DurationVar(&timing.PauseTarget, "pause-target", 0, "hand a slot over when what is left to send takes at most this `TIME` (default: the node's, 50ms)")
	c.Flags().DurationVar(&timing.PauseDeadline, "pause-deadline", 0, "give the pause of a slot's writers up after this `TIME`, and try again later (default: the node's, 1s)")
	c.Flags().DurationVar(&timing.ConvergeWithin, "converge-within", 0, "fail when a slot has been written faster than it can be sent for this `TIME` (default: the node's, 1m)")
	c.Flags().BoolVar(&wait, "wait", false, "show the progress and return when the job has ended")
	c.Flags().BoolVar(&newMap, "update-map", false, "when the job has succeeded, give all nodes a map that says so")
	_ = c.MarkFlagRequired("slots")
	_ = c.MarkFlagRequired("to")
	return c
}

func newMigrateStatusCommand() *cobra.Command {
	var f jobFlags
	var watch, wait, asJSON bool
	c := &cobra.Command{
		Use:   "status [JOB] --node HOST:PORT",
		Short: "Show the jobs of a node, or one of them",
		Long:  "Show the jobs of a node as their source, oldest first, or one of them. JOB is its number or its id.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := interruptible(c.Context())
			defer stop()
			out := c.OutOrStdout()
			if len(args) == 0 {
				if watch || wait {
					return errors.New("--watch and --wait want one JOB")
				}
				return showJobs(out, f, asJSON)
			}
			counter, err := parseJob(args[0])
			if err != nil {
				return err
			}
			var j engine.JobReport
			switch {
			case watch && !asJSON:
				j, err = watchJob(ctx, out, f, counter)
			case watch, wait:
				j, err = watchJob(ctx, io.Discard, f, counter)
			default:
				j, err = askJob(f, counter)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(out, j)
			}
			if watch || wait {
				return jobResult(out, j)
			}
			printJob(out, j)
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&watch, "watch", false, "show the progress until the job has ended: a bar with rate and time left on a terminal, else lines")
	c.Flags().BoolVar(&wait, "wait", false, "return when the job has ended")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// tell asks the node to tell of a job, by its number or its id, and reads the answer into v.
func (f *jobFlags) tell(verb, job string, v any) error {
	counter, err := parseJob(job)
	if err != nil {
		return err
	}
	node, err := dial(f.node, f.password)
	if err != nil {
		return err
	}
	defer node.close()
	if err := node.json(v, "GODWIT", "MIGRATION", verb, strconv.FormatUint(counter, 10)); err != nil {
		return explain(f.node, err)
	}
	return nil
}

func newMigrateHistoryCommand() *cobra.Command {
	var f jobFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "history JOB --node HOST:PORT",
		Short: "Show what became of a job, and when",
		Long:  "Show what became of a job, and when, as its node has stored it. JOB is its number or its id.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var h engine.JobHistory
			if err := f.tell("HISTORY", args[0], &h); err != nil {
				return err
			}
			out := c.OutOrStdout()
			if asJSON {
				return printJSON(out, h)
			}
			if h.Forgotten > 0 {
				show(out, "%d older events are forgotten\n", h.Forgotten)
			}
			for _, e := range h.Events {
				show(out, "%s  %s\n", time.UnixMilli(e.AtMs).UTC().Format("2006-01-02 15:04:05.000"), e.What)
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newMigrateReportCommand() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "report JOB --node HOST:PORT",
		Short: "Print all that is known of a job, as JSON",
		Long: `Print all that is known of a job, as JSON: what counted for it, how long writers were paused, how long it was at each step, what each
slot sent, and sent again after a crash or to a busy target, how the copies compared, and what became of it, and when. It is there while the
job runs, and as long as its node remembers the job. JOB is its number or its id. migration/DESIGN.md lists the fields.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var r engine.JobDetails
			if err := f.tell("REPORT", args[0], &r); err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), r)
		},
	}
	f.add(c)
	return c
}

// jobVerb is a command that tells a job something.
type jobVerb struct {
	verb        engine.JobVerb
	short, long string
}

// jobVerbs are the commands that tell a job something. Each can be repeated: what is done already is not done twice.
var jobVerbs = []jobVerb{
	{engine.VerbPause, "Let a job rest: it sends nothing until it is resumed", "Slots that were handed over are not affected. The order survives restarts."},
	{engine.VerbResume, "Let a paused job go on", "It sends what has changed meanwhile; after a restart of its node it compares the copies first."},
	{engine.VerbCutOver, "Hand over the slots of a job that was started with --hold", "Without --slots all of them."},
	{engine.VerbCancel, "End a job: slots that were not handed over yet stay where they are", "Slots that were handed over stay at the target: see rollback."},
	{engine.VerbRollback, "Undo a job that was started with --hold-source", "Slots that were not handed over stay. The others come back, by a job of the node that has them, with everything that was written since."},
	{engine.VerbClean, "Delete the copies that a job keeps, before their time", "The job cannot be rolled back any more."},
}

func (v jobVerb) command() *cobra.Command {
	var f jobFlags
	var slots string
	var asJSON bool
	c := &cobra.Command{
		Use:   string(v.verb) + " JOB --node HOST:PORT",
		Short: v.short,
		Long:  v.short + ".\n\n" + v.long + "\nJOB is its number or its id.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := v.tell(f, args[0], slots)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), a)
			}
			show(c.OutOrStdout(), "job %s: %s\n", a.Job.ID, a.Message)
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	if v.verb == engine.VerbCutOver {
		c.Flags().StringVar(&slots, "slots", "", "only these slots, as `RANGES`")
	}
	return c
}

func (v jobVerb) tell(f jobFlags, job, slots string) (engine.JobAnswer, error) {
	var a engine.JobAnswer
	counter, err := parseJob(job)
	if err != nil {
		return a, err
	}
	args := []string{"GODWIT", "MIGRATION", string(v.verb), strconv.FormatUint(counter, 10)}
	if slots != "" {
		args = append(args, slots)
	}
	c, err := dial(f.node, f.password)
	if err != nil {
		return a, err
	}
	defer c.close()
	return a, explain(f.node, c.json(&a, args...))
}

// parseJob reads a job's number, or its id: beginning of the node id, a dash, the number.
func parseJob(text string) (uint64, error) {
	number := text[strings.LastIndexByte(text, '-')+1:]
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("job %q is wrong: want its number, or its id such as 1f3a5c7e-4", text)
	}
	return n, nil
}

// whatAndWhere reads which slots are meant, and finds the target among the members of the cluster.
func whatAndWhere(f jobFlags, slots, to string) (set slot.Set, target cluster.NodeID, members []member, err error) {
	if set, err = slotSet(strings.Join(strings.Fields(strings.ReplaceAll(slots, ",", " ")), " ")); err != nil {
		return set, "", nil, fmt.Errorf("--slots: %w", err)
	}
	if set.Len() == 0 {
		return set, "", nil, errors.New("--slots is empty: want ranges such as \"0-100 200\"")
	}
	if members, err = findMembers(f.node, f.password); err != nil {
		return set, "", nil, err
	}
	target, err = findTarget(members, to)
	return set, target, members, err
}

// startJob finds the target and starts a job at the source; it returns the job's number.
func startJob(f jobFlags, slots, to string, opts engine.JobOptions) (uint64, error) {
	set, target, members, err := whatAndWhere(f, slots, to)
	if err != nil {
		return 0, err
	}
	c, err := dial(f.node, f.password)
	if err != nil {
		return 0, err
	}
	defer c.close()
	args := []string{"GODWIT", "MIGRATION", "START", set.String(), string(target)}
	if opts.Hold {
		args = append(args, "HOLD")
	}
	if opts.Payload != engine.PayloadAuto {
		args = append(args, "PAYLOAD", string(opts.Payload))
	}
	if opts.KeepSource != 0 {
		args = append(args, "HOLD-SOURCE", opts.KeepSource.String())
	}
	if opts.Priority != 0 {
		args = append(args, "PRIORITY", strconv.Itoa(opts.Priority))
	}
	if opts.OnOverload != "" {
		args = append(args, "ON-OVERLOAD", string(opts.OnOverload))
	}
	if opts.Throttle != "" {
		args = append(args, "THROTTLE", opts.Throttle)
	}
	for _, t := range []struct {
		word string
		time time.Duration
	}{{"PAUSE-TARGET", opts.PauseTarget}, {"PAUSE-DEADLINE", opts.PauseDeadline}, {"CONVERGE-WITHIN", opts.ConvergeWithin}} {
		if t.time != 0 {
			args = append(args, t.word, t.time.String())
		}
	}
	text, err := c.text(args...)
	if err != nil {
		var refused errReply
		if errors.As(err, &refused) && string(refused) == cluster.ErrNotOwner.Reply() {
			return 0, fmt.Errorf("%w: %s", err, whoServes(members, set))
		}
		return 0, explain(f.node, err)
	}
	return strconv.ParseUint(text, 10, 64)
}

// findTarget finds the node that an operator means by an address, an id or the beginning of an id.
func findTarget(members []member, to string) (cluster.NodeID, error) {
	var found []member
	for _, m := range members {
		if m.Addr == to || to != "" && strings.HasPrefix(string(m.ID), to) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0].ID, nil
	case 0:
		known := make([]string, len(members))
		for i, m := range members {
			known[i] = m.ID.Short() + " at " + m.Addr
		}
		return "", fmt.Errorf("no node is %q: there are %s", to, strings.Join(known, ", "))
	}
	return "", fmt.Errorf("%d nodes have an id that begins with %q: want more of it", len(found), to)
}

// whoServes tells an operator who asked the wrong node where the slots are.
func whoServes(members []member, want slot.Set) string {
	var parts []string
	for _, m := range members {
		own, err := slotSet(m.Report.Serving)
		if m.Err != nil || err != nil {
			continue
		}
		var both slot.Set
		for _, sl := range want.Slots() {
			if own.Has(sl) {
				both.Add(sl)
			}
		}
		if both.Len() > 0 {
			parts = append(parts, fmt.Sprintf("%s serves %s", m.Addr, &both))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func askJob(f jobFlags, counter uint64) (engine.JobReport, error) {
	var j engine.JobReport
	c, err := dial(f.node, f.password)
	if err != nil {
		return j, err
	}
	defer c.close()
	err = c.json(&j, "GODWIT", "MIGRATION", "STATUS", strconv.FormatUint(counter, 10))
	return j, explain(f.node, err)
}

func showJobs(out io.Writer, f jobFlags, asJSON bool) error {
	c, err := dial(f.node, f.password)
	if err != nil {
		return err
	}
	defer c.close()
	jobs := []engine.JobReport{}
	if err := c.json(&jobs, "GODWIT", "MIGRATION", "STATUS"); err != nil {
		return explain(f.node, err)
	}
	if asJSON {
		return printJSON(out, jobs)
	}
	for _, j := range jobs {
		show(out, "%s\n", jobLine(j))
	}
	if len(jobs) == 0 {
		show(out, "%s has had no jobs\n", f.node)
	}
	return nil
}

// jobLine is a job in one line.
func jobLine(j engine.JobReport) string {
	step := j.Step
	if step == "" {
		step = "-"
	}
	line := fmt.Sprintf("job %s  %s  step %s  %d of %d slots moved to %s  %s in %d records", j.ID, j.State, step,
		j.MovedSlots, j.Slots, j.Target.Short(), bytesText(j.Bytes), j.Records)
	if !j.Ended {
		line += "  " + paceText(j)
	}
	if j.Waiting != "" {
		line += "  waits: " + j.Waiting
	}
	if j.Error != "" {
		line += "  " + j.Error
	}
	return line
}

// paceText says how far a job is, how fast it goes and how long it may take.
func paceText(j engine.JobReport) string {
	text := fmt.Sprintf("%.1f %% at %s/s", j.Percent, bytesText(uint64(max(j.RateBytes, 0))))
	if j.LeftMs > 0 {
		text += ", about " + (time.Duration(j.LeftMs)*time.Millisecond + time.Second).Truncate(time.Second).String() + " left"
	}
	return text
}

func printJob(out io.Writer, j engine.JobReport) {
	show(out, "job       %s (number %d)\nstate     %s", j.ID, j.Counter, j.State)
	if j.Step != "" {
		show(out, ", step %s", j.Step)
	}
	show(out, "\nslots     %s to %s\nmoved     %d of %d", j.Ranges, j.Target, j.MovedSlots, j.Slots)
	if j.Moved != "" {
		show(out, ": %s", j.Moved)
	}
	if !j.Ended {
		show(out, "\nprogress  %s", paceText(j))
	}
	show(out, "\nsent      %s in %d records\nlag       %d keys, %s\n", bytesText(j.Bytes), j.Records, j.LagKeys, bytesText(uint64(max(j.LagBytes, 0))))
	if len(j.PausesMs) > 0 {
		p := slices.Sorted(slices.Values(j.PausesMs))
		show(out, "pauses    p50 %.1f ms, p99 %.1f ms, longest %.1f ms\n", quantile(p, 0.5), quantile(p, 0.99), p[len(p)-1])
	}
	if j.DigestsEqual+j.Differ > 0 {
		show(out, "digests   %d equal, %d differ (%s)\n", j.DigestsEqual, j.Differ, j.Verified)
	}
	if j.Held != "" {
		show(out, "held      %s\n", j.Held)
	}
	if j.Kept != "" {
		show(out, "kept      %s\n", j.Kept)
	}
	if j.RollbackOf != "" {
		show(out, "undoes    job %s\n", j.RollbackOf)
	}
	if j.Throttle != "" {
		show(out, "throttle  %s\n", j.Throttle)
	}
	if !j.Ended {
		show(out, "limits    pauses of %s if possible and of %s at most; gives up after %s of more writes than can be sent\n", msText(j.PauseTargetMs), msText(j.PauseDeadlineMs), msText(j.ConvergeWithinMs))
	}
	if j.Waiting != "" {
		show(out, "waits     %s\n", j.Waiting)
	}
	if j.Error != "" {
		show(out, "error     %s\n", j.Error)
	}
}

// msText is a time in milliseconds for people.
func msText(ms float64) string { return (time.Duration(ms*1000) * time.Microsecond).String() }

// jobResult prints how a job ended; the error says that it did not move everything.
func jobResult(out io.Writer, j engine.JobReport) error {
	printJob(out, j)
	if j.State == engine.JobFail || j.MovedSlots < j.Slots {
		return fmt.Errorf("job %s failed after %d of %d slots: %s", j.ID, j.MovedSlots, j.Slots, j.Error)
	}
	if j.Differ > 0 {
		return fmt.Errorf("job %s: the copies of %d slots differ", j.ID, j.Differ)
	}
	return nil
}

// watchJob shows the progress of a job until it has ended: a bar on a terminal, lines elsewhere. A source that is away for a
// while is waited for.
func watchJob(ctx context.Context, out io.Writer, f jobFlags, counter uint64) (engine.JobReport, error) {
	p := newJobProgress(out)
	defer p.end()
	seen := time.Now()
	for {
		j, err := askJob(f, counter)
		var refused errReply
		switch {
		case err == nil:
			seen = time.Now()
			p.show(j)
			if j.Ended || j.Step == "keeping" && (j.MovedSlots == j.Slots || j.Error != "") {
				return j, nil
			}
		case errors.As(err, &refused), time.Since(seen) > watchLost:
			return j, err
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("interrupted: job %d goes on without being watched", counter)
		case <-time.After(watchEvery):
		}
	}
}

// jobProgress shows one job.
type jobProgress struct {
	out  io.Writer
	tty  bool
	bar  *progressbar.ProgressBar
	last string    // what the last line said
	at   time.Time // and when
}

func newJobProgress(out io.Writer) *jobProgress {
	return &jobProgress{out: out, tty: isTerminal(out)}
}

func (p *jobProgress) show(j engine.JobReport) {
	if !p.tty {
		moved := fmt.Sprint(j.State, j.Step, j.MovedSlots, j.Waiting)
		if moved != p.last && (j.Ended || time.Since(p.at) >= time.Second) {
			show(p.out, "%s\n", jobLine(j))
			p.last, p.at = moved, time.Now()
		}
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(1000, progressbar.OptionSetWriter(p.out), progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(60*time.Millisecond), progressbar.OptionSetPredictTime(false))
	}
	p.bar.Describe(barText(j))
	_ = p.bar.Set(int(j.Percent * 10))
}

// barText is what stands before the bar of a job.
func barText(j engine.JobReport) string {
	text := fmt.Sprintf("to %s  %d/%d slots  %s  %s", j.Target.Short(), j.MovedSlots, j.Slots, bytesText(j.Bytes), paceText(j))
	if j.Waiting != "" {
		return text + "  waits: " + j.Waiting
	}
	return text + "  " + j.Step
}

func (p *jobProgress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		show(p.out, "\n")
	}
}

func newBar(out io.Writer, n int, unit string) *progressbar.ProgressBar {
	return progressbar.NewOptions(n, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(), progressbar.OptionSetItsString(unit),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(60*time.Millisecond), progressbar.OptionSetPredictTime(false))
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// bytesText is a number of bytes for people.
func bytesText(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// quantile of values that are sorted; 0 when there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
