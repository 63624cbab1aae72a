package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/slot"
)

var update = flag.Bool("update", false, "write the golden files anew")

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

// TestMapGolden pins the bytes of version 1: with other bytes, existing directories cannot be read.
func TestMapGolden(t *testing.T) {
	m := mustParse(t, expand("<a> 10.0.0.1 7001 master - 0-100 200\n<b> h 65535 master -\n<c> ::1 1 slave <a>\n<d> x 2 slave,fail <e>\n"), 0x0102030405060708)
	got := hex.EncodeToString(EncodeMap(NoMap())) + "\n" + hex.EncodeToString(EncodeMap(m)) + "\n"
	golden(t, "testdata/map-v1.golden", got)
	if decoded, err := DecodeMap(EncodeMap(m)); err != nil || !reflect.DeepEqual(decoded, m) {
		t.Errorf("reads back as %v, %v", decoded, err)
	}
	for _, none := range []*Map{NoMap(), nil} {
		if decoded, err := DecodeMap(EncodeMap(none)); err != nil || !reflect.DeepEqual(decoded, NoMap()) {
			t.Errorf("no map reads back as %v, %v", decoded, err)
		}
	}
}

func TestDecodeMapRefuses(t *testing.T) {
	m := mustParse(t, expand("<a> h 7001 master - 0-1 3\n"), 5)
	good := EncodeMap(m)
	const ranges = 11 + NodeIDLen + 2 + 2 + 1 // offset of the number of ranges
	change := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	put := func(at int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.BigEndian.PutUint16(b[at:], v)
			return b
		}
	}
	for name, b := range map[string][]byte{
		"a later format":       change(func(b []byte) []byte { b[0] = 2; return b }),
		"a byte too many":      append(bytes.Clone(good), 0),
		"negative version":     change(func(b []byte) []byte { b[1] = 0xff; return b }),
		"no nodes":             good[:0:0],
		"version without node": change(func(b []byte) []byte { b[9], b[10] = 0, 0; return b[:11] }),
		"too many nodes":       change(put(9, 0xffff)),
		"two nodes of one":     change(put(9, 2)),
		"unknown flags":        change(func(b []byte) []byte { b[ranges-1] = 4; return b }),
		"failed master":        change(func(b []byte) []byte { b[ranges-1] = 2; return b }),
		"port 0":               change(put(ranges-3, 0)),
		"space in host":        change(func(b []byte) []byte { b[ranges-4] = ' '; return b }),
		"too many ranges":      change(put(ranges, 3)),
		"range backwards":      change(put(ranges+2, 2)),
		"range out of slots":   change(put(ranges+8, 16384)),
		"ranges that touch":    change(put(ranges+6, 2)),
		"no map, and more":     append(EncodeMap(NoMap()), 0),
	} {
		if got, err := DecodeMap(b); !errors.Is(err, ErrMap) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for n := range good {
		if _, err := DecodeMap(good[:n]); !errors.Is(err, ErrMap) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	// Both the format and the text for operators can be told from the error.
	_, err := DecodeMap(change(func(b []byte) []byte { b[0] = 9; return b }))
	if err == nil || !strings.Contains(err.Error(), "format version 9") {
		t.Errorf("a later format: %v", err)
	}
	if _, err := DecodeMap(change(put(ranges-3, 0))); !errors.Is(err, ErrNodePort) {
		t.Errorf("port 0: %v", err)
	}
}

func FuzzDecodeMap(f *testing.F) {
	f.Add(EncodeMap(NoMap()))
	f.Add(EncodeMap(mustParse(f, expand(threeNodes), 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMap(b)
		if err != nil {
			if !errors.Is(err, ErrMap) {
				t.Fatalf("%v is not ErrMap", err)
			}
			return
		}
		if again := EncodeMap(m); !bytes.Equal(again, b) {
			t.Fatalf("%x was accepted and is %x", b, again)
		}
	})
}

func records() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		name := rapid.Map(rapid.OneOf(rapid.SliceOfN(rapid.Byte(), NodeIDLen, NodeIDLen), rapid.SliceOfN(rapid.Byte(), 0, 255)),
			func(b []byte) NodeID { return NodeID(b) })
		r := Record{
			State:   State(rapid.IntRange(int(Serving), int(Aborted)).Draw(t, "state")),
			Epoch:   Epoch(rapid.Uint64().Draw(t, "epoch")),
			Attempt: Attempt(rapid.Uint32().Draw(t, "attempt")),
			Job: JobID{
				Node:        name.Draw(t, "node"),
				Incarnation: Incarnation(rapid.Uint64().Draw(t, "incarnation")),
				Counter:     rapid.Uint64().Draw(t, "counter"),
			},
			Peer:     name.Draw(t, "peer"),
			Final:    rapid.Uint64().Draw(t, "final"),
			DataGone: rapid.Bool().Draw(t, "gone"),
		}
		copy(r.Hash[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "hash"))
		return r
	})
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := records().Draw(t, "record")
		b := r.Encode()
		got, err := DecodeRecord(b)
		if err != nil || got != r {
			t.Fatalf("%+v reads back as %+v, %v", r, got, err)
		}
		if _, err := DecodeRecord(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, ErrRecord) {
			t.Fatalf("a part of a record: %v", err)
		}
		if _, err := DecodeRecord(append(b, 0)); !errors.Is(err, ErrRecord) {
			t.Fatalf("a byte too many: %v", err)
		}
	})
}

