package migration

import (
	"bytes"
	"fmt"

	"godwit/engine/cluster"
	"godwit/engine/mutant"
)

// packet is a message on its way to the target of its leg, or the answer on its way back.
type packet struct {
	toTarget bool
	msg      Message
	reply    Reply
	orphan   bool // the source no longer waits for the answer
}

func (p *packet) append(b []byte) []byte {
	m, r := &p.msg, &p.reply
	b = append(b, flagBits(p.toTarget, p.orphan, r.Fresh, r.Differ, m.Fresh), byte(m.Kind), byte(m.Attempt), byte(m.Epoch), byte(m.Seq), byte(r.Kind), byte(r.Attempt), byte(r.Seq), byte(r.Epoch))
	b = append(append(b, m.Hash[:]...), r.Hash[:]...)
	return append(b, m.Body...)
}

type modelRound struct {
	kind    RoundKind
	snap    content
	pending []byte // operations still to be read: 'P' puts all keys, a digit one, 'G' compares, 'R' replaces
	keys    uint8  // mask of the keys that P reads
}

// leg is the way of the slot from one node to the other: the job at its source, and the messages between the two.
type leg struct {
	m     *model
	index int
	s, d  *modelNode
	job   cluster.JobID

	machine  *Source // nil until the job is stored
	tracking bool
	dirty    uint8
	round    modelRound
	last     uint8            // mask covered by what was read last
	covers   map[uint64]uint8 // by message
	net      []packet
}

// newLeg makes a leg and the machine of its job, as what its source has stored says.
func newLeg(m *model, index int) *leg {
	l := &leg{m: m, index: index, s: m.nodes[index], d: m.nodes[1-index], job: legJobs[index], covers: map[uint64]uint8{}}
	l.machine = l.newMachine()
	return l
}

// dir is the directory of the leg's target.
func (l *leg) dir() cluster.Incarnation { return nodeDirs[1-l.index] }

// epoch is the one under which the leg's source serves before it.
func (l *leg) epoch() cluster.Epoch { return cluster.Epoch(1 + l.index) }

func (l *leg) newMachine() *Source {
	cfg := Config{WindowBytes: modelWindow}
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s := NewSource(cfg, modelSlot, l.job, l.epoch(), l.s.attempt[l.index], 0)
	orders := l.m.orders
	if l.index == 1 {
		orders = Orders{Compare: true}
	}
	s.Step(0, EvOrders{orders})
	return s
}

// begin makes the machine of a job that has just been stored.
func (l *leg) begin() {
	l.machine = l.newMachine()
	l.step(EvBegin{})
}

func (l *leg) clone(m *model) *leg {
	c := *l
	c.m, c.s, c.d = m, m.nodes[l.index], m.nodes[1-l.index]
	if l.machine != nil {
		machine := *l.machine
		machine.window = append([]sent(nil), l.machine.window...)
		machine.out = nil
		c.machine = &machine
	}
	c.net = append([]packet(nil), l.net...)
	c.covers = make(map[uint64]uint8, len(l.covers))
	for k, v := range l.covers {
		c.covers[k] = v
	}
	c.round.pending = append([]byte(nil), l.round.pending...)
	return &c
}

// append adds to the key of a state what the leg has to say.
func (l *leg) append(b []byte) []byte {
	b = append(b, flagBits(l.machine != nil, l.tracking), l.dirty, byte(l.round.kind), l.round.keys, byte(len(l.round.pending)), l.last)
	b = append(append(b, l.round.snap[:]...), l.round.pending...)
	if x := l.machine; x != nil {
		b = append(b, flagBits(x.persisted, x.tracking, x.reading, x.exhausted, x.verified, x.prepareSent, x.retryArmed, x.target != 0), flagBits(x.returned, x.keepOver))
		b = append(b, byte(x.step), byte(x.attempt), byte(x.then), byte(x.round), byte(x.rounds), byte(x.pauses), byte(x.seq), byte(len(x.window)))
		b = append(append(b, x.hash[:]...), byte(min(x.room, 255)), flagBits(x.backedOff))
		for _, w := range x.window {
			b = append(append(b, byte(w.seq), flagBits(w.acked, w.out), l.covers[w.seq], byte(len(w.body))), w.body...)
		}
	}
	for _, p := range sortedPackets(l.net) {
		b = append(append(b, byte(len(p))), p...)
	}
	return b
}

// put sends a packet. An answer that nobody waits for has no effect, and a message that nobody waits for need not be twice on
// its way: losing one of them is always possible.
func (l *leg) put(p packet) {
	if p.orphan {
		if !p.toTarget {
			return
		}
		for i := range l.net {
			if bytes.Equal(l.net[i].append(nil), p.append(nil)) {
				return
			}
		}
	}
	l.net = append(l.net, p)
}

// step steps the source's machine and carries out its effects at once.
func (l *leg) step(ev Event) {
	queue := []Event{ev}
	for len(queue) > 0 {
		effects := append([]Effect(nil), l.machine.Step(0, queue[0])...)
		queue = queue[1:]
		for _, ef := range effects {
			if next := l.execute(ef); next != nil {
				queue = append(queue, next)
			}
		}
	}
}

