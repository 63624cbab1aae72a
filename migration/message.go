package migration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// MessageKind says what a message asks.
type MessageKind uint8

// The messages. Ask goes from target to source; all others from source to target.
const (
	// MsgStart begins an attempt: Epoch is the source's, Fresh asks to delete what is there first.
	MsgStart MessageKind = iota + 1
	// MsgData carries changes, or the digest of a span to compare: Seq and Body.
	MsgData
	// MsgPrepare asks to make everything durable and to be ready to serve: Seq is the final sequence, Hash the running hash.
	MsgPrepare
	// MsgCommit says that the source has released the slot: Epoch is the target's new one.
	MsgCommit
	// MsgAbort says that the source gave the job up for this slot: Attempt is greater than any used.
	MsgAbort
	// MsgConfirm compares a span of the source's frozen copy with the takeover snapshot: Body.
	MsgConfirm
	// MsgAsk asks the source, by a target that is importing or prepared, what became of an attempt.
	MsgAsk
	// MsgReturn asks the target, which serves the slot, to hand it back by a job of its own: Job and Attempt are those that the
	// slot came by, Epoch the one under which the sender served it, Body the payload of the job.
	MsgReturn
	// MsgBlock carries a block of a table of the base, in any order and not numbered with the data: Body. It is answered before it is durable.
	MsgBlock
)

var messageNames = [...]string{"?", "start", "data", "prepare", "commit", "abort", "confirm", "ask", "return", "block"}

func (k MessageKind) String() string {
	if int(k) < len(messageNames) {
		return messageNames[k]
	}
	return fmt.Sprintf("message(%d)", uint8(k))
}

// Message is a request of one party to the other.
type Message struct {
	Kind    MessageKind
	Slot    slot.Slot
	Job     cluster.JobID
	Attempt cluster.Attempt
	Epoch   cluster.Epoch
	Fresh   bool
	// Urgent says of data that writers wait for it: a target that is busy takes it all the same.
	Urgent bool
	// Quiet says of data that next to nothing is written to the slot at its source meanwhile: a target may read it back before it is asked to.
	Quiet bool
	Seq   uint64
	Hash  cluster.RunningHash
	Body  []byte
	// Asks is how many bytes the target has to read to answer, as of EvData. It is not sent.
	Asks int
}

// ReplyKind says how a message was answered.
type ReplyKind uint8

// The replies.
const (
	// ReplyStarted: the attempt is open at the target. Fresh says that the slot is empty there.
	ReplyStarted ReplyKind = iota + 1
	// ReplyAck: the data message is durable at the target. Differ says that the digest in it did not match.
	ReplyAck
	// ReplyGap: the data message was not applied, since an earlier one is missing.
	ReplyGap
	// ReplyPrepared: everything up to Seq is durable and the record says prepared; Seq and Hash are the target's.
	ReplyPrepared
	// ReplyCommitted: the target's ownership is durable. It comes behind ReplyServing, to the same message said again, or alone.
	ReplyCommitted
	// ReplyAborted: nothing of the import is left.
	ReplyAborted
	// ReplyConfirm: Differ says whether the span differs, Gone that the takeover snapshot no longer exists.
	ReplyConfirm
	// ReplyNoImport: the target has no import of this job and attempt.
	ReplyNoImport
	// ReplyRefused: the start is not acceptable and never will be; Text says why.
	ReplyRefused
	// ReplyPending answers MsgAsk: not decided yet.
	ReplyPending
	// ReplyDecided answers MsgAsk: released to the asker in that attempt; Epoch is the asker's new one.
	ReplyDecided
	// ReplyDead answers MsgAsk: that attempt will never be decided, and the job is over for the slot.
	ReplyDead
	// ReplyReturning answers MsgReturn: a durable job of the answering node hands the slot back.
	ReplyReturning
	// ReplyBusy answers MsgStart, MsgData and MsgBlock: nothing was done, since the target has no room at the moment; Text says what for. The same is
	// to be said again later.
	ReplyBusy
	// ReplyServing answers MsgCommit: the target serves from now on. It does not wait for the disk, so the same is to be said again until the answer
	// is ReplyCommitted.
	ReplyServing
)

var replyNames = [...]string{"?", "started", "ack", "gap", "prepared", "committed", "aborted", "confirm", "no-import", "refused", "pending", "decided", "dead", "returning", "busy", "serving"}

func (k ReplyKind) String() string {
	if int(k) < len(replyNames) {
		return replyNames[k]
	}
	return fmt.Sprintf("reply(%d)", uint8(k))
}

// Reply answers a message. Kind-specific fields are zero where they do not apply.
type Reply struct {
	Kind        ReplyKind
	Attempt     cluster.Attempt // of the message answered
	Seq         uint64
	Hash        cluster.RunningHash
	Epoch       cluster.Epoch
	Incarnation cluster.Incarnation // of the answering node
	Fresh       bool
	Differ      bool
	Gone        bool
	Text        string
}

// Chain extends the running hash of an attempt by a message.
func Chain(h cluster.RunningHash, seq uint64, body []byte) cluster.RunningHash {
	var buf [40]byte
	copy(buf[:16], h[:])
	binary.BigEndian.PutUint64(buf[16:], seq)
	sum := xxh3.Hash128(body).Bytes()
	copy(buf[24:], sum[:])
	return xxh3.Hash128(buf[:]).Bytes()
}

// ErrMessage says that bytes are no message of a version that this code knows.
var ErrMessage = errors.New("not a migration message")

// messageVersion is the version byte of encoded messages and replies.
const messageVersion = 1

