package command

import (
	"math"
	"strings"

	"godwit/engine/data"
	"godwit/engine/resp"
)

// maxReplyBytes bounds one reply. A collection may be larger than what a client wants to have in one piece and than what the
// node has memory for; it is read in parts by HSCAN, SSCAN, ZSCAN and LRANGE.
const maxReplyBytes = 1 << 30

// replyLimit is maxReplyBytes, or what a test has put in its place.
func (c *Context) replyLimit() int {
	if c.lowReplyLimit > 0 {
		return c.lowReplyLimit
	}
	return maxReplyBytes
}

// tooBig replies with an error, in the place of the reply begun at start, if that has become too large.
func (c *Context) tooBig(start int) bool {
	if c.Out.Len()-start <= c.replyLimit() {
		return false
	}
	c.Out.Truncate(start)
	c.Out.Error(errReplyTooBig)
	return true
}

// open loads the collection at a key, or replies with an error if the key holds another type. A missing key is an empty one.
func (c *Context) open(user []byte, typ data.Type) (data.Collection, bool) {
	col, ok := c.Tx.Open(user, typ)
	if !ok {
		c.Out.Error(errWrongType)
	}
	return col, ok
}

// elementTooLong replies with an error if one of the arguments from a position on, every so many, cannot be an element.
func (c *Context) elementTooLong(from, step int) bool {
	for i := from; i < len(c.Args); i += step {
		if len(c.Args[i]) > data.MaxElement {
			c.Out.Error(errElementTooLong)
			return true
		}
	}
	return false
}

// bulkList collects bulk strings for a reply whose length comes first.
type bulkList struct {
	n     int
	bulks resp.Writer
}

func (l *bulkList) add(b []byte) {
	l.n++
	l.bulks.Bulk(b)
}

// addValue adds the value of a member: of a sorted set the score, as a string in both versions of the protocol.
func (l *bulkList) addValue(col *data.Collection, value []byte) {
	l.n++
	writeValue(&l.bulks, col, value)
}

// writeValue writes the value of a member: of a sorted set the score.
func writeValue(out *resp.Writer, col *data.Collection, value []byte) {
	if col.Type == data.ZSet {
		out.Double(col.ScoreOf(value))
	} else {
		out.Bulk(value)
	}
}

// reply writes the list behind the header that open writes (Array or Set of the Writer), or, if it is too large, an error, and then
// reports false.
func (l *bulkList) reply(c *Context, open func(n int)) bool {
	if l.full(c) {
		c.Out.Error(errReplyTooBig)
		return false
	}
	open(l.n)
	c.Out.Raw(l.bulks.Bytes())
	return true
}

// full reports whether the list is too large for a reply: nothing need be added.
func (l *bulkList) full(c *Context) bool { return l.bulks.Len() > c.replyLimit() }

// parseDraws reads the count of HRANDFIELD, SRANDMEMBER and ZRANDMEMBER: how many different members, or, if negative, how many
// draws. It replies with an error if it is none, or more than a reply can hold.
func (c *Context) parseDraws(arg []byte) (count int64, ok bool) {
	count, ok = parseInt(arg)
	switch {
	case !ok:
		c.Out.Error(errNotInteger)
	case count == math.MinInt64:
		c.Out.Error(errNotLong)
	default:
		return count, true
	}
	return 0, false
}

// minBulk is the size of the smallest bulk string in a reply, in bytes.
const minBulk = len("$0\r\n\r\n")

// tooManyDraws replies with an error if a reply cannot hold so many members.
func (c *Context) tooManyDraws(n uint64) bool {
	if n <= uint64(c.replyLimit()/minBulk) {
		return false
	}
	c.Out.Error(errReplyTooBig)
	return true
}

// deleteMembers carries out HDEL and SREM.
func (c *Context) deleteMembers(col *data.Collection) {
	n := int64(0)
	for _, m := range c.Args[2:] {
		if col.Delete(m) {
			n++
		}
	}
	col.Save()
	c.Out.Int(n)
}

// replyHas replies with 1 if a collection has a member, and otherwise with 0.
func (c *Context) replyHas(col *data.Collection, member []byte) {
	if col.Has(member) {
		c.Out.Int(1)
	} else {
		c.Out.Int(0)
	}
}

// scanMembers carries out HSCAN, SSCAN and ZSCAN. Options are not even looked at if there is no such key, as in Redis.
func (c *Context) scanMembers(typ data.Type, show hashPart) {
	cursor, ok := parseCursor(c.Args[2])
	if !ok {
		c.Out.Error(errCursor)
		return
	}
	col, ok := c.open(c.Args[1], typ)
	if !ok {
		return
	}
	var found bulkList
	if !col.Found {
		c.replyScan(0, &found)
		return
	}
	o, ok := c.parseScanOptions(c.Args[3:], withoutType)
	if !ok {
		return
	}
	next := col.Scan(cursor, o.count, func(member, value []byte) {
		if found.full(c) || !o.any && !MatchGlob(o.pattern, member, false) {
			return
		}
		found.add(member)
		if show&values != 0 {
			found.addValue(&col, value)
		}
	})
	c.replyScan(next, &found)
}

// replyRandom replies with a random member, nil if there is none.
func (c *Context) replyRandom(col *data.Collection) {
	if col.Len() == 0 {
		c.Out.Null()
		return
	}
	col.Random(c.Rand, func(member, _ []byte) { c.Out.Bulk(member) })
}

// replyDraws replies with count different random members, or with -count draws. With their values they are pairs in version 3 of the
// protocol, and follow one another in version 2.
func (c *Context) replyDraws(col *data.Collection, count int64, show hashPart) {
	n, draw := uint64(-count), col.Draws
	switch {
	case col.Len() == 0:
		n = 0
	case count >= 0:
		n, draw = min(uint64(count), col.Len()), col.Sample
	}
	if c.tooManyDraws(n) {
		return
	}
	start := c.Out.Len()
	pairs := show&values != 0
	if pairs && c.Out.Version() == resp.V2 {
		c.Out.Array(2 * int(n))
	} else {
		c.Out.Array(int(n))
	}
	draw(n, c.Rand, func(member, value []byte) bool {
		if pairs && c.Out.Version() == resp.V3 {
			c.Out.Array(2)
		}
		c.Out.Bulk(member)
		if pairs {
			writeValue(c.Out, col, value)
		}
		return !c.tooBig(start)
	})
}

// randomMembers carries out HRANDFIELD and ZRANDMEMBER with a count; the option by which the values are shown, too, is the command's.
func (c *Context) randomMembers(option string, typ data.Type) {
	count, ok := c.parseDraws(c.Args[2])
	if !ok {
		return
	}
	show := fields
	if len(c.Args) > 3 {
		if len(c.Args) > 4 || !strings.EqualFold(string(c.Args[3]), option) {
			c.Out.Error(errSyntax)
			return
		}
		if count > math.MaxInt64/2 || count < -math.MaxInt64/2 {
			c.Out.Error(errOutOfRange)
			return
		}
		show |= values
	}
	if col, ok := c.open(c.Args[1], typ); ok {
		c.replyDraws(&col, count, show)
	}
}
