package linearize

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Bitmaps are strings, whose bits are numbered from the most significant of the first byte on.

// fieldVerb is what an operation of BITFIELD does.
type fieldVerb uint8

const (
	fieldGet fieldVerb = iota
	fieldSet
	fieldIncr
)

// overflow is what becomes of a number that its field cannot hold.
type overflow uint8

const (
	wraps     overflow = iota // its low bits are kept
	saturates                 // the nearest number that the field can hold is written
	fails                     // nothing is written, and the reply is nil
)

// field is an operation of BITFIELD.
type field struct {
	verb     fieldVerb
	overflow overflow
	signed   bool
	width    int64 // in bits
	at       int64 // of its first bit
	operand  int64
}

// maxFieldBits bounds the width of fields, and maxOperand what is set or added, so that no sum leaves the integers: stores agree less on those.
const (
	maxFieldBits = 32
	maxOperand   = 1 << 40
)

// parseBitmap parses the commands on bits.
func (in *input) parseBitmap() (bool, error) {
	switch in.op.Cmd {
	case "GETBIT":
		in.kind = kindGetBit
		if err := in.exactly(1); err != nil {
			return true, err
		}
		return true, in.bitOffset()
	case "SETBIT":
		in.kind = kindSetBit
		if err := in.exactly(2); err != nil {
			return true, err
		}
		if in.text = in.op.Args[1]; in.text != "0" && in.text != "1" {
			return true, in.refuse("bit %s", quote(in.text))
		}
		return true, in.bitOffset()
	case "BITCOUNT":
		in.kind, in.start, in.end = kindBitCount, 0, -1
		switch len(in.op.Args) {
		case 0:
			return true, nil
		case 2:
			return true, in.integers(0, &in.start, &in.end)
		}
		return true, in.refuse("%d arguments behind the key, must be none or a range of bytes", len(in.op.Args))
	case "BITFIELD":
		in.kind = kindGetFields
		err := in.bitFields()
		for _, f := range in.fields {
			if f.verb != fieldGet {
				in.kind = kindFields
			}
		}
		return true, err
	}
	return false, nil
}

// bitOffset parses the first argument as the offset of a bit.
func (in *input) bitOffset() error {
	err := in.integers(0, &in.start)
	if err == nil && (in.start < 0 || in.start >= 8*maxValueBytes) {
		return in.refuse("bit %d, must lie within %d bytes", in.start, maxValueBytes)
	}
	return err
}

// bitFields parses the operations of BITFIELD.
func (in *input) bitFields() error {
	mode := wraps
	for args := in.op.Args; len(args) > 0; {
		f := field{overflow: mode}
		words := 4
		switch verb := strings.ToUpper(args[0]); {
		case verb == "OVERFLOW" && len(args) > 1:
			i := slices.Index([]string{"WRAP", "SAT", "FAIL"}, strings.ToUpper(args[1]))
			if i < 0 {
				return in.refuse("overflow %s", quote(args[1]))
			}
			mode, args = overflow(i), args[2:]
			continue
		case verb == "GET" && len(args) > 2:
			words = 3
		case verb == "SET" && len(args) > 3:
			f.verb = fieldSet
		case verb == "INCRBY" && len(args) > 3:
			f.verb = fieldIncr
		default:
			return in.refuse("operation %q", args)
		}
		if err := in.bitField(&f, args[1:words]); err != nil {
			return err
		}
		in.fields = append(in.fields, f)
		args = args[words:]
	}
	return nil
}

// bitField parses type, offset and, unless it only reads, the number of an operation of BITFIELD.
func (in *input) bitField(f *field, words []string) error {
	sign, width := words[0][:min(1, len(words[0]))], words[0][min(1, len(words[0])):]
	f.signed = sign == "i"
	var err error
	if f.width, err = strconv.ParseInt(width, 10, 64); err != nil || sign != "i" && sign != "u" || f.width < 1 || f.width > maxFieldBits {
		return in.refuse("type %s, must be i or u and up to %d bits", quote(words[0]), maxFieldBits)
	}
	offset, counts := strings.CutPrefix(words[1], "#")
	if f.at, err = strconv.ParseInt(offset, 10, 64); err != nil || f.at < 0 || f.at > 8*maxValueBytes/maxFieldBits-2 {
		return in.refuse("offset %s", quote(words[1]))
	}
	if counts {
		f.at *= f.width
	}
	if f.verb == fieldGet {
		return nil
	}
	f.operand, err = strconv.ParseInt(words[2], 10, 64)
	if err != nil || f.operand < -maxOperand || f.operand > maxOperand || f.verb == fieldSet && !f.signed && f.operand < 0 {
		return in.refuse("number %s", quote(words[2]))
	}
	return nil
}

