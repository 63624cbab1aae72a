package cluster

import (
	"cmp"
	"slices"

	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// Claims settles the slots that a map gives to this node and of which it has no record: at birth, and whenever a map gives
// away what nobody serves. In a round, every node that may know of a slot is asked about all of them at once; a slot is
// served only when everybody has answered, twice, and nobody has a record of it or claims it too. Of two nodes that claim a slot at once, the
// one with the smaller id gives its claim up for a while, so that the other finds nobody.
//
// Why any record ends a claim, and not "serving" alone: nodes are asked one after another while the slot may be moving, so its
// owner can be missed: asked last, it has by then given the slot to one that was asked first. But it has a record, and so has
// everybody who ever had to do with the slot. A slot that anybody else ever had is therefore never claimed; if all of them are
// lost, a forced map is what is left.
//
// Why two can never both win: a node answers "claiming" from before it asks the first question until its claim ends, so of
// two claimants the one that asks second is told so.
//
// Why everybody is asked twice: a node could hand a slot to one that has been asked, lose its directory, and be asked as a new
// node that never had anything. A round counts only if each node answers from the directory that answered the round before. At the
// moment between the two the owner had a record in that directory, which therefore is there when it is asked again.
//
// Who is asked: the nodes of the maps that this node was given since it last had no claim open, and whomever those who answer
// would ask themselves. A node whose directory was lost and that is given a map of the past so learns of those who came later.
// Of more than MaxNodes, in the maps or named, some would not be asked, so then nothing is served. Base keeps one more than
// MaxNodes, so that whoever stores it or is told it knows.
//
// It is a machine without clock, lock or network; the engine carries out what it says. The zero value claims nothing.
//
// Invariants: a slot is open or yielded, not both; a round covers only open slots; answers to any but the latest round, and
// second answers, change nothing; a round settles once.
type Claims struct {
	self    NodeID
	base    []Contact // of the maps, by id
	learned []Contact // named by those who answered the last round, by id
	seen    []seen    // who answered the last round, by id
	// open is claimed: others are told so. yielded is not, until Resume.
	open, yielded []slot.Slot
	round         uint64
	asked         []asked // in the latest round, by id; nil when it is settled or void
	slots         []slot.Slot
	hurried       bool // the round was asked at once after the one before
}

// Contact is a node that is asked: who must answer, and at which address.
type Contact struct {
	ID   NodeID
	Addr string
}

// asked is a node that was asked and what came of it.
type asked struct {
	Contact
	state  askState
	answer Answer
}

// seen is a directory that answered.
type seen struct {
	id          NodeID
	incarnation Incarnation
}

type askState uint8

const (
	askOut      askState = iota // no answer yet
	askFailed                   // no answer came: it may know anything
	askAnswered                 // answer is valid
)

// Round is what to ask whom. The answers go to Answered or Failed under the round's number.
type Round struct {
	Number uint64 // 0: nothing is claimed
	Slots  []slot.Slot
	Whom   []Contact // nobody: the round can be settled at once
}

// Outcome is what a settled round comes to. The lists are ascending.
type Outcome struct {
	Serve   []slot.Slot  // nobody else has to do with them: this node serves them, under epoch 1
	Ended   []SlotAnswer // given up: somebody has a record
	Yielded []slot.Slot  // left to another claimant until Resume
	Again   bool         // some slots stay open: ask again after a while
	AtOnce  bool         // with Again: do not wait, everybody has answered and is to be asked for the second time
}

// SetSelf names this node. Whatever was asked under another name is void.
func (c *Claims) SetSelf(id NodeID) {
	c.self = id
	c.void()
}

// SetBase says whom to ask. A round that is out is void: it did not ask them all. It reports whether they all are asked; if
// not, since they are more than MaxNodes, nothing is served.
func (c *Claims) SetBase(base []Contact) (all bool) {
	c.base = sortContacts(base)
	all = len(c.base) <= MaxNodes
	if !all {
		c.base = slices.Clip(c.base[:MaxNodes+1])
	}
	c.void()
	return all
}

// Base is whom SetBase said, by id, at most MaxNodes+1 of them. It is what this node names to others that ask.
func (c *Claims) Base() []Contact { return c.base }

// Reset ends every claim and forgets whom to ask.
func (c *Claims) Reset() {
	*c = Claims{self: c.self, round: c.round}
	c.void()
}

// Idle reports that no claim is open or yielded: who was only in earlier maps need not be asked any more.
func (c *Claims) Idle() bool { return len(c.open) == 0 && len(c.yielded) == 0 }

// Claim opens claims of slots that the map gives to this node, which has no record of them.
func (c *Claims) Claim(slots ...slot.Slot) {
	for _, s := range slots {
		c.yielded = without(c.yielded, s)
		if i, found := slices.BinarySearch(c.open, s); !found {
			c.open = slices.Insert(c.open, i, s)
		}
	}
}

// Claiming reports whether a claim is open: what others that ask are told.
func (c *Claims) Claiming(s slot.Slot) bool {
	_, found := slices.BinarySearch(c.open, s)
	return found
}

// Open is the slots that are claimed, ascending. The caller must not change the slice.
func (c *Claims) Open() []slot.Slot { return c.open }

// Drop ends the claim of a slot of which this node now has a record.
func (c *Claims) Drop(s slot.Slot) {
	c.open, c.yielded = without(c.open, s), without(c.yielded, s)
}

// Retain ends the claims of all slots but those given, and returns those that were open.
func (c *Claims) Retain(given *slot.Set) (ended []slot.Slot) {
	keep := func(list []slot.Slot) (kept, gone []slot.Slot) {
		for _, s := range list {
			if given.Has(s) {
				kept = append(kept, s)
			} else {
				gone = append(gone, s)
			}
		}
		return kept, gone
	}
	c.open, ended = keep(c.open)
	c.yielded, _ = keep(c.yielded)
	return ended
}

// Resume opens again what was yielded.
func (c *Claims) Resume() {
	yielded := c.yielded
	c.yielded = nil
	c.Claim(yielded...)
}

// Ask begins a round about everything that is open; an earlier one is void.
func (c *Claims) Ask() Round {
	c.void()
	if len(c.open) == 0 {
		return Round{}
	}
	c.slots = slices.Clone(c.open)
	c.asked = []asked{}
	whom := c.needed(c.learned)
	if mutant.On(mutant.BirthUnasked) {
		whom = nil
	}
	for _, to := range whom {
		c.asked = append(c.asked, asked{Contact: to})
	}
	return Round{Number: c.round, Slots: c.slots, Whom: whom}
}

// Answered takes in a node's answer and reports whether the round can be settled now.
func (c *Claims) Answered(round uint64, from NodeID, a Answer) bool {
	return c.close(round, from, askAnswered, a)
}

// Failed takes in that no answer of a node will come, and reports whether the round can be settled now.
func (c *Claims) Failed(round uint64, from NodeID) bool {
	return c.close(round, from, askFailed, Answer{})
}

func (c *Claims) close(round uint64, from NodeID, state askState, a Answer) bool {
	if round != c.round || c.asked == nil {
		return false
	}
	waiting := false
	for i := range c.asked {
		q := &c.asked[i]
		if q.ID == from && q.state == askOut {
			q.state, q.answer = state, a
		}
		waiting = waiting || q.state == askOut
	}
	return !waiting
}

// Settle ends a round when everybody has answered or failed to. For any other round it does nothing and the outcome is
// empty. The caller sees to it that between Settle and the records of what is served nobody is told anything about those slots.
func (c *Claims) Settle(round uint64) Outcome {
	var out Outcome
	if round != c.round || c.asked == nil || slices.ContainsFunc(c.asked, func(q asked) bool { return q.state == askOut }) {
		return out
	}
	before := c.seen
	answered := c.learn()
	complete := answered && c.sameDirectories(before)
	var stay []slot.Slot
	for _, s := range c.open {
		if _, covered := slices.BinarySearch(c.slots, s); !covered {
			stay, out.Again = append(stay, s), true // it was claimed since
			continue
		}
		switch found, verdict := c.verdict(s); {
		case verdict == verdictEnd:
			out.Ended = append(out.Ended, found)
		case verdict == verdictYield:
			out.Yielded = append(out.Yielded, s)
		case verdict == verdictWait || !complete:
			stay, out.Again = append(stay, s), true
		default:
			out.Serve = append(out.Serve, s)
		}
	}
	out.AtOnce = out.Again && answered && !complete && !c.hurried
	c.hurried = out.AtOnce
	c.open = stay
	c.yielded = append(c.yielded, out.Yielded...)
	slices.Sort(c.yielded)
	c.void()
	return out
}

// learn notes who has answered and whom they name, and reports whether all of those, and all of base, have answered. Who was
// named in an earlier round but is not any more need not have.
func (c *Claims) learn() (answered bool) {
	var named []Contact
	c.seen = nil
	for i := range c.asked {
		if q := &c.asked[i]; q.state == askAnswered {
			named = append(named, q.answer.Known...)
			c.seen = append(c.seen, seen{q.ID, q.answer.Incarnation})
		}
	}
	c.learned = sortContacts(named)
	if mutant.On(mutant.ClaimNarrow) {
		c.learned = nil
	}
	tooMany := len(c.learned) > MaxNodes
	if tooMany {
		c.learned = c.learned[:MaxNodes]
	}
	if mutant.On(mutant.ClaimMissing) || mutant.On(mutant.BirthUnasked) {
		return true
	}
	for _, to := range c.needed(c.learned) {
		if _, found := find(c.seen, to.ID); !found {
			return false
		}
	}
	return !tooMany && len(c.base) <= MaxNodes
}

// sameDirectories reports whether all who have answered the round are the directories that had answered the one before.
func (c *Claims) sameDirectories(before []seen) bool {
	if mutant.On(mutant.ClaimOnce) {
		return true
	}
	for _, now := range c.seen {
		if i, found := find(before, now.id); !found || before[i] != now {
			return false
		}
	}
	return true
}

func find(list []seen, id NodeID) (int, bool) {
	return slices.BinarySearchFunc(list, id, func(x seen, id NodeID) int { return cmp.Compare(x.id, id) })
}

// verdict is what the answers say of one slot.
type verdict uint8

const (
	verdictFree  verdict = iota // nobody who answered has to do with it
	verdictWait                 // somebody claims it who will yield
	verdictYield                // somebody claims it to whom this node yields
	verdictEnd                  // somebody has a record
)

// verdict returns, for a claim that ended, the answer that says most of where the slot is: of one that serves it if any.
func (c *Claims) verdict(s slot.Slot) (found SlotAnswer, v verdict) {
	for i := range c.asked {
		q := &c.asked[i]
		a, ok := q.answer.about(s)
		switch {
		case !ok:
		case a.State == None: // it claims too
			if v < verdictYield && q.ID > c.self {
				v = verdictYield
			} else if v == verdictFree {
				v = verdictWait
			}
		case mutant.On(mutant.ClaimReleased) && a.State == Released:
		case v != verdictEnd || a.State == Serving && (found.State != Serving || a.Epoch > found.Epoch):
			a.From = q.ID
			found, v = a, verdictEnd
		}
	}
	return found, v
}

// void makes the answers to the questions that are out count for nothing.
func (c *Claims) void() {
	c.round++
	c.asked, c.slots = nil, nil
}

// needed is base and the learned, without this node, by id.
func (c *Claims) needed(learned []Contact) []Contact {
	all := sortContacts(append(slices.Clone(c.base), learned...))
	return slices.DeleteFunc(all, func(to Contact) bool { return to.ID == c.self })
}

// sortContacts orders contacts by id, each id once: the first that was given.
func sortContacts(list []Contact) []Contact {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b Contact) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b Contact) bool { return a.ID == b.ID })
}

// without removes a slot from an ascending list, in place.
func without(list []slot.Slot, s slot.Slot) []slot.Slot {
	if i, found := slices.BinarySearch(list, s); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}
