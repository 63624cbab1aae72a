package sim

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine/mutant"
)

// Schedule is what one seed drew, written down: the swarm's settings, and which of the actions that the dice ask for happen.
// It replays by itself: what it does not name is drawn by its seed's dice, whose streams do not depend on the settings.
//
// As text, a line says one thing; what follows a "#" is for people:
//
//	godwit-schedule 1
//	seed 17
//	mutant late-unpause       the planted bug that it is about; absent for the code as it is
//	property digests          what it breaks
//	set nodes 2               a setting of the swarm; those that are absent are zero, which switches a fault off
//	keep crash 1 4            of the crashes that are drawn only the first and the fourth happen; without numbers, none
//
// Actions are counted from 1 within their class: crash, partition, loss, reset, late, duplicate, stall, busy, slow-link,
// full-disk, failed-sync, read-error, flip, bad-start, reconfigure, old-map, wipe, lose, swap (faults), job, cancel, resolve,
// map, flush-all (the operator's), client-0, client-1… (operations of that client in the safety phase). Those of a class without a
// "keep" line happen all.
type Schedule struct {
	Seed     uint64
	Mutant   mutant.Name // empty: none
	Property string      // what a run of it is expected to violate; empty: nothing

	swarm swarm
	keep  map[string][]int // sorted
}

// ErrSchedule is wrapped by errors that say that a text is not a schedule.
var ErrSchedule = errors.New("bad schedule")

const scheduleHeader = "godwit-schedule 1"

// maxScheduleBytes bounds the text of a schedule; a seed that nobody has shrunk takes some kilobytes.
const maxScheduleBytes = 1 << 20

// DrawSchedule is the schedule of a seed as it is drawn.
func DrawSchedule(seed uint64) *Schedule {
	return &Schedule{Seed: seed, swarm: drawSwarm(seed), keep: map[string][]int{}}
}

// clone copies a schedule.
func (s *Schedule) clone() *Schedule {
	c := *s
	c.keep = map[string][]int{}
	for class, list := range s.keep { //det:ok copies into another map
		c.keep[class] = slices.Clone(list)
	}
	return &c
}

// setting is one setting of the swarm by name. At most one pointer is not nil.
type setting struct {
	name     string
	value    any // *int, *int64, *float64, *bool or *time.Duration
	min, max float64
}

