package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
	"godwit/linearize"
)

// Times of the moves.
const (
	moveTime = 2 * time.Minute // for one job, restarts included
	pollTime = 5 * time.Millisecond
	// awayTime is what passes before the killed node is started again, as a supervisor would do it.
	awayTime = 200 * time.Millisecond
	// killTries is how many moves may end before the kill strikes.
	killTries = 4
	// slowTime is how long a move takes at least, so that it can be struck in its middle.
	slowTime = 3 * time.Second
)

// demoPlan says which slots move. The first wave moves some from each node to the next, the last one moves these back; in
// between many slots move from the last node to the first, and that one is killed meanwhile.
type demoPlan struct {
	there []slot.Set // by node: moved to the next node, and back later
	kill  slot.Set
}

// newDemoPlan shares out the slots: a quarter of the moves are those of the first wave, a quarter those of the last, which
// moves the same slots.
func newDemoPlan(nodes []*demoNode, moves int) demoPlan {
	p := demoPlan{there: make([]slot.Set, len(nodes))}
	share := moves / 4
	for i, n := range nodes {
		count := share*(i+1)/len(nodes) - share*i/len(nodes)
		p.there[i] = spread(n.born.Slots(), count, slot.Set{})
	}
	last := len(nodes) - 1
	p.kill = spread(nodes[last].born.Slots(), moves-2*share, p.there[last])
	return p
}

// spread picks count slots that lie far apart, without those that are taken.
func spread(from []slot.Slot, count int, taken slot.Set) slot.Set {
	var free []slot.Slot
	for _, sl := range from {
		if !taken.Has(sl) {
			free = append(free, sl)
		}
	}
	var s slot.Set
	for i := range count {
		s.Add(free[i*len(free)/count])
	}
	return s
}

// moving is all the slots that move.
func (p demoPlan) moving() slot.Set {
	s := slot.SetOf(p.kill.Ranges()...)
	for _, set := range p.there {
		for _, sl := range set.Slots() {
			s.Add(sl)
		}
	}
	return s
}

// recorded picks at most n of the moving slots: half of those that move while the node is killed, half of the others.
func (p demoPlan) recorded(n int) []slot.Slot {
	kill := p.kill.Slots()
	out := spread(kill, min(n/2, len(kill)), slot.Set{})
	moving := p.moving()
	others := moving.Len() - len(kill)
	rest := spread(moving.Slots(), min(n-n/2, others), p.kill)
	return append(out.Slots(), rest.Slots()...)
}

// demoJob is a move of the demo.
type demoJob struct {
	from, to   *demoNode
	slots      slot.Set
	counter    uint64
	begin, end int64 // on the axis of the demo
	report     engine.JobReport
}

// demoOutage is the time in which the killed node was away.
type demoOutage struct {
	node       *demoNode
	begin, end int64    // from before the kill until the node served again
	slots      slot.Set // that it owned: served at the last look before, or by nobody else right after
	inMove     bool     // a move of it had begun and not ended
}

// covers reports whether an operation met the outage: it was on one of its slots, and not over before nor begun after.
func (o *demoOutage) covers(e clientEvent) bool {
	return o.during(e) && o.slots.Has(e.slot)
}

// during reports whether an operation was under way while the node was away.
func (o *demoOutage) during(e clientEvent) bool {
	return o.node != nil && e.end >= o.begin && e.begin <= o.end
}

// remembered reports whether an error is one that the library had met while the node was away and gave again after its
// return: no attempt to connect to the node has failed that began since.
func (d *demo) remembered(e clientEvent) bool {
	o := &d.outage
	if o.node == nil || !e.connecting || !o.slots.Has(e.slot) || e.begin <= o.end {
		return false
	}
	last, ok := d.refused.Load(o.node.addr)
	return ok && last.(int64) <= o.end
}

// move runs the waves, spread over the time that is left for clients.
func (d *demo) move(ctx context.Context, left time.Duration) error {
	waves := []func(context.Context) error{d.moveThere, d.moveAndKill, d.moveBack}
	for _, wave := range waves {
		if err := sleep(ctx, left/time.Duration(3*len(waves))); err != nil {
			return err
		}
		if err := wave(ctx); err != nil {
			return err
		}
	}
	return nil
}

