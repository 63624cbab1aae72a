package linearize

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxValueBytes bounds the values that SETRANGE may make, so that no small file can ask for much memory and time: a
// check hashes the value at each step.
const maxValueBytes = 1 << 20

// kind is what a command does to its key, free of the many names and options that commands have for it.
type kind uint8

const (
	kindGet kind = iota + 1
	kindStrlen
	kindExists
	kindType
	kindGetRange
	kindTTL // TTL, PTTL, EXPIRETIME, PEXPIRETIME
	kindHGet
	kindHMGet
	kindHGetAll
	kindHLen
	kindHExists
	kindHKeys
	kindHVals
	kindHStrlen
	kindLRange
	kindLLen
	kindLIndex
	kindSMembers
	kindSIsMember // SISMEMBER, SMISMEMBER
	kindSCard
	kindSRandMember
	kindZScore
	kindZCard
	kindZRank        // ZRANK, ZREVRANK
	kindZRange       // ZRANGE, ZREVRANGE by position
	kindZRangeScores // ZRANGEBYSCORE, ZREVRANGEBYSCORE, ZCOUNT
	kindGetBit
	kindBitCount
	kindGetFields // BITFIELD that only reads
	kindNothing   // what has waited in vain: see blocking.go
	kindSet       // SET, SETNX, SETEX, PSETEX, GETSET; the first that writes
	kindGetDel
	kindGetEx
	kindDel
	kindAppend
	kindSetRange
	kindSetBit
	kindFields // BITFIELD
	kindIncr
	kindExpire
	kindPersist
	kindHSet // HSET, HMSET
	kindHSetNX
	kindHDel
	kindHIncr
	kindPush // LPUSH, RPUSH, LPUSHX, RPUSHX
	kindPop  // LPOP, RPOP
	kindLSet
	kindLRem
	kindLTrim
	kindLInsert
	kindSAdd
	kindSRem
	kindSPop
	kindZAdd // ZADD, ZINCRBY
	kindZRem
	kindZPop // ZPOPMIN, ZPOPMAX

	// Those of several keys, or of several commands: see several.go.
	kindEach    // MGET, MSET, EXEC: parts one after another, each with a reply of its own
	kindSum     // DEL, UNLINK, EXISTS, TOUCH: parts one after another, whose replies are summed up
	kindAllNew  // MSETNX
	kindLMove   // LMOVE, RPOPLPUSH
	kindSMove   // SMOVE
	kindRename  // RENAME, RENAMENX
	kindCopyKey // COPY
)

// reads reports whether the command never changes a key. (That a read makes an expired key absent is no change: the
// model lets a key expire at any operation that comes late enough.)
func (in *input) reads() bool {
	switch in.kind {
	case kindEach, kindSum:
		return !slices.ContainsFunc(in.parts, func(p *input) bool { return !p.reads() })
	default:
		return in.kind < kindSet
	}
}

// condition is when SET or EXPIRE take effect.
type condition uint8

const (
	always condition = iota
	ifAbsent
	ifPresent
	ifGreater
	ifLess
)

// deadlineRule is what a command does to the deadline of its key.
type deadlineRule uint8

const (
	dropDeadline deadlineRule = iota // a plain SET
	keepDeadline
	setAfter // at the server's clock plus ms
	setAt    // at ms
)

// replyForm is how a command of one kind words its reply.
type replyForm uint8

const (
	replyStatus   replyForm = iota // SET: OK, or nil when the condition fails
	replyOld                       // SET with GET, GETSET: the value before
	replyInt                       // SETNX: 1 or 0
	replyOrNil                     // a GET of MGET: nil when the key is no string
	replyLeftS                     // TTL: seconds left
	replyLeftMs                    // PTTL
	replyMomentS                   // EXPIRETIME: unix seconds
	replyMomentMs                  // PEXPIRETIME
)

