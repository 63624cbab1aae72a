package driver

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// jobVersion and progressVersion are the versions of a stored job and of the stored progress of its slots. Version 1 of a job has
// nothing of what operators told it (everything of a header from Held on): a program that knew only that would move what is held,
// and delete what is kept. It is read still.
const (
	jobVersion      = 2
	progressVersion = 3
)

// header is what is stored of a job, as JSON under key.Job(counter).
type header struct {
	Version   int            `json:"version"`
	Counter   uint64         `json:"counter"`
	Target    cluster.NodeID `json:"target"`
	Ranges    []slot.Range   `json:"ranges"`
	StartedMs int64          `json:"started_ms"`
	EndedMs   int64          `json:"ended_ms,omitempty"`
	Error     string         `json:"error,omitempty"`
	// Held are the slots that wait before their handover until operators say so.
	Held []slot.Range `json:"held,omitempty"`
	// Paused says that nothing is sent for slots that are not decided.
	Paused bool `json:"paused,omitempty"`
	// Payload is how the data travel; TableSlots counts the slots whose base was sent as sorted tables.
	Payload    engine.Payload `json:"payload,omitempty"`
	TableSlots int            `json:"table_slots,omitempty"`
	// Kvrocks says that the target is a Kvrocks, and so takes commands.
	Kvrocks bool `json:"kvrocks,omitempty"`
	// Priority orders the jobs that wait: the greater first.
	Priority int `json:"priority,omitempty"`
	// Throttle is the job's limit, as migration.ParseLimit reads it; "" for none.
	Throttle string `json:"throttle,omitempty"`
	// PauseTargetUs, PauseDeadlineUs and ConvergeWithinUs are what the job was started with, in microseconds; 0: what the node has.
	PauseTargetUs    int64 `json:"pause_target_us,omitempty"`
	PauseDeadlineUs  int64 `json:"pause_deadline_us,omitempty"`
	ConvergeWithinUs int64 `json:"converge_within_us,omitempty"`
	// OnOverload says what is done about a slot that is written faster than it can be sent; "" slows its writers.
	OnOverload engine.Overload `json:"on_overload,omitempty"`
	// KeepMs is how long copies are kept after the takeover, 0: not at all. Cleaned says that operators want them gone.
	KeepMs  int64 `json:"keep_ms,omitempty"`
	Cleaned bool  `json:"cleaned,omitempty"`
	// RolledBack says that operators want the slots back, RollbackOf that the job gives slots back that came by another.
	RolledBack bool           `json:"rolled_back,omitempty"`
	RollbackOf *cluster.JobID `json:"rollback_of,omitempty"`
	// NotReturned says why the first slot that the target refused to hand back was refused, since the last time that operators
	// wanted the slots back.
	NotReturned string `json:"not_returned,omitempty"`
	// History is what became of the job, oldest first; Forgotten counts what was dropped from its beginning.
	History   []engine.JobEvent `json:"history,omitempty"`
	Forgotten int               `json:"forgotten,omitempty"`
}

// slotProgress is where a slot of a job stands. Its durable part is stored under the job's key followed by the slot:
//
//	| offset | size | field                     |
//	|--------|------|---------------------------|
//	| 0      | 1    | version, 3                |
//	| 1      | 1    | phase                     |
//	| 2      | 4    | attempt, big-endian, as all that follow  |
//	| 6      | 8    | records sent              |
//	| 14     | 8    | bytes sent                |
//	| 22     | 8    | pause in µs; 0 before the handover |
//	| 30     | 1    | how the comparison after takeover ended (migration.ConfirmOutcome); 0 before it did |
//	| 31     | 8    | wall clock in ms until which the copy is kept; 0 if it is not (version 1 ends before this) |
//	| 39     | 136  | costs, as costs.append writes them (version 2 ends before this) |
type slotProgress struct {
	phase   migration.Phase
	attempt cluster.Attempt
	slotAccount
	keptUntilMs int64
	// stored says that the phase is in the store; a slot that is not begun has no entry.
	stored bool
	// size is for the queue; guessed says that nobody has looked.
	size    sizeClass
	guessed bool
}

