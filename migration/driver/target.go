package driver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// targetSlot is what a target keeps in memory of a slot that is arriving or has just arrived. The slot's stripe guards it.
type targetSlot struct {
	cursor migration.Cursor
	heard  time.Duration // when the source last spoke
	live   bool          // importing or prepared
	// proven is what was read before the cutover, for a comparison or by back; writes tells what was written since, and is nil while there is none.
	proven tiles
	writes *store.Tracker
	back   readBack
	// takeover is the slot at the moment it was taken over, for the comparison; nil when there is none. taken is what was proven by then.
	takeover *sharedSnapshot
	taken    tiles
	expiry   env.Timer
	job      cluster.JobID
	attempt  cluster.Attempt
	staging  *store.Staging // tables that arrive; nil if there are none
}

// sharedSnapshot is a snapshot that is closed when the last of its users has left.
type sharedSnapshot struct {
	*store.Snapshot
	users atomic.Int32
}

func newSharedSnapshot(s *store.Snapshot) *sharedSnapshot {
	out := &sharedSnapshot{Snapshot: s}
	out.users.Store(1)
	return out
}

// join adds a user. The caller knows of one that will not leave before it returns.
func (s *sharedSnapshot) join() { s.users.Add(1) }

func (s *sharedSnapshot) leave() {
	if s.users.Add(-1) == 0 {
		s.Close()
	}
}

func (t *targetSlot) dropSnapshot() {
	if t.takeover != nil {
		t.takeover.leave()
		t.takeover, t.taken = nil, tiles{}
	}
	if t.expiry != nil {
		t.expiry.Stop()
		t.expiry = nil
	}
}

// prove remembers that a span was read and has a digest. The slot's stripe is held.
func (t *targetSlot) prove(d *Driver, sl slot.Slot, o *op) {
	t.follow(d, sl)
	t.proven.put(tile{span: key.Span{Lo: bytes.Clone(o.span.Lo), Hi: bytes.Clone(o.span.Hi)}, digest: o.digest})
}

// follow has the store tell what is written to the slot from now on. The slot's stripe is held.
func (t *targetSlot) follow(d *Driver, sl slot.Slot) {
	if t.writes == nil {
		t.writes = d.node.Store().Track(sl, d.cfg.TrackerBytes)
	}
}

// noteWrites makes stale what was written to since it was proven. The slot's stripe is held.
func (t *targetSlot) noteWrites() {
	if t.writes != nil {
		c := t.writes.Take()
		if mutant.On(mutant.ReadBackWritten) {
			return
		}
		t.proven.changed(c)
	}
}

// endProven ends the tracking of writes, and returns what is proven. The slot's stripe is held.
func (t *targetSlot) endProven(d *Driver) tiles {
	t.noteWrites()
	if t.writes != nil {
		d.node.Store().Untrack(t.writes)
		t.writes = nil
	}
	out := t.proven
	t.proven = tiles{}
	t.back.begin(nil)
	return out
}

// targetOf returns the state of a slot, made if there is none.
func (d *Driver) targetOf(sl slot.Slot) *targetSlot {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.targets[sl]
	if t == nil {
		t = &targetSlot{}
		d.targets[sl] = t
	}
	return t
}

// loadTarget takes an import up after a restart.
func (d *Driver) loadTarget(sl slot.Slot) error {
	t := d.targetOf(sl)
	raw, found, err := d.node.Store().Get(cursorKey(sl))
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("migration: slot %d is %s but its cursor is missing: the directory is damaged", sl, d.node.Record(sl).State)
	}
	t.cursor, err = migration.DecodeCursor(raw)
	d.setLive(sl, t, true)
	return err
}

// setLive says whether a slot is arriving. The slot's stripe is held, or nothing else runs yet.
func (d *Driver) setLive(sl slot.Slot, t *targetSlot, live bool) {
	t.live = live
	d.mu.Lock()
	defer d.mu.Unlock()
	if live {
		d.importing[sl] = d.env.Clock.Mono()
	} else {
		delete(d.importing, sl)
	}
}

// HandlePeer implements engine.Migrator.
func (d *Driver) HandlePeer(from engine.PeerInfo, payload []byte) ([]byte, store.Position, error) {
	m, err := migration.DecodeMessage(payload)
	if err != nil {
		return nil, 0, err
	}
	var reply migration.Reply
	var at store.Position
	switch m.Kind {
	case migration.MsgAsk:
		reply, at = d.answer(from, m)
	case migration.MsgConfirm:
		reply, err = d.confirmChunk(m)
	case migration.MsgBlock:
		reply, err = d.stageBlock(from.ID, m)
	case migration.MsgReturn:
		reply = d.handBack(from, m)
		at = d.node.Store().Last()
	default:
		reply, at, err = d.handle(from.ID, m)
	}
	if err != nil {
		return nil, 0, err
	}
	return reply.Encode(), at, nil
}

