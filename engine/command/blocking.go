package command

import (
	"math"
	"strconv"
	"time"

	"godwit/engine/data"
)

// Wait is what a command with the flag Blocking waits for.
type Wait struct {
	// Keys are the keys of which one may come to hold something. They alias the request.
	Keys [][]byte
	// Type is the type that a key must have to be worth another look.
	Type data.Type
	// Timeout is for how long to wait; 0 means for ever.
	Timeout time.Duration
}

// Waiter lets a handler wait: the node implements it for requests that may.
type Waiter interface {
	// InLine reports whether others wait for one of the keys and are about to be served: then the handler returns without a
	// look and without a reply, and runs again when it is its turn.
	InLine(w *Wait) bool
	// Block makes the command wait. The handler, which found nothing, returns without a reply; it runs again, from routing
	// on, when one of the keys has changed. When the time is over the node answers with a null array.
	Block(w *Wait)
}

// InLine is what a handler of a blocking command asks before it looks at its keys: with true it returns without a reply,
// since others came first. See Waiter.
func (c *Context) InLine(w *Wait) bool { return c.Waiter != nil && c.Waiter.InLine(w) }

// Block is what a handler of a blocking command calls when it found nothing. With true the command waits and the handler
// returns without a reply; with false it may not wait, as in a transaction, and the handler replies that there is nothing.
func (c *Context) Block(w *Wait) bool {
	if c.Waiter == nil {
		return false
	}
	c.Waiter.Block(w)
	return true
}

// TakeOrWait is the frame of a blocking command: it tries the keys of w in their order with take, which replies and reports true
// if the key ended the search, by what it held or by an error. If none does, the command waits, or, where it may not, nothing
// replies.
func (c *Context) TakeOrWait(w *Wait, take func(user []byte) (done bool), nothing func()) {
	if c.InLine(w) {
		return
	}
	for _, k := range w.Keys {
		if take(k) {
			return
		}
	}
	if !c.Block(w) {
		nothing()
	}
}

// Timeout reads the timeout of a blocking command, in seconds with a fraction; problem is the error to be replied, or "".
func Timeout(arg []byte) (d time.Duration, problem string) {
	seconds, err := strconv.ParseFloat(string(arg), 64)
	if err != nil && !math.IsInf(seconds, 0) || math.IsNaN(seconds) {
		return 0, errTimeout
	}
	switch {
	case seconds < 0:
		return 0, errTimeoutNegative
	case seconds*1000 > math.MaxInt64:
		return 0, errTimeoutRange
	case seconds >= maxTimeout.Seconds():
		return maxTimeout, ""
	}
	// Rounded up, as Redis does: a timeout that is not 0 must not become one, which waits for ever.
	return time.Duration(math.Ceil(seconds*1000)) * time.Millisecond, ""
}

// maxTimeout is a century, for longer timeouts: with the clock added it must fit a time.Duration, of 292 years.
const maxTimeout = 100 * 365 * 24 * time.Hour

const (
	errTimeout         = "ERR timeout is not a float or out of range"
	errTimeoutNegative = "ERR timeout is negative"
	errTimeoutRange    = "ERR timeout is out of range"
)
