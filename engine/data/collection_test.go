package data

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// putMembers makes a collection of n members.
func putMembers(t testing.TB, st *store.Store, user string, typ Type, n int) {
	t.Helper()
	for from := 0; from < n; from += 10_000 {
		update(t, st, Write, 1, func(tx *Tx) {
			c, ok := tx.Open([]byte(user), typ)
			if !ok {
				t.Fatal("wrong type")
			}
			for i := from; i < min(n, from+10_000); i++ {
				c.Fill(fmt.Appendf(nil, "m%07d", i), nil)
			}
			c.Save()
		})
	}
}

// countElements counts the keys of all collections of the slot of a key.
func countElements(t testing.TB, st *store.Store, user string) (n int64) {
	t.Helper()
	for _, k := range []key.Kind{key.Element, key.Score} {
		m, err := countSpan(st, key.KindSpan(slot.OfKey([]byte(user)), k))
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return n
}

// readAll reads a hash by iteration.
func readAll(t rapid.TB, tx *Tx, user string) map[string]string {
	c, ok := tx.Open([]byte(user), Hash)
	if !ok {
		t.Fatalf("%q is a %s", user, c.Type)
	}
	got := map[string]string{}
	c.Each(func(member, value []byte) bool { got[string(member)] = string(value); return true })
	if tx.Err() != nil || uint64(len(got)) != c.Len() {
		t.Fatalf("%q: %d members by iteration, %d by its length, %v", user, len(got), c.Len(), tx.Err())
	}
	return got
}

// TestCollectionOperations compares hashes and strings under few keys with maps, in both write modes, and checks the invariants
// after each transaction, of which each does several things to its keys.
func TestCollectionOperations(t *testing.T) {
	users := []string{"a", "{a}1", "{a}2", "b"}
	members := []string{"", "f", "g", "h", "a longer member", "\x00\xff"}
	type model struct {
		fields   map[string]string // nil for a string
		expireMs int64
	}
	rapid.Check(t, func(rt *rapid.T) {
		st := openStore(t)
		want := map[string]model{}
		nowMs := int64(1000)
		for step := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			nowMs += rapid.Int64Range(0, 5).Draw(rt, "time")
			for u, m := range want {
				if m.expireMs != NoExpiry && nowMs > m.expireMs {
					delete(want, u)
				}
			}
			u, v := rapid.SampledFrom(users).Draw(rt, "user"), rapid.SampledFrom(users).Draw(rt, "other")
			mode := rapid.SampledFrom([]Mode{Write, WriteIndexed}).Draw(rt, "mode")
			tx := begin(st, mode, nowMs)
			m, there := want[u]
			switch op := rapid.SampledFrom([]string{"change", "change", "change", "replace", "expire", "remove", "rename", "copy", "string", "sweep"}).Draw(rt, "op"); {
			case op == "change" && (!there || m.fields != nil):
				c, ok := tx.Open([]byte(u), Hash)
				if !ok {
					rt.Fatalf("%q is a %s", u, c.Type)
				}
				fields := maps.Clone(m.fields)
				if fields == nil {
					fields = map[string]string{}
				}
				many := rapid.SampledFrom([]int{3, 3, 60}).Draw(rt, "many")
				for i := range many {
					f := rapid.SampledFrom(members).Draw(rt, "member")
					if many > 3 && i < 40 {
						f = fmt.Sprint("many", i%25)
					}
					old, had := fields[f]
					if value, found := c.Get([]byte(f)); found != had || string(value) != old {
						rt.Fatalf("%q has %q %v, want %q %v", f, value, found, old, had)
					}
					if rapid.IntRange(0, 2).Draw(rt, "which") == 0 {
						if c.Delete([]byte(f)) != had {
							rt.Fatal("Delete lied")
						}
						delete(fields, f)
					} else {
						value := fmt.Sprint(step, "-", i)
						if c.Put([]byte(f), []byte(value)) == had {
							rt.Fatal("Put lied")
						}
						fields[f] = value
					}
					if c.Has([]byte(f)) != (fields[f] != "") || c.Len() != uint64(len(fields)) {
						rt.Fatalf("%d members, want %d", c.Len(), len(fields))
					}
				}
				c.Save()
				want[u] = model{fields, m.expireMs}
				if len(fields) == 0 {
					delete(want, u)
				}
			case op == "replace":
				e := tx.Load([]byte(u))
				c := tx.Replace(&e, Hash)
				delete(want, u)
				if n := rapid.IntRange(0, 70).Draw(rt, "fill"); n > 0 {
					fields := map[string]string{}
					for i := range n {
						c.Fill(fmt.Append(nil, i), []byte("filled"))
						fields[fmt.Sprint(i)] = "filled"
					}
					want[u] = model{fields, NoExpiry}
				}
				c.Save()
			case op == "expire" && there:
				e := tx.Load([]byte(u))
				m.expireMs = rapid.SampledFrom([]int64{NoExpiry, nowMs, nowMs + 1, nowMs + 50}).Draw(rt, "expiry")
				tx.SetExpiry(&e, m.expireMs)
				want[u] = m
			case op == "remove":
				e := tx.Load([]byte(u))
				if tx.Remove(&e) != there {
					rt.Fatal("Remove lied")
				}
				delete(want, u)
			case (op == "rename" || op == "copy") && there && u != v:
				src, dst := tx.Load([]byte(u)), tx.Load([]byte(v))
				want[v] = m
				if op == "copy" {
					tx.Copy(&src, &dst)
				} else {
					tx.Rename(&src, &dst)
					delete(want, u)
				}
			case op == "string":
				e := tx.Load([]byte(u))
				tx.PutString(&e, []byte("s"), NoExpiry)
				want[u] = model{}
			case op == "sweep":
				SweepSlot(&tx, slot.OfKey([]byte(u)), nowMs, 2)
			}
			if err := tx.Err(); err != nil {
				rt.Fatal(err)
			}
			tx.Commit()
			for _, u := range users {
				if err := CheckSlot(st, slot.OfKey([]byte(u))); err != nil {
					rt.Fatal(err)
				}
				read := begin(st, Read, nowMs)
				e := read.Load([]byte(u))
				m, there := want[u]
				switch {
				case e.Found != there, there && (e.ExpireMs != m.expireMs || (e.Type == String) != (m.fields == nil)):
					rt.Fatalf("%q is %+v, want %+v", u, e, m)
				case there && m.fields != nil && !maps.Equal(readAll(rt, &read, u), m.fields):
					rt.Fatalf("%q is %v, want %v", u, readAll(rt, &read, u), m.fields)
				}
			}
		}
	})
}

