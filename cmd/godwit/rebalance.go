package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// slotCost is what a slot weighs beside the bytes that it has on the disk, so that slots without data are spread, too.
const slotCost = 4096

// What makes a slot heavy.
const (
	bySize  = "size"
	byLoad  = "load"
	bySlots = "slots"
)

// rebalancer plans and watches the jobs of cluster rebalance and cluster drain.
type rebalancer struct {
	node, password string
	weights        []string      // NODE=WEIGHT, as given
	drained        string        // the node that must keep nothing, or ""
	tolerance      float64       // in percent
	by             string        // what makes a slot heavy: size, load or slots
	sample         time.Duration // for which the load is looked at
	dryRun, yes    bool
	asJSON         bool
}

func newClusterRebalanceCommand() *cobra.Command {
	var r rebalancer
	c := &cobra.Command{
		Use:   "rebalance --node HOST:PORT",
		Short: "Give every node its share of the slots and their data",
		Long: `Show which slots would move so that every node has its share, ask, start a job for each pair of nodes, show the progress until
all have ended, and give all nodes a map that says so.

A slot weighs what it takes on the disk, and 4 KiB for itself; with --by load what is read and written of it while the command looks (--sample);
with --by slots all weigh the same. Nodes whose share is within --tolerance are left alone. The jobs belong to the nodes and go on by themselves: the command can be interrupted, and
started again, which takes the jobs that run into account and watches them, too.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if r.tolerance < 0 || r.tolerance > 100 {
				return fmt.Errorf("--tolerance %v is wrong: want percent, from 0 to 100", r.tolerance)
			}
			return r.run(c)
		},
	}
	r.addFlags(c)
	c.Flags().Float64Var(&r.tolerance, "tolerance", 2, "leave nodes alone that are within so many `PERCENT` of their share")
	c.Flags().StringArrayVar(&r.weights, "weight", nil, "`NODE=WEIGHT`: a node that should have more or less than the others, which have weight 1; 0: nothing")
	return c
}

func newClusterDrainCommand() *cobra.Command {
	var r rebalancer
	c := &cobra.Command{
		Use:   "drain NODE --node HOST:PORT",
		Short: "Move everything that a node serves to the others",
		Long: `Show where the slots of a node would go, ask, start the jobs, show the progress until all have ended, and give all nodes a map
that says so. NODE is its address, its id, or the beginning of its id. The other nodes get what brings them nearest to equal
shares. godwit cluster remove takes the node out of the map afterwards.

The jobs belong to the node and go on by themselves: the command can be interrupted, and started again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r.drained = args[0]
			return r.run(c)
		},
	}
	r.addFlags(c)
	return c
}

func (r *rebalancer) addFlags(c *cobra.Command) {
	addNodeFlags(c, &r.node, &r.password)
	c.Flags().BoolVar(&r.dryRun, "dry-run", false, "show the plan and do nothing")
	c.Flags().BoolVar(&r.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&r.asJSON, "json", false, "print the plan as JSON")
	r.by = bySize
	c.Flags().Var(choice{&r.by, []string{bySize, byLoad, bySlots}}, "by", "what makes a slot heavy: `size`, load or slots")
	c.Flags().DurationVar(&r.sample, "sample", 5*time.Second, "look at the load for this `TIME`")
}

// balancePlan is what the command prints before it does anything.
type balancePlan struct {
	Nodes []plannedNode  `json:"nodes"`
	Moves []plannedMove  `json:"moves"`
	Jobs  []plannedWatch `json:"running_jobs"`
}

type plannedNode struct {
	ID         cluster.NodeID `json:"id"`
	Address    string         `json:"address"`
	Slots      int            `json:"slots"`
	SlotsAfter int            `json:"slots_after"`
	Bytes      uint64         `json:"disk_bytes"`
	BytesAfter uint64         `json:"disk_bytes_after"`
	// Load is how many commands on its slots the node has run in a second, where the plan goes by that.
	Load      float64 `json:"load"`
	LoadAfter float64 `json:"load_after"`
}

type plannedMove struct {
	transfer
	Ranges string `json:"slots"`
	Number int    `json:"count"`
	Bytes  uint64 `json:"disk_bytes"`
	source string // address
}

// plannedWatch is a job that runs.
type plannedWatch struct {
	Source  string `json:"source"` // address
	Counter uint64 `json:"counter"`
	Slots   int    `json:"slots"`
}

