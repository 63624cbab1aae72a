package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/engine/mutant"
)

// DefaultShrinkRuns bounds the runs of a shrinking: some minutes.
const DefaultShrinkRuns = 4000

// Shrunk is what a shrinking came to.
type Shrunk struct {
	Schedule *Schedule
	Result   Result // of a run of the schedule, its actions included
	Runs     int
}

// Shrink reduces the run of a seed that violates a property, with a mutant if the name is not empty, to a schedule that violates
// the same property with as little as possible: less time, fewer nodes, clients, slots and records, classes of faults switched
// off, and of the rest only those actions that it takes, found by delta debugging. With a mutant the correct code passes every
// schedule on the way. Say is told of each step that succeeds. It must not run beside anything else that runs nodes in this process.
//
// What is left out changes what follows, as the dice of the network are thrown for each message: whether less still fails is
// only known by running it. So a small world is tried with other dice too, and the schedule may name another seed than the one
// that it comes from. The result is small, not the smallest.
func Shrink(seed uint64, name mutant.Name, runs int, cfg Config, say func(string)) (*Shrunk, error) {
	if name != "" && !mutant.Built {
		return nil, ErrNoMutants
	}
	defer mutant.Set("")
	first := DrawSchedule(seed)
	first.Mutant = name
	sh := &shrinker{cfg: cfg, mutant: name, left: max(runs, 1), say: say}
	r := sh.run(first, name)
	if r.OK() || r.Violation.Property == propertyHarness {
		return nil, fmt.Errorf("seed %d violates no property: there is nothing to shrink", seed)
	}
	first.Property = r.Violation.Property
	if name != "" {
		if correct := sh.run(first, ""); !correct.OK() {
			return nil, fmt.Errorf("the correct code fails seed %d too: %w", seed, correct.Violation)
		}
	}
	sh.took(first, r)
	sh.shrink()
	sh.reseed()
	return &Shrunk{Schedule: sh.best, Result: sh.result, Runs: sh.runs}, nil
}

// shrinker holds the smallest schedule so far.
type shrinker struct {
	cfg    Config
	mutant mutant.Name
	say    func(string)
	best   *Schedule
	result Result // of best
	runs   int
	left   int
}

func (sh *shrinker) run(s *Schedule, name mutant.Name) Result {
	sh.runs++
	sh.left--
	mutant.Set(name)
	cfg := sh.cfg
	cfg.Trace, cfg.Watch, cfg.Panic, cfg.Schedule = nil, nil, false, s
	return Run(s.Seed, cfg)
}

// took makes a schedule the best.
func (sh *shrinker) took(s *Schedule, r Result) {
	sh.best, sh.result = s, r
	w := &s.swarm
	sh.say(fmt.Sprintf("%5d runs: %d nodes, %d clients, %d slots, %d actions, %d events, %s at %.3f s", sh.runs, w.nodes, w.clients, w.slots,
		len(r.Actions), r.Events, r.Violation.Property, r.Violation.At.Seconds()))
}

// try takes what change makes of the best schedule, if it still violates the property, and reports whether it does.
func (sh *shrinker) try(change func(s *Schedule)) bool {
	if sh.left <= 0 {
		return false
	}
	s := sh.best.clone()
	change(s)
	r := sh.run(s, sh.mutant)
	if r.OK() || r.Violation.Property != s.Property {
		return false
	}
	if sh.mutant != "" && !sh.correctPasses(s) {
		return false
	}
	sh.took(s, r)
	return true
}

func (sh *shrinker) correctPasses(s *Schedule) bool {
	r := sh.run(s, "")
	return r.OK()
}

// shrink reduces until nothing more can be left out, or the runs are spent. What takes much away comes first.
func (sh *shrinker) shrink() {
	for round := 0; sh.left > 0; round++ {
		before := sh.size()
		sh.shrinkTime()
		sh.shrinkSettings()
		sh.shrinkActions()
		if sh.size() == before {
			return
		}
	}
}

// reseeds is how many other dice a small world is tried with.
const reseeds = 200

