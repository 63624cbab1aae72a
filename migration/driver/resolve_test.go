package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/host/kvrockstest"
	"godwit/migration"
)

// off takes a node's power away until on.
func (n *node) off() {
	n.w.t.Helper()
	after := n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.life++
	n.down = true
	if err := n.Close(); err != nil {
		n.w.t.Fatal(err)
	}
	n.fs = after
}

func (n *node) on() {
	n.w.t.Helper()
	n.open()
}

// resolve tells a node how a handoff ends, and returns the answer.
func (w *world) resolve(n *node, what string, lost *node) string {
	w.t.Helper()
	i := 0
	for w.nodes[i] != lost {
		i++
	}
	return w.do(n, "GODWIT", "MIGRATION", "RESOLVE", fmt.Sprint(int(testSlot)), what, string(id(i))).String()
}

// handoff is a world in which a slot of some keys goes from the first node to the second, and stands where until says.
func handoff(t *testing.T, seed uint64, until func(source, target *node) bool) (w *world, m shadow, job uint64) {
	t.Helper()
	w, m = beforeHandoff(t, seed)
	job = w.start(0, 1, testSlot)
	w.until("the handoff is there", func() bool { return until(w.nodes[0], w.nodes[1]) })
	return w, m, job
}

// beforeHandoff is a slot with some keys on the first of two nodes.
func beforeHandoff(t *testing.T, seed uint64) (w *world, m shadow) {
	t.Helper()
	w = newWorld(t, seed)
	w.born(2, quick())
	m = shadow{}
	for i := range 30 {
		m.set(w, i, fmt.Sprint("value ", i))
	}
	return w, m
}

func prepared(_, target *node) bool { return target.Record(testSlot).State == cluster.Prepared }

// decidedDurably reports whether the source would find its decision after a crash.
func decidedDurably(source, _ *node) bool { return source.stepOf(testSlot) == migration.StepCommitting }

// TestResolveAtTarget: a target that is prepared is told what counts when its source is lost: it serves, or gives the import up. If the source comes back,
// it has decided and goes by that, or has not and stops serving.
func TestResolveAtTarget(t *testing.T) {
	for _, decided := range []bool{false, true} {
		for _, what := range []string{"COMMIT", "ABORT"} {
			for seed := range uint64(6) {
				t.Run(fmt.Sprint(what, " decided ", decided, " seed ", seed), func(t *testing.T) {
					stand := prepared
					if decided {
						stand = decidedDurably
					}
					w, m, job := handoff(t, seed, stand)
					source, target := w.nodes[0], w.nodes[1]
					w.cut = source // what it has said does not arrive
					source.off()
					w.pass(100 * time.Millisecond)
					w.cut = nil
					target.crash()
					if r := target.Record(testSlot); r.State != cluster.Prepared {
						t.Fatalf("the target's record is %v", r)
					}
					if got := w.resolve(target, what, target); !strings.Contains(got, "name it") {
						t.Errorf("with another node's id: %s", got)
					}
					if got := w.resolve(target, what, source); strings.HasPrefix(got, "(error)") {
						t.Fatalf("RESOLVE: %s", got)
					}
					if seed%2 == 0 {
						target.crash() // what was told is durable
					}
					if got := w.resolve(target, what, source); !strings.Contains(got, "nothing to resolve") {
						t.Errorf("said again: %s", got)
					}
					if what == "COMMIT" {
						m.check(w, target)
						w.want(target, "OK", "SET", keyOf(1), "written after the resolution")
						m[keyOf(1)] = "written after the resolution"
					} else if r := target.Record(testSlot); r.State != cluster.Aborted {
						t.Errorf("the record after ABORT is %v", r)
					}
					source.on()
					w.pass(5 * time.Second)
					s := source.Record(testSlot)
					switch {
					case what == "COMMIT":
						m.check(w, target)
						if s.State != cluster.Released {
							t.Errorf("the source came back and its record is %v", s)
						}
						if alarms := len(source.Alarms()); (alarms > 0) == decided {
							t.Errorf("the source, which has decided: %v, raised %d alarms", decided, alarms)
						}
						if st := source.job(job); !st.State.Ended() {
							t.Errorf("the job goes on for ever: %+v", st)
						}
					case decided: // nobody serves; what the source has is all there is
						if s.State != cluster.Released || s.DataGone {
							t.Fatalf("the source's record is %v", s)
						}
						if got := w.resolve(source, "ABORT", target); strings.HasPrefix(got, "(error)") {
							t.Fatalf("RESOLVE ABORT at the source: %s", got)
						}
						m.check(w, source)
					default: // its job goes on, with another attempt
						if st := w.ended(source, job); st.State != engine.JobSuccess {
							t.Errorf("the job ended as %+v", st)
						}
						m.check(w, target)
					}
				})
			}
		}
	}
}

