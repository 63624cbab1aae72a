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
	typ     valueType
	// text is a string itself. Of a list it is the code of the elements, of a set that of the sorted members, of a hash
	// that of the fields, sorted and each followed by its value, of a sorted set that of the members, by score and then by
	// name, each followed by its score. No collection is empty.
	text string
	// timed says that the key has a deadline, which lies between lo and hi inclusive, in unix ms: it is known
	// exactly (lo == hi) when the command named it, and within clock bounds when the command named a duration.
	// Invariant: an absent value is zero; lo and hi are 0 unless timed; lo ≤ hi.
	timed  bool
	lo, hi int64
}

// valueType is the type of a key. The zero value is that of strings.
type valueType uint8

const (
	stringType valueType = iota
	listType
	setType
	hashType
	sortedSetType
)

// String is what TYPE answers.
func (t valueType) String() string {
	return [...]string{"string", "list", "set", "hash", "zset"}[t]
}

// holding returns v with other content: absent, if a collection is left empty. The deadline stays.
func (v value) holding(typ valueType, text string) value {
	if typ != stringType && text == "" {
		return value{}
	}
	v.present, v.typ, v.text = true, typ, text
	return v
}

// String shows the value for people.
func (v value) String() string {
	shown := quote(v.text)
	if v.typ != stringType {
		shown = v.typ.String() + " " + Reply{Kind: ArrayReply, Text: v.text}.String()
	}
	switch {
	case !v.present:
		return "absent"
	case !v.timed:
		return shown
	case v.lo == v.hi:
		return fmt.Sprintf("%s until %d", shown, v.lo)
	case v.hi == math.MaxInt64:
		return fmt.Sprintf("%s until %d or later", shown, v.lo)
	}
	return fmt.Sprintf("%s until %d to %d", shown, v.lo, v.hi)
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
	return cmp.Or(cmp.Compare(a.typ, b.typ), cmp.Compare(a.text, b.text), cmp.Compare(a.lo, b.lo), cmp.Compare(a.hi, b.hi))
}

func boolOrder(first bool) int {
	if first {
		return 1
	}
	return -1
}

// The state that Porcupine sees is the set of worlds that may be: each is a value for each of the keys that are judged
// together, one after another in the slice. The worlds are sorted, without duplicates, never none, never changed once made.
// There is more than one only where expiry or chance (SPOP) leaves it open what happened and the reply does not tell.
type states = []value

// maxWorlds bounds how many worlds there may be: where more may, the check gives up.
const maxWorlds = 1 << 12

// step returns the states after in, empty if none of the states before can give in's reply, more than maxWorlds if there
// would be too many. keys is how many there are.
func step(before states, in *input, keys int) states {
	return stepInto(make(states, 0, len(before)), before, in, keys)
}

// stepInto is step, whose result may stand in room, which is empty.
func stepInto(room, before states, in *input, keys int) states {
	after := room
	for i := 0; i < len(before) && len(after) <= maxWorlds*keys; i += keys {
		after = in.run(after, before[i:i+keys])
	}
	if len(after) > maxWorlds*keys {
		return after
	}
	return canonical(after, keys)
}

// canonical sorts worlds and drops duplicates, in place where it can.
func canonical(all states, keys int) states {
	switch {
	case len(all) <= keys, keys == 0:
		return all
	case keys == 1:
		slices.SortFunc(all, compareValues)
		return slices.Compact(all)
	}
	worlds := slices.Collect(slices.Chunk(all, keys))
	compare := func(a, b []value) int { return slices.CompareFunc(a, b, compareValues) }
	slices.SortFunc(worlds, compare)
	return slices.Concat(slices.CompactFunc(worlds, func(a, b []value) bool { return compare(a, b) == 0 })...)
}

// branches says whether a node can take a key with value v as alive when the operation takes effect, and whether it can
// take it as expired. A node takes it as alive when its clock is before the deadline. Clocks may differ, so within the
// bounds both are possible; what was taken as expired is gone for good.
func (in *input) branches(v value) (alive, expired bool) {
	return !v.timed || in.earliest <= v.hi, v.timed && in.latest >= v.lo
}

// settled appends what a key with value v can be once in, a command on that key alone, has run.
func (in *input) settled(after states, v value) states {
	alive, expired := in.branches(v)
	if alive {
		after = in.apply(after, v)
	}
	if expired {
		after = in.apply(after, value{})
	}
	return after
}

// needs is the type that a key must have, or be absent, for commands of the kind; false if any will do.
func (in *input) needs() (valueType, bool) {
	switch in.kind {
	case kindHGet, kindHMGet, kindHGetAll, kindHLen, kindHExists, kindHKeys, kindHVals, kindHStrlen, kindHSet, kindHSetNX,
		kindHDel, kindHIncr:
		return hashType, true
	case kindLRange, kindLLen, kindLIndex, kindPush, kindPop, kindLSet, kindLRem, kindLTrim, kindLInsert:
		return listType, true
	case kindSMembers, kindSIsMember, kindSCard, kindSRandMember, kindSAdd, kindSRem, kindSPop:
		return setType, true
	case kindZScore, kindZCard, kindZRank, kindZRange, kindZRangeScores, kindZAdd, kindZRem, kindZPop:
		return sortedSetType, true
	case kindSet:
		return stringType, in.form == replyOld
	case kindExists, kindType, kindTTL, kindNothing, kindDel, kindExpire, kindPersist:
		return stringType, false
	default:
		return stringType, true
	}
}

