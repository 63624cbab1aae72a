package migration

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/engine/cluster"
)

// The rules of the target are a function of its record, its cursor and a message. The matrix below is all of it that can be told
// apart: each state of the record against each message, as the golden file target-rules.golden shows; the properties after it
// say what must hold in every cell, whatever the numbers are.

var (
	ruleHash  = cluster.RunningHash{1}
	otherHash = cluster.RunningHash{2}
	ruleJob   = cluster.JobID{Node: "source", Incarnation: 1, Counter: 3}
	olderJob  = cluster.JobID{Node: "source", Incarnation: 1, Counter: 2}
	newerJob  = cluster.JobID{Node: "source", Incarnation: 1, Counter: 4}
	wipedJob  = cluster.JobID{Node: "source", Incarnation: 2, Counter: 9} // the same node, another directory
	otherJob  = cluster.JobID{Node: "other", Incarnation: 5, Counter: 1}
)

// ruleRecords are what a target can find, seen from attempt 2 of ruleJob under epoch 5.
func ruleRecords() []struct {
	name string
	t    Target
} {
	cursor := Cursor{Attempt: 2, Seq: 3, Hash: ruleHash}
	record := func(s cluster.State, e cluster.Epoch, j cluster.JobID, a cluster.Attempt) cluster.Record {
		return cluster.Record{State: s, Epoch: e, Job: j, Attempt: a, Peer: j.Node}
	}
	prepared := record(cluster.Prepared, 5, ruleJob, 2)
	prepared.Final, prepared.Hash = 3, ruleHash
	return []struct {
		name string
		t    Target
	}{
		{"none", Target{}},
		{"serving 4", Target{Record: record(cluster.Serving, 4, cluster.JobID{}, 0)}},
		{"serving 6, by this attempt", Target{Record: record(cluster.Serving, 6, ruleJob, 2)}},
		{"importing, this attempt, at 3", Target{Record: record(cluster.Importing, 5, ruleJob, 2), Cursor: cursor}},
		{"importing, attempt 1", Target{Record: record(cluster.Importing, 5, ruleJob, 1), Cursor: Cursor{Attempt: 1, Seq: 9}}},
		{"importing, attempt 3", Target{Record: record(cluster.Importing, 5, ruleJob, 3), Cursor: Cursor{Attempt: 3, Seq: 1}}},
		{"importing, older job", Target{Record: record(cluster.Importing, 5, olderJob, 7)}},
		{"importing, newer job", Target{Record: record(cluster.Importing, 5, newerJob, 1)}},
		{"importing, other source, epoch 4", Target{Record: record(cluster.Importing, 4, otherJob, 1)}},
		{"importing, other source, epoch 5", Target{Record: record(cluster.Importing, 5, otherJob, 1)}},
		{"importing, wiped source, epoch 5", Target{Record: record(cluster.Importing, 5, wipedJob, 1)}},
		{"prepared, this attempt, 3 messages", Target{Record: prepared, Cursor: cursor}},
		{"prepared, attempt 1", Target{Record: record(cluster.Prepared, 5, ruleJob, 1)}},
		{"prepared, other source, epoch 6", Target{Record: record(cluster.Prepared, 6, otherJob, 1)}},
		{"released 5", Target{Record: record(cluster.Released, 5, cluster.JobID{Node: "target", Counter: 1}, 1)}},
		{"released 6", Target{Record: record(cluster.Released, 6, cluster.JobID{Node: "target", Counter: 1}, 1)}},
		{"aborted, attempt 1", Target{Record: record(cluster.Aborted, 5, ruleJob, 1)}},
		{"aborted, attempt 3", Target{Record: record(cluster.Aborted, 5, ruleJob, 3)}},
		{"aborted, other source, epoch 5", Target{Record: record(cluster.Aborted, 5, otherJob, 3)}},
	}
}

