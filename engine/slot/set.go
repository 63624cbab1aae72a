package slot

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Range is the slots First to Last, both included.
type Range struct{ First, Last Slot }

// Len is the number of slots in r.
func (r Range) Len() int { return int(r.Last) - int(r.First) + 1 }

// Contains reports whether s lies in r.
func (r Range) Contains(s Slot) bool { return r.First <= s && s <= r.Last }

// String writes "5" or "5-9", as every CLUSTER command does.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// Set is a set of slots. The zero value is empty and ready to use; a copy is independent.
type Set struct{ words [Count / 64]uint64 }

// SetOf returns the set of the slots of the ranges.
func SetOf(ranges ...Range) Set {
	var s Set
	for _, r := range ranges {
		s.AddRange(r)
	}
	return s
}

// Add puts a slot into the set.
func (s *Set) Add(n Slot) { s.words[n/64] |= 1 << (n % 64) }

// AddRange puts the slots of a range into the set.
func (s *Set) AddRange(r Range) {
	for n := int(r.First); n <= int(r.Last); n = n/64*64 + 64 {
		s.words[n/64] |= bitsOf(n, r.Last)
	}
}

// RemoveRange takes the slots of a range out of the set.
func (s *Set) RemoveRange(r Range) {
	for n := int(r.First); n <= int(r.Last); n = n/64*64 + 64 {
		s.words[n/64] &^= bitsOf(n, r.Last)
	}
}

// HasAny reports whether a slot of a range is in the set.
func (s *Set) HasAny(r Range) bool {
	for n := int(r.First); n <= int(r.Last); n = n/64*64 + 64 {
		if s.words[n/64]&bitsOf(n, r.Last) != 0 {
			return true
		}
	}
	return false
}

// bitsOf is the bits of the slots from n to last in the word that n is in.
func bitsOf(n int, last Slot) uint64 {
	mask := ^uint64(0) << (n % 64)
	if n/64 == int(last)/64 {
		mask &= ^uint64(0) >> (63 - last%64)
	}
	return mask
}

// Remove takes a slot out of the set.
func (s *Set) Remove(n Slot) { s.words[n/64] &^= 1 << (n % 64) }

// Has reports whether a slot is in the set.
func (s *Set) Has(n Slot) bool { return s.words[n/64]&(1<<(n%64)) != 0 }

// Len is the number of slots in the set.
func (s *Set) Len() int {
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Slots lists the set in ascending order.
func (s *Set) Slots() []Slot {
	out := make([]Slot, 0, s.Len())
	for i, w := range s.words {
		for w != 0 {
			out = append(out, Slot(i*64+bits.TrailingZeros64(w)))
			w &= w - 1
		}
	}
	return out
}

// Ranges lists the set as maximal ranges in ascending order.
func (s *Set) Ranges() []Range {
	var out []Range
	for first := s.next(0, 0); first < Count; {
		end := s.next(first, ^uint64(0))
		out = append(out, Range{Slot(first), Slot(end - 1)})
		first = s.next(end, 0)
	}
	return out
}

// next is the first slot from n on that is in the set, or, if flip has all bits set, that is not; Count if there is none.
func (s *Set) next(n int, flip uint64) int {
	for n < Count {
		if w := (s.words[n/64] ^ flip) >> (n % 64); w != 0 {
			return n + bits.TrailingZeros64(w)
		}
		n = n/64*64 + 64
	}
	return Count
}

// String writes the ranges separated by spaces: "0-4 7 9-12".
func (s *Set) String() string {
	return Ranges(s.Ranges()).String()
}

// Ranges is a set of slots as ranges that ascend and do not touch. Set has 2 KiB whatever is in it; this is for what is
// copied a lot and has few ranges. The zero value is empty and ready to use; copies share what they hold.
type Ranges []Range

// Append puts a slot into the set that is greater than all that are in it; any other is passed over.
func (rs *Ranges) Append(n Slot) {
	list := *rs
	switch k := len(list); {
	case k == 0 || n > list[k-1].Last+1:
		*rs = append(list, Range{n, n})
	case n == list[k-1].Last+1:
		list[k-1].Last = n
	}
}

// Len is the number of slots in the set.
func (rs Ranges) Len() int {
	n := 0
	for _, r := range rs {
		n += r.Len()
	}
	return n
}

// String writes the ranges separated by spaces: "0-4 7 9-12".
func (rs Ranges) String() string { return string(rs.AppendText(nil)) }

// AppendText appends what String returns.
func (rs Ranges) AppendText(dst []byte) []byte {
	for i, r := range rs {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = strconv.AppendUint(dst, uint64(r.First), 10)
		if r.First != r.Last {
			dst = strconv.AppendUint(append(dst, '-'), uint64(r.Last), 10)
		}
	}
	return dst
}

// ParseRanges reads ranges separated by spaces, as CLUSTERX MIGRATE and SETSLOT take them in one argument. The error
// texts are those of Kvrocks, which tools match on.
func ParseRanges(text string) ([]Range, error) {
	if text == "" {
		return nil, fmt.Errorf("No slots to parse.") //nolint:staticcheck // wire text
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil, fmt.Errorf("Invalid slots: `%s`. No slots to parse. Please use spaces to separate slots.", text) //nolint:staticcheck // wire text
	}
	out := make([]Range, 0, len(fields))
	for _, f := range fields {
		r, err := ParseRange(f)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// ParseRange reads "5" or "5-9". The error texts are those of Kvrocks.
func ParseRange(text string) (Range, error) {
	if !strings.Contains(text, "-") {
		n, err := strconv.ParseUint(text, 10, 64)
		if errors.Is(err, strconv.ErrSyntax) {
			return Range{}, fmt.Errorf("Invalid slot id: encounter non-integer characters") //nolint:staticcheck // wire text
		}
		if err != nil || n >= Count {
			return Range{}, fmt.Errorf("Invalid slot id: out of numeric range") //nolint:staticcheck // wire text
		}
		return Range{Slot(n), Slot(n)}, nil
	}
	invalid := func(why string) (Range, error) {
		return Range{}, fmt.Errorf("Invalid slot range: `%s`. %s", text, why) //nolint:staticcheck // wire text
	}
	if text[0] == '-' || text[len(text)-1] == '-' {
		return invalid("The character '-' can't appear in the first or last position.")
	}
	parts := strings.Split(text, "-")
	if len(parts) != 2 {
		return invalid("The slot range should be of the form `int1-int2`.")
	}
	first, err1 := strconv.ParseUint(parts[0], 10, 64)
	last, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err1 != nil || err2 != nil {
		return invalid("The slot range should be of the form `int1-int2`.")
	}
	if first > last {
		return invalid("The slot range `int1-int2` needs to satisfy the condition (int1 <= int2).")
	}
	if last >= Count {
		return invalid(fmt.Sprintf("Slot ids go from 0 to %d.", Count-1))
	}
	return Range{Slot(first), Slot(last)}, nil
}
