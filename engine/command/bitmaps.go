package command

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"godwit/engine/data"
)

func bitmapSpecs() []*Spec {
	const group = "bitmap"
	return []*Spec{
		{Name: "bitcount", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: bitcount,
			Group: group, Since: "2.6.0", Complexity: "O(N)", Summary: "Count set bits in a string"},
		{Name: "bitfield", Arity: -2, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: bitfieldWith(bitfieldWrites),
			Group: group, Since: "3.2.0", Complexity: "O(1) for each subcommand specified", Summary: "Perform arbitrary bitfield integer operations on strings"},
		{Name: "bitfield_ro", Arity: -2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: bitfieldWith(bitfieldReads),
			Group: group, Since: "6.0.0", Complexity: "O(1) for each subcommand specified", Summary: "Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD"},
		{Name: "bitop", Arity: -4, Flags: Write | DenyOOM | Apart, FirstKey: 2, LastKey: -1, Step: 1, Handler: bitop,
			Group: group, Since: "2.6.0", Complexity: "O(N)", Summary: "Perform bitwise operations between strings"},
		{Name: "bitpos", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: bitpos,
			Group: group, Since: "2.8.7", Complexity: "O(N)", Summary: "Find first bit set or clear in a string"},
		{Name: "getbit", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: getbit,
			Group: group, Since: "2.2.0", Complexity: "O(N) where N is the length of the string.", Summary: "Returns the bit value at offset in the string value stored at key"},
		{Name: "setbit", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: setbit,
			Group: group, Since: "2.2.0", Complexity: "O(N) where N is the length of the string.", Summary: "Sets or clears the bit at offset in the string value stored at key"},
	}
}

// Bits are numbered from the most significant of the first byte on, as in Redis.

// bitAt is the bit at an offset, 0 behind the end.
func bitAt(value []byte, offset int64) byte {
	if offset>>3 >= int64(len(value)) {
		return 0
	}
	return value[offset>>3] >> (7 - offset&7) & 1
}

// setBitAt sets the bit at an offset that lies within value.
func setBitAt(value []byte, offset int64, bit byte) {
	mask := byte(0x80) >> (offset & 7)
	value[offset>>3] &^= mask
	if bit != 0 {
		value[offset>>3] |= mask
	}
}

// grown returns value with zeros behind it, so that it has the bit at an offset.
func grown(value []byte, offset int64) []byte {
	if more := offset>>3 + 1 - int64(len(value)); more > 0 {
		value = append(value, make([]byte, more)...)
	}
	return value
}

// parseBitOffset reads the offset of a bit, or replies with an error. It must lie within the longest string.
func (c *Context) parseBitOffset(arg []byte) (offset int64, ok bool) {
	offset, ok = parseInt(arg)
	return c.checkBitOffset(offset, ok)
}

func (c *Context) checkBitOffset(offset int64, parsed bool) (int64, bool) {
	if !parsed || offset < 0 || offset>>3 >= maxString {
		c.Out.Error(errBitOffset)
		return 0, false
	}
	return offset, true
}

func getbit(c *Context) {
	offset, ok := c.parseBitOffset(c.Args[2])
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	c.Out.Int(int64(bitAt(e.Value, offset)))
}

func setbit(c *Context) {
	offset, ok := c.parseBitOffset(c.Args[2])
	if !ok {
		return
	}
	bit, ok := parseInt(c.Args[3])
	if !ok || bit&^1 != 0 {
		c.Out.Error(errBitValue)
		return
	}
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	old := bitAt(e.Value, offset)
	if !e.Found || offset>>3 >= int64(len(e.Value)) || int64(old) != bit {
		value := grown(e.Value, offset) // the loaded value is ours
		setBitAt(value, offset, byte(bit))
		c.Tx.PutString(&e, value, e.ExpireMs)
	}
	c.Out.Int(int64(old))
}

// bitUnit is what a range of BITCOUNT and BITPOS counts.
type bitUnit uint8

const (
	unitByte bitUnit = iota
	unitBit
)

// parseBitUnit reads BYTE or BIT, or replies with an error.
func (c *Context) parseBitUnit(arg []byte) (u bitUnit, ok bool) {
	switch strings.ToLower(string(arg)) {
	case "bit":
		return unitBit, true
	case "byte":
		return unitByte, true
	}
	c.Out.Error(errSyntax)
	return 0, false
}

// bitRange is the bits from one offset to another, both included; it is empty if they are in the other order.
type bitRange struct{ first, last int64 }

// bitsOf is the part of a string of n bytes that a range names. Negative ends count from the end of the string.
func bitsOf(first, last int64, u bitUnit, n int) bitRange {
	total := int64(n)
	if u == unitBit {
		total *= 8
	}
	if first < 0 {
		first = max(first+total, 0)
	}
	if last < 0 {
		last = max(last+total, 0)
	}
	last = min(last, total-1)
	switch {
	case first > last:
		return bitRange{0, -1}
	case u == unitByte:
		return bitRange{first * 8, last*8 + 7}
	}
	return bitRange{first, last}
}

