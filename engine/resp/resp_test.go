package resp

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWriter(t *testing.T) {
	for _, c := range []struct {
		name   string
		write  func(*Writer)
		v2, v3 string
	}{
		{"ok", func(w *Writer) { w.OK() }, "+OK\r\n", ""},
		{"simple", func(w *Writer) { w.Simple("a\r\nb") }, "+a  b\r\n", ""},
		{"error", func(w *Writer) { w.Error("ERR no\r\n+OK\n") }, "-ERR no  +OK \r\n", ""},
		{"int", func(w *Writer) { w.Int(math.MinInt64) }, ":-9223372036854775808\r\n", ""},
		{"bulk", func(w *Writer) { w.Bulk([]byte("a\r\nb")) }, "$4\r\na\r\nb\r\n", ""},
		{"empty bulk", func(w *Writer) { w.Bulk(nil) }, "$0\r\n\r\n", ""},
		{"bulk string", func(w *Writer) { w.BulkString("ab") }, "$2\r\nab\r\n", ""},
		{"null", func(w *Writer) { w.Null() }, "$-1\r\n", "_\r\n"},
		{"null array", func(w *Writer) { w.NullArray() }, "*-1\r\n", "_\r\n"},
		{"array", func(w *Writer) { w.Array(1); w.Int(1) }, "*1\r\n:1\r\n", ""},
		{"map", func(w *Writer) { w.Map(1); w.Int(1); w.Int(2) }, "*2\r\n:1\r\n:2\r\n", "%1\r\n:1\r\n:2\r\n"},
		{"set", func(w *Writer) { w.Set(1); w.Int(1) }, "*1\r\n:1\r\n", "~1\r\n:1\r\n"},
		{"push", func(w *Writer) { w.Push(1); w.Int(1) }, "*1\r\n:1\r\n", ">1\r\n:1\r\n"},
		{"true", func(w *Writer) { w.Bool(true) }, ":1\r\n", "#t\r\n"},
		{"false", func(w *Writer) { w.Bool(false) }, ":0\r\n", "#f\r\n"},
		{"double", func(w *Writer) { w.Double(1.5) }, "$3\r\n1.5\r\n", ",1.5\r\n"},
		{"whole double", func(w *Writer) { w.Double(100) }, "$3\r\n100\r\n", ",100\r\n"},
		{"large double", func(w *Writer) { w.Double(1e300) }, "$6\r\n1e+300\r\n", ",1e+300\r\n"},
		{"infinity", func(w *Writer) { w.Double(math.Inf(-1)) }, "$4\r\n-inf\r\n", ",-inf\r\n"},
		{"plus infinity", func(w *Writer) { w.Double(math.Inf(1)) }, "$3\r\ninf\r\n", ",inf\r\n"},
		{"not a number", func(w *Writer) { w.Double(math.NaN()) }, "$3\r\nnan\r\n", ",nan\r\n"},
		{"verbatim", func(w *Writer) { w.Verbatim("mkd", "x\r\ny") }, "$4\r\nx\r\ny\r\n", "=8\r\nmkd:x\r\ny\r\n"},
		{"verbatim, bad format", func(w *Writer) { w.Verbatim("long", "x") }, "$1\r\nx\r\n", "=5\r\ntxt:x\r\n"},
		{"big number", func(w *Writer) { w.BigNumber("-12345678901234567890") }, "$21\r\n-12345678901234567890\r\n", "(-12345678901234567890\r\n"},
		{"raw", func(w *Writer) { w.Raw([]byte(":1\r\n")) }, ":1\r\n", ""},
	} {
		if c.v3 == "" {
			c.v3 = c.v2
		}
		for v, want := range map[Version]string{V2: c.v2, V3: c.v3} {
			var w Writer
			w.Reset([]byte("before"), v)
			c.write(&w)
			if got := string(w.Bytes()[6:]); got != want {
				t.Errorf("%s, version %d: got %q, want %q", c.name, v, got, want)
			}
			if _, rest, err := ParseReply(w.Bytes()[6:]); err != nil || len(rest) != 0 {
				t.Errorf("%s, version %d: reads back with rest %q, %v", c.name, v, rest, err)
			}
			w.Truncate(6)
			if string(w.Bytes()) != "before" || w.Len() != 6 {
				t.Errorf("%s: Truncate left %q", c.name, w.Bytes())
			}
		}
	}
}

func TestWriterVersion(t *testing.T) {
	var w Writer
	if w.Version() != V2 {
		t.Error("the zero writer must write version 2")
	}
	if w.SetVersion(V3); w.Version() != V3 {
		t.Error("SetVersion had no effect")
	}
}

