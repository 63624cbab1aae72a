package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"godwit/engine/slot"
)

// NodeID names a node: 40 bytes, given by an operator or made from randomness. It survives a restart.
type NodeID string

// NodeIDLen is the length of a node id in bytes, as Redis and Kvrocks have it.
const NodeIDLen = 40

// Short is the beginning of the id, for people.
func (id NodeID) Short() string {
	if len(id) > 8 {
		return string(id[:8])
	}
	return string(id)
}

// Incarnation identifies a data directory. A node whose directory was wiped is another node under the same id.
type Incarnation uint64

// String gives 16 hexadecimal digits.
func (i Incarnation) String() string {
	digits := strconv.FormatUint(uint64(i), 16)
	return "0000000000000000"[len(digits):] + digits
}

// Epoch is the slot epoch: per slot, raised only by the current owner's handoff. It is the only thing that is compared
// between records and announcements. It has nothing to do with the version of a map.
type Epoch uint64

// Attempt orders the attempts of one job at one slot. Each start of a stream and each pause is a new attempt, durable at
// the source before its first message.
type Attempt uint32

// JobID names a job: the source that made it, as node and as directory, and the source's durable counter.
type JobID struct {
	Node        NodeID
	Incarnation Incarnation
	Counter     uint64
}

// SameSource reports whether two jobs were made by one directory of one node, so that their counters can be compared.
func (j JobID) SameSource(o JobID) bool { return j.Node == o.Node && j.Incarnation == o.Incarnation }

// IsZero reports whether no job is named.
func (j JobID) IsZero() bool { return j == JobID{} }

// String is the job's name for people and commands: beginning of the node id, a dash, the counter.
func (j JobID) String() string { return fmt.Sprintf("%s-%d", j.Node.Short(), j.Counter) }

// State is what an ownership record says of a slot.
type State uint8

// The states of an ownership record.
const (
	// None: the node never had to do with the slot. No record is stored.
	None State = iota
	// Serving: this node owns the slot. Entered at birth, by a settled claim, or from Prepared when the source has
	// decided. The only state in which commands run. Left by the node's own decision to Released.
	Serving
	// Importing: the slot's data is arriving. Entered by a start that is newer than the record; the leftovers of the
	// slot were deleted in the same batch. Left to Prepared, to Aborted, or to Importing by a newer start.
	Importing
	// Prepared: everything that the source sent is durable here and the source may decide at any moment, so the record
	// is not left by this node's own will: to Serving when the source says commit, to Importing or Aborted when the
	// source says that it has given the attempt up.
	Prepared
	// Released: this node gave the slot away, durably. Left only by a later import.
	Released
	// Aborted: an import was given up and its data deleted. What remains is the order of the last start, so that an
	// older one that was delayed is still refused. Left only by a newer start.
	Aborted
)

var stateNames = [...]string{"none", "serving", "importing", "prepared", "released", "aborted"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// RunningHash is a 128-bit hash chain over the messages of an attempt.
type RunningHash [16]byte

// Record is a node's durable ownership record of a slot. It is replaced, never deleted.
type Record struct {
	State State
	// Epoch is, by state: Serving: the epoch under which this node serves; Importing, Prepared, Aborted: the epoch under
	// which the source serves (the target will serve under Epoch+1); Released: the epoch of the new owner.
	Epoch Epoch
	// Job and Attempt order starts and bind messages to the import, or name the handoff that released the slot; zero for
	// a slot served since birth or by a claim.
	Job     JobID
	Attempt Attempt
	// Peer is the other party: whom the slot comes from (Importing, Prepared, Aborted) or went to (Released).
	Peer NodeID
	// Final and Hash are, when Prepared, the number of the attempt's last message and the running hash after it.
	Final uint64
	Hash  RunningHash
	// DataGone says of a Released record that the copy was deleted.
	DataGone bool
}

// recordVersion is the version byte of an encoded record.
const recordVersion = 1

// ErrRecord says that bytes are no ownership record of a version that this code knows.
var ErrRecord = errors.New("not an ownership record")

// Encode returns the record as bytes:
//
//	| offset | size | field                                   |
//	|--------|------|-----------------------------------------|
//	| 0      | 1    | version, 1                              |
//	| 1      | 1    | state                                   |
//	| 2      | 1    | flags: bit 0 data gone                  |
//	| 3      | 8    | epoch, big-endian                       |
//	| 11     | 8    | job: incarnation                        |
//	| 19     | 8    | job: counter                            |
//	| 27     | 4    | attempt                                 |
//	| 31     | 8    | final sequence                          |
//	| 39     | 16   | running hash                            |
//	| 55     | 1    | length of the job's node id, then the id |
//	|        | 1    | length of the peer's id, then the id    |
//
// There is no checksum: Pebble has one per block and per log record.
func (r Record) Encode() []byte {
	b := make([]byte, 0, 57+len(r.Job.Node)+len(r.Peer))
	flags := byte(0)
	if r.DataGone {
		flags = 1
	}
	b = append(b, recordVersion, byte(r.State), flags)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Job.Incarnation))
	b = binary.BigEndian.AppendUint64(b, r.Job.Counter)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Attempt))
	b = binary.BigEndian.AppendUint64(b, r.Final)
	b = append(b, r.Hash[:]...)
	b = append(append(b, byte(len(r.Job.Node))), r.Job.Node...)
	return append(append(b, byte(len(r.Peer))), r.Peer...)
}

// DecodeRecord reads what Encode wrote.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) < 57 || b[0] != recordVersion || b[1] == 0 || b[1] > byte(Aborted) || b[2] > 1 {
		return Record{}, fmt.Errorf("%w: %d bytes beginning %x", ErrRecord, len(b), b[:min(len(b), 3)])
	}
	r := Record{
		State:    State(b[1]),
		DataGone: b[2] == 1,
		Epoch:    Epoch(binary.BigEndian.Uint64(b[3:])),
		Job:      JobID{Incarnation: Incarnation(binary.BigEndian.Uint64(b[11:])), Counter: binary.BigEndian.Uint64(b[19:])},
		Attempt:  Attempt(binary.BigEndian.Uint32(b[27:])),
		Final:    binary.BigEndian.Uint64(b[31:]),
	}
	copy(r.Hash[:], b[39:55])
	rest := b[55:]
	node, rest, ok := shortString(rest)
	if !ok {
		return Record{}, fmt.Errorf("%w: the job's node id is cut off", ErrRecord)
	}
	peer, rest, ok := shortString(rest)
	if !ok || len(rest) != 0 {
		return Record{}, fmt.Errorf("%w: the peer's id is cut off or followed by more", ErrRecord)
	}
	r.Job.Node, r.Peer = NodeID(node), NodeID(peer)
	return r, nil
}

func shortString(b []byte) (head string, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return "", nil, false
	}
	end := 1 + int(b[0]) // as an int: a byte would be 0 again after 255
	return string(b[1:end]), b[end:], true
}

// Hint says where a slot was last heard to be: the highest epoch wins. A wrong hint costs a redirect, never safety.
type Hint struct {
	Slot  slot.Slot
	Node  NodeID
	Epoch Epoch
}
