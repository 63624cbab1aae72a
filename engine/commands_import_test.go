package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"godwit/engine/cluster"
	"godwit/engine/env"
)

// kvrocks plays the source of a Kvrocks migration by commands, as its wire protocol has it: one connection, AUTH if it has a password, CLUSTER
// IMPORT 0, a look whether the other side takes batches, the snapshot, the increments, CLUSTER IMPORT 1. Its commands are in lower case.
type kvrocks struct {
	t    *testing.T
	link *testClient
}

func (k *kvrocks) say(want string, args ...string) {
	k.t.Helper()
	k.link.want(want, args...)
}

// snapshot sends a key of each type that both sides have, as Kvrocks does, with 16 items a command at most.
func (k *kvrocks) snapshot(tag string) {
	k.t.Helper()
	k.say("OK", "set", tag+"s", "v")
	k.say("OK", "set", tag+"e", "v", "pxat", "1700000100000")
	k.say("3", "rpush", tag+"l", "a", "b", "c")
	k.say("OK", "hmset", tag+"h", "f", "1", "g", "2")
	k.say("2", "sadd", tag+"m", "a", "b")
	k.say("2", "zadd", tag+"z", "1", "a", "2.5", "b")
	k.say("0", "setbit", tag+"b", "9", "1")
	k.say("1", "pexpireat", tag+"h", "1700000200000")
}

// increments sends what its log had after the snapshot.
func (k *kvrocks) increments(tag string) {
	k.t.Helper()
	k.say("OK", "ltrim", tag+"l", "1", "-1")
	k.say("3", "linsert", tag+"l", "before", "c", "x")
	k.say("OK", "lset", tag+"l", "0", "y")
	k.say("1", "hdel", tag+"h", "g")
	k.say("1", "srem", tag+"m", "b")
	k.say("1", "zrem", tag+"z", "a")
	k.say("1", "del", tag+"s")
	k.say("[0]", "bitfield", tag+"b", "set", "u8", "0", "7")
}

// twoSystems is a node a of ours that has no slots, and one that does not answer PEER, as a Kvrocks, which has all.
func twoSystems(t *testing.T) (w *world, n *testNode, text string) {
	w = newWorld(t)
	n = w.addNode(nil)
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
	text = nodesText("a", "k 0-16383")
	n.client().want("OK", "CLUSTERX", "SETNODES", text, "1")
	return w, n, text
}

// begin says CLUSTER IMPORT 0 and lets the nodes that might know of the slots not answer.
func (k *kvrocks) begin(w *world, ranges string) string {
	k.t.Helper()
	k.link.send("cluster", "import", ranges, "0")
	w.advance(ownerTimeout)
	return k.link.taken()
}

// TestKvrocksMigratesHere: slots of a Kvrocks come here with all that is in them, and are served from its IMPORT 1 on, over restarts.
func TestKvrocksMigratesHere(t *testing.T) {
	w, n, _ := twoSystems(t)
	const tag = "{k}"
	sl := fmt.Sprint(int(slotOf(tag)))
	c := n.client()
	moved := "(error) MOVED " + sl + " 127.0.0.1:7010"
	c.want(moved, "SET", tag+"s", "mine")
	k := &kvrocks{t, n.client()}
	if got := k.begin(w, sl); got != "OK" {
		t.Fatalf("IMPORT 0: %s", got)
	}
	if got := k.link.rawOf("command", "info", "applybatch"); got != "*1\r\n$-1\r\n" { // so it sends commands
		t.Errorf("COMMAND INFO applybatch: %q", got)
	}
	k.snapshot(tag)
	c.want(moved, "GET", tag+"s")
	c.want(moved, "SET", tag+"s", "mine")
	c.want("OK", "ASKING")
	c.want(moved, "SET", tag+"s", "mine")
	c.want("0", "CLUSTER", "COUNTKEYSINSLOT", sl)
	c.want("0", "DBSIZE")
	if text := c.do("CLUSTER", "INFO").Str; !strings.Contains(text, "importing_slot(s): "+sl+"\r\nimport_state: start\r\n") {
		t.Errorf("CLUSTER INFO while slots arrive:\n%s", text)
	}
	if text := c.do("CLUSTER", "NODES").Str; !strings.Contains(text, "["+sl+"-<-"+string(id("k"))+"]") {
		t.Errorf("CLUSTER NODES while slots arrive:\n%s", text)
	}
	k.say("(error) MOVED 0 127.0.0.1:7010", "set", keyIn(0), "another slot's")
	k.increments(tag)
	k.say("OK", "cluster", "import", sl, "1")
	k.say("OK", "cluster", "import", sl, "1") // said again, since the answer was lost
	for range 2 {
		for _, x := range []struct{ want, command string }{
			{"(nil)", "GET s"}, {"1700000100000", "PEXPIRETIME e"}, {`["y" "x" "c"]`, "LRANGE l 0 -1"}, {`["f" "1"]`, "HGETALL h"},
			{"1700000200000", "PEXPIRETIME h"}, {`["a"]`, "SMEMBERS m"}, {`["b" "2.5"]`, "ZRANGE z 0 -1 WITHSCORES"}, {"1", "GETBIT b 9"}, {"OK", "SET new 1"},
		} {
			args := strings.Fields(x.command)
			args[1] = tag + args[1]
			c.want(x.want, args...)
		}
		if r := n.Record(slotOf(tag)); r.State != cluster.Serving || r.Epoch != 1 {
			t.Errorf("the record is %v", r)
		}
		n.restart()
		c = n.client()
	}
}

