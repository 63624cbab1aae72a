package command

import (
	"testing"
	"time"
)

func TestTimeout(t *testing.T) {
	for _, c := range []struct {
		arg     string
		want    time.Duration
		problem string
	}{
		{"0", 0, ""},
		{"1", time.Second, ""},
		{"0.5", 500 * time.Millisecond, ""},
		{"0.0001", time.Millisecond, ""}, // not 0, which waits for ever
		{"1e9", 1e9 * time.Second, ""},
		{"9e15", maxTimeout, ""},
		{"1e16", 0, errTimeoutRange},
		{"1e400", 0, errTimeoutRange},
		{"inf", 0, errTimeoutRange},
		{"-inf", 0, errTimeoutNegative},
		{"-0.1", 0, errTimeoutNegative},
		{"nan", 0, errTimeout},
		{"", 0, errTimeout},
		{"x", 0, errTimeout},
		{" 1", 0, errTimeout},
	} {
		if got, problem := Timeout([]byte(c.arg)); got != c.want || problem != c.problem {
			t.Errorf("%q: %v, %q, want %v, %q", c.arg, got, problem, c.want, c.problem)
		}
	}
}
