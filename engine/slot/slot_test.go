package slot

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// The check value of CRC-16/XMODEM is the specification's own; the slots are what redis-server 7.0.15 answers to CLUSTER
// KEYSLOT, the hash tags among them the examples of the specification.
func TestCRC16CheckValue(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0x31c3 {
		t.Errorf("crc16(123456789) = %#04x, want 0x31c3", got)
	}
	if got := crc16(nil); got != 0 {
		t.Errorf("crc16 of nothing = %#04x, want 0", got)
	}
}

func TestOfKey(t *testing.T) {
	for _, c := range []struct {
		key  string
		want Slot
	}{
		{"", 0},
		{"foo", 12182},
		{"bar", 5061},
		{"hello", 866},
		{"123456789", 12739},
		{"ключ", 10303},
		{"user1000", 3443},
		{"{user1000}.following", 3443},
		{"{user1000}.followers", 3443},
		{"foo{}{bar}", 8363},    // an empty tag is none, and the second braces do not count
		{"foo{{bar}}zap", 4015}, // the tag is "{bar"
		{"{bar", 4015},          //
		{"foo{bar}{zap}", 5061}, // the first tag counts
		{"foo{bar", 15278},      // no end
		{"foo}bar{", 11073},     // an end before the beginning
		{"{}", 15257},           //
		{"}{a}", 15495},         // an end before the beginning does not hide the tag
		{"{a}{b}", 15495},       //
		{"a{b}c}", 3300},        // the tag ends at the first end
	} {
		if got := OfKey([]byte(c.key)); got != c.want {
			t.Errorf("OfKey(%q) = %d, want %d", c.key, got, c.want)
		}
	}
}

func TestOfKeyDependsOnTheTagAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag := rapid.SliceOfN(rapid.Byte().Filter(func(b byte) bool { return b != '}' && b != '{' }), 1, 20).Draw(t, "tag")
		before := rapid.SliceOf(rapid.Byte().Filter(func(b byte) bool { return b != '{' })).Draw(t, "before")
		after := rapid.SliceOf(rapid.Byte()).Draw(t, "after")
		key := bytes.Join([][]byte{before, []byte("{"), tag, []byte("}"), after}, nil)
		if got, want := OfKey(key), OfKey(tag); got != want {
			t.Fatalf("OfKey(%q) = %d, its tag's slot is %d", key, got, want)
		}
		if !OfKey(key).Valid() || !OfKey(after).Valid() {
			t.Fatalf("a slot of %q or %q is not below %d", key, after, Count)
		}
	})
}

func TestValid(t *testing.T) {
	if !Slot(0).Valid() || !Slot(Count-1).Valid() || Slot(Count).Valid() || Slot(65535).Valid() {
		t.Error("exactly the slots 0 to 16383 are valid")
	}
}
