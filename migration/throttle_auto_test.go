package migration

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAuto: whatever rate makes clients wait longer than they may, the automatic mode stays about there: it is above it only for a step at a time,
// and not far below.
func TestAuto(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := time.Duration(rapid.IntRange(50, 20_000).Draw(rt, "base in µs")) * time.Microsecond
		percent := rapid.IntRange(5, 200).Draw(rt, "percent")
		bearable := Rate(rapid.IntRange(1, 300).Draw(rt, "MB/s that clients bear")) * 1e6
		var a Auto
		a.Step(0, 0, percent)
		if !a.Hold {
			rt.Fatal("it does not measure first")
		}
		over, under, held, steps := 0, 0, 0, 0
		for now := a.Next; now < 30*time.Minute; now = a.Next {
			waited := base
			if !a.Hold && a.Rate > bearable {
				waited = base + base*time.Duration(percent)/100 + time.Microsecond
			}
			if now > 10*time.Minute {
				switch steps++; {
				case a.Hold:
					held++
				case a.Rate > bearable:
					over++
				case a.Rate < bearable/2:
					under++
				}
			}
			a.Step(now, waited, percent)
			if a.Next <= now || a.Rate < autoLeast || a.Rate > autoMost {
				rt.Fatalf("%+v", a)
			}
		}
		if a.Base != base || over > steps*2/3 || under > steps/20+steps*2/3*int(1e6/bearable) || held > steps/60 {
			rt.Fatalf("of %d steps %d were too fast, %d too slow, %d held: %+v", steps, over, under, held, a)
		}
	})
}

// TestAutoWithoutClients: without clients there is nothing to keep to; when some come it is measured what they wait, and after a time without moves anew.
func TestAutoWithoutClients(t *testing.T) {
	var a Auto
	for range 20 {
		a.Step(a.Next, 0, 20)
	}
	if a.Hold || a.Base != 0 || a.Rate <= autoFirst || !strings.HasSuffix(a.String(), "MB/s, automatic") {
		t.Fatalf("nobody is there: %+v", a)
	}
	a.Step(a.Next, time.Millisecond, 20)
	if !a.Hold || !strings.Contains(a.String(), "measured") {
		t.Fatalf("clients have come: %+v", a)
	}
	a.Step(a.Next, time.Millisecond, 20)
	rate := a.Rate
	if a.Hold || a.Base != time.Millisecond {
		t.Fatalf("it was measured: %+v", a)
	}
	a.Step(a.Next, 1300*time.Microsecond, 20)
	if a.Rate >= rate || !strings.Contains(a.String(), "clients wait 1.3ms, and 1ms without moves") {
		t.Fatalf("they wait too long: %+v %s", a, &a)
	}
	a.Step(a.Next+time.Minute, time.Millisecond, 20)
	if !a.Hold {
		t.Fatalf("after a minute without moves: %+v", a)
	}
}
