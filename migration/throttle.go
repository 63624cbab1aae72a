package migration

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of bytes per second; 0 is no limit.
type Rate int64

// MaxRate is the greatest rate that can be asked for, 1 TB/s: far above any link, and far below where Bucket's arithmetic ends.
const MaxRate Rate = 1e12

// rateUnits are the units of rates, the largest first.
var rateUnits = [...]struct {
	name  string
	bytes Rate
}{{"GB/s", 1e9}, {"MB/s", 1e6}, {"kB/s", 1e3}, {"B/s", 1}}

// String is the rate with the largest unit that divides it: what ParseRate reads.
func (r Rate) String() string {
	if r == 0 {
		return "unlimited"
	}
	for _, u := range rateUnits {
		if r%u.bytes == 0 {
			return strconv.FormatInt(int64(r/u.bytes), 10) + " " + u.name
		}
	}
	return ""
}

// errRate says how a rate is written.
var errRate = errors.New("want a rate such as 20MB/s, 500kB/s or 1.5GB/s, at most 1000GB/s, or unlimited")

// ParseRate reads a rate: a number and a unit of 1000s (B, kB, MB, GB, in any case, with or without /s), or "unlimited".
func ParseRate(text string) (Rate, error) {
	word := strings.ToLower(strings.ReplaceAll(text, " ", ""))
	if word == "unlimited" {
		return 0, nil
	}
	word = strings.TrimSuffix(word, "/s")
	unit := Rate(1)
	for _, u := range rateUnits {
		if rest, ok := strings.CutSuffix(word, strings.ToLower(strings.TrimSuffix(u.name, "/s"))); ok {
			word, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(word, 64)
	if err != nil || strings.ContainsAny(word, "xp_in") || !(n > 0) || n*float64(unit) > float64(MaxRate) || n*float64(unit) < 1 {
		return 0, fmt.Errorf("rate %q: %w", text, errRate)
	}
	return Rate(math.Round(n * float64(unit))), nil
}

// minutesOfDay is how many minutes a day has.
const minutesOfDay = 24 * 60

// Window is a part of every day in which another rate counts: the minutes of the day from From up to but not including To. One that
// ends before it begins goes over midnight; one that ends where it begins is the whole day.
type Window struct {
	From, To int // 0 to 1439
	Rate     Rate
}

// has reports whether the window is open at a minute of the day.
func (w Window) has(minute int) bool {
	if w.From < w.To {
		return w.From <= minute && minute < w.To
	}
	return minute >= w.From || minute < w.To
}

// span is the window's time as people write it.
func (w Window) span() string { return clock(w.From) + "-" + clock(w.To) }

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// MaxWindows bounds the windows of a limit.
const MaxWindows = 24

// Limit says how fast records may be sent or compared. The zero Limit is none.
type Limit struct {
	// Rate counts where no window is open.
	Rate Rate
	// Windows are looked at in order; the first that is open counts.
	Windows []Window
	// ZoneMinutes is the time zone of the windows, in minutes east of UTC: a fixed distance, which does not follow summer time.
	ZoneMinutes int
	// AutoPercent, unless it is 0, asks for a rate, below the one that counts, at which the 99th percentile of what clients wait for is at
	// most so many percent above what it was without moves.
	AutoPercent int
}

// maxAutoPercent is the greatest AutoPercent; one that lets clients wait eleven times as long asks for nothing.
const maxAutoPercent = 1000

// maxZoneMinutes is the farthest that a time zone is from UTC: UTC+14:00.
const maxZoneMinutes = 14 * 60

// String is the limit in the words that ParseLimit reads.
func (l Limit) String() string {
	words := []string{strings.ReplaceAll(l.Rate.String(), " ", "")}
	for _, w := range l.Windows {
		words = append(words, w.span()+"="+strings.ReplaceAll(w.Rate.String(), " ", ""))
	}
	if l.ZoneMinutes != 0 {
		words = append(words, "zone="+zoneText(l.ZoneMinutes))
	}
	if l.AutoPercent != 0 {
		words = append(words, "auto="+strconv.Itoa(l.AutoPercent)+"%")
	}
	return strings.Join(words, " ")
}

func zoneText(minutes int) string {
	sign := "+"
	if minutes < 0 {
		sign, minutes = "-", -minutes
	}
	return sign + clock(minutes)
}

// None reports that the limit limits nothing at any time.
func (l Limit) None() bool {
	return l.Rate == 0 && l.AutoPercent == 0 && !slices.ContainsFunc(l.Windows, func(w Window) bool { return w.Rate != 0 })
}

// ParseLimit reads a limit, of words in any order: a rate ("20MB/s", "unlimited"), windows ("23:00-07:00=200MB/s"), the zone of
// the windows ("zone=+02:00", UTC without it) and the automatic mode ("auto=20%").
func ParseLimit(text string) (Limit, error) {
	var l Limit
	seen := map[string]bool{}
	once := func(what string) error {
		if seen[what] {
			return fmt.Errorf("%q: the %s is given twice", text, what)
		}
		seen[what] = true
		return nil
	}
	for _, word := range strings.Fields(text) {
		name, value, named := strings.Cut(word, "=")
		var err error
		switch {
		case !named:
			if err = once("rate"); err == nil {
				l.Rate, err = ParseRate(word)
			}
		case strings.EqualFold(name, "zone"):
			if err = once("zone"); err == nil {
				l.ZoneMinutes, err = parseZone(value)
			}
		case strings.EqualFold(name, "auto"):
			if err = once("automatic mode"); err == nil {
				l.AutoPercent, err = parsePercent(value)
			}
		default:
			var w Window
			if w, err = ParseWindow(word); err == nil {
				l.Windows = append(l.Windows, w)
			}
		}
		if err != nil {
			return Limit{}, err
		}
	}
	if len(l.Windows) > MaxWindows {
		return Limit{}, fmt.Errorf("%d windows are too many: at most %d", len(l.Windows), MaxWindows)
	}
	return l, nil
}

// ParseWindow reads a window such as "23:00-07:00=200MB/s".
func ParseWindow(text string) (Window, error) {
	wrong := fmt.Errorf("window %q is wrong: want one such as 23:00-07:00=200MB/s", text)
	times, rate, ok := strings.Cut(text, "=")
	from, to, ok2 := strings.Cut(times, "-")
	if !ok || !ok2 {
		return Window{}, wrong
	}
	var w Window
	var ok3 bool
	if w.From, ok = parseClock(from); !ok {
		return Window{}, wrong
	}
	if w.To, ok3 = parseClock(to); !ok3 {
		return Window{}, wrong
	}
	var err error
	if w.Rate, err = ParseRate(rate); err != nil {
		return Window{}, fmt.Errorf("window %q: %w", text, err)
	}
	return w, nil
}

// parseClock reads hh:mm as minutes of the day. 24:00 is 00:00, as the end of a day is the beginning of the next.
func parseClock(text string) (int, bool) {
	h, m, ok := strings.Cut(text, ":")
	hours, err1 := strconv.ParseUint(h, 10, 8)
	minutes, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || len(m) != 2 || len(h) > 2 || minutes > 59 || hours > 24 || hours == 24 && minutes > 0 {
		return 0, false
	}
	return int(hours*60+minutes) % minutesOfDay, true
}

func parseZone(text string) (int, error) {
	wrong := fmt.Errorf("zone %q is wrong: want the distance from UTC, such as +02:00", text)
	if strings.EqualFold(text, "utc") {
		return 0, nil
	}
	if len(text) < 2 || text[0] != '+' && text[0] != '-' {
		return 0, wrong
	}
	minutes, ok := parseClock(text[1:])
	if !ok || minutes > maxZoneMinutes {
		return 0, wrong
	}
	if text[0] == '-' {
		minutes = -minutes
	}
	return minutes, nil
}

func parsePercent(text string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "%"), 10, 16)
	if err != nil || n < 1 || n > maxAutoPercent {
		return 0, fmt.Errorf("auto=%s is wrong: want by how many percent clients may wait longer, 1%% to %d%%", text, maxAutoPercent)
	}
	return int(n), nil
}

