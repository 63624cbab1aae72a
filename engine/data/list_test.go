package data

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// readList reads a list by iteration from both ends and by index.
func readList(t rapid.TB, tx *Tx, user string) (got []string) {
	l, ok := tx.OpenList([]byte(user))
	if !ok {
		t.Fatalf("%q is a %s", user, l.Type)
	}
	n := l.Len()
	l.Each(Left, 0, n, func(v []byte) bool { got = append(got, string(v)); return true })
	var back []string
	l.Each(Right, n-1, n, func(v []byte) bool { back = append(back, string(v)); return true })
	slices.Reverse(back)
	for i, want := range got {
		if v := l.At(uint64(i)); string(v) != want {
			t.Fatalf("element %d is %q by its index, and %q by iteration", i, v, want)
		}
	}
	if tx.Err() != nil || uint64(len(got)) != n || !slices.Equal(got, back) {
		t.Fatalf("%q: %q from the left, %q from the right, %d by its length, %v", user, got, back, n, tx.Err())
	}
	return got
}

// setOld writes a value over the element at an index as format 1 did: more than 64 bytes lie apart.
func setOld(l *Sequence, i uint64, value []byte) {
	if len(value) < minApart {
		l.SetAt(i, value)
		return
	}
	e, _ := l.entry(i)
	l.dropValue(e)
	entry := binary.BigEndian.AppendUint64([]byte{entryApart}, l.list.NextValue)
	entry = binary.BigEndian.AppendUint32(entry, key.Hash(value))
	l.list.NextValue++
	l.tx.setElement(l.elementKey(listValue, entry[1:9]), value)
	l.tx.setElement(l.positionKey(l.list.Head+i), entry)
	l.dirty = true
}

// TestListOperations compares a list with a slice, in both write modes, with values of both kinds, some as format 1 had them, and lengths on both sides
// of what is deleted one by one, and checks the invariants after each operation.
func TestListOperations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := openStore(t)
		var want []string
		user := []byte("k")
		value := func() string {
			return strings.Repeat(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "letter"), rapid.SampledFrom([]int{0, 1, 1, minApart - 1, minApart, maxInline, maxInline + 1}).Draw(rt, "length"))
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			tx := begin(st, rapid.SampledFrom([]Mode{Write, WriteIndexed}).Draw(rt, "mode"), 1)
			l, _ := tx.OpenList(user)
			n := len(want)
			index := func() int { return rapid.IntRange(0, n-1).Draw(rt, "index") }
			end := rapid.SampledFrom([]End{Left, Right}).Draw(rt, "end")
			op := rapid.SampledFrom([]string{"push", "push", "many", "pop", "rotate", "set", "old", "old", "drop", "insert", "insert", "remove", "remove", "replace"}).Draw(rt, "op")
			switch {
			case op == "push" || op == "many" || n == 0:
				for range map[bool]int{false: 3, true: pointDeletes}[op == "many"] {
					v := value()
					l.Push(end, []byte(v))
					want = slices.Insert(want, map[End]int{Left: 0, Right: len(want)}[end], v)
				}
			case op == "pop" || op == "rotate":
				i := map[End]int{Left: 0, Right: n - 1}[end]
				v := l.Pop(end)
				if string(v) != want[i] {
					rt.Fatalf("popped %q, want %q", v, want[i])
				}
				want = slices.Delete(want, i, i+1)
				if op == "rotate" {
					to := rapid.SampledFrom([]End{Left, Right}).Draw(rt, "to")
					l.Push(to, v)
					want = slices.Insert(want, map[End]int{Left: 0, Right: len(want)}[to], string(v))
				}
			case op == "set":
				i, v := index(), value()
				l.SetAt(uint64(i), []byte(v))
				want[i] = v
			case op == "old":
				i, v := index(), value()
				setOld(&l, uint64(i), []byte(v))
				want[i] = v
			case op == "drop":
				k := rapid.IntRange(0, n).Draw(rt, "dropped")
				l.Drop(end, uint64(k))
				if end == Left {
					want = want[k:]
				} else {
					want = want[:n-k]
				}
			case op == "insert":
				i, v := rapid.IntRange(0, n).Draw(rt, "at"), value()
				l.Insert(uint64(i), []byte(v))
				want = slices.Insert(want, i, v)
			case op == "remove":
				v, most := want[index()], rapid.IntRange(1, 5+n).Draw(rt, "most")
				var indexes []uint64
				l.Find(end, []byte(v), l.Len(), func(i uint64) bool {
					indexes = append(indexes, i)
					return len(indexes) < most
				})
				if end == Right {
					slices.Reverse(indexes)
				}
				l.Remove(indexes)
				for removed := 0; removed < len(indexes); removed++ {
					i := slices.Index(want, v)
					if end == Right {
						for i = len(want) - 1; want[i] != v; i-- {
						}
					}
					want = slices.Delete(want, i, i+1)
				}
				if most > len(indexes) && slices.Contains(want, v) {
					rt.Fatalf("%d found of %q, and there are more", len(indexes), v)
				}
			case op == "replace":
				l = tx.ReplaceList(&l.Entry)
				v := value()
				l.Push(end, []byte(v))
				want = []string{v}
			}
			l.Save()
			if err := tx.Err(); err != nil {
				rt.Fatalf("%s: %v", op, err)
			}
			tx.Commit()
			if err := CheckSlot(st, slot.OfKey(user)); err != nil {
				rt.Fatalf("%s: %v", op, err)
			}
			read := begin(st, Read, 1)
			if got := readList(rt, &read, "k"); !slices.Equal(got, want) {
				rt.Fatalf("%s: %q, want %q", op, got, want)
			}
			if len(want) == 0 && countElements(t, st, "k") != 0 {
				rt.Fatalf("%s left elements of an empty list", op)
			}
		}
	})
}

