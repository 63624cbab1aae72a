package engine

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

func TestClusterXGrammar(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(nil)
	w.named("b")
	a, long := string(id("a")), strings.Repeat("x", 41)
	usage := "(error) " + cluster.ErrClusterXUsage.Reply()
	exchange(t, n.client(), [][2]string{
		{"CLUSTERX VERSION", `"-1"`},
		{"CLUSTERX MYID", `""`},
		{"CLUSTERX FOO", usage},
		{"CLUSTERX VERSION x", usage},
		{"CLUSTERX SETNODEID short", usage},
		{"CLUSTERX SETNODEID " + long, usage},
		{"CLUSTERX SETNODEID '" + strings.Repeat("x y", 13) + "z'", "(error) ERR Invalid node id"},
		{"CLUSTERX SETNODES x", usage},
		{"CLUSTERX SETNODES x 1 FORCE more", usage},
		{"CLUSTERX SETNODES x y", "(error) ERR Invalid version"},
		{"CLUSTERX SETNODES x 1 gently", "(error) ERR Invalid setnodes options"},
		{"CLUSTERX SETNODES x -1", "(error) ERR Invalid cluster version"},
		{"CLUSTERX SETNODES x 1", "(error) ERR Invalid cluster nodes info"},
		{"CLUSTER NODES", "(error) CLUSTERDOWN The cluster is not initialized"},
		{"CLUSTER INFO", "(error) CLUSTERDOWN The cluster is not initialized"},
		{"CLUSTER SLOTS", "(error) CLUSTERDOWN The cluster is not initialized"},
		{"CLUSTER REPLICAS " + a, "(error) CLUSTERDOWN The cluster is not initialized"},
		{"GET x", "(error) CLUSTERDOWN Hash slot not served"},
		{"CLUSTERX SETNODEID " + a, "OK"},
		{"CLUSTERX SETNODEID " + a, "OK"},
		{"CLUSTERX MYID", `"` + a + `"`},
		{"CLUSTER MYID", `"` + a + `"`},
		{"CLUSTERX SETNODES '" + nodesText("a 0-99", "b 100-16383") + "' 3", "OK"},
		{"CLUSTERX VERSION", `"3"`},
		{"CLUSTERX SETNODES '" + nodesText("a 0-99") + "' 2", "(error) ERR Invalid cluster version"},
		{"CLUSTERX SETNODES '" + nodesText("a 0-99") + "' 3", "OK"},
		{"CLUSTERX SETNODES nonsense 3", "OK"},
		{"CLUSTERX SETNODES nonsense 2", "(error) ERR Invalid cluster version"},
		{"CLUSTERX SETSLOT 5 NODE x 4", "(error) ERR Invalid node id"},
		{"CLUSTERX SETSLOT 5 TO " + a + " 4", "(error) ERR Invalid setslot options"},
		{"CLUSTERX SETSLOT 5 NODE " + a + " x", "(error) ERR value is not an integer or out of range"},
		{"CLUSTERX SETSLOT 5 NODE " + a + " -4", "(error) ERR Invalid version"},
		{"CLUSTERX SETSLOT 5 NODE " + a + " 5", "(error) ERR Invalid cluster version"},
		{"CLUSTERX SETSLOT 5 NODE " + a + " 3", "(error) ERR Invalid cluster version"},
		{"CLUSTERX SETSLOT 16384 NODE " + a + " 4", "(error) ERR Invalid slot id: out of numeric range"},
		{"CLUSTERX SETSLOT 5 NODE " + string(id("z")) + " 4", "(error) ERR No this node in the cluster"},
		{"CLUSTERX SETSLOT '5 7-9' NODE " + string(id("b")) + " 4", "OK"},
		{"CLUSTERX VERSION", `"4"`},
		{"CLUSTERX SETNODEID " + string(id("z")), "(error) ERR node id can't be changed from " + a + ": this node has ownership records under it"},
	})
	if n.Map().Owner(8).ID != id("b") || n.Map().Owner(6).ID != id("a") {
		t.Error("SETSLOT did not change the map")
	}
	if n.Record(8).State != cluster.Serving {
		t.Error("SETSLOT took a slot away that is served")
	}
}

