package data

import (
	"bytes"

	"godwit/engine/key"
)

// Random members. Up to sampleWalk members, each is as likely as any other. Of more, the place is found by a random hash and
// a random walk of up to sampleSteps from there: hashes are even but the gaps between them are not, and the walk averages
// over them, so that the chance of a member differs from the mean by about a sixth, either way.
const (
	sampleWalk  = 128
	sampleSteps = 32
)

// Random visits a random member, if there is any. The slices are valid during the call only.
func (c *Collection) Random(rand func() uint64, visit func(member, value []byte)) {
	it := c.Iter(key.Element)
	if c.seekRandom(it, rand) {
		visit(it.Member(), it.Value())
	}
	it.Close()
}

// Draws visits n random members, each drawn from all: some may come again. It stops when visit returns false.
func (c *Collection) Draws(n uint64, rand func() uint64, visit func(member, value []byte) bool) {
	it := c.Iter(key.Element)
	for ; n > 0 && c.tx.err == nil && c.seekRandom(it, rand); n-- {
		if !visit(it.Member(), it.Value()) {
			break
		}
	}
	it.Close()
}

// Sample visits n different random members, all of them if there are no more. It remembers those it has visited only where n
// is a small part of a large collection.
func (c *Collection) Sample(n uint64, rand func() uint64, visit func(member, value []byte)) {
	if n > c.size/sampleShare || c.size <= sampleWalk {
		c.sampleAll(n, rand, visit)
		return
	}
	it := c.Iter(key.Element)
	seen := make(map[string]struct{}, n)
	for uint64(len(seen)) < n && c.tx.err == nil && c.seekRandom(it, rand) {
		if _, again := seen[string(it.Member())]; again {
			continue
		}
		seen[string(bytes.Clone(it.Member()))] = struct{}{}
		visit(it.Member(), it.Value())
	}
	it.Close()
}

// sampleShare is the part of a collection, one in so many, up to which random places are cheaper than reading all: a place costs
// a seek and on average sampleSteps/2 steps.
const sampleShare = 32

// sampleAll reads all members and takes each with the chance that leaves the result exact (Knuth's algorithm S).
func (c *Collection) sampleAll(n uint64, rand func() uint64, visit func(member, value []byte)) {
	left := c.size
	it := c.Iter(key.Element)
	for ok := it.First(); ok && n > 0 && left > 0 && c.tx.err == nil; ok = it.Next() {
		if n >= left || rand()%left < n {
			visit(it.Member(), it.Value())
			n--
		}
		left--
	}
	it.Close()
}

// seekRandom moves an iterator over members to a random one, and reports false if there is none.
func (c *Collection) seekRandom(it *Elements, rand func() uint64) bool {
	if c.size == 0 {
		return false
	}
	var ok bool
	var steps uint64
	if c.size <= sampleWalk {
		ok, steps = it.First(), rand()%c.size
	} else {
		bits := rand()
		if ok = it.SeekHash(uint32(bits)); !ok {
			ok = it.First()
		}
		steps = bits >> 32 % sampleSteps
	}
	for ; ok && steps > 0; steps-- {
		if ok = it.Next(); !ok {
			ok = it.First()
		}
	}
	return ok
}
