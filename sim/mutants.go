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
		{mutant.NoPause, 100},
		{mutant.NoDrain, 300},
		{mutant.ServeEarly, 100},
		{mutant.LostCommitReply, 100},
		{mutant.LateUnpause, 100},
		{mutant.CancelAfter, 300},
		{mutant.ForgetfulSource, 100},
		{mutant.ForgetfulTarget, 100},
		{mutant.ServingCounts, 100},
		{mutant.LateRead, 100},
		{mutant.LateStart, 1200},
		{mutant.LatePrepared, 3000},
		{mutant.StaleEpoch, 1500},
		{mutant.AckOnFailure, 100},
		{mutant.BusyApplied, 100},
		{mutant.StaleAttempt, 2400},
		{mutant.UndurableAnswer, 500},
		{mutant.NoneReassigned, 100},
		{mutant.MapSteals, 100},
		{mutant.PurgeEarly, 100},
		{mutant.RollbackStale, 100},
		{mutant.HeldServes, 100},
		{mutant.CleanAfterReturn, 200},
		{mutant.OrphanImport, 100},
		{mutant.WrongTarget, 200},
		{mutant.AskingServes, 100},
		{mutant.TrackGap, 400},
		{mutant.RoundGap, 200},
		{mutant.WalkOverChange, 100},
		{mutant.ReorderApply, 100},
		{mutant.ReplayApply, 300},
		{mutant.SkipApply, 100},
		{mutant.DeleteLost, 100},
		{mutant.TornBatch, 700},
		{mutant.TornExec, 300},
		{mutant.ExecUnbatched, 600},
		{mutant.WatchReturned, 1000},
		{mutant.WatchElements, 600},
		{mutant.DeafWaiter, 100},
		{mutant.ElementLost, 100},
		{mutant.TTLReset, 100},
		{mutant.RangeUntracked, 500},
		{mutant.TrackOverflow, 100},
		{mutant.RebuiltResend, 300},
		{mutant.AckUndurable, 300},
		{mutant.SweepImport, 500},
		{mutant.FlushImport, 700},
		{mutant.ExpiredResurrect, 2500},
		{mutant.ResumeFromNew, 100},
		{mutant.AckBeforeSync, 100},
		{mutant.ReadUnsynced, 900},
		{mutant.PrepareUnsynced, 300},
		{mutant.BirthUnasked, 100},
		{mutant.ClaimMissing, 100},
		{mutant.ResolveBlind, 100},
		{mutant.ReusedEarly, 100},
		{mutant.MemoryKept, 100},
		{mutant.MemoryIgnored, 3000},
		{mutant.ReadUnsettled, 100},
		{mutant.SnapUnsettled, 500},
		{mutant.SyncUnsettled, 200},
		{mutant.BacklogReversed, 900},
		{mutant.BacklogLost, 200},
		{mutant.ReadBackWritten, 100},
	}
}

// Elsewhere is a mutant that the simulator does not look for, and what finds it.
type Elsewhere struct {
	Name mutant.Name
	By   string
}

// FoundElsewhere lists the mutants that other tests find.
func FoundElsewhere() []Elsewhere {
	const explored = "the exploration of claims in engine/cluster"
	const machines = "the exploration of the machines in migration"
	return []Elsewhere{
		{mutant.RouteBeforeLock, "the stress test over sockets: one thread cannot show it"},
		{mutant.HoldIgnored, machines},
		{mutant.VerifyGap, "TestMutantVerifyGap in cmd/godwit"},
		{mutant.BlockUnchecked, "TestMutantsFailTests in engine/store"},
		{mutant.TableEarly, "TestMutantsFailTests in engine/store"},
		{mutant.ExportNoExpiry, "TestMutantsFailTests in engine/command"},
		{mutant.ThrottleIgnored, "TestThrottle of migration/driver"},
		{mutant.NeverConverges, "TestKeepOnOverload of migration/driver"},
		{mutant.PauseUnbounded, "TestPauseBudget of migration/driver"},
		{mutant.QueueForgotten, "TestQueueAfterRestart of migration/driver"},
		{mutant.CommitOvertakes, "TestMutantsFailTests in engine/store"},
		{mutant.ReadBackEarlier, "TestReadBackOfAnEarlierBase of migration/driver"},
		{mutant.ClaimNarrow, explored},
		{mutant.ClaimOnce, explored},
		{mutant.ClaimReleased, explored},
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
