package migration

import (
	"fmt"
	"time"

	"godwit/engine/cluster"
)

// Event is what a source machine is stepped with.
type Event interface{ event() }

// The events.
type (
	// EvBegin starts a slot that has never been tried in this job.
	EvBegin struct{}
	// EvRecover takes a slot up after a restart of the source, from what is durable.
	EvRecover struct{ Phase Phase }
	// EvPersisted says that EfPersist for this attempt is durable.
	EvPersisted struct{ Attempt cluster.Attempt }
	// EvRoundOpen says that the round asked for is open and can be read.
	EvRoundOpen struct{}
	// EvData is what EfRead read: a body to send, or none; Last says that the round has nothing more. Asks is how many bytes the target has to read
	// to answer it: a short digest may speak for much, and a target that gets very many of them answers none in time. Await says that what follows the
	// round depends on the answer, which may be that the target differs.
	EvData struct {
		Body  []byte
		Asks  int
		Last  bool
		Await bool
	}
	// EvLag answers EfMeasure: what changed since the last round. Final is how long it would take to send, by what the last rounds took; 0 if
	// nobody knows. Whole is the part of LagBytes that has not changed, and is sent since it belongs to keys that have, which a payload of commands
	// tells as a whole; of a key that would take too long, at least what is too much.
	EvLag struct {
		Keys, Spans int
		LagBytes    int64
		Whole       int64
		Final       time.Duration
	}
	// EvReply is the answer to a message of an attempt; Seq is the number of the data message it answers.
	EvReply struct {
		Message MessageKind
		Attempt cluster.Attempt
		Seq     uint64
		Reply   Reply
	}
	// EvSendFailed says that a message got no answer: whether it arrived is unknown.
	EvSendFailed struct {
		Message MessageKind
		Attempt cluster.Attempt
		Seq     uint64
		Err     string
	}
	// EvTimer says that a timer fired.
	EvTimer struct {
		Timer      TimerKind
		Generation uint32
	}
	// EvParkLimit says that the paused slot has parked as much as it may.
	EvParkLimit struct{}
	// EvDecided says that the decision is durable.
	EvDecided struct{}
	// EvOverruled says that the decision could not be handed in: the slot is not this node's to give any more.
	EvOverruled struct{ Why string }
	// EvConfirmed ends the comparison after takeover.
	EvConfirmed struct{ Outcome ConfirmOutcome }
	// EvKeepOver says that the time is over for which the copy was to be kept: it goes, unless the target still has to answer
	// whether it hands the slot back.
	EvKeepOver struct{}
	// EvReplaced says that the copy is not this job's any more: the slot is on its way back, or has come back.
	EvReplaced struct{}
	// EvCleaned says that the copy is gone.
	EvCleaned struct{}
	// EvCancel asks to give up.
	EvCancel struct{ Why string }
	// EvOrders says what operators want of the slot from now on. It may say the same again. It comes before EvBegin and
	// EvRecover, which go by it.
	EvOrders struct{ Orders }
)

func (EvBegin) event()      {}
func (EvRecover) event()    {}
func (EvPersisted) event()  {}
func (EvRoundOpen) event()  {}
func (EvData) event()       {}
func (EvLag) event()        {}
func (EvReply) event()      {}
func (EvSendFailed) event() {}
func (EvTimer) event()      {}
func (EvParkLimit) event()  {}
func (EvDecided) event()    {}
func (EvOverruled) event()  {}
func (EvConfirmed) event()  {}
func (EvKeepOver) event()   {}
func (EvReplaced) event()   {}
func (EvCleaned) event()    {}
func (EvCancel) event()     {}
func (EvOrders) event()     {}

// Orders is what operators want of a slot beside its move. They are the job's, durable there before they are carried out. Hold
// and Suspend bind only what is not decided.
type Orders struct {
	// Hold keeps a slot that is copied and verified in StepHolding, its changes streaming, until Hold is taken back.
	Hold bool
	// Suspend makes the slot send nothing, in StepSuspended, until it is taken back.
	Suspend bool
	// Keep makes the source keep its copy after the takeover, in StepKeeping, until EvKeepOver and, if it is asked back,
	// until the target has answered; taken back, the copy goes.
	Keep bool
	// Return makes a source that keeps its copy ask the target to hand the slot back.
	Return bool
	// Slow says that the source slows the writers of a slot that is written faster than it can be sent.
	Slow bool
	// Compare says that the target may have kept a copy of the slot: the first attempt compares with it instead of beginning
	// with nothing. A rollback does.
	Compare bool
}

// Phase is what is durable of a slot's progress at the source, beside its ownership record.
type Phase uint8

// The phases.
const (
	// PhasePending: not begun.
	PhasePending Phase = iota
	// PhaseActive: attempts were made; the slot is still the source's.
	PhaseActive
	// PhaseDecided: written in one batch with the record that releases the slot.
	PhaseDecided
	// PhaseCommitted: the target has answered commit with ReplyCommitted, so it durably serves.
	PhaseCommitted
	// PhaseCleaning: the copy was compared and may be deleted.
	PhaseCleaning
	// PhaseDone: nothing is left to do.
	PhaseDone
	// PhaseAborting: given up; the target may not know.
	PhaseAborting
	// PhaseFailed: given up and told, or not worth telling.
	PhaseFailed
	// PhaseKeeping: the copy was compared and is kept for a rollback.
	PhaseKeeping
	// PhaseReturning: likewise, and the target has answered that it hands the slot back.
	PhaseReturning
)