// TestResolveRefusedWhileTheOtherAnswers: a handoff that goes on by itself is not resolved.
func TestResolveRefusedWhileTheOtherAnswers(t *testing.T) {
	w, m, job := handoff(t, 3, prepared)
	source, target := w.nodes[0], w.nodes[1]
	if got := w.resolve(target, "ABORT", source); !strings.Contains(got, "answers") && !strings.Contains(got, "nothing to resolve") {
		t.Errorf("while the source answers: %s", got)
	}
	if st := w.ended(source, job); st.State != engine.JobSuccess {
		t.Errorf("the job ended as %+v", st)
	}
	m.check(w, target)
	if got := w.resolve(source, "ABORT", target); !strings.Contains(got, "nothing to resolve") {
		t.Errorf("after the end: %s", got)
	}
	for _, args := range [][]string{{"99999", "COMMIT", string(id(0))}, {"1", "PERHAPS", string(id(0))}, {"x", "ABORT", string(id(0))}} {
		if got := w.do(source, append([]string{"GODWIT", "MIGRATION", "RESOLVE"}, args...)...).String(); !strings.HasPrefix(got, "(error)") {
			t.Errorf("RESOLVE %q: %s", args, got)
		}
	}
}

// TestResolveAsksAgain: the other side is not taken for lost because one question, or its answer, went astray.
func TestResolveAsksAgain(t *testing.T) {
	w, m, job := handoff(t, 5, prepared)
	source, target := w.nodes[0], w.nodes[1]
	questions := 0
	w.silent = func(_ *node, args [][]byte) bool {
		msg, err := migration.DecodeMessage(args[len(args)-1])
		if err != nil {
			return false
		}
		if msg.Kind == migration.MsgAsk {
			questions++
			return questions < 3
		}
		return msg.Kind == migration.MsgPrepare || msg.Kind == migration.MsgCommit // the handoff stands still
	}
	if got := w.resolve(target, "ABORT", source); !strings.Contains(got, "answers") {
		t.Errorf("after %d questions: %s", questions, got)
	}
	w.silent = nil
	if st := w.ended(source, job); st.State != engine.JobSuccess {
		t.Errorf("the job ended as %+v", st)
	}
	m.check(w, target)
}

// TestResolveRefusedWhileTheOtherErrs: a side that answers with an error, or does not let this one in, lives, and the handoff goes on as soon as it can.
func TestResolveRefusedWhileTheOtherErrs(t *testing.T) {
	answers := map[string]error{
		"an error":            &env.RemoteError{Text: "ERR the disk has failed"},
		"a refused handshake": fmt.Errorf("%w: ERR this node speaks version 1 of the peer protocol, not 2", env.ErrNotPeer),
	}
	for name, answer := range answers {
		for _, at := range []string{"target", "source"} {
			for _, what := range []string{"COMMIT", "ABORT"} {
				t.Run(what+" at the "+at+" by "+name, func(t *testing.T) { resolveRefused(t, answer, at, what) })
			}
		}
	}
}

