package main

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"
)

// The packages under testdata carry a "want" comment on each line that must be reported; a report that is missing
// fails, and so does one that nobody asked for.
func TestPlantedViolationsAreReported(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), analyzer, "godwit/engine/store")
}

func TestEdgeIsExempt(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), analyzer, "godwit/engine/host", "godwit/cmd/godwit")
}

func TestEdgeIsNoPrefixOfAName(t *testing.T) {
	for path, want := range map[string]bool{
		"godwit/engine/host":                             true,
		"godwit/engine/host [godwit/engine/host.test]":   true,
		"godwit/engine/host/tls":                         true,
		"godwit/engine/hostile":                          false,
		"godwit/engine/store [godwit/engine/store.test]": false,
		"godwit/cmd/godwit":                              true,
		"godwit/sim":                                     false,
	} {
		if got := atTheEdge(path); got != want {
			t.Errorf("atTheEdge(%q) = %v, want %v", path, got, want)
		}
	}
}
