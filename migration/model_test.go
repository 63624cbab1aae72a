package migration

import (
	"bytes"
	"fmt"
	"sort"
	"testing"

	"github.com/zeebo/xxh3"

	"godwit/engine/cluster"
	"godwit/engine/mutant"
)

// The model check explores, breadth first and exhaustively within its bounds, every interleaving of one slot's handoff: a
// source, a target, clients that write to whichever of the two serves, a network that delivers in any order, and a budget of
// faults: a message lost (before or after it was executed), a message executed twice, a crash of either node in which all of
// its unsynced commits are lost or all survive, a pause that reaches its deadline, a cancel, an old map pushed to the source, an
// operator who makes the job rest (and will let it go on, as one who holds it will tell it to cut over).
// The machines are the production code; only the stores, the network and the clients are modelled, as plainly as possible: a
// slot holds two keys, whose values are the numbers of the writes.

// modelBounds limits an exploration.
type modelBounds struct {
	writes, faults int
	attempts       cluster.Attempt // beyond which a state is not explored further
	rests          bool            // a fault may be that an operator makes the job rest
	states         int             // at which the exploration stops as too large: a failure of the test
}

const (
	modelKeys = 2
	modelSrc  = cluster.NodeID("source")
	modelDst  = cluster.NodeID("target")
	modelInc  = cluster.Incarnation(7)
)

var modelJob = cluster.JobID{Node: modelSrc, Incarnation: 1, Counter: 1}

type content [modelKeys]uint8

// disk is what a node's store holds: once as it is visible, once as a crash would leave it.
type disk struct {
	rec     cluster.Record
	phase   Phase
	attempt cluster.Attempt
	cursor  Cursor
	data    content
	purged  bool
}

type packet struct {
	toTarget bool
	msg      Message
	reply    Reply
	orphan   bool // the source no longer waits for the answer
}

// waiting is what happens when a node's commits become durable.
type waiting struct {
	event Event   // for the source's machine
	reply *packet // of the target
	key   int8    // of a write to be acknowledged, or -1
	value uint8
}

type modelRound struct {
	kind    RoundKind
	snap    content
	pending []byte // operations still to be read: 'P' puts all keys, a digit one, 'G' compares, 'R' replaces
	keys    uint8  // mask of the keys that P reads
}

type model struct {
	s, sDurable disk
	d, dDurable disk
	machine     *Source
	orders      Orders // durable before the operator is answered
	sWaits      []waiting
	dWaits      []waiting
	paused      bool
	sealed      bool
	tracking    bool
	dirty       uint8
	round       modelRound
	last        uint8            // mask covered by what was read last
	covers      map[uint64]uint8 // by message
	net         []packet
	writes      uint8
	acked       content
	faults      int
	doubted     string // an invariant that broke inside an action
}

func newModel(o Orders) *model {
	m := &model{orders: o}
	m.s.rec = cluster.Record{State: cluster.Serving, Epoch: 1}
	m.s.data = content{1, 0}
	m.sDurable = m.s
	m.acked = m.s.data
	m.writes = 1
	m.machine = m.newMachine()
	m.covers = map[uint64]uint8{}
	m.step(EvBegin{})
	return m
}

func (m *model) newMachine() *Source {
	cfg := Config{}
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s := NewSource(cfg, 5, modelJob, 1, m.s.attempt, 0)
	s.Step(0, EvOrders{m.orders})
	return s
}

func (m *model) clone() *model {
	c := *m
	machine := *m.machine
	machine.window = append([]sent(nil), m.machine.window...)
	machine.out = nil
	c.machine = &machine
	c.sWaits = append([]waiting(nil), m.sWaits...)
	c.dWaits = append([]waiting(nil), m.dWaits...)
	c.net = append([]packet(nil), m.net...)
	c.covers = make(map[uint64]uint8, len(m.covers))
	for k, v := range m.covers {
		c.covers[k] = v
	}
	c.round.pending = append([]byte(nil), m.round.pending...)
	return &c
}

