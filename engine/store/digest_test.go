package store

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"godwit/engine/key"
)

// TestDigestGolden pins what two nodes of different builds must agree on.
func TestDigestGolden(t *testing.T) {
	var out strings.Builder
	var sum Digest
	for _, r := range [][2]string{{"", ""}, {"k", ""}, {"k", "v"}, {"kv", ""}, {strings.Repeat("k", 200), strings.Repeat("v", 2000)}} {
		var d Digest
		d.Add([]byte(r[0]), []byte(r[1]))
		sum.Add([]byte(r[0]), []byte(r[1]))
		fmt.Fprintf(&out, "digest %s\n", d)
	}
	fmt.Fprintf(&out, "sum %s encoded %x\n", sum, sum.Append(nil))
	fmt.Fprintf(&out, "records %x\n", AppendRecord(AppendRecord(nil, []byte("key"), []byte("value")), nil, bytes.Repeat([]byte{7}, 130)))
	golden(t, "testdata/digest-v1.golden", out.String())
}

type pair struct{ k, v []byte }

func drawPairs(t *rapid.T) []pair {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pair {
		return pair{rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, "k"), rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, "v")}
	}), 0, 12).Draw(t, "records")
}

// TestDigestAddsUp: the order of records does not matter, and digests of parts merge to that of the whole.
func TestDigestAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := drawPairs(t)
		var whole, left, right Digest
		for _, p := range pairs {
			whole.Add(p.k, p.v)
		}
		r := seeded(rapid.Uint64().Draw(t, "order"))
		cut := rapid.IntRange(0, len(pairs)).Draw(t, "cut")
		for i, j := range r.Perm(len(pairs)) {
			if i < cut {
				left.Add(pairs[j].k, pairs[j].v)
			} else {
				right.Add(pairs[j].k, pairs[j].v)
			}
		}
		left.Merge(right)
		if left != whole || whole.Records != uint64(len(pairs)) {
			t.Fatalf("parts %s, whole %s, %d records", left, whole, len(pairs))
		}
		parsed, err := ParseDigest(whole.Append(nil))
		if err != nil || parsed != whole {
			t.Fatalf("reads back as %s, %v", parsed, err)
		}
	})
}

// TestDigestTellsApart: what is similar has other digests; in particular a byte that moves from key to value.
func TestDigestTellsApart(t *testing.T) {
	seen := map[Digest]string{{}: "nothing"}
	for _, c := range [][]pair{
		{{[]byte("ab"), []byte("c")}}, {{[]byte("a"), []byte("bc")}}, {{[]byte("abc"), nil}}, {{nil, []byte("abc")}},
		{{nil, nil}}, {{nil, nil}, {nil, nil}}, {{[]byte("a"), []byte("b")}, {[]byte("c"), nil}}, {{[]byte("a"), nil}, {[]byte("c"), []byte("b")}},
	} {
		var d Digest
		for _, p := range c {
			d.Add(p.k, p.v)
		}
		if other, dup := seen[d]; dup {
			t.Errorf("%q has the digest of %s", c, other)
		}
		seen[d] = fmt.Sprintf("%q", c)
	}
	d := Digest{Lo: ^uint64(0)}
	d.Merge(Digest{Lo: 1})
	if d != (Digest{Hi: 1}) {
		t.Errorf("the carry is lost: %s", d)
	}
}

