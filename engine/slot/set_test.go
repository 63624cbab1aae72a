package slot

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The texts on which tools made for Kvrocks match, and input that Kvrocks takes and this does not ("1--3", "+5").
func TestParseRanges(t *testing.T) {
	const (
		ends = "Invalid slot range: `%`. The character '-' can't appear in the first or last position."
		form = "Invalid slot range: `%`. The slot range should be of the form `int1-int2`."
		cond = "Invalid slot range: `%`. The slot range `int1-int2` needs to satisfy the condition (int1 <= int2)."
		high = "Invalid slot range: `%`. Slot ids go from 0 to 16383."
		num  = "Invalid slot id: out of numeric range"
		chr  = "Invalid slot id: encounter non-integer characters"
	)
	text := func(pattern, token string) string {
		if before, after, ok := cutByte(pattern, '%'); ok {
			return before + token + after
		}
		return pattern
	}
	for _, c := range []struct {
		in   string
		want []Range
		err  string
	}{
		{in: "0", want: []Range{{0, 0}}},
		{in: "16383", want: []Range{{16383, 16383}}},
		{in: "0-16383", want: []Range{{0, 16383}}},
		{in: "5-5", want: []Range{{5, 5}}},
		{in: "1-3 4", want: []Range{{1, 3}, {4, 4}}},
		{in: "  7   9-12 ", want: []Range{{7, 7}, {9, 12}}},
		{in: "9 1-2 9", want: []Range{{9, 9}, {1, 2}, {9, 9}}}, // order and repetition are the caller's to judge
		{in: "", err: "No slots to parse."},
		{in: "  ", err: "Invalid slots: `  `. No slots to parse. Please use spaces to separate slots."},
		{in: "16384", err: num},
		{in: "99999999999999999999999", err: num},
		{in: "x", err: chr},
		{in: "1,2", err: chr},
		{in: "+5", err: chr},
		{in: "0x10", err: chr},
		{in: "1_0", err: chr},
		{in: "-1", err: text(ends, "-1")},
		{in: "-", err: text(ends, "-")},
		{in: "1-", err: text(ends, "1-")},
		{in: "-1-3", err: text(ends, "-1-3")},
		{in: "-1--1", err: text(ends, "-1--1")},
		{in: "3--1", err: text(form, "3--1")},
		{in: "1-2-3", err: text(form, "1-2-3")},
		{in: "1-b", err: text(form, "1-b")},
		{in: "1-99999999999999999999999", err: text(form, "1-99999999999999999999999")},
		{in: "2-1", err: text(cond, "2-1")},
		{in: "4-16384", err: text(high, "4-16384")},
		{in: "16384-16384", err: text(high, "16384-16384")},
		{in: "65536-65537", err: text(high, "65536-65537")},
		{in: "1-3 2-1", err: text(cond, "2-1")},
	} {
		got, err := ParseRanges(c.in)
		if c.err == "" {
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("ParseRanges(%q) = %v, %v, want %v", c.in, got, err, c.want)
			}
			continue
		}
		if err == nil || err.Error() != c.err {
			t.Errorf("ParseRanges(%q) = %v, %v, want error %q", c.in, got, err, c.err)
		}
	}
}

