package store

import (
	"github.com/zeebo/xxh3"

	"godwit/engine/key"
)

// Elements under a number, as those of lists are, are written and read one after another. Scattered as hashes are, each would have the row cache and the
// roster wait for memory somewhere else.
const (
	// numberedLen is the length of the key of an element under a number of 8 bytes. A member of 4 bytes of a hash or set has such a key, too: it lies as
	// well with its neighbours, of which it has none.
	numberedLen = key.ElementLen + 8
	// neighbours is how many elements in a row have hashes that differ in the last bits only. Their places in the index of the row cache are half a line of the
	// processor's cache; with a whole line of them the roster, of which they share a block, would be wrong about one key of 18 when it is full, instead of 25.
	neighbours = 8
	// scatter is an odd number without a pattern.
	scatter = 0x9e3779b97f4a7c15
)

// hashOf is where the row cache and the roster look for a key. Elements that follow each other have their places beside each other.
func hashOf(k []byte) uint64 {
	if len(k) != numberedLen || key.Kind(k[key.PrefixLen-1]) != key.Element {
		return xxh3.Hash(k)
	}
	last := uint64(k[numberedLen-1])
	return (xxh3.Hash(k[:numberedLen-1]) + last/neighbours*scatter) ^ last%neighbours
}
