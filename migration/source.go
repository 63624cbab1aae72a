package migration

import (
	"errors"
	"fmt"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// Config bounds what a source does. Zero fields take the defaults.
type Config struct {
	// WindowBytes is how much may be on its way to the target unanswered, per slot; to a target that is busy it becomes less. A digest counts for what the
	// target reads to compare it. Default 8 MiB.
	WindowBytes int
	// PauseTarget is how long the pause may be estimated to take for what there is to send in it; while it would take longer, no pause begins,
	// unless 64 KiB are left at most: so little is a matter of the round trip, and to wait does not make it less. Default 50 ms.
	PauseTarget time.Duration
	// PauseDeadline is how long writers may be paused before the source gives the pause up and goes on copying. Default
	// 1 s.
	PauseDeadline time.Duration
	// RetryMin and RetryMax bound the wait before an unanswered message is repeated; it doubles. Defaults 20 ms and 1 s.
	RetryMin, RetryMax time.Duration
	// GiveUpAfter is how long the target may be silent before the source gives up a slot that is not decided. Default 60 s.
	GiveUpAfter time.Duration
	// LagBytes and LagKeys are what may be left for the final round. Defaults 256 KiB and 2,000: at 100 MB/s and some µs a
	// key, well under 10 ms.
	LagBytes int64
	LagKeys  int
	// Rounds is how many rounds of changes may pass before the slot counts as written faster than it can be sent. Default 12.
	Rounds int
	// ConvergeWithin is for how long a slot may be that before the job fails as "cannot converge". Default 60 s.
	ConvergeWithin time.Duration
	// Pauses is how many pauses may be given up before the job fails as "cannot converge". Default 20.
	Pauses int
	// HoldEvery is how often a slot that is held before its cutover looks for changes to send. Default 1 s.
	HoldEvery time.Duration
	// AbortTries is how often the target is told of a failure before it is left to ask. Default 5.
	AbortTries int
}

// Validate names the first field that makes no sense and fills in defaults.
func (c *Config) Validate() error {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defDur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.WindowBytes, 8<<20)
	def(&c.LagKeys, 2000)
	def(&c.Rounds, 12)
	def(&c.Pauses, 20)
	def(&c.AbortTries, 5)
	if c.LagBytes == 0 {
		c.LagBytes = 256 << 10
	}
	defDur(&c.PauseTarget, 50*time.Millisecond)
	defDur(&c.PauseDeadline, time.Second)
	defDur(&c.ConvergeWithin, time.Minute)
	defDur(&c.RetryMin, 20*time.Millisecond)
	defDur(&c.RetryMax, time.Second)
	defDur(&c.GiveUpAfter, time.Minute)
	defDur(&c.HoldEvery, time.Second)
	if c.WindowBytes < 0 || c.RetryMin < 0 || c.RetryMax < c.RetryMin || c.PauseTarget < 0 || c.PauseDeadline < 0 || c.ConvergeWithin < 0 || c.HoldEvery < 0 || c.LagBytes < 0 {
		return errors.New("migration: a limit is negative, or RetryMax is below RetryMin")
	}
	return nil
}

// Timing is the part of a Config that can be changed while a slot is on its way.
type Timing struct{ PauseTarget, PauseDeadline, ConvergeWithin time.Duration }

// Timing is the part of the configuration that can be changed.
func (c *Config) Timing() Timing { return Timing{c.PauseTarget, c.PauseDeadline, c.ConvergeWithin} }

// SetTiming changes it.
func (c *Config) SetTiming(t Timing) {
	c.PauseTarget, c.PauseDeadline, c.ConvergeWithin = t.PauseTarget, t.PauseDeadline, t.ConvergeWithin
}

// afterStart says what an attempt was begun for.
type afterStart uint8

const (
	thenCopy  afterStart = iota // go on with rounds
	thenPause                   // pause as soon as the target has opened the attempt
)

// sent is a data message that has not been answered.
type sent struct {
	seq   uint64
	body  []byte
	bytes int  // that it counts for in the window: of its body, or what the target has to read for it if that is more
	acked bool // answered out of order; leaves the window when those before it have been answered
	// out says that it has been sent since the window was last begun anew: an answer or a failure is still to come.
	out   bool
	await bool // as of EvData
}

