package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"

	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/migration"
)

// traceKind says what a line of the trace is about.
type traceKind byte

const (
	traceSend    traceKind = iota + 1 // a request leaves
	traceArrive                       // a request is executed
	traceReply                        // a reply leaves
	traceAnswer                       // a reply arrives at a node; in readable traces at a client too
	traceLost                         // a message is lost
	traceBreak                        // a connection breaks
	traceDisk                         // a file operation
	traceLife                         // a process opens or crashes
	traceRecord                       // an ownership record changes
	traceNemesis                      // a fault strikes or heals
	traceNote                         // the operator, phases, verdicts
	traceLog                          // what a node logs; in readable traces only
	traceBegin                        // a client begins an operation; in readable traces only
	traceEnd                          // a client's operation ends; in readable traces only
)

// traceNames are the kinds as traces and filters name them.
var traceNames = [...]string{"?", "send", "arrive", "reply", "answer", "lost", "break", "disk", "life", "record", "nemesis", "note", "log", "begin", "end"}

// Moment is one thing that happens in a run, for people.
type Moment struct {
	At   time.Duration
	Node int    // the node where it happens; -1: at none
	Kind string // see MomentKinds
	Text string
	// Client is the client that an operation, or the other end of a message, belongs to; -1: none.
	Client int
	// Slot and Job are what it is about; -1 and 0 if it is not about one, or about several.
	Slot int
	Job  uint64
	// Call numbers a request of the run from 1; what becomes of it, its reply included, has the same number. 0: none.
	Call int
	// From and To are the ends of the connection of a message: nodes, or -1 for a client.
	From, To int
	// Op numbers the operation of a client from 1; 0: none.
	Op int
	// Hash is the trace hash up to here. Content is what it covers of the moment besides time, node and kind, nil for what only readable
	// traces have; it must not be kept.
	Hash    uint64
	Content []byte
}

// Checkpoint is the trace hash at a moment of a run.
type Checkpoint struct {
	At   time.Duration
	Hash uint64
}

// checkpointLines is how many lines of the trace lie between checkpoints; a run has some tens of thousands.
const checkpointLines = 256

// trace is the running hash over everything that can be observed of a run, and, if asked for, what happens for people.
type trace struct {
	hash  *xxh3.Hasher
	lines uint64
	buf   []byte
	spare []byte // see room
	// checks has the hash after each checkpointLines lines, if marks is set.
	marks  bool
	checks []Checkpoint
	// watch receives each moment; nil makes none, which is much faster.
	watch func(*Moment)
}

// newTrace makes a trace whose text goes to out, if that is not nil.
func newTrace(out io.Writer) *trace {
	t := &trace{hash: xxh3.New()}
	if out != nil {
		t.watch = NewTimeline(out, Filter{}).Add
	}
	return t
}

// also makes watch see each moment, besides who sees it already.
func (t *trace) also(watch func(*Moment)) {
	first := t.watch
	if watch == nil || first == nil {
		if first == nil {
			t.watch = watch
		}
		return
	}
	t.watch = func(m *Moment) {
		first(m)
		watch(m)
	}
}

// readable reports whether anybody reads what happens.
func (t *trace) readable() bool { return t.watch != nil }

// note adds a line: when, on which node (-1: none), what, and its content as bytes and as text. The text is only made when
// it is wanted.
func (t *trace) note(at time.Duration, node int, kind traceKind, content []byte, text func() string) {
	t.message(at, node, kind, nil, content, text)
}