// TestListMiddleMovesNoValues: what a change in the middle of a list of large values writes does not depend on how large they
// are, and looking for one reads no other.
func TestListMiddleMovesNoValues(t *testing.T) {
	const n, size = 1000, 10_000
	for at, op := range map[string]func(l *Sequence){
		"set":    func(l *Sequence) { l.SetAt(n/2, []byte("new")) },
		"insert": func(l *Sequence) { l.Insert(n/2, []byte("new")) },
		"remove": func(l *Sequence) { l.Remove([]uint64{n / 2}) },
		"first":  func(l *Sequence) { l.Remove([]uint64{0, 1, 2}) },
		"last":   func(l *Sequence) { l.Insert(n, []byte("new")) },
	} {
		st := openStore(t)
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("k"))
			for i := range n {
				l.Push(Right, bytes.Repeat(fmt.Appendf(nil, "%04d", i), size/4))
			}
			l.Save()
		})
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("k"))
			op(&l)
			l.Save()
			if limit := n / 2 * 60; tx.Batch().Bytes() > limit {
				t.Errorf("%s: %d bytes written", at, tx.Batch().Bytes())
			}
		})
		checkAll(t, st, slot.OfKey([]byte("k")))
	}
}

func TestCheckSlotFindsBrokenLists(t *testing.T) {
	s := slot.OfKey([]byte("k"))
	position := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	long := bytes.Repeat([]byte("v"), maxInline+1)
	for name, c := range map[string]struct {
		want   string
		damage func(b *store.Batch, at func(kind key.Kind, element []byte) []byte)
	}{
		"a gap": {"comes where", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Delete(at(key.Element, position(listMiddle+1)))
		}},
		"an entry too many": {"has 4 elements, and by its record 3", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, position(listMiddle+3)), []byte{entryInline})
		}},
		"an entry before the head": {"comes where", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, position(listMiddle-1)), []byte{entryInline})
		}},
		"a short position": {"not 8 bytes", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, []byte{0xff}), []byte{entryInline})
		}},
		"an unknown entry": {"an entry of a list is 07", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, position(listMiddle)), []byte{7})
		}},
		"a lost value": {"its value is not there", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Delete(at(listValue, position(0)))
		}},
		"another value": {"the hash of its value", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(listValue, position(0)), append(long, 'x'))
		}},
		"a small value apart": {"bytes lies apart", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(listValue, position(0)), []byte("v"))
			b.Set(at(key.Element, position(listMiddle+1)), binary.BigEndian.AppendUint32(append([]byte{entryApart}, position(0)...), key.Hash([]byte("v"))))
		}},
		"a value that nobody names": {"values apart", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(listValue, position(1)), long)
		}},
		"a value that two name": {"values apart", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(key.Element, position(listMiddle)), binary.BigEndian.AppendUint32(append([]byte{entryApart}, position(0)...), key.Hash(long)))
			b.Set(at(listValue, position(1)), long)
		}},
		"a number to come": {"the next value has the number 2", func(b *store.Batch, at func(key.Kind, []byte) []byte) {
			b.Set(at(listValue, position(2)), long)
		}},
	} {
		st := openStore(t)
		var r Record
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("k"))
			l.Push(Right, []byte("v"))
			l.Push(Right, long)
			l.Push(Right, long)
			l.Save()
		})
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("k"))
			l.Pop(Right)
			l.Push(Right, []byte("w"))
			l.Save()
			r = l.Record
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

