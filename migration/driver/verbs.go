package driver

import (
	"errors"
	"fmt"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/migration"
)

// orders is what operators want of a slot. Driver.mu is held.
func (j *job) orders(sl slot.Slot) migration.Orders {
	h := &j.header
	return migration.Orders{
		Hold: within(h.Held, sl), Suspend: h.Paused, Keep: h.KeepMs > 0 && !h.Cleaned, Return: h.RolledBack, Compare: h.RollbackOf != nil,
		Slow: h.OnOverload != engine.OverloadKeep,
	}
}

func within(ranges []slot.Range, sl slot.Slot) bool {
	for _, r := range ranges {
		if r.First <= sl && sl <= r.Last {
			return true
		}
	}
	return false
}

// Tell implements engine.Migrator.
func (d *Driver) Tell(counter uint64, verb engine.JobVerb, ranges []slot.Range) (engine.JobAnswer, error) {
	j := d.find(counter)
	if j == nil {
		return engine.JobAnswer{}, errNoJob(counter)
	}
	var changed bool
	var message string
	var err error
	switch verb {
	case engine.VerbPause, engine.VerbResume:
		changed, message = j.rest(verb == engine.VerbPause)
	case engine.VerbCutOver:
		changed, message, err = j.cutOver(ranges)
	case engine.VerbCancel:
		changed, message = j.cancel()
	case engine.VerbRollback:
		changed, message, err = j.rollBack()
	case engine.VerbClean:
		changed, message = j.dropCopies()
	default:
		err = fmt.Errorf("a job cannot be told to %s", verb)
	}
	if err != nil {
		return engine.JobAnswer{}, err
	}
	st := j.status()
	if changed {
		d.env.Log.Info("job was told", "job", st.ID.String(), "verb", string(verb), "answer", message)
	}
	return engine.JobAnswer{Job: st.Report(), Changed: changed, Message: message}, nil
}

// CheckThrottle implements engine.Migrator.
func (d *Driver) CheckThrottle(limit string) error {
	_, err := parseThrottle(limit)
	return err
}

// Throttle implements engine.Migrator.
func (d *Driver) Throttle(counter uint64, limit *string) (engine.ThrottleReport, error) {
	r := engine.ThrottleReport{Job: counter}
	l := &d.pacer.node
	var j *job
	if counter != 0 {
		if j = d.find(counter); j == nil {
			return r, errNoJob(counter)
		}
		l = &j.limiter
	}
	was, _ := d.pacer.limitOf(l)
	if limit != nil {
		next, err := parseThrottle(*limit)
		switch {
		case err != nil:
			return r, err
		case j == nil:
			r.Changed = next.String() != was.String()
		case j.over() != "":
			return r, errors.New(j.over())
		default:
			r.Changed = j.throttle(next)
		}
		if r.Changed {
			d.env.Log.Info("the throttle was changed", "job", counter, "limit", next.String())
		}
		d.pacer.set(l, next)
	}
	now, words := d.pacer.limitOf(l)
	r.Limit, r.Now = now.String(), words
	return r, nil
}

// throttle stores the job's limit, and reports whether it was another.
func (j *job) throttle(limit migration.Limit) (changed bool) {
	text := ""
	if !limit.None() {
		text = limit.String()
	}
	return j.told("keep to "+limit.String(), func(h *header) bool {
		was := h.Throttle
		h.Throttle = text
		return was != text
	})
}

// told stores the header, which change has changed as what says, and gives every slot that is on its way its orders. change says whether
// there is anything to tell.
func (j *job) told(what string, change func(*header) bool) bool {
	d := j.d
	d.mu.Lock()
	if !change(&j.header) {
		d.mu.Unlock()
		return false
	}
	j.note("told to " + what)
	d.mu.Unlock()
	j.persist(nil)
	j.giveOrders()
	d.env.Workers.Submit(d.pumpJobs)
	return true
}

// giveOrders tells every slot that is on its way what operators want. One that has been held stays so until pumpJobs lets it go, when
// there is room, and so does one that has rested: a job can have many more of them than are to move at once.
func (j *job) giveOrders() {
	d := j.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, sl := range j.order {
		if s := d.sources[sl]; s != nil && s.job == j {
			s.resting = s.resting || j.header.Paused
			o := s.orders()
			if !o.Hold && !s.letGo {
				o.Hold = s.seen().held
				s.letGo = !o.Hold
			}
			s.post(migration.EvOrders{Orders: o}) // a queue's mutex nests in Driver.mu
		}
	}
}