// TestRecordGolden pins the bytes of version 1: with other bytes, a node would not know what it owns.
func TestRecordGolden(t *testing.T) {
	job := JobID{Node: id("a"), Incarnation: 0x1112131415161718, Counter: 0x2122232425262728}
	var got strings.Builder
	for _, r := range []Record{
		{State: Serving, Epoch: 1},
		{State: Importing, Epoch: 0x0102030405060708, Job: job, Attempt: 0x31323334, Peer: id("a")},
		{State: Prepared, Epoch: 2, Job: job, Attempt: 3, Peer: id("a"), Final: 0x4142434445464748, Hash: RunningHash{0x51, 15: 0x52}},
		{State: Released, Epoch: 3, Job: job, Attempt: 3, Peer: id("b")},
		{State: Released, Epoch: 3, Job: job, Attempt: 3, Peer: id("b"), DataGone: true},
		{State: Aborted, Epoch: 2, Job: job, Attempt: 4, Peer: id("a")},
	} {
		got.WriteString(r.State.String() + " " + hex.EncodeToString(r.Encode()) + "\n")
	}
	golden(t, "testdata/record-v1.golden", got.String())
}

func TestDecodeRecordRefuses(t *testing.T) {
	good := Record{State: Released, Epoch: 1, Peer: id("b")}.Encode()
	for name, c := range map[string]struct {
		at int
		to byte
	}{
		"a later version": {0, recordVersion + 1},
		"version 0":       {0, 0},
		"state none":      {1, byte(None)},
		"unknown state":   {1, byte(Aborted) + 1},
		"unknown flag":    {2, 2},
		"a longer job id": {55, 200},
		"a longer peer":   {56, NodeIDLen + 1},
		"a shorter peer":  {56, NodeIDLen - 1},
	} {
		b := bytes.Clone(good)
		b[c.at] = c.to
		if r, err := DecodeRecord(b); !errors.Is(err, ErrRecord) || r != (Record{}) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(Record{State: Serving, Epoch: 1}.Encode())
	f.Add(Record{State: Prepared, Epoch: 2, Job: JobID{Node: id("a"), Counter: 1}, Peer: id("a"), Final: 3}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("%v is not ErrRecord", err)
			}
			return
		}
		if again := r.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x was accepted and is %x", b, again)
		}
	})
}

func TestNames(t *testing.T) {
	job := JobID{Node: "0123456789", Incarnation: 0xab, Counter: 7}
	if got := job.String(); got != "01234567-7" {
		t.Errorf("job is %q", got)
	}
	if NodeID("abc").Short() != "abc" || Incarnation(0xab).String() != "00000000000000ab" {
		t.Error("short ids and incarnations")
	}
	if job.IsZero() || !(JobID{}).IsZero() {
		t.Error("only the zero job is zero")
	}
	other := job
	other.Counter = 8
	if !job.SameSource(other) {
		t.Error("two jobs of one source can be compared")
	}
	other.Incarnation++
	if job.SameSource(other) {
		t.Error("a wiped directory's jobs cannot be compared with those of its successor")
	}
	for s, want := range map[State]string{None: "none", Serving: "serving", Importing: "importing", Prepared: "prepared", Released: "released", Aborted: "aborted", 9: "state(9)"} {
		if s.String() != want {
			t.Errorf("state %d is %q, want %q", uint8(s), s, want)
		}
	}
}

func TestReplies(t *testing.T) {
	for got, want := range map[string]string{
		Moved(12182, "10.0.0.1", 7001): "MOVED 12182 10.0.0.1:7001",
		Ask(slot.Slot(0), "::1", 1):    "ASK 0 ::1:1",
		ErrNotMaster.Reply():           "ERR The node isn't a master",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
