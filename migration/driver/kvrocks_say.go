package driver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// opExpect is the kind of an operation that only a Kvrocks gets, in the place of a logical digest, which it does not know: low key, high key,
// then what must be found between them, as requests (command.AppendRequest):
//
//	key  user key  type (1)  expiry  number of elements  value of a string
//	part user key  type (1)  expiry  index of a list     member, value (hash) | member (set) | score, member (sorted set) | element (list), and so on
//
// Numbers are decimal. It stands alone in its body.
const opExpect = 'X'

// kvrocksSaid is what is said to a Kvrocks, and what must come back.
type kvrocksSaid struct {
	commands [][][]byte
	checks   []func(resp.Value) bool // of each command's reply; errors do not come to them
	compares bool                    // another reply says that the copies differ; otherwise it is an error
	limit    int                     // of a reply in bytes
}

func (s *kvrocksSaid) say(check func(resp.Value) bool, args ...[]byte) {
	s.commands = append(s.commands, args)
	s.checks = append(s.checks, check)
}

// judge reads the replies. away says that the error comes of a Kvrocks that does not import the slot any more, for one because it got another map.
func (s *kvrocksSaid) judge(replies []resp.Value) (differ, away bool, err error) {
	for i, v := range replies {
		if v.Kind != resp.ErrorKind {
			if s.checks[i](v) {
				continue
			}
			if s.compares {
				differ = true
				continue
			}
			return false, false, fmt.Errorf("a Kvrocks answers %s of %q with %.100s", s.commands[i][0], s.commands[i][1], v)
		}
		code, _, _ := strings.Cut(v.Str, " ")
		switch code {
		case "WRONGTYPE":
			if s.compares {
				differ = true
				continue
			}
		case "MOVED", "ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN", "NOAUTH":
			away = true
		}
		return false, away, fmt.Errorf("a Kvrocks answers %s of %q with %.200q", s.commands[i][0], s.commands[i][1], v.Str)
	}
	return differ, false, nil
}

func isOK(v resp.Value) bool  { return v.Kind == resp.SimpleKind }
func isInt(v resp.Value) bool { return v.Kind == resp.IntKind }

func isNumber(n int64) func(resp.Value) bool {
	return func(v resp.Value) bool { return v.Kind == resp.IntKind && v.Int == n }
}

func isBulk(b []byte) func(resp.Value) bool {
	return func(v resp.Value) bool { return v.Kind == resp.BulkKind && v.Str == string(b) }
}

// isList checks an array of as many values.
func isList(n int, check func(i int, v resp.Value) bool) func(resp.Value) bool {
	return func(v resp.Value) bool {
		if v.Kind != resp.ArrayKind || len(v.Elems) != n {
			return false
		}
		for i, e := range v.Elems {
			if !check(i, e) {
				return false
			}
		}
		return true
	}
}

// kvrocksBody makes what is said of the body of a data message.
func kvrocksBody(sl slot.Slot, body []byte, nowMs int64) (kvrocksSaid, error) {
	if len(body) > 0 && body[0] == opExpect {
		rest := body[min(len(body), 5):]
		for range 2 {
			var err error
			if _, rest, err = cutBytes(rest); err != nil {
				return kvrocksSaid{}, err
			}
		}
		return expectations(rest, nowMs)
	}
	ops, err := decodeBody(body, sl)
	if err != nil {
		return kvrocksSaid{}, err
	}
	if len(ops) != 1 || ops[0].kind != opCommands {
		return kvrocksSaid{}, fmt.Errorf("%w: a Kvrocks takes commands only", migration.ErrMessage)
	}
	return writings(sl, ops[0].span, ops[0].exports, nowMs)
}

