package engine

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/data"
	"godwit/engine/env"
	"godwit/engine/slot"
)

// The classic verbs. To the tools of Redis a slot moves by SETSLOT IMPORTING at its target, SETSLOT MIGRATING at its source, MIGRATE of all
// its keys, and SETSLOT NODE at every node. Here they drive an ordinary job of that one slot, which alone decides who serves it:
//
//	SETSLOT MIGRATING at the source     a job that is held: all is copied, nothing handed over
//	SETSLOT IMPORTING at the target     a wish, in memory: shown, and without any effect
//	MIGRATE, SETSLOT NODE               the job is told to cut over; the answer waits until the slot has left, or has arrived
//	SETSLOT STABLE                      the job is cancelled, the wish forgotten
//
// What it guarantees, and how what a tool leaves behind is mended, is in migration/DESIGN.md.

// Times of the classic verbs.
const (
	// slotPatience is how long SETSLOT waits for a slot. A tool waits for its answer without end.
	slotPatience = time.Minute
	// handOverTimeout is how long the answer of another node about a slot may take.
	handOverTimeout = 2 * time.Second
)

// clusterSetSlot answers CLUSTER SETSLOT slot MIGRATING|IMPORTING|NODE id and CLUSTER SETSLOT slot STABLE.
func (s *Session) clusterSetSlot(args [][]byte) {
	sl, text := parseSlot(args[0], errSlotRange)
	if text != "" {
		s.out.Error(errSlotRange)
		return
	}
	action := strings.ToLower(string(args[1]))
	if len(args) == 2 && action == "stable" {
		s.setSlotStable(sl)
		return
	}
	if len(args) != 3 || action != "migrating" && action != "importing" && action != "node" {
		s.out.Error(errSetSlotAction)
		return
	}
	id := cluster.NodeID(args[2])
	node := s.n.topology().Find(id)
	switch {
	case node == nil && action == "node":
		s.out.Error(errUnknownNode(args[2]))
	case node == nil:
		s.out.Error(errDontKnow(args[2]))
	case node.Replica:
		s.out.Error(errNotMaster)
	case action == "migrating":
		s.setSlotMigrating(sl, id)
	case action == "importing":
		s.setSlotImporting(sl, id)
	case id == s.n.ID():
		s.setSlotMine(sl)
	case s.n.Record(sl).State == cluster.Serving:
		s.setSlotLeaves(sl, id)
	default:
		s.setSlotTheirs(sl, id)
	}
}

// setSlotMigrating answers SETSLOT MIGRATING at the source: a job begins to copy the slot, and waits before the handover. It comes before all
// others: a tool waits for one slot at a time.
func (s *Session) setSlotMigrating(sl slot.Slot, to cluster.NodeID) {
	n := s.n
	if n.Record(sl).State != cluster.Serving {
		s.out.Error(errNotOwner(sl))
		return
	}
	if j, found := n.liveJob(sl); found && j.Target == to {
		n.opened(sl, j.ID)
		s.answerSlot(done)
		return
	} else if found {
		s.out.Error(errOtherTarget(sl, j))
		return
	}
	if to == n.ID() {
		s.out.Error(errToMyself)
		return
	}
	if id, ok := s.startJob([]slot.Range{{First: sl, Last: sl}}, to, JobOptions{Hold: true, Priority: MaxPriority}); ok {
		n.opened(sl, id)
		s.out.OK()
	}
}

// opened notes that SETSLOT MIGRATING began a job, or found it.
func (n *Node) opened(sl slot.Slot, id cluster.JobID) {
	n.mu.Lock()
	n.opening[sl] = id
	n.mu.Unlock()
}

// isOpening reports whether SETSLOT MIGRATING was said of a job since the process was started.
func (n *Node) isOpening(sl slot.Slot, id cluster.JobID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	of, ok := n.opening[sl]
	return ok && of == id
}

// setSlotImporting answers SETSLOT IMPORTING at the target.
func (s *Session) setSlotImporting(sl slot.Slot, from cluster.NodeID) {
	n := s.n
	if n.Record(sl).State == cluster.Serving {
		s.out.Error(errAlreadyOwner(sl))
		return
	}
	n.mu.Lock()
	n.wished[sl] = from
	n.mu.Unlock()
	s.out.OK()
}

// setSlotStable answers SETSLOT STABLE: the wish is forgotten, and a job of this slot alone is given up, if it can be.
func (s *Session) setSlotStable(sl slot.Slot) {
	n := s.n
	n.forgetWish(sl)
	j, found := n.liveJob(sl)
	switch {
	case !found:
		s.answerSlot(done)
		return
	case j.Slots > 1:
		s.out.Error(errNotAlone(sl, j, VerbCancel))
		return
	case s.multi != nil:
		s.out.Error(errAlone)
		return
	}
	if !s.cancelJob(j) {
		return
	}
	s.awaitSlot(sl, slotPatience, errStillMoving(sl), func() string {
		if n.moves(sl, j.ID) {
			return notYet
		}
		return done
	})
}

