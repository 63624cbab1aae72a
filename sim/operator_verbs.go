package sim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// verbs tells jobs what operators can tell them, and marks what came of it.
type verbs struct {
	w *world
	// kept are the jobs that were started with HOLD-SOURCE, by the node that made them and their number.
	kept map[cluster.JobID]bool
	dice dice
}

func newVerbs(w *world) *verbs {
	return &verbs{w: w, kept: map[cluster.JobID]bool{}, dice: newDice(w.seed, streamVerbs, 0)}
}

// migrate starts a job as operators do that want to wait, or to come back: held before its cutover, with a copy kept, or both. What
// belongs to that is told later: a pause, its end, the cutover. done gets the answer.
func (v *verbs) migrate(from, to *process, slots string, done func(resp.Value)) {
	hold, keep := v.dice.chance(0.5), v.dice.chance(0.7)
	rest := v.dice.chance(0.4)
	restAt, restFor := v.dice.between(0, 80*time.Millisecond), v.dice.around(100*time.Millisecond)
	heldFor, keptFor := v.dice.around(150*time.Millisecond), pick(v.dice, 200*time.Millisecond, time.Second, 4*time.Second)
	args := []string{"GODWIT", "MIGRATION", "START", slots, string(to.id)}
	if hold {
		args = append(args, "HOLD")
	}
	if keep {
		args = append(args, "HOLD-SOURCE", keptFor.String())
	}
	payload := pick(v.dice, engine.PayloadRaw, engine.PayloadCommand, engine.PayloadTables)
	args = append(args, "PAYLOAD", string(payload))
	if rest { // a job that waits longer than others would
		args = append(args, "THROTTLE", "20kB/s", "PRIORITY", "-1")
	}
	if keptFor == time.Second {
		args = append(args, "ON-OVERLOAD", "KEEP")
	}
	v.w.notef(from.index, traceNote, "migrate %s to node %d as %s, hold %v, keep %v", slots, to.index, payload, hold, keep)
	_ = from.local(args, func(answer resp.Value) { // it was up a moment ago
		done(answer)
		counter, err := strconv.ParseUint(answer.Str, 10, 64)
		if answer.Kind == resp.ErrorKind || err != nil {
			return
		}
		if keep {
			v.kept[cluster.JobID{Node: from.id, Incarnation: from.node.Incarnation(), Counter: counter}] = true
		}
		if rest {
			v.soon(restAt, func() { v.tell(from, engine.VerbPause, counter) })
			v.soon(restAt+restFor, func() { v.tell(from, engine.VerbResume, counter) })
		}
		if hold {
			v.w.after(heldFor/2, func() { v.w.nemesis.rests(from, to, heldFor/2) })
			v.soon(heldFor, func() { v.tell(from, engine.VerbCutOver, counter) })
		}
	})
}

func (v *verbs) soon(d time.Duration, fn func()) {
	v.w.after(d, func() {
		if !v.w.oper.over && v.w.plan.act("verb") {
			fn()
		}
	})
}

// tell gives a job a verb, if its node is up.
func (v *verbs) tell(p *process, verb engine.JobVerb, counter uint64) {
	if !p.ready() || p.stalled() {
		return
	}
	v.w.notef(p.index, traceNote, "%s job %d", verb, counter)
	_ = p.local([]string{"GODWIT", "MIGRATION", string(verb), strconv.FormatUint(counter, 10)}, func(answer resp.Value) { // it was up a moment ago
		var a engine.JobAnswer
		if answer.Kind == resp.ErrorKind {
			if verb == engine.VerbRollback && strings.Contains(answer.Str, "copies for a rollback are gone") {
				v.w.nemesis.mark(markRollbackLate)
			}
			return
		}
		if err := json.Unmarshal([]byte(answer.Str), &a); err != nil {
			v.w.violate("verbs", "%s of job %d at node %d is answered with %s: %v", verb, counter, p.index, answer, err)
		}
		if mark, ok := verbMarks[verb]; ok && a.Changed {
			v.w.nemesis.mark(mark)
			if verb == engine.VerbPause {
				v.w.nemesis.rests(p, v.w.procOf(a.Job.Target), 50*time.Millisecond)
			}
		}
	})
}

