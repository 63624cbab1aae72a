package data

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

func TestPutKeepsTheExpiryIndexExact(t *testing.T) {
	st := openStore(t)
	s := slot.OfKey([]byte("k"))
	for _, step := range []struct {
		expireMs int64
		entries  int64
	}{{NoExpiry, 0}, {100, 1}, {100, 1}, {200, 1}, {NoExpiry, 0}, {300, 1}} {
		put(t, st, "k", "v", step.expireMs)
		n, err := countSpan(st, key.KindSpan(s, key.Expiry))
		if err != nil || n != step.entries {
			t.Fatalf("expiry %d: %d entries, %v; want %d", step.expireMs, n, err, step.entries)
		}
		checkAll(t, st, s)
	}
	update(t, st, Write, 1, func(tx *Tx) {
		if !tx.Delete([]byte("k")) || tx.Batch() == nil {
			t.Error("the key was not deleted")
		}
	})
	if n, err := countSpan(st, key.SlotSpan(s)); n != 0 || err != nil {
		t.Fatalf("%d keys are left in the slot, %v", n, err)
	}
}

// TestExpiredIsAWrite: invariant 2, in all modes and at the very millisecond.
func TestExpiredIsAWrite(t *testing.T) {
	st := openStore(t)
	put(t, st, "k", "v", 100)

	tx := Begin(st, Read, 100)
	if e := tx.Load([]byte("k")); !e.Found || tx.NeedsWrite() {
		t.Fatal("the millisecond of the expiry still belongs to the key")
	}
	tx.Reset(st, Read, 101)
	if e := tx.Load([]byte("k")); e.Found || !tx.NeedsWrite() || tx.Batch() != nil {
		t.Fatalf("found %v, needs write %v", e.Found, tx.NeedsWrite())
	}
	tx.Reset(st, Write, 101)
	if e := tx.Load([]byte("k")); e.Found || e.ExpireMs != NoExpiry || tx.NeedsWrite() || tx.Batch() == nil {
		t.Fatalf("found %v, needs write %v, batch %v", e.Found, tx.NeedsWrite(), tx.Batch())
	}
	tx.Discard()
	if n, _ := CountKeys(st, slot.OfKey([]byte("k")), 100); n != 1 {
		t.Fatal("a discarded transaction deleted the key")
	}
	update(t, st, Write, 101, func(tx *Tx) { tx.Load([]byte("k")) })
	tx.Reset(st, Read, 1) // a clock that is behind must not see the key again
	if e := tx.Load([]byte("k")); e.Found || tx.NeedsWrite() {
		t.Fatal("the key came back")
	}
	if n, _ := countSpan(st, key.SlotSpan(slot.OfKey([]byte("k")))); n != 0 {
		t.Fatalf("%d keys are left in the slot", n)
	}
}

func TestExpiredThenWritten(t *testing.T) {
	for _, mode := range []Mode{Write, WriteIndexed} {
		st := openStore(t)
		put(t, st, "k", "old", 100)
		update(t, st, mode, 101, func(tx *Tx) {
			e := tx.Load([]byte("k"))
			tx.PutString(&e, []byte("new"), 500)
		})
		checkAll(t, st, slot.OfKey([]byte("k")))
		tx := Begin(st, Read, 101)
		if e := tx.Load([]byte("k")); string(e.Value) != "new" || e.ExpireMs != 500 {
			t.Fatalf("mode %d: got %+v", mode, e)
		}
	}
}

func TestPutInThePastRemoves(t *testing.T) {
	st := openStore(t)
	put(t, st, "k", "v", 5000)
	update(t, st, Write, 1000, func(tx *Tx) {
		e := tx.Load([]byte("k"))
		tx.PutString(&e, []byte("w"), 999)
	})
	if n, _ := countSpan(st, key.SlotSpan(slot.OfKey([]byte("k")))); n != 0 {
		t.Fatalf("%d keys are left", n)
	}
}

func TestIndexedReadsItsOwnWrites(t *testing.T) {
	st := openStore(t)
	put(t, st, "k", "v", NoExpiry)
	update(t, st, WriteIndexed, 1, func(tx *Tx) {
		if !tx.Delete([]byte("k")) || tx.Delete([]byte("k")) {
			t.Error("a key must be deleted once")
		}
	})
}

func TestCorruptRecordIsAnError(t *testing.T) {
	st := openStore(t)
	b := st.NewBatch()
	b.Set(key.AppendRecord(nil, slot.OfKey([]byte("k")), []byte("k")), []byte("junk"))
	st.Commit(b)
	tx := Begin(st, Write, 1)
	if e := tx.Load([]byte("k")); e.Found || !errors.Is(tx.Err(), ErrCorrupt) {
		t.Fatalf("got %+v, %v", e, tx.Err())
	}
	e := tx.Load([]byte("other"))
	tx.PutString(&e, []byte("v"), NoExpiry)
	if tx.Batch() != nil {
		t.Error("a failed transaction must not go on writing")
	}
	for name, f := range map[string]func(*Tx){
		"scan":   func(tx *Tx) { tx.Scan(0, 10, func([]byte, *Record) {}) },
		"all":    func(tx *Tx) { tx.ForEach(func([]byte, *Record) {}) },
		"random": func(tx *Tx) { tx.RandomKey(func() uint64 { return 0 }) },
	} {
		tx.Reset(st, Read, 1)
		f(&tx)
		if !errors.Is(tx.Err(), ErrCorrupt) {
			t.Errorf("%s: got %v", name, tx.Err())
		}
	}
}

