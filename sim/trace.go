package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/xxh3"
)

// traceKind says what a line of the trace is about.
type traceKind byte

const (
	traceSend    traceKind = iota + 1 // a request leaves
	traceArrive                       // a request is executed
	traceReply                        // a reply leaves
	traceAnswer                       // a reply arrives
	traceLost                         // a message is lost
	traceBreak                        // a connection breaks
	traceDisk                         // a file operation
	traceLife                         // a process opens or crashes
	traceRecord                       // an ownership record changes
	traceNemesis                      // a fault strikes or heals
	traceNote                         // the operator, phases, verdicts
	traceLog                          // what a node logs; in readable traces only
)

var traceNames = [...]string{"?", "send", "arrive", "reply", "answer", "lost", "break", "disk", "life", "record", "nemesis", "note", "log"}

// trace is the running hash over everything that can be observed of a run, and, if asked for, its text.
type trace struct {
	hash  *xxh3.Hasher
	lines uint64
	out   io.Writer
	buf   []byte
}

func newTrace(out io.Writer) *trace { return &trace{hash: xxh3.New(), out: out} }

// note adds a line: when, on which node (-1: none), what, and its content as bytes and as text. The text is only made when
// it is wanted.
func (t *trace) note(at time.Duration, node int, kind traceKind, content []byte, text func() string) {
	t.lines++
	b := binary.BigEndian.AppendUint64(t.buf[:0], uint64(at))
	b = append(b, byte(node), byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	t.buf = b
	_, _ = t.hash.Write(b) // a hash does not fail
	if t.out != nil {
		t.say(at, node, kind, text())
	}
}

// say adds a line to the readable trace only.
func (t *trace) say(at time.Duration, node int, kind traceKind, text string) {
	_, _ = fmt.Fprintf(t.out, "%12.6f n%-2d %-7s %s\n", at.Seconds(), node, traceNames[kind], text) // who reads the trace sees that it ends
}

// sum is the hash so far.
func (t *trace) sum() uint64 { return t.hash.Sum64() }

// join copies the arguments of a command into one slice, lengths included.
func join(dst []byte, args [][]byte) []byte {
	for _, a := range args {
		dst = binary.AppendUvarint(dst, uint64(len(a)))
		dst = append(dst, a...)
	}
	return dst
}
