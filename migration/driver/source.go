package driver

import (
	"fmt"
	"slices"
	"sync"
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

// sourceSlot is a slot that this node is giving away: its machine, its round, its timers.
type sourceSlot struct {
	d    *Driver
	job  *job
	slot slot.Slot
	id   cluster.JobID

	// letGo says that the slot's machine was told that it is not held, or not held any more. Driver.mu guards it.
	letGo bool
	// resting says that the slot was told to rest, and was not told to go on since. Driver.mu guards it.
	resting bool

	mu      sync.Mutex
	queue   []queued
	running bool
	closed  bool
	worker  func() // work, as workers take it
	hurries bool   // writers wait: steps do not take turns with those of other slots
	view    sourceView

	// What follows belongs to the worker that steps the machine.
	machine *migration.Source
	stream  stream
	link    link
	timing  migration.Timing
	watch   stopwatch
	resent  resent
	size    uint64 // of the slot in tables, when its copy was begun
	timers  [2]env.Timer
	keeping env.Timer     // ends the time for which the copy is kept
	paused  time.Duration // when the pause began
	pausing bool
	// leg is the part of the pause that began at legBegan, and legs those that are over.
	leg      leg
	legBegan time.Duration
	legs     legTimes
	confirm  *confirm
	held     holding
	before   slotAccount // what earlier lives of the process did, and what does not come from the stream
	guessed  bool        // the slot is taken for small, and nobody has looked
}

// queued is an event for the machine, or a step of the stream's own.
type queued struct {
	event migration.Event
	step  func()
	// dropped is submitted if the slot's work ends before the step; it may be nil.
	dropped func()
}

// sourceView is what others may see of a source slot.
type sourceView struct {
	step    migration.Step
	round   migration.RoundKind
	lag     migration.EvLag
	account slotAccount
	reason  string
	waiting string
	// fraction is which part of its way is behind the slot.
	fraction float64
	held     bool // it has been at StepHolding in this life of the process
	memory   Held
}

// newSourceSlot makes the machine of a slot. Driver.mu is held.
func newSourceSlot(d *Driver, j *job, sl slot.Slot) *sourceSlot {
	s := &sourceSlot{d: d, job: j, slot: sl, id: d.jobID(j.header.Counter), running: true, letGo: !within(j.header.Held, sl), resting: j.header.Paused}
	s.stream = stream{d: d, slot: sl, memory: &j.memory, outside: j.outside(), content: j.header.Payload == engine.PayloadCommand, stale: j.header.RollbackOf != nil, later: func(fn func()) { s.enqueue(queued{step: fn}) }}
	s.worker = s.work
	return s
}

// begin posts the event that the slot begins with: the first, or what a restart left.
func (s *sourceSlot) begin() {
	d := s.d
	d.mu.Lock()
	p, stopped, orders, cfg, timing := *s.job.slots[s.slot], s.job.header.Error, s.orders(), d.cfg.Source, s.job.timing()
	d.mu.Unlock()
	r := d.node.Record(s.slot)
	released := r.State == cluster.Released && r.Job == s.id
	epoch := r.Epoch
	if released {
		epoch--
	}
	s.before, s.guessed = p.slotAccount, p.guessed
	cfg.SetTiming(timing)
	s.timing = timing
	s.machine = migration.NewSource(cfg, s.slot, s.id, epoch, p.attempt, d.env.Clock.Mono())
	s.machine.Step(d.env.Clock.Mono(), migration.EvOrders{Orders: orders}) // it has no effects before the slot begins
	switch {
	case released && !p.moved():
		// The batch of the decision holds both; one without the other is a damaged directory. Trust the record.
		p.phase = migration.PhaseDecided
	case p.moved() && !released:
		p.phase = migration.PhaseDone // the slot came back since, which ends older work on it
	}
	switch {
	case released && p.phase == migration.PhaseDecided:
		d.node.Exclusive(s.slot, func(o *engine.Owned) { o.Seal() })
		s.first(migration.EvRecover{Phase: p.phase})
	case !p.stored && r.State != cluster.Serving:
		s.first(migration.EvCancel{Why: "the slot is no longer served here"})
	case !p.stored:
		s.first(migration.EvBegin{})
	default:
		s.first(migration.EvRecover{Phase: p.phase})
	}
	if stopped != "" && !p.moved() {
		s.post(migration.EvCancel{Why: stopped}) // the job was stopped before a crash: that still holds
	}
}

// first queues the event that the slot begins with, before those that came while the machine was made, and lets workers take it.
func (s *sourceSlot) first(ev migration.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.queue = append([]queued{{event: ev}}, s.queue...)
	s.d.env.Workers.Submit(s.worker)
}

// post queues an event and makes sure that a worker takes it.
func (s *sourceSlot) post(ev migration.Event) { s.enqueue(queued{event: ev}) }

// postNow is post for callers that hold no lock and need not return soon: while writers wait it steps the machine before it returns.
func (s *sourceSlot) postNow(ev migration.Event) {
	s.mu.Lock()
	if s.closed || !s.hurries || s.running {
		s.mu.Unlock()
		s.post(ev)
		return
	}
	s.queue, s.running = append(s.queue, queued{event: ev}), true
	s.mu.Unlock()
	s.work()
}

// enqueue reports whether the slot's work goes on, and with it the step.
func (s *sourceSlot) enqueue(q queued) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.queue = append(s.queue, q)
	if !s.running {
		s.running = true
		s.d.env.Workers.Submit(s.worker)
	}
	return true
}

