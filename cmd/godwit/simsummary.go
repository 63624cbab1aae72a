package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"godwit/sim"
)

// maxFirstSeeds bounds how many seeds of a property the summary names.
const maxFirstSeeds = 5

// simSummary is what many runs came to. It stays small however many there are.
type simSummary struct {
	sim.Totals
	started     time.Time
	first, last uint64 // seeds
	byProperty  map[string]*propertyFailures
}

// propertyFailures are the runs that violated one property.
type propertyFailures struct {
	Failed int      `json:"failed"`
	First  []uint64 `json:"first_seeds"`
	Replay string   `json:"replay"` // of the first
}

func newSimSummary(started time.Time) *simSummary {
	return &simSummary{started: started, byProperty: map[string]*propertyFailures{}}
}

func (s *simSummary) add(r *sim.Result) {
	if s.Seeds() == 0 {
		s.first = r.Seed
	}
	s.last = r.Seed
	s.Add(r)
	if r.Violation == nil {
		return
	}
	p := s.byProperty[r.Violation.Property]
	if p == nil {
		p = &propertyFailures{Replay: replaySeed(r.Seed)}
		s.byProperty[r.Violation.Property] = p
	}
	p.Failed++
	if len(p.First) < maxFirstSeeds {
		p.First = append(p.First, r.Seed)
	}
}

// marks counts the coverage marks: kinds of faults, and crashes by step and role. missing names those that no run has reached.
func (s *simSummary) marks() (all int, missing []string) {
	for _, m := range sim.Marks() {
		if all++; s.Faults[m] == 0 {
			missing = append(missing, m)
		}
	}
	for _, step := range sim.Steps() {
		for _, role := range sim.Roles() {
			if all++; s.Hits[sim.Hit{Step: step, Role: role}] == 0 {
				missing = append(missing, step+"/"+role)
			}
		}
	}
	return all, missing
}

// properties lists the properties that were violated, the most frequent first.
func (s *simSummary) properties() []string {
	var out []string
	for name := range s.byProperty {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int {
		if d := s.byProperty[b].Failed - s.byProperty[a].Failed; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return out
}

// summaryLine is the last line under --json.
type summaryLine struct {
	OK             int                          `json:"ok"`
	Failed         int                          `json:"failed"`
	First          uint64                       `json:"first_seed"`
	Last           uint64                       `json:"last_seed"`
	Version        string                       `json:"version"`
	Pebble         int                          `json:"on_pebble"` // seeds; the others keep their records in memory
	SeedsPerSecond float64                      `json:"seeds_per_second"`
	Busy           float64                      `json:"cutover_under_writes"` // share of the seeds
	Crashed        float64                      `json:"crash_in_move"`        // share of the seeds
	Succeeded      float64                      `json:"operations_ok"`        // share of the operations
	Cutovers       int                          `json:"cutovers"`
	Crashes        map[string]map[string]int    `json:"crashes"` // in moves, by step and who
	Faults         map[string]int               `json:"faults"`  // by kind
	Marks          int                          `json:"marks"`
	MarksMissing   []string                     `json:"marks_missing"`
	Properties     map[string]*propertyFailures `json:"properties"` // that were violated
}

// print prints the last line, or lines for people.
func (s *simSummary) print(out io.Writer, took time.Duration, asJSON bool) error {
	all, missing := s.marks()
	line := summaryLine{
		OK: s.OK, Failed: s.Failed, First: s.first, Last: s.last, Pebble: s.Pebble, Version: version(),
		SeedsPerSecond: round(float64(s.Seeds())/took.Seconds(), 1),
		Busy:           round(s.Share(s.Busy), 3), Crashed: round(s.Share(s.Crashed), 3), Succeeded: round(s.SucceededShare(), 3),
		Cutovers: s.Cutovers, Crashes: map[string]map[string]int{}, Faults: s.Faults, Marks: all, MarksMissing: missing, Properties: s.byProperty,
	}
	for _, step := range sim.Steps() {
		line.Crashes[step] = map[string]int{}
		for _, role := range sim.Roles() {
			line.Crashes[step][role] = s.Hits[sim.Hit{Step: step, Role: role}]
		}
	}
	if asJSON {
		return json.NewEncoder(out).Encode(line)
	}
	_, err := fmt.Fprintf(out, "%d ok, %d failed (seeds %d to %d); %.1f seeds/s; %d cutovers; seeds with a cutover under writes %.1f %%, with a crash in a move %.1f %%; operations ok %.1f %%; %d seeds on Pebble\n",
		s.OK, s.Failed, s.first, s.last, line.SeedsPerSecond, line.Cutovers, 100*line.Busy, 100*line.Crashed, 100*line.Succeeded, s.Pebble)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "crashes at step\t"+strings.Join(sim.Roles(), "\t")) // Flush reports
	for _, step := range sim.Steps() {
		_, _ = fmt.Fprint(tw, step) // Flush reports
		for _, role := range sim.Roles() {
			_, _ = fmt.Fprintf(tw, "\t%d", line.Crashes[step][role]) // Flush reports
		}
		_, _ = fmt.Fprintln(tw) // Flush reports
	}
	_, _ = fmt.Fprintln(tw, "\nfaults\ttimes\tseeds") // Flush reports
	for _, m := range s.Marks() {
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%d\n", m.Kind, m.Count, m.Seeds) // Flush reports
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if err := s.printMarks(out, all, missing); err != nil {
		return err
	}
	return s.printProperties(out)
}

// printMarks says which coverage marks no run has reached.
func (s *simSummary) printMarks(out io.Writer, all int, missing []string) error {
	text := ""
	if len(missing) > 0 {
		const shown = 8
		text = "; never: " + strings.Join(missing[:min(shown, len(missing))], ", ")
		if more := len(missing) - shown; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	_, err := fmt.Fprintf(out, "%d of %d coverage marks reached%s\n", all-len(missing), all, text)
	return err
}

// printProperties prints a table of the properties that were violated, if any was.
func (s *simSummary) printProperties(out io.Writer) error {
	if s.Failed == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "violated\tseeds\tfirst\treplay") // Flush reports
	for _, name := range s.properties() {
		p := s.byProperty[name]
		var first []string
		for _, seed := range p.First {
			first = append(first, strconv.FormatUint(seed, 10))
		}
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%s\t%s\n", name, p.Failed, strings.Join(first, " "), p.Replay) // Flush reports
	}
	return tw.Flush()
}

func round(f float64, digits int) float64 {
	text := strconv.FormatFloat(f, 'f', digits, 64)
	r, _ := strconv.ParseFloat(text, 64) // just formatted
	return r
}