// moveThere moves slots from each node to the next, all at once.
func (d *demo) moveThere(ctx context.Context) error {
	var jobs []*demoJob
	for i, n := range d.nodes {
		j, err := d.startMove(n, d.nodes[(i+1)%len(d.nodes)], d.plan.there[i], "")
		if err != nil {
			return err
		}
		jobs = append(jobs, j)
	}
	return d.awaitMoves(ctx, jobs)
}

// moveBack moves them back.
func (d *demo) moveBack(ctx context.Context) error {
	var jobs []*demoJob
	for i, n := range d.nodes {
		j, err := d.startMove(d.nodes[(i+1)%len(d.nodes)], n, d.plan.there[i], "")
		if err != nil {
			return err
		}
		jobs = append(jobs, j)
	}
	return d.awaitMoves(ctx, jobs)
}

// moveAndKill kills the target of a move in its middle. The move is slowed down until then, since one of few keys is over in
// no time; when it is over all the same before the kill strikes, the slots are moved the other way, and that target is killed.
//
// It is the target since the figures are exact then: a slot that has just left a killed source is served elsewhere, but a
// library that has not heard of it yet asks the dead node until it gives up, and that is no fault of the cluster.
func (d *demo) moveAndKill(ctx context.Context) error {
	from, to := d.nodes[len(d.nodes)-1], d.nodes[0]
	for range killTries {
		limit, err := slowLimit(from, to, d.plan.kill)
		if err != nil {
			return err
		}
		j, err := d.startMove(from, to, d.plan.kill, limit)
		if err != nil {
			return err
		}
		struck, err := d.killDuring(ctx, j)
		if err != nil {
			return err
		}
		if err := d.awaitMoves(ctx, []*demoJob{j}); err != nil {
			return err
		}
		if struck {
			return nil
		}
		from, to = to, from
	}
	return nil // the report says that no kill struck
}

// slowLimit is the throttle under which a move takes slowTime at least.
func slowLimit(from, to *demoNode, slots slot.Set) (string, error) {
	c, err := dial(from.addr, "")
	if err != nil {
		return "", err
	}
	defer c.close()
	var plan engine.PlanReport
	if err := c.json(&plan, "GODWIT", "MIGRATION", "PLAN", slots.String(), string(to.id)); err != nil {
		return "", err
	}
	passes := 3 * plan.Bytes // sent, and compared before the handover and after it
	return fmt.Sprintf("%dB/s", max(passes*uint64(time.Second)/uint64(slowTime), 1000)), nil
}

// killDuring kills the target of a job once a quarter of its slots have moved, waits, starts it again, and lets the job go on as
// fast as it can. It reports whether it has killed it: the job had not ended before.
func (d *demo) killDuring(ctx context.Context, j *demoJob) (bool, error) {
	victim := j.to
	look, err := dial(victim.addr, "")
	if err != nil {
		return false, err
	}
	defer look.close()
	c, err := dial(j.from.addr, "")
	if err != nil {
		return false, err
	}
	defer c.close()
	enough := max(1, j.slots.Len()/4)
	for {
		var r engine.JobReport
		if err := c.json(&r, "GODWIT", "MIGRATION", "STATUS", strconv.FormatUint(j.counter, 10)); err != nil {
			return false, err
		}
		if r.MovedSlots == r.Slots || r.Ended {
			return false, nil
		}
		if r.MovedSlots >= enough {
			break
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return false, err
		}
	}
	o := &d.outage
	var before engine.NodeReport
	if err := look.json(&before, "GODWIT", "STATUS"); err != nil {
		return false, err
	}
	if o.slots, err = slotSet(before.Serving); err != nil {
		return false, err
	}
	o.node, o.begin = victim, d.now()
	if err := victim.kill(); err != nil {
		return false, err
	}
	if err := d.addOrphans(o); err != nil {
		return false, err
	}
	r, err := askJob(jobFlags{node: j.from.addr}, j.counter)
	if err != nil {
		return false, err
	}
	o.inMove = r.MovedSlots < r.Slots
	d.line("kill", "%s (SIGKILL), the owner of %s slots; %s has moved %d of %d", victim.name(), countText(o.slots.Len()), j.name(), r.MovedSlots, r.Slots)
	if err := sleep(ctx, awayTime); err != nil {
		return false, err
	}
	if err := victim.start(ctx); err != nil {
		return false, err
	}
	o.end = d.now()
	d.line("restart", "%s serves again after %.2f s; %s goes on", victim.name(), time.Duration(o.end-o.begin).Seconds(), j.name())
	d.record.Event(linearize.Event{Tag: "kill", Start: o.begin, End: o.end, Description: victim.name() + " is away", Colour: "#f4b6b6"})
	var refused errReply // the job has ended meanwhile
	if err := c.json(&struct{}{}, "GODWIT", "MIGRATION", "THROTTLE", strconv.FormatUint(j.counter, 10), "unlimited"); err != nil && !errors.As(err, &refused) {
		return false, err
	}
	return true, nil
}