func TestClusterXMigrate(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	n, b := nodes[0], string(id("b"))
	c := n.client()
	exchange(t, c, [][2]string{
		{"CLUSTERX MIGRATE 5", "(error) ERR wrong number of arguments for 'clusterx|migrate' command"},
		{"CLUSTERX MIGRATE 5 " + b + " SYNC 1 more", "(error) ERR wrong number of arguments for 'clusterx|migrate' command"},
		{"CLUSTERX MIGRATE 2-1 " + b, "(error) ERR Invalid slot range: `2-1`. The slot range `int1-int2` needs to satisfy the condition (int1 <= int2)."},
		{"CLUSTERX MIGRATE -1 " + b + " ASYNC 5", "(error) ERR Invalid slot range: `-1`. The character '-' can't appear in the first or last position."},
		{"CLUSTERX MIGRATE 5 " + b + " ASYNC 5", "(error) ERR Async migration does not support timeout"},
		{"CLUSTERX MIGRATE 5 " + b + " SYNC x", "(error) ERR timeout is not an integer or out of range"},
		{"CLUSTERX MIGRATE 5 " + b + " SYNC -1", "(error) ERR timeout is negative"},
		{"CLUSTERX MIGRATE 5 " + b + " LATER", "(error) ERR Invalid sync flag"},
		{"CLUSTERX MIGRATE '1-3 3-4 9' " + b, "OK"},
		{"CLUSTERX MIGRATE 5 " + b + " async", "OK"},
	})
	if got := slot.SetOf(n.mig.jobs[0].Ranges...); got.String() != "1-4 9" {
		t.Errorf("several ranges became %s", got.String())
	}
	n.mig.err = errors.New("Can't find the destination node id")
	c.want("(error) ERR Can't find the destination node id", "CLUSTERX", "MIGRATE", "6", "x")
	n.mig.err = nil

	// SYNC waits without holding anything up but its own connection, whose later commands stay behind it.
	c.send("CLUSTERX", "MIGRATE", "6", b, "SYNC", "7")
	c.send("PING")
	w.run()
	if got := c.taken(); got != "" {
		t.Errorf("before the job has ended: %s", got)
	}
	if n.mig.timeout.Seconds() != 7 {
		t.Errorf("timeout %v", n.mig.timeout)
	}
	n.client().want("PONG", "PING")
	n.mig.end(3, JobSuccess, "")
	w.run()
	if got := c.taken(); got != "OK | PONG" {
		t.Errorf("after success: %s", got)
	}
	for _, row := range []struct {
		state JobState
		text  string
		want  string
	}{
		{JobFail, "it broke", "(error) ERR it broke"},
		{JobFail, "", "(error) ERR the migration failed"},
		{JobWAL, "", "(nil)"},
	} {
		c.send("CLUSTERX", "MIGRATE", "7", b, "SYNC")
		w.run()
		n.mig.end(uint64(len(n.mig.jobs)), row.state, row.text)
		w.run()
		if got := c.taken(); got != row.want {
			t.Errorf("%s %q answers %s, want %s", row.state, row.text, got, row.want)
		}
	}
	// A client that has gone is not answered.
	c.send("CLUSTERX", "MIGRATE", "8", b, "SYNC")
	w.run()
	c.s.Close()
	n.mig.end(uint64(len(n.mig.jobs)), JobSuccess, "")
	w.run()
	if got := c.taken(); got != "" {
		t.Errorf("a closed session was answered %s", got)
	}
}

func TestWithoutMigrator(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.NewMigrator = nil })
	c := n.client()
	exchange(t, c, [][2]string{
		{"CLUSTERX SETNODEID " + string(id("a")), "OK"},
		{"CLUSTERX SETNODES '" + nodesText("a 0-16383") + "' 1", "OK"},
		{"CLUSTERX MIGRATE 1 " + string(id("b")), "(error) ERR this node cannot move slots"},
		{"GODWIT MIGRATION STATUS", "(error) ERR this node cannot move slots"},
		{"SET a 1", "OK"},
	})
	for _, cmd := range []string{"CLUSTER INFO", "CLUSTER NODES", "GODWIT STATUS"} {
		if v := c.do(words(cmd)...); v.Kind == resp.ErrorKind {
			t.Errorf("%s: %s", cmd, v)
		}
	}
}

