package command

import (
	"bytes"
	"math"
	"math/big"
	"strings"
)

// parseInt reads an integer as Redis stores and accepts it: no plus sign, leading zeros, spaces or minus zero.
func parseInt(b []byte) (n int64, ok bool) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	switch {
	case len(digits) == 0 || len(digits) > 19:
		return 0, false
	case digits[0] == '0':
		return 0, len(b) == 1
	}
	var u uint64 // 19 digits fit
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = u*10 + uint64(c-'0')
	}
	switch {
	case negative && u <= 1<<63:
		return -int64(u), true // -(1<<63) is its own negative
	case !negative && u <= math.MaxInt64:
		return int64(u), true
	}
	return 0, false
}

// floatBits is the precision of INCRBYFLOAT: that of the long double of Redis on x86-64. With 53 bits 0.1+0.2 would not be 0.3.
const floatBits = 64

// Limits of a long double, and of the text of a number.
const (
	floatMaxExp   = 16384
	floatMinExp   = -16445
	floatMaxChars = 5 << 10
	floatDecimals = 17
)

// floatKind says what parseFloat read.
type floatKind uint8

const (
	notFloat floatKind = iota
	finite
	infinite
)

// parseFloat reads a number as strtold does.
func parseFloat(b []byte) (*big.Float, floatKind) {
	if len(b) == 0 || len(b) >= floatMaxChars {
		return nil, notFloat
	}
	text := strings.ToLower(string(b))
	unsigned := strings.TrimPrefix(strings.TrimPrefix(text, "-"), "+")
	if unsigned == "inf" || unsigned == "infinity" {
		return nil, infinite
	}
	// Only the spellings of C: Go's own allow digits grouped by _, other bases, and binary exponents after decimals.
	base, alphabet := 10, "0123456789+-.e"
	if strings.HasPrefix(unsigned, "0x") {
		base, alphabet = 0, "0123456789+-.abcdefpx"
	}
	if strings.Trim(text, alphabet) != "" {
		return nil, notFloat
	}
	f, _, err := big.ParseFloat(text, base, floatBits, big.ToNearestEven)
	if err != nil || f.IsInf() {
		return nil, notFloat
	}
	if f.Sign() != 0 && (f.MantExp(nil) > floatMaxExp || f.MantExp(nil) < floatMinExp) {
		return nil, notFloat
	}
	return f, finite
}

// formatFloat writes a number with at most 17 decimals and no zeros behind the last.
func formatFloat(f *big.Float) []byte {
	text := f.Append(nil, 'f', floatDecimals)
	text = bytes.TrimRight(text, "0") // there is always a point, so only decimals are cut
	text = bytes.TrimSuffix(text, []byte("."))
	if string(text) == "-0" {
		return []byte("0")
	}
	return text
}
