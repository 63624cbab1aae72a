package engine

import (
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
	Start(ranges []slot.Range, to cluster.NodeID) (cluster.JobID, error)
	// Cancel asks a job to give up the slots that are not decided yet.
	Cancel(counter uint64) error
	// Jobs lists the jobs of this node as source, oldest first.
	Jobs() []JobStatus
	// WhenDone runs fn when the job has ended or after the timeout (0: none); fn gets the status then. A job that has
	// ended already counts.
	WhenDone(counter uint64, timeout time.Duration, fn func(JobStatus))
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
	Slots   int    // slots in the job
	Moved   slot.Ranges
	Records uint64 // sent, retransmissions not counted
	Bytes   uint64 // keys and values sent
	LagKeys int
	LagByte int64
	// PausesMs has one entry per slot that was handed over: how long its writers were paused.
	PausesMs []float64
	// Verified tells how the copies were compared: "confirmed" after takeover, or "before cutover only".
	Verified string
	// DigestsEqual counts the slots whose copies were found equal after takeover; Differ those found different.
	DigestsEqual, Differ int
	StartedMs, EndedMs   int64 // wall clock; EndedMs is 0 while the job lives
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