func TestParseReply(t *testing.T) {
	for in, want := range map[string]string{
		"+OK\r\n":                       "OK",
		"-ERR x\r\n":                    "(error) ERR x",
		":-5\r\n":                       "-5",
		"$-1\r\n":                       "(nil)",
		"*-1\r\n":                       "(nil)",
		"_\r\n":                         "(nil)",
		"$3\r\na\r\n\r\n":               `"a\r\n"`,
		"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n": `[1 ["x"]]`,
		"%1\r\n+k\r\n#t\r\n":            "[k 1]",
		"~1\r\n,1.25\r\n":               "[1.25]",
		">1\r\n(123\r\n":                "[123]",
		"=7\r\ntxt:abc\r\n":             `"abc"`,
		",inf\r\n":                      "inf",
	} {
		v, rest, err := ParseReply([]byte(in + "rest"))
		if err != nil || v.String() != want || string(rest) != "rest" {
			t.Errorf("%q: got %s, rest %q, %v; want %s", in, v, rest, err, want)
		}
		for n := range len(in) {
			if _, _, err := ParseReply([]byte(in[:n])); !errors.Is(err, ErrIncomplete) {
				t.Errorf("the first %d bytes of %q: got %v", n, in, err)
			}
		}
	}
}

func TestParseReplyRefuses(t *testing.T) {
	for _, in := range []string{
		"x\r\n", "+OK\n", "+a\rb\r\n", ":\r\n", ":+1\r\n", ":01\r\n", ":-0\r\n", ":9223372036854775808\r\n", "$-2\r\n", "$01\r\n", "$1\r\nab\r\n",
		"$536870913\r\n", "*-2\r\n", "*99999999999\r\n", "%-1\r\n", "~-1\r\n", "_x\r\n", "#x\r\n", ",\r\n", ",0x1p3\r\n", ",1_0\r\n", ",Inf\r\n",
		"(\r\n", "(-\r\n", "(1a\r\n", "=3\r\nabc\r\n", "=-1\r\n",
		strings.Repeat("*1\r\n", MaxNesting+1) + ":1\r\n",
		"+" + strings.Repeat("a", MaxLine+1),
	} {
		if v, _, err := ParseReply([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.40q: got %s, %v", in, v, err)
		}
	}
	if _, _, err := ParseReply([]byte(strings.Repeat("*1\r\n", MaxNesting) + ":1\r\n")); err != nil {
		t.Errorf("the deepest nesting: %v", err)
	}
}

// TestParseReadsWhatWasWritten draws trees of values.
func TestParseReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Writer
		w.Reset(nil, V3)
		want := drawValue(t, &w, 4)
		got, rest, err := ParseReply(w.Bytes())
		if err != nil || len(rest) != 0 || got.String() != want {
			t.Fatalf("%q: got %s, rest %q, %v; want %s", w.Bytes(), got, rest, err, want)
		}
	})
}

func drawValue(t *rapid.T, w *Writer, depth int) string {
	kinds := []Kind{SimpleKind, IntKind, BulkKind, NullKind, BoolKind}
	if depth > 0 {
		kinds = append(kinds, ArrayKind, MapKind, SetKind)
	}
	n := rapid.IntRange(0, 3).Draw(t, "n")
	switch k := rapid.SampledFrom(kinds).Draw(t, "kind"); k {
	case SimpleKind:
		s := rapid.StringMatching(`[a-z ]*`).Draw(t, "s")
		w.Simple(s)
		return Value{Kind: k, Str: s}.String()
	case IntKind:
		i := rapid.Int64().Draw(t, "i")
		w.Int(i)
		return Value{Kind: k, Int: i}.String()
	case BulkKind:
		s := rapid.String().Draw(t, "s")
		w.BulkString(s)
		return Value{Kind: k, Str: s}.String()
	case BoolKind:
		w.Bool(n > 1)
		return Value{Kind: k, Int: int64(n / 2)}.String()
	case ArrayKind:
		w.Array(n)
	case SetKind:
		w.Set(n)
	case MapKind:
		w.Map(n)
		n *= 2
	default:
		w.Null()
		return "(nil)"
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = drawValue(t, w, depth-1)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// FuzzParseReply: no bytes make it panic, what it leaves is the end of what it got, and more bytes do not change a reply.
func FuzzParseReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR\r\n", ":1\r\n", "$1\r\nx\r\n", "*2\r\n$-1\r\n*-1\r\n", "%1\r\n+a\r\n_\r\n", "=5\r\ntxt:x\r\n", ",1e9\r\n", "(1\r\n", "#t\r\n", "*9999999\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := ParseReply(b)
		if err != nil {
			if !errors.Is(err, ErrIncomplete) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if !strings.HasSuffix(string(b), string(rest)) {
			t.Fatalf("the rest %q is not the end of %q", rest, b)
		}
		again, rest2, err := ParseReply(append(append([]byte(nil), b...), "+more\r\n"...))
		if err != nil || again.String() != v.String() || len(rest2) != len(rest)+7 {
			t.Fatalf("%q: with more behind it %s instead of %s, %v", b, again, v, err)
		}
	})
}
