package linearize

import (
	"slices"
	"strings"
)

// Commands on several keys and transactions take effect in one step. Most are parts that run one after another, each a
// command on one key with the model of its own; a few move something from one key to another.

// parseSeveral parses those that are not also commands on one key.
func (in *input) parseSeveral() (bool, error) {
	op := in.op
	switch op.Cmd {
	case "EXEC":
		return true, in.transaction()
	case "MGET":
		in.kind = kindEach
		argv := in.argv()
		replies, err := in.replies(len(argv))
		in.expect(len(argv))
		for i, key := range argv {
			if err == nil {
				err = in.part(replies(i), "GET", key)
			}
		}
		for _, p := range in.parts {
			p.form = replyOrNil
		}
		return true, err
	case "MSET", "MSETNX":
		argv := in.argv()
		if len(argv)%2 != 0 {
			return true, in.refuse("a key without a value")
		}
		in.kind = kindEach
		if op.Cmd == "MSETNX" {
			in.kind = kindAllNew
		}
		in.impossible = !in.free && in.kind == kindEach && op.Reply != Status("OK")
		in.expect(len(argv) / 2)
		for i := 0; i < len(argv); i += 2 {
			if err := in.part(nil, "SET", argv[i], argv[i+1]); err != nil {
				return true, err
			}
		}
		return true, nil
	case "LMOVE", "RPOPLPUSH":
		in.kind, in.back = kindLMove, true
		if op.Cmd == "RPOPLPUSH" {
			return true, in.second(1)
		}
		if err := in.second(3); err != nil {
			return true, err
		}
		return true, in.sides(op.Args[1:])
	case "SMOVE":
		in.kind = kindSMove
		if err := in.second(2); err != nil {
			return true, err
		}
		in.text = op.Args[1]
		return true, nil
	case "RENAME", "RENAMENX":
		in.kind = kindRename
		if op.Cmd == "RENAMENX" {
			in.cond = ifAbsent
		}
		return true, in.second(1)
	case "COPY":
		in.kind, in.cond = kindCopyKey, ifAbsent
		if len(op.Args) == 2 && strings.EqualFold(op.Args[1], "REPLACE") {
			in.cond = always
			return true, in.second(2)
		}
		return true, in.second(1)
	}
	return false, nil
}

// argv is the key and what stands behind it.
func (in *input) argv() []string { return append([]string{in.op.Key}, in.op.Args...) }

// side parses LEFT and RIGHT.
func side(word string) (back, ok bool) {
	switch strings.ToUpper(word) {
	case "LEFT":
		return false, true
	case "RIGHT":
		return true, true
	}
	return false, false
}

// sides parses from where LMOVE takes, and where it puts.
func (in *input) sides(words []string) error {
	var ok, okTo bool
	in.back, ok = side(words[0])
	in.toBack, okTo = side(words[1])
	if !ok || !okTo {
		return in.refuse("sides %q", words)
	}
	return nil
}

// second takes the second key, which is the first of n arguments.
func (in *input) second(n int) error {
	if err := in.arity(n, n); err != nil {
		return err
	}
	in.target = in.op.Args[0]
	return nil
}

// replies returns a function that gives the reply to each part of an operation that is answered by an array of n.
func (in *input) replies(n int) (func(i int) *Reply, error) {
	items := in.op.Reply.Items()
	if in.free || in.op.Outcome == Fail {
		return func(int) *Reply { return nil }, nil
	}
	if in.op.Reply.Kind != ArrayReply || len(items) != n {
		in.impossible = true
		return func(int) *Reply { return nil }, nil
	}
	return func(i int) *Reply { return &items[i] }, nil
}

// part adds a part with its reply, nil when that is not judged.
func (in *input) part(r *Reply, argv ...string) error {
	if len(argv) < 2 {
		return in.refuse("command %q has no key", argv)
	}
	if in.dry {
		if in.part0 == nil {
			in.part0 = new(partInput)
		}
		*in.part0 = partInput{input: input{dry: true}, own: Operation{Key: argv[1], Cmd: argv[0], Args: argv[2:]}}
		return in.part0.parse(&in.part0.own)
	}
	if len(in.room) == 0 {
		in.expect(1)
	}
	p := &in.room[0]
	in.room = in.room[1:]
	p.checker = in.checker
	p.own = Operation{Client: in.op.Client, Key: argv[1], Cmd: argv[0], Args: argv[2:], Call: in.op.Call, Return: in.op.Return}
	if r != nil {
		p.own.Outcome, p.own.Reply = Ok, *r
	}
	in.parts = append(in.parts, &p.input)
	return p.parse(&p.own)
}

// partInput is a part and its command.
type partInput struct {
	input
	own Operation
}

// expect makes room for so many parts.
func (in *input) expect(n int) {
	if !in.dry {
		in.parts, in.room = slices.Grow(in.parts, n), in.checker.expect(n)
	}
}

