package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// MaxDecoded is how many bytes the elements of a value may take, beside the payload: what is decompressed, integers as text, and
// elementBytes for each.
const MaxDecoded = 1 << 30

// elementBytes is about what an element costs beside its bytes: its slice, and an entry of the table by which those that are there twice
// are found.
const elementBytes = 64

// Value is a decoded value.
type Value struct {
	Type Type
	// Elements are the value of a string, the elements of a list from left to right, the members of a set or sorted set, or the fields
	// of a hash, each followed by its value.
	Elements [][]byte
	// Scores are those of the members of a sorted set, in the same order; nil for other types.
	Scores []float64
}

// Decode reads a payload. The elements alias it or are newly made. The error is one of this package.
func Decode(payload []byte) (Value, error) {
	body, err := cutFooter(payload)
	if err != nil {
		return Value{}, err
	}
	d := decoder{in: body, left: MaxDecoded}
	v := d.value()
	if d.err == nil && (len(d.in) > 0 || len(v.Elements) == 0 || hasTwice(&v)) {
		d.err = ErrFormat
	}
	if d.err != nil {
		return Value{}, d.err
	}
	return v, nil
}

// hasTwice reports whether a member or a field is there more than once.
func hasTwice(v *Value) bool {
	step := 1
	switch v.Type {
	case String, List:
		return false
	case Hash:
		step = 2
	case Set, ZSet:
	}
	seen := make(map[string]struct{}, len(v.Elements)/step)
	for i := 0; i < len(v.Elements); i += step {
		seen[string(v.Elements[i])] = struct{}{}
	}
	return len(seen) != len(v.Elements)/step
}

// decoder reads the body of a payload from the front. After an error it reads nothing more, and returns zero values.
type decoder struct {
	in   []byte
	left int // how many bytes may still be taken
	err  error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = ErrFormat
	}
	d.in = nil
}

// spend takes n bytes of those that are left.
func (d *decoder) spend(n int) bool {
	if d.err == nil && n > d.left {
		d.err, d.in = ErrTooLarge, nil
	}
	if d.err != nil {
		return false
	}
	d.left -= n
	return true
}