// Source is the machine of one slot at its source. It is stepped by one caller at a time. Its fields are volatile: what is
// durable is the attempt, the phase (EfPersist) and the ownership record.
type Source struct {
	cfg    Config
	slot   slot.Slot
	job    cluster.JobID
	epoch  cluster.Epoch // under which the source serves
	step   Step
	reason string // why the slot failed or its last trouble
	orders Orders

	attempt   cluster.Attempt
	persisted bool // the attempt's number is durable
	then      afterStart
	returned  bool // the target hands the slot back, or has refused to
	keepOver  bool // the time for which the copy is kept is over
	tracking  bool // a tracker has run without a gap since a base or resume round
	target    cluster.Incarnation

	round     RoundKind
	rounds    int  // of changes since the copy was last verified
	pauses    int  // given up
	behind    bool // the slot is written faster than it can be sent, since behindAt
	behindAt  time.Duration
	slowness  int  // the level of the last EfSlow
	opened    bool // the round can be read
	reading   bool
	putBack   bool // a span has come back since the read that is under way was asked for: its Last is out of date
	exhausted bool
	verified  bool
	differed  bool // the round's walk found a difference

	seq         uint64 // of the last message of the attempt
	hash        cluster.RunningHash
	window      []sent
	windowBytes int
	windowHeld  int // what the bodies of those messages have room for
	prepareSent bool
	// room is how much of the window may be on its way: halved when the target says that it is busy, and more again with every answer.
	room      int
	backedOff bool          // it was halved, and TimerRetry ends the time in which nothing is sent
	refused   string        // what for the target had no room last, "" when that is a while ago
	refusedAt time.Duration // when it said so

	heard       time.Duration // when the target last answered
	backoff     time.Duration
	retryArmed  bool
	abortTries  int
	generations [timerKinds]uint32

	out []Effect
}

// NewSource makes the machine of a slot that has used attempts up to lastAttempt. cfg has been validated.
func NewSource(cfg Config, sl slot.Slot, job cluster.JobID, epoch cluster.Epoch, lastAttempt cluster.Attempt, now time.Duration) *Source {
	return &Source{cfg: cfg, slot: sl, job: job, epoch: epoch, attempt: lastAttempt, heard: now, room: cfg.WindowBytes}
}

// Now tells where the machine stands.
func (s *Source) Now() (Step, RoundKind) { return s.step, s.round }

// Attempt is the current attempt.
func (s *Source) Attempt() cluster.Attempt { return s.attempt }

// Epoch is the epoch under which the source serves the slot, or did until its decision.
func (s *Source) Epoch() cluster.Epoch { return s.epoch }

// Reason is why the slot failed, or the last trouble it had.
func (s *Source) Reason() string { return s.reason }

// Waiting says what the slot waits for beside the work itself, or "".
func (s *Source) Waiting() string {
	if s.refused != "" && (s.step == StepStarting || s.step == StepCopying) {
		return "the target is busy: " + s.refused
	}
	switch s.step {
	case StepHolding:
		return "everything is copied and verified; the slot waits to be told to cut over"
	case StepSuspended:
		return "the job was paused by an operator and waits to be resumed"
	case StepKeeping:
		if s.orders.Return && !s.returned {
			return "the target is asked to hand the slot back"
		}
		return "the copy is kept for a rollback"
	case StepCopying:
		if s.slowness > 0 {
			return "the slot is written faster than it can be sent: its writers are slowed down"
		}
		if s.behind {
			return "the slot is written faster than it can be sent"
		}
	default:
	}
	return ""
}

// Verified reports whether a walk over the whole slot has found the copies equal, or made them so, before the cutover.
func (s *Source) Verified() bool { return s.verified }

// Step takes one event and returns what is to be done, in order. The slice is valid until the next call.
func (s *Source) Step(now time.Duration, ev Event) []Effect {
	s.out = s.out[:0]
	switch e := ev.(type) {
	case EvReply:
		s.heard = now
		s.onReply(e)
	case EvSendFailed:
		s.onSendFailed(now, e)
	case EvTimer:
		s.onTimer(e)
	case EvCancel:
		s.onCancel(e.Why)
	case EvOrders:
		s.onOrders(now, e.Orders)
	case EvLag:
		s.onLag(now, e)
	case EvData:
		if len(s.window) == 0 {
			s.heard = now // the read can have waited for long, and nothing was asked meanwhile: no silence
		}
		s.onData(e)
	default:
		s.onProgress(ev)
	}
	return s.out
}

