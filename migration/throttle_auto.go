package migration

import (
	"fmt"
	"time"
)

// Auto finds a rate at which clients wait hardly longer than without moves: faster by a quarter, or 1 MB/s, while they do not, and at once slower by a third
// when they do, down to 1 MB/s. What they wait without moves is measured first, and again every minute, while nothing is sent for a second.
//
// What clients wait has causes other than moves: their own load, other programs. When three steps down in a row did not help it is measured anew, though
// not twice within ten seconds; if they wait as long without moves, those were not to blame, and the rate is again what it was before.
//
// It is stepped by what clients have waited since the step before. The zero Auto is ready.
type Auto struct {
	// Hold says that nothing may be sent, for what clients wait is being measured; Rate is the rate otherwise, 0 for no limit.
	Hold bool
	Rate Rate
	// Base is the 99th percentile of what clients wait without moves, Last that of the last step; 0 while nobody knows.
	Base, Last time.Duration
	// Next is when Step, or Skip, is to be called.
	Next time.Duration

	began   bool
	measure time.Duration // when Base is to be measured again
	doubt   time.Duration // from when on it may be measured before that, since going slower does not help
	slower  int           // steps down in a row
	before  Rate          // of the first of them
}

// Numbers of the automatic mode.
const (
	autoFirst      Rate = 4e6 // to begin with
	autoFaster     Rate = 1e6 // more with every step, at least
	autoPart       Rate = 4   // more is so many times less than the rate, if that comes to more
	autoLeast      Rate = 1e6 // a hundredth of what a processor can send: less would spare clients nothing
	autoMost       Rate = 2e9
	autoStep            = 500 * time.Millisecond
	autoMeasure         = time.Second
	autoMeasureNew      = time.Minute
	// autoHelpless is after how many steps down in a row Base is doubted, and autoDoubts for how long not again.
	autoHelpless = 3
	autoDoubts   = 10 * time.Second
	// autoForgets is after what time without a step it begins anew: nothing has been sent.
	autoForgets = 5 * time.Second
)

// Step says how long clients have waited since the last step: the 99th percentile, or 0 if hardly any were there. percent is by how much that may
// be more than without moves.
func (a *Auto) Step(now, waited time.Duration, percent int) {
	last := a.Last
	a.Last = waited
	switch {
	case !a.began || now-a.Next > autoForgets:
		*a = Auto{began: true, Rate: max(a.Rate, autoFirst)}
		a.hold(now)
	case a.Hold:
		a.Hold, a.Base = false, waited
		a.measure, a.doubt, a.Next = now+autoMeasureNew, now+autoDoubts, now+autoStep
		if a.slower > 0 && last <= a.bearable(percent) {
			a.Rate = a.before
		}
		a.slower = 0
	case waited == 0: // nobody is there
		a.faster(now, autoFaster)
	case a.Base == 0, now >= a.measure:
		a.slower = 0
		a.hold(now)
	case waited <= a.bearable(percent):
		a.faster(now, max(autoFaster, a.Rate/autoPart))
	case a.slower >= autoHelpless && now >= a.doubt:
		a.hold(now)
	default:
		if a.slower == 0 {
			a.before = a.Rate
		}
		a.slower++
		a.Rate, a.Next = max(a.Rate*2/3, autoLeast), now+autoStep
	}
}

// Skip says that too few clients have waited since the last step to tell how long, though some were there: they are counted on, and the rate stays.
// It reports whether that is possible; if it is not, it is time for Step.
func (a *Auto) Skip(now time.Duration) bool {
	if !a.began || a.Hold || now-a.Next > autoForgets {
		return false
	}
	a.Next = now + autoStep
	return true
}

// bearable is how long clients may wait.
func (a *Auto) bearable(percent int) time.Duration {
	return a.Base + a.Base*time.Duration(percent)/100
}

func (a *Auto) hold(now time.Duration) { a.Hold, a.Next = true, now+autoMeasure }

func (a *Auto) faster(now time.Duration, by Rate) {
	a.slower = 0
	a.Rate, a.Next = min(a.Rate+by, autoMost), now+autoStep
}

// String says what the rate is and why.
func (a *Auto) String() string {
	switch {
	case a.Hold:
		return "automatic, while it is measured how long clients wait without moves"
	case a.Base == 0 || a.Last == 0:
		return fmt.Sprintf("%.1f MB/s, automatic", float64(a.Rate)/1e6)
	}
	least := ""
	if a.Rate == autoLeast {
		least = ", the least"
	}
	return fmt.Sprintf("%.1f MB/s%s, automatic: clients wait %s, and %s without moves", float64(a.Rate)/1e6, least, a.Last.Round(time.Microsecond), a.Base.Round(time.Microsecond))
}
