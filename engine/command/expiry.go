package command

import (
	"math"
	"strings"

	"godwit/engine/data"
)

// timeUnit is how a command counts time, in milliseconds.
type timeUnit int64

const (
	milliseconds timeUnit = 1
	seconds      timeUnit = 1000
)

// timeBase is what a time is counted from.
type timeBase uint8

const (
	fromNow timeBase = iota
	fromEpoch
)

// expiryMs turns the argument of EX, PX, EXAT or PXAT into unix milliseconds, or replies with an error. It must be positive.
func (c *Context) expiryMs(arg []byte, unit timeUnit, base timeBase, command string) (ms int64, ok bool) {
	ms, ok = parseInt(arg)
	if !ok {
		c.Out.Error(errNotInteger)
		return 0, false
	}
	if ms <= 0 || ms > math.MaxInt64/int64(unit) {
		c.Out.Error(errExpire(command))
		return 0, false
	}
	ms *= int64(unit)
	if base == fromNow {
		if ms > math.MaxInt64-c.Tx.NowMs() {
			c.Out.Error(errExpire(command))
			return 0, false
		}
		ms += c.Tx.NowMs()
	}
	return ms, true
}

// expireCondition is a set of the options NX, XX, GT and LT of EXPIRE.
type expireCondition uint8

const (
	expireNX expireCondition = 1 << iota
	expireXX
	expireGT
	expireLT
)

// parseExpireCondition reads the options of EXPIRE or replies with an error.
func (c *Context) parseExpireCondition(args [][]byte) (cond expireCondition, ok bool) {
	for _, a := range args {
		switch strings.ToLower(string(a)) {
		case "nx":
			cond |= expireNX
		case "xx":
			cond |= expireXX
		case "gt":
			cond |= expireGT
		case "lt":
			cond |= expireLT
		default:
			c.Out.Error(errOption(a))
			return 0, false
		}
	}
	switch {
	case cond&expireNX != 0 && cond != expireNX:
		c.Out.Error(errExpireNX)
		return 0, false
	case cond&expireGT != 0 && cond&expireLT != 0:
		c.Out.Error(errExpireGTLT)
		return 0, false
	}
	return cond, true
}

// allows reports whether an expiry may be replaced by another. A key that does not expire counts as infinitely far.
func (cond expireCondition) allows(oldMs, newMs int64) bool {
	expires := oldMs != data.NoExpiry
	switch {
	case cond&expireNX != 0 && expires,
		cond&expireXX != 0 && !expires,
		cond&expireGT != 0 && (!expires || newMs <= oldMs),
		cond&expireLT != 0 && expires && newMs >= oldMs:
		return false
	}
	return true
}

// expireWith makes the handler of one of EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
func expireWith(command string, unit timeUnit, base timeBase) Handler {
	return func(c *Context) {
		cond, ok := c.parseExpireCondition(c.Args[3:])
		if !ok {
			return
		}
		when, ok := parseInt(c.Args[2])
		if !ok {
			c.Out.Error(errNotInteger)
			return
		}
		if when > math.MaxInt64/int64(unit) || when < math.MinInt64/int64(unit) {
			c.Out.Error(errExpire(command))
			return
		}
		when *= int64(unit)
		if base == fromNow {
			if when > math.MaxInt64-c.Tx.NowMs() {
				c.Out.Error(errExpire(command))
				return
			}
			when += c.Tx.NowMs()
		}
		e := c.Tx.Load(c.Args[1])
		switch {
		case !e.Found || !cond.allows(e.ExpireMs, when):
			c.Out.Int(0)
			return
		case when <= c.Tx.NowMs():
			c.Tx.Remove(&e)
		default:
			c.Tx.SetExpiry(&e, when)
		}
		c.Out.Int(1)
	}
}

// Answers of TTL and its relatives.
const (
	ttlNoKey    = -2
	ttlNoExpiry = -1
)

// ttlWith makes the handler of one of TTL, PTTL, EXPIRETIME and PEXPIRETIME. Seconds are rounded to the nearest.
func ttlWith(unit timeUnit, base timeBase) Handler {
	return func(c *Context) {
		e := c.Tx.Load(c.Args[1])
		switch {
		case !e.Found:
			c.Out.Int(ttlNoKey)
			return
		case e.ExpireMs == data.NoExpiry:
			c.Out.Int(ttlNoExpiry)
			return
		}
		ms := e.ExpireMs
		if base == fromNow {
			ms = max(ms-c.Tx.NowMs(), 0)
		}
		if unit == seconds {
			ms = ms/1000 + (ms%1000+500)/1000 // ms+500 could overflow
		}
		c.Out.Int(ms)
	}
}

func persist(c *Context) {
	e := c.Tx.Load(c.Args[1])
	if !e.Found || e.ExpireMs == data.NoExpiry {
		c.Out.Int(0)
		return
	}
	c.Tx.SetExpiry(&e, data.NoExpiry)
	c.Out.Int(1)
}
