package driver

import (
	"fmt"
	"strings"
	"testing"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/resp"
)

// stateIn is the field "state" of the first entry of a reply that lists moves, "" without one.
func stateIn(v resp.Value) string {
	if len(v.Elems) == 0 {
		return ""
	}
	for i, f := range v.Elems[0].Elems {
		if f.Str == "state" {
			return v.Elems[0].Elems[i+1].Str
		}
	}
	return ""
}

// TestVerbsOfValkeyAndRedis moves slots by the verbs of both, said to the source and to the target, to their ends; and gives moves up.
func TestVerbsOfValkeyAndRedis(t *testing.T) {
	w := newWorld(t, 3)
	w.born(3, Config{})
	for i := range 30 {
		w.cmd("SET", keyOf(i), fmt.Sprint(i))
	}
	first, last := fmt.Sprint(int(testSlot)), fmt.Sprint(int(testSlot)+3)
	w.want(w.nodes[0], "OK", "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", string(id(1)))
	w.until("the job has succeeded", func() bool { return stateIn(w.do(w.nodes[0], "CLUSTER", "GETSLOTMIGRATIONS")) == "success" })
	w.until("and has ended", func() bool { return w.nodes[0].driver().Jobs()[0].State.Ended() })

	task := w.do(w.nodes[2], "CLUSTER", "MIGRATION", "IMPORT", first, last).Str
	w.until("the task is complete", func() bool {
		return stateIn(w.do(w.nodes[2], "CLUSTER", "MIGRATION", "STATUS", "ID", task)) == "completed"
	})
	if got := stateIn(w.do(w.nodes[1], "CLUSTER", "MIGRATION", "STATUS", "ALL")); got != "completed" {
		t.Errorf("to its source the task is %s", got)
	}
	w.agree(2, testSlot)
	for i := range 30 {
		if got := w.cmd("GET", keyOf(i)).Str; got != fmt.Sprint(i) {
			t.Fatalf("key %d is %q", i, got)
		}
	}

	// A target that is down lets the job wait until it is given up.
	w.nodes[0].down = true
	w.want(w.nodes[2], "OK", "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", string(id(0)))
	w.want(w.nodes[2], "OK", "CLUSTER", "CANCELSLOTMIGRATIONS")
	w.until("the job is cancelled", func() bool { return stateIn(w.do(w.nodes[2], "CLUSTER", "GETSLOTMIGRATIONS")) == "cancelled" })
	if jobs := w.nodes[2].driver().Jobs(); jobs[0].Error != engine.CancelledText {
		t.Errorf("the job says %q", jobs[0].Error)
	}
	if got := w.do(w.nodes[2], "CLUSTER", "CANCELSLOTMIGRATIONS").String(); !strings.Contains(got, "No migrations ongoing") {
		t.Errorf("again: %s", got)
	}
	if r := w.nodes[2].Record(testSlot); r.State != cluster.Serving {
		t.Errorf("the slot is %s", r.State)
	}
}
