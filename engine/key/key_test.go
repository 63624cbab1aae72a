package key

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/slot"
)

// The bytes on disk, one line for each shape. A change here is a new format: it needs a version and a way to read the old.
func TestGoldenBytes(t *testing.T) {
	const s = slot.Slot(0x1234)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"record", AppendRecord(nil, s, []byte("foo")), "0130123410077e7d8a666f6f"},
		{"record of the empty key", AppendRecord(nil, s, nil), "013012341038d394c2"},
		{"place among records", AppendRecordSeek(nil, s, 0x01020304), "013012341001020304"},
		{"element", AppendElement(nil, s, Element, Generation([]byte("generation01"))), "013012342067656e65726174696f6e3031"},
		{"score", AppendElement(nil, s, Score, Generation{11: 7}), "0130123430000000000000000000000007"},
		{"expiry", AppendExpiry(nil, s, 0x0102030405060708, []byte("foo")), "01301234400102030405060708666f6f"},
		{"book", AppendBook(nil, s, "cursor"), "0130123400637572736f72"},
		{"ownership", Ownership(s), "00011234"},
		{"job", Job(258), "00020000000000000102"},
		{"named", Named("map"), "00036d6170"},
		{"hint", Hint(0x1234), "00041234"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
}

func slots() *rapid.Generator[slot.Slot] {
	return rapid.Custom(func(t *rapid.T) slot.Slot {
		return slot.Slot(rapid.OneOf(rapid.SampledFrom([]int{0, 1, 255, 256, 511, slot.Count - 2, slot.Count - 1}),
			rapid.IntRange(0, slot.Count-1)).Draw(t, "slot"))
	})
}

// users draws user keys, many of them with the bytes that break encodings: 0x00, 0xff, and what prefixes are made of.
func users() *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte{0, 0xff, 1, '0', 0x10, 0x20}), rapid.Byte()), 0, 12)
}

// drawn is a key of a slot and what it was made of.
type drawn struct {
	slot       slot.Slot
	kind       Kind
	user       []byte
	expireMs   int64
	generation Generation
	key        []byte
}

// generations draws among few and many, near the ends of what there is.
func generations() *rapid.Generator[Generation] {
	return rapid.Custom(func(t *rapid.T) Generation {
		b := rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff}), rapid.Byte())
		return Generation(rapid.SliceOfN(b, GenerationLen, GenerationLen).Draw(t, "generation"))
	})
}

func keys() *rapid.Generator[drawn] {
	return rapid.Custom(func(t *rapid.T) drawn {
		d := drawn{slot: slots().Draw(t, "slot"), user: users().Draw(t, "user")}
		d.kind = rapid.SampledFrom([]Kind{Book, Record, Element, Score, Expiry}).Draw(t, "kind")
		switch d.kind {
		case Book:
			d.key = AppendBook(nil, d.slot, string(d.user))
		case Record:
			d.key = AppendRecord(nil, d.slot, d.user)
		case Expiry:
			d.expireMs = rapid.Int64Min(0).Draw(t, "expireMs")
			d.key = AppendExpiry(nil, d.slot, d.expireMs, d.user)
		case Element, Score:
			d.generation = generations().Draw(t, "generation")
			d.key = append(AppendElement(nil, d.slot, d.kind, d.generation), d.user...)
		}
		return d
	})
}

func TestSpansHoldExactlyTheirKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, other := keys().Draw(t, "key"), slots().Draw(t, "other slot")
		if got := SlotSpan(other).Contains(d.key); got != (d.slot == other) {
			t.Fatalf("span of slot %d has a key of slot %d: %v", other, d.slot, got)
		}
		if got := DataSpan(other).Contains(d.key); got != (d.slot == other && d.kind != Book) {
			t.Fatalf("data span of slot %d has a key of slot %d, kind %#x: %v", other, d.slot, d.kind, got)
		}
		for _, k := range []Kind{Book, Record, Element, Score, Expiry} {
			if got := KindSpan(other, k).Contains(d.key); got != (d.slot == other && d.kind == k) {
				t.Fatalf("span of slot %d, kind %#x has a key of slot %d, kind %#x: %v", other, k, d.slot, d.kind, got)
			}
		}
		if !UserSpan().Contains(d.key) || OwnershipSpan().Contains(d.key) || JobSpan().Contains(d.key) {
			t.Fatalf("%x is not among the users' keys alone", d.key)
		}
	})
}