// key identifies a state. What only bounds work in time (back-off, timer generations, reasons) is left out.
func (m *model) key() [16]byte {
	b := make([]byte, 0, 1024)
	flag := func(set bool) { b = append(b, flagBits(set)) }
	for _, d := range []*disk{&m.s, &m.sDurable, &m.d, &m.dDurable} {
		b = append(append(b, d.rec.Encode()...), d.cursor.Encode()...)
		b = append(append(b, byte(d.phase), byte(d.attempt)), d.data[:]...)
		flag(d.purged)
	}
	x := m.machine
	for _, set := range []bool{m.orders.Hold, m.orders.Suspend, m.paused, m.sealed, m.tracking, x.persisted, x.tracking, x.reading, x.exhausted, x.verified, x.prepareSent, x.retryArmed, x.target != 0} {
		flag(set)
	}
	b = append(b, m.dirty, byte(m.round.kind), m.round.keys, byte(len(m.round.pending)), m.last, m.writes, byte(m.faults))
	b = append(append(append(b, m.round.snap[:]...), m.round.pending...), m.acked[:]...)
	b = append(b, byte(x.step), byte(x.attempt), byte(x.then), byte(x.round), byte(x.rounds), byte(x.pauses), byte(x.seq), byte(len(x.window)))
	b = append(b, x.hash[:]...)
	for _, w := range x.window {
		b = append(append(b, byte(w.seq), flagBits(w.acked), m.covers[w.seq], byte(len(w.body))), w.body...)
	}
	for _, w := range m.sWaits {
		kind := byte(0)
		switch e := w.event.(type) {
		case EvPersisted:
			kind = byte(e.Attempt)
		case EvDecided:
			kind = 254
		case EvCleaned:
			kind = 255
		}
		b = append(b, 's', kind, byte(w.key), w.value)
	}
	for _, w := range m.dWaits {
		b = append(b, 'd', byte(w.key), w.value)
		if w.reply != nil {
			b = w.reply.append(b)
		}
	}
	packets := make([]string, 0, len(m.net))
	for i := range m.net {
		packets = append(packets, string(m.net[i].append(nil)))
	}
	sort.Strings(packets)
	for _, p := range packets {
		b = append(append(b, byte(len(p))), p...)
	}
	return xxh3.Hash128(b).Bytes()
}

func (p *packet) append(b []byte) []byte {
	m, r := &p.msg, &p.reply
	b = append(b, flagBits(p.toTarget, p.orphan, r.Fresh, r.Differ, m.Fresh), byte(m.Kind), byte(m.Attempt), byte(m.Epoch), byte(m.Seq), byte(r.Kind), byte(r.Attempt), byte(r.Seq), byte(r.Epoch))
	b = append(append(b, m.Hash[:]...), r.Hash[:]...)
	return append(b, m.Body...)
}

// put sends a packet. An answer that nobody waits for has no effect, and a message that nobody waits for need not be twice on
// its way: losing one of them is always possible.
func (m *model) put(p packet) {
	if p.orphan {
		if !p.toTarget {
			return
		}
		for i := range m.net {
			if bytes.Equal(m.net[i].append(nil), p.append(nil)) {
				return
			}
		}
	}
	m.net = append(m.net, p)
}

// step steps the source's machine and carries out its effects at once.
func (m *model) step(ev Event) {
	queue := []Event{ev}
	for len(queue) > 0 {
		effects := append([]Effect(nil), m.machine.Step(0, queue[0])...)
		queue = queue[1:]
		for _, ef := range effects {
			if next := m.execute(ef); next != nil {
				queue = append(queue, next)
			}
		}
	}
}

func (m *model) commitSource(ev Event) { m.sWaits = append(m.sWaits, waiting{event: ev, key: -1}) }

