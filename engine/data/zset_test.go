package data

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// TestScoreEncoding: the bytes have the order of the scores, and each score has one encoding.
func TestScoreEncoding(t *testing.T) {
	golden := []struct {
		score float64
		want  string
	}{
		{math.Inf(-1), "000fffffffffffff"},
		{-math.MaxFloat64, "0010000000000000"},
		{-1, "400fffffffffffff"},
		{-math.SmallestNonzeroFloat64, "7ffffffffffffffe"},
		{0, "8000000000000000"},
		{math.SmallestNonzeroFloat64, "8000000000000001"},
		{1, "bff0000000000000"},
		{1.5, "bff8000000000000"},
		{math.MaxFloat64, "ffefffffffffffff"},
		{math.Inf(1), "fff0000000000000"},
	}
	var last []byte
	for _, c := range golden {
		b := AppendScore(nil, c.score)
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("%v: %s", c.score, got)
		}
		if back, err := DecodeScore(b); err != nil || back != c.score {
			t.Errorf("%v: decodes to %v, %v", c.score, back, err)
		}
		if bytes.Compare(last, b) >= 0 {
			t.Errorf("%v: not in order", c.score)
		}
		last = b
	}
	if b := AppendScore(nil, math.Copysign(0, -1)); hex.EncodeToString(b) != "8000000000000000" {
		t.Errorf("minus zero: %x", b)
	}
	for name, b := range map[string]string{"minus zero": "7fffffffffffffff", "NaN": "fff8000000000001", "negative NaN": "0000000000000000", "short": "80", "long": "800000000000000000"} {
		raw, err := hex.DecodeString(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeScore(raw); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// FuzzDecodeScore: no bytes make the decoder panic, and what it accepts has one encoding, of the order of the numbers.
func FuzzDecodeScore(f *testing.F) {
	f.Add([]byte("\x80\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x40\x0f\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		score, err := DecodeScore(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if again := AppendScore(nil, score); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %v, which encodes to %x", b, score, again)
		}
		if c := bytes.Compare(b, AppendScore(nil, 1)); c != cmp.Compare(score, 1) {
			t.Fatalf("%v compares to 1 as %d", score, c)
		}
	})
}

type pair struct {
	member string
	score  float64
}

func (p pair) compare(q pair) int {
	return cmp.Or(cmp.Compare(p.score, q.score), strings.Compare(p.member, q.member))
}

// TestSortedSetOperations compares a sorted set with a map, in both write modes, by all the ways to read it, and checks the invariants after
// each transaction.
func TestSortedSetOperations(t *testing.T) {
	scores := []float64{math.Inf(-1), -2, -1, 0, 0, 1, 1, 1, 2.5, 3, math.Inf(1)}
	rapid.Check(t, func(rt *rapid.T) {
		st := openStore(t)
		user := []byte("k")
		want := map[string]float64{}
		score := func(name string) float64 { return rapid.SampledFrom(scores).Draw(rt, name) }
		member := func() string {
			return rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "\x00", "\xff\xff", "ab"}).Draw(rt, "member")
		}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			tx := begin(st, rapid.SampledFrom([]Mode{Write, WriteIndexed}).Draw(rt, "mode"), 1)
			z, _ := tx.OpenSortedSet(user)
			switch rapid.SampledFrom([]string{"put", "put", "put", "delete", "take", "replace"}).Draw(rt, "op") {
			case "put":
				for range rapid.IntRange(1, 8).Draw(rt, "many") {
					m, s := member(), score("score")
					was := z.Look([]byte(m))
					if old, found := want[m]; was.Found != found || was.Score != old {
						rt.Fatalf("%q has %+v, want %v %v", m, was, old, found)
					}
					z.Put([]byte(m), s, was)
					want[m] = s
				}
			case "delete":
				for range 3 {
					m := member()
					if _, found := want[m]; z.Delete([]byte(m)) != found {
						rt.Fatal("Delete lied")
					}
					delete(want, m)
				}
			case "take":
				z.Walk(ScoreRange(ScoreBound{Score: score("low")}, ScoreBound{Score: score("high")}), Ascending, func(m []byte, s float64) bool {
					if old, found := want[string(m)]; !found || s != old {
						rt.Fatalf("walked over %q with %v", m, s)
					}
					delete(want, string(m))
					z.Take(m, s)
					return true
				})
			case "replace":
				z = tx.ReplaceSortedSet(&z.Entry)
				want = map[string]float64{"r": 1, "s": 2}
				for _, m := range []string{"s", "r"} {
					z.Fill([]byte(m), want[m])
				}
			}
			z.Save()
			if err := tx.Err(); err != nil {
				rt.Fatal(err)
			}
			tx.Commit()
			if err := CheckSlot(st, slot.OfKey(user)); err != nil {
				rt.Fatal(err)
			}
			if len(want) == 0 && countElements(t, st, "k") != 0 {
				rt.Fatal("elements of an empty sorted set are left")
			}
			readSortedSet(rt, st, user, want, ScoreBound{score("low"), rapid.Bool().Draw(rt, "exclusive")}, ScoreBound{score("high"), rapid.Bool().Draw(rt, "exclusive")})
		}
	})
}

