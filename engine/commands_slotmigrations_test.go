package engine

import (
	"strings"
	"testing"

	"godwit/engine/cluster"
)

// TestSlotMigrationsRefuse is what the verbs of Valkey 9 and Redis 8.4 refuse: nothing is begun.
func TestSlotMigrationsRefuse(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-199", "c 200-16383")
	a, b, z := string(id("a")), string(id("b")), string(id("z"))
	c := nodes[0].client()
	for _, x := range []struct{ command, want string }{
		{"CLUSTER MIGRATESLOTS", "(error) ERR wrong number of arguments for 'cluster|migrateslots' command"},
		{"CLUSTER MIGRATESLOTS 0 5 NODE " + b, "(error) ERR syntax error"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE NODE " + b, "(error) ERR No slot ranges specified"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0", "(error) ERR No end slot for final slot range"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 NODE " + b, "(error) ERR Invalid or out of range slot"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 16384 NODE " + b, "(error) ERR Invalid or out of range slot"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 5 4 NODE " + b, "(error) ERR Start slot number 5 is greater than end slot number 4."},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 5 9 NODE " + b, "(error) ERR Slot range 5-9 overlaps with a previous range."},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE " + b + " SLOTSRANGE 5 9 NODE " + b, "(error) ERR Slot ranges in migrations overlap"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 99 100 NODE " + b, "(error) ERR Slots are not served by this node."},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5", "(error) ERR syntax error"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE", "(error) ERR syntax error"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE b", "(error) ERR Invalid node name: b"},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE " + z, "(error) ERR Unknown node name: " + z},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE " + a, "(error) ERR Target node can not be this node."},
		{"CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE " + b + " SLOTSRANGE 6 7 NODE " + z, "(error) ERR Unknown node name: " + z},
		{"CLUSTER GETSLOTMIGRATIONS", "[]"},
		{"CLUSTER CANCELSLOTMIGRATIONS", "(error) ERR No migrations ongoing"},
		{"CLUSTER MIGRATION IMPORT", "(error) ERR wrong number of arguments for 'cluster|migration' command"},
		{"CLUSTER MIGRATION IMPORT 100", "(error) ERR wrong number of arguments for 'cluster|migration' command"},
		{"CLUSTER MIGRATION IMPORT 100 x", "(error) ERR Invalid or out of range slot"},
		{"CLUSTER MIGRATION IMPORT 100 101 x 102", "(error) ERR Invalid or out of range slot"},
		{"CLUSTER MIGRATION IMPORT 101 100", "(error) ERR Start slot number 101 is greater than end slot number 100."},
		{"CLUSTER MIGRATION IMPORT 0 1", "(error) ERR this node is already the owner of the slot range"},
		{"CLUSTER MIGRATION IMPORT 199 200", "(error) ERR slots belong to different source nodes"},
		{"CLUSTER MIGRATION STATUS", "(error) ERR wrong number of arguments for 'cluster|migration' command"},
		{"CLUSTER MIGRATION STATUS ALL x", "(error) ERR wrong number of arguments for 'cluster|migration' command"},
		{"CLUSTER MIGRATION STATUS ID", "(error) ERR wrong number of arguments for 'cluster|migration' command"},
		{"CLUSTER MIGRATION STATUS x", "(error) ERR unknown argument"},
		{"CLUSTER MIGRATION STATUS ID x", "[]"},
		{"CLUSTER MIGRATION STATUS ALL", "[]"},
		{"CLUSTER MIGRATION CANCEL ID x", "0"},
		{"CLUSTER MIGRATION CANCEL ALL", "0"},
		{"CLUSTER MIGRATION EXPORT ALL", "(error) ERR unknown argument"},
	} {
		c.want(x.want, strings.Fields(x.command)...)
	}
	for i, n := range nodes {
		if len(n.mig.jobs) > 0 {
			t.Errorf("node %d has jobs: %v", i, n.mig.jobs)
		}
	}
}