// work steps the machine with one event and carries out the effects, then makes room for others, unless writers wait.
func (s *sourceSlot) work() {
	for s.workOnce() {
	}
}

// workOnce reports whether the next event is to be taken at once.
func (s *sourceSlot) workOnce() (more bool) {
	s.mu.Lock()
	if s.closed || len(s.queue) == 0 {
		s.running = false
		s.mu.Unlock()
		return false
	}
	q := s.queue[0]
	s.queue = slices.Delete(s.queue, 0, 1) // not s.queue[1:], which would take new memory for each event; the queue is short
	s.mu.Unlock()

	if q.step != nil {
		q.step()
	} else {
		switch e := q.event.(type) {
		case migration.EvConfirmed:
			s.before.outcome = e.Outcome
		case migration.EvData:
			s.held.reserved = 0 // the machine counts it from now on
		}
		now := s.d.env.Clock.Mono()
		effects := s.machine.Step(now, q.event)
		s.watch.at(stepName(s.machine.Now()), now, &s.before.times)
		s.entered(false)
		for _, ef := range effects {
			s.execute(ef)
		}
		s.entered(true)
	}
	s.settleMemory()

	before := s.view.step // which nobody else changes
	if step, _ := s.machine.Now(); (before == migration.StepKeeping) != (step == migration.StepKeeping) {
		s.keeps(step == migration.StepKeeping)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.step, s.view.round = s.machine.Now()
	s.view.reason, s.view.waiting = s.machine.Reason(), s.waiting()
	s.view.account = s.account()
	s.view.fraction = s.fraction(s.view.step, s.view.round)
	s.view.memory = s.memory()
	s.view.held = s.view.held || s.view.step == migration.StepHolding
	if lag, ok := q.event.(migration.EvLag); ok {
		s.view.lag = lag
	}
	if now := s.view.step; now != before && (now == migration.StepHolding || now == migration.StepKeeping) {
		s.d.env.Workers.Submit(s.d.pumpJobs) // it makes room for another slot
	}
	s.running = len(s.queue) > 0 && !s.closed
	if s.running && s.hurries {
		return true
	}
	if s.running {
		s.d.env.Workers.Submit(s.worker)
	}
	return false
}

// keeps says whether nothing but the slot's copy is kept from now on, before others see it.
func (s *sourceSlot) keeps(now bool) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	switch l := &s.job.lists; {
	case s.d.sources[s.slot] != s: // it has ended
	case now:
		l.keeps(s)
	default:
		l.cleans(s)
	}
}