func (l *leg) commit(ev Event) {
	l.s.waits = append(l.s.waits, waiting{leg: l.index, event: ev, key: -1})
}

// frozen reports whether the source's copy is still the one that this leg released.
func (l *leg) frozen() bool {
	return l.s.rec.State == cluster.Released && l.s.rec.Job == l.job && !l.s.rec.DataGone
}

func (l *leg) execute(ef Effect) Event {
	switch e := ef.(type) {
	case EfPersist:
		l.s.phase[l.index], l.s.attempt[l.index] = e.Phase, e.Attempt
		l.commit(EvPersisted{Attempt: e.Attempt})
	case EfSend:
		if k := e.Message.Kind; l.index == 0 && l.m.orders.Suspend && (k == MsgData || k == MsgPrepare) {
			l.m.doubted = "a job that is to rest sends " + k.String()
		}
		l.put(packet{toTarget: true, msg: e.Message})
	case EfOpenRound:
		l.openRound(e.Kind)
		return EvRoundOpen{}
	case EfRead:
		return l.read()
	case EfSent:
		l.covers[e.Seq] = l.last
	case EfFree:
		delete(l.covers, e.Seq)
	case EfRedo:
		delete(l.covers, e.Seq)
		l.round.pending = append(l.round.pending, 'R')
	case EfGiveBack:
		for _, mask := range l.covers {
			l.dirty |= mask
		}
		if len(l.round.pending) > 0 {
			l.dirty |= everything
		}
		l.covers = map[uint64]uint8{}
		l.round = modelRound{}
	case EfMeasure:
		keys := 0
		for k := range modelKeys {
			keys += int(l.dirty >> k & 1)
		}
		return EvLag{Keys: keys}
	case EfStop:
		l.tracking, l.dirty, l.round, l.covers = false, 0, modelRound{}, map[uint64]uint8{}
	case EfTimer, EfEnded: // timers are actions of the explorer
	default:
		return l.executeCutover(ef)
	}
	return nil
}

// executeCutover carries out the effects that change who serves, or that follow from it.
func (l *leg) executeCutover(ef Effect) Event {
	switch ef.(type) {
	case EfPause:
		l.s.paused = true
		l.m.losses.paused(l.machine.Attempt(), l.m.acked)
	case EfUnpause, EfHandedOver:
		l.s.paused, l.s.sealed = false, false
	case EfDecide:
		return l.decide()
	case EfReclaim:
		l.s.rec = cluster.Record{State: cluster.Serving, Epoch: l.epoch()}
		l.s.paused, l.s.sealed = false, false
	case EfConfirm:
		return EvConfirmed{ConfirmEqual}
	case EfKeep:
		if !l.frozen() {
			return EvReplaced{}
		}
	case EfClean:
		if l.frozen() {
			l.s.rec.DataGone, l.s.purged, l.s.data = true, true, content{}
			if r := l.d.durable.rec; (r.State != cluster.Serving || r.Epoch <= l.epoch()) && !l.m.losses.any() {
				l.m.doubted = "the source's copy was deleted before the target's ownership was durable"
			}
		} else if mutant.On(mutant.CleanAfterReturn) {
			l.s.data = content{}
		}
		l.commit(EvCleaned{})
	}
	return nil
}

func (l *leg) openRound(k RoundKind) {
	l.round = modelRound{kind: k, snap: l.s.data}
	l.covers = map[uint64]uint8{}
	switch k {
	case RoundBase:
		l.tracking, l.dirty = true, 0
		l.round.pending, l.round.keys = []byte{'P'}, everything
	case RoundResume:
		l.tracking, l.dirty = true, 0
		if !mutant.On(mutant.ResumeFromNew) && (!mutant.On(mutant.RollbackStale) || l.index == 0) {
			l.round.pending = []byte{'G'}
		}
	default:
		l.round.keys, l.dirty = l.dirty, 0
		for k := range modelKeys {
			if l.round.keys>>k&1 == 1 {
				l.round.pending = append(l.round.pending, '0'+byte(k)) // a message for each key, so that there are several
			}
		}
		if k == RoundVerify {
			l.round.pending = append(l.round.pending, 'G')
		}
		l.tracking = true // no-op but for the mutant that resumes without a cut
	}
}

func (l *leg) read() Event {
	if len(l.round.pending) == 0 {
		return EvData{Last: true}
	}
	op := l.round.pending[0]
	l.round.pending = l.round.pending[1:]
	body := []byte{op}
	l.last = everything
	if op >= '0' && op <= '9' {
		l.last = 1 << (op - '0')
	}
	for k := range modelKeys {
		if l.last>>k&1 == 1 {
			body = append(body, byte(k), l.round.snap[k])
		}
	}
	return EvData{Body: body, Last: len(l.round.pending) == 0, Await: op == 'G'}
}

