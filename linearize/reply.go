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
	ArrayReply                   // an array, set or map, its items encoded in Text: made by Array, read by Items
)

// Reply is what a client received. Two replies are the same exactly if they are equal with ==; the models know which
// arrays mean the same in any order.
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

// Array returns an array of replies, which may be arrays themselves, nested up to MaxDepth.
func Array(items ...Reply) Reply {
	var b []byte
	for _, item := range items {
		b = appendItem(b, item)
	}
	return Reply{Kind: ArrayReply, Text: string(b)}
}

// Bulks returns an array of bulk strings.
func Bulks(texts ...string) Reply { return Reply{Kind: ArrayReply, Text: encode(texts)} }

// Items returns the items of an array, nil if the reply is none or was not made by Array.
func (r Reply) Items() []Reply {
	if r.Kind != ArrayReply {
		return nil
	}
	items, ok := parseItems(r.Text, 1)
	if !ok {
		return nil
	}
	return items
}

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
		"MISCONF", "OOM", "NOAUTH", "NOPERM", "NOREPLICAS", "EXECABORT", "UNBLOCKED":
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
	case ArrayReply:
		var b strings.Builder
		b.WriteByte('[')
		for i, item := range r.Items() {
			if i == shownItems {
				b.WriteString(" …")
				break
			}
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(item.String())
		}
		return b.String() + "]"
	}
	return fmt.Sprintf("reply kind %d", r.Kind)
}

// MaxDepth is how deep arrays may be nested in replies.
const MaxDepth = 8

// ParseReply decodes exactly one reply as it stands on the wire, RESP2 or RESP3. Maps become arrays of keys and values in
// turn, sets become arrays, and doubles the bulk strings that RESP2 has for them, since the models judge what was said and
// not how. The text is copied.
func ParseReply(wire []byte) (Reply, error) {
	r, rest, err := parseReply(wire, 0)
	if err == nil && len(rest) > 0 {
		return Reply{}, fmt.Errorf("%w: %d bytes behind the reply", ErrReply, len(rest))
	}
	return r, err
}

func parseReply(wire []byte, depth int) (Reply, []byte, error) {
	bad := func(format string, args ...any) (Reply, []byte, error) {
		return Reply{}, nil, fmt.Errorf("%w: %s", ErrReply, fmt.Sprintf(format, args...))
	}
	line, rest, found := bytes.Cut(wire, []byte("\r\n"))
	if !found || len(line) == 0 {
		return bad("no complete line in %s", quote(string(wire)))
	}
	body := string(line[1:])
	switch line[0] {
	case '+':
		return Status(body), rest, nil
	case '-':
		return Error(body), rest, nil
	case ',':
		return Bulk(body), rest, nil
	case ':':
		n, err := strconv.ParseInt(body, 10, 64)
		if err != nil {
			return bad("integer %s", quote(body))
		}
		return Int(n), rest, nil
	case '_':
		if body != "" {
			return bad("null with text %s", quote(body))
		}
		return Nil(), rest, nil
	case '$':
		if body == "-1" {
			return Nil(), rest, nil
		}
		n, err := strconv.Atoi(body)
		if err != nil || n < 0 || n > len(rest)-2 || string(rest[n:n+2]) != "\r\n" {
			return bad("bulk string of length %s with %d bytes behind it", quote(body), len(rest))
		}
		return Bulk(string(rest[:n])), rest[n+2:], nil
	case '*', '~', '%':
		if body == "-1" && line[0] == '*' {
			return Nil(), rest, nil
		}
		n, err := strconv.Atoi(body)
		// Each item has three bytes at least.
		if err != nil || n < 0 || n > len(rest)/3 || depth == MaxDepth {
			return bad("array of length %s with %d bytes behind it, %d deep", quote(body), len(rest), depth)
		}
		if line[0] == '%' {
			n *= 2
		}
		var b []byte
		for range n {
			var item Reply
			if item, rest, err = parseReply(rest, depth+1); err != nil {
				return Reply{}, nil, err
			}
			b = appendItem(b, item)
		}
		return Reply{Kind: ArrayReply, Text: string(b)}, rest, nil
	default:
		return bad("type byte %q", line[0])
	}
}