// writings makes commands for a Kvrocks of those of an export, the keys whose records' items lie in drop being deleted first. Keys that have expired
// are not written: they are gone for everybody.
func writings(sl slot.Slot, drop key.Span, exports []byte, nowMs int64) (kvrocksSaid, error) {
	out := kvrocksSaid{limit: smallReply}
	var requests [][][]byte
	expired := map[string]bool{}
	for rest := exports; len(rest) > 0; {
		args, next, err := command.NextRequest(rest)
		if err != nil {
			return out, err
		}
		requests, rest = append(requests, args), next
		at := []byte(nil)
		switch {
		case string(args[0]) == "PEXPIREAT":
			at = args[2]
		case string(args[0]) == "SET" && len(args) > 4:
			at = args[4]
		}
		if ms, err := strconv.ParseInt(string(at), 10, 64); err == nil && ms <= nowMs {
			expired[string(args[1])] = true
		}
	}
	dropped := map[string]bool{}
	remove := func(user []byte) {
		if !dropped[string(user)] && drop.Contains(data.AppendContentKey(nil, sl, user)) {
			dropped[string(user)] = true
			out.say(isInt, []byte("DEL"), user)
		}
	}
	if user, one := data.OneKey(sl, drop); one {
		remove(user) // it may be gone
	}
	for _, args := range requests {
		remove(args[1])
		if expired[string(args[1])] {
			continue
		}
		added := int64(len(args) - 2)
		switch string(args[0]) {
		case "SET":
			out.say(isOK, args...)
		case "PEXPIREAT":
			out.say(isNumber(1), args...)
		case "RPUSH":
			out.say(func(v resp.Value) bool { return v.Kind == resp.IntKind && v.Int >= added }, args...)
		case "SADD":
			out.say(isNumber(added), args...)
		default: // HSET and ZADD
			out.say(isNumber(added/2), args...)
		}
	}
	return out, nil
}

// expected is what must be found in a span of items.
type expected struct {
	covers   key.Span
	last     bool
	items    int
	bytes    int
	requests []byte // as opExpect has them
}

// Limits of one question: how many elements it names, and how many bytes of them.
const (
	expectElements = 512
	expectBytes    = 256 << 10
)

// readExpected reads items from the low end of a span until a limit is reached.
func readExpected(r store.Reader, sl slot.Slot, span key.Span, lim store.ChunkLimits) (expected, error) {
	out := expected{covers: span}
	c, err := data.NewContent(r, sl, span)
	if err != nil {
		return out, err
	}
	var part [][]byte
	partBytes := 0
	flush := func() {
		if len(part) > 0 {
			out.requests = command.AppendRequest(out.requests, part)
			part, partBytes = nil, 0
		}
	}
	ok := c.Next()
	for ok {
		item := c.Item()
		rec := &item.Record
		if item.Damage != nil {
			_ = c.Close() // the damage is what is reported
			return out, item.Damage
		}
		kind, expiry := []byte{byte(rec.Type)}, strconv.AppendInt(nil, rec.ExpireMs, 10)
		if rec.ExpireMs == data.NoExpiry {
			expiry = []byte("-1")
		}
		switch {
		case len(item.Element) == 0:
			flush()
			out.requests = command.AppendRequest(out.requests, [][]byte{[]byte("key"), item.User, kind, expiry, strconv.AppendUint(nil, rec.Size, 10), rec.Value})
		default:
			if len(part) > 0 && (!bytes.Equal(part[1], item.User) || len(part) >= expectElements || partBytes >= expectBytes) {
				flush()
			}
			if len(part) == 0 {
				part = append(part, []byte("part"), bytes.Clone(item.User), kind, expiry, strconv.AppendUint(nil, item.Index(), 10))
			}
			part = append(part, elementOf(item)...)
			partBytes += len(item.Element) + len(item.Value)
		}
		out.items++
		out.bytes += len(c.Key()) + len(item.Value)
		if out.items >= lim.Records || out.bytes >= lim.Bytes {
			out.covers.Hi = append(bytes.Clone(c.Key()), 0)
			ok = c.Next()
			break
		}
		ok = c.Next()
	}
	flush()
	if out.last = !ok; out.last {
		out.covers.Hi = span.Hi
	}
	return out, c.Close()
}

// elementOf is an element as a part has it.
func elementOf(i *data.Item) [][]byte {
	switch i.Record.Type {
	case data.List:
		return [][]byte{bytes.Clone(i.Value)}
	case data.Hash:
		return [][]byte{bytes.Clone(i.Member()), bytes.Clone(i.Value)}
	case data.ZSet:
		return [][]byte{bytes.Clone(i.Value), bytes.Clone(i.Member())}
	default:
		return [][]byte{bytes.Clone(i.Member())}
	}
}

// Kinds of questions.
const (
	// expireSlack is before its expiry by how much a key is not looked for any more, in ms: the clocks of two machines differ.
	expireSlack = 10_000
	// stringPiece is how much of a string is asked for at once.
	stringPiece = 1 << 20
)

