package command

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"godwit/engine/data"
)

// maxString is the longest value of a string in bytes, the default of Redis' proto-max-bulk-len.
const maxString = 512 << 20

func stringSpecs() []*Spec {
	const group = "string"
	return []*Spec{
		{Name: "append", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: appendString,
			Group: group, Since: "2.0.0", Complexity: "O(N) where N is the length of the resulting string.", Summary: "Append a value to a key"},
		{Name: "decr", Arity: 2, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: decr,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Decrement the integer value of a key by one"},
		{Name: "decrby", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: decrby,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Decrement the integer value of a key by the given number"},
		{Name: "get", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: get,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Get the value of a key"},
		{Name: "getdel", Arity: 2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: getdel,
			Group: group, Since: "6.2.0", Complexity: "O(1)", Summary: "Get the value of a key and delete the key"},
		{Name: "getex", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: getex,
			Group: group, Since: "6.2.0", Complexity: "O(1)", Summary: "Get the value of a key and optionally set its expiration"},
		{Name: "getrange", Arity: 4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: getrange,
			Group: group, Since: "2.4.0", Complexity: "O(N) where N is the length of the string.", Summary: "Get a substring of the string stored at a key"},
		{Name: "getset", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: getset,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Set the string value of a key and return its old value"},
		{Name: "incr", Arity: 2, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: incr,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Increment the integer value of a key by one"},
		{Name: "incrby", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: incrby,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Increment the integer value of a key by the given amount"},
		{Name: "incrbyfloat", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: incrbyfloat,
			Group: group, Since: "2.6.0", Complexity: "O(1)", Summary: "Increment the float value of a key by the given amount"},
		{Name: "lcs", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 2, Step: 1, Handler: lcs,
			Group: group, Since: "7.0.0", Complexity: "O(N*M) where N and M are the lengths of the two strings.", Summary: "Find the longest common substring of two keys"},
		{Name: "mget", Arity: -2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: -1, Step: 1, Handler: mget,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the number of keys to retrieve.", Summary: "Get the values of all the given keys"},
		{Name: "mset", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, Step: 2, Handler: mset,
			Group: group, Since: "1.0.1", Complexity: "O(N) where N is the number of keys to set.", Summary: "Set multiple keys to multiple values"},
		{Name: "msetnx", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, Step: 2, Handler: msetnx,
			Group: group, Since: "1.0.1", Complexity: "O(N) where N is the number of keys to set.", Summary: "Set multiple keys to multiple values, only if none of the keys exist"},
		{Name: "psetex", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: psetex,
			Group: group, Since: "2.6.0", Complexity: "O(1)", Summary: "Set the value and expiration in milliseconds of a key"},
		{Name: "set", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: set,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Set the string value of a key"},
		{Name: "setex", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: setex,
			Group: group, Since: "2.0.0", Complexity: "O(1)", Summary: "Set the value and expiration of a key"},
		{Name: "setnx", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: setnx,
			Group: group, Since: "1.0.0", Complexity: "O(1)", Summary: "Set the value of a key, only if the key does not exist"},
		{Name: "setrange", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, Step: 1, Handler: setrange,
			Group: group, Since: "2.2.0", Complexity: "O(N) where N is the length of the resulting string.", Summary: "Overwrite part of a string at key starting at the specified offset"},
		{Name: "strlen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, Step: 1, Handler: strlen,
			Group: group, Since: "2.2.0", Complexity: "O(N) where N is the length of the string.", Summary: "Get the length of the value stored in a key"},
		{Name: "substr", Arity: 4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, Step: 1, Handler: getrange,
			Group: group, Since: "1.0.0", Complexity: "O(N) where N is the length of the string.", Summary: "Get a substring of the string stored at a key"},
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

// replyValue replies with the value of a string, or nil if there is none.
func (c *Context) replyValue(e *data.Entry) {
	if !e.Found {
		c.Out.Null()
		return
	}
	c.Out.Bulk(e.Value)
}

func get(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	c.replyValue(&e)
}

// setOption is a set of the options of SET and GETEX.
type setOption uint16

const (
	setNX setOption = 1 << iota
	setXX
	setGet
	setKeepTTL
	setPersist
	setEX
	setPX
	setEXAT
	setPXAT
)

// setTimes are the options that take a time.
const setTimes = setEX | setPX | setEXAT | setPXAT

// setOptions is what the options of SET or GETEX say.
type setOptions struct {
	given setOption
	time  []byte // the argument of the option in setTimes that is given
}

// parseSetOptions reads the options among those allowed, or replies with an error. Given twice, the last EX counts; two different
// options about expiry exclude each other.
func (c *Context) parseSetOptions(args [][]byte, allowed setOption) (o setOptions, ok bool) {
	for i := 0; i < len(args); i++ {
		var opt, excludes setOption
		switch strings.ToLower(string(args[i])) {
		case "nx":
			opt, excludes = setNX, setXX
		case "xx":
			opt, excludes = setXX, setNX
		case "get":
			opt = setGet
		case "keepttl":
			opt, excludes = setKeepTTL, setPersist|setTimes
		case "persist":
			opt, excludes = setPersist, setKeepTTL|setTimes
		case "ex":
			opt = setEX
		case "px":
			opt = setPX
		case "exat":
			opt = setEXAT
		case "pxat":
			opt = setPXAT
		}
		if opt&setTimes != 0 {
			excludes = setKeepTTL | setPersist | setTimes&^opt
			if i++; i == len(args) {
				opt = 0
			} else {
				o.time = args[i]
			}
		}
		if opt&allowed == 0 || o.given&excludes != 0 {
			c.Out.Error(errSyntax)
			return o, false
		}
		o.given |= opt
	}
	return o, true
}

// expiryMs is the expiry that the options name, data.NoExpiry if none, or it replies with an error.
func (o setOptions) expiryMs(c *Context, command string) (ms int64, ok bool) {
	unit, base := milliseconds, fromNow
	if o.given&(setEX|setEXAT) != 0 {
		unit = seconds
	}
	if o.given&(setEXAT|setPXAT) != 0 {
		base = fromEpoch
	}
	if o.given&setTimes == 0 {
		return data.NoExpiry, true
	}
	return c.expiryMs(o.time, unit, base, command)
}

func set(c *Context) {
	o, ok := c.parseSetOptions(c.Args[3:], setNX|setXX|setGet|setKeepTTL|setTimes)
	if !ok {
		return
	}
	expireMs, ok := o.expiryMs(c, "set")
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	if o.given&setGet != 0 {
		if c.notString(&e) {
			return
		}
		c.replyValue(&e)
	}
	if o.given&setNX != 0 && e.Found || o.given&setXX != 0 && !e.Found {
		if o.given&setGet == 0 {
			c.Out.Null()
		}
		return
	}
	if o.given&setKeepTTL != 0 {
		expireMs = e.ExpireMs
	}
	c.Tx.PutString(&e, c.Args[2], expireMs)
	if o.given&setGet == 0 {
		c.Out.OK()
	}
}

func setex(c *Context)  { c.setWithin(seconds, "setex") }
func psetex(c *Context) { c.setWithin(milliseconds, "psetex") }

func (c *Context) setWithin(unit timeUnit, command string) {
	expireMs, ok := c.expiryMs(c.Args[2], unit, fromNow, command)
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	c.Tx.PutString(&e, c.Args[3], expireMs)
	c.Out.OK()
}

func setnx(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if e.Found {
		c.Out.Int(0)
		return
	}
	c.Tx.PutString(&e, c.Args[2], data.NoExpiry)
	c.Out.Int(1)
}

func getset(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	c.replyValue(&e)
	c.Tx.PutString(&e, c.Args[2], data.NoExpiry)
}

func getdel(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	c.replyValue(&e)
	c.Tx.Remove(&e)
}

func getex(c *Context) {
	o, ok := c.parseSetOptions(c.Args[2:], setPersist|setTimes)
	if !ok {
		return
	}
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	if !e.Found {
		c.Out.Null()
		return
	}
	expireMs, ok := o.expiryMs(c, "getex")
	if !ok {
		return
	}
	c.Out.Bulk(e.Value)
	switch {
	case o.given&(setEXAT|setPXAT) != 0 && expireMs <= c.Tx.NowMs():
		c.Tx.Remove(&e)
	case o.given&setTimes != 0, o.given&setPersist != 0 && e.ExpireMs != data.NoExpiry:
		c.Tx.SetExpiry(&e, expireMs)
	}
}

func mget(c *Context) {
	c.Out.Array(len(c.Args) - 1)
	for _, k := range c.Args[1:] {
		e := c.Tx.Load(k)
		if e.Found && e.Type != data.String {
			c.Out.Null()
			continue
		}
		c.replyValue(&e)
	}
}

// mset needs no indexed batch: of a key named twice both loads see the old record, and both writes drop its expiry.
func mset(c *Context) {
	if len(c.Args)%2 == 0 {
		c.Out.Error(errArity("mset"))
		return
	}
	c.putPairs()
	c.Out.OK()
}

func msetnx(c *Context) {
	if len(c.Args)%2 == 0 {
		c.Out.Error(errArity("msetnx"))
		return
	}
	for i := 1; i < len(c.Args); i += 2 {
		if e := c.Tx.Load(c.Args[i]); e.Found {
			c.Out.Int(0)
			return
		}
	}
	c.putPairs()
	c.Out.Int(1)
}

func (c *Context) putPairs() {
	for i := 1; i < len(c.Args); i += 2 {
		e := c.Tx.Load(c.Args[i])
		c.Tx.PutString(&e, c.Args[i+1], data.NoExpiry)
	}
}

func appendString(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	if len(e.Value)+len(c.Args[2]) > maxString {
		c.Out.Error(errTooLong)
		return
	}
	value := append(e.Value, c.Args[2]...) //nolint:gocritic // the loaded value is ours
	c.Tx.PutString(&e, value, e.ExpireMs)
	c.Out.Int(int64(len(value)))
}

func strlen(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	c.Out.Int(int64(len(e.Value)))
}

func incr(c *Context) { c.add(1) }
func decr(c *Context) { c.add(-1) }

func incrby(c *Context) {
	n, ok := parseInt(c.Args[2])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	c.add(n)
}

func decrby(c *Context) {
	n, ok := parseInt(c.Args[2])
	switch {
	case !ok:
		c.Out.Error(errNotInteger)
	case n == math.MinInt64:
		c.Out.Error(errDecrOverflow)
	default:
		c.add(-n)
	}
}

// add adds n to the integer at the key, which keeps its expiry.
func (c *Context) add(n int64) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	old := int64(0)
	if e.Found {
		var ok bool
		if old, ok = parseInt(e.Value); !ok {
			c.Out.Error(errNotInteger)
			return
		}
	}
	if n > 0 && old > math.MaxInt64-n || n < 0 && old < math.MinInt64-n {
		c.Out.Error(errOverflow)
		return
	}
	c.Tx.PutString(&e, strconv.AppendInt(nil, old+n, 10), e.ExpireMs)
	c.Out.Int(old + n)
}

func incrbyfloat(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	old, oldKind := new(big.Float).SetPrec(floatBits), finite
	if e.Found {
		old, oldKind = parseFloat(e.Value)
	}
	n, kind := parseFloat(c.Args[2])
	switch {
	case oldKind == notFloat || kind == notFloat:
		c.Out.Error(errNotFloat)
		return
	case oldKind == infinite || kind == infinite:
		c.Out.Error(errNaN)
		return
	}
	sum := new(big.Float).SetPrec(floatBits).Add(old, n)
	if sum.Sign() != 0 && sum.MantExp(nil) > floatMaxExp {
		c.Out.Error(errNaN)
		return
	}
	value := formatFloat(sum)
	c.Tx.PutString(&e, value, e.ExpireMs)
	c.Out.Bulk(value)
}

func getrange(c *Context) {
	start, ok1 := parseInt(c.Args[2])
	end, ok2 := parseInt(c.Args[3])
	if !ok1 || !ok2 {
		c.Out.Error(errNotInteger)
		return
	}
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	n := int64(len(e.Value))
	if start < 0 && end < 0 && start > end {
		c.Out.BulkString("")
		return
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end {
		c.Out.BulkString("")
		return
	}
	c.Out.Bulk(e.Value[start : end+1])
}

func setrange(c *Context) {
	offset, ok := parseInt(c.Args[2])
	if !ok {
		c.Out.Error(errNotInteger)
		return
	}
	if offset < 0 {
		c.Out.Error(errOffset)
		return
	}
	e := c.Tx.Load(c.Args[1])
	if c.notString(&e) {
		return
	}
	patch := c.Args[3]
	if len(patch) == 0 {
		c.Out.Int(int64(len(e.Value)))
		return
	}
	if offset > maxString-int64(len(patch)) {
		c.Out.Error(errTooLong)
		return
	}
	value := e.Value
	if grow := int(offset) + len(patch) - len(value); grow > 0 {
		value = append(value, make([]byte, grow)...)
	}
	copy(value[offset:], patch)
	c.Tx.PutString(&e, value, e.ExpireMs)
	c.Out.Int(int64(len(value)))
}
