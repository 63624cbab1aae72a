package cluster

import (
	"strconv"

	"godwit/engine/slot"
)

// This file is the closed set of error replies about the cluster that a client can see. Tools match on these texts: those
// with an Error type are Kvrocks' own, word for word, and follow the code ERR; the others begin with a code of their own
// that cluster clients act on.

// Error is the text of an error reply of a CLUSTER or CLUSTERX command, without its code. Values are compared with
// errors.Is.
type Error string

// Error is the text without a code.
func (e Error) Error() string { return string(e) }

// Reply is the text with its code, as resp.Writer.Error takes it.
func (e Error) Reply() string { return "ERR " + string(e) }

// Errors of any CLUSTER and CLUSTERX command.
const (
	ErrNotEnabled    Error = "Cluster mode is not enabled"
	ErrClusterUsage  Error = "CLUSTER command, CLUSTER INFO|NODES|SLOTS|SHARDS|MYID|KEYSLOT|COUNTKEYSINSLOT|GETKEYSINSLOT|RESET|REPLICAS"
	ErrClusterXUsage Error = "CLUSTERX command, CLUSTERX VERSION|MYID|SETNODEID|SETNODES|SETSLOT|MIGRATE"
)

// Errors of CLUSTERX SETNODES, and of the text that it carries.
const (
	ErrVersion         Error = "Invalid version"                                                 // not an integer, or below zero in SETSLOT
	ErrSetNodesOptions Error = "Invalid setnodes options"                                        // a fifth argument that is not FORCE
	ErrClusterVersion  Error = "Invalid cluster version"                                         // below the current one, or not the next one in SETSLOT
	ErrNodesInfo       Error = "Invalid cluster nodes info"                                      // a line that does not have the form of a node
	ErrNodeID          Error = "Invalid cluster node id"                                         // an id that does not have 40 bytes, or is unknown in REPLICAS
	ErrNodePort        Error = "Invalid cluster node port"                                       // not 1 to 65535
	ErrNodeRole        Error = "Invalid cluster node role"                                       // none of master, slave, replica, slave,fail
	ErrSlotRange       Error = "Slot is out of range"                                            // not a slot, or a range that does not ascend
	ErrSlotOverlap     Error = "Slot distribution is overlapped"                                 // a slot given twice
	ErrMissingNewline  Error = "Invalid nodes definition: Missing newline between node entries." // a node id where a slot should be
)

// Errors of CLUSTERX SETSLOT and CLUSTER REPLICAS.
const (
	ErrSetSlotOptions Error = "Invalid setslot options"                 // the word before the id is not NODE
	ErrSetSlotNodeID  Error = "Invalid node id"                         // an id that does not have 40 bytes
	ErrNotInteger     Error = "value is not an integer or out of range" // the version of SETSLOT
	ErrUnknownNode    Error = "No this node in the cluster"             // an id that the map does not have
	ErrNotMaster      Error = "The node isn't a master"                 // a replica where a master is needed
)

// Errors of CLUSTERX MIGRATE, in the order in which they are looked for.
const (
	ErrAsyncTimeout     Error = "Async migration does not support timeout"
	ErrTimeoutInteger   Error = "timeout is not an integer or out of range"
	ErrTimeoutNegative  Error = "timeout is negative"
	ErrSyncFlag         Error = "Invalid sync flag"
	ErrUnknownTarget    Error = "Can't find the destination node id"
	ErrMigrateRange     Error = "Slot range is invalid"
	ErrAlreadyMigrated  Error = "Can't migrate slot which has been migrated"
	ErrNotOwner         Error = "Can't migrate slot which doesn't belong to me"
	ErrFromReplica      Error = "Slave can't migrate slot"
	ErrToReplica        Error = "Can't migrate slot to a slave"
	ErrToMyself         Error = "Can't migrate slot to myself"
	ErrAlreadyMigrating Error = "There is already a migrating job"
)

// Errors of CLUSTER RESET.
const (
	ErrResetMigrating Error = "Can't reset cluster while migrating slot"
	ErrResetImporting Error = "Can't reset cluster while importing slot"
	ErrResetNotEmpty  Error = "Can't reset cluster while database is not empty"
)

// Replies with a code of their own.
const (
	// CrossSlot: the keys of one command lie in different slots.
	CrossSlot = "CROSSSLOT Attempted to access keys that don't hash to the same slot"
	// NotInitialized: the node was never given a map, and the command shows the map.
	NotInitialized = "CLUSTERDOWN The cluster is not initialized"
	// SlotNotServed: no owner of the slot is known.
	SlotNotServed = "CLUSTERDOWN Hash slot not served"
	// TryAgain: the command waited for a slot that is changing hands until its deadline. Nothing was done.
	TryAgain = "TRYAGAIN The slot is being handed over to another node, try again"
	// ReadOnlyReplica: a write that a replica cannot take.
	ReadOnlyReplica = "READONLY You can't write against a read only slave."
)

// Moved sends the client to the node that serves a slot, for this and later commands.
func Moved(s slot.Slot, host string, port int) string {
	return "MOVED " + strconv.Itoa(int(s)) + " " + host + ":" + strconv.Itoa(port)
}

// Ask sends the client to another node for this command only.
func Ask(s slot.Slot, host string, port int) string {
	return "ASK " + strconv.Itoa(int(s)) + " " + host + ":" + strconv.Itoa(port)
}
