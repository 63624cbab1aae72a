package sim

import (
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/linearize"
	"godwit/migration"
)

// Machines that are lost for good in the middle of a move, and the operator who then says how it ends.
//
// The machine is emptied first, since what it serves is lost with it: but for one slot, which it is giving away, or takes. It goes where the other side cannot end
// the move by itself: the source when the target is prepared, the target when the source has decided and has not been answered. The links between the two can
// be dead for a while before, so that the source gives up its pause and serves on, or the target serves already. When an operator has resolved the
// handoff at the side that is left, and that is durable, the machine comes back on an empty disk, as a wiped one does.
//
// What may be lost is known to the operation: what the lost machine has told clients since the other side's copy was complete, if it has run a
// command that can write since. Nobody counts on that any more: what was read is left out of the history, and what was written may have happened or not. All
// else must be there.

// loss is a machine that is to be lost, or is.
type loss struct {
	p       *process
	source  bool // of the move; else its target
	until   time.Duration
	slot    slot.Slot
	moves   bool            // the slot has been asked to move
	other   *process        // nil while the move does not need the machine
	attempt cluster.Attempt // of the move, since it needs the machine
	told    []linearize.ID  // what the machine has told clients of the slot
	writes  int             // how many commands that can write it has run there
	flushed bool            // it was told to delete all, which it may do at any time from then on
	// parted says from where on the machine has what the other side has not: since the target served, or, by attempt, since it was asked to prepare, to which a
	// crash can bring it back.
	parted  map[cluster.Attempt]parted
	wants   int // it is lost as soon as it has run so many since then
	severed []cut
	heard   bool // the other side has the answer that the machine durably serves, and may not have come to it yet
	gone    bool
	job     cluster.JobID // of the move, once the machine is lost
	asked   int           // the life of the other side in which it was told how the move ends, and has not answered; 0 for none
}

// parted is how much a machine had told and written at a moment.
type parted struct{ told, writes int }

// mostLost bounds how many writes may be lost with a machine: each makes histories more uncertain.
const mostLost = 6

// lossTime is how long the nemesis tries to bring a machine to where it is to be lost.
const lossTime = 4 * time.Second

// lose begins to empty a machine that is to be lost.
func (f *faults) lose() {
	p, source := f.machine(), f.dice.chance(0.5)
	if p == nil || f.losing != nil || f.wiping != nil || p.nameless || !f.n.w.plan.act("lose", "node ", p.index) {
		return
	}
	f.loseOf(p, source)
}

func (f *faults) loseOf(p *process, source bool) {
	f.losing = &loss{p: p, source: source, until: f.n.w.now + lossTime}
	f.n.w.notef(p.index, traceNemesis, "is drained, to be lost for good")
	f.lead(f.losing)
}

// lead brings a machine to where it is to be lost: first it gives away what it has, but for the one slot; then that slot moves.
func (f *faults) lead(l *loss) {
	p, w := l.p, f.n.w
	switch {
	case l.gone:
		return
	case f.n.over || w.now > l.until && l.other == nil:
		f.losing = nil
		return
	case !p.ready() || p.stalled() || !p.ended() || l.moves && !f.overMoving(l):
	default:
		l.heard, l.moves, l.other, l.severed, l.told, l.writes, l.flushed, l.parted = false, false, nil, nil, nil, 0, false, map[cluster.Attempt]parted{}
		f.leadOn(l)
	}
	w.after(drainEvery, func() { f.lead(l) })
}

// overMoving reports whether nothing is left of the last attempt to have the slot moved.
func (f *faults) overMoving(l *loss) bool {
	owner := f.n.w.owner(l.slot)
	return owner != nil && owner.ended() && f.n.w.importing(l.slot) == nil
}

// leadOn takes the next step: one job.
func (f *faults) leadOn(l *loss) {
	p, w := l.p, f.n.w
	var serves []slot.Slot
	var away []string // all that it serves; of a source, but for the last
	for _, sl := range w.keys.slots {
		if p.serves(sl) {
			serves = append(serves, sl)
			away = append(away, strconv.Itoa(int(sl)))
		}
	}
	if l.source && len(away) > 0 {
		away = away[:len(away)-1]
	}
	to := w.procs[(p.index+1+f.dice.IntN(len(w.procs)-1))%len(w.procs)]
	switch {
	case len(away) > 0:
		w.oper.migrate(p, to, strings.Join(away, " "), func(resp.Value) {})
	case l.source && len(serves) == 1 && p.keepsOnly(serves[0]):
		l.slot, l.moves = serves[0], true
		w.oper.migrate(p, to, strconv.Itoa(int(l.slot)), func(resp.Value) {})
	case !l.source && p.idle():
		l.slot = w.keys.slots[f.dice.IntN(len(w.keys.slots))]
		if from := w.owner(l.slot); from != nil && from.ready() && !from.stalled() {
			l.moves = true
			w.oper.migrate(from, p, strconv.Itoa(int(l.slot)), func(resp.Value) {})
		}
	}
}

