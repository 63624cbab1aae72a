package engine

import (
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// CancelledText is the error of a job that an operator cancelled.
const CancelledText = "cancelled by an operator"

// The verbs of Valkey 9, all of them said to the source. A group of slots and a node is a job; a job goes by a name of 40 hex digits.

// clusterMigrateSlots answers CLUSTER MIGRATESLOTS SLOTSRANGE start end [start end]... NODE id [SLOTSRANGE ... NODE id]...: all groups are begun, or
// none is.
func (s *Session) clusterMigrateSlots(args [][]byte) {
	n := s.n
	type group struct {
		ranges []slot.Range
		to     cluster.NodeID
	}
	var groups []group
	var all slot.Set
	for len(args) > 0 {
		if !strings.EqualFold(string(args[0]), "slotsrange") {
			s.out.Error(errSyntax)
			return
		}
		ranges, used, problem := parsePairs(args[1:])
		if args = args[1+used:]; problem == "" {
			problem = n.mayMigrate(ranges)
		}
		for _, r := range ranges {
			if problem == "" && all.HasAny(r) {
				problem = errMigrationsOverlap
			}
			all.AddRange(r)
		}
		switch {
		case problem != "":
		case len(args) < 2 || !strings.EqualFold(string(args[0]), "node"):
			problem = errSyntax
		case len(args[1]) != cluster.NodeIDLen:
			problem = "ERR Invalid node name: " + oneLine(string(args[1]))
		case n.topology().Find(cluster.NodeID(args[1])) == nil:
			problem = "ERR Unknown node name: " + oneLine(string(args[1]))
		case n.topology().Find(cluster.NodeID(args[1])).Replica:
			problem = errNotMaster
		case cluster.NodeID(args[1]) == n.ID():
			problem = errTargetIsMe
		}
		if problem != "" {
			s.out.Error(problem)
			return
		}
		groups = append(groups, group{ranges, cluster.NodeID(args[1])})
		args = args[2:]
	}
	var begun []uint64
	for _, g := range groups {
		id, ok := s.startJob(g.ranges, g.to, JobOptions{})
		if !ok { // with the error that it has replied
			for _, counter := range begun {
				_, _ = n.migrator.Tell(counter, VerbCancel, nil) // it ends by itself if it cannot be
			}
			return
		}
		begun = append(begun, id.Counter)
	}
	s.out.OK()
}

// mayMigrate says why slots cannot be moved away from here now, or "".
func (n *Node) mayMigrate(ranges []slot.Range) string {
	serving, moving := n.Serving(), slot.Set{}
	if n.migrator != nil {
		for _, j := range n.migrator.Jobs() {
			if !j.State.Ended() {
				for _, r := range j.Ranges {
					moving.AddRange(r)
				}
			}
		}
	}
	wanted := slot.SetOf(ranges...)
	for _, sl := range wanted.Slots() {
		switch {
		case !serving.Has(sl):
			return errSlotsElsewhere
		case moving.Has(sl):
			return errAlreadyMigrating(sl)
		}
	}
	return ""
}

// clusterCancelSlotMigrations answers CLUSTER CANCELSLOTMIGRATIONS: all jobs of this node are given up, as far as they can be.
func (s *Session) clusterCancelSlotMigrations() {
	if s.n.cancelJobs(func(*JobStatus) bool { return true }) == 0 {
		s.out.Error(errNoMigrations)
		return
	}
	s.dependAlways(s.n.store.Last())
	s.out.OK()
}

// cancelJobs cancels all jobs that match and have slots to give up, and says how many.
func (n *Node) cancelJobs(match func(*JobStatus) bool) (cancelled int) {
	if n.migrator == nil {
		return 0
	}
	for _, j := range n.migrator.Jobs() {
		if j.State.Ended() || j.State == JobClean || !match(&j) {
			continue
		}
		if answer, err := n.migrator.Tell(j.ID.Counter, VerbCancel, nil); err == nil && answer.Changed {
			cancelled++
		}
	}
	return cancelled
}

// clusterGetSlotMigrations answers CLUSTER GETSLOTMIGRATIONS: the jobs of this node, the latest first, and then what is arriving.
func (s *Session) clusterGetSlotMigrations() {
	n := s.n
	var jobs []JobStatus
	var arriving []arrival
	if n.migrator != nil {
		jobs, arriving = n.migrator.Jobs(), arrivals(n.migrator.Importing())
	}
	nowMs := n.opts.Clock.WallMs()
	s.out.Array(len(jobs) + len(arriving))
	for i := len(jobs) - 1; i >= 0; i-- {
		j := &jobs[i]
		updated := nowMs
		if j.EndedMs > 0 {
			updated = j.EndedMs
		}
		message := j.Error
		if message == "" {
			message = j.Waiting
		}
		s.slotMigration(slotMigration{
			name: taskName(j.ID.Incarnation, j.ID.Counter), operation: "EXPORT", ranges: j.Ranges, source: n.ID(), target: j.Target,
			createdMs: j.StartedMs, updatedMs: updated, state: j.exportState(), message: message,
		})
	}
	for _, a := range arriving {
		s.slotMigration(slotMigration{
			name: taskName(a.job.Incarnation, a.job.Counter), operation: "IMPORT", ranges: a.slots.Ranges(), source: a.from, target: n.ID(),
			updatedMs: nowMs, state: a.state(),
		})
	}
}

// slotMigration is an entry of the reply to CLUSTER GETSLOTMIGRATIONS. Times are sent in seconds.
type slotMigration struct {
	name, operation      string
	ranges               []slot.Range
	source, target       cluster.NodeID
	createdMs, updatedMs int64 // 0 if it is not known
	state, message       string
}

func (s *Session) slotMigration(m slotMigration) {
	s.out.Map(11)
	for _, f := range [...][2]string{
		{"name", m.name}, {"operation", m.operation}, {"slot_ranges", pairsText(m.ranges)},
		{"target_node", string(m.target)}, {"source_node", string(m.source)},
	} {
		s.out.BulkString(f[0])
		s.out.BulkString(f[1])
	}
	for _, f := range [...]struct {
		name string
		ms   int64
	}{{"create_time", m.createdMs}, {"last_update_time", m.updatedMs}, {"last_ack_time", m.updatedMs}} {
		s.out.BulkString(f.name)
		s.out.Int(f.ms / 1000)
	}
	s.out.BulkString("state")
	s.out.BulkString(m.state)
	s.out.BulkString("message")
	s.out.BulkString(m.message)
	s.out.BulkString("cow_size")
	s.out.Int(0) // nothing is forked
}

// exportState is the state of a job in Valkey's words.
func (j *JobStatus) exportState() string {
	switch j.State {
	case JobFail:
		if j.Error == CancelledText {
			return "cancelled"
		}
		return "failed"
	case JobSuccess, JobClean:
		return "success"
	case JobSnapshot:
		return "snapshotting"
	case JobWAL:
		switch j.Step {
		case "pausing":
			return "failover-paused"
		case "deciding", "committing":
			return "failover-granted"
		}
		return "replicating"
	case JobStart, JobNone:
	}
	return "waiting-to-snapshot"
}

// arrival is the slots that arrive by one job.
type arrival struct {
	job      cluster.JobID
	from     cluster.NodeID
	slots    slot.Set
	prepared int
}

// state is that of an import in Valkey's words.
func (a *arrival) state() string {
	if a.prepared == a.slots.Len() {
		return "failover-requested"
	}
	return "receiving-snapshot"
}

// arrivals gathers imports by their jobs, in the order in which they first appear.
func arrivals(imports []ImportStatus) []arrival {
	var out []arrival
	at := map[cluster.JobID]int{}
	for _, i := range imports {
		k, found := at[i.Record.Job]
		if !found {
			k = len(out)
			at[i.Record.Job] = k
			out = append(out, arrival{job: i.Record.Job, from: i.Record.Peer})
		}
		out[k].slots.Add(i.Slot)
		if i.Record.State == cluster.Prepared {
			out[k].prepared++
		}
	}
	return out
}
