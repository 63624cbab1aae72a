package driver

import (
	"slices"
	"sync"
	"sync/atomic"

	"godwit/engine/mutant"
	"godwit/engine/store"
	"godwit/migration"
)

// memory is the account of what the slots of a job hold of their own, all together: what is read, what is on its way to the target and was not
// answered, with the copies that the calls carry, tables with their blocks, and changed keys, those that are tracked and those that are being sent.
// It never passes Config.JobMemory, but by a single record that is longer than a message, of which nobody knows before it was read, and by the copies of messages
// that are said again while a call that said them before is still under way: on a link that keeps order that is none, since the answer to one ends the other.
//
// Half of it is for data. A slot that wants to read reserves what the piece can take at most, and waits, first come first served, while others
// have it; what is held is freed by the target's answers, or when a round is given up, so nobody waits for ever. An eighth more is for final
// rounds alone, for which writers wait. The rest is for changed keys: a tracker that finds no room collapses its keys into a span, which is compared.
//
// mu nests in Driver.mu. No queue's mutex is held where slots can be let go on.
type memory struct {
	changes store.Budget

	mu         sync.Mutex
	limit      int
	data, most int // in use, and most of all that was, changes included
	waiting    []reader
}

// reader is a slot that waits for room.
type reader struct {
	bytes  int
	urgent bool
	goOn   func() // its bytes have been taken
}

// Parts of the limit, as divisors: for data, for data of final rounds beside that, and for a message or a table.
const (
	dataPart    = 2
	urgentPart  = 8
	messagePart = 16
)

// setLimit changes how much may be held. Less than is held lets nobody read until enough was freed.
func (m *memory) setLimit(bytes int) {
	m.changes.SetLimit(bytes - bytes/dataPart - bytes/urgentPart)
	m.mu.Lock()
	m.limit = bytes
	m.mu.Unlock()
	m.add(0)
}

// inUse is what is held, and what was held at most.
func (m *memory) inUse() (now, most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sum(), m.most
}

// sum is what is held; it keeps the most. m.mu is held.
func (m *memory) sum() int {
	now := m.data + m.changes.Used()
	m.most = max(m.most, now)
	return now
}

// fits reports whether there is room for so much more data. Where there is nothing there is room for anything, lest it be waited for in vain.
// m.mu is held.
func (m *memory) fits(bytes int, urgent bool) bool {
	limit := m.limit / dataPart
	if urgent {
		limit += m.limit / urgentPart
	}
	return m.data == 0 || m.data+bytes <= limit || mutant.On(mutant.MemoryIgnored)
}

// take takes bytes for data, or calls goOn when it has: then it reports false.
func (m *memory) take(r reader) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (r.urgent || len(m.waiting) == 0) && m.fits(r.bytes, r.urgent) {
		m.data += r.bytes
		m.sum()
		return true
	}
	at := len(m.waiting)
	if first := slices.IndexFunc(m.waiting, func(o reader) bool { return !o.urgent }); r.urgent && first >= 0 {
		at = first
	}
	m.waiting = slices.Insert(m.waiting, at, r)
	return false
}

// add counts data that have become more, or less, and lets those go on for whom there is room.
func (m *memory) add(bytes int) {
	var freed []func()
	m.mu.Lock()
	m.data += bytes
	m.sum()
	for len(m.waiting) > 0 && m.fits(m.waiting[0].bytes, m.waiting[0].urgent) {
		m.data += m.waiting[0].bytes
		freed = append(freed, m.waiting[0].goOn)
		m.waiting = slices.Delete(m.waiting, 0, 1)
	}
	m.sum()
	m.mu.Unlock()
	for _, goOn := range freed {
		goOn()
	}
}

// message is how many bytes of records a message or a table may have at most.
func (m *memory) message() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limit / messagePart
}

// holding is what a slot has of its job's memory, beside its changes. It belongs to the worker that steps the slot's machine.
type holding struct {
	counted  int // in the job's account, reserved included
	reserved int // for the piece that is about to be read
	round    uint64
	tiles    int          // in the budget of changes
	waits    uint64       // the round that waits for memory; 0, or one that is over: none does
	calls    atomic.Int64 // bytes of messages that are being called; the only part that others change
}

