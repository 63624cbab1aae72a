package linearize

import (
	"slices"
	"strings"
)

// closeObserved returns the inputs with the Return of open writes lowered to the earliest return of a read that proves
// that they have taken effect. That leaves the verdict as it is and makes it much cheaper.
//
// Proof. Let W be an open write and R an answered operation whose reply shows something that only W can have brought
// about. Then in every linearization W precedes R. Lowering W's return to R's return adds one kind of constraint: W
// precedes each X that was called after R returned. But R precedes every such X and W precedes R, so each
// linearization satisfied it already; the set of linearizations is the same. The same argument bounds the time at
// which W took effect, which is what the clock bounds of expiry use. A return that would lie before W's call is not
// set: then no linearization exists anyway.
//
// What only W can have brought about is a mark: something under one key that W alone writes among all operations,
// whatever their outcome, except those that failed before they ran. Marks are
//
//   - of a string, if every write to the key sets whole values (no APPEND, SETRANGE, SETBIT, BITFIELD, INCR…), the value, since a value
//     exists only by a write of exactly that value;
//   - of a string, if every text that SET and APPEND write there is a sequence of pieces that each end in ';' and there is
//     no SETRANGE, SETBIT, BITFIELD or INCR, the pieces: every value is a sequence of whole pieces then, and cutting it at ';' finds them;
//   - of a list its elements, of a set its members, of a sorted set its members without their scores, of a hash each field
//     with its value unless that field is incremented.
//
// A key to which a command may bring what was under another (LMOVE, SMOVE, RENAME, COPY) has no marks. One that turns a list round
// (LMOVE from a key to itself) brings nothing.
//
// What shows a mark must show that it was there before R, or a write of R itself brought it about: then W, if it is
// another, is not the only one. Writes that nobody has seen must stay: dropping them makes legal histories illegal as soon
// as a reply depends on more than the last value.
func closeObserved(ins []*input) []*input {
	open := false
	for _, in := range ins {
		open = open || in.op.Outcome == Unknown
	}
	if !open {
		return ins
	}
	keys := marksOf(ins)
	// writer of each mark; -1 when there are several.
	writers := make(map[mark]int)
	for i, in := range ins {
		in.each(func(p *input) {
			keys[p.at].written(p, func(m mark) {
				if w, taken := writers[m]; taken && w != i {
					writers[m] = -1
				} else {
					writers[m] = i
				}
			})
		})
	}
	closed := make(map[int]int64)
	for _, in := range ins {
		in.each(func(p *input) {
			if p.free {
				return
			}
			keys[p.at].shown(p, func(m mark) {
				w, written := writers[m]
				if !written || w < 0 || ins[w].op.Outcome != Unknown || in.op.Return < ins[w].op.Call {
					return
				}
				if at, seen := closed[w]; !seen || in.op.Return < at {
					closed[w] = in.op.Return
				}
			})
		})
	}
	if len(closed) == 0 {
		return ins
	}
	out := make([]*input, len(ins))
	for i, in := range ins {
		out[i] = in
		if at, ok := closed[i]; ok {
			c := in.clone()
			c.op.Return = at // the outcome stays Unknown: any reply is accepted
			out[i] = c
		}
	}
	return out
}

// mark is something that can be told from everything else that was written under a key.
type mark struct {
	at   int // the key
	typ  valueType
	text string
}

// marks says which marks a key has.
type marks struct {
	pieces     func(string) []string // cuts strings; nil if they have no marks
	counters   []string              // fields of which values are no marks
	noneAtAll  bool
	whole      bool // every write of a string sets it as a whole
	framed     bool // every text ends in ';'
	noneOfText bool // strings have no marks
}