func (m *model) execute(ef Effect) Event {
	switch e := ef.(type) {
	case EfPersist:
		m.s.phase, m.s.attempt = e.Phase, e.Attempt
		m.commitSource(EvPersisted{Attempt: e.Attempt})
	case EfSend:
		if k := e.Message.Kind; m.orders.Suspend && (k == MsgData || k == MsgPrepare) {
			m.doubted = "a job that is to rest sends " + k.String()
		}
		m.put(packet{toTarget: true, msg: e.Message})
	case EfOpenRound:
		m.openRound(e.Kind)
		return EvRoundOpen{}
	case EfRead:
		return m.read()
	case EfSent:
		m.covers[e.Seq] = m.last
	case EfFree:
		delete(m.covers, e.Seq)
	case EfRedo:
		delete(m.covers, e.Seq)
		m.round.pending = append(m.round.pending, 'R')
	case EfGiveBack:
		for _, mask := range m.covers {
			m.dirty |= mask
		}
		if len(m.round.pending) > 0 {
			m.dirty |= 1<<modelKeys - 1
		}
		m.covers = map[uint64]uint8{}
		m.round = modelRound{}
	case EfMeasure:
		keys := 0
		for k := range modelKeys {
			keys += int(m.dirty >> k & 1)
		}
		return EvLag{Keys: keys}
	case EfStop:
		m.tracking, m.dirty, m.round, m.covers = false, 0, modelRound{}, map[uint64]uint8{}
	case EfPause:
		m.paused = true
	case EfUnpause, EfHandedOver:
		m.paused, m.sealed = false, false
	case EfDecide:
		return m.decide()
	case EfReclaim:
		m.s.rec = cluster.Record{State: cluster.Serving, Epoch: 1}
		m.paused, m.sealed = false, false
	case EfConfirm:
		if m.d.data != m.s.data && m.s.rec.State == cluster.Released && m.d.rec.State == cluster.Serving && m.writes == 0 {
			return EvConfirmed{ConfirmDiffer}
		}
		return EvConfirmed{ConfirmEqual}
	case EfClean:
		if m.s.rec.State == cluster.Released && m.s.rec.Job == modelJob {
			m.s.rec.DataGone, m.s.purged, m.s.data = true, true, content{}
			if m.dDurable.rec.State != cluster.Serving {
				m.doubted = "the source's copy was deleted before the target's ownership was durable"
			}
		}
		m.commitSource(EvCleaned{})
	case EfTimer, EfEnded: // timers are actions of the explorer
	}
	return nil
}

func (m *model) openRound(k RoundKind) {
	all := uint8(1<<modelKeys - 1)
	m.round = modelRound{kind: k, snap: m.s.data}
	m.covers = map[uint64]uint8{}
	switch k {
	case RoundBase:
		m.tracking, m.dirty = true, 0
		m.round.pending, m.round.keys = []byte{'P'}, all
	case RoundResume:
		m.tracking, m.dirty = true, 0
		if !mutant.On(mutant.ResumeFromNew) {
			m.round.pending = []byte{'G'}
		}
	default:
		m.round.keys, m.dirty = m.dirty, 0
		for k := range modelKeys {
			if m.round.keys>>k&1 == 1 {
				m.round.pending = append(m.round.pending, '0'+byte(k)) // a message for each key, so that there are several
			}
		}
		if k == RoundVerify {
			m.round.pending = append(m.round.pending, 'G')
		}
		m.tracking = true // no-op but for the mutant that resumes without a cut
	}
}

func (m *model) read() Event {
	if len(m.round.pending) == 0 {
		return EvData{Last: true}
	}
	op := m.round.pending[0]
	m.round.pending = m.round.pending[1:]
	body := []byte{op}
	m.last = 1<<modelKeys - 1
	if op >= '0' && op <= '9' {
		m.last = 1 << (op - '0')
	}
	for k := range modelKeys {
		if m.last>>k&1 == 1 {
			body = append(body, byte(k), m.round.snap[k])
		}
	}
	return EvData{Body: body, Last: len(m.round.pending) == 0}
}

func (m *model) decide() Event {
	if m.s.rec.State != cluster.Serving || m.s.rec.Epoch != 1 {
		return EvOverruled{Why: "not served"}
	}
	m.sealed = true
	m.s.rec = cluster.Record{State: cluster.Released, Epoch: 2, Job: modelJob, Attempt: m.machine.Attempt(), Peer: modelDst}
	m.s.phase, m.s.attempt = PhaseDecided, m.machine.Attempt()
	if mutant.On(mutant.ForgetfulSource) {
		durable := m.sDurable
		defer func() { m.sDurable = durable }()
	}
	m.commitSource(EvDecided{})
	return nil
}

