package linearize

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrRecorder is wrapped by errors that say that a Recorder was used against its contract or is full.
var ErrRecorder = errors.New("linearize: recorder")

// MaxOperations bounds what a Recorder keeps and a file may hold: at some 200 bytes each, 800 MB.
const MaxOperations = 4 << 20

// RetireAfter is the number of unknown mutations of one key after which a generator should leave the key and go on
// with a new one: the cost of refuting a history grows exponentially with them (README.md has figures).
const RetireAfter = 6

// ID names an operation of a Recorder between Begin and its end.
type ID int

// Recorder collects operations as they happen. Its methods may be called from any goroutine; the history that comes
// out depends on the operations and their times alone, not on the order of the calls.
type Recorder struct {
	unixMs int64

	mu      sync.Mutex
	ops     []Operation    // guarded by mu; those not ended are Unknown
	ended   []bool         // guarded by mu; parallel to ops
	unknown map[string]int // guarded by mu; mutations per key that ended as Unknown
	events  []Event        // guarded by mu
}

// NewRecorder returns an empty recorder. unixMs is the unix time at which the axis of operations is 0 (see
// History.UnixMs).
func NewRecorder(unixMs int64) *Recorder {
	return &Recorder{unixMs: unixMs, unknown: make(map[string]int)}
}

// Begin records that op.Client is about to send op at op.Call: it must be called before the first byte leaves. What
// op says about its end is ignored, and op.Args and op.Commands belong to the recorder from now on. The error wraps ErrHistory when
// the operation cannot be judged, or ErrRecorder when MaxOperations are recorded; then nothing was recorded.
func (r *Recorder) Begin(op Operation) (ID, error) {
	op.Return, op.Outcome, op.Reply = Open, Unknown, Reply{}
	if err := op.validate(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ops) >= MaxOperations {
		return 0, fmt.Errorf("%w: full with %d operations", ErrRecorder, len(r.ops))
	}
	if len(r.ops) == cap(r.ops) { // operations are large: memory for a few, which is not used, costs as much as copying them
		r.ops = slices.Grow(r.ops, max(1024, len(r.ops)/2))
	}
	r.ops = append(r.ops, op)
	r.ended = append(r.ended, false)
	return ID(len(r.ops) - 1), nil
}

// End records that the reply arrived at the given time, which must be read after its last byte. Errors that are given
// only before execution make the outcome Fail (see Reply.Outcome).
func (r *Recorder) End(id ID, reply Reply, at int64) error {
	return r.end(id, reply.Outcome(), reply, at)
}

// Fail records that at the given time the client knew that the command had not run and never would, such as when
// nothing of it was sent.
func (r *Recorder) Fail(id ID, at int64) error {
	return r.end(id, Fail, Reply{}, at)
}

// Unknown records that the client gave up waiting: the operation stays open. Operations that are never ended are
// unknown too; Unknown also counts them for UnknownMutations.
func (r *Recorder) Unknown(id ID) error {
	return r.end(id, Unknown, Reply{}, Open)
}

func (r *Recorder) end(id ID, outcome Outcome, reply Reply, at int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id < 0 || int(id) >= len(r.ops) {
		return fmt.Errorf("%w: no operation %d", ErrRecorder, id)
	}
	if r.ended[id] {
		return fmt.Errorf("%w: operation %d (%s) ended twice", ErrRecorder, id, r.ops[id])
	}
	op := r.ops[id]
	op.Return, op.Outcome, op.Reply = at, outcome, reply
	if err := op.validateEnd(); err != nil { // Begin has parsed the command
		return err
	}
	r.ops[id], r.ended[id] = op, true
	if outcome == Unknown {
		for _, key := range op.Changes() {
			r.unknown[key]++
		}
	}
	return nil
}

// Event records something that the picture shall show.
func (r *Recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// UnknownMutations returns how many mutations of the key ended as unknown so far, to be compared with RetireAfter.
func (r *Recorder) UnknownMutations(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unknown[key]
}

// Len returns the number of operations begun.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// History returns what was recorded so far, in canonical order; operations that have not ended are unknown. The
// caller owns it, except the arguments of operations, which nobody may change.
func (r *Recorder) History() *History {
	r.mu.Lock()
	h := &History{UnixMs: r.unixMs, Operations: slices.Clone(r.ops), Events: slices.Clone(r.events)}
	r.mu.Unlock()
	h.Sort()
	return h
}