// hurry says whether writers wait for the slot.
func (s *sourceSlot) hurry(now bool) {
	s.mu.Lock()
	s.hurries = now
	s.mu.Unlock()
}

// waiting says what the slot waits for beside the work itself, "" if it does not.
func (s *sourceSlot) waiting() string {
	if t := s.stream.tables; t != nil && t.refused != "" {
		return "the target is busy: " + t.refused
	}
	if w := s.machine.Waiting(); w != "" || s.held.waits == 0 || s.held.waits != s.stream.opening {
		return w
	}
	return "what the job may hold in memory is in use"
}

// entered tells Config.OnStep when the machine's last event has led to another step.
func (s *sourceSlot) entered(carriedOut bool) {
	if s.d.cfg.OnStep == nil {
		return
	}
	step, round := s.machine.Now()
	if name := stepName(step, round); name != stepName(s.view.step, s.view.round) {
		s.d.cfg.OnStep(s.slot, name, carriedOut)
	}
}

func (s *sourceSlot) seen() sourceView {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

// close ends the slot's work. No step of it is under way any more.
func (s *sourceSlot) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queue {
		if q.dropped != nil {
			s.d.env.Workers.Submit(q.dropped)
		}
	}
	s.closed, s.queue = true, nil
	s.stream.stop()
	s.stream.tiles = tiles{}
}

// execute carries out one effect.
func (s *sourceSlot) execute(ef migration.Effect) {
	switch e := ef.(type) {
	case migration.EfPersist:
		s.persist(e)
	case migration.EfSend:
		s.send(e.Message)
	case migration.EfOpenRound:
		s.openRound(e.Kind)
	case migration.EfRead:
		s.readPaced()
	case migration.EfSent:
		s.stream.sent(e.Seq)
	case migration.EfFree:
		s.stream.free(e.Seq)
	case migration.EfRedo:
		if span, surprise := s.stream.redo(e.Seq); surprise {
			s.d.env.Log.Error("the copies differ before the cutover: a round missed a change; what differs is sent again", "slot", s.slot,
				"from", fmt.Sprintf("%q", span.Lo), "to", fmt.Sprintf("%q", span.Hi))
		}
	case migration.EfGiveBack:
		s.stream.giveBack()
	case migration.EfMeasure:
		s.measure()
	case migration.EfSlow:
		s.slow(e.Level)
	case migration.EfTimer:
		s.setTimer(e)
	case migration.EfStop:
		s.stream.stop()
	default:
		s.executeCutover(ef)
	}
}

// executeCutover carries out the effects that change who serves.
func (s *sourceSlot) executeCutover(ef migration.Effect) {
	switch e := ef.(type) {
	case migration.EfPause:
		s.pause()
	case migration.EfUnpause:
		s.d.node.Exclusive(s.slot, func(o *engine.Owned) { o.Unpause() })
		s.pauseEnded(false)
	case migration.EfDecide:
		s.decide()
	case migration.EfHandedOver:
		s.d.node.Exclusive(s.slot, func(o *engine.Owned) { o.Unpause() })
		s.pauseEnded(true)
		if step, _ := s.machine.Now(); step != migration.StepCommitting { // there the answer that is still to come steps the machine where it arrives, too
			s.hurry(false)
		}
	case migration.EfConfirm:
		s.beginConfirm()
	case migration.EfKeep:
		s.keep()
	case migration.EfNotReturned:
		s.notReturned(e.Why)
	case migration.EfClean:
		s.clean()
	case migration.EfReclaim:
		s.d.node.Exclusive(s.slot, func(o *engine.Owned) {
			o.Commit(s.d.node.Store().NewBatch(), cluster.Record{State: cluster.Serving, Epoch: s.machine.Epoch()})
			o.Unpause()
		})
	case migration.EfEnded:
		s.ended()
	}
}