// settings lists all settings of a swarm, in the order of the text, with what they may be: durations in seconds. The bounds keep a
// text from asking for a run without end.
func (s *swarm) settings() []setting {
	const most, chance, ever = 1 << 20, 1, 600.0
	d := &s.driver
	return []setting{
		{"nodes", &s.nodes, 2, 9}, {"clients", &s.clients, 1, 64}, {"slots", &s.slots, 1, 64}, {"safety", &s.safety, 0, 60},
		{"filler", &s.filler, 0, 10_000}, {"filler-bytes", &s.fillerBytes, 0, most},
		{"latency", &s.latency, 0, ever}, {"drop", &s.drop, 0, chance}, {"lost-reply", &s.lostReply, 0, chance},
		{"duplicate", &s.duplicate, 0, chance}, {"late", &s.late, 0, chance}, {"lateness", &s.lateness, 0, ever},
		{"reset", &s.reset, 0, chance}, {"fifo", &s.fifo, 0, 1}, {"order", &s.order, 0, chance}, {"control-late", &s.controlLate, 0, chance},
		{"control-loss", &s.controlLoss, 0, chance}, {"partitions", &s.partitions, 0, ever}, {"partitioned", &s.partitioned, 0, ever},
		{"crashes", &s.crashes, 0, ever}, {"aimed", &s.aimed, 0, chance}, {"read-crashes", &s.readCrashes, 0, chance}, {"midway", &s.midway, 0, chance}, {"restart", &s.restart, 0, ever},
		{"sync", &s.sync, 0, ever}, {"slow-sync", &s.slowSync, 0, chance}, {"slow-time", &s.slowTime, 0, ever}, {"skew", &s.skew, 0, ever},
		{"skew-changes", &s.skewChanges, 0, ever}, {"work", &s.work, 0, ever}, {"beside", &s.beside, 0, 1}, {"backlog-bytes", &s.backlog, 0, most},
		{"stalls", &s.stalls, 0, ever}, {"busies", &s.busies, 0, ever}, {"crash-loops", &s.crashLoops, 0, chance}, {"several", &s.several, 0, chance}, {"drift", &s.drift, 0, 0.05},
		{"slow-links", &s.slowLinks, 0, ever}, {"full-disks", &s.fullDisks, 0, ever}, {"failed-syncs", &s.failedSyncs, 0, ever},
		{"swaps", &s.swaps, 0, ever}, {"read-errors", &s.readErrors, 0, ever}, {"flips", &s.flips, 0, ever},
		{"bad-starts", &s.badStarts, 0, chance}, {"reconfigures", &s.reconfigures, 0, chance}, {"old-maps", &s.oldMaps, 0, chance},
		{"wipes", &s.wipes, 0, ever}, {"losses", &s.losses, 0, ever}, {"resolves", &s.resolves, 0, chance}, {"asking", &s.asking, 0, chance},
		{"flush", &s.flush, 0, chance},
		{"think", &s.think, 1e-4, ever}, {"rush", &s.rush, 1e-4, ever}, {"patience", &s.patience, 1e-3, ever}, {"expiry", &s.expiry, 0, 1},
		{"kinds", &s.kinds, 0, withAll}, {"wide", &s.wide, 0, wideTypes}, {"transactions", &s.transactions, 0, chance}, {"blocking", &s.blocking, 0, chance},
		{"jobs", &s.jobs, 1e-3, ever}, {"cancels", &s.cancels, 0, chance}, {"flushes", &s.flushes, 0, chance}, {"maps", &s.maps, 0, ever},
		{"returns", &s.returns, 0, chance}, {"verbs", &s.verbs, 0, chance}, {"classic", &s.classic, 0, chance}, {"held-prepares", &s.heldPrepares, 0, chance}, {"sweep", &s.sweep, 0, ever},
		{"settled", &s.settled, 0, 1}, {"park", &s.park, 0, ever}, {"parked", &s.parked, 0, most},
		{"window-bytes", &d.Source.WindowBytes, 0, most}, {"pause-target", &d.Source.PauseTarget, 0, ever}, {"pause-deadline", &d.Source.PauseDeadline, 0, ever},
		{"retry-min", &d.Source.RetryMin, 0, ever}, {"retry-max", &d.Source.RetryMax, 0, ever}, {"give-up-after", &d.Source.GiveUpAfter, 0, ever},
		{"lag-bytes", &d.Source.LagBytes, 0, most}, {"lag-keys", &d.Source.LagKeys, 0, most}, {"rounds", &d.Source.Rounds, 0, most}, {"hold-every", &d.Source.HoldEvery, 0, ever},
		{"converge-within", &d.Source.ConvergeWithin, 0, ever}, {"pauses", &d.Source.Pauses, 0, most}, {"abort-tries", &d.Source.AbortTries, 0, most},
		{"chunk-bytes", &d.ChunkBytes, 0, most}, {"chunk-records", &d.ChunkRecords, 0, most}, {"digest-bytes", &d.DigestBytes, 0, most},
		{"digest-records", &d.DigestRecords, 0, most}, {"table-bytes", &d.TableBytes, 0, most}, {"ingest-bytes", &d.IngestBytes, 0, most}, {"tables-from", &d.TablesFrom, 0, most}, {"tracker-bytes", &d.TrackerBytes, 0, most}, {"job-memory", &d.JobMemory, 0, most}, {"slots-at-once", &d.SlotsAtOnce, 0, most}, {"small-slot-bytes", &d.SmallSlotBytes, 0, most}, {"jobs-at-once", &d.JobsAtOnce, 0, most}, {"imports-at-once", &d.ImportsAtOnce, 0, most}, {"import-bytes", &d.ImportBytes, 0, most}, {"held-at-once", &d.HeldAtOnce, 0, most}, {"resolve-patience", &d.ResolvePatience, 0, ever},
		{"call-timeout", &d.CallTimeout, 0, ever}, {"ask-after", &d.AskAfter, 0, ever}, {"snapshot-kept", &d.SnapshotKept, 0, ever}, {"jobs-kept", &d.JobsKept, 0, most},
	}
}

// number is the setting's value: of a duration the seconds.
func (f *setting) number() float64 {
	switch v := f.value.(type) {
	case *int:
		return float64(*v)
	case *int64:
		return float64(*v)
	case *float64:
		return *v
	case *time.Duration:
		return v.Seconds()
	case *bool:
		if *v {
			return 1
		}
	}
	return 0
}

// clear sets the setting to the least that it may be.
func (f *setting) clear() {
	switch v := f.value.(type) {
	case *int:
		*v = int(f.min)
	case *int64:
		*v = int64(f.min)
	case *float64:
		*v = f.min
	case *time.Duration:
		*v = time.Duration(f.min * float64(time.Second))
	case *bool:
		*v = false
	}
}

// String is the value as the text of a schedule has it.
func (f *setting) String() string {
	switch v := f.value.(type) {
	case *int:
		return strconv.Itoa(*v)
	case *int64:
		return strconv.FormatInt(*v, 10)
	case *float64:
		return strconv.FormatFloat(*v, 'g', -1, 64)
	case *time.Duration:
		return v.String()
	case *bool:
		return strconv.FormatBool(*v)
	}
	return "?"
}

// parse sets the setting from its text.
func (f *setting) parse(text string) (err error) {
	switch v := f.value.(type) {
	case *int:
		*v, err = strconv.Atoi(text)
	case *int64:
		*v, err = strconv.ParseInt(text, 10, 64)
	case *float64:
		*v, err = strconv.ParseFloat(text, 64)
	case *time.Duration:
		*v, err = time.ParseDuration(text)
	case *bool:
		*v, err = strconv.ParseBool(text)
	}
	return err
}

