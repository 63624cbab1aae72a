package command

import "godwit/engine/data"

// blockingPopScored makes the handler of BZPOPMIN or BZPOPMAX.
func blockingPopScored(o data.Order) Handler {
	return func(c *Context) {
		last := len(c.Args) - 1
		c.popScoredOrWait(scoredPop{users: c.Args[1:last], order: o, count: 1, form: popKeyed}, c.Args[last])
	}
}

func bzmpop(c *Context) {
	if p, ok := c.parseScoredPop(2); ok {
		c.popScoredOrWait(p, c.Args[1])
	}
}

// popScoredOrWait carries out the blocking pops.
func (c *Context) popScoredOrWait(p scoredPop, timeoutArg []byte) {
	timeout, problem := Timeout(timeoutArg)
	if problem != "" {
		c.Out.Error(problem)
		return
	}
	c.TakeOrWait(&Wait{Keys: p.users, Type: data.ZSet, Timeout: timeout}, func(user []byte) bool { return c.popScoredFrom(user, p) }, c.Out.NullArray)
}