// ruleMessages are the messages of attempt 2 of ruleJob, under epoch 5.
func ruleMessages() []struct {
	name string
	m    Message
} {
	m := func(k MessageKind, seq uint64, hash cluster.RunningHash) Message {
		return Message{Kind: k, Slot: 5, Job: ruleJob, Attempt: 2, Epoch: 5, Seq: seq, Hash: hash, Body: []byte("body")}
	}
	fresh := m(MsgStart, 0, cluster.RunningHash{})
	fresh.Fresh = true
	commit, wrongCommit := m(MsgCommit, 0, cluster.RunningHash{}), m(MsgCommit, 0, cluster.RunningHash{})
	commit.Epoch, wrongCommit.Epoch = 6, 7
	return []struct {
		name string
		m    Message
	}{
		{"start, fresh", fresh},
		{"start", m(MsgStart, 0, cluster.RunningHash{})},
		{"data 3, again", m(MsgData, 3, cluster.RunningHash{})},
		{"data 4, next", m(MsgData, 4, cluster.RunningHash{})},
		{"data 5, gap", m(MsgData, 5, cluster.RunningHash{})},
		{"prepare 3", m(MsgPrepare, 3, ruleHash)},
		{"prepare 3, other hash", m(MsgPrepare, 3, otherHash)},
		{"prepare 2", m(MsgPrepare, 2, ruleHash)},
		{"prepare 4", m(MsgPrepare, 4, ruleHash)},
		{"commit 6", commit},
		{"commit 7", wrongCommit},
		{"abort", m(MsgAbort, 0, cluster.RunningHash{})},
		{"ask", m(MsgAsk, 0, cluster.RunningHash{})},
	}
}

func showVerdict(v Verdict) string {
	words := []string{v.Reply.Kind.String()}
	add := func(set bool, word string) {
		if set {
			words = append(words, word)
		}
	}
	add(v.Reply.Fresh, "fresh")
	add(v.Reply.Kind == ReplyAck || v.Reply.Kind == ReplyGap || v.Reply.Kind == ReplyPrepared, fmt.Sprintf("seq=%d", v.Reply.Seq))
	add(v.Reply.Kind == ReplyServing || v.Reply.Kind == ReplyCommitted, fmt.Sprintf("epoch=%d", v.Reply.Epoch))
	add(v.Wipe, "WIPE")
	add(v.Apply, "apply")
	add(v.Check, "check")
	if v.Cursor != nil {
		words = append(words, fmt.Sprintf("cursor=%d/%d", v.Cursor.Attempt, v.Cursor.Seq))
	}
	if v.Record != nil {
		words = append(words, fmt.Sprintf("-> %s %d %s/%d", v.Record.State, v.Record.Epoch, v.Record.Job, v.Record.Attempt))
	}
	add(v.TakeOver, "TAKEOVER")
	add(v.Drop, "drop")
	add(v.Reply.Text != "", "("+v.Reply.Text+")")
	return strings.Join(words, " ")
}

func TestTargetRules(t *testing.T) {
	var out strings.Builder
	out.WriteString("# What a target does with the messages of attempt 2 of job source-3, under epoch 5, by what its record says.\n")
	for _, r := range ruleRecords() {
		fmt.Fprintf(&out, "\n%s\n", r.name)
		for _, m := range ruleMessages() {
			fmt.Fprintf(&out, "    %-22s %s\n", m.name, showVerdict(r.t.Handle("source", m.m)))
		}
	}
	golden(t, "testdata/target-rules.golden", out.String())
}

// TestTargetBusy: a target that has no room refuses what would make it hold more, doing nothing about it, and nothing else: neither a later
// attempt of an import that it has, nor what it is told again, nor what writers wait for.
func TestTargetBusy(t *testing.T) {
	for _, r := range ruleRecords() {
		for _, m := range ruleMessages() {
			free := r.t.Handle("source", m.m)
			full := r.t
			full.Busy = "no room"
			v := full.Handle("source", m.m)
			live := r.t.Record.State == cluster.Importing || r.t.Record.State == cluster.Prepared
			brings := free.Apply || free.Reply.Kind == ReplyStarted && !(live && r.t.Record.Job == ruleJob)
			if brings && (v.Reply.Kind != ReplyBusy || v.Reply.Text != "no room" || v.Wipe || v.Apply || v.Check || v.Record != nil || v.Cursor != nil || v.Drop) {
				t.Errorf("%s, %s: %s", r.name, m.name, showVerdict(v))
			}
			if !brings && showVerdict(v) != showVerdict(free) {
				t.Errorf("%s, %s: %s, and %s without being busy", r.name, m.name, showVerdict(v), showVerdict(free))
			}
			m.m.Urgent = true
			if v := full.Handle("source", m.m); free.Apply && showVerdict(v) != showVerdict(free) {
				t.Errorf("%s, %s, urgent: %s", r.name, m.name, showVerdict(v))
			}
		}
	}
}

