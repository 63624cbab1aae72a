package command

import (
	"math"
	"strings"
)

// bitfieldRight says which operations a command allows.
type bitfieldRight uint8

const (
	bitfieldReads bitfieldRight = iota
	bitfieldWrites
)

// bitfieldVerb is an operation of BITFIELD.
type bitfieldVerb uint8

const (
	bitfieldGet bitfieldVerb = iota
	bitfieldSet
	bitfieldIncrBy
)

// bitfieldOverflow is what becomes of a number that its field cannot hold.
type bitfieldOverflow uint8

const (
	overflowWrap bitfieldOverflow = iota // its low bits are kept
	overflowSat                          // the nearest number that the field can hold is taken
	overflowFail                         // nothing is written, and the answer is null
)

// bitfieldType is the type of an integer in a bitmap. Unsigned ones have at most 63 bits, so all numbers are int64.
type bitfieldType struct {
	signed bool
	bits   int64
}

// bounds are the smallest and the largest number of the type.
func (t bitfieldType) bounds() (least, most int64) {
	if !t.signed {
		return 0, 1<<t.bits - 1
	}
	most = int64(uint64(1)<<(t.bits-1) - 1)
	return -most - 1, most
}

// wrap keeps the low bits of a number.
func (t bitfieldType) wrap(n uint64) int64 {
	unused := 64 - t.bits
	if t.signed {
		return int64(n<<unused) >> unused
	}
	return int64(n << unused >> unused)
}

// bitfieldOp is one operation of a request.
type bitfieldOp struct {
	verb     bitfieldVerb
	overflow bitfieldOverflow
	typ      bitfieldType
	offset   int64
	operand  int64
}

// bitfieldWith makes the handler of BITFIELD or BITFIELD_RO.
func bitfieldWith(right bitfieldRight) Handler {
	return func(c *Context) {
		ops, writes, ok := c.parseBitfield()
		if !ok {
			return
		}
		if len(writes) == 0 {
			e := c.Tx.Load(c.Args[1])
			if !c.notString(&e) {
				c.runBitfield(e.Value, ops)
			}
			return
		}
		if right == bitfieldReads {
			c.Out.Error(errFieldReadOnly)
			return
		}
		e := c.Tx.Load(c.Args[1])
		if c.notString(&e) {
			return
		}
		value := e.Value // ours
		for _, last := range writes {
			value = grown(value, last)
		}
		had := len(e.Value)
		changed := c.runBitfield(value, ops)
		if changed || !e.Found || len(value) > had {
			c.Tx.PutString(&e, value, e.ExpireMs)
		}
	}
}

// parseBitfield reads the operations of a request, or replies with an error. writes are the offsets of the last bits of the fields
// that are written: the string reaches to each of them, even if none is written in the end.
func (c *Context) parseBitfield() (ops []bitfieldOp, writes []int64, ok bool) {
	overflow := overflowWrap
	for args := c.Args[2:]; len(args) > 0; {
		op := bitfieldOp{overflow: overflow}
		width := 4
		switch word := strings.ToLower(string(args[0])); {
		case word == "get" && len(args) >= 3:
			op.verb, width = bitfieldGet, 3
		case word == "set" && len(args) >= 4:
			op.verb = bitfieldSet
		case word == "incrby" && len(args) >= 4:
			op.verb = bitfieldIncrBy
		case word == "overflow" && len(args) >= 2:
			if overflow, ok = c.parseOverflow(args[1]); !ok {
				return nil, nil, false
			}
			args = args[2:]
			continue
		default:
			c.Out.Error(errSyntax)
			return nil, nil, false
		}
		if op.typ, ok = c.parseBitfieldType(args[1]); !ok {
			return nil, nil, false
		}
		if op.offset, ok = c.parseFieldOffset(args[2], op.typ); !ok {
			return nil, nil, false
		}
		if op.verb != bitfieldGet {
			if op.operand, ok = parseInt(args[3]); !ok {
				c.Out.Error(errNotInteger)
				return nil, nil, false
			}
			writes = append(writes, op.offset+op.typ.bits-1)
		}
		ops = append(ops, op)
		args = args[width:]
	}
	return ops, writes, true
}

