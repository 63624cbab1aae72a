package command

import "godwit/engine/data"

// blockingPop makes the handler of BLPOP or BRPOP.
func blockingPop(at data.End) Handler {
	return func(c *Context) {
		last := len(c.Args) - 1
		timeout, problem := Timeout(c.Args[last])
		if problem != "" {
			c.Out.Error(problem)
			return
		}
		c.TakeOrWait(&Wait{Keys: c.Args[1:last], Type: data.List, Timeout: timeout}, func(user []byte) (done bool) {
			l, ok := c.openList(user)
			if !ok {
				return true
			}
			if !l.Found {
				return false
			}
			c.Out.Array(2)
			c.Out.Bulk(user)
			c.Out.Bulk(l.Pop(at))
			l.Save()
			return true
		}, c.Out.NullArray)
	}
}

func blmove(c *Context) {
	from, ok := c.parseEnd(c.Args[3])
	if !ok {
		return
	}
	to, ok := c.parseEnd(c.Args[4])
	if !ok {
		return
	}
	c.moveOrWait(move{c.Args[1], c.Args[2], from, to}, c.Args[5])
}

func brpoplpush(c *Context) {
	c.moveOrWait(move{c.Args[1], c.Args[2], data.Right, data.Left}, c.Args[3])
}

// moveOrWait carries out BLMOVE and BRPOPLPUSH.
func (c *Context) moveOrWait(m move, timeoutArg []byte) {
	timeout, problem := Timeout(timeoutArg)
	if problem != "" {
		c.Out.Error(problem)
		return
	}
	c.TakeOrWait(&Wait{Keys: [][]byte{m.src}, Type: data.List, Timeout: timeout}, func([]byte) bool { return c.moveElement(m) }, c.Out.Null)
}

func blmpop(c *Context) {
	p, ok := c.parseListPop(2)
	if !ok {
		return
	}
	timeout, problem := Timeout(c.Args[1])
	if problem != "" {
		c.Out.Error(problem)
		return
	}
	c.TakeOrWait(&Wait{Keys: p.users, Type: data.List, Timeout: timeout}, func(user []byte) bool { return c.popFrom(user, p) }, c.Out.NullArray)
}