// bodyRoom is room for a body of so many bytes, which was another's if there is one that has not much more: the account counts what a body has room for.
func (d *Driver) bodyRoom(n int) []byte {
	if b := d.bodies.Get(); cap(b) >= n && cap(b) <= n+n/8 {
		return b
	}
	return make([]byte, 0, n)
}

// messageOverhead is what a message takes beside its body and that of its call: entries of the window and of what it covers, with its span.
const messageOverhead = 1 << 10

// walkTimes is how many times more than a changed key the walk takes that it becomes with the payload "command".
const walkTimes = 5

// messageCost is what a message with so many bytes of records takes at most: it is read into room for an eighth more, and copied into its call.
func messageCost(bytes int) int { return 2*bytes + bytes/2 + messageOverhead }

// tableCost is what a table takes at most: its records while it is built, or it and its blocks and their calls.
func tableCost(bytes int) int { return 3*bytes + bytes/4 }

// reserve takes memory for the next piece of the round, or reports false and reads it when there is room. What is read to be compared after
// takeover is not kept, and needs none.
func (s *sourceSlot) reserve() bool {
	if s.confirm != nil {
		return true
	}
	s.settleMemory() // what the piece before had reserved
	m, round := &s.job.memory, s.stream.opening
	bytes, large := s.nextCost()
	_, kind := s.machine.Now()
	if !m.take(reader{bytes: bytes, urgent: kind == migration.RoundFinal, goOn: func() {
		taken := s.enqueue(queued{step: func() {
			if s.reserved(bytes, large, round); s.stream.opening == round {
				s.held.waits = 0
				s.readReserved()
			}
		}})
		if !taken {
			m.add(-bytes)
		}
	}}) {
		s.held.waits = round
		return false
	}
	s.reserved(bytes, large, round)
	return true
}

// reserved notes what was taken for a round, in which a message of the base may be so large: settleMemory gives it back if the round is over.
func (s *sourceSlot) reserved(bytes, large int, round uint64) {
	s.held.counted += bytes
	if s.stream.opening == round {
		s.held.reserved, s.held.round = bytes, round
		s.stream.room = large
	}
}

// nextCost is what the next piece of the round takes at most, if a message of the base is no larger than that.
func (s *sourceSlot) nextCost() (bytes, large int) {
	if s.stream.tables != nil {
		return tableCost(s.tableBytes()), 0
	}
	large = min(s.stream.large, s.job.memory.message())
	return messageCost(max(large, s.d.cfg.ChunkBytes)), large
}

// tableBytes is how many bytes of records go into a table.
func (s *sourceSlot) tableBytes() int {
	return max(min(s.d.cfg.TableBytes, s.job.memory.message()), s.d.cfg.ChunkBytes)
}

// calling counts a body that goes into a call, which carries a copy, and answers with what the call's end has to be told to.
func (s *sourceSlot) calling(body []byte) (over func()) {
	n := int64(len(body))
	s.held.calls.Add(n)
	return func() {
		if !mutant.On(mutant.MemoryKept) {
			s.held.calls.Add(-n)
		}
	}
}

// tileCost is what a tile takes, with its span and the walk that it becomes.
const tileCost = 512

// settleTiles counts the tiles of the slot. They spare reading and nothing hangs on them: those for which there is no room are forgotten, all of
// them, so that nobody waits for them.
func (s *sourceSlot) settleTiles() {
	changes := &s.job.memory.changes
	now := tileCost * len(s.stream.tiles.all)
	if now > s.held.tiles && !changes.Take(now-s.held.tiles) {
		s.stream.tiles, now = tiles{}, 0
	}
	if now < s.held.tiles {
		changes.Return(s.held.tiles - now)
	}
	s.held.tiles = now
}

// settleMemory makes the job's account say what the slot holds after a step.
func (s *sourceSlot) settleMemory() {
	s.settleTiles()
	if s.held.round != s.stream.opening {
		s.held.reserved = 0
	}
	bytes, messages := s.machine.Memory()
	now := s.held.reserved + int(max(s.held.calls.Load(), 0)) + bytes + messages*messageOverhead
	if t := s.stream.tables; t != nil {
		now += t.bytes
	}
	if now != s.held.counted {
		s.job.memory.add(now - s.held.counted)
		s.held.counted = now
	}
}
