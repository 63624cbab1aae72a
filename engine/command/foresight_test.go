package command

import (
	"strings"
	"testing"

	"godwit/engine/data"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// TestMemberPositions: where the table says that a command names a member, it names the member that it looks for.
func TestMemberPositions(t *testing.T) {
	l := newLocal(t, resp.V2, fixed(1))
	tested := map[string]bool{}
	for _, request := range []string{
		"HDEL h m", "HEXISTS h m", "HGET h m", "HINCRBY h m 2", "HINCRBYFLOAT h m 2", "HMGET h m x", "HMSET h m 1", "HSET h m 1", "HSETNX h m 1", "HSTRLEN h m",
		"SADD s m x", "SISMEMBER s m", "SMISMEMBER s m x", "SREM s m x",
		"ZADD z 1 m", "ZINCRBY z 1 m", "ZMSCORE z m x", "ZRANK z m", "ZREM z m x", "ZREVRANK z m", "ZSCORE z m",
	} {
		for _, fill := range []string{"HSET h m 1", "SADD s m", "ZADD z 1 m"} {
			l.do(t, strings.Fields(fill)...)
		}
		var args [][]byte
		for _, a := range strings.Fields(request) {
			args = append(args, []byte(a))
		}
		spec, text := l.table.Check(args)
		if text != "" || spec.Member == 0 {
			t.Errorf("%s: %s; member at %d", request, text, spec.Member)
			continue
		}
		tested[spec.Name] = true
		var g store.Group
		g.Begin(l.st, func(*store.Batch) { t.Error("it wrote") })
		var f data.Foresight
		f.Begin(&g)
		if k, ok := f.Member(slot.OfKey(args[1]), args[1], args[spec.Member]); !ok {
			t.Errorf("%s: nothing foretold", request)
		} else if _, found, err := l.st.Get(k); !found || err != nil {
			t.Errorf("%s: the member at %d is not there: %v", request, spec.Member, err)
		}
		f.End()
		g.End()
		g.Close()
		if got := l.do(t, strings.Fields(request)...).String(); strings.HasPrefix(got, "(error)") {
			t.Errorf("%s: %s", request, got)
		}
	}
	for _, spec := range l.table.All() {
		switch {
		case spec.Member == 0:
		case !tested[spec.Name]:
			t.Errorf("%s is not tested", spec.Name)
		case max(spec.Arity, -spec.Arity) <= spec.Member:
			t.Errorf("%s may come without its argument %d", spec.Name, spec.Member)
		}
	}
}
