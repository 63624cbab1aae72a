package command

import (
	"math"
	"strconv"
	"testing"

	"godwit/engine/resp"
)

// TestSortNumbers: what strtod reads and Redis takes for a number, and what not.
func TestSortNumbers(t *testing.T) {
	for text, want := range map[string]float64{
		"": 0, "1": 1, "-7.5": -7.5, " \t5": 5, "+4": 4, "007": 7, "1e3": 1000, "0x1F": 31, "0x1p-2": 0.25, "-inf": math.Inf(-1), "Infinity": math.Inf(1),
		"-0": 0, "0e-400": 0, "0x0p0": 0, "5\x00x": 5, "1.7976931348623157e308": math.MaxFloat64, "2.2250738585072014e-308": 0x1p-1022,
	} {
		if got, ok := parseSortNumber([]byte(text)); !ok || got != want {
			t.Errorf("%q is read as %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"x", "1x", "1 ", " ", "nan", "1_0", "0x", "0x1_0", "--1", "1e", "1e400", "-1e400", "1e-400", "4e-320", "1,5"} {
		if got, ok := parseSortNumber([]byte(text)); ok {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// TestSortLimit: what is too large to be sorted, or replied with, is an error, and a window of what needs no order is not.
func TestSortLimit(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	l.replyLimit = 1000
	for i := range 200 {
		n := strconv.Itoa(1_000_000 + i)
		l.do(t, "RPUSH", "l", n)
		l.do(t, "SET", "w"+n, "a weight of more bytes than its element")
	}
	for range 40 {
		l.do(t, "RPUSH", "few", "1000000")
	}
	for want, requests := range map[string][][]string{
		errSortTooBig:  {{"SORT", "l"}, {"SORT", "l", "LIMIT", "0", "1"}, {"SORT", "l", "BY", "nosort"}, {"SORT", "l", "STORE", "d"}, {"SORT", "few", "BY", "w*", "ALPHA"}},
		errReplyTooBig: {{"SORT", "few", "GET", "w*"}, {"SORT", "few", "GET", "#", "GET", "#", "GET", "#"}},
	} {
		for _, args := range requests {
			if v := l.do(t, args...).String(); v != "(error) "+want {
				t.Errorf("%q: %.100s", args, v)
			}
		}
	}
	if v := l.do(t, "EXISTS", "d").Int; v != 0 {
		t.Error("what could not be sorted was stored")
	}
	if v := l.do(t, "SORT", "l", "BY", "nosort", "LIMIT", "100", "2"); v.String() != `["1000100" "1000101"]` {
		t.Errorf("a window: %.100s", v)
	}
	if v := l.do(t, "SORT", "few"); len(v.Elems) != 40 {
		t.Errorf("few: %.100s", v)
	}
}

// TestSortLongKeys: a key that an option names is refused as others are, and one that a pattern makes is not there.
func TestSortLongKeys(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	long := string(make([]byte, 65_000))
	l.do(t, "RPUSH", "l", "1", long)
	if v := l.do(t, "SORT", "l", "ALPHA", "STORE", long+"x").String(); v != "(error) "+errKeyTooLong {
		t.Errorf("STORE: %.100s", v)
	}
	if v := l.do(t, "SORT", "l", "BY", "w*", "GET", "w*"); v.String() != "[(nil) (nil)]" {
		t.Errorf("BY: %.100s", v)
	}
	if v := l.do(t, "SORT", "l", "ALPHA", "STORE", long).String(); v != "2" {
		t.Errorf("STORE under the longest key: %.100s", v)
	}
}
