package migration

import (
	"encoding/binary"
	"fmt"

	"godwit/engine/cluster"
	"godwit/engine/mutant"
)

// Cursor is how far a target has come in an attempt. It is written in one batch with what it speaks of.
type Cursor struct {
	Attempt cluster.Attempt
	Seq     uint64
	Hash    cluster.RunningHash
	// Fresh says that the slot was empty when the attempt began.
	Fresh bool
}

// CursorSize is the length of an encoded cursor in bytes.
const CursorSize = 30

// Encode returns the cursor as version (1), attempt (4), sequence (8), running hash (16), flags (1: fresh); big-endian.
func (c Cursor) Encode() []byte {
	b := make([]byte, 0, CursorSize)
	b = append(b, messageVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Attempt))
	b = binary.BigEndian.AppendUint64(b, c.Seq)
	b = append(b, c.Hash[:]...)
	return append(b, flagBits(c.Fresh))
}

// DecodeCursor reads what Encode wrote.
func DecodeCursor(b []byte) (Cursor, error) {
	if len(b) != CursorSize || b[0] != messageVersion {
		return Cursor{}, fmt.Errorf("%w: a cursor of %d bytes", ErrMessage, len(b))
	}
	return Cursor{
		Attempt: cluster.Attempt(binary.BigEndian.Uint32(b[1:])),
		Seq:     binary.BigEndian.Uint64(b[5:]),
		Hash:    cluster.RunningHash(b[13:29]),
		Fresh:   b[29]&1 != 0,
	}, nil
}

// Target is what a target knows of a slot when a message arrives.
type Target struct {
	Record      cluster.Record
	Cursor      Cursor
	Incarnation cluster.Incarnation // of the target
	// Busy says why there is no room for what the message brings, "" if there is.
	Busy string
}

// Verdict is what a target is to do with a message, in one batch: wipe the slot, apply the body, set cursor and record.
type Verdict struct {
	Reply  Reply
	Wipe   bool            // delete everything of the slot first
	Apply  bool            // apply the body; a digest in it that does not match sets Reply.Differ
	Check  bool            // only compare the digest in the body, applying nothing
	Cursor *Cursor         // to set, unless nil
	Record *cluster.Record // to set, unless nil
	// TakeOver says that the record makes this node the owner: take the takeover snapshot and run what was parked.
	TakeOver bool
	// Drop says that the import is over: answer what was parked.
	Drop bool
}

// Handle says what a message of the source does to a target. from is the node that the link was authenticated with. It is a
// pure function; the caller holds the slot's lock from reading the state until the verdict has been carried out.
func (t Target) Handle(from cluster.NodeID, m Message) Verdict {
	v := Verdict{Reply: Reply{Attempt: m.Attempt, Incarnation: t.Incarnation}}
	if from != m.Job.Node && !mutant.On(mutant.WrongTarget) {
		v.Reply.Kind, v.Reply.Text = ReplyRefused, fmt.Sprintf("job of %s sent by %s", m.Job.Node, from)
		return v
	}
	switch m.Kind {
	case MsgStart:
		t.start(m, &v)
	case MsgData:
		t.data(m, &v)
	case MsgPrepare:
		t.prepare(m, &v)
	case MsgCommit:
		t.commit(m, &v)
	case MsgAbort:
		t.abort(m, &v)
	default:
		v.Reply.Kind, v.Reply.Text = ReplyRefused, "not a message to a target: "+m.Kind.String()
	}
	return v
}

// ours reports whether the record belongs to the very attempt of a message.
func (t Target) ours(m Message) bool {
	if t.Record.Job != m.Job {
		return false
	}
	return t.Record.Attempt == m.Attempt || mutant.On(mutant.StaleAttempt)
}

