package sim

import (
	"slices"
	"strconv"

	"godwit/engine/slot"
	"godwit/linearize"
)

// keyspace is the keys that a run uses: in each of its slots a few hot ones of different kinds, and filler. What clients do with them
// is in draw.go.
type keyspace struct {
	tags  []string
	slots []slot.Slot
	index map[slot.Slot]int
	// generation of each hot key: a key that has been used much, or whose fate is too uncertain to be judged, is left for
	// its successor.
	hot  [][]hotKey
	next int // numbers values, so that each is unique
	// fillers are the names of the filler of each slot: what it has from the beginning, and some that are only written later.
	fillers [][]string
}

// hotKey is a key that clients fight over, or a few keys that commands touch together.
type hotKey struct {
	kind       keyKind
	types      []keyType // of its names
	generation int
	filled     bool     // a wide one, as far as those know who draw commands
	names      []string // in this generation; nil before the first use
	ops        int
	// recent are some elements and members that were written last, for commands that must name one. What they were
	// written to, and whether they are still there, nobody knows.
	recent []string
	at     int // of the next in recent
}

// remembered bounds recent.
const remembered = 4

// remember notes an element that is written, and returns it.
func (h *hotKey) remember(element string) string {
	if len(h.recent) < remembered {
		h.recent = append(h.recent, element)
	} else {
		h.recent[h.at] = element
	}
	h.at = (h.at + 1) % remembered
	return element
}

// known draws an element that was written lately.
func (h *hotKey) known(d dice) string {
	if len(h.recent) == 0 {
		return "none;"
	}
	return h.recent[d.IntN(len(h.recent))]
}

// keyKind is what a key is used for: values that are told apart by who wrote them make histories cheap to judge, so
// counters and texts do not mix.
type keyKind byte

const (
	register keyKind = 'r' // whole values
	text     keyKind = 'a' // pieces are appended
	counter  keyKind = 'n'
	mortal   keyKind = 'x' // values that expire
	batch    keyKind = 'b' // several keys, which commands touch together
	hashes   keyKind = 'h' // a hash
	lists    keyKind = 'l' // a list
	sets     keyKind = 's' // a set
	ranks    keyKind = 'z' // a sorted set
	changing keyKind = 'c' // of any type, one after another
	groups   keyKind = 'g' // several keys of several types, which commands touch together
	fading   keyKind = 'y' // collections that expire
	bitmaps  keyKind = 'v' // a string of which bits are written
	wide     keyKind = 'w' // a collection that is filled with more elements than are deleted one by one
)

// keyType is the type that a key mostly has.
type keyType byte

const (
	typeString keyType = iota
	typeHash
	typeList
	typeSet
	typeSorted
)

// keyTypes are all, and what marks call them.
var keyTypes = [...]string{typeString: "string", typeHash: "hash", typeList: "list", typeSet: "set", typeSorted: "sorted set"}

// typesOf are the types of the names of a key of a kind in a slot. Two names of a group have one type more often than not, so that elements can
// move between them.
func typesOf(kind keyKind, slot int) []keyType {
	switch kind {
	case hashes:
		return []keyType{typeHash}
	case lists:
		return []keyType{typeList}
	case sets:
		return []keyType{typeSet}
	case ranks:
		return []keyType{typeSorted}
	case fading:
		return []keyType{typeHash + keyType(slot)%4}
	case wide:
		return []keyType{typeHash + keyType(slot)%wideTypes}
	case batch:
		return []keyType{typeString, typeString, typeString}
	case groups:
		return [][]keyType{{typeList, typeList, typeHash}, {typeSet, typeSet, typeSorted}, {typeString, typeHash, typeList}, {typeSorted, typeList, typeList}}[slot%4]
	default:
		return []keyType{typeString}
	}
}

// The kinds beside those of strings that a run can have, as bits of swarm.kinds.
const (
	withHashes = 1 << iota
	withLists
	withSets
	withSorted
	withChanging
	withGroups
	withBitmaps
	withAll = 1<<iota - 1
)

// kindsOf are the kinds of the hot keys of each slot: those whose values expire come last.
func kindsOf(s *swarm) []keyKind {
	if s.kinds == 0 {
		return []keyKind{register, register, text, counter, batch, mortal, mortal}
	}
	kinds := []keyKind{register, text, batch}
	for i, kind := range []keyKind{hashes, lists, sets, ranks, changing, groups, bitmaps} {
		if s.kinds&(1<<i) != 0 {
			kinds = append(kinds, kind)
		}
	}
	return append(kinds, mortal, fading)
}

// opsPerKey is after how many operations a key is left for its successor, opsPerBatch the same of keys that are judged together,
// and unknownPerBatch after how many writes of unknown outcome to one of them: such a judgement costs more.
const (
	opsPerKey       = 110
	opsPerBatch     = 50
	unknownPerBatch = 3
)

// opsPerWide is after how many operations a wide key is left for its successor. What is left of it moves with the slot from then on.
const opsPerWide = 40

// mortals is how many of the hot keys of a slot, the last ones, have values that expire.
const mortals = 2

func newKeyspace(s *swarm) *keyspace {
	k := &keyspace{index: map[slot.Slot]int{}}
	for i := 0; len(k.slots) < s.slots; i++ {
		tag := "{t" + strconv.Itoa(i) + "}"
		sl := slot.OfKey([]byte(tag))
		if _, taken := k.index[sl]; taken {
			continue
		}
		var hot []hotKey
		if s.wide > 0 && len(k.slots) == 0 {
			hot = append(hot, hotKey{kind: wide, types: typesOf(wide, s.wide)})
		}
		for _, kind := range kindsOf(s) {
			hot = append(hot, hotKey{kind: kind, types: typesOf(kind, len(k.slots))})
		}
		names := make([]string, s.filler+laterFiller)
		for j := range names {
			names[j] = tag + "f" + strconv.Itoa(j)
		}
		k.fillers = append(k.fillers, names)
		k.index[sl] = len(k.slots)
		k.tags, k.slots, k.hot = append(k.tags, tag), append(k.slots, sl), append(k.hot, hot)
	}
	return k
}

func (k *keyspace) unique() string {
	k.next++
	return strconv.Itoa(k.next) + ";"
}

// laterFiller is how many names of filler a slot has that it does not begin with.
const laterFiller = 4

// hotNames are the names of a hot key in a generation: one, or those of a batch or a group.
func (k *keyspace) hotNames(slot, i, generation int) []string {
	h := &k.hot[slot][i]
	name := k.tags[slot] + string(rune(h.kind)) + strconv.Itoa(i) + "." + strconv.Itoa(generation)
	if len(h.types) == 1 {
		return []string{name}
	}
	names := make([]string, len(h.types))
	for n := range names {
		names[n] = name + "." + string(rune('a'+n))
	}
	return names
}

// use gives the present names of a hot key, whose use is counted.
func (k *keyspace) use(slot, i int, rec *linearize.Recorder) []string {
	h := &k.hot[slot][i]
	ops, unknown := opsPerKey, linearize.RetireAfter
	if len(h.types) > 1 {
		ops, unknown = opsPerBatch, unknownPerBatch
	}
	if h.kind == wide {
		ops = opsPerWide
	}
	h.ops++
	worn := h.ops > ops
	for _, name := range h.names {
		worn = worn || rec.UnknownMutations(name) >= unknown
	}
	if worn {
		h.ops, h.recent, h.at, h.filled = 1, nil, 0, false
		h.generation++
	}
	if worn || h.names == nil {
		h.names = k.hotNames(slot, i, h.generation)
	}
	return slices.Clone(h.names)
}
