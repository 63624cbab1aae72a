package command

import (
	"bytes"

	"godwit/engine/data"
)

func setSpecs() []*Spec {
	const group = "set"
	return []*Spec{
		{Name: "sadd", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: sadd,
			Group: group, Since: "1.0.0", Complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", Summary: "Add one or more members to a set"},
		{Name: "scard", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: scard,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Get the number of members in a set"},
		{Name: "sdiff", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, Step: 1, Handler: sdiff,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the total number of elements in all given sets.", Summary: "Subtract multiple sets"},
		{Name: "sdiffstore", Arity: -3, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: -1, Step: 1, Handler: sdiffstore,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the total number of elements in all given sets.", Summary: "Subtract multiple sets and store the resulting set in a key"},
		{Name: "sinter", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, Step: 1, Handler: sinter,
			Group: group, Since: "1.0.0", Complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", Summary: "Intersect multiple sets"},
		{Name: "sintercard", Arity: -3, Flags: ReadOnly | Movable, Count: 1, Handler: sintercard,
			Group: group, Since: "7.0.0", Complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", Summary: "Intersect multiple sets and return the cardinality of the result"},
		{Name: "sinterstore", Arity: -3, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: -1, Step: 1, Handler: sinterstore,
			Group: group, Since: "1.0.0", Complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", Summary: "Intersect multiple sets and store the resulting set in a key"},
		{Name: "sismember", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: sismember,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Determine if a given value is a member of a set"},
		{Name: "smembers", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: smembers,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the set cardinality.", Summary: "Get all the members in a set"},
		{Name: "smismember", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: smismember,
			Group: group, Since: "6.2.0", Complexity: "O(N) where N is the number of elements being checked for membership.", Summary: "Returns the membership associated with the given elements for a set"},
		{Name: "smove", Arity: 4, Flags: Write | Fast | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: smove,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Move a member from one set to another"},
		{Name: "spop", Arity: -2, Flags: Write | Fast | Random, FirstKey: 1, LastKey: 1, Step: 1, Handler: spop,
			Group: group, Since: "1.0.0", Complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.", Summary: "Remove and return one or multiple random members from a set"},
		{Name: "srandmember", Arity: -2, Flags: ReadOnly | Random, FirstKey: 1, LastKey: 1, Step: 1, Handler: srandmember,
			Group: group, Since: "1.0.0", Complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.", Summary: "Get one or multiple random members from a set"},
		{Name: "srem", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: srem,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of members to be removed.", Summary: "Remove one or more members from a set"},
		{Name: "sscan", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: sscan,
			Group: group, Since: "2.8.0", Complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", Summary: "Incrementally iterate Set elements"},
		{Name: "sunion", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, Step: 1, Handler: sunion,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the total number of elements in all given sets.", Summary: "Add multiple sets"},
		{Name: "sunionstore", Arity: -3, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: -1, Step: 1, Handler: sunionstore,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the total number of elements in all given sets.", Summary: "Add multiple sets and store the resulting set in a key"},
	}
}

func (c *Context) openSet() (data.Collection, bool) { return c.open(c.Args[1], data.Set) }

func sadd(c *Context) {
	s, ok := c.openSet()
	if !ok || c.elementTooLong(2, 1) {
		return
	}
	added := int64(0)
	for _, m := range c.Args[2:] {
		if s.Add(m) {
			added++
		}
	}
	s.Save()
	c.Out.Int(added)
}

func srem(c *Context) {
	if s, ok := c.openSet(); ok {
		c.deleteMembers(&s)
	}
}

func scard(c *Context) {
	if s, ok := c.openSet(); ok {
		c.Out.Int(int64(s.Len()))
	}
}

func sismember(c *Context) {
	if s, ok := c.openSet(); ok {
		c.replyHas(&s, c.Args[2])
	}
}

func smismember(c *Context) {
	s, ok := c.openSet()
	if !ok {
		return
	}
	c.Out.Array(len(c.Args) - 2)
	for _, m := range c.Args[2:] {
		c.replyHas(&s, m)
	}
}

func smembers(c *Context) {
	s, ok := c.openSet()
	if !ok {
		return
	}
	start := c.Out.Len()
	c.Out.Set(int(s.Len()))
	s.Each(func(member, _ []byte) bool {
		c.Out.Bulk(member)
		return !c.tooBig(start)
	})
}

func sscan(c *Context) { c.scanMembers(data.Set, fields) }

func smove(c *Context) {
	src, ok := c.Tx.Open(c.Args[1], data.Set)
	if !src.Found {
		c.Out.Int(0) // whatever the destination is
		return
	}
	if !ok {
		c.Out.Error(errWrongType)
		return
	}
	if bytes.Equal(c.Args[1], c.Args[2]) {
		c.replyHas(&src, c.Args[3])
		return
	}
	dst, ok := c.open(c.Args[2], data.Set)
	if !ok {
		return
	}
	if !src.Delete(c.Args[3]) {
		c.Out.Int(0)
		return
	}
	dst.Add(c.Args[3])
	src.Save()
	dst.Save()
	c.Out.Int(1)
}

func spop(c *Context) {
	if len(c.Args) > 2 {
		c.popMembers()
		return
	}
	s, ok := c.openSet()
	if !ok {
		return
	}
	if s.Len() == 0 {
		c.Out.Null()
		return
	}
	c.Out.Bulk(s.Pop(c.Rand))
	s.Save()
}

// popMembers carries out SPOP with a count.
func (c *Context) popMembers() {
	if len(c.Args) > 3 {
		c.Out.Error(errSyntax)
		return
	}
	count, ok := parseInt(c.Args[2])
	if !ok || count < 0 {
		c.Out.Error(errNotPositive)
		return
	}
	s, ok := c.openSet()
	if !ok {
		return
	}
	n := min(uint64(count), s.Len())
	if c.tooManyDraws(n) {
		return
	}
	var popped [][]byte
	size := 0
	s.Sample(n, c.Rand, func(member, _ []byte) bool {
		popped = append(popped, bytes.Clone(member))
		size += minBulk + len(member)
		return size <= c.replyLimit()
	})
	if size > c.replyLimit() {
		c.Out.Error(errReplyTooBig)
		return
	}
	c.Out.Set(len(popped))
	for _, m := range popped {
		c.Out.Bulk(m)
	}
	if n == s.Len() {
		c.Tx.Remove(&s.Entry)
		return
	}
	for _, m := range popped {
		s.Take(m)
	}
	s.Save()
}

func srandmember(c *Context) {
	if len(c.Args) > 3 {
		c.Out.Error(errSyntax)
		return
	}
	if len(c.Args) == 2 {
		if s, ok := c.openSet(); ok {
			c.replyRandom(&s)
		}
		return
	}
	count, ok := c.parseDraws(c.Args[2])
	if !ok {
		return
	}
	if s, ok := c.openSet(); ok {
		c.replyDraws(&s, count, fields)
	}
}