// sum makes parts of a command that counts the keys for which it does something.
func (in *input) sum() error {
	in.kind = kindSum
	in.expect(1 + len(in.op.Args))
	for _, key := range in.argv() {
		if err := in.part(nil, in.op.Cmd, key); err != nil {
			return err
		}
	}
	return nil
}

// transaction makes parts of the commands of a transaction.
func (in *input) transaction() error {
	in.kind = kindEach
	if in.op.Key != "" || len(in.op.Args) > 0 || len(in.op.Commands) == 0 {
		return in.refuse("must have commands, and neither key nor arguments")
	}
	replies, err := in.replies(len(in.op.Commands))
	if err != nil {
		return err
	}
	in.expect(len(in.op.Commands))
	for i, argv := range in.op.Commands {
		if len(argv) > 0 && argv[0] == "EXEC" {
			return in.refuse("a transaction within a transaction")
		}
		if err := in.part(replies(i), argv...); err != nil {
			return err
		}
	}
	if in.op.Reply == Nil() { // a watched key had changed: nothing has run
		in.parts, in.impossible = nil, false
	}
	return nil
}

// eachKey calls fn with all keys of the input, and where their places are kept.
func (in *input) eachKey(fn func(key string, place *int)) {
	if in.kind == kindNothing {
		return
	}
	if in.parts != nil || in.op.Cmd == "EXEC" {
		for _, p := range in.parts {
			p.eachKey(fn)
		}
		return
	}
	fn(in.op.Key, &in.at)
	if in.target != "" || in.moves() {
		fn(in.target, &in.to)
	}
}

// moves reports whether the command brings to its second key what was under the first.
func (in *input) moves() bool { return in.kind >= kindLMove }

// run returns after with what the keys can be once in has run on the world w, which has the value of each key. It adds more
// than maxWorlds when it gives up.
func (in *input) run(after states, w []value) states {
	if in.impossible {
		return after
	}
	switch in.kind {
	case kindNothing:
		return append(after, w...)
	case kindEach:
		return in.runEach(after, w)
	case kindSum:
		if in.free {
			return in.runEach(after, w)
		}
		if in.uncertain(w) {
			return append(after, make(states, (maxWorlds+1)*len(w))...)
		}
		return in.runSum(after, slices.Clone(w), 0, 0)
	case kindAllNew:
		if in.uncertain(w) {
			return append(after, make(states, (maxWorlds+1)*len(w))...)
		}
		return in.settle(after, w, in.places(), in.applyAllNew)
	case kindLMove, kindSMove, kindRename, kindCopyKey:
		return in.settle(after, w, in.places(), in.applyMove)
	default:
		first := len(after)
		after = in.settled(after, w[in.at])
		switch n := len(after) - first; {
		case n == 0 || len(w) == 1: // a value is a world
		case n == 1:
			v := after[first]
			after = append(after[:first], w...)
			after[first+in.at] = v
		default:
			values := slices.Clone(after[first:])
			after = after[:first]
			for _, v := range values {
				after = append(after, w...)
				after[len(after)-len(w)+in.at] = v
			}
		}
		return after
	}
}

// runEach runs the parts one after another.
func (in *input) runEach(after states, w []value) states {
	worlds := w
	var room [2]states // in turn: one has the worlds before a part, the other those after it
	for n, p := range in.parts {
		next := room[n%2][:0]
		if next == nil {
			next = make(states, 0, len(w))
		}
		for i := 0; i < len(worlds) && len(next) <= maxWorlds*len(w); i += len(w) {
			next = p.run(next, worlds[i:i+len(w)])
		}
		if len(next) > maxWorlds*len(w) {
			return append(after, next...)
		}
		room[n%2] = next
		worlds = canonical(next, len(w))
	}
	return append(after, worlds...)
}

// maxUncertain bounds of how many keys of one command it may be open whether they have expired: the worlds double with
// each.
const maxUncertain = 10

// uncertain reports whether it is open of too many keys of the command whether they have expired.
func (in *input) uncertain(w []value) bool {
	n := 0
	for _, at := range in.places() {
		if alive, expired := in.branches(w[at]); alive && expired {
			n++
		}
	}
	return n > maxUncertain
}

// places lists where the keys stand, each once.
func (in *input) places() []int {
	var places []int
	in.eachKey(func(_ string, place *int) {
		if !slices.Contains(places, *place) {
			places = append(places, *place)
		}
	})
	return places
}

// runSum runs the parts from the i-th on, after n that counted, on w, which it may change until it returns.
func (in *input) runSum(after states, w []value, i int, n int64) states {
	if i == len(in.parts) {
		if in.reply == Int(n) {
			after = append(after, w...)
		}
		return after
	}
	p := in.parts[i]
	v := w[p.at]
	alive, expired := p.branches(v)
	if alive {
		counts := n
		if v.present {
			counts++
		}
		if p.kind == kindDel {
			w[p.at] = value{}
		}
		after = in.runSum(after, w, i+1, counts)
	}
	if expired {
		w[p.at] = value{}
		after = in.runSum(after, w, i+1, n)
	}
	w[p.at] = v
	return after
}

