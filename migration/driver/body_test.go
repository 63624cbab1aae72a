package driver

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"godwit/engine/command"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

var update = flag.Bool("update", false, "write the golden files anew")

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

func recordKey(sl slot.Slot, user string) []byte { return key.AppendRecord(nil, sl, []byte(user)) }

// userIn is a user key of a slot.
func userIn(sl slot.Slot) []byte {
	for i := 0; ; i++ {
		if k := fmt.Appendf(nil, "k%d", i); slot.OfKey(k) == sl {
			return k
		}
	}
}

// someBodies has each operation, well-formed.
func someBodies(sl slot.Slot) map[string][]byte {
	a, b := recordKey(sl, "a"), recordKey(sl, "b")
	if bytes.Compare(a, b) > 0 {
		a, b = b, a
	}
	records := store.AppendRecord(nil, a, []byte("va"))
	var d store.Digest
	d.Add(a, []byte("va"))
	span := spanBytes(key.Span{Lo: a, Hi: b})
	return map[string][]byte{
		"empty":    nil,
		"put":      appendOp(nil, opPut, store.AppendRecord(records, b, nil)),
		"delete":   appendOp(nil, opDelete, appendBytes(appendBytes(nil, a), b)),
		"replace":  appendOp(nil, opReplace, span, records),
		"digest":   appendOp(nil, opDigest, span, d.Append(nil)),
		"several":  appendOp(appendOp(nil, opPut, records), opDelete, appendBytes(nil, b)),
		"commands": appendOp(nil, opCommands, span, command.AppendRequest(nil, [][]byte{[]byte("SET"), userIn(sl), []byte("va"), []byte("PXAT"), []byte("9000")})),
		"append":   appendOp(nil, opCommands, spanBytes(key.Span{Lo: b, Hi: b}), command.AppendRequest(nil, [][]byte{[]byte("RPUSH"), userIn(sl), []byte("x"), nil})),
		"tables":   appendOp(nil, opTables, span, d.Append(nil), make([]byte, 7), []byte{9}, bytes.Repeat([]byte{0xab}, 16)),
		"content":  appendOp(nil, opContent, span, d.Append(nil)),
	}
}

// TestBodiesGolden pins the bytes of version 1 of bodies and of version 3 of the stored progress of a slot. Versions 1 and 2 of that still
// read.
func TestBodiesGolden(t *testing.T) {
	var out strings.Builder
	for _, name := range []string{"put", "delete", "replace", "digest", "several", "commands", "append", "content", "tables"} {
		fmt.Fprintf(&out, "%s %x\n", name, someBodies(0x1234)[name])
	}
	p := slotProgress{phase: migration.PhaseCommitted, attempt: 0x01020304, stored: true, slotAccount: slotAccount{records: 5, bytes: 0x600, pauseUs: 7, outcome: migration.ConfirmEqual, costs: costs{10, 11, 12, stepTimes{1: 13, len(timedSteps) - 1: 14}}}, keptUntilMs: 0x0809}
	fmt.Fprintf(&out, "progress %x under %x\n", p.encode(), progressKey(7, 0x1234))
	if got, err := decodeProgress(p.encode()); err != nil || got != p {
		t.Errorf("progress reads back as %+v, %v", got, err)
	}
	first, err := hex.DecodeString("01030102030400000000000000050000000000000600000000000000000701")
	if err != nil {
		t.Fatal(err)
	}
	p.costs = costs{}
	second := append(append([]byte{2}, first[1:]...), 0, 0, 0, 0, 0, 0, 8, 9)
	if got, err := decodeProgress(second); err != nil || got != p {
		t.Errorf("progress of version 2 reads as %+v, %v", got, err)
	}
	p.keptUntilMs = 0
	if got, err := decodeProgress(first); err != nil || got != p {
		t.Errorf("progress of version 1 reads as %+v, %v", got, err)
	}
	golden(t, "testdata/bodies-v1.golden", out.String())
}

