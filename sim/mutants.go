package sim

import (
	"errors"

	"godwit/engine/mutant"
)

// Mutant is a planted bug that the simulator looks for.
type Mutant struct {
	Name mutant.Name
	// Budget is within how many seeds a search must find it. It is BudgetFactor times the median of 20 searches, rounded up to a
	// round number, and at least LeastBudget. The number of seeds that a search takes falls off like that of throws of a
	// die, so a search of a simulator that is as good as it was fails once in a million; one that has become ten times worse
	// at a bug fails every fourth time.
	Budget int
}

// BudgetFactor and LeastBudget say how budgets are made of medians.
const (
	BudgetFactor = 20
	LeastBudget  = 100
)

// Mutants lists what is looked for.
func Mutants() []Mutant {
	return []Mutant{
		{mutant.NoPause, 1000},
		{mutant.NoDrain, 1000},
		{mutant.ServeEarly, 1000},
		{mutant.LostCommitReply, 1000},
		{mutant.LateUnpause, 1000},
		{mutant.CancelAfter, 1000},
		{mutant.ForgetfulSource, 1000},
		{mutant.ForgetfulTarget, 1000},
		{mutant.LateRead, 1000},
		{mutant.LateStart, 1000},
		{mutant.LatePrepared, 4000},
		{mutant.StaleEpoch, 1000},
		{mutant.AckOnFailure, 1000},
		{mutant.StaleAttempt, 1000},
		{mutant.UndurableAnswer, 1000},
		{mutant.NoneReassigned, 1000},
		{mutant.MapSteals, 1000},
		{mutant.PurgeEarly, 1000},
		{mutant.CleanAfterReturn, 1000},
		{mutant.OrphanImport, 1000},
		{mutant.WrongTarget, 1000},
		{mutant.AskingServes, 1000},
		{mutant.TrackGap, 1000},
		{mutant.RoundGap, 1000},
		{mutant.WalkOverChange, 1000},
		{mutant.ReorderApply, 1000},
		{mutant.ReplayApply, 1000},
		{mutant.SkipApply, 1000},
		{mutant.DeleteLost, 1000},
		{mutant.TornBatch, 1000},
		{mutant.TTLReset, 1000},
		{mutant.RangeUntracked, 1000},
		{mutant.TrackOverflow, 1000},
		{mutant.RebuiltResend, 1000},
		{mutant.AckUndurable, 1000},
		{mutant.SweepImport, 1000},
		{mutant.FlushImport, 1000},
		{mutant.ExpiredResurrect, 4000},
		{mutant.ResumeFromNew, 1000},
		{mutant.AckBeforeSync, 1000},
		{mutant.ReadUnsynced, 1000},
		{mutant.PrepareUnsynced, 1000},
	}
}

// Elsewhere is a mutant that the simulator does not look for, and what finds it.
type Elsewhere struct {
	Name mutant.Name
	By   string
}

// FoundElsewhere lists the mutants that other tests find.
func FoundElsewhere() []Elsewhere {
	return []Elsewhere{
		{mutant.RouteBeforeLock, "the stress test over sockets: one thread cannot show it"},
		{mutant.BirthUnasked, "the exploration of claims"},
		{mutant.ClaimMissing, "the exploration of claims"},
		{mutant.ClaimReleased, "the exploration of claims"},
	}
}

// Hunted is what one search for a mutant came to.
type Hunted struct {
	Name  mutant.Name
	Seeds int // run with the mutant
	// Found is the first run that showed it, nil if none did. The correct code passes its seed.
	Found *Result
}

// ErrNoMutants says that the binary was built without the tag "mutants".
var ErrNoMutants = errors.New("this binary has no mutants: build it with -tags mutants")

// FirstSeed is the seed at which a search begins, of those that are numbered from 0. The first begins at seed 1; the others
// begin so far apart that they share no seed.
func FirstSeed(search int) uint64 { return 1 + uint64(search)*1_000_003 }

// Hunt switches a mutant on and runs seeds, the given one first, until a property is violated on a seed that the correct code passes.
// It must not run beside anything else that runs nodes in this process.
func Hunt(name mutant.Name, first uint64, seeds int, cfg Config) (Hunted, error) {
	if !mutant.Built {
		return Hunted{}, ErrNoMutants
	}
	defer mutant.Set("")
	h := Hunted{Name: name}
	for seed := first; h.Seeds < seeds; seed++ {
		mutant.Set(name)
		h.Seeds++
		r := Run(seed, cfg)
		if r.OK() || r.Violation.Property == propertyHarness {
			continue
		}
		mutant.Set("")
		if correct := Run(seed, cfg); correct.OK() {
			h.Found = &r
			return h, nil
		}
	}
	return h, nil
}