func (t Target) start(m Message, v *Verdict) {
	r := t.Record
	live := r.State == cluster.Importing || r.State == cluster.Prepared
	if live && r.Job == m.Job && r.Attempt == m.Attempt {
		if r.State == cluster.Prepared { // a duplicate of the start that led to what is prepared
			v.Reply.Kind = ReplyNoImport
			return
		}
		v.Reply.Kind, v.Reply.Fresh = ReplyStarted, t.Cursor.Fresh
		return
	}
	if why := t.refuses(m); why != "" {
		v.Reply.Kind, v.Reply.Text = ReplyRefused, why
		return
	}
	if t.Busy != "" && !(live && r.Job == m.Job) {
		v.Reply.Kind, v.Reply.Text = ReplyBusy, t.Busy
		return
	}
	// The data of an earlier attempt of the same job is worth keeping: the source compares it, or knows what it lacks. So is a
	// copy that this node gave away and still has, whatever has become of the slot since: the source compares it.
	keep := !m.Fresh && (live && r.Job == m.Job || r.State == cluster.Released && !r.DataGone)
	v.Wipe = !keep && !mutant.On(mutant.OrphanImport)
	v.Cursor = &Cursor{Attempt: m.Attempt, Fresh: !keep}
	v.Record = &cluster.Record{State: cluster.Importing, Epoch: m.Epoch, Job: m.Job, Attempt: m.Attempt, Peer: m.Job.Node}
	v.Reply.Kind, v.Reply.Fresh = ReplyStarted, !keep
	v.Drop = r.State == cluster.Prepared
}

// refuses says why a start is not greater than the record, or "". Starts of one source are ordered by (counter, attempt);
// those of different sources by the slot epoch under which each serves: of two sources the one with the greater epoch was
// given the slot by, or after, the other.
func (t Target) refuses(m Message) string {
	r := t.Record
	if r.State == cluster.Serving {
		return fmt.Sprintf("slot %d is served here under epoch %d", m.Slot, r.Epoch)
	}
	if r.State == cluster.None || mutant.On(mutant.LateStart) {
		return ""
	}
	if r.State == cluster.Released {
		if m.Epoch < r.Epoch {
			return fmt.Sprintf("slot %d was released here under epoch %d, the start speaks of epoch %d", m.Slot, r.Epoch, m.Epoch)
		}
		return ""
	}
	if r.Job.SameSource(m.Job) {
		if m.Job.Counter > r.Job.Counter || m.Job.Counter == r.Job.Counter && m.Attempt > r.Attempt {
			return ""
		}
		return fmt.Sprintf("job %s attempt %d of slot %d is over: %s attempt %d came after it", m.Job, m.Attempt, m.Slot, r.Job, r.Attempt)
	}
	if m.Epoch > r.Epoch {
		return ""
	}
	return fmt.Sprintf("slot %d is %s here by %s under epoch %d", m.Slot, r.State, r.Job, r.Epoch)
}

func (t Target) data(m Message, v *Verdict) {
	if t.Record.State == cluster.Prepared && t.ours(m) && m.Seq <= t.Record.Final {
		v.Reply.Kind, v.Reply.Seq = ReplyAck, m.Seq // a repetition that the prepare overtook
		return
	}
	if t.Record.State != cluster.Importing || !t.ours(m) {
		v.Reply.Kind = ReplyNoImport
		return
	}
	v.Reply.Seq = m.Seq
	switch {
	case m.Seq <= t.Cursor.Seq:
		v.Reply.Kind, v.Check = ReplyAck, true
		if mutant.On(mutant.ReplayApply) {
			v.Apply, v.Check, v.Cursor = true, false, &t.Cursor
		}
	case m.Seq > t.Cursor.Seq+1 && !mutant.On(mutant.SkipApply):
		v.Reply.Kind, v.Reply.Seq = ReplyGap, t.Cursor.Seq
		if mutant.On(mutant.AckOnFailure) {
			v.Reply.Kind, v.Reply.Seq = ReplyAck, m.Seq
		}
		if mutant.On(mutant.ReorderApply) { // the cursor stays where the order ends
			v.Reply.Kind, v.Reply.Seq, v.Apply = ReplyAck, m.Seq, true
		}
	case t.Busy != "" && !m.Urgent:
		v.Reply.Kind, v.Reply.Text = ReplyBusy, t.Busy
	default:
		v.Reply.Kind, v.Apply = ReplyAck, true
		v.Cursor = &Cursor{Attempt: t.Cursor.Attempt, Seq: m.Seq, Hash: Chain(t.Cursor.Hash, m.Seq, m.Body), Fresh: t.Cursor.Fresh}
	}
}