// resolveRefused has the other side answer everything with an error, from when the target is prepared on, and demands that RESOLVE is refused for it.
func resolveRefused(t *testing.T, answer error, at, what string) {
	stand := prepared
	if at == "source" {
		stand = decidedDurably
	}
	w, m, job := handoff(t, 4, func(source, target *node) bool {
		w := source.w
		w.refuse = func(args [][]byte) error { // nothing more is carried out
			if _, err := migration.DecodeMessage(args[len(args)-1]); err == nil && prepared(source, target) {
				return answer
			}
			return nil
		}
		return stand(source, target)
	})
	source, target := w.nodes[0], w.nodes[1]
	asks, asked := source, target
	if at == "target" {
		asks, asked = target, source
	}
	if got := w.resolve(asks, what, asked); !strings.Contains(got, "answers with an error") {
		t.Errorf("RESOLVE: %s", got)
	}
	w.refuse = nil
	if st := w.ended(source, job); st.State != engine.JobSuccess {
		t.Errorf("the job ended as %+v", st)
	}
	m.check(w, target)
}

// TestResolveKeepsTheOnlyCopy: a target that answers that it has nothing, since its directory was lost, is not taken for the new owner, whatever the
// operator says: the source serves its copy again.
func TestResolveKeepsTheOnlyCopy(t *testing.T) {
	w, m, job := handoff(t, 6, decidedDurably)
	source, target := w.nodes[0], w.nodes[1]
	w.cut = source
	w.pass(100 * time.Millisecond)
	target.wipe()
	w.cut = nil
	if got := w.resolve(source, "COMMIT", target); !strings.Contains(got, "only ABORT can be right") {
		t.Errorf("COMMIT: %s", got)
	}
	if r := source.Record(testSlot); r.State != cluster.Released || r.DataGone {
		t.Fatalf("the source's record is %v", r)
	}
	if got := w.resolve(source, "ABORT", target); strings.HasPrefix(got, "(error)") {
		t.Fatalf("ABORT: %s", got)
	}
	m.check(w, source)
	if st := w.ended(source, job); st.State != engine.JobFail {
		t.Errorf("the job ended as %+v", st)
	}
}

// TestResolveAtSource: a target that is lost after the source has decided, before or after it heard of that. The source serves its copy again, or gives it
// up; a target that comes back and served stops.
func TestResolveAtSource(t *testing.T) {
	for _, heard := range []bool{false, true} {
		for _, what := range []string{"COMMIT", "ABORT"} {
			for seed := range uint64(4) {
				t.Run(fmt.Sprint(what, " heard ", heard, " seed ", seed), func(t *testing.T) {
					w, m, job := handoff(t, seed, func(source, target *node) bool {
						source.w.silent = func(from *node, args [][]byte) bool { // no answer to commit arrives
							msg, err := migration.DecodeMessage(args[len(args)-1])
							return from == source && err == nil && msg.Kind == migration.MsgCommit
						}
						if !heard {
							return decidedDurably(source, target)
						}
						return target.Record(testSlot).State == cluster.Serving
					})
					source, target := w.nodes[0], w.nodes[1]
					if !heard {
						w.cut = source
					}
					w.pass(100 * time.Millisecond)
					target.off()
					w.silent, w.cut = nil, nil
					if seed%2 == 0 {
						source.crash()
						w.until("the source waits for the answer again", func() bool { return decidedDurably(source, target) })
					}
					if got := w.resolve(source, what, source); !strings.Contains(got, "name it") {
						t.Errorf("with another node's id: %s", got)
					}
					if got := w.resolve(source, what, target); strings.HasPrefix(got, "(error)") {
						t.Fatalf("RESOLVE: %s", got)
					}
					if seed < 2 {
						source.crash()
					}
					if what == "COMMIT" {
						if st := w.ended(source, job); st.State != engine.JobSuccess || source.Record(testSlot).State != cluster.Released {
							t.Errorf("the job ended as %+v, the record is %v", st, source.Record(testSlot))
						}
						return
					}
					m.check(w, source)
					w.want(source, "OK", "SET", keyOf(2), "written after the resolution")
					m[keyOf(2)] = "written after the resolution"
					if st := w.ended(source, job); st.State != engine.JobFail || !strings.Contains(st.Error, "resolved") || st.Memory != 0 {
						t.Errorf("the job ended as %+v", st)
					}
					target.on()
					w.pass(5 * time.Second)
					if r := target.Record(testSlot); r.State == cluster.Serving || r.State == cluster.Prepared {
						t.Errorf("the target came back and its record is %v", r)
					}
					m.check(w, source)
					if st := w.ended(source, w.start(0, 1, testSlot)); st.State != engine.JobSuccess {
						t.Errorf("a move after that ended as %+v", st)
					}
					m.check(w, target)
				})
			}
		}
	}
}

