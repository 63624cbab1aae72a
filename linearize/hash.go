package linearize

import (
	"math"
	"slices"
	"strconv"
)

// parseHash parses the commands on hashes.
func (in *input) parseHash() (bool, error) {
	args := in.op.Args
	switch in.op.Cmd {
	case "HSET", "HMSET":
		in.kind, in.form, in.items = kindHSet, replyInt, args
		if in.op.Cmd == "HMSET" {
			in.form = replyStatus
		}
		if len(args) == 0 || len(args)%2 != 0 {
			return true, in.refuse("a field without a value")
		}
		return true, nil
	case "HSETNX":
		in.kind, in.items = kindHSetNX, args
		return true, in.arity(2, 2)
	case "HGET":
		in.kind, in.items = kindHGet, args
		return true, in.arity(1, 1)
	case "HMGET":
		in.kind, in.items = kindHMGet, args
		return true, in.arity(1, -1)
	case "HDEL":
		in.kind, in.items = kindHDel, args
		return true, in.arity(1, -1)
	case "HINCRBY":
		in.kind, in.items = kindHIncr, args
		if err := in.arity(2, 2); err != nil {
			return true, err
		}
		return true, in.integers(1, &in.delta)
	case "HGETALL":
		in.kind = kindHGetAll
		in.takeArray(2, false)
		return true, in.arity(0, 0)
	case "HKEYS":
		in.kind = kindHKeys
		in.takeArray(1, false)
		return true, in.arity(0, 0)
	case "HVALS":
		in.kind = kindHVals
		in.takeArray(1, false)
		return true, in.arity(0, 0)
	case "HLEN":
		in.kind = kindHLen
		return true, in.arity(0, 0)
	case "HEXISTS":
		in.kind, in.items = kindHExists, args
		return true, in.arity(1, 1)
	case "HSTRLEN":
		in.kind, in.items = kindHStrlen, args
		return true, in.arity(1, 1)
	}
	return false, nil
}

// hash is fields, sorted, each followed by its value.
type hash []string

// find returns where a field is or belongs.
func (h hash) find(field string) (at int, has bool) {
	lo, hi := 0, len(h)/2
	for lo < hi {
		mid := (lo + hi) / 2
		if h[2*mid] < field {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return 2 * lo, 2*lo < len(h) && h[2*lo] == field
}

// get returns what HGET would reply.
func (h hash) get(field string) Reply {
	if at, has := h.find(field); has {
		return Bulk(h[at+1])
	}
	return Nil()
}

// set returns the hash with a field set, and whether the field is new. It may change h.
func (h hash) set(field, to string) (hash, bool) {
	at, has := h.find(field)
	if has {
		h[at+1] = to
		return h, false
	}
	return slices.Insert(h, at, field, to), true
}

// column returns the fields (0) or the values (1), sorted.
func (h hash) column(which int) []string {
	var texts []string
	for i := which; i < len(h); i += 2 {
		texts = append(texts, h[i])
	}
	slices.Sort(texts)
	return texts
}

// applyHash executes a command on a hash or an absent key.
func (in *input) applyHash(after states, v value) states {
	if in.kind == kindHGetAll {
		return in.acceptShown(after, v, v.text)
	}
	h := hash(decode(v.text))
	next := func() value { return v.holding(hashType, encode(h)) }
	switch in.kind {
	case kindHGet:
		return in.accept(after, v, h.get(in.items[0]))
	case kindHMGet:
		var values []Reply
		for _, field := range in.items {
			values = append(values, h.get(field))
		}
		return in.accept(after, v, Array(values...))
	case kindHLen:
		return in.accept(after, v, Int(int64(len(h)/2)))
	case kindHExists:
		return in.accept(after, v, boolReply(h.get(in.items[0]) != Nil()))
	case kindHStrlen:
		return in.accept(after, v, Int(int64(len(h.get(in.items[0]).Text))))
	case kindHKeys:
		return in.acceptShown(after, v, encode(h.column(0)))
	case kindHVals:
		return in.acceptShown(after, v, encode(h.column(1)))
	case kindHSet:
		added := int64(0)
		for i := 0; i < len(in.items); i += 2 {
			var isNew bool
			if h, isNew = h.set(in.items[i], in.items[i+1]); isNew {
				added++
			}
		}
		if in.form == replyStatus {
			return in.accept(after, next(), Status("OK"))
		}
		return in.accept(after, next(), Int(added))
	case kindHSetNX:
		if _, has := h.find(in.items[0]); has {
			return in.accept(after, v, Int(0))
		}
		h, _ = h.set(in.items[0], in.items[1])
		return in.accept(after, next(), Int(1))
	case kindHDel:
		removed := int64(0)
		for _, field := range in.items {
			if at, has := h.find(field); has {
				h = slices.Delete(h, at, at+2)
				removed++
			}
		}
		return in.accept(after, next(), Int(removed))
	case kindHIncr:
		old := int64(0)
		if at, has := h.find(in.items[0]); has {
			var ok bool
			if old, ok = wholeNumber(h[at+1]); !ok {
				return in.refused(after, v, "ERR")
			}
		}
		sum, ok := addExactly(old, in.delta)
		if !ok {
			return in.refused(after, v, "ERR")
		}
		h, _ = h.set(in.items[0], strconv.FormatInt(sum, 10))
		return in.accept(after, next(), Int(sum))
	default:
		return after
	}
}

// wholeNumber parses what counters take as a number: "+1", "01" and "-0" are none, as in Redis' string2ll.
func wholeNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == text
}

// addExactly adds, and is false where that overflows.
func addExactly(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, false
	}
	return a + b, true
}
