package command

import (
	"strconv"
	"strings"
	"testing"

	"godwit/engine/resp"
)

// TestListReplyLimit: a reply that would become too large is an error, and takes nothing away.
func TestListReplyLimit(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	l.replyLimit = 2000
	for i := range 100 {
		l.do(t, "RPUSH", "l", "an element of some length "+strconv.Itoa(i))
	}
	for _, request := range []string{"LRANGE l 0 -1", "LPOP l 100", "LPOP l 90", "RPOP l 1000", "LMPOP 1 l LEFT COUNT 90", "BLMPOP 0 1 l LEFT COUNT 90"} {
		if got := l.do(t, strings.Fields(request)...).String(); got != "(error) "+errReplyTooBig {
			t.Errorf("%s: %.100s", request, got)
		}
		l.check(t, "l")
	}
	if got := l.do(t, "LPOP", "l", "20"); len(got.Elems) != 20 {
		t.Errorf("LPOP: %.100s", got)
	}
	if got := l.do(t, "LLEN", "l").Int; got != 80 {
		t.Errorf("%d elements are left of 80", got)
	}
}

// TestListChangesAreSmall: what the commands on both ends write does not depend on the length of the list.
func TestListChangesAreSmall(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	args := []string{"RPUSH", "{l}"}
	for i := range 20_000 {
		args = append(args, strconv.Itoa(i))
	}
	l.do(t, args...)
	for _, request := range []string{
		"LPUSH {l} a", "RPUSH {l} a", "LPOP {l}", "RPOP {l}", "LMOVE {l} {l} LEFT RIGHT", "RPOPLPUSH {l} {l}2", "LSET {l} 10000 a", "LTRIM {l} 1 -2", "LTRIM {l} 5000 -1",
		"RENAME {l} {l}3", "LTRIM {l}3 1 0",
	} {
		l.do(t, strings.Fields(request)...)
		if l.written > 400 {
			t.Errorf("%s wrote %d bytes", request, l.written)
		}
		l.check(t, "{l}")
	}
	if v := l.do(t, "KEYS", "*"); v.String() != `["{l}2"]` {
		t.Errorf("%s are left", v)
	}
}
