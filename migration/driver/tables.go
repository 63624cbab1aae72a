package driver

import (
	"encoding/binary"
	"fmt"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// tables sends the base of a slot as sorted tables: it builds one after another from the round's snapshot, sends their blocks over lanes of
// their own, in any order, and builds the next one while those of the last are on their way. When all are at the target, one
// data message tells it to ingest them. To the machine all of that is one read. If blocks do not get through, the slot is read as records.
//
// It belongs to the worker that steps the slot's machine, and ends with its round.
type tables struct {
	s      *sourceSlot
	rest   key.Span // to be built
	sums   []store.TableSum
	digest store.Digest
	built  bool // nothing is left to build
	asked  bool // a turn to build was asked for
	sent   uint64
	blocks int // sent and not answered
	bytes  int // of these
	heard  time.Duration
	// refused says what for the target had no room when it answered last, "" if it had.
	refused string
}

// tableBlock is a block on its way. Its body is that of MsgBlock:
//
//	| offset | size | field                              |
//	|--------|------|------------------------------------|
//	| 0      | 4    | number of the table, big-endian, as all integers here |
//	| 4      | 8    | offset in the table                |
//	| 12     | 8    | checksum (store.BlockSum)          |
//	| 20     | rest | bytes of the table                 |
type tableBlock struct {
	body []byte
	lane env.Lane
}

const blockHead = 20

func encodeBlock(table uint32, offset int64, b []byte) []byte {
	body := make([]byte, 0, blockHead+len(b))
	body = binary.BigEndian.AppendUint32(body, table)
	body = binary.BigEndian.AppendUint64(body, uint64(offset))
	body = binary.BigEndian.AppendUint64(body, store.BlockSum(b))
	return append(body, b...)
}

// wantsTables says whether the base of a slot goes as tables.
func (s *sourceSlot) wantsTables() bool {
	switch s.job.header.Payload {
	case engine.PayloadTables:
		return true
	case engine.PayloadAuto:
		size, err := s.d.node.Store().DiskBytes(key.DataSpan(s.slot))
		return err == nil && size >= uint64(s.d.cfg.TablesFrom)
	default:
		return false
	}
}

// beginTables makes the base round that was opened go as tables, if it should.
func (s *sourceSlot) beginTables() {
	if s.wantsTables() {
		s.stream.tables = &tables{s: s, rest: key.DataSpan(s.slot), heard: s.d.env.Clock.Mono()}
	}
}

// next builds and sends a table, and returns how many bytes of records it took.
func (t *tables) next() (int, error) {
	t.asked = false
	s := t.s
	if t.blocks == 0 {
		t.heard = s.d.env.Clock.Mono() // nothing was asked while the throttle made the slot wait: no silence
	}
	b, err := s.d.node.Store().BuildTable(s.stream.snap, t.rest, s.tableBytes())
	if err != nil {
		return 0, err
	}
	t.rest.Lo, t.built = b.Covers.Hi, b.Last
	t.digest.Merge(b.Digest)
	if len(b.Bytes) > 0 {
		n := uint32(len(t.sums))
		t.sums = append(t.sums, store.SumTable(b.Bytes))
		for at := 0; at < len(b.Bytes); at += s.d.cfg.ChunkBytes {
			body := encodeBlock(n, int64(at), b.Bytes[at:min(len(b.Bytes), at+s.d.cfg.ChunkBytes)])
			t.blocks++
			t.bytes += len(body)
			t.send(tableBlock{body, []env.Lane{env.Blocks, env.MoreBlocks}[t.blocks%2]})
		}
		t.sent += uint64(len(b.Bytes))
		s.d.node.Store().Reuse(b)
	}
	t.goOn()
	return b.Read, nil
}

// send sends a block until it is answered or the tables are given up.
func (t *tables) send(b tableBlock) {
	s := t.s
	m := migration.Message{Kind: migration.MsgBlock, Slot: s.slot, Job: s.id, Attempt: s.machine.Attempt(), Body: b.body}
	over := s.calling(b.body)
	s.d.call(s.job.header.Target, b.lane, &m, func(r migration.Reply, err error) {
		over()
		s.enqueue(queued{step: func() {
			if s.stream.tables == t {
				t.answered(b, r, err)
			}
		}})
	})
}

func (t *tables) answered(b tableBlock, r migration.Reply, err error) {
	s := t.s
	now := s.d.env.Clock.Mono()
	switch {
	case err == nil && r.Kind == migration.ReplyAck:
		t.heard, t.refused = now, ""
		t.blocks--
		t.bytes -= len(b.body)
		t.goOn()
	case err == nil && r.Kind == migration.ReplyBusy:
		t.heard, t.refused = now, r.Text
		t.sendLater(b)
	case err == nil, now-t.heard >= s.d.cfg.Source.GiveUpAfter/2:
		why := "the target has no use for them"
		if err != nil {
			why = err.Error()
		}
		s.d.env.Log.Warn("the tables of a slot do not get through, its records are sent instead", "slot", s.slot, "reason", why)
		s.stream.tables = nil // whose walk over the whole slot is still to be read
		if !t.asked {
			s.readPaced() // else the read that was asked for reads records
		}
	default:
		t.sendLater(b)
	}
}

// sendLater repeats a block after a while.
func (t *tables) sendLater(b tableBlock) {
	s := t.s
	s.d.env.Clock.AfterFunc(s.d.cfg.Source.RetryMax/4, func() {
		s.enqueue(queued{step: func() {
			if s.stream.tables == t {
				s.before.repeatedBytes += uint64(len(b.body))
				t.send(b)
			}
		}})
	})
}

// goOn builds the next table when that does not let more than two be held, and ends when all are at the target.
func (t *tables) goOn() {
	s := t.s
	switch {
	case t.asked:
	case !t.built && t.bytes < s.tableBytes():
		t.asked = true
		round := s.stream.opening
		s.enqueue(queued{step: func() {
			if s.stream.opening == round {
				s.readPaced()
			}
		}})
	case t.built && t.blocks == 0:
		s.stream.tables = nil
		s.stream.walks = nil
		s.stream.records += t.digest.Records // not before: tables that are given up are sent once more, as records
		s.stream.bytes += t.sent
		var body []byte
		if len(t.sums) > 0 {
			body = t.body(key.DataSpan(s.slot))
			s.stream.last = covered{changes: store.Changes{Spans: []key.Span{key.DataSpan(s.slot)}}, records: int(t.digest.Records), digest: true}
			s.d.mu.Lock()
			s.job.header.TableSlots++
			s.d.mu.Unlock()
		}
		s.stream.unsent = body != nil
		s.post(migration.EvData{Body: body, Asks: int(t.sent), Last: true, Await: true})
	}
}

// body is the body of the message that tells the target to ingest what it has got.
func (t *tables) body(span key.Span) []byte {
	content := t.digest.Append(spanBytes(span))
	for _, sum := range t.sums {
		content = binary.BigEndian.AppendUint64(content, uint64(sum.Bytes))
		content = append(content, sum.Hash[:]...)
	}
	return appendOp(nil, opTables, content)
}

// decodeTables reads the sums of tables.
func decodeTables(b []byte) ([]store.TableSum, error) {
	const size = 24
	if len(b) == 0 || len(b)%size != 0 {
		return nil, fmt.Errorf("%w: the sums of tables have %d bytes", migration.ErrMessage, len(b))
	}
	sums := make([]store.TableSum, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		sum := store.TableSum{Bytes: int64(binary.BigEndian.Uint64(b)), Hash: [16]byte(b[8:size])}
		if sum.Bytes <= 0 {
			return nil, fmt.Errorf("%w: a table of %d bytes", migration.ErrMessage, sum.Bytes)
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

// stageBlock stages a block of a table for an import that is under way. It is answered before it is durable: what a crash takes is missed
// when the tables are ingested.
func (d *Driver) stageBlock(from cluster.NodeID, m migration.Message) (migration.Reply, error) {
	reply := migration.Reply{Kind: migration.ReplyNoImport, Attempt: m.Attempt, Incarnation: d.node.Incarnation()}
	if len(m.Body) <= blockHead {
		return reply, fmt.Errorf("%w: a block of %d bytes", migration.ErrMessage, len(m.Body))
	}
	t := d.targetOf(m.Slot)
	var err error
	d.node.Exclusive(m.Slot, func(o *engine.Owned) {
		r := o.Record()
		d.noteArrival(&m, t)
		if r.State != cluster.Importing || r.Job != m.Job || r.Attempt != m.Attempt || from != m.Job.Node {
			return
		}
		t.heard = d.env.Clock.Mono()
		if reply.Text = d.arrivals.refusal(&m); reply.Text != "" {
			reply.Kind = migration.ReplyBusy
			d.arrivals.count()
			return
		}
		d.pacer.arrived(len(m.Body))
		if t.staging == nil {
			if t.staging, err = d.node.Store().Stage(stagingName(m.Slot, m.Attempt)); err != nil {
				return
			}
		}
		b := m.Body
		err = t.staging.Put(binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:])), binary.BigEndian.Uint64(b[12:]), b[blockHead:])
		reply.Kind = migration.ReplyAck
	})
	return reply, err
}

func stagingName(sl slot.Slot, a cluster.Attempt) string {
	return fmt.Sprintf("slot-%d-attempt-%d", sl, a)
}

// ingest takes in the tables that were staged, and reports whether the target has what they hold now. A message that comes again finds them
// gone: then nobody knows without a comparison.
func (t *targetSlot) ingest(o *op) (bool, error) {
	if t.staging == nil {
		return false, nil
	}
	g := t.staging
	t.staging = nil
	return g.Ingest(o.span, o.tables)
}

// TablesTaken is how many times this node has taken in a slot that came as tables.
func (d *Driver) TablesTaken() uint64 { return d.taken.Load() }

// dropStaging forgets what was staged.
func (t *targetSlot) dropStaging() {
	if t.staging != nil {
		t.staging.Drop()
		t.staging = nil
	}
}
