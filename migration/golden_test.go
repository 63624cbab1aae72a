package migration

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

var update = flag.Bool("update", false, "write the golden files and the diagram anew")

// golden compares a text with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func someMessage(k MessageKind) Message {
	return Message{
		Kind: k, Slot: 0x1234, Job: cluster.JobID{Node: "source", Incarnation: 0x1112131415161718, Counter: 0x2122232425262728},
		Attempt: 0x31323334, Epoch: 0x4142434445464748, Fresh: k == MsgStart, Seq: 0x5152535455565758,
		Hash: cluster.RunningHash{0x60, 0x61, 15: 0x6f}, Body: []byte("body"),
	}
}

func someReply(k ReplyKind) Reply {
	return Reply{
		Kind: k, Attempt: 0x31323334, Seq: 0x5152535455565758, Hash: cluster.RunningHash{0x60, 0x61, 15: 0x6f},
		Epoch: 0x4142434445464748, Incarnation: 0x1112131415161718,
		Fresh: k == ReplyStarted, Differ: k == ReplyAck, Gone: k == ReplyConfirm, Text: "text",
	}
}

// TestEncodingsGolden pins the bytes of version 1: nodes of different builds exchange them, and cursors are on disk.
func TestEncodingsGolden(t *testing.T) {
	var out strings.Builder
	for k := MsgStart; k <= MsgBlock; k++ {
		m := someMessage(k)
		b := m.Encode()
		fmt.Fprintf(&out, "message %s %x\n", k, b)
		if got, err := DecodeMessage(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s reads back as %+v, %v", k, got, err)
		}
	}
	for k := ReplyStarted; k <= ReplyServing; k++ {
		r := someReply(k)
		b := r.Encode()
		fmt.Fprintf(&out, "reply %s %x\n", k, b)
		if got, err := DecodeReply(b); err != nil || got != r {
			t.Errorf("%s reads back as %+v, %v", k, got, err)
		}
	}
	urgent := someMessage(MsgData)
	urgent.Urgent = true
	fmt.Fprintf(&out, "message data, urgent %x\n", urgent.Encode())
	quiet := someMessage(MsgData)
	quiet.Quiet = true
	fmt.Fprintf(&out, "message data, quiet %x\n", quiet.Encode())
	c := Cursor{Attempt: 0x31323334, Seq: 0x5152535455565758, Hash: cluster.RunningHash{0x60, 0x61, 15: 0x6f}, Fresh: true}
	fmt.Fprintf(&out, "cursor %x\n", c.Encode())
	fmt.Fprintf(&out, "chain %x\n", Chain(Chain(cluster.RunningHash{}, 1, []byte("one")), 2, nil))
	golden(t, "testdata/encodings-v1.golden", out.String())
}

