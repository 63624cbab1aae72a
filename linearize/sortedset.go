package linearize

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// zOptions are what commands on sorted sets have besides what others have.
type zOptions struct {
	changed, incr bool  // ZADD with CH, INCR
	score         bool  // ZADD with GT or LT: see greater
	greater       bool  // GT
	scores        bool  // WITHSCORES
	count         bool  // ZCOUNT
	min, max      bound // by score
}

// bound is one end of a range of scores.
type bound struct {
	score float64
	open  bool // the score itself is outside
}

// scored is a member of a sorted set.
type scored struct {
	member string
	score  float64
}

// formatScore is how scores stand in codes.
func formatScore(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// parseScore parses what stores take and show as a score.
func parseScore(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return f + 0, err == nil && !math.IsNaN(f) && !strings.ContainsAny(text, "_xX") // + 0 turns -0 into 0
}

// parseSortedSet parses the commands on sorted sets.
func (in *input) parseSortedSet() (bool, error) {
	args := in.op.Args
	in.back = strings.HasPrefix(in.op.Cmd, "ZREV")
	switch in.op.Cmd {
	case "ZADD":
		in.kind = kindZAdd
		return true, in.zaddOptions()
	case "ZINCRBY":
		in.kind, in.zset.incr, in.items = kindZAdd, true, args
		if err := in.arity(2, 2); err != nil {
			return true, err
		}
		return true, in.checkScores()
	case "ZREM":
		in.kind, in.items = kindZRem, args
		return true, in.arity(1, -1)
	case "ZSCORE":
		in.kind, in.items = kindZScore, args
		return true, in.arity(1, 1)
	case "ZCARD":
		in.kind = kindZCard
		return true, in.arity(0, 0)
	case "ZRANK", "ZREVRANK":
		in.kind, in.items = kindZRank, args
		return true, in.arity(1, 1)
	case "ZRANGE", "ZREVRANGE":
		in.kind = kindZRange
		if err := in.arity(2, 4); err != nil {
			return true, err
		}
		if err := in.rangeOptions(args[2:], in.op.Cmd == "ZRANGE"); err != nil {
			return true, err
		}
		in.takeScores(in.zset.scores)
		return true, in.integers(0, &in.start, &in.end)
	case "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZCOUNT":
		in.kind, in.zset.count = kindZRangeScores, in.op.Cmd == "ZCOUNT"
		if err := in.arity(2, 3); err != nil {
			return true, err
		}
		ends := slices.Clone(args[:2])
		if in.back {
			slices.Reverse(ends)
		}
		var ok, okMax bool
		in.zset.min, ok = parseBound(ends[0])
		in.zset.max, okMax = parseBound(ends[1])
		if !ok || !okMax || in.zset.count && len(args) > 2 {
			return true, in.refuse("range %q", args)
		}
		if in.zset.count {
			return true, nil
		}
		if err := in.rangeOptions(args[2:], false); err != nil {
			return true, err
		}
		in.takeScores(in.zset.scores)
		return true, nil
	case "ZPOPMIN", "ZPOPMAX":
		in.kind, in.back, in.end = kindZPop, in.op.Cmd == "ZPOPMAX", 1
		in.takeScores(true)
		if len(args) == 0 {
			return true, nil
		}
		return true, in.count()
	}
	in.back = false
	return false, nil
}

// zaddOptions parses what follows the key of ZADD.
func (in *input) zaddOptions() error {
	args := in.op.Args
	for len(args) > 0 {
		switch option := strings.ToUpper(args[0]); option {
		case "NX", "XX":
			if in.cond != always {
				return in.refuse("option %s contradicts another", option)
			}
			in.cond = ifAbsent
			if option == "XX" {
				in.cond = ifPresent
			}
		case "GT", "LT":
			if in.zset.score {
				return in.refuse("option %s contradicts another", option)
			}
			in.zset.score, in.zset.greater = true, option == "GT"
		case "CH":
			in.zset.changed = true
		case "INCR":
			in.zset.incr = true
		default:
			in.items = args
			if in.cond == ifAbsent && in.zset.score || in.zset.incr && len(args) != 2 {
				return in.refuse("options %q contradict each other", in.op.Args)
			}
			return in.checkScores()
		}
		args = args[1:]
	}
	return in.refuse("no members")
}

// checkScores demands that items are scores, each followed by a member.
func (in *input) checkScores() error {
	if len(in.items)%2 != 0 {
		return in.refuse("a score without a member")
	}
	for i := 0; i < len(in.items); i += 2 {
		if _, ok := parseScore(in.items[i]); !ok {
			return in.refuse("score %s", quote(in.items[i]))
		}
	}
	return nil
}

// rangeOptions parses WITHSCORES and, where it is allowed, REV.
func (in *input) rangeOptions(options []string, rev bool) error {
	for _, option := range options {
		switch {
		case strings.EqualFold(option, "WITHSCORES"):
			in.zset.scores = true
		case strings.EqualFold(option, "REV") && rev:
			in.back = true
		default:
			return in.refuse("option %s", quote(option))
		}
	}
	return nil
}

func parseBound(text string) (bound, bool) {
	rest, open := strings.CutPrefix(text, "(")
	score, ok := parseScore(rest)
	return bound{score, open}, ok
}

// takeScores makes shown of a reply that must be an array of members, with scores or without, in order. Stores word
// scores differently, so they are worded anew.
func (in *input) takeScores(scores bool) {
	if !scores {
		in.takeArray(1, true)
		return
	}
	in.takeArray(2, true)
	if in.free || in.impossible {
		return
	}
	texts := decode(in.shown)
	for i := 1; i < len(texts); i += 2 {
		f, ok := parseScore(texts[i])
		if !ok {
			in.impossible = true
			return
		}
		texts[i] = formatScore(f)
	}
	in.shown = encode(texts)
}

func decodeScored(code string) []scored {
	texts := decode(code)
	members := make([]scored, len(texts)/2)
	for i := range members {
		f, _ := parseScore(texts[2*i+1])
		members[i] = scored{texts[2*i], f}
	}
	return members
}

func encodeScored(members []scored, scores bool) string {
	var texts []string
	for _, m := range members {
		texts = append(texts, m.member)
		if scores {
			texts = append(texts, formatScore(m.score))
		}
	}
	return encode(texts)
}

func compareScored(a, b scored) int {
	return cmp.Or(cmp.Compare(a.score, b.score), strings.Compare(a.member, b.member))
}

func indexScored(members []scored, member string) int {
	return slices.IndexFunc(members, func(m scored) bool { return m.member == member })
}

// turned returns the members in the order that the command goes by. It may change them.
func (in *input) turned(members []scored) []scored {
	if in.back {
		slices.Reverse(members)
	}
	return members
}

// acceptScore appends next if the operation was answered by this score, worded in any way, or by nothing.
func (in *input) acceptScore(after states, next value, score float64) states {
	shown, ok := parseScore(in.reply.Text)
	if in.free || in.reply.Kind == BulkReply && ok && shown == score {
		return append(after, next)
	}
	return after
}

// applySortedSet executes a command on a sorted set or an absent key.
func (in *input) applySortedSet(after states, v value) states {
	members := decodeScored(v.text)
	next := func() value { return v.holding(sortedSetType, encodeScored(members, true)) }
	switch in.kind {
	case kindZAdd:
		return in.applyZAdd(after, v, members)
	case kindZRem:
		n := len(members)
		members = slices.DeleteFunc(members, func(m scored) bool { return slices.Contains(in.items, m.member) })
		return in.accept(after, next(), Int(int64(n-len(members))))
	case kindZScore:
		i := indexScored(members, in.items[0])
		if i < 0 {
			return in.accept(after, v, Nil())
		}
		return in.acceptScore(after, v, members[i].score)
	case kindZCard:
		return in.accept(after, v, Int(int64(len(members))))
	case kindZRank:
		i := indexScored(in.turned(members), in.items[0])
		if i < 0 {
			return in.accept(after, v, Nil())
		}
		return in.accept(after, v, Int(int64(i)))
	case kindZRange:
		lo, hi := clip(in.start, in.end, len(members))
		return in.acceptShown(after, v, encodeScored(in.turned(members)[lo:hi], in.zset.scores))
	case kindZRangeScores:
		members = slices.DeleteFunc(members, func(m scored) bool {
			lo, hi := in.zset.min, in.zset.max
			return m.score < lo.score || m.score > hi.score || lo.open && m.score == lo.score || hi.open && m.score == hi.score
		})
		if in.zset.count {
			return in.accept(after, v, Int(int64(len(members))))
		}
		return in.acceptShown(after, v, encodeScored(in.turned(members), in.zset.scores))
	case kindZPop:
		members = in.turned(members)
		n := int(min(in.end, int64(len(members))))
		popped := encodeScored(members[:n], true)
		members = in.turned(members[n:])
		return in.acceptShown(after, next(), popped)
	default:
		return after
	}
}

func (in *input) applyZAdd(after states, v value, members []scored) states {
	added, changed := int64(0), int64(0)
	for i := 0; i < len(in.items); i += 2 {
		score, _ := parseScore(in.items[i])
		at := indexScored(members, in.items[i+1])
		if at >= 0 && in.zset.incr {
			score += members[at].score
			if math.IsNaN(score) {
				return in.refused(after, v, "ERR")
			}
		}
		if !in.zadds(members, at, score) {
			if in.zset.incr {
				return in.accept(after, v, Nil())
			}
			continue
		}
		switch {
		case at < 0:
			members = append(members, scored{in.items[i+1], score})
			added++
		case members[at].score != score:
			members[at].score = score
			changed++
		}
		if in.zset.incr {
			slices.SortFunc(members, compareScored)
			return in.acceptScore(after, v.holding(sortedSetType, encodeScored(members, true)), score)
		}
	}
	slices.SortFunc(members, compareScored)
	if in.zset.changed {
		added += changed
	}
	return in.accept(after, v.holding(sortedSetType, encodeScored(members, true)), Int(added))
}

// zadds reports whether the options let ZADD give the member at a place, negative if there is none, this score.
func (in *input) zadds(members []scored, at int, score float64) bool {
	switch {
	case at < 0:
		return in.cond != ifPresent
	case in.cond == ifAbsent:
		return false
	case in.zset.score && in.zset.greater:
		return score > members[at].score
	case in.zset.score:
		return score < members[at].score
	}
	return true
}