// applyBitmap executes a command on bits on a string or an absent key.
func (in *input) applyBitmap(after states, v value) states {
	switch in.kind {
	case kindGetBit:
		return in.accept(after, v, Int(bitAt(v.text, in.start)))
	case kindBitCount:
		n := 0
		for _, b := range []byte(getRange(v.text, in.start, in.end)) {
			n += bits.OnesCount8(b)
		}
		return in.accept(after, v, Int(int64(n)))
	case kindSetBit:
		old := bitAt(v.text, in.start)
		b := grown(v.text, in.start)
		putBit(b, in.start, in.text == "1")
		v.present, v.text = true, string(b)
		return in.accept(after, v, Int(old))
	case kindGetFields:
		_, want := in.runFields([]byte(v.text))
		return in.accept(after, v, want)
	default:
		text := []byte(v.text)
		for _, f := range in.fields { // the string reaches to the end of each field that is written, also of one that is not written in the end
			if f.verb != fieldGet {
				text = grown(string(text), f.at+f.width-1)
			}
		}
		text, want := in.runFields(text)
		v.present, v.text = true, string(text)
		return in.accept(after, v, want)
	}
}

// runFields executes the operations of BITFIELD on a string that reaches to the end of all that are written.
func (in *input) runFields(text []byte) ([]byte, Reply) {
	var replies []Reply
	for _, f := range in.fields {
		old := f.read(text)
		if f.verb == fieldGet {
			replies = append(replies, Int(old))
			continue
		}
		n := f.operand
		if f.verb == fieldIncr {
			n += old
		}
		n, fits := f.fit(n)
		switch {
		case !fits:
			replies = append(replies, Nil())
			continue
		case f.verb == fieldSet:
			replies = append(replies, Int(old))
		default:
			replies = append(replies, Int(n))
		}
		for i := range f.width {
			putBit(text, f.at+i, n>>(f.width-1-i)&1 == 1)
		}
	}
	return text, Array(replies...)
}

// read is the number in a field; bits behind the end of the string are 0.
func (f *field) read(text []byte) int64 {
	n := int64(0)
	for i := range f.width {
		n = n<<1 | bitAt(text, f.at+i)
	}
	return f.wrap(n)
}

// wrap keeps the low bits of a number.
func (f *field) wrap(n int64) int64 {
	n &= 1<<f.width - 1
	if f.signed && n>>(f.width-1) == 1 {
		n -= 1 << f.width
	}
	return n
}

// fit is a number as the field can hold it, false if it is not to be written.
func (f *field) fit(n int64) (int64, bool) {
	least, most := int64(0), int64(1)<<f.width-1
	if f.signed {
		least, most = -1<<(f.width-1), 1<<(f.width-1)-1
	}
	switch {
	case least <= n && n <= most:
		return n, true
	case f.overflow == fails:
		return 0, false
	case f.overflow == saturates:
		return min(max(n, least), most), true
	default:
		return f.wrap(n), true
	}
}

// bitAt is the bit at an offset, 0 behind the end.
func bitAt[T string | []byte](text T, at int64) int64 {
	if at/8 >= int64(len(text)) {
		return 0
	}
	return int64(text[at/8] >> (7 - at%8) & 1)
}

// putBit sets or clears the bit at an offset that lies within b.
func putBit(b []byte, at int64, set bool) {
	mask := byte(0x80) >> (at % 8)
	b[at/8] &^= mask
	if set {
		b[at/8] |= mask
	}
}

// grown is a copy of a string, with zeros behind it so that it has the bit at an offset.
func grown(text string, at int64) []byte {
	b := make([]byte, max(int64(len(text)), at/8+1))
	copy(b, text)
	return b
}