// input is a parsed operation as the model takes it, or a part of one.
type input struct {
	op   *Operation // never changed; for a part, the command of its own, and times are read from the whole only
	kind kind
	cond condition
	form replyForm
	// at and to are where the command's key and its second one stand among the keys that are judged together. Written by
	// partition, before checking.
	at, to int
	target string // the second key: LMOVE and other moves
	parts  []*input
	room   []partInput // for the parts to come, while it is parsed
	// checker has room for more; nil: it is made.
	checker *Checker
	part0   *partInput // of one that is dry, the part that is parsed
	dry     bool       // only whether the command can be parsed is asked: there are no parts

	// reply is what the command was answered. It is not judged when free is set: nobody saw it, or it is judged as a
	// part of a sum.
	reply Reply
	free  bool
	// impossible says that the reply has a form that no command of the kind can give.
	impossible bool

	text       string   // SET, APPEND, SETRANGE, LSET, LINSERT: the argument
	start, end int64    // GETRANGE, BITCOUNT, LRANGE, LTRIM, ZRANGE: both; SETRANGE, GETBIT, SETBIT, LINDEX, LSET: start; LREM, pops with a count: end
	delta      int64    // INCR and its relatives
	items      []string // elements, members, fields, fields with values, members with scores
	back       bool     // at the end of a list, or in descending order
	toBack     bool     // LMOVE: to the end
	counted    bool     // a pop with a count, which is answered by an array
	zset       zOptions
	fields     []field // BITFIELD
	shown      string  // the code of a reply that is an array of bulk strings, in canonical order where it has none

	deadline deadlineRule
	ms       int64 // setAfter: ms from now; setAt: unix ms

	// earliest and latest bound what any node's clock showed while the operation took effect, in unix ms.
	// Written by window, before checking.
	earliest, latest int64
}

// usesTime reports whether the command can give its key a deadline.
func (in *input) usesTime() bool { return in.deadline == setAfter || in.deadline == setAt }

// window computes the clock bounds of the operation and its parts, with clocks at most errorMs from true time.
func (in *input) window(unixMs, errorMs int64) {
	earliest, latest := unixMs+in.op.Call/1e6-errorMs, int64(math.MaxInt64)
	if in.op.Return != Open {
		latest = unixMs + in.op.Return/1e6 + 1 + errorMs
	}
	in.each(func(p *input) { p.earliest, p.latest = earliest, latest })
}

// each calls fn with the input and all its parts.
func (in *input) each(fn func(*input)) {
	fn(in)
	for _, p := range in.parts {
		p.each(fn)
	}
}

// clone returns a copy that shares nothing that is ever written, with an operation of its own.
func (in *input) clone() *input {
	c, op := *in, *in.op
	c.op, c.parts = &op, nil
	for _, p := range in.parts {
		c.parts = append(c.parts, p.clone())
	}
	return &c
}

