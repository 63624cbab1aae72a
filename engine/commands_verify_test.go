package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/resp"
)

// ask executes a command that answers JSON.
func (c *testClient) ask(v any, args ...string) {
	c.t.Helper()
	got := c.do(args...)
	if err := json.Unmarshal([]byte(got.Str), v); err != nil || got.Kind == resp.ErrorKind {
		c.t.Fatalf("%q is answered with %s: %v", args, got, err)
	}
}

// verifyWorld is two nodes that both have slot 7: a serves it, b has a copy that it gave away.
func verifyWorld(t *testing.T) (a, b *testNode) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	a, b = nodes[0], nodes[1]
	state := func(s cluster.State) {
		b.Exclusive(7, func(o *Owned) {
			o.Commit(b.Store().NewBatch(), cluster.Record{State: s, Epoch: 1, Peer: id("a")})
		})
	}
	state(cluster.Serving)
	for _, n := range nodes {
		c := n.client()
		for i := range 20 {
			c.want("OK", "SET", "{"+keyIn(7)+"}"+strconv.Itoa(i), "v")
		}
		c.want("3", "RPUSH", "{"+keyIn(7)+"}list", "a", "b", "c")
	}
	state(cluster.Released)
	return a, b
}

func TestVerifyIsAMoment(t *testing.T) {
	a, b := verifyWorld(t)
	ca, cb := a.client(), b.client()
	defer ca.s.Close()
	defer cb.s.Close()
	for _, args := range []string{"CHUNK 7 '' '' 9 9", "LIST 7 '' '' 9", "EXPORT 7 '' '' 9", "WRITTEN"} {
		exchange(t, ca, [][2]string{{"GODWIT VERIFY " + args, "(error) " + errVerifyClosed}})
	}
	var slots []VerifySlot
	ca.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7-8")
	if fmt.Sprint(slots) != "[{7 serving 1 true} {8 serving 1 true}]" {
		t.Errorf("a has %v", slots)
	}
	cb.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7 9")
	if fmt.Sprint(slots) != "[{7 released 1 true} {9 none 0 false}]" {
		t.Errorf("b has %v", slots)
	}
	for _, args := range []string{"CHUNK 9 '' '' 9 9", "LIST 9 '' '' 9", "EXPORT 9 '' '' 9"} { // an empty answer would be taken for an empty slot
		exchange(t, cb, [][2]string{{"GODWIT VERIFY " + args, "(error) " + errVerifyNoData}})
	}
	var x, y VerifyChunk
	chunk := func(c *testClient, v *VerifyChunk, more ...string) {
		t.Helper()
		c.ask(v, append([]string{"GODWIT", "VERIFY", "CHUNK", "7", "", "", "100000", "100"}, more...)...)
	}
	chunk(ca, &x)
	chunk(cb, &y)
	if x.Digest != y.Digest || x.Items != 24 || !x.Last {
		t.Errorf("the same content: %+v and %+v", x, y)
	}
	ca.want(fmt.Sprintf("%q", x.Digest), "GODWIT", "DIGEST", "7")
	chunk(ca, &x, "STORED")
	chunk(cb, &y, "stored")
	if x.Digest == y.Digest {
		t.Error("lists made at two nodes are stored under one generation")
	}
	ca.want(`""`, "GODWIT", "VERIFY", "WRITTEN")
	before := x.Digest
	a.client().want("OK", "SET", keyIn(7), "later")
	chunk(ca, &x, "STORED")
	if x.Digest != before {
		t.Error("a write that came later is shown")
	}
	ca.want(`"7"`, "GODWIT", "VERIFY", "WRITTEN")
	if snapshots, _ := a.Store().Held(); snapshots != 1 {
		t.Errorf("%d snapshots are open", snapshots)
	}
	a.w.advance(verifyKept + 1)
	ca.want("(error) "+errVerifyClosed, "GODWIT", "VERIFY", "WRITTEN")
	cb.want("(error) "+errVerifyClosed, "GODWIT", "VERIFY", "WRITTEN")
	cb.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7")
	cb.s.Close()
	for _, n := range []*testNode{a, b} {
		if snapshots, _ := n.Store().Held(); snapshots != 0 {
			t.Errorf("%d snapshots are still open", snapshots)
		}
	}
}