// readSortedSet compares all ways to read a sorted set with what it should hold.
func readSortedSet(t *rapid.T, st *store.Store, user []byte, want map[string]float64, low, high ScoreBound) {
	read := begin(st, Read, 1)
	z, ok := read.OpenSortedSet(user)
	if !ok || z.Len() != uint64(len(want)) {
		t.Fatalf("%d members, want %d", z.Len(), len(want))
	}
	var all, inside []pair
	for m, s := range want {
		all = append(all, pair{m, s})
	}
	slices.SortFunc(all, pair.compare)
	for i, p := range all {
		if (p.score > low.Score || p.score == low.Score && !low.Exclusive) && (p.score < high.Score || p.score == high.Score && !high.Exclusive) {
			inside = append(inside, p)
		}
		if rank := z.Rank([]byte(p.member), p.score); rank != uint64(i) {
			t.Fatalf("%q has rank %d, want %d", p.member, rank, i)
		}
	}
	var got []pair
	collect := func(m []byte, s float64) bool {
		got = append(got, pair{string(m), s})
		return true
	}
	expect := func(what string, want []pair) {
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
		got = nil
	}
	z.Walk(ScoreRange(low, high), Ascending, collect)
	expect(fmt.Sprint("from ", low, " to ", high), inside)
	z.Walk(ScoreRange(low, high), Descending, collect)
	slices.Reverse(got)
	expect(fmt.Sprint("down to ", low, " from ", high), inside)
	z.Walk(Range{}, Descending, collect)
	slices.Reverse(got)
	expect("down", all)
	for first := range all {
		z.WalkRanks(Ascending, uint64(first), uint64(len(all)-first), collect)
		expect("up from a rank", all[first:])
		z.WalkRanks(Descending, uint64(first), uint64(len(all)-first), collect)
		slices.Reverse(got)
		expect("down from a rank", all[:len(all)-first])
	}
	if err := read.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestLexRanges(t *testing.T) {
	st := openStore(t)
	update(t, st, Write, 1, func(tx *Tx) {
		z, _ := tx.OpenSortedSet([]byte("k"))
		for _, m := range []string{"", "a", "a\x00", "aa", "b", "\xff"} {
			z.Fill([]byte(m), -1.5)
		}
		z.Save()
	})
	in, ex := func(m string) LexBound { return LexBound{Member: []byte(m)} }, func(m string) LexBound { return LexBound{Member: []byte(m), Exclusive: true} }
	least, most := LexBound{Infinite: -1}, LexBound{Infinite: 1}
	for _, c := range []struct {
		low, high LexBound
		want      string
	}{
		{least, most, `["" "a" "a\x00" "aa" "b" "\xff"]`},
		{in(""), most, `["" "a" "a\x00" "aa" "b" "\xff"]`},
		{ex(""), most, `["a" "a\x00" "aa" "b" "\xff"]`},
		{in("a"), in("a"), `["a"]`},
		{ex("a"), in("a"), `[]`},
		{in("a"), ex("a"), `[]`},
		{ex("a"), ex("aa"), `["a\x00"]`},
		{in("b"), in("a"), `[]`},
		{in("aaa"), in("\xff\xff"), `["b" "\xff"]`},
		{most, most, `[]`},
		{least, least, `[]`},
		{most, least, `[]`},
		{least, ex("a"), `[""]`},
	} {
		for _, o := range []Order{Ascending, Descending} {
			tx := begin(st, Read, 1)
			z, _ := tx.OpenSortedSet([]byte("k"))
			got := []string{}
			z.Walk(z.LexRange(c.low, c.high), o, func(m []byte, _ float64) bool {
				got = append(got, string(m))
				return true
			})
			if o == Descending {
				slices.Reverse(got)
			}
			if s := fmt.Sprintf("%q", got); s != c.want || tx.Err() != nil {
				t.Errorf("%+v to %+v: %s, want %s, %v", c.low, c.high, s, c.want, tx.Err())
			}
		}
	}
}

func TestCheckSlotFindsBrokenSortedSets(t *testing.T) {
	s := slot.OfKey([]byte("k"))
	hashed := func(m string) []byte { return append(binary.BigEndian.AppendUint32(nil, key.Hash([]byte(m))), m...) }
	entry := func(m string, score float64) []byte { return append(AppendScore(nil, score), m...) }
	for name, c := range map[string]struct {
		want   string
		damage func(b *store.Batch, at func(kind key.Kind, element []byte) []byte)
	}{
		"a member without its entry": {"the score index does not know it", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Delete(at(key.Score, entry("m", 1)))
		}},
		"an entry of another score": {"has 3 entries in its score index for 2 members", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Score, entry("m", 3)), nil)
		}},
		"an entry without its member": {"has 1 elements, and by its record 2", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Delete(at(key.Element, hashed("m")))
		}},
		"another score in the member": {"the score index does not know it", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, hashed("m")), AppendScore(nil, 7))
		}},
		"no score in the member": {"a score of 0 bytes", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, hashed("m")), nil)
		}},
		"another hash": {"the hash does not match", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, []byte("0000m")), AppendScore(nil, 1))
		}},
		"an entry with a value": {"a value of 1 bytes", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Score, entry("m", 1)), []byte("v"))
		}},
		"no score in an entry": {"a score of 3 bytes", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Score, []byte("123")), nil)
		}},
	} {
		st := openStore(t)
		var r Record
		update(t, st, Write, 1, func(tx *Tx) {
			z, _ := tx.OpenSortedSet([]byte("k"))
			z.Fill([]byte("m"), 1)
			z.Fill([]byte("n"), 2)
			z.Save()
			r = z.Record
		})
		checkAll(t, st, s)
		b := st.NewBatch()
		c.damage(b, func(kind key.Kind, element []byte) []byte {
			return append(key.AppendElement(nil, s, kind, r.Generation), element...)
		})
		st.Commit(b)
		if err := CheckSlot(st, s); !errors.Is(err, ErrInvariant) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestBrokenSortedSetsFail: what does not hold together is an error of the transaction, and no panic and no wrong reply.
func TestBrokenSortedSetsFail(t *testing.T) {
	s := slot.OfKey([]byte("k"))
	st := openStore(t)
	var r Record
	update(t, st, Write, 1, func(tx *Tx) {
		z, _ := tx.OpenSortedSet([]byte("k"))
		for i := range 5 {
			z.Fill(fmt.Append(nil, i), float64(i))
		}
		z.Save()
		r = z.Record
	})
	b := st.NewBatch()
	b.Delete(append(append(key.AppendElement(nil, s, key.Score, r.Generation), AppendScore(nil, 2)...), '2'))
	b.Set(append(key.AppendElement(nil, s, key.Score, r.Generation), 0xff), nil)
	b.Set(append(binary.BigEndian.AppendUint32(key.AppendElement(nil, s, key.Element, r.Generation), key.Hash([]byte("3"))), '3'), []byte("three"))
	st.Commit(b)
	none := func([]byte, float64) bool { return true }
	for name, op := range map[string]func(z *SortedSet){
		"rank":  func(z *SortedSet) { z.Rank([]byte("2"), 2) },
		"look":  func(z *SortedSet) { z.Look([]byte("3")) },
		"walk":  func(z *SortedSet) { z.Walk(Range{}, Ascending, none) },
		"ranks": func(z *SortedSet) { z.WalkRanks(Ascending, 0, 5, none) },
		"down":  func(z *SortedSet) { z.WalkRanks(Descending, 0, 5, none) },
	} {
		tx := begin(st, Read, 1)
		z, _ := tx.OpenSortedSet([]byte("k"))
		if op(&z); !errors.Is(tx.Err(), ErrCorrupt) {
			t.Errorf("%s: %v", name, tx.Err())
		}
	}
}

// TestGoldenSortedSet pins the keys and values of a sorted set.
func TestGoldenSortedSet(t *testing.T) {
	st := openStore(t)
	update(t, st, Write, 1, func(tx *Tx) {
		z, _ := tx.OpenSortedSet([]byte("k"))
		z.Fill([]byte("m"), 1.5)
		z.Save()
	})
	var got []string
	for _, kind := range []key.Kind{key.Element, key.Score} {
		it, err := st.NewIter(key.KindSpan(slot.OfKey([]byte("k")), kind))
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, hex.EncodeToString(it.Key()[key.ElementLen:])+" "+hex.EncodeToString(v))
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"418c57fc6d bff8000000000000", "bff80000000000006d "}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