// handle carries out what the target's rules say of a message, in one batch under the slot's lock.
func (d *Driver) handle(from cluster.NodeID, m migration.Message) (migration.Reply, store.Position, error) {
	var ops []op
	if m.Kind == migration.MsgData {
		var err error
		if ops, err = decodeBody(m.Body, m.Slot); err != nil {
			return migration.Reply{}, 0, err
		}
	}
	t := d.targetOf(m.Slot)
	if d.fillsTable(ops) && d.wouldApply(from, m, t) {
		table, err := d.arrive(m.Slot, &ops[0])
		if err != nil {
			return migration.Reply{}, 0, err
		}
		if table != nil {
			defer table.Drop()
		}
	}
	var v migration.Verdict
	var at store.Position
	var failure error
	if m.Kind == migration.MsgStart {
		d.arrivals.starts.Lock()
		defer d.arrivals.starts.Unlock()
	}
	d.node.Exclusive(m.Slot, func(o *engine.Owned) {
		d.noteArrival(&m, t)
		t.heard = d.env.Clock.Mono()
		v = d.verdict(o, t, from, m)
		at, failure = d.carryOut(o, t, m, ops, &v)
	})
	if failure != nil {
		return migration.Reply{}, 0, failure
	}
	if v.Record != nil {
		d.replaced(m.Slot)
	}
	if v.Apply {
		d.arrivals.took(len(m.Body), at)
	}
	if v.Reply.Kind == migration.ReplyBusy {
		d.arrivals.count()
	}
	if v.TakeOver {
		d.env.Log.Info("slot taken over", "slot", m.Slot, "epoch", d.node.Record(m.Slot).Epoch, "job", m.Job.String())
		d.node.Store().WhenDurable(at, func() { d.announce(m.Slot, m.Epoch) })
	}
	if v.Reply.Kind == migration.ReplyServing || m.Kind == migration.MsgData && mutant.On(mutant.AckUndurable) || m.Kind == migration.MsgPrepare && mutant.On(mutant.PrepareUnsynced) {
		at = 0
	}
	return v.Reply, at, nil
}

// verdict is what the target's rules say of a message. The slot's stripe is held.
func (d *Driver) verdict(o *engine.Owned, t *targetSlot, from cluster.NodeID, m migration.Message) migration.Verdict {
	return migration.Target{Record: o.Record(), Cursor: t.cursor, Incarnation: d.node.Incarnation(), Busy: d.arrivals.refusal(&m)}.Handle(from, m)
}

// fillsTable reports whether a message has enough records, and nothing else, to make a table of.
func (d *Driver) fillsTable(ops []op) bool {
	return len(ops) == 1 && ops[0].kind == opPut && len(ops[0].records) >= d.cfg.IngestBytes && !mutant.On(mutant.TTLReset)
}

// wouldApply reports whether a message would be applied if it were handled at this moment. One that is refused, or repeated, or comes out of turn must
// not cost a table on the disk, least of all when the disk is why it is refused.
func (d *Driver) wouldApply(from cluster.NodeID, m migration.Message, t *targetSlot) (yes bool) {
	d.node.Exclusive(m.Slot, func(o *engine.Owned) { yes = d.verdict(o, t, from, m).Apply })
	return yes
}

// arrive makes a table of the records of a put for the verdict to ingest, before the slot's lock is taken, since it takes long; nil if they are
// not in order. If the verdict has changed when the table is made, it is dropped. If the node ends between the ingestion and the batch with the
// cursor, the message comes again, or what it covers is compared.
func (d *Driver) arrive(sl slot.Slot, put *op) (*store.Arrival, error) {
	d.mu.Lock()
	d.tables++
	name := fmt.Sprintf("slot-%d-base-%d", sl, d.tables)
	d.mu.Unlock()
	table, ok, err := d.node.Store().Arrive(name, put.records)
	if !ok || err != nil {
		return nil, err
	}
	put.table, put.pieces = table, cutTiles(put.records, d.digestLimits())
	return table, nil
}

// replaced tells the job that keeps a copy of a slot for a rollback, if there is one, that the slot is on its way back.
func (d *Driver) replaced(sl slot.Slot) {
	d.mu.Lock()
	s := d.sources[sl]
	d.mu.Unlock()
	if s != nil {
		s.post(migration.EvReplaced{})
	}
}

// differs compares a span of the slot with what an operation says of it. What was read already, while the base arrived or for a message that is
// repeated, is not read again as long as nothing was written there since. The slot's stripe is held.
func (d *Driver) differs(t *targetSlot, sl slot.Slot, o *op) (bool, error) {
	if o.kind == opDigest {
		t.noteWrites()
		if known, ok := t.proven.known(o.span); ok {
			return known != o.digest, nil
		}
	}
	differ, err := spanDigest(d.node.Store(), sl, o)
	if err == nil && !differ && o.kind == opDigest {
		t.prove(d, sl, o)
	}
	return differ, err
}

