package command

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"godwit/engine/data"
)

// rangeBy says what a range of a sorted set is given by.
type rangeBy uint8

const (
	byRank rangeBy = iota
	byScore
	byLex
)

// rangeForm is how a range is read: what the command says, and what its options add.
type rangeForm struct {
	by    rangeBy
	order data.Order
	fixed bool // BYSCORE, BYLEX and REV are no options of the command
	store bool // nor is WITHSCORES

	withScores bool
	limited    bool
	offset     int64
	limit      int64 // negative for all
}

// memberRange is a range of a sorted set as a request gives it: low before high, whatever the order.
type memberRange struct {
	by              rangeBy
	from, to        int64           // ranks
	low, high       data.ScoreBound // scores
	lowLex, highLex data.LexBound   // members
}

// ranger makes the handler of ZRANGE or one of its older forms.
func ranger(form rangeForm) Handler {
	return func(c *Context) {
		f, r, ok := c.parseRangeRequest(form, 2)
		if !ok {
			return
		}
		z, ok := c.openSortedSet(c.Args[1])
		if !ok {
			return
		}
		found := c.scoredList(f.withScores)
		f.walk(&z, &r, func(member []byte, score float64) bool {
			found.add(member, score)
			return !found.full(c)
		})
		found.reply(c)
	}
}

func zrangestore(c *Context) {
	f, r, ok := c.parseRangeRequest(rangeForm{store: true}, 3)
	if !ok {
		return
	}
	z, ok := c.openSortedSet(c.Args[2])
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	dst := c.Tx.ReplaceSortedSet(&e)
	f.walk(&z, &r, func(member []byte, score float64) bool {
		dst.Fill(member, score)
		return c.Tx.Err() == nil
	})
	dst.Save()
	c.Out.Int(int64(dst.Len()))
}

// parseRangeRequest reads a range, whose bounds stand at a position of the request, and the options behind it, or replies with an error.
func (c *Context) parseRangeRequest(f rangeForm, at int) (_ rangeForm, r memberRange, ok bool) {
	if problem := f.parseOptions(c.Args[at+2:]); problem != "" {
		c.Out.Error(problem)
		return f, r, false
	}
	low, high := c.Args[at], c.Args[at+1]
	if f.order == data.Descending && f.by != byRank {
		low, high = high, low
	}
	r, ok = c.parseMemberRange(f.by, low, high)
	return f, r, ok
}

// parseOptions reads the options behind a range and returns an error, or "".
func (f *rangeForm) parseOptions(args [][]byte) (problem string) {
	f.limit = -1
	by, anyBy := f.by, !f.fixed
	anyOrder := !f.fixed
	for ; len(args) > 0; args = args[1:] {
		switch name := strings.ToLower(string(args[0])); {
		case name == "withscores" && !f.store:
			f.withScores = true
		case name == "limit" && len(args) > 2:
			var ok bool
			if f.offset, ok = parseInt(args[1]); ok {
				f.limit, ok = parseInt(args[2])
			}
			if !ok {
				return errNotInteger
			}
			f.limited = f.limit != -1
			args = args[2:]
		case name == "rev" && anyOrder:
			f.order, anyOrder = data.Descending, false
		case name == "bylex" && anyBy:
			by, anyBy = byLex, false
		case name == "byscore" && anyBy:
			by, anyBy = byScore, false
		default:
			return errSyntax
		}
	}
	f.by = by
	switch {
	case f.limited && f.by == byRank:
		return errRankLimit
	case f.withScores && f.by == byLex:
		return errLexScores
	}
	return ""
}

// parseMemberRange reads the bounds of a range, or replies with an error.
func (c *Context) parseMemberRange(by rangeBy, low, high []byte) (r memberRange, ok bool) {
	r.by = by
	switch by {
	case byRank:
		r.from, r.to, ok = c.parseRange(low, high)
	case byScore:
		if r.low, ok = parseScoreBound(low); ok {
			r.high, ok = parseScoreBound(high)
		}
		if !ok {
			c.Out.Error(errScoreRange)
		}
	case byLex:
		if r.lowLex, ok = parseLexBound(low); ok {
			r.highLex, ok = parseLexBound(high)
		}
		if !ok {
			c.Out.Error(errLexRange)
		}
	}
	return r, ok
}