func (s *sourceSlot) persist(e migration.EfPersist) {
	d := s.d
	b := d.node.Store().NewBatch()
	d.mu.Lock()
	p := s.job.slots[s.slot]
	p.phase, p.attempt, p.stored, p.slotAccount = e.Phase, e.Attempt, true, s.account()
	if e.Phase == migration.PhaseKeeping && p.keptUntilMs == 0 {
		p.keptUntilMs = d.env.Clock.WallMs() + s.job.header.KeepMs
	}
	b.Set(progressKey(s.job.header.Counter, s.slot), p.encode())
	if s.job.notePhase(s.slot, e, s.machine.Reason()) {
		s.job.storeHeader(b)
	}
	// Committed before the lock is released: whoever sees the phase can wait for it to be durable.
	pos := d.node.Store().Commit(b)
	d.mu.Unlock()
	d.node.Store().WhenDurable(pos, func() { s.post(migration.EvPersisted{Attempt: e.Attempt}) })
}

func (s *sourceSlot) send(m migration.Message) {
	if m.Kind == migration.MsgCommit && !s.frozen() {
		// The slot has come back by a later job, so its target has served it: the commit did arrive, and the target, should it have
		// lost its directory since, would refuse it for ever.
		if k := s.stream.outside; k != nil {
			k.forget(s.slot)
		}
		s.post(migration.EvReply{Message: m.Kind, Attempt: m.Attempt, Reply: migration.Reply{Kind: migration.ReplyCommitted, Attempt: m.Attempt}})
		return
	}
	lane := env.Control
	if m.Kind == migration.MsgPrepare {
		s.legOver(legFinal)
	} else if m.Kind == migration.MsgCommit {
		s.legOver(legDecide)
	}
	if m.Kind == migration.MsgData {
		if _, round := s.machine.Now(); round != migration.RoundFinal {
			lane = env.Bulk
		}
		m.Quiet = s.stream.quiet()
		if s.resent.sent(uint64(m.Attempt), m.Seq) {
			s.before.repeatedBytes += uint64(len(m.Body))
		}
		if mutant.On(mutant.RebuiltResend) {
			m.Body = s.stream.rebuilt(m.Seq, m.Body)
		}
	}
	if m.Kind == migration.MsgReturn {
		m.Body = []byte(s.job.header.Payload) // the way back compares what this one has compared
	}
	kind, attempt, seq := m.Kind, m.Attempt, m.Seq
	over := s.calling(m.Body)
	s.deliver(lane, &m, func(r migration.Reply, err error) {
		over()
		if err != nil {
			s.post(migration.EvSendFailed{Message: kind, Attempt: attempt, Seq: seq, Err: err.Error()})
			return
		}
		s.postNow(migration.EvReply{Message: kind, Attempt: attempt, Seq: seq, Reply: r})
	})
}

// measure says how much has changed since the round that ends, and how long it would take to send.
func (s *sourceSlot) measure() {
	s.link.end(s.d.env.Clock.Mono(), s.account().bytes)
	s.d.mu.Lock()
	if s.link.free > 0 {
		s.d.measured = s.link.free
	}
	s.d.mu.Unlock()
	keys, spans, lagBytes := s.stream.lag()
	whole, err := s.stream.wholeBytes(s.link.within(s.timing.PauseTarget))
	if err != nil {
		s.readFailed(err)
		return
	}
	lagBytes += whole
	s.post(migration.EvLag{Keys: keys, Spans: spans, LagBytes: lagBytes, Whole: whole, Final: s.link.takes(lagBytes)})
}

