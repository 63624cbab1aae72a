package store

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/zeebo/xxh3"

	"godwit/engine/key"
)

// TestNeighboursLieTogether: elements that follow each other have their places in the row cache's index, and in the roster, in one line of the processor's
// cache, and those behind them elsewhere in both.
func TestNeighboursLieTogether(t *testing.T) {
	c, r := newRowCache(64<<20), newRoster(8<<20, true)
	for i := range c.shards {
		c.shards[i].buckets = make([]uint32, 1<<12)
	}
	prefix := key.AppendElement(nil, 7, key.Element, key.Generation{1, 2, 3})
	type line struct {
		shard  *rowShard
		index  uint32
		roster uint64
	}
	lines, blocks := map[line]int{}, map[uint64]int{}
	seen := map[uint64]uint64{}
	const from, n = 1<<63 - 5000, 10_000
	for pos := uint64(from); pos < from+n; pos++ {
		h := hashOf(binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], pos))
		if other, ok := seen[h]; ok {
			t.Fatalf("positions %d and %d have one hash", other, pos)
		}
		seen[h] = pos
		lines[line{c.shard(h), uint32(h) & (1<<12 - 1) / neighbours, r.at(h)}]++
		blocks[r.at(h)]++
	}
	if want := n/neighbours + 2; len(lines) > want || len(lines) < want*9/10 {
		t.Errorf("%d elements in a row lie in %d lines, want about %d", n, len(lines), n/neighbours)
	}
	for at, many := range lines {
		if many > 2*neighbours {
			t.Errorf("%d elements lie in line %+v", many, at)
		}
	}
	for at, many := range blocks {
		if many > 4*neighbours { // 10,000 elements in 131,072 blocks
			t.Errorf("%d elements share the block of the roster at %d", many, at)
		}
	}
}

// TestOtherKeysAreScattered: what is no element under a number has a hash of its whole key, and members of four bytes, whose keys are as long, do not
// share places more than others do.
func TestOtherKeysAreScattered(t *testing.T) {
	element := key.AppendElement(nil, 7, key.Element, key.Generation{1})
	for _, k := range [][]byte{
		key.AppendRecord(nil, 7, []byte("a key of 16 byte")), // as long as that of an element under a number
		append(element[:len(element):len(element)], "1234567"...),
		append(element[:len(element):len(element)], "123456789"...),
		append(key.AppendElement(nil, 7, key.Score, key.Generation{1}), "12345678"...),
		{}, {1},
	} {
		if hashOf(k) != xxh3.Hash(k) {
			t.Errorf("the hash of %x is not that of the whole key", k)
		}
	}
	const members, places = 10_000, 4096
	var chains [places]int
	for i := range members {
		m := fmt.Sprintf("%04d", i)
		k := binary.BigEndian.AppendUint32(element[:len(element):len(element)], key.Hash([]byte(m)))
		chains[hashOf(append(k, m...))%places]++
	}
	looks := 0
	for _, n := range chains {
		looks += n * (n + 1) / 2 // what it takes to find each of the chain once
	}
	if most := members * 12 / 5; looks > most { // 2.22 for each if they lie at random
		t.Errorf("%d members of 4 bytes take %d looks in %d chains, want at most %d", members, looks, places, most)
	}
}