// bitcount looks at its range only if there is such a key, as Redis 7.0 does.
func bitcount(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	if !e.Found {
		c.Out.Int(0)
		return
	}
	r := bitsOf(0, -1, unitByte, len(e.Value))
	switch len(c.Args) {
	case 2:
	case 4, 5:
		first, last, ok := c.parseRange(c.Args[2], c.Args[3])
		if !ok {
			return
		}
		if first < 0 && last < 0 && first > last {
			c.Out.Int(0)
			return
		}
		u := unitByte
		if len(c.Args) == 5 {
			if u, ok = c.parseBitUnit(c.Args[4]); !ok {
				return
			}
		}
		r = bitsOf(first, last, u, len(e.Value))
	default:
		c.Out.Error(errSyntax)
		return
	}
	c.Out.Int(countBits(e.Value, r))
}

// countBits is the number of set bits of a range, which lies within value.
func countBits(value []byte, r bitRange) (n int64) {
	if r.first > r.last {
		return 0
	}
	part := value[r.first>>3 : r.last>>3+1]
	n -= int64(bits.OnesCount8(part[0] &^ (0xff >> (r.first & 7))))
	n -= int64(bits.OnesCount8(part[len(part)-1] & (0xff >> (r.last&7 + 1))))
	for ; len(part) >= 8; part = part[8:] {
		n += int64(bits.OnesCount64(binary.BigEndian.Uint64(part)))
	}
	for _, b := range part {
		n += int64(bits.OnesCount8(b))
	}
	return n
}

func bitpos(c *Context) {
	bit, ok := parseInt(c.Args[2])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	if bit&^1 != 0 {
		c.Out.Error(errBitArgument)
		return
	}
	e := c.Tx.Load(c.Args[1])
	if !e.Found { // whatever the range, as in Redis 7.0
		c.Out.Int(-bit)
		return
	}
	if c.notString(&e) {
		return
	}
	r, ok := c.parseBitposRange(len(e.Value))
	if !ok {
		return
	}
	pos := findBit(e.Value, r, byte(bit))
	if pos < 0 && bit == 0 && len(c.Args) < 5 && r.first <= r.last {
		pos = int64(len(e.Value)) * 8 // without an end, zeros follow the string
	}
	c.Out.Int(pos)
}

// parseBitposRange reads the range of BITPOS in a string of n bytes, or replies with an error.
func (c *Context) parseBitposRange(n int) (r bitRange, ok bool) {
	first, last, u := int64(0), int64(-1), unitByte
	if len(c.Args) > 6 {
		c.Out.Error(errSyntax)
		return r, false
	}
	if len(c.Args) > 3 {
		if first, ok = parseInt(c.Args[3]); !ok {
			c.Out.Error(errNotInteger)
			return r, false
		}
	}
	if len(c.Args) > 5 { // before the end of the range, as in Redis
		if u, ok = c.parseBitUnit(c.Args[5]); !ok {
			return r, false
		}
	}
	if len(c.Args) > 4 {
		if last, ok = parseInt(c.Args[4]); !ok {
			c.Out.Error(errNotInteger)
			return r, false
		}
	}
	return bitsOf(first, last, u, n), true
}

// findBit is the offset of the first bit of a range that is bit, -1 if there is none. The range lies within value.
func findBit(value []byte, r bitRange, bit byte) int64 {
	skip := byte(0) // a byte without such a bit
	if bit == 0 {
		skip = 0xff
	}
	for at := r.first; at <= r.last; {
		if at&7 == 0 && value[at>>3] == skip {
			at += 8
			continue
		}
		if bitAt(value, at) == bit {
			return at
		}
		at++
	}
	return -1
}

// bitOperation is what BITOP does to its sources.
type bitOperation uint8

const (
	bitAnd bitOperation = iota
	bitOr
	bitXor
	bitNot
)

func bitop(c *Context) {
	var op bitOperation
	switch strings.ToLower(string(c.Args[1])) {
	case "and":
		op = bitAnd
	case "or":
		op = bitOr
	case "xor":
		op = bitXor
	case "not":
		op = bitNot
	default:
		c.Out.Error(errSyntax)
		return
	}
	if op == bitNot && len(c.Args) != 4 {
		c.Out.Error(errBitopNot)
		return
	}
	result, ok := c.combineBits(op, c.Args[3:])
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[2])
	if len(result) == 0 {
		c.Tx.Remove(&e)
	} else {
		c.Tx.PutString(&e, result, data.NoExpiry)
	}
	c.Out.Int(int64(len(result)))
}

// combineBits combines the strings at some keys, the shorter of which count as followed by zeros, or replies with an error. It holds
// two of them at a time.
func (c *Context) combineBits(op bitOperation, users [][]byte) (result []byte, ok bool) {
	for i, user := range users {
		e := c.Tx.Load(user)
		if c.notString(&e) {
			return nil, false
		}
		if i == 0 {
			result = e.Value // ours
			continue
		}
		if more := len(e.Value) - len(result); more > 0 {
			result = append(result, make([]byte, more)...)
		}
		combineInto(op, result, e.Value)
	}
	if op == bitNot {
		for i := range result {
			result[i] = ^result[i]
		}
	}
	return result, true
}

// combineInto combines result with an operand that is not longer.
func combineInto(op bitOperation, result, operand []byte) {
	switch op {
	case bitAnd:
		for i, b := range operand {
			result[i] &= b
		}
		clear(result[len(operand):])
	case bitOr:
		for i, b := range operand {
			result[i] |= b
		}
	case bitXor:
		for i, b := range operand {
			result[i] ^= b
		}
	case bitNot: // has one operand
	}
}
