package command

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"godwit/engine/data"
)

func listSpecs() []*Spec {
	const group = "list"
	return []*Spec{
		{Name: "blmove", Arity: 6, Flags: Write | DenyOOM | NoScript | Blocking | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: blmove,
			Group: group, Since: "6.2.0", Complexity: "O(1)", Summary: "Pop an element from a list, push it to another list and return it; or block until one is available"},
		{Name: "blmpop", Arity: -5, Flags: Write | Movable | Blocking, Count: 2, Handler: blmpop,
			Group: group, Since: "7.0.0", Complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.", Summary: "Pop elements from a list, or block until one is available"},
		{Name: "blpop", Arity: -3, Flags: Write | NoScript | Blocking, FirstKey: 1, LastKey: -2, Step: 1, Handler: blockingPop(data.Left),
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the number of provided keys.", Summary: "Remove and get the first element in a list, or block until one is available"},
		{Name: "brpop", Arity: -3, Flags: Write | NoScript | Blocking, FirstKey: 1, LastKey: -2, Step: 1, Handler: blockingPop(data.Right),
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the number of provided keys.", Summary: "Remove and get the last element in a list, or block until one is available"},
		{Name: "brpoplpush", Arity: 4, Flags: Write | DenyOOM | NoScript | Blocking | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: brpoplpush,
			Group: group, Since: "2.2.0", Complexity: "O(1)", Summary: "Pop an element from a list, push it to another list and return it; or block until one is available"},
		{Name: "lindex", Arity: 3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: lindex,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Get an element from a list by its index"},
		{Name: "linsert", Arity: 5, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: linsert,
			Group: group, Since: "2.2.0", Complexity: "O(N) where N is the number of elements from the left to the pivot, and of those from there to the nearer end.", Summary: "Insert an element before or after another element in a list"},
		{Name: "llen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: llen,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Get the length of a list"},
		{Name: "lmove", Arity: 5, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: lmove,
			Group: group, Since: "6.2.0", Complexity: "O(1)", Summary: "Pop an element from a list, push it to another list and return it"},
		{Name: "lmpop", Arity: -4, Flags: Write | Movable, Count: 1, Handler: lmpop,
			Group: group, Since: "7.0.0", Complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.", Summary: "Pop elements from a list"},
		{Name: "lpop", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: pop(data.Left, "lpop"),
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of elements returned", Summary: "Remove and get the first elements in a list"},
		{Name: "lpos", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: lpos,
			Group: group, Since: "6.0.6", Complexity: "O(N) where N is the number of elements that are looked at.", Summary: "Return the index of matching elements on a list"},
		{Name: "lpush", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: push(data.Left, always),
			Group: group, Since: "1.0.0", Complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", Summary: "Prepend one or multiple elements to a list"},
		{Name: "lpushx", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: push(data.Left, ifExists),
			Group: group, Since: "2.2.0", Complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", Summary: "Prepend an element to a list, only if the list exists"},
		{Name: "lrange", Arity: 4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: lrange,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of elements in the specified range.", Summary: "Get a range of elements from a list"},
		{Name: "lrem", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, Step: 1, Handler: lrem,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the length of the list.", Summary: "Remove elements from a list"},
		{Name: "lset", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: lset,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Set the value of an element in a list by its index"},
		{Name: "ltrim", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, Step: 1, Handler: ltrim,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of elements to be removed by the operation.", Summary: "Trim a list to the specified range"},
		{Name: "rpop", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: pop(data.Right, "rpop"),
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of elements returned", Summary: "Remove and get the last elements in a list"},
		{Name: "rpoplpush", Arity: 3, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: rpoplpush,
			Group: group, Since: "1.2.0", Complexity: "O(1)", Summary: "Remove the last element in a list, prepend it to another list and return it"},
		{Name: "rpush", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: push(data.Right, always),
			Group: group, Since: "1.0.0", Complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", Summary: "Append one or multiple elements to a list"},
		{Name: "rpushx", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: push(data.Right, ifExists),
			Group: group, Since: "2.2.0", Complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", Summary: "Append an element to a list, only if the list exists"},
	}
}

// openList loads the list at a key, or replies with an error if the key holds another type. A missing key is an empty one.
func (c *Context) openList(user []byte) (data.Sequence, bool) {
	l, ok := c.Tx.OpenList(user)
	if !ok {
		c.Out.Error(errWrongType)
	}
	return l, ok
}

// pushWhen says whether a push makes a list.
type pushWhen uint8

const (
	always pushWhen = iota
	ifExists
)

// push makes the handler of LPUSH, RPUSH, LPUSHX or RPUSHX.
func push(at data.End, when pushWhen) Handler {
	return func(c *Context) {
		l, ok := c.openList(c.Args[1])
		if !ok {
			return
		}
		if when == ifExists && !l.Found {
			c.Out.Int(0)
			return
		}
		for _, v := range c.Args[2:] {
			l.Push(at, v)
		}
		l.Save()
		c.Out.Int(int64(l.Len()))
	}
}

// pop makes the handler of LPOP or RPOP.
func pop(at data.End, name string) Handler {
	return func(c *Context) {
		count := int64(-1)
		switch len(c.Args) {
		case 2:
		case 3:
			var ok bool
			if count, ok = parseInt(c.Args[2]); !ok || count < 0 {
				c.Out.Error(errNotPositive)
				return
			}
		default:
			c.Out.Error(errArity(name))
			return
		}
		l, ok := c.openList(c.Args[1])
		switch {
		case !ok:
		case !l.Found && count >= 0:
			c.Out.NullArray()
		case !l.Found:
			c.Out.Null()
		case count < 0:
			c.Out.Bulk(l.Pop(at))
			l.Save()
		default:
			c.popElements(&l, at, min(uint64(count), l.Len()), c.Out.Len())
		}
	}
}

// popElements replies with n elements from an end and removes them. If the reply that began at start becomes too large, it is an
// error, and the elements stay.
func (c *Context) popElements(l *data.Sequence, at data.End, n uint64, start int) {
	c.Out.Array(int(n))
	if !c.replyElements(l, at, n, start) {
		return
	}
	l.Drop(at, n)
	l.Save()
}

// replyElements adds n elements from an end to the reply that began at start, and reports false if that is too large.
func (c *Context) replyElements(l *data.Sequence, from data.End, n uint64, start int) (ok bool) {
	i := uint64(0)
	if from == data.Right {
		i = l.Len() - 1
	}
	ok = true
	l.Each(from, i, n, func(value []byte) bool {
		c.Out.Bulk(value)
		ok = !c.tooBig(start)
		return ok
	})
	return ok
}

func llen(c *Context) {
	if l, ok := c.openList(c.Args[1]); ok {
		c.Out.Int(int64(l.Len()))
	}
}

func lindex(c *Context) {
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !l.Found {
		c.Out.Null() // whatever the index is
		return
	}
	i, ok := parseInt(c.Args[2])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	at, there := listIndex(&l, i)
	if !there {
		c.Out.Null()
		return
	}
	c.Out.Bulk(l.At(at))
}

// listIndex is the place of an index that counts from the right if it is negative.
func listIndex(l *data.Sequence, i int64) (at uint64, there bool) {
	n := int64(l.Len())
	if i < 0 {
		i += n
	}
	return uint64(i), i >= 0 && i < n
}

func lset(c *Context) {
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !l.Found {
		c.Out.Error(errNoSuchKey)
		return
	}
	i, ok := parseInt(c.Args[2])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	at, there := listIndex(&l, i)
	if !there {
		c.Out.Error(errIndex)
		return
	}
	l.SetAt(at, c.Args[3])
	l.Save()
	c.Out.OK()
}

// parseRange reads first and last index of a range, or replies with an error.
func (c *Context) parseRange(first, last []byte) (from, to int64, ok bool) {
	if from, ok = parseInt(first); ok {
		to, ok = parseInt(last)
	}
	if !ok {
		c.Out.Error(errNotInteger)
	}
	return from, to, ok
}

// clampRange is the part of a range that lies within n elements: its first index, and how many there are. Negative indexes count
// from the end.
func clampRange(from, to int64, n uint64) (first, count uint64) {
	size := int64(n)
	if from < 0 {
		from = max(from+size, 0)
	}
	if to < 0 {
		to += size
	}
	to = min(to, size-1)
	if from > to {
		return 0, 0
	}
	return uint64(from), uint64(to-from) + 1
}

func lrange(c *Context) {
	from, to, ok := c.parseRange(c.Args[2], c.Args[3])
	if !ok {
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	first, n := clampRange(from, to, l.Len())
	start := c.Out.Len()
	c.Out.Array(int(n))
	l.Each(data.Left, first, n, func(value []byte) bool {
		c.Out.Bulk(value)
		return !c.tooBig(start)
	})
}

func ltrim(c *Context) {
	from, to, ok := c.parseRange(c.Args[2], c.Args[3])
	if !ok {
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	first, n := clampRange(from, to, l.Len())
	if n == 0 {
		c.Tx.Remove(&l.Entry)
	} else {
		l.Drop(data.Right, l.Len()-first-n)
		l.Drop(data.Left, first)
		l.Save()
	}
	c.Out.OK()
}

func linsert(c *Context) {
	after := uint64(0)
	switch strings.ToLower(string(c.Args[2])) {
	case "before":
	case "after":
		after = 1
	default:
		c.Out.Error(errSyntax)
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	if !l.Found {
		c.Out.Int(0)
		return
	}
	at, found := uint64(0), false
	l.Find(data.Left, c.Args[3], l.Len(), func(i uint64) bool {
		at, found = i+after, true
		return false
	})
	if !found {
		c.Out.Int(-1)
		return
	}
	l.Insert(at, c.Args[4])
	l.Save()
	c.Out.Int(int64(l.Len()))
}

func lrem(c *Context) {
	count, ok := parseInt(c.Args[2])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	from := data.Left
	if count < 0 {
		from, count = data.Right, -count // -2^63 stays what it is: more than there are
	}
	var indexes []uint64
	l.Find(from, c.Args[3], l.Len(), func(i uint64) bool {
		indexes = append(indexes, i)
		return int64(len(indexes)) != count
	})
	if from == data.Right {
		slices.Reverse(indexes)
	}
	l.Remove(indexes)
	l.Save()
	c.Out.Int(int64(len(indexes)))
}

// parseLong reads an integer that has a negative, or replies with an error.
func (c *Context) parseLong(arg []byte) (n int64, ok bool) {
	n, ok = parseInt(arg)
	switch {
	case !ok:
		c.Out.Error(errNotInteger)
	case n == math.MinInt64:
		c.Out.Error(errNotLong)
	default:
		return n, true
	}
	return 0, false
}

// listSearch is the options of LPOS.
type listSearch struct {
	from   data.End
	rank   int64 // the first match that counts, from 1
	count  int64 // how many, 0 for all; -1 if not given
	maxLen int64 // how many elements to look at; 0 for all
}

func lpos(c *Context) {
	o, ok := c.parseSearch(c.Args[3:])
	if !ok {
		return
	}
	l, ok := c.openList(c.Args[1])
	if !ok {
		return
	}
	n := l.Len()
	if o.maxLen > 0 {
		n = min(n, uint64(o.maxLen))
	}
	var found []uint64
	matches := int64(0)
	l.Find(o.from, c.Args[2], n, func(i uint64) bool {
		if matches++; matches >= o.rank {
			found = append(found, i)
		}
		return o.count == 0 || int64(len(found)) < max(o.count, 1)
	})
	if o.count < 0 {
		if len(found) == 0 {
			c.Out.Null()
		} else {
			c.Out.Int(int64(found[0]))
		}
		return
	}
	c.Out.Array(len(found))
	for _, i := range found {
		c.Out.Int(int64(i))
	}
}

// parseSearch reads the options of LPOS, or replies with an error.
func (c *Context) parseSearch(args [][]byte) (o listSearch, ok bool) {
	o = listSearch{rank: 1, count: -1}
	for ; len(args) > 0; args = args[2:] {
		name := strings.ToLower(string(args[0]))
		if len(args) == 1 {
			c.Out.Error(errSyntax)
			return o, false
		}
		switch name {
		case "rank":
			if o.rank, ok = c.parseLong(args[1]); !ok {
				return o, false
			}
			if o.rank == 0 {
				c.Out.Error(errRankZero)
				return o, false
			}
		case "count":
			if o.count, ok = parseInt(args[1]); !ok || o.count < 0 {
				c.Out.Error(errCountNegative)
				return o, false
			}
		case "maxlen":
			if o.maxLen, ok = parseInt(args[1]); !ok || o.maxLen < 0 {
				c.Out.Error(errMaxLenNegative)
				return o, false
			}
		default:
			c.Out.Error(errSyntax)
			return o, false
		}
	}
	if o.rank < 0 {
		o.from, o.rank = data.Right, -o.rank
	}
	return o, true
}

// parseEnd reads LEFT or RIGHT, or replies with an error.
func (c *Context) parseEnd(arg []byte) (at data.End, ok bool) {
	switch strings.ToLower(string(arg)) {
	case "left":
		return data.Left, true
	case "right":
		return data.Right, true
	}
	c.Out.Error(errSyntax)
	return 0, false
}

// move says which element goes from the list at one key to that at another, and where to.
type move struct {
	src, dst []byte
	from, to data.End
}

func lmove(c *Context) {
	from, ok := c.parseEnd(c.Args[3])
	if !ok {
		return
	}
	to, ok := c.parseEnd(c.Args[4])
	if !ok {
		return
	}
	c.moveOrNull(move{c.Args[1], c.Args[2], from, to})
}

func rpoplpush(c *Context) {
	c.moveOrNull(move{c.Args[1], c.Args[2], data.Right, data.Left})
}

func (c *Context) moveOrNull(m move) {
	if !c.moveElement(m) {
		c.Out.Null()
	}
}

// moveElement moves an element and replies with it, or with an error. It reports false, and has not replied, if there is none.
func (c *Context) moveElement(m move) (done bool) {
	src, ok := c.openList(m.src)
	if !ok {
		return true
	}
	if !src.Found {
		return false
	}
	dst := &src
	if !bytes.Equal(m.src, m.dst) {
		other, ok := c.openList(m.dst)
		if !ok {
			return true
		}
		dst = &other
	}
	value := src.Pop(m.from)
	dst.Push(m.to, value)
	src.Save()
	if dst != &src {
		dst.Save()
	}
	c.Out.Bulk(value)
	return true
}

func lmpop(c *Context) {
	p, ok := c.parseListPop(1)
	if !ok {
		return
	}
	c.popFirst(p.users, func(user []byte) bool { return c.popFrom(user, p) })
}

// popFirst pops from the first of some keys that there is, as pop reports, or replies with a null array.
func (c *Context) popFirst(users [][]byte, pop func(user []byte) bool) {
	for _, user := range users {
		if pop(user) {
			return
		}
	}
	c.Out.NullArray()
}

// listPop is a request to pop elements from the first of some lists that there is.
type listPop struct {
	users [][]byte
	at    data.End
	count uint64
}

// parseListPop reads the arguments of LMPOP and BLMPOP from the number of keys on, or replies with an error.
func (c *Context) parseListPop(at int) (p listPop, ok bool) {
	users, rest, ok := c.parsePopKeys(at)
	if !ok {
		return p, false
	}
	p.users = users
	if p.at, ok = c.parseEnd(rest[0]); !ok {
		return p, false
	}
	p.count, ok = c.parsePopCount(rest[1:])
	return p, ok
}

// parsePopKeys reads the keys of LMPOP, ZMPOP and their kin, whose number is at a position of the request, or replies with an error. There
// is an argument behind them at least.
func (c *Context) parsePopKeys(at int) (users, rest [][]byte, ok bool) {
	n, ok := c.parseNumKeys(at)
	if !ok {
		return nil, nil, false
	}
	rest = c.Args[at+1:]
	if n >= int64(len(rest)) {
		c.Out.Error(errSyntax)
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}

// parseNumKeys reads the number of keys at a position of the request, or replies with an error.
func (c *Context) parseNumKeys(at int) (n int64, ok bool) {
	if n, ok = parseInt(c.Args[at]); !ok || n < 1 {
		c.Out.Error(errNumKeys)
		return 0, false
	}
	return n, true
}

// parsePopCount reads the COUNT of LMPOP, ZMPOP and their kin, 1 if there is none, or replies with an error.
func (c *Context) parsePopCount(args [][]byte) (count uint64, ok bool) {
	if len(args) == 0 {
		return 1, true
	}
	if len(args) == 1 || !strings.EqualFold(string(args[0]), "count") {
		c.Out.Error(errSyntax)
		return 0, false
	}
	n, ok := parseInt(args[1])
	switch {
	case !ok || n < 1:
		c.Out.Error(errCountPositive)
	case len(args) > 2:
		c.Out.Error(errSyntax)
	default:
		return uint64(n), true
	}
	return 0, false
}

// popFrom replies with a key and elements popped from its list, or with an error. It reports false, and has not replied, if there
// is no list.
func (c *Context) popFrom(user []byte, p listPop) (done bool) {
	l, ok := c.openList(user)
	if !ok {
		return true
	}
	if !l.Found {
		return false
	}
	start := c.Out.Len()
	c.Out.Array(2)
	c.Out.Bulk(user)
	c.popElements(&l, p.at, min(p.count, l.Len()), start)
	return true
}
