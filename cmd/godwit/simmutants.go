package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/mutant"
	"godwit/sim"
)

// huntOptions are the flags of `sim mutants`.
type huntOptions struct {
	only     []string
	searches int
	seeds    int // 0: the budget of each mutant
	workers  int
	markdown string

	first uint64 // of a worker process: the seed at which its one search begins; 0 otherwise
}

func newSimMutantsCommand() *cobra.Command {
	var o huntOptions
	c := &cobra.Command{
		Use:   "mutants",
		Short: "Plant each known bug in the real code and look for a seed that shows it (needs the build tag mutants)",
		Long: `Plant each known bug in the real code and look for a seed that shows it (needs the build tag mutants).

A search runs seeds with one bug until a property is violated on a seed that the code without the bug passes, and ends without a
find when the bug's budget of seeds is spent. The exit status says whether every search found its bug.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !mutant.Built {
				return sim.ErrNoMutants
			}
			list, err := huntList(&o)
			if err != nil {
				return err
			}
			if o.first != 0 {
				h, err := sim.Hunt(list[0].Name, o.first, list[0].Budget, simConfig())
				if err != nil {
					return err
				}
				return json.NewEncoder(c.OutOrStdout()).Encode(h)
			}
			return simMutants(c.OutOrStdout(), list, &o)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.only, "only", nil, "look for these mutants only, separated by commas")
	f.IntVar(&o.searches, "searches", 1, "how often to look for each, beginning at another seed each time")
	f.IntVar(&o.seeds, "seeds", 0, "how many seeds a search may take; 0 is the budget of each mutant")
	f.IntVar(&o.workers, "workers", runtime.NumCPU(), "searches that run side by side, each in a process of its own")
	f.StringVar(&o.markdown, "markdown", "", "write what was found into the table in this file, between the lines that mark it; rows of other mutants stay")
	f.Uint64Var(&o.first, "first", 0, "")
	_ = f.MarkHidden("first") // it exists: defined above
	return c
}

// huntList lists the mutants to look for, with what a search may take.
func huntList(o *huntOptions) ([]sim.Mutant, error) {
	if o.searches < 1 || o.seeds < 0 {
		return nil, fmt.Errorf("--searches %d, --seeds %d: want at least 1 search, and a number of seeds that is not negative", o.searches, o.seeds)
	}
	list := sim.Mutants()
	for _, name := range o.only {
		if !slices.ContainsFunc(list, func(m sim.Mutant) bool { return string(m.Name) == name }) {
			return nil, fmt.Errorf("--only %q: the simulator looks for no such mutant", name)
		}
	}
	list = slices.DeleteFunc(list, func(m sim.Mutant) bool { return len(o.only) > 0 && !slices.Contains(o.only, string(m.Name)) })
	for i := range list {
		if o.seeds > 0 {
			list[i].Budget = o.seeds
		}
	}
	return list, nil
}

// hunt is what the searches for one mutant came to.
type hunt struct {
	mutant sim.Mutant
	runs   []sim.Hunted // by number of the search
	took   time.Duration
	left   int // searches that are not over
	errs   []error
}

// simMutants looks for mutants and prints a line for each as its last search ends. It fails if a search did.
func simMutants(out io.Writer, list []sim.Mutant, o *huntOptions) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	hunts := make([]*hunt, len(list))
	type search struct {
		h *hunt
		k int
	}
	todo := make(chan search, len(list)*o.searches)
	for i, m := range list {
		hunts[i] = &hunt{mutant: m, runs: make([]sim.Hunted, o.searches), left: o.searches}
		for k := range o.searches {
			todo <- search{hunts[i], k}
		}
	}
	close(todo)
	var group sync.WaitGroup
	var mu sync.Mutex // guards the hunts and the output
	_, _ = fmt.Fprintln(out, (&huntLine{}).header())
	for range max(o.workers, 1) {
		group.Go(func() {
			for s := range todo {
				started := time.Now()
				r, err := searchProcess(self, s.h.mutant, sim.FirstSeed(s.k))
				mu.Lock()
				s.h.runs[s.k] = r
				s.h.took += time.Since(started)
				if err != nil {
					s.h.errs = append(s.h.errs, fmt.Errorf("mutant %s, search %d: %w", s.h.mutant.Name, s.k, err))
				}
				if s.h.left--; s.h.left == 0 {
					_, _ = fmt.Fprintln(out, s.h.line()) // a terminal that is gone misses nothing
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	var errs []error
	for _, h := range hunts {
		errs = append(errs, h.errs...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if o.markdown != "" {
		if err := rewriteMutants(o.markdown, hunts); err != nil {
			return err
		}
	}
	return missed(hunts)
}

// missed is the error that names the mutants of which a search ended without a find.
func missed(hunts []*hunt) error {
	var names []string
	for _, h := range hunts {
		if found := h.found(); found < len(h.runs) {
			names = append(names, fmt.Sprintf("%s (%d of %d searches, %d seeds each)", h.mutant.Name, len(h.runs)-found, len(h.runs), h.mutant.Budget))
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("not found: %s", strings.Join(names, ", "))
	}
	return nil
}

// searchProcess runs one search in a process of its own: mutants are switched for a whole process.
func searchProcess(self string, m sim.Mutant, first uint64) (sim.Hunted, error) {
	cmd := exec.Command(self, "sim", "mutants", "--only", string(m.Name), "--seeds", strconv.Itoa(m.Budget), "--first", strconv.FormatUint(first, 10))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	var h sim.Hunted
	raw, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(raw, &h)
	}
	return h, err
}

// found counts the searches that found the mutant.
func (h *hunt) found() (n int) {
	for i := range h.runs {
		if h.runs[i].Found != nil {
			n++
		}
	}
	return n
}

// huntLine is a hunt as it is printed.
type huntLine struct {
	name, searches, found, least, median, most, budget, properties, seconds string
}

func (h *hunt) line() *huntLine {
	seeds := make([]int, len(h.runs))
	for i := range h.runs {
		seeds[i] = h.runs[i].Seeds
	}
	slices.Sort(seeds)
	l := &huntLine{
		name: string(h.mutant.Name), searches: strconv.Itoa(len(h.runs)), found: strconv.Itoa(h.found()), budget: strconv.Itoa(h.mutant.Budget),
		least: strconv.Itoa(seeds[0]), median: strconv.Itoa(median(seeds)), most: strconv.Itoa(seeds[len(seeds)-1]),
		properties: h.properties(), seconds: fmt.Sprintf("%.1f", h.took.Seconds()),
	}
	if h.found() < len(h.runs) {
		l.most = "not found"
	}
	return l
}

// median is the middle of sorted numbers, of two the greater.
func median(sorted []int) int { return sorted[len(sorted)/2] }

func (*huntLine) header() *huntLine {
	return &huntLine{"mutant", "searches", "found", "min", "median", "max", "budget", "properties", "seconds"}
}

func (l *huntLine) String() string {
	return fmt.Sprintf("%-20s %8s %6s %6s %6s %9s %7s %8s  %s", l.name, l.searches, l.found, l.least, l.median, l.most, l.budget, l.seconds, l.properties)
}

// properties lists the properties that named the mutant, the most frequent first.
func (h *hunt) properties() string {
	counts := map[string]int{}
	for i := range h.runs {
		if f := h.runs[i].Found; f != nil {
			counts[f.Violation.Property]++
		}
	}
	names := make([]string, 0, len(counts))
	for name := range counts { //det:ok sorted below
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	for i, name := range names {
		if len(h.runs) > 1 {
			names[i] = fmt.Sprintf("%s %d", name, counts[name])
		}
	}
	return strings.Join(names, ", ")
}

// The lines between which a document has the table.
const (
	tableBegin = "<!-- mutants: written by sim mutants --markdown -->"
	tableEnd   = "<!-- end of mutants -->"
)

// rewriteMutants replaces the table in a document.
func rewriteMutants(path string, hunts []*hunt) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := replaceTable(string(raw), hunts)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// replaceTable replaces what stands between the lines that mark the table. The rows of mutants that nobody looked for now stay.
func replaceTable(text string, hunts []*hunt) (string, error) {
	head, rest, ok1 := strings.Cut(text, tableBegin+"\n")
	old, tail, ok2 := strings.Cut(rest, tableEnd+"\n")
	if !ok1 || !ok2 {
		return "", fmt.Errorf("the lines %q and %q are missing", tableBegin, tableEnd)
	}
	var b strings.Builder
	b.WriteString(head + tableBegin + "\n")
	b.WriteString("| mutant | found | min | median | max | budget | properties, with how often each was the first to be broken |\n|---|---|---|---|---|---|---|\n")
	rows := map[string]string{}
	for row := range strings.Lines(old) {
		if cells := strings.Split(row, "|"); len(cells) > 1 {
			rows[strings.TrimSpace(cells[1])] = row
		}
	}
	for _, h := range hunts {
		l := h.line()
		rows[l.name] = fmt.Sprintf("| %s | %s of %s | %s | %s | %s | %s | %s |\n", l.name, l.found, l.searches, l.least, l.median, l.most, l.budget, l.properties)
	}
	for _, m := range sim.Mutants() {
		b.WriteString(rows[string(m.Name)])
	}
	for _, e := range sim.FoundElsewhere() {
		fmt.Fprintf(&b, "| %s | | | | | | found by %s |\n", e.Name, e.By)
	}
	b.WriteString(tableEnd + "\n" + tail)
	return b.String(), nil
}
