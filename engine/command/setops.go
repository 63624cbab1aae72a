package command

import (
	"slices"
	"strings"

	"godwit/engine/data"
)

// setOperation combines sets: it visits the members of the result, each once, until visit returns false. It may reorder sets.
type setOperation func(sets []data.Collection, visit func(member []byte) bool)

// intersection visits the members of the smallest set that all others have.
func intersection(sets []data.Collection, visit func(member []byte) bool) {
	slices.SortFunc(sets, bySize)
	if sets[0].Len() == 0 {
		return
	}
	sets[0].Each(func(member, _ []byte) bool {
		for i := range sets[1:] {
			if !sets[i+1].Has(member) {
				return true
			}
		}
		return visit(member)
	})
}

// difference visits the members of the first set that no other has. The largest others are asked first: they are likeliest
// to have it.
func difference(sets []data.Collection, visit func(member []byte) bool) {
	others := sets[1:]
	slices.SortFunc(others, bySize)
	sets[0].Each(func(member, _ []byte) bool {
		for i := len(others) - 1; i >= 0; i-- {
			if others[i].Has(member) {
				return true
			}
		}
		return visit(member)
	})
}

// union visits the members of all sets. It remembers them: they are all in the reply, or in the batch, anyhow.
func union(sets []data.Collection, visit func(member []byte) bool) {
	seen := map[string]struct{}{}
	for i := range sets {
		goOn := true
		sets[i].Each(func(member, _ []byte) bool {
			if _, again := seen[string(member)]; again {
				return true
			}
			if len(sets) > 1 {
				seen[string(member)] = struct{}{}
			}
			goOn = visit(member)
			return goOn
		})
		if !goOn {
			return
		}
	}
}

func bySize(a, b data.Collection) int {
	switch {
	case a.Len() < b.Len():
		return -1
	case a.Len() > b.Len():
		return 1
	}
	return 0
}

// openSets loads the sets under some keys, or replies with an error if one holds another type.
func (c *Context) openSets(users [][]byte) (sets []data.Collection, ok bool) {
	sets = make([]data.Collection, len(users))
	for i, user := range users {
		if sets[i], ok = c.open(user, data.Set); !ok {
			return nil, false
		}
	}
	return sets, true
}

func sinter(c *Context) { c.combine(intersection) }
func sunion(c *Context) { c.combine(union) }
func sdiff(c *Context)  { c.combine(difference) }

// combine carries out SINTER, SUNION and SDIFF.
func (c *Context) combine(op setOperation) {
	sets, ok := c.openSets(c.Args[1:])
	if !ok {
		return
	}
	var found bulkList
	op(sets, func(member []byte) bool {
		found.add(member)
		return !found.full(c)
	})
	found.reply(c, c.Out.Set)
}

func sinterstore(c *Context) { c.combineStore(intersection) }
func sunionstore(c *Context) { c.combineStore(union) }
func sdiffstore(c *Context)  { c.combineStore(difference) }

// combineStore carries out SINTERSTORE, SUNIONSTORE and SDIFFSTORE. The sets are read as they were before the command, the
// destination's old one among them.
func (c *Context) combineStore(op setOperation) {
	sets, ok := c.openSets(c.Args[2:])
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	dst := c.Tx.Replace(&e, data.Set)
	op(sets, func(member []byte) bool {
		dst.Fill(member, nil)
		return c.Tx.Err() == nil
	})
	dst.Save()
	c.Out.Int(int64(dst.Len()))
}

func sintercard(c *Context) {
	count, ok := parseInt(c.Args[1])
	if !ok || count < 1 {
		c.Out.Error(errNumKeys)
		return
	}
	n, ok := keyCount(c.Args, 1)
	if !ok {
		c.Out.Error(errFewKeys)
		return
	}
	limit, ok := c.parseLimit(c.Args[2+n:])
	if !ok {
		return
	}
	sets, ok := c.openSets(c.Args[2 : 2+n])
	if !ok {
		return
	}
	found := int64(0)
	intersection(sets, func([]byte) bool {
		found++
		return found != limit
	})
	c.Out.Int(found)
}

// parseLimit reads the LIMIT of SINTERCARD and ZINTERCARD, 0 if there is none, or replies with an error.
func (c *Context) parseLimit(args [][]byte) (limit int64, ok bool) {
	for i := 0; i < len(args); i += 2 {
		if i+1 == len(args) || !strings.EqualFold(string(args[i]), "limit") {
			c.Out.Error(errSyntax)
			return 0, false
		}
		if limit, ok = parseInt(args[i+1]); !ok || limit < 0 {
			c.Out.Error(errLimit)
			return 0, false
		}
	}
	return limit, true
}