// TestKvrocksForgets: a Kvrocks that is killed when it is told to serve a slot does not remember. Nobody serves the slot until an operator says whose it
// is: the node's, which has its copy, or the Kvrocks', which is given a map.
func TestKvrocksForgets(t *testing.T) {
	for _, fate := range []kvrockstest.Fate{kvrockstest.Dies, kvrockstest.DiesLater} {
		for _, what := range []string{"COMMIT", "ABORT"} {
			t.Run(what+" "+fateNames[fate], func(t *testing.T) {
				f := fault{fmt.Sprintf("cluster import %d 1", kvSlot), 1, fate}
				w := newTwoSystems(t, f.judge())
				w.fill(false)
				w.migrate()
				w.until("an operator is asked for", func() bool { return strings.Contains(w.job().Error, "RESOLVE") })
				if what == "ABORT" {
					w.restart()
					w.until("an operator is asked for after a restart", func() bool { return strings.Contains(w.job().Error, "RESOLVE") })
				}
				if w.kv.Serves(kvSlot) {
					t.Error("the Kvrocks serves the slot")
				}
				v, err := ask(w.addr, "GODWIT", "MIGRATION", "RESOLVE", fmt.Sprint(int(kvSlot)), what, kvrocksID)
				if err != nil || strings.HasPrefix(v.String(), "(error)") {
					t.Fatalf("RESOLVE: %s, %v", v, err)
				}
				j := w.ended()
				if what == "COMMIT" {
					if j.State != engine.JobSuccess {
						t.Errorf("the job ended as %+v", j)
					}
					w.setMap(fmt.Sprintf("0-%d %d-16383", kvSlot-1, kvSlot+1), fmt.Sprint(int(kvSlot)), 3)
					if v, err := w.client().do("GET", "{t}string"); err != nil || v.Str != "v" {
						t.Errorf("after the map: %s, %v", v, err)
					}
					w.equal()
					return
				}
				w.want(`"v"`, "GET", "{t}string")
				if j.State != engine.JobFail {
					t.Errorf("the job ended as %+v", j)
				}
				w.migrate() // what the Kvrocks has is deleted first
				if j := w.ended(); j.State != engine.JobSuccess {
					t.Errorf("the second job ended as %+v", j)
				}
				w.equal()
			})
		}
	}
}

// slowNode is a handoff whose source hears nothing more from when it says prepare, so that it decides nothing, and what it says from then on does not arrive. Until a
// time, from when the target is prepared on, it answers nothing that needs its disk; what needs none it answers if lively says so.
func slowNode(t *testing.T, until time.Duration, lively bool) (w *world, m shadow, job uint64, asked *[]time.Duration) {
	t.Helper()
	w, m = beforeHandoff(t, 5)
	source, target := w.nodes[0], w.nodes[1]
	var began time.Duration
	deaf := false
	asked = &[]time.Duration{}
	w.silent = func(from *node, args [][]byte) bool {
		msg, err := migration.DecodeMessage(args[len(args)-1])
		switch {
		case from == source:
			deaf = deaf || err == nil && msg.Kind == migration.MsgPrepare
			return deaf
		case err == nil && msg.Kind == migration.MsgAsk:
			*asked = append(*asked, w.now-began)
			return w.now-began < until
		}
		return err != nil && !lively
	}
	w.refuse = func(args [][]byte) error {
		if msg, err := migration.DecodeMessage(args[len(args)-1]); deaf && err == nil && msg.Kind != migration.MsgAsk && msg.Kind != migration.MsgPrepare {
			return env.ErrTimeout
		}
		return nil
	}
	job = w.start(0, 1, testSlot)
	w.until("the target is prepared", func() bool { return prepared(source, target) })
	began = w.now
	return w, m, job, asked
}

