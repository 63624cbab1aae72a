package rdb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// payload is one of testdata/payloads.txt.
type payload struct {
	name  string
	bytes []byte
	typ   string
	parts []string // what Redis answers of it
}

func payloads(t testing.TB) (all []payload) {
	text, err := os.ReadFile("testdata/payloads.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.SplitN(line, " ", 3)
		p := payload{name: words[0]}
		if p.bytes, err = hex.DecodeString(words[1]); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(words[2]), &p.parts); err != nil {
			t.Fatal(err)
		}
		p.typ, p.parts = p.parts[0], p.parts[1:]
		all = append(all, p)
	}
	return all
}

var typeNames = map[Type]string{String: "string", List: "list", Set: "set", ZSet: "zset", Hash: "hash"}

// parts lists what a value holds: in order for a string and a list, and otherwise sorted, each with its value or score.
func parts(t testing.TB, v Value) (out []string) {
	step := 1
	if v.Type == Hash {
		step = 2
	}
	for i := 0; i < len(v.Elements); i += step {
		part := string(bytes.Join(v.Elements[i:i+step], []byte("=")))
		if v.Type == ZSet {
			part += "=" + strconv.FormatFloat(v.Scores[i], 'g', -1, 64)
		}
		out = append(out, part)
	}
	if v.Type == ZSet != (len(v.Scores) > 0) || v.Type == ZSet && len(v.Scores) != len(v.Elements) {
		t.Fatalf("%d scores of %d members", len(v.Scores), len(v.Elements))
	}
	if step == 2 || v.Type == Set || v.Type == ZSet {
		slices.Sort(out)
	}
	return out
}

// wantedParts is what parts makes of a value of which Redis answered this.
func wantedParts(t testing.TB, p payload) (out []string) {
	if p.typ != "hash" && p.typ != "zset" {
		return p.parts
	}
	for i := 0; i < len(p.parts); i += 2 {
		second := p.parts[i+1]
		if p.typ == "zset" {
			f, err := strconv.ParseFloat(second, 64)
			if err != nil {
				t.Fatal(err)
			}
			second = strconv.FormatFloat(f, 'g', -1, 64)
		}
		out = append(out, p.parts[i]+"="+second)
	}
	slices.Sort(out)
	return out
}

// write writes a decoded value.
func write(v Value) []byte {
	if v.Type == String {
		return WriteString(v.Elements[0])
	}
	n := len(v.Elements)
	if v.Type == Hash {
		n /= 2
	}
	w := NewWriter(v.Type, uint64(n))
	for i, e := range v.Elements {
		w.Element(e)
		if v.Type == ZSet {
			w.Score(v.Scores[i])
		}
	}
	return w.Finish()
}

// TestPayloadsOfRedis: what Redis wrote, in all encodings, is read as Redis reads it, and survives being written here.
func TestPayloadsOfRedis(t *testing.T) {
	for _, p := range payloads(t) {
		v, err := Decode(p.bytes)
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
			continue
		}
		if got, want := parts(t, v), wantedParts(t, p); typeNames[v.Type] != p.typ || !slices.Equal(got, want) {
			t.Errorf("%s: a %s of %.300q, want %.300q", p.name, typeNames[v.Type], got, want)
		}
		again, err := Decode(write(v))
		if err != nil || again.Type != v.Type || !slices.Equal(parts(t, again), parts(t, v)) {
			t.Errorf("%s: written and read again: %.300q, %v", p.name, again.Elements, err)
		}
	}
}

// TestDamagedPayloads: a payload of which a bit is flipped, or that is cut or of a newer version, has no footer that fits; with a footer
// made for it, no damage makes Decode panic.
func TestDamagedPayloads(t *testing.T) {
	for _, p := range payloads(t) {
		if len(p.bytes) > 2000 {
			continue
		}
		body := p.bytes[:len(p.bytes)-footerLen]
		for i := range p.bytes {
			for bit := range 8 {
				damaged := bytes.Clone(p.bytes)
				damaged[i] ^= 1 << bit
				if _, err := Decode(damaged); !errors.Is(err, ErrFooter) {
					t.Fatalf("%s: with bit %d of byte %d flipped: %v", p.name, bit, i, err)
				}
				if i < len(body) {
					checkDecode(t, appendFooter(damaged[:len(body):len(body)]))
				}
			}
			if _, err := Decode(p.bytes[:i]); !errors.Is(err, ErrFooter) {
				t.Fatalf("%s: cut to %d bytes: %v", p.name, i, err)
			}
			if i < len(body) {
				if _, err := Decode(appendFooter(bytes.Clone(body[:i]))); !errors.Is(err, ErrFormat) {
					t.Fatalf("%s: with a value cut to %d bytes: %v", p.name, i, err)
				}
			}
		}
		if _, err := Decode(appendFooter(append(bytes.Clone(body), 0))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: with a byte behind the value: %v", p.name, err)
		}
	}
	newer := binary.LittleEndian.AppendUint16([]byte("\x00\x01a"), maxVersion+1)
	newer = binary.LittleEndian.AppendUint64(newer, checksum(newer))
	if _, err := Decode(newer); !errors.Is(err, ErrFooter) {
		t.Errorf("of a newer version: %v", err)
	}
}