// verbMarks is what is marked when a verb has changed something.
var verbMarks = map[engine.JobVerb]string{engine.VerbPause: markPaused, engine.VerbResume: markResumed, engine.VerbCutOver: markCutOver}

// recorded asks for a slot back that a job has just released and keeps, now and then, and marks one that has come back so.
func (v *verbs) recorded(p *process, r cluster.Record) {
	switch {
	case r.State == cluster.Released && !r.DataGone && v.kept[r.Job]:
		v.w.nemesis.rests(p, v.w.procOf(r.Peer), 150*time.Millisecond)
		if v.dice.chance(0.6) {
			verb := pick(v.dice, engine.VerbRollback, engine.VerbRollback, engine.VerbRollback, engine.VerbClean)
			v.soon(pick(v.dice, 10*time.Millisecond, 100*time.Millisecond, 600*time.Millisecond), func() { v.tell(p, verb, r.Job.Counter) })
		}
	case r.State == cluster.Serving && !r.Job.IsZero() && len(v.kept) > 0: // what comes back was kept
		source := v.w.procOf(r.Job.Node)
		if source == nil || source == p || !source.ready() {
			return
		}
		for _, j := range source.node.Migrator().Jobs() {
			if j.ID == r.Job && !j.RollbackOf.IsZero() {
				v.w.nemesis.mark(markRolledBack)
			}
		}
	}
}

// letGo makes everything go on that waits for operators.
func (v *verbs) letGo() {
	for _, p := range v.w.procs {
		if p.ended() || !p.ready() || p.stalled() {
			continue
		}
		for _, j := range p.node.Migrator().Jobs() {
			switch {
			case j.State.Ended() || j.Waiting == "":
			case j.Held.Len() > 0:
				v.tell(p, engine.VerbCutOver, j.ID.Counter)
			case j.Kept.Len() == 0 || j.Kept.Len() < j.Moved.Len() || j.Moved.Len() < j.Slots:
				v.tell(p, engine.VerbResume, j.ID.Counter)
			}
		}
	}
}

// tellEach takes the job of a node through everything that it can be told, step by step: a pause, its end, the cutover and the rollback.
func (v *verbs) tellEach(p *process, sl slot.Slot) {
	const every, looks = 2 * time.Millisecond, 6
	paused := false
	last, seen := "", 0
	var look func()
	look = func() {
		v.w.after(every, look)
		if !p.ready() || v.w.failed != nil {
			return
		}
		jobs := p.node.Migrator().Jobs()
		if len(jobs) == 0 {
			return
		}
		counter := jobs[0].ID.Counter
		step := p.stepOf(sl)
		if step != last {
			last, seen = step, 0
		}
		if seen++; !paused && (step == "base" || step == "changes" || step == "verify") {
			paused = true
			v.tell(p, engine.VerbPause, counter)
		}
		if seen%looks != 0 {
			return // it stays in the step for a while
		}
		switch step {
		case "suspended":
			v.tell(p, engine.VerbResume, counter)
		case "holding":
			v.tell(p, engine.VerbCutOver, counter)
		case "keeping":
			v.tell(p, engine.VerbRollback, counter)
		}
	}
	look()
}

// startHeld starts a job that waits before its cutover and keeps its copy.
func (v *verbs) startHeld(from, to *process, sl slot.Slot, done func()) {
	args := []string{"GODWIT", "MIGRATION", "START", fmt.Sprint(sl), string(to.id), "HOLD", "HOLD-SOURCE", "300ms"}
	_ = from.local(args, func(resp.Value) { done() }) // it was up a moment ago
}