// TestResolveIsPatient: a node that is silent for less than an operator must wait is not taken for lost, and is asked again and again, at intervals. One
// that is silent for longer is, but not if it answers something.
func TestResolveIsPatient(t *testing.T) {
	for _, c := range []struct {
		name     string
		silent   time.Duration
		lively   bool
		patience string // "" for the default
		want     string
		least    time.Duration
		most     time.Duration
	}{
		{"slow", 20 * time.Second, false, "", " answers (", 20 * time.Second, 22 * time.Second},
		{"silent", time.Hour, false, "", "is given up and deleted; keep node a", 30 * time.Second, 32 * time.Second},
		{"silent, patience set", time.Hour, false, "5s", "is given up and deleted", 5 * time.Second, 7 * time.Second},
		{"silent about the slot", time.Hour, true, "", " lives, and has not answered about slot", 30 * time.Second, 32 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m, job, asked := slowNode(t, c.silent, c.lively)
			source, target := w.nodes[0], w.nodes[1]
			target.driver().cfg.AskAfter = 2 * time.Hour // so that only RESOLVE asks
			if c.patience != "" {
				w.want(target, "OK", "CONFIG", "SET", "resolve-patience", c.patience)
			}
			began := w.now
			got := w.resolve(target, "ABORT", source)
			if took := w.now - began; !strings.Contains(got, c.want) || took < c.least || took > c.most {
				t.Errorf("after %s: %s; want %q, after %s to %s", took, got, c.want, c.least, c.most)
			}
			if n := len(*asked); n < 10 || n > 800 {
				t.Errorf("it was asked %d times", n)
			}
			if aborted := target.Record(testSlot).State == cluster.Aborted; aborted != strings.Contains(c.want, "deleted") {
				t.Errorf("it is %s at the target", target.Record(testSlot).State)
			}
			w.silent, w.refuse = nil, nil
			if st := w.ended(source, job); st.State != engine.JobSuccess { // of what was aborted, with another attempt
				t.Errorf("the job ended as %+v", st)
			}
			m.check(w, target)
		})
	}
}

// TestResolveAbortsNothingServed: a source that cannot be asked, and can reach its target, says commit while the target asks; then the target does not say that
// it has given the import up.
func TestResolveAbortsNothingServed(t *testing.T) {
	w, m, job := handoff(t, 5, prepared)
	source, target := w.nodes[0], w.nodes[1]
	w.silent = func(from *node, _ [][]byte) bool { return from == target }
	if got := w.resolve(target, "ABORT", source); !strings.Contains(got, "it is serving here") {
		t.Errorf("the answer is %q, and the slot is %s", got, target.Record(testSlot).State)
	}
	w.silent = nil
	if st := w.ended(source, job); st.State != engine.JobSuccess {
		t.Errorf("the job ended as %+v", st)
	}
	m.check(w, target)
}

// TestResolveOneAtATime: while an order about a slot is carried out, another is refused; after it the slot is no longer to be resolved.
func TestResolveOneAtATime(t *testing.T) {
	for _, c := range []struct {
		stand  func(source, target *node) bool
		at     int // whom the operator tells
		orders [2]engine.Resolution
	}{
		{prepared, 1, [2]engine.Resolution{engine.ResolveCommit, engine.ResolveAbort}},
		{prepared, 1, [2]engine.Resolution{engine.ResolveCommit, engine.ResolveCommit}},
		{decidedDurably, 0, [2]engine.Resolution{engine.ResolveAbort, engine.ResolveAbort}},
		{decidedDurably, 0, [2]engine.Resolution{engine.ResolveCommit, engine.ResolveAbort}},
	} {
		t.Run(fmt.Sprint(c.at, c.orders), func(t *testing.T) {
			w, _, _ := handoff(t, 5, c.stand)
			here, lost := w.nodes[c.at], w.nodes[1-c.at]
			w.cut = lost
			lost.off()
			var answers [3]string
			order := func(i int, what engine.Resolution) {
				here.driver().Resolve(testSlot, what, id(1-c.at), func(text string, err error) { answers[i] = fmt.Sprint(text, err) })
			}
			order(0, c.orders[0])
			w.pass(5 * time.Second)
			order(1, c.orders[1])
			w.pass(time.Second)
			if want := "is being resolved already"; answers[0] != "" || !strings.Contains(answers[1], want) {
				t.Errorf("while it asks: %q, want nothing and %q", answers[:2], want)
			}
			w.pass(time.Minute)
			if !strings.HasSuffix(answers[0], "<nil>") {
				t.Errorf("the first order: %q", answers[0])
			}
			order(2, c.orders[1])
			w.pass(time.Minute)
			if want := "there is nothing to resolve"; !strings.Contains(answers[2], want) {
				t.Errorf("a later order: %q, want %q", answers[2], want)
			}
		})
	}
}

