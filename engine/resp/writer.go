// Package resp writes replies of the Redis protocol, versions 2 and 3, and reads them back for tests, simulator and tools.
//
// A Writer only appends to its buffer: it does no I/O, so a reply can be cut off again (Truncate) when a command has to
// be run anew. Requests are parsed elsewhere.
//
// Invariants.
//  1. Whatever is passed in, what a Writer appends is well-formed: a text in a line never carries a line break.
//  2. ParseReply never panics, allocates in proportion to its input only, and reads back what a Writer wrote.
//
// The protocol is that of https://redis.io/docs/latest/develop/reference/protocol-spec/; where version 2 has no type, the
// fallbacks are those of Redis 7.
package resp

import (
	"bytes"
	"math"
	"strconv"
)

// Version is the version of the protocol that a connection speaks.
type Version uint8

// The versions. A connection starts with V2 and changes by HELLO.
const (
	V2 Version = 2
	V3 Version = 3
)

// Writer appends replies to a buffer. The zero value writes version 2 into a buffer of its own. It is not safe for
// concurrent use.
type Writer struct {
	buf     []byte
	version Version
}

// Reset makes the writer append to buf, which it owns from now on, in the given version.
func (w *Writer) Reset(buf []byte, v Version) { w.buf, w.version = buf, v }

// Bytes is everything written since Reset, what stood in its buf included. It is valid until the next write.
func (w *Writer) Bytes() []byte { return w.buf }

// Len is the length of Bytes.
func (w *Writer) Len() int { return len(w.buf) }

// Truncate forgets everything after the first n bytes.
func (w *Writer) Truncate(n int) { w.buf = w.buf[:n] }

// Version is the version of the protocol that is written.
func (w *Writer) Version() Version {
	if w.version == V3 {
		return V3
	}
	return V2
}

// SetVersion changes the version of what is written from now on, as HELLO does.
func (w *Writer) SetVersion(v Version) { w.version = v }

// Simple writes a simple string; line breaks in it become spaces.
func (w *Writer) Simple(s string) { w.line('+', s) }

// OK writes the simple string OK.
func (w *Writer) OK() { w.buf = append(w.buf, "+OK\r\n"...) }

// Error writes an error. The text begins with its code, as in "ERR syntax error"; line breaks in it become spaces.
func (w *Writer) Error(text string) { w.line('-', text) }

// Int writes an integer.
func (w *Writer) Int(n int64) {
	w.buf = append(w.buf, ':')
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.end()
}

// Bulk writes a bulk string. A nil slice is the empty string; write Null for no value.
func (w *Writer) Bulk(b []byte) {
	w.header('$', len(b))
	w.buf = append(w.buf, b...)
	w.end()
}

// BulkString writes a bulk string.
func (w *Writer) BulkString(s string) {
	w.header('$', len(s))
	w.buf = append(w.buf, s...)
	w.end()
}

// Null writes the absence of a value: a null bulk string in version 2.
func (w *Writer) Null() {
	if w.version == V3 {
		w.buf = append(w.buf, "_\r\n"...)
		return
	}
	w.buf = append(w.buf, "$-1\r\n"...)
}

// NullArray writes the absence of an aggregate: a null array in version 2.
func (w *Writer) NullArray() {
	if w.version == V3 {
		w.buf = append(w.buf, "_\r\n"...)
		return
	}
	w.buf = append(w.buf, "*-1\r\n"...)
}

// Array begins an array; the n values that follow are its elements.
func (w *Writer) Array(n int) { w.header('*', n) }

// Map begins a map; the 2n values that follow are its keys and values in turn. In version 2 it is an array of 2n.
func (w *Writer) Map(n int) {
	if w.version == V3 {
		w.header('%', n)
		return
	}
	w.header('*', 2*n)
}

// Set begins a set; the n values that follow are its members. In version 2 it is an array.
func (w *Writer) Set(n int) {
	if w.version == V3 {
		w.header('~', n)
		return
	}
	w.header('*', n)
}

