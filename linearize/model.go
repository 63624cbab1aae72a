package linearize

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// value is one possible state of a key. The zero value is an absent key.
type value struct {
	present bool
	text    string
	// timed says that the key has a deadline, which lies between lo and hi inclusive, in unix ms: it is known
	// exactly (lo == hi) when the command named it, and within clock bounds when the command named a duration.
	// Invariant: an absent value is zero; lo and hi are 0 unless timed; lo ≤ hi.
	timed  bool
	lo, hi int64
}

// String shows the value for people.
func (v value) String() string {
	switch {
	case !v.present:
		return "absent"
	case !v.timed:
		return quote(v.text)
	case v.lo == v.hi:
		return fmt.Sprintf("%s until %d", quote(v.text), v.lo)
	case v.hi == math.MaxInt64:
		return fmt.Sprintf("%s until %d or later", quote(v.text), v.lo)
	}
	return fmt.Sprintf("%s until %d to %d", quote(v.text), v.lo, v.hi)
}

func compareValues(a, b value) int {
	switch {
	case a == b:
		return 0
	case a.present != b.present:
		return boolOrder(a.present)
	case a.timed != b.timed:
		return boolOrder(a.timed)
	}
	return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.lo, b.lo), cmp.Compare(a.hi, b.hi))
}

func boolOrder(first bool) int {
	if first {
		return 1
	}
	return -1
}

// The state that Porcupine sees is the set of values that the key may have: sorted, without duplicates, never empty,
// never changed once made. It has more than one element only where expiry leaves it open whether a key was still
// there and the reply does not tell.
type states = []value

// step returns the states after in, empty if none of the states before can give in's reply.
func step(before states, in *input) states {
	after := make(states, 0, len(before))
	for _, v := range before {
		// A node takes the key as alive when its clock is before the deadline, as absent when it is not. Clocks
		// may differ, so within the bounds both are possible; what was taken as absent is gone for good.
		if !v.timed || in.earliest <= v.hi {
			after = in.apply(after, v)
		}
		if v.timed && in.latest >= v.lo {
			after = in.apply(after, value{})
		}
	}
	if len(after) > 1 {
		slices.SortFunc(after, compareValues)
		after = slices.Compact(after)
	}
	return after
}

// apply executes in on a key whose value is v, expiry being settled, and appends what the key can be afterwards given
// the reply that was seen: mostly one value or none.
func (in *input) apply(after states, v value) states {
	switch in.kind {
	case kindGet:
		return in.accept(after, v, v.bulk())
	case kindStrlen:
		return in.accept(after, v, Int(int64(len(v.text))))
	case kindExists:
		return in.accept(after, v, boolReply(v.present))
	case kindType:
		if v.present {
			return in.accept(after, v, Status("string"))
		}
		return in.accept(after, v, Status("none"))
	case kindGetRange:
		return in.accept(after, v, Bulk(getRange(v.text, in.start, in.end)))
	case kindTTL:
		return in.applyTTL(after, v)
	case kindSet:
		return in.applySet(after, v)
	case kindGetDel:
		return in.accept(after, value{}, v.bulk())
	case kindGetEx:
		if !v.present {
			return in.accept(after, v, Nil())
		}
		return in.accept(after, in.withDeadline(v), v.bulk())
	case kindDel:
		return in.accept(after, value{}, boolReply(v.present))
	case kindAppend:
		v.present, v.text = true, v.text+in.text
		return in.accept(after, v, Int(int64(len(v.text))))
	case kindSetRange:
		if in.text == "" {
			return in.accept(after, v, Int(int64(len(v.text))))
		}
		v.present, v.text = true, setRange(v.text, int(in.start), in.text)
		return in.accept(after, v, Int(int64(len(v.text))))
	case kindIncr:
		return in.applyIncr(after, v)
	case kindExpire:
		return in.applyExpire(after, v)
	case kindPersist:
		was := v.timed
		v.timed, v.lo, v.hi = false, 0, 0
		return in.accept(after, v, boolReply(was))
	}
	return after
}

// accept appends next if the operation was answered by want or by nothing.
func (in *input) accept(after states, next value, want Reply) states {
	if in.op.Outcome == Unknown || in.op.Reply == want {
		return append(after, next)
	}
	return after
}

// refuse appends v, unchanged, if the operation was answered by an error with the code ERR or by nothing. The wording
// behind the code differs between stores and is not judged.
func (in *input) refuse(after states, v value) states {
	if in.op.Outcome == Unknown || in.op.Reply.Code() == "ERR" {
		return append(after, v)
	}
	return after
}

func (in *input) applySet(after states, v value) states {
	next, done := v, Nil()
	if in.cond == always || (in.cond == ifPresent) == v.present {
		next = in.withDeadline(value{present: true, text: in.text, timed: v.timed, lo: v.lo, hi: v.hi})
		done = Status("OK")
	}
	if in.form == replyOld {
		done = v.bulk()
	} else if in.form == replyInt {
		done = boolReply(!v.present)
	}
	return in.accept(after, next, done)
}

func (in *input) applyIncr(after states, v value) states {
	old := int64(0)
	if v.present {
		n, err := strconv.ParseInt(v.text, 10, 64)
		// "+1", "01" and "-0" are strings, not integers, as in Redis' string2ll.
		if err != nil || strconv.FormatInt(n, 10) != v.text {
			return in.refuse(after, v)
		}
		old = n
	}
	sum := old + in.delta
	if (in.delta > 0 && sum < old) || (in.delta < 0 && sum > old) {
		return in.refuse(after, v)
	}
	v.present, v.text = true, strconv.FormatInt(sum, 10)
	return in.accept(after, v, Int(sum))
}