// take cuts off the next n bytes.
func (d *decoder) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.in)) {
		d.fail()
		return nil
	}
	b := d.in[:n:n]
	d.in = d.in[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// value reads the encoding and the value.
func (d *decoder) value() (v Value) {
	switch e := encoding(d.byte()); e {
	case encString:
		v.Type = String
		d.add(&v, d.string())
	case encList, encSet:
		v.Type = List
		if e == encSet {
			v.Type = Set
		}
		for n := d.length(); n > 0 && d.err == nil; n-- {
			d.add(&v, d.string())
		}
	case encHash:
		v.Type = Hash
		for n := d.length(); n > 0 && d.err == nil; n-- {
			d.add(&v, d.string())
			d.add(&v, d.string())
		}
	case encZSet, encZSetText:
		v.Type = ZSet
		for n := d.length(); n > 0 && d.err == nil; n-- {
			d.add(&v, d.string())
			if e == encZSet {
				d.addScore(&v, math.Float64frombits(d.uint64()))
			} else {
				d.addScore(&v, d.textScore())
			}
		}
	case encListZiplist:
		v.Type = List
		d.ziplist(&v, d.string())
	case encQuicklist:
		v.Type = List
		for n := d.length(); n > 0 && d.err == nil; n-- {
			d.ziplist(&v, d.string())
		}
	case encQuicklist2:
		v.Type = List
		for n := d.length(); n > 0 && d.err == nil; n-- {
			d.quicklistNode(&v)
		}
	case encSetIntset:
		v.Type = Set
		d.intset(&v, d.string())
	case encSetListpack:
		v.Type = Set
		d.listpack(&v, d.string())
	case encHashZiplist, encHashListpack:
		v.Type = Hash
		d.packed(&v, e == encHashZiplist)
	case encZSetZiplist, encZSetListpack:
		v.Type = ZSet
		d.packed(&v, e == encZSetZiplist)
		d.splitScores(&v)
	default:
		d.fail()
	}
	return v
}

// packed reads the pairs of a small hash or sorted set.
func (d *decoder) packed(v *Value, old bool) {
	if old {
		d.ziplist(v, d.string())
	} else {
		d.listpack(v, d.string())
	}
	if len(v.Elements)%2 != 0 {
		d.fail()
	}
}

// splitScores makes scores of every second element.
func (d *decoder) splitScores(v *Value) {
	if d.err != nil {
		return
	}
	members := v.Elements[:0]
	for i := 0; i < len(v.Elements); i += 2 {
		members = append(members, v.Elements[i])
		d.addScore(v, d.parseScore(v.Elements[i+1]))
	}
	v.Elements = members
}

func (d *decoder) quicklistNode(v *Value) {
	switch d.length() {
	case containerPlain:
		d.add(v, d.string())
	case containerPacked:
		d.listpack(v, d.string())
	default:
		d.fail()
	}
}

// add adds an element.
func (d *decoder) add(v *Value, element []byte) {
	if d.spend(elementBytes) {
		v.Elements = append(v.Elements, element)
	}
}

// addInt adds an element that is written as an integer.
func (d *decoder) addInt(v *Value, n int64) {
	d.add(v, d.text(n))
}

// text is an integer as text.
func (d *decoder) text(n int64) []byte {
	if !d.spend(20) {
		return nil
	}
	return strconv.AppendInt(nil, n, 10)
}

// addScore adds the score of the member added last.
func (d *decoder) addScore(v *Value, f float64) {
	if math.IsNaN(f) {
		d.fail()
	}
	if d.err == nil {
		v.Scores = append(v.Scores, f)
	}
}

// parseScore reads a score that is written as text. Others than a number or infinity are NaN.
func (d *decoder) parseScore(text []byte) float64 {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// textScore reads a score in the form that encZSetText has.
func (d *decoder) textScore() float64 {
	switch n := d.byte(); n {
	case 255:
		return math.Inf(-1)
	case 254:
		return math.Inf(1)
	default: // 253 is NaN, but longer than any number: refused as such
		return d.parseScore(d.take(uint64(n)))
	}
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// length reads a length. What begins another form of a string is none.
func (d *decoder) length() uint64 {
	first := d.byte()
	if first >= special {
		d.fail()
		return 0
	}
	return d.lengthFrom(first)
}

// lengthFrom reads the rest of a length.
func (d *decoder) lengthFrom(first byte) uint64 {
	switch {
	case first < length14:
		return uint64(first)
	case first < length32:
		return uint64(first&0x3f)<<8 | uint64(d.byte())
	case first == length32:
		if b := d.take(4); b != nil {
			return uint64(binary.BigEndian.Uint32(b))
		}
	case first == length64:
		if b := d.take(8); b != nil {
			return binary.BigEndian.Uint64(b)
		}
	default:
		d.fail()
	}
	return 0
}

// string reads a string in any of its forms.
func (d *decoder) string() []byte {
	switch first := d.byte(); first {
	case specialInt8:
		return d.text(int64(int8(d.byte())))
	case specialInt16:
		if b := d.take(2); b != nil {
			return d.text(int64(int16(binary.LittleEndian.Uint16(b))))
		}
	case specialInt32:
		if b := d.take(4); b != nil {
			return d.text(int64(int32(binary.LittleEndian.Uint32(b))))
		}
	case specialLZF:
		packed, length := d.length(), d.length()
		b := d.take(packed)
		if d.err == nil && length > uint64(len(b))*lzfMaxRatio {
			d.fail()
		}
		if !d.spend(int(length)) {
			return nil
		}
		out, ok := decompress(b, int(length))
		if !ok {
			d.fail()
		}
		return out
	default:
		if first >= special {
			d.fail()
			return nil
		}
		return d.take(d.lengthFrom(first))
	}
	return nil
}