func (l *leg) decide() Event {
	if l.s.rec.State != cluster.Serving || l.s.rec.Epoch != l.epoch() {
		return EvOverruled{Why: "not served"}
	}
	l.s.sealed = true
	l.s.rec = cluster.Record{State: cluster.Released, Epoch: l.epoch() + 1, Job: l.job, Attempt: l.machine.Attempt(), Peer: nodeIDs[1-l.index]}
	l.s.phase[l.index], l.s.attempt[l.index] = PhaseDecided, l.machine.Attempt()
	l.commit(EvDecided{})
	return nil
}

// crashed takes the leg up again after its source has lost its power.
func (l *leg) crashed() {
	l.tracking, l.dirty, l.round, l.covers = false, 0, modelRound{}, map[uint64]uint8{}
	l.orphan() // nobody waits for these answers any more
	for i := range l.d.waits {
		if w := &l.d.waits[i]; w.leg == l.index && w.reply != nil {
			answer := *w.reply
			answer.orphan = true
			w.reply = &answer
		}
	}
	if !l.s.begun[l.index] {
		l.machine = nil
		return
	}
	l.machine = l.newMachine()
	phase := l.s.phase[l.index]
	released := l.s.rec.State == cluster.Released && l.s.rec.Job == l.job
	switch {
	case released && !phase.Moved():
		phase = PhaseDecided
	case phase.Moved() && !released:
		phase = PhaseDone // the slot has come back since
	}
	if phase == PhaseDecided {
		l.s.sealed = true
	}
	if phase == PhasePending {
		l.step(EvBegin{})
		return
	}
	l.step(EvRecover{Phase: phase})
}

func (l *leg) actions(i int, b modelBounds) []action[*model] {
	var out []action[*model]
	add := func(name string, fault bool, do func(*leg)) {
		out = append(out, action[*model]{name: legPrefix[i] + name, fault: fault, do: func(m *model) { do(m.legs[i]) }})
	}
	for k, p := range l.net {
		if l.sameBefore(k) || l.m.losses.unheard(i, p.toTarget) {
			continue
		}
		add(fmt.Sprintf("deliver %s %s", p.msg.Kind, p.reply.Kind), false, func(l *leg) { l.deliver(k, false) })
		out[len(out)-1].late = p.orphan
		if p.toTarget {
			add("execute twice "+p.msg.Kind.String(), true, func(l *leg) { l.deliver(k, true) })
			if b.busy && (p.msg.Kind == MsgStart || p.msg.Kind == MsgData) {
				add("no room for "+p.msg.Kind.String(), true, func(l *leg) { l.refuse(k) })
			}
		}
		if !p.orphan {
			add("time out "+p.msg.Kind.String(), true, func(l *leg) { l.timeOut(k) })
		}
	}
	if l.machine.retryArmed && !l.awaited() {
		add("retry", false, func(l *leg) { l.step(EvTimer{TimerRetry, l.machine.generations[TimerRetry]}) })
	}
	if l.machine.step == StepPausing || mutant.On(mutant.LateUnpause) && l.machine.step == StepDeciding {
		add("pause deadline", true, func(l *leg) { l.step(EvTimer{TimerPause, l.machine.generations[TimerPause]}) })
	}
	add("cancel", true, func(l *leg) { l.step(EvCancel{"cancelled"}) })
	return out
}

// awaited reports whether an answer may still come: a retry is timed to come later than any answer that was not lost.
func (l *leg) awaited() bool {
	for _, p := range l.net {
		if !p.orphan {
			return true
		}
	}
	for _, w := range l.d.waits {
		if w.leg == l.index && w.reply != nil && !w.reply.orphan {
			return true
		}
	}
	return false
}

// sameBefore reports whether an equal packet stands earlier, whose delivery leads to the same states.
func (l *leg) sameBefore(i int) bool {
	for j := range i {
		if bytes.Equal(l.net[j].append(nil), l.net[i].append(nil)) {
			return true
		}
	}
	return false
}

// orphan makes the source stop waiting for what is on its way.
func (l *leg) orphan() {
	old := l.net
	l.net = nil
	for _, p := range old {
		p.orphan = true
		l.put(p)
	}
}

func (l *leg) deliver(i int, twice bool) {
	p := l.net[i]
	l.net = append(l.net[:i:i], l.net[i+1:]...)
	if twice {
		again := p
		again.orphan = true // the second answer goes nowhere
		l.put(again)
	}
	if p.toTarget {
		l.m.arrive(l, p)
		return
	}
	if !p.orphan {
		l.step(EvReply{Message: p.msg.Kind, Attempt: p.msg.Attempt, Seq: p.msg.Seq, Reply: p.reply})
	}
}

// refuse delivers a message to a target that has no room.
func (l *leg) refuse(i int) {
	l.d.busy = "no room"
	l.deliver(i, false)
	l.d.busy = ""
}

// timeOut makes the source stop waiting; the packet goes on.
func (l *leg) timeOut(i int) {
	p := l.net[i]
	l.net = append(l.net[:i:i], l.net[i+1:]...)
	late := p
	late.orphan = true
	l.put(late)
	l.step(EvSendFailed{Message: p.msg.Kind, Attempt: p.msg.Attempt, Seq: p.msg.Seq, Err: "time-out"})
}