// account is how a job stands: its slots by what can still become of them. Driver.mu is held.
type account struct{ open, moved, failed, done int }

func (j *job) account() (a account) {
	for _, sl := range j.order {
		switch p := j.slots[sl]; {
		case p.phase == migration.PhaseFailed || p.phase == migration.PhaseAborting:
			a.failed++
		case !p.phase.Moved():
			a.open++
		default:
			a.moved++
			if p.phase == migration.PhaseDone {
				a.done++
			}
		}
	}
	return a
}

// kept reports that the source has its copy and keeps it.
func (p *slotProgress) kept() bool {
	return p.phase == migration.PhaseKeeping || p.phase == migration.PhaseReturning
}

// over says how a job has ended, or "".
func (j *job) over() string {
	st := j.status()
	if !st.State.Ended() {
		return ""
	}
	text := fmt.Sprintf("job %s has ended with %s: %d of %d slots moved", st.ID, st.State, st.Moved.Len(), st.Slots)
	if st.Error != "" {
		text += ": " + st.Error
	}
	return text
}

// rest makes the job rest, or go on.
func (j *job) rest(paused bool) (bool, string) {
	if text := j.over(); text != "" {
		return false, text
	}
	j.d.mu.Lock()
	a := j.account()
	j.d.mu.Unlock()
	if a.open == 0 {
		return false, "every slot has been handed over or given up: what is left to do is not paused"
	}
	what := "go on"
	if paused {
		what = "rest"
	}
	changed := j.told(what, func(h *header) bool {
		if h.Paused == paused {
			return false
		}
		h.Paused = paused
		return true
	})
	switch {
	case paused && changed:
		return true, fmt.Sprintf("paused: nothing is sent for the %d slots that are not handed over; RESUME goes on", a.open)
	case paused:
		return false, "it is paused already"
	case changed:
		return true, fmt.Sprintf("the job goes on with %d slots", a.open)
	default:
		return false, "it is not paused"
	}
}

// cutOver takes back the hold of slots: of all, if none are named.
func (j *job) cutOver(ranges []slot.Range) (bool, string, error) {
	if text := j.over(); text != "" {
		return false, text, nil
	}
	j.d.mu.Lock()
	own := j.header.Ranges // replaced, never changed in place
	j.d.mu.Unlock()
	for _, r := range ranges {
		for sl := int(r.First); sl <= int(r.Last); sl++ {
			if !within(own, slot.Slot(sl)) {
				return false, "", fmt.Errorf("slot %d is not one of the job's", sl)
			}
		}
	}
	n, atOnce := 0, 0
	changed := j.told("cut over", func(h *header) bool {
		var left slot.Set
		atOnce = j.d.cfg.SlotsAtOnce
		for _, sl := range j.order {
			switch {
			case !within(h.Held, sl):
			case len(ranges) == 0 || within(ranges, sl):
				n++
			default:
				left.Add(sl)
			}
		}
		h.Held = left.Ranges()
		return n > 0
	})
	if !changed {
		return false, "none of these slots is held", nil
	}
	return true, fmt.Sprintf("%d slots are not held any more: each is handed over when it is copied and verified, %d at once", n, atOnce), nil
}

// cancel gives up what is not decided.
func (j *job) cancel() (bool, string) {
	if text := j.over(); text != "" {
		return false, text
	}
	j.d.mu.Lock()
	a := j.account()
	j.d.mu.Unlock()
	if a.open == 0 {
		if a.moved == 0 {
			return false, "the job gives its slots up already"
		}
		return false, fmt.Sprintf("too late: all slots that the job has not given up, %d, have been handed over; a new job can move them back", a.moved)
	}
	j.stop("cancelled by an operator")
	return true, fmt.Sprintf("the %d slots that are not handed over stay, but for those that are being handed over at this moment; %d have moved", a.open, a.moved)
}