func TestSpansTile(t *testing.T) {
	all := UserSpan()
	for s := range slot.Slot(slot.Count) {
		span, data := SlotSpan(s), DataSpan(s)
		if span.Empty() || data.Empty() || !all.Covers(span) || !span.Covers(data) {
			t.Fatalf("slot %d: %x–%x, data %x–%x", s, span.Lo, span.Hi, data.Lo, data.Hi)
		}
		// An end may be shorter than the next beginning by zeros, as no key is only a part of a prefix.
		hi := append(bytes.Clone(span.Hi), make([]byte, 4-len(span.Hi))...)
		if s+1 < slot.Count && !bytes.Equal(hi, SlotSpan(s+1).Lo) {
			t.Fatalf("between slots %d and %d is a gap or an overlap", s, s+1)
		}
		// Book and data are the whole slot: the end of one is the beginning of the other.
		if book := KindSpan(s, Book); !bytes.Equal(book.Lo[:4], span.Lo) || !bytes.Equal(book.Hi, data.Lo) || !bytes.Equal(data.Hi, span.Hi) {
			t.Fatalf("slot %d: bookkeeping %x–%x and data %x–%x are not the slot", s, book.Lo, book.Hi, data.Lo, data.Hi)
		}
	}
}

func TestSplitReadsWhatWasAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := keys().Draw(t, "key")
		s, kind, rest, ok := Split(d.key)
		if !ok || s != d.slot || kind != d.kind {
			t.Fatalf("Split(%x) = %d, %#x, %v", d.key, s, kind, ok)
		}
		switch d.kind {
		case Record:
			if hash, user, ok := SplitRecord(rest); !ok || hash != Hash(d.user) || !bytes.Equal(user, d.user) {
				t.Fatalf("SplitRecord(%x) = %#x, %q, %v, want %q", rest, hash, user, ok, d.user)
			}
		case Expiry:
			if ms, user, ok := SplitExpiry(rest); !ok || ms != d.expireMs || !bytes.Equal(user, d.user) {
				t.Fatalf("SplitExpiry(%x) = %d, %q, %v, want %d, %q", rest, ms, user, ok, d.expireMs, d.user)
			}
		case Book:
			if !bytes.Equal(rest, d.user) {
				t.Fatalf("rest %q, want %q", rest, d.user)
			}
		case Element, Score:
			if g, element, ok := SplitElement(rest); !ok || g != d.generation || !bytes.Equal(element, d.user) {
				t.Fatalf("SplitElement(%x) = %x, %q, %v, want %x, %q", rest, g, element, ok, d.generation, d.user)
			}
		}
	})
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slots().Draw(t, "slot")
		a, b := users().Draw(t, "a"), users().Draw(t, "b")
		ta, tb := rapid.Int64Min(0).Draw(t, "ta"), rapid.Int64Min(0).Draw(t, "tb")
		want := cmp.Or(cmp.Compare(ta, tb), bytes.Compare(a, b))
		if got := bytes.Compare(AppendExpiry(nil, s, ta, a), AppendExpiry(nil, s, tb, b)); got != want {
			t.Fatalf("expiry %d %q and %d %q compare as %d, want %d", ta, a, tb, b, got, want)
		}
		want = cmp.Or(cmp.Compare(Hash(a), Hash(b)), bytes.Compare(a, b))
		if got := bytes.Compare(AppendRecord(nil, s, a), AppendRecord(nil, s, b)); got != want {
			t.Fatalf("records %q and %q compare as %d, want %d", a, b, got, want)
		}
		h := rapid.Uint32().Draw(t, "hash")
		if got := bytes.Compare(AppendRecordSeek(nil, s, h), AppendRecord(nil, s, a)) <= 0; got != (h <= Hash(a)) {
			t.Fatalf("place %#x is before %q with hash %#x: %v", h, a, Hash(a), got)
		}
	})
}

// No element of one collection may lie in the span of another: a drop would delete it.
func TestElementSpansAreApart(t *testing.T) {
	type collection struct {
		generation Generation
		kind       Kind
	}
	draw := rapid.Custom(func(t *rapid.T) collection {
		return collection{generations().Draw(t, "generation"), rapid.SampledFrom([]Kind{Element, Score}).Draw(t, "kind")}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := slots().Draw(t, "slot")
		a := draw.Draw(t, "a")
		b := rapid.OneOf(rapid.Just(a), draw).Draw(t, "b")
		k := append(AppendElement(nil, s, a.kind, a.generation), users().Draw(t, "element")...)
		span := ElementSpan(s, b.kind, b.generation)
		if span.Contains(k) != (a == b) {
			t.Fatalf("the span of %+v has an element of %+v: %v", b, a, !(a == b))
		}
		if !KindSpan(s, b.kind).Covers(span) {
			t.Fatalf("the span of %+v leaves its kind", b)
		}
	})
}

