package resp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a reply.
type Kind byte

// The kinds are named by the byte that introduces them.
const (
	SimpleKind   Kind = '+'
	ErrorKind    Kind = '-'
	IntKind      Kind = ':'
	BulkKind     Kind = '$'
	ArrayKind    Kind = '*'
	NullKind     Kind = '_' // also the null bulk string and the null array of version 2
	MapKind      Kind = '%' // Elems holds keys and values in turn
	SetKind      Kind = '~'
	PushKind     Kind = '>'
	DoubleKind   Kind = ','
	BoolKind     Kind = '#' // Int is 1 or 0
	VerbatimKind Kind = '=' // Str is the text without its format
	BigKind      Kind = '('
)

// Value is a parsed reply.
type Value struct {
	Kind  Kind
	Int   int64   // IntKind and BoolKind
	Str   string  // text of simple strings, errors, bulk and verbatim strings; digits of big numbers and doubles
	Elems []Value // of arrays, maps, sets and pushes
}

// String writes the value for people: quoted strings, (error) and elements in brackets.
func (v Value) String() string {
	switch v.Kind {
	case NullKind:
		return "(nil)"
	case ErrorKind:
		return "(error) " + v.Str
	case IntKind, BoolKind:
		return strconv.FormatInt(v.Int, 10)
	case ArrayKind, MapKind, SetKind, PushKind:
		parts := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			parts[i] = e.String()
		}
		return "[" + strings.Join(parts, " ") + "]"
	case SimpleKind, DoubleKind, BigKind:
		return v.Str
	default:
		return strconv.Quote(v.Str)
	}
}

// Errors of ParseReply.
var (
	// ErrIncomplete says that the bytes end before the reply does: read more and try again.
	ErrIncomplete = errors.New("resp: the reply is incomplete")
	// ErrMalformed says that the bytes are no reply, whatever follows.
	ErrMalformed = errors.New("resp: malformed reply")
)

// Limits of ParseReply; what exceeds them is malformed.
const (
	// MaxNesting is how deep aggregates may be nested.
	MaxNesting = 32
	// MaxBulk is the longest string in bytes, as in Redis.
	MaxBulk = 512 << 20
	// MaxElems is the greatest number of values in one aggregate.
	MaxElems = 1 << 26
	// MaxLine is the longest line in bytes: a header, a simple string or an error.
	MaxLine = 64 << 10
)

// ParseReply reads one reply from the start of b and returns what follows it. It accepts only the canonical form that a
// Writer and Redis produce. The value does not alias b.
func ParseReply(b []byte) (v Value, rest []byte, err error) { return parse(b, MaxNesting) }

func parse(b []byte, depth int) (Value, []byte, error) {
	if len(b) == 0 {
		return Value{}, nil, ErrIncomplete
	}
	line, rest, err := cutLine(b[1:])
	if err != nil {
		return Value{}, nil, err
	}
	v := Value{Kind: Kind(b[0])}
	switch v.Kind {
	case SimpleKind, ErrorKind:
		v.Str = string(line)
	case IntKind:
		v.Int, err = parseInt(line)
	case BulkKind, VerbatimKind:
		return parseBulk(v.Kind, line, rest)
	case ArrayKind, MapKind, SetKind, PushKind:
		return parseElems(v.Kind, line, rest, depth)
	case NullKind:
		if len(line) != 0 {
			err = fmt.Errorf("%w: a null with %q", ErrMalformed, line)
		}
	case BoolKind:
		v.Int, err = parseBool(line)
	case DoubleKind:
		v.Str, err = parseDouble(line)
	case BigKind:
		v.Str, err = parseBig(line)
	default:
		err = fmt.Errorf("%w: a value cannot begin with %q", ErrMalformed, b[0])
	}
	if err != nil {
		return Value{}, nil, err
	}
	return v, rest, nil
}