func (r *rebalancer) run(c *cobra.Command) error {
	ctx, stop := interruptible(c.Context())
	defer stop()
	out := c.OutOrStdout()
	plan, err := r.plan(ctx)
	if err != nil {
		return err
	}
	if r.asJSON {
		err = printJSON(out, plan)
	} else {
		err = plan.print(out)
	}
	if err != nil {
		return err
	}
	switch {
	case len(plan.Moves) == 0 && len(plan.Jobs) == 0:
		if !r.asJSON {
			show(out, "nothing has to move\n")
		}
		return nil
	case r.dryRun:
		return nil
	case !r.yes && len(plan.Moves) > 0:
		if err := confirm(c.InOrStdin(), out); err != nil {
			return err
		}
	}
	jobs := plan.Jobs
	for _, m := range plan.Moves {
		f := jobFlags{node: m.source, password: r.password}
		counter, err := startJob(f, m.Ranges, string(m.To), engine.JobOptions{})
		if err != nil {
			return fmt.Errorf("%w; jobs that were started before go on: the same command, started again, takes them into account", err)
		}
		jobs = append(jobs, plannedWatch{m.source, counter, m.Number})
	}
	if r.asJSON {
		out = io.Discard
	}
	if err := r.watch(ctx, out, jobs); err != nil {
		return err
	}
	m, err := updateMap(r.node, r.password)
	if err != nil {
		return err
	}
	show(out, "all nodes have version %d of the map\n", m.Version)
	return nil
}

// confirm asks a person whether to go on. Without a person it is an error: --yes says so beforehand.
func confirm(in io.Reader, out io.Writer) error {
	if file, ok := in.(*os.File); !ok || !isTerminal(file) {
		return errors.New("nothing was started, since there is nobody to ask: --yes starts it, --dry-run only shows the plan")
	}
	show(out, "start? [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
		return errors.New("nothing was started")
	}
	return nil
}

// plan asks all nodes and decides what should move.
func (r *rebalancer) plan(ctx context.Context) (balancePlan, error) {
	members, err := membersThat(r.node, r.password, onlyMoving)
	if err != nil {
		return balancePlan{}, err
	}
	weights, err := r.weigh(members)
	if err != nil {
		return balancePlan{}, err
	}
	bytes, err := slotSizes(members, r.password)
	if err != nil {
		return balancePlan{}, err
	}
	var load []uint64
	if r.by == byLoad {
		if load, err = r.loads(ctx, members); err != nil {
			return balancePlan{}, err
		}
	}
	perSecond := func(set *slot.Set) float64 {
		if load == nil {
			return 0
		}
		return float64(sum(set, load)) / r.sample.Seconds()
	}
	cost := func(sl slot.Slot) uint64 {
		switch r.by {
		case bySlots:
			return 1
		case byLoad:
			return loadCost*load[sl] + 1 // those without any are spread, too
		default:
			return bytes[sl] + slotCost
		}
	}
	p := balancePlan{Nodes: []plannedNode{}, Moves: []plannedMove{}, Jobs: []plannedWatch{}}
	nodes := make([]holding, len(members))
	for i, m := range members {
		set, err := slotSet(m.Report.Serving)
		if err != nil {
			return p, fmt.Errorf("%s: %w", m.Addr, err)
		}
		nodes[i] = holding{m.ID, set, weights[m.ID]}
		p.Nodes = append(p.Nodes, plannedNode{ID: m.ID, Address: m.Addr, Slots: set.Len(), Bytes: sum(&set, bytes), Load: perSecond(&set)})
	}
	pinned, err := arriving(members, nodes)
	if err != nil {
		return p, err
	}
	moves, err := balance(nodes, cost, &pinned, r.tolerance/100)
	if err != nil {
		return p, err
	}
	after := make(map[cluster.NodeID]*slot.Set, len(nodes))
	for i := range nodes {
		after[nodes[i].ID] = &nodes[i].Slots
	}
	for _, t := range moves {
		i := slices.IndexFunc(members, func(m member) bool { return m.ID == t.From })
		p.Moves = append(p.Moves, plannedMove{t, t.Slots.String(), t.Slots.Len(), sum(&t.Slots, bytes), members[i].Addr})
		for _, sl := range t.Slots.Slots() {
			after[t.From].Remove(sl)
			after[t.To].Add(sl)
		}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		n.SlotsAfter, n.BytesAfter, n.LoadAfter = after[n.ID].Len(), sum(after[n.ID], bytes), perSecond(after[n.ID])
	}
	for _, m := range members {
		for _, j := range m.Report.Jobs {
			// Those that wait for a person are not waited for here.
			if !j.Ended && j.Step != "keeping" && !waitsForPerson(j) {
				p.Jobs = append(p.Jobs, plannedWatch{m.Addr, j.Counter, j.Slots})
			}
		}
	}
	return p, nil
}

