package migration

import (
	"fmt"
	"time"
)

// Auto finds a rate at which clients wait hardly longer than without moves: additively faster while they do not, and at once slower by a third
// when they do. What they wait without moves is measured first, and again every minute, while nothing is sent for a second.
//
// It is stepped by what clients have waited since the step before. The zero Auto is ready.
type Auto struct {
	// Hold says that nothing may be sent, for what clients wait is being measured; Rate is the rate otherwise, 0 for no limit.
	Hold bool
	Rate Rate
	// Base is the 99th percentile of what clients wait without moves, Last that of the last step; 0 while nobody knows.
	Base, Last time.Duration
	// Next is when Step is to be called.
	Next time.Duration

	began   bool
	measure time.Duration // when Base is to be measured again
}

// Numbers of the automatic mode.
const (
	autoFirst      Rate = 4e6 // to begin with
	autoFaster     Rate = 1e6 // more with every step
	autoLeast      Rate = 256e3
	autoMost       Rate = 2e9
	autoStep            = 500 * time.Millisecond
	autoMeasure         = time.Second
	autoMeasureNew      = time.Minute
	// autoForgets is after what time without a step it begins anew: nothing has been sent.
	autoForgets = 5 * time.Second
)

// Step says how long clients have waited since the last step: the 99th percentile, or 0 if too few were there to tell. percent is by how much that may
// be more than without moves.
func (a *Auto) Step(now, waited time.Duration, percent int) {
	a.Last = waited
	switch {
	case !a.began || now-a.Next > autoForgets:
		*a = Auto{began: true, Rate: max(a.Rate, autoFirst)}
		a.hold(now)
	case a.Hold:
		a.Hold, a.Base = false, waited
		a.measure, a.Next = now+autoMeasureNew, now+autoStep
	case waited == 0: // nobody is there
		a.faster(now)
	case a.Base == 0, now >= a.measure:
		a.hold(now)
	case waited > a.Base+a.Base*time.Duration(percent)/100:
		a.Rate, a.Next = max(a.Rate*2/3, autoLeast), now+autoStep
	default:
		a.faster(now)
	}
}

func (a *Auto) hold(now time.Duration) { a.Hold, a.Next = true, now+autoMeasure }

func (a *Auto) faster(now time.Duration) {
	a.Rate, a.Next = min(a.Rate+autoFaster, autoMost), now+autoStep
}

// String says what the rate is and why.
func (a *Auto) String() string {
	switch {
	case a.Hold:
		return "automatic, while it is measured how long clients wait without moves"
	case a.Base == 0 || a.Last == 0:
		return fmt.Sprintf("%.1f MB/s, automatic", float64(a.Rate)/1e6)
	}
	return fmt.Sprintf("%.1f MB/s, automatic: clients wait %s, and %s without moves", float64(a.Rate)/1e6, a.Last.Round(time.Microsecond), a.Base.Round(time.Microsecond))
}
