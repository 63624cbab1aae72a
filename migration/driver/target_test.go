package driver

import (
	"bytes"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/store"
	"godwit/migration"
)

type inline struct{}

func (inline) Schedule(run func()) { run() }

func memStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{FS: vfs.NewMem(), Dir: "d", Syncer: inline{}, Fatal: func(err error) { panic(err) }, CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// peerCall gives a node a message as if the other had sent it, and returns what it answers.
func peerCall(t *testing.T, to *node, from cluster.NodeID, m migration.Message) (migration.Reply, error) {
	t.Helper()
	raw, _, err := to.driver().HandlePeer(engine.PeerInfo{ID: from, Incarnation: 1}, m.Encode())
	if err != nil {
		return migration.Reply{}, err
	}
	r, err := migration.DecodeReply(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r, nil
}

// TestMalformedIsNotApplied: a data message of which the last operation is wrong changes nothing, and the import goes on.
func TestMalformedIsNotApplied(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	to := w.nodes[1]
	job := cluster.JobID{Node: id(0), Incarnation: 9, Counter: 1}
	m := migration.Message{Kind: migration.MsgStart, Slot: testSlot, Job: job, Attempt: 1, Epoch: 1, Fresh: true}
	if r, err := peerCall(t, to, id(0), m); err != nil || r.Kind != migration.ReplyStarted {
		t.Fatal(r, err)
	}
	before := to.records(key.SlotSpan(testSlot))
	m = migration.Message{Kind: migration.MsgData, Slot: testSlot, Job: job, Attempt: 1, Epoch: 1, Seq: 1}
	m.Body = append(bytes.Clone(someBodies(testSlot)["put"]), someBodies(testSlot + 1)["put"]...)
	if r, err := peerCall(t, to, id(0), m); err == nil {
		t.Errorf("accepted: %+v", r)
	}
	if after := to.records(key.SlotSpan(testSlot)); !maps.Equal(before, after) {
		t.Error("a part of it was applied")
	}
	m.Body = someBodies(testSlot)["put"]
	if r, err := peerCall(t, to, id(0), m); err != nil || r.Kind != migration.ReplyAck {
		t.Error(r, err)
	}
	if r, err := peerCall(t, to, id(2), m); err != nil || r.Kind != migration.ReplyRefused {
		t.Error("from another node:", r, err)
	}
}

// TestTableOnlyOfWhatIsApplied: a target that refuses a large message, has it already, misses what comes before it or knows nothing of its attempt
// writes no table of it; it writes one when the message is applied.
func TestTableOnlyOfWhatIsApplied(t *testing.T) {
	w := newWorld(t, 1)
	cfg := quick()
	cfg.IngestBytes = 1
	busy := ""
	cfg.Busy = func() string { return busy }
	w.born(2, cfg)
	to := w.nodes[1]
	job := cluster.JobID{Node: id(0), Incarnation: 9, Counter: 1}
	start := migration.Message{Kind: migration.MsgStart, Slot: testSlot, Job: job, Attempt: 2, Epoch: 1, Fresh: true}
	if r, err := peerCall(t, to, id(0), start); err != nil || r.Kind != migration.ReplyStarted {
		t.Fatal(r, err)
	}
	data := migration.Message{Kind: migration.MsgData, Slot: testSlot, Job: job, Attempt: 2, Epoch: 1, Seq: 1, Body: someBodies(testSlot)["put"]}
	gap, stale := data, data
	gap.Seq, stale.Attempt = 7, 1
	for _, c := range []struct {
		what   string
		busy   string
		from   int
		m      migration.Message
		want   migration.ReplyKind
		tables int // so far
	}{
		{"refused", "no room", 0, data, migration.ReplyBusy, 0},
		{"a gap", "", 0, gap, migration.ReplyGap, 0},
		{"of an attempt that is over", "", 0, stale, migration.ReplyNoImport, 0},
		{"of a node whose job it is not", "", 1, data, migration.ReplyRefused, 0},
		{"applied", "", 0, data, migration.ReplyAck, 1},
		{"repeated", "", 0, data, migration.ReplyAck, 1},
	} {
		busy = c.busy
		r, err := peerCall(t, to, id(c.from), c.m)
		if err != nil || r.Kind != c.want || to.driver().tables != c.tables {
			t.Errorf("%s: %+v, %v, want %v; %d tables, want %d", c.what, r, err, c.want, to.driver().tables, c.tables)
		}
	}
	if n := len(to.records(key.DataSpan(testSlot))); n != 2 {
		t.Errorf("%d records have arrived, want 2", n)
	}
}

// TestImportWithoutSource: a target whose source is gone for good keeps asking; one whose source forgot the job lets go.
func TestImportWithoutSource(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	to := w.nodes[1]
	job := cluster.JobID{Node: id(0), Incarnation: w.nodes[0].Incarnation(), Counter: 7} // which the source does not know
	m := migration.Message{Kind: migration.MsgStart, Slot: testSlot, Job: job, Attempt: 1, Epoch: 1, Fresh: true}
	if _, err := peerCall(t, to, id(0), m); err != nil {
		t.Fatal(err)
	}
	w.nodes[0].down = true // it cannot be reached
	w.pass(5 * time.Second)
	if got := to.Record(testSlot).State; got != cluster.Importing || !to.driver().Busy() || len(to.driver().Importing()) != 1 {
		t.Fatalf("it gave up by itself: %s", got)
	}
	w.nodes[0].down = false
	w.pass(5 * time.Second)
	if got := to.Record(testSlot).State; got != cluster.Aborted || to.driver().Busy() {
		t.Errorf("the record says %s", got)
	}
}

// TestStressAskWhileDeciding asks a source again and again what became of an attempt while it decides: the answer is "not
// decided" or "decided". "Dead" would make the target delete what it is about to own. It needs threads to be seen: record and
// phase change in one step of the slot's lock and must be read in one.
func TestStressAskWhileDeciding(t *testing.T) {
	w := newWorld(t, 1)
	w.born(2, quick())
	d := w.nodes[0].driver()
	w.lose = 100 // the job does not go on by itself
	counter := w.start(0, 1, testSlot)
	w.until("it has begun", func() bool { return w.nodes[0].stepOf(testSlot) == migration.StepStarting })
	jobID := d.jobID(counter)
	ask := migration.Message{Kind: migration.MsgAsk, Slot: testSlot, Job: jobID, Attempt: 1}
	progress := d.find(counter).slots[testSlot]
	turn := func(phase migration.Phase, r cluster.Record) {
		d.node.Exclusive(testSlot, func(o *engine.Owned) {
			d.mu.Lock()
			progress.phase = phase
			d.mu.Unlock()
			o.Remember(r)
		})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			turn(migration.PhaseDecided, cluster.Record{State: cluster.Released, Epoch: 2, Job: jobID, Attempt: 1, Peer: id(1)})
			turn(migration.PhaseActive, cluster.Record{State: cluster.Serving, Epoch: 1})
		}
	}()
	seen := map[migration.ReplyKind]int{}
	for range 400_000 {
		r, _ := d.answer(engine.PeerInfo{ID: id(1)}, ask)
		seen[r.Kind]++
	}
	close(stop)
	wg.Wait()
	if n := seen[migration.ReplyDead]; n > 0 {
		t.Errorf("%d answers say dead: %v", n, seen)
	}
	t.Logf("answers by kind: %v", seen)
}

func TestConfigOfDriver(t *testing.T) {
	var c Config
	if err := c.Validate(); err != nil || c.ChunkBytes != 256<<10 || c.SlotsAtOnce != 4 || c.Source.WindowBytes != 8<<20 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []Config{{ChunkBytes: -1}, {TrackerBytes: -1}, {JobsKept: -1}, {CallTimeout: -1}, {AskAfter: -1}, {Source: migration.Config{WindowBytes: -1}}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