// TestDropsLeaveNothing: by whatever way a collection goes, its elements go in the same batch, whether few or many.
func TestDropsLeaveNothing(t *testing.T) {
	ways := map[string]func(tx *Tx, e *Entry){
		"removed":     func(tx *Tx, e *Entry) { tx.Remove(e) },
		"overwritten": func(tx *Tx, e *Entry) { tx.PutString(e, nil, NoExpiry) },
		"expired":     func(tx *Tx, e *Entry) { tx.SetExpiry(e, 1) },
		"replaced":    func(tx *Tx, e *Entry) { c := tx.Replace(e, Set); c.Save() },
		"flushed":     func(tx *Tx, _ *Entry) { tx.Flush() },
		"renamed over": func(tx *Tx, e *Entry) {
			src := tx.Load([]byte("string"))
			tx.Rename(&src, e)
		},
	}
	for way, drop := range ways {
		for _, n := range []int{1, pointDeletes, pointDeletes + 1, 1000} {
			for _, mode := range []Mode{Write, WriteIndexed} {
				st := openStore(t)
				putMembers(t, st, "k", Set, n)
				put(t, st, "string", "", NoExpiry)
				update(t, st, mode, 100, func(tx *Tx) {
					e := tx.Load([]byte("k"))
					drop(tx, &e)
					ranges := 0
					tx.Batch().Each(func(op store.Op) {
						if op.Kind == store.OpDeleteRange {
							ranges++
						}
					})
					if (ranges > 0) != (n > pointDeletes) && way != "flushed" {
						t.Errorf("%s in mode %d: %d range deletes for %d elements", way, mode, ranges, n)
					}
				})
				if left := countElements(t, st, "k"); left != 0 {
					t.Errorf("%s in mode %d: %d elements of %d are left", way, mode, left, n)
				}
				checkAll(t, st, slot.OfKey([]byte("k")), slot.OfKey([]byte("string")))
			}
		}
	}
}

