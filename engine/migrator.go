package engine

import (
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Migrator moves slots. The node calls it; package migration implements it.
type Migrator interface {
	// Recover takes up what the store says was in progress. Called once by Open, before any session exists.
	Recover() error
	// Start accepts a job that moves slots to another node and returns its id, durable; the job goes on by itself. The
	// error texts are those of CLUSTERX MIGRATE, without the code.
	Start(ranges []slot.Range, to cluster.NodeID, opts JobOptions) (cluster.JobID, error)
	// Tell tells a job what an operator wants of it, and says what came of that. ranges are for VerbCutOver; none are all. What
	// is told is stored up to the position Store.Last. An error says why it cannot be, and what to do instead.
	Tell(counter uint64, verb JobVerb, ranges []slot.Range) (JobAnswer, error)
	// Throttle changes a limit, unless it is nil: that of a job, or with counter 0 the node's, which all its jobs keep together and which
	// lasts until the process ends. It answers the limit that counts from then on; a job's is stored up to the position Store.Last.
	Throttle(counter uint64, limit *string) (ThrottleReport, error)
	// Plan finds out what a job would be, without starting it, and calls done with that, later. An error says what is wrong with the question.
	Plan(ranges []slot.Range, to cluster.NodeID, opts PlanOptions, done func(PlanReport)) error
	// Metrics is what the migrator counts, always in the same order.
	Metrics() []Counter
	// Settings lists what operators may set of the migrator while it runs, by name; CheckSettings says what would be wrong with changes of them,
	// together, and Set makes changes that were checked. They last until the process ends.
	Settings() []Setting
	CheckSettings(changes []Setting) error
	Set(changes []Setting)
	// CheckThrottle says what is wrong with a limit.
	CheckThrottle(limit string) error
	// History says what became of a job, over restarts.
	History(counter uint64) (JobHistory, error)
	// Report says all that is known of a job, over restarts.
	Report(counter uint64) (JobDetails, error)
	// Jobs lists the jobs of this node as source, oldest first.
	Jobs() []JobStatus
	// WhenDone runs fn when the job has ended or after the timeout (0: none); fn gets the status then. A job that has
	// ended already counts.
	WhenDone(counter uint64, timeout time.Duration, fn func(JobStatus))
	// Resolve ends a handoff of which the other side is lost for good, as an operator says who names that node, and calls done later with what came of
	// it, durable. It is refused while the other side answers, and unless the slot is prepared here, or released and not known to be durably served
	// by the other side.
	Resolve(s slot.Slot, what Resolution, other cluster.NodeID, done func(text string, err error))
	// Waiting lists the slots of which the handoff cannot go on without another node, by slot: in a cluster that is well, those that move just now.
	Waiting() []WaitingSlot
	// HandlePeer executes a message of another node and returns the answer, and the position that must be durable
	// before the answer leaves. An error is answered as an error reply.
	HandlePeer(from PeerInfo, payload []byte) (reply []byte, at store.Position, err error)
	// ParkLimit says that a paused slot has parked as much as it may.
	ParkLimit(s slot.Slot)
	// Importing lists the moves in which this node is the target.
	Importing() []ImportStatus
	// Busy reports whether any job or import is live.
	Busy() bool
	// Close stops the migrator. The caller sees to it that no callback of it runs then or later.
	Close()
}

// Setting is a limit of the migrator that operators may set.
type Setting struct{ Name, Value string }

// JobOptions say how a job is to go on.
type JobOptions struct {
	// Hold makes each slot wait before its handover, copied and verified, until VerbCutOver.
	Hold bool
	// KeepSource is how long the source keeps its copy of a slot after the takeover, for VerbRollback; 0 deletes it as soon as the
	// copies were compared. At most MaxKeepSource.
	KeepSource time.Duration
	// Payload is how the base of each slot travels; PayloadAuto leaves it to the job.
	Payload Payload
	// Priority orders the jobs of a node that wait for each other, the greater first: -MaxPriority to MaxPriority.
	Priority int
	// Throttle says how fast the job may send and compare records, in the words of CONFIG's migration-throttle; "" sets no limit but
	// the node's.
	Throttle string
	// OnOverload says what is done about a slot that is written faster than it can be sent.
	OnOverload Overload
	// PauseTarget, PauseDeadline and ConvergeWithin are for the job what the settings of these names are for the node; 0 leaves it to those.
	PauseTarget, PauseDeadline, ConvergeWithin time.Duration
}

// Overload is what is done about a slot that is written faster than it can be sent.
type Overload string

// What can be done.
const (
	OverloadSlow Overload = "slow" // slow its writers down until it can be handed over; the default
	OverloadKeep Overload = "keep" // leave the writers alone: after Config.ConvergeWithin the job fails, and the slot stays
)

// Payload is how the data of a job travel.
type Payload string

// The payloads.
const (
	// PayloadAuto chooses between PayloadRaw and PayloadTables, by the size of each slot.
	PayloadAuto Payload = ""
	// PayloadRaw sends records as they are stored.
	PayloadRaw Payload = "raw"
	// PayloadCommand sends commands that make the same content. It is the slowest, and does not depend on how the target stores it.
	PayloadCommand Payload = "command"
	// PayloadTables sends the base as sorted tables, which the target ingests at once; changes are sent as records.
	PayloadTables Payload = "sst"
)

// ParsePayload reads the name of a payload, in any case; "auto" is PayloadAuto.
func ParsePayload(name string) (Payload, bool) {
	name = strings.ToLower(name)
	if name == "auto" {
		return PayloadAuto, true
	}
	if p := Payload(name); p == PayloadRaw || p == PayloadCommand || p == PayloadTables {
		return p, true
	}
	return "", false
}

// MaxPriority is the greatest priority of a job. A job that undoes another has it.
const MaxPriority = 100

// MaxKeepSource is the longest that a source can be asked to keep what it gave away.
const MaxKeepSource = 30 * 24 * time.Hour

// JobVerb is what an operator can tell a job.
type JobVerb string

// The verbs. Each can be told again and again; what is done already is not done twice.
const (
	VerbPause    JobVerb = "pause"    // send nothing for slots that are not decided
	VerbResume   JobVerb = "resume"   // go on
	VerbCutOver  JobVerb = "cutover"  // hand over slots that are held
	VerbCancel   JobVerb = "cancel"   // give up slots that are not decided
	VerbRollback JobVerb = "rollback" // give up slots that are not decided, and get the others back
	VerbClean    JobVerb = "clean"    // delete the copies that are kept for a rollback
)

// Resolution is how an operator ends a handoff that cannot end by itself.
type Resolution string

// The resolutions.
const (
	// ResolveCommit: the slot is the target's.
	ResolveCommit Resolution = "commit"
	// ResolveAbort: the slot is the source's.
	ResolveAbort Resolution = "abort"
)

// WaitingSlot is a slot that waits for another node, as GODWIT MIGRATION RESOLVE lists it in JSON.
type WaitingSlot struct {
	Slot  uint16         `json:"slot"`
	State string         `json:"state"` // of its record here
	Epoch uint64         `json:"epoch"`
	Other cluster.NodeID `json:"waits_for"`
	Job   string         `json:"job"`
	// Resolvable says that an operator can say how the handoff ends. What only arrives is the source's alone: it is lost with it.
	Resolvable bool `json:"resolvable"`
}

// JobAnswer is what came of a verb.
type JobAnswer struct {
	Job     JobReport `json:"job"`
	Changed bool      `json:"changed"` // the verb changed what the job does
	Message string    `json:"message"` // what came of it, for people
}

// PlanOptions say what a plan is to find out.
type PlanOptions struct {
	// Exact counts all records, where otherwise slots of more than 64 KiB are estimated.
	Exact bool
	// Throttle is that of the job.
	Throttle string
}

// PlanReport is what a job would be, as GODWIT MIGRATION PLAN answers it in JSON.
type PlanReport struct {
	Slots  int            `json:"slots"`
	Ranges string         `json:"ranges"`
	Target cluster.NodeID `json:"target"`
	// Possible says that nothing was found that stands in the way; Problems is what does, Warnings what may be looked at.
	Possible bool     `json:"possible"`
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`
	// Bytes and Records are those of keys and values, without compression; of Estimated slots they are guessed from a part, or, where
	// compressed tables are larger than that part, from these.
	Bytes        uint64 `json:"bytes"`
	Records      uint64 `json:"records"`
	Exact        bool   `json:"exact"`
	Estimated    int    `json:"estimated_slots"`
	LargestBytes uint64 `json:"largest_slot_bytes"`
	// PerSlot has the slots one by one if there are at most 256.
	PerSlot []PlannedSlot `json:"per_slot"`
	// Reachable says that the target answered on a link on which both sides have shown who they are.
	Reachable       bool   `json:"reachable"`
	TargetFreeBytes int64  `json:"target_free_bytes"` // on its disk; -1 if nobody knows
	Fits            bool   `json:"fits"`              // there is room for the records and a quarter more
	Version         string `json:"version"`
	TargetVersion   string `json:"target_version"`
	// RateBytes is at how many bytes per second the job would go, RateFrom where that comes from.
	RateBytes   int64  `json:"rate_bytes"`
	RateFrom    string `json:"rate_from"`
	EstimatedMs int64  `json:"estimated_ms"`
	// PauseMs is how long the writers of each slot are to be expected to wait at its handover: the 99th percentile of the pauses since the node
	// was started, or, if there were none, the target.
	PauseMs        float64 `json:"pause_ms"`
	PausesMeasured bool    `json:"pauses_measured"`
	JobsBefore     int     `json:"jobs_before"` // that have not ended
}

// PlannedSlot is a slot of a plan.
type PlannedSlot struct {
	Slot    slot.Slot `json:"slot"`
	Bytes   uint64    `json:"bytes"`
	Records uint64    `json:"records"`
}

// ThrottleReport is a limit, as GODWIT MIGRATION THROTTLE answers it in JSON.
type ThrottleReport struct {
	Job     uint64 `json:"job"`     // 0: the node's
	Limit   string `json:"limit"`   // as it is given
	Now     string `json:"now"`     // what of it counts at this moment: a rate, and the window that it comes from
	Changed bool   `json:"changed"` // the limit was another before
}

// JobEvent is something that became of a job.
type JobEvent struct {
	AtMs int64  `json:"at_ms"` // by the wall clock of the job's node
	What string `json:"what"`
}

// JobHistory is a job and what became of it, oldest first, as GODWIT MIGRATION HISTORY answers it in JSON.
type JobHistory struct {
	Job       JobReport  `json:"job"`
	Events    []JobEvent `json:"events"`
	Forgotten int        `json:"forgotten"` // events that were dropped from the beginning
}

// JobDetails is all that is known of a job, as GODWIT MIGRATION REPORT answers it in JSON.
type JobDetails struct {
	Job      JobReport    `json:"job"`
	Settings JobSettings  `json:"settings"`
	Pauses   PauseSummary `json:"pauses"`
	// Steps is how long the slots were at each step, all together: of slots that move side by side the times add up.
	Steps []StepTime `json:"steps"`
	// ResumedRecords and ResumedBytes are the part of what was sent that a comparison of whole slots had found to differ, which is how a job goes on
	// after a loss of its source; RepeatedBytes what was sent again since no answer came or the target was busy, which is not a part of bytes_sent.
	ResumedRecords uint64        `json:"resumed_records"`
	ResumedBytes   uint64        `json:"resumed_bytes"`
	RepeatedBytes  uint64        `json:"repeated_bytes"`
	PerSlot        []SlotDetails `json:"per_slot"`
	// Events is what became of the job, oldest first; Forgotten counts those that were dropped from the beginning.
	Events    []JobEvent `json:"events"`
	Forgotten int        `json:"forgotten"`
}

// JobSettings is what counts for a job: what it was started with, or what the node has.
type JobSettings struct {
	PauseTargetMs    float64  `json:"pause_target_ms"`
	PauseDeadlineMs  float64  `json:"pause_deadline_ms"`
	ConvergeWithinMs float64  `json:"converge_within_ms"`
	SlotsAtOnce      int      `json:"slots_at_once"`
	JobMemory        int      `json:"job_memory"` // bytes that the job's slots may hold at most
	Throttle         string   `json:"throttle"`
	Payload          string   `json:"payload"`
	Priority         int      `json:"priority"`
	OnOverload       Overload `json:"on_overload"`
	HoldSourceMs     int64    `json:"hold_source_ms"` // 0: the copies are deleted when they were compared
}

// PauseSummary is how long writers of slots were paused at the handovers of a job, by the nearest rank, and, since the node was started, how long each part
// of a pause took in the mean and how many pauses were given up.
type PauseSummary struct {
	Count     int     `json:"count"`
	P50Ms     float64 `json:"p50_ms"`
	P90Ms     float64 `json:"p90_ms"`
	P99Ms     float64 `json:"p99_ms"`
	LongestMs float64 `json:"longest_ms"`
	GivenUp   int     `json:"given_up"`
	// FinalMs is until what had changed was read, PrepareMs until the target had it on its disk, DecideMs until the decision was on the source's, and CommitMs until the
	// target served.
	FinalMs   float64 `json:"mean_final_ms"`
	PrepareMs float64 `json:"mean_prepare_ms"`
	DecideMs  float64 `json:"mean_decide_ms"`
	CommitMs  float64 `json:"mean_commit_ms"`
}

// StepTime is how long something was at a step. The step at which it is at present is not counted before it is over.
type StepTime struct {
	Step string  `json:"step"`
	Ms   float64 `json:"ms"`
}

// SlotDetails is what became of a slot of a job.
type SlotDetails struct {
	Slot     slot.Slot `json:"slot"`
	Step     string    `json:"step"` // at which it is, or the phase that is stored if it is not on its way
	Moved    bool      `json:"moved"`
	Attempts uint32    `json:"attempts"`
	Records  uint64    `json:"records_sent"`
	Bytes    uint64    `json:"bytes_sent"`
	PauseMs  float64   `json:"pause_ms"` // 0 before the handover
	Compared string    `json:"compared"` // after takeover: equal, different, before cutover only; "" while it was not
	// ResumedRecords, ResumedBytes and RepeatedBytes are as in JobDetails.
	ResumedRecords uint64     `json:"resumed_records"`
	ResumedBytes   uint64     `json:"resumed_bytes"`
	RepeatedBytes  uint64     `json:"repeated_bytes"`
	Steps          []StepTime `json:"steps"`
}

// PeerInfo says who is at the other end of a peer link, as established by the handshake.
type PeerInfo struct {
	ID          cluster.NodeID
	Incarnation cluster.Incarnation
}

// JobStatus is a job as operators see it.
type JobStatus struct {
	ID      cluster.JobID
	Target  cluster.NodeID
	Ranges  []slot.Range
	State   JobState
	Step    string // the finer step of the slot that is furthest behind
	Error   string // why the job failed or what it last stumbled over
	Waiting string // what the job waits for: operators, other jobs, or a limit; "" if it does not
	Slots   int    // slots in the job
	Moved   slot.Ranges
	Records uint64 // sent, retransmissions not counted
	Bytes   uint64 // keys and values sent
	LagKeys int
	LagByte int64
	// PausesMs has one entry per slot that was handed over: how long its writers were paused.
	PausesMs []float64
	// PausesGivenUp counts the pauses that were given up, since the node was started.
	PausesGivenUp int
	// Verified tells how the copies were compared: "confirmed" after takeover, or "before cutover only".
	Verified string
	// DigestsEqual counts the slots whose copies were found equal after takeover; Differ those found different.
	DigestsEqual, Differ int
	StartedMs, EndedMs   int64 // wall clock; EndedMs is 0 while the job lives
	// Held are slots that wait for VerbCutOver before their handover, Kept those whose copies the source keeps for a rollback.
	Held, Kept slot.Ranges
	// RollbackOf is the job that this one undoes; zero for most.
	RollbackOf cluster.JobID
	// Payload is what the job was started with, Tables how many of its slots were sent as sorted tables.
	Payload Payload
	Tables  int
	// Memory is what the job's slots hold of their own at this moment, in bytes, and MemoryMost what they held at most since the node was started.
	Memory, MemoryMost int
	// Priority orders the jobs that wait; Position is the place of one that does, from 1, and 0 for the others.
	Priority, Position int
	// Throttle is the job's own limit, "" if it has none.
	Throttle string
	// PauseTarget, PauseDeadline and ConvergeWithin are what counts for the job.
	PauseTarget, PauseDeadline, ConvergeWithin time.Duration
	// Percent is how much of the job is done, by its slots, and within a slot by what usually takes time. LeftMs is how long the rest takes if it
	// goes on as it did since it was started, 0 if nobody knows.
	Percent float64
	LeftMs  int64
	// RateBytes is how many bytes of records the job sends or compares in a second, at present.
	RateBytes int64
}

// JobState is the state of a job in the words of the published design.
type JobState string

// The states of a job, as operators see them.
const (
	JobNone     JobState = "MIGRATION_NONE"
	JobStart    JobState = "MIGRATION_START"
	JobSnapshot JobState = "MIGRATION_SNAPSHOT"
	JobWAL      JobState = "MIGRATION_WAL"
	JobSuccess  JobState = "MIGRATION_SUCCESS"
	JobFail     JobState = "MIGRATION_FAIL"
	JobClean    JobState = "MIGRATION_CLEAN"
)

// Ended reports whether a job in this state is over.
func (s JobState) Ended() bool { return s == JobSuccess || s == JobFail }

// Word is the state in the words of CLUSTER INFO's migrating_state: none, start, success or fail.
func (s JobState) Word() string {
	switch s {
	case JobNone:
		return "none"
	case JobSuccess, JobClean:
		return "success"
	case JobFail:
		return "fail"
	default:
		return "start"
	}
}

// ImportStatus is a move seen from its target.
type ImportStatus struct {
	Slot   slot.Slot
	Record cluster.Record
}
