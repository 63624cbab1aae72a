package migration

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate
		show string
	}{
		{"20MB/s", 20e6, "20 MB/s"}, {"20 mb", 20e6, "20 MB/s"}, {"1.5GB/s", 15e8, "1500 MB/s"}, {"500kB/s", 5e5, "500 kB/s"},
		{"7", 7, "7 B/s"}, {"7b/s", 7, "7 B/s"}, {"unlimited", 0, "unlimited"}, {"1000GB/s", MaxRate, "1000 GB/s"},
	} {
		got, err := ParseRate(c.text)
		if err != nil || got != c.want || got.String() != c.show {
			t.Errorf("%q: %d %q %v", c.text, got, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1MB/s", "20 TB/s", "1001GB/s", "NaN", "inf", "0x10", "1_000", "0.4", "MB/s", "1e400"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

func TestParseLimit(t *testing.T) {
	const all = "20MB/s 23:00-07:00=200MB/s 07:00-09:30=5MB/s zone=-03:30 auto=20%"
	l, err := ParseLimit(all)
	if err != nil || l.String() != all || l.None() {
		t.Errorf("%q %v", l, err)
	}
	for text, words := range map[string]string{
		"20MB/s 30MB/s": "given twice", "zone=+1:00 zone=+01:00": "given twice", "auto=5% auto=6": "given twice",
		"25:00-07:00=1MB/s": "window", "23:60-07:00=1MB/s": "window", "23:00-7=1MB/s": "window", "23:00-07:00=fast": "rate",
		"zone=+15:00": "zone", "zone=Berlin": "zone", "auto=0": "auto", "auto=2000%": "auto", "fast": "rate",
		strings.Repeat("00:00-01:00=1MB/s ", MaxWindows+1): "too many",
	} {
		if got, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %q, %v; want an error with %q", text, got, err, words)
		}
	}
	for _, text := range []string{"", "unlimited", "00:00-00:00=unlimited"} {
		if l, err := ParseLimit(text); err != nil || !l.None() {
			t.Errorf("%q: %q %v", text, l, err)
		}
	}
}

// TestWindows: a window may go over midnight, the first that is open counts, and the zone moves all of them.
func TestWindows(t *testing.T) {
	const minute, hour = int64(60_000), int64(3_600_000)
	const day = 24 * hour
	for _, c := range []struct {
		limit string
		at    int64
		want  string
	}{
		{"20MB/s 23:00-07:00=200MB/s", 22*hour + 59*minute, "20 MB/s"},
		{"20MB/s 23:00-07:00=200MB/s", 23 * hour, "200 MB/s (window 23:00-07:00 UTC)"},
		{"20MB/s 23:00-07:00=200MB/s", day, "200 MB/s (window 23:00-07:00 UTC)"},
		{"20MB/s 23:00-07:00=200MB/s", day + 7*hour - 1, "200 MB/s (window 23:00-07:00 UTC)"},
		{"20MB/s 23:00-07:00=200MB/s", day + 7*hour, "20 MB/s"},
		{"23:00-07:00=200MB/s zone=+02:00", 21 * hour, "200 MB/s (window 23:00-07:00 UTC+02:00)"},
		{"23:00-07:00=200MB/s zone=+02:00", 5 * hour, "unlimited"},
		{"23:00-07:00=200MB/s zone=-03:30", 2*hour + 30*minute, "200 MB/s (window 23:00-07:00 UTC-03:30)"},
		{"08:00-12:00=1MB/s 10:00-20:00=2MB/s", 11 * hour, "1 MB/s (window 08:00-12:00 UTC)"},
		{"08:00-12:00=1MB/s 10:00-20:00=2MB/s", 12 * hour, "2 MB/s (window 10:00-20:00 UTC)"},
		{"06:00-06:00=3MB/s", 5 * hour, "3 MB/s (window 06:00-06:00 UTC)"},
		{"18:00-24:00=3MB/s", 23*hour + 59*minute, "3 MB/s (window 18:00-00:00 UTC)"},
		{"18:00-24:00=3MB/s", day, "unlimited"},
		{"23:00-07:00=4MB/s zone=-01:00", 30 * minute, "4 MB/s (window 23:00-07:00 UTC-01:00)"},
	} {
		l, err := ParseLimit(c.limit)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := l.At(c.at); got != c.want {
			t.Errorf("%s at %d: %s, want %s", c.limit, c.at, got, c.want)
		}
	}
}

// FuzzParseLimit: what is read is written so that it is read as the same, and at every minute some rate counts.
func FuzzParseLimit(f *testing.F) {
	for _, text := range []string{"", "20MB/s", "1.5GB/s 23:00-07:00=200MB/s zone=+02:00 auto=20%", "unlimited 00:00-24:00=7b", "zone=-14:00"} {
		f.Add(text, int64(0))
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		l, err := ParseLimit(text)
		if err != nil {
			return
		}
		again, err := ParseLimit(l.String())
		if err != nil || again.String() != l.String() {
			t.Fatalf("%q is written as %q, and that is read as %q, %v", text, l, again, err)
		}
		if r, words := l.At(at); r < 0 || r > MaxRate || words == "" {
			t.Fatalf("%q at %d: %d %q", text, at, r, words)
		}
	})
}

// TestBucket sends messages of any size whenever it may, now and then one without asking, under a rate that changes: in no time is more
// sent than the rate and one message, but for what was sent unasked, and a sender that always has something sends nearly all.
func TestBucket(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := Rate(rapid.Int64Range(1, 300_000_000).Draw(rt, "rate"))
		largest := rapid.IntRange(1, 1<<20).Draw(rt, "largest message")
		var b Bucket
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "start"))
		type sending struct {
			at    time.Duration
			bytes int
			free  bool
		}
		var all []sending
		began, idle := now, rapid.Bool().Draw(rt, "idle now and then")
		total := 0
		for range rapid.IntRange(1, 60).Draw(rt, "messages") {
			for !b.Ready(now, rate) {
				w := b.Wait(now)
				if w <= 0 {
					rt.Fatalf("not ready, and nothing to wait for: %+v", b)
				}
				if b.Ready(now+w-1, rate) {
					rt.Fatalf("ready before the time that was named")
				}
				now += w
				if !b.Ready(now, rate) {
					rt.Fatalf("not ready when the wait is over: %+v", b)
				}
			}
			n := rapid.IntRange(1, largest).Draw(rt, "bytes")
			b.Take(n)
			free := rapid.IntRange(0, 9).Draw(rt, "unasked") == 0
			all = append(all, sending{now, n, false})
			total += n
			if free {
				b.Take(n)
				all = append(all, sending{now, n, true})
				total += n
			}
			if idle && rapid.IntRange(0, 4).Draw(rt, "pause") == 0 {
				now += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(rt, "for"))
			}
		}
		for i := range all {
			sent := 0.0
			for _, s := range all[i:] {
				sent += float64(s.bytes)
				if s.free {
					continue
				}
				free := 0.0
				for _, f := range all[i:] {
					if f.free && f.at <= s.at {
						free += float64(f.bytes)
					}
				}
				if most := float64(rate)*(s.at-all[i].at+2*Slice).Seconds() + float64(largest) + free + 1; sent > most {
					rt.Fatalf("%.0f bytes in %v under %s, want at most %.0f", sent, s.at-all[i].at, rate, most)
				}
			}
		}
		if !idle {
			for !b.Ready(now, rate) {
				now += b.Wait(now)
			}
			if least := float64(rate) * ((now - began).Seconds() - (2 * Slice).Seconds()); float64(total) < least {
				rt.Fatalf("%d bytes in %v under %s: more was allowed", total, now-began, rate)
			}
		}
	})
}

// TestBucketOfManyRates: a change of rate counts from the next slice on, none lets everything pass and forgets what was owed.
func TestBucketOfManyRates(t *testing.T) {
	var b Bucket
	if !b.Ready(0, 100) {
		t.Fatal("a new bucket lets nothing pass")
	}
	b.Take(100) // a second's worth: 99 slices to pay
	if b.Ready(500*time.Millisecond, 100) || b.Wait(500*time.Millisecond) != 500*time.Millisecond {
		t.Fatalf("half of it paid: wait %v", b.Wait(500*time.Millisecond))
	}
	if b.Ready(510*time.Millisecond, 10_000); !b.Ready(520*time.Millisecond, 10_000) {
		t.Fatal("the greater rate does not count")
	}
	b.Take(1 << 30)
	if !b.Ready(530*time.Millisecond, 0) || !b.Ready(540*time.Millisecond, 100) {
		t.Fatal("without a rate something was waited for, or remembered")
	}
}
