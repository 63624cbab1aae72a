package command

import "godwit/engine/data"

func keySpecs() []*Spec {
	return []*Spec{
		{Name: "del", Arity: -2, Flags: Write | Indexed, FirstKey: 1, LastKey: -1, Step: 1, Handler: del},
	}
}

// notString replies with an error if an entry was found and is no string.
func (c *Context) notString(e *data.Entry) bool {
	if !e.Found || e.Type == data.String {
		return false
	}
	c.Out.Error(errWrongType)
	return true
}

func del(c *Context) {
	n := int64(0)
	for _, k := range c.Args[1:] {
		if c.Tx.Delete(k) {
			n++
		}
	}
	c.Out.Int(n)
}
