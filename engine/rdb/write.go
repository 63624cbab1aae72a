package rdb

import (
	"encoding/binary"
	"math"
)

// Type is the type of a value.
type Type uint8

// The types.
const (
	String Type = iota + 1
	List
	Set
	ZSet
	Hash
)

// encoding is the number by which a payload says how its value is written.
type encoding byte

const (
	encString       encoding = 0
	encList         encoding = 1
	encSet          encoding = 2
	encZSetText     encoding = 3 // scores as text
	encHash         encoding = 4
	encZSet         encoding = 5 // scores as 8 bytes
	encListZiplist  encoding = 10
	encSetIntset    encoding = 11
	encZSetZiplist  encoding = 12
	encHashZiplist  encoding = 13
	encQuicklist    encoding = 14 // a list of ziplists
	encHashListpack encoding = 16
	encZSetListpack encoding = 17
	encQuicklist2   encoding = 18 // a list of listpacks and single elements
	encSetListpack  encoding = 20
	containerPlain           = 1 // of a node of encQuicklist2: one element
	containerPacked          = 2 // of a node of encQuicklist2: a listpack
)

// How a length begins. In the lower forms the rest of the byte belongs to the length.
const (
	length6  = 0x00
	length14 = 0x40
	length32 = 0x80
	length64 = 0x81
	special  = 0xc0 // no length, but a string in another form
)

// The other forms of a string.
const (
	specialInt8  = 0xc0
	specialInt16 = 0xc1
	specialInt32 = 0xc2
	specialLZF   = 0xc3
)

// Writer writes the payload of one value: begin with WriteString, or with NewWriter, add the elements, and Finish.
type Writer struct{ buf []byte }

// WriteString returns the payload of a string.
func WriteString(value []byte) []byte {
	w := Writer{buf: make([]byte, 1, len(value)+1+9+footerLen)}
	w.buf[0] = byte(encString)
	w.Element(value)
	return w.Finish()
}

// NewWriter begins the payload of a collection of n elements, of which there is at least one; a field and its value are one here.
func NewWriter(t Type, n uint64) *Writer {
	e := encList
	switch t {
	case Set:
		e = encSet
	case ZSet:
		e = encZSet
	case Hash:
		e = encHash
	case List, String:
	}
	w := &Writer{buf: []byte{byte(e)}}
	w.length(n)
	return w
}

// Element adds an element. In a hash a field is followed by its value, in a sorted set a member by its score.
func (w *Writer) Element(b []byte) {
	w.length(uint64(len(b)))
	w.buf = append(w.buf, b...)
}

// Score adds the score of the member that was added last.
func (w *Writer) Score(f float64) {
	w.buf = binary.LittleEndian.AppendUint64(w.buf, math.Float64bits(f))
}

// Len is the length in bytes of what was written.
func (w *Writer) Len() int { return len(w.buf) }

// Finish returns the payload. The writer must not be used afterwards.
func (w *Writer) Finish() []byte { return appendFooter(w.buf) }

func (w *Writer) length(n uint64) {
	switch {
	case n < 1<<6:
		w.buf = append(w.buf, length6|byte(n))
	case n < 1<<14:
		w.buf = append(w.buf, length14|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		w.buf = binary.BigEndian.AppendUint32(append(w.buf, length32), uint32(n))
	default:
		w.buf = binary.BigEndian.AppendUint64(append(w.buf, length64), n)
	}
}