// slotAccount is what the move of a slot has done so far. What was done since the last change of phase is lost with a crash.
type slotAccount struct {
	records, bytes uint64
	pauseUs        uint64
	outcome        migration.ConfirmOutcome
	costs
}

// progressSize is the length of an encoded slotProgress in bytes, the others those of its first versions.
const (
	progressSize   = progressSizeV2 + costsSize
	progressSizeV1 = 31
	progressSizeV2 = 39
)

func (p slotProgress) encode() []byte {
	b := make([]byte, 0, progressSize)
	b = append(b, progressVersion, byte(p.phase))
	b = binary.BigEndian.AppendUint32(b, uint32(p.attempt))
	b = binary.BigEndian.AppendUint64(b, p.records)
	b = binary.BigEndian.AppendUint64(b, p.bytes)
	b = binary.BigEndian.AppendUint64(b, p.pauseUs)
	b = append(b, byte(p.outcome))
	return p.costs.append(binary.BigEndian.AppendUint64(b, uint64(p.keptUntilMs)))
}

func decodeProgress(b []byte) (slotProgress, error) {
	first := len(b) == progressSizeV1 && b[0] == 1 && b[1] <= byte(migration.PhaseFailed)
	second := len(b) == progressSizeV2 && b[0] == 2 && b[1] <= byte(migration.PhaseReturning)
	third := len(b) == progressSize && b[0] == progressVersion && b[1] <= byte(migration.PhaseReturning)
	if !first && !second && !third || b[30] > byte(migration.ConfirmGone) {
		return slotProgress{}, fmt.Errorf("migration: the stored progress of a slot has %d bytes beginning %x", len(b), b[:min(len(b), 2)])
	}
	p := slotProgress{
		phase:   migration.Phase(b[1]),
		attempt: cluster.Attempt(binary.BigEndian.Uint32(b[2:])),
		slotAccount: slotAccount{
			records: binary.BigEndian.Uint64(b[6:]),
			bytes:   binary.BigEndian.Uint64(b[14:]),
			pauseUs: binary.BigEndian.Uint64(b[22:]),
			outcome: migration.ConfirmOutcome(b[30]),
		},
		stored: true,
	}
	if second || third {
		p.keptUntilMs = int64(binary.BigEndian.Uint64(b[31:]))
	}
	if third {
		p.costs.decode(b[progressSizeV2:])
	}
	return p, nil
}

func (p slotProgress) ended() bool { return p.phase.Ended() }
func (p slotProgress) moved() bool { return p.phase.Moved() }

func progressKey(counter uint64, sl slot.Slot) []byte {
	return binary.BigEndian.AppendUint16(key.Job(counter), uint16(sl))
}

// job is a job of this node as source. Driver.mu guards slots and header; waiters have their own mutex.
type job struct {
	d      *Driver
	header header
	slots  map[slot.Slot]*slotProgress
	order  []slot.Slot // ascending
	lists  lists       // of those that have not ended
	// smallOnes is how many slots in a row were small when they were looked at.
	smallOnes int
	// position is the job's place among those that wait for others, from 1; 0 if it does not.
	position int
	// limiter keeps the job's throttle; pacer.mu guards it.
	limiter limiter
	// meter tells how fast it goes; pacer.mu guards it, too.
	meter meter
	// givenUp counts the pauses that were given up.
	givenUp int
	// legs are those of so many pauses, since the node was started.
	legs   legTimes
	legsOf int
	memory memory

	waitMu  sync.Mutex
	waiters []func()
}

// ended reports whether every slot has ended. Driver.mu is held.
func (j *job) ended() bool {
	return j.header.EndedMs != 0 || j.lists.over()
}

// persist stores the header, in the batch given or one of its own, and returns the position.
func (j *job) persist(b *store.Batch) store.Position {
	if b == nil {
		b = j.d.node.Store().NewBatch()
	}
	j.d.mu.Lock()
	defer j.d.mu.Unlock() // over the commit, too: an older header must not come to lie over a newer one
	j.storeHeader(b)
	return j.d.node.Store().Commit(b)
}