func TestClusterInfo(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	c := n.client()
	base := "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\n" +
		"cluster_slots_fail:0\r\ncluster_known_nodes:2\r\ncluster_size:2\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\n"
	if got := c.do("CLUSTER", "INFO").Str; got != base {
		t.Errorf("on a fresh node: %q", got)
	}
	job := JobStatus{
		ID: cluster.JobID{Node: id("a"), Counter: 7}, Target: id("b"), Ranges: []slot.Range{{First: 5, Last: 9}}, State: JobWAL, Step: "verify",
		Slots: 5, Moved: slot.Ranges{{First: 5, Last: 6}}, Records: 10, Bytes: 1000, LagKeys: 3, LagByte: 30,
		PausesMs: []float64{1.5, 12.25}, Error: "dial: refused\nagain",
	}
	n.mig.jobs = []JobStatus{{State: JobFail, Ranges: []slot.Range{{First: 1, Last: 1}}}, job}
	n.mig.imports = []ImportStatus{
		{Slot: 200, Record: cluster.Record{State: cluster.Importing, Peer: id("b")}},
		{Slot: 201, Record: cluster.Record{State: cluster.Prepared, Peer: id("b")}},
	}
	want := base + "migrating_slot(s): 5-9\r\ndestination_node: " + string(id("b")) + "\r\nmigrating_state: start\r\n" +
		"importing_slot(s): 200-201\r\nimport_state: start\r\n" +
		"godwit_job_id:a0000000-7\r\ngodwit_job_state:MIGRATION_WAL\r\ngodwit_job_step:verify\r\ngodwit_job_slots:5\r\n" +
		"godwit_job_moved:2\r\ngodwit_job_records_sent:10\r\ngodwit_job_bytes_sent:1000\r\ngodwit_job_lag_keys:3\r\n" +
		"godwit_job_lag_bytes:30\r\ngodwit_job_pause_ms:12.250\r\ngodwit_job_error:dial; refused again\r\n"
	if got := c.do("CLUSTER", "INFO").Str; got != want {
		t.Errorf("during a move\n got %q\nwant %q", got, want)
	}
	for _, line := range strings.Split(strings.TrimSuffix(want, "\r\n"), "\r\n") {
		if strings.Count(line, ":") != 1 {
			t.Errorf("a controller passes over %q", line)
		}
	}
	text := c.do("CLUSTER", "NODES").Str
	if !strings.Contains(text, "myself,master - ") || !strings.Contains(text, " 0-99 [7-9->-"+string(id("b"))+"] [200-201-<-"+string(id("b"))+"]\n") {
		t.Errorf("CLUSTER NODES:\n%s", text)
	}
	for state, word := range map[JobState]string{JobNone: "none", JobSnapshot: "start", JobSuccess: "success", JobClean: "success", JobFail: "fail"} {
		n.mig.jobs[1].State = state
		if got := c.do("CLUSTER", "INFO").Str; !strings.Contains(got, "migrating_state: "+word+"\r\n") {
			t.Errorf("%s is not shown as %s: %s", state, word, got)
		}
	}
	for _, state := range []JobState{JobSuccess, JobFail, JobClean} {
		n.mig.jobs[1].State = state
		if text := c.do("CLUSTER", "NODES").Str; strings.Contains(text, "->-") {
			t.Errorf("a job in state %s is still shown:\n%s", state, text)
		}
	}
}

