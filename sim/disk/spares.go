package disk

import "math/bits"

// Spares is memory for the content of files that disks use one after the other: a file that grows leaves its smaller array behind for
// another, and Reset takes all arrays back. Disks that share it are used by one goroutine at a time. What it hands out holds what was in it
// before; no file shows that.
type Spares struct {
	free [maxSpareBits + 1][][]byte // by the binary logarithm of the length
	all  [][]byte                   // that were made, for Reset
}

// maxSpareBits bounds the arrays that are kept: the logs of simulated stores are smaller, and larger files come by themselves.
const maxSpareBits = 20

// minSpareBits is of leastFileBytes.
const minSpareBits = 11

// NewSpares returns spares that hold nothing yet.
func NewSpares() *Spares { return &Spares{} }

// Reset takes back all arrays. Disks that were made with the spares must not be used any more.
func (s *Spares) Reset() {
	for i := range s.free {
		clear(s.free[i])
		s.free[i] = s.free[i][:0]
	}
	for _, b := range s.all {
		s.put(b)
	}
}

// grow returns an array that has data and room for n bytes in all, or more. The one that data was in is the spares' from now on.
func (s *Spares) grow(data []byte, n int) []byte {
	class := max(bits.Len(uint(n-1)), minSpareBits)
	if class > maxSpareBits {
		return append(make([]byte, 0, 2*n), data...)
	}
	var b []byte
	if last := len(s.free[class]) - 1; last >= 0 {
		b = s.free[class][last]
		s.free[class] = s.free[class][:last]
	} else {
		b = make([]byte, 0, 1<<class)
		s.all = append(s.all, b)
	}
	b = append(b, data...)
	s.put(data)
	return b
}

// put keeps an array that came from grow; another one is left to the collector.
func (s *Spares) put(b []byte) {
	if class := bits.Len(uint(cap(b))) - 1; class >= minSpareBits && class <= maxSpareBits && cap(b) == 1<<class {
		s.free[class] = append(s.free[class], b[:0])
	}
}
