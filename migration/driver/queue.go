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
	// told slots were held and may be handed over, resting ones may go on, and if opens is set, those without a machine have to be begun: when there is room.
	told, resting []*sourceSlot
	opens         bool
	// must are begun whatever the limits: they are decided, or given up, and somebody waits for them; or they are to rest.
	must []slot.Slot
}

// lists are the slots of a job that have not ended, each in exactly one list, ascending: so whoever decides what is begun next looks at those that are on
// their way and at the first of those that are not, however many slots the job has. Driver.mu guards them.
type lists struct {
	// fresh slots have not been begun, left ones were when the process was started: neither have a machine. The elements of fresh do not change.
	fresh, left []slot.Slot
	// machines are those of slots that have one, kept those of them of which only the copy is kept: they concern nobody until the worker that steps them
	// takes them out again.
	machines, kept []*sourceSlot
}

// pending reports whether there are slots without a machine.
func (l *lists) pending() bool { return len(l.fresh)+len(l.left) > 0 }

// next is the least of the slots without a machine, of which there is one.
func (l *lists) next() slot.Slot {
	if len(l.fresh) == 0 || len(l.left) > 0 && l.left[0] < l.fresh[0] {
		return l.left[0]
	}
	return l.fresh[0]
}

// skip takes a slot out of those that have no machine: any of those that were left, or the first of the fresh ones.
func (l *lists) skip(sl slot.Slot) {
	if i, found := slices.BinarySearch(l.left, sl); found {
		l.left = slices.Delete(l.left, i, i+1)
	} else {
		l.fresh = l.fresh[1:]
	}
}

// joins adds a slot that has not begun.
func (l *lists) joins(sl slot.Slot) {
	at, _ := slices.BinarySearch(l.fresh, sl)
	l.fresh = slices.Insert(slices.Clone(l.fresh), at, sl) // what it was is a part of the job's order
}

// started says that a slot has a machine now.
func (l *lists) started(s *sourceSlot) {
	l.skip(s.slot)
	l.machines = with(l.machines, s)
}

// keeps moves a slot that has a machine to those of which only the copy is kept.
func (l *lists) keeps(s *sourceSlot) { l.machines, l.kept = without(l.machines, s), with(l.kept, s) }

// cleans moves it back.
func (l *lists) cleans(s *sourceSlot) { l.machines, l.kept = with(l.machines, s), without(l.kept, s) }

// ended takes out a slot whose machine has ended.
func (l *lists) ended(s *sourceSlot) { l.machines, l.kept = without(l.machines, s), without(l.kept, s) }

// over reports that every slot has ended.
func (l *lists) over() bool { return !l.pending() && len(l.machines)+len(l.kept) == 0 }

func bySlot(s *sourceSlot, sl slot.Slot) int { return cmp.Compare(s.slot, sl) }

func with(list []*sourceSlot, s *sourceSlot) []*sourceSlot {
	i, _ := slices.BinarySearchFunc(list, s.slot, bySlot)
	return slices.Insert(list, i, s)
}

func without(list []*sourceSlot, s *sourceSlot) []*sourceSlot {
	if i, found := slices.BinarySearchFunc(list, s.slot, bySlot); found {
		return slices.Delete(list, i, i+1)
	}
	return list
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

// smallRow is how many slots in a row have to be small before those behind them count as small without a look. To look costs as much as to read a small slot
// again, and slots of one job are mostly of one kind.
const smallRow = 16

// sized is told what of a slot was read for its base so far. One that was taken for small and is not counts for what it is from then on, and those behind it are
// looked at again. What has begun by then goes on: at worst four times as many slots as otherwise, in the memory of one job as ever.
func (s *sourceSlot) sized(bytes uint64) {
	d := s.d
	if !s.guessed || s.stream.kind != migration.RoundBase || bytes <= uint64(d.cfg.SmallSlotBytes) {
		return
	}
	s.guessed = false
	d.mu.Lock()
	defer d.mu.Unlock()
	j := s.job
	j.slots[s.slot].size, j.smallOnes = sizeLarge, 0
	for _, sl := range j.lists.fresh {
		p := j.slots[sl]
		if !p.guessed {
			break // as far as lookAhead has come, or what has joined the job since
		}
		p.size, p.guessed = sizeUnknown, false
	}
}

// lookAhead finds out whether the next slots of each job are small.
func (d *Driver) lookAhead() {
	if d.cfg.SmallSlotBytes <= 1 {
		return
	}
	type ahead struct {
		j  *job
		p  *slotProgress
		sl slot.Slot
	}
	var next []ahead
	d.mu.Lock()
	for _, j := range d.jobs {
		if j.header.EndedMs != 0 {
			continue
		}
		l := lists{fresh: j.lists.fresh, left: slices.Clone(j.lists.left)}
		for open := 0; l.pending() && float64(open)*smallShare < float64(d.cfg.SlotsAtOnce); open++ {
			sl := l.next()
			switch p := j.slots[sl]; {
			case p.size != sizeUnknown:
			case j.smallOnes >= smallRow && !p.stored:
				p.size, p.guessed = sizeSmall, true
			default:
				next = append(next, ahead{j, p, sl})
			}
			l.skip(sl)
		}
	}
	d.mu.Unlock()
	for _, a := range next {
		c, err := store.ReadChunk(d.node.Store(), key.DataSpan(a.sl), store.ChunkLimits{Bytes: d.cfg.SmallSlotBytes, Records: 1 << 30}, 0)
		d.mu.Lock()
		if err == nil && c.Last && c.Bytes <= d.cfg.SmallSlotBytes {
			a.p.size = sizeSmall
			a.j.smallOnes++
		} else {
			a.p.size, a.j.smallOnes = sizeLarge, 0
		}
		d.mu.Unlock()
	}
}

// waits reports that slots of the job wait for room.
func (s *share) waits() bool {
	return len(s.told)+len(s.resting) > 0 || s.opens && s.j.lists.pending()
}

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
	h := &j.header
	s := share{j: j}
	for _, src := range j.lists.machines {
		s.count(src, src.seen())
	}
	for _, sl := range j.lists.left {
		p := j.slots[sl]
		if p.phase != migration.PhaseActive || h.Error != "" || h.Paused || mutant.On(mutant.QueueForgotten) {
			s.must = append(s.must, sl)
			if !h.Paused && !p.kept() {
				s.begun(sl)
			}
		}
	}
	// Those that are held wait for operators, not for room: a job that is behind them would wait for as long.
	s.opens = !h.Paused && s.held-len(s.told) < j.d.cfg.HeldAtOnce
	return s
}

// count counts a slot that has a machine, and is more than kept. Driver.mu is held.
func (s *share) count(src *sourceSlot, seen sourceView) {
	h := &s.j.header
	switch {
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
	for s.opens && j.lists.pending() && s.room(j.lists.next()) && s.held < d.cfg.HeldAtOnce {
		src := d.addSource(j, j.lists.next())
		begin = append(begin, src)
		s.begun(src.slot)
	}
	return begin
}

// addSource makes the machine of a slot, which has to be begun when Driver.mu, which is held, is released.
func (d *Driver) addSource(j *job, sl slot.Slot) *sourceSlot {
	s := newSourceSlot(d, j, sl)
	d.sources[sl] = s
	j.lists.started(s)
	return s
}

// dropSource forgets the machine of a slot. Driver.mu is held.
func (d *Driver) dropSource(s *sourceSlot) {
	if d.sources[s.slot] == s {
		delete(d.sources, s.slot)
		s.job.lists.ended(s)
	}
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
