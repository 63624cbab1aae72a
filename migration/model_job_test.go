package migration

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"godwit/engine/cluster"
)

// jobModel is a job of two slots that move at the same time. Each has a machine, messages and records of its own; what they have
// in common is what can tear them apart: one store at each node, so that a sync or a crash strikes both, and one cancel, which
// comes when one is decided and the other is not. Clients do not write: what becomes of writes each slot's own exploration shows.
type jobModel struct {
	slots     [2]*model
	faults    int
	cancelled bool
}

func newJobModel() *jobModel {
	return &jobModel{slots: [2]*model{newModel(Orders{}), newModel(Orders{})}}
}

func (j *jobModel) clone() *jobModel {
	c := *j
	for i, m := range j.slots {
		c.slots[i] = m.clone()
	}
	return &c
}

// key identifies a state; which of the slots is which does not matter.
func (j *jobModel) key() [16]byte {
	a, b := j.slots[0].key(), j.slots[1].key()
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	text := append(append([]byte{byte(j.faults), flagBits(j.cancelled)}, a[:]...), b[:]...)
	return xxh3.Hash128(text).Bytes()
}

func (j *jobModel) spent() *int { return &j.faults }

func (j *jobModel) beyond(b modelBounds) bool { return j.slots[0].beyond(b) || j.slots[1].beyond(b) }

// strikesBoth reports that an action of one slot's model is, in truth, one of the whole job.
func strikesBoth(name string) bool {
	return name == "cancel" || strings.HasPrefix(name, "sync ") || strings.HasPrefix(name, "crash ")
}

func (j *jobModel) actions(b modelBounds) (out []action[*jobModel]) {
	for i, m := range j.slots {
		for _, a := range m.actions(b) {
			if strikesBoth(a.name) || a.name == "old map" {
				continue
			}
			out = append(out, action[*jobModel]{name: fmt.Sprintf("slot %d: %s", i, a.name), fault: a.fault, late: a.late, do: func(j *jobModel) { a.do(j.slots[i]) }})
		}
	}
	both := func(name string, fault bool, do func(*model)) {
		out = append(out, action[*jobModel]{name: name, fault: fault, do: func(j *jobModel) {
			for _, m := range j.slots {
				do(m)
			}
		}})
	}
	if len(j.slots[0].nodes[0].waits)+len(j.slots[1].nodes[0].waits) > 0 {
		both("sync source", false, func(m *model) { m.sync(0) })
	}
	if len(j.slots[0].nodes[1].waits)+len(j.slots[1].nodes[1].waits) > 0 {
		both("sync target", false, func(m *model) { m.sync(1) })
	}
	for _, keep := range []bool{false, true} {
		both(fmt.Sprint("crash source, unsynced kept ", keep), true, func(m *model) { m.crash(0, keep) })
		both(fmt.Sprint("crash target, unsynced kept ", keep), true, func(m *model) { m.crash(1, keep) })
	}
	if !j.cancelled {
		out = append(out, action[*jobModel]{name: "cancel", fault: true, do: func(j *jobModel) {
			j.cancelled = true
			for _, m := range j.slots {
				m.legs[0].step(EvCancel{"cancelled"})
			}
		}})
	}
	return out
}

// broken adds, to what each slot must satisfy, that a slot whose machine has ended is where the job's account says: moved, or
// kept.
func (j *jobModel) broken() string {
	for i, m := range j.slots {
		if text := m.broken(); text != "" {
			return fmt.Sprintf("slot %d: %s", i, text)
		}
		switch {
		case m.legs[0].machine.step == StepDone && m.nodes[1].rec.State != cluster.Serving:
			return fmt.Sprintf("slot %d counts as moved, and the target is %s", i, m.nodes[1].rec.State)
		case m.legs[0].machine.step == StepFailed && m.nodes[0].rec.State != cluster.Serving:
			return fmt.Sprintf("slot %d counts as kept, and the source is %s", i, m.nodes[0].rec.State)
		}
	}
	return ""
}

// unfinished: the job has ended when both slots have, each for itself.
func (j *jobModel) unfinished() string {
	for i, m := range j.slots {
		if text := m.unfinished(); text != "" {
			return fmt.Sprintf("slot %d: %s", i, text)
		}
	}
	return ""
}

func TestModelJob(t *testing.T) {
	b := modelBounds{writes: 0, faults: 1, attempts: 6, states: 200_000}
	r := explore(newJobModel(), b)
	t.Logf("two slots, %d writes, %d faults: %d states, %d ends", b.writes, b.faults, r.states, r.ends)
	if r.failure != "" {
		t.Fatalf("%s, after:\n%s", r.failure, lines(r.trace))
	}
	if r.tooLarge {
		t.Fatal("the exploration is larger than its bound")
	}
}
