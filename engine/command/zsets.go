package command

import (
	"bytes"
	"math"
	"strings"

	"godwit/engine/data"
	"godwit/engine/resp"
)

func sortedSetSpecs() []*Spec {
	const group = "sorted-set"
	const store = "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set."
	const ranged = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements in the range."
	return []*Spec{
		{Name: "bzmpop", Arity: -5, Flags: Write | Movable | Blocking, Count: 2, Handler: bzmpop,
			Group: group, Since: "7.0.0", Complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", Summary: "Remove and return members with scores in a sorted set or block until one is available"},
		{Name: "bzpopmax", Arity: -3, Flags: Write | NoScript | Fast | Blocking, FirstKey: 1, LastKey: -2, Step: 1, Handler: blockingPopScored(data.Descending),
			Group: group, Since: "5.0.0", Complexity: "O(log(N)) with N being the number of elements in the sorted set.", Summary: "Remove and return the member with the highest score from one or more sorted sets, or block until one is available"},
		{Name: "bzpopmin", Arity: -3, Flags: Write | NoScript | Fast | Blocking, FirstKey: 1, LastKey: -2, Step: 1, Handler: blockingPopScored(data.Ascending),
			Group: group, Since: "5.0.0", Complexity: "O(log(N)) with N being the number of elements in the sorted set.", Summary: "Remove and return the member with the lowest score from one or more sorted sets, or block until one is available"},
		{Name: "zadd", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 3, Handler: zadd,
			Group: group, Since: "1.2.0", Complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.", Summary: "Add one or more members to a sorted set, or update its score if it already exists"},
		{Name: "zcard", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: zcard,
			Group: group, Since: "1.2.0", Complexity: "O(1)", Summary: "Get the number of members in a sorted set"},
		{Name: "zcount", Arity: 4, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: zcount,
			Group: group, Since: "2.0.0", Complexity: ranged, Summary: "Count the members in a sorted set with scores within the given values"},
		{Name: "zdiff", Arity: -3, Flags: ReadOnly | Movable, Count: 1, Handler: zcombine(scoredDifference),
			Group: group, Since: "6.2.0", Complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", Summary: "Subtract multiple sorted sets"},
		{Name: "zdiffstore", Arity: -4, Flags: Write | DenyOOM | Movable, FirstKey: 1, LastKey: 1, Step: 1, Count: 2, Handler: zcombineStore(scoredDifference),
			Group: group, Since: "6.2.0", Complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", Summary: "Subtract multiple sorted sets and store the resulting sorted set in a new key"},
		{Name: "zincrby", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 3, Handler: zincrby,
			Group: group, Since: "1.2.0", Complexity: "O(log(N)) where N is the number of elements in the sorted set.", Summary: "Increment the score of a member in a sorted set"},
		{Name: "zinter", Arity: -3, Flags: ReadOnly | Movable, Count: 1, Handler: zcombine(scoredIntersection),
			Group: group, Since: "6.2.0", Complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", Summary: "Intersect multiple sorted sets"},
		{Name: "zintercard", Arity: -3, Flags: ReadOnly | Movable, Count: 1, Handler: zintercard,
			Group: group, Since: "7.0.0", Complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.", Summary: "Intersect multiple sorted sets and return the cardinality of the result"},
		{Name: "zinterstore", Arity: -4, Flags: Write | DenyOOM | Movable, FirstKey: 1, LastKey: 1, Step: 1, Count: 2, Handler: zcombineStore(scoredIntersection),
			Group: group, Since: "2.0.0", Complexity: store, Summary: "Intersect multiple sorted sets and store the resulting sorted set in a new key"},
		{Name: "zlexcount", Arity: 4, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: zlexcount,
			Group: group, Since: "2.8.9", Complexity: ranged, Summary: "Count the number of members in a sorted set between a given lexicographical range"},
		{Name: "zmpop", Arity: -4, Flags: Write | Movable, Count: 1, Handler: zmpop,
			Group: group, Since: "7.0.0", Complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", Summary: "Remove and return members with scores in a sorted set"},
		{Name: "zmscore", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: zmscore,
			Group: group, Since: "6.2.0", Complexity: "O(N) where N is the number of members being requested.", Summary: "Get the score associated with the given members in a sorted set"},
		{Name: "zpopmax", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: popScored(data.Descending),
			Group: group, Since: "5.0.0", Complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", Summary: "Remove and return members with the highest scores in a sorted set"},
		{Name: "zpopmin", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: popScored(data.Ascending),
			Group: group, Since: "5.0.0", Complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", Summary: "Remove and return members with the lowest scores in a sorted set"},
		{Name: "zrandmember", Arity: -2, Flags: ReadOnly | Random, FirstKey: 1, LastKey: 1, Step: 1, Handler: zrandmember,
			Group: group, Since: "6.2.0", Complexity: "O(N) where N is the number of members returned.", Summary: "Get one or multiple random elements from a sorted set"},
		{Name: "zrange", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: ranger(rangeForm{}),
			Group: group, Since: "1.2.0", Complexity: rankedCost, Summary: "Return a range of members in a sorted set"},
		{Name: "zrangebylex", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: ranger(rangeForm{by: byLex, fixed: true}),
			Group: group, Since: "2.8.9", Complexity: ranged, Summary: "Return a range of members in a sorted set, by lexicographical range"},
		{Name: "zrangebyscore", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: ranger(rangeForm{by: byScore, fixed: true}),
			Group: group, Since: "1.0.5", Complexity: ranged, Summary: "Return a range of members in a sorted set, by score"},
		{Name: "zrangestore", Arity: -5, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: zrangestore,
			Group: group, Since: "6.2.0", Complexity: rankedCost, Summary: "Store a range of members from sorted set into another key"},
		{Name: "zrank", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: ranker(data.Ascending, "zrank"),
			Group: group, Since: "2.0.0", Complexity: rankCost, Summary: "Determine the index of a member in a sorted set"},
		{Name: "zrem", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: zrem,
			Group: group, Since: "1.2.0", Complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.", Summary: "Remove one or more members from a sorted set"},
		{Name: "zremrangebylex", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, Step: 1, Handler: rangeRemover(byLex),
			Group: group, Since: "2.8.9", Complexity: ranged, Summary: "Remove all members in a sorted set between the given lexicographical range"},
		{Name: "zremrangebyrank", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, Step: 1, Handler: rangeRemover(byRank),
			Group: group, Since: "2.0.0", Complexity: rankedCost, Summary: "Remove all members in a sorted set within the given indexes"},
		{Name: "zremrangebyscore", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, Step: 1, Handler: rangeRemover(byScore),
			Group: group, Since: "1.2.0", Complexity: ranged, Summary: "Remove all members in a sorted set within the given scores"},
		{Name: "zrevrange", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: ranger(rangeForm{order: data.Descending, fixed: true}),
			Group: group, Since: "1.2.0", Complexity: rankedCost, Summary: "Return a range of members in a sorted set, by index, with scores ordered from high to low"},
		{Name: "zrevrangebylex", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: ranger(rangeForm{by: byLex, order: data.Descending, fixed: true}),
			Group: group, Since: "2.8.9", Complexity: ranged, Summary: "Return a range of members in a sorted set, by lexicographical range, ordered from higher to lower strings."},
		{Name: "zrevrangebyscore", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: ranger(rangeForm{by: byScore, order: data.Descending, fixed: true}),
			Group: group, Since: "2.2.0", Complexity: ranged, Summary: "Return a range of members in a sorted set, by score, with scores ordered from high to low"},
		{Name: "zrevrank", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: ranker(data.Descending, "zrevrank"),
			Group: group, Since: "2.0.0", Complexity: rankCost, Summary: "Determine the index of a member in a sorted set, with scores ordered from high to low"},
		{Name: "zscan", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: zscan,
			Group: group, Since: "2.8.0", Complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", Summary: "Incrementally iterate sorted sets elements and associated scores"},
		{Name: "zscore", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: zscore,
			Group: group, Since: "1.2.0", Complexity: "O(1)", Summary: "Get the score associated with the given member in a sorted set"},
		{Name: "zunion", Arity: -3, Flags: ReadOnly | Movable, Count: 1, Handler: zcombine(scoredUnion),
			Group: group, Since: "6.2.0", Complexity: store, Summary: "Add multiple sorted sets"},
		{Name: "zunionstore", Arity: -4, Flags: Write | DenyOOM | Movable, FirstKey: 1, LastKey: 1, Step: 1, Count: 2, Handler: zcombineStore(scoredUnion),
			Group: group, Since: "2.0.0", Complexity: store, Summary: "Add multiple sorted sets and store the resulting sorted set in a new key"},
	}
}

// What Redis finds in logarithmic time, having counters in its tree: there are none here, and ranks are counted.
const (
	rankCost   = "O(N) where N is the number of members between the member and the nearer end."
	rankedCost = "O(N+M) where N is the number of members between the range and the nearer end and M the number of elements in the range. By score and lex O(log(N)+M) with N being the number of elements in the sorted set."
)

// openSortedSet loads the sorted set at a key, or replies with an error if the key holds another type. A missing key is an empty one.
func (c *Context) openSortedSet(user []byte) (data.SortedSet, bool) {
	z, ok := c.Tx.OpenSortedSet(user)
	if !ok {
		c.Out.Error(errWrongType)
	}
	return z, ok
}

// addOptions is the options of ZADD.
type addOptions struct {
	nx, xx, gt, lt bool
	ch             bool // the reply counts members with a new score, too
	incr           bool // the score is added, and replied
}

func zadd(c *Context)    { c.addScored(addOptions{}) }
func zincrby(c *Context) { c.addScored(addOptions{incr: true}) }

// addScored carries out ZADD and ZINCRBY.
func (c *Context) addScored(o addOptions) {
	first := c.parseAddOptions(&o)
	pairs := c.Args[first:]
	if problem := o.problem(len(pairs)); problem != "" {
		c.Out.Error(problem)
		return
	}
	scores := make([]float64, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		score, ok := parseScore(pairs[i])
		if !ok {
			c.Out.Error(errNotFloat)
			return
		}
		scores = append(scores, score)
	}
	z, ok := c.openSortedSet(c.Args[1])
	if !ok || c.elementTooLong(first+1, 2) {
		return
	}
	added, changed, last := int64(0), int64(0), data.Scored{}
	for i, score := range scores {
		member := pairs[2*i+1]
		was := z.Look(member)
		if last = o.apply(was, score); !last.Found {
			continue
		}
		if math.IsNaN(last.Score) {
			c.Out.Error(errScoreNaN) // with INCR only, and then of the only pair
			return
		}
		switch {
		case !was.Found:
			added++
		case was.Score != last.Score:
			changed++
		}
		z.Put(member, last.Score, was)
	}
	z.Save()
	switch {
	case o.incr && last.Found:
		c.Out.Double(last.Score)
	case o.incr:
		c.Out.Null()
	case o.ch:
		c.Out.Int(added + changed)
	default:
		c.Out.Int(added)
	}
}

// parseAddOptions reads the options before the scores, and returns where those begin.
func (c *Context) parseAddOptions(o *addOptions) (first int) {
	for first = 2; first < len(c.Args); first++ {
		switch strings.ToLower(string(c.Args[first])) {
		case "nx":
			o.nx = true
		case "xx":
			o.xx = true
		case "gt":
			o.gt = true
		case "lt":
			o.lt = true
		case "ch":
			o.ch = true
		case "incr":
			o.incr = true
		default:
			return first
		}
	}
	return first
}

// problem is the error that options and the number of arguments behind them make, or "".
func (o *addOptions) problem(args int) string {
	switch {
	case args%2 != 0 || args == 0:
		return errSyntax
	case o.nx && o.xx:
		return errAddNXXX
	case o.gt && o.nx || o.lt && o.nx || o.gt && o.lt:
		return errAddGTLT
	case o.incr && args > 2:
		return errAddIncr
	}
	return ""
}

// apply returns the score that a member is to have, which may be NaN; without Found the member stays what it is.
func (o *addOptions) apply(was data.Scored, score float64) data.Scored {
	switch {
	case !was.Found:
		return data.Scored{Score: score, Found: !o.xx}
	case o.nx:
		return data.Scored{}
	}
	if o.incr {
		score += was.Score
	}
	if o.lt && score >= was.Score || o.gt && score <= was.Score {
		return data.Scored{}
	}
	return data.Scored{Score: score, Found: true}
}

func zcard(c *Context) {
	if z, ok := c.openSortedSet(c.Args[1]); ok {
		c.Out.Int(int64(z.Len()))
	}
}

func zscore(c *Context) {
	if z, ok := c.openSortedSet(c.Args[1]); ok {
		c.replyScore(z.Look(c.Args[2]))
	}
}

// replyScore replies with a score, or nil if there is none.
func (c *Context) replyScore(s data.Scored) {
	if s.Found {
		c.Out.Double(s.Score)
	} else {
		c.Out.Null()
	}
}

func zmscore(c *Context) {
	z, ok := c.openSortedSet(c.Args[1])
	if !ok {
		return
	}
	c.Out.Array(len(c.Args) - 2)
	for _, m := range c.Args[2:] {
		c.replyScore(z.Look(m))
	}
}

func zrem(c *Context) {
	z, ok := c.openSortedSet(c.Args[1])
	if !ok {
		return
	}
	n := int64(0)
	for _, m := range c.Args[2:] {
		if z.Delete(m) {
			n++
		}
	}
	z.Save()
	c.Out.Int(n)
}

// ranker makes the handler of ZRANK or ZREVRANK.
func ranker(o data.Order, name string) Handler {
	return func(c *Context) {
		withScore := len(c.Args) > 3
		switch {
		case len(c.Args) > 4:
			c.Out.Error(errArity(name))
			return
		case withScore && !strings.EqualFold(string(c.Args[3]), "withscore"):
			c.Out.Error(errSyntax)
			return
		}
		z, ok := c.openSortedSet(c.Args[1])
		if !ok {
			return
		}
		s := z.Look(c.Args[2])
		switch {
		case !s.Found && withScore:
			c.Out.NullArray()
			return
		case !s.Found:
			c.Out.Null()
			return
		}
		rank := int64(z.Rank(c.Args[2], s.Score))
		if o == data.Descending {
			rank = int64(z.Len()) - 1 - rank
		}
		if withScore {
			c.Out.Array(2)
		}
		c.Out.Int(rank)
		if withScore {
			c.Out.Double(s.Score)
		}
	}
}

func zscan(c *Context) { c.scanMembers(data.ZSet, fields|values) }

func zrandmember(c *Context) {
	if len(c.Args) > 2 {
		c.randomMembers("withscores", data.ZSet)
		return
	}
	if z, ok := c.openSortedSet(c.Args[1]); ok {
		c.replyRandom(&z.Collection)
	}
}

// scoredMember is a member of a sorted set with its score, or of the result of a command on such.
type scoredMember struct {
	member []byte
	score  float64
}

// scoredList collects members for a reply whose length comes first, with or without their scores. In version 3 of the protocol a member
// and its score are a pair, and in version 2 they follow one another.
type scoredList struct {
	n      int
	scores bool
	out    resp.Writer
}

// scoredList returns an empty list for a reply.
func (c *Context) scoredList(scores bool) *scoredList {
	l := &scoredList{scores: scores}
	l.out.SetVersion(c.Out.Version())
	return l
}

func (l *scoredList) add(member []byte, score float64) {
	l.n++
	if l.scores && l.out.Version() == resp.V3 {
		l.out.Array(2)
	}
	l.out.Bulk(member)
	if l.scores {
		l.out.Double(score)
	}
}

// full reports whether the list is too large for a reply: nothing need be added.
func (l *scoredList) full(c *Context) bool { return l.out.Len() > c.replyLimit() }

// reply writes the list as an array, or an error if it is too large.
func (l *scoredList) reply(c *Context) {
	if l.full(c) {
		c.Out.Error(errReplyTooBig)
		return
	}
	if l.scores && l.out.Version() == resp.V2 {
		c.Out.Array(2 * l.n)
	} else {
		c.Out.Array(l.n)
	}
	c.Out.Raw(l.out.Bytes())
}

// popForm is how a pop replies.
type popForm uint8

const (
	popPlain popForm = iota // members and scores in turn
	popPairs                // pairs of member and score
	popKeyed                // as popPlain, behind the key
	popNamed                // the key, and pairs
)

// popScored makes the handler of ZPOPMIN or ZPOPMAX.
func popScored(o data.Order) Handler {
	return func(c *Context) {
		if len(c.Args) > 3 {
			c.Out.Error(errSyntax)
			return
		}
		count, form := uint64(1), popPlain
		if len(c.Args) == 3 {
			n, ok := parseInt(c.Args[2])
			if !ok || n < 0 {
				c.Out.Error(errNotPositive)
				return
			}
			count = uint64(n)
			if c.Out.Version() == resp.V3 {
				form = popPairs
			}
		}
		z, ok := c.openSortedSet(c.Args[1])
		if !ok {
			return
		}
		c.popMembersOf(&z, scoredPop{order: o, count: count, form: form})
	}
}

// scoredPop is a request to pop members from the first of some sorted sets that there is.
type scoredPop struct {
	users [][]byte
	order data.Order
	count uint64
	form  popForm
}

// popMembersOf replies with members popped from a sorted set, or with an error if they are too many for a reply, and then leaves them.
func (c *Context) popMembersOf(z *data.SortedSet, p scoredPop) {
	start, n := c.Out.Len(), min(p.count, z.Len())
	pairs := p.form == popPairs || p.form == popNamed
	switch p.form {
	case popPlain:
		c.Out.Array(2 * int(n))
	case popPairs:
		c.Out.Array(int(n))
	case popKeyed:
		c.Out.Array(1 + 2*int(n))
		c.Out.Bulk(z.Key)
	case popNamed:
		c.Out.Array(2)
		c.Out.Bulk(z.Key)
		c.Out.Array(int(n))
	}
	var popped []scoredMember
	tooBig := false
	z.WalkRanks(p.order, 0, n, func(member []byte, score float64) bool {
		if pairs {
			c.Out.Array(2)
		}
		c.Out.Bulk(member)
		c.Out.Double(score)
		if n < z.Len() {
			popped = append(popped, scoredMember{bytes.Clone(member), score})
		}
		tooBig = c.tooBig(start)
		return !tooBig
	})
	switch {
	case tooBig:
	case n == z.Len():
		c.Tx.Remove(&z.Entry)
	default:
		for _, m := range popped {
			z.Take(m.member, m.score)
		}
		z.Save()
	}
}

// popScoredFrom replies with members popped from the sorted set at a key, or with an error. It reports false, and has not replied, if
// there is none.
func (c *Context) popScoredFrom(user []byte, p scoredPop) (done bool) {
	z, ok := c.openSortedSet(user)
	if !ok {
		return true
	}
	if !z.Found {
		return false
	}
	c.popMembersOf(&z, p)
	return true
}

func zmpop(c *Context) {
	p, ok := c.parseScoredPop(1)
	if !ok {
		return
	}
	c.popFirst(p.users, func(user []byte) bool { return c.popScoredFrom(user, p) })
}

// parseScoredPop reads the arguments of ZMPOP and BZMPOP from the number of keys on, or replies with an error.
func (c *Context) parseScoredPop(at int) (p scoredPop, ok bool) {
	users, rest, ok := c.parsePopKeys(at)
	if !ok {
		return p, false
	}
	p.users, p.form = users, popNamed
	switch strings.ToLower(string(rest[0])) {
	case "min":
		p.order = data.Ascending
	case "max":
		p.order = data.Descending
	default:
		c.Out.Error(errSyntax)
		return p, false
	}
	p.count, ok = c.parsePopCount(rest[1:])
	return p, ok
}
