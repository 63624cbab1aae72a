package linearize

import (
	"slices"
	"strings"
)

// parseList parses the commands on lists; LMOVE is in several.go.
func (in *input) parseList() (bool, error) {
	args := in.op.Args
	in.back = strings.HasPrefix(in.op.Cmd, "R")
	switch in.op.Cmd {
	case "LPUSH", "RPUSH", "LPUSHX", "RPUSHX":
		in.kind, in.items = kindPush, args
		if strings.HasSuffix(in.op.Cmd, "X") {
			in.cond = ifPresent
		}
		return true, in.arity(1, -1)
	case "LPOP", "RPOP":
		in.kind = kindPop
		if len(args) == 0 {
			return true, nil
		}
		in.counted = true
		if in.reply != Nil() {
			in.takeArray(1, true)
		}
		return true, in.count()
	case "LRANGE":
		in.kind = kindLRange
		in.takeArray(1, true)
		return true, in.span()
	case "LTRIM":
		in.kind = kindLTrim
		return true, in.span()
	case "LLEN":
		in.kind = kindLLen
		return true, in.arity(0, 0)
	case "LINDEX":
		in.kind = kindLIndex
		if err := in.arity(1, 1); err != nil {
			return true, err
		}
		return true, in.integers(0, &in.start)
	case "LSET":
		in.kind = kindLSet
		if err := in.arity(2, 2); err != nil {
			return true, err
		}
		in.text = args[1]
		return true, in.integers(0, &in.start)
	case "LREM":
		in.kind = kindLRem
		if err := in.arity(2, 2); err != nil {
			return true, err
		}
		in.text = args[1]
		return true, in.integers(0, &in.end)
	case "LINSERT":
		in.kind = kindLInsert
		if err := in.arity(3, 3); err != nil {
			return true, err
		}
		in.back, in.items, in.text = strings.EqualFold(args[0], "AFTER"), args[1:2], args[2]
		if !in.back && !strings.EqualFold(args[0], "BEFORE") {
			return true, in.refuse("place %s", quote(args[0]))
		}
		return true, nil
	}
	in.back = false
	return false, nil
}

// count parses the only argument, how many to pop, into end.
func (in *input) count() error {
	if err := in.arity(1, 1); err != nil {
		return err
	}
	if err := in.integers(0, &in.end); err != nil {
		return err
	}
	if in.end < 0 {
		return in.refuse("count %d", in.end)
	}
	return nil
}

// span parses the only two arguments into start and end.
func (in *input) span() error {
	if err := in.arity(2, 2); err != nil {
		return err
	}
	return in.integers(0, &in.start, &in.end)
}

// clip turns positions that may count from the end into those from lo to before hi of n elements.
func clip(start, end int64, n int) (lo, hi int) {
	if start < 0 {
		start = max(start+int64(n), 0)
	}
	if end < 0 {
		end += int64(n)
	}
	end = min(end, int64(n)-1)
	if start > end {
		return 0, 0
	}
	return int(start), int(end) + 1
}

// insertEnd adds an element to the code of a list.
func insertEnd(code, element string, back bool) string {
	if back {
		return code + encode([]string{element})
	}
	return encode([]string{element}) + code
}

// applyList executes a command on a list or an absent key.
func (in *input) applyList(after states, v value) states {
	if in.kind == kindPush { // which needs no decoding
		if in.cond == ifPresent && !v.present {
			return in.accept(after, v, Int(0))
		}
		if in.back {
			v = v.holding(listType, v.text+encode(in.items))
		} else {
			turned := slices.Clone(in.items)
			slices.Reverse(turned)
			v = v.holding(listType, encode(turned)+v.text)
		}
		return in.accept(after, v, Int(int64(countItems(v.text))))
	}
	list := decode(v.text)
	next := func() value { return v.holding(listType, encode(list)) }
	at := in.start
	if at < 0 {
		at += int64(len(list))
	}
	inside := at >= 0 && at < int64(len(list))
	switch in.kind {
	case kindLRange:
		lo, hi := clip(in.start, in.end, len(list))
		return in.acceptShown(after, v, encode(list[lo:hi]))
	case kindLLen:
		return in.accept(after, v, Int(int64(len(list))))
	case kindLIndex:
		if !inside {
			return in.accept(after, v, Nil())
		}
		return in.accept(after, v, Bulk(list[at]))
	case kindLSet:
		if !inside {
			return in.refused(after, v, "ERR")
		}
		list[at] = in.text
		return in.accept(after, next(), Status("OK"))
	case kindLTrim:
		lo, hi := clip(in.start, in.end, len(list))
		list = list[lo:hi]
		return in.accept(after, next(), Status("OK"))
	case kindPop:
		return in.applyPop(after, v, list)
	case kindLRem:
		return in.applyLRem(after, v, list)
	case kindLInsert:
		i := slices.Index(list, in.items[0])
		switch {
		case !v.present:
			return in.accept(after, v, Int(0))
		case i < 0:
			return in.accept(after, v, Int(-1))
		case in.back:
			i++
		}
		list = slices.Insert(list, i, in.text)
		return in.accept(after, next(), Int(int64(len(list))))
	default:
		return after
	}
}

func (in *input) applyPop(after states, v value, list []string) states {
	if !v.present {
		return in.accept(after, v, Nil())
	}
	n := 1
	if in.counted {
		n = int(min(in.end, int64(len(list))))
	}
	popped, rest := list[:n], list[n:]
	if in.back {
		popped, rest = slices.Clone(list[len(list)-n:]), list[:len(list)-n]
		slices.Reverse(popped)
	}
	next := v.holding(listType, encode(rest))
	if !in.counted {
		return in.accept(after, next, Bulk(popped[0]))
	}
	return in.acceptShown(after, next, encode(popped))
}

// applyLRem removes the first so many elements that are equal, the last for a negative number, all for 0.
func (in *input) applyLRem(after states, v value, list []string) states {
	turned := in.end < 0
	most := in.end
	if turned {
		slices.Reverse(list)
		most = -most
	}
	removed := int64(0)
	list = slices.DeleteFunc(list, func(e string) bool {
		if e != in.text || in.end != 0 && removed == most {
			return false
		}
		removed++
		return true
	})
	if turned {
		slices.Reverse(list)
	}
	return in.accept(after, v.holding(listType, encode(list)), Int(removed))
}