// walk visits the members of a range in the order and within the limit of the form.
func (f *rangeForm) walk(z *data.SortedSet, r *memberRange, visit func(member []byte, score float64) bool) {
	if f.by == byRank {
		first, n := clampRange(r.from, r.to, z.Len())
		z.WalkRanks(f.order, first, n, visit)
		return
	}
	skip, left := f.offset, f.limit
	if skip < 0 || left == 0 {
		return
	}
	z.Walk(r.members(z), f.order, func(member []byte, score float64) bool {
		if skip > 0 {
			skip--
			return true
		}
		left-- // a negative limit does not reach 0
		return visit(member, score) && left != 0
	})
}

// members is the range of scores or of members in a sorted set.
func (r *memberRange) members(z *data.SortedSet) data.Range {
	if r.by == byLex {
		return z.LexRange(r.lowLex, r.highLex)
	}
	return data.ScoreRange(r.low, r.high)
}

func zcount(c *Context)    { c.countRange(byScore) }
func zlexcount(c *Context) { c.countRange(byLex) }

// countRange carries out ZCOUNT and ZLEXCOUNT.
func (c *Context) countRange(by rangeBy) {
	r, ok := c.parseMemberRange(by, c.Args[2], c.Args[3])
	if !ok {
		return
	}
	z, ok := c.openSortedSet(c.Args[1])
	if !ok {
		return
	}
	n := int64(0)
	z.Walk(r.members(&z), data.Ascending, func([]byte, float64) bool {
		n++
		return true
	})
	c.Out.Int(n)
}

// rangeRemover makes the handler of one of ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.
func rangeRemover(by rangeBy) Handler {
	return func(c *Context) {
		r, ok := c.parseMemberRange(by, c.Args[2], c.Args[3])
		if !ok {
			return
		}
		z, ok := c.openSortedSet(c.Args[1])
		if !ok {
			return
		}
		before := z.Len()
		take := func(member []byte, score float64) bool {
			z.Take(member, score)
			return c.Tx.Err() == nil
		}
		switch first, n := clampRange(r.from, r.to, before); {
		case by != byRank:
			z.Walk(r.members(&z), data.Ascending, take)
		case n == before:
			c.Tx.Remove(&z.Entry)
			c.Out.Int(int64(n))
			return
		default:
			z.WalkRanks(data.Ascending, first, n, take)
		}
		z.Save()
		c.Out.Int(int64(before - z.Len()))
	}
}

// parseScore reads a score as strtod does: a decimal or hexadecimal number or an infinity, and no number that is too large or too small for
// a float64.
func parseScore(b []byte) (score float64, ok bool) {
	if len(b) <= 64 && len(bytes.Trim(b, "0123456789.+-")) == 0 { // the usual: it can be neither
		score, err := strconv.ParseFloat(string(b), 64)
		return score, err == nil
	}
	f, kind := parseFloat(b)
	switch kind {
	case notFloat:
		return 0, false
	case infinite:
		return math.Inf(1 - 2*bytes.Count(b[:1], []byte("-"))), true
	case finite:
	}
	if score, err := strconv.ParseFloat(string(b), 64); err == nil {
		return score, score != 0 || f.Sign() == 0
	}
	score, _ = f.Float64() // hexadecimal without an exponent, or too large
	return score, !math.IsInf(score, 0) && (score != 0 || f.Sign() == 0)
}

// parseScoreBound reads an end of a range of scores. In Redis, which does not look how far strtod got from the start, nothing is zero, spaces
// may come first, and what is too large is infinite.
func parseScoreBound(b []byte) (bound data.ScoreBound, ok bool) {
	if bound.Exclusive = len(b) > 0 && b[0] == '('; bound.Exclusive {
		b = b[1:]
	}
	if len(b) == 0 {
		return bound, true
	}
	b = bytes.TrimLeft(b, " \t\n\v\f\r")
	if bound.Score, ok = parseScore(b); ok {
		return bound, true
	}
	score, err := strconv.ParseFloat(string(b), 64)
	if math.IsInf(score, 0) && err != nil {
		bound.Score, ok = score, true
	}
	return bound, ok
}

// parseLexBound reads an end of a range of members.
func parseLexBound(b []byte) (bound data.LexBound, ok bool) {
	switch {
	case len(b) == 1 && b[0] == '-':
		return data.LexBound{Infinite: -1}, true
	case len(b) == 1 && b[0] == '+':
		return data.LexBound{Infinite: 1}, true
	case len(b) > 0 && (b[0] == '[' || b[0] == '('):
		return data.LexBound{Member: b[1:], Exclusive: b[0] == '('}, true
	}
	return bound, false
}
