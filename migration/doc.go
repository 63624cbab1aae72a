// Package migration is the protocol that hands a slot from its source to its target: pure state machines, stepped by events,
// that answer with effects. It contains no goroutine, clock, socket or disk; package driver carries the effects out against
// the engine, in production on workers, in the simulator as events, and the tests of this package explore the machines
// exhaustively within bounds.
//
// Vocabulary. A *job* moves slots from the node that made it, the *source*, to a *target*; it is decided per slot. An *attempt*
// is a numbered stream of messages of one slot: each start of a stream and each pause is a new one. A *round* is a pass over
// what changed, read at one snapshot. The *decision* is the source's durable record that it released the slot; its sync is the
// commit point.
//
// Invariants.
//  1. At most one node's record of a slot says serving under the highest epoch, at every moment and after every crash.
//  2. An attempt's number is durable at the source before its first message leaves, and is never used again.
//  3. The source decides only while paused in an attempt whose prepared it holds, with exactly its final sequence and hash.
//  4. From the moment the decision is handed to the store nothing makes the source serve again under that epoch.
//  5. The target applies the messages of an attempt in the order of their numbers, each exactly once.
//  6. The target serves only after the source said commit for the very attempt that it is prepared for.
//  7. A message is freed at the source only when the target's answer to it says that it is durable there.
//
// The steps of the source, as the table in state.go has them; a test writes this picture. From deciding on there is one way back,
// the finding that the slot was not the source's to give any more.
//
//	idle       ─▶ starting | suspended | committing | confirming | keeping | cleaning | done | aborting | failed
//	starting   ─▶ starting | suspended | copying | pausing | aborting
//	suspended  ─▶ starting | aborting
//	copying    ─▶ starting | suspended | holding | aborting
//	holding    ─▶ starting | suspended | copying | aborting
//	pausing    ─▶ starting | deciding | aborting
//	deciding   ─▶ committing | aborting
//	committing ─▶ confirming
//	confirming ─▶ keeping | cleaning | done
//	keeping    ─▶ cleaning | done
//	cleaning   ─▶ done
//	done       ─▶ (the end)
//	aborting   ─▶ failed
//	failed     ─▶ (the end)
//
// The states of the target are those of its ownership record, package cluster. The design is in DESIGN.md beside this file.
package migration