// arrive executes a message at the target; the answer waits for the target's sync.
func (m *model) arrive(p packet) {
	v := Target{Record: m.d.rec, Cursor: m.d.cursor, Incarnation: modelInc}.Handle(modelSrc, p.msg)
	if v.Wipe {
		m.d.data = content{}
	}
	if v.Apply || v.Check {
		body := p.msg.Body
		for i := 1; i+1 < len(body); i += 2 {
			switch {
			case body[0] == 'G' && m.d.data[body[i]] != body[i+1]:
				v.Reply.Differ = true
			case body[0] != 'G' && v.Apply:
				m.d.data[body[i]] = body[i+1]
			}
		}
	}
	if v.Cursor != nil {
		m.d.cursor = *v.Cursor
	}
	if v.Record != nil {
		m.d.rec = *v.Record
	}
	answer := packet{msg: p.msg, reply: v.Reply, orphan: p.orphan}
	answer.msg.Body = nil
	if mutant.On(mutant.PrepareUnsynced) && p.msg.Kind == MsgPrepare || mutant.On(mutant.AckUndurable) && p.msg.Kind == MsgData {
		m.put(answer)
		return
	}
	if v.TakeOver && mutant.On(mutant.ForgetfulTarget) {
		m.put(answer)
		return
	}
	if answer.orphan && v.Record == nil && v.Cursor == nil {
		return // nothing was written and nobody waits
	}
	m.dWaits = append(m.dWaits, waiting{reply: &answer, key: -1})
}

func (m *model) syncSource() {
	if mutant.On(mutant.ForgetfulSource) && m.s.rec.State == cluster.Released {
		kept := m.sDurable
		m.sDurable = m.s
		m.sDurable.rec, m.sDurable.phase = kept.rec, kept.phase
	} else {
		m.sDurable = m.s
	}
	waits := m.sWaits
	m.sWaits = nil
	for _, w := range waits {
		m.settle(w)
	}
}

func (m *model) syncTarget() {
	m.dDurable = m.d
	waits := m.dWaits
	m.dWaits = nil
	for _, w := range waits {
		m.settle(w)
	}
}

func (m *model) settle(w waiting) {
	if w.event != nil {
		m.step(w.event)
	}
	if w.reply != nil {
		m.put(*w.reply)
	}
	if w.key >= 0 {
		m.acked[w.key] = max(m.acked[w.key], w.value)
	}
}

func (m *model) crashSource(keep bool) {
	if keep {
		m.sDurable = m.s
	}
	m.s = m.sDurable
	m.sWaits, m.paused, m.sealed, m.tracking, m.dirty = nil, false, false, false, 0
	m.round, m.covers = modelRound{}, map[uint64]uint8{}
	m.orphan(func(packet) bool { return true }) // nobody waits for these answers any more
	for i := range m.dWaits {
		if r := m.dWaits[i].reply; r != nil {
			answer := *r
			answer.orphan = true
			m.dWaits[i].reply = &answer
		}
	}
	m.machine = m.newMachine()
	phase := m.s.phase
	if m.s.rec.State == cluster.Released && phase < PhaseDecided {
		phase = PhaseDecided
	}
	if m.s.rec.State == cluster.Serving && phase >= PhaseDecided && phase <= PhaseDone {
		phase = PhaseActive // only a mutant's crash leads here
	}
	if phase == PhaseDecided {
		m.sealed = true
	}
	if phase == PhasePending {
		m.step(EvBegin{})
		return
	}
	m.step(EvRecover{Phase: phase})
}

func (m *model) crashTarget(keep bool) {
	if keep {
		m.dDurable = m.d
	}
	m.d = m.dDurable
	for _, w := range m.dWaits {
		if w.reply != nil && !w.reply.orphan { // the source will notice that no answer comes
			lost := &w.reply.msg
			m.step(EvSendFailed{Message: lost.Kind, Attempt: lost.Attempt, Seq: lost.Seq, Err: "crash"})
		}
	}
	m.dWaits = nil
}

