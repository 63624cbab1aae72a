package sim

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/data"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/linearize"
	"godwit/migration/driver"
)

// told is a world in which a test plays clients and nodes: what it says is recorded.
type told struct {
	t  *testing.T
	w  *world
	in map[string]linearize.ID
}

func tell(t *testing.T) *told { return &told{t: t, w: bare(t), in: map[string]linearize.ID{}} }

// call begins an operation of a client, one ms after what was before.
func (s *told) call(name string, client int, argv ...string) {
	s.t.Helper()
	s.w.now += time.Millisecond
	op, err := linearize.Command(argv...)
	if err != nil {
		s.t.Fatal(err)
	}
	op.Client, op.Call = client, int64(s.w.now)
	if s.in[name], err = s.w.history.Begin(op); err != nil {
		s.t.Fatal(err)
	}
}

// answer ends one.
func (s *told) answer(name string, r linearize.Reply) {
	s.t.Helper()
	s.w.now += time.Millisecond
	if err := s.w.history.End(s.in[name], r, int64(s.w.now)); err != nil {
		s.t.Fatal(err)
	}
}

// do is both.
func (s *told) do(client int, r linearize.Reply, argv ...string) {
	s.t.Helper()
	s.call("it", client, argv...)
	s.answer("it", r)
}

var okReply = linearize.Status("OK")

func TestSessions(t *testing.T) {
	for name, c := range map[string]struct {
		rejected bool
		do       func(s *told)
	}{
		"reads its own write": {false, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.do(1, okReply, "SET", "k", "2;")
			s.do(1, linearize.Bulk("2;"), "GET", "k")
		}},
		"does not read its own write": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.do(1, okReply, "SET", "k", "2;")
			s.do(1, linearize.Bulk("1;"), "GET", "k")
		}},
		"finds its own write gone": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.do(1, linearize.Nil(), "GET", "k")
		}},
		"somebody has deleted it, perhaps": {false, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.call("del", 2, "DEL", "k")
			s.do(1, linearize.Nil(), "GET", "k")
		}},
		"it was deleted, and written again": {true, func(s *told) {
			s.do(2, linearize.Int(0), "DEL", "k")
			s.do(1, okReply, "MSET", "k", "1;", "l", "2;")
			s.do(1, linearize.Nil(), "GET", "k")
		}},
		"a deletion that was redirected is none": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.do(2, linearize.Error("MOVED 1 n:1"), "DEL", "k")
			s.do(1, linearize.Nil(), "GET", "k")
		}},
		"goes back in time": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.call("open", 2, "SET", "k", "2;")
			s.do(3, linearize.Bulk("2;"), "GET", "k")
			s.do(3, linearize.Bulk("1;"), "GET", "k")
		}},
		"an open write may come late": {false, func(s *told) {
			s.call("open", 2, "SET", "k", "2;")
			s.do(1, okReply, "SET", "k", "1;")
			s.do(3, linearize.Bulk("1;"), "GET", "k")
			s.do(3, linearize.Bulk("2;"), "GET", "k")
		}},
		"reads at the same time may differ": {false, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.call("open", 2, "SET", "k", "2;")
			s.call("read", 4, "GET", "k")
			s.do(3, linearize.Bulk("2;"), "GET", "k")
			s.answer("read", linearize.Bulk("1;"))
		}},
		"a value that nobody wrote": {true, func(s *told) { s.do(1, linearize.Bulk("7;"), "GET", "k") }},
		"a value that was refused": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.do(1, linearize.Int(0), "SETNX", "k", "2;")
			s.do(1, linearize.Bulk("2;"), "GETSET", "k", "3;")
		}},
		"a text that lacks a piece": {true, func(s *told) {
			s.do(1, linearize.Int(2), "APPEND", "k", "1;")
			s.do(1, linearize.Int(4), "APPEND", "k", "2;")
			s.do(1, linearize.Bulk("1;"), "GET", "k")
		}},
		"a text that may have been replaced": {false, func(s *told) {
			s.call("set", 2, "SET", "k", "3;")
			s.do(1, linearize.Int(2), "APPEND", "k", "1;")
			s.do(1, linearize.Bulk("3;"), "GET", "k")
		}},
		"a counter that counts backwards": {true, func(s *told) {
			s.do(1, linearize.Int(1), "INCR", "k")
			s.do(2, linearize.Int(2), "INCR", "k")
			s.do(3, linearize.Bulk("1"), "GET", "k")
		}},
		"a counter": {false, func(s *told) {
			s.do(1, linearize.Int(1), "INCR", "k")
			s.call("open", 2, "INCR", "k")
			s.do(3, linearize.Bulk("2"), "GET", "k")
			s.do(3, linearize.Bulk("2"), "GET", "k")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t)
			c.do(s)
			demand(t, s.w, map[bool]string{true: "sessions"}[c.rejected])
		})
	}
}

