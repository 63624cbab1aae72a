package linearize

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrHistory is wrapped by errors that say that a history contradicts itself or uses what no model knows.
var ErrHistory = errors.New("linearize: bad history")

// Open is the Return of an operation that nobody saw return: it may take effect at any time after its call, or never.
const Open = math.MaxInt64

// maxUnixMs bounds History.UnixMs and every deadline, about the year 144,000, so that sums of them cannot overflow.
const maxUnixMs = 1 << 52

// Outcome is what the client knows about the execution of its command.
type Outcome uint8

// The outcomes.
const (
	// Unknown: no reply arrived (timeout, lost connection), so the command may have run, may run later, or never.
	// It is the zero value: an operation that nobody completed is unknown.
	Unknown Outcome = iota
	// Ok: a reply arrived and the model judges it, errors included.
	Ok
	// Fail: the command certainly did not run and never will, such as after MOVED.
	Fail
)

// String returns the outcome's word in the file format.
func (o Outcome) String() string {
	switch o {
	case Unknown:
		return "unknown"
	case Ok:
		return "ok"
	case Fail:
		return "fail"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Operation is one command of one client, on one key or several, or a transaction: whatever takes effect in one step.
type Operation struct {
	// Client numbers the caller, from 0. It groups operations in the picture and plays no part in the verdict.
	Client int
	// Slot of the key, for people; 0 if nobody cares. No part in the verdict.
	Slot uint16
	// Key is the first key that the command touches; "" for a transaction.
	Key string
	// Cmd is the command's name in capitals; EXEC for a transaction.
	Cmd string
	// Args are the arguments behind the first key, further keys included.
	Args []string
	// Commands are those of a transaction, each as it is sent, the name in capitals; else empty.
	Commands [][]string
	// Call and Return are nanoseconds on the axis of the history, Call ≥ 0. The interval is closed: operations that
	// touch at one instant are concurrent. Return is Open exactly if Outcome is Unknown.
	Call, Return int64
	// Outcome says whether there is a reply to judge.
	Outcome Outcome
	// Reply is what the client received; NoReply exactly if Outcome is Unknown.
	Reply Reply
}

// Command returns an Operation that was not yet called from a command as it is sent: name, key, arguments. The error
// wraps ErrHistory when no model knows the command with these arguments.
func Command(argv ...string) (Operation, error) {
	if len(argv) < 2 {
		return Operation{}, fmt.Errorf("%w: command %q has no key", ErrHistory, argv)
	}
	op := Operation{Key: argv[1], Cmd: strings.ToUpper(argv[0]), Return: Open}
	if len(argv) > 2 {
		op.Args = slices.Clone(argv[2:])
	}
	return op, new(input).parse(&op)
}

// Transaction returns an Operation that was not yet called from the commands between MULTI and EXEC, each as it is sent,
// which take effect in one step. Its reply is that of EXEC: an array of theirs, or nil when a watched key had changed, so
// that none has run (whether one had is not judged). The error wraps ErrHistory when no model knows one of them.
func Transaction(commands ...[]string) (Operation, error) {
	op := Operation{Cmd: "EXEC", Return: Open}
	for _, argv := range commands {
		c := slices.Clone(argv)
		if len(c) > 0 {
			c[0] = strings.ToUpper(c[0])
		}
		op.Commands = append(op.Commands, c)
	}
	return op, new(input).parse(&op)
}

// Keys returns the keys that the operation touches, in order, each once; nil if no model knows the command.
func (op Operation) Keys() []string {
	var in input
	if in.parse(&op) != nil {
		return nil
	}
	return in.keys()
}

// keys lists the keys in order, each once.
func (in *input) keys() []string {
	var keys []string
	in.eachKey(func(key string, _ *int) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	})
	return keys
}

// Changes returns the Keys of an operation that Mutates; nil for others, and if no model knows the command.
func (op *Operation) Changes() []string {
	var in input
	if in.parse(op) != nil || in.reads() {
		return nil
	}
	if in.parts == nil && in.target == "" && !in.moves() && op.Cmd != "EXEC" && in.kind != kindNothing {
		return []string{op.Key} // as most do
	}
	several := in
	return several.keys()
}

// Mutates reports whether the operation can change a key. A command that no model knows counts as mutating.
func (op Operation) Mutates() bool {
	var in input
	return in.parse(&op) != nil || !in.reads()
}

// String shows the command and its reply for people.
func (op Operation) String() string {
	var b strings.Builder
	b.WriteString(op.Cmd)
	for i, c := range op.Commands {
		if i > 0 {
			b.WriteByte(',')
		}
		if i == shownItems {
			b.WriteString(" …")
			break
		}
		writeWords(&b, c[:min(1, len(c))], c[min(1, len(c)):])
	}
	if len(op.Commands) == 0 {
		writeWords(&b, nil, []string{op.Key})
		writeWords(&b, nil, op.Args)
	}
	return b.String() + " → " + op.Reply.String()
}

// writeWords writes words as they are, and then others quoted, as many as people want to see.
func writeWords(b *strings.Builder, plain, quoted []string) {
	for _, w := range plain {
		b.WriteString(" " + w)
	}
	for i, w := range quoted {
		if i == shownItems {
			b.WriteString(" …")
			return
		}
		b.WriteString(" " + quote(w))
	}
}

// interval shows client and times of the operation for people.
func (op Operation) interval() string {
	if op.Return == Open {
		return fmt.Sprintf("client %d, from %v, open", op.Client, time.Duration(op.Call))
	}
	return fmt.Sprintf("client %d, %v to %v", op.Client, time.Duration(op.Call), time.Duration(op.Return))
}

// validateEnd returns what is wrong with the times, the outcome and the reply of the operation, as an error that wraps ErrHistory.
func (op *Operation) validateEnd() error {
	switch {
	case op.Outcome > Fail:
		return fmt.Errorf("%w: %s", ErrHistory, op.Outcome)
	case op.Reply.Kind > ArrayReply:
		return fmt.Errorf("%w: %s", ErrHistory, op.Reply)
	case op.Call < 0:
		return fmt.Errorf("%w: call at %d, must be at least 0", ErrHistory, op.Call)
	case op.Return < op.Call:
		return fmt.Errorf("%w: return at %d before the call at %d", ErrHistory, op.Return, op.Call)
	case (op.Outcome == Unknown) != (op.Return == Open):
		return fmt.Errorf("%w: outcome %s with return at %d; an operation is open exactly if its outcome is unknown",
			ErrHistory, op.Outcome, op.Return)
	case op.Outcome == Unknown && op.Reply.Kind != NoReply:
		return fmt.Errorf("%w: outcome unknown with a reply %s", ErrHistory, op.Reply)
	case op.Outcome == Ok && op.Reply.Kind == NoReply:
		return fmt.Errorf("%w: outcome ok without a reply", ErrHistory)
	}
	if op.Reply.Kind == ArrayReply {
		if !eachItem(op.Reply.Text, 1, nil) {
			return fmt.Errorf("%w: a reply that is no array of replies, or too deep", ErrHistory)
		}
	}
	return nil
}

// validate returns what is wrong with the operation, as an error that wraps ErrHistory.
func (op *Operation) validate() error {
	if err := op.validateEnd(); err != nil {
		return err
	}
	in := input{dry: true}
	return in.parse(op)
}

// Event is something that happened to the system, such as a fault. Events are shown in pictures only.
type Event struct {
	Tag         string `json:"tag"`         // names the lane, such as "nemesis" or a node
	Start       int64  `json:"start"`       // ns, on the axis of the operations
	End         int64  `json:"end"`         // ns; at most Start for an event without duration
	Description string `json:"description"` // a few words
	Colour      string `json:"colour"`      // a CSS colour of the background; "" for the default
}

// History is what all clients saw.
type History struct {
	// UnixMs is the true time, in unix ms, at which the axis of the operations is 0. Needed (positive) when commands
	// of the history set deadlines, else 0 will do.
	UnixMs int64
	// Operations in any order; Sort gives them the order of files.
	Operations []Operation
	// Events in any order.
	Events []Event
}

// Sort puts operations and events into their canonical order: by time of call, then by everything else, so that two
// histories with the same content become equal.
func (h *History) Sort() {
	if byCall := func(a, b Operation) int { return compareOperations(&a, &b) }; !slices.IsSortedFunc(h.Operations, byCall) {
		slices.SortStableFunc(h.Operations, byCall)
	}
	slices.SortStableFunc(h.Events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Tag, b.Tag),
			cmp.Compare(a.Description, b.Description), cmp.Compare(a.Colour, b.Colour))
	})
}

