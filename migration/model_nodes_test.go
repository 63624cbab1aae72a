package migration

import (
	"fmt"
	"sort"

	"github.com/zeebo/xxh3"

	"godwit/engine/cluster"
	"godwit/engine/mutant"
)

const (
	modelKeys = 2
	modelSlot = 5
	// modelWindow is what may be on its way: two messages of three bytes, so that one waits where the room was halved.
	modelWindow = 6
)

// The two nodes of a model by index: the move goes from the first to the second, the way back, if there is one, the other way.
var (
	nodeIDs    = [2]cluster.NodeID{"source", "target"}
	nodeDirs   = [2]cluster.Incarnation{1, 7}
	moveJob    = cluster.JobID{Node: nodeIDs[0], Incarnation: nodeDirs[0], Counter: 1}
	returnJob  = cluster.JobID{Node: nodeIDs[1], Incarnation: nodeDirs[1], Counter: 1}
	moveNames  = [2]string{"source", "target"}
	legPrefix  = [2]string{"", "back: "}
	nobodyYet  = content{1, 0}
	legJobs    = [2]cluster.JobID{moveJob, returnJob}
	everything = uint8(1<<modelKeys - 1)
)

type content [modelKeys]uint8

// disk is what a node's store holds: once as it is visible, once as a crash would leave it. What is stored of a job lies at its
// source; it is kept here by leg.
type disk struct {
	rec     cluster.Record
	cursor  Cursor
	data    content
	purged  bool
	begun   [2]bool // the job is stored
	phase   [2]Phase
	attempt [2]cluster.Attempt
}

// waiting is what happens when a node's commits become durable.
type waiting struct {
	leg   int
	event Event   // for the leg's machine
	begin bool    // the leg's machine may be made: its job is stored
	reply *packet // of the leg's target
	key   int8    // of a write to be acknowledged, or -1
	value uint8
}

// modelNode is a node: its disk, and what waits for its sync.
type modelNode struct {
	disk
	durable        disk
	waits          []waiting
	paused, sealed bool
	busy           string // why there is no room for the message that is executed
}

func (n *modelNode) append(b []byte) []byte {
	for _, d := range []*disk{&n.disk, &n.durable} {
		b = append(append(b, d.rec.Encode()...), d.cursor.Encode()...)
		b = append(b, d.data[:]...)
		b = append(b, flagBits(d.purged, d.begun[0], d.begun[1]), byte(d.phase[0]), byte(d.phase[1]), byte(d.attempt[0]), byte(d.attempt[1]))
	}
	b = append(b, flagBits(n.paused, n.sealed))
	for _, w := range n.waits {
		kind := byte(0)
		switch e := w.event.(type) {
		case EvPersisted:
			kind = byte(e.Attempt)
		case EvDecided:
			kind = 254
		case EvCleaned:
			kind = 255
		}
		b = append(b, 'w', byte(w.leg), kind, flagBits(w.begin), byte(w.key), w.value)
		if w.reply != nil {
			b = w.reply.append(b)
		}
	}
	return b
}

// model is two nodes, the move of a slot between them, and the way back, which there is once the first node has asked for it.
type model struct {
	nodes   [2]*modelNode
	legs    [2]*leg // the second is nil as long as nobody asks for it
	orders  Orders  // of the move; durable before the operator is answered
	writes  uint8
	acked   content
	losses  losses
	faults  int
	doubted string // an invariant that broke inside an action
}

func newModel(o Orders) *model {
	m := &model{orders: o, acked: nobodyYet, losses: losses{bySource: nobodyYet}, writes: 1, nodes: [2]*modelNode{{}, {}}}
	n := m.nodes[0]
	n.rec = cluster.Record{State: cluster.Serving, Epoch: 1}
	n.data, n.begun[0] = nobodyYet, true
	n.durable = n.disk
	m.legs[0] = newLeg(m, 0)
	m.legs[0].step(EvBegin{})
	return m
}

func (m *model) clone() *model {
	c := *m
	for i, n := range m.nodes {
		node := *n
		node.waits = append([]waiting(nil), n.waits...)
		c.nodes[i] = &node
	}
	for i, l := range m.legs {
		if l != nil {
			c.legs[i] = l.clone(&c)
		}
	}
	return &c
}