// ask lets the target ask the source what became of its attempt. The answer waits for the source's sync, so it is asked only
// when there is nothing to wait for: otherwise the sync comes first.
func (m *model) ask() {
	if len(m.sWaits) > 0 && !mutant.On(mutant.UndurableAnswer) {
		return
	}
	q := Message{Kind: MsgAsk, Slot: 5, Job: m.d.rec.Job, Attempt: m.d.rec.Attempt}
	live := m.s.phase == PhaseActive || m.s.phase == PhasePending
	switch r := Answer(m.s.rec, live, modelDst, q); r.Kind {
	case ReplyDecided:
		q.Kind, q.Epoch = MsgCommit, r.Epoch
	case ReplyDead:
		q.Kind, q.Epoch = MsgAbort, m.d.rec.Epoch
	default:
		return
	}
	m.arrive(packet{msg: q, orphan: true})
}

// pushMap gives the slot to the source again, as an old map would. The source has a record of it and claims nothing; only mutants
// serve it again.
func (m *model) pushMap() {
	if m.s.rec.State != cluster.Serving && (mutant.On(mutant.MapSteals) || mutant.On(mutant.NoneReassigned)) {
		m.s.rec = cluster.Record{State: cluster.Serving, Epoch: max(m.s.rec.Epoch, m.d.rec.Epoch) + 1}
		m.commitSource(nil)
	}
}

func (m *model) writeSource(k int) bool {
	if m.s.rec.State != cluster.Serving || m.paused || m.sealed {
		return false
	}
	m.writes++
	m.s.data[k] = m.writes
	if m.tracking {
		m.dirty |= 1 << k
	}
	m.sWaits = append(m.sWaits, waiting{key: int8(k), value: m.writes})
	return true
}

func (m *model) writeTarget(k int) bool {
	if m.d.rec.State != cluster.Serving {
		return false
	}
	m.writes++
	m.d.data[k] = m.writes
	m.dWaits = append(m.dWaits, waiting{key: int8(k), value: m.writes})
	return true
}

// action is one thing that can happen next in a model M.
type action[M any] struct {
	name  string
	fault bool
	late  bool // may never happen: a message arrives that nobody waits for
	do    func(M)
}

func (m *model) actions(b modelBounds) []action[*model] {
	var out []action[*model]
	add := func(name string, fault bool, do func(*model)) {
		out = append(out, action[*model]{name: name, fault: fault, do: do})
	}
	if len(m.sWaits) > 0 {
		add("sync source", false, (*model).syncSource)
	}
	if len(m.dWaits) > 0 {
		add("sync target", false, (*model).syncTarget)
	}
	for i, p := range m.net {
		if m.sameBefore(i) {
			continue
		}
		add(fmt.Sprintf("deliver %s %s", p.msg.Kind, p.reply.Kind), false, func(m *model) { m.deliver(i, false) })
		out[len(out)-1].late = p.orphan
		if p.toTarget {
			add("execute twice "+p.msg.Kind.String(), true, func(m *model) { m.deliver(i, true) })
		}
		if !p.orphan {
			add("time out "+p.msg.Kind.String(), true, func(m *model) { m.timeOut(i) })
		}
	}
	if m.machine.retryArmed && !m.awaited() {
		add("retry", false, func(m *model) { m.step(EvTimer{TimerRetry, m.machine.generations[TimerRetry]}) })
	}
	if m.d.rec.State == cluster.Importing || m.d.rec.State == cluster.Prepared {
		add("target asks", false, (*model).ask)
	}
	if int(m.writes) <= b.writes {
		for k := range modelKeys {
			add("write at source", false, func(m *model) { m.writeSource(k) })
			add("write at target", false, func(m *model) { m.writeTarget(k) })
		}
	}
	if m.machine.step == StepPausing || mutant.On(mutant.LateUnpause) && m.machine.step == StepDeciding {
		add("pause deadline", true, func(m *model) { m.step(EvTimer{TimerPause, m.machine.generations[TimerPause]}) })
	}
	if m.orders.Hold {
		add("cut over", false, func(m *model) { m.order(Orders{Suspend: m.orders.Suspend}) })
	}
	if m.orders.Suspend {
		add("resume", false, func(m *model) { m.order(Orders{Hold: m.orders.Hold}) })
	} else if b.rests {
		add("rest", true, func(m *model) { m.order(Orders{Hold: m.orders.Hold, Suspend: true}) })
	}
	add("cancel", true, func(m *model) { m.step(EvCancel{"cancelled"}) })
	add("old map", true, (*model).pushMap)
	for _, keep := range []bool{false, true} {
		add(fmt.Sprint("crash source, unsynced kept ", keep), true, func(m *model) { m.crashSource(keep) })
		add(fmt.Sprint("crash target, unsynced kept ", keep), true, func(m *model) { m.crashTarget(keep) })
	}
	return out
}