// parseOverflow reads WRAP, SAT or FAIL, or replies with an error.
func (c *Context) parseOverflow(arg []byte) (o bitfieldOverflow, ok bool) {
	switch strings.ToLower(string(arg)) {
	case "wrap":
		return overflowWrap, true
	case "sat":
		return overflowSat, true
	case "fail":
		return overflowFail, true
	}
	c.Out.Error(errFieldOverflow)
	return 0, false
}

// parseBitfieldType reads a type as i16 or u8, or replies with an error. As in Redis, it ends at a zero byte.
func (c *Context) parseBitfieldType(arg []byte) (t bitfieldType, ok bool) {
	text := echo(arg, len(arg))
	if len(text) > 1 && (text[0] == 'i' || text[0] == 'u') {
		t.signed = text[0] == 'i'
		t.bits, ok = parseInt([]byte(text[1:]))
		if ok && t.bits >= 1 && (t.bits <= 63 || t.signed && t.bits == 64) {
			return t, true
		}
	}
	c.Out.Error(errFieldType)
	return t, false
}

// parseFieldOffset reads the offset of a field, in bits or, behind a #, in fields, or replies with an error.
func (c *Context) parseFieldOffset(arg []byte, t bitfieldType) (offset int64, ok bool) {
	if len(arg) == 0 || arg[0] != '#' {
		return c.parseBitOffset(arg)
	}
	index, ok := parseInt(arg[1:])
	return c.checkBitOffset(index*t.bits, ok && index >= 0 && index <= math.MaxInt64/t.bits)
}

// runBitfield carries out operations on value, which reaches to the end of each field that is written, and replies with the
// results. It reports whether value has changed.
func (c *Context) runBitfield(value []byte, ops []bitfieldOp) (changed bool) {
	c.Out.Array(len(ops))
	for _, op := range ops {
		old := readField(value, op.offset, op.typ)
		if op.verb == bitfieldGet {
			c.Out.Int(old)
			continue
		}
		base, incr := old, op.operand
		if op.verb == bitfieldSet {
			base, incr = op.operand, 0
		}
		n, ok := op.fit(base, incr)
		switch {
		case !ok:
			c.Out.Null()
			continue
		case op.verb == bitfieldSet:
			c.Out.Int(old)
		default:
			c.Out.Int(n)
		}
		if n != old {
			writeField(value, op.offset, op.typ, n)
			changed = true
		}
	}
	return changed
}

// fit is the sum of two numbers as the field can hold it, or false if it is not to be written. As in Redis, two kinds of numbers below a
// field's least count as above its most, which is what SAT then writes: a negative one that SET is to write into an unsigned field,
// and one so far below that its distance from the most is no int64.
func (op *bitfieldOp) fit(base, incr int64) (n int64, ok bool) {
	least, most := op.typ.bounds()
	sum := base + incr
	overflows := base >= 0 == (incr >= 0) && base >= 0 != (sum >= 0)
	counted := !op.typ.signed && base < 0 || op.typ.bits < 64 && base < most-math.MaxInt64
	above := counted || overflows && base >= 0 || !overflows && sum > most
	below := !above && (overflows || sum < least)
	switch {
	case !above && !below:
		return sum, true
	case op.overflow == overflowFail:
		return 0, false
	case op.overflow == overflowWrap:
		return op.typ.wrap(uint64(sum)), true
	case above:
		return most, true
	default:
		return least, true
	}
}

// readField reads an integer of up to 64 bits; bits behind the end are 0.
func readField(value []byte, offset int64, t bitfieldType) int64 {
	n := uint64(0)
	for i := range t.bits {
		n = n<<1 | uint64(bitAt(value, offset+i))
	}
	return t.wrap(n)
}

// writeField writes an integer into a field that lies within value.
func writeField(value []byte, offset int64, t bitfieldType, n int64) {
	for i := range t.bits {
		setBitAt(value, offset+i, byte(uint64(n)>>(t.bits-1-i)&1))
	}
}
