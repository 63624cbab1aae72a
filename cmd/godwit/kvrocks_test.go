package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"godwit/engine"
	"godwit/engine/host/kvrockstest"
	"godwit/engine/slot"
)

// besideKvrocks is a node process that has all slots and a Kvrocks beside it in the map, which keeps its data in another process.
type besideKvrocks struct {
	t    *testing.T
	dir  string
	id   string
	node *process
	kv   *kvrockstest.Server
	// doom is how the command begins at which the node is killed, before the Kvrocks executes it; "" for none.
	doom atomic.Pointer[string]
	dead chan struct{} // the node was killed
}

func newBesideKvrocks(t *testing.T) *besideKvrocks {
	t.Helper()
	w := &besideKvrocks{t: t, dir: t.TempDir(), id: strings.Repeat("a", 40), dead: make(chan struct{}, 1)}
	w.node = startServer(t, "--cluster", "--dir", w.dir)
	disk := startServer(t, "--dir", t.TempDir())
	w.kv = kvrockstest.Start(t, strings.Repeat("k", 40), disk.addr, func(_, command string) kvrockstest.Fate {
		if doom := w.doom.Load(); doom != nil && strings.HasPrefix(command, *doom) {
			w.doom.Store(nil)
			_ = w.node.cmd.Process.Signal(syscall.SIGKILL)
			if err := <-w.node.over; err == nil {
				t.Error("the node ended by itself")
			}
			w.dead <- struct{}{}
		}
		return kvrockstest.Answered
	})
	w.want("OK", "CLUSTERX", "SETNODEID", w.id)
	w.want("OK", "CLUSTERX", "SETNODES", w.line(w.id, w.node.addr, "0-16383"), "1")
	eventually(t, "the node serves", func() error { return w.answers("OK", "SET", "{t}first", "v") })
	w.setMap("0-16383", "", 2)
	return w
}

func (w *besideKvrocks) line(id, addr, slots string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("%s %s %s master - %s\n", id, host, port, slots)
}

func (w *besideKvrocks) setMap(ours, theirs string, version int64) {
	w.t.Helper()
	text := w.line(w.id, w.node.addr, ours) + w.line(w.kv.ID, w.kv.Addr(), theirs)
	w.kv.SetMap(text, version)
	w.want("OK", "CLUSTERX", "SETNODES", text, strconv.FormatInt(version, 10))
}

// said is what the node answers, errors as text.
func (w *besideKvrocks) said(args ...string) (string, error) {
	c, err := dial(w.node.addr, "")
	if err != nil {
		return "", err
	}
	defer c.close()
	r, err := c.do(callTime, args...)
	var refused errReply
	if errors.As(err, &refused) {
		return "-" + string(refused), nil
	}
	if err == nil && r.Kind == ':' {
		return strconv.FormatInt(r.Int, 10), nil
	}
	return r.Text, err
}

func (w *besideKvrocks) answers(want string, args ...string) error {
	if got, err := w.said(args...); err != nil || got != want {
		return fmt.Errorf("%.80q: got %.200q, %w, want %.80q", args, got, err, want)
	}
	return nil
}

func (w *besideKvrocks) want(want string, args ...string) {
	w.t.Helper()
	if got, err := w.said(args...); err != nil || got != want {
		w.t.Fatalf("%.80q: got %.200q, %v, want %.80q", args, got, err, want)
	}
}

// restart starts the node again where it was.
func (w *besideKvrocks) restart() {
	w.t.Helper()
	addr := w.node.addr
	w.node = startServer(w.t, "--cluster", "--dir", w.dir, "--listen", addr)
}

func (w *besideKvrocks) kill() {
	w.t.Helper()
	if err := w.node.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	if err := <-w.node.over; err == nil {
		w.t.Error("the node ended by itself")
	}
	w.restart()
}

// TestKvrocksThereAndBack moves a slot to a Kvrocks, the node's process being killed while it copies and again when it says that the Kvrocks may serve;
// and takes it back as a Kvrocks sends it, the link cut and the process killed in between. Nothing is lost on either way.
func TestKvrocksThereAndBack(t *testing.T) {
	w := newBesideKvrocks(t)
	sl := slot.OfKey([]byte("{t}"))
	number := strconv.Itoa(int(sl))
	const keys = 300
	for i := range keys {
		w.want("OK", "SET", fmt.Sprintf("{t}%d", i), strings.Repeat("v", i))
	}
	w.want("3", "RPUSH", "{t}list", "a", "b", "c")

	copying, serve := "set {t}150 ", "cluster import "+number+" 1"
	w.doom.Store(&copying)
	mustRun(t, "migrate", "start", "--node", w.node.addr, "--slots", number, "--to", w.kv.ID)
	<-w.dead
	w.doom.Store(&serve)
	w.restart()
	w.want("OK", "SET", "{t}late", "written after the crash") // it is served here, or waits for the Kvrocks
	<-w.dead
	w.restart()
	mustRun(t, "migrate", "status", "1", "--node", w.node.addr, "--wait")
	var j engine.JobReport
	if c, err := dial(w.node.addr, ""); err != nil || c.json(&j, "GODWIT", "MIGRATION", "STATUS", "1") != nil || j.State != engine.JobSuccess {
		t.Fatalf("the job: %+v, %v", j, err)
	}
	if !w.kv.Serves(sl) {
		t.Error("the Kvrocks does not serve the slot")
	}
	w.want(fmt.Sprintf("-MOVED %s %s", number, w.kv.Addr()), "GET", "{t}late")
	if got := len(w.kv.Keys(sl)); got != keys+3 {
		t.Errorf("the Kvrocks has %d keys, want %d", got, keys+3)
	}
	w.setMap(fmt.Sprintf("0-%d %d-16383", sl-1, sl+1), number, 3)

	// back, as a Kvrocks sends it
	link := func() *conn {
		c, err := dial(w.node.addr, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		if text, err := c.text("cluster", "import", number, "0"); err != nil || text != "OK" {
			t.Fatalf("IMPORT 0: %q, %v", text, err)
		}
		return c
	}
	send := func(c *conn, n int) {
		for i := range n {
			if text, err := c.text("set", fmt.Sprintf("{t}%d", i), strings.Repeat("w", i)); err != nil || text != "OK" {
				t.Fatalf("SET on the link: %q, %v", text, err)
			}
		}
	}
	moved := fmt.Sprintf("-MOVED %s %s", number, w.kv.Addr())
	c := link()
	send(c, 20)
	w.want(moved, "GET", "{t}1")
	c.close()
	eventually(t, "what arrived is deleted", func() error {
		if log := w.node.output(); !strings.Contains(log, "were given up") {
			return fmt.Errorf("the log says nothing:\n%s", log)
		}
		return nil
	})
	send(link(), 20)
	w.kill()
	w.want(moved, "GET", "{t}1")
	c = link()
	send(c, 100)
	if text, err := c.text("cluster", "import", number, "1"); err != nil || text != "OK" {
		t.Fatalf("IMPORT 1: %q, %v", text, err)
	}
	for range 2 {
		w.want(strings.Repeat("w", 99), "GET", "{t}99")
		w.want("", "GET", "{t}100")
		w.want("100", "CLUSTER", "COUNTKEYSINSLOT", number)
		w.kill()
	}
}