// fields is a reply that is a map, as names and values in words.
func fieldsOf(t *testing.T, c *testClient, at int, args ...string) map[string]string {
	t.Helper()
	v := c.do(args...)
	if at >= len(v.Elems) {
		t.Fatalf("%q: %s", args, v)
	}
	out := map[string]string{}
	for i := 0; i+1 < len(v.Elems[at].Elems); i += 2 {
		out[v.Elems[at].Elems[i].Str] = v.Elems[at].Elems[i+1].String()
	}
	return out
}

func wantFields(t *testing.T, got map[string]string, count int, want map[string]string) {
	t.Helper()
	if len(got) != count {
		t.Errorf("%d fields: %v", len(got), got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %s, want %s", k, got[k], v)
		}
	}
}

// TestSlotMigrationsOfValkey: a group is a job, shown in Valkey's words at either side.
func TestSlotMigrationsOfValkey(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383", "c")
	mig := nodes[0].mig
	c := nodes[0].client()
	c.want("OK", "CLUSTER", "MIGRATESLOTS", "slotsrange", "0", "5", "7", "7", "NODE", string(id("b")), "SLOTSRANGE", "9", "9", "node", string(id("c")))
	if len(mig.jobs) != 2 || mig.jobs[0].Target != id("b") || mig.jobs[0].Slots != 7 || mig.jobs[1].Target != id("c") {
		t.Fatalf("jobs %v", mig.jobs)
	}
	name := taskName(nodes[0].Incarnation(), 1)
	mig.jobs[0].StartedMs, mig.jobs[0].State, mig.jobs[0].Waiting = 1_700_000_000_000, JobSnapshot, "for room"
	wantFields(t, fieldsOf(t, c, 1, "CLUSTER", "GETSLOTMIGRATIONS"), 11, map[string]string{
		"name": `"` + name + `"`, "operation": `"EXPORT"`, "slot_ranges": `"0-5 7-7"`, "target_node": `"` + string(id("b")) + `"`,
		"source_node": `"` + string(id("a")) + `"`, "create_time": "1700000000", "state": `"snapshotting"`, "message": `"for room"`, "cow_size": "0",
	})
	c.want("(error) ERR I am already migrating slot 5.", "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "5", "6", "NODE", string(id("b")))
	for _, x := range []struct {
		state      JobState
		step, text string
		want       string
	}{
		{JobStart, "starting", "", "waiting-to-snapshot"}, {JobWAL, "changes", "", "replicating"}, {JobWAL, "pausing", "", "failover-paused"},
		{JobWAL, "committing", "", "failover-granted"}, {JobClean, "cleaning", "", "success"}, {JobSuccess, "done", "", "success"},
		{JobFail, "failed", "no link", "failed"}, {JobFail, "failed", CancelledText, "cancelled"},
	} {
		mig.jobs[0].State, mig.jobs[0].Step, mig.jobs[0].Error = x.state, x.step, x.text
		if got := fieldsOf(t, c, 1, "CLUSTER", "GETSLOTMIGRATIONS")["state"]; got != `"`+x.want+`"` {
			t.Errorf("%s, %s: %s", x.state, x.step, got)
		}
	}
	nodes[1].mig.imports = []ImportStatus{
		{5, cluster.Record{State: cluster.Importing, Job: mig.jobs[0].ID, Peer: id("a")}},
		{6, cluster.Record{State: cluster.Prepared, Job: mig.jobs[0].ID, Peer: id("a")}},
	}
	wantFields(t, fieldsOf(t, nodes[1].client(), 0, "CLUSTER", "GETSLOTMIGRATIONS"), 11, map[string]string{
		"name": `"` + name + `"`, "operation": `"IMPORT"`, "slot_ranges": `"5-6"`, "source_node": `"` + string(id("a")) + `"`, "state": `"receiving-snapshot"`,
	})
	c.want("OK", "CLUSTER", "CANCELSLOTMIGRATIONS")
	if len(mig.told) != 1 || mig.told[0] != "cancel 2 " {
		t.Errorf("told %q", mig.told)
	}
}

// TestTasksOfRedis: the target asks the owner for a job, knows how it goes from it, and gives it up there.
func TestTasksOfRedis(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	mig := nodes[0].mig
	c := nodes[1].client()
	name := taskName(nodes[0].Incarnation(), 1)
	quoted := `"` + name + `"`
	c.want(quoted, "CLUSTER", "MIGRATION", "IMPORT", "0", "5", "7", "7")
	c.want(quoted, "CLUSTER", "MIGRATION", "IMPORT", "7", "7", "0", "5") // whose answer was lost
	if len(mig.jobs) != 1 || mig.jobs[0].Target != id("b") || mig.jobs[0].Slots != 7 {
		t.Fatalf("jobs %v", mig.jobs)
	}
	mig.jobs[0].State, mig.jobs[0].PausesMs, mig.jobs[0].StartedMs = JobWAL, []float64{3.2, 4.1}, 17
	want := map[string]string{
		"id": quoted, "slots": `"0-5 7-7"`, "source": `"` + string(id("a")) + `"`, "dest": `"` + string(id("b")) + `"`, "operation": `"import"`,
		"state": `"streaming-buffer"`, "last_error": `""`, "retries": "0", "create_time": "17", "start_time": "17", "end_time": "0", "write_pause_ms": "5",
	}
	wantFields(t, fieldsOf(t, c, 0, "CLUSTER", "MIGRATION", "STATUS", "ALL"), 12, want)
	want["operation"], want["state"] = `"migrate"`, `"send-stream"`
	wantFields(t, fieldsOf(t, nodes[0].client(), 0, "CLUSTER", "MIGRATION", "STATUS", "ID", name), 12, want)

	c.want("1", "CLUSTER", "MIGRATION", "CANCEL", "ID", name)
	if len(mig.told) != 1 || mig.told[0] != "cancel 1 " {
		t.Fatalf("told %q", mig.told)
	}
	mig.end(1, JobFail, CancelledText)
	if got := fieldsOf(t, c, 0, "CLUSTER", "MIGRATION", "STATUS", "ID", name)["state"]; got != `"canceled"` {
		t.Errorf("the state is %s", got)
	}
	c.want("0", "CLUSTER", "MIGRATION", "CANCEL", "ALL")

	// Of a job to another node a node learns nothing, and cannot give it up.
	link := nodes[0].clientFrom("127.0.0.1:1", true)
	link.do("PEER", "HELLO", "2", "", string(id("c")), "ff", string(id("a")), "1", "0")
	for _, word := range []string{"status", "cancel"} {
		link.want("(error) ERR no such job", "PEER", "JOB", word, "1")
	}
	link.want("(error) ERR PEER JOB takes start, status or cancel", "PEER", "JOB", "pause", "1")
	link.want("(error) ERR the counter of a job is a number, as GODWIT MIGRATION START answered it", "PEER", "JOB", "status", "x")
	nodes[0].down = true
	c.send("CLUSTER", "MIGRATION", "IMPORT", "8", "8")
	w.advance(handOverTimeout)
	if got := c.taken(); !strings.HasPrefix(got, "(error) ERR the owner of the slots has not answered, and may have begun: ") {
		t.Errorf("without the owner: %s", got)
	}
}

// TestTaskNames: what is no name of a task is found to be none.
func TestTaskNames(t *testing.T) {
	name := taskName(0xdeadbeef, 77)
	if source, counter, ok := parseTaskName(name); source != 0xdeadbeef || counter != 77 || !ok || len(name) != 40 {
		t.Errorf("%s: %x %d %v", name, source, counter, ok)
	}
	for _, bad := range []string{"", name[1:], name + "0", strings.Repeat("x", 40), strings.Repeat("f", 40), name[:16] + strings.Repeat("-", 24)} {
		if _, _, ok := parseTaskName(bad); ok {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}
