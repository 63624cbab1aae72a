package linearize

import "slices"

// parseSet parses the commands on sets; SMOVE is in several.go.
func (in *input) parseSet() (bool, error) {
	in.items = in.op.Args
	switch in.op.Cmd {
	case "SADD":
		in.kind = kindSAdd
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

// union returns sorted members together with others.
func union(members, others []string) []string {
	for _, m := range others {
		if i, has := slices.BinarySearch(members, m); !has {
			members = slices.Insert(members, i, m)
		}
	}
	return members
}

// applySetOfMembers executes a command on a set or an absent key.
func (in *input) applySetOfMembers(after states, v value) states {
	if in.kind == kindSMembers {
		return in.acceptShown(after, v, v.text)
	}
	members := decode(v.text)
	n := len(members)
	next := func() value { return v.holding(setType, encode(members)) }
	switch in.kind {
	case kindSAdd:
		members = union(members, in.items)
		return in.accept(after, next(), Int(int64(len(members)-n)))
	case kindSRem:
		members = slices.DeleteFunc(members, func(m string) bool { return slices.Contains(in.items, m) })
		return in.accept(after, next(), Int(int64(n-len(members))))
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
	case kindSCard:
		return in.accept(after, v, Int(int64(n)))
	case kindSPop, kindSRandMember:
		return in.applyChoice(after, v, members)
	default:
		return after
	}
}

// applyChoice executes a command that chooses a member by chance: the one that it showed, any if nobody saw.
func (in *input) applyChoice(after states, v value, members []string) states {
	if !v.present {
		return in.accept(after, v, Nil())
	}
	for i, m := range members {
		if !in.free && in.reply != Bulk(m) {
			continue
		}
		next := v
		if in.kind == kindSPop {
			next = v.holding(setType, encode(slices.Delete(slices.Clone(members), i, i+1)))
		}
		after = append(after, next)
	}
	return after
}
