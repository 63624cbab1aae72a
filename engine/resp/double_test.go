package resp

import (
	"math"
	"strconv"
	"testing"
)

// TestDoubleForms: numbers have the form that d2string and fpconv_dtoa of Redis 7.2 give them.
func TestDoubleForms(t *testing.T) {
	for want, f := range map[string]float64{
		"0": 0, "-0": math.Copysign(0, -1), "1": 1, "-7": -7, "0.1": 0.1, "1.5": 1.5, "-3.25": -3.25, "3.14159265358979": 3.14159265358979,
		"100000000": 1e8, "10000000000000000": 1e16, "1000000000000000000": 1e18, "4611686018427387904": 1 << 62, "-4611686018427387904": -1 << 62,
		"1e+19": 1e19, "1e+20": 1e20, "-1.5e+300": -1.5e300, "12345678901234567000": 12345678901234567000, "123456.789": 123456.789, "0.001": 0.001,
		"0.00001": 1e-5, "0.000001": 1e-6, "1e-7": 1e-7, "1.2345e-4": 0.00012345, "0.0012345678": 0.0012345678, "1.5e-6": 1.5e-6, "5e-324": math.SmallestNonzeroFloat64,
		"0.000015": 1.5e-5, "1.7976931348623157e+308": math.MaxFloat64,
	} {
		got := string(appendDouble(nil, f))
		if back, err := strconv.ParseFloat(got, 64); got != want || err != nil || math.Float64bits(back) != math.Float64bits(f) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