// applyExpire follows EXPIRE: a deadline that has passed deletes. Where bounds leave open whether GT or LT holds, both
// are possible.
func (in *input) applyExpire(after states, v value) states {
	if !v.present {
		return in.accept(after, v, Int(0))
	}
	next := in.withDeadline(v)
	var can, cannot bool
	switch in.cond {
	case always:
		can = true
	case ifAbsent:
		can, cannot = !v.timed, v.timed
	case ifPresent:
		can, cannot = v.timed, !v.timed
	case ifGreater: // no deadline counts as infinity
		can, cannot = v.timed && next.hi > v.lo, !v.timed || next.lo <= v.hi
	case ifLess:
		can, cannot = !v.timed || next.lo < v.hi, v.timed && next.hi >= v.lo
	}
	if can {
		if next.hi < in.earliest || (in.deadline == setAfter && in.ms <= 0) {
			next = value{}
		}
		after = in.accept(after, next, Int(1))
	}
	if cannot {
		after = in.accept(after, v, Int(0))
	}
	return after
}

// secondSlackMs is how far a reply in whole seconds may be from the time in ms: stores round down, up or to the
// nearest.
const secondSlackMs = 1000

// applyTTL judges a shown deadline, and narrows what is known of it.
func (in *input) applyTTL(after states, v value) states {
	switch {
	case in.op.Outcome == Unknown:
		return append(after, v)
	case !v.present:
		return in.accept(after, v, Int(-2))
	case !v.timed:
		return in.accept(after, v, Int(-1))
	case in.op.Reply.Kind != IntReply || in.op.Reply.Int < 0 || in.op.Reply.Int > maxUnixMs:
		return after
	}
	lo, hi := in.op.Reply.Int, in.op.Reply.Int
	if in.form == replyLeftS || in.form == replyMomentS {
		if lo > maxUnixMs/1000 {
			return after
		}
		lo, hi = lo*1000-secondSlackMs, hi*1000+secondSlackMs
	}
	if in.form == replyLeftS || in.form == replyLeftMs {
		lo, hi = addMs(in.earliest, lo), addMs(in.latest, hi)
	}
	v.lo, v.hi = max(v.lo, lo), min(v.hi, hi)
	if v.lo > v.hi {
		return after
	}
	return append(after, v)
}

// withDeadline returns v with the deadline that in gives it.
func (in *input) withDeadline(v value) value {
	switch in.deadline {
	case dropDeadline:
		v.timed, v.lo, v.hi = false, 0, 0
	case keepDeadline:
	case setAfter:
		v.timed, v.lo, v.hi = true, addMs(in.earliest, in.ms), addMs(in.latest, in.ms)
	case setAt:
		v.timed, v.lo, v.hi = true, in.ms, in.ms
	}
	return v
}

// addMs adds a bounded duration to a time that may be the end of time, which stays there.
func addMs(at, ms int64) int64 {
	if at == math.MaxInt64 {
		return at
	}
	return at + ms
}

// bulk returns what GET would reply.
func (v value) bulk() Reply {
	if !v.present {
		return Nil()
	}
	return Bulk(v.text)
}

func boolReply(b bool) Reply {
	if b {
		return Int(1)
	}
	return Int(0)
}

// getRange follows Redis' GETRANGE: negative positions count from the end, and the range is clipped.
func getRange(s string, start, end int64) string {
	n := int64(len(s))
	if start < 0 && end < 0 && start > end {
		return ""
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end {
		return ""
	}
	return s[start : end+1]
}

// setRange overwrites s from offset with text, padded by zero bytes.
func setRange(s string, offset int, text string) string {
	b := make([]byte, max(len(s), offset+len(text)))
	copy(b, s)
	copy(b[offset:], text)
	return string(b)
}

// budget counts model steps, and says when they are used up.
type budget struct {
	limited bool  // false: left plays no part
	left    int64 // steps left
	spent   bool  // a step was refused because none was left: the result means nothing
}

// porcupineModel returns the model of one key. With a limited budget, steps beyond it are refused; the caller must
// then treat the result as unknown.
func porcupineModel(b *budget) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return states{value{}} },
		Step: func(state, in, _ any) (bool, any) {
			if b.limited {
				if b.left == 0 {
					b.spent = true
					return false, state
				}
				b.left--
			}
			after := step(state.(states), in.(*input))
			return len(after) > 0, after
		},
		Equal:             func(a, b any) bool { return slices.Equal(a.(states), b.(states)) },
		Hash:              func(state any) uint64 { return hashStates(state.(states)) },
		DescribeOperation: func(in, _ any) string { return in.(*input).op.String() },
		DescribeState:     func(state any) string { return describeStates(state.(states)) },
		DescribeOperationMetadata: func(metadata any) string {
			return metadata.(string)
		},
	}
}

// hashStates is FNV-1a over the content.
func hashStates(all states) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	word := func(n uint64) { h = (h ^ n) * prime }
	for _, v := range all {
		for i := range len(v.text) {
			word(uint64(v.text[i]))
		}
		word(uint64(len(v.text)) << 8)
		word(uint64(v.lo))
		word(uint64(v.hi))
		if v.present {
			word(1)
		}
	}
	return h
}

func describeStates(all states) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = v.String()
	}
	return strings.Join(texts, " or ")
}
