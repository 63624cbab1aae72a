package linearize

import "slices"

// parseSet parses the commands on sets; SMOVE is in several.go.
func (in *input) parseSet() (bool, error) {
	in.items = in.op.Args
	switch in.op.Cmd {
	case "SADD":
		in.kind = kindSAdd
		if !slices.IsSorted(in.items) {
			in.items = slices.Sorted(slices.Values(in.items))
		}
		return true, in.arity(1, -1)
	case "SREM":
		in.kind = kindSRem
		return true, in.arity(1, -1)
	case "SMEMBERS":
		in.kind = kindSMembers
		in.takeArray(1, false)
		return true, in.arity(0, 0)
	case "SISMEMBER":
		in.kind = kindSIsMember
		return true, in.arity(1, 1)
	case "SMISMEMBER":
		in.kind, in.counted = kindSIsMember, true
		return true, in.arity(1, -1)
	case "SCARD":
		in.kind = kindSCard
		return true, in.arity(0, 0)
	case "SPOP": // of one member, which chance chooses
		in.kind = kindSPop
		return true, in.arity(0, 0)
	case "SRANDMEMBER":
		in.kind = kindSRandMember
		return true, in.arity(0, 0)
	}
	in.items = nil
	return false, nil
}

// withMembers returns the code of a set together with more members, which are sorted, and how many of them are new. It goes through both once and
// copies what lies between: after an SPOP that nobody saw, a set of hundreds has hundreds of states, to each of which every later operation is applied.
func withMembers(code string, more []string) (with string, added int) {
	var b []byte
	left, rest := code, code // left begins with what b does not have yet, rest with the first member that may follow the next one
	for i, m := range more {
		has := i > 0 && m == more[i-1]
		for !has && rest != "" {
			_, text, after, ok := cutItem(rest)
			if !ok || text > m {
				break
			}
			has, rest = text == m, after
		}
		if !has {
			if b == nil {
				b = make([]byte, 0, len(code)+(len(more)-i)*(len(m)+6)) // about what it takes
			}
			b = append(b, left[:len(left)-len(rest)]...)
			b = appendItem(b, Bulk(m))
			left = rest
			added++
		}
	}
	if added == 0 {
		return code, 0
	}
	return string(append(b, left...)), added
}

// applySetOfMembers executes a command on a set or an absent key.
func (in *input) applySetOfMembers(after states, v value) states {
	switch in.kind {
	case kindSMembers:
		return in.acceptShown(after, v, v.text)
	case kindSAdd:
		text, added := withMembers(v.text, in.items)
		return in.accept(after, v.holding(setType, text), Int(int64(added)))
	case kindSCard:
		return in.accept(after, v, Int(int64(countItems(v.text))))
	case kindSPop, kindSRandMember:
		return in.applyChoice(after, v)
	default:
	}
	members := decode(v.text)
	n := len(members)
	switch in.kind {
	case kindSRem:
		members = slices.DeleteFunc(members, func(m string) bool { return slices.Contains(in.items, m) })
		return in.accept(after, v.holding(setType, encode(members)), Int(int64(n-len(members))))
	case kindSIsMember:
		var has []Reply
		for _, m := range in.items {
			_, is := slices.BinarySearch(members, m)
			has = append(has, boolReply(is))
		}
		if in.counted {
			return in.accept(after, v, Array(has...))
		}
		return in.accept(after, v, has[0])
	default:
		return after
	}
}

// applyChoice executes a command that chooses a member by chance: the one that it showed, any if nobody saw.
func (in *input) applyChoice(after states, v value) states {
	if !v.present {
		return in.accept(after, v, Nil())
	}
	for rest := v.text; rest != ""; {
		before := v.text[:len(v.text)-len(rest)]
		_, m, behind, ok := cutItem(rest)
		if !ok {
			return after
		}
		rest = behind
		if !in.free && in.reply != Bulk(m) {
			continue
		}
		next := v
		if in.kind == kindSPop {
			next = v.holding(setType, before+behind)
		}
		after = append(after, next)
	}
	return after
}