// TestDropOfWhatWasJustWritten: elements that no iterator can see yet, since their batch cannot be read, go as well.
func TestDropOfWhatWasJustWritten(t *testing.T) {
	for _, mode := range []Mode{Write, WriteIndexed} {
		st := openStore(t)
		putMembers(t, st, "k", Set, 3)
		update(t, st, mode, 1, func(tx *Tx) {
			c, _ := tx.Open([]byte("k"), Set)
			c.Put([]byte("new"), nil)
			c.Save()
			tx.Remove(&c.Entry)
		})
		if left := countElements(t, st, "k"); left != 0 {
			t.Errorf("mode %d: %d elements are left", mode, left)
		}
	}
}

// TestScanNeverDividesMembersOfOneHash: a call that ended between two of them would skip the second.
func TestScanNeverDividesMembersOfOneHash(t *testing.T) {
	first, second := collision(t)
	st := openStore(t)
	update(t, st, Write, 1, func(tx *Tx) {
		c, _ := tx.Open([]byte("k"), Set)
		for _, m := range []string{first, second, "other", "another"} {
			c.Put([]byte(m), nil)
		}
		c.Save()
	})
	seen := map[string]int{}
	cursor := uint64(0)
	for range 4 {
		tx := begin(st, Read, 1)
		c, _ := tx.Open([]byte("k"), Set)
		if cursor = c.Scan(cursor, 1, func(member, _ []byte) { seen[string(member)]++ }); cursor == 0 {
			break
		}
	}
	if len(seen) != 4 || seen[first] != 1 || seen[second] != 1 {
		t.Errorf("seen %v", seen)
	}
}

// TestBigCollectionsGoAtOnce: what deleting, overwriting, renaming and expiring write does not depend on the size.
func TestBigCollectionsGoAtOnce(t *testing.T) {
	const n = 1_000_000
	st := openStore(t)
	putMembers(t, st, "{k}", Set, n)
	cost := func(f func(tx *Tx, e *Entry)) int {
		tx := begin(st, Write, 1)
		e := tx.Load([]byte("{k}"))
		f(&tx, &e)
		defer tx.Discard()
		if tx.Err() != nil || tx.Batch() == nil {
			t.Fatal(tx.Err())
		}
		return tx.Batch().Bytes()
	}
	for name, f := range map[string]func(tx *Tx, e *Entry){
		"remove":    func(tx *Tx, e *Entry) { tx.Remove(e) },
		"overwrite": func(tx *Tx, e *Entry) { tx.PutString(e, nil, NoExpiry) },
		"expire":    func(tx *Tx, e *Entry) { tx.SetExpiry(e, 500) },
		"rename": func(tx *Tx, e *Entry) {
			dst := tx.Load([]byte("{k}2"))
			tx.Rename(e, &dst)
		},
	} {
		if got := cost(f); got > 200 {
			t.Errorf("%s writes %d bytes", name, got)
		}
	}
	tx := begin(st, Read, 1)
	c, _ := tx.Open([]byte("{k}"), Set)
	count := 0
	if allocs := testing.AllocsPerRun(1, func() {
		count = 0
		c.Each(func(_, _ []byte) bool { count++; return true })
	}); count != n || allocs > n/100 {
		t.Errorf("reading %d members took %.0f allocations", count, allocs)
	}
	update(t, st, Write, 1, func(tx *Tx) { tx.Delete([]byte("{k}")) })
	if left := countElements(t, st, "{k}"); left != 0 {
		t.Errorf("%d elements are left", left)
	}
}