// parse turns the operation's command into input, which was empty and refers to the operation from now on. It is the list of
// what the models know. Errors wrap ErrHistory; whether there is one does not depend on the reply.
func (in *input) parse(op *Operation) error {
	in.op, in.reply, in.free = op, op.Reply, op.Outcome == Unknown
	if len(op.Commands) > 0 && op.Cmd != "EXEC" {
		return in.refuse("commands of a transaction")
	}
	var err error
	switch op.Cmd {
	case "GET":
		in.kind, err = kindGet, in.exactly(0)
	case "STRLEN":
		in.kind, err = kindStrlen, in.exactly(0)
	case "EXISTS", "TOUCH":
		if len(op.Args) > 0 {
			err = in.sum()
			break
		}
		in.kind = kindExists
	case "TYPE":
		in.kind, err = kindType, in.exactly(0)
	case "TTL":
		in.kind, in.form, err = kindTTL, replyLeftS, in.exactly(0)
	case "PTTL":
		in.kind, in.form, err = kindTTL, replyLeftMs, in.exactly(0)
	case "EXPIRETIME":
		in.kind, in.form, err = kindTTL, replyMomentS, in.exactly(0)
	case "PEXPIRETIME":
		in.kind, in.form, err = kindTTL, replyMomentMs, in.exactly(0)
	case "GETDEL":
		in.kind, err = kindGetDel, in.exactly(0)
	case "DEL", "UNLINK":
		if len(op.Args) > 0 {
			err = in.sum()
			break
		}
		in.kind = kindDel
	case "PERSIST":
		in.kind, err = kindPersist, in.exactly(0)
	case "GETRANGE", "SUBSTR":
		in.kind = kindGetRange
		if err = in.exactly(2); err == nil {
			in.start, err = integer(op, 0)
		}
		if err == nil {
			in.end, err = integer(op, 1)
		}
	case "SETRANGE":
		in.kind = kindSetRange
		if err = in.exactly(2); err == nil {
			in.text = op.Args[1]
			in.start, err = integer(op, 0)
		}
		if err == nil && (in.start < 0 || in.start > maxValueBytes-int64(len(in.text))) {
			return in.refuse("range of %d bytes at %d, must lie within %d bytes", len(in.text), in.start, maxValueBytes)
		}
	case "APPEND":
		in.kind = kindAppend
		if err = in.exactly(1); err == nil {
			in.text = op.Args[0]
		}
	case "SETNX", "GETSET":
		in.kind, in.form = kindSet, replyOld
		if op.Cmd == "SETNX" {
			in.form, in.cond = replyInt, ifAbsent
		}
		if err = in.exactly(1); err == nil {
			in.text = op.Args[0]
		}
	case "SETEX", "PSETEX":
		in.kind = kindSet
		if err = in.exactly(2); err == nil {
			in.text = op.Args[1]
			err = in.expiry(map[string]string{"SETEX": "EX", "PSETEX": "PX"}[op.Cmd], op.Args[0], true)
		}
	case "SET":
		in.kind = kindSet
		if len(op.Args) == 0 {
			return in.refuse("no value")
		}
		in.text = op.Args[0]
		err = in.setOptions(op.Args[1:])
	case "GETEX":
		in.kind = kindGetEx
		in.deadline = keepDeadline
		switch {
		case len(op.Args) == 0:
		case len(op.Args) == 1 && strings.EqualFold(op.Args[0], "PERSIST"):
			in.deadline = dropDeadline
		case len(op.Args) == 2:
			err = in.expiry(op.Args[0], op.Args[1], true)
		default:
			return in.refuse("options %q", op.Args)
		}
	case "INCR", "DECR":
		in.kind, in.delta, err = kindIncr, 1, in.exactly(0)
		if op.Cmd == "DECR" {
			in.delta = -1
		}
	case "INCRBY", "DECRBY":
		in.kind = kindIncr
		if err = in.exactly(1); err == nil {
			in.delta, err = integer(op, 0)
		}
		if op.Cmd == "DECRBY" {
			if in.delta == math.MinInt64 {
				return in.refuse("decrement would overflow")
			}
			in.delta = -in.delta
		}
	case "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT":
		in.kind = kindExpire
		if len(op.Args) < 1 || len(op.Args) > 2 {
			return in.refuse("%d arguments behind the key, must be 1 or 2", len(op.Args))
		}
		unit := map[string]string{"EXPIRE": "EX", "PEXPIRE": "PX", "EXPIREAT": "EXAT", "PEXPIREAT": "PXAT"}[op.Cmd]
		err = in.expiry(unit, op.Args[0], false)
		if len(op.Args) == 2 {
			switch strings.ToUpper(op.Args[1]) {
			case "NX":
				in.cond = ifAbsent
			case "XX":
				in.cond = ifPresent
			case "GT":
				in.cond = ifGreater
			case "LT":
				in.cond = ifLess
			default:
				return in.refuse("option %s", quote(op.Args[1]))
			}
		}
	default:
		return in.parseOther()
	}
	return err
}

// parseOther parses the commands on several keys, and on types other than strings.
func (in *input) parseOther() error { // calls each by its name: through a list of them, every input would escape to the heap
	known, err := in.parseSeveral()
	if !known {
		known, err = in.parseBitmap()
	}
	if !known {
		known, err = in.parseHash()
	}
	if !known {
		known, err = in.parseList()
	}
	if !known {
		known, err = in.parseSet()
	}
	if !known {
		known, err = in.parseSortedSet()
	}
	if !known {
		known, err = in.parseBlocking()
	}
	if !known {
		return fmt.Errorf("%w: no model for command %s", ErrHistory, quote(in.op.Cmd))
	}
	return err
}

