package data

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// contentSlot is the slot of the keys of these tests.
var contentSlot = slot.OfKey([]byte("{c}"))

// sampleContent writes keys of all types; variant says in which of several ways that end in the same.
func sampleContent(t testing.TB, st *store.Store, variant int) {
	t.Helper()
	update(t, st, Write, 1, func(tx *Tx) {
		e := tx.Load([]byte("{c}s"))
		if variant > 0 { // over a collection
			c, _ := tx.Open([]byte("{c}s"), Hash)
			c.Put([]byte("f"), []byte("v"))
			c.Save()
			e = c.Entry
		}
		tx.PutString(&e, []byte("value"), 9000)
	})
	put(t, st, "{c}\x00a", "zero", NoExpiry)
	put(t, st, "{c}", "short", NoExpiry)
	order := []int{0, 1, 2, 3, 4}
	if variant > 0 {
		order = []int{3, 0, 4, 1, 2}
	}
	for _, i := range order {
		update(t, st, WriteIndexed, 1, func(tx *Tx) {
			h, _ := tx.Open([]byte("{c}h"), Hash)
			h.Put(fmt.Append(nil, "f", i), []byte("v"))
			h.Save()
			s, _ := tx.Open([]byte("{c}t"), Set)
			s.Add(fmt.Append(nil, i))
			s.Save()
			z, _ := tx.OpenSortedSet([]byte("{c}z"))
			if variant > 0 {
				z.Put(fmt.Append(nil, i), 77, Scored{})
				z.Put(fmt.Append(nil, i), float64(i), Scored{Score: 77, Found: true})
			} else {
				z.Put(fmt.Append(nil, i), float64(i), Scored{})
			}
			z.Save()
		})
	}
	for i := range 6 {
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("{c}l"))
			at, value := Right, fmt.Append(nil, "e", i)
			if variant > 0 {
				at, value = Left, fmt.Append(nil, "e", 5-i)
			}
			if i%2 == 1 == (variant == 0) {
				value = append(value, strings.Repeat("x", 100)...)
			}
			l.Push(at, value)
			l.Save()
		})
	}
	if variant > 0 { // values that format 1 had apart, and this one has in their entries
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("{c}l"))
			for i := range l.Len() {
				setOld(&l, i, bytes.Clone(l.At(i)))
			}
			l.Save()
		})
	}
	update(t, st, Write, 1, func(tx *Tx) {
		e := tx.Load([]byte("{c}z"))
		tx.SetExpiry(&e, 12345)
	})
}

func contentDigest(t testing.TB, st *store.Store) store.Digest {
	t.Helper()
	d, err := ContentDigest(st, contentSlot)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContentDigestOfEqualContent(t *testing.T) {
	a, b := openStore(t), openStore(t)
	sampleContent(t, a, 0)
	sampleContent(t, b, 1)
	checkAll(t, a, contentSlot)
	checkAll(t, b, contentSlot)
	if x, y := contentDigest(t, a), contentDigest(t, b); x != y {
		t.Fatalf("the same content has the digests %v and %v", x, y)
	}
	raw := func(st *store.Store) store.Digest {
		c, err := store.ReadChunk(st, key.DataSpan(contentSlot), store.ChunkLimits{Bytes: 1 << 40, Records: 1 << 40}, store.WithDigest)
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest
	}
	if raw(a) == raw(b) {
		t.Fatal("the same bytes are stored: the test shows nothing")
	}
}

func TestContentDigestOfChanges(t *testing.T) {
	changes := map[string]func(tx *Tx){
		"value of a string": func(tx *Tx) { e := tx.Load([]byte("{c}s")); tx.PutString(&e, []byte("valuf"), 9000) },
		"expiry":            func(tx *Tx) { e := tx.Load([]byte("{c}s")); tx.SetExpiry(&e, 9001) },
		"no expiry":         func(tx *Tx) { e := tx.Load([]byte("{c}z")); tx.SetExpiry(&e, NoExpiry) },
		"missing key":       func(tx *Tx) { tx.Delete([]byte("{c}\x00a")) },
		"another key":       func(tx *Tx) { e := tx.Load([]byte("{c}new")); tx.PutString(&e, nil, NoExpiry) },
		"renamed key": func(tx *Tx) {
			src, dst := tx.Load([]byte("{c}h")), tx.Load([]byte("{c}i"))
			tx.Rename(&src, &dst)
		},
		"field": func(tx *Tx) { c, _ := tx.Open([]byte("{c}h"), Hash); c.Put([]byte("f1"), []byte("w")); c.Save() },
		"member": func(tx *Tx) {
			c, _ := tx.Open([]byte("{c}t"), Set)
			c.Delete([]byte("1"))
			c.Add([]byte("9"))
			c.Save()
		},
		"score": func(tx *Tx) {
			z, _ := tx.OpenSortedSet([]byte("{c}z"))
			z.Put([]byte("1"), 1.5, Scored{1, true})
			z.Save()
		},
		"small value": func(tx *Tx) { l, _ := tx.OpenList([]byte("{c}l")); l.SetAt(0, []byte("e1")); l.Save() },
		"large value": func(tx *Tx) {
			l, _ := tx.OpenList([]byte("{c}l"))
			l.SetAt(1, []byte(strings.Repeat("y", 102)))
			l.Save()
		},
		"type": func(tx *Tx) {
			e := tx.Load([]byte("{c}t"))
			c := tx.Replace(&e, Hash)
			for i := range 5 {
				c.Put(fmt.Append(nil, i), nil)
			}
			c.Save()
		},
		"order of a list": func(tx *Tx) {
			l, _ := tx.OpenList([]byte("{c}l"))
			a, b := l.At(0), l.At(2)
			l.SetAt(0, b)
			l.SetAt(2, a)
			l.Save()
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			st := openStore(t)
			sampleContent(t, st, 0)
			before := contentDigest(t, st)
			update(t, st, WriteIndexed, 1, change)
			checkAll(t, st, contentSlot)
			if after := contentDigest(t, st); after == before {
				t.Fatalf("the digest is still %v", after)
			}
		})
	}
}