func TestExpiry(t *testing.T) {
	for name, c := range map[string]struct {
		after    time.Duration
		shown    linearize.Reply
		meddle   []string
		rejected bool
	}{
		"gone too early":                      {50 * time.Millisecond, linearize.Nil(), nil, true},
		"gone when it may":                    {99 * time.Millisecond, linearize.Nil(), nil, false},
		"seen when it may":                    {101 * time.Millisecond, linearize.Bulk("1;"), nil, false},
		"seen too late":                       {150 * time.Millisecond, linearize.Bulk("1;"), nil, true},
		"seen late, somebody having meddled":  {150 * time.Millisecond, linearize.Bulk("1;"), []string{"PERSIST", "k"}, false},
		"gone early, somebody having meddled": {50 * time.Millisecond, linearize.Nil(), []string{"DEL", "k"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t)
			s.do(1, okReply, "SET", "k", "1;", "PX", "100")
			if c.meddle != nil {
				s.do(2, linearize.Int(1), c.meddle...)
			}
			s.w.now += c.after - 2*time.Millisecond
			s.do(1, c.shown, "GET", "k")
			demand(t, s.w, map[bool]string{true: "expiry"}[c.rejected])
		})
	}
	// What clocks may err by, twice, is allowed.
	s := tell(t)
	s.w.checks.expiry.e = 50 * time.Millisecond
	s.do(1, okReply, "SET", "k", "1;", "PX", "100")
	s.w.now += 180 * time.Millisecond
	s.do(1, linearize.Bulk("1;"), "GET", "k")
	demand(t, s.w, "")
}

func TestLinearizable(t *testing.T) {
	for property, shown := range map[string]string{"": "1;", "linearizable": "7;"} {
		s := tell(t)
		s.do(1, okReply, "SET", "k", "1;")
		s.call("open", 1, "APPEND", "k", "2;")
		s.do(1, linearize.Bulk(shown), "GET", "k")
		s.w.failed = nil // it may have been found already
		s.w.checkHistory()
		demand(t, s.w, property)
		if property != "" && len(s.w.failed.Returns) != 1 {
			t.Errorf("returns %v", s.w.failed.Returns)
		}
	}
}

// lose deletes a key from a node's store, durably, behind the node's back.
func (w *world) lose(t *testing.T, p *process, a *account) {
	t.Helper()
	var tx data.Tx
	tx.Reset(p.node.Store(), data.Write, unixMs)
	e := tx.Load([]byte(a.name))
	tx.Remove(&e)
	at, ok := tx.Commit()
	if !ok {
		t.Fatalf("there was no %+v", a)
	}
	p.node.Store().WhenDurable(at, func() {})
	w.runUntil(w.now+time.Second, nil)
}

// TestDurability loses a key from a store behind the node's back, and starts it again.
func TestDurability(t *testing.T) {
	for _, lost := range []bool{false, true} {
		w := founded(t)
		filled := w.history.ledger.order[0]
		p := w.owner(filled.slot)
		if lost {
			w.lose(t, p, filled)
		}
		p.crash("for a test")
		w.runUntil(w.now+5*time.Second, nil)
		demand(t, w, map[bool]string{true: "durability"}[lost])
		if w.checks.durability.looked == 0 {
			t.Error("no key was judged")
		}
	}
	// What has come with a slot is judged, however long ago it was written.
	for _, lost := range []bool{false, true} {
		w := founded(t)
		filled := w.history.ledger.order[0]
		from := w.owner(filled.slot)
		to := w.procs[(from.index+1)%len(w.procs)]
		to.crash("for a test")
		w.runUntil(w.now+time.Second, nil)
		w.oper.migrate(from, to, strconv.Itoa(int(filled.slot)), func(resp.Value) {})
		w.runUntil(w.now+5*time.Second, func() bool { return to.serves(filled.slot) })
		w.settle("after the move")
		if lost {
			w.lose(t, to, filled)
		}
		to.crash("for a test")
		w.runUntil(w.now+5*time.Second, nil)
		demand(t, w, map[bool]string{true: "durability"}[lost])
	}
	// A key on which something is under way is not judged.
	s := tell(t)
	s.do(1, okReply, "SET", "k", "1;")
	if a := s.w.history.ledger.account("k"); !a.sure || a.value != "1;" {
		t.Errorf("%+v", a)
	}
	s.call("open", 1, "SET", "k", "2;")
	s.do(2, okReply, "SET", "k", "3;")
	if s.w.history.ledger.account("k").sure {
		t.Error("a key with an open write is taken for known")
	}
	// Unless a reply has shown that the write has taken effect, and it is the only one.
	s = tell(t)
	s.do(1, okReply, "SET", "k", "1;")
	s.call("open", 1, "SET", "k", "2;")
	s.do(2, linearize.Bulk("1;"), "GET", "k")
	if s.w.history.ledger.account("k").sure {
		t.Error("a key of which the open write was not shown is taken for known")
	}
	s.do(2, linearize.Bulk("2;"), "GET", "k")
	if a := s.w.history.ledger.account("k"); !a.sure || a.value != "2;" {
		t.Errorf("an open write was shown, and the key is not known: %+v", a)
	}
	s.call("later", 3, "SET", "k", "3;")
	s.do(2, linearize.Bulk("2;"), "GET", "k")
	if s.w.history.ledger.account("k").sure {
		t.Error("a key with two open writes is taken for known")
	}
}

