package command

import (
	"math"
	"math/big"
	"strconv"

	"godwit/engine/data"
)

func hashSpecs() []*Spec {
	const group = "hash"
	return []*Spec{
		{Name: "hdel", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hdel,
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the number of fields to be removed.", Summary: "Delete one or more hash fields"},
		{Name: "hexists", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hexists,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Determine if a hash field exists"},
		{Name: "hget", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hget,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Get the value of a hash field"},
		{Name: "hgetall", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: hashReader(fields | values),
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the size of the hash.", Summary: "Get all the fields and values in a hash"},
		{Name: "hincrby", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hincrby,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Increment the integer value of a hash field by the given number"},
		{Name: "hincrbyfloat", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hincrbyfloat,
			Group: group, Since: "2.6.0", Complexity: "O(1)", Summary: "Increment the float value of a hash field by the given amount"},
		{Name: "hkeys", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: hashReader(fields),
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the size of the hash.", Summary: "Get all the fields in a hash"},
		{Name: "hlen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: hlen,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Get the number of fields in a hash"},
		{Name: "hmget", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hmget,
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the number of fields being requested.", Summary: "Get the values of all the given hash fields"},
		{Name: "hmset", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hmset,
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the number of fields being set.", Summary: "Set multiple hash fields to multiple values"},
		{Name: "hrandfield", Arity: -2, Flags: ReadOnly | Random, FirstKey: 1, LastKey: 1, Step: 1, Handler: hrandfield,
			Group: group, Since: "6.2.0", Complexity: "O(N) where N is the number of fields returned.", Summary: "Get one or multiple random fields from a hash"},
		{Name: "hscan", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: hscan,
			Group: group, Since: "2.8.0", Complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", Summary: "Incrementally iterate hash fields and associated values"},
		{Name: "hset", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hset,
			Group: group, Since: "2.0.0", Complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.", Summary: "Set the string value of a hash field"},
		{Name: "hsetnx", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hsetnx,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Set the value of a hash field, only if the field does not exist"},
		{Name: "hstrlen", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Member: 2, Handler: hstrlen,
			Group: group, Since: "3.2.0", Complexity: "O(1)", Summary: "Get the length of the value of a hash field"},
		{Name: "hvals", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: hashReader(values),
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the size of the hash.", Summary: "Get all the values in a hash"},
	}
}

func (c *Context) openHash() (data.Collection, bool) { return c.open(c.Args[1], data.Hash) }

func hset(c *Context) {
	if added, ok := c.setFields("hset"); ok {
		c.Out.Int(added)
	}
}

func hmset(c *Context) {
	if _, ok := c.setFields("hmset"); ok {
		c.Out.OK()
	}
}

// setFields carries out HSET and HMSET.
func (c *Context) setFields(command string) (added int64, ok bool) {
	if len(c.Args)%2 != 0 {
		c.Out.Error(errArity(command))
		return 0, false
	}
	h, ok := c.openHash()
	if !ok || c.elementTooLong(2, 2) {
		return 0, false
	}
	for i := 2; i < len(c.Args); i += 2 {
		if h.Put(c.Args[i], c.Args[i+1]) {
			added++
		}
	}
	h.Save()
	return added, true
}

func hsetnx(c *Context) {
	h, ok := c.openHash()
	if !ok || c.elementTooLong(2, 2) {
		return
	}
	if h.Has(c.Args[2]) {
		c.Out.Int(0)
		return
	}
	h.Fill(c.Args[2], c.Args[3])
	h.Save()
	c.Out.Int(1)
}

func hget(c *Context) {
	h, ok := c.openHash()
	if !ok {
		return
	}
	c.replyField(&h, c.Args[2])
}

// replyField replies with the value of a field, or nil if there is none.
func (c *Context) replyField(h *data.Collection, field []byte) {
	value, found := h.Get(field)
	if !found {
		c.Out.Null()
		return
	}
	c.Out.Bulk(value)
}

func hmget(c *Context) {
	h, ok := c.openHash()
	if !ok {
		return
	}
	start := c.Out.Len()
	c.Out.Array(len(c.Args) - 2)
	for _, f := range c.Args[2:] {
		c.replyField(&h, f)
		if c.tooBig(start) {
			return
		}
	}
}

func hdel(c *Context) {
	if h, ok := c.openHash(); ok {
		c.deleteMembers(&h)
	}
}

func hlen(c *Context) {
	if h, ok := c.openHash(); ok {
		c.Out.Int(int64(h.Len()))
	}
}

func hexists(c *Context) {
	if h, ok := c.openHash(); ok {
		c.replyHas(&h, c.Args[2])
	}
}

func hstrlen(c *Context) {
	if h, ok := c.openHash(); ok {
		value, _ := h.Get(c.Args[2])
		c.Out.Int(int64(len(value)))
	}
}

func hincrby(c *Context) {
	n, ok := parseInt(c.Args[3])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	h, ok := c.openHash()
	if !ok || c.elementTooLong(2, 2) {
		return
	}
	old := int64(0)
	if value, found := h.Get(c.Args[2]); found {
		if old, ok = parseInt(value); !ok {
			c.Out.Error(errHashInteger)
			return
		}
	}
	if n > 0 && old > math.MaxInt64-n || n < 0 && old < math.MinInt64-n {
		c.Out.Error(errOverflow)
		return
	}
	h.Put(c.Args[2], strconv.AppendInt(nil, old+n, 10))
	h.Save()
	c.Out.Int(old + n)
}

func hincrbyfloat(c *Context) {
	n, kind := parseFloat(c.Args[3])
	switch kind {
	case notFloat:
		c.Out.Error(errNotFloat)
		return
	case infinite:
		c.Out.Error(errInfinite)
		return
	case finite:
	}
	h, ok := c.openHash()
	if !ok || c.elementTooLong(2, 2) {
		return
	}
	old, oldKind := new(big.Float).SetPrec(floatBits), finite
	if value, found := h.Get(c.Args[2]); found {
		old, oldKind = parseFloat(value)
	}
	switch oldKind {
	case notFloat:
		c.Out.Error(errHashFloat)
		return
	case infinite:
		c.Out.Error(errNaN)
		return
	case finite:
	}
	sum := new(big.Float).SetPrec(floatBits).Add(old, n)
	if sum.Sign() != 0 && sum.MantExp(nil) > floatMaxExp {
		c.Out.Error(errNaN)
		return
	}
	value := formatFloat(sum)
	h.Put(c.Args[2], value)
	h.Save()
	c.Out.Bulk(value)
}

// hashPart is a set of the parts of a hash that a reply shows.
type hashPart uint8

const (
	fields hashPart = 1 << iota
	values
)

// hashReader makes the handler of one of HKEYS, HVALS and HGETALL.
func hashReader(show hashPart) Handler {
	return func(c *Context) {
		h, ok := c.openHash()
		if !ok {
			return
		}
		start := c.Out.Len()
		if show == fields|values {
			c.Out.Map(int(h.Len()))
		} else {
			c.Out.Array(int(h.Len()))
		}
		h.Each(func(field, value []byte) bool {
			if show&fields != 0 {
				c.Out.Bulk(field)
			}
			if show&values != 0 {
				c.Out.Bulk(value)
			}
			return !c.tooBig(start)
		})
	}
}

func hscan(c *Context) { c.scanMembers(data.Hash, fields|values) }

func hrandfield(c *Context) {
	if len(c.Args) > 2 {
		c.randomMembers("withvalues", data.Hash)
		return
	}
	if h, ok := c.openHash(); ok {
		c.replyRandom(&h)
	}
}
