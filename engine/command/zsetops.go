package command

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"godwit/engine/data"
)

// scoredSource is a set or a sorted set in a command that combines such.
type scoredSource struct {
	data.SortedSet
	plain  bool // a set: each score is 1
	weight float64
}

// look returns the weighed score of a member. Infinity times zero stays NaN, as in Redis: a sum becomes zero by it, and neither the lesser nor
// the greater of two scores is changed by it.
func (s *scoredSource) look(member []byte) data.Scored {
	if s.plain {
		return data.Scored{Score: s.weight, Found: s.Has(member)}
	}
	was := s.Look(member)
	return data.Scored{Score: was.Score * s.weight, Found: was.Found}
}

// each visits the members with their weighed scores, until visit returns false.
func (s *scoredSource) each(visit func(member []byte, score float64) bool) {
	s.Each(func(member, value []byte) bool {
		if s.plain {
			return visit(member, s.weight)
		}
		return visit(member, weigh(s.ScoreOf(value), s.weight))
	})
}

// weigh multiplies; infinity times zero is zero.
func weigh(score, weight float64) float64 {
	if score *= weight; math.IsNaN(score) {
		return 0
	}
	return score
}

// aggregate makes one score of two.
type aggregate func(a, b float64) float64

// sum adds; infinity less infinity is zero.
func sum(a, b float64) float64 {
	if a += b; math.IsNaN(a) {
		return 0
	}
	return a
}

func lesser(a, b float64) float64 {
	if b < a {
		return b
	}
	return a
}

func greater(a, b float64) float64 {
	if b > a {
		return b
	}
	return a
}

// scoredOperation combines sources.
type scoredOperation uint8

const (
	scoredUnion scoredOperation = iota
	scoredIntersection
	scoredDifference
)

// weighs reports whether WEIGHTS and AGGREGATE are options.
func (op scoredOperation) weighs() bool { return op != scoredDifference }

// combine returns the members of the result in any order. All of them are in memory, as they will be in the reply or in the batch.
func (op scoredOperation) combine(sources []scoredSource, fold aggregate) (out []scoredMember) {
	collect := func(member []byte, score float64) bool {
		out = append(out, scoredMember{bytes.Clone(member), score})
		return true
	}
	switch op {
	case scoredUnion:
		return unionScored(sources, fold)
	case scoredIntersection:
		intersectScored(sources, fold, collect)
	case scoredDifference:
		subtractScored(sources, collect)
	}
	return out
}

// unionScored returns the members of all sources. Scores are folded from the smallest source to the largest, as in Redis.
func unionScored(sources []scoredSource, fold aggregate) (out []scoredMember) {
	slices.SortStableFunc(sources, func(a, b scoredSource) int { return cmp.Compare(a.Len(), b.Len()) })
	at := map[string]int{}
	for i := range sources {
		sources[i].each(func(member []byte, score float64) bool {
			if j, again := at[string(member)]; again {
				out[j].score = fold(out[j].score, score)
				return true
			}
			m := bytes.Clone(member)
			at[string(m)] = len(out)
			out = append(out, scoredMember{m, score})
			return true
		})
	}
	return out
}

// intersectScored visits the members that all sources have, until visit returns false.
func intersectScored(sources []scoredSource, fold aggregate, visit func(member []byte, score float64) bool) {
	slices.SortStableFunc(sources, func(a, b scoredSource) int { return cmp.Compare(a.Len(), b.Len()) })
	if sources[0].Len() == 0 {
		return
	}
	sources[0].each(func(member []byte, score float64) bool {
		for i := range sources[1:] {
			s := sources[i+1].look(member)
			if !s.Found {
				return true
			}
			score = fold(score, s.Score)
		}
		return visit(member, score)
	})
}

// subtractScored visits the members of the first source that no other has, until visit returns false.
func subtractScored(sources []scoredSource, visit func(member []byte, score float64) bool) {
	sources[0].each(func(member []byte, score float64) bool {
		for i := range sources[1:] {
			if sources[i+1].Has(member) {
				return true
			}
		}
		return visit(member, score)
	})
}