func TestNamesOfKinds(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{MsgAsk.String(), "ask"}, {MessageKind(99).String(), "message(99)"},
		{ReplyDead.String(), "dead"}, {ReplyKind(99).String(), "reply(99)"},
		{PhaseReturning.String(), "returning"}, {Phase(99).String(), "phase(99)"},
		{StepFailed.String(), "failed"}, {Step(99).String(), "step(99)"},
		{RoundFinal.String(), "final"}, {RoundKind(99).String(), "final"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

func TestDecodeMessageRefuses(t *testing.T) {
	m := someMessage(MsgData)
	good := m.Encode()
	for at := range good {
		b := bytes.Clone(good)
		b[at] ^= 0x10
		if _, err := DecodeMessage(b); !errors.Is(err, ErrMessage) {
			t.Errorf("a flipped bit in byte %d: %v", at, err)
		}
		if _, err := DecodeMessage(good[:at]); !errors.Is(err, ErrMessage) {
			t.Errorf("%d of %d bytes: %v", at, len(good), err)
		}
	}
	for name, change := range map[string]func([]byte){
		"another version": func(b []byte) { b[8] = 2 }, "kind 0": func(b []byte) { b[9] = 0 }, "a later kind": func(b []byte) { b[9] = byte(MsgBlock) + 1 },
		"no slot": func(b []byte) { b[11] = 0xff }, "a node id longer than the message": func(b []byte) { b[65] = 0xff },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := DecodeMessage(seal(b)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// seal makes the checksum of a message right.
func seal(b []byte) []byte {
	sum := xxh3.Hash(b[8:])
	for i := range 8 {
		b[i] = byte(sum >> (56 - 8*i))
	}
	return b
}

// TestChainTellsApart: the running hash depends on the numbers, the bytes and the order.
func TestChainTellsApart(t *testing.T) {
	var zero cluster.RunningHash
	seen := map[cluster.RunningHash]bool{zero: true}
	for _, h := range []cluster.RunningHash{
		Chain(zero, 1, nil), Chain(zero, 2, nil), Chain(zero, 1, []byte("a")),
		Chain(Chain(zero, 1, []byte("a")), 2, []byte("b")), Chain(Chain(zero, 1, []byte("b")), 2, []byte("a")),
	} {
		if seen[h] {
			t.Errorf("%x comes twice", h)
		}
		seen[h] = true
	}
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		job := cluster.JobID{
			Node: cluster.NodeID(rapid.StringN(0, 40, 255).Draw(t, "node")), Incarnation: cluster.Incarnation(rapid.Uint64().Draw(t, "incarnation")),
			Counter: rapid.Uint64().Draw(t, "counter"),
		}
		var hash cluster.RunningHash
		copy(hash[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "hash"))
		m := Message{
			Kind: MessageKind(rapid.IntRange(1, int(MsgBlock)).Draw(t, "kind")), Slot: slot.Slot(rapid.IntRange(0, slot.Count-1).Draw(t, "slot")), Job: job,
			Attempt: cluster.Attempt(rapid.Uint32().Draw(t, "attempt")), Epoch: cluster.Epoch(rapid.Uint64().Draw(t, "epoch")),
			Fresh: rapid.Bool().Draw(t, "fresh"), Urgent: rapid.Bool().Draw(t, "urgent"), Quiet: rapid.Bool().Draw(t, "quiet"), Seq: rapid.Uint64().Draw(t, "seq"), Hash: hash, Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		got, err := DecodeMessage(m.Encode())
		if err != nil || !bytes.Equal(got.Body, m.Body) {
			t.Fatalf("%+v reads back as %+v, %v", m, got, err)
		}
		if got.Body = m.Body; !reflect.DeepEqual(got, m) {
			t.Fatalf("%+v reads back as %+v", m, got)
		}
		c := Cursor{Attempt: m.Attempt, Seq: m.Seq, Hash: hash, Fresh: m.Fresh}
		if got, err := DecodeCursor(c.Encode()); err != nil || got != c {
			t.Fatalf("%+v reads back as %+v, %v", c, got, err)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	for k := MsgStart; k <= MsgBlock; k++ {
		m := someMessage(k)
		f.Add(m.Encode())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 8 {
			b = seal(bytes.Clone(b)) // else nothing gets past the checksum
		}
		m, err := DecodeMessage(b)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeMessage(m.Encode())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%s is %+v, then %+v, %v", hex.EncodeToString(b), m, again, err)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	for k := ReplyStarted; k <= ReplyServing; k++ {
		r := someReply(k)
		f.Add(r.Encode())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeReply(b)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if again, err := DecodeReply(r.Encode()); err != nil || again != r {
			t.Fatalf("%s is %+v, then %+v, %v", hex.EncodeToString(b), r, again, err)
		}
	})
}

func FuzzDecodeCursor(f *testing.F) {
	f.Add(Cursor{Attempt: 1, Seq: 2, Fresh: true}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCursor(b)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if again, err := DecodeCursor(c.Encode()); err != nil || again != c {
			t.Fatalf("%s is %+v, then %+v, %v", hex.EncodeToString(b), c, again, err)
		}
	})
}

// diagram draws the table of transitions.
func diagram() string {
	var b strings.Builder
	for from := StepIdle; from <= StepFailed; from++ {
		var to []string
		for s := StepIdle; s <= StepFailed; s++ {
			if allowed(from, s) {
				to = append(to, s.String())
			}
		}
		if len(to) == 0 {
			to = []string{"(the end)"}
		}
		fmt.Fprintf(&b, "//\t%-10s ─▶ %s\n", from, strings.Join(to, " | "))
	}
	return b.String()
}

// TestDiagram keeps the picture in the package comment equal to the table.
func TestDiagram(t *testing.T) {
	const begin = "// the finding that the slot was not the source's to give any more.\n//\n"
	raw, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(raw), begin)
	if !ok {
		t.Fatalf("doc.go has no line that ends with %q", begin)
	}
	tail := rest
	for strings.HasPrefix(tail, "//\t") {
		_, tail, _ = strings.Cut(tail, "\n")
	}
	if want := head + begin + diagram() + tail; want != string(raw) {
		if *update {
			if err := os.WriteFile("doc.go", []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("the picture in doc.go is out of date: run the test with -update. It should be\n%s", diagram())
	}
}
