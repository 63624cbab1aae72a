package command

func stringSpecs() []*Spec {
	return []*Spec{
		{Name: "get", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: get},
		{Name: "set", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: set},
	}
}

func get(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	if !e.Found {
		c.Out.Null()
		return
	}
	c.Out.Bulk(e.Value)
}

func set(c *Context) {
	e := c.Tx.Load(c.Args[1])
	c.Tx.PutString(&e, c.Args[2], 0)
	c.Out.OK()
}