// weigh is the weight of every node.
func (r *rebalancer) weigh(members []member) (map[cluster.NodeID]float64, error) {
	weights := map[cluster.NodeID]float64{}
	for _, m := range members {
		weights[m.ID] = 1
	}
	if r.drained != "" {
		id, err := findTarget(members, r.drained)
		if err != nil {
			return nil, err
		}
		weights[id] = 0
	}
	for _, text := range r.weights {
		which, number, ok := strings.Cut(text, "=")
		w, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil || !(w >= 0 && w <= 1e6) {
			return nil, fmt.Errorf("--weight %q is wrong: want NODE=WEIGHT, the weight from 0 to 1000000", text)
		}
		id, err := findTarget(members, which)
		if err != nil {
			return nil, fmt.Errorf("--weight %q: %w", text, err)
		}
		weights[id] = w
	}
	return weights, nil
}

// onlyMoving reports whether the cluster is healthy but for slots that jobs are moving now: of these some are always on their way.
func onlyMoving(s statusReport, members []member) bool {
	if s.Healthy {
		return true
	}
	if !s.onlyHandovers() {
		return false
	}
	var moving slot.Set
	for _, m := range members {
		for _, j := range m.Report.Jobs {
			set, err := slotSet(j.Ranges)
			if err != nil || j.Ended {
				continue
			}
			for _, sl := range set.Slots() {
				moving.Add(sl)
			}
		}
	}
	for _, text := range []string{s.Unserved, s.Doubled} {
		set, err := slotSet(text)
		if err != nil {
			return false
		}
		for _, sl := range set.Slots() {
			if !moving.Has(sl) {
				return false
			}
		}
	}
	return true
}

// arriving gives to the holdings what running jobs have still to move, and what is on its way, and returns these slots: they have been decided
// about, those of jobs that are held or paused, too.
func arriving(members []member, nodes []holding) (slot.Set, error) {
	var pinned, held slot.Set
	for i := range nodes {
		for _, sl := range nodes[i].Slots.Slots() {
			held.Add(sl)
		}
	}
	for i, m := range members {
		for _, j := range m.Report.Jobs {
			if j.Ended {
				continue
			}
			set, err := slotSet(j.Ranges)
			if err != nil {
				return pinned, fmt.Errorf("%s: job %s: %w", m.Addr, j.ID, err)
			}
			to := slices.IndexFunc(nodes, func(n holding) bool { return n.ID == j.Target })
			if to < 0 {
				continue
			}
			for _, sl := range set.Slots() {
				if !nodes[i].Slots.Has(sl) && held.Has(sl) { // it has moved already
					continue
				}
				nodes[i].Slots.Remove(sl)
				nodes[to].Slots.Add(sl)
				pinned.Add(sl)
			}
		}
	}
	return pinned, nil
}

// loadCost is what a command weighs, where a slot without any weighs 1.
const loadCost = 100

// loads is how many commands were run on every slot while the sample lasts.
func (r *rebalancer) loads(ctx context.Context, members []member) ([]uint64, error) {
	if r.sample < time.Second || r.sample > time.Hour {
		return nil, fmt.Errorf("--sample %s is wrong: want a time from 1s to 1h", r.sample)
	}
	commands := func(o engine.OwnerReport) uint64 { return o.Writes + o.Reads }
	before, err := ofSlots(members, r.password, "LOAD", commands)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, errors.New("interrupted: nothing was started")
	case <-time.After(r.sample):
	}
	load, err := ofSlots(members, r.password, "LOAD", commands)
	if err != nil {
		return nil, err
	}
	total := uint64(0)
	for sl := range load {
		load[sl] -= min(before[sl], load[sl]) // a node that was restarted, and a slot that has moved meanwhile, begin anew
		total += load[sl]
	}
	if total == 0 {
		return nil, fmt.Errorf("nothing was read or written in %s, so there is no load to go by: use --by %s", r.sample, bySize)
	}
	return load, nil
}

// slotSizes asks every node what its slots take on the disk.
func slotSizes(members []member, password string) ([]uint64, error) {
	return ofSlots(members, password, "SIZES", func(o engine.OwnerReport) uint64 { return o.DiskBytes })
}

// ofSlots asks every node something about its slots.
func ofSlots(members []member, password, word string, value func(engine.OwnerReport) uint64) ([]uint64, error) {
	sizes := make([]uint64, slot.Count)
	for _, m := range members {
		if m.Report.Serving == "" {
			continue
		}
		c, err := dial(m.Addr, password)
		if err != nil {
			return nil, err
		}
		var owners []engine.OwnerReport
		err = c.json(&owners, "GODWIT", "OWNERS", m.Report.Serving, word)
		c.close()
		if err != nil {
			return nil, explain(m.Addr, err)
		}
		for _, o := range owners {
			if int(o.Slot) < len(sizes) {
				sizes[o.Slot] = value(o)
			}
		}
	}
	return sizes, nil
}

