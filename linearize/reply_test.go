package linearize_test

import (
	"errors"
	"strings"
	"testing"

	"godwit/linearize"
)

func TestParseReply(t *testing.T) {
	for wire, want := range map[string]linearize.Reply{
		"+OK\r\n":                      linearize.Status("OK"),
		"-ERR no\r\n":                  linearize.Error("ERR no"),
		":-5\r\n":                      linearize.Int(-5),
		"$3\r\na\r\n\r\n":              {}, // three bytes, but the frame has only two
		"$3\r\na\r\n":                  {},
		"$4\r\na\r\nb\r\n":             linearize.Bulk("a\r\nb"),
		"$0\r\n\r\n":                   linearize.Bulk(""),
		"$-1\r\n":                      linearize.Nil(),
		"_\r\n":                        linearize.Nil(),
		"_x\r\n":                       {},
		":x\r\n":                       {},
		"$-2\r\n":                      {},
		"$99999999999999\r\n\r":        {},
		"*0\r\n":                       linearize.Bulks(),
		"*-1\r\n":                      linearize.Nil(),
		"*2\r\n$1\r\na\r\n_\r\n":       linearize.Array(linearize.Bulk("a"), linearize.Nil()),
		"*1\r\n*2\r\n:1\r\n+x\r\n":     linearize.Array(linearize.Array(linearize.Int(1), linearize.Status("x"))),
		"%1\r\n$1\r\na\r\n$1\r\nb\r\n": linearize.Bulks("a", "b"),
		"~1\r\n,1.5\r\n":               linearize.Bulks("1.5"),
		"*2\r\n:1\r\n":                 {},
		"*1000000\r\n:1\r\n":           {},
		"%-1\r\n":                      {},
		strings.Repeat("*1\r\n", 8) + ":1\r\n": linearize.Array(linearize.Array(linearize.Array(linearize.Array(
			linearize.Array(linearize.Array(linearize.Array(linearize.Array(linearize.Int(1))))))))),
		strings.Repeat("*1\r\n", 9) + ":1\r\n": {},
		"+OK\r\n+OK\r\n":                       {},
		"+OK":                                  {},
		"\r\n":                                 {},
		"":                                     {},
	} {
		if wire == "$3\r\na\r\n\r\n" {
			want = linearize.Bulk("a\r\n")
		}
		got, err := linearize.ParseReply([]byte(wire))
		if got != want || (err != nil) != (want == linearize.Reply{}) || (err != nil && !errors.Is(err, linearize.ErrReply)) {
			t.Errorf("%q: %v, %v; want %v", wire, got, err, want)
		}
	}
}

// TestItemLengths writes the length of an item in ways that no code has.
func TestItemLengths(t *testing.T) {
	array := linearize.Bulks("b", "aaaaaaaaaa")
	for length, want := range map[string]int{
		"10:": 2, ":": 0, "": 0, "10": 0, "11:": 0, "010:": 0, "00:": 0, "+10:": 0, "-1:": 0, " 10:": 0, "1x:": 0, "0x0a:": 0,
		"18446744073709551626:": 0, // 10 more than 64 bits hold
	} {
		r := linearize.Reply{Kind: array.Kind, Text: strings.Replace(array.Text, "10:", length, 1)}
		if got := len(r.Items()); got != want {
			t.Errorf("%q: %d items, want %d", r.Text, got, want)
		}
	}
	bulk := linearize.Bulks("a").Text[:1]
	for rest, want := range map[string]int{"0:": 1, ":": 0, "1:a": 1, "1xa": 0, "0": 0, "": 0} {
		r := linearize.Reply{Kind: array.Kind, Text: bulk + rest}
		if got := len(r.Items()); got != want {
			t.Errorf("%q: %d items, want %d", r.Text, got, want)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR\r\n", ":1\r\n", "$1\r\na\r\n", "$-1\r\n", "_\r\n", "*2\r\n:1\r\n*1\r\n$1\r\na\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := linearize.ParseReply(wire)
		if (err == nil) == (r.Kind == linearize.NoReply) {
			t.Fatalf("%v and %v", r, err)
		}
		if r.Kind == linearize.ArrayReply && linearize.Array(r.Items()...) != r {
			t.Fatalf("%v is not the array of its items %v", r, r.Items())
		}
	})
}

func TestReplyOutcome(t *testing.T) {
	for text, want := range map[string]linearize.Outcome{
		"MOVED 1 a:1": linearize.Fail, "ASK 1 a:1": linearize.Fail, "TRYAGAIN": linearize.Fail, "CLUSTERDOWN x": linearize.Fail,
		"CROSSSLOT x": linearize.Fail, "LOADING x": linearize.Fail,
		"ERR x": linearize.Ok, "WRONGTYPE x": linearize.Ok, "MOVEDX": linearize.Ok, "": linearize.Ok,
	} {
		if got := linearize.Error(text).Outcome(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := linearize.Bulk("MOVED 1 a:1").Outcome(); got != linearize.Ok {
		t.Errorf("a value that looks like a redirect: %s", got)
	}
}

func TestTextsAreShort(t *testing.T) {
	op := linearize.Operation{Key: strings.Repeat("k", 1000), Cmd: "SET", Args: []string{strings.Repeat("v", 1000)}}
	if s := op.String(); len(s) > 250 || !strings.Contains(s, "1000 bytes") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}