// At is the rate that counts at a time, in milliseconds since the Unix epoch, and the words in which the status names it: "20 MB/s",
// or "20 MB/s (window 07:00-23:00 UTC+02:00)".
func (l Limit) At(wallMs int64) (Rate, string) {
	minute := int(((wallMs/60_000+int64(l.ZoneMinutes))%minutesOfDay + minutesOfDay) % minutesOfDay)
	for _, w := range l.Windows {
		if w.has(minute) {
			zone := "UTC"
			if l.ZoneMinutes != 0 {
				zone += zoneText(l.ZoneMinutes)
			}
			return w.Rate, fmt.Sprintf("%s (window %s %s)", w.Rate, w.span(), zone)
		}
	}
	return l.Rate, l.Rate.String()
}

// Slice is how finely a rate is kept: what may be sent is given out every 10 ms.
const Slice = 10 * time.Millisecond

// slicesPerSecond is how many slices a second has.
const slicesPerSecond = int64(time.Second / Slice)

// Bucket keeps a rate. Whoever wants to send asks Ready, sends something if it may, and says with Take how much it was. What is taken
// can be more than was there: it is a debt then, which the time that follows has to pay. So whatever is sent by who asks first,
//
//	sent in any time t  ≤  rate × (t + 2 slices) + one message,
//
// and who cannot wait, as the final round while writers do, takes without asking and makes the others wait longer.
//
// It is not safe for concurrent use. The zero Bucket is ready.
type Bucket struct {
	slice int64 // up to which credit has been given
	// credit is in bytes × slicesPerSecond, so that each slice adds the rate, exactly.
	credit int64
	rate   Rate
	began  bool
}

// advance gives the credit of the slices that have passed. More than one slice's is not saved up; a debt is paid slice by slice.
func (b *Bucket) advance(now time.Duration, r Rate) {
	slice := int64(now / Slice)
	if !b.began {
		b.began, b.slice, b.credit = true, slice, int64(r)
	}
	b.rate = r
	if passed := slice - b.slice; passed > 0 {
		b.slice = slice
		owed := int64(r) - b.credit // to the full slice
		if r > 0 && owed/int64(r) < passed {
			b.credit += owed
		} else {
			b.credit += passed * int64(r)
		}
	}
	b.credit = min(b.credit, int64(r))
}

// Ready reports whether something may be sent now under a rate. now never goes back.
func (b *Bucket) Ready(now time.Duration, r Rate) bool {
	if r == 0 {
		*b = Bucket{}
		return true
	}
	b.advance(now, r)
	return b.credit > 0
}

// Take says that so many bytes are sent; a negative number gives back what was taken and not used.
func (b *Bucket) Take(n int) {
	if b.began {
		b.credit -= int64(n) * slicesPerSecond
	}
}

// Credit is how many bytes are left of the slice in which Ready was asked.
func (b *Bucket) Credit() int { return int(max(b.credit, 0) / slicesPerSecond) }

// Wait is how long after now, at which it was asked, Ready becomes true: until the beginning of a slice.
func (b *Bucket) Wait(now time.Duration) time.Duration {
	if !b.began || b.credit > 0 {
		return 0
	}
	slices := -b.credit/int64(b.rate) + 1
	return time.Duration(b.slice+slices)*Slice - now
}
