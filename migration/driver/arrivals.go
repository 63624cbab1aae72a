package driver

import (
	"fmt"
	"sync"
	"time"

	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// arrivals bounds what arrives from other nodes: who asks for more than there is room for is told that the node is busy, and asks again.
type arrivals struct {
	d *Driver
	// starts is held from the look at the places until one is taken. It comes before the stripes of slots.
	starts sync.Mutex

	mu       sync.Mutex
	undone   int64 // bytes of messages that are applied, and not durable yet
	looked   time.Duration
	lookedAt bool   // looked is when pressure was asked for
	pressure string // of the store
	// refused counts the answers "busy".
	refused uint64
}

// Bounds of what arrives.
const (
	// placeKept is for how long an import keeps its place after the last time that much of it arrived. A slot that is held, of which only
	// changes come, and one whose source is silent leave their places to others.
	placeKept = 500 * time.Millisecond
	// runOn is how close messages follow each other of which much arrives, whatever their size.
	runOn = 100 * time.Millisecond
	// lookEvery is how often the store is asked how it is doing.
	lookEvery = 100 * time.Millisecond
)

// refusal says why a message of a source has to wait, "" if it has not. The slot's stripe is held.
func (a *arrivals) refusal(m *migration.Message) string {
	switch m.Kind {
	case migration.MsgStart:
		return a.noPlace(m.Slot)
	case migration.MsgData, migration.MsgBlock:
		return a.noRoom()
	default:
		return ""
	}
}

// noPlace says that as many other slots arrive as may.
func (a *arrivals) noPlace(sl slot.Slot) string {
	d := a.d
	now := d.env.Clock.Mono()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for other, at := range d.importing { //det:ok a count
		if other != sl && now-at < placeKept {
			n++
		}
	}
	if n < d.cfg.ImportsAtOnce {
		return ""
	}
	return fmt.Sprintf("it takes %d slots at a time", d.cfg.ImportsAtOnce)
}

// noRoom says why no more can be taken at this moment.
func (a *arrivals) noRoom() string {
	d := a.d
	if d.cfg.Busy != nil {
		if why := d.cfg.Busy(); why != "" {
			return why
		}
	}
	d.mu.Lock()
	most := int64(d.cfg.ImportBytes)
	d.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := d.env.Clock.Mono(); !a.lookedAt || now-a.looked >= lookEvery {
		a.looked, a.lookedAt, a.pressure = now, true, d.node.Store().Pressure()
	}
	switch {
	case a.undone >= most:
		return fmt.Sprintf("%d kB that have arrived are not on its disk yet", a.undone/1000)
	case a.pressure != "":
		return a.pressure
	}
	return d.pacer.mayArrive()
}

// count counts that a message was refused.
func (a *arrivals) count() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused++
}

// refusedSoFar is how many messages were refused since the node was started.
func (a *arrivals) refusedSoFar() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// took counts a message of so many bytes that was applied, until it is durable.
func (a *arrivals) took(bytes int, at store.Position) {
	a.mu.Lock()
	a.undone += int64(bytes)
	a.mu.Unlock()
	a.d.pacer.arrived(bytes)
	a.d.node.Store().WhenDurable(at, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.undone -= int64(bytes)
	})
}

// noteArrival keeps the place of an import of which much arrives. It is called before targetSlot.heard says that something has come; the
// slot's stripe is held.
func (d *Driver) noteArrival(m *migration.Message, t *targetSlot) {
	now := d.env.Clock.Mono()
	if !t.live || m.Kind != migration.MsgData && m.Kind != migration.MsgBlock || len(m.Body) < d.cfg.ChunkBytes/8 && now-t.heard > runOn {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.importing[m.Slot] = now
}