// settle calls apply with each world in which it is settled which of the keys at places have expired.
func (in *input) settle(after states, w []value, places []int, apply func(after states, w []value) states) states {
	if len(places) == 0 {
		return apply(after, slices.Clone(w))
	}
	v := w[places[0]]
	alive, expired := in.branches(v)
	if alive {
		after = in.settle(after, w, places[1:], apply)
	}
	if expired {
		w = slices.Clone(w)
		w[places[0]] = value{}
		after = in.settle(after, w, places[1:], apply)
	}
	return after
}

// acceptWorld appends w if the operation was answered by want or by nothing.
func (in *input) acceptWorld(after states, w []value, want Reply) states {
	if in.free || in.reply == want {
		return append(after, w...)
	}
	return after
}

func (in *input) applyAllNew(after states, w []value) states {
	if slices.ContainsFunc(in.parts, func(p *input) bool { return w[p.at].present }) {
		return in.acceptWorld(after, w, Int(0))
	}
	for _, p := range in.parts {
		w[p.at] = value{present: true, text: p.text}
	}
	return in.acceptWorld(after, w, Int(1))
}

// applyMove executes LMOVE, SMOVE, RENAME, COPY and their like.
func (in *input) applyMove(after states, w []value) states {
	from, to := w[in.at], w[in.to]
	fails := func(code string) states {
		if in.free || in.reply.Code() == code {
			return append(after, w...)
		}
		return after
	}
	typ := listType
	if in.kind == kindSMove {
		typ = setType
	}
	switch in.kind {
	case kindLMove, kindSMove:
		none := Nil()
		if in.kind == kindSMove {
			none = Int(0)
		}
		switch {
		case !from.present:
			return in.acceptWorld(after, w, none)
		case from.typ != typ || to.present && to.typ != typ:
			return fails("WRONGTYPE")
		}
	case kindRename, kindCopyKey:
		switch {
		case !from.present && in.kind == kindRename:
			return fails("ERR")
		case in.kind == kindCopyKey && in.at == in.to:
			return fails("ERR")
		case !from.present || in.cond == ifAbsent && to.present:
			return in.acceptWorld(after, w, Int(0))
		}
		if in.kind == kindRename {
			w[in.at] = value{}
		}
		w[in.to] = from
		if in.kind == kindRename && in.cond == always {
			return in.acceptWorld(after, w, Status("OK"))
		}
		return in.acceptWorld(after, w, Int(1))
	default:
		return after
	}
	if in.kind == kindSMove {
		members := decode(from.text)
		i, has := slices.BinarySearch(members, in.text)
		if !has {
			return in.acceptWorld(after, w, Int(0))
		}
		if in.at != in.to {
			w[in.at] = from.holding(setType, encode(slices.Delete(members, i, i+1)))
			with, _ := withMembers(to.text, []string{in.text})
			w[in.to] = to.holding(setType, with)
		}
		return in.acceptWorld(after, w, Int(1))
	}
	elements := decode(from.text)
	i := 0
	if in.back {
		i = len(elements) - 1
	}
	moved := elements[i]
	rest := slices.Delete(elements, i, i+1)
	if in.at == in.to { // the key never becomes absent, so its deadline stays
		w[in.at].text = insertEnd(encode(rest), moved, in.toBack)
	} else {
		w[in.at] = from.holding(listType, encode(rest))
		w[in.to] = to.holding(listType, insertEnd(to.text, moved, in.toBack))
	}
	return in.acceptWorld(after, w, Bulk(moved))
}

// project returns the part of the operation that concerns the key at a place alone, as if it were the only one: nil when
// nothing does, and false when that cannot be told.
func (in *input) project(place int) (*input, bool) {
	switch {
	case in.moves():
		return nil, in.at != place && in.to != place
	case in.kind == kindAllNew:
		if !slices.Contains(in.places(), place) {
			return nil, true
		}
		if in.free || in.reply != Int(1) {
			return nil, in.reply == Int(0) // another key has prevented it, perhaps
		}
	case in.parts == nil:
		if in.at != place {
			return nil, true
		}
		c := in.clone()
		c.at = 0
		return c, true
	}
	c := *in
	c.kind, c.parts = kindEach, nil
	for _, p := range in.parts {
		q, ok := p.project(place)
		if !ok {
			return nil, false
		}
		if q != nil {
			if in.kind == kindAllNew && c.parts == nil { // the key may come again
				q.cond, q.form, q.reply, q.free = ifAbsent, replyInt, Int(1), false
			}
			c.parts = append(c.parts, q)
		}
	}
	if c.parts == nil {
		return nil, true
	}
	return &c, true
}