func TestDecodeBody(t *testing.T) {
	const sl = slot.Slot(77)
	for name, body := range someBodies(sl) {
		if _, err := decodeBody(body, sl); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name != "empty" {
			for _, other := range []slot.Slot{sl - 1, sl + 1} {
				if _, err := decodeBody(body, other); !errors.Is(err, migration.ErrMessage) {
					t.Errorf("%s of another slot: %v", name, err)
				}
			}
			if _, err := decodeBody(body[:len(body)-1], sl); err == nil {
				t.Errorf("%s, cut off, is accepted", name)
			}
			if _, err := decodeBody(append(bytes.Clone(body), 0), sl); err == nil {
				t.Errorf("%s, followed by a byte, is accepted", name)
			}
		}
	}
	a, b := recordKey(sl, "a"), recordKey(sl, "b")
	if bytes.Compare(a, b) > 0 {
		a, b = b, a
	}
	data := key.DataSpan(sl)
	digest := someBodies(sl)["digest"]
	for name, body := range map[string][]byte{
		"unknown operation":         appendOp(nil, 'X', nil),
		"a length beyond the body":  {opPut, 0xff, 0xff, 0xff, 0xff},
		"bookkeeping put":           appendOp(nil, opPut, store.AppendRecord(nil, cursorKey(sl), nil)),
		"bookkeeping deleted":       appendOp(nil, opDelete, appendBytes(nil, cursorKey(sl))),
		"an ownership record":       appendOp(nil, opPut, store.AppendRecord(nil, key.Ownership(sl), nil)),
		"the whole slot replaced":   appendOp(nil, opReplace, spanBytes(key.SlotSpan(sl))),
		"all slots replaced":        appendOp(nil, opReplace, spanBytes(key.UserSpan())),
		"ends exchanged":            appendOp(nil, opReplace, spanBytes(key.Span{Lo: b, Hi: a})),
		"no upper end":              appendOp(nil, opReplace, spanBytes(key.Span{Lo: data.Lo})),
		"an empty span":             appendOp(nil, opReplace, spanBytes(key.Span{Lo: a, Hi: a})),
		"a record beside its span":  appendOp(nil, opReplace, spanBytes(key.Span{Lo: a, Hi: b}), store.AppendRecord(nil, b, nil)),
		"a digest with ends":        appendOp(nil, opDigest, spanBytes(key.Span{Lo: b, Hi: a}), store.Digest{}.Append(nil)),
		"a short digest":            appendOp(nil, opDigest, spanBytes(data), []byte{1}),
		"two digests":               append(bytes.Clone(digest), digest...),
		"a digest after a put":      append(bytes.Clone(someBodies(sl)["put"]), digest...),
		"commands with ends":        appendOp(nil, opCommands, spanBytes(key.Span{Lo: b, Hi: a})),
		"another slot's commands":   appendOp(nil, opCommands, spanBytes(key.Span{Lo: a, Hi: b}), command.AppendRequest(nil, [][]byte{[]byte("SET"), userIn(sl + 1), nil})),
		"other commands":            appendOp(nil, opCommands, spanBytes(key.Span{Lo: a, Hi: b}), command.AppendRequest(nil, [][]byte{[]byte("FLUSHALL"), userIn(sl), nil})),
		"half a table":              appendOp(nil, opTables, spanBytes(key.Span{Lo: a, Hi: b}), store.Digest{}.Append(nil), make([]byte, 12)),
		"a table without bytes":     appendOp(nil, opTables, spanBytes(key.Span{Lo: a, Hi: b}), store.Digest{}.Append(nil), make([]byte, 24)),
		"commands after a put":      append(bytes.Clone(someBodies(sl)["put"]), someBodies(sl)["commands"]...),
		"a logical digest of none":  appendOp(nil, opContent, spanBytes(key.Span{Lo: a, Hi: a}), store.Digest{}.Append(nil)),
		"a put after a digest":      append(bytes.Clone(digest), someBodies(sl)["put"]...),
		"good, then another slot's": append(bytes.Clone(someBodies(sl)["put"]), someBodies(sl + 1)["put"]...),
	} {
		if _, err := decodeBody(body, sl); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodeBody(f *testing.F) {
	const sl = slot.Slot(77)
	for _, body := range someBodies(sl) {
		f.Add(body)
	}
	f.Add(appendOp(nil, opReplace, spanBytes(key.Span{Lo: recordKey(sl, "b"), Hi: nil})))
	st := memStore(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		ops, err := decodeBody(body, sl)
		if err != nil {
			return
		}
		b := st.NewIndexedBatch()
		defer b.Discard()
		b.Set(key.Ownership(sl), []byte("o"))
		b.Set(cursorKey(sl), []byte("c"))
		b.Set(recordKey(sl+1, "x"), []byte("x"))
		for i := range ops {
			if err := ops[i].apply(b); err != nil {
				t.Fatal(err)
			}
			if ops[i].compares() {
				if _, err := spanDigest(b, sl, &ops[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		// Whatever it says, it stays within the data of its slot.
		it, err := b.NewIter(key.Span{Lo: []byte{0}, Hi: []byte{0xff}})
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		outside := 0
		for ok := it.First(); ok; ok = it.Next() {
			if !key.DataSpan(sl).Contains(it.Key()) {
				outside++
			}
		}
		if outside != 3 {
			t.Fatalf("%s touches what is not the slot's: %d of 3 keys are left", hex.EncodeToString(body), outside)
		}
	})
}

// FuzzDecodeProgress: what reads is the one way to write it, but for earlier versions, which are written again with zeros for what they do not
// have.
func FuzzDecodeProgress(f *testing.F) {
	p := slotProgress{phase: migration.PhaseActive, attempt: 3}
	f.Add(p.encode())
	f.Add(append([]byte{1}, p.encode()[1:progressSizeV1]...))
	f.Add(append([]byte{2}, p.encode()[1:progressSizeV2]...))
	f.Add([]byte{1, 99, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProgress(b)
		if err != nil {
			return
		}
		want := b
		if len(b) < progressSize {
			want = append(append([]byte{progressVersion}, b[1:]...), make([]byte, progressSize-len(b))...)
		}
		if got := p.encode(); !bytes.Equal(got, want) {
			t.Fatalf("%x is %+v, written as %x, want %x", b, p, got, want)
		}
	})
}

// TestJobVersions: jobs of the first version are read, and written in the second, which programs that know only the first refuse.
// What a later program wrote is refused.
func TestJobVersions(t *testing.T) {
	load := func(text string) (*Driver, error) {
		d := &Driver{}
		return d, d.loadJobKey(key.Job(7), []byte(text))
	}
	for _, version := range []string{"1", "2"} {
		d, err := load(`{"version":` + version + `,"counter":7,"target":"b","ranges":[{"First":1,"Last":2}],"started_ms":5}`)
		if err != nil || d.counter != 7 || d.jobs[0].header.Version != 2 || d.jobs[0].header.StartedMs != 5 {
			t.Errorf("version %s: %+v, %v", version, d, err)
		}
	}
	for text, want := range map[string]string{
		`{"version":3,"counter":7}`: "has version 3, this program knows 1 to 2",
		`{"counter":7}`:             "has version 0",
		`{"version":2,"counter":8}`: "job 8 is stored as job 7",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

// FuzzLoadJob opens a directory whose jobs are damaged: an error, or a job, never a panic.
func FuzzLoadJob(f *testing.F) {
	f.Add(key.Job(1), []byte(`{"version":1,"counter":1,"target":"b","ranges":[{"First":1,"Last":2}]}`), []byte{1, 0, 0, 0, 0, 1})
	f.Add(key.Job(1), []byte(`{"version":2,"counter":1,"ranges":[{"First":1,"Last":2}],"held":[{"First":2,"Last":2}],"keep_ms":5}`), []byte{2, 8})
	f.Add(key.Job(1), []byte(`{"version":1,"counter":1,"ranges":[{"First":9,"Last":65535}]}`), []byte{1})
	f.Add(binary.BigEndian.AppendUint16(key.Job(1), 3), []byte{1, 2, 0, 0, 0, 1}, []byte{})
	f.Add([]byte{0, 2}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, k, header, progress []byte) {
		d := &Driver{}
		if len(k) < 2 || k[0] != 0 || k[1] != 2 {
			return // not in the table of jobs
		}
		if err := d.loadJobKey(k, header); err != nil {
			return
		}
		for _, j := range d.jobs {
			for _, r := range j.header.Ranges {
				if r.First > r.Last || !r.Last.Valid() {
					t.Fatalf("%q: slots %v", header, r)
				}
			}
		}
		_ = d.loadJobKey(binary.BigEndian.AppendUint16(k, 3), progress)
	})
}