func TestAppendKeepsWhatStoodThere(t *testing.T) {
	head := []byte("head")
	for name, k := range map[string][]byte{
		"record":  AppendRecord(bytes.Clone(head), 7, []byte("u")),
		"seek":    AppendRecordSeek(bytes.Clone(head), 7, 1),
		"expiry":  AppendExpiry(bytes.Clone(head), 7, 1, []byte("u")),
		"book":    AppendBook(bytes.Clone(head), 7, "n"),
		"element": AppendElement(bytes.Clone(head), 7, Element, Generation{}),
	} {
		if !bytes.HasPrefix(k, append(bytes.Clone(head), 1, '0', 0, 7)) {
			t.Errorf("%s: %q", name, k)
		}
	}
}

func TestNodesOwnKeysAreApart(t *testing.T) {
	for s := range slot.Slot(slot.Count) {
		k := Ownership(s)
		back, ok := OwnershipSlot(k)
		if !ok || back != s || !OwnershipSpan().Contains(k) || UserSpan().Contains(k) || JobSpan().Contains(k) {
			t.Fatalf("ownership of slot %d: key %x reads back as %d, %v", s, k, back, ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		if got := bytes.Compare(Job(a), Job(b)); got != cmp.Compare(a, b) {
			t.Fatalf("jobs %d and %d compare as %d", a, b, got)
		}
		if !JobSpan().Contains(Job(a)) || OwnershipSpan().Contains(Job(a)) || UserSpan().Contains(Job(a)) {
			t.Fatalf("job %d is not in the span of jobs alone", a)
		}
		n := Named(rapid.String().Draw(t, "name"))
		if JobSpan().Contains(n) || OwnershipSpan().Contains(n) || UserSpan().Contains(n) {
			t.Fatalf("named value %x lies in another span", n)
		}
	})
	for _, k := range [][]byte{nil, {0}, {0, 1}, {0, 1, 0}, {0, 1, 0, 0, 0}, {0, 2, 0, 0}, {1, 1, 0, 0}, {0, 1, 0x40, 0}} {
		if s, ok := OwnershipSlot(k); ok {
			t.Errorf("OwnershipSlot(%x) = %d", k, s)
		}
	}
}

func TestSpan(t *testing.T) {
	span := func(lo, hi string) Span { return Span{Lo: []byte(lo), Hi: []byte(hi)} }
	if !span("b", "b").Empty() || !span("c", "b").Empty() || span("b", "c").Empty() {
		t.Error("a span is empty if its end is not after its beginning")
	}
	if s := span("b", "d"); !s.Contains([]byte("b")) || !s.Contains([]byte("czz")) || s.Contains([]byte("d")) || s.Contains([]byte("a")) {
		t.Error("a span has its beginning and not its end")
	}
	if s := span("b", "d"); !s.Covers(s) || !s.Covers(span("b", "c")) || s.Covers(span("a", "c")) || s.Covers(span("c", "e")) {
		t.Error("a span covers the spans within it")
	}
}

func TestSuccessor(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"00", "01"}, {"01ff", "02"}, {"01ffff", "02"}, {"01fe", "01ff"}, {"ff", ""}, {"", ""},
	} {
		in, _ := hex.DecodeString(c.in)
		if got := hex.EncodeToString(successor(in)); got != c.want {
			t.Errorf("successor(%s) = %s, want %s", c.in, got, c.want)
		}
	}
}

// FuzzSplit: no bytes found on a disk make reading a key panic, and what is accepted lies in the span of its slot and kind and has one
// encoding.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendRecord(nil, 5, []byte("k")))
	f.Add(AppendExpiry(nil, 5, 1, nil))
	f.Add(AppendBook(nil, 5, "name"))
	for _, kind := range []Kind{Element, Score} {
		f.Add(append(AppendElement(nil, 16383, kind, Generation{1, 2, 11: 3}), "element"...))
	}
	f.Add([]byte{1, '0', 0x40, 0, 0x10})
	f.Fuzz(func(t *testing.T, k []byte) {
		s, kind, rest, ok := Split(k)
		if !ok {
			return
		}
		if !SlotSpan(s).Contains(k) {
			t.Fatalf("%x is not in the span of slot %d", k, s)
		}
		if span := KindSpan(s, kind); !span.Contains(k) {
			t.Fatalf("%x is not in the span of kind %#x", k, kind)
		}
		var again []byte
		hash, user, isRecord := SplitRecord(rest)
		expireMs, expiring, isExpiry := SplitExpiry(rest)
		g, element, isElement := SplitElement(rest)
		switch {
		case kind == Record && isRecord && hash == Hash(user):
			again = AppendRecord(nil, s, user)
		case kind == Expiry && isExpiry:
			again = AppendExpiry(nil, s, expireMs, expiring)
		case (kind == Element || kind == Score) && isElement:
			if again = append(AppendElement(nil, s, kind, g), element...); !ElementSpan(s, kind, g).Contains(k) {
				t.Fatalf("%x is not in the span of its collection", k)
			}
		default:
			return
		}
		if !bytes.Equal(again, k) {
			t.Fatalf("%x is read as %x", k, again)
		}
	})
}