// key identifies a state. What only bounds work in time (back-off, timer generations, reasons) is left out.
func (m *model) key() [16]byte {
	b := make([]byte, 0, 1024)
	for _, n := range m.nodes {
		b = n.append(b)
	}
	o := m.orders
	b = append(b, flagBits(o.Hold, o.Suspend, o.Keep, o.Return), m.writes, byte(m.faults))
	b = append(b, m.acked[:]...)
	b = m.losses.append(b)
	for _, l := range m.legs {
		if b = append(b, flagBits(l != nil)); l != nil {
			b = l.append(b)
		}
	}
	return xxh3.Hash128(b).Bytes()
}

// sync makes a node's commits durable.
func (m *model) sync(i int) {
	n := m.nodes[i]
	kept := n.durable
	n.durable = n.disk
	if i == 0 && mutant.On(mutant.ForgetfulSource) && n.rec.State == cluster.Released {
		n.durable.rec, n.durable.phase = kept.rec, kept.phase
	}
	if mutant.On(mutant.ForgetfulTarget) && kept.rec.State == cluster.Prepared && n.rec.State == cluster.Serving {
		n.durable.rec = kept.rec
	}
	waits := n.waits
	n.waits = nil
	for _, w := range waits {
		l := m.legs[w.leg]
		if w.event != nil {
			l.step(w.event)
		}
		if w.begin {
			l.begin()
		}
		if w.reply != nil {
			l.put(*w.reply)
		}
		if w.key >= 0 {
			m.acked[w.key] = max(m.acked[w.key], w.value)
			m.losses.acked(i, w)
		}
	}
}

// crash takes a node's power away: all of its unsynced commits are lost, or all are kept.
func (m *model) crash(i int, keep bool) {
	n := m.nodes[i]
	if keep {
		n.durable = n.disk
	}
	n.disk = n.durable
	waits := n.waits
	n.waits, n.paused, n.sealed = nil, false, false
	for _, w := range waits {
		if w.reply != nil && !w.reply.orphan { // the source will notice that no answer comes
			lost := &w.reply.msg
			m.legs[w.leg].step(EvSendFailed{Message: lost.Kind, Attempt: lost.Attempt, Seq: lost.Seq, Err: "crash"})
		}
	}
	for _, l := range m.legs {
		if l != nil && l.s == n {
			l.crashed()
		}
	}
}

// arrive executes a message of a leg at its target; the answer waits for the target's sync.
func (m *model) arrive(l *leg, p packet) {
	n := l.d
	answer := packet{msg: p.msg, orphan: p.orphan}
	answer.msg.Body = nil
	if p.msg.Kind == MsgReturn {
		answer.reply = m.handBack(p.msg)
		n.waits = append(n.waits, waiting{leg: l.index, reply: &answer, key: -1})
		return
	}
	v := Target{Record: n.rec, Cursor: n.cursor, Incarnation: l.dir(), Busy: n.busy}.Handle(l.job.Node, p.msg)
	if v.Wipe {
		n.data = content{}
	}
	if v.Apply || v.Check {
		body := p.msg.Body
		for i := 1; i+1 < len(body); i += 2 {
			switch {
			case body[0] == 'G' && n.data[body[i]] != body[i+1]:
				v.Reply.Differ = true
			case body[0] != 'G' && v.Apply:
				n.data[body[i]] = body[i+1]
			}
		}
	}
	if v.Cursor != nil {
		n.cursor = *v.Cursor
	}
	if v.Record != nil {
		n.rec = *v.Record
		for _, other := range m.legs {
			if other != nil && other.s == n && other.machine != nil {
				other.step(EvReplaced{})
			}
		}
	}
	answer.reply = v.Reply
	switch {
	case mutant.On(mutant.PrepareUnsynced) && p.msg.Kind == MsgPrepare, mutant.On(mutant.AckUndurable) && p.msg.Kind == MsgData,
		v.TakeOver && mutant.On(mutant.ForgetfulTarget):
		l.put(answer)
	case v.Reply.Kind == ReplyServing: // it does not wait, but what it speaks of does
		l.put(answer)
		n.waits = append(n.waits, waiting{key: -1})
	case answer.orphan && v.Record == nil && v.Cursor == nil: // nothing was written and nobody waits
	default:
		n.waits = append(n.waits, waiting{leg: l.index, reply: &answer, key: -1})
	}
}