func TestMetrics(t *testing.T) {
	job := func(change func(*engine.JobStatus)) engine.JobStatus {
		j := engine.JobStatus{ID: cluster.JobID{Counter: 1}, Slots: 2, Ranges: []slot.Range{{First: 1, Last: 2}}, State: engine.JobSnapshot, Records: 5, Bytes: 100}
		change(&j)
		return j
	}
	for name, c := range map[string]struct {
		rejected bool
		first    uint64 // what is counted
		then     uint64
		a, b     func(*engine.JobStatus)
	}{
		"forwards":                 {false, 1, 2, func(*engine.JobStatus) {}, func(j *engine.JobStatus) { j.Records++ }},
		"unchanged":                {false, 1, 1, func(*engine.JobStatus) {}, func(*engine.JobStatus) {}},
		"a counter backwards":      {true, 2, 1, func(*engine.JobStatus) {}, func(*engine.JobStatus) {}},
		"records backwards":        {true, 1, 1, func(*engine.JobStatus) {}, func(j *engine.JobStatus) { j.Records-- }},
		"a slot moved back":        {true, 1, 1, func(j *engine.JobStatus) { j.Moved.Append(1) }, func(*engine.JobStatus) {}},
		"an ended job lives":       {true, 1, 1, func(j *engine.JobStatus) { j.State = engine.JobSuccess }, func(*engine.JobStatus) {}},
		"a job that ends":          {false, 1, 1, func(*engine.JobStatus) {}, func(j *engine.JobStatus) { j.State = engine.JobSuccess }},
		"more moved than there is": {true, 1, 1, func(j *engine.JobStatus) { j.Moved = slot.Ranges{{First: 1, Last: 3}} }, func(j *engine.JobStatus) {}},
		"failed without a reason":  {true, 1, 1, func(*engine.JobStatus) {}, func(j *engine.JobStatus) { j.State = engine.JobFail }},
		"failed with one":          {false, 1, 1, func(*engine.JobStatus) {}, func(j *engine.JobStatus) { j.State, j.Error = engine.JobFail, "why" }},
	} {
		t.Run(name, func(t *testing.T) {
			w := bare(t)
			p := w.procs[0]
			w.checks.metrics.look(p, []engine.Counter{{Name: "n", Value: c.first}}, []engine.JobStatus{job(c.a)})
			w.checks.metrics.look(p, []engine.Counter{{Name: "n", Value: c.then}}, []engine.JobStatus{job(c.b)})
			demand(t, w, map[bool]string{true: "metrics"}[c.rejected])
		})
	}
	// Another life counts anew.
	w := bare(t)
	w.checks.metrics.look(w.procs[0], []engine.Counter{{Name: "n", Value: 2}}, nil)
	w.procs[0].life++
	w.checks.metrics.look(w.procs[0], []engine.Counter{{Name: "n", Value: 1}}, nil)
	demand(t, w, "")
}

