// Package mutant names the deliberate one-line breakages of the real code with which the checkers are tested.
//
// Each name is a row of the hazards that a migration must survive. In a normal build On is constantly false and the
// compiler removes the broken branch; with the build tag "mutants" one mutant at a time can be switched on. There is
// no other effect: production pays nothing.
package mutant

// Name is the name of a mutant, as the table of hazards spells it.
type Name string

// The mutants, by the part of the system that they break.
const (
	NoPause          Name = "no-pause"            // the final round runs without pausing writes of the slot
	HoldIgnored      Name = "hold-ignored"        // a job that is held before the cutover cuts over
	QueueForgotten   Name = "queue-forgotten"     // after a restart, all slots that were on their way go on at once
	ThrottleIgnored  Name = "throttle-ignored"    // a limit on the rate makes nobody wait
	NeverConverges   Name = "never-converges"     // a slot that is written faster than it can be sent is tried for ever
	PauseUnbounded   Name = "pause-unbounded"     // a pause that takes longer than its deadline goes on
	RollbackStale    Name = "rollback-stale"      // a rollback takes the copy that was kept for what the slot is now
	HeldServes       Name = "held-serves"         // a source that is to roll back serves its copy at once
	NoDrain          Name = "no-drain"            // writes are paused, but those already admitted are not waited for
	ServeEarly       Name = "serve-early"         // the target serves when the data is complete, before the decision
	LostCommitReply  Name = "lost-commit-reply"   // the source takes a lost reply to its commit for a failure
	LateUnpause      Name = "late-unpause"        // the source resumes on a local timer after handing in its decision
	CancelAfter      Name = "cancel-after-commit" // a cancel after the decision resumes the source
	ForgetfulSource  Name = "forgetful-source"    // the decision is not durable
	ServingCounts    Name = "serving-counts"      // the source takes the answer that the target serves for the one that this is durable
	ForgetfulTarget  Name = "forgetful-target"    // the accepted ownership is not durable
	LateStart        Name = "late-start"          // a delayed start of an older job wipes the current import
	LatePrepared     Name = "late-prepared"       // a prepared of an earlier pause is taken for the current one
	StaleEpoch       Name = "stale-epoch"         // an announcement of an older or the same epoch takes a slot away
	BusyApplied      Name = "busy-applied"        // the source takes what a busy target refused for applied
	AckOnFailure     Name = "ack-on-failure"      // the target cannot apply a chunk, the one before being missing, and answers OK
	StaleAttempt     Name = "stale-attempt"       // a message of an earlier attempt is taken for the current one
	UndurableAnswer  Name = "undurable-answer"    // a peer's question is answered from a record that is not durable
	NoneReassigned   Name = "none-reassigned"     // a slot released here is served again because an old map says so
	MapSteals        Name = "map-steals"          // a pushed map takes a serving slot away or gives it to a second node
	BirthUnasked     Name = "birth-unasked"       // a node serves what its map newly gives it without asking the others
	ClaimMissing     Name = "claim-missing"       // a node that did not answer a claim is taken for one that knows nothing
	ClaimNarrow      Name = "claim-narrow"        // a claim asks the nodes of this node's maps only, not those that others name
	ClaimOnce        Name = "claim-once"          // a claim is settled by one round of answers, whatever directories they come from
	ClaimReleased    Name = "claim-released"      // a claim passes over records that say that the slot was given away
	TrackGap         Name = "track-gap"           // change tracking starts after the snapshot
	RoundGap         Name = "round-gap"           // a round opens its snapshot before it takes the dirty set
	WalkOverChange   Name = "walk-over-change"    // a walk reads at an older snapshot than the changes sent before it
	ReorderApply     Name = "reorder-apply"       // the target applies messages in the order of their arrival
	ReplayApply      Name = "replay-apply"        // a retransmitted message is applied again after a newer one
	SkipApply        Name = "skip-apply"          // a gap in sequence numbers is not noticed
	DeleteLost       Name = "delete-lost"         // deletes are not carried
	TornBatch        Name = "torn-batch"          // the keys of a command are routed and written one after another
	TornExec         Name = "torn-exec"           // the commands of a transaction are routed and written one after another
	ExecUnbatched    Name = "exec-unbatched"      // the commands of a transaction are committed one by one
	WatchReturned    Name = "watch-returned"      // EXEC does not notice that a watched slot has left and come back
	WatchElements    Name = "watch-elements"      // a change of a collection's elements does not touch who watches it
	DeafWaiter       Name = "deaf-waiter"         // who waits for a key is not woken when its slot leaves
	ElementLost      Name = "element-lost"        // the removal of an element is not tracked, the change of its collection's record is
	TTLReset         Name = "ttl-reset"           // an expiry is carried as the whole seconds that are left
	RangeUntracked   Name = "range-untracked"     // a range delete is not tracked
	TrackOverflow    Name = "track-overflow"      // a change is dropped when the dirty set is full
	AckBeforeSync    Name = "ack-before-sync"     // a write is acknowledged before it is durable
	ReadUnsynced     Name = "read-unsynced"       // a read returns a value that is not durable yet
	PrepareUnsynced  Name = "prepare-unsynced"    // the target says prepared before the data is durable
	AckUndurable     Name = "ack-undurable-chunk" // the window is freed on applied instead of durable
	RebuiltResend    Name = "rebuilt-retransmit"  // an unacknowledged message is built again under its old number
	PurgeEarly       Name = "purge-early"         // the source deletes its copy before the target's ownership is durable
	LateRead         Name = "late-read"           // the source serves reads after the decision
	CleanAfterReturn Name = "clean-after-return"  // the cleaner of an old job deletes a slot that has come back
	OrphanImport     Name = "orphan-import"       // a failed import's partial data stays
	SweepImport      Name = "sweep-import"        // the target's sweeper deletes from an import
	FlushImport      Name = "flush-import"        // a flush at the target deletes what has been imported
	ExpiredResurrect Name = "expired-resurrect"   // an answer "expired" is not committed as a deletion
	AskingServes     Name = "asking-serves"       // ASKING lets a client write into an import
	RouteBeforeLock  Name = "route-before-lock"   // ownership is checked before the slot's lock is held
	ResumeFromNew    Name = "resume-from-new"     // a restarted source goes on without comparing what was sent before
	WrongTarget      Name = "wrong-target"        // the node behind the target's address is not asked who it is
	ExportNoExpiry   Name = "export-no-expiry"    // keys that are told as commands lose their expiry
	BlockUnchecked   Name = "block-unchecked"     // a block of a table is taken as it comes
	TableEarly       Name = "table-early"         // tables are ingested although blocks are missing
	ReusedEarly      Name = "reused-early"        // the memory of a message is used again although it can be asked for once more
	MemoryKept       Name = "memory-kept"         // what a call of a job has held is not given back to the job's account
	MemoryIgnored    Name = "memory-ignored"      // a slot reads although its job's memory is in use
	ResolveBlind     Name = "resolve-blind"       // a handoff is resolved without asking whether the other side lives
	ReadUnsettled    Name = "read-unsettled"      // a read that the row cache cannot answer, or an iterator, misses what waits to be applied
	SnapUnsettled    Name = "snapshot-unsettled"  // a snapshot is opened without what waits to be applied
	SyncUnsettled    Name = "sync-unsettled"      // a sync counts as durable what waits to be applied
	CommitOvertakes  Name = "commit-overtakes"    // a commit that is applied at once comes before what waits to be applied
	BacklogReversed  Name = "backlog-reversed"    // what waits is applied from the latest commit to the first
	BacklogLost      Name = "backlog-lost"        // the commit that fills the backlog is never applied
	ReadBackEarlier  Name = "read-back-earlier"   // what the target has read back of an earlier base counts for the next one
	ReadBackWritten  Name = "read-back-written"   // what the target has read counts although it was written to since
	VerifyGap        Name = "verify-gap"          // a comparison passes over what lies between the chunks of the first side
)