// reseed looks for a smaller schedule with other dice: in the smallest worlds the dice of the first seed mostly miss the moment.
func (sh *shrinker) reseed() {
	first := sh.best.Seed
	for k := uint64(1); k <= reseeds && sh.left > 0; k++ {
		best, result := sh.best, sh.result
		found := sh.try(func(s *Schedule) {
			s.Seed = first + k
			s.keep = map[string][]int{}
			w := &s.swarm
			w.nodes, w.clients, w.slots = 2, min(w.clients, 1+int(k%3)), min(w.slots, 1+int(k/3%2))
			w.safety = max(w.safety, 1500*time.Millisecond)
			w.rush = min(w.rush, 5*time.Millisecond)
		})
		if !found {
			continue
		}
		if sh.shrink(); sh.weight() >= weigh(&result) {
			sh.best, sh.result = best, result
		}
	}
}

// weight says how much a reader of the best schedule has to read.
func (sh *shrinker) weight() int { return weigh(&sh.result) }

func weigh(r *Result) int { return 1000*len(r.Actions) + int(r.Events) }

// size tells schedules apart: every reduction that is taken changes it.
func (sh *shrinker) size() string {
	var b strings.Builder
	_ = sh.best.Write(&b, nil) // a builder does not fail
	return b.String()
}

// shrinkTime ends the safety phase soon after the violation, or as early as it still comes.
func (sh *shrinker) shrinkTime() {
	if d := sh.result.Violation.At - setupTime + time.Millisecond; d > 0 && d < sh.best.swarm.safety {
		sh.try(func(s *Schedule) { s.swarm.safety = d.Truncate(time.Millisecond) })
	}
	for _, percent := range []time.Duration{25, 50, 75, 90} {
		for sh.try(func(s *Schedule) { s.swarm.safety = (s.swarm.safety * percent / 100).Truncate(time.Millisecond) }) && sh.best.swarm.safety > 0 {
		}
	}
}

// sizes are the settings that say how much there is of something.
var sizes = []string{"slots", "nodes", "clients", "filler", "filler-bytes"}

// switches are the settings that switch a fault, or something that an operator or clients do, off by being zero.
var switches = []string{
	"partitions", "crashes", "aimed", "drop", "lost-reply", "duplicate", "late", "reset", "control-late", "control-loss", "slow-sync", "skew",
	"maps", "cancels", "flushes", "flush", "expiry", "kinds", "wide", "transactions", "blocking", "settled", "returns", "verbs", "classic", "held-prepares", "midway", "skew-changes", "partitioned", "slow-time",
}

func (sh *shrinker) shrinkSettings() {
	for _, name := range switches {
		if f := sh.best.setting(name); f.number() != 0 {
			sh.try(func(s *Schedule) { s.setting(name).clear() })
		}
	}
	for _, name := range sizes {
		f := sh.best.setting(name)
		for n := int(f.min); n < int(sh.best.setting(name).number()); n += max(1, n/2) {
			if sh.try(func(s *Schedule) { *s.setting(name).value.(*int) = n }) {
				break
			}
		}
	}
}

// setting is the setting with a name of those that this file names.
func (s *Schedule) setting(name string) *setting {
	list := s.swarm.settings()
	i := slices.IndexFunc(list, func(f setting) bool { return f.name == name })
	return &list[i]
}

// shrinkActions leaves actions out, whole classes first, then more and more finely.
func (sh *shrinker) shrinkActions() {
	for _, class := range sh.happened() {
		if list := sh.numbers(class); len(list) > 0 {
			sh.keep(class, nil)
		}
	}
	for _, class := range sh.happened() {
		// The rest of a list after the violation plays no part, so the last action is known: what comes after is left out at once.
		sh.keep(class, sh.numbers(class))
		for chunk := (len(sh.numbers(class)) + 1) / 2; chunk > 0; chunk /= 2 {
			for at := 0; at < len(sh.numbers(class)); {
				list := sh.numbers(class)
				without := slices.Concat(list[:at], list[min(at+chunk, len(list)):])
				if !sh.keep(class, without) {
					at += chunk
				}
			}
		}
	}
}

// keep tries to keep only these actions of a class.
func (sh *shrinker) keep(class string, numbers []int) bool {
	return sh.try(func(s *Schedule) { s.keep[class] = numbers })
}

// happened lists the classes of which something happened, sorted.
func (sh *shrinker) happened() []string {
	var out []string
	for _, a := range sh.result.Actions {
		if !slices.Contains(out, a.Class) {
			out = append(out, a.Class)
		}
	}
	slices.Sort(out)
	return out
}

// numbers lists the actions of a class that happened.
func (sh *shrinker) numbers(class string) []int {
	var out []int
	for _, a := range sh.result.Actions {
		if a.Class == class {
			out = append(out, a.Number)
		}
	}
	slices.Sort(out)
	return out
}