// handBack answers the source of the move, which asks for the slot: once, by a job that begins when it is stored.
func (m *model) handBack(q Message) Reply {
	n := m.nodes[1]
	r := Reply{Kind: ReplyReturning, Attempt: q.Attempt, Incarnation: nodeDirs[1]}
	switch {
	case n.begun[1] && !n.phase[1].Ended():
	case n.begun[1], n.rec.State != cluster.Serving || n.rec.Job != q.Job || n.rec.Epoch != q.Epoch+1:
		r.Kind = ReplyRefused
	default:
		n.begun[1] = true
		m.legs[1] = newLeg(m, 1)
		m.legs[1].machine = nil
		n.waits = append(n.waits, waiting{leg: 1, begin: true, key: -1})
	}
	return r
}

// ask lets a node that imports ask the source what became of its attempt. The answer waits for the source's sync, so it is asked
// only when there is nothing to wait for: otherwise the sync comes first.
func (m *model) ask(i int) {
	n := m.nodes[i]
	for _, l := range m.legs {
		if l == nil || l.d != n || l.job != n.rec.Job || len(l.s.waits) > 0 && !mutant.On(mutant.UndurableAnswer) {
			continue
		}
		q := Message{Kind: MsgAsk, Slot: modelSlot, Job: l.job, Attempt: n.rec.Attempt}
		phase := l.s.phase[l.index]
		switch r := Answer(l.s.rec, phase == PhaseActive || phase == PhasePending, nodeIDs[i], q); r.Kind {
		case ReplyDecided:
			q.Kind, q.Epoch = MsgCommit, r.Epoch
		case ReplyDead:
			q.Kind, q.Epoch = MsgAbort, n.rec.Epoch
		default:
			return
		}
		m.arrive(l, packet{msg: q, orphan: true})
	}
}

// pushMap gives the slot to the first node again, as an old map would. The node has a record of it and claims nothing; only mutants
// serve it again.
func (m *model) pushMap() {
	n := m.nodes[0]
	if n.rec.State != cluster.Serving && (mutant.On(mutant.MapSteals) || mutant.On(mutant.NoneReassigned)) {
		n.rec = cluster.Record{State: cluster.Serving, Epoch: max(n.rec.Epoch, m.nodes[1].rec.Epoch) + 1}
		n.waits = append(n.waits, waiting{key: -1})
	}
}

// write lets a client write a key at a node.
func (m *model) write(i, k int) {
	n := m.nodes[i]
	if n.rec.State != cluster.Serving || n.paused || n.sealed {
		return
	}
	m.writes++
	n.data[k] = m.writes
	for _, l := range m.legs {
		if l != nil && l.s == n && l.tracking {
			l.dirty |= 1 << k
		}
	}
	n.waits = append(n.waits, waiting{key: int8(k), value: m.writes})
}

// order gives orders to the move.
func (m *model) order(o Orders) {
	m.orders = o
	m.legs[0].step(EvOrders{o})
}

func (m *model) actions(b modelBounds) []action[*model] {
	var out []action[*model]
	add := func(name string, fault bool, do func(*model)) {
		out = append(out, action[*model]{name: name, fault: fault, do: do})
	}
	for i, n := range m.nodes {
		if m.losses.lost[i] {
			continue
		}
		if len(n.waits) > 0 {
			add("sync "+moveNames[i], false, func(m *model) { m.sync(i) })
		}
		if n.rec.State == cluster.Importing || n.rec.State == cluster.Prepared {
			if !m.losses.lost[1-i] {
				add(moveNames[i]+" asks", false, func(m *model) { m.ask(i) })
			}
		}
		if int(m.writes) <= b.writes {
			for k := range modelKeys {
				add("write at "+moveNames[i], false, func(m *model) { m.write(i, k) })
			}
		}
		for _, keep := range []bool{false, true} {
			add(fmt.Sprintf("crash %s, unsynced kept %v", moveNames[i], keep), true, func(m *model) { m.crash(i, keep) })
		}
	}
	for i, l := range m.legs {
		if l != nil && l.machine != nil {
			out = append(out, l.actions(i, b)...)
		}
	}
	if b.losses {
		out = append(out, m.resolutions()...)
	}
	return append(out, m.operators(b)...)
}