func (s *sourceSlot) openRound(k migration.RoundKind) {
	s.link.begin(s.d.env.Clock.Mono(), s.account().bytes)
	if k == migration.RoundBase || k == migration.RoundResume {
		s.estimate()
	}
	opened := func() { s.post(migration.EvRoundOpen{}) }
	s.stream.open(k, opened)
	if k == migration.RoundBase {
		s.beginTables()
	}
}

// readPiece reads the next piece of the round, or of the comparison after takeover, and returns how many bytes it took.
func (s *sourceSlot) readPiece() int {
	if s.confirm != nil {
		return s.confirm.piece()
	}
	if t := s.stream.tables; t != nil {
		n, err := t.next()
		s.sized(t.sent)
		s.held.reserved = 0 // it is in blocks on their way
		if err != nil {
			s.readFailed(err)
		}
		return n
	}
	if s.link.waited > 0 {
		s.stream.large = 0 // a limit makes the round wait: it is kept by small pieces
	}
	records, bytes := s.stream.records, s.stream.bytes
	body, last, err := s.stream.read()
	s.sized(s.stream.bytes)
	if s.stream.kind == migration.RoundResume {
		s.before.resumedRecords += s.stream.records - records
		s.before.resumedBytes += s.stream.bytes - bytes
	}
	if err != nil {
		s.readFailed(err)
		return 0
	}
	await := s.stream.last.digest || s.stream.outside != nil // which is told key by key, and not in order with other messages
	s.post(migration.EvData{Body: body, Asks: s.stream.cost, Last: last, Await: await})
	return s.stream.cost
}

// readFailed gives the slot up: it cannot be read.
func (s *sourceSlot) readFailed(err error) {
	s.d.env.Log.Error("reading a slot for its move failed", "slot", s.slot, "error", err)
	s.post(migration.EvCancel{Why: "reading the slot failed: " + err.Error()})
}

func (s *sourceSlot) setTimer(e migration.EfTimer) {
	if t := s.timers[e.Timer]; t != nil {
		t.Stop()
	}
	s.timers[e.Timer] = s.d.env.Clock.AfterFunc(e.After, func() {
		s.post(migration.EvTimer{Timer: e.Timer, Generation: e.Generation})
	})
}

// pause parks writes. Those that were admitted have finished when the lock is held.
func (s *sourceSlot) pause() {
	s.paused, s.pausing = s.d.env.Clock.Mono(), true
	s.leg, s.legBegan, s.legs = legFinal, s.paused, legTimes{}
	s.hurry(true)
	park := func() { s.d.node.Exclusive(s.slot, func(o *engine.Owned) { o.Pause() }) }
	if mutant.On(mutant.NoDrain) {
		s.d.env.Workers.Submit(park)
		return
	}
	park()
}

// pauseEnded accounts for a pause that led to the handover.
func (s *sourceSlot) pauseEnded(handedOver bool) {
	if !s.pausing {
		return
	}
	s.pausing = false
	if !handedOver {
		s.hurry(false)
		s.d.mu.Lock()
		s.job.givenUp++
		s.d.pauses.givenUp++
		s.d.mu.Unlock()
		return
	}
	s.legs[legCommit] = s.d.env.Clock.Mono() - s.legBegan
	took := s.d.env.Clock.Mono() - s.paused
	s.before.pauseUs = uint64(max(took.Microseconds(), 1))
	s.d.mu.Lock()
	s.d.pauses.add(took, &s.legs)
	s.job.legs.add(&s.legs)
	s.job.legsOf++
	s.d.mu.Unlock()
}

// account is what the move of the slot has done, earlier lives of the process included.
func (s *sourceSlot) account() slotAccount {
	a := s.before
	a.records += s.stream.records
	a.bytes += s.stream.bytes
	return a
}

// frozen reports whether the node's copy of the slot is still the one that this job released.
func (s *sourceSlot) frozen() bool {
	r := s.d.node.Record(s.slot)
	return r.State == cluster.Released && r.Job == s.id && !r.DataGone
}