// order gives orders.
func (m *model) order(o Orders) {
	m.orders = o
	m.step(EvOrders{o})
}

// awaited reports whether an answer may still come: a retry is timed to come later than any answer that was not lost.
func (m *model) awaited() bool {
	for _, p := range m.net {
		if !p.orphan {
			return true
		}
	}
	for _, w := range m.dWaits {
		if w.reply != nil && !w.reply.orphan {
			return true
		}
	}
	return false
}

// sameBefore reports whether an equal packet stands earlier, whose delivery leads to the same states.
func (m *model) sameBefore(i int) bool {
	for j := range i {
		if bytes.Equal(m.net[j].append(nil), m.net[i].append(nil)) {
			return true
		}
	}
	return false
}

// orphan makes the source stop waiting for some packets.
func (m *model) orphan(which func(packet) bool) {
	old := m.net
	m.net = nil
	for _, p := range old {
		p.orphan = p.orphan || which(p)
		m.put(p)
	}
}

func (m *model) deliver(i int, twice bool) {
	p := m.net[i]
	m.net = append(m.net[:i:i], m.net[i+1:]...)
	if twice {
		again := p
		again.orphan = true // the second answer goes nowhere
		m.put(again)
	}
	if p.toTarget {
		m.arrive(p)
		return
	}
	if !p.orphan {
		m.step(EvReply{Message: p.msg.Kind, Attempt: p.msg.Attempt, Seq: p.msg.Seq, Reply: p.reply})
	}
}

// timeOut makes the source stop waiting; the packet goes on.
func (m *model) timeOut(i int) {
	p := m.net[i]
	m.net = append(m.net[:i:i], m.net[i+1:]...)
	late := p
	late.orphan = true
	m.put(late)
	m.step(EvSendFailed{Message: p.msg.Kind, Attempt: p.msg.Attempt, Seq: p.msg.Seq, Err: "time-out"})
}

// broken names the invariant that the state violates, or "".
func (m *model) broken() string {
	if m.doubted != "" {
		return m.doubted
	}
	sServes, dServes := m.s.rec.State == cluster.Serving, m.d.rec.State == cluster.Serving
	if sServes && dServes {
		return "both nodes serve the slot"
	}
	if m.orders.Hold && (m.machine.step == StepPausing || m.machine.step.Decided()) {
		return "a slot is handed over that is to be held"
	}
	for k := range modelKeys {
		switch {
		case sServes && m.s.data[k] < m.acked[k]:
			return fmt.Sprintf("the source serves key %d as of write %d, but %d was acknowledged", k, m.s.data[k], m.acked[k])
		case dServes && m.d.data[k] < m.acked[k]:
			return fmt.Sprintf("the target serves key %d as of write %d, but %d was acknowledged", k, m.d.data[k], m.acked[k])
		}
	}
	return ""
}

// unfinished names what keeps the state from being a good end, or "".
func (m *model) unfinished() string {
	switch {
	case !m.machine.step.Ended():
		return "the source is " + m.machine.step.String()
	case m.s.rec.State != cluster.Serving && m.d.rec.State != cluster.Serving:
		return "nobody serves the slot"
	case m.machine.step == StepDone && m.orders.Hold:
		return "the slot has moved although it was to be held"
	case m.paused || m.sealed:
		return "commands stay parked at the source"
	case m.d.rec.State == cluster.Prepared || m.d.rec.State == cluster.Importing:
		return "the target is " + m.d.rec.State.String()
	}
	return ""
}

type modelResult struct {
	states, ends int
	tooLarge     bool
	failure      string
	trace        []string
}

