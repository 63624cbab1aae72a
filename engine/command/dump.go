package command

import (
	"errors"
	"math"
	"strings"

	"godwit/engine/data"
	"godwit/engine/rdb"
)

func dumpSpecs() []*Spec {
	const group = "generic"
	const restoreDiffers = "no streams and modules; IDLETIME and FREQ are checked and not kept; members that are there twice are refused in all encodings, and so is a TTL that overflows"
	return []*Spec{
		{Name: "dump", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: dump,
			Group: group, Since: "2.6.0", Complexity: "O(N) where N is the size of the value.", Summary: "Return a serialized version of the value stored at the specified key",
			Differs: "writes the encodings of Redis 4.0, uncompressed, which every later version reads"},
		{Name: "restore", Arity: -4, Flags: Write | DenyOOM | Dangerous, FirstKey: 1, LastKey: 1, Step: 1, Handler: restore,
			Group: group, Since: "2.6.0", Complexity: "O(N) where N is the size of the value.", Summary: "Create a key using the provided serialized value, previously obtained using DUMP",
			Differs: restoreDiffers},
		{Name: "restore-asking", Arity: -4, Flags: Write | DenyOOM | Dangerous | Asking, FirstKey: 1, LastKey: 1, Step: 1, Handler: restore,
			Group: "server", Since: "3.0.0", Complexity: "O(N) where N is the size of the value.", Summary: "RESTORE as the MIGRATE of a Redis cluster sends it",
			Differs: restoreDiffers + "; a slot that is arriving takes it no more than any other write"},
	}
}

func dump(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if !e.Found {
		c.Out.Null()
		return
	}
	if e.Type == data.String {
		c.Out.Bulk(rdb.WriteString(e.Value))
		return
	}
	w, ok := c.dumpCollection(&e)
	switch {
	case w == nil:
		c.Out.Error(errBadFormat)
	case !ok:
		c.Out.Error(errReplyTooBig)
	default:
		c.Out.Bulk(w.Finish())
	}
}

// dumpCollection writes what a loaded key holds, nil if payloads have no such type. It reports false, having stopped early, if that is
// too large for a reply.
func (c *Context) dumpCollection(e *data.Entry) (w *rdb.Writer, ok bool) {
	fits := func() bool { return w.Len() <= c.replyLimit() }
	switch e.Type {
	case data.List:
		l, _ := c.Tx.OpenList(e.Key)
		w = rdb.NewWriter(rdb.List, l.Len())
		l.Each(data.Left, 0, l.Len(), func(value []byte) bool {
			w.Element(value)
			return fits()
		})
	case data.Set:
		s, _ := c.Tx.Open(e.Key, data.Set)
		w = rdb.NewWriter(rdb.Set, s.Len())
		s.Each(func(member, _ []byte) bool {
			w.Element(member)
			return fits()
		})
	case data.ZSet:
		z, _ := c.Tx.OpenSortedSet(e.Key)
		w = rdb.NewWriter(rdb.ZSet, z.Len())
		z.Walk(data.Range{}, data.Ascending, func(member []byte, score float64) bool {
			w.Element(member)
			w.Score(score)
			return fits()
		})
	case data.Hash:
		h, _ := c.Tx.Open(e.Key, data.Hash)
		w = rdb.NewWriter(rdb.Hash, h.Len())
		h.Each(func(field, value []byte) bool {
			w.Element(field)
			w.Element(value)
			return fits()
		})
	case data.String, data.Stream:
		return nil, false
	}
	return w, fits()
}

// restoreOptions is what the options of RESTORE say.
type restoreOptions struct {
	overwriting
	base timeBase
}

