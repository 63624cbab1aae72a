package fuzz

import (
	"encoding/binary"
	"maps"
	"testing"

	"github.com/zeebo/xxh3"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// content is what a node holds of all slots, by slot: the data, without the bookkeeping.
func content(t testing.TB, n *engine.Node) map[slot.Slot]map[string]string {
	t.Helper()
	it, err := n.Store().NewIter(key.UserSpan())
	if err != nil {
		t.Fatal(err)
	}
	out := map[slot.Slot]map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		s, kind, _, ok := key.Split(it.Key())
		if !ok {
			t.Fatalf("key %x belongs to no slot", it.Key())
		}
		if kind == key.Book {
			continue
		}
		if out[s] == nil {
			out[s] = map[string]string{}
		}
		out[s][string(it.Key())] = string(it.Value())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// operation writes one operation of a body: kind, length, content.
func operation(kind byte, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(all))), all...)
}

func prefixed(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

// join writes a list of messages: each its length in two bytes, then the message.
func join(list ...migration.Message) []byte {
	var out []byte
	for _, m := range list {
		b := m.Encode()
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

// FuzzMigrationMessages sends messages from node a to node b over one authenticated link.
func FuzzMigrationMessages(f *testing.F) {
	const moving, empty, served = slot.Slot(1), slot.Slot(200), slot.Slot(65)
	message := func(k migration.MessageKind, s slot.Slot, seq uint64, body []byte) migration.Message {
		job := cluster.JobID{Node: id(0), Incarnation: 1, Counter: 1}
		return migration.Message{Kind: k, Slot: s, Job: job, Attempt: 1, Epoch: 1, Seq: seq, Body: body, Fresh: k == migration.MsgStart}
	}
	records := store.AppendRecord(nil, key.AppendRecord(nil, moving, []byte("x")), []byte("not a record of the data model"))
	span := key.DataSpan(moving)
	put := operation('P', records)
	replace := operation('R', prefixed(span.Lo), prefixed(span.Hi), records)
	digest := operation('G', prefixed(span.Lo), prefixed(span.Hi), store.Digest{Records: 1}.Append(nil))
	remove := operation('D', prefixed(key.AppendRecord(nil, moving, []byte("x"))))
	var hash cluster.RunningHash
	for i, body := range [][]byte{put, replace, digest, remove} {
		hash = migration.Chain(hash, uint64(i+1), body)
	}
	prepare, commit := message(migration.MsgPrepare, moving, 4, nil), message(migration.MsgCommit, moving, 0, nil)
	prepare.Hash, commit.Epoch = hash, 2
	start := message(migration.MsgStart, moving, 0, nil)
	stream := []migration.Message{
		start, message(migration.MsgData, moving, 1, put), message(migration.MsgData, moving, 2, replace),
		message(migration.MsgData, moving, 3, digest), message(migration.MsgData, moving, 4, remove),
	}
	f.Add(join(append(stream, prepare, commit, message(migration.MsgConfirm, moving, 0, digest), message(migration.MsgConfirm, moving, 0, nil))...))
	f.Add(join(append(stream, message(migration.MsgAbort, moving, 0, nil), start)...))
	f.Add(join(start, message(migration.MsgData, moving, 2, put), message(migration.MsgData, moving, 1, operation('X'))))
	f.Add(join(message(migration.MsgStart, served, 0, nil), message(migration.MsgData, served, 1, put), message(migration.MsgAbort, served, 0, nil)))
	f.Add(join(message(migration.MsgAsk, moving, 0, nil), message(migration.MsgData, empty, 1, put), commit, prepare))
	inverted := operation('R', prefixed(span.Hi), prefixed(nil))
	f.Add(join(start, message(migration.MsgData, moving, 1, inverted)))

	f.Fuzz(func(t *testing.T, input []byte) {
		w := newNodes(t)
		defer w.close()
		n := w.list[1]
		c := w.connect(n)
		hello := words("PEER", "HELLO", "2", "", string(id(0)), "1", string(id(1)), "1", "0")
		c.s.Execute(hello)
		c.s.Flush()
		if v := c.replies(); len(v) != 1 || v[0].Kind != resp.BulkKind {
			t.Fatalf("the handshake is answered with %v", v)
		}
		before := content(t, n)
		records := map[slot.Slot]cluster.Record{}
		for i := range slot.Slot(slot.Count) {
			if r := n.Record(i); r.State != cluster.None {
				records[i] = r
			}
		}
		for sent := 1; len(input) > 2 && sent <= 50; sent++ {
			size := min(int(binary.BigEndian.Uint16(input)), len(input)-2)
			raw := append([]byte(nil), input[2:2+size]...)
			input = input[2+size:]
			if len(raw) >= 8 {
				binary.BigEndian.PutUint64(raw, xxh3.Hash(raw[8:]))
			}
			m, err := migration.DecodeMessage(raw)
			c.s.Execute([][]byte{[]byte("PEER"), []byte("MIGRATION"), raw})
			c.s.Flush()
			w.quiet(0)
			got := c.replies()
			if len(got) != sent+1 {
				t.Fatalf("%d messages have %d answers", sent, len(got)-1)
			}
			after := content(t, n)
			if err != nil {
				if !same(before, after) || got[sent].Kind != resp.ErrorKind {
					t.Fatalf("what is no message (%v) is answered with %s", err, got[sent])
				}
				continue
			}
			was, is := records[m.Slot], n.Record(m.Slot)
			for s := range union(before, after) {
				if s != m.Slot && !maps.Equal(before[s], after[s]) {
					t.Fatalf("%+v changes slot %d", m, s)
				}
			}
			changed := !maps.Equal(before[m.Slot], after[m.Slot])
			switch {
			case was.State == cluster.Serving && (changed || is != was):
				t.Fatalf("%+v changes a slot that is served", m)
			case was.State == cluster.None && is != was && m.Kind != migration.MsgStart && m.Kind != migration.MsgAbort:
				t.Fatalf("%+v begins something", m)
			case changed && m.Kind == migration.MsgData && was.State != cluster.Importing:
				t.Fatalf("%+v changes the data of a slot that is %s", m, was.State)
			case changed && m.Kind != migration.MsgData && m.Kind != migration.MsgStart && m.Kind != migration.MsgAbort:
				t.Fatalf("%+v changes data", m)
			case is.State == cluster.Serving && was.State != cluster.Serving && (was.State != cluster.Prepared || m.Kind != migration.MsgCommit):
				t.Fatalf("%+v makes a slot served that was %s", m, was.State)
			}
			before, records[m.Slot] = after, is
		}
		c.s.Close()
		for s, r := range records {
			if n.Record(s) != r {
				t.Fatalf("the record of slot %d changed without a message to it", s)
			}
		}
	})
}

func union(a, b map[slot.Slot]map[string]string) map[slot.Slot]bool {
	out := map[slot.Slot]bool{}
	for s := range a {
		out[s] = true
	}
	for s := range b {
		out[s] = true
	}
	return out
}

func same(a, b map[slot.Slot]map[string]string) bool { return maps.EqualFunc(a, b, maps.Equal) }
