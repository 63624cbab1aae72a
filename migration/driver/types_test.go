package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine"
	"godwit/engine/data"
	"godwit/engine/key"
)

// reference is a node of its own that is told what the cluster is told.
func (w *world) reference() *node {
	w.t.Helper()
	n := &node{w: w, fs: vfs.NewCrashableMem()}
	n.opts = w.nodes[0].opts
	n.opts.Clock, n.opts.Rand, n.opts.Workers, n.opts.Syncer, n.opts.Peers = n, n, n, n, n
	n.opts.Cluster, n.opts.NewMigrator = false, nil
	n.open()
	w.nodes = append(w.nodes, n)
	return n
}

// drawTyped draws a command on a key of each type, mostly writes; one key has a large hash now and then, whose elements go by one range
// delete.
func (w *world) drawTyped(i int) []string {
	k := func(kind string) string { return fmt.Sprintf("{t}%s%d", kind, w.rng.IntN(3)) }
	some := fmt.Sprint(w.rng.IntN(12))
	value := fmt.Sprintf("value %d %s", i, strings.Repeat("x", w.rng.IntN(200)))
	switch w.rng.IntN(20) {
	case 0, 1:
		return []string{"HSET", k("h"), some, value, "last", fmt.Sprint(i)}
	case 2:
		return []string{"HDEL", k("h"), some, fmt.Sprint(w.rng.IntN(12))}
	case 3:
		return []string{"HINCRBY", k("h"), "count", "3"}
	case 4:
		return []string{"SADD", k("s"), some, value}
	case 5:
		return []string{"SREM", k("s"), some}
	case 6:
		return []string{"SMOVE", k("s"), k("s"), some}
	case 7:
		return []string{"RPUSH", k("l"), some, value}
	case 8:
		return []string{"LPUSH", k("l"), value}
	case 9:
		return []string{"LINSERT", k("l"), "BEFORE", some, value}
	case 10:
		return []string{"LREM", k("l"), "0", some}
	case 11:
		return []string{"LMOVE", k("l"), k("l"), "LEFT", "RIGHT"}
	case 12, 13:
		return []string{"ZADD", k("z"), some, some, fmt.Sprint(i), value}
	case 14:
		return []string{"ZINCRBY", k("z"), "-2.5", some}
	case 15:
		return []string{"ZPOPMIN", k("z")}
	case 16:
		return []string{"SETBIT", k("b"), fmt.Sprint(w.rng.IntN(900)), "1"}
	case 17:
		large := []string{"HSET", "{t}large"}
		for f := range 600 {
			large = append(large, fmt.Sprint("f", f), some)
		}
		return large
	case 18:
		return []string{"DEL", []string{"{t}large", k("h"), k("s"), k("l"), k("z")}[w.rng.IntN(5)]}
	default:
		return []string{"PEXPIREAT", []string{k("h"), k("s"), k("l"), k("z")}[w.rng.IntN(4)], fmt.Sprint(1_800_000_000_000 + i)}
	}
}

// TestEveryTypeMoves moves a slot with keys of all types there and back while they are written: the cluster answers each command
// as a node does on which nothing ever moved, and is left with the same.
func TestEveryTypeMoves(t *testing.T) {
	for _, payload := range []engine.Payload{engine.PayloadRaw, engine.PayloadCommand, engine.PayloadTables} {
		t.Run(string(payload), func(t *testing.T) { everyTypeMoves(t, payload) })
	}
}

func everyTypeMoves(t *testing.T, payload engine.Payload) {
	for seed := range uint64(6) {
		cfg := quick()
		cfg.TrackerBytes = []int{400, 16 << 20}[seed%2]
		cfg.ChunkRecords, cfg.DigestRecords = 100, 400 // the world's calls are a session each
		cfg.TableBytes = 4 << 10
		cfg.IngestBytes = []int{64 << 20, 1 << 10}[seed/2%2]
		w := newWorld(t, 100+seed)
		w.inOrder = true
		w.born(2, cfg)
		ref := w.reference()
		w.inOrder = false
		tell := func(args []string) {
			t.Helper()
			if got, want := w.cmd(args...).String(), w.do(ref, args...).String(); got != want {
				t.Fatalf("seed %d: %.120q is answered %s, want %s", seed, args, got, want)
			}
		}
		for i := range 100 {
			tell(w.drawTyped(i))
		}
		for hop, way := range [][2]int{{0, 1}, {1, 0}} {
			from, to := w.nodes[way[0]], w.nodes[way[1]]
			job := w.startWith(engine.JobOptions{Payload: payload}, way[0], way[1], testSlot)
			for i := range 60 {
				for range w.rng.IntN(40) {
					w.step(w.now)
				}
				tell(w.drawTyped(1000*(hop+1) + i))
			}
			st := w.ended(from, job)
			w.pass(time.Second)
			if st.State != engine.JobSuccess || st.Differ != 0 || st.DigestsEqual != 1 || st.Payload != payload || (st.Tables == 1) != (payload == engine.PayloadTables) || strings.Contains(from.logs.String(), "differ") {
				t.Fatalf("seed %d: %+v\n%s", seed, st, from.logs.String())
			}
			if left := from.records(key.SlotSpan(testSlot)); len(left) != 0 {
				t.Fatalf("seed %d: the source still holds %d records", seed, len(left))
			}
			if err := data.CheckSlot(to.Store(), testSlot); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for _, kind := range []string{"h", "s", "l", "z", "b"} {
			for i := range 3 {
				k := fmt.Sprintf("{t}%s%d", kind, i)
				tell([]string{"PEXPIRETIME", k})
				tell(map[string][]string{
					"h": {"HGETALL", k}, "s": {"SMEMBERS", k}, "l": {"LRANGE", k, "0", "-1"}, "z": {"ZRANGE", k, "0", "-1", "WITHSCORES"}, "b": {"GET", k},
				}[kind])
			}
		}
		tell([]string{"HLEN", "{t}large"})
		w.close()
	}
}