// marksOf says it for each key.
func marksOf(ins []*input) []marks {
	var keys []marks
	at := func(i int) *marks {
		for len(keys) <= i {
			keys = append(keys, marks{whole: true, framed: true})
		}
		return &keys[i]
	}
	for _, in := range ins {
		in.each(func(p *input) {
			k := at(p.at)
			switch p.kind {
			case kindSetRange, kindSetBit, kindFields, kindIncr:
				k.noneOfText = true
			case kindAppend:
				k.whole = false
				k.framed = k.framed && strings.HasSuffix(p.text, ";")
			case kindSet:
				k.framed = k.framed && strings.HasSuffix(p.text, ";")
			case kindHIncr:
				if !slices.Contains(k.counters, p.items[0]) {
					k.counters = append(k.counters, p.items[0])
				}
			case kindLMove, kindSMove, kindRename, kindCopyKey:
				if to := at(p.to); p.to != p.at {
					to.noneAtAll = true
				}
			default: // others do not change what is there, or write the marks that written names
			}
		})
	}
	for i := range keys {
		switch k := &keys[i]; {
		case k.noneOfText:
		case k.whole:
			k.pieces = func(s string) []string { return []string{s} }
		case k.framed:
			k.pieces = func(s string) []string { return strings.Split(strings.TrimSuffix(s, ";"), ";") }
		}
	}
	return keys
}

// isPair reports whether a field is a mark together with its value.
func (k *marks) isPair(field string) bool { return !slices.Contains(k.counters, field) }

// written calls yield with the marks that a command can write.
func (k *marks) written(in *input, yield func(mark)) {
	if k.noneAtAll {
		return
	}
	give := func(typ valueType, texts ...string) {
		for _, text := range texts {
			yield(mark{in.at, typ, text})
		}
	}
	switch in.kind {
	case kindSet, kindAppend:
		if k.pieces != nil {
			give(stringType, k.pieces(in.text)...)
		}
	case kindPush:
		give(listType, in.items...)
	case kindLSet, kindLInsert:
		give(listType, in.text)
	case kindSAdd:
		give(setType, in.items...)
	case kindZAdd:
		for i := 1; i < len(in.items); i += 2 {
			give(sortedSetType, in.items[i])
		}
	case kindHSet, kindHSetNX:
		for i := 0; i < len(in.items); i += 2 {
			if k.isPair(in.items[i]) {
				give(hashType, encode(in.items[i:i+2]))
			}
		}
	default:
	}
}

// shown calls yield with the marks that the reply to a command shows.
func (k *marks) shown(in *input, yield func(mark)) {
	if k.noneAtAll || in.impossible {
		return
	}
	give := func(typ valueType, texts ...string) {
		for _, text := range texts {
			yield(mark{in.at, typ, text})
		}
	}
	bulk := in.reply.Kind == BulkReply
	switch in.kind {
	case kindGet, kindGetDel, kindGetEx, kindSet:
		if k.pieces != nil && bulk && (in.kind != kindSet || in.form == replyOld) {
			give(stringType, k.pieces(in.reply.Text)...)
		}
	case kindLIndex, kindPop, kindLRange, kindLMove:
		if bulk {
			give(listType, in.reply.Text)
		}
		give(listType, decode(in.shown)...)
	case kindSMembers, kindSPop, kindSRandMember:
		if bulk {
			give(setType, in.reply.Text)
		}
		give(setType, decode(in.shown)...)
	case kindSIsMember:
		for i, item := range append(in.reply.Items(), in.reply) {
			if item == Int(1) {
				give(setType, in.items[i%len(in.items)])
			}
		}
	case kindZScore, kindZRank:
		if bulk || in.reply.Kind == IntReply {
			give(sortedSetType, in.items[0])
		}
	case kindZRange, kindZRangeScores, kindZPop:
		step := 1
		if in.zset.scores || in.kind == kindZPop {
			step = 2
		}
		for i, text := range decode(in.shown) {
			if i%step == 0 {
				give(sortedSetType, text)
			}
		}
	case kindHGet:
		if bulk && k.isPair(in.items[0]) {
			give(hashType, encode([]string{in.items[0], in.reply.Text}))
		}
	case kindHMGet:
		for i, item := range in.reply.Items() {
			if item.Kind == BulkReply && i < len(in.items) && k.isPair(in.items[i]) {
				give(hashType, encode([]string{in.items[i], item.Text}))
			}
		}
	case kindHGetAll:
		texts := decode(in.shown)
		for i := 0; i+1 < len(texts); i += 2 {
			if k.isPair(texts[i]) {
				give(hashType, encode(texts[i:i+2]))
			}
		}
	default:
	}
}
