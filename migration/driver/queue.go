package driver

import (
	"cmp"
	"fmt"
	"slices"

	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// share is how a job stands in the queue: what of it is on its way, and what waits for room.
type share struct {
	j *job
	// active slots are on their way, held ones stand copied before their handover. Neither those that rest nor those of which only a
	// copy is kept count.
	active, held int
	// weight is that of the active slots: smallShare for each small one, and 1 for each other.
	weight float64
	// told slots were held and may be handed over, resting ones may go on, open ones have to be begun: when there is room.
	told, resting []*sourceSlot
	open          []slot.Slot
	// must are begun whatever the limits: they are decided, or given up, and somebody waits for them; or they are to rest.
	must []slot.Slot
}

// smallShare is what a small slot counts for where slots that move at a time are counted: its way is a matter of round trips and syncs, which it shares
// with others, and it holds next to nothing in memory.
const smallShare = 0.25

// begun counts a slot that is on its way.
func (s *share) begun(sl slot.Slot) {
	s.active++
	s.weight += s.j.slots[sl].weight()
}

// room reports whether a slot may go on its way.
func (s *share) room(sl slot.Slot) bool {
	return s.weight+s.j.slots[sl].weight() <= float64(s.j.d.cfg.SlotsAtOnce)
}

// sizeClass is what is known of a slot's size.
type sizeClass uint8

const (
	sizeUnknown sizeClass = iota
	sizeSmall             // at most Config.SmallSlotBytes
	sizeLarge
)

func (p *slotProgress) weight() float64 {
	if p.size == sizeSmall {
		return smallShare
	}
	return 1
}

// lookAhead finds out whether the next slots of each job are small.
func (d *Driver) lookAhead() {
	if d.cfg.SmallSlotBytes <= 1 {
		return
	}
	var next []*slotProgress
	var slots []slot.Slot
	d.mu.Lock()
	for _, j := range d.jobs {
		if j.header.EndedMs != 0 {
			continue
		}
		open := 0
		for _, sl := range j.order {
			if p := j.slots[sl]; d.sources[sl] == nil && !p.ended() {
				if p.size == sizeUnknown {
					next, slots = append(next, p), append(slots, sl)
				}
				if open++; float64(open)*smallShare >= float64(d.cfg.SlotsAtOnce) {
					break
				}
			}
		}
	}
	d.mu.Unlock()
	for i, p := range next {
		c, err := store.ReadChunk(d.node.Store(), key.DataSpan(slots[i]), store.ChunkLimits{Bytes: d.cfg.SmallSlotBytes, Records: 1 << 30}, 0)
		d.mu.Lock()
		if p.size = sizeLarge; err == nil && c.Last && c.Bytes <= d.cfg.SmallSlotBytes {
			p.size = sizeSmall
		}
		d.mu.Unlock()
	}
}

// waits reports that slots of the job wait for room.
func (s *share) waits() bool { return len(s.told)+len(s.resting)+len(s.open) > 0 }

// pumpJobs begins slots, and lets those go on that waited, until as many are on their way as may be, and ends jobs of which none is left.
// Jobs take their turns by priority, the older first: one that is behind Config.JobsAtOnce others begins nothing more, and one
// that has nothing on its way yet waits until there is room among those that have.
func (d *Driver) pumpJobs() {
	var begin []*sourceSlot
	var over []*job
	d.lookAhead()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	running := 0
	var shares []share
	for _, j := range d.jobs {
		if j.header.EndedMs != 0 {
			continue
		}
		if j.ended() {
			over = append(over, j)
			continue
		}
		shares = append(shares, j.share())
		if shares[len(shares)-1].active > 0 {
			running++
		}
	}
	slices.SortStableFunc(shares, func(a, b share) int { return cmp.Compare(b.j.header.Priority, a.j.header.Priority) })
	rank, position := 0, 0
	for i := range shares {
		s := &shares[i]
		for _, sl := range s.must {
			begin = append(begin, d.addSource(s.j, sl))
		}
		s.j.position = 0
		if s.active == 0 && !s.waits() {
			continue
		}
		rank++
		if s.active == 0 && running >= d.cfg.JobsAtOnce || rank > d.cfg.JobsAtOnce {
			if s.active == 0 {
				position++
				s.j.position = position
			}
			continue
		}
		if s.active == 0 {
			running++
		}
		begin = append(begin, d.letIn(s)...)
	}
	d.mu.Unlock()
	for _, s := range begin {
		s.begin()
	}
	for _, j := range over {
		d.endJob(j)
	}
}

// share counts the slots of a job that has not ended. Driver.mu is held.
func (j *job) share() share {
	s := share{j: j}
	d, h := j.d, &j.header
	for _, sl := range j.order {
		p := j.slots[sl]
		if src := d.sources[sl]; src != nil {
			if src.job == j {
				s.count(src, src.seen())
			}
			continue
		}
		switch {
		case p.ended():
		case p.stored && (p.phase != migration.PhaseActive || h.Error != "" || h.Paused || mutant.On(mutant.QueueForgotten)):
			s.must = append(s.must, sl)
			if !h.Paused && !p.kept() {
				s.begun(sl)
			}
		case !h.Paused:
			s.open = append(s.open, sl)
		}
	}
	if s.held-len(s.told) >= d.cfg.HeldAtOnce {
		s.open = nil // they wait for operators, not for room: a job that is behind them would wait for as long
	}
	return s
}

// count counts a slot that has a machine. Driver.mu is held.
func (s *share) count(src *sourceSlot, seen sourceView) {
	h := &s.j.header
	switch {
	case seen.step == migration.StepKeeping:
	case src.resting:
		if !h.Paused {
			s.resting = append(s.resting, src)
		}
	case seen.held && !src.letGo:
		s.held++
		if !within(h.Held, src.slot) && !h.Paused {
			s.told = append(s.told, src)
		}
	default:
		s.begun(src.slot)
	}
}

// letIn lets slots of a job go on, and begins others, until there is no more room. Driver.mu is held.
func (d *Driver) letIn(s *share) (begin []*sourceSlot) {
	j := s.j
	for ; len(s.resting) > 0 && s.room(s.resting[0].slot); s.resting = s.resting[1:] {
		src := s.resting[0]
		src.resting = false
		src.post(migration.EvOrders{Orders: src.orders()}) // a queue's mutex nests in Driver.mu
		s.begun(src.slot)
	}
	for ; len(s.told) > 0 && s.room(s.told[0].slot); s.told = s.told[1:] {
		src := s.told[0]
		src.letGo = true
		src.post(migration.EvOrders{Orders: src.orders()})
		s.begun(src.slot)
		s.held--
	}
	for ; len(s.open) > 0 && s.room(s.open[0]) && s.held < d.cfg.HeldAtOnce; s.open = s.open[1:] {
		begin = append(begin, d.addSource(j, s.open[0]))
		s.begun(s.open[0])
	}
	return begin
}

// addSource makes the machine of a slot, which has to be begun when Driver.mu, which is held, is released.
func (d *Driver) addSource(j *job, sl slot.Slot) *sourceSlot {
	s := newSourceSlot(d, j, sl)
	d.sources[sl] = s
	return s
}

// orders is what operators want of the slot, and the queue with them: one that has rested goes on when there is room, and one that was held
// is handed over then. Driver.mu is held.
func (s *sourceSlot) orders() migration.Orders {
	o := s.job.orders(s.slot)
	o.Suspend = o.Suspend || s.resting
	return o
}

// queued says which place a job that waits for others has, "" if it does not. Driver.mu is held.
func (j *job) queued() string {
	if j.position == 0 || j.header.Paused {
		return ""
	}
	return fmt.Sprintf("place %d in the queue: %d jobs move slots at a time", j.position, j.d.cfg.JobsAtOnce)
}