// onProgress handles what the driver reports of the source's own work.
func (s *Source) onProgress(ev Event) {
	switch e := ev.(type) {
	case EvBegin:
		s.goOn()
	case EvRecover:
		s.recover(e.Phase)
	case EvPersisted:
		s.onPersisted(e)
	case EvRoundOpen:
		s.opened = s.round != 0
		s.pump()
	case EvParkLimit:
		if s.step == StepPausing {
			s.abandonPause("the paused slot parked as many commands as it may")
		}
	case EvDecided:
		s.onDecided()
	case EvOverruled:
		if s.step == StepDeciding {
			s.fail(e.Why)
		}
	case EvConfirmed:
		s.onConfirmed(e.Outcome)
	case EvKeepOver:
		s.keepOver = true
		s.cleanOver()
	case EvReplaced:
		if s.step == StepKeeping && !mutant.On(mutant.CleanAfterReturn) {
			s.finish()
		}
	case EvCleaned:
		if s.step == StepCleaning {
			s.finish()
		}
	}
}

func (s *Source) emit(e Effect) { s.out = append(s.out, e) }

func (s *Source) enter(to Step) {
	if !allowed(s.step, to) {
		panic(fmt.Sprintf("migration: step %s after %s", to, s.step))
	}
	s.step = to
}

func (s *Source) message(k MessageKind) Message {
	return Message{Kind: k, Slot: s.slot, Job: s.job, Attempt: s.attempt, Epoch: s.epoch}
}

// recover goes on after a restart.
func (s *Source) recover(p Phase) {
	switch p {
	case PhasePending, PhaseActive:
		s.goOn()
	case PhaseDecided:
		s.enter(StepCommitting)
		s.sendCommit()
	case PhaseCommitted:
		s.enter(StepConfirming)
		s.emit(EfConfirm{})
	case PhaseKeeping, PhaseReturning:
		s.enter(StepKeeping)
		s.returned = p == PhaseReturning
		s.emit(EfKeep{})
		s.askBack()
	case PhaseCleaning:
		s.enter(StepCleaning)
		s.emit(EfClean{})
	case PhaseAborting:
		s.enter(StepAborting)
		s.persisted = true
		s.sendAbort()
	case PhaseDone:
		s.finish() // also where the slot has come back since: what is stored may say less
	case PhaseFailed:
		s.enter(StepFailed)
		s.emit(EfEnded{})
	}
}

// goOn begins an attempt, unless operators want the job to rest.
func (s *Source) goOn() {
	if s.orders.Suspend {
		s.suspend()
		return
	}
	s.beginAttempt(thenCopy)
}

// onOrders does what operators want now, where it differs from what the slot does.
func (s *Source) onOrders(now time.Duration, o Orders) {
	s.orders = o
	switch s.step {
	case StepStarting, StepCopying, StepHolding:
		if !o.Slow {
			s.slow(0)
		}
		if o.Suspend {
			s.suspend()
		} else if s.step == StepHolding && !o.Hold {
			s.emit(EfMeasure{})
		}
	case StepPausing:
		if o.Suspend {
			s.emit(EfUnpause{})
			s.beginAttempt(thenCopy) // which rests as soon as the target, no longer prepared, has answered
		}
	case StepSuspended:
		if !o.Suspend {
			s.heard = now // that nothing was asked since is no silence
			s.beginAttempt(thenCopy)
		}
	case StepKeeping:
		switch {
		case !o.Keep:
			s.clean()
		case o.Return:
			s.returned = false // who asks once more wants to be told once more
			s.askBack()
		}
	default: // not begun, or decided, or given up
	}
}

// suspend rests. What the target has not called durable goes back to the tracker.
func (s *Source) suspend() {
	if s.step == StepStarting {
		s.tracking = false // the target may have begun anew, and nobody will hear its answer: compare when the job goes on
	}
	s.endStream()
	s.enter(StepSuspended)
	s.behind = false
	s.slow(0)
}

// beginAttempt gives up the stream so far and opens a new one. What the target has not called durable goes back to the
// tracker first.
func (s *Source) beginAttempt(then afterStart) {
	s.endStream()
	s.enter(StepStarting)
	s.attempt++
	s.then, s.persisted = then, false
	s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseActive})
}

func (s *Source) endStream() {
	if s.round != 0 {
		s.emit(EfGiveBack{})
	}
	s.round = 0
	s.seq, s.hash = 0, cluster.RunningHash{}
	s.window, s.windowBytes, s.windowHeld = nil, 0, 0
	s.reading, s.exhausted, s.prepareSent = false, false, false
	s.stopTimer(TimerRetry)
	s.stopTimer(TimerPause)
	s.backoff, s.retryArmed = 0, false
}

func (s *Source) onPersisted(e EvPersisted) {
	if e.Attempt != s.attempt || s.persisted {
		return
	}
	s.persisted = true
	switch s.step {
	case StepStarting:
		s.sendStart()
	case StepAborting:
		s.sendAbort()
	default: // a phase after the decision: nothing waits for it
	}
}