// TestRefusedValues: values that their encoding allows and that must not be stored, and claims that memory must not be spent on.
func TestRefusedValues(t *testing.T) {
	nan := binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN()))
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"empty list":                     {"\x01\x00", ErrFormat},
		"empty set":                      {"\x02\x00", ErrFormat},
		"empty hash":                     {"\x04\x00", ErrFormat},
		"empty listpack":                 {"\x10\x07\x07\x00\x00\x00\x00\x00\xff", ErrFormat},
		"empty quicklist":                {"\x12\x00", ErrFormat},
		"member twice":                   {"\x02\x02\x01a\x01a", ErrFormat},
		"member twice, once an integer":  {"\x02\x02\x011\xc0\x01", ErrFormat},
		"field twice":                    {"\x04\x02\x01f\x01v\x01f\x01w", ErrFormat},
		"scored member twice":            {"\x03\x02\x01a\x011\x01a\x012", ErrFormat},
		"one value twice in a hash":      {"\x04\x02\x01f\x01v\x01g\x01v", nil},
		"one element twice in a list":    {"\x01\x02\x01a\x01a", nil},
		"score NaN":                      {"\x05\x01\x01a" + string(nan), ErrFormat},
		"score nan as text":              {"\x03\x01\x01a\x03nan", ErrFormat},
		"score NaN by its number":        {"\x03\x01\x01a\xfd", ErrFormat},
		"score is no number":             {"\x03\x01\x01a\x021x", ErrFormat},
		"odd listpack of a hash":         {"\x10\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff", ErrFormat},
		"wrong count of a listpack":      {"\x14\x09\x09\x00\x00\x00\x02\x00\x01\x01\xff", ErrFormat},
		"right count of a listpack":      {"\x14\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff", nil},
		"unknown count of a listpack":    {"\x14\x09\x09\x00\x00\x00\xff\xff\x01\x01\xff", nil},
		"wrong size of a listpack":       {"\x14\x09\x0a\x00\x00\x00\x01\x00\x01\x01\xff", ErrFormat},
		"listpack that goes on":          {"\x14\x0a\x0a\x00\x00\x00\x01\x00\x01\x01\xff\xff", ErrFormat},
		"intset that does not ascend":    {"\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x01\x00", ErrFormat},
		"intset with a member twice":     {"\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x01\x00", ErrFormat},
		"intset of 3-byte members":       {"\x0b\x0b\x03\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00", ErrFormat},
		"intset with a size that wraps":  {"\x0b\x08\x00\x00\x00\x00\x00\x00\x00\x80", ErrFormat},
		"more elements than there are":   {"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a", ErrFormat},
		"longer than there is":           {"\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xff", ErrFormat},
		"compressed, claims too much":    {"\x00\xc3\x01\x80\x40\x00\x00\x00\x00", ErrFormat},
		"compressed, refers too far":     {"\x00\xc3\x05\x09\x00a\xe0\x01\x05", ErrFormat},
		"stream":                         {"\x0f\x00", ErrFormat},
		"module":                         {"\x07\x00", ErrFormat},
		"zipmap":                         {"\x09\x04\x01\x01a\xff", ErrFormat},
		"hash with times of its fields":  {"\x16\x00", ErrFormat},
		"nothing":                        {"", ErrFormat},
		"length in the form of a string": {"\x01\xc0\x01\x01a", ErrFormat},
	} {
		if _, err := Decode(appendFooter([]byte(c.body))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestDecodedLimit: a small payload that claims many elements does not get the memory for them.
func TestDecodedLimit(t *testing.T) {
	d := decoder{in: []byte("\x01\x03\x01a\x01b\x01c"), left: 2 * elementBytes}
	if v := d.value(); !errors.Is(d.err, ErrTooLarge) || len(v.Elements) > 2 {
		t.Errorf("%d elements, %v", len(v.Elements), d.err)
	}
	for name, body := range map[string]string{"compressed": "\x00\xc3\x05\x28\x00a\xe0\x1e\x00", "integer": "\x00\xc0\x01"} {
		d := decoder{in: []byte(body), left: 10}
		if d.value(); !errors.Is(d.err, ErrTooLarge) {
			t.Errorf("%s: %v", name, d.err)
		}
		d = decoder{in: []byte(body), left: 200}
		if v := d.value(); d.err != nil || len(v.Elements) != 1 {
			t.Errorf("%s: %q, %v", name, v.Elements, d.err)
		}
	}
}

// TestCompressionClaims: a length that no compressed string of that size can have is refused before memory is taken for it.
func TestCompressionClaims(t *testing.T) {
	d := decoder{in: []byte("\x00\xc3\x03\x41\x09\x00a\x00"), left: elementBytes} // 3 bytes become 264 at most, not 265
	if d.value(); !errors.Is(d.err, ErrFormat) || d.left != elementBytes {
		t.Errorf("%v, and %d of %d bytes are left", d.err, d.left, elementBytes)
	}
}

// TestListpackEntrySizes: the length behind an entry is passed over in each of its forms.
func TestListpackEntrySizes(t *testing.T) {
	for n, want := range map[int]int{1: 1, 127: 1, 128: 2, 16382: 2, 16383: 3, 2097150: 3, 2097151: 4, 268435454: 4, 268435455: 5} {
		if got := backLen(n); got != want {
			t.Errorf("the length of an entry of %d bytes takes %d, want %d", n, got, want)
		}
	}
}

// TestChecksum: the CRC-64 is that of Redis.
func TestChecksum(t *testing.T) {
	if got := checksum([]byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("%x", got)
	}
}

// TestLengths: lengths around the ends of each form are read as they were written.
func TestLengths(t *testing.T) {
	for _, n := range []uint64{0, 1, 63, 64, 1<<14 - 1, 1 << 14, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		w := &Writer{}
		w.length(n)
		d := decoder{in: w.buf}
		if got := d.length(); got != n || d.err != nil || len(d.in) != 0 {
			t.Errorf("%d is read as %d, %v", n, got, d.err)
		}
	}
}

// TestWriteAndRead draws values.
func TestWriteAndRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := Value{Type: rapid.SampledFrom([]Type{String, List, Set, ZSet, Hash}).Draw(rt, "type")}
		elements := rapid.SliceOfNDistinct(rapid.SliceOf(rapid.Byte()), 1, 100, func(b []byte) string { return string(b) }).Draw(rt, "elements")
		switch v.Type {
		case String:
			elements = elements[:1]
		case Hash:
			elements = append(elements, elements[:len(elements)%2]...)
		case ZSet:
			v.Scores = rapid.SliceOfN(rapid.Float64(), len(elements), len(elements)).Draw(rt, "scores")
		case List, Set:
		}
		v.Elements = elements
		got, err := Decode(write(v))
		if err != nil || got.Type != v.Type || !slices.EqualFunc(got.Elements, v.Elements, bytes.Equal) || !slices.Equal(got.Scores, v.Scores) {
			rt.Fatalf("%v is read as %v, %v", v, got, err)
		}
	})
}

// checkDecode decodes a payload and checks invariants 2 and 3.
func checkDecode(t testing.TB, p []byte) {
	v, err := Decode(p)
	if err != nil {
		if !errors.Is(err, ErrFooter) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("an error of another kind: %v", err)
		}
		return
	}
	if len(v.Elements) == 0 || hasTwice(&v) || slices.ContainsFunc(v.Scores, math.IsNaN) {
		t.Fatalf("%x is decoded to %q", p, v.Elements)
	}
	again, err := Decode(write(v))
	if err != nil || !slices.Equal(parts(t, again), parts(t, v)) {
		t.Fatalf("%x is decoded to %q, and that written and read again to %q, %v", p, v.Elements, again.Elements, err)
	}
}

// FuzzDecode: no bytes before a footer that fits make Decode panic, and what it returns is fit to be stored. (The footer is made here:
// fuzzing would not guess a checksum.)
func FuzzDecode(f *testing.F) {
	for _, p := range payloads(f) {
		f.Add(p.bytes[:len(p.bytes)-footerLen])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Decode(body); err == nil {
			checkDecode(t, body)
		}
		checkDecode(t, appendFooter(bytes.Clone(body)))
	})
}