var phaseNames = [...]string{"pending", "active", "decided", "committed", "cleaning", "done", "aborting", "failed", "keeping", "returning"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// Ended reports that nothing is left to do for the slot.
func (p Phase) Ended() bool { return p == PhaseDone || p == PhaseFailed }

// Moved reports that the source has released the slot.
func (p Phase) Moved() bool {
	return p >= PhaseDecided && p <= PhaseDone || p == PhaseKeeping || p == PhaseReturning
}

// ConfirmOutcome is how the comparison after takeover ended.
type ConfirmOutcome uint8

// The outcomes.
const (
	// ConfirmEqual: the copies agree.
	ConfirmEqual ConfirmOutcome = iota + 1
	// ConfirmDiffer: they do not; the copy is kept.
	ConfirmDiffer
	// ConfirmGone: the takeover snapshot no longer exists, the target is silent or a copy cannot be read, so the slot was verified before
	// the cutover only.
	ConfirmGone
)

// TimerKind names a timer of the source.
type TimerKind uint8

// The timers.
const (
	// TimerRetry repeats what has not been answered.
	TimerRetry TimerKind = iota
	// TimerPause ends a pause that takes too long.
	TimerPause
	timerKinds
)

// Effect is what a source machine wants done. The driver executes effects in the order given.
type Effect interface{ effect() }

// The effects.
type (
	// EfPersist makes attempt and phase durable, then reports EvPersisted.
	EfPersist struct {
		Attempt cluster.Attempt
		Phase   Phase
	}
	// EfSend sends a message and reports EvReply or EvSendFailed.
	EfSend struct{ Message Message }
	// EfOpenRound opens a round and reports EvRoundOpen. RoundBase and RoundResume switch tracking on in one step with
	// their snapshot; the others take what was tracked, then open theirs.
	EfOpenRound struct{ Kind RoundKind }
	// EfRead reads the next piece of the round and reports EvData.
	EfRead struct{}
	// EfSent binds the piece that was read last to its number, so that Free, Redo and GiveBack find it.
	EfSent struct{ Seq uint64 }
	// EfFree forgets what a message covered: it is durable at the target.
	EfFree struct{ Seq uint64 }
	// EfRedo puts the span of a digest that did not match back into the round, to be halved or replaced.
	EfRedo struct{ Seq uint64 }
	// EfGiveBack ends the round: what was not freed and what was not read goes back to the tracker.
	EfGiveBack struct{}
	// EfMeasure reports EvLag.
	EfMeasure struct{}
	// EfSlow slows the writers of the slot down to half of what can be sent, to a quarter at Level 2, and so on; at Level 0 they are not slowed
	// any more. A new level replaces the one before.
	EfSlow struct{ Level int }
	// EfTimer sets a timer, replacing the one of its kind.
	EfTimer struct {
		Timer      TimerKind
		Generation uint32
		After      time.Duration
	}
	// EfPause parks writes of the slot, under its lock.
	EfPause struct{}
	// EfUnpause lets the slot's commands go on here.
	EfUnpause struct{}
	// EfDecide seals the slot and hands the decision to the store, under the slot's lock; reports EvDecided when it is
	// durable, or EvOverruled if the record is not serving under the job's epoch any more.
	EfDecide struct{}
	// EfHandedOver answers what the source had parked with MOVED.
	EfHandedOver struct{}
	// EfConfirm compares the copies and reports EvConfirmed.
	EfConfirm struct{}
	// EfKeep reports EvKeepOver when the time is over for which the job keeps copies, and EvReplaced if the copy is not this
	// job's any more.
	EfKeep struct{}
	// EfNotReturned remembers, with the job, why the target does not hand the slot back.
	EfNotReturned struct{ Why string }
	// EfClean deletes the copy if the record is still released by this job, and reports EvCleaned.
	EfClean struct{}
	// EfStop ends tracking and the round: nothing more will be streamed.
	EfStop struct{}
	// EfReclaim makes the source serve again after its decision. No correct machine asks for it: it exists for the
	// mutants.
	EfReclaim struct{}
	// EfEnded says that the step has ended, Done or Failed.
	EfEnded struct{}
)

func (EfPersist) effect()     {}
func (EfSend) effect()        {}
func (EfOpenRound) effect()   {}
func (EfRead) effect()        {}
func (EfSent) effect()        {}
func (EfFree) effect()        {}
func (EfRedo) effect()        {}
func (EfGiveBack) effect()    {}
func (EfMeasure) effect()     {}
func (EfSlow) effect()        {}
func (EfTimer) effect()       {}
func (EfPause) effect()       {}
func (EfUnpause) effect()     {}
func (EfDecide) effect()      {}
func (EfHandedOver) effect()  {}
func (EfConfirm) effect()     {}
func (EfKeep) effect()        {}
func (EfNotReturned) effect() {}
func (EfClean) effect()       {}
func (EfStop) effect()        {}
func (EfReclaim) effect()     {}
func (EfEnded) effect()       {}