// Encode returns the message as bytes:
//
//	| offset | size | field                                                        |
//	|--------|------|--------------------------------------------------------------|
//	| 0      | 8    | xxh3-64 of all that follows, big-endian                      |
//	| 8      | 1    | version, 1                                                   |
//	| 9      | 1    | kind                                                         |
//	| 10     | 1    | flags: bit 0 fresh, bit 1 urgent, bit 2 quiet                |
//	| 11     | 2    | slot, big-endian, as all integers here                       |
//	| 13     | 8    | job: incarnation                                             |
//	| 21     | 8    | job: counter                                                 |
//	| 29     | 4    | attempt                                                      |
//	| 33     | 8    | epoch                                                        |
//	| 41     | 8    | sequence                                                     |
//	| 49     | 16   | running hash                                                 |
//	| 65     | 1    | length of the job's node id, then the id                     |
//	|        | rest | body                                                         |
//
// The checksum covers the message on its way; what is wrong before it was computed or after it was checked it cannot see:
// that is what the running hash and the digests are for.
func (m *Message) Encode() []byte { return m.Append(nil) }

// Append appends what Encode returns.
func (m *Message) Append(dst []byte) []byte {
	at := len(dst)
	b := slices.Grow(dst, 66+len(m.Job.Node)+len(m.Body))[:at+8]
	b = append(b, messageVersion, byte(m.Kind), flagBits(m.Fresh, m.Urgent, m.Quiet))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Slot))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Job.Incarnation))
	b = binary.BigEndian.AppendUint64(b, m.Job.Counter)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Attempt))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Epoch))
	b = binary.BigEndian.AppendUint64(b, m.Seq)
	b = append(b, m.Hash[:]...)
	b = append(append(b, byte(len(m.Job.Node))), m.Job.Node...)
	b = append(b, m.Body...)
	binary.BigEndian.PutUint64(b[at:], xxh3.Hash(b[at+8:]))
	return b
}

// DecodeMessage reads what Encode wrote. Body aliases b.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) < 66 {
		return Message{}, fmt.Errorf("%w: %d bytes, want at least 66", ErrMessage, len(b))
	}
	if sum := binary.BigEndian.Uint64(b); sum != xxh3.Hash(b[8:]) {
		return Message{}, fmt.Errorf("%w: the checksum does not match", ErrMessage)
	}
	if b[8] != messageVersion {
		return Message{}, fmt.Errorf("%w: version %d, this node speaks %d", ErrMessage, b[8], messageVersion)
	}
	m := Message{
		Kind:    MessageKind(b[9]),
		Fresh:   b[10]&1 != 0,
		Urgent:  b[10]&2 != 0,
		Quiet:   b[10]&4 != 0,
		Slot:    slot.Slot(binary.BigEndian.Uint16(b[11:])),
		Job:     cluster.JobID{Incarnation: cluster.Incarnation(binary.BigEndian.Uint64(b[13:])), Counter: binary.BigEndian.Uint64(b[21:])},
		Attempt: cluster.Attempt(binary.BigEndian.Uint32(b[29:])),
		Epoch:   cluster.Epoch(binary.BigEndian.Uint64(b[33:])),
		Seq:     binary.BigEndian.Uint64(b[41:]),
		Hash:    cluster.RunningHash(b[49:65]),
	}
	n := int(b[65])
	if m.Kind < MsgStart || m.Kind > MsgBlock || !m.Slot.Valid() || len(b) < 66+n {
		return Message{}, fmt.Errorf("%w: kind %d, slot %d, node id of %d bytes", ErrMessage, b[9], m.Slot, n)
	}
	m.Job.Node = cluster.NodeID(b[66 : 66+n])
	m.Body = b[66+n:]
	return m, nil
}

// Encode returns the reply as bytes: version (1), kind (1), flags (1: fresh, differ, gone from bit 0), attempt (4), sequence
// (8), epoch (8), incarnation (8), running hash (16), text; integers big-endian. There is no checksum: a reply that was
// damaged to another valid reply is a fault of the transport that TCP's checksum is trusted with.
func (r *Reply) Encode() []byte {
	b := make([]byte, 0, 47+len(r.Text))
	b = append(b, messageVersion, byte(r.Kind), flagBits(r.Fresh, r.Differ, r.Gone))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Attempt))
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Incarnation))
	b = append(b, r.Hash[:]...)
	return append(b, r.Text...)
}

// DecodeReply reads what Encode wrote.
func DecodeReply(b []byte) (Reply, error) {
	if len(b) < 47 || b[0] != messageVersion || b[1] < byte(ReplyStarted) || b[1] > byte(ReplyServing) {
		return Reply{}, fmt.Errorf("%w: a reply of %d bytes beginning %x", ErrMessage, len(b), b[:min(len(b), 2)])
	}
	return Reply{
		Kind:        ReplyKind(b[1]),
		Fresh:       b[2]&1 != 0,
		Differ:      b[2]&2 != 0,
		Gone:        b[2]&4 != 0,
		Attempt:     cluster.Attempt(binary.BigEndian.Uint32(b[3:])),
		Seq:         binary.BigEndian.Uint64(b[7:]),
		Epoch:       cluster.Epoch(binary.BigEndian.Uint64(b[15:])),
		Incarnation: cluster.Incarnation(binary.BigEndian.Uint64(b[23:])),
		Hash:        cluster.RunningHash(b[31:47]),
		Text:        string(b[47:]),
	}, nil
}

func flagBits(bits ...bool) byte {
	out := byte(0)
	for i, set := range bits {
		if set {
			out |= 1 << i
		}
	}
	return out
}
