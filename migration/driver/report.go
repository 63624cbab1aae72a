package driver

import (
	"encoding/binary"
	"slices"
	"time"

	"godwit/engine"
	"godwit/migration"
)

// timedSteps are the steps whose time is kept, in the order in which they are stored: new ones come at the end.
var timedSteps = [...]string{
	"starting", "base", "resume", "changes", "verify", "holding", "suspended", "pausing", "deciding", "committing", "confirming", "keeping", "cleaning", "aborting",
}

// stepTimes is how long a slot has been at each of timedSteps, in microseconds. It has no time of the step at which it is.
type stepTimes [len(timedSteps)]uint64

// costs is what a slot's move has cost beside what it sent once.
type costs struct {
	// resumedRecords and resumedBytes are the part of what was sent that a comparison of the whole slot found to differ: after a restart of the
	// source, a loss of the target's directory, or on the way back of a rollback.
	resumedRecords, resumedBytes uint64
	// repeatedBytes are those of messages that were sent again, since no answer came or the target was busy; they are not counted as sent.
	repeatedBytes uint64
	times         stepTimes
}

// costsSize is the length of encoded costs in bytes.
const costsSize = 8*3 + 8*len(timedSteps)

// append adds the encoded costs: the three counts in their order, then the times, all with 8 bytes, big-endian.
func (c *costs) append(b []byte) []byte {
	for _, v := range []uint64{c.resumedRecords, c.resumedBytes, c.repeatedBytes} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, v := range c.times {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// decode reads what append wrote: costsSize bytes.
func (c *costs) decode(b []byte) {
	next := func() uint64 {
		v := binary.BigEndian.Uint64(b)
		b = b[8:]
		return v
	}
	c.resumedRecords, c.resumedBytes, c.repeatedBytes = next(), next(), next()
	for i := range c.times {
		c.times[i] = next()
	}
}

// add adds what another slot has cost.
func (c *costs) add(other *costs) {
	c.resumedRecords += other.resumedRecords
	c.resumedBytes += other.resumedBytes
	c.repeatedBytes += other.repeatedBytes
	for i, us := range other.times {
		c.times[i] += us
	}
}

// list is the times of the steps at which anything was.
func (t *stepTimes) list() []engine.StepTime {
	out := []engine.StepTime{}
	for i, us := range t {
		if us > 0 {
			out = append(out, engine.StepTime{Step: timedSteps[i], Ms: float64(us) / 1000})
		}
	}
	return out
}

// stopwatch keeps the times of a slot's steps. It belongs to the worker that steps the slot's machine.
type stopwatch struct {
	step  string
	since time.Duration
}

// at says at which step the slot is now; the time since it came to the one before is added where that differs.
func (w *stopwatch) at(step string, now time.Duration, times *stepTimes) {
	if step == w.step {
		return
	}
	if i := slices.Index(timedSteps[:], w.step); i >= 0 {
		times[i] += uint64((now - w.since).Microseconds())
	}
	w.step, w.since = step, now
}

// resent tells messages that are sent again from those that are sent for the first time.
type resent struct {
	attempt uint64
	seq     uint64 // the greatest that was sent in it
}

// sent reports whether a message was sent before.
func (r *resent) sent(attempt, seq uint64) bool {
	if attempt != r.attempt {
		r.attempt, r.seq = attempt, 0
	}
	again := seq <= r.seq
	r.seq = max(r.seq, seq)
	return again
}

// outcomeNames are the outcomes of the comparison after takeover, as reports name them.
var outcomeNames = [...]string{"", migration.ConfirmEqual: "equal", migration.ConfirmDiffer: "different", migration.ConfirmGone: "before cutover only"}

// Report implements engine.Migrator.
func (d *Driver) Report(counter uint64) (engine.JobDetails, error) {
	h, err := d.History(counter)
	if err != nil {
		return engine.JobDetails{}, err
	}
	j := d.find(counter)
	if j == nil {
		return engine.JobDetails{}, errNoJob(counter)
	}
	r := engine.JobDetails{Job: h.Job, Events: h.Events, Forgotten: h.Forgotten}
	d.mu.Lock()
	defer d.mu.Unlock()
	header := &j.header
	r.Settings = engine.JobSettings{
		PauseTargetMs: h.Job.PauseTargetMs, PauseDeadlineMs: h.Job.PauseDeadlineMs, ConvergeWithinMs: h.Job.ConvergeWithinMs,
		Throttle: h.Job.Throttle, Payload: h.Job.Payload, Priority: header.Priority, OnOverload: header.OnOverload, HoldSourceMs: header.KeepMs,
		SlotsAtOnce: d.cfg.SlotsAtOnce, JobMemory: d.cfg.JobMemory,
	}
	if r.Settings.OnOverload == "" {
		r.Settings.OnOverload = engine.OverloadSlow
	}
	var total costs
	for _, sl := range j.order {
		p := j.slots[sl]
		a := p.slotAccount
		step := p.phase.String()
		if s := d.sources[sl]; s != nil && s.job == j {
			seen := s.seen()
			a, step = seen.account, stepName(seen.step, seen.round)
		}
		total.add(&a.costs)
		r.PerSlot = append(r.PerSlot, engine.SlotDetails{
			Slot: sl, Step: step, Moved: p.moved(), Attempts: uint32(p.attempt), Records: a.records, Bytes: a.bytes, PauseMs: float64(a.pauseUs) / 1000,
			Compared: outcomeNames[a.outcome], ResumedRecords: a.resumedRecords, ResumedBytes: a.resumedBytes, RepeatedBytes: a.repeatedBytes, Steps: a.times.list(),
		})
	}
	r.ResumedRecords, r.ResumedBytes, r.RepeatedBytes, r.Steps = total.resumedRecords, total.resumedBytes, total.repeatedBytes, total.times.list()
	r.Pauses = pausesOf(h.Job.PausesMs, h.Job.GivenUp)
	legs := j.legs.means(j.legsOf)
	r.Pauses.FinalMs, r.Pauses.PrepareMs, r.Pauses.DecideMs, r.Pauses.CommitMs = legs[legFinal], legs[legPrepare], legs[legDecide], legs[legCommit]
	return r, nil
}

// pausesOf sums pauses up.
func pausesOf(ms []float64, givenUp int) engine.PauseSummary {
	p := engine.PauseSummary{Count: len(ms), GivenUp: givenUp}
	if len(ms) == 0 {
		return p
	}
	sorted := slices.Sorted(slices.Values(ms))
	at := func(percent int) float64 { return sorted[(len(sorted)*percent+99)/100-1] }
	p.P50Ms, p.P90Ms, p.P99Ms, p.LongestMs = at(50), at(90), at(99), sorted[len(sorted)-1]
	return p
}