// rollBack gives up what is not decided, and asks the target to hand back what the source keeps copies of.
func (j *job) rollBack() (bool, string, error) {
	d := j.d
	d.mu.Lock()
	a := j.account()
	keeps := j.orders(0).Keep
	d.mu.Unlock()
	over := j.over()
	switch {
	case a.moved == 0 && over != "":
		return false, over, nil
	case a.moved > 0 && !keeps && j.header.KeepMs == 0:
		return false, "", fmt.Errorf("the job does not keep copies for a rollback (it was started without HOLD-SOURCE): move its %d slots back with a new job, at the node that has them", a.moved)
	case over != "", a.moved > 0 && !keeps:
		return false, "", fmt.Errorf("the copies for a rollback are gone, or the slots are back already: if need be, move the slots back with a new job at node %s", j.header.Target)
	}
	if a.open > 0 {
		j.stop("rolled back by an operator")
	}
	first := false
	j.told("roll back", func(h *header) bool {
		first = !h.RolledBack
		h.RolledBack, h.NotReturned = true, ""
		return true
	})
	return first || a.open > 0, fmt.Sprintf("%d slots that have moved are asked back of node %s, by a job there; %d that were not handed over stay", a.moved-a.done, j.header.Target, a.open), nil
}

// dropCopies ends the time for which the copies are kept.
func (j *job) dropCopies() (bool, string) {
	if text := j.over(); text != "" {
		return false, text
	}
	if j.header.KeepMs == 0 {
		return false, "the job does not keep copies: each is deleted as soon as it was compared"
	}
	changed := j.told("delete the copies that are kept", func(h *header) bool {
		was := h.Cleaned
		h.Cleaned = true
		return !was
	})
	if !changed {
		return false, "the copies are being deleted already"
	}
	return true, "the copies are deleted now, or as soon as they were compared: the job cannot be rolled back any more"
}

// errReturn says why a slot is not handed back.
var errReturn = errors.New("not handed back")

// handBack starts, or finds, the job that hands a slot back to the source that it came from by a job.
func (d *Driver) handBack(from engine.PeerInfo, m migration.Message) migration.Reply {
	reply := migration.Reply{Kind: migration.ReplyReturning, Attempt: m.Attempt, Incarnation: d.node.Incarnation()}
	if err := d.returnJob(from, m); err != nil {
		reply.Kind, reply.Text = migration.ReplyRefused, err.Error()
	}
	return reply
}

func (d *Driver) returnJob(from engine.PeerInfo, m migration.Message) error {
	if from.ID != m.Job.Node || from.Incarnation != m.Job.Incarnation {
		return fmt.Errorf("%w: job %s was made by another node or another directory of it", errReturn, m.Job)
	}
	// Over the look and the start: a question that came twice would otherwise find no job, and be refused the one that its twin starts.
	d.returns.Lock()
	defer d.returns.Unlock()
	var live *job
	d.mu.Lock()
	for _, j := range d.jobs {
		if j.header.RollbackOf == nil || *j.header.RollbackOf != m.Job {
			continue
		}
		if p := j.slots[m.Slot]; p != nil && !p.phase.Ended() {
			d.mu.Unlock()
			return nil // it is on its way
		}
		if j.header.EndedMs == 0 && j.header.Error == "" {
			live = j
		}
	}
	d.mu.Unlock()
	if r := d.node.Record(m.Slot); r.State != cluster.Serving || r.Job != m.Job || r.Epoch != m.Epoch+1 {
		return fmt.Errorf("%w: slot %d is %s here under epoch %d and has had to do with other jobs since", errReturn, m.Slot, r.State, r.Epoch)
	}
	if live != nil && d.join(live, m.Slot) {
		return nil
	}
	_, err := d.startJob([]slot.Range{{First: m.Slot, Last: m.Slot}}, from.ID, header{RollbackOf: &m.Job, Priority: engine.MaxPriority, Payload: payloadOf(m.Body)})
	return err
}

// payloadOf is the payload for the way back of a job that had one. What it is does not matter for what arrives: one that is not known is
// as good as any.
func payloadOf(name []byte) engine.Payload {
	p, _ := engine.ParsePayload(string(name))
	return p
}

// join adds a slot to a job that has not ended, so that the slots of a job come back by one, and reports whether it could.
func (d *Driver) join(j *job, sl slot.Slot) bool {
	d.mu.Lock()
	if j.header.EndedMs != 0 || j.slots[sl] != nil || d.sources[sl] != nil || d.pendingIn(sl) {
		d.mu.Unlock()
		return false
	}
	set := slot.SetOf(j.header.Ranges...)
	set.Add(sl)
	j.header.Ranges, j.order = set.Ranges(), set.Slots()
	j.slots[sl] = &slotProgress{}
	j.lists.joins(sl)
	d.mu.Unlock()
	d.node.Store().WhenDurable(j.persist(nil), d.pumpJobs)
	return true
}
