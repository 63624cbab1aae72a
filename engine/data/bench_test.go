package data

import (
	"fmt"
	"testing"

	"godwit/engine/key"
)

// BenchmarkDrop compares the two ways to delete the elements of a collection, with what the next twenty reads then cost; the
// threshold between them is pointDeletes.
func BenchmarkDrop(b *testing.B) {
	for _, n := range []int{1, 4, 16, 64, 256, 1024} {
		for _, way := range []string{"points", "range"} {
			b.Run(fmt.Sprintf("%d/%s", n, way), func(b *testing.B) {
				st := openStore(b)
				user := make([][]byte, 200)
				for i := range user {
					user[i] = fmt.Append(nil, "k", i)
				}
				i := 0
				for b.Loop() {
					b.StopTimer()
					u := user[i%len(user)]
					i++
					update(b, st, Write, 1, func(tx *Tx) {
						e := tx.Load(u)
						c := tx.Replace(&e, Set)
						for m := range n {
							c.Fill(fmt.Append(nil, m), nil)
						}
						c.Save()
					})
					b.StartTimer()
					tx := begin(st, Write, 1)
					e := tx.Load(u)
					span := key.ElementSpan(e.Slot, key.Element, e.Generation)
					if way == "points" {
						it, err := st.NewIter(span)
						if err != nil {
							b.Fatal(err)
						}
						for ok := it.First(); ok; ok = it.Next() {
							tx.writer().Delete(it.Key())
						}
						if err := it.Close(); err != nil {
							b.Fatal(err)
						}
					} else {
						tx.writer().DeleteRange(span)
					}
					tx.removeRecord(&e)
					tx.Commit()
					for r := range 20 {
						read := begin(st, Read, 1)
						c, _ := read.Open(user[(i+r*7)%len(user)], Set)
						c.Has([]byte("0"))
					}
				}
			})
		}
	}
}

// BenchmarkPop takes random members out of a set until it is empty, and fills it again.
func BenchmarkPop(b *testing.B) {
	st := openSized(b, 0, 0)
	const n = 100_000
	left := 0
	for b.Loop() {
		if left == 0 {
			b.StopTimer()
			putMembers(b, st, "k", Set, n)
			left = n
			b.StartTimer()
		}
		tx := begin(st, Write, 1)
		c, _ := tx.Open([]byte("k"), Set)
		c.Pop(testBits.next)
		c.Save()
		tx.Commit()
		left--
	}
}

// BenchmarkPut writes single members of one large set: the path of HSET and SADD.
func BenchmarkPut(b *testing.B) {
	st := openSized(b, 0, 0)
	putMembers(b, st, "k", Set, 100_000)
	var tx Tx
	tx.SetRand(testBits.next)
	var member []byte
	user := []byte("k")
	b.ReportAllocs()
	for b.Loop() {
		tx.Reset(st, Write, 1)
		c, _ := tx.Open(user, Set)
		member = fmt.Appendf(member[:0], "m%07d", testBits.next()%200_000)
		c.Put(member, nil)
		c.Save()
		tx.Commit()
	}
}

// BenchmarkListMiddle works in the middle of a list of a million values of 1 KiB.
func BenchmarkListMiddle(b *testing.B) {
	const n = 1_000_000
	st := openSized(b, 0, 0)
	user := []byte("k")
	value := make([]byte, 1024)
	for from := 0; from < n; from += 10_000 {
		update(b, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList(user)
			for range 10_000 {
				l.Push(Right, value)
			}
			l.Save()
		})
	}
	for name, op := range map[string]func(l *Sequence){
		"index":  func(l *Sequence) { l.At(n/2 + testBits.next()%1000) },
		"set":    func(l *Sequence) { l.SetAt(n/2, value) },
		"insert": func(l *Sequence) { l.Insert(n/2, value) },
		"remove": func(l *Sequence) { l.Remove([]uint64{n / 2}) },
		"find":   func(l *Sequence) { l.Find(Left, value[:100], n, func(uint64) bool { return false }) },
		"rotate": func(l *Sequence) { l.Push(Left, l.Pop(Right)) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				update(b, st, Write, 1, func(tx *Tx) {
					l, _ := tx.OpenList(user)
					op(&l)
					l.Save()
				})
			}
		})
	}
}
