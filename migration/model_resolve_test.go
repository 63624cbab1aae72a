package migration

import (
	"godwit/engine/cluster"
	"godwit/engine/mutant"
)

// losses are what the model knows of sides that are lost for good, and of what may be lost with them. A side is lost at a moment at which the other
// cannot come to an end alone: a source whose target is prepared, a target whose source has decided. Then an operator resolves the handoff at the side that is
// left, and does so again if that side crashes before it is durable. As a fault an operator resolves one whose other side lives: the node asks that, and refuses.
type losses struct {
	watched bool // else nothing is ever lost, and nothing noted
	lost    [2]bool
	// bySource is what the source has acknowledged. A lost target takes with it what it had acknowledged itself.
	bySource content
	// atPause is what had been acknowledged when the source paused, by attempt. A lost source that had not decided takes with it what it acknowledged after.
	atPause [modelPauses]content
}

// modelPauses is more than any exploration has attempts.
const modelPauses = 8

func (s *losses) any() bool { return s.lost[0] || s.lost[1] }

// append adds to the key of a state what is lost and what was noted.
func (s *losses) append(b []byte) []byte {
	if !s.watched {
		return b
	}
	b = append(append(b, flagBits(s.lost[0], s.lost[1])), s.bySource[:]...)
	for i := range s.atPause {
		b = append(b, s.atPause[i][:]...)
	}
	return b
}

// acked notes a write that is acknowledged by a node.
func (s *losses) acked(node int, w waiting) {
	if s.watched && node == 0 {
		s.bySource[w.key] = max(s.bySource[w.key], w.value)
	}
}

// paused notes what had been acknowledged when the source paused.
func (s *losses) paused(a cluster.Attempt, acked content) {
	if s.watched {
		s.atPause[a%modelPauses] = acked
	}
}

// unheard reports whether a packet of a leg is on its way to a side that is lost, or to nobody.
func (s *losses) unheard(leg int, toTarget bool) bool {
	if toTarget {
		return s.lost[1-leg]
	}
	return s.lost[leg]
}

// newModelOf is a model in which sides can be lost if the bounds say so.
func newModelOf(o Orders, b modelBounds) *model {
	m := newModel(o)
	m.losses.watched = b.losses
	return m
}

// resolutions is what can be lost, and what operators can say of it.
func (m *model) resolutions() []action[*model] {
	var out []action[*model]
	l := m.legs[0]
	lose := func(i int) {
		out = append(out, action[*model]{name: "lose " + moveNames[i], fault: true, do: func(m *model) { m.losses.lost[i] = true }})
	}
	resolve := func(at int, what string, do func(*model)) {
		out = append(out, action[*model]{name: "resolve at " + moveNames[at] + " as " + what, fault: !m.losses.lost[1-at], do: do})
	}
	if m.nodes[1].rec.State == cluster.Prepared && !m.losses.lost[1] {
		if !m.losses.any() {
			lose(0)
		}
		resolve(1, "commit", func(m *model) { m.resolveAtTarget(MsgCommit) })
		resolve(1, "abort", func(m *model) { m.resolveAtTarget(MsgAbort) })
	}
	if l.machine.step == StepCommitting && !m.losses.lost[0] {
		if !m.losses.any() {
			lose(1)
		}
		resolve(0, "commit", func(m *model) { m.resolveAtSource(true) })
		resolve(0, "abort", func(m *model) { m.resolveAtSource(false) })
	}
	return out
}

// resolveAtTarget does at the target what its source would have told it, or asks that, if it lives.
func (m *model) resolveAtTarget(kind MessageKind) {
	if !m.losses.lost[0] && !mutant.On(mutant.ResolveBlind) {
		m.ask(1)
		return
	}
	r := m.nodes[1].rec
	if m.losses.lost[0] && m.nodes[0].rec.State == cluster.Serving {
		m.acked = m.losses.atPause[r.Attempt%modelPauses]
	}
	msg := Message{Kind: kind, Slot: modelSlot, Job: moveJob, Attempt: r.Attempt, Epoch: r.Epoch}
	if kind == MsgCommit {
		msg.Epoch++
	}
	m.arrive(m.legs[0], packet{msg: msg, orphan: true})
}

// resolveAtSource ends the handoff as if the target had answered, or serves the copy again; if the target lives, it is asked by another commit.
func (m *model) resolveAtSource(commit bool) {
	l, n := m.legs[0], m.nodes[0]
	msg := Message{Kind: MsgCommit, Slot: modelSlot, Job: moveJob, Attempt: n.rec.Attempt, Epoch: n.rec.Epoch}
	switch {
	case !m.losses.lost[1] && !mutant.On(mutant.ResolveBlind):
		m.arrive(l, packet{msg: msg, orphan: true})
	case commit:
		l.step(EvReply{Message: MsgCommit, Attempt: l.machine.attempt, Reply: Reply{Kind: ReplyCommitted, Attempt: l.machine.attempt}})
	default:
		if m.losses.lost[1] {
			m.acked = m.losses.bySource
		}
		n.rec = cluster.Record{State: cluster.Serving, Epoch: n.rec.Epoch + 1, Job: moveJob, Attempt: n.rec.Attempt, Peer: nodeIDs[1]}
		n.phase[0], n.paused, n.sealed = PhaseFailed, false, false
		for i := range n.waits {
			n.waits[i].event = nil // nobody waits for it any more
		}
		n.waits = append(n.waits, waiting{key: -1})
		l.orphan()
		l.machine = l.newMachine()
		l.step(EvRecover{Phase: PhaseFailed})
	}
}

// unresolved names what keeps the side that is left from being at an end, or "". Nobody need serve the slot: whoever did may be lost.
func (m *model) unresolved() string {
	for i, n := range m.nodes {
		switch {
		case m.losses.lost[i]:
		case n.paused || n.sealed:
			return "commands stay parked at the " + moveNames[i]
		case n.rec.State == cluster.Prepared:
			return "the " + moveNames[i] + " is " + n.rec.State.String()
		}
	}
	// A job that has not decided, since its source has lost the decision in a crash, can be cancelled.
	if x := m.legs[0].machine; !m.losses.lost[0] && !x.step.Ended() && m.nodes[0].rec.State != cluster.Serving {
		return "the job of the source has not ended"
	}
	return ""
}
