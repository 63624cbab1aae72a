package engine

import (
	"fmt"
	"strconv"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/slot"
)

// Error replies of the verbs with which other systems' tools move slots. Texts are those of Redis 7.0 where it has the error.
const (
	errSlotRange     = "ERR Invalid or out of range slot"
	errSetSlotAction = "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"
	errNotMaster     = "ERR Target node is not a master"
	errToMyself      = "ERR Can't migrate slot to myself"

	errMigrateKeys = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
	errMigrateCopy = "ERR COPY to a node of the same cluster: a key is where its slot is"

	errNoRanges          = "ERR No slot ranges specified"
	errNoEndSlot         = "ERR No end slot for final slot range"
	errMigrationsOverlap = "ERR Slot ranges in migrations overlap"
	errSlotsElsewhere    = "ERR Slots are not served by this node."
	errTargetIsMe        = "ERR Target node can not be this node."
	errNoMigrations      = "ERR No migrations ongoing"
	errUnknownArgument   = "ERR unknown argument"
	errAlreadyMine       = "ERR this node is already the owner of the slot range"
	errSeveralOwners     = "ERR slots belong to different source nodes"

	errImportState   = "ERR Invalid import state"
	errImportReplica = "ERR Slave can't import slot"
	errImportMine    = "ERR Can't import slot which belongs to me"
	errImportOver    = "ERR the import has ended, and what had arrived is deleted: begin it again"

	errNoServers      = "ERR this node cannot call other servers"
	errMigrateSize    = "ERR the keys have more than 1 GiB together: migrate fewer at once"
	errMigrateCount   = "ERR too many keys: MIGRATE takes 10000 to another server at once"
	errMigrateConnect = "IOERR error or timeout connecting to the client"
	errMigrateRead    = "IOERR error or timeout reading to target instance"
	errMigrateLeft    = "IOERR the slot has left this node while its keys were sent: they are where the slot is, and at the target"
)

func errUnknownNode(id []byte) string { return fmt.Sprintf("ERR Unknown node %s", oneLine(string(id))) }

func errDontKnow(id []byte) string {
	return fmt.Sprintf("ERR I don't know about node %s", oneLine(string(id)))
}

func errNotOwner(sl slot.Slot) string {
	return fmt.Sprintf("ERR I'm not the owner of hash slot %d", sl)
}

func errAlreadyOwner(sl slot.Slot) string {
	return fmt.Sprintf("ERR I'm already the owner of hash slot %d", sl)
}

func errHoldsKeys(sl slot.Slot) string {
	return fmt.Sprintf("ERR Can't assign hashslot %d to a different node while I still hold keys for this hash slot: say CLUSTER SETSLOT MIGRATING to its owner first", sl)
}

// errOwnedBy says that a slot belongs to another node than a tool thinks.
func errOwnedBy(sl slot.Slot, owner cluster.NodeID) string {
	if owner == "" {
		return fmt.Sprintf("ERR Slot %d has no owner that is known here", sl)
	}
	return fmt.Sprintf("ERR Slot %d belongs to node %s", sl, owner)
}

// errNotServedBy says that a node that is to be the owner of a slot says that it is not.
func errNotServedBy(sl slot.Slot, id cluster.NodeID) string {
	return fmt.Sprintf("ERR Node %s does not serve slot %d: it must be told first", id, sl)
}

func errOtherTarget(sl slot.Slot, j JobStatus) string {
	return fmt.Sprintf("ERR Slot %d is on its way to node %s by job %d: give that up first, by CLUSTER SETSLOT STABLE or GODWIT MIGRATION CANCEL", sl, j.Target, j.ID.Counter)
}

// errNotAlone says that a slot is one of many of a job, which is not to be told something because of one.
func errNotAlone(sl slot.Slot, j JobStatus, verb JobVerb) string {
	return fmt.Sprintf("ERR Slot %d is one of the %d of job %d, which was started otherwise: GODWIT MIGRATION %s %d at its source", sl, j.Slots, j.ID.Counter, verb, j.ID.Counter)
}

func errMoveFailed(sl slot.Slot, j JobStatus) string {
	return fmt.Sprintf("ERR Slot %d stays: job %d has failed: %s", sl, j.ID.Counter, oneLine(j.Error))
}

func errStillMoving(sl slot.Slot) string {
	return fmt.Sprintf("ERR Slot %d is still on its way, which goes on: ask again", sl)
}

// errNotMigrating answers MIGRATE to a node of the cluster to which the slot is not to move.
func errNotMigrating(sl slot.Slot, to cluster.NodeID) string {
	return fmt.Sprintf("ERR Slot %d is not moving to node %s: say CLUSTER SETSLOT %d MIGRATING to its owner first", sl, to, sl)
}

// errMigrateElsewhere answers MIGRATE to a server that could be the node to which the slot is moving, or another.
func errMigrateElsewhere(sl slot.Slot, j JobStatus) string {
	return fmt.Sprintf("ERR Slot %d is moving to node %s, which has this port and another host: name it as CLUSTER NODES does, or cancel job %d first", sl, j.Target, j.ID.Counter)
}

func errMigrateTimeout(sl slot.Slot) string {
	return fmt.Sprintf("IOERR error or timeout: slot %d is still on its way, which goes on", sl)
}

func errSlotOrder(r slot.Range) string {
	return fmt.Sprintf("ERR Start slot number %d is greater than end slot number %d.", r.First, r.Last)
}

func errSlotTwice(r slot.Range) string {
	return fmt.Sprintf("ERR Slot range %d-%d overlaps with a previous range.", r.First, r.Last)
}

func errAlreadyMigrating(sl slot.Slot) string {
	return fmt.Sprintf("ERR I am already migrating slot %d.", sl)
}

// errNoAnswer says that the owner of slots gave no answer that is known: it may have done what it was told.
func errNoAnswer(err error) string {
	return "ERR the owner of the slots has not answered, and may have begun: " + oneLine(err.Error())
}

// Errors of CLUSTER IMPORT. The texts are those of Kvrocks where it has the error.

func errImportMismatch(current *foreignImport, live bool, got *slot.Set) string {
	x := "-1"
	if live {
		x = current.set.String()
	}
	return "ERR mismatch slot, importing slot(s): " + x + ", but got: " + got.String()
}

func errImportOther(current *foreignImport) string {
	return "ERR only one importing job is allowed, current importing: " + current.set.String()
}

func errImportBusy(sl slot.Slot, state cluster.State) string {
	return "ERR slot " + strconv.Itoa(int(sl)) + " is " + state.String() + " here, by a job of this cluster: move it with a job"
}

func errImportReturn(sl slot.Slot, by cluster.NodeID) string {
	return "ERR slot " + strconv.Itoa(int(sl)) + " was given to node " + string(by) +
		", which does not say that it is a Kvrocks (down, or with another password?); a Godwit gives it back by a job"
}

func errImportStranger(node env.Peer) string {
	return "ERR node " + node.ID + " is a Godwit that refuses this one as a peer, and may know of the slots: give both the same version and secret"
}

func errImportKnown(sl slot.Slot, by env.Peer) string {
	return "ERR slot " + strconv.Itoa(int(sl)) + " is known to node " + by.ID + ", which is no Kvrocks: move it with a job"
}
