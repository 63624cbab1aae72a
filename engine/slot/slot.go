// Package slot divides the key space into the 16,384 hash slots of the Redis Cluster specification.
package slot

import "bytes"

// Slot is a hash slot, 0 to Count-1.
type Slot uint16

// Count is the number of hash slots (Redis Cluster specification, "Key distribution model").
const Count = 16384

// Valid reports whether s is below Count.
func (s Slot) Valid() bool { return s < Count }

// OfKey returns the slot of a user key: CRC16 (XMODEM) of the key, or of its hash tag, modulo Count. The hash tag is what
// stands between the first '{' and the first '}' after it, if that is not empty.
func OfKey(key []byte) Slot {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	return Slot(crc16(key) % Count)
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, initial value 0, no reflection.
func crc16(p []byte) uint16 {
	var c uint16
	for _, b := range p {
		c = c<<8 ^ crcTable[byte(c>>8)^b]
	}
	return c
}

var crcTable = makeTable()

func makeTable() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}
