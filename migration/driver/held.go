package driver

import (
	"godwit/engine"
	"godwit/engine/slot"
)

// Held is what a slot that is being given away holds in memory.
type Held struct {
	Slot slot.Slot
	// WindowBytes is what is on its way to the target unanswered, LastBytes what the newest message has of it: the others have
	// less than WindowLimit.
	WindowBytes, LastBytes, WindowLimit int
	// TrackerBytes is what the changed keys take: at most TrackerLimit.
	TrackerBytes, TrackerLimit int
}

// Held says what the slots that are being given away hold, by slot, each as of its last step.
func (d *Driver) Held() []Held {
	d.mu.Lock()
	if len(d.sources) == 0 {
		d.mu.Unlock()
		return nil
	}
	sources := make([]*sourceSlot, 0, len(d.sources))
	for _, sl := range sortedSlots(d.sources) {
		sources = append(sources, d.sources[sl])
	}
	d.mu.Unlock()
	held := make([]Held, 0, len(sources))
	for _, s := range sources {
		held = append(held, s.seen().memory)
	}
	return held
}

// memory is called by the worker that steps the machine.
func (s *sourceSlot) memory() Held {
	h := Held{Slot: s.slot, WindowLimit: s.d.cfg.Source.WindowBytes}
	h.WindowBytes, h.LastBytes = s.machine.Window()
	if s.stream.tracker != nil {
		h.TrackerBytes, h.TrackerLimit = s.stream.tracker.Memory()
	}
	return h
}

// HeldByJobs is what the slots of all jobs hold at this moment, what those of a job have held together at most, of that job for which it is most,
// since the node was opened, and what a job may hold.
func (d *Driver) HeldByJobs() (now, most, limit int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		held, mostOfJob := j.memory.inUse()
		now, most = now+held, max(most, mostOfJob)
	}
	return now, most, d.cfg.JobMemory
}

// Takeovers is how many snapshots of slots that have arrived are kept for sources that have not come to compare.
func (d *Driver) Takeovers() (n int) {
	d.mu.Lock()
	targets := make(map[slot.Slot]*targetSlot, len(d.targets))
	for sl, t := range d.targets { //det:ok a copy
		targets[sl] = t
	}
	d.mu.Unlock()
	for _, sl := range sortedSlots(targets) {
		d.node.Exclusive(sl, func(*engine.Owned) {
			if targets[sl].takeover != nil {
				n++
			}
		})
	}
	return n
}
