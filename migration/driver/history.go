package driver

import (
	"fmt"
	"slices"

	"godwit/engine"
	"godwit/engine/slot"
	"godwit/migration"
)

// historyKept is how many events of a job are remembered: some 10 KiB. The oldest are dropped first.
const historyKept = 200

// slotsNoted is how many slots a job may have for the phases of each to be noted. An event writes the whole header again, and a job of
// all slots has some 80,000 phases: they would be a GiB of log, and push what operators told the job out of its history. Those
// of so few slots leave room for both.
const slotsNoted = 16

// note adds an event to the job's history, to be stored with the header. Driver.mu is held.
func (j *job) note(what string) {
	h := &j.header
	if len(h.History) >= historyKept {
		h.History = slices.Clone(h.History[1:])
		h.Forgotten++
	}
	h.History = append(h.History, engine.JobEvent{AtMs: j.d.env.Clock.WallMs(), What: what})
}

// notePhase notes what a change of phase says of a slot, in a job of few, and reports whether it says anything that is not known from
// the one before. Driver.mu is held.
func (j *job) notePhase(sl slot.Slot, e migration.EfPersist, reason string) bool {
	if len(j.order) > slotsNoted {
		return false
	}
	what := ""
	switch e.Phase {
	case migration.PhaseActive:
		if e.Attempt != 1 {
			return false
		}
		what = "begun"
	case migration.PhaseCommitted:
		what = "handed over"
	case migration.PhaseKeeping:
		what = "the copies are compared; the source keeps its own"
	case migration.PhaseReturning:
		what = "the target hands it back"
	case migration.PhaseCleaning:
		what = "the source deletes its copy"
	case migration.PhaseDone:
		what = "done"
	case migration.PhaseAborting:
		what = "given up: " + reason
	case migration.PhaseFailed:
		what = "stayed"
	case migration.PhasePending, migration.PhaseDecided: // a slot that is decided is noted when it is handed over
		return false
	}
	j.note(fmt.Sprintf("slot %d: %s", sl, what))
	return true
}

// History implements engine.Migrator.
func (d *Driver) History(counter uint64) (engine.JobHistory, error) {
	j := d.find(counter)
	if j == nil {
		return engine.JobHistory{}, errNoJob(counter)
	}
	report := j.status().Report()
	d.mu.Lock()
	defer d.mu.Unlock()
	events := append([]engine.JobEvent{}, j.header.History...) // a list in JSON also for a job that is older than its history
	return engine.JobHistory{Job: report, Events: events, Forgotten: j.header.Forgotten}, nil
}

func errNoJob(counter uint64) error {
	return fmt.Errorf("there is no job %d on this node: see GODWIT MIGRATION STATUS for those that it knows", counter)
}