// TestGenerationsAreNew: a collection under a key that had one before shares no element with it, nor with its copy.
func TestGenerationsAreNew(t *testing.T) {
	st := openStore(t)
	seen := map[key.Generation]bool{}
	generation := func(user string) key.Generation {
		tx := begin(st, Read, 1)
		e := tx.Load([]byte(user))
		return e.Generation
	}
	for range 100 {
		putMembers(t, st, "{k}", Set, 2)
		update(t, st, Write, 1, func(tx *Tx) {
			src, dst := tx.Load([]byte("{k}")), tx.Load([]byte("{k}2"))
			tx.Copy(&src, &dst)
		})
		for _, user := range []string{"{k}", "{k}2"} {
			if g := generation(user); seen[g] {
				t.Fatalf("generation %x came again", g)
			} else {
				seen[g] = true
			}
		}
		update(t, st, Write, 1, func(tx *Tx) { tx.Delete([]byte("{k}")) })
	}
	before := generation("{k}2")
	update(t, st, Write, 1, func(tx *Tx) {
		src, dst := tx.Load([]byte("{k}2")), tx.Load([]byte("{k}3"))
		tx.Rename(&src, &dst)
	})
	if generation("{k}3") != before {
		t.Error("a rename within a slot moved the elements")
	}
	update(t, st, Write, 1, func(tx *Tx) {
		src, dst := tx.Load([]byte("{k}3")), tx.Load([]byte("elsewhere"))
		tx.Rename(&src, &dst)
	})
	if g := generation("elsewhere"); g == before || countElements(t, st, "{k}") != 0 || countElements(t, st, "elsewhere") != 2 {
		t.Error("a rename to another slot must copy and drop")
	}
}

func TestCollectionScan(t *testing.T) {
	st := openStore(t)
	putMembers(t, st, "k", Set, 3000)
	for _, count := range []int{1, 7, 1000, 1 << 40} {
		seen := map[string]int{}
		calls := 0
		for cursor := uint64(0); ; {
			tx := begin(st, Read, 1)
			c, _ := tx.Open([]byte("k"), Set)
			n := 0
			cursor = c.Scan(cursor, count, func(member, _ []byte) { seen[string(member)]++; n++ })
			if calls++; n > count+1 || tx.Err() != nil {
				t.Fatalf("a call with count %d visited %d members, %v", count, n, tx.Err())
			}
			if cursor == 0 {
				break
			}
		}
		if len(seen) != 3000 || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
			t.Errorf("count %d: %d members in %d calls", count, len(seen), calls)
		}
	}
	tx := begin(st, Read, 1)
	c, _ := tx.Open([]byte("k"), Set)
	for _, cursor := range []uint64{1 << 32, 1<<64 - 1} {
		if next := c.Scan(cursor, 10, func(_, _ []byte) { t.Error("visited") }); next != 0 {
			t.Errorf("cursor %d: next %d", cursor, next)
		}
	}
}

// TestRandomMembers: samples have the right size and no member twice, and each member is drawn about as often as any other.
func TestRandomMembers(t *testing.T) {
	for _, n := range []int{1, 2, int(drawWalk.whole), int(drawWalk.whole) + 1, 5000} {
		st := openStore(t)
		putMembers(t, st, "k", Set, n)
		tx := begin(st, Read, 1)
		c, _ := tx.Open([]byte("k"), Set)
		for _, want := range []int{0, 1, n / 100, n / 2, n, n + 5} {
			got := map[string]bool{}
			c.Sample(uint64(want), testBits.next, func(member, _ []byte) bool {
				if got[string(member)] {
					t.Fatalf("%q came twice", member)
				}
				got[string(member)] = true
				return true
			})
			if len(got) != min(want, n) {
				t.Fatalf("a sample of %d of %d has %d", want, n, len(got))
			}
		}
		drawn := map[string]int{}
		const each = 40
		c.Draws(uint64(each*n), testBits.next, func(member, _ []byte) bool { drawn[string(member)]++; return true })
		counts := slices.Sorted(maps.Values(drawn))
		if len(drawn) != n || counts[0] == 0 || counts[len(counts)-1] > 4*each {
			t.Errorf("of %d members %d were drawn, %d to %d times, %d on average", n, len(drawn), counts[0], counts[len(counts)-1], each)
		}
		update(t, st, Write, 1, func(tx *Tx) {
			c, _ := tx.Open([]byte("k"), Set)
			member := c.Pop(testBits.next)
			if c.Save(); member == nil || drawn[string(member)] == 0 || c.Len() != uint64(n-1) {
				t.Errorf("of %d members %q was popped, and %d are left", n, member, c.Len())
			}
		})
		checkAll(t, st, slot.OfKey([]byte("k")))
		if n <= int(drawWalk.whole) && n > 1 && counts[0] < each/3 {
			t.Errorf("of %d members one was drawn %d times, %d on average", n, counts[0], each)
		}
	}
}