func compareOperations(a, b *Operation) int {
	if a.Call != b.Call { // seldom equal, and the others take time
		return cmp.Compare(a.Call, b.Call)
	}
	return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Return, b.Return),
		cmp.Compare(a.Key, b.Key), cmp.Compare(a.Cmd, b.Cmd), slices.Compare(a.Args, b.Args),
		slices.CompareFunc(a.Commands, b.Commands, slices.Compare[[]string]),
		cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Reply.Kind, b.Reply.Kind),
		cmp.Compare(a.Reply.Int, b.Reply.Int), cmp.Compare(a.Reply.Text, b.Reply.Text), cmp.Compare(a.Slot, b.Slot))
}

// Validate returns the first thing that makes the history impossible to judge, as an error that wraps ErrHistory and
// numbers the operation from 1.
func (h *History) Validate() error {
	_, err := h.inputs(new(Checker))
	return err
}

// inputs validates the history and returns its operations, parsed, in its order, which stand in the checker's memory.
func (h *History) inputs(c *Checker) ([]input, error) {
	if h.UnixMs < 0 || h.UnixMs > maxUnixMs {
		return nil, fmt.Errorf("%w: unix time %d ms of the axis, must be from 0 to %d", ErrHistory, h.UnixMs, int64(maxUnixMs))
	}
	if n := len(h.Operations); n > cap(c.ins) {
		c.ins = make([]input, 0, max(n, cap(c.ins)*3/2))
	}
	ins := c.ins[:len(h.Operations)]
	c.ins = ins
	for i := range ins {
		op, in := &h.Operations[i], &ins[i]
		in.checker = c
		err := op.validateEnd()
		if err == nil {
			err = in.parse(op)
		}
		if err != nil {
			return nil, fmt.Errorf("operation %d (%s, %s): %w", i+1, op, op.interval(), err)
		}
		if in.usesTime() && h.UnixMs == 0 {
			return nil, fmt.Errorf("operation %d (%s, %s): %w: a deadline in a history whose UnixMs is not set",
				i+1, op, op.interval(), ErrHistory)
		}
	}
	for i, e := range h.Events {
		if !utf8.ValidString(e.Tag) || !utf8.ValidString(e.Description) || !utf8.ValidString(e.Colour) {
			return nil, fmt.Errorf("event %d: %w: text that is not UTF-8", i+1, ErrHistory)
		}
	}
	return ins, nil
}
