package linearize

import "strings"

// closeObserved returns the inputs of one key with the Return of open writes lowered to the earliest return of a read
// that proves that they have taken effect. That leaves the verdict as it is and makes it much cheaper.
//
// Proof. Let W be an open write and R an answered operation whose reply shows a value that only W can have brought
// about. Then in every linearization W precedes R. Lowering W's return to R's return adds one kind of constraint: W
// precedes each X that was called after R returned. But R precedes every such X and W precedes R, so each
// linearization satisfied it already; the set of linearizations is the same. The same argument bounds the time at
// which W took effect, which is what the clock bounds of expiry use. A return that would lie before W's call is not
// set: then no linearization exists anyway.
//
// "Only W can have brought about" is claimed in two cases, each over all writes of the key whatever their outcome,
// except those that failed before they ran:
//
//   - Whole values: every write sets whole values (no APPEND, SETRANGE, INCR…), so a value exists only by a write of
//     exactly that value. W is the only write of v, and R shows v.
//   - Framed pieces: every text written by SET or APPEND is a sequence of pieces that each end in ';' and there is no
//     SETRANGE or INCR, so every value is a sequence of whole pieces, and cutting it at ';' finds them. Some piece of
//     W's text is in the text of no other write, and R shows a value that has it.
//
// What R shows must be the whole value before R: GET, GETDEL, GETEX, GETSET, SET with GET. Writes that nobody has
// seen must stay: dropping them makes legal histories illegal as soon as a reply depends on more than the last value.
func closeObserved(ins []*input) []*input {
	pieces := piecesOf(ins)
	if pieces == nil {
		return ins
	}
	// writer of each piece; -1 when there are several.
	writers := make(map[string]int)
	for i, in := range ins {
		if in.kind != kindSet && in.kind != kindAppend {
			continue
		}
		for _, p := range pieces(in.text) {
			if w, taken := writers[p]; taken && w != i {
				writers[p] = -1
			} else {
				writers[p] = i
			}
		}
	}
	closed := make(map[int]int64)
	for _, in := range ins {
		if in.op.Outcome != Ok || in.op.Reply.Kind != BulkReply || !in.showsValue() {
			continue
		}
		for _, p := range pieces(in.op.Reply.Text) {
			w, written := writers[p]
			if !written || w < 0 || ins[w].op.Outcome != Unknown || in.op.Return < ins[w].op.Call {
				continue
			}
			if at, seen := closed[w]; !seen || in.op.Return < at {
				closed[w] = in.op.Return
			}
		}
	}
	if len(closed) == 0 {
		return ins
	}
	out := make([]*input, len(ins))
	for i, in := range ins {
		out[i] = in
		if at, ok := closed[i]; ok {
			c := *in
			c.op.Return = at // the outcome stays Unknown: any reply is accepted
			out[i] = &c
		}
	}
	return out
}

// showsValue reports whether a bulk reply to the operation is the whole value before it.
func (in *input) showsValue() bool {
	return in.kind == kindGet || in.kind == kindGetDel || in.kind == kindGetEx || in.kind == kindSet && in.form == replyOld
}

// piecesOf returns the function that cuts texts and values of this key into the pieces that identify their writers,
// or nil when there is no sound way.
func piecesOf(ins []*input) func(string) []string {
	whole, framed := true, true
	for _, in := range ins {
		switch in.kind {
		case kindSetRange, kindIncr:
			return nil
		case kindAppend:
			whole = false
			framed = framed && strings.HasSuffix(in.text, ";")
		case kindSet:
			framed = framed && strings.HasSuffix(in.text, ";")
		case kindGet, kindStrlen, kindExists, kindType, kindGetRange, kindTTL, kindGetDel, kindGetEx, kindDel, kindExpire,
			kindPersist: // make no text
		}
	}
	switch {
	case whole:
		return func(s string) []string { return []string{s} }
	case framed:
		return func(s string) []string { return strings.Split(strings.TrimSuffix(s, ";"), ";") }
	}
	return nil
}