// TestChunksTile: whatever the limits, the chunks of a span are contiguous, end where the span ends, and together hold each
// record once, in order, with digests that add up.
func TestChunksTile(t *testing.T) {
	onBoth(t, func(t *testing.T, options func(vfs.FS) Options) {
		rapid.Check(t, func(t *rapid.T) {
			st := shared(options)
			b := st.NewBatch()
			b.DeleteRange(key.SlotSpan(slotC))
			n := rapid.IntRange(0, 25).Draw(t, "records")
			for i := range n {
				b.Set(numbered(slotC, i), make([]byte, rapid.IntRange(0, 30).Draw(t, "length")))
			}
			st.Commit(b)
			span := key.DataSpan(slotC)
			if rapid.Bool().Draw(t, "part") {
				span.Lo = numbered(slotC, rapid.IntRange(0, 25).Draw(t, "from"))
			}
			var want []byte
			var sum Digest
			it, err := st.NewIter(span)
			if err != nil {
				t.Fatal(err)
			}
			for ok := it.First(); ok; ok = it.Next() {
				want = AppendRecord(want, it.Key(), it.Value())
				sum.Add(it.Key(), it.Value())
			}
			it.Close()

			parts := rapid.SampledFrom([]ChunkParts{WithRecords, WithDigest, WithRecords | WithDigest}).Draw(t, "parts")
			var got []byte
			var digest Digest
			rest := span
			for chunks := 0; ; chunks++ {
				lim := ChunkLimits{Bytes: rapid.IntRange(0, 200).Draw(t, "bytes"), Records: rapid.IntRange(0, 8).Draw(t, "count")}
				c, err := ReadChunk(st, rest, lim, parts)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(c.Covers.Lo, rest.Lo) {
					t.Fatalf("chunk %d begins at %x, want %x", chunks, c.Covers.Lo, rest.Lo)
				}
				if parts&WithDigest != 0 && c.Digest.Records > uint64(max(lim.Records, 1)) {
					t.Fatalf("a chunk of %d records, limit %d", c.Digest.Records, lim.Records)
				}
				got = append(got, c.Records...)
				digest.Merge(c.Digest)
				if c.Last {
					if !bytes.Equal(c.Covers.Hi, span.Hi) {
						t.Fatalf("the last chunk ends at %x, want %x", c.Covers.Hi, span.Hi)
					}
					break
				}
				if rest.Lo = c.Covers.Hi; rest.Empty() || chunks > n {
					t.Fatalf("chunk %d leaves %x to %x", chunks, rest.Lo, rest.Hi)
				}
			}
			if parts&WithRecords != 0 && !bytes.Equal(got, want) {
				t.Fatalf("records %x, want %x", got, want)
			}
			if parts&WithDigest != 0 && digest != sum {
				t.Fatalf("digests add up to %s, want %s", digest, sum)
			}
		})
	})
}

func FuzzNextRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendRecord(nil, []byte("k"), []byte("v")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{1, 'k', 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			k, v, next, err := NextRecord(rest)
			if err != nil {
				return
			}
			if len(next) >= len(rest) || len(k)+len(v) > len(rest) {
				t.Fatalf("a record of %d and %d bytes leaves %d of %d", len(k), len(v), len(next), len(rest))
			}
			again, w, none, err := NextRecord(AppendRecord(nil, k, v))
			if err != nil || !bytes.Equal(again, k) || !bytes.Equal(w, v) || len(none) != 0 {
				t.Fatalf("%x %x reads back as %x %x, %v", k, v, again, w, err)
			}
			rest = next
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add([]byte{})
	f.Add(Digest{1, 2, 3}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDigest(b)
		if (err == nil) != (len(b) == DigestSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err == nil && !bytes.Equal(d.Append(nil), b) {
			t.Fatalf("%s is written back as %s", hex.EncodeToString(b), hex.EncodeToString(d.Append(nil)))
		}
	})
}

func benchStore(b *testing.B, records, size int) *Store {
	b.Helper()
	st := openMem(b)
	r := rand.New(rand.NewPCG(1, 2))
	batch := st.NewBatch()
	for i := range records {
		v := make([]byte, size)
		for j := range v {
			v[j] = byte(r.Uint32())
		}
		batch.Set(numbered(slotA, i), v)
	}
	st.Commit(batch)
	st.Flush()
	return st
}

// BenchmarkCommit commits one record of 100 bytes: with no slot tracked, with another one tracked, and with its own.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name  string
		track func(*Store)
	}{
		{"untracked", func(*Store) {}},
		{"other-tracked", func(st *Store) { st.Track(slotB, 1<<20) }},
		{"tracked", func(st *Store) { st.Track(slotA, 16<<20) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			st := benchStore(b, 0, 0)
			c.track(st)
			v := make([]byte, 100)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				batch := st.NewBatch()
				batch.Set(numbered(slotA, i%10_000), v)
				st.Commit(batch)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	const records = 10_000
	st := benchStore(b, records, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, found, err := st.Get(numbered(slotA, i%records)); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkReadChunk(b *testing.B) {
	const records, size = 10_000, 100
	for _, c := range []struct {
		name  string
		parts ChunkParts
	}{{"digest", WithDigest}, {"records", WithRecords | WithDigest}} {
		b.Run(c.name, func(b *testing.B) {
			st := benchStore(b, records, size)
			b.ReportAllocs()
			b.SetBytes(records * (size + int64(len(numbered(slotA, 0)))))
			for b.Loop() {
				if _, err := ReadChunk(st, key.DataSpan(slotA), ChunkLimits{Bytes: 1 << 62, Records: records}, c.parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTake takes 10,000 changed keys.
func BenchmarkTake(b *testing.B) {
	st := openMem(b)
	tr := st.Track(slotA, 64<<20)
	batch := st.NewBatch()
	for i := range 10_000 {
		batch.Set(numbered(slotA, i), nil)
	}
	st.Commit(batch)
	b.ReportAllocs()
	for b.Loop() {
		tr.Put(tr.Take())
	}
}