func TestTooLargeAWriteIsAnError(t *testing.T) {
	st := openStore(t)
	tx := begin(st, Write, 1)
	c, _ := tx.Open([]byte("k"), Hash)
	tx.lowLimitBytes = 1000
	value := []byte(strings.Repeat("v", 250))
	for i := range 4 {
		c.Put([]byte{byte(i)}, value)
	}
	c.Save()
	if !errors.Is(tx.Err(), ErrTooLarge) || tx.Batch().Bytes() > 1000 {
		t.Errorf("got %v after %d bytes", tx.Err(), tx.Batch().Bytes())
	}
	tx.Discard()
}

func TestCollectionNeedsRand(t *testing.T) {
	st := openStore(t)
	tx := Begin(st, Write, 1)
	c, _ := tx.Open([]byte("k"), Hash)
	defer func() {
		if recover() == nil {
			t.Error("a collection was made without random bits")
		}
	}()
	c.Put([]byte("f"), nil)
}

func TestCheckSlotFindsBrokenCollections(t *testing.T) {
	s := slot.OfKey([]byte("k"))
	for name, plant := range map[string]func(b *store.Batch, r Record){
		"an element too many": func(b *store.Batch, r Record) {
			c := Collection{Entry: Entry{Slot: s}, tx: &Tx{}, gen: r.Generation}
			b.Set(c.memberKey([]byte("x")), nil)
		},
		"an element too few": func(b *store.Batch, r Record) {
			c := Collection{Entry: Entry{Slot: s}, tx: &Tx{}, gen: r.Generation}
			b.Delete(c.memberKey([]byte("m0000000")))
		},
		"an element without a record": func(b *store.Batch, _ Record) {
			c := Collection{Entry: Entry{Slot: s}, tx: &Tx{}, gen: key.Generation{1}}
			b.Set(c.memberKey([]byte("x")), nil)
		},
		"a wrong hash": func(b *store.Batch, r Record) {
			b.Set(append(key.AppendElement(nil, s, key.Element, r.Generation), "0000x"...), nil)
		},
		"a member with a value": func(b *store.Batch, r Record) {
			c := Collection{Entry: Entry{Slot: s}, tx: &Tx{}, gen: r.Generation}
			b.Set(c.memberKey([]byte("m0000000")), []byte("v"))
		},
		"a score in a set": func(b *store.Batch, r Record) {
			b.Set(append(key.AppendElement(nil, s, key.Score, r.Generation), "12345678m"...), nil)
		},
		"an element cut off": func(b *store.Batch, _ Record) { b.Set(append(key.KindSpan(s, key.Element).Lo, 1), nil) },
		"an empty collection": func(b *store.Batch, _ Record) {
			r := Record{Type: Hash, Generation: key.Generation{1}}
			b.Set(key.AppendRecord(nil, s, []byte("{k}")), AppendRecord(nil, &r))
		},
		"one generation twice": func(b *store.Batch, r Record) {
			b.Set(key.AppendRecord(nil, s, []byte("{k}")), AppendRecord(nil, &r))
		},
	} {
		st := openStore(t)
		putMembers(t, st, "k", Set, 3)
		checkAll(t, st, s)
		tx := begin(st, Read, 1)
		e := tx.Load([]byte("k"))
		b := st.NewBatch()
		plant(b, e.Record)
		st.Commit(b)
		if err := CheckSlot(st, s); !errors.Is(err, ErrInvariant) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
