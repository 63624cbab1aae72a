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

// TestAutoDoubts: when clients come to wait longer for another reason than moves, that is found out within seconds, and the rate is what it was; when moves
// make them wait at any rate, the rate is the least one, and moves are stopped to measure it only now and then.
func TestAutoDoubts(t *testing.T) {
	var a Auto
	a.Step(0, 0, 50)
	for range 20 {
		a.Step(a.Next, time.Millisecond, 50)
	}
	rate, since := a.Rate, a.Next
	for a.Step(a.Next, 5*time.Millisecond, 50); a.Rate < rate; a.Step(a.Next, 5*time.Millisecond, 50) {
		if a.Rate < rate/5 || a.Next > since+5*time.Second {
			t.Fatalf("others make clients wait, and %v later the rate is still %v, was %v", a.Next-since, a.Rate, rate)
		}
	}
	if a.Base != 5*time.Millisecond {
		t.Errorf("%+v", a)
	}
	held, least := 0, 0
	const steps = 1000
	for range steps {
		waited := 20 * time.Millisecond
		if a.Hold {
			held++
			waited = 5 * time.Millisecond
		} else if a.Rate == autoLeast {
			least++
		}
		a.Step(a.Next, waited, 50)
	}
	if held > steps/15 || least < steps*9/10 {
		t.Errorf("of %d steps %d were held and %d at the least rate: %+v", steps, held, least, a)
	}
	if !strings.Contains(a.String(), "1.0 MB/s, the least, automatic: clients wait 20ms, and 5ms without moves") {
		t.Error(a.String())
	}
}

// TestAutoSkips: while too few have waited to tell anything the rate stays; a measurement is not put off.
func TestAutoSkips(t *testing.T) {
	var a Auto
	if a.Skip(0) {
		t.Error("there is no rate yet")
	}
	a.Step(0, 0, 50)
	if a.Skip(a.Next) {
		t.Error("it measures, and is kept from ending that")
	}
	a.Step(a.Next, time.Millisecond, 50)
	rate, next := a.Rate, a.Next
	if !a.Skip(a.Next) || a.Rate != rate || a.Next <= next {
		t.Errorf("%+v", a)
	}
	if a.Skip(a.Next + time.Minute) {
		t.Error("it goes on after a minute in which nobody asked")
	}
}