// TestResolveAsksNobodyUnknown: a node that is not in the map cannot be asked, and may be well: it does not count as lost.
func TestResolveAsksNobodyUnknown(t *testing.T) {
	for _, asking := range []bool{false, true} { // whether it goes from the map while it is asked
		w, m, job, _ := slowNode(t, time.Hour, false)
		source, target := w.nodes[0], w.nodes[1]
		target.driver().cfg.AskAfter = 2 * time.Hour
		setMap := func(version int) {
			w.want(target, "OK", "CLUSTERX", "SETNODES", string(id(1))+" 127.0.0.1 7001 master - 0-16383", fmt.Sprint(version), "FORCE")
		}
		var got string
		if !asking {
			setMap(99)
		}
		target.driver().Resolve(testSlot, engine.ResolveCommit, id(0), func(text string, err error) { got = fmt.Sprint(text, err) })
		if asking {
			w.pass(5 * time.Second)
			setMap(99)
		}
		w.pass(time.Minute)
		if want := "is not in the cluster map here, so it cannot be asked"; !strings.Contains(got, want) || !prepared(source, target) {
			t.Errorf("gone while it is asked %v: %q, want %q; the slot is %s", asking, got, want, target.Record(testSlot).State)
		}
		w.silent, w.refuse = nil, nil
		if st := w.ended(source, job); st.State != engine.JobSuccess {
			t.Errorf("the job ended as %+v", st)
		}
		m.check(w, target)
	}
}

// TestWaiting: what waits for another node is listed where it waits, from the first message of its move to the end, and says from when on it can be resolved.
func TestWaiting(t *testing.T) {
	for _, c := range []struct {
		name  string
		stand func(source, target *node) bool
		at    int // the node that waits; -1: none
		want  engine.WaitingSlot
	}{
		{"nothing moves", func(source, _ *node) bool { return source.stepOf(testSlot) == migration.StepCleaning }, -1, engine.WaitingSlot{}},
		{"it arrives", func(_, target *node) bool { return target.Record(testSlot).State == cluster.Importing }, 1,
			engine.WaitingSlot{State: "importing", Epoch: 1, Other: id(0)}},
		{"prepared", prepared, 1, engine.WaitingSlot{State: "prepared", Epoch: 1, Other: id(0), Resolvable: true}},
		{"decided", decidedDurably, 0, engine.WaitingSlot{State: "released", Epoch: 2, Other: id(1), Resolvable: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m, job := handoff(t, 7, c.stand)
			source, target := w.nodes[0], w.nodes[1]
			for i, n := range w.nodes {
				got := n.driver().Waiting()
				if i != c.at {
					if i == 1 && c.name == "decided" { // is prepared still
						continue
					}
					if len(got) > 0 {
						t.Errorf("node %d lists %+v", i, got)
					}
					continue
				}
				c.want.Slot, c.want.Job = uint16(testSlot), n.Record(testSlot).Job.String()
				if len(got) != 1 || got[0] != c.want {
					t.Errorf("node %d lists %+v, want %+v", i, got, c.want)
				}
			}
			if st := w.ended(source, job); st.State != engine.JobSuccess {
				t.Errorf("the job ended as %+v", st)
			}
			m.check(w, target)
			for i, n := range w.nodes {
				if got := n.driver().Waiting(); len(got) > 0 {
					t.Errorf("at the end node %d lists %+v", i, got)
				}
			}
		})
	}
}