func (s *Source) sendStart() {
	m := s.message(MsgStart)
	m.Fresh = s.attempt == 1 && !s.orders.Compare
	s.emit(EfSend{m})
}

func (s *Source) onReply(e EvReply) {
	if e.Attempt != s.attempt && !(mutant.On(mutant.LatePrepared) && e.Reply.Kind == ReplyPrepared) {
		return // an answer to an earlier attempt says nothing about this one
	}
	switch e.Reply.Kind {
	case ReplyStarted:
		s.onStarted(e.Reply)
	case ReplyAck, ReplyGap:
		s.onAck(e)
	case ReplyBusy:
		s.onBusy(e)
	case ReplyPrepared:
		s.onPrepared(e.Reply)
	case ReplyServing:
		if mutant.On(mutant.ServingCounts) {
			s.onCommitted()
			break
		}
		s.onServing()
	case ReplyCommitted:
		s.onCommitted()
	case ReplyAborted:
		if s.step == StepAborting {
			s.ended()
		}
	case ReplyNoImport:
		s.onNoImport(e)
	case ReplyRefused:
		s.onRefused(e)
	case ReplyReturning:
		if s.step == StepKeeping && !s.returned {
			s.returned = true
			s.stopTimer(TimerRetry)
			s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseReturning})
			s.cleanOver()
		}
	case ReplyConfirm, ReplyPending, ReplyDecided, ReplyDead: // answers to questions that the driver asks itself
	}
}

// onStarted goes on with what the attempt was begun for, if the target still has what it had; otherwise from the beginning, or
// with a walk where nobody knows what the target has: after a restart, or when another directory answers that is not empty,
// since it was the target of this job before.
func (s *Source) onStarted(r Reply) {
	if s.step != StepStarting || !s.persisted {
		return
	}
	sameTarget := s.target == 0 || s.target == r.Incarnation
	s.target = r.Incarnation
	s.stopTimer(TimerRetry)
	s.backoff, s.refused = 0, ""
	switch {
	case s.orders.Suspend:
		s.suspend()
	case r.Fresh:
		s.enter(StepCopying)
		s.verified, s.rounds = false, 0
		s.openRound(RoundBase)
		s.tracking = true
	case !s.tracking || !sameTarget:
		s.enter(StepCopying)
		s.verified, s.rounds = mutant.On(mutant.ResumeFromNew) || mutant.On(mutant.RollbackStale) && s.orders.Compare, 0
		s.openRound(RoundResume)
		s.tracking = true
	case s.then == thenPause:
		s.enter(StepPausing)
		s.setTimer(TimerPause, s.cfg.PauseDeadline)
		if !mutant.On(mutant.NoPause) {
			s.emit(EfPause{})
		}
		s.openRound(RoundFinal)
	default:
		s.enter(StepCopying)
		s.openRound(RoundChanges)
	}
}

func (s *Source) openRound(k RoundKind) {
	s.round = k
	s.opened, s.reading, s.exhausted, s.differed = false, false, false, false
	s.emit(EfOpenRound{k})
}

// Retime lets the slot go on by other times from the next decision on: a pause that has begun keeps its deadline.
func (s *Source) Retime(t Timing) { s.cfg.SetTiming(t) }

// Window is how many bytes are on their way to the target unanswered, or asked of it, and how many of them are of the message that was sent
// last: the others are fewer than Config.WindowBytes, since nothing is read while the window is full.
func (s *Source) Window() (bytes, last int) {
	if n := len(s.window); n > 0 {
		last = s.window[n-1].bytes
	}
	return s.windowBytes, last
}

// Memory is what the messages of the window take that have not been answered: bytes, with those that their bodies have room for, and how many
// messages there are, answered ones among them that wait for others.
func (s *Source) Memory() (bytes, messages int) { return s.windowHeld, len(s.window) }

// pump reads on while the window has room. One read is under way at a time, and none before the round is open: an answer that
// comes twice, to a message of the round before, must not start it.
func (s *Source) pump() {
	if s.round == 0 || !s.opened || s.reading || s.exhausted || s.windowBytes >= s.roomNow() {
		return
	}
	s.reading, s.putBack = true, false
	s.emit(EfRead{})
}

// streaming reports whether messages of the attempt are under way.
func (s *Source) streaming() bool {
	return s.round != 0 && (s.step == StepCopying || s.step == StepPausing)
}

func (s *Source) onData(e EvData) {
	if !s.streaming() || !s.reading {
		return
	}
	s.reading, s.exhausted = false, e.Last && !s.putBack
	if len(e.Body) > 0 {
		s.seq++
		s.hash = Chain(s.hash, s.seq, e.Body)
		bytes := max(len(e.Body), e.Asks)
		s.window = append(s.window, sent{seq: s.seq, body: e.Body, bytes: bytes, await: e.Await})
		s.windowBytes += bytes
		s.windowHeld += cap(e.Body)
		s.emit(EfSent{s.seq})
		s.sendOn()
	}
	s.pump()
	s.roundDone()
}