func TestVerifyGrammar(t *testing.T) {
	a, _ := verifyWorld(t)
	c := a.client()
	defer c.s.Close()
	var slots []VerifySlot
	c.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7")
	exchange(t, c, [][2]string{
		{"GODWIT VERIFY NOPE", "(error) " + errVerify},
		{"GODWIT VERIFY CHUNK 7", "(error) " + errVerify},
		{"GODWIT VERIFY CHUNK 7 '' '' 0 9", "(error) " + errVerifyLimit},
		{"GODWIT VERIFY CHUNK 7 '' '' 9 1048577", "(error) " + errVerifyLimit},
		{"GODWIT VERIFY CHUNK 8 '' '' 9 9", "(error) " + errVerifySpan},
		{"GODWIT VERIFY LIST x '' '' 9", "(error) " + errVerifySpan},
		{"GODWIT VERIFY LIST 7 a b 9", "(error) " + errVerifySpan},
		{"GODWIT VERIFY EXPORT 7 '' '' x", "(error) " + errVerifyLimit},
		{"GODWIT VERIFY OPEN x", "(error) ERR Invalid slot id: encounter non-integer characters"},
		{"GODWIT DIGEST 16384", "(error) " + errDigest},
		{"GODWIT DIGEST 7 LOUD", "(error) " + errDigest},
		{"GODWIT VERIFY CLOSE", "OK"},
		{"GODWIT VERIFY CLOSE", "OK"},
	})
}

// TestVerifyRepair mends a copy from another node, and is refused where it would do harm.
func TestVerifyRepair(t *testing.T) {
	a, b := verifyWorld(t)
	list := "{" + keyIn(7) + "}list"
	a.client().want("4", "RPUSH", list, "d")
	ca, cb := a.client(), b.client()
	defer ca.s.Close()
	defer cb.s.Close()
	var slots []VerifySlot
	ca.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7")
	cb.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7")
	var x, y VerifyList
	ca.ask(&x, "GODWIT", "VERIFY", "LIST", "7", "", "", "100")
	cb.ask(&y, "GODWIT", "VERIFY", "LIST", "7", "", "", "100")
	var found *VerifyKey
	for i := range x.Keys {
		if x.Keys[i].Digest != y.Keys[i].Digest {
			if found != nil {
				t.Fatalf("%q and %q differ", found.Key, x.Keys[i].Key)
			}
			found = &x.Keys[i]
		}
	}
	if found == nil || string(found.Key) != list || found.Type != "list" || found.Items != 5 || len(x.Keys) != 21 || !x.Last {
		t.Fatalf("found %+v of %d keys", found, len(x.Keys))
	}
	var e VerifyExport
	ca.ask(&e, "GODWIT", "VERIFY", "EXPORT", "7", string(found.Lo), string(found.Hi), "100000")
	repair := []string{"GODWIT", "VERIFY", "REPAIR", "7", string(found.Lo), string(found.Hi), string(e.Commands)}
	bad := command.AppendRequest(nil, [][]byte{[]byte("SET"), []byte("elsewhere"), []byte("v")})
	cb.want("(error) ERR not the commands of an export: a key of slot 6140 among those of slot 7", append(repair[:6:6], string(bad))...)
	cb.want("OK", repair...)
	cb.ask(&slots, "GODWIT", "VERIFY", "OPEN", "7")
	d1, d2 := ca.do("GODWIT", "DIGEST", "7").Str, cb.do("GODWIT", "DIGEST", "7").Str
	if d1 != d2 {
		t.Errorf("after the repair the digests are %s and %s", d1, d2)
	}

	refuse := func(n *testNode, want string, more ...string) {
		t.Helper()
		n.client().want("(error) "+want, append(repair[:7:7], more...)...)
	}
	refuse(a, errRepairServed)
	watcher := a.client()
	watcher.want("OK", "WATCH", list)
	a.client().want("OK", append(repair[:7:7], "FORCE")...)
	watcher.want("OK", "MULTI")
	watcher.want("QUEUED", "GET", keyIn(7))
	watcher.want("(nil)", "EXEC")
	a.Exclusive(7, func(o *Owned) { o.Pause() })
	refuse(a, errRepairPaused, "FORCE")
	a.Exclusive(7, func(o *Owned) { o.Unpause() })
	a.Exclusive(7, func(o *Owned) { o.change().sending = true })
	refuse(a, errRepairSending, "FORCE")
	a.Exclusive(7, func(o *Owned) { o.change().sending = false })
	a.client().want("OK", append(repair[:7:7], "FORCE")...)
	for state, want := range map[cluster.State]string{
		cluster.Importing: errRepairArriving, cluster.Prepared: errRepairArriving, cluster.Aborted: errRepairNothing, cluster.None: errRepairNothing,
	} {
		b.Exclusive(7, func(o *Owned) { o.Commit(b.Store().NewBatch(), cluster.Record{State: state}) })
		refuse(b, want, "FORCE")
	}
	b.Exclusive(7, func(o *Owned) {
		o.Commit(b.Store().NewBatch(), cluster.Record{State: cluster.Released, DataGone: true})
	})
	refuse(b, errRepairNothing)
	if !strings.Contains(cb.do("GODWIT", "VERIFY", "HELP").String(), "REPAIR <slot>") {
		t.Error("HELP does not name REPAIR")
	}
}