// TestTargetRefusesStrangers: a message counts only on a link with the node that made the job.
func TestTargetRefusesStrangers(t *testing.T) {
	for _, r := range ruleRecords() {
		for _, m := range ruleMessages() {
			v := r.t.Handle("stranger", m.m)
			if v.Reply.Kind != ReplyRefused || v.Wipe || v.Apply || v.Record != nil || v.Cursor != nil {
				t.Errorf("%s, %s: %s", r.name, m.name, showVerdict(v))
			}
		}
	}
}

// TestTargetOrder: a start is accepted over a live import exactly when it is greater.
func TestTargetOrder(t *testing.T) {
	live := []cluster.State{cluster.Importing, cluster.Prepared, cluster.Aborted}
	for _, c := range []struct {
		name    string
		job     cluster.JobID
		attempt cluster.Attempt
		epoch   cluster.Epoch
		want    bool
	}{
		{"older job, later attempt, greater epoch", olderJob, 99, 9, false},
		{"earlier attempt", ruleJob, 1, 5, false},
		{"later attempt", ruleJob, 3, 5, true},
		{"newer job", newerJob, 1, 5, true},
		{"other source, lower epoch", otherJob, 9, 4, false},
		{"other source, equal epoch", otherJob, 9, 5, false},
		{"other source, greater epoch", otherJob, 1, 6, true},
		{"wiped source, equal epoch", wipedJob, 9, 5, false},
		{"wiped source, greater epoch", wipedJob, 1, 6, true},
	} {
		for _, state := range live {
			tg := Target{Record: cluster.Record{State: state, Epoch: 5, Job: ruleJob, Attempt: 2}}
			v := tg.Handle(c.job.Node, Message{Kind: MsgStart, Slot: 5, Job: c.job, Attempt: c.attempt, Epoch: c.epoch})
			if got := v.Reply.Kind == ReplyStarted; got != c.want {
				t.Errorf("%s over %s: %s", c.name, state, showVerdict(v))
			}
			if (v.Record != nil) != c.want {
				t.Errorf("%s over %s: a refused start changes the record", c.name, state)
			}
		}
	}
}