// carryOut does what a verdict says. The slot's stripe is held.
func (d *Driver) carryOut(o *engine.Owned, t *targetSlot, m migration.Message, ops []op, v *migration.Verdict) (store.Position, error) {
	st := d.node.Store()
	if v.Apply || v.Check {
		for i := range ops {
			if ops[i].kind == opTables {
				there, err := v.Apply, error(nil)
				if there {
					there, err = t.ingest(&ops[i])
				}
				if err != nil {
					return 0, err
				}
				if there {
					d.taken.Add(1)
				}
				v.Reply.Differ = !there
			}
			if !ops[i].compares() {
				continue
			}
			differ, err := d.differs(t, m.Slot, &ops[i])
			if err != nil {
				return 0, err
			}
			v.Reply.Differ = v.Reply.Differ || differ
		}
	}
	if !v.Wipe && !v.Apply && v.Cursor == nil && v.Record == nil {
		return o.LastWrite(), nil
	}
	b := st.NewBatch()
	if v.Apply && len(ops) > 0 && ops[0].kind == opCommands {
		b.Discard()
		b = st.NewIndexedBatch()
		if _, err := o.Import(b, ops[0].span, ops[0].exports); err != nil {
			b.Discard()
			return 0, err
		}
	}
	b.Apart(key.DataSpan(m.Slot))
	if v.Wipe {
		if err := wipe(b, st, m.Slot); err != nil {
			b.Discard()
			return 0, err
		}
	}
	if v.Apply {
		for i := range ops {
			if mutant.On(mutant.TTLReset) {
				ops[i].records = wholeSeconds(ops[i].records, d.env.Clock.WallMs())
			}
			if err := ops[i].apply(b); err != nil {
				b.Discard()
				return 0, err
			}
		}
	}
	if v.Cursor != nil {
		b.Set(cursorKey(m.Slot), v.Cursor.Encode())
		t.cursor = *v.Cursor
	}
	if v.Record == nil {
		at := o.Write(b)
		t.noteWrites()
		if v.Apply {
			d.noteBase(t, &m, ops)
		}
		return at, nil
	}
	t.dropSnapshot()
	t.dropStaging()
	d.setLive(m.Slot, t, v.Record.State == cluster.Importing || v.Record.State == cluster.Prepared)
	t.job, t.attempt = v.Record.Job, v.Record.Attempt
	if v.TakeOver && mutant.On(mutant.ForgetfulTarget) {
		b.Discard()
		o.Remember(*v.Record)
		o.Unpause()
		return 0, nil
	}
	at := o.Commit(b, *v.Record)
	proven := tiles{}
	if !t.live {
		proven = t.endProven(d)
	}
	if v.TakeOver {
		d.keepSnapshot(t, m.Slot)
		t.taken = proven
	}
	if v.TakeOver || v.Drop {
		o.Unpause()
	}
	return at, nil
}

// wipe deletes everything of a slot, if there is anything: each range delete in a memory table makes the reads slower that come after it, of all slots, and
// a target of many slots mostly has nothing of them.
func wipe(b *store.Batch, st *store.Store, sl slot.Slot) error {
	it, err := st.NewIter(key.SlotSpan(sl))
	if err != nil {
		return err
	}
	if it.First() {
		b.DeleteRange(key.SlotSpan(sl))
	}
	return it.Close()
}

// wholeSeconds gives each record that expires the whole seconds that are left of its time, from now on by this node's clock, as
// a protocol does that carries remaining times: what the mutant ttl-reset applies.
func wholeSeconds(records []byte, nowMs int64) []byte {
	var out []byte
	for rest := records; len(rest) > 0; {
		k, v, next, err := store.NextRecord(rest)
		if err != nil {
			panic(err) // checked by decodeBody
		}
		const expires, expiry = 1, 2 // offsets in the encoding of a record: of the flag, and of the time
		if _, kind, _, _ := key.Split(k); kind == key.Record && v[expires]&1 != 0 {
			v = bytes.Clone(v)
			left := int64(binary.BigEndian.Uint64(v[expiry:])) - nowMs
			binary.BigEndian.PutUint64(v[expiry:], uint64(nowMs+left/1000*1000))
		}
		out = store.AppendRecord(out, k, v)
		rest = next
	}
	return out
}

// keepSnapshot takes the takeover snapshot. The slot's stripe is held: nothing has been written since the data arrived.
func (d *Driver) keepSnapshot(t *targetSlot, sl slot.Slot) {
	snap := newSharedSnapshot(d.node.Store().NewSnapshot())
	t.takeover = snap
	t.expiry = d.env.Clock.AfterFunc(d.cfg.SnapshotKept, func() {
		d.node.Exclusive(sl, func(*engine.Owned) {
			if t.takeover == snap {
				t.dropSnapshot()
			}
		})
	})
}

