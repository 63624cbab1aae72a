package data

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"godwit/engine/key"
	"godwit/engine/slot"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// TestGoldenEncoding pins every byte of version 1: a difference means that existing directories could not be read.
func TestGoldenEncoding(t *testing.T) {
	generation := key.Generation([]byte("generation01"))
	records := []struct {
		name string
		r    Record
	}{
		{"empty string", Record{Type: String}},
		{"string", Record{Type: String, Value: []byte("value")}},
		{"string with expiry", Record{Type: String, Value: []byte("value"), ExpireMs: 1700000000123}},
		{"string with the last expiry", Record{Type: String, ExpireMs: math.MaxInt64}},
		{"hash", Record{Type: Hash, Generation: generation, Size: 2}},
		{"list with expiry", Record{Type: List, Generation: key.Generation{0: 0xff}, Size: 3, ExpireMs: 1, List: ListPlace{Head: listMiddle - 1, NextValue: 2}}},
		{"set", Record{Type: Set, Generation: generation, Size: 1}},
		{"zset", Record{Type: ZSet, Generation: generation, Size: 1}},
		{"stream", Record{Type: Stream, Generation: generation, Size: 1 << 40}},
	}
	var got strings.Builder
	for _, c := range records {
		b := AppendRecord(nil, &c.r)
		fmt.Fprintf(&got, "record  %-28s %s\n", c.name, hex.EncodeToString(b))
		back, err := DecodeRecord(b)
		if err != nil || !bytes.Equal(AppendRecord(nil, &back), b) {
			t.Errorf("%s decodes to %+v, %v", c.name, back, err)
		}
	}
	for _, user := range []string{"", "a", "foo", "{tag}1", "{tag}2", "a\x00b"} {
		s := slot.OfKey([]byte(user))
		fmt.Fprintf(&got, "key     %-28q %s\n", user, hex.EncodeToString(key.AppendRecord(nil, s, []byte(user))))
		fmt.Fprintf(&got, "expiry  %-28q %s\n", user, hex.EncodeToString(key.AppendExpiry(nil, s, 1700000000123, []byte(user))))
		c := Collection{Entry: Entry{Slot: s}, tx: &Tx{}, gen: generation}
		fmt.Fprintf(&got, "member  %-28q %s\n", user, hex.EncodeToString(c.memberKey([]byte(user))))
	}
	const path = "testdata/encoding-v1.golden"
	if *rewrite {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the encoding changed; this needs a new version, or nothing written before can be read. Got:\n%s", got.String())
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":                 "",
		"one byte":                "\x11",
		"version 0":               "\x01\x00v",
		"version 2":               "\x21\x00v",
		"type 0":                  "\x10\x00v",
		"type 7":                  "\x17\x00v",
		"unknown flag":            "\x11\x02v",
		"expiry cut off":          "\x11\x01\x00\x00\x00\x00\x00\x00\x01",
		"expiry 0":                "\x11\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		"negative expiry":         "\x11\x01\x80\x00\x00\x00\x00\x00\x00\x00",
		"collection cut off":      "\x12\x00" + strings.Repeat("\x00", 19),
		"list without a place":    "\x13\x00" + strings.Repeat("\x00", 20),
		"list beyond the last":    "\x13\x00" + strings.Repeat("\x00", 12+7) + "\x02" + strings.Repeat("\xff", 16),
		"collection with a value": "\x12\x00" + strings.Repeat("\x00", 21),
	} {
		if r, err := DecodeRecord([]byte(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

// FuzzDecodeRecord: no bytes make the decoder panic, and what it accepts has one encoding.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte("\x11\x00value"))
	f.Add([]byte("\x11\x01\x00\x00\x01\x8b\xcf\xe5\x68\x7bvalue"))
	f.Add([]byte("\x13\x00generation01\x00\x00\x00\x00\x00\x00\x00\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x12\x00generation01\x00\x00\x00\x00\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if again := AppendRecord(nil, &r); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, r, again)
		}
	})
}

func TestTypeNames(t *testing.T) {
	for ty := String; ty <= Stream; ty++ {
		if back, ok := TypeByName(ty.String()); !ok || back != ty {
			t.Errorf("type %d is named %q, which names %d, %v", ty, ty, back, ok)
		}
	}
	if _, ok := TypeByName("none"); ok || Type(0).String() != "none" {
		t.Error("none must be the name of no type")
	}
}