// The items of an array are encoded one after another: a byte for the kind, the decimal length of the text, ':', the text,
// where the text of an integer is decimal and that of an array the code of its items. So arrays are equal exactly if their
// codes are. The models keep lists, sets and hashes in the same code.

// itemKinds has the byte of each kind, by kind; NoReply has none that is read back.
const itemKinds = "?_+:$-*"

func appendItem(b []byte, r Reply) []byte {
	if r.Kind == IntReply {
		r.Text = strconv.FormatInt(r.Int, 10)
	}
	kind := byte('?')
	if int(r.Kind) < len(itemKinds) {
		kind = itemKinds[r.Kind]
	}
	return append(append(strconv.AppendInt(append(b, kind), int64(len(r.Text)), 10), ':'), r.Text...)
}

// encode is the code of bulk strings.
func encode(texts []string) string {
	n := 0
	for _, t := range texts {
		n += len(t) + 6
	}
	b := make([]byte, 0, n)
	for _, t := range texts {
		b = appendItem(b, Bulk(t))
	}
	return string(b)
}

// cutItem cuts the first item off a code.
func cutItem(code string) (kind byte, text, rest string, ok bool) {
	if code == "" {
		return 0, "", "", false
	}
	n, i := 0, 1
	for ; i < len(code) && '0' <= code[i] && code[i] <= '9' && n <= len(code); i++ {
		n = 10*n + int(code[i]-'0')
	}
	// Only the shortest form of a length is taken, so that each array has one code.
	if i == 1 || i == len(code) || code[i] != ':' || i > 2 && code[1] == '0' || n > len(code)-i-1 {
		return 0, "", "", false
	}
	rest = code[i+1:]
	return code[0], rest[:n], rest[n:], true
}

// decode is the inverse of encode, for codes that encode has made.
func decode(code string) []string {
	if code == "" {
		return nil
	}
	texts := make([]string, 0, countItems(code))
	for code != "" {
		_, text, rest, ok := cutItem(code)
		if !ok {
			return texts
		}
		texts = append(texts, text)
		code = rest
	}
	return texts
}

// countItems counts the items of a code.
func countItems(code string) (n int) {
	for code != "" {
		_, _, rest, ok := cutItem(code)
		if !ok {
			return n
		}
		code = rest
		n++
	}
	return n
}

// parseItems decodes a code; false if it is none, or nested deeper than MaxDepth.
func parseItems(code string, depth int) ([]Reply, bool) {
	if code == "" {
		return nil, true
	}
	items := make([]Reply, 0, countItems(code))
	if !eachItem(code, depth, func(item Reply) { items = append(items, item) }) {
		return nil, false
	}
	return items, true
}

// eachItem decodes a code and calls fn, unless it is nil, with the items; false, once it has come to what is wrong, if it is none, or nested
// deeper than MaxDepth.
func eachItem(code string, depth int, fn func(Reply)) bool {
	for code != "" {
		kind, text, rest, ok := cutItem(code)
		k := strings.IndexByte(itemKinds, kind)
		if !ok || k < int(NilReply) {
			return false
		}
		item := Reply{Kind: ReplyKind(k), Text: text}
		switch item.Kind {
		case NilReply:
			ok = text == ""
		case IntReply:
			n, err := strconv.ParseInt(text, 10, 64)
			ok = err == nil && strconv.FormatInt(n, 10) == text
			item = Int(n)
		case ArrayReply:
			ok = depth < MaxDepth
			if ok {
				ok = eachItem(text, depth+1, nil)
			}
		default:
		}
		if !ok {
			return false
		}
		if fn != nil {
			fn(item)
		}
		code = rest
	}
	return true
}

// shownItems bounds how many items of an array texts for people show.
const shownItems = 20

// shownBytes bounds how much of a key or value texts for people show.
const shownBytes = 48

// quote returns s quoted, cut in the middle when it is long.
func quote(s string) string {
	if len(s) <= shownBytes {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q…%q(%d bytes)", s[:shownBytes/2], s[len(s)-shownBytes/2:], len(s))
}
