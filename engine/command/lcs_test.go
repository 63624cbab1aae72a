package command

import (
	"strings"
	"testing"

	"godwit/engine/resp"
)

// TestCommonLimit: LCS takes two strings up to the size that Redis takes by default, and refuses more before it compares anything.
func TestCommonLimit(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	l.do(t, "SET", "{l}a", strings.Repeat("a", 1<<20))
	l.do(t, "SET", "{l}b", strings.Repeat("a", 126)) // 127 * (2^20 + 1) is below 2^27, 128 * (2^20 + 1) above
	for request, want := range map[string]string{
		"LCS {l}a {l}b LEN": "126", "LCS {l}b {l}a LEN": "126", "LCS {l}a {l}b IDX": `["matches" [[[1048450 1048575] [0 125]]] "len" 126]`,
		"LCS {l}b {l}a IDX": `["matches" [[[0 125] [1048450 1048575]]] "len" 126]`,
	} {
		if got := l.do(t, strings.Fields(request)...).String(); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
	l.do(t, "APPEND", "{l}b", "a")
	for _, request := range []string{"LCS {l}a {l}b LEN", "LCS {l}b {l}a", "LCS {l}a {l}b IDX"} {
		if got := l.do(t, strings.Fields(request)...).String(); got != "(error) "+errCommonTooBig {
			t.Errorf("%s: %s", request, got)
		}
	}
}
