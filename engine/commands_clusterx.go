package engine

import (
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// runClusterX runs CLUSTERX, Kvrocks' commands for controllers and operators. Every reply to a change waits until it is
// durable, whatever the sync mode: a controller that was told OK does not say it again.
func (s *Session) runClusterX(args [][]byte) {
	n := s.n
	if !n.opts.Cluster {
		s.out.Error(cluster.ErrNotEnabled.Reply())
		return
	}
	switch sub := strings.ToLower(string(args[1])); {
	case sub == "version" && len(args) == 2:
		s.dependOn(n.store.Last(), false)
		s.out.BulkString(strconv.FormatInt(n.topology().Version, 10))
	case sub == "myid" && len(args) == 2:
		s.dependOn(n.store.Last(), false)
		s.out.BulkString(string(n.ID()))
	case sub == "setnodeid" && len(args) == 3 && len(args[2]) == cluster.NodeIDLen:
		s.setNodeID(args[2])
	case sub == "setnodes" && (len(args) == 4 || len(args) == 5):
		s.setNodes(args[2:])
	case sub == "setslot" && len(args) == 6:
		s.setSlot(args[2:])
	case sub == "migrate":
		s.migrate(args[2:])
	default:
		s.out.Error(cluster.ErrClusterXUsage.Reply())
	}
}

// setNodeID answers CLUSTERX SETNODEID id. Kvrocks takes any 40 bytes; one that could not stand in a map is refused here.
func (s *Session) setNodeID(id []byte) {
	if !printable(id) {
		s.out.Error(cluster.ErrSetSlotNodeID.Reply())
		return
	}
	p, err := s.n.SetNodeID(cluster.NodeID(id))
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.dependAlways(p)
	s.out.OK()
}

// setNodes answers CLUSTERX SETNODES text version [FORCE].
func (s *Session) setNodes(args [][]byte) {
	n := s.n
	version, err := strconv.ParseInt(string(args[1]), 10, 64)
	if err != nil {
		s.out.Error(cluster.ErrVersion.Reply())
		return
	}
	force := Force(len(args) == 3)
	if bool(force) && !strings.EqualFold(string(args[2]), "force") {
		s.out.Error(cluster.ErrSetNodesOptions.Reply())
		return
	}
	current := n.topology().Version
	if version < 0 || !bool(force) && version < current {
		s.out.Error(cluster.ErrClusterVersion.Reply())
		return
	}
	m, err := cluster.ParseNodes(string(args[0]), version)
	if err != nil {
		if !bool(force) && version == current { // a map of the current version is ignored, whatever it says
			s.dependAlways(n.store.Last())
			s.out.OK()
			return
		}
		s.out.Error("ERR " + err.Error())
		return
	}
	p, err := n.SetMap(m, force)
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.dependAlways(p)
	s.out.OK()
}

// setSlot answers CLUSTERX SETSLOT ranges NODE id version.
func (s *Session) setSlot(args [][]byte) {
	if !strings.EqualFold(string(args[1]), "node") {
		s.out.Error(cluster.ErrSetSlotOptions.Reply())
		return
	}
	if len(args[2]) != cluster.NodeIDLen {
		s.out.Error(cluster.ErrSetSlotNodeID.Reply())
		return
	}
	version, err := strconv.ParseInt(string(args[3]), 10, 64)
	switch {
	case err != nil:
		s.out.Error(cluster.ErrNotInteger.Reply())
		return
	case version < 0:
		s.out.Error(cluster.ErrVersion.Reply())
		return
	}
	ranges, err := slot.ParseRanges(string(args[0]))
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	p, err := s.n.SetSlots(ranges, cluster.NodeID(args[2]), version)
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.dependAlways(p)
	s.out.OK()
}

// migrate answers CLUSTERX MIGRATE ranges id [ASYNC | SYNC [timeout in seconds]]. All the ranges are moved, in one job.
func (s *Session) migrate(args [][]byte) {
	if len(args) < 2 || len(args) > 4 {
		s.out.Error(errArity("clusterx|migrate"))
		return
	}
	ranges, err := slot.ParseRanges(string(args[0]))
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	sync, timeout, problem := migrateWait(args[2:])
	if problem != "" {
		s.out.Error(problem.Reply())
		return
	}
	id, ok := s.startJob(ranges, cluster.NodeID(args[1]), JobOptions{})
	switch {
	case !ok:
	case sync:
		s.awaitJob(id, timeout)
	default:
		s.out.OK()
	}
}

// migrateWait reads how long a client wants to wait for its job; a timeout of 0 is none.
func migrateWait(args [][]byte) (sync bool, timeout time.Duration, problem cluster.Error) {
	if len(args) == 0 {
		return false, 0, ""
	}
	switch strings.ToLower(string(args[0])) {
	case "async":
		if len(args) > 1 {
			return false, 0, cluster.ErrAsyncTimeout
		}
		return false, 0, ""
	case "sync":
	default:
		return false, 0, cluster.ErrSyncFlag
	}
	if len(args) == 1 {
		return true, 0, ""
	}
	seconds, err := strconv.ParseInt(string(args[1]), 10, 32)
	switch {
	case err != nil:
		return false, 0, cluster.ErrTimeoutInteger
	case seconds < 0:
		return false, 0, cluster.ErrTimeoutNegative
	}
	return true, time.Duration(seconds) * time.Second, ""
}

// startJob hands a move to the migrator, or answers why it cannot be.
func (s *Session) startJob(ranges []slot.Range, to cluster.NodeID, opts JobOptions) (cluster.JobID, bool) {
	if s.n.migrator == nil {
		s.out.Error(errNoMigrator)
		return cluster.JobID{}, false
	}
	set := slot.SetOf(ranges...)
	id, err := s.n.migrator.Start(set.Ranges(), to, opts)
	s.dependAlways(s.n.store.Last())
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return cluster.JobID{}, false
	}
	return id, true
}

// awaitJob leaves the command pending until its job has ended; at the timeout the answer is nil, and the job goes on.
func (s *Session) awaitJob(id cluster.JobID, timeout time.Duration) {
	n := s.n
	p := &parkedCommand{session: s}
	s.pending, s.slot = p, 0
	n.migrator.WhenDone(id.Counter, timeout, func(j JobStatus) {
		n.opts.Workers.Submit(func() {
			s.complete(p, func() {
				s.dependAlways(n.store.Last())
				switch {
				case j.State == JobFail && j.Error == "":
					s.out.Error(errJobFailed)
				case j.State == JobFail:
					s.out.Error("ERR " + j.Error)
				case j.State == JobSuccess || j.State == JobClean:
					s.out.OK()
				default:
					s.out.Null()
				}
			})
		})
	})
}