// addOrphans adds the slots that none of the nodes that are left serves.
func (d *demo) addOrphans(o *demoOutage) error {
	var served slot.Set
	for _, n := range d.nodes {
		if n == o.node {
			continue
		}
		r, err := askStatus(n.addr, "")
		if err != nil {
			return err
		}
		set, err := slotSet(r.Serving)
		if err != nil {
			return err
		}
		for _, sl := range set.Slots() {
			served.Add(sl)
		}
	}
	for i := range slot.Count {
		if sl := slot.Slot(i); !served.Has(sl) {
			o.slots.Add(sl)
		}
	}
	return nil
}

// startMove starts a job, with a throttle if limit is not empty.
func (d *demo) startMove(from, to *demoNode, slots slot.Set, limit string) (*demoJob, error) {
	c, err := dial(from.addr, "")
	if err != nil {
		return nil, err
	}
	defer c.close()
	j := &demoJob{from: from, to: to, slots: slots, begin: d.now()}
	start := []string{"GODWIT", "MIGRATION", "START", slots.String(), string(to.id)}
	if limit != "" {
		start = append(start, "THROTTLE", limit)
	}
	text, err := c.text(start...)
	if err != nil {
		return nil, fmt.Errorf("a move from %s to %s cannot start: %w", from.name(), to.name(), err)
	}
	if j.counter, err = strconv.ParseUint(text, 10, 64); err != nil {
		return nil, err
	}
	d.jobs = append(d.jobs, j)
	d.line("move", "%s: %d slots", j.name(), slots.Len())
	return j, nil
}

func (j *demoJob) name() string {
	return fmt.Sprintf("job %d of %s to %s", j.counter, j.from.name(), j.to.name())
}

// awaitMoves returns when the jobs have ended.
func (d *demo) awaitMoves(ctx context.Context, jobs []*demoJob) error {
	ctx, cancel := context.WithTimeoutCause(ctx, moveTime, fmt.Errorf("a move has not ended after %v", moveTime))
	defer cancel()
	for _, j := range jobs {
		for !j.report.Ended {
			r, err := askJob(jobFlags{node: j.from.addr}, j.counter)
			var refused errReply
			switch {
			case errors.As(err, &refused):
				return fmt.Errorf("%s: %w", j.name(), err)
			case err == nil:
				j.report = r
			}
			if !j.report.Ended {
				if err := sleep(ctx, pollTime); err != nil {
					return fmt.Errorf("%s: %w", j.name(), err)
				}
			}
		}
		j.end = d.now()
		d.record.Event(linearize.Event{Tag: "move", Start: j.begin, End: j.end, Description: j.name(), Colour: "#b6d7f4"})
		if j.report.State != engine.JobSuccess {
			return fmt.Errorf("%s has failed after %d of %d slots: %s", j.name(), j.report.MovedSlots, j.report.Slots, j.report.Error)
		}
		d.line("moved", "%s: %d slots, %s, in %.2f s", j.name(), j.report.MovedSlots, bytesText(j.report.Bytes), time.Duration(j.end-j.begin).Seconds())
	}
	return nil
}