// storeHeader puts the header into a batch that is committed before Driver.mu, which is held, is released.
func (j *job) storeHeader(b *store.Batch) {
	raw, err := json.Marshal(j.header)
	if err != nil {
		panic(err) // plain numbers and strings
	}
	b.Set(key.Job(j.header.Counter), raw)
}

// loadJobs reads the jobs and makes machines for the slots that are not over.
func (d *Driver) loadJobs() error {
	it, err := d.node.Store().NewIter(key.JobSpan())
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = d.loadJobKey(it.Key(), it.Value())
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return err
	}
	for _, j := range d.jobs {
		for _, r := range j.header.Ranges {
			for n := int(r.First); n <= int(r.Last); n++ {
				if j.slots[slot.Slot(n)] == nil {
					j.slots[slot.Slot(n)] = &slotProgress{}
				}
				j.order = append(j.order, slot.Slot(n))
			}
		}
		sort.Slice(j.order, func(a, b int) bool { return j.order[a] < j.order[b] })
		for _, sl := range j.order {
			switch p := j.slots[sl]; {
			case p.ended():
			case p.stored:
				j.lists.left = append(j.lists.left, sl)
			default:
				j.lists.fresh = append(j.lists.fresh, sl)
			}
		}
	}
	return nil
}

func (d *Driver) loadJobKey(k, v []byte) error {
	const headerLen = 10
	if len(k) < headerLen {
		return fmt.Errorf("migration: job key %x: the directory is damaged", k)
	}
	counter := binary.BigEndian.Uint64(k[headerLen-8:])
	if len(k) == headerLen {
		j := &job{d: d, slots: map[slot.Slot]*slotProgress{}}
		j.memory.setLimit(d.cfg.JobMemory)
		if err := json.Unmarshal(v, &j.header); err != nil {
			return fmt.Errorf("migration: job %d: %w", counter, err)
		}
		if _, ok := engine.ParsePayload(string(j.header.Payload)); !ok && j.header.Payload != engine.PayloadAuto {
			return fmt.Errorf("migration: job %d has the payload %q, which this program does not know: open the directory with the program that wrote it, or a newer one", counter, j.header.Payload)
		}
		if v := j.header.Version; v < 1 || v > jobVersion {
			return fmt.Errorf("migration: job %d has version %d, this program knows 1 to %d: open the directory with the program that wrote it, or a newer one", counter, v, jobVersion)
		}
		if j.header.Counter != counter {
			return fmt.Errorf("migration: job %d is stored as job %d: the directory is damaged", j.header.Counter, counter)
		}
		j.header.Version = jobVersion // as it is written again
		if ms := j.header.KeepMs; ms < 0 || ms > engine.MaxKeepSource.Milliseconds() {
			return fmt.Errorf("migration: job %d keeps copies for %d ms: the directory is damaged", counter, ms)
		}
		var err error
		if j.limiter.limit, err = migration.ParseLimit(j.header.Throttle); err != nil {
			return fmt.Errorf("migration: job %d: %w: the directory is damaged", counter, err)
		}
		for _, r := range j.header.Ranges {
			if r.First > r.Last || !r.Last.Valid() {
				return fmt.Errorf("migration: job %d has the slots %d to %d: the directory is damaged", counter, r.First, r.Last)
			}
		}
		d.jobs = append(d.jobs, j)
		d.counter = max(d.counter, counter)
		return nil
	}
	if len(d.jobs) == 0 || len(k) != headerLen+2 || d.jobs[len(d.jobs)-1].header.Counter != counter {
		return fmt.Errorf("migration: job key %x belongs to no job: the directory is damaged", k)
	}
	p, err := decodeProgress(v)
	if err != nil {
		return err
	}
	d.jobs[len(d.jobs)-1].slots[slot.Slot(binary.BigEndian.Uint16(k[headerLen:]))] = &p
	return nil
}