func TestClusterShows(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	c := n.client()
	a, b := string(id("a")), string(id("b"))
	exchange(t, c, [][2]string{
		{"CLUSTER KEYSLOT foo", "12182"},
		{"CLUSTER SLOTS", `[[0 99 ["127.0.0.1" 7000 "` + a + `"]] [100 16383 ["127.0.0.1" 7001 "` + b + `"]]]`},
		{"CLUSTER REPLICAS " + a, `""`},
		{"CLUSTER REPLICAS x", "(error) ERR Invalid cluster node id"},
		{"CLUSTER FOO", "(error) ERR unknown subcommand 'FOO'. Try CLUSTER HELP."},
		{"READONLY", "OK"},
		{"READWRITE", "OK"},
		{"ASKING", "OK"},
		{"SELECT 1", "(error) ERR SELECT is not allowed in cluster mode"},
		{"MGET {a}1 {b}2", "(error) " + cluster.CrossSlot},
		{"GET foo", "(error) MOVED 12182 127.0.0.1:7001"},
		{"SET " + keyIn(7) + " v", "OK"},
		{"SET " + keyIn(8) + " v PX 1", "OK"},
		{"CLUSTER COUNTKEYSINSLOT 7", "1"},
		{"CLUSTER COUNTKEYSINSLOT 200", "0"},
		{"CLUSTER COUNTKEYSINSLOT x", "(error) ERR value is not an integer or out of range"},
		{"CLUSTER COUNTKEYSINSLOT 16384", "(error) ERR Invalid slot"},
		{"CLUSTER GETKEYSINSLOT 7 10", `["` + keyIn(7) + `"]`},
		{"CLUSTER GETKEYSINSLOT 7 0", `[]`},
		{"CLUSTER GETKEYSINSLOT 7 -1", "(error) ERR Invalid slot or number of keys"},
		{"CLUSTER GETKEYSINSLOT 16384 1", "(error) ERR Invalid slot or number of keys"},
		{"CLUSTER GETKEYSINSLOT 200 1", `[]`},
	})
	w.advance(2_000_000)
	c.want("0", "CLUSTER", "COUNTKEYSINSLOT", "8")
	if v := c.do("CLUSTER", "SHARDS"); v.Kind != resp.ArrayKind || len(v.Elems) != 2 {
		t.Errorf("CLUSTER SHARDS: %v", v)
	}
	c.do("HELLO", "3")
	for _, cmd := range []string{"CLUSTER INFO", "CLUSTER NODES", "INFO", "CLIENT LIST"} {
		if v := c.do(words(cmd)...); v.Kind != resp.VerbatimKind {
			t.Errorf("%s is a %c in RESP3", cmd, v.Kind)
		}
	}
}

// A slot that an import is bringing, or that was given away, has no keys for those who count.
func TestKeysInSlotNotServed(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	c := n.client()
	c.want("OK", "SET", keyIn(7), "v")
	n.Exclusive(7, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	exchange(t, c, [][2]string{
		{"CLUSTER COUNTKEYSINSLOT 7", "0"},
		{"CLUSTER GETKEYSINSLOT 7 9", "[]"},
		{"DBSIZE", "0"},
		{"GET " + keyIn(7), "(error) MOVED 7 127.0.0.1:7001"},
	})
}

func TestClusterReset(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	c := n.client()
	c.want("(error) ERR syntax error", "CLUSTER", "RESET", "GENTLY")
	c.want("OK", "SET", keyIn(7), "v")
	c.want("(error) ERR Can't reset cluster while database is not empty", "CLUSTER", "RESET")
	c.want("1", "DEL", keyIn(7))
	n.mig.jobs = []JobStatus{{State: JobSnapshot}}
	c.want("(error) ERR Can't reset cluster while migrating slot", "CLUSTER", "RESET", "HARD")
	n.mig.jobs[0].State = JobFail
	n.mig.imports = []ImportStatus{{Slot: 200, Record: cluster.Record{State: cluster.Importing}}}
	c.want("(error) ERR Can't reset cluster while importing slot", "CLUSTER", "RESET")
	n.mig.imports = nil
	n.Exclusive(200, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Prepared, Epoch: 1, Peer: id("b")})
	})
	c.want("(error) ERR Can't reset cluster while importing slot", "CLUSTER", "RESET")
	n.Exclusive(200, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Aborted, Epoch: 1, Peer: id("b")})
	})
	n.Exclusive(9, func(o *Owned) { o.Pause() })
	c.want("(error) ERR Can't reset cluster while migrating slot", "CLUSTER", "RESET")
	n.Exclusive(9, func(o *Owned) { o.Unpause() })
	c.want("OK", "CLUSTER", "RESET", "hard")
	for range 2 {
		exchange(t, c, [][2]string{
			{"CLUSTERX VERSION", `"-1"`},
			{"CLUSTERX MYID", `""`},
			{"CLUSTER NODES", "(error) CLUSTERDOWN The cluster is not initialized"},
			{"GET " + keyIn(7), "(error) CLUSTERDOWN Hash slot not served"},
		})
		n.restart()
		c = n.client()
	}
	// The node is as new: it serves what its next first map gives it.
	exchange(t, c, [][2]string{
		{"CLUSTERX SETNODEID " + string(id("a")), "OK"},
		{"CLUSTERX SETNODES '" + nodesText("a 0-9", "b 10-16383") + "' 1", "OK"},
		{"SET " + keyIn(7) + " v", "OK"},
	})
}