// TestKvrocksGivesUp: whatever ends an import before IMPORT 1 leaves nothing of the slots here, and the slots where they were; it can be begun again.
func TestKvrocksGivesUp(t *testing.T) {
	const tag = "{k}"
	sl := slotOf(tag)
	number := fmt.Sprint(int(sl))
	for _, end := range []string{"failed", "link", "restart", "another start"} {
		t.Run(end, func(t *testing.T) {
			w, n, _ := twoSystems(t)
			k := &kvrocks{t, n.client()}
			if got := k.begin(w, number); got != "OK" {
				t.Fatalf("IMPORT 0: %s", got)
			}
			k.snapshot(tag)
			switch end {
			case "failed":
				k.say("OK", "cluster", "import", number, "2")
				k.say("(error) MOVED "+number+" 127.0.0.1:7010", "set", tag+"late", "v")
				k.say("(error) "+errImportOver, "cluster", "import", number, "1")
			case "link":
				k.link.s.Close()
				w.run()
			case "restart":
				n.restart()
			case "another start":
				old := k.link
				k.link = n.client()
				if got := k.begin(w, number); got != "OK" {
					t.Fatalf("the second IMPORT 0: %s", got)
				}
				old.want("(error) MOVED "+number+" 127.0.0.1:7010", "set", tag+"late", "v")
				old.s.Close() // of which the second import has nothing to fear
				w.run()
				k.say("OK", "set", tag+"second", "v")
				k.say("OK", "cluster", "import", number, "1")
				n.client().want("1", "DBSIZE")
				return
			}
			if r := n.Record(sl); r.State != cluster.Aborted {
				t.Errorf("the record is %v", r)
			}
			if !n.empty() {
				t.Error("something of the slot is left")
			}
			n.client().want("(error) MOVED "+number+" 127.0.0.1:7010", "GET", tag+"s")
			k.link = n.client()
			if got := k.begin(w, number); got != "OK" {
				t.Fatalf("IMPORT 0 again: %s", got)
			}
			k.say("OK", "set", tag+"second", "v")
			k.say("OK", "cluster", "import", number, "1")
			n.client().want("1", "DBSIZE")
		})
	}
}