// endJob stores the end of a job and tells those who wait for it.
func (d *Driver) endJob(j *job) {
	d.mu.Lock()
	if j.header.EndedMs != 0 || !j.lists.over() { // a slot may have joined meanwhile
		d.mu.Unlock()
		return
	}
	j.header.EndedMs = max(d.env.Clock.WallMs(), 1)
	d.mu.Unlock()
	st := j.status()
	d.mu.Lock()
	j.note(fmt.Sprintf("ended with %s: %d of %d slots moved", st.State, st.Moved.Len(), st.Slots))
	d.mu.Unlock()
	d.env.Log.Info("job ended", "job", st.ID.String(), "state", string(st.State), "moved", st.Moved.Len(), "slots", st.Slots, "records", st.Records, "bytes", st.Bytes, "error", st.Error)
	p := j.persist(nil)
	d.node.Store().WhenDurable(p, func() {
		j.waitMu.Lock()
		waiters := j.waiters
		j.waiters = nil
		j.waitMu.Unlock()
		for _, w := range waiters {
			w()
		}
	})
}

// stop gives up the slots that are not decided.
func (j *job) stop(why string) {
	d := j.d
	d.mu.Lock()
	if j.header.EndedMs == 0 && j.header.Error == "" {
		j.header.Error = why
		j.note("gives up what is not handed over: " + why)
	}
	b := d.node.Store().NewBatch()
	live := slices.Concat(j.lists.machines, j.lists.kept)
	slices.SortFunc(live, func(a, b *sourceSlot) int { return bySlot(a, b.slot) })
	for _, sl := range j.lists.fresh {
		p := j.slots[sl]
		p.phase, p.stored = migration.PhaseFailed, true
		b.Set(progressKey(j.header.Counter, sl), p.encode())
	}
	j.lists.fresh = nil
	j.storeHeader(b)
	d.node.Store().Commit(b) // before the lock is released: a job that takes one of these slots must not be stored before
	d.mu.Unlock()
	for _, s := range live {
		s.post(migration.EvCancel{Why: why})
	}
	d.env.Workers.Submit(d.pumpJobs)
}

// whenDone runs fn once: when the job has ended, or after the timeout.
func (j *job) whenDone(timeout time.Duration, fn func(engine.JobStatus)) {
	var once sync.Once
	var timer env.Timer
	run := func() { once.Do(func() { fn(j.status()) }) }
	// Held over both the look and the append: a job that ends in between would not find this waiter. Driver.mu nests in it.
	j.waitMu.Lock()
	defer j.waitMu.Unlock()
	j.d.mu.Lock()
	over := j.header.EndedMs != 0
	j.d.mu.Unlock()
	if over {
		j.d.env.Workers.Submit(run)
		return
	}
	if timeout > 0 {
		timer = j.d.env.Clock.AfterFunc(timeout, run)
	}
	j.waiters = append(j.waiters, func() {
		if timer != nil {
			timer.Stop()
		}
		run()
	})
}

// addTo adds what a slot has done to the account of its job.
func (a slotAccount) addTo(st *engine.JobStatus) {
	st.Records += a.records
	st.Bytes += a.bytes
	if a.pauseUs > 0 {
		st.PausesMs = append(st.PausesMs, float64(a.pauseUs)/1000)
	}
	switch a.outcome {
	case migration.ConfirmEqual:
		st.DigestsEqual++
	case migration.ConfirmDiffer:
		st.Differ++
	case migration.ConfirmGone:
		st.Verified = "before cutover only"
	}
}

// stepName is a step in the words of the status: copying is named by its round.
func stepName(step migration.Step, round migration.RoundKind) string {
	if step == migration.StepCopying {
		return round.String()
	}
	return step.String()
}