func TestBounds(t *testing.T) {
	limits := engine.Limits{ParkedCommands: 10, ParkedBytes: 100, BulkBytes: 10}
	for name, c := range map[string]struct {
		rejected bool
		do       func(c *bounds, p *process)
	}{
		"a full window and a message": {false, func(c *bounds, p *process) {
			c.lookMoves(p, []driver.Held{{WindowBytes: 1499, LastBytes: 500, WindowLimit: 1000}})
		}},
		"a message too many": {true, func(c *bounds, p *process) {
			c.lookMoves(p, []driver.Held{{WindowBytes: 1500, LastBytes: 500, WindowLimit: 1000}})
		}},
		"a job within its memory": {false, func(c *bounds, p *process) { c.lookJobs(p, 1000+longRecord, 1000) }},
		"a job beyond its memory": {true, func(c *bounds, p *process) { c.lookJobs(p, 1001+longRecord, 1000) }},
		"a full tracker":          {false, func(c *bounds, p *process) { c.lookMoves(p, []driver.Held{{TrackerBytes: 100, TrackerLimit: 100}}) }},
		"a tracker too full":      {true, func(c *bounds, p *process) { c.lookMoves(p, []driver.Held{{TrackerBytes: 101, TrackerLimit: 100}}) }},
		"as many parked as may":   {false, func(c *bounds, p *process) { c.lookParked(p, 1, cluster.Prepared, 10, 110, &limits) }},
		"more in a pause":         {false, func(c *bounds, p *process) { c.lookParked(p, 1, cluster.Serving, 11, 110, &limits) }},
		"too many parked":         {true, func(c *bounds, p *process) { c.lookParked(p, 1, cluster.Prepared, 11, 100, &limits) }},
		"too many bytes parked":   {true, func(c *bounds, p *process) { c.lookParked(p, 1, cluster.Prepared, 1, 111, &limits) }},
		"left of a pause": {false, func(c *bounds, p *process) {
			c.lookParked(p, 1, cluster.Released, 12, 110, &limits)
			c.lookParked(p, 1, cluster.Released, 12, 110, &limits)
		}},
		"more after the decision": {true, func(c *bounds, p *process) {
			c.lookParked(p, 1, cluster.Released, 12, 110, &limits)
			c.lookParked(p, 1, cluster.Released, 13, 110, &limits)
		}},
		"sessions":                      {false, func(c *bounds, p *process) { c.lookSessions(p, operatorSessions, 0, 1) }},
		"sessions that nobody closed":   {true, func(c *bounds, p *process) { c.lookSessions(p, operatorSessions+1, 0, 1) }},
		"more parked than sessions":     {true, func(c *bounds, p *process) { c.lookSessions(p, 1, 0, 2) }},
		"idle":                          {false, func(c *bounds, p *process) { c.judgeIdle(p, 0, 0, 0, 0) }},
		"a snapshot that nobody closed": {true, func(c *bounds, p *process) { c.judgeIdle(p, 1, 0, 0, 0) }},
		"a tracker that nobody stopped": {true, func(c *bounds, p *process) { c.judgeIdle(p, 0, 1, 0, 0) }},
		"a command that nobody woke":    {true, func(c *bounds, p *process) { c.judgeIdle(p, 0, 0, 1, 0) }},
		"memory that nobody freed":      {true, func(c *bounds, p *process) { c.judgeIdle(p, 0, 0, 0, 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := bare(t)
			c.do(w.checks.bounds, w.procs[0])
			demand(t, w, map[bool]string{true: "bounds"}[c.rejected])
		})
	}
	// The real thing: a snapshot is left open.
	w := founded(t)
	w.checkIdle()
	demand(t, w, "")
	snap := w.procs[1].node.Store().NewSnapshot()
	defer snap.Close()
	w.checkIdle()
	demand(t, w, "bounds")
}

func TestDigests(t *testing.T) {
	for differ, property := range []string{"", "digests"} {
		w := bare(t)
		w.judgeDigests(w.procs[0], &engine.JobStatus{Slots: 1, Differ: differ})
		demand(t, w, property)
	}
}

// TestLog: what a node logs as an error is a violation, of the property that the text is about.
func TestLog(t *testing.T) {
	for text, property := range map[string]string{
		"the copies differ after takeover; …":     "digests",
		"the copies differ before the cutover: …": "rounds",
		"ALARM two owners":                        "alarms",
		"something else":                          "errors",
	} {
		w := founded(t)
		p := w.procs[0]
		log := slog.New(&logWatch{o: &observer{p: p, life: p.life}})
		log.Warn(text)
		slog.New(&logWatch{o: &observer{p: p, life: p.life - 1}}).Error(text) // of a life that is over
		demand(t, w, "")
		log.Error(text)
		demand(t, w, property)
	}
}

// TestReplies: a client names a reply that its command cannot have.
func TestReplies(t *testing.T) {
	for name, c := range map[string]struct {
		property string
		reply    resp.Value
	}{
		"a value":               {"", resp.Value{Kind: resp.BulkKind, Str: "1;"}},
		"try again":             {"", resp.Value{Kind: resp.ErrorKind, Str: "TRYAGAIN later"}},
		"an error of any kind":  {"replies", resp.Value{Kind: resp.ErrorKind, Str: "ERR something went wrong"}},
		"redirected to nowhere": {"replies", resp.Value{Kind: resp.ErrorKind, Str: "MOVED 1 10.9.9.9:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := founded(t)
			k := w.clients[0]
			// What was written is what the value is of.
			s := &told{t: t, w: w, in: map[string]linearize.ID{}}
			name := w.keys.tags[0] + "test"
			s.do(1, okReply, "SET", name, "1;")
			s.call("it", 1, "GET", name)
			k.argv, k.tries, k.busy = []string{"GET", name}, 1, true
			k.answered(w.net.dial(nil, w.procs[0]), s.in["it"], c.reply, nil)
			demand(t, w, c.property)
		})
	}
}