// message is note for what happens to a call; nil if it is none.
func (t *trace) message(at time.Duration, node int, kind traceKind, k *call, content []byte, text func() string) {
	t.lines++
	b := binary.BigEndian.AppendUint64(t.buf[:0], uint64(at))
	b = append(b, byte(node), byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	t.buf = b
	_, _ = t.hash.Write(b) // a hash does not fail
	if t.marks && t.lines%checkpointLines == 0 {
		t.checks = append(t.checks, Checkpoint{at, t.sum()})
	}
	if t.watch != nil {
		t.show(at, node, kind, k, content, text())
	}
}

// room is an empty slice to make the content of the next line in. Who watches keeps the content, so only then it is a new one.
func (t *trace) room() []byte {
	if t.watch != nil {
		return nil
	}
	if t.spare == nil {
		t.spare = make([]byte, 0, 4096) // few lines are longer
	}
	return t.spare
}

// say adds a line to the readable trace only.
func (t *trace) say(at time.Duration, node int, kind traceKind, text string) {
	if t.watch != nil {
		t.tell(at, node, kind, nil, text)
	}
}

// tell is say for what happens to a call; nil if it is none.
func (t *trace) tell(at time.Duration, node int, kind traceKind, k *call, text string) {
	t.show(at, node, kind, k, nil, text)
}

func (t *trace) show(at time.Duration, node int, kind traceKind, k *call, content []byte, text string) {
	m := &Moment{
		At: at, Node: node, Kind: traceNames[kind], Text: text, Client: -1, Slot: -1, From: -1, To: -1, Hash: t.sum(), Content: content,
	}
	if k != nil {
		m.Call, m.From = k.number, k.conn.caller()
		if k.conn.to != nil {
			m.To = k.conn.to.index
		}
		if c := k.conn.client; c != nil {
			m.Client = c.index
		}
		m.Slot, m.Job = callConcerns(k.names())
	}
	m.concern()
	t.watch(m)
}

// begins tells that a client begins an operation.
func (t *trace) begins(c *client) {
	if t.watch != nil {
		t.operations(c, traceBegin, func(argv []string) string { return fmt.Sprintf("%.120q", argv) })
	}
}

// ends tells how an operation of a client ended.
func (t *trace) ends(c *client, v resp.Value, ok bool) {
	if t.watch == nil {
		return
	}
	took := c.w.now - c.first
	t.operations(c, traceEnd, func(argv []string) string {
		switch {
		case ok && c.reads != nil:
			return fmt.Sprintf("%.120q answered; %v, try %d", argv, took, c.tries)
		case ok:
			return fmt.Sprintf("%.120q → %.120s; %v, try %d", argv, v, took, c.tries)
		case c.tries >= maxTries:
			return fmt.Sprintf("%.120q refused, given up; %v, try %d", argv, took, c.tries)
		default:
			return fmt.Sprintf("%.120q outcome unknown; %v, try %d", argv, took, c.tries)
		}
	})
}

// operations tells something of the operation of a client, or of each of those that travel together.
func (t *trace) operations(c *client, kind traceKind, text func(argv []string) string) {
	all := c.reads
	if all == nil {
		all = [][]string{c.words()}
	}
	for i, argv := range all {
		t.watch(&Moment{
			At: c.w.now, Node: -1, Kind: traceNames[kind], Text: text(argv), Client: c.index, Slot: int(c.w.keys.slots[c.slot]),
			From: -1, To: -1, Op: c.op + i, Hash: t.sum(),
		})
	}
}

// sum is the hash so far.
func (t *trace) sum() uint64 { return t.hash.Sum64() }

// callConcerns says what slot and job a command is about.
func callConcerns(args [][]byte) (sl int, job uint64) {
	switch {
	case len(args) == 3 && string(args[0]) == "PEER" && string(args[1]) == "MIGRATION":
		if m, err := migration.DecodeMessage(args[2]); err == nil {
			return int(m.Slot), m.Job.Counter
		}
	case len(args) >= 2 && string(args[0]) != "PEER":
		return int(slot.OfKey(args[1])), 0
	}
	return -1, 0
}

// concern finds in the text what the moment is about, where that is not known.
func (m *Moment) concern() {
	if m.Kind == traceNames[traceDisk] || m.Call != 0 {
		return
	}
	if found := textSlot.FindStringSubmatch(m.Text); found != nil && m.Slot < 0 {
		m.Slot, _ = strconv.Atoi(found[1]) // digits
	}
	if found := textJob.FindStringSubmatch(m.Text); found != nil && m.Job == 0 {
		m.Job, _ = strconv.ParseUint(found[1], 10, 64) // digits
	}
}

var (
	textSlot = regexp.MustCompile(`\bslot[= ](\d{1,5})\b`)
	textJob  = regexp.MustCompile(`\bjob[= ](?:0+-)?(\d{1,9})\b`)
)

// join copies the arguments of a command into one slice, lengths included.
func join(dst []byte, args [][]byte) []byte {
	for _, a := range args {
		dst = binary.AppendUvarint(dst, uint64(len(a)))
		dst = append(dst, a...)
	}
	return dst
}