// explorable is a model of something that moves.
type explorable[M any] interface {
	clone() M
	key() [16]byte
	actions(modelBounds) []action[M]
	// spent is how many faults have struck.
	spent() *int
	// beyond reports that the state lies outside the bounds.
	beyond(modelBounds) bool
	// broken names the invariant that the state violates, unfinished what keeps it from being a good end; "" for none.
	broken() string
	unfinished() string
}

func (m *model) spent() *int               { return &m.faults }
func (m *model) beyond(b modelBounds) bool { return m.machine.attempt > b.attempts }

// explore visits every state within the bounds, breadth first, so that a failure comes with a shortest trace. Each state must
// satisfy the invariants, and from each a good end must be reachable by what happens without further faults: neither a
// deadlock nor an endless repetition passes.
func explore[M explorable[M]](start M, b modelBounds) modelResult {
	type node struct {
		m      M
		parent int32
		action string
	}
	nodes := []node{{start, -1, "start"}}
	seen := map[[16]byte]int32{start.key(): 0}
	var from, to []int32 // edges without faults
	var good []int32     // good ends, and states at the edge of the bounds
	why := map[int32]string{}
	var res modelResult
	fail := func(i int32, text string) modelResult {
		res.failure, res.states = text, len(nodes)
		for ; i >= 0; i = nodes[i].parent {
			res.trace = append([]string{nodes[i].action}, res.trace...)
		}
		return res
	}
	for i := int32(0); int(i) < len(nodes); i++ {
		m := nodes[i].m
		if len(nodes) > b.states {
			res.states, res.tooLarge = len(nodes), true
			return res
		}
		for _, a := range m.actions(b) {
			if a.fault && *m.spent() >= b.faults {
				continue
			}
			next := m.clone()
			a.do(next)
			if a.fault {
				*next.spent()++
			}
			k := next.key()
			j, known := seen[k]
			switch {
			case next.beyond(b):
				good = append(good, i)
				continue
			case !known:
				j = int32(len(nodes))
				seen[k] = j
				nodes = append(nodes, node{next, i, a.name})
				if text := next.broken(); text != "" {
					return fail(j, text)
				}
			}
			if !a.fault && !a.late {
				from, to = append(from, i), append(to, j)
			}
		}
		if text := m.unfinished(); text == "" {
			good = append(good, i)
			res.ends++
		} else {
			why[i] = text
		}
		var none M
		nodes[i].m = none
	}
	res.states = len(nodes)
	// Walk back from the good ends over the edges.
	back := make([][]int32, len(nodes))
	for e := range from {
		back[to[e]] = append(back[to[e]], from[e])
	}
	reached := make([]bool, len(nodes))
	for len(good) > 0 {
		i := good[len(good)-1]
		good = good[:len(good)-1]
		if !reached[i] {
			reached[i] = true
			good = append(good, back[i]...)
		}
	}
	for i := range nodes {
		if !reached[i] {
			return fail(int32(i), "no good end can be reached: "+why[int32(i)])
		}
	}
	return res
}

func TestModelHandoff(t *testing.T) {
	for _, c := range []struct {
		orders Orders
		modelBounds
	}{
		{Orders{}, modelBounds{writes: 2, faults: 1, attempts: 6, states: 300_000}},
		{Orders{}, modelBounds{writes: 1, faults: 1, attempts: 6, rests: true, states: 300_000}},
		{Orders{}, modelBounds{writes: 1, faults: 2, attempts: 6, states: 1_500_000}},
		{Orders{Hold: true}, modelBounds{writes: 1, faults: 1, attempts: 6, rests: true, states: 500_000}},
	} {
		b := c.modelBounds
		r := explore(newModel(c.orders), b)
		t.Logf("%+v, %d writes, %d faults: %d states, %d ends", c.orders, b.writes, b.faults, r.states, r.ends)
		if r.failure != "" {
			t.Fatalf("%s, after:\n%s", r.failure, lines(r.trace))
		}
		if r.tooLarge {
			t.Fatal("the exploration is larger than its bound")
		}
	}
}

func lines(trace []string) string {
	var b bytes.Buffer
	for i, s := range trace {
		fmt.Fprintf(&b, "%3d %s\n", i, s)
	}
	return b.String()
}
