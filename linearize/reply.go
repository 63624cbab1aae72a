package linearize

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrReply is wrapped by the errors of ParseReply.
var ErrReply = errors.New("linearize: not a scalar RESP reply")

// ReplyKind is the type of a reply.
type ReplyKind uint8

// The kinds of replies.
const (
	NoReply     ReplyKind = iota // nothing arrived; the only kind of an operation whose outcome is not Ok
	NilReply                     // the null bulk string, or RESP3 null
	StatusReply                  // a simple string, in Text
	IntReply                     // an integer, in Int
	BulkReply                    // a bulk string, in Text
	ErrorReply                   // an error, in Text: code, space, message, without the leading '-'
)

// Reply is what a client received. Two replies are the same exactly if they are equal with ==.
type Reply struct {
	Kind ReplyKind
	Text string
	Int  int64
}

// Nil returns the null reply.
func Nil() Reply { return Reply{Kind: NilReply} }

// Status returns a simple string such as OK.
func Status(text string) Reply { return Reply{Kind: StatusReply, Text: text} }

// Int returns an integer reply.
func Int(n int64) Reply { return Reply{Kind: IntReply, Int: n} }

// Bulk returns a bulk string reply.
func Bulk(text string) Reply { return Reply{Kind: BulkReply, Text: text} }

// Error returns an error reply; text begins with the code, without the '-' of the wire.
func Error(text string) Reply { return Reply{Kind: ErrorReply, Text: text} }

// Code returns the first word of an error reply, and "" for any other.
func (r Reply) Code() string {
	if r.Kind != ErrorReply {
		return ""
	}
	code, _, _ := strings.Cut(r.Text, " ")
	return code
}

// Outcome says what an error reply means for the command that it answers: Fail when such an error is given only
// before anything is executed, else Ok, which leaves it to the model to judge the reply.
func (r Reply) Outcome() Outcome {
	switch r.Code() {
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "CROSSSLOT", "LOADING", "MASTERDOWN", "READONLY", "BUSY",
		"MISCONF", "OOM", "NOAUTH", "NOPERM", "NOREPLICAS":
		return Fail
	}
	return Ok
}

// String shows the reply as people write it: nil, OK, 5, "text", -ERR message; ? when there is none.
func (r Reply) String() string {
	switch r.Kind {
	case NoReply:
		return "?"
	case NilReply:
		return "nil"
	case StatusReply:
		return r.Text
	case IntReply:
		return strconv.FormatInt(r.Int, 10)
	case BulkReply:
		return quote(r.Text)
	case ErrorReply:
		return "-" + r.Text
	}
	return fmt.Sprintf("reply kind %d", r.Kind)
}

// ParseReply decodes exactly one reply as it stands on the wire, RESP2 or RESP3: simple string, error, integer, bulk
// string or null. Aggregates are refused, since no modelled command gives one. The text is copied.
func ParseReply(wire []byte) (Reply, error) {
	line, rest, found := bytes.Cut(wire, []byte("\r\n"))
	if !found || len(line) == 0 {
		return Reply{}, fmt.Errorf("%w: no complete line in %s", ErrReply, quote(string(wire)))
	}
	body := string(line[1:])
	var r Reply
	switch line[0] {
	case '+':
		r = Status(body)
	case '-':
		r = Error(body)
	case ':':
		n, err := strconv.ParseInt(body, 10, 64)
		if err != nil {
			return Reply{}, fmt.Errorf("%w: integer %s", ErrReply, quote(body))
		}
		r = Int(n)
	case '_':
		if body != "" {
			return Reply{}, fmt.Errorf("%w: null with text %s", ErrReply, quote(body))
		}
		r = Nil()
	case '$':
		if body == "-1" {
			r = Nil()
			break
		}
		n, err := strconv.Atoi(body)
		if err != nil || n < 0 || n > len(rest)-2 || string(rest[n:n+2]) != "\r\n" {
			return Reply{}, fmt.Errorf("%w: bulk string of length %s with %d bytes behind it", ErrReply, quote(body), len(rest))
		}
		r, rest = Bulk(string(rest[:n])), rest[n+2:]
	default:
		return Reply{}, fmt.Errorf("%w: type byte %q", ErrReply, line[0])
	}
	if len(rest) > 0 {
		return Reply{}, fmt.Errorf("%w: %d bytes behind the reply", ErrReply, len(rest))
	}
	return r, nil
}

// shownBytes bounds how much of a key or value texts for people show.
const shownBytes = 48

// quote returns s quoted, cut in the middle when it is long.
func quote(s string) string {
	if len(s) <= shownBytes {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q…%q(%d bytes)", s[:shownBytes/2], s[len(s)-shownBytes/2:], len(s))
}
