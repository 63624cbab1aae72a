package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"godwit/engine/slot"
)

// Answer is what a node says to one that claims slots: which directory speaks, which of the slots it has to do with, and whom it
// would ask itself.
type Answer struct {
	Incarnation Incarnation
	Slots       []SlotAnswer // ascending; a slot that is not there is one that it never had to do with
	Known       []Contact
}

// SlotAnswer is what a node says of one slot.
type SlotAnswer struct {
	Slot slot.Slot
	// State is that of its record. None says that it has none but claims the slot, too.
	State State
	Epoch Epoch
	// From is who said it; known from the link, not sent.
	From NodeID
}

// ErrAnswer says that a text is no answer about slots.
var ErrAnswer = errors.New("not an answer about slots")

// claimingWord stands for the state of a slot that the answering node claims.
const claimingWord = "claiming"

// Text is the answer as it is sent: a line about itself, one for each slot, ascending, and one for each node.
//
//	directory <incarnation, 16 hex digits>
//	slot <slot> <state> <epoch>
//	node <id> <address>
func (a Answer) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "directory %s\n", a.Incarnation)
	for _, s := range a.Slots {
		word := claimingWord
		if s.State != None {
			word = s.State.String()
		}
		fmt.Fprintf(&b, "slot %d %s %d\n", s.Slot, word, s.Epoch)
	}
	for _, to := range a.Known {
		fmt.Fprintf(&b, "node %s %s\n", to.ID, to.Addr)
	}
	return b.String()
}

// ParseAnswer reads what Text wrote. A state that this program does not know is an error: taken for none it could make two
// owners.
func ParseAnswer(text string) (Answer, error) {
	var a Answer
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		ok := false
		switch {
		case len(f) == 2 && f[0] == "directory" && a.Incarnation == 0:
			n, err := strconv.ParseUint(f[1], 16, 64)
			a.Incarnation, ok = Incarnation(n), err == nil
		case len(f) == 3 && f[0] == "node" && len(f[1]) == NodeIDLen:
			a.Known, ok = append(a.Known, Contact{ID: NodeID(f[1]), Addr: f[2]}), true
		case len(f) == 4 && f[0] == "slot":
			var s SlotAnswer
			s, ok = parseSlotAnswer(f[1:])
			if last := len(a.Slots) - 1; last >= 0 && a.Slots[last].Slot >= s.Slot {
				ok = false
			}
			a.Slots = append(a.Slots, s)
		}
		if !ok {
			return Answer{}, fmt.Errorf("%w: the line %.100q", ErrAnswer, line)
		}
	}
	if a.Incarnation == 0 {
		return Answer{}, fmt.Errorf("%w: it names no directory", ErrAnswer)
	}
	return a, nil
}

func parseSlotAnswer(f []string) (s SlotAnswer, ok bool) {
	n, err1 := strconv.ParseUint(f[0], 10, 16)
	epoch, err2 := strconv.ParseUint(f[2], 10, 64)
	s = SlotAnswer{Slot: slot.Slot(n), Epoch: Epoch(epoch)}
	known := f[1] == claimingWord
	if i := slices.Index(stateNames[:], f[1]); i > 0 {
		s.State, known = State(i), true
	}
	return s, known && err1 == nil && err2 == nil && s.Slot.Valid()
}

// about is what the answer says of a slot.
func (a Answer) about(s slot.Slot) (SlotAnswer, bool) {
	i, found := slices.BinarySearchFunc(a.Slots, s, func(x SlotAnswer, s slot.Slot) int { return cmp.Compare(x.Slot, s) })
	if !found {
		return SlotAnswer{}, false
	}
	return a.Slots[i], true
}
