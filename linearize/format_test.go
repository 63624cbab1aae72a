package linearize_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"godwit/linearize"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The golden files: that of version 1 stays as it is, and is read still.
const (
	golden   = "testdata/history.v2.jsonl"
	goldenV1 = "testdata/history.v1.jsonl"
)

// sample has every form that the file format knows.
func sample(t testing.TB) *linearize.History {
	h := sampleV1(t)
	add := func(op linearize.Operation, err error, ret int64, r linearize.Reply) {
		must(t, err)
		op.Call, op.Return, op.Outcome, op.Reply = ret-1, ret, linearize.Ok, r
		h.Operations = append(h.Operations, op)
	}
	op, err := linearize.Command("MGET", "k", "\xff", "l")
	add(op, err, 81, linearize.Array(linearize.Nil(), linearize.Bulk("\xfe"), linearize.Nil()))
	op, err = linearize.Transaction([]string{"set", "k", "\xff"}, []string{"LRANGE", "l", "0", "-1"}, []string{"LPUSH", "k", "x"})
	add(op, err, 91, linearize.Array(linearize.Status("OK"), linearize.Bulks(), linearize.Error("WRONGTYPE no")))
	return h
}

// sampleV1 has every form that version 1 knew.
func sampleV1(t testing.TB) *linearize.History {
	h := &linearize.History{UnixMs: 1_700_000_000_000}
	add := func(op linearize.Operation, ret int64, outcome linearize.Outcome, r linearize.Reply) {
		op.Return, op.Outcome, op.Reply = ret, outcome, r
		h.Operations = append(h.Operations, op)
	}
	slot := command(t, 2, 40, "GET", "k")
	slot.Slot = 12345
	add(slot, 50, linearize.Ok, linearize.Bulk("<v>\x00\u2028é"))
	add(command(t, 1, 10, "SET", "k", "<v>\x00\u2028é", "PX", "100"), 20, linearize.Ok, linearize.Status("OK"))
	add(command(t, 1, 30, "APPEND", "\xff", "\xfe\x00"), 35, linearize.Ok, linearize.Int(2))
	add(command(t, 3, 60, "DEL", "k"), linearize.Open, linearize.Unknown, linearize.Reply{})
	add(command(t, 1, 61, "GET", "\xff"), 62, linearize.Ok, linearize.Bulk("\xfe\x00"))
	add(command(t, 1, 63, "GET", ""), 64, linearize.Ok, linearize.Nil())
	add(command(t, 1, 65, "INCR", "\xff"), 66, linearize.Ok, linearize.Error("ERR value is not an integer or out of range"))
	add(command(t, 1, 67, "INCR", "k"), 68, linearize.Fail, linearize.Error("MOVED 1 n:1"))
	add(command(t, 1, 69, "INCR", "k"), 70, linearize.Fail, linearize.Reply{})
	h.Events = append(h.Events, linearize.Event{Tag: "nemesis", Start: 15, End: 45, Description: "crash n1", Colour: "#ffcccc"},
		linearize.Event{Tag: "n2", Start: 5, Description: "cutover"})
	return h
}

func TestGoldenFile(t *testing.T) {
	h := sample(t)
	var b bytes.Buffer
	must(t, linearize.Write(&b, h))
	if *update {
		must(t, os.WriteFile(golden, b.Bytes(), 0o600))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the format has changed:\n%s\nwant\n%s", b.Bytes(), want)
	}
	back, err := linearize.Read(bytes.NewReader(want))
	must(t, err)
	if h.Operations[0].Call != 40 {
		t.Error("Write changed the history")
	}
	h.Sort()
	if !reflect.DeepEqual(back, h) {
		t.Errorf("read back %+v\nwant %+v", back, h)
	}
}

func TestGoldenFileOfVersion1(t *testing.T) {
	data, err := os.ReadFile(goldenV1)
	must(t, err)
	back, err := linearize.Read(bytes.NewReader(data))
	must(t, err)
	want := sampleV1(t)
	want.Sort()
	if !reflect.DeepEqual(back, want) {
		t.Errorf("read %+v\nwant %+v", back, want)
	}
}

