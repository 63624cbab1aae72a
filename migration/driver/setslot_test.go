package driver

import (
	"fmt"
	"strings"
	"testing"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// classic says what redis-cli says to move a slot: from a node that has it to another, at all of three nodes.
func (w *world) classic(from, to int, sl slot.Slot) {
	w.t.Helper()
	number := fmt.Sprint(int(sl))
	w.want(w.nodes[to], "OK", "CLUSTER", "SETSLOT", number, "IMPORTING", string(id(from)))
	w.want(w.nodes[from], "OK", "CLUSTER", "SETSLOT", number, "MIGRATING", string(id(to)))
	w.emptyOut(from, to, number)
	w.want(w.nodes[to], "OK", "CLUSTER", "SETSLOT", number, "NODE", string(id(to)))
	w.want(w.nodes[from], "OK", "CLUSTER", "SETSLOT", number, "NODE", string(id(to)))
	for i := range w.nodes {
		if i != from && i != to {
			w.want(w.nodes[i], "OK", "CLUSTER", "SETSLOT", number, "NODE", string(id(to)))
		}
	}
}

// emptyOut is redis-cli's loop: all keys that the source lists are migrated, until it lists none.
func (w *world) emptyOut(from, to int, number string) {
	w.t.Helper()
	for range 1000 {
		keys := w.do(w.nodes[from], "CLUSTER", "GETKEYSINSLOT", number, "10")
		if len(keys.Elems) == 0 {
			return
		}
		args := []string{"MIGRATE", "127.0.0.1", fmt.Sprint(7000 + to), "", "0", "60000", "REPLACE", "KEYS"}
		for _, k := range keys.Elems {
			args = append(args, k.Str)
		}
		if got := w.do(w.nodes[from], args...).String(); got != "OK" && got != "NOKEY" {
			w.t.Fatalf("MIGRATE: %s", got)
		}
	}
	w.t.Fatal("the source lists keys without end")
}

// agree requires that all nodes show one owner of a slot, and none that it is on its way.
func (w *world) agree(owner int, sl slot.Slot) {
	w.t.Helper()
	for i, n := range w.nodes {
		if got := n.Owner(sl); got != id(owner) {
			w.t.Errorf("node %d takes %s for the owner of slot %d", i, got, sl)
		}
		if text := w.do(n, "CLUSTER", "NODES").Str; strings.Contains(text, "[") {
			w.t.Errorf("node %d shows an open slot:\n%s", i, text)
		}
	}
}

// TestClassicVerbs moves slots, with and without keys, as redis-cli does, there and back, in many orders of what happens, also when calls between
// the nodes are lost and repeated.
func TestClassicVerbs(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		if seed%2 == 1 {
			w.lose, w.repeat = 5, 5
		}
		w.born(3, Config{})
		for i := range 50 {
			w.cmd("SET", keyOf(i), fmt.Sprint(i))
		}
		empty := testSlot + 1
		for _, sl := range []slot.Slot{testSlot, empty} {
			w.classic(0, 1, sl)
			w.agree(1, sl)
			w.classic(1, 2, sl)
			w.agree(2, sl)
			w.classic(2, 0, sl)
			w.agree(0, sl)
		}
		for i := range 50 {
			if got := w.cmd("GET", keyOf(i)).Str; got != fmt.Sprint(i) {
				t.Fatalf("seed %d: key %d is %q", seed, i, got)
			}
		}
	}
}

// TestClassicVerbsHalfway stops where redis-cli may be killed, and does what its fix does then: the slot is open in some way that CLUSTER NODES
// shows, or not at all; nothing is lost, and nobody but its owner serves it.
func TestClassicVerbsHalfway(t *testing.T) {
	number := fmt.Sprint(int(testSlot))
	importing := []string{"CLUSTER", "SETSLOT", number, "IMPORTING", string(id(0))}
	migrating := []string{"CLUSTER", "SETSLOT", number, "MIGRATING", string(id(1))}
	migrate := []string{"MIGRATE", "127.0.0.1", "7001", keyOf(0), "0", "60000"}
	for _, c := range []struct {
		name  string
		said  func(w *world)
		shows [2]string // what nodes 0 and 1 show of the slot
		mend  func(w *world)
		owner int
	}{
		{"importing", func(w *world) { w.want(w.nodes[1], "OK", importing...) }, [2]string{"", "-<-" + string(id(0))},
			func(w *world) { // case 2: the keys of the importing node, of which there are none, go to the owner
				w.emptyOut(1, 0, number)
				w.want(w.nodes[1], "OK", "CLUSTER", "SETSLOT", number, "STABLE")
				w.want(w.nodes[1], "OK", "CLUSTER", "SETSLOT", number, "NODE", string(id(0)))
			}, 0},
		{"migrating", func(w *world) {
			w.want(w.nodes[1], "OK", importing...)
			w.want(w.nodes[0], "OK", migrating...)
		}, [2]string{"->-" + string(id(1)), "-<-" + string(id(0))},
			func(w *world) { w.classic(0, 1, testSlot) }, 1}, // case 1: the move is done again, from its beginning
		{"migrating alone", func(w *world) { w.want(w.nodes[0], "OK", migrating...) }, [2]string{"->-" + string(id(1)), "-<-" + string(id(0))},
			func(w *world) { // case 4: closed at its owner
				w.want(w.nodes[0], "OK", "CLUSTER", "SETSLOT", number, "STABLE")
			}, 0},
		{"migrated", func(w *world) {
			w.want(w.nodes[1], "OK", importing...)
			w.want(w.nodes[0], "OK", migrating...)
			w.want(w.nodes[0], "OK", migrate...)
		}, [2]string{"", ""}, func(*world) {}, 1},
	} {
		for _, crash := range []int{-1, 0, 1} {
			t.Run(fmt.Sprintf("%s, crash of %d", c.name, crash), func(t *testing.T) {
				w := newWorld(t, 5)
				w.born(2, Config{})
				for i := range 20 {
					w.cmd("SET", keyOf(i), "before")
				}
				c.said(w)
				w.until("the job is held, or the slot has moved", func() bool {
					jobs := w.nodes[0].driver().Jobs()
					return len(jobs) == 0 || len(jobs[0].Held) > 0 || len(jobs[0].Moved) > 0
				})
				if c.owner == 1 && c.shows[0] == "" {
					w.until("the slot has arrived", func() bool { return w.nodes[1].Record(testSlot).State == cluster.Serving })
				}
				if crash >= 0 {
					w.nodes[crash].crash()
				}
				for i, want := range c.shows {
					if i == crash && c.name == "importing" {
						continue // it was in memory only
					}
					w.until("the nodes have come to themselves", func() bool {
						return strings.Contains(w.do(w.nodes[i], "CLUSTER", "NODES").Str, "["+number+want) == (want != "")
					})
				}
				w.cmd("SET", keyOf(0), "between")
				c.mend(w)
				w.agree(c.owner, testSlot)
				if got := w.cmd("GET", keyOf(0)).Str; got != "between" {
					t.Errorf("key 0 is %q", got)
				}
				for i := range 19 {
					if got := w.cmd("GET", keyOf(1+i)).Str; got != "before" {
						t.Errorf("key %d is %q", 1+i, got)
					}
				}
				if got := w.do(w.nodes[1-c.owner], "GET", keyOf(0)); got.Kind != resp.ErrorKind {
					t.Errorf("both serve the slot: %s", got)
				}
			})
		}
	}
}
