package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/store"
	"godwit/linearize"
)

// exec records a transaction of a client and its answer.
func (s *told) exec(client int, r linearize.Reply, commands ...[]string) {
	s.t.Helper()
	s.callExec("it", client, commands...)
	s.answer("it", r)
}

// callExec begins one.
func (s *told) callExec(name string, client int, commands ...[]string) {
	s.t.Helper()
	s.w.now += time.Millisecond
	op, err := linearize.Transaction(commands...)
	if err != nil {
		s.t.Fatal(err)
	}
	op.Client, op.Call = client, int64(s.w.now)
	if s.in[name], err = s.w.history.Begin(op); err != nil {
		s.t.Fatal(err)
	}
}

// TestSessionsOfTransactions: what transactions write and show counts like what commands do, and what has not run does not.
func TestSessionsOfTransactions(t *testing.T) {
	set := func(v string) []string { return []string{"SET", "k", v} }
	get := []string{"GET", "k"}
	for name, c := range map[string]struct {
		rejected bool
		do       func(s *told)
	}{
		"reads what a transaction wrote": {false, func(s *told) {
			s.exec(1, linearize.Array(okReply, linearize.Bulk("1;")), set("1;"), get)
			s.do(2, linearize.Bulk("1;"), "GET", "k")
		}},
		"does not": {true, func(s *told) {
			s.exec(1, linearize.Array(okReply, okReply), set("1;"), []string{"SET", "l", "2;"})
			s.do(2, linearize.Nil(), "GET", "k")
		}},
		"does not, nothing having run": {false, func(s *told) {
			s.exec(1, linearize.Nil(), set("1;"))
			s.do(2, linearize.Nil(), "GET", "k")
		}},
		"does not, having been refused": {false, func(s *told) {
			s.exec(1, linearize.Error("EXECABORT because"), set("1;"))
			s.do(2, linearize.Nil(), "GET", "k")
		}},
		"is shown what a transaction that was nil would have written": {true, func(s *told) {
			s.exec(1, linearize.Nil(), set("1;"))
			s.do(2, linearize.Bulk("1;"), "GET", "k")
		}},
		"a transaction shows what was overwritten": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.do(1, okReply, "SET", "k", "2;")
			s.exec(2, linearize.Array(linearize.Bulk("1;"), okReply), get, set("3;"))
		}},
		"an open one may come late": {false, func(s *told) {
			s.callExec("open", 1, set("1;"), get)
			s.do(2, linearize.Nil(), "GET", "k")
			s.do(2, linearize.Bulk("1;"), "GET", "k")
		}},
		"each reply is of its own command": {true, func(s *told) {
			s.do(1, okReply, "SET", "k", "1;")
			s.exec(1, linearize.Array(linearize.Int(0), okReply), []string{"SETNX", "k", "2;"}, []string{"SET", "l", "3;"})
			s.do(2, linearize.Bulk("2;"), "GET", "k")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t)
			c.do(s)
			demand(t, s.w, map[bool]string{true: "sessions"}[c.rejected])
		})
	}
}

// TestWatched: what was read of a watched key must hold when EXEC runs, and judging that needs no more than the history.
func TestWatched(t *testing.T) {
	for property, changed := range map[string]bool{"": false, "linearizable": true} {
		s := tell(t)
		s.do(1, linearize.Int(1), "RPUSH", "k", "1;")
		s.do(1, linearize.Bulks("1;"), "LRANGE", "k", "0", "-1")
		if changed {
			s.do(2, linearize.Int(2), "RPUSH", "k", "2;")
		}
		n := linearize.Int(map[bool]int64{false: 2, true: 3}[changed])
		s.exec(1, linearize.Array(linearize.Bulks("1;"), n), []string{"LRANGE", "k", "0", "-1"}, []string{"RPUSH", "k", "3;"})
		s.w.checkHistory()
		demand(t, s.w, property)
	}
}

func TestWatch(t *testing.T) {
	ran, none := resp.Value{Kind: resp.ArrayKind}, resp.Value{Kind: resp.NullKind}
	for name, c := range map[string]struct {
		property string
		watched  bool
		arrived  cluster.Epoch
		answer   resp.Value
	}{
		"under the same epoch":              {"", true, 5, ran},
		"under another":                     {"watch", true, 6, ran},
		"under another, and nothing ran":    {"", true, 6, none},
		"under another, without watching":   {"", false, 6, ran},
		"an error, with the slot somewhere": {"", true, 6, resp.Value{Kind: resp.ErrorKind, Str: "MOVED 1 n:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := bare(t)
			tx := &transaction{commands: [][]string{{"INCR", "k"}}, epoch: 5, arrived: c.arrived}
			if c.watched {
				tx.watched = [][]string{{"GET", "k"}}
			}
			w.checks.watches.answered(tx, w.procs[0], w.keys.slots[0], c.answer)
			demand(t, w, c.property)
		})
	}
}