func TestReadRefuses(t *testing.T) {
	const head = `{"format":"godwit-history","version":1,"unix_ms":0}` + "\n"
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "must begin with a header"},
		{"no JSON", "hello\n", "line 1"},
		{"other format", `{"format":"x","version":1}`, `format "x"`},
		{"later version", `{"format":"godwit-history","version":3}`, "version 3, this program reads versions 1 to 2"},
		{"no version", `{"format":"godwit-history"}`, "version 0"},
		{"a transaction in version 1", head + `{"op":{"key":"","cmd":"EXEC","commands":[["GET","k"]],"call":1,"outcome":"unknown"}}` + "\n", "version 2"},
		{"an array in version 1", head + `{"op":{"key":"k","cmd":"MGET","call":1,"return":2,"outcome":"ok","reply":{"array":[{"nil":true}]}}}` + "\n", "version 2"},
		{"a nest", strings.Replace(head, "1", "2", 1) + `{"op":{"key":"k","cmd":"MGET","call":1,"return":2,"outcome":"ok","reply":` +
			strings.Repeat(`{"array":[`, 9) + strings.Repeat(`]}`, 9) + "}}\n", "nested deeper"},
		{"half a reply in an array", strings.Replace(head, "1", "2", 1) + `{"op":{"key":"k","cmd":"MGET","call":1,"return":2,"outcome":"ok","reply":{"array":[{}]}}}` + "\n", "exactly one"},
		{"bad unix time", `{"format":"godwit-history","version":1,"unix_ms":-1}`, "unix time"},
		{"cut off", head + `{"op":{"client":1`, "line 2"},
		{"neither", head + "{}\n", "either op or event"},
		{"both", head + `{"op":{},"event":{}}` + "\n", "either op or event"},
		{"unknown field", head + `{"op":{"clint":1}}` + "\n", "clint"},
		{"two values", head + `{"event":{}} {"event":{}}` + "\n", "more than one value"},
		{"not UTF-8", head + "{\"event\":{\"tag\":\"\xff\"}}\n", "not UTF-8"},
		{"null key", head + `{"op":{"key":null}}` + "\n", "null instead of a string"},
		{"bad base64", head + `{"op":{"key":{"b64":"*"}}}` + "\n", "line 2"},
		{"bad base64 field", head + `{"op":{"key":{"b65":""}}}` + "\n", "b65"},
		{"outcome", head + `{"op":{"key":"k","cmd":"GET","call":1,"return":2,"outcome":"maybe"}}` + "\n", "must be ok, fail or unknown"},
		{"two replies", head + `{"op":{"key":"k","cmd":"GET","call":1,"return":2,"outcome":"ok","reply":{"nil":true,"int":1}}}` + "\n", "exactly one"},
		{"no reply", head + `{"op":{"key":"k","cmd":"GET","call":1,"return":2,"outcome":"ok","reply":{}}}` + "\n", "exactly one"},
		{"bad operation", head + `{"op":{"key":"k","cmd":"GET","call":3,"return":2,"outcome":"ok","reply":{"nil":true}}}` + "\n", "before the call"},
		{"bad command", head + `{"op":{"key":"k","cmd":"FLY","call":1,"return":2,"outcome":"ok","reply":{"nil":true}}}` + "\n", "no model"},
		{"deadline without origin", head + `{"op":{"key":"k","cmd":"PEXPIRE","args":["5"],"call":1,"outcome":"unknown"}}` + "\n", "UnixMs is not set"},
	} {
		_, err := linearize.Read(strings.NewReader(c.file))
		if !errors.Is(err, linearize.ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	h := &linearize.History{Operations: []linearize.Operation{{Key: "k", Cmd: "FLY", Return: linearize.Open}}}
	var b bytes.Buffer
	if err := linearize.Write(&b, h); !errors.Is(err, linearize.ErrHistory) || b.Len() > 0 {
		t.Errorf("error %v after %d bytes", err, b.Len())
	}
	if err := linearize.Write(failing{}, sample(t)); !errors.Is(err, errFull) {
		t.Errorf("a failing writer: %v", err)
	}
}

var errFull = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// FuzzRead: no file makes the reader or the checker panic, and what is read is written and read back the same.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile(golden)
	must(f, err)
	f.Add(data)
	f.Add([]byte(`{"format":"godwit-history","version":1}` + "\n" + `{"op":{"key":{"b64":"YQ=="},"cmd":"SETRANGE","args":["9","x"],"call":9223372036854775806,"outcome":"unknown"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := linearize.Read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, linearize.ErrFormat) {
				t.Fatalf("error %v does not wrap ErrFormat", err)
			}
			return
		}
		var b bytes.Buffer
		must(t, linearize.Write(&b, h))
		back, err := linearize.Read(bytes.NewReader(b.Bytes()))
		must(t, err)
		if !reflect.DeepEqual(h, back) {
			t.Fatalf("read %+v, read back %+v", h, back)
		}
		if _, err := linearize.Check(h, linearize.Options{Steps: 2000}); err != nil {
			t.Fatalf("a history that was read cannot be judged: %v", err)
		}
	})
}
