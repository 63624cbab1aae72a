package main

import (
	"strings"
	"testing"
	"time"
)

// TestLimitFlags: flags make a limit, whose windows are those of this machine's time zone unless another is given.
func TestLimitFlags(t *testing.T) {
	now := time.Date(2025, 7, 1, 12, 0, 0, 0, time.FixedZone("somewhere", 2*60*60))
	for _, c := range []struct {
		flags limitFlags
		want  string
	}{
		{limitFlags{}, ""},
		{limitFlags{rate: "20 MB/s"}, "20MB/s"},
		{limitFlags{rate: "unlimited"}, "unlimited"},
		{limitFlags{auto: 20}, "unlimited auto=20%"},
		{limitFlags{rate: "1mb", windows: []string{"23:00-07:00=200MB/s", "07:00-09:00=1kB/s"}}, "1MB/s 23:00-07:00=200MB/s 07:00-09:00=1kB/s zone=+02:00"},
		{limitFlags{windows: []string{"23:00-07:00 = 200MB/s"}, zone: "-03:30"}, "unlimited 23:00-07:00=200MB/s zone=-03:30"},
	} {
		if got, err := c.flags.text(now); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.flags, got, err, c.want)
		}
	}
	for words, flags := range map[string]limitFlags{
		"--zone": {zone: "+01:00"}, "rate": {rate: "fast"}, "window": {windows: []string{"23:00"}}, "zone": {windows: []string{"23:00-01:00=1MB/s"}, zone: "CET"},
		"auto": {auto: -5},
	} {
		if got, err := flags.text(now); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %q, %v; want an error with %q", flags, got, err, words)
		}
	}
}