// TestExecReplies: EXEC is answered by as many replies as there are commands, by nil only if something is watched, or by an error that says
// that nothing has run.
func TestExecReplies(t *testing.T) {
	array := func(kinds ...resp.Kind) resp.Value {
		v := resp.Value{Kind: resp.ArrayKind}
		for _, k := range kinds {
			v.Elems = append(v.Elems, resp.Value{Kind: k, Str: "WRONGTYPE of it"})
		}
		return v
	}
	for name, c := range map[string]struct {
		good    bool
		watched bool
		answer  resp.Value
	}{
		"two replies":       {true, false, array(resp.BulkKind, resp.ErrorKind)},
		"one":               {false, false, array(resp.BulkKind)},
		"nil":               {false, false, resp.Value{Kind: resp.NullKind}},
		"nil, watching":     {true, true, resp.Value{Kind: resp.NullKind}},
		"moved":             {true, false, resp.Value{Kind: resp.ErrorKind, Str: "MOVED 1 n:1"}},
		"an error":          {false, false, resp.Value{Kind: resp.ErrorKind, Str: "ERR EXEC without MULTI"}},
		"a value":           {false, false, resp.Value{Kind: resp.BulkKind, Str: "1;"}},
		"an error among it": {false, false, resp.Value{Kind: resp.ArrayKind, Elems: []resp.Value{{Kind: resp.BulkKind}, {Kind: resp.ErrorKind, Str: "ERR what"}}}},
	} {
		tx := &transaction{commands: [][]string{{"GET", "k"}, {"GET", "k"}}}
		if c.watched {
			tx.watched, tx.seen = [][]string{{"GET", "k"}}, []linearize.Reply{linearize.Nil()}
		}
		if _, good := tx.reply(c.answer); good != c.good {
			t.Errorf("%s: %v, want %v", name, good, c.good)
		}
	}
}

// TestPauseOfWaits: a command may wait for a key where its slot is served, for any time, and no more than a moment where the slot has left.
func TestPauseOfWaits(t *testing.T) {
	for name, c := range map[string]struct {
		property string
		state    cluster.State
		waited   time.Duration
	}{
		"where it is served":     {"", cluster.Serving, time.Minute},
		"the slot has just left": {"", cluster.Released, awakeWithin},
		"the slot has left":      {"pause", cluster.Released, awakeWithin + 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := founded(t)
			sl := w.keys.slots[0]
			owner := w.owner(sl)
			conn := w.net.dial(nil, owner)
			k := &call{conn: conn, args: toArgs(w.net, []string{"BLPOP", w.keys.tags[0] + "nothing", "60"}), done: func(resp.Value, error) {}}
			conn.send(k)
			w.runUntil(w.now+time.Second, func() bool { return conn.session != nil && conn.session.WaitsForKey() })
			owner.records[sl] = cluster.Record{State: c.state, Epoch: 1}
			w.checks.pauses.since[owner.index][sl] = w.now
			w.now += c.waited
			w.checks.pauses.look(owner, owner.life, &conn.served[0])
			demand(t, w, c.property)
		})
	}
}

// TestWorkload: the workload of seeds has what they are said to have, all of it is modelled, and the settings switch it.
func TestWorkload(t *testing.T) {
	for _, kinds := range []int{0, withAll} {
		s := crashSwarm()
		s.kinds, s.expiry = kinds, true
		if kinds != 0 {
			s.transactions, s.blocking = 0.3, 0.3
		}
		w := newWorldOf(1, s, store.NewCaches(), nil)
		d := newDice(1, 1, 1)
		found := map[string]int{}
		for range 6000 {
			e := w.drawErrand(d, d.IntN(len(w.keys.slots)))
			commands := [][]string{e.argv}
			if e.tx != nil {
				commands = append(slices.Clone(e.tx.watched), e.tx.commands...)
				found["EXEC"]++
				if len(e.tx.watched) > 0 {
					found["WATCH"]++
				}
			}
			for _, argv := range commands {
				found[argv[0]]++
				if op, err := linearize.Command(argv...); err != nil {
					t.Fatalf("%q: %v", argv, err)
				} else if slots := slotsOf(op.Keys()); len(slots) != 1 {
					t.Fatalf("%q is on slots %v", argv, slots)
				}
			}
		}
		for _, name := range []string{
			"EXEC", "WATCH", "BLPOP", "BRPOP", "BLMOVE", "BZPOPMIN", "HSET", "HGETALL", "HINCRBY", "LPUSH", "RPUSH", "LRANGE", "LMOVE", "LREM", "LTRIM", "SADD", "SREM",
			"SMEMBERS", "SMOVE", "ZADD", "ZINCRBY", "ZRANGE", "ZPOPMIN", "COPY", "TYPE", "EXPIRE",
		} {
			if (found[name] > 0) != (kinds != 0) {
				t.Errorf("kinds %d: %s was drawn %d times", kinds, name, found[name])
			}
		}
	}
}

func slotsOf(names []string) (slots []string) {
	for _, name := range names {
		if tag := fmt.Sprintf("%.4s", name); !slices.Contains(slots, tag) {
			slots = append(slots, tag)
		}
	}
	return slots
}
