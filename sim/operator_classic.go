package sim

import (
	"strconv"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// tool moves a slot as redis-cli --cluster reshard does it: it opens the slot at both ends, lets the source send its keys by MIGRATE until it has none, and
// tells every node who has the slot. It says one thing at a time and waits for the answer. It can be killed at any step, or find a node dead; then, as
// redis-cli --cluster fix does, another one closes the slot, or begins the move anew.
type tool struct {
	w        *world
	dice     dice
	from, to *process
	slot     slot.Slot
	epoch    cluster.Epoch  // under which the source serves
	began    uint64         // the latest job of the target when it was told that the slot is its own
	gone     cluster.Record // by which the slot left the target since; zero if it did not
	fixes    int            // how many came before it
	over     bool
}

// Bounds of what tools do. What was said to a node is heard, and keeps its session, also when the tool is dead.
const (
	mostTools    = 16 // in a run
	mostFixes    = 2
	toolPatience = 3 * time.Second // with one answer
	toolDies     = 0.05            // the chance at each step
)

// reshard moves a slot by the classic verbs, if no other tool is at work; else it reports false.
func (o *operator) reshard(from, to *process, sl slot.Slot) bool {
	if o.tool != nil || o.tools >= mostTools {
		return false
	}
	o.begins(&tool{w: o.w, dice: o.classic, from: from, to: to, slot: sl})
	return true
}

func (o *operator) begins(t *tool) {
	o.tool = t
	o.tools++
	t.epoch = t.from.record(t.slot).Epoch
	o.w.notef(t.from.index, traceNote, "a tool moves slot %d to node %d", t.slot, t.to.index)
	t.say(t.to, []string{"CLUSTER", "SETSLOT", t.name(), "IMPORTING", string(t.from.id)}, func(resp.Value) {
		t.say(t.from, []string{"CLUSTER", "SETSLOT", t.name(), "MIGRATING", string(t.to.id)}, func(v resp.Value) {
			if v.Kind == resp.ErrorKind {
				t.ends()
				return
			}
			t.send(0)
		})
	})
}

func (t *tool) name() string { return strconv.Itoa(int(t.slot)) }

// say tells a node something, and goes on with the answer.
func (t *tool) say(p *process, args []string, then func(resp.Value)) {
	w, answered := t.w, false
	if t.over || w.oper.over {
		t.ends()
		return
	}
	if t.dice.chance(toolDies) {
		w.notef(p.index, traceNote, "the tool is killed")
		w.nemesis.mark(markToolDied)
		t.ends()
		return
	}
	err := p.local(args, func(v resp.Value) {
		answered = true
		if !t.over {
			w.after(t.dice.between(0, 2*time.Millisecond), func() { then(v) })
		}
	})
	if err != nil {
		t.ends()
		return
	}
	w.after(toolPatience, func() {
		if !answered {
			t.ends()
		}
	})
}

// send lets the source send the keys of the slot, some at a time, as long as it has any.
func (t *tool) send(tries int) {
	t.say(t.from, []string{"CLUSTER", "GETKEYSINSLOT", t.name(), "10"}, func(v resp.Value) {
		if v.Kind != resp.ArrayKind {
			t.ends()
			return
		}
		if len(v.Elems) == 0 {
			t.hand(0)
			return
		}
		timeout := pick(t.dice, "50", "1000", "60000")
		args := []string{"MIGRATE", t.to.host, strconv.Itoa(t.to.port), "", "0", timeout, "REPLACE", "KEYS"}
		for _, e := range v.Elems {
			args = append(args, e.Str)
		}
		t.say(t.from, args, func(v resp.Value) {
			switch {
			case v.Kind == resp.SimpleKind:
				if v.Str == "OK" {
					t.left()
				}
				t.send(tries)
			case tries < 4:
				t.w.after(t.dice.around(50*time.Millisecond), func() { t.send(tries + 1) })
			default:
				t.ends()
			}
		})
	})
}

// left demands that a source that says that it has sent keys does not serve the slot, but if it has come back.
func (t *tool) left() {
	t.w.nemesis.mark(markMigrated)
	if r := t.from.record(t.slot); t.from.ready() && r.State == cluster.Serving && r.Epoch <= t.epoch {
		t.w.violate("verbs", "node %d has answered MIGRATE with OK, and has the slot still: %s", t.from.index, recordOf(t.slot, r))
	}
}

// hand tells the nodes who has the slot: the target first, then the source and the others.
func (t *tool) hand(i int) {
	w := t.w
	n := len(w.procs)
	if i == n {
		t.over, w.oper.tool = true, nil
		w.nemesis.mark(markResharded)
		return
	}
	p := w.procs[(t.to.index+i)%n]
	if i > 0 && !p.ready() {
		t.hand(i + 1)
		return
	}
	if p == t.to && p.ready() {
		t.began, t.gone = 0, cluster.Record{}
		for _, j := range p.node.Migrator().Jobs() {
			t.began = max(t.began, j.ID.Counter)
		}
	}
	t.say(p, []string{"CLUSTER", "SETSLOT", t.name(), "NODE", string(t.to.id)}, func(v resp.Value) {
		if v.Kind == resp.ErrorKind && p == t.to {
			t.ends()
			return
		}
		if p == t.to && p.ready() {
			t.arrived(v)
		}
		t.hand(i + 1)
	})
}

// recorded notes how the slot leaves the target.
func (t *tool) recorded(p *process, sl slot.Slot, r cluster.Record) {
	if p == t.to && sl == t.slot && r.State == cluster.Released && !r.DataGone {
		t.gone = r
	}
}

// arrived demands that a target that says that the slot is its own has it, or has had it since it was told so and given it away by a job that began later.
// The job of this slot that it found was to be given up before it answered, and one of several slots it leaves alone.
func (t *tool) arrived(answer resp.Value) {
	p := t.to
	if p.serves(t.slot) {
		return
	}
	for _, j := range p.node.Migrator().Jobs() {
		if j.ID == t.gone.Job && (j.ID.Counter > t.began || j.Slots > 1) {
			return
		}
	}
	t.w.violate("verbs", "node %d has answered SETSLOT NODE with %s, and does not have the slot: %s", p.index, answer, recordOf(t.slot, p.record(t.slot)))
}

// ends ends a tool that has not come to the end. Perhaps another one mends what it leaves behind; until then none begins anything else.
func (t *tool) ends() {
	w := t.w
	if t.over {
		return
	}
	t.over, w.oper.tool = true, nil
	if t.fixes == mostFixes || !t.dice.chance(0.7) {
		return
	}
	fix := &tool{w: w, dice: t.dice, from: t.from, to: t.to, slot: t.slot, fixes: t.fixes + 1}
	w.oper.tool = fix
	w.after(t.dice.around(100*time.Millisecond), fix.mend)
}

// mend begins the move anew, or closes the slot at both ends.
func (t *tool) mend() {
	w := t.w
	if w.oper.over || w.oper.tools >= mostTools || !t.from.serves(t.slot) || !w.plan.act("job") {
		t.over, w.oper.tool = true, nil
		return
	}
	if t.dice.chance(0.5) {
		w.oper.begins(t)
		return
	}
	t.over, w.oper.tool = true, nil
	for _, p := range []*process{t.from, t.to} {
		_ = p.local([]string{"CLUSTER", "SETSLOT", t.name(), "STABLE"}, func(v resp.Value) { // one that is down has nothing to close
			if v.Kind != resp.ErrorKind {
				w.nemesis.mark(markStable)
			}
		})
	}
}
