package command

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"godwit/engine/data"
)

func keySpecs() []*Spec {
	const group = "generic"
	return []*Spec{
		{Name: "copy", Arity: -3, Flags: Write | DenyOOM | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: copyKey,
			Group: group, Since: "6.2.0", Complexity: "O(N) where N is the size of the value.", Summary: "Copy a key"},
		{Name: "del", Arity: -2, Flags: Write | Indexed, FirstKey: 1, LastKey: -1, Step: 1, Handler: del,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of keys that will be removed.", Summary: "Delete a key"},
		{Name: "exists", Arity: -2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: -1, Step: 1, Handler: exists,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of keys to check.", Summary: "Determine if a key exists"},
		{Name: "expire", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: expireWith("expire", seconds, fromNow),
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Set a key's time to live in seconds"},
		{Name: "expireat", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: expireWith("expireat", seconds, fromEpoch),
			Group: group, Since: "1.2.0", Complexity: "O(1)", Summary: "Set the expiration for a key as a UNIX timestamp"},
		{Name: "expiretime", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: ttlWith(seconds, fromEpoch),
			Group: group, Since: "7.0.0", Complexity: "O(1)", Summary: "Get the expiration Unix timestamp for a key"},
		{Name: "keys", Arity: 2, Flags: ReadOnly | NodeWide | Dangerous, Handler: keys,
			Group: group, Since: "1.0.0", Complexity: "O(N) with N being the number of keys of the node.", Summary: "Find all keys matching the given pattern"},
		{Name: "persist", Arity: 2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: persist,
			Group: group, Since: "2.2.0", Complexity: "O(1)", Summary: "Remove the expiration from a key"},
		{Name: "pexpire", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: expireWith("pexpire", milliseconds, fromNow),
			Group: group, Since: "2.6.0", Complexity: "O(1)", Summary: "Set a key's time to live in milliseconds"},
		{Name: "pexpireat", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: expireWith("pexpireat", milliseconds, fromEpoch),
			Group: group, Since: "2.6.0", Complexity: "O(1)", Summary: "Set the expiration for a key as a UNIX timestamp specified in milliseconds"},
		{Name: "pexpiretime", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: ttlWith(milliseconds, fromEpoch),
			Group: group, Since: "7.0.0", Complexity: "O(1)", Summary: "Get the expiration Unix timestamp for a key in milliseconds"},
		{Name: "pttl", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: ttlWith(milliseconds, fromNow),
			Group: group, Since: "2.6.0", Complexity: "O(1)", Summary: "Get the time to live for a key in milliseconds"},
		{Name: "randomkey", Arity: 1, Flags: ReadOnly | NodeWide | Random, Handler: randomKey,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Return a random key from the keyspace"},
		{Name: "rename", Arity: 3, Flags: Write | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: rename,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the size of the value.", Summary: "Rename a key"},
		{Name: "renamenx", Arity: 3, Flags: Write | Fast | Apart, FirstKey: 1, LastKey: 2, Step: 1, Handler: renamenx,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the size of the value.", Summary: "Rename a key, only if the new key does not exist"},
		{Name: "scan", Arity: -2, Flags: ReadOnly | NodeWide, Handler: scan,
			Group: group, Since: "2.8.0", Complexity: "O(COUNT) for every call. O(N) for a complete iteration.", Summary: "Incrementally iterate the keys space"},
		{Name: "touch", Arity: -2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: -1, Step: 1, Handler: exists,
			Group: group, Since: "3.2.1", Complexity: "O(N) where N is the number of keys that will be touched.", Summary: "Returns the number of existing keys specified",
			Differs: "no time of last access is kept"},
		{Name: "ttl", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: ttlWith(seconds, fromNow),
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Get the time to live for a key in seconds"},
		{Name: "type", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: typeOf,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Determine the type stored at key"},
		{Name: "unlink", Arity: -2, Flags: Write | Fast | Indexed, FirstKey: 1, LastKey: -1, Step: 1, Handler: del,
			Group: group, Since: "4.0.0", Complexity: "O(N) where N is the number of keys that will be removed.", Summary: "Delete a key, as DEL does"},
		{Name: "dbsize", Arity: 1, Flags: ReadOnly | Fast | NodeWide, Handler: dbsize,
			Group: "server", Since: "1.0.0", Complexity: "O(N) where N is the number of keys of the node.", Summary: "Return the number of keys in the selected database"},
		{Name: "flushall", Arity: -1, Flags: Write | NodeWide | Dangerous, Handler: flush,
			Group: "server", Since: "1.0.0", Complexity: "O(S) where S is the number of slots that hold keys.", Summary: "Remove all keys from all databases"},
		{Name: "flushdb", Arity: -1, Flags: Write | NodeWide | Dangerous, Handler: flush,
			Group: "server", Since: "1.0.0", Complexity: "O(S) where S is the number of slots that hold keys.", Summary: "Remove all keys from the current database"},
	}
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

// exists is also TOUCH: there is no time of last access to be changed.
func exists(c *Context) {
	n := int64(0)
	for _, k := range c.Args[1:] {
		if e := c.Tx.Load(k); e.Found {
			n++
		}
	}
	c.Out.Int(n)
}

func typeOf(c *Context) {
	e := c.Tx.Load(c.Args[1])
	c.Out.Simple(e.Type.String()) // "none" for the zero type
}

func rename(c *Context) {
	if c.move(replace) {
		c.Out.OK()
	}
}

func renamenx(c *Context) { c.move(keep) }

// overwriting says what RENAME and COPY do to a key that exists at the destination.
type overwriting uint8

const (
	keep overwriting = iota
	replace
)

// move carries out RENAME and RENAMENX, and reports whether RENAME is to answer OK.
func (c *Context) move(o overwriting) bool {
	src := c.Tx.Load(c.Args[1])
	if !src.Found {
		c.Out.Error(errNoSuchKey)
		return false
	}
	same := bytes.Equal(c.Args[1], c.Args[2])
	if o == replace && same {
		return true
	}
	if !same {
		dst := c.Tx.Load(c.Args[2])
		if o == replace || !dst.Found {
			c.Tx.Rename(&src, &dst)
			if o == keep {
				c.Out.Int(1)
			}
			return true
		}
	}
	c.Out.Int(0)
	return false
}

func copyKey(c *Context) {
	o := keep
	for i := 3; i < len(c.Args); i++ {
		switch strings.ToLower(string(c.Args[i])) {
		case "replace":
			o = replace
			continue
		case "db":
			if i++; i < len(c.Args) {
				if !c.isOnlyDB(c.Args[i]) {
					return
				}
				continue
			}
		}
		c.Out.Error(errSyntax)
		return
	}
	if bytes.Equal(c.Args[1], c.Args[2]) {
		c.Out.Error(errSameObject)
		return
	}
	src := c.Tx.Load(c.Args[1])
	if !src.Found {
		c.Out.Int(0)
		return
	}
	dst := c.Tx.Load(c.Args[2])
	if dst.Found && o == keep {
		c.Out.Int(0)
		return
	}
	c.Tx.Copy(&src, &dst)
	c.Out.Int(1)
}

// isOnlyDB reports whether a database is 0, the only one, or replies with an error.
func (c *Context) isOnlyDB(arg []byte) bool {
	n, ok := parseInt(arg)
	switch {
	case !ok:
		c.Out.Error(errNotInteger)
	case n < math.MinInt32 || n > math.MaxInt32:
		c.Out.Error(errNotInt32)
	case n != 0:
		c.Out.Error(errDBIndex)
	default:
		return true
	}
	return false
}

// keyFilter is what SCAN and KEYS select by.
type keyFilter struct {
	pattern []byte // if any is false
	any     bool   // whatever the pattern
	types   string // the name of a type in lower case; empty matches all
}

func (f *keyFilter) match(user []byte, r *data.Record) bool {
	return (f.types == "" || r.Type.String() == f.types) && (f.any || MatchGlob(f.pattern, user, false))
}

// setPattern sets the pattern; "*" also matches the empty key.
func (f *keyFilter) setPattern(p []byte) { f.pattern, f.any = p, string(p) == "*" }

func keys(c *Context) {
	var f keyFilter
	f.setPattern(c.Args[1])
	var found bulkList
	c.Tx.ForEach(func(user []byte, r *data.Record) {
		if f.match(user, r) {
			found.add(user)
		}
	})
	found.reply(c, c.Out.Array)
}

// scanCount is the COUNT of a SCAN that names none, as in Redis.
const scanCount = 10

func scan(c *Context) {
	cursor, ok := parseCursor(c.Args[1])
	if !ok {
		c.Out.Error(errCursor)
		return
	}
	o, ok := c.parseScanOptions(c.Args[2:], withType)
	if !ok {
		return
	}
	var found bulkList
	next := c.Tx.Scan(cursor, o.count, func(user []byte, r *data.Record) {
		if o.match(user, r) {
			found.add(user)
		}
	})
	c.replyScan(next, &found)
}

// scanOptions is what the options of SCAN and its relatives say.
type scanOptions struct {
	keyFilter
	count int
}

// typeOption says whether the TYPE of SCAN is allowed.
type typeOption uint8

const (
	withoutType typeOption = iota
	withType
)

// parseScanOptions reads COUNT, MATCH and TYPE, or replies with an error.
func (c *Context) parseScanOptions(args [][]byte, t typeOption) (o scanOptions, ok bool) {
	o.count, o.any = scanCount, true
	for i := 0; i < len(args); i += 2 {
		if i+1 == len(args) {
			c.Out.Error(errSyntax)
			return o, false
		}
		arg := args[i+1]
		switch word := strings.ToLower(string(args[i])); {
		case word == "count":
			count, ok := parseInt(arg)
			if !ok {
				c.Out.Error(errNotInteger)
				return o, false
			}
			if count < 1 {
				c.Out.Error(errSyntax)
				return o, false
			}
			o.count = int(count)
		case word == "match":
			o.setPattern(arg)
		case word == "type" && t == withType:
			o.types = strings.ToLower(string(arg))
			if o.types == "" {
				o.types = "none" // the empty name is no type's, and must not select all
			}
		default:
			c.Out.Error(errSyntax)
			return o, false
		}
	}
	return o, true
}

// replyScan replies with a cursor and what was found.
func (c *Context) replyScan(next uint64, found *bulkList) {
	start := c.Out.Len()
	c.Out.Array(2)
	c.Out.BulkString(strconv.FormatUint(next, 10))
	if !found.reply(c, c.Out.Array) {
		c.Out.Truncate(start)
		c.Out.Error(errReplyTooBig)
	}
}

// parseCursor reads a cursor as strtoul does: an empty one is 0, and a sign is allowed.
func parseCursor(b []byte) (uint64, bool) {
	digits := string(b)
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	if digits == "" {
		return 0, len(b) == 0
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if negative {
		n = -n
	}
	return n, err == nil
}

func randomKey(c *Context) {
	user := c.Tx.RandomKey(c.Rand)
	if user == nil {
		c.Out.Null()
		return
	}
	c.Out.Bulk(user)
}

func dbsize(c *Context) { c.Out.Int(c.Tx.CountAll()) }

// flush is FLUSHDB and FLUSHALL. ASYNC is as good as SYNC: a range delete takes no longer for more keys.
func flush(c *Context) {
	if len(c.Args) > 2 || len(c.Args) == 2 && !isSyncOrAsync(c.Args[1]) {
		c.Out.Error(errSyntax)
		return
	}
	c.Tx.Flush()
	c.Out.OK()
}

func isSyncOrAsync(arg []byte) bool {
	word := strings.ToLower(string(arg))
	return word == "sync" || word == "async"
}