// expectations makes the questions whose answers tell whether a Kvrocks has what is expected.
func expectations(requests []byte, nowMs int64) (kvrocksSaid, error) {
	out := kvrocksSaid{compares: true, limit: 2*len(requests) + 1<<20}
	for rest := requests; len(rest) > 0; {
		args, next, err := command.NextRequest(rest)
		if err != nil {
			return out, err
		}
		rest = next
		if len(args) < 6 || len(args[2]) != 1 {
			return out, fmt.Errorf("%w: %d fields of what is expected", migration.ErrMessage, len(args))
		}
		kind := data.Type(args[2][0])
		expiry, err1 := strconv.ParseInt(string(args[3]), 10, 64)
		number, err2 := strconv.ParseInt(string(args[4]), 10, 64)
		switch {
		case err1 != nil || err2 != nil:
			return out, fmt.Errorf("%w: numbers %q and %q in what is expected", migration.ErrMessage, args[3], args[4])
		case expiry >= 0 && expiry <= nowMs+expireSlack:
		case string(args[0]) == "key":
			out.expectKey(args[1], kind, expiry, number, args[5])
		default:
			out.expectPart(args[1], kind, number, args[5:])
		}
	}
	return out, nil
}

// counters are the commands that count elements.
var counters = map[data.Type]string{data.List: "LLEN", data.Hash: "HLEN", data.Set: "SCARD", data.ZSet: "ZCARD"}

func (s *kvrocksSaid) expectKey(user []byte, kind data.Type, expiry, size int64, value []byte) {
	switch {
	case kind != data.String:
		s.say(isNumber(size), []byte(counters[kind]), user)
	case len(value) <= stringPiece:
		s.say(isBulk(value), []byte("GET"), user)
	default:
		s.say(isNumber(int64(len(value))), []byte("STRLEN"), user)
		for at := 0; at < len(value); at += stringPiece {
			to := min(at+stringPiece, len(value))
			s.say(isBulk(value[at:to]), []byte("GETRANGE"), user, strconv.AppendInt(nil, int64(at), 10), strconv.AppendInt(nil, int64(to-1), 10))
		}
	}
	s.say(isNumber(expiry), []byte("PEXPIRETIME"), user)
}

func (s *kvrocksSaid) expectPart(user []byte, kind data.Type, index int64, elements [][]byte) {
	ask := func(name string, members [][]byte) [][]byte { return append([][]byte{[]byte(name), user}, members...) }
	pick := func(first int) (out [][]byte) {
		for i := first; i < len(elements); i += 2 {
			out = append(out, elements[i])
		}
		return out
	}
	switch kind {
	case data.List:
		last := index + int64(len(elements)) - 1
		s.say(isList(len(elements), func(i int, v resp.Value) bool { return isBulk(elements[i])(v) }),
			[]byte("LRANGE"), user, strconv.AppendInt(nil, index, 10), strconv.AppendInt(nil, last, 10))
	case data.Hash:
		values := pick(1)
		s.say(isList(len(values), func(i int, v resp.Value) bool { return isBulk(values[i])(v) }), ask("HMGET", pick(0))...)
	case data.ZSet:
		scores := pick(0)
		s.say(isList(len(scores), func(i int, v resp.Value) bool { return isScore(scores[i], v) }), ask("ZMSCORE", pick(1))...)
	default:
		s.say(isList(len(elements), func(_ int, v resp.Value) bool { return isNumber(1)(v) }), ask("SMISMEMBER", elements)...)
	}
}

// isScore compares a stored score with one that is told as text.
func isScore(stored []byte, v resp.Value) bool {
	want, err := data.DecodeScore(stored)
	if err != nil || v.Kind != resp.BulkKind {
		return false
	}
	got, err := strconv.ParseFloat(v.Str, 64)
	return err == nil && math.Float64bits(got+0) == math.Float64bits(want+0) // there is no minus zero
}

// readExpected builds the next message of a walk that compares with a Kvrocks.
func (s *stream) readExpected() ([]byte, error) {
	w := &s.walks[0]
	e, err := readExpected(s.snap, s.slot, w.span, w.limits)
	if err != nil {
		return nil, err
	}
	s.cost = e.bytes
	s.last = covered{changes: store.Changes{Spans: []key.Span{e.covers}}, records: e.items, digest: true, again: w.again}
	s.advance(e.covers.Hi, e.last)
	if len(e.requests) == 0 {
		return nil, nil
	}
	body := append([]byte{opExpect}, binary.BigEndian.AppendUint32(nil, 0)...)
	body = append(body, spanBytes(e.covers)...)
	return append(body, e.requests...), nil
}