// operators is what operators can do.
func (m *model) operators(b modelBounds) []action[*model] {
	var out []action[*model]
	add := func(name string, fault bool, change func(*Orders)) {
		out = append(out, action[*model]{name: name, fault: fault, do: func(m *model) {
			o := m.orders
			change(&o)
			m.order(o)
		}})
	}
	if m.orders.Hold {
		add("cut over", false, func(o *Orders) { o.Hold = false })
	}
	if m.orders.Suspend {
		add("resume", false, func(o *Orders) { o.Suspend = false })
	} else if b.rests {
		add("rest", true, func(o *Orders) { o.Suspend = true })
	}
	if m.legs[0].machine.step == StepKeeping {
		if !m.orders.Return {
			add("roll back", false, func(o *Orders) { o.Return = true })
		}
		out = append(out, action[*model]{name: "the copy was kept long enough", do: (*model).keptLongEnough})
	}
	return append(out, action[*model]{name: "old map", fault: true, do: (*model).pushMap})
}

// keptLongEnough ends the time for which the copy is kept; a rollback that was accepted outlives it.
func (m *model) keptLongEnough() {
	s := m.legs[0].machine
	asking := m.orders.Return && !s.returned
	m.legs[0].step(EvKeepOver{})
	if asking && s.step != StepKeeping {
		m.doubted = "an accepted rollback was dropped before the target had answered"
	}
}

// broken names the invariant that the state violates, or "".
func (m *model) broken() string {
	if m.doubted != "" {
		return m.doubted
	}
	if m.nodes[0].rec.State == cluster.Serving && m.nodes[1].rec.State == cluster.Serving && !m.losses.any() {
		return "both nodes serve the slot"
	}
	if step := m.legs[0].machine.step; m.orders.Hold && (step == StepPausing || step.Decided()) {
		return "a slot is handed over that is to be held"
	}
	for i, n := range m.nodes {
		for k := range modelKeys {
			if m.losses.lost[i] {
				continue
			}
			if n.rec.State == cluster.Serving && n.data[k] < m.acked[k] {
				return fmt.Sprintf("the %s serves key %d as of write %d, but %d was acknowledged", moveNames[i], k, n.data[k], m.acked[k])
			}
		}
	}
	return ""
}

// unfinished names what keeps the state from being a good end, or "".
func (m *model) unfinished() string {
	if m.losses.any() {
		return m.unresolved()
	}
	for i, l := range m.legs {
		switch {
		case l == nil || l.machine == nil && !l.s.begun[i]:
		case l.machine == nil || !l.machine.step.Ended():
			return "a job of the " + moveNames[i] + " has not ended"
		}
	}
	served := false
	for i, n := range m.nodes {
		switch {
		case n.paused || n.sealed:
			return "commands stay parked at the " + moveNames[i]
		case n.rec.State == cluster.Prepared || n.rec.State == cluster.Importing:
			return "the " + moveNames[i] + " is " + n.rec.State.String()
		}
		served = served || n.rec.State == cluster.Serving
	}
	if !served {
		return "nobody serves the slot"
	}
	return ""
}

func (m *model) spent() *int { return &m.faults }

func (m *model) beyond(b modelBounds) bool {
	for _, l := range m.legs {
		if l != nil && l.machine != nil && l.machine.attempt > b.attempts {
			return true
		}
	}
	return false
}

func sortedPackets(net []packet) []string {
	packets := make([]string, 0, len(net))
	for i := range net {
		packets = append(packets, string(net[i].append(nil)))
	}
	sort.Strings(packets)
	return packets
}