// refuse is the error of arguments that the command cannot have.
func (in *input) refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrHistory, in.op.Cmd, fmt.Sprintf(format, args...))
}

// exactly demands n arguments behind the key.
func (in *input) exactly(n int) error {
	if len(in.op.Args) != n {
		return in.refuse("%d arguments behind the key, must be %d", len(in.op.Args), n)
	}
	return nil
}

// arity demands a number of arguments behind the key; most is -1 for any number.
func (in *input) arity(least, most int) error {
	if n := len(in.op.Args); n < least || most >= 0 && n > most {
		return in.refuse("%d arguments behind the key, must be %d to %d", n, least, most)
	}
	return nil
}

// integers parses the arguments from the i-th on into integers.
func (in *input) integers(i int, to ...*int64) (err error) {
	for j, n := range to {
		if *n, err = integer(in.op, i+j); err != nil {
			return err
		}
	}
	return nil
}

// takeArray makes shown of a reply that must be an array of bulk strings, in groups of so many that come in no order
// unless ordered is set. Pairs that are arrays themselves, as RESP3 has them, count as their items.
func (in *input) takeArray(group int, ordered bool) {
	if in.free || in.reply.Kind == ErrorReply {
		return
	}
	var texts []string
	flat := in.reply.Items()
	if len(flat) > 0 && flat[0].Kind == ArrayReply {
		var items []Reply
		for _, pair := range flat {
			items = append(items, pair.Items()...)
		}
		flat = items
	}
	in.impossible = in.reply.Kind != ArrayReply || len(flat)%group != 0
	for _, item := range flat {
		in.impossible = in.impossible || item.Kind != BulkReply
		texts = append(texts, item.Text)
	}
	if in.impossible {
		return
	}
	if !ordered {
		groups := slices.Collect(slices.Chunk(texts, group))
		slices.SortFunc(groups, slices.Compare[[]string])
		texts = slices.Concat(groups...)
	}
	in.shown = encode(texts)
}

// setOptions parses what follows the value of SET.
func (in *input) setOptions(options []string) error {
	refuse := func(option string) error {
		return fmt.Errorf("%w: SET: option %s is unknown, repeated or contradicts another", ErrHistory, quote(option))
	}
	timed := false
	for i := 0; i < len(options); i++ {
		option := strings.ToUpper(options[i])
		switch option {
		case "NX", "XX":
			if in.cond != always {
				return refuse(option)
			}
			in.cond = ifAbsent
			if option == "XX" {
				in.cond = ifPresent
			}
		case "GET":
			if in.form == replyOld {
				return refuse(option)
			}
			in.form = replyOld
		case "KEEPTTL":
			if timed {
				return refuse(option)
			}
			timed, in.deadline = true, keepDeadline
		case "EX", "PX", "EXAT", "PXAT":
			if timed || i+1 == len(options) {
				return refuse(option)
			}
			timed = true
			i++
			if err := in.expiry(option, options[i], true); err != nil {
				return err
			}
		default:
			return refuse(options[i])
		}
	}
	return nil
}

// expiry parses a time under the option name that gives its unit. Where the store demands a positive time, a history
// with another is refused: the command would always fail.
func (in *input) expiry(option, number string, positive bool) error {
	n, err := strconv.ParseInt(number, 10, 64)
	option = strings.ToUpper(option)
	scale := int64(1)
	switch option {
	case "EX", "PX":
		in.deadline = setAfter
	case "EXAT", "PXAT":
		in.deadline = setAt
	default:
		return fmt.Errorf("%w: %s: option %s", ErrHistory, in.op.Cmd, quote(option))
	}
	if strings.HasPrefix(option, "EX") {
		scale = 1000
	}
	if err != nil || n > maxUnixMs/scale || n < -maxUnixMs/scale || positive && n <= 0 {
		return fmt.Errorf("%w: %s: time %s", ErrHistory, in.op.Cmd, quote(number))
	}
	in.ms = n * scale
	return nil
}

func integer(op *Operation, i int) (int64, error) {
	n, err := strconv.ParseInt(op.Args[i], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %s is not an integer", ErrHistory, op.Cmd, quote(op.Args[i]))
	}
	return n, nil
}
