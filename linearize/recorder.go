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
	pages   [][]recorded   // guarded by mu; each has pageOps but the last: operations are large, and are not moved when there are more
	spare   [][]recorded   // guarded by mu; pages of before Reset, cleared
	unknown map[string]int // guarded by mu; mutations per key that ended as Unknown
	events  []Event        // guarded by mu
}

// pageOps is how many operations a page of a recorder holds.
const pageOps = 256

// recorded is an operation; one that has not ended is Unknown.
type recorded struct {
	op    Operation
	ended bool
}

// NewRecorder returns an empty recorder. unixMs is the unix time at which the axis of operations is 0 (see
// History.UnixMs).
func NewRecorder(unixMs int64) *Recorder {
	return &Recorder{unixMs: unixMs, unknown: make(map[string]int)}
}

// Reset makes the recorder empty, as a new one is, for another history. It keeps its memory; histories that it has returned stay as they are.
func (r *Recorder) Reset(unixMs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, page := range r.pages {
		clear(page)
	}
	r.spare = append(r.spare, r.pages...)
	clear(r.pages)
	clear(r.unknown)
	r.unixMs, r.pages, r.events = unixMs, r.pages[:0], nil
}

// Begin records that op.Client is about to send op at op.Call: it must be called before the first byte leaves. What
// op says about its end is ignored, and op.Args and op.Commands belong to the recorder from now on. The error wraps ErrHistory when
// the operation cannot be judged, or ErrRecorder when MaxOperations are recorded; then nothing was recorded.
func (r *Recorder) Begin(op Operation) (ID, error) {
	op.Return, op.Outcome, op.Reply = Open, Unknown, Reply{}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.len()
	if n >= MaxOperations {
		return 0, fmt.Errorf("%w: full with %d operations", ErrRecorder, n)
	}
	if n == len(r.pages)*pageOps {
		r.pages = append(r.pages, r.page())
	}
	last := &r.pages[len(r.pages)-1]
	*last = append(*last, recorded{op: op})
	at := len(*last) - 1
	if err := (*last)[at].op.validate(); err != nil { // where it stands: elsewhere it would need memory of its own
		(*last)[at] = recorded{}
		*last = (*last)[:at]
		return 0, err
	}
	return ID(n), nil
}

// page is an empty page. r.mu is held.
func (r *Recorder) page() []recorded {
	n := len(r.spare)
	if n == 0 {
		return make([]recorded, 0, pageOps)
	}
	p := r.spare[n-1]
	r.spare = r.spare[:n-1]
	return p[:0]
}

// len is the number of operations begun. r.mu is held.
func (r *Recorder) len() int {
	if len(r.pages) == 0 {
		return 0
	}
	return (len(r.pages)-1)*pageOps + len(r.pages[len(r.pages)-1])
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
	if id < 0 || int(id) >= r.len() {
		return fmt.Errorf("%w: no operation %d", ErrRecorder, id)
	}
	is := &r.pages[id/pageOps][id%pageOps]
	if is.ended {
		return fmt.Errorf("%w: operation %d (%s) ended twice", ErrRecorder, id, is.op)
	}
	op := &is.op
	op.Return, op.Outcome, op.Reply = at, outcome, reply
	if err := op.validateEnd(); err != nil { // Begin has parsed the command
		op.Return, op.Outcome, op.Reply = Open, Unknown, Reply{}
		return err
	}
	is.ended = true
	if outcome == Unknown {
		for _, key := range op.Changes() {
			r.unknown[key]++
		}
	}
	return nil
}

// Forget takes back what an operation was answered, because all that has come of it may have been lost for good: a read is left out, a write may have taken
// effect or not. It returns the operation. One that failed, or that has not ended, stays as it is.
func (r *Recorder) Forget(id ID) (Operation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id < 0 || int(id) >= r.len() {
		return Operation{}, fmt.Errorf("%w: no operation %d", ErrRecorder, id)
	}
	op := &r.pages[id/pageOps][id%pageOps].op
	if op.Outcome == Ok {
		op.Return, op.Outcome, op.Reply = Open, Unknown, Reply{}
		for _, key := range op.Changes() {
			r.unknown[key]++
		}
	}
	return *op, nil
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
	return r.len()
}

// History returns what was recorded so far, in canonical order; operations that have not ended are unknown. The
// caller owns it, except the arguments of operations, which nobody may change.
func (r *Recorder) History() *History {
	r.mu.Lock()
	ops := make([]*Operation, 0, r.len())
	for _, page := range r.pages {
		for i := range page {
			ops = append(ops, &page[i].op)
		}
	}
	if !slices.IsSortedFunc(ops, compareOperations) { // before they are copied, since they are large
		slices.SortStableFunc(ops, compareOperations)
	}
	h := &History{UnixMs: r.unixMs, Operations: make([]Operation, len(ops)), Events: slices.Clone(r.events)}
	for i, op := range ops {
		h.Operations[i] = *op
	}
	r.mu.Unlock()
	h.Sort()
	return h
}