// roomNow is how much may be on its way. What writers wait for is not held back: the target takes it whatever it is busy with.
func (s *Source) roomNow() int {
	if s.round == RoundFinal {
		return s.cfg.WindowBytes
	}
	return s.room
}

// sendOn sends what stands in the window and is not on its way, in order, as far as there is room: the first always.
func (s *Source) sendOn() {
	if s.backedOff {
		return
	}
	onItsWay := 0
	for i := range s.window {
		d := &s.window[i]
		if d.acked {
			continue
		}
		if onItsWay >= s.roomNow() {
			return
		}
		onItsWay += d.bytes
		if !d.out {
			d.out = true
			s.sendData(*d)
		}
	}
}

func (s *Source) sendData(d sent) {
	m := s.message(MsgData)
	m.Seq, m.Body, m.Asks, m.Urgent = d.seq, d.body, d.bytes, s.round == RoundFinal
	s.emit(EfSend{m})
}

func (s *Source) onAck(e EvReply) {
	if !s.streaming() {
		return
	}
	if e.Reply.Kind == ReplyGap {
		s.armRetry(s.cfg.RetryMin)
		return
	}
	for i := range s.window {
		if d := &s.window[i]; d.seq == e.Seq && !d.acked {
			d.acked = true
			if e.Reply.Differ {
				s.differed, s.exhausted, s.putBack = true, false, true
				s.emit(EfRedo{d.seq})
			} else {
				s.emit(EfFree{d.seq})
			}
			s.windowBytes -= d.bytes
			s.windowHeld -= cap(d.body)
			s.backoff = 0
			s.widen(d.bytes)
			d.body = nil // it may have to wait for those before it, and is not needed any more
		}
	}
	for len(s.window) > 0 && s.window[0].acked {
		s.window = s.window[1:]
	}
	s.sendOn()
	s.pump()
	s.roundDone()
}

// widenings is in how many windows that are answered the room becomes a full window again, from nothing.
const widenings = 32

// busyShown is for how long the status says that the target was busy.
const busyShown = time.Second

// widen makes the room larger after an answer about so many bytes: by a part of the full window for each room that was answered.
func (s *Source) widen(bytes int) {
	if s.room < s.cfg.WindowBytes {
		step := int64(s.cfg.WindowBytes/widenings + 1)
		s.room = min(s.cfg.WindowBytes, s.room+int(max(1, min(step, step*int64(bytes)/int64(s.room)))))
	}
	if s.heard-s.refusedAt >= busyShown {
		s.refused = ""
	}
}

// onBusy slows down for a target that had no room for a message: it has done nothing about it, and what follows it in the window is a gap to
// it. Everything is said again, byte for byte and in order, after a while that grows.
func (s *Source) onBusy(e EvReply) {
	if e.Message == MsgData && mutant.On(mutant.BusyApplied) {
		s.onAck(e)
		return
	}
	s.refused, s.refusedAt = e.Reply.Text, s.heard
	switch {
	case s.step == StepStarting && s.orders.Suspend:
		s.suspend()
	case s.step == StepStarting && e.Message == MsgStart:
		s.armRetry(s.nextBackoff())
	case s.streaming() && s.inWindow(e.Seq) && !s.backedOff:
		s.stopTimer(TimerRetry) // what it was set for is repeated then, too
		s.room = max(s.room/2, 1)
		s.armRetry(s.nextBackoff())
		s.backedOff = true
	default:
	}
}

// roundDone acts when everything of the round has been read, sent and answered. In the pause, what is on its way need not have been answered, unless
// its answer may be that the target differs: the prepare comes behind it, and a target that lacks any of it does not answer as it must.
func (s *Source) roundDone() {
	if !s.exhausted || s.reading || s.round == 0 {
		return
	}
	if s.step == StepPausing {
		if !s.prepareSent && s.allSent() {
			if len(s.window) == 0 {
				s.stopTimer(TimerRetry)
			}
			s.prepareSent = true
			s.sendPrepare()
		}
		return
	}
	if len(s.window) > 0 {
		return
	}
	s.stopTimer(TimerRetry)
	switch s.round {
	case RoundVerify:
		s.verified = true
	case RoundChanges:
		s.rounds++
	default:
	}
	s.emit(EfMeasure{})
}