func TestLongKeys(t *testing.T) {
	st := openStore(t)
	longest := []byte(strings.Repeat("k", key.MaxUserKey))
	update(t, st, Write, 1, func(tx *Tx) {
		e := tx.Load(longest)
		tx.PutString(&e, []byte("v"), 1000)
	})
	tx := Begin(st, Read, 1)
	if e := tx.Load(longest); !e.Found {
		t.Error("the longest key was not found")
	}
	if tx.Load(append(longest, 'k')); !errors.Is(tx.Err(), ErrKeyTooLong) {
		t.Errorf("got %v", tx.Err())
	}
}

func TestWriteInReadModePanics(t *testing.T) {
	st := openStore(t)
	tx := Begin(st, Read, 1)
	e := tx.Load([]byte("k"))
	defer func() {
		if recover() == nil {
			t.Error("a write in a transaction of mode Read went unnoticed")
		}
	}()
	tx.PutString(&e, nil, NoExpiry)
}

// TestCheckSlotFindsViolations: a check that cannot fail proves nothing.
func TestCheckSlotFindsViolations(t *testing.T) {
	user := []byte("k")
	s := slot.OfKey(user)
	good := Record{Type: String, ExpireMs: 50}
	for name, plant := range map[string]func(*store.Batch){
		"a record missing in the index": func(b *store.Batch) { b.Delete(key.AppendExpiry(nil, s, 50, user)) },
		"an index entry without record": func(b *store.Batch) { b.Delete(key.AppendRecord(nil, s, user)) },
		"an index entry too many":       func(b *store.Batch) { b.Set(key.AppendExpiry(nil, s, 51, user), nil) },
		"a corrupt record":              func(b *store.Batch) { b.Set(key.AppendRecord(nil, s, user), []byte{1}) },
		"a record of another slot":      func(b *store.Batch) { b.Set(key.AppendRecord(nil, s, []byte("other")), AppendRecord(nil, &good)) },
		"a record under a wrong hash": func(b *store.Batch) {
			b.Set(append(key.AppendRecordSeek(nil, s, 1), user...), AppendRecord(nil, &good))
		},
		"a key cut off": func(b *store.Batch) { b.Set(key.KindSpan(s, key.Record).Lo, nil) },
	} {
		st := openStore(t)
		put(t, st, "k", "v", 50)
		checkAll(t, st, s)
		b := st.NewBatch()
		plant(b)
		st.Commit(b)
		if err := CheckSlot(st, s); !errors.Is(err, ErrInvariant) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestRandomOperations compares transactions with a map, and checks the invariants after each.
func TestRandomOperations(t *testing.T) {
	type model struct {
		value    string
		expireMs int64
	}
	users := []string{"a", "b", "{a}1", "{a}2", ""}
	rapid.Check(t, func(rt *rapid.T) {
		st := openStore(t)
		want := map[string]model{}
		nowMs := int64(1000)
		live := func(u string) (model, bool) {
			m, ok := want[u]
			if ok && m.expireMs != NoExpiry && nowMs > m.expireMs {
				delete(want, u)
				return model{}, false
			}
			return m, ok
		}
		expiry := func() int64 {
			return rapid.SampledFrom([]int64{NoExpiry, nowMs - 1, nowMs, nowMs + 1, nowMs + 50}).Draw(rt, "expiry")
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			nowMs += rapid.Int64Range(0, 5).Draw(rt, "time")
			u := rapid.SampledFrom(users).Draw(rt, "user")
			v := rapid.SampledFrom(users).Draw(rt, "other")
			mode := rapid.SampledFrom([]Mode{Write, WriteIndexed}).Draw(rt, "mode")
			tx := Begin(st, mode, nowMs)
			e := tx.Load([]byte(u))
			m, ok := live(u)
			if e.Found != ok || string(e.Value) != m.value || e.ExpireMs != m.expireMs {
				rt.Fatalf("%q is %+v, want %+v", u, e, m)
			}
			store := func(u string, m model) {
				if want[u] = m; m.expireMs != NoExpiry && nowMs > m.expireMs {
					delete(want, u)
				}
			}
			switch op := rapid.SampledFrom([]string{"put", "expire", "remove", "rename", "copy", "sweep", "flush"}).Draw(rt, "op"); {
			case op == "put":
				m = model{fmt.Sprint("v", nowMs), expiry()}
				tx.PutString(&e, []byte(m.value), m.expireMs)
				store(u, m)
			case op == "expire" && ok:
				m.expireMs = expiry()
				tx.SetExpiry(&e, m.expireMs)
				store(u, m)
			case op == "remove":
				if tx.Remove(&e) != ok {
					rt.Fatal("Remove lied")
				}
				delete(want, u)
			case (op == "rename" || op == "copy") && ok && u != v:
				live(v)
				dst := tx.Load([]byte(v))
				store(v, m)
				if op == "copy" {
					tx.Copy(&e, &dst)
				} else {
					tx.Rename(&e, &dst)
					delete(want, u)
				}
			case op == "sweep":
				SweepSlot(&tx, slot.OfKey([]byte(v)), nowMs, 2)
			case op == "flush" && rapid.IntRange(0, 5).Draw(rt, "really") == 0:
				tx.Flush()
				clear(want)
			}
			if err := tx.Err(); err != nil {
				rt.Fatal(err)
			}
			tx.Commit()
			alive := int64(0)
			for _, u := range users {
				if _, ok := live(u); ok {
					alive++
				}
				if err := CheckSlot(st, slot.OfKey([]byte(u))); err != nil {
					rt.Fatal(err)
				}
			}
			tx.Reset(st, Read, nowMs)
			if n := tx.CountAll(); n != alive {
				rt.Fatalf("%d keys are counted, %d are alive", n, alive)
			}
		}
	})
}