// status is the job as operators see it.
func (j *job) status() engine.JobStatus {
	d := j.d
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &j.header
	st := engine.JobStatus{
		ID: d.jobID(h.Counter), Target: h.Target, Ranges: h.Ranges, Slots: len(j.order), Error: h.Error,
		StartedMs: h.StartedMs, EndedMs: h.EndedMs, Verified: "confirmed", Priority: h.Priority, Throttle: h.Throttle, PausesGivenUp: j.givenUp,
	}
	failed := 0
	parts := 0.0
	first := migration.StepDone + 1
	var round migration.RoundKind
	for _, sl := range j.order {
		p := j.slots[sl]
		if p.moved() {
			st.Moved.Append(sl)
			parts++
		}
		if p.phase == migration.PhaseFailed || p.phase == migration.PhaseAborting {
			failed++
		}
		account := p.slotAccount
		if s := d.sources[sl]; s != nil && s.job == j {
			seen := s.seen()
			account = seen.account
			if seen.step < first && seen.step != migration.StepIdle {
				first, round = seen.step, seen.round
			}
			if !p.moved() {
				parts += seen.fraction
			}
			st.LagKeys += seen.lag.Keys
			st.LagByte += seen.lag.LagBytes
			if st.Error == "" {
				st.Error = seen.reason
			}
			holds := seen.step == migration.StepHolding
			if holds && within(h.Held, sl) {
				st.Held.Append(sl)
			}
			if st.Waiting == "" && (!holds || within(h.Held, sl)) && (seen.step != migration.StepSuspended || h.Paused) { // who was told already waits for those before it, not for operators
				st.Waiting = seen.waiting
			}
		}
		if p.kept() {
			st.Kept.Append(sl)
		}
		account.addTo(&st)
	}
	st.Payload, st.Tables = h.Payload, h.TableSlots
	st.Memory, st.MemoryMost = j.memory.inUse()
	t := j.timing()
	st.PauseTarget, st.PauseDeadline, st.ConvergeWithin = t.PauseTarget, t.PauseDeadline, t.ConvergeWithin
	if h.RollbackOf != nil {
		st.RollbackOf = *h.RollbackOf
	}
	if h.Paused && st.Waiting == "" && j.account().open > 0 {
		st.Waiting = "the job was paused by an operator and waits to be resumed"
	}
	if st.Position = j.position; st.Position > 0 && st.Waiting == "" {
		st.Waiting = j.queued()
	}
	if st.Waiting == "" {
		st.Waiting = j.outsideWaiting()
	}
	if st.Waiting == "" {
		st.Waiting = d.pacer.waiting(j)
	}
	if h.EndedMs == 0 {
		st.RateBytes = d.pacer.rate(j)
	}
	tellProgress(&st, parts, d.env.Clock.WallMs())
	st.Step = "waiting"
	if first <= migration.StepDone {
		st.Step = stepName(first, round)
	}
	switch {
	case h.EndedMs != 0 && failed == 0:
		st.State, st.Step, st.Error, st.Waiting = engine.JobSuccess, "done", h.NotReturned, ""
		if st.Differ > 0 {
			st.Error = fmt.Sprintf("the copies of %d slots differed after takeover; the source keeps its copies of them", st.Differ)
		}
	case h.EndedMs != 0:
		st.State, st.Step, st.Waiting = engine.JobFail, "failed", ""
		if st.Error == "" { // it is in memory only until the slot's end is stored
			st.Error = "the node restarted while it gave slots up; why it did is not known any more"
		}
	case first >= migration.StepConfirming && first <= migration.StepDone:
		st.State = engine.JobClean
	case first == migration.StepCopying && (round == migration.RoundBase || round == migration.RoundResume):
		st.State = engine.JobSnapshot
	case first <= migration.StepSuspended || first > migration.StepDone:
		st.State = engine.JobStart
	default:
		st.State = engine.JobWAL
	}
	return st
}

// trimJobs forgets the oldest jobs that have ended, over the limit. One that has not, be it held or kept for weeks, is passed over. It is
// called when a job has been added, which is live: its counter is the one from which a restart goes on.
func (d *Driver) trimJobs() {
	var gone []*job
	d.mu.Lock()
	over := len(d.jobs) - d.cfg.JobsKept
	d.jobs = slices.DeleteFunc(d.jobs, func(j *job) bool {
		if over <= 0 || j.header.EndedMs == 0 {
			return false
		}
		over--
		gone = append(gone, j)
		return true
	})
	d.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	b := d.node.Store().NewBatch()
	for _, j := range gone {
		b.DeleteRange(key.Span{Lo: key.Job(j.header.Counter), Hi: key.Job(j.header.Counter + 1)})
	}
	d.node.Store().Commit(b)
}
