package linearize_test

import (
	"fmt"
	"strings"
	"testing"

	"godwit/linearize"
)

// TestTooManyWorlds: where too much is open the check gives up, within an instant and without an error.
func TestTooManyWorlds(t *testing.T) {
	var timed, members, keys []string
	for i := range 30 {
		members = append(members, fmt.Sprint("m", i))
		keys = append(keys, fmt.Sprint("k", i))
		timed = append(timed, keys[i], "v")
	}
	answered := func(op linearize.Operation, r linearize.Reply) linearize.Operation {
		op.Return, op.Outcome, op.Reply = op.Call+1, linearize.Ok, r
		return op
	}
	chosen := &linearize.History{UnixMs: 1}
	chosen.Operations = append(chosen.Operations, answered(command(t, 0, 0, append([]string{"SADD", "s"}, members...)...), linearize.Int(30)))
	for i := range 15 {
		chosen.Operations = append(chosen.Operations, command(t, i, 10, "SPOP", "s"))
	}
	// The pops may all have happened, or none: some have.
	chosen.Operations = append(chosen.Operations, answered(command(t, 99, 20, "SCARD", "s"), linearize.Int(15)))
	popped := &linearize.History{UnixMs: 1, Operations: chosen.Operations[:1:1]}
	var pops [][]string
	for range 15 {
		pops = append(pops, []string{"SPOP", "s"})
	}
	op, err := linearize.Transaction(pops...)
	must(t, err)
	op.Call = 10
	popped.Operations = append(popped.Operations, op, answered(command(t, 99, 20, "SCARD", "s"), linearize.Int(15)))
	expiring := &linearize.History{UnixMs: 1}
	expiring.Operations = append(expiring.Operations, answered(command(t, 0, 0, append([]string{"MSET"}, timed...)...), linearize.Status("OK")))
	for _, k := range keys {
		expiring.Operations = append(expiring.Operations, answered(command(t, 0, 10, "PEXPIRE", k, "100"), linearize.Int(1)))
	}
	expiring.Operations = append(expiring.Operations, answered(command(t, 0, 100e6, append([]string{"EXISTS"}, keys...)...), linearize.Int(15)))
	for name, h := range map[string]*linearize.History{"pops": chosen, "pops in a transaction": popped, "deadlines": expiring} {
		v, err := linearize.Check(h, linearize.Options{})
		if err != nil || v.Result != linearize.UnknownResult {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// TestLinkedKeys: keys that operations link are judged together, others apart; what is illegal for one key by itself is
// shown by that key.
func TestLinkedKeys(t *testing.T) {
	r := linearize.NewRecorder(0)
	at := int64(0)
	do := func(reply linearize.Reply, argv ...string) {
		at += 10
		must(t, r.End(begin(t, r, command(t, 0, at, argv...)), reply, at+1))
	}
	do(linearize.Status("OK"), "MSET", "a", "1", "b", "1")
	do(linearize.Bulks("1", "1"), "MGET", "b", "c")
	do(linearize.Status("OK"), "SET", "d", "1")
	do(linearize.Bulk("2"), "GET", "d")
	do(linearize.Bulk("2"), "GET", "a")
	v, err := linearize.Check(r.History(), linearize.Options{})
	must(t, err)
	if v.Keys != 4 || len(v.Failures) != 2 || v.Failures[1].Key != "d" {
		t.Fatalf("%s", v)
	}
	// c was never written, which is found first, by the order of keys, after a.
	if k := v.Failures[0]; k.Key != "a" || len(k.Keys) != 1 || len(k.Culprits) != 1 || k.Culprits[0].Cmd != "GET" {
		t.Errorf("%+v", k)
	}
	var page strings.Builder
	if result, err := linearize.WritePicture(&page, r.History(), "c", linearize.Options{}); err != nil || result != linearize.Illegal {
		t.Errorf("picture: %v, %v", result, err)
	}
}

// TestTornTransaction: each key is in order by itself, both together are not.
func TestTornTransaction(t *testing.T) {
	r := linearize.NewRecorder(0)
	both, err := linearize.Transaction([]string{"SET", "a", "1"}, []string{"SET", "b", "1"})
	must(t, err)
	if keys := both.Keys(); len(keys) != 2 || keys[0] != "a" || keys[1] != "b" || !both.Mutates() {
		t.Errorf("keys %q", keys)
	}
	if keys := both.Changes(); len(keys) != 2 || keys[0] != "a" || keys[1] != "b" {
		t.Errorf("it changes %q", keys)
	}
	for _, op := range []linearize.Operation{{Cmd: "GET", Key: "a"}, {Cmd: "MGET", Key: "a", Args: []string{"b"}}, {Cmd: "NONE", Key: "a"}} {
		if keys := op.Changes(); keys != nil {
			t.Errorf("%v changes %q", op, keys)
		}
	}
	must(t, r.Unknown(begin(t, r, both)))
	if r.UnknownMutations("a") != 1 || r.UnknownMutations("b") != 1 {
		t.Error("an unknown transaction must count for each of its keys")
	}
	must(t, r.End(begin(t, r, command(t, 1, 5, "GET", "a")), linearize.Bulk("1"), 6))
	v, err := linearize.Check(r.History(), linearize.Options{})
	must(t, err)
	if !v.OK() {
		t.Errorf("a transaction whose effect was seen: %s", v)
	}
	must(t, r.End(begin(t, r, command(t, 1, 7, "GET", "b")), linearize.Nil(), 8))
	v, err = linearize.Check(r.History(), linearize.Options{})
	must(t, err)
	if v.Result != linearize.Illegal || len(v.Failures[0].Keys) != 2 || v.Failures[0].State == "" {
		t.Errorf("half a transaction: %s", v)
	}
}

// TestAbortedTransaction: one that was answered by nil has done nothing, and is no operation on its keys.
func TestAbortedTransaction(t *testing.T) {
	r := linearize.NewRecorder(0)
	op, err := linearize.Transaction([]string{"SET", "a", "1"})
	must(t, err)
	must(t, r.End(begin(t, r, op), linearize.Nil(), 1))
	must(t, r.End(begin(t, r, command(t, 1, 5, "GET", "a")), linearize.Nil(), 6))
	v, err := linearize.Check(r.History(), linearize.Options{})
	must(t, err)
	if !v.OK() || v.Operations != 2 || v.Keys != 1 {
		t.Errorf("%s", v)
	}
}