// Everything that an operator set is there after a restart.
func TestClusterStateSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-99", "b 100-16383")[0]
	c := n.client()
	c.want("OK", "SET", keyIn(7), "v")
	before, incarnation := c.do("CLUSTER", "SLOTS").String(), n.Incarnation()
	n.restart()
	c = n.client()
	c.want(before, "CLUSTER", "SLOTS")
	c.want(`"`+string(id("a"))+`"`, "CLUSTERX", "MYID")
	c.want(`"1"`, "CLUSTERX", "VERSION")
	c.want(`"v"`, "GET", keyIn(7))
	if n.Incarnation() != incarnation {
		t.Error("the directory has another incarnation")
	}
}

func TestGodwit(t *testing.T) {
	w := newWorld(t)
	nodes := w.born("a 0-99", "b 100-16383")
	n := nodes[0]
	c := n.client()
	c.want(`"1"`, "GODWIT", "MIGRATION", "START", "5-9 11", string(id("b")))
	exchange(t, c, [][2]string{
		{"GODWIT MIGRATION START 5", "(error) " + errMigration},
		{"GODWIT MIGRATION START 9-5 x", "(error) ERR Invalid slot range: `9-5`. The slot range `int1-int2` needs to satisfy the condition (int1 <= int2)."},
		{"GODWIT MIGRATION FREEZE 1", "(error) " + errMigration},
		{"GODWIT MIGRATION PAUSE", "(error) " + errMigration},
		{"GODWIT MIGRATION PAUSE 1 5", "(error) " + errMigration},
		{"GODWIT MIGRATION START 5 x FAST", "(error) " + errMigration},
		{"GODWIT MIGRATION START 5 x HOLD-SOURCE", "(error) " + errMigration},
		{"GODWIT MIGRATION START 5 x HOLD-SOURCE 10", "(error) " + errHoldSource},
		{"GODWIT MIGRATION START 5 x HOLD-SOURCE 721h", "(error) " + errHoldSource},
		{"GODWIT MIGRATION START 5 x PRIORITY 101", "(error) " + errPriority},
		{"GODWIT MIGRATION START 5 x PRIORITY high", "(error) " + errPriority},
		{"GODWIT MIGRATION START 5 x ON-OVERLOAD wait", "(error) " + errOverload},
		{"GODWIT MIGRATION START 5 x THROTTLE", "(error) " + errMigration},
		{"GODWIT MIGRATION START 5 x PAUSE-TARGET", "(error) " + errMigration},
		{"GODWIT MIGRATION START 5 x PAUSE-TARGET 50", "(error) " + errTiming},
		{"GODWIT MIGRATION START 5 x CONVERGE-WITHIN -1s", "(error) " + errTiming},
		{"GODWIT MIGRATION PLAN 5", "(error) " + errMigration},
		{"GODWIT MIGRATION PLAN 5 x FAST", "(error) " + errMigration},
		{"GODWIT MIGRATION RESOLVE 5 COMMIT", "(error) " + errMigration},
		{"GODWIT MIGRATION RESOLVE", `"[{\"slot\":5,\"state\":\"prepared\",\"epoch\":2,\"waits_for\":\"x\",\"job\":\"1/2\",\"resolvable\":true},{\"slot\":7,\"state\":\"importing\",\"epoch\":1,\"waits_for\":\"y\",\"job\":\"1/3\",\"resolvable\":false}]"`},
		{"GODWIT MIGRATION RESOLVE y", `"[{\"slot\":7,\"state\":\"importing\",\"epoch\":1,\"waits_for\":\"y\",\"job\":\"1/3\",\"resolvable\":false}]"`},
		{"GODWIT MIGRATION RESOLVE z", `"[]"`},
		{"GODWIT MIGRATION RESOLVE 16384 COMMIT x", "(error) " + errSlot},
		{"GODWIT MIGRATION RESOLVE 5 NOW x", "(error) " + errMigration},
		{"GODWIT MIGRATION RESOLVE 5 commit x", `"done"`},
		{"GODWIT MIGRATION RESOLVE 5 ABORT x", "(error) ERR no"},
		{"GODWIT MIGRATION THROTTLE", "(error) " + errMigration},
		{"GODWIT MIGRATION THROTTLE all", "(error) " + errThrottled},
		{"GODWIT MIGRATION THROTTLE 0", "(error) " + errThrottled},
		{"GODWIT MIGRATION THROTTLE 1 5MB/s auto=9%", `"{\"job\":1,\"limit\":\"5MB/s auto=9%\",\"now\":\"\",\"changed\":true}"`},
		{"GODWIT MIGRATION THROTTLE node", `"{\"job\":0,\"limit\":\"5MB/s auto=9%\",\"now\":\"\",\"changed\":false}"`},
		{"CONFIG SET migration-throttle 7MB/s", "OK"},
		{"CONFIG GET migration-throttle", `["migration-throttle" "7MB/s"]`},
		{"GODWIT MIGRATION CUTOVER 1 9-5", "(error) ERR Invalid slot range: `9-5`. The slot range `int1-int2` needs to satisfy the condition (int1 <= int2)."},
		{"GODWIT MIGRATION STATUS x", "(error) " + errJobCounter},
		{"GODWIT MIGRATION STATUS 9", "(error) " + errNoSuchJob},
		{"GODWIT MIGRATION CANCEL x", "(error) " + errJobCounter},
		{"GODWIT OWNERS 99-100", `"[{\"slot\":99,\"state\":\"serving\",\"epoch\":1},{\"slot\":100,\"state\":\"none\",\"epoch\":0}]"`},
		{"GODWIT OWNERS 99-100 LOAD", `"[{\"slot\":99,\"state\":\"serving\",\"epoch\":1},{\"slot\":100,\"state\":\"none\",\"epoch\":0}]"`},
		{"GODWIT OWNERS 99-100 ALL", "(error) ERR want GODWIT OWNERS <ranges> [SIZES|LOAD]"},
		{"GODWIT OWNERS x", "(error) ERR Invalid slot id: encounter non-integer characters"},
	})
	for _, verb := range []string{"PAUSE 1", "RESUME 1", "CUTOVER 1", "CUTOVER 1 5-6", "CANCEL 1", "ROLLBACK 1", "CLEAN 1"} {
		var answer JobAnswer
		raw := c.do(append([]string{"GODWIT", "MIGRATION"}, strings.SplitN(verb, " ", 3)...)...).Str
		if err := json.Unmarshal([]byte(raw), &answer); err != nil || !answer.Changed || answer.Message != "so be it" {
			t.Errorf("%s: %s, %v", verb, raw, err)
		}
	}
	if want := []string{"pause 1 ", "resume 1 ", "cutover 1 ", "cutover 1 5-6", "cancel 1 ", "rollback 1 ", "clean 1 "}; !slices.Equal(n.mig.told, want) {
		t.Errorf("told %q, want %q", n.mig.told, want)
	}
	if help := c.do("GODWIT", "MIGRATION", "HELP"); len(help.Elems) != len(migrationHelp) {
		t.Errorf("help: %s", help)
	}
	var history JobHistory
	if err := json.Unmarshal([]byte(c.do("GODWIT", "MIGRATION", "HISTORY", "1").Str), &history); err != nil || history.Job.Counter != 1 || len(history.Events) != 1 {
		t.Errorf("history %+v: %v", history, err)
	}
	n.mig.err = errors.New("no")
	c.want("(error) ERR no", "GODWIT", "MIGRATION", "HISTORY", "1")
	c.want("(error) ERR no", "GODWIT", "MIGRATION", "REPORT", "1")
	c.want("(error) "+errJobCounter, "GODWIT", "MIGRATION", "REPORT", "x")
	c.want("(error) "+errJobCounter, "GODWIT", "MIGRATION", "HISTORY", "x")
	c.want("(error) ERR no", "GODWIT", "MIGRATION", "START", "7", string(id("b")), "hold", "hold-source", "10m", "priority", "-3", "throttle", "5MB/s",
		"pause-target", "20ms", "PAUSE-DEADLINE", "2s", "converge-within", "5m")
	if want := (JobOptions{Hold: true, KeepSource: 10 * time.Minute, Priority: -3, Throttle: "5MB/s", PauseTarget: 20 * time.Millisecond, PauseDeadline: 2 * time.Second, ConvergeWithin: 5 * time.Minute}); n.mig.options != want {
		t.Errorf("options %+v, want %+v", n.mig.options, want)
	}
	c.want("(error) ERR no", "GODWIT", "MIGRATION", "ROLLBACK", "1")
	c.want("(error) ERR no", "GODWIT", "MIGRATION", "THROTTLE", "1", "5MB/s")
	c.want("(error) ERR no", "GODWIT", "MIGRATION", "PLAN", "5", "x")
	c.want("(error) ERR CONFIG SET failed (possibly related to argument 'migration-throttle') - no", "CONFIG", "SET", "migration-throttle", "fast")
	n.mig.err = nil
	var plan PlanReport
	raw := c.do("GODWIT", "MIGRATION", "PLAN", "5-7", string(id("b")), "EXACT", "THROTTLE", "5MB/s").Str
	if err := json.Unmarshal([]byte(raw), &plan); err != nil || !plan.Exact || plan.RateFrom != "5MB/s" || plan.Problems == nil {
		t.Errorf("plan %s: %v", raw, err)
	}
	if info := c.do("INFO", "migration").Str; !strings.Contains(info, "migration_pauses:7\r\n") {
		t.Errorf("info %s", info)
	}
	var jobs []JobReport
	if err := json.Unmarshal([]byte(c.do("GODWIT", "MIGRATION", "STATUS").Str), &jobs); err != nil || len(jobs) != 1 {
		t.Fatalf("jobs %v: %v", jobs, err)
	}
	if j := jobs[0]; j.Counter != 1 || j.Ranges != "5-9 11" || j.Target != id("b") || j.State != JobStart || j.Slots != 6 || j.Ended {
		t.Errorf("job %+v", j)
	}
	var one JobReport
	if err := json.Unmarshal([]byte(c.do("GODWIT", "MIGRATION", "STATUS", "1").Str), &one); err != nil || one.ID != jobs[0].ID {
		t.Errorf("job %+v: %v", one, err)
	}
	n.Exclusive(7, func(o *Owned) {
		o.Commit(n.Store().NewBatch(), cluster.Record{State: cluster.Released, Epoch: 2, Peer: id("b")})
	})
	n.alarm("look here")
	n.mig.imports = []ImportStatus{{Slot: 200, Record: cluster.Record{State: cluster.Importing, Peer: id("b"), Attempt: 3, Epoch: 4}}}
	var r NodeReport
	if err := json.Unmarshal([]byte(c.do("GODWIT", "STATUS").Str), &r); err != nil {
		t.Fatal(err)
	}
	if r.ID != id("a") || r.MapVersion != 1 || r.Serving != "0-6 8-99" || r.Differing != "7" || r.States["serving"] != 99 || r.States["released"] != 1 ||
		len(r.Alarms) != 1 || len(r.Jobs) != 1 || len(r.Imports) != 1 || r.Imports[0].State != "importing" || r.Incarnation != n.Incarnation().String() {
		t.Errorf("status %+v", r)
	}
	if r.MapHash != padHex(n.Map().Hash()) || len(r.MapHash) != 16 {
		t.Errorf("map hash %q", r.MapHash)
	}
}
