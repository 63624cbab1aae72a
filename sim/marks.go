package sim

import (
	"errors"
	"fmt"
	"slices"
)

// The marks: the kinds of faults, and of what else can happen to a client, that a long run must have seen, each counted where it has
// taken effect rather than where the dice asked for it. Partitions, stalls and clocks count when they are set: that partitions cut
// something off has marks of its own.
const (
	// Messages.
	markDrop       = "request lost"
	markLostReply  = "reply lost after execution"
	markLate       = "late"
	markDuplicate  = "duplicate"
	markOvertaken  = "overtaken" // arrived after one that was sent later on its connection
	markSlowLink   = "slow link"
	markReset      = "reset while idle"
	markInFlight   = "reset in flight" // with requests that are not answered
	markCutRequest = "request cut off" // by a partition
	markCutReply   = "reply cut off after execution"
	markWrongNode  = "wrong node" // a handshake was refused, as another node is at the address
	// Partitions.
	markOneWay   = "partition one way"
	markIsolated = "partition of one"
	markHalfDeaf = "partition half deaf"
	markGroups   = "partition in two"
	// Nodes.
	markCrash       = "crash"
	markCrashMidway = "crash in an event" // between two operations of its disk
	markCrashLoop   = "crash loop"        // while it was starting
	markCrashRead   = "crash at a read"   // of what was not durable
	markSeveral     = "several at once"
	markStall       = "stall"
	markBusy        = "busy target" // has refused data
	markOldConfig   = "old configuration"
	markNewConfig   = "new configuration"
	markOldMap      = "old map at start"
	markWiped       = "wiped"
	// Clocks.
	markAhead = "clock jumps ahead"
	markBack  = "clock jumps back"
	markFast  = "clock runs fast"
	markSlow  = "clock runs slow"
	// Disks.
	markLost             = "unsynced writes lost"
	markTorn             = "torn write"
	markSlowSync         = "slow sync"
	markFullDisk         = "full disk"   // and the node has ended
	markFailedSync       = "failed sync" // likewise
	markReadError        = "read error"  // failed a read
	markReadErrorAtStart = "read error at start"
	markFlip             = "flipped bit" // was noticed
	markFlipAtStart      = "flipped bit at start"
	// Clients. These are no faults: what a client meets where a slot moves.
	markExecInMove    = "EXEC in a move" // ran
	markExecMoved     = "EXEC moved"     // was queued, and sent on by itself
	markWatchChanged  = "watched key changed"
	markWatchLeft     = "watched slot left"
	markWatchReturned = "watched slot returned" // and EXEC was answered by nil
	markWaitServed    = "wait served"           // a command waited for a key, and got something
	markWaitInVain    = "wait in vain"
	markWaitMoved     = "wait moved" // at a cutover
	// Moves.
	markTable       = "table sent" // is whole and durable at the target
	markTablesTaken = "slot taken in as tables"
	markTableBuilt  = "table made of records"  // by the target, of a message of the base
	markReadBack    = "base read back"         // by the target, before the source had sent all of it
	markRangeDelete = "range delete in a move" // of a collection of many elements, and the slot arrived
	// Stores whose commits a worker applies.
	markPostponed   = "commit postponed"
	markReadSettled = "read settled a backlog" // has applied what waited
	markBacklogFull = "backlog full"
	// Operators.
	markPaused       = "job paused"
	markResumed      = "job resumed"
	markCutOver      = "job cut over" // after it was held
	markRolledBack   = "rolled back"  // a slot has come back so
	markRollbackLate = "rollback too late"
	// A party of a move that is lost for good, and what an operator says of it.
	markLostSource     = "source lost for good"
	markLostTarget     = "target lost for good"
	markLostWrites     = "lost after it was written to" // what the other side's copy does not have
	markResolvedTarget = "resolved at the target"
	markResolvedSource = "resolved at the source"
	markResolveRefused = "resolution refused" // the other side answers
	// Tools that move slots by the verbs of Redis.
	markMigrated  = "MIGRATE has sent a slot"
	markResharded = "resharded"
	markToolDied  = "tool killed"
	markStable    = "open slot closed" // after a tool that was killed
	markChanges   = "changes of a "    // and a type: written to while changes were being sent, and the slot arrived
)

// Marks lists the kinds of faults that a long run must have seen, in the order of the fault model, and then how records must have come,
// what must have become of commits, what operators must have told jobs, and what clients must have met.
func Marks() []string {
	return append([]string{
		markDrop, markLostReply, markLate, markDuplicate, markOvertaken, markSlowLink, markReset, markInFlight, markCutRequest, markCutReply, markWrongNode,
		markOneWay, markIsolated, markHalfDeaf, markGroups,
		markCrash, markCrashMidway, markCrashLoop, markCrashRead, markSeveral, markStall, markBusy, markOldConfig, markNewConfig, markOldMap, markWiped,
		markAhead, markBack, markFast, markSlow,
		markLost, markTorn, markSlowSync, markFullDisk, markFailedSync, markReadError, markReadErrorAtStart, markFlip, markFlipAtStart,
	}, slices.Concat(lossMarks(), moveMarks(), storeMarks(), verbsMarks(), classicMarks(), clientMarks())...)
}

// moveMarks lists in what forms records must have come to a target, besides message by message, and that it has read some of its own accord.
func moveMarks() []string { return []string{markTable, markTablesTaken, markTableBuilt, markReadBack} }

// storeMarks lists what must have become of commits that are applied beside the requests.
func storeMarks() []string { return []string{markPostponed, markReadSettled, markBacklogFull} }

// lossMarks lists what must have come of parties of moves that are lost for good.
func lossMarks() []string {
	return []string{markLostSource, markLostTarget, markLostWrites, markResolvedTarget, markResolvedSource, markResolveRefused}
}

// verbsMarks lists what operators must have told jobs.
func verbsMarks() []string {
	return []string{markPaused, markResumed, markCutOver, markRolledBack, markRollbackLate}
}

// classicMarks lists what tools must have done that move slots by the verbs of Redis.
func classicMarks() []string { return []string{markMigrated, markResharded, markToolDied, markStable} }

// clientMarks lists what clients must have met.
func clientMarks() []string {
	marks := []string{markExecInMove, markExecMoved, markWatchChanged, markWatchLeft, markWatchReturned, markWaitServed, markWaitInVain, markWaitMoved}
	marks = append(marks, markRangeDelete)
	for _, name := range keyTypes {
		marks = append(marks, markChanges+name)
	}
	return marks
}

// MarkCount says how often a kind of fault has struck, and in how many runs.
type MarkCount struct {
	Kind         string
	Count, Seeds int
}

// Marks counts the marks, in the order of Marks; those that were never reached are there, with zeros.
func (t *Totals) Marks() []MarkCount {
	var out []MarkCount
	for _, m := range Marks() {
		out = append(out, MarkCount{m, t.Faults[m], t.FaultSeeds[m]})
	}
	return out
}

// checkMarks says which marks were never reached.
func (t *Totals) checkMarks() error {
	var errs []error
	for _, m := range t.Marks() {
		if m.Seeds == 0 {
			errs = append(errs, fmt.Errorf("no fault of the kind %q struck", m.Kind))
		}
	}
	return errors.Join(errs...)
}