// TestImportRefuses: a slot that this cluster has to do with is not imported from outside, whoever says so.
func TestImportRefuses(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	nodes[0].Exclusive(98, func(o *Owned) {
		o.Commit(nodes[0].Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	c := nodes[0].client()
	for _, x := range []struct{ command, want string }{
		{"CLUSTER IMPORT 5", "(error) ERR wrong number of arguments for 'cluster|import' command"},
		{"CLUSTER IMPORT 16384 0", "(error) ERR Invalid slot id: out of numeric range"},
		{"CLUSTER IMPORT 5 3", "(error) ERR Invalid import state"},
		{"CLUSTER IMPORT 5 -1", "(error) ERR Invalid import state"},
		{"CLUSTER IMPORT 5 x", "(error) ERR Invalid import state"},
		{"CLUSTER IMPORT 5 0", "(error) ERR Can't import slot which belongs to me"},
		{"CLUSTER IMPORT 98 0", "(error) ERR slot 98 is released here, by a job of this cluster: move it with a job"},
		{"CLUSTER IMPORT 5 1", "(error) ERR mismatch slot, importing slot(s): -1, but got: 5"},
		{"CLUSTER IMPORT 5 2", "(error) ERR mismatch slot, importing slot(s): -1, but got: 5"},
		{"CLUSTER IMPORT 100-101 0", "(error) ERR slot 100 is known to node " + string(id("b")) + ", which is no Kvrocks: move it with a job"},
	} {
		c.want(x.want, strings.Fields(x.command)...)
	}
	if r := nodes[0].Record(100); r.State != cluster.None {
		t.Errorf("the record is %v", r)
	}

	w, n, text := twoSystems(t)
	first, second := &kvrocks{t, n.client()}, &kvrocks{t, n.client()}
	if got := first.begin(w, "5-9"); got != "OK" {
		t.Fatal(got)
	}
	second.say("(error) ERR only one importing job is allowed, current importing: 5-9", "cluster", "import", "10", "0")
	second.say("(error) ERR mismatch slot, importing slot(s): 5-9, but got: 5", "cluster", "import", "5", "1")
	second.say("(error) "+string(cluster.ErrResetImporting.Reply()), "cluster", "reset")
	first.say("OK", "set", keyIn(7), "half")
	// A map that is forced does not make this node serve half a slot.
	n.client().want("OK", "CLUSTERX", "SETNODES", strings.NewReplacer(" 0-16383", " 0-4 10-16383", "7000 master -", "7000 master - 5-9").Replace(text), "2", "FORCE")
	if r := n.Record(7); r.State != cluster.Aborted {
		t.Errorf("the record is %v", r)
	}
	second.say("OK", "cluster", "import", "5-9", "1") // from any connection
	n.client().want(`"half"`, "GET", keyIn(7))
}

// TestImportFromStrangers: what refuses to be a peer is asked what it is. Slots that no node has a record of come from anything but a Godwit, of another
// version or with another secret, which may know of them; slots that were given away come back from a Kvrocks only.
func TestImportFromStrangers(t *testing.T) {
	const kvrocksInfo, godwitInfo = "# Server\r\nkvrocks_version:2.13.0\r\n", "# Server\r\nkvrocks_version:2.15.0\r\ngodwit_version:0.2.0\r\n"
	stranger := "(error) " + errImportStranger(env.Peer{ID: string(id("k"))})
	unproven := "(error) " + errImportReturn(5, cluster.NodeID(id("k")))
	for _, c := range []struct {
		name, info   string
		given        bool
		err          error
		want         string
		withPassword bool
	}{
		{"a Kvrocks", kvrocksInfo, false, nil, "OK", false},
		{"a Kvrocks with a password", kvrocksInfo, false, nil, "OK", true},
		{"a Godwit of another version", godwitInfo, false, nil, stranger, false},
		{"what does not answer", "", false, env.ErrConnect, "OK", false},
		{"a slot that was given to a Kvrocks", kvrocksInfo, true, nil, "OK", false},
		{"a slot that was given to a Godwit", godwitInfo, true, nil, stranger, false},
		{"a slot that was given to what does not answer", "", true, env.ErrConnect, unproven, false},
		{"a slot that was given to what lets nobody ask", "NOAUTH Authentication required.", true, nil, unproven, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			server := &otherServer{w: w, play: func(_ int, commands [][]string) (replies []string, err error) {
				for range commands[1:] {
					replies = append(replies, "+OK")
				}
				return append(replies, fmt.Sprintf("$%d\r\n%s", len(c.info), c.info)), c.err
			}}
			n := w.addNode(func(o *Options) { o.Servers = server })
			n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
			n.client().want("OK", "CLUSTERX", "SETNODES", nodesText("a", "k 0-16383"), "1")
			if c.given {
				n.Exclusive(5, func(o *Owned) {
					o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("k"), DataGone: true})
				})
			}
			if c.withPassword {
				n.client().want("OK", "CONFIG", "SET", "requirepass", "word")
			}
			w.strangers = map[string]bool{"127.0.0.1:7010": true}
			k := &kvrocks{t, n.client()}
			if c.withPassword {
				k.say("OK", "auth", "word")
			}
			if got := k.begin(w, "5"); got != c.want {
				t.Errorf("IMPORT 0: %s, want %s", got, c.want)
			}
			want := [][]string{{"INFO", "server"}}
			if c.withPassword {
				want = append([][]string{{"AUTH", "word"}}, want...)
			}
			if !slices.EqualFunc(server.said, want, slices.Equal) {
				t.Errorf("it was asked %q", server.said)
			}
		})
	}
}
