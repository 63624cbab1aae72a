package engine

import (
	"strings"
	"testing"
)

// TestSinceRedis72 is what Redis 7.2 has beyond 7.0 in the commands on connections and the cluster, each with its source: a pull request
// of redis/redis that its release notes name. The commands on data have a table of their own beside them.
func TestSinceRedis72(t *testing.T) {
	client := func(w *world) *testClient { return w.addNode(standalone).client() }
	for _, c := range []struct {
		source string
		client func(w *world) *testClient
		table  [][2]string
		info   string // what CLIENT INFO says in the end
	}{
		{
			source: "#11758 and #11952: CLIENT SETINFO", client: client,
			table: [][2]string{
				{"CLIENT SETINFO lib-name redis-py", "OK"},
				{"CLIENT SETINFO LIB-VER 1.2.3", "OK"},
				{"CLIENT SETINFO lib-name", "(error) ERR wrong number of arguments for 'client|setinfo' command"},
				{"CLIENT SETINFO LIB-NAME 'redis py'", "(error) ERR LIB-NAME cannot contain spaces, newlines or special characters."},
				{"CLIENT SETINFO lib-ver '1\n2'", "(error) ERR lib-ver cannot contain spaces, newlines or special characters."},
				{"CLIENT SETINFO badger hamster", "(error) ERR Unrecognized option 'badger'"},
				{"RESET", "RESET"}, // which leaves them, the same
			},
			info: " lib-name=redis-py lib-ver=1.2.3\n",
		},
		{
			source: "#11758: an empty name takes it back", client: client,
			table: [][2]string{{"CLIENT SETINFO lib-name x", "OK"}, {"CLIENT SETINFO lib-name ''", "OK"}},
			info:  " lib-name= lib-ver=\n",
		},
		{
			source: "#11483: CLIENT NO-TOUCH, flag T", client: client,
			table: [][2]string{
				{"CLIENT NO-TOUCH", "(error) ERR wrong number of arguments for 'client|no-touch' command"},
				{"CLIENT NO-TOUCH x", "(error) ERR syntax error"},
				{"CLIENT NO-TOUCH off", "OK"},
				{"CLIENT NO-TOUCH ON", "OK"},
			},
			info: " flags=T ",
		},
		{
			source: "#11483: RESET ends CLIENT NO-TOUCH", client: client,
			table: [][2]string{{"CLIENT NO-TOUCH on", "OK"}, {"RESET", "RESET"}},
			info:  " flags=N ",
		},
		{
			source: "#11713: WAITAOF; there are no replicas to wait for", client: client,
			table: [][2]string{
				{"SET k v", "OK"},
				{"WAITAOF 1 0 0", "[1 0]"},
				{"WAITAOF 0 5 10", "[1 0]"},
				{"WAITAOF 2 0 0", "(error) ERR value is out of range, value must between 0 and 1"},
				{"WAITAOF -1 0 0", "(error) ERR value is out of range, value must between 0 and 1"},
				{"WAITAOF x 0 0", "(error) ERR value is not an integer or out of range"},
				{"WAITAOF 1 x 0", "(error) ERR value is not an integer or out of range"},
				{"WAITAOF 1 -1 0", "(error) ERR value is out of range, must be positive"},
				{"WAITAOF 1 0 -1", "(error) ERR timeout is negative"},
				{"WAITAOF 1 0 x", "(error) ERR timeout is not an integer or out of range"},
				{"WAITAOF 1 0", "(error) ERR wrong number of arguments for 'waitaof' command"},
			},
		},
		{
			source: "#10536: CLUSTER MYSHARDID", client: func(w *world) *testClient { return w.addNode(nil).client() },
			table: [][2]string{
				{"CLUSTER MYSHARDID", "(error) CLUSTERDOWN The cluster is not initialized"},
				{"CLUSTER MYSHARDID x", "(error) ERR wrong number of arguments for 'cluster|myshardid' command"},
				{"CLUSTERX SETNODEID " + string(id("a")), "OK"},
				{"CLUSTERX SETNODES '" + nodesText("a 0-16383") + "' 1", "OK"},
				{"CLUSTER MYSHARDID", `"` + string(id("a")) + `"`},
				{"CLUSTERX SETNODES '" + nodesText("b 0-16383") + string(id("a")) + " 127.0.0.1 7000 slave " + string(id("b")) + "\n" + "' 2", "OK"},
				{"CLUSTER MYSHARDID", `"` + string(id("b")) + `"`},
			},
		},
	} {
		t.Run(c.source, func(t *testing.T) {
			client := c.client(newWorld(t))
			exchange(t, client, c.table)
			if got := client.do("CLIENT", "INFO").Str; !strings.Contains(got, c.info) {
				t.Errorf("CLIENT INFO has not %q: %s", c.info, got)
			}
		})
	}
}

// TestWaitForDisk: WAITAOF waits for the disk in the modes in which other replies do not.
func TestWaitForDisk(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncInterval, SyncNever} {
		w := newWorld(t)
		n := w.manual(func(o *Options) { o.Cluster, o.Sync = false, mode })
		c := n.client()
		c.send("SET", "k", "v")
		c.send("WAITAOF", "1", "0", "0")
		w.run()
		if got := c.taken(); strings.Contains(got, "[1 0]") {
			t.Errorf("%s: %s before the sync", mode, got)
		}
		n.sync()
		w.run()
		if got := c.taken(); !strings.Contains(got, "[1 0]") {
			t.Errorf("%s: %q after it", mode, got)
		}
	}
}

// TestHelp: each container says which subcommands it has.
func TestHelp(t *testing.T) {
	c := newWorld(t).addNode(nil).client()
	for _, container := range []string{"CLIENT", "CLUSTER", "COMMAND", "CONFIG", "MEMORY", "OBJECT", "SLOWLOG", "GODWIT"} {
		got := c.do(container, "HELP").Elems
		if len(got) < 5 || len(got)%2 != 1 || got[0].Str != container+" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:" || got[len(got)-2].Str != "HELP" {
			t.Errorf("%s HELP: %s", container, got)
		}
	}
}