// TestTargetInvariants draws records and messages at random and checks what no cell may break.
func TestTargetInvariants(t *testing.T) {
	jobs := []cluster.JobID{ruleJob, olderJob, newerJob, wipedJob, otherJob}
	rapid.Check(t, func(t *rapid.T) {
		job := func(label string) cluster.JobID { return rapid.SampledFrom(jobs).Draw(t, label) }
		small := func(label string) int { return rapid.IntRange(0, 4).Draw(t, label) }
		hash := rapid.SampledFrom([]cluster.RunningHash{ruleHash, otherHash})
		r := cluster.Record{
			State: cluster.State(rapid.IntRange(0, int(cluster.Aborted)).Draw(t, "state")), Epoch: cluster.Epoch(small("epoch")), Job: job("job"),
			Attempt: cluster.Attempt(small("attempt")), Final: uint64(small("final")), Hash: hash.Draw(t, "final hash"),
		}
		tg := Target{Record: r, Cursor: Cursor{Attempt: r.Attempt, Seq: uint64(small("cursor")), Hash: hash.Draw(t, "hash"), Fresh: rapid.Bool().Draw(t, "fresh")}, Incarnation: 7, Busy: rapid.SampledFrom([]string{"", "no room"}).Draw(t, "busy")}
		m := Message{
			Kind: MessageKind(rapid.IntRange(1, int(MsgAsk)).Draw(t, "kind")), Job: job("message's job"), Attempt: cluster.Attempt(small("message's attempt")),
			Epoch: cluster.Epoch(small("message's epoch")), Seq: uint64(small("seq")), Hash: hash.Draw(t, "message's hash"), Fresh: rapid.Bool().Draw(t, "asks for fresh"), Body: []byte("b"),
		}
		v := tg.Handle(m.Job.Node, m)
		text := fmt.Sprintf("%+v\n%+v\n%s", tg, m, showVerdict(v))
		same := r.Job == m.Job && r.Attempt == m.Attempt
		live := r.State == cluster.Importing || r.State == cluster.Prepared
		switch {
		case r.State == cluster.Serving && (v.Record != nil || v.Wipe || v.Apply || v.Cursor != nil):
			t.Fatalf("a message changes a slot that is served\n%s", text)
		case v.TakeOver && (m.Kind != MsgCommit || r.State != cluster.Prepared || !same || v.Record == nil || v.Record.State != cluster.Serving || v.Record.Epoch != r.Epoch+1):
			t.Fatalf("taken over without a commit of what was prepared\n%s", text)
		case v.Record != nil && v.Record.State == cluster.Serving && !v.TakeOver:
			t.Fatalf("serves without taking over\n%s", text)
		case v.Apply && (m.Kind != MsgData || r.State != cluster.Importing || !same || m.Seq != tg.Cursor.Seq+1 || v.Cursor == nil || v.Cursor.Seq != m.Seq):
			t.Fatalf("applied out of order\n%s", text)
		case v.Wipe && m.Kind != MsgStart && !(m.Kind == MsgAbort && live && r.Job == m.Job):
			t.Fatalf("wiped by a message that may not\n%s", text)
		case v.Wipe && v.Record == nil:
			t.Fatalf("wiped without a record that says why\n%s", text)
		case r.State == cluster.Prepared && v.Record != nil && m.Kind != MsgStart && r.Job != m.Job:
			t.Fatalf("prepared for one job and changed by another\n%s", text)
		case r.State == cluster.Released && v.Record != nil && (m.Kind != MsgStart || m.Epoch < r.Epoch):
			t.Fatalf("a released slot comes back by something else than a start under its owner's epoch\n%s", text)
		case v.Reply.Kind == ReplyPrepared && v.Record != nil && (m.Seq != tg.Cursor.Seq || m.Hash != tg.Cursor.Hash):
			t.Fatalf("prepared without what the source sent\n%s", text)
		case v.Reply.Incarnation != 7 || v.Reply.Attempt != m.Attempt:
			t.Fatalf("the answer does not say who and to what\n%s", text)
		}
		// The same message again, after the verdict was carried out, changes nothing more and is answered alike.
		after := tg
		if v.Record != nil {
			after.Record = *v.Record
		}
		if v.Cursor != nil {
			after.Cursor = *v.Cursor
		}
		again := after.Handle(m.Job.Node, m)
		if again.Wipe || again.Apply || again.Record != nil && *again.Record != after.Record || again.Reply.Kind != v.Reply.Kind {
			t.Fatalf("the same message again: %s\n%s", showVerdict(again), text)
		}
	})
}

// TestAnswer is what a source says of an attempt to the target that asks, in each state of its record.
func TestAnswer(t *testing.T) {
	released := cluster.Record{State: cluster.Released, Epoch: 6, Job: ruleJob, Attempt: 2, Peer: "target"}
	other := released
	other.Job = newerJob
	for _, c := range []struct {
		name  string
		r     cluster.Record
		live  bool
		asker cluster.NodeID
		m     Message
		want  ReplyKind
	}{
		{"released to the asker in that attempt", released, false, "target", Message{Job: ruleJob, Attempt: 2}, ReplyDecided},
		{"even if the job is thought live", released, true, "target", Message{Job: ruleJob, Attempt: 2}, ReplyDecided},
		{"released in another attempt", released, true, "target", Message{Job: ruleJob, Attempt: 1}, ReplyDead},
		{"released to somebody else", released, true, "stranger", Message{Job: ruleJob, Attempt: 2}, ReplyDead},
		{"released by another job", other, false, "target", Message{Job: ruleJob, Attempt: 2}, ReplyDead},
		{"not decided", cluster.Record{State: cluster.Serving, Epoch: 5}, true, "target", Message{Job: ruleJob, Attempt: 2}, ReplyPending},
		{"given up", cluster.Record{State: cluster.Serving, Epoch: 5}, false, "target", Message{Job: ruleJob, Attempt: 2}, ReplyDead},
	} {
		r := Answer(c.r, c.live, c.asker, c.m)
		if r.Kind != c.want || r.Attempt != c.m.Attempt || r.Kind == ReplyDecided && r.Epoch != 6 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	var c Config
	if err := c.Validate(); err != nil || c.WindowBytes != 8<<20 || c.LagBytes != 256<<10 || c.Pauses != 20 {
		t.Errorf("defaults %+v, %v", c, err)
	}
	for _, bad := range []Config{{WindowBytes: -1}, {RetryMin: -1}, {RetryMin: 2, RetryMax: 1}, {PauseDeadline: -1}, {LagBytes: -1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
