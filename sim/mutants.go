package sim

import (
	"errors"

	"godwit/engine/mutant"
)

// Mutant is a planted bug that the simulator looks for.
type Mutant struct {
	Name mutant.Name
	// Required says that a simulator that does not find it within DefaultHunt seeds is broken.
	Required bool
}

// DefaultHunt is within how many seeds a required mutant must be found.
const DefaultHunt = 1000

// Mutants lists what can be looked for, the required ones first.
func Mutants() []Mutant {
	required := []mutant.Name{
		mutant.NoPause, mutant.NoDrain, mutant.ServeEarly, mutant.LostCommitReply, mutant.LateUnpause, mutant.ForgetfulSource,
		mutant.LateStart, mutant.LatePrepared, mutant.UndurableAnswer, mutant.NoneReassigned, mutant.TrackGap, mutant.RoundGap,
		mutant.ReplayApply, mutant.AckBeforeSync, mutant.PurgeEarly,
	}
	further := []mutant.Name{
		mutant.CancelAfter, mutant.ForgetfulTarget, mutant.StaleAttempt, mutant.MapSteals, mutant.SkipApply, mutant.DeleteLost,
		mutant.RangeUntracked, mutant.TrackOverflow, mutant.ReadUnsynced, mutant.PrepareUnsynced, mutant.AckUndurable,
		mutant.RebuiltResend, mutant.LateRead, mutant.CleanAfterReturn, mutant.OrphanImport, mutant.SweepImport, mutant.FlushImport,
		mutant.ExpiredResurrect, mutant.ResumeFromNew, mutant.AskingServes, mutant.WrongTarget,
	}
	var out []Mutant
	for _, n := range required {
		out = append(out, Mutant{n, true})
	}
	for _, n := range further {
		out = append(out, Mutant{n, false})
	}
	return out
}

// Hunted is what a hunt for a mutant came to.
type Hunted struct {
	Name  mutant.Name
	Seeds int // run with the mutant
	// Found is the first run that showed it, nil if none did. The correct code passes its seed.
	Found *Result
}

// ErrNoMutants says that the binary was built without the tag "mutants".
var ErrNoMutants = errors.New("this binary has no mutants: build it with -tags mutants")

// Hunt switches a mutant on and runs seeds from 1 on until a property is violated on a seed that the correct code passes.
// It must not run beside anything else that runs nodes in this process.
func Hunt(name mutant.Name, seeds int, cfg Config) (Hunted, error) {
	if !mutant.Built {
		return Hunted{}, ErrNoMutants
	}
	defer mutant.Set("")
	h := Hunted{Name: name}
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
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