// confirmChunk compares a span of the source's copy with the takeover snapshot; an empty body says that the source is done.
func (d *Driver) confirmChunk(m migration.Message) (migration.Reply, error) {
	reply := migration.Reply{Kind: migration.ReplyConfirm, Attempt: m.Attempt, Incarnation: d.node.Incarnation()}
	ops, err := decodeBody(m.Body, m.Slot)
	if err != nil {
		return reply, err
	}
	if len(ops) > 1 || len(ops) == 1 && !ops[0].compares() {
		return reply, fmt.Errorf("%w: confirm takes one digest", migration.ErrMessage)
	}
	t := d.targetOf(m.Slot)
	var at *sharedSnapshot
	var known store.Digest
	proven := false
	d.node.Exclusive(m.Slot, func(*engine.Owned) {
		switch {
		case t.takeover == nil || t.job != m.Job || t.attempt != m.Attempt:
			reply.Gone = true
		case len(ops) == 0:
			t.dropSnapshot()
		default:
			if ops[0].kind == opDigest {
				known, proven = t.taken.known(ops[0].span)
			}
			at = t.takeover
			at.join()
		}
	})
	if at != nil { // clients of the slot do not wait for the scan
		if proven {
			reply.Differ = known != ops[0].digest
		} else {
			reply.Differ, err = spanDigest(at, m.Slot, &ops[0])
		}
		at.leave()
	}
	return reply, err
}

// answer tells a target what became of an attempt. The record that it is read from may not be durable yet: the answer waits.
// Record and phase are read in one step, under the slot's lock, as they are written by the decision: a serving record from
// before it and a phase from after it would together say that the attempt is dead, and the target would delete the only copy.
func (d *Driver) answer(from engine.PeerInfo, m migration.Message) (migration.Reply, store.Position) {
	if m.Job.Node != d.node.ID() || m.Job.Incarnation != d.node.Incarnation() {
		return migration.Reply{Kind: migration.ReplyRefused, Attempt: m.Attempt, Text: "the job was made by another node or another directory of this one"}, 0
	}
	var r cluster.Record
	live := false
	d.node.Exclusive(m.Slot, func(o *engine.Owned) {
		r = o.Record()
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, j := range d.jobs {
			if p := j.slots[m.Slot]; p != nil && j.header.Counter == m.Job.Counter {
				live = p.phase == migration.PhaseActive || p.phase == migration.PhasePending
			}
		}
	})
	reply := migration.Answer(r, live, from.ID, m)
	at := d.node.Store().Last()
	if mutant.On(mutant.UndurableAnswer) {
		at = 0
	}
	return reply, at
}

// armAsk looks, from time to time, for imports whose source has fallen silent, and asks it.
func (d *Driver) armAsk() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if d.askAgain == nil {
		d.askAgain = func() {
			d.askSilent()
			d.armAsk()
		}
	}
	d.ask = d.env.Clock.AfterFunc(d.cfg.AskAfter/2, d.askAgain)
}

func (d *Driver) askSilent() {
	d.mu.Lock()
	slots := sortedSlots(d.importing)
	d.mu.Unlock()
	for _, sl := range slots {
		t := d.targetOf(sl)
		var r cluster.Record
		due := false
		d.node.Exclusive(sl, func(o *engine.Owned) {
			r = o.Record()
			due = t.live && d.env.Clock.Mono()-t.heard >= d.cfg.AskAfter
		})
		if !due {
			continue
		}
		m := migration.Message{Kind: migration.MsgAsk, Slot: sl, Job: r.Job, Attempt: r.Attempt, Epoch: r.Epoch}
		d.call(r.Job.Node, env.Control, &m, func(reply migration.Reply, err error) {
			if err == nil && !d.isClosed() {
				d.asked(m, reply)
			}
		})
	}
}

// asked acts on the source's answer as on the message that it stands for.
func (d *Driver) asked(m migration.Message, r migration.Reply) {
	switch {
	case r.Kind == migration.ReplyDecided:
		m.Kind, m.Epoch = migration.MsgCommit, r.Epoch
	case r.Kind == migration.ReplyDead,
		r.Kind == migration.ReplyRefused && d.node.Record(m.Slot).State == cluster.Importing:
		// A source that was wiped can never decide an attempt that was not prepared.
		m.Kind = migration.MsgAbort
	default:
		return
	}
	if _, _, err := d.handle(m.Job.Node, m); err != nil {
		d.env.Log.Error("an answer of the source could not be carried out", "slot", m.Slot, "error", err)
	}
}