func cutByte(s string, b byte) (before, after string, ok bool) {
	for i := range len(s) {
		if s[i] == b {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func FuzzParseRanges(f *testing.F) {
	for _, s := range []string{"", "1-3 4", "-1", "16384", "1--3", "0-16383 5", "\xff", "1-\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := ParseRanges(text)
		if err != nil {
			return
		}
		for _, r := range ranges {
			if r.First > r.Last || !r.Last.Valid() || r.Len() < 1 {
				t.Fatalf("ParseRanges(%q) gives %v", text, r)
			}
			if back, err := ParseRange(r.String()); err != nil || back != r {
				t.Fatalf("%v reads back as %v, %v", r, back, err)
			}
		}
		SetOf(ranges...)
	})
}

func TestRange(t *testing.T) {
	r := Range{5, 9}
	if r.Len() != 5 || r.String() != "5-9" || (Range{5, 5}).String() != "5" || (Range{0, Count - 1}).Len() != Count {
		t.Errorf("5-9 has length %d and text %q", r.Len(), r)
	}
	for s, want := range map[Slot]bool{4: false, 5: true, 9: true, 10: false} {
		if r.Contains(s) != want {
			t.Errorf("5-9 contains %d: %v", s, !want)
		}
	}
}

// TestSetIsAModelSet runs a set beside a map that it must agree with.
func TestSetIsAModelSet(t *testing.T) {
	slots := rapid.Custom(func(t *rapid.T) Slot {
		// The ends of words and of the whole are where an off-by-one would be.
		edge := rapid.SampledFrom([]int{0, 63, 64, 127, 128, 8191, 8192, Count - 65, Count - 64, Count - 1}).Draw(t, "edge")
		return Slot(rapid.OneOf(rapid.Just(edge), rapid.IntRange(0, Count-1)).Draw(t, "slot"))
	})
	rapid.Check(t, func(t *rapid.T) {
		var set Set
		model := map[Slot]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				s := slots.Draw(t, "s")
				set.Add(s)
				model[s] = true
			},
			"remove": func(t *rapid.T) {
				s := slots.Draw(t, "s")
				set.Remove(s)
				delete(model, s)
			},
			"range": func(t *rapid.T) {
				first := slots.Draw(t, "first")
				r := Range{first, min(first+Slot(rapid.IntRange(0, 200).Draw(t, "more")), Count-1)}
				set.AddRange(r)
				for s := r.First; s <= r.Last; s++ {
					model[s] = true
				}
			},
			"remove range": func(t *rapid.T) {
				first := slots.Draw(t, "first")
				r := Range{first, min(first+Slot(rapid.IntRange(0, 200).Draw(t, "more")), Count-1)}
				any := false
				for s := r.First; s <= r.Last; s++ {
					any = any || model[s]
					delete(model, s)
				}
				if set.HasAny(r) != any {
					t.Fatalf("a slot of %v is in the set: %v, want %v", r, !any, any)
				}
				set.RemoveRange(r)
			},
			"copy": func(*rapid.T) {
				other := set
				for s := range Slot(Count) {
					other.Remove(s)
				}
				if other.Len() != 0 {
					t.Fatalf("%d slots left after removing all", other.Len())
				}
			},
			"": func(t *rapid.T) {
				if set.Len() != len(model) {
					t.Fatalf("%d slots, want %d", set.Len(), len(model))
				}
				list := set.Slots()
				if !slices.IsSorted(list) || len(list) != len(model) {
					t.Fatalf("slots %v are not the %d of the model in order", list, len(model))
				}
				for _, s := range list {
					if !model[s] || !set.Has(s) {
						t.Fatalf("slot %d is listed and not there", s)
					}
				}
				var appended Ranges
				for _, s := range list {
					appended.Append(s)
					appended.Append(s) // a second time, and what is not greater, changes nothing
					appended.Append(list[0])
				}
				ranges := set.Ranges()
				if !slices.Equal(appended, ranges) || appended.Len() != len(model) || appended.String() != set.String() {
					t.Fatalf("the slots one by one are %v, %d in all; want %v", appended, appended.Len(), ranges)
				}
				for i := 1; i < len(ranges); i++ {
					if ranges[i-1].Last+1 >= ranges[i].First {
						t.Fatalf("ranges %v and %v touch", ranges[i-1], ranges[i])
					}
				}
				if again := SetOf(ranges...); again != set {
					t.Fatalf("the ranges %v are not the set", ranges)
				}
				if set.Len() > 0 {
					if parsed, err := ParseRanges(set.String()); err != nil || !reflect.DeepEqual(parsed, ranges) {
						t.Fatalf("%q reads back as %v, %v", set.String(), parsed, err)
					}
				}
			},
		})
	})
}