// cancelJob tells a job to give up what it has not decided, or answers why it cannot be told.
func (s *Session) cancelJob(j JobStatus) bool {
	_, err := s.n.migrator.Tell(j.ID.Counter, VerbCancel, nil)
	if err != nil {
		s.out.Error("ERR " + err.Error())
	}
	return err == nil
}

// moves reports whether a job is still to move a slot away.
func (n *Node) moves(sl slot.Slot, id cluster.JobID) bool {
	j, found := n.liveJob(sl)
	return found && j.ID == id
}

// setSlotLeaves answers SETSLOT NODE at the owner of a slot that is to be another's: when it is.
func (s *Session) setSlotLeaves(sl slot.Slot, to cluster.NodeID) {
	if s.multi != nil {
		s.out.Error(errAlone)
		return
	}
	n := s.n
	begin := true
	s.awaitSlot(sl, slotPatience, errStillMoving(sl), func() string {
		reply := n.giveAway(sl, to, begin)
		begin = false
		return reply
	})
}

// giveAway makes this node hand a slot over to another, and says how that stands: a job that is under way to that node is told to cut over;
// without one, a slot that holds no key is moved by a job of its own if begin says so, and one that holds keys stays.
func (n *Node) giveAway(sl slot.Slot, to cluster.NodeID, begin bool) string {
	if r := n.Record(sl); r.State != cluster.Serving {
		if owner := n.Owner(sl); owner != to {
			return errOwnedBy(sl, owner)
		}
		return done
	}
	j, found := n.liveJob(sl)
	switch {
	case found && j.Target != to:
		return errOtherTarget(sl, j)
	case found:
		return n.cutOver(sl, j)
	case n.Record(sl).State != cluster.Serving: // its job has just moved it
		return notYet
	}
	if failed, ok := n.failedJob(sl, to); ok && !begin {
		return errMoveFailed(sl, failed)
	}
	keys, err := data.ListKeys(n.store, sl, n.opts.Clock.WallMs(), 1)
	switch {
	case err != nil:
		n.opts.Log.Error("reading the store failed", "error", err)
		return errInternal
	case len(keys) > 0 || !begin:
		return errHoldsKeys(sl)
	case n.migrator == nil:
		return errNoMigrator
	}
	if _, err := n.migrator.Start([]slot.Range{{First: sl, Last: sl}}, to, JobOptions{Priority: MaxPriority}); err != nil {
		return "ERR " + err.Error()
	}
	return notYet
}

// cutOver tells the job that moves a slot to hand it over. A held job of several slots is its operator's to tell.
func (n *Node) cutOver(sl slot.Slot, j JobStatus) string {
	if j.Slots > 1 {
		if hasSlot(j.Held, sl) {
			return errNotAlone(sl, j, VerbCutOver)
		}
		return notYet
	}
	if _, err := n.migrator.Tell(j.ID.Counter, VerbCutOver, nil); err != nil { // again and again: told twice is told once
		return "ERR " + err.Error()
	}
	return notYet
}

// setSlotMine answers SETSLOT NODE at the node that is to be the owner: when it is. The owner is asked to hand the slot over, which it does if
// it was told to by SETSLOT MIGRATING. At a node that has the slot it closes one that is open, as with Redis: the job that was to move it away is given
// up. One that has decided goes on all the same, so that the slot may have left when it has ended, and then its new owner is asked.
func (s *Session) setSlotMine(sl slot.Slot) {
	n := s.n
	var away JobStatus
	open := false
	if n.Record(sl).State == cluster.Serving {
		if away, open = n.liveJob(sl); !open || away.Slots > 1 {
			s.answerSlot(done)
			return
		}
	}
	if s.multi != nil {
		s.out.Error(errAlone)
		return
	}
	if open {
		n.forgetWish(sl)
		if !s.cancelJob(away) {
			return
		}
	}
	q := &slotQuestion{n: n, slot: sl, args: peerArgs("HANDOVER", sl, "begin")}
	s.awaitSlot(sl, slotPatience, errStillMoving(sl), func() string {
		closing := open && n.moves(sl, away.ID) // before the look at the record: what ends the job by moving the slot changes both
		owner := n.Owner(sl)                    // likewise: the record may become that of an owner in between
		switch {
		case closing:
			return notYet
		case n.Record(sl).State == cluster.Serving:
			return done
		case owner == "" || owner == n.ID():
			return cluster.SlotNotServed
		}
		_, problem, answered := q.ask(owner)
		if problem == "" && answered { // it has begun, and need not begin again
			q.args = peerArgs("HANDOVER", sl, "go-on")
		}
		return problem
	})
}