func cutLine(b []byte) (line, rest []byte, err error) {
	i := bytes.IndexByte(b[:min(len(b), MaxLine)], '\n')
	switch {
	case i < 0 && len(b) >= MaxLine:
		return nil, nil, fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, MaxLine)
	case i < 0:
		return nil, nil, ErrIncomplete
	case i == 0 || b[i-1] != '\r' || bytes.IndexByte(b[:i-1], '\r') >= 0:
		return nil, nil, fmt.Errorf("%w: a line does not end in CR LF", ErrMalformed)
	}
	return b[:i-1], b[i+1:], nil
}

// parseInt reads an integer in the one form in which integers are written: no plus sign, no leading zero, no minus zero.
func parseInt(line []byte) (int64, error) {
	n, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(line) {
		return 0, fmt.Errorf("%w: %q is no integer", ErrMalformed, line)
	}
	return n, nil
}

// parseLength reads the length in a header; -1 is a null.
func parseLength(line []byte, limit int64) (int, error) {
	n, err := parseInt(line)
	if err != nil {
		return 0, err
	}
	if n < -1 || n > limit {
		return 0, fmt.Errorf("%w: length %d is not within -1 to %d", ErrMalformed, n, limit)
	}
	return int(n), nil
}

func parseBulk(k Kind, line, rest []byte) (Value, []byte, error) {
	n, err := parseLength(line, MaxBulk)
	switch {
	case err != nil:
		return Value{}, nil, err
	case n < 0 && k == BulkKind:
		return Value{Kind: NullKind}, rest, nil
	case n < 0:
		return Value{}, nil, fmt.Errorf("%w: a verbatim string cannot be null", ErrMalformed)
	case len(rest) < n+2:
		return Value{}, nil, ErrIncomplete
	case rest[n] != '\r' || rest[n+1] != '\n':
		return Value{}, nil, fmt.Errorf("%w: a string of %d bytes is not followed by CR LF", ErrMalformed, n)
	}
	text := rest[:n]
	if k == VerbatimKind {
		if n < verbatimFormat+1 || text[verbatimFormat] != ':' {
			return Value{}, nil, fmt.Errorf("%w: a verbatim string without a format", ErrMalformed)
		}
		text = text[verbatimFormat+1:]
	}
	return Value{Kind: k, Str: string(text)}, rest[n+2:], nil
}

func parseElems(k Kind, line, rest []byte, depth int) (Value, []byte, error) {
	n, err := parseLength(line, MaxElems)
	switch {
	case err != nil:
		return Value{}, nil, err
	case n < 0 && k == ArrayKind:
		return Value{Kind: NullKind}, rest, nil
	case n < 0:
		return Value{}, nil, fmt.Errorf("%w: only arrays and strings can be null", ErrMalformed)
	case depth == 0:
		return Value{}, nil, fmt.Errorf("%w: nested more than %d deep", ErrMalformed, MaxNesting)
	}
	if k == MapKind {
		n *= 2
	}
	v := Value{Kind: k}
	if n > 0 {
		v.Elems = make([]Value, 0, min(n, 64)) // the announced length is not trusted with more memory than this
	}
	for range n {
		var e Value
		if e, rest, err = parse(rest, depth-1); err != nil {
			return Value{}, nil, err
		}
		v.Elems = append(v.Elems, e)
	}
	return v, rest, nil
}

func parseBool(line []byte) (int64, error) {
	switch string(line) {
	case "t":
		return 1, nil
	case "f":
		return 0, nil
	}
	return 0, fmt.Errorf("%w: %q is no boolean", ErrMalformed, line)
}

func parseDouble(line []byte) (string, error) {
	switch string(line) {
	case "inf", "-inf", "nan":
		return string(line), nil
	}
	f, err := strconv.ParseFloat(string(line), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || bytes.ContainsAny(line, "_xX") {
		return "", fmt.Errorf("%w: %q is no double", ErrMalformed, line)
	}
	return string(line), nil
}

func parseBig(line []byte) (string, error) {
	digits := bytes.TrimPrefix(line, []byte("-"))
	if len(digits) == 0 || bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return "", fmt.Errorf("%w: %q is no big number", ErrMalformed, line)
	}
	return string(line), nil
}