// allSent reports whether all of the window is on its way, and nothing of it has to be answered first.
func (s *Source) allSent() bool {
	for i := range s.window {
		if d := &s.window[i]; !d.acked && (!d.out || d.await) {
			return false
		}
	}
	return true
}

// smallLag is what may be left for the final round however long it is estimated to take.
const smallLag = 64 << 10

func (s *Source) onLag(now time.Duration, e EvLag) {
	small := e.Spans == 0 && e.Keys <= s.cfg.LagKeys && e.LagBytes-e.Whole <= s.cfg.LagBytes && (e.LagBytes <= smallLag || e.Final <= s.cfg.PauseTarget)
	if small || s.orders.Hold {
		s.behind = false
	}
	if s.step == StepHolding {
		s.heard = now // nothing was asked since: no silence
		switch {
		case s.orders.Hold && e.Keys == 0 && e.Spans == 0:
			s.armRetry(s.cfg.HoldEvery)
		case s.orders.Hold || !small:
			s.stopTimer(TimerRetry)
			s.enter(StepCopying)
			s.openRound(RoundChanges)
		default:
			s.beginAttempt(thenPause)
		}
		return
	}
	if s.step != StepCopying || !s.exhausted || len(s.window) > 0 {
		return
	}
	switch {
	case !small && s.rounds < s.cfg.Rounds:
		s.openRound(RoundChanges)
	case !small && !s.orders.Hold:
		s.catchUp(now, e)
	case !s.verified:
		s.openRound(RoundVerify)
	case s.orders.Hold && !mutant.On(mutant.HoldIgnored):
		s.rounds, s.backoff = 0, 0
		s.emit(EfGiveBack{}) // complete: there is nothing to give back, but its snapshot is not needed any more
		s.round = 0
		s.enter(StepHolding)
		s.slow(0)
		s.armRetry(s.cfg.HoldEvery)
	default:
		s.rounds = 0
		s.round = 0 // complete: nothing to give back
		s.beginAttempt(thenPause)
	}
}

// maxSlowness is the greatest level of EfSlow: writers get a thousandth of what can be sent.
const maxSlowness = 10

// catchUp goes on with a slot that is written faster than it can be sent: with its writers slowed more from round to round, if operators want
// that, and for so long only. Half of what can be sent is the rate at which every round is half as large as the one before; a level more is for
// what a measure of rates gets wrong.
func (s *Source) catchUp(now time.Duration, e EvLag) {
	if !s.behind {
		s.behind, s.behindAt = true, now
	}
	if now-s.behindAt >= s.cfg.ConvergeWithin && !mutant.On(mutant.NeverConverges) {
		whole := ""
		if e.Whole > 0 {
			whole = fmt.Sprintf("; %d of these had not changed: commands send a changed key as a whole, PAYLOAD raw sends what has changed of it", e.Whole)
		}
		s.fail(fmt.Sprintf("cannot converge: for %s the slot has been written faster than it can be sent, %d keys with %d bytes were left after the last round%s",
			now-s.behindAt, e.Keys, e.LagBytes, whole))
		return
	}
	if s.orders.Slow && (s.rounds-s.cfg.Rounds)%2 == 0 {
		s.slow(min(s.slowness+1, maxSlowness))
	}
	s.openRound(RoundChanges)
}

// slow makes the slowness of the slot's writers this.
func (s *Source) slow(level int) {
	if level != s.slowness {
		s.slowness = level
		s.emit(EfSlow{level})
	}
}

func (s *Source) sendPrepare() {
	m := s.message(MsgPrepare)
	m.Seq, m.Hash = s.seq, s.hash
	s.emit(EfSend{m})
}

// onPrepared decides, if the target has exactly what was sent in this pause.
func (s *Source) onPrepared(r Reply) {
	if s.step != StepPausing || !s.prepareSent && !mutant.On(mutant.LatePrepared) {
		return
	}
	if r.Attempt != s.attempt || r.Seq != s.seq || r.Hash != s.hash || r.Incarnation != s.target {
		if !mutant.On(mutant.LatePrepared) {
			return
		}
	}
	for i := range s.window { // the target has them, durable: it says so by number and hash
		if d := &s.window[i]; !d.acked {
			s.emit(EfFree{d.seq})
		}
	}
	s.window, s.windowBytes, s.windowHeld = nil, 0, 0
	s.enter(StepDeciding)
	s.stopTimer(TimerRetry)
	s.stopTimer(TimerPause)
	s.emit(EfDecide{})
}

func (s *Source) onDecided() {
	if s.step != StepDeciding {
		return
	}
	s.enter(StepCommitting)
	s.round = 0
	s.emit(EfStop{})
	if mutant.On(mutant.PurgeEarly) {
		s.emit(EfClean{})
	}
	s.backoff = 0
	s.sendCommit()
}