// parseRestoreOptions reads the options of RESTORE, or replies with an error. IDLETIME and FREQ, which say how often a key was used and
// exclude each other, are checked only: nothing is evicted here.
func (c *Context) parseRestoreOptions(args [][]byte) (o restoreOptions, ok bool) {
	used := ""
	for i := 0; i < len(args); i++ {
		switch word := strings.ToLower(string(args[i])); {
		case word == "replace":
			o.overwriting = replace
		case word == "absttl":
			o.base = fromEpoch
		case (word == "idletime" || word == "freq") && i+1 < len(args) && (used == "" || used == word):
			used = word
			i++
			n, ok := parseInt(args[i])
			switch {
			case !ok:
				c.Out.Error(errNotInteger)
				return o, false
			case word == "idletime" && n < 0:
				c.Out.Error(errIdleTime)
				return o, false
			case word == "freq" && (n < 0 || n > 255):
				c.Out.Error(errFreq)
				return o, false
			}
		default:
			c.Out.Error(errSyntax)
			return o, false
		}
	}
	return o, true
}

func restore(c *Context) {
	o, ok := c.parseRestoreOptions(c.Args[4:])
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	if o.overwriting == keep && e.Found {
		c.Out.Error(errBusyKey)
		return
	}
	expireMs, ok := c.restoreExpiry(o.base)
	if !ok {
		return
	}
	v, err := rdb.Decode(c.Args[3])
	switch {
	case errors.Is(err, rdb.ErrFooter):
		c.Out.Error(errPayload)
		return
	case errors.Is(err, rdb.ErrTooLarge):
		c.Out.Error(errRestoreTooBig)
		return
	case err != nil:
		c.Out.Error(errBadFormat)
		return
	case !restorable(&v):
		c.Out.Error(errElementTooLong)
		return
	}
	if expireMs != data.NoExpiry && expireMs <= c.Tx.NowMs() {
		c.Tx.Remove(&e)
	} else {
		c.putValue(&e, &v, expireMs)
	}
	c.Out.OK()
}

// restoreExpiry reads the time to live of RESTORE, of which 0 is none, or replies with an error.
func (c *Context) restoreExpiry(base timeBase) (expireMs int64, ok bool) {
	ttl, ok := parseInt(c.Args[2])
	switch {
	case !ok:
		c.Out.Error(errNotInteger)
		return 0, false
	case ttl < 0:
		c.Out.Error(errTTL)
		return 0, false
	case ttl == 0:
		return data.NoExpiry, true
	case base == fromEpoch:
		return ttl, true
	case ttl > math.MaxInt64-c.Tx.NowMs():
		c.Out.Error(errExpire("restore"))
		return 0, false
	}
	return ttl + c.Tx.NowMs(), true
}

// restorable reports whether all members and fields of a value are short enough to be elements.
func restorable(v *rdb.Value) bool {
	step := 1
	switch v.Type {
	case rdb.String, rdb.List:
		return true
	case rdb.Hash:
		step = 2
	case rdb.Set, rdb.ZSet:
	}
	for i := 0; i < len(v.Elements); i += step {
		if len(v.Elements[i]) > data.MaxElement {
			return false
		}
	}
	return true
}

// putValue makes a decoded value that of a loaded key, whatever that was.
func (c *Context) putValue(e *data.Entry, v *rdb.Value, expireMs int64) {
	switch v.Type {
	case rdb.String:
		c.Tx.PutString(e, v.Elements[0], expireMs)
		return
	case rdb.List:
		l := c.Tx.ReplaceList(e)
		for _, value := range v.Elements {
			l.Push(data.Right, value)
		}
		l.Save()
		*e = l.Entry
	case rdb.Set:
		s := c.Tx.Replace(e, data.Set)
		for _, m := range v.Elements {
			s.Fill(m, nil)
		}
		s.Save()
		*e = s.Entry
	case rdb.ZSet:
		z := c.Tx.ReplaceSortedSet(e)
		for i, m := range v.Elements {
			z.Fill(m, v.Scores[i])
		}
		z.Save()
		*e = z.Entry
	case rdb.Hash:
		h := c.Tx.Replace(e, data.Hash)
		for i := 0; i < len(v.Elements); i += 2 {
			h.Fill(v.Elements[i], v.Elements[i+1])
		}
		h.Save()
		*e = h.Entry
	}
	if expireMs != data.NoExpiry {
		c.Tx.SetExpiry(e, expireMs)
	}
}