// decide seals the slot and hands the decision to the store. Under one lock: the record is still serving under the job's
// epoch, and no command runs between that look and the seal.
func (s *sourceSlot) decide() {
	s.legOver(legPrepare)
	d := s.d
	var at store.Position
	overruled := ""
	d.node.Exclusive(s.slot, func(o *engine.Owned) {
		r := o.Record()
		if r.State != cluster.Serving || r.Epoch != s.machine.Epoch() {
			overruled = "the slot is no longer served here under the epoch of the job"
			return
		}
		if !o.Paused() && !mutant.Built {
			overruled = "the slot is not paused: a bug"
			return
		}
		o.Seal()
		next := cluster.Record{State: cluster.Released, Epoch: r.Epoch + 1, Job: s.id, Attempt: s.machine.Attempt(), Peer: s.job.header.Target}
		if mutant.On(mutant.ForgetfulSource) {
			o.Remember(next)
			return
		}
		b := d.node.Store().NewBatch()
		d.mu.Lock()
		p := s.job.slots[s.slot]
		p.phase, p.attempt, p.stored, p.slotAccount = migration.PhaseDecided, s.machine.Attempt(), true, s.account()
		b.Set(progressKey(s.job.header.Counter, s.slot), p.encode())
		d.mu.Unlock()
		at = o.Commit(b, next)
	})
	if overruled != "" {
		s.post(migration.EvOverruled{Why: overruled})
		return
	}
	d.node.Store().WhenDurable(at, func() { s.postNow(migration.EvDecided{}) })
}

// keep waits for the end of the time for which the copy is kept. A wall clock that was set back does not make it longer than the
// whole time from now on.
func (s *sourceSlot) keep() {
	if !s.frozen() {
		s.post(migration.EvReplaced{})
		return
	}
	d := s.d
	d.mu.Lock()
	left := min(s.job.slots[s.slot].keptUntilMs-d.env.Clock.WallMs(), s.job.header.KeepMs)
	d.mu.Unlock()
	s.keeping = d.env.Clock.AfterFunc(time.Duration(max(left, 0))*time.Millisecond, func() { s.post(migration.EvKeepOver{}) })
}

// notReturned stores why the slot is not handed back: what the machine knows ends with the slot, and the job outlives it.
func (s *sourceSlot) notReturned(why string) {
	s.d.mu.Lock()
	if s.job.header.NotReturned == "" {
		s.job.header.NotReturned = fmt.Sprintf("slot %d: %s", s.slot, why)
		s.job.note(s.job.header.NotReturned)
	}
	s.d.mu.Unlock()
	s.job.persist(nil)
}

// clean deletes the copy, in one batch with the check that the record is still released by this job.
func (s *sourceSlot) clean() {
	d := s.d
	var at store.Position
	d.node.Exclusive(s.slot, func(o *engine.Owned) {
		r := o.Record()
		mine := r.State == cluster.Released && r.Job == s.id && !r.DataGone
		if !mine && !mutant.On(mutant.CleanAfterReturn) {
			return
		}
		b := d.node.Store().NewBatch()
		b.DeleteRange(key.SlotSpan(s.slot))
		if !mine {
			at = o.Write(b)
			return
		}
		r.DataGone = true
		at = o.Commit(b, r)
	})
	d.node.Store().WhenDurable(at, func() { s.post(migration.EvCleaned{}) })
}

// ended takes the slot out of the driver and lets its job go on; a slot that failed takes those not yet decided with it.
func (s *sourceSlot) ended() {
	d := s.d
	step, _ := s.machine.Now()
	s.stream.stop()
	s.stream.tiles = tiles{}
	if s.keeping != nil {
		s.keeping.Stop()
	}
	d.mu.Lock()
	d.dropSource(s)
	d.mu.Unlock()
	if step == migration.StepFailed {
		s.job.stop(s.machine.Reason())
		return
	}
	d.env.Workers.Submit(d.pumpJobs)
}
