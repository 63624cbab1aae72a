package data

import (
	"bytes"
	"strings"
	"testing"

	"godwit/engine/slot"
	"godwit/engine/store"
)

// TestForesight: the keys that are foretold are those of the records and members that are there, whichever collections are asked for in which order;
// nothing is foretold of members of what is no collection, is not there or is not in the row cache.
func TestForesight(t *testing.T) {
	st := openStore(t)
	for _, user := range []string{"h", "i"} {
		update(t, st, Write, 1, func(tx *Tx) {
			c, _ := tx.Open([]byte(user), Hash)
			c.Put([]byte("f"), []byte("v"))
			c.Put([]byte("g"), nil)
			c.Save()
		})
	}
	const long = 10_000 // no row of the cache
	update(t, st, Write, 1, func(tx *Tx) {
		e := tx.Load([]byte("string"))
		tx.PutString(&e, []byte("a value that is as long as a record of a collection"), NoExpiry)
		e = tx.Load([]byte("long"))
		tx.PutString(&e, bytes.Repeat([]byte("x"), long), NoExpiry)
	})
	var g store.Group
	defer g.Close()
	g.Begin(st, func(b *store.Batch) { t.Error("it wrote") })
	var f Foresight
	for range 2 { // a second time with what the first has kept
		f.Begin(&g)
		for _, user := range []string{"h", "i", "string", "long", "none"} {
			k := f.Record(slot.OfKey([]byte(user)), []byte(user))
			if _, found, err := st.Get(k); err != nil || found != (user != "none") {
				t.Errorf("record of %s: found %v, %v", user, found, err)
			}
		}
		seen := map[string]bool{}
		for _, name := range strings.Fields("h/f h/g i/f i/g h/f string/f h/g none/f long/f i/f none/f h/x") {
			user, member, _ := strings.Cut(name, "/")
			k, ok := f.Member(slot.OfKey([]byte(user)), []byte(user), []byte(member))
			if ok != (user == "h" || user == "i") {
				t.Errorf("%s: foretold %v", name, ok)
			}
			if !ok {
				continue
			}
			if _, found, err := st.Get(k); err != nil || found != (member != "x") {
				t.Errorf("%s: found %v, %v", name, found, err)
			}
			seen[string(k)] = true
		}
		if len(seen) != 5 {
			t.Errorf("%d different keys", len(seen))
		}
		f.End()
		if cap(f.value) > keepBytes || f.user != nil || f.group != nil {
			t.Error("it keeps what it should not")
		}
	}
	g.End()
}
