package migration

import "fmt"

// Step is where a slot stands at its source.
type Step uint8

// The steps of the source. Labels are what operators see and what faults are aimed at.
const (
	// StepIdle: nothing has been done for the slot. Left by Begin or Recover.
	StepIdle Step = iota
	// StepStarting: a new attempt is being persisted, then opened at the target. The source serves. Left when the target
	// has answered, or to Suspended or Aborting.
	StepStarting
	// StepSuspended: operators want the job to rest. The source serves and sends nothing; what changes is tracked, if it was.
	// Entered from every step before the decision; from Pausing by way of Starting, so that the target is not left prepared.
	// Left to Starting when they want it to go on, or to Aborting.
	StepSuspended
	// StepCopying: rounds stream, writes go on. Left to Starting (a pause is due, or the stream must begin anew), to Holding,
	// Suspended or Aborting.
	StepCopying
	// StepHolding: everything is copied and verified, but operators want to say when the slot is handed over. The source
	// serves; from time to time it looks what has changed, and sends it. Left to Copying for that, to Starting when the hold
	// is over (a pause is due), to Suspended or Aborting.
	StepHolding
	// StepPausing: writes are parked, the final round streams, then prepare. Left to Deciding by an exact prepared, to
	// Starting when the pause must be given up, to Aborting.
	StepPausing
	// StepDeciding: the slot is sealed and the decision handed to the store. Nothing but its sync leads out, or the finding
	// that the slot was no longer this node's to give (Aborting).
	StepDeciding
	// StepCommitting: the decision is durable; commit is sent until the target has answered that it durably serves. From its first answer, that it serves,
	// nobody waits here any more.
	StepCommitting
	// StepConfirming: the target serves; the frozen copy is compared with the takeover snapshot.
	StepConfirming
	// StepKeeping: the frozen copy is kept for a rollback; nobody is served from it. Left to Cleaning when its time is over, to
	// Done when the slot is on its way back.
	StepKeeping
	// StepCleaning: the copy is being deleted.
	StepCleaning
	// StepDone: the slot has moved.
	StepDone
	// StepAborting: the job was given up for this slot, durably; the target is being told.
	StepAborting
	// StepFailed: the slot stayed.
	StepFailed
)

var stepNames = [...]string{"idle", "starting", "suspended", "copying", "holding", "pausing", "deciding", "committing", "confirming", "keeping", "cleaning", "done", "aborting", "failed"}

func (s Step) String() string {
	if int(s) < len(stepNames) {
		return stepNames[s]
	}
	return fmt.Sprintf("step(%d)", uint8(s))
}

// Ended reports that nothing more will happen.
func (s Step) Ended() bool { return s == StepDone || s == StepFailed }

// Decided reports that the slot no longer belongs to the source, or that only a sync is missing.
func (s Step) Decided() bool { return s >= StepDeciding && s <= StepDone }

// transitions is the one table of which steps may follow which. Source.Step panics on any other: it is a bug of this code.
var transitions = map[Step][]Step{
	StepIdle:       {StepStarting, StepSuspended, StepCommitting, StepConfirming, StepKeeping, StepCleaning, StepAborting, StepDone, StepFailed},
	StepStarting:   {StepStarting, StepSuspended, StepCopying, StepPausing, StepAborting},
	StepSuspended:  {StepStarting, StepAborting},
	StepCopying:    {StepStarting, StepSuspended, StepHolding, StepAborting},
	StepHolding:    {StepStarting, StepSuspended, StepCopying, StepAborting},
	StepPausing:    {StepStarting, StepDeciding, StepAborting},
	StepDeciding:   {StepCommitting, StepAborting},
	StepCommitting: {StepConfirming},
	StepConfirming: {StepKeeping, StepCleaning, StepDone},
	StepKeeping:    {StepCleaning, StepDone},
	StepCleaning:   {StepDone},
	StepAborting:   {StepFailed},
}

// allowed reports whether to may follow from.
func allowed(from, to Step) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// RoundKind says what a round reads.
type RoundKind uint8

// The kinds of rounds.
const (
	// RoundBase copies the whole slot to a target that has nothing of it.
	RoundBase RoundKind = iota + 1
	// RoundResume walks the whole slot against a target that has some of it: what differs is replaced.
	RoundResume
	// RoundChanges sends what changed since the last round.
	RoundChanges
	// RoundVerify sends what changed, then walks the whole slot.
	RoundVerify
	// RoundFinal sends what changed, while writes are parked.
	RoundFinal
)

var roundNames = [...]string{"?", "base", "resume", "changes", "verify", "final"}

func (k RoundKind) String() string { return roundNames[min(int(k), len(roundNames)-1)] }