// Push begins an out-of-band message of n values. In version 2 it is an array.
func (w *Writer) Push(n int) {
	if w.version == V3 {
		w.header('>', n)
		return
	}
	w.header('*', n)
}

// Double writes a floating-point number with the fewest digits that read back as the same number, as Redis does since 7.2. In
// version 2 it is a bulk string.
func (w *Writer) Double(f float64) {
	var tmp [32]byte
	text := appendDouble(tmp[:0], f)
	if w.version == V3 {
		w.buf = append(w.buf, ',')
		w.buf = append(w.buf, text...)
		w.end()
		return
	}
	w.Bulk(text)
}

func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(f):
		return append(dst, "nan"...)
	}
	if math.Abs(f) <= maxWhole && f == math.Trunc(f) && (f != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	var tmp [32]byte
	text := strconv.AppendFloat(tmp[:0], f, 'e', -1, 64) // -d.ddde-dd
	at := bytes.IndexByte(text, 'e')
	mantissa, exp := text[:at], text[at+1:]
	digits := at
	if bytes.IndexByte(mantissa, '.') >= 0 {
		digits--
	}
	if text[0] == '-' {
		digits--
	}
	e, _ := strconv.Atoi(string(exp)) // what AppendFloat wrote
	// The rule of fpconv, the library of Redis, for a number that is digits times ten to the power of.
	power := e - digits + 1
	if power >= 0 && e < digits+7 || power < 0 && (power > -7 || max(e, -e) < 4) {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = append(append(dst, mantissa...), 'e')
	if e >= 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(e), 10)
}

// maxWhole is up to where Redis writes numbers without a fraction as integers.
const maxWhole = 1 << 62

// Bool writes a boolean. In version 2 it is the integer 1 or 0.
func (w *Writer) Bool(b bool) {
	switch {
	case w.version == V3 && b:
		w.buf = append(w.buf, "#t\r\n"...)
	case w.version == V3:
		w.buf = append(w.buf, "#f\r\n"...)
	case b:
		w.buf = append(w.buf, ":1\r\n"...)
	default:
		w.buf = append(w.buf, ":0\r\n"...)
	}
}

// verbatimFormat is the length of the name of a format, which is always 3.
const verbatimFormat = 3

// Verbatim writes a text that is to be shown as it is, such as that of INFO. format is its three-letter name, "txt" or
// "mkd"; anything else becomes "txt". In version 2 it is a bulk string.
func (w *Writer) Verbatim(format, text string) {
	if w.version != V3 {
		w.BulkString(text)
		return
	}
	if len(format) != verbatimFormat {
		format = "txt"
	}
	w.header('=', verbatimFormat+1+len(text))
	w.buf = append(w.buf, format...)
	w.buf = append(w.buf, ':')
	w.buf = append(w.buf, text...)
	w.end()
}

// BigNumber writes an integer of any size, given as decimal digits; line breaks in it become spaces. In version 2 it is a
// bulk string.
func (w *Writer) BigNumber(digits string) {
	if w.version == V3 {
		w.line('(', digits)
		return
	}
	w.BulkString(digits)
}

// Raw appends a reply that is already encoded.
func (w *Writer) Raw(reply []byte) { w.buf = append(w.buf, reply...) }

func (w *Writer) header(kind byte, n int) {
	w.buf = append(w.buf, kind)
	w.buf = strconv.AppendInt(w.buf, int64(n), 10)
	w.end()
}

// line writes one line, as Redis does with line breaks replaced by spaces: a client's own bytes are echoed in errors, and
// could otherwise end the reply early.
func (w *Writer) line(kind byte, s string) {
	w.buf = append(w.buf, kind)
	start := len(w.buf)
	w.buf = append(w.buf, s...)
	for i := start; i < len(w.buf); i++ {
		if w.buf[i] == '\r' || w.buf[i] == '\n' {
			w.buf[i] = ' '
		}
	}
	w.end()
}

func (w *Writer) end() { w.buf = append(w.buf, '\r', '\n') }
