package sim

import (
	"godwit/engine/command"
	"godwit/linearize"
	"godwit/sim/disk"
)

// Spares is memory that runs which follow one another in a process use one after the other, so that a run begins with what is there
// instead of asking the allocator for some megabytes. What a run takes of it is as if it were new, so a run with spares is the same as one
// without. A run at a time uses them: they are not safe for concurrent use.
type Spares struct {
	room *room // nil while a run has it, and after one that ended by a panic: the next begins with new memory
}

// NewSpares returns spares that hold nothing yet.
func NewSpares() *Spares { return &Spares{} }

// take hands the memory to a run. A nil Spares hands out new memory.
func (s *Spares) take() *room {
	if s == nil || s.room == nil {
		return newRoom()
	}
	r := s.room
	s.room = nil
	return r
}

// give takes the memory back from a run that is over: nothing refers to it any more but what has been forgotten.
func (s *Spares) give(w *world) {
	if s == nil {
		return
	}
	r, l := w.room, w.history.ledger
	clear(l.deeds)
	clear(l.order)
	r.deedsOf, r.order = l.deeds[:0], l.order[:0]
	r.calls.reset()
	r.words.reset()
	r.bytes.reset()
	r.deeds.reset()
	r.accounts.reset()
	r.queue.reset()
	r.recorder.Reset(unixMs)
	r.files.Reset()
	s.room = r
}

// room is the memory of a run that outlives it.
type room struct {
	commands *command.Table // which does not change
	// Where calls and their commands stand.
	calls slab[call]
	words slab[[]byte]
	bytes slab[byte]
	// The ledger's; the slices are empty while a run has them elsewhere.
	deeds    slab[deed]
	deedsOf  [][]deed
	order    []*account
	accounts slab[account]
	queue    queue
	recorder *linearize.Recorder
	checker  linearize.Checker
	// files are those of disks in whose run nothing goes on after its end: the stores were in memory.
	files *disk.Spares
}

func newRoom() *room {
	return &room{commands: command.NewTable(), recorder: linearize.NewRecorder(unixMs), files: disk.NewSpares()}
}

// slab hands out memory from pieces of some kilobytes, of which nothing is used twice before reset: a run ends before much of it could be
// collected.
type slab[T any] struct {
	pieces [][]T
	used   int // of pieces
	free   []T // of the last of these
}

// take returns n items that are zero. A new piece has so many at least.
func (s *slab[T]) take(n, piece int) []T {
	for n > len(s.free) {
		if s.used == len(s.pieces) {
			s.pieces = append(s.pieces, make([]T, max(n, piece)))
		}
		s.free = s.pieces[s.used]
		s.used++
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// reset takes back all that was taken.
func (s *slab[T]) reset() {
	for _, p := range s.pieces[:s.used] {
		clear(p)
	}
	s.used, s.free = 0, nil
}
