package rdb

import (
	"encoding/binary"
	"math"
)

// Small collections are packed into one string. In all three forms integers are little-endian.

const packEnd = 0xff

// intset adds the members of a set of integers: size of each (4 bytes), their number (4), and they, ascending.
func (d *decoder) intset(v *Value, b []byte) {
	const header = 8
	if d.err != nil || len(b) < header {
		d.fail()
		return
	}
	size, n := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	b = b[header:]
	if size != 2 && size != 4 && size != 8 || n*size != uint64(len(b)) {
		d.fail()
		return
	}
	last := int64(math.MinInt64)
	for i := 0; len(b) > 0 && d.err == nil; i++ {
		m := littleInt(b[:size])
		if i > 0 && m <= last {
			d.fail()
		}
		d.addInt(v, m)
		last, b = m, b[size:]
	}
}

// littleInt reads a signed integer of 1 to 8 bytes.
func littleInt(b []byte) int64 {
	n := uint64(0)
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	unused := 64 - 8*len(b)
	return int64(n<<unused) >> unused
}

// pack reads the entries of a ziplist or a listpack from the front.
type pack struct {
	d  *decoder
	v  *Value
	in []byte
}

func (p *pack) take(n int) []byte {
	if p.d.err != nil || n > len(p.in) {
		p.d.fail()
		return nil
	}
	b := p.in[:n:n]
	p.in = p.in[n:]
	return b
}

func (p *pack) byte() byte {
	if b := p.take(1); b != nil {
		return b[0]
	}
	return 0
}

// addString adds an entry that is n bytes.
func (p *pack) addString(n uint64) {
	if n > uint64(len(p.in)) {
		p.d.fail()
		return
	}
	p.d.add(p.v, p.take(int(n)))
}

// addInt adds an entry that is an integer of n bytes.
func (p *pack) addInt(n int) {
	if b := p.take(n); b != nil {
		p.d.addInt(p.v, littleInt(b))
	}
}

// walk reads entries up to the end, which must be that of the bytes, and compares their number with that in the header, where
// the largest means that it is not known.
func (p *pack) walk(count uint16, entry func()) {
	n := 0
	for p.d.err == nil && !(len(p.in) > 0 && p.in[0] == packEnd) {
		entry()
		n++
	}
	if len(p.in) != 1 || count != math.MaxUint16 && int(count) != n {
		p.d.fail()
	}
}

// ziplist adds the entries of a ziplist: its size (4 bytes), the place of its last entry (4), the number of entries (2), they, and an
// end. Nothing is read backwards, so the place and the lengths that entries have of those before them are not looked at.
func (d *decoder) ziplist(v *Value, b []byte) {
	const header = 10
	if d.err != nil || len(b) < header || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) {
		d.fail()
		return
	}
	p := pack{d: d, v: v, in: b[header:]}
	p.walk(binary.LittleEndian.Uint16(b[8:]), p.ziplistEntry)
}

// ziplistEntry reads | length of the entry before (1, or 0xfe and 4) | form | value |.
func (p *pack) ziplistEntry() {
	if p.byte() == 0xfe {
		p.take(4)
	}
	switch form := p.byte(); {
	case form < 0x40:
		p.addString(uint64(form))
	case form < 0x80:
		p.addString(uint64(form&0x3f)<<8 | uint64(p.byte()))
	case form == 0x80:
		if b := p.take(4); b != nil {
			p.addString(uint64(binary.BigEndian.Uint32(b)))
		}
	case form == 0xc0:
		p.addInt(2)
	case form == 0xd0:
		p.addInt(4)
	case form == 0xe0:
		p.addInt(8)
	case form == 0xf0:
		p.addInt(3)
	case form == 0xfe:
		p.addInt(1)
	case form > 0xf0 && form < 0xfe:
		p.d.addInt(p.v, int64(form&0x0f)-1)
	default:
		p.d.fail()
	}
}

// listpack adds the entries of a listpack: its size (4 bytes), the number of entries (2), they, and an end.
func (d *decoder) listpack(v *Value, b []byte) {
	const header = 6
	if d.err != nil || len(b) < header || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) {
		d.fail()
		return
	}
	p := pack{d: d, v: v, in: b[header:]}
	p.walk(binary.LittleEndian.Uint16(b[4:]), p.listpackEntry)
}

// listpackEntry reads | form | value | length of both, to be read backwards (1 to 5) |.
func (p *pack) listpackEntry() {
	before := len(p.in)
	switch form := p.byte(); {
	case form < 0x80:
		p.d.addInt(p.v, int64(form))
	case form < 0xc0:
		p.addString(uint64(form & 0x3f))
	case form < 0xe0: // 13 bits, signed
		n := uint64(form&0x1f)<<8 | uint64(p.byte())
		p.d.addInt(p.v, int64(n<<51)>>51)
	case form < 0xf0:
		p.addString(uint64(form&0x0f)<<8 | uint64(p.byte()))
	case form == 0xf0:
		if b := p.take(4); b != nil {
			p.addString(uint64(binary.LittleEndian.Uint32(b)))
		}
	case form == 0xf1:
		p.addInt(2)
	case form == 0xf2:
		p.addInt(3)
	case form == 0xf3:
		p.addInt(4)
	case form == 0xf4:
		p.addInt(8)
	default:
		p.d.fail()
	}
	p.take(backLen(before - len(p.in)))
}

// backLen is how many bytes a listpack needs for the length of an entry: 7 bits in each.
func backLen(n int) int {
	switch {
	case n <= 127:
		return 1
	case n < 16383:
		return 2
	case n < 2097151:
		return 3
	case n < 268435455:
		return 4
	}
	return 5
}