// check demands that the value is one that it may be. The comparison is written so that what is not a number fails.
func (f *setting) check() error {
	if n := f.number(); n >= f.min && n <= f.max {
		return nil
	}
	return fmt.Errorf("%w: %s is %s, must be from %g to %g", ErrSchedule, f.name, f, f.min, f.max)
}

// ReadSchedule reads the text of a schedule. Its errors wrap ErrSchedule, or are those of the reader.
func ReadSchedule(in io.Reader) (*Schedule, error) {
	s := &Schedule{keep: map[string][]int{}}
	settings := map[string]*setting{}
	list := s.swarm.settings()
	for i := range list {
		settings[list[i].name] = &list[i]
	}
	sc := bufio.NewScanner(io.LimitReader(in, maxScheduleBytes))
	sc.Buffer(nil, maxScheduleBytes)
	for n := 1; sc.Scan(); n++ {
		line, _, _ := strings.Cut(sc.Text(), "#")
		words := strings.Fields(line)
		if n == 1 {
			if strings.Join(words, " ") != scheduleHeader {
				return nil, fmt.Errorf("%w: line 1 must be %q", ErrSchedule, scheduleHeader)
			}
			continue
		}
		if err := s.readLine(words, settings); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSchedule, n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readLine reads one line but the first.
func (s *Schedule) readLine(words []string, settings map[string]*setting) (err error) {
	if len(words) == 0 {
		return nil
	}
	switch {
	case words[0] == "seed" && len(words) == 2:
		s.Seed, err = strconv.ParseUint(words[1], 10, 64)
	case words[0] == "mutant" && len(words) == 2:
		s.Mutant = mutant.Name(words[1])
	case words[0] == "property" && len(words) == 2:
		s.Property = words[1]
	case words[0] == "set" && len(words) == 3 && settings[words[1]] != nil:
		err = settings[words[1]].parse(words[2])
	case words[0] == "keep" && len(words) >= 2:
		kept := make([]int, 0, len(words)-2)
		for _, w := range words[2:] {
			n, err := strconv.Atoi(w)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not the number of an action", w)
			}
			kept = append(kept, n)
		}
		slices.Sort(kept)
		s.keep[words[1]] = slices.Compact(kept)
	default:
		return fmt.Errorf("not known: %q", strings.Join(words, " "))
	}
	return err
}

// Write writes the text of the schedule. Actions are those of a run of it, for comments; nil for none.
func (s *Schedule) Write(out io.Writer, actions []Action) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nseed %d\n", scheduleHeader, s.Seed)
	if s.Mutant != "" {
		fmt.Fprintf(&b, "mutant %s\n", s.Mutant)
	}
	if s.Property != "" {
		fmt.Fprintf(&b, "property %s\n", s.Property)
	}
	b.WriteByte('\n')
	for _, f := range s.swarm.settings() {
		if f.number() != 0 {
			fmt.Fprintf(&b, "set %s %s\n", f.name, &f)
		}
	}
	b.WriteByte('\n')
	for _, class := range s.classes() {
		b.WriteString("keep " + class)
		for _, n := range s.keep[class] {
			b.WriteString(" " + strconv.Itoa(n))
		}
		b.WriteByte('\n')
	}
	if len(actions) > 0 {
		b.WriteString("\n# What happens:\n")
	}
	for _, a := range actions {
		fmt.Fprintf(&b, "# %10.6f s  %s %d %s\n", a.At.Seconds(), a.Class, a.Number, a.Text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// classes lists the classes of actions that the schedule restricts, sorted.
func (s *Schedule) classes() []string {
	out := make([]string, 0, len(s.keep))
	for class := range s.keep { //det:ok sorted below
		out = append(out, class)
	}
	slices.Sort(out)
	return out
}

// Action is something that the dice asked for and that happened: a fault, something that the operator did, or an operation of a
// client in the safety phase.
type Action struct {
	At     time.Duration
	Class  string
	Number int // within the class, from 1; those that did not happen are counted too
	Text   string
}

// plan is a schedule as a run carries it out. A nil plan lets everything happen.
type plan struct {
	w        *world
	schedule *Schedule
	counts   map[string]int
	happened []Action
}

func newPlan(w *world, s *Schedule) *plan {
	return &plan{w: w, schedule: s, counts: map[string]int{}}
}

// act numbers an action of a class and reports whether it happens. The text says what it is.
func (p *plan) act(class string, text ...any) bool {
	if p == nil {
		return true
	}
	p.counts[class]++
	n := p.counts[class]
	if kept, restricted := p.schedule.keep[class]; restricted {
		if _, found := slices.BinarySearch(kept, n); !found {
			return false
		}
	}
	p.happened = append(p.happened, Action{p.w.now, class, n, fmt.Sprint(text...)})
	return true
}

// byTime orders actions as they happened, those of one moment by class and number.
func byTime(a, b Action) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Number, b.Number))
}

// clientClass is the class of a client's operations.
func clientClass(i int) string { return "client-" + strconv.Itoa(i) }