func (s *Source) sendCommit() {
	m := s.message(MsgCommit)
	m.Epoch = s.epoch + 1
	s.emit(EfSend{m})
}

// onServing lets go of those who wait for the slot: the target has what they want, and what they are answered there waits for its disk. The source stays
// where it is until the target's ownership is durable: a target that loses its power before that finds itself prepared, and needs the commit again.
func (s *Source) onServing() {
	if s.step != StepCommitting {
		return
	}
	s.slow(0)
	s.emit(EfHandedOver{})
	s.sendCommit()
}

func (s *Source) onCommitted() {
	if s.step != StepCommitting {
		return
	}
	s.stopTimer(TimerRetry)
	s.enter(StepConfirming)
	s.slow(0)
	s.emit(EfHandedOver{})
	s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseCommitted})
	s.emit(EfConfirm{})
}

func (s *Source) onConfirmed(o ConfirmOutcome) {
	if s.step != StepConfirming {
		return
	}
	if o == ConfirmDiffer {
		s.reason = "the copies differ after takeover; the source's copy is kept"
		s.finish()
		return
	}
	if s.orders.Keep {
		s.enter(StepKeeping)
		s.backoff = 0
		s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseKeeping})
		s.emit(EfKeep{})
		s.askBack()
		return
	}
	s.clean()
}

// askBack asks the target to hand the slot back, if operators want that and it has not answered.
func (s *Source) askBack() {
	if !s.orders.Return || s.returned {
		return
	}
	if mutant.On(mutant.HeldServes) {
		s.emit(EfReclaim{})
	}
	s.emit(EfSend{s.message(MsgReturn)})
}

// cleanOver deletes a copy whose time is over, unless a rollback that was accepted waits for the target's answer: dropping that
// order would leave nothing of it, and whoever gave it was told that it counts. An operator who cleans the job ends the wait.
func (s *Source) cleanOver() {
	if s.step == StepKeeping && s.keepOver && (s.returned || !s.orders.Return) {
		s.clean()
	}
}

func (s *Source) clean() {
	s.stopTimer(TimerRetry)
	s.enter(StepCleaning)
	s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseCleaning})
	s.emit(EfClean{})
}

func (s *Source) finish() {
	s.enter(StepDone)
	s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseDone})
	s.emit(EfEnded{})
}

// onNoImport begins anew when the target has lost the import of this very attempt.
func (s *Source) onNoImport(e EvReply) {
	switch s.step {
	case StepStarting, StepCopying:
		s.reason = "the target no longer had the import"
		s.beginAttempt(thenCopy)
	case StepPausing:
		s.abandonPause("the target no longer had the import")
	case StepCommitting:
		s.reason = "the target refuses the commit: it does not know the import it was prepared for; if its directory was lost, an operator must decide"
		s.armRetry(s.nextBackoff())
	case StepAborting:
		s.ended()
	default:
	}
}

func (s *Source) onRefused(e EvReply) {
	switch s.step {
	case StepStarting, StepCopying, StepPausing:
		s.fail("the target refuses the slot: " + e.Reply.Text)
	case StepCommitting:
		s.reason = "the target refuses the commit: " + e.Reply.Text
		s.armRetry(s.nextBackoff())
	case StepAborting:
		s.ended()
	case StepKeeping: // the slot has moved on
		if e.Message != MsgReturn || s.returned {
			return
		}
		s.returned = true
		s.reason = "the slot cannot be rolled back: " + e.Reply.Text
		s.emit(EfNotReturned{Why: s.reason})
		s.cleanOver()
	default:
	}
}

// onSendFailed repeats what got no answer, after a while, and gives up on a target that stays silent if nothing is decided.
func (s *Source) onSendFailed(now time.Duration, e EvSendFailed) {
	if e.Attempt != s.attempt || s.step.Ended() {
		return
	}
	if s.step != StepAborting { // there the reason says why the slot was given up
		s.reason = e.Err
	}
	switch s.step {
	case StepStarting, StepCopying, StepPausing:
		if s.step == StepStarting && s.orders.Suspend {
			s.suspend()
			return
		}
		if now-s.heard >= s.cfg.GiveUpAfter {
			s.fail(fmt.Sprintf("the target has not answered for %s: %s", now-s.heard, e.Err))
			return
		}
		if e.Message == MsgData && !s.inWindow(e.Seq) {
			return
		}
	case StepCommitting:
		if mutant.On(mutant.LostCommitReply) {
			s.step = StepAborting
			s.emit(EfReclaim{})
			s.fail("lost the reply to commit")
			return
		}
		if e.Message != MsgCommit {
			return
		}
	case StepKeeping:
		if e.Message != MsgReturn || s.returned {
			return
		}
	case StepAborting:
		if e.Message != MsgAbort {
			return
		}
		if s.abortTries++; s.abortTries >= s.cfg.AbortTries {
			s.ended()
			return
		}
	default:
		return
	}
	s.armRetry(s.nextBackoff())
}