// apply executes in on a key whose value is v, expiry being settled, and appends what the key can be afterwards given
// the reply that was seen: mostly one value or none.
func (in *input) apply(after states, v value) states {
	typ, needed := in.needs()
	if needed && v.present && v.typ != typ {
		if in.form == replyOrNil {
			return in.accept(after, v, Nil())
		}
		return in.refused(after, v, "WRONGTYPE")
	}
	switch typ {
	case hashType:
		return in.applyHash(after, v)
	case listType:
		return in.applyList(after, v)
	case setType:
		return in.applySetOfMembers(after, v)
	case sortedSetType:
		return in.applySortedSet(after, v)
	default:
		return in.applyString(after, v)
	}
}

// applyString executes a command on a string, or on a key of any type.
func (in *input) applyString(after states, v value) states {
	switch in.kind {
	case kindGet:
		return in.accept(after, v, v.bulk())
	case kindStrlen:
		return in.accept(after, v, Int(int64(len(v.text))))
	case kindExists:
		return in.accept(after, v, boolReply(v.present))
	case kindType:
		if v.present {
			return in.accept(after, v, Status(v.typ.String()))
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
	case kindGetBit, kindBitCount, kindGetFields, kindSetBit, kindFields:
		return in.applyBitmap(after, v)
	case kindIncr:
		return in.applyIncr(after, v)
	case kindExpire:
		return in.applyExpire(after, v)
	case kindPersist:
		was := v.timed
		v.timed, v.lo, v.hi = false, 0, 0
		return in.accept(after, v, boolReply(was))
	default:
		return after
	}
}

// accept appends next if the operation was answered by want or by nothing.
func (in *input) accept(after states, next value, want Reply) states {
	if in.free || in.reply == want {
		return append(after, next)
	}
	return after
}

// acceptShown appends v if the operation was answered by an array of the given code, in canonical order, or by nothing.
func (in *input) acceptShown(after states, v value, code string) states {
	if in.free || in.reply.Kind == ArrayReply && in.shown == code {
		return append(after, v)
	}
	return after
}

// refused appends v, unchanged, if the operation was answered by an error with the code or by nothing. The wording behind
// the code differs between stores and is not judged.
func (in *input) refused(after states, v value, code string) states {
	if in.free || in.reply.Code() == code {
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
	old, ok := int64(0), true
	if v.present {
		old, ok = wholeNumber(v.text)
	}
	if !ok {
		return in.refused(after, v, "ERR")
	}
	sum, ok := addExactly(old, in.delta)
	if !ok {
		return in.refused(after, v, "ERR")
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
	case in.free:
		return append(after, v)
	case !v.present:
		return in.accept(after, v, Int(-2))
	case !v.timed:
		return in.accept(after, v, Int(-1))
	case in.reply.Kind != IntReply || in.reply.Int < 0 || in.reply.Int > maxUnixMs:
		return after
	}
	lo, hi := in.reply.Int, in.reply.Int
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
	left    int64 // steps left; only counts when not limited
	spent   bool  // a step was refused because none was left, or led to too many worlds: the result means nothing
}

// take takes one step, and reports whether there was one.
func (b *budget) take() bool {
	if b.spent || b.limited && b.left == 0 {
		b.spent = true
		return false
	}
	b.left--
	return true
}

// porcupineModel returns the model of keys that are judged together. With a limited budget, steps beyond it are refused; the caller must
// then treat the result as unknown.
func porcupineModel(b *budget, keys []string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return make(states, len(keys)) },
		Step: func(state, in, _ any) (bool, any) {
			if !b.take() {
				return false, state
			}
			after := step(state.(states), in.(*input), len(keys))
			if len(after) > maxWorlds*len(keys) {
				b.spent = true
				return false, state
			}
			return len(after) > 0, after
		},
		Equal:             func(a, b any) bool { return slices.Equal(a.(states), b.(states)) },
		Hash:              func(state any) uint64 { return hashStates(state.(states)) },
		DescribeOperation: func(in, _ any) string { return in.(*input).op.String() },
		DescribeState:     func(state any) string { return describeStates(state.(states), keys) },
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
		word(uint64(len(v.text))<<8 | uint64(v.typ))
		word(uint64(v.lo))
		word(uint64(v.hi))
		if v.present {
			word(1)
		}
	}
	return h
}

func describeStates(all states, keys []string) string {
	var texts []string
	if len(keys) == 1 {
		for _, v := range all {
			texts = append(texts, v.String())
		}
		return strings.Join(texts, " or ")
	}
	for world := range slices.Chunk(all, len(keys)) {
		var b strings.Builder
		for i, v := range world {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s = %s", quote(keys[i]), v)
		}
		texts = append(texts, b.String())
	}
	return strings.Join(texts, " or ")
}
