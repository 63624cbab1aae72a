package data

import (
	"bytes"

	"godwit/engine/key"
)

// randomWalk is how a random member is found. Up to whole members, each is as likely as any other. Of more, the place is found by a
// random hash and a random walk of up to steps from there: hashes are even but the gaps between them are not, and the walk
// averages over them.
type randomWalk struct{ whole, steps uint64 }

// drawWalk is for members that stay: the chance of one differs from the mean by about a sixth, either way. popWalk is for those
// that are taken out, by about a half: a set that is emptied member by member is a graveyard of deletions until the store
// compacts it, and each step passes over all that lie between two members.
var (
	drawWalk = randomWalk{whole: 128, steps: 32}
	popWalk  = randomWalk{whole: 16, steps: 4}
)

// Pop takes out a random member and returns it. The collection is not empty.
func (c *Collection) Pop(rand func() uint64) (member []byte) {
	it := c.Iter(key.Element)
	found := c.seekRandom(it, rand, popWalk)
	if found {
		member = bytes.Clone(it.Member())
	}
	it.Close()
	if !found {
		c.expect(0, c.size)
		return nil
	}
	c.Take(member)
	return member
}

// Random visits a random member of a collection that is not empty. The slices are valid during the call only.
func (c *Collection) Random(rand func() uint64, visit func(member, value []byte)) {
	c.Draws(1, rand, func(member, value []byte) bool {
		visit(member, value)
		return true
	})
}

// Draws visits n random members, each drawn from all, so that some may come again, until visit returns false. The collection
// is not empty unless n is 0.
func (c *Collection) Draws(n uint64, rand func() uint64, visit func(member, value []byte) bool) {
	it := c.Iter(key.Element)
	left := n
	for ; left > 0 && c.tx.err == nil && c.seekRandom(it, rand, drawWalk); left-- {
		if !visit(it.Member(), it.Value()) {
			left = 0
			break
		}
	}
	it.Close()
	c.expect(n-left, n)
}

// Sample visits n different random members, all of them if there are no more, until visit returns false. It remembers those
// that it has visited only where n is a small part of a large collection.
func (c *Collection) Sample(n uint64, rand func() uint64, visit func(member, value []byte) bool) {
	if n > c.size/sampleShare || c.size <= drawWalk.whole {
		c.sampleAll(n, rand, visit)
		return
	}
	it := c.Iter(key.Element)
	seen := make(map[string]struct{}, n)
	for tries := uint64(0); uint64(len(seen)) < n && c.tx.err == nil; tries++ {
		// Of a collection that is as large as its record says, few tries are lost to members drawn before.
		if tries > sampleTries*(n+1) || !c.seekRandom(it, rand, drawWalk) {
			c.expect(uint64(len(seen)), c.size)
			break
		}
		if _, again := seen[string(it.Member())]; again {
			continue
		}
		seen[string(it.Member())] = struct{}{}
		if !visit(it.Member(), it.Value()) {
			break
		}
	}
	it.Close()
}

// sampleShare is the part of a collection, one in so many, up to which random places are cheaper than reading all: a place costs
// a seek and on average half of drawWalk.steps.
const sampleShare = 32

// sampleTries is how many tries for each member end a sample of a collection that cannot have as many.
const sampleTries = 100

// sampleAll reads all members and takes each with the chance that leaves the result exact (Knuth's algorithm S).
func (c *Collection) sampleAll(n uint64, rand func() uint64, visit func(member, value []byte) bool) {
	n = min(n, c.size)
	left, want := c.size, n
	it := c.Iter(key.Element)
	for ok := it.First(); ok && want > 0 && left > 0 && c.tx.err == nil; ok = it.Next() {
		if want == left || rand()%left < want {
			want--
			if !visit(it.Member(), it.Value()) {
				want = 0
			}
		}
		left--
	}
	it.Close()
	c.expect(n-want, n)
}

// seekRandom moves an iterator over members to a random one, and reports false if there is none.
func (c *Collection) seekRandom(it *Elements, rand func() uint64, w randomWalk) bool {
	if c.size == 0 {
		return false
	}
	var ok bool
	var steps uint64
	if c.size <= w.whole {
		ok, steps = it.First(), rand()%c.size
	} else {
		bits := rand()
		if ok = it.SeekHash(uint32(bits)); !ok {
			ok = it.First()
		}
		steps = bits >> 32 % w.steps
	}
	for ; ok && steps > 0; steps-- {
		if ok = it.Next(); !ok {
			ok = it.First()
		}
	}
	return ok
}