func (s *Source) inWindow(seq uint64) bool {
	for i := range s.window {
		if s.window[i].seq == seq {
			return !s.window[i].acked
		}
	}
	return false
}

func (s *Source) nextBackoff() time.Duration {
	if s.retryArmed {
		return s.backoff // several messages of one loss count once
	}
	s.backoff = min(max(2*s.backoff, s.cfg.RetryMin), s.cfg.RetryMax)
	return s.backoff
}

func (s *Source) armRetry(d time.Duration) {
	if !s.retryArmed {
		s.retryArmed = true
		s.setTimer(TimerRetry, d)
	}
}

func (s *Source) setTimer(k TimerKind, d time.Duration) {
	s.generations[k]++
	s.emit(EfTimer{Timer: k, Generation: s.generations[k], After: d})
}

// stopTimer makes a timer that is set count for nothing when it fires.
func (s *Source) stopTimer(k TimerKind) {
	s.generations[k]++
	if k == TimerRetry {
		s.retryArmed, s.backedOff = false, false
	}
}

func (s *Source) onTimer(e EvTimer) {
	if e.Generation != s.generations[e.Timer] {
		return
	}
	if e.Timer == TimerPause {
		switch {
		case mutant.On(mutant.LateUnpause):
			s.emit(EfUnpause{})
		case s.step == StepPausing && !mutant.On(mutant.PauseUnbounded):
			s.abandonPause("the pause took longer than its deadline")
		}
		return
	}
	s.retryArmed, s.backedOff = false, false
	s.repeat()
}

// repeat sends again, byte for byte, what has not been answered; a slot that is held looks what has changed.
func (s *Source) repeat() {
	switch s.step {
	case StepStarting:
		if s.persisted {
			s.sendStart()
		}
	case StepCopying, StepPausing:
		for i := range s.window {
			s.window[i].out = false
		}
		s.sendOn()
		if s.prepareSent {
			s.sendPrepare()
		}
	case StepHolding:
		s.emit(EfMeasure{})
	case StepKeeping:
		s.askBack()
	case StepCommitting:
		s.sendCommit()
	case StepAborting:
		s.sendAbort()
	default:
	}
}

// abandonPause lets the writers go on and the rounds with them: the decision has not been handed in.
func (s *Source) abandonPause(why string) {
	s.reason = why
	s.emit(EfUnpause{})
	if s.pauses++; s.pauses >= s.cfg.Pauses {
		s.failUnpaused(fmt.Sprintf("cannot converge: %d pauses were given up, the last because %s", s.pauses, why))
		return
	}
	s.beginAttempt(thenCopy)
}

func (s *Source) onCancel(why string) {
	switch s.step {
	case StepIdle:
		s.enter(StepFailed)
		s.reason = why
		s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseFailed})
		s.emit(EfEnded{})
	case StepStarting, StepSuspended, StepCopying, StepHolding, StepPausing:
		s.fail(why)
	case StepCommitting, StepDeciding:
		if mutant.On(mutant.CancelAfter) {
			s.step = StepAborting
			s.emit(EfReclaim{})
			s.fail(why)
		}
	default: // decided, or given up already
	}
}

// fail gives the slot up. The record that says so is durable before the target is told, so that it is told the same for ever.
func (s *Source) fail(why string) {
	if s.step == StepPausing || s.step == StepDeciding {
		s.emit(EfUnpause{})
	}
	s.failUnpaused(why)
}

func (s *Source) failUnpaused(why string) {
	s.round = 0
	s.endStream()
	s.slow(0)
	if s.step != StepAborting {
		s.enter(StepAborting)
	}
	s.reason = why
	s.emit(EfStop{})
	s.attempt++ // greater than any that the target has seen, so that nothing older is accepted after the abort
	s.persisted = false
	s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseAborting})
}

func (s *Source) sendAbort() { s.emit(EfSend{s.message(MsgAbort)}) }

func (s *Source) ended() {
	s.stopTimer(TimerRetry)
	s.enter(StepFailed)
	s.emit(EfPersist{Attempt: s.attempt, Phase: PhaseFailed})
	s.emit(EfEnded{})
}