// zcombine makes the handler of ZUNION, ZINTER or ZDIFF.
func zcombine(op scoredOperation) Handler {
	return func(c *Context) {
		sources, rest, ok := c.openSources(1)
		if !ok {
			return
		}
		o, ok := c.parseCombination(op, sources, rest, withScores)
		if !ok {
			return
		}
		members := op.combine(sources, o.fold)
		slices.SortFunc(members, func(a, b scoredMember) int {
			return cmp.Or(cmp.Compare(a.score, b.score), bytes.Compare(a.member, b.member))
		})
		found := c.scoredList(o.withScores)
		for _, m := range members {
			if found.add(m.member, m.score); found.full(c) {
				break
			}
		}
		found.reply(c)
	}
}

// zcombineStore makes the handler of ZUNIONSTORE, ZINTERSTORE or ZDIFFSTORE. The sources are read as they were before the command, the
// destination's old value among them.
func zcombineStore(op scoredOperation) Handler {
	return func(c *Context) {
		sources, rest, ok := c.openSources(2)
		if !ok {
			return
		}
		o, ok := c.parseCombination(op, sources, rest, withoutScores)
		if !ok {
			return
		}
		members := op.combine(sources, o.fold)
		e := c.Tx.Load(c.Args[1])
		dst := c.Tx.ReplaceSortedSet(&e)
		for _, m := range members {
			dst.Fill(m.member, m.score)
		}
		dst.Save()
		c.Out.Int(int64(dst.Len()))
	}
}

func zintercard(c *Context) {
	sources, rest, ok := c.openSources(1)
	if !ok {
		return
	}
	limit, ok := c.parseLimit(rest)
	if !ok {
		return
	}
	n := int64(0)
	intersectScored(sources, sum, func([]byte, float64) bool {
		n++
		return n != limit
	})
	c.Out.Int(n)
}

// openSources loads the sets and sorted sets of a request whose number stands at a position, and returns what follows their keys, or
// replies with an error.
func (c *Context) openSources(at int) (sources []scoredSource, rest [][]byte, ok bool) {
	count, ok := parseInt(c.Args[at])
	switch {
	case !ok:
		c.Out.Error(errNotInteger)
		return nil, nil, false
	case count < 1:
		c.Out.Error(errNoInputKeys(strings.ToLower(string(c.Args[0]))))
		return nil, nil, false
	}
	n, ok := keyCount(c.Args, at)
	if !ok {
		c.Out.Error(errSyntax)
		return nil, nil, false
	}
	users, rest := c.Args[at+1:][:n], c.Args[at+1+n:]
	sources = make([]scoredSource, n)
	for i, user := range users {
		s := &sources[i]
		s.weight = 1
		if s.SortedSet, ok = c.Tx.OpenSortedSet(user); ok {
			continue
		}
		set, isSet := c.open(user, data.Set)
		if !isSet {
			return nil, nil, false
		}
		s.SortedSet, s.plain = data.SortedSet{Collection: set}, true
	}
	return sources, rest, true
}

// combination is the options of a command that combines sorted sets, without the weights.
type combination struct {
	fold       aggregate
	withScores bool
}

// scoresOption says whether WITHSCORES is an option of a command.
type scoresOption uint8

const (
	withoutScores scoresOption = iota
	withScores
)

// parseCombination reads the options behind the keys, and gives the sources their weights, or replies with an error.
func (c *Context) parseCombination(op scoredOperation, sources []scoredSource, args [][]byte, scores scoresOption) (o combination, ok bool) {
	o.fold = sum
	for len(args) > 0 {
		switch name := strings.ToLower(string(args[0])); {
		case op.weighs() && name == "weights" && len(args) > len(sources):
			for i := range sources {
				if sources[i].weight, ok = parseScore(args[1+i]); !ok {
					c.Out.Error(errWeight)
					return o, false
				}
			}
			args = args[1+len(sources):]
		case op.weighs() && name == "aggregate" && len(args) > 1:
			switch strings.ToLower(string(args[1])) {
			case "sum":
				o.fold = sum
			case "min":
				o.fold = lesser
			case "max":
				o.fold = greater
			default:
				c.Out.Error(errSyntax)
				return o, false
			}
			args = args[2:]
		case scores == withScores && name == "withscores":
			o.withScores = true
			args = args[1:]
		default:
			c.Out.Error(errSyntax)
			return o, false
		}
	}
	return o, true
}