// recorded looks for the moment from which the move needs the machine.
func (f *faults) recorded(q *process, sl slot.Slot, r cluster.Record) {
	l := f.losing
	if l == nil || l.gone || !l.moves || sl != l.slot || f.n.over {
		return
	}
	needed := l.source && q != l.p && r.State == cluster.Prepared && r.Job.Node == l.p.id ||
		!l.source && q != l.p && r.State == cluster.Released && !r.DataGone && r.Peer == l.p.id
	switch {
	case needed && q == l.other && r.Attempt == l.attempt: // it has been started again
	case needed:
		l.other, l.attempt, l.wants = q, r.Attempt, mostLost
		if _, again := l.parted[r.Attempt]; !again {
			l.parted[r.Attempt] = parted{len(l.told), l.writes}
		}
		mute := []cut{{l.p.index, q.index}}
		deaf := append(mute, cut{q.index, l.p.index})
		l.severed = pick(f.dice, nil, mute, deaf)
		delay := f.dice.between(0, pick(f.dice, 3*time.Millisecond, 60*time.Millisecond))
		if f.dice.chance(0.5) { // until something was written that will be lost
			l.wants, delay = 1+f.dice.IntN(4), time.Second
			if l.severed = mute; l.source { // which serves again only if it has not heard that the target is prepared
				l.severed = deaf
			}
		}
		f.n.w.after(delay, func() { f.strikeOut(l, strikeTries) })
	case q == l.other && l.source: // another attempt, or the machine was heard
		l.other, l.severed = nil, nil
	}
}

// sends notes that a source asks its target to prepare: all that it has run until then is there. A message that is late comes when the source has given
// the pause up and has run more.
func (f *faults) sends(p *process, k *call) {
	l := f.losing
	if l == nil || l.gone || !l.moves || !l.source || p != l.p || !k.carries(migration.MsgPrepare) {
		return
	}
	m, err := migration.DecodeMessage(k.args[2])
	if _, again := l.parted[m.Attempt]; err == nil && m.Slot == l.slot && !again {
		l.parted[m.Attempt] = parted{len(l.told), l.writes}
	}
}

// hears notes that the other side of a move hears that the machine durably serves the slot.
func (f *faults) hears(q *process, k *call, reply string) {
	l := f.losing
	if l == nil || l.gone || l.source || q != l.other || !k.carries(migration.MsgCommit) {
		return
	}
	m, _ := migration.DecodeMessage(k.args[2])
	r, err := migration.DecodeReply([]byte(reply))
	if err == nil && m.Slot == l.slot && r.Kind == migration.ReplyCommitted {
		l.heard = true
	}
}

// served counts what a machine runs that may be lost.
func (f *faults) served(p *process, sl slot.Slot) {
	l := f.losing
	if l == nil || l.gone || !l.moves || p != l.p || sl != l.slot {
		return
	}
	if l.writes++; l.other != nil && l.unshared() == l.wants {
		f.n.w.after(0, func() { f.strikeOut(l, strikeTries) })
	}
}

// flushes notes that a machine is told to delete all: if it is lost, what it has shown since may come back.
func (f *faults) flushes(p *process) {
	if l := f.losing; l != nil && !l.gone && l.moves && p == l.p {
		l.flushed = true
	}
}

// answered notes that a machine has told a client of an operation.
func (f *faults) answered(p *process, sl slot.Slot, id linearize.ID) {
	if l := f.losing; l != nil && !l.gone && l.moves && p == l.p && sl == l.slot {
		l.told = append(l.told, id)
	}
}

// strikeTries is how often it is looked, at every millisecond, whether the move stands where the machine can be lost.
const strikeTries = 40

// strikeOut loses the machine for good, if the move still needs it and nothing else does; else, after some tries, the links are mended.
func (f *faults) strikeOut(l *loss, tries int) {
	p, w := l.p, f.n.w
	if l.gone || f.losing != l || l.other == nil {
		return
	}
	if f.n.over || l.unshared() > mostLost || !l.stands() {
		if tries--; tries > 0 && !f.n.over {
			w.after(time.Millisecond, func() { f.strikeOut(l, tries) })
		} else {
			l.severed = nil
		}
		return
	}
	l.gone, l.job = true, l.other.record(l.slot).Job
	f.n.count(map[bool]string{true: markLostSource, false: markLostTarget}[l.source])
	p.lost = true
	p.wipe()
	if l.unshared() > 0 || l.flushed {
		f.n.mark(markLostWrites)
		for _, id := range l.told[l.parted[l.attempt].told:] {
			w.history.forget(id)
		}
	}
	w.notef(p.index, traceNemesis, "is lost for good; node %d has the other side of slot %d", l.other.index, l.slot)
	w.after(f.dice.around(60*time.Millisecond), func() { w.oper.resolveLoss(l) })
}

// unshared is how many commands that can write the machine has run since it parted from what the other side has.
func (l *loss) unshared() int { return l.writes - l.parted[l.attempt].writes }

// stands reports whether the move cannot end without the machine, whatever crashes, and nothing else needs it.
func (l *loss) stands() bool {
	p, q := l.p, l.other
	if !p.ready() || !p.keepsOnly(l.slot) || !q.synced() {
		return false
	}
	r, mine := q.record(l.slot), p.record(l.slot)
	if l.source {
		return r.State == cluster.Prepared && r.Job.Node == p.id && !p.awaited(l.slot)
	}
	return r.State == cluster.Released && !r.DataGone && r.Peer == p.id && !l.heard && q.stepOf(l.slot) == "committing" &&
		(mine.State == cluster.Prepared || mine.State == cluster.Serving) && mine.Job == r.Job
}

// found gives a lost machine back, on its empty disk.
func (f *faults) found(l *loss) {
	l.p.lost = false
	f.losing = nil
	f.n.w.after(f.n.restartDelay(), l.p.start)
}

// cuts reports whether nothing passes in a direction because a machine is lost, or is about to be.
func (f *faults) cuts(from, to int) bool {
	l := f.losing
	if l == nil {
		return false
	}
	for _, c := range l.severed {
		if c.from == from && c.to == to {
			return true
		}
	}
	return l.p.lost && (from == l.p.index || to == l.p.index)
}