func (t Target) prepare(m Message, v *Verdict) {
	r := t.Record
	if !t.ours(m) || r.State != cluster.Importing && r.State != cluster.Prepared {
		v.Reply.Kind = ReplyNoImport
		return
	}
	if r.State == cluster.Prepared {
		v.Reply.Kind, v.Reply.Seq, v.Reply.Hash = ReplyPrepared, r.Final, r.Hash
		return
	}
	if m.Seq > t.Cursor.Seq && !mutant.On(mutant.SkipApply) && !mutant.On(mutant.ReorderApply) {
		v.Reply.Kind, v.Reply.Seq = ReplyGap, t.Cursor.Seq
		return
	}
	if m.Seq != t.Cursor.Seq || m.Hash != t.Cursor.Hash {
		if !mutant.On(mutant.SkipApply) && !mutant.On(mutant.StaleAttempt) && !mutant.On(mutant.ReorderApply) {
			v.Reply.Kind, v.Reply.Text = ReplyRefused, fmt.Sprintf("the stream differs: %d messages here, %d at the source, or other bytes", t.Cursor.Seq, m.Seq)
			return
		}
	}
	r.State, r.Final, r.Hash = cluster.Prepared, m.Seq, m.Hash
	if mutant.On(mutant.ServeEarly) {
		r.State, r.Epoch = cluster.Serving, r.Epoch+1
		v.TakeOver = true
	}
	v.Record = &r
	v.Reply.Kind, v.Reply.Seq, v.Reply.Hash = ReplyPrepared, m.Seq, m.Hash
}

func (t Target) commit(m Message, v *Verdict) {
	r := t.Record
	if r.State == cluster.Prepared && t.ours(m) && m.Epoch == r.Epoch+1 {
		v.Record = &cluster.Record{State: cluster.Serving, Epoch: m.Epoch, Job: m.Job, Attempt: m.Attempt, Peer: m.Job.Node}
		v.TakeOver = true
		v.Reply.Kind, v.Reply.Epoch = ReplyServing, m.Epoch
		return
	}
	// Served under that epoch already, or even given away since: a repetition.
	owned := r.State == cluster.Serving || r.State == cluster.Released
	if owned && r.Epoch >= m.Epoch || !owned && r.State != cluster.None && r.Epoch > m.Epoch {
		v.Reply.Kind, v.Reply.Epoch = ReplyCommitted, m.Epoch
		return
	}
	v.Reply.Kind = ReplyNoImport
}

func (t Target) abort(m Message, v *Verdict) {
	r := t.Record
	v.Reply.Kind = ReplyAborted
	older := r.Job.SameSource(m.Job) && (r.Job.Counter < m.Job.Counter || r.Job.Counter == m.Job.Counter && r.Attempt < m.Attempt)
	switch r.State {
	case cluster.Importing, cluster.Prepared:
		if r.Job != m.Job || r.Attempt > m.Attempt {
			return // an import of another job: not this abort's business
		}
		v.Wipe = !mutant.On(mutant.OrphanImport)
		v.Drop = true
	case cluster.Aborted:
		if !older {
			return
		}
	case cluster.None:
	default:
		return
	}
	v.Record = &cluster.Record{State: cluster.Aborted, Epoch: m.Epoch, Job: m.Job, Attempt: m.Attempt, Peer: m.Job.Node}
}

// Answer says what a source tells a target that asks what became of an attempt. r is the source's record of the slot; live says
// that the job has not given the slot up (durably or not); asker is who asks.
func Answer(r cluster.Record, live bool, asker cluster.NodeID, m Message) Reply {
	reply := Reply{Attempt: m.Attempt}
	switch {
	case r.State == cluster.Released && r.Job == m.Job && r.Attempt == m.Attempt && r.Peer == asker:
		reply.Kind, reply.Epoch = ReplyDecided, r.Epoch
	case r.State == cluster.Released && r.Job == m.Job:
		reply.Kind = ReplyDead
	case live:
		reply.Kind = ReplyPending
	default:
		reply.Kind = ReplyDead
	}
	return reply
}
