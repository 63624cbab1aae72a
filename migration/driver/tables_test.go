package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/store"
	"godwit/migration"
)

// isBlock reports whether a call carries a block of a table.
func isBlock(args [][]byte) bool {
	if len(args) != 3 || string(args[1]) != "MIGRATION" {
		return false
	}
	m, err := migration.DecodeMessage(args[2])
	return err == nil && m.Kind == migration.MsgBlock
}

// tablesWorld has two nodes, the first with records for several tables.
func tablesWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(t, seed)
	w.inOrder = true
	cfg := quick()
	cfg.TableBytes, cfg.ChunkBytes = 2<<10, 512
	w.born(2, cfg)
	for i := range 200 {
		w.want(w.nodes[0], "OK", "SET", keyOf(i), fmt.Sprint("value ", i, strings.Repeat("x", i%40)))
	}
	return w
}

// movedTables requires that the slot of the tests has moved with all that the world wrote.
func (w *world) movedTables(job uint64, tables int) {
	w.t.Helper()
	st := w.ended(w.nodes[0], job)
	if st.State != engine.JobSuccess || st.DigestsEqual != 1 || st.Tables != tables {
		w.t.Fatalf("%+v\n%s", st, w.nodes[0].logs.String())
	}
	if err := data.CheckSlot(w.nodes[1].Store(), testSlot); err != nil {
		w.t.Fatal(err)
	}
	for i := range 200 {
		w.want(w.nodes[1], fmt.Sprintf("%q", fmt.Sprint("value ", i, strings.Repeat("x", i%40))), "GET", keyOf(i))
	}
}

// TestTablesGivenUp requires that a slot whose blocks do not get through is sent as records.
func TestTablesGivenUp(t *testing.T) {
	w := tablesWorld(t, 1)
	defer w.close()
	w.nodes[0].driver().cfg.Source.GiveUpAfter = time.Second
	w.silent = func(_ *node, args [][]byte) bool { return isBlock(args) }
	w.movedTables(w.startWith(engine.JobOptions{Payload: engine.PayloadTables}, 0, 1, testSlot), 0)
	if !strings.Contains(w.nodes[0].logs.String(), "its records are sent instead") {
		t.Errorf("the log does not say so:\n%s", w.nodes[0].logs.String())
	}
}

// TestBlocksLost requires that blocks whose answers are lost, or that come twice, end in whole tables.
func TestBlocksLost(t *testing.T) {
	for seed := range uint64(4) {
		w := tablesWorld(t, seed)
		w.inOrder, w.lose, w.repeat = false, 10, 10
		w.movedTables(w.startWith(engine.JobOptions{Payload: engine.PayloadTables}, 0, 1, testSlot), 1)
		w.close()
	}
}

// TestPayloadAuto requires that a job that leaves it open sends a slot as tables from a size on.
func TestPayloadAuto(t *testing.T) {
	for from, tables := range map[int]int{1: 1, 1 << 30: 0} {
		w := tablesWorld(t, 2)
		w.nodes[0].Store().Flush() // the estimate is of what is in files
		w.nodes[0].driver().cfg.TablesFrom = from
		w.movedTables(w.start(0, 1, testSlot), tables)
		w.close()
	}
}

// TestHalfSentKeyBeginsAgain requires that a walk that is put before one that stands within a key makes that one send the key anew: what
// is left of it would follow all of it.
func TestHalfSentKeyBeginsAgain(t *testing.T) {
	w := newWorld(t, 3)
	defer w.close()
	w.inOrder = true
	w.born(1, quick())
	n := w.nodes[0]
	for i := range 100 {
		w.do(n, "RPUSH", "{t}list", fmt.Sprint(i))
	}
	s := &stream{d: n.driver(), slot: testSlot, memory: &memory{}, content: true, snap: n.Store().NewSnapshot(), covers: map[uint64]covered{}}
	defer s.closeRound()
	whole := key.DataSpan(testSlot)
	s.walks = []walk{{span: whole, how: walkReplace, limits: store.ChunkLimits{Bytes: 1 << 20, Records: 10}}}
	if _, last, err := s.read(); err != nil || last {
		t.Fatal(last, err)
	}
	within := data.ContentSpan(testSlot, []byte("{t}list"))
	if at := s.walks[0].span.Lo; !within.Contains(at) || string(at) == string(within.Lo) {
		t.Fatalf("the walk stands at %q", at)
	}
	s.covers[7] = covered{changes: store.Changes{Spans: []key.Span{within}}, records: 5, digest: true}
	s.redo(7)
	if len(s.walks) != 2 || string(s.walks[1].span.Lo) != string(within.Lo) || s.walks[1].how != walkReplace {
		t.Errorf("after the redo the walks are %+v", s.walks)
	}
}

// TestPatience: an answer may take as long as the message is on its way, and as what it asks the target to read beyond what a window asks for anyway.
func TestPatience(t *testing.T) {
	var c Config
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, m := range map[time.Duration]migration.Message{ //det:ok each is a case of its own
		2 * time.Second:  {Body: make([]byte, 100), Asks: 8 << 20},
		6 * time.Second:  {Body: make([]byte, 512<<10)},
		22 * time.Second: {Body: make([]byte, 100), Asks: 8<<20 + 1_000_000_000},
	} {
		if got := c.patience(&m); got != want {
			t.Errorf("%d bytes that ask for %d: %v, want %v", len(m.Body), m.Asks, got, want)
		}
	}
}
