package disk

import (
	"maps"
	"slices"

	"github.com/zeebo/xxh3"
)

// CrashOptions says what a power loss leaves of what was not synced.
type CrashOptions struct {
	// Seed decides the coins, together with that of the FS.
	Seed uint64
	// KeepPercent is the chance of each changed block and entry to be kept, 0 to 100; beyond them, the nearer one.
	// Strictly between, a kept block can also be torn. Of the changes of a directory the chance is that of the next one
	// to be kept, given that those before it are, unless Unordered is set.
	KeepPercent int
	// Unordered lets each change of a directory be kept or lost by itself.
	Unordered bool
}

// CrashClone returns a new FS with what the disk would hold if the power went now. The receiver goes on unharmed.
//
// The clone has the options, the capacity and, by its seed, the identity of the receiver; it starts with zero counters,
// without locks and without injected faults (bits that were flipped stay so), and everything on it is durable.
func (f *FS) CrashClone(o CrashOptions) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashClone(o)
}

// CrashAt arms a power loss just before the n-th operation from now: 1 is the next one, 0 disarms. (Just after an
// operation is just before the next; after the last one is CrashClone.) When it strikes, the disk as the crash leaves
// it is captured, and the receiver is muted: its operations still work for the instance that is running on it, but are
// neither reported nor numbered any more, since that machine is dead. A second CrashAt replaces the first.
func (f *FS) CrashAt(n uint64, o CrashOptions) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashIn, f.crashOpts = n, o
}

// Loss says what a crash took of what was not synced.
type Loss struct {
	Blocks  int // changed blocks of which nothing is left
	Torn    int // changed blocks of which a prefix of the change is left
	Entries int // changes of directories
}

// Loss returns what the crash took that made this FS; nothing if New did.
func (f *FS) Loss() Loss {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loss
}

// Captured returns what the crash armed by CrashAt left, or nil if it has not struck.
func (f *FS) Captured() *FS { return f.captured.Load() }

func (f *FS) crashClone(o CrashOptions) *FS {
	clone := New(f.opts)
	clone.capacityBytes = f.capacityBytes
	c := &crash{
		to:     clone,
		coins:  coins{seed: mix(f.opts.Seed ^ mix(o.Seed)), keepPercent: o.KeepPercent},
		copies: make(map[*node]*node),
		kept:   make(map[*node]map[string]*node),
	}
	c.replay(f.journal, o.Unordered)
	clone.root = c.node(f.root)
	clone.root.links = 1
	return clone
}

// crash is one clone in the making.
type crash struct {
	to     *FS
	coins  coins
	copies map[*node]*node            // hard links stay links
	kept   map[*node]map[string]*node // by directory: the entries that changed, and whose change is kept
}

// replay decides which changes of entries are kept.
func (c *crash) replay(journal []record, unordered bool) {
	cut := make(map[*node]bool) // directories of which a change was lost
	for _, r := range journal {
		lost := !c.coins.keepEntry(r)
		if !unordered {
			lost = lost || slices.ContainsFunc(r.sets, func(s set) bool { return cut[s.dir] })
		}
		for _, s := range r.sets {
			if lost {
				cut[s.dir] = true
				c.to.loss.Entries++
				continue
			}
			if c.kept[s.dir] == nil {
				c.kept[s.dir] = make(map[string]*node)
			}
			c.kept[s.dir][s.name] = s.n
		}
	}
}

func (c *crash) node(n *node) *node {
	if done := c.copies[n]; done != nil {
		return done
	}
	var survivor *node
	if n.dir {
		survivor = newDir(n.birth)
	} else {
		survivor = &node{birth: n.birth, data: c.content(n)}
		survivor.synced = len(survivor.data)
	}
	c.copies[n] = survivor
	if n.dir {
		c.entries(n, survivor)
	}
	return survivor
}

// entries fills the surviving directory to with what is left of from.
func (c *crash) entries(from, to *node) {
	names := slices.Concat(
		slices.Sorted(maps.Keys(from.children)), slices.Sorted(maps.Keys(from.ghosts)), slices.Sorted(maps.Keys(from.changed)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		n := from.children[name]
		if n == nil {
			n = from.ghosts[name]
		}
		if synced, ok := from.changed[name]; ok {
			n = synced
		}
		if changed, ok := c.kept[from][name]; ok {
			n = changed
		}
		if n != nil {
			survivor := c.node(n)
			c.to.link(survivor)
			to.children[name] = survivor
		}
	}
}

// content returns what is left of a file's bytes.
func (c *crash) content(n *node) []byte {
	dirty := slices.Sorted(maps.Keys(n.old))
	data := slices.Clone(n.data[:n.synced])
	for _, b := range dirty {
		copy(data[b*BlockBytes+n.old[b].from:], n.old[b].synced)
	}
	if len(n.data) > n.synced {
		first := n.synced / BlockBytes
		if len(dirty) > 0 && dirty[len(dirty)-1] == first { // the block that grew was overwritten, too
			first++
		}
		for b := first; b*BlockBytes < len(n.data); b++ {
			dirty = append(dirty, b)
		}
	}
	for _, b := range dirty {
		if !c.coins.keepBlock(n.birth, b) {
			c.to.loss.Blocks++
			if n.lied {
				break
			}
			continue
		}
		start := b * BlockBytes
		now := n.data[start:min(start+BlockBytes, len(n.data))]
		from, to := max(0, min(n.synced-start, len(now))), len(now) // of what changed: what it grew by,
		if old := n.old[b]; old != nil {                            // and what was overwritten
			from = old.from
			if start+len(now) <= n.synced {
				to = old.to
			}
		}
		kept, torn := c.coins.tear(n.birth, b, from, to)
		if !torn {
			kept = len(now)
		}
		if kept > 0 {
			if grown := start + kept - len(data); grown > 0 {
				data = append(data, make([]byte, grown)...)
			}
			copy(data[start:], now[:kept])
		}
		if torn {
			c.to.loss.Torn++
		}
		if torn && n.lied {
			break
		}
	}
	return data
}

// coins are the draws of one crash. They are stateless: each is a hash of what it is drawn for.
type coins struct {
	seed        uint64
	keepPercent int
}

// What a coin is drawn for, so that two draws for one block differ.
const (
	drawEntry uint64 = iota + 1
	drawRemoval
	drawBlock
	drawTear
	drawCut
)

func (c coins) draw(what uint64, key string, block int) uint64 {
	return mix(xxh3.HashStringSeed(key, c.seed) ^ mix(uint64(block)<<3|what))
}

func (c coins) keepEntry(r record) bool {
	what := drawEntry
	if r.removal {
		what = drawRemoval
	}
	return int(c.draw(what, r.coin, 0)%100) < c.keepPercent
}

func (c coins) keepBlock(birth string, block int) bool {
	return int(c.draw(drawBlock, birth, block)%100) < c.keepPercent
}

// tear says whether a kept block is torn, one in four is, and how many of its bytes are then the new ones: the cut is
// somewhere in [from, to), which is what changed.
func (c coins) tear(birth string, block, from, to int) (kept int, torn bool) {
	if c.keepPercent <= 0 || c.keepPercent >= 100 || from >= to || c.draw(drawTear, birth, block)%4 != 0 {
		return 0, false
	}
	return from + int(c.draw(drawCut, birth, block)%uint64(to-from)), true
}

// mix is the finalizer of splitmix64: every bit of x changes half of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