func sum(set *slot.Set, bytes []uint64) uint64 {
	total := uint64(0)
	for _, sl := range set.Slots() {
		total += bytes[sl]
	}
	return total
}

func (p *balancePlan) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	show(t, "NODE\tADDRESS\tSLOTS\tAFTER\tDISK\tAFTER\tCOMMANDS/S\tAFTER\n")
	for _, n := range p.Nodes {
		before, after := "-", "-"
		if n.Load+n.LoadAfter > 0 {
			before, after = fmt.Sprintf("%.0f", n.Load), fmt.Sprintf("%.0f", n.LoadAfter)
		}
		show(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", n.ID.Short(), n.Address, n.Slots, n.SlotsAfter, bytesText(n.Bytes), bytesText(n.BytesAfter), before, after)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, j := range p.Jobs {
		show(out, "job %d of %s still moves %d slots\n", j.Counter, j.Source, j.Slots)
	}
	for _, m := range p.Moves {
		show(out, "move %d slots, %s, from %s to %s: %s\n", m.Number, bytesText(m.Bytes), m.From.Short(), m.To.Short(), m.Ranges)
	}
	return nil
}

// waitsForPerson reports whether a job does nothing until an operator says so.
func waitsForPerson(j engine.JobReport) bool {
	return !j.Ended && (j.Held != "" || j.Step == "holding" || j.Step == "suspended")
}

// watch shows the progress of the jobs, as one, until all have ended, only keep copies or wait for a person. The error tells which did
// not move everything.
func (r *rebalancer) watch(ctx context.Context, out io.Writer, jobs []plannedWatch) error {
	total := 0
	for _, j := range jobs {
		total += j.Slots
	}
	p := newBalanceProgress(out, total)
	defer p.end()
	ended := map[int]engine.JobReport{}
	last := make([]engine.JobReport, len(jobs))
	seen := time.Now()
	for len(ended) < len(jobs) {
		for i, w := range jobs {
			if _, over := ended[i]; over {
				continue
			}
			j, err := askJob(jobFlags{node: w.Source, password: r.password}, w.Counter)
			var refused errReply
			switch {
			case err == nil:
				seen = time.Now()
				last[i] = j
				if j.Ended || j.Step == "keeping" && j.MovedSlots == j.Slots || waitsForPerson(j) {
					ended[i] = j
				}
			case errors.As(err, &refused), time.Since(seen) > watchLost:
				return err
			}
		}
		p.show(last)
		if len(ended) == len(jobs) {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted: the jobs go on without being watched; the same command, started again, watches them")
		case <-time.After(watchEvery):
		}
	}
	var problems []error
	for _, i := range slices.Sorted(maps.Keys(ended)) {
		switch j := ended[i]; {
		case waitsForPerson(j):
			problems = append(problems, fmt.Errorf("job %s is %s, %d of %d slots have moved: it goes on when it is told, see godwit migrate", j.ID, j.Step, j.MovedSlots, j.Slots))
		case j.State == engine.JobFail || j.MovedSlots < j.Slots || j.Differ > 0:
			problems = append(problems, fmt.Errorf("job %s moved %d of %d slots, %d of them with copies that differ: %s", j.ID, j.MovedSlots, j.Slots, j.Differ, j.Error))
		}
	}
	return errors.Join(problems...)
}

// balanceProgress shows several jobs as one: a bar on a terminal, lines elsewhere.
type balanceProgress struct {
	out   io.Writer
	total int
	bar   *progressbar.ProgressBar // nil where lines are printed
	last  string
	at    time.Time
}

func newBalanceProgress(out io.Writer, total int) *balanceProgress {
	p := &balanceProgress{out: out, total: total}
	if isTerminal(out) {
		p.bar = newBar(out, total, "slots")
	}
	return p
}

func (p *balanceProgress) show(jobs []engine.JobReport) {
	moved, bytes, waiting := 0, uint64(0), ""
	for _, j := range jobs {
		moved += j.MovedSlots
		bytes += j.Bytes
		if j.Waiting != "" && !j.Ended {
			waiting = fmt.Sprintf(", job %s waits: %s", j.ID, j.Waiting)
		}
	}
	if p.bar != nil {
		p.bar.Describe(bytesText(bytes) + " sent" + waiting)
		_ = p.bar.Set(moved)
		return
	}
	line := fmt.Sprintf("%d of %d slots moved, %s sent%s", moved, p.total, bytesText(bytes), waiting)
	if line != p.last && (moved == p.total || time.Since(p.at) >= time.Second) {
		show(p.out, "%s\n", line)
		p.last, p.at = line, time.Now()
	}
}

func (p *balanceProgress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		show(p.out, "\n")
	}
}