// TestBrokenListsFail: what does not hold together is an error of the transaction, and no panic and no wrong reply.
func TestBrokenListsFail(t *testing.T) {
	s := slot.OfKey([]byte("k"))
	for name, broken := range map[string]func(b *store.Batch, lo []byte){
		"gap":   func(b *store.Batch, lo []byte) { b.Delete(binary.BigEndian.AppendUint64(lo, listMiddle+1)) },
		"bytes": func(b *store.Batch, lo []byte) { b.Set(binary.BigEndian.AppendUint64(lo, listMiddle+1), nil) },
		"value": func(b *store.Batch, lo []byte) {
			b.Set(binary.BigEndian.AppendUint64(lo, listMiddle+1), append([]byte{entryApart}, make([]byte, 12)...))
		},
	} {
		st := openStore(t)
		var r Record
		update(t, st, Write, 1, func(tx *Tx) {
			l, _ := tx.OpenList([]byte("k"))
			for range 3 {
				l.Push(Right, []byte("v"))
			}
			l.Save()
			r = l.Record
		})
		b := st.NewBatch()
		broken(b, key.AppendElement(nil, s, key.Element, r.Generation))
		st.Commit(b)
		for what, op := range map[string]func(l *Sequence){
			"at":   func(l *Sequence) { l.At(1) },
			"each": func(l *Sequence) { l.Each(Left, 0, 3, func([]byte) bool { return true }) },
			"pop":  func(l *Sequence) { l.Drop(Right, 1); l.Pop(Right) },
		} {
			tx := begin(st, Write, 1)
			l, _ := tx.OpenList([]byte("k"))
			op(&l)
			l.Save()
			if err := tx.Err(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			tx.Discard()
		}
	}
}

// TestGoldenListEntries pins the bytes of entries, those of format 1 included.
func TestGoldenListEntries(t *testing.T) {
	st := openStore(t)
	update(t, st, Write, 1, func(tx *Tx) {
		l, _ := tx.OpenList([]byte("k"))
		l.Push(Right, []byte("small"))
		l.Push(Right, bytes.Repeat([]byte("x"), maxInline+1))
		l.Push(Left, nil)
		l.Push(Left, bytes.Repeat([]byte("y"), maxInline))
		l.Push(Left, nil)
		l.Save()
	})
	update(t, st, Write, 1, func(tx *Tx) {
		l, _ := tx.OpenList([]byte("k"))
		setOld(&l, 0, bytes.Repeat([]byte("x"), minApart))
		l.Save()
	})
	it, err := st.NewIter(key.KindSpan(slot.OfKey([]byte("k")), key.Element))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
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
	want := []string{"7ffffffffffffffd 010000000000000001cf1929f2", "7ffffffffffffffe 00" + strings.Repeat("79", 256), "7fffffffffffffff 00", "8000000000000000 00736d616c6c", "8000000000000001 0100000000000000004f0af996"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// FuzzDecodeEntry: no bytes make the decoder panic, and what it accepts is one of the two forms.
func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte("\x00value"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x07hash"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		again := append([]byte{entryInline}, e.inline...)
		if e.apart {
			again = binary.BigEndian.AppendUint32(append([]byte{entryApart}, e.number...), e.hash)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %x", b, again)
		}
	})
}