// TestContentDigestOfFlippedBits flips each bit of each value that is content, not an index, where it is stored.
func TestContentDigestOfFlippedBits(t *testing.T) {
	st := openStore(t)
	sampleContent(t, st, 0)
	before := contentDigest(t, st)
	flipped := 0
	for _, kind := range []key.Kind{key.Record, key.Element, key.Score} {
		it, err := st.NewIter(key.KindSpan(contentSlot, kind))
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			k, v := bytes.Clone(it.Key()), bytes.Clone(it.Value())
			for bit := range 8 * len(v) {
				damaged := bytes.Clone(v)
				damaged[bit/8] ^= 1 << (bit % 8)
				b := st.NewBatch()
				b.Set(k, damaged)
				st.Commit(b)
				if contentDigest(t, st) == before {
					r, _ := DecodeRecord(damaged)
					// Where the values of a list are numbered from is no content: it is for the next one.
					if kind != key.Record || r.Type != List || bit/8 < len(v)-8 {
						t.Errorf("bit %d of the value of %x was flipped, and the digest is the same", bit, k)
					}
				}
				flipped++
			}
			b := st.NewBatch()
			b.Set(k, v)
			st.Commit(b)
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if flipped < 1000 || contentDigest(t, st) != before {
		t.Fatalf("%d bits were flipped", flipped)
	}
}

// allItems is the keys of the items of a span, in order.
func allItems(t rapid.TB, st store.Reader, span key.Span) (keys []string) {
	c, err := NewContent(st, contentSlot, span)
	if err != nil {
		t.Fatal(err)
	}
	for c.Next() {
		keys = append(keys, string(c.Key()))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestContentSpans requires that any span shows exactly the items that lie in it, that chunks of any size tile a slot, and that bounds
// are moved to whole keys.
func TestContentSpans(t *testing.T) {
	st := openStore(t)
	sampleContent(t, st, 0)
	whole := key.DataSpan(contentSlot)
	all := allItems(t, st, whole)
	if len(all) < 25 {
		t.Fatalf("%d items", len(all))
	}
	for i := range all[1:] {
		if all[i] >= all[i+1] {
			t.Fatalf("item %q is before %q", all[i], all[i+1])
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		bound := func(name string) []byte {
			b := []byte(rapid.SampledFrom(all).Draw(t, name))
			b = b[:len(b)-rapid.IntRange(0, len(b)).Draw(t, name+" cut")]
			return append(b, rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 0xfe, 0xff}), 0, 3).Draw(t, name+" more")...)
		}
		span := key.Span{Lo: bound("lo"), Hi: bound("hi")}
		var want []string
		for _, k := range all {
			if span.Contains([]byte(k)) {
				want = append(want, k)
			}
		}
		if got := allItems(t, st, span); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatalf("from %x to %x there are %q, want %q", span.Lo, span.Hi, got, want)
		}
		wide := WholeKeys(contentSlot, span)
		var keys int
		for _, user := range []string{"{c}s", "{c}\x00a", "{c}", "{c}h", "{c}t", "{c}z", "{c}l"} {
			of := ContentSpan(contentSlot, []byte(user))
			if span.Empty() || bytes.Compare(wide.Lo, of.Hi) >= 0 || bytes.Compare(of.Lo, wide.Hi) >= 0 {
				continue
			}
			if keys++; !wide.Covers(of) && len(allItems(t, st, key.Span{Lo: maxOf(of.Lo, span.Lo), Hi: minOf(of.Hi, span.Hi)})) > 0 {
				t.Fatalf("from %x to %x cuts %q", wide.Lo, wide.Hi, user)
			}
		}
		lim := store.ChunkLimits{Bytes: rapid.IntRange(1, 300).Draw(t, "bytes"), Records: rapid.IntRange(1, 9).Draw(t, "records")}
		var sum store.Digest
		for rest := whole; ; {
			c, err := ReadContent(st, contentSlot, rest, lim, store.WithDigest)
			if err != nil {
				t.Fatal(err)
			}
			sum.Merge(c.Digest)
			if rest.Lo = c.Covers.Hi; c.Last {
				break
			}
		}
		if d, err := ContentDigest(st, contentSlot); err != nil || sum != d {
			t.Fatalf("chunks add up to %v, the slot has %v, %v", sum, d, err)
		}
	})
}

func maxOf(a, b []byte) []byte {
	if bytes.Compare(a, b) >= 0 {
		return a
	}
	return b
}

func minOf(a, b []byte) []byte {
	if bytes.Compare(a, b) <= 0 {
		return a
	}
	return b
}