// setSlotTheirs answers SETSLOT NODE at a node that neither has the slot nor is to have it. It changes nothing but where this node sends its
// clients, and so it is not taken at its word: the node that is named must say that it serves the slot.
func (s *Session) setSlotTheirs(sl slot.Slot, id cluster.NodeID) {
	n := s.n
	n.forgetWish(sl)
	if n.Owner(sl) == id {
		s.answerSlot(done)
		return
	}
	if s.multi != nil {
		s.out.Error(errAlone)
		return
	}
	q := &slotQuestion{n: n, slot: sl, args: peerArgs("OWNER", sl)}
	s.awaitSlot(sl, slotPatience, errOwnedBy(sl, n.Owner(sl)), func() string {
		if n.Owner(sl) == id {
			return done
		}
		raw, problem, answered := q.ask(id)
		if !answered || problem != "" {
			return problem
		}
		a, err := cluster.ParseAnswer(string(raw))
		switch {
		case err != nil:
			return "ERR " + err.Error()
		case len(a.Slots) != 1 || a.Slots[0].State != cluster.Serving:
			return errNotServedBy(sl, id)
		}
		n.Announced(cluster.Hint{Slot: sl, Node: id, Epoch: a.Slots[0].Epoch})
		if n.Owner(sl) != id {
			return errOwnedBy(sl, n.Owner(sl))
		}
		return done
	})
}

// slotQuestion is a question about a slot to another node that is asked until it is answered. One goroutine at a time asks.
type slotQuestion struct {
	n    *Node
	slot slot.Slot
	args [][]byte

	mu     sync.Mutex
	asked  bool        // the last question has not been settled
	answer *peerAnswer // what came of it; nil before
}

// ask asks a node, unless the last question has not been answered. answered says that raw is what the node said, or problem the error that it
// replied. What became of a question that was lost nobody knows, and so it is asked again.
func (q *slotQuestion) ask(id cluster.NodeID) (raw []byte, problem string, answered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.asked {
		peer, ok := q.n.Peer(id)
		if !ok {
			return nil, errUnknownNode([]byte(id)), true
		}
		q.asked = true
		q.n.opts.Peers.Call(peer, env.Control, q.args, handOverTimeout, func(raw []byte, err error) {
			q.mu.Lock()
			q.answer = &peerAnswer{raw: raw, err: err}
			q.mu.Unlock()
			q.n.slotWaits.wake(q.slot)
		})
		return nil, "", false
	}
	if q.answer == nil {
		return nil, "", false
	}
	a := *q.answer
	q.asked, q.answer = false, nil
	var refused *env.RemoteError
	switch {
	case errors.As(a.err, &refused):
		return nil, refused.Text, true
	case a.err != nil:
		return nil, "", false
	}
	return a.raw, "", true
}

// peerArgs is a PEER command about a slot.
func peerArgs(word string, sl slot.Slot, more ...string) [][]byte {
	args := [][]byte{[]byte("PEER"), []byte(word), strconv.AppendUint(nil, uint64(sl), 10)}
	for _, m := range more {
		args = append(args, []byte(m))
	}
	return args
}

// peerHandOver answers PEER HANDOVER slot begin|go-on: the calling node wants to have a slot that SETSLOT said it should. It answers how that
// stands, or an error.
func (s *Session) peerHandOver(args [][]byte) {
	sl, text := parseSlot(args[0], errSlotRange)
	word := string(args[1])
	if text != "" || word != "begin" && word != "go-on" {
		s.out.Error("ERR PEER HANDOVER takes a slot and begin or go-on")
		return
	}
	reply := s.n.giveAway(sl, s.peer.ID, word == "begin")
	s.dependAlways(s.n.store.Last())
	switch reply {
	case done:
		s.out.BulkString("released")
	case notYet:
		s.out.BulkString("moving")
	default:
		s.out.Error(reply)
	}
}

// liveJob is the job that is to move a slot away and has not done so.
func (n *Node) liveJob(sl slot.Slot) (JobStatus, bool) {
	if n.migrator == nil {
		return JobStatus{}, false
	}
	jobs := n.migrator.Jobs()
	for i := len(jobs) - 1; i >= 0; i-- {
		if j := jobs[i]; !j.State.Ended() && hasSlot(j.Ranges, sl) && !hasSlot(j.Moved, sl) {
			return j, true
		}
	}
	return JobStatus{}, false
}

// failedJob is the latest job that was to move a slot to a node, if it has failed.
func (n *Node) failedJob(sl slot.Slot, to cluster.NodeID) (JobStatus, bool) {
	if n.migrator == nil {
		return JobStatus{}, false
	}
	jobs := n.migrator.Jobs()
	for i := len(jobs) - 1; i >= 0; i-- {
		if j := jobs[i]; hasSlot(j.Ranges, sl) {
			return j, j.State == JobFail && j.Target == to
		}
	}
	return JobStatus{}, false
}

func hasSlot(ranges []slot.Range, sl slot.Slot) bool {
	return slices.ContainsFunc(ranges, func(r slot.Range) bool { return r.First <= sl && sl <= r.Last })
}

// forgetWish forgets that a slot was said to be importing.
func (n *Node) forgetWish(sl slot.Slot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.wished, sl)
}

// wishes lists the slots that SETSLOT IMPORTING named and that have not begun to arrive, as moves.
func (n *Node) wishes(arriving *slot.Set) (moves []cluster.Move) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.wished) == 0 {
		return nil
	}
	for sl := range slot.Slot(slot.Count) {
		if from, ok := n.wished[sl]; ok && !arriving.Has(sl) {
			moves = append(moves, cluster.Move{Ranges: []slot.Range{{First: sl, Last: sl}}, Peer: from})
		}
	}
	return moves
}
