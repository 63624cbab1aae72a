package engine

import (
	"errors"
	"strings"
	"testing"

	"godwit/engine/command"
	"godwit/engine/resp"
)

// words splits a line into arguments; 'a b' in quotes is one.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// exchange runs a table of requests and replies on one connection.
func exchange(t *testing.T, c *testClient, table [][2]string) {
	t.Helper()
	for _, row := range table {
		if got := c.do(words(row[0])...).String(); got != row[1] {
			t.Errorf("%s\n got %s\nwant %s", row[0], got, row[1])
		}
	}
}

func standalone(o *Options) { o.Cluster = false }

func TestConnectionCommands(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	exchange(t, n.client(), [][2]string{
		{"PING", "PONG"},
		{"ping hi", `"hi"`},
		{"PING a b", "(error) ERR wrong number of arguments for 'ping' command"},
		{"ECHO x", `"x"`},
		{"SELECT 0", "OK"},
		{"SELECT 1", "(error) ERR DB index is out of range"},
		{"SELECT a", "(error) ERR value is not an integer or out of range"},
		{"TIME", `["1700000000" "0"]`},
		{"READONLY", "(error) ERR Cluster mode is not enabled"},
		{"CLUSTER INFO", "(error) ERR Cluster mode is not enabled"},
		{"CLUSTER KEYSLOT a", "(error) ERR Cluster mode is not enabled"},
		{"CLUSTERX VERSION", "(error) ERR Cluster mode is not enabled"},
		{"GODWIT STATUS", "(error) ERR Cluster mode is not enabled"},
		{"AUTH a", "(error) " + errNoPassword},
		{"AUTH default any", "OK"},
		{"AUTH bob x", "(error) WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH a b c", "(error) ERR syntax error"},
		{"COMMAND COUNT extra", "(error) ERR wrong number of arguments for 'command|count' command"},
		{"COMMAND GETKEYS MSET a 1 b 2", `["a" "b"]`},
	})
}

func TestHello(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.RequirePass = "s3cret" })
	c := n.client()
	exchange(t, c, [][2]string{
		{"PING", "(error) NOAUTH Authentication required."},
		{"HELLO 4", "(error) NOPROTO unsupported protocol version"},
		{"HELLO x", "(error) ERR Protocol version is not an integer or out of range"},
		{"HELLO 3 foo", "(error) ERR Syntax error in HELLO option 'foo'"},
		{"HELLO 3 AUTH default", "(error) ERR Syntax error in HELLO option 'AUTH'"},
		{"HELLO 3", "(error) " + errHelloAuth},
		{"HELLO 3 AUTH default wrong", "(error) WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH wrong", "(error) WRONGPASS invalid username-password pair or user is disabled."},
		{"HELLO 3 AUTH default s3cret SETNAME 'a b'", "(error) ERR Client names cannot contain spaces, newlines or special characters."},
		{"HELLO 2 AUTH default s3cret SETNAME me", `["server" "redis" "version" "7.0.15" "proto" 2 "id" 1 "mode" "cluster" "role" "master" "modules" []]`},
		{"CLIENT GETNAME", `"me"`},
	})
	if v := c.do("HELLO", "3"); v.Kind != resp.MapKind {
		t.Errorf("HELLO 3 answers a %c", v.Kind)
	}
	if v := c.do("GET", "nothing"); v.Kind != resp.ErrorKind { // no map yet
		t.Errorf("GET before a map: %v", v)
	}
	exchange(t, c, [][2]string{
		{"RESET", "RESET"},
		{"PING", "(error) NOAUTH Authentication required."},
		{"AUTH s3cret", "OK"},
		{"CLIENT GETNAME", "(nil)"},
	})
	if v := c.do("HELLO"); v.Kind != resp.ArrayKind {
		t.Errorf("after RESET, HELLO answers a %c", v.Kind)
	}
}

func TestQuit(t *testing.T) {
	w := newWorld(t)
	c := w.addNode(standalone).client()
	c.s.Execute(bytesOf([]string{"SET", "a", "1"}))
	c.s.Execute(bytesOf([]string{"QUIT"}))
	c.s.Execute(bytesOf([]string{"SET", "a", "2"}))
	c.s.Flush()
	if !c.s.Closing() {
		t.Error("QUIT does not close")
	}
	w.run()
	if got := c.taken(); got != "OK | OK" {
		t.Errorf("replies %s, want those before and of QUIT", got)
	}
	if !c.s.Idle() {
		t.Error("not idle after QUIT")
	}
}

func TestClient(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	other := n.clientFrom("10.0.0.7:99", false)
	other.want("OK", "CLIENT", "SETNAME", "other")
	c := n.client()
	exchange(t, c, [][2]string{
		{"CLIENT ID", "2"},
		{"CLIENT GETNAME", "(nil)"},
		{"CLIENT SETNAME 'a b'", "(error) ERR Client names cannot contain spaces, newlines or special characters."},
		{"CLIENT SETNAME me", "OK"},
		{"CLIENT SETINFO LIB-NAME lib", "OK"},
		{"CLIENT SETINFO lib-ver 1.2", "OK"},
		{"CLIENT SETINFO lib-ver '1 2'", "(error) ERR lib-ver cannot contain spaces, newlines or special characters."},
		{"CLIENT SETINFO foo x", "(error) ERR Unrecognized option 'foo'"},
		{"CLIENT NO-EVICT foo", "(error) ERR syntax error"},
		{"CLIENT NO-EVICT ON", "OK"},
		{"CLIENT NO-TOUCH on", "OK"},
		{"CLIENT NO-TOUCH off", "OK"},
		{"CLIENT LIST TYPE foo", "(error) ERR Unknown client type 'foo'"},
		{"CLIENT LIST ID x", "(error) ERR Invalid client ID"},
		{"CLIENT LIST ID 77", `""`},
		{"CLIENT LIST TYPE master", `""`},
		{"CLIENT LIST foo", "(error) ERR syntax error"},
	})
	w.advance(3_000_000_000)
	line := "id=2 addr=10.0.0.9:5000 laddr=127.0.0.1:7000 fd=-1 name=me age=3 idle=0 flags=e db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 " +
		"qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|info user=default redir=-1 " +
		"resp=2 lib-name=lib lib-ver=1.2\n"
	if got := c.do("CLIENT", "INFO").Str; got != line {
		t.Errorf("CLIENT INFO\n got %s\nwant %s", got, line)
	}
	lines := strings.Split(strings.TrimSpace(c.do("CLIENT", "LIST").Str), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "id=1 addr=10.0.0.7:99 ") || !strings.Contains(lines[0], " name=other age=3 idle=3 ") {
		t.Errorf("CLIENT LIST:\n%s", strings.Join(lines, "\n"))
	}
	other.s.Close()
	if got := c.do("CLIENT", "LIST", "TYPE", "normal").Str; strings.Count(got, "\n") != 1 {
		t.Errorf("CLIENT LIST after the other has left:\n%s", got)
	}
}

// TestConfigOfMoves: what the migrator lets operators set is a part of CONFIG, and all or nothing is set with it.
func TestConfigOfMoves(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(*Options) {})
	c := n.client()
	n.mig.pauseTarget = "50ms"
	exchange(t, c, [][2]string{
		{"CONFIG GET pause-*", `["pause-target" "50ms"]`},
		{"CONFIG SET pause-target 9ms maxclients 77", "OK"},
		{"CONFIG GET pause-target maxclients", `["maxclients" "77" "pause-target" "9ms"]`},
		{"CONFIG SET pause-target 8ms pause-target 7ms", "(error) ERR CONFIG SET failed (possibly related to argument 'pause-target') - duplicate parameter"},
		{"CONFIG SET pause-target 8ms maxclients 0", "(error) ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive"},
	})
	n.mig.err = errors.New("no")
	exchange(t, c, [][2]string{
		{"CONFIG SET maxclients 5 PAUSE-TARGET 8ms", "(error) ERR CONFIG SET failed (possibly related to argument 'pause-target') - no"},
		{"CONFIG GET pause-target maxclients", `["maxclients" "77" "pause-target" "9ms"]`},
	})
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(standalone)
	c := n.client()
	exchange(t, c, [][2]string{
		{"CONFIG GET SAVE", `["save" ""]`},
		{"CONFIG GET max* sav?", `["maxclients" "10000" "maxmemory" "0" "maxmemory-policy" "noeviction" "save" ""]`},
		{"CONFIG GET nothing", `[]`},
		{"CONFIG GET *sync", `["appendfsync" "always" "sync" "always"]`},
		{"CONFIG SET appendfsync everysec", "OK"},
		{"CONFIG GET *sync", `["appendfsync" "everysec" "sync" "interval"]`},
		{"CONFIG SET sync never maxclients 3", "OK"},
		{"CONFIG GET appendfsync maxclients", `["appendfsync" "no" "maxclients" "3"]`},
		{"CONFIG SET foo bar", "(error) ERR Unknown option or number of arguments for CONFIG SET - 'foo'"},
		{"CONFIG SET maxclients 5 foo bar", "(error) ERR Unknown option or number of arguments for CONFIG SET - 'foo'"},
		{"CONFIG GET maxclients", `["maxclients" "3"]`},
		{"CONFIG SET cluster-enabled yes", "(error) ERR CONFIG SET failed (possibly related to argument 'cluster-enabled') - can't set immutable config"},
		{"CONFIG SET appendfsync x", "(error) ERR CONFIG SET failed (possibly related to argument 'appendfsync') - argument(s) must be one of the following: everysec, always, no"},
		{"CONFIG SET maxclients abc", "(error) ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer"},
		{"CONFIG SET maxclients 0", "(error) ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive"},
		{"CONFIG SET sync no sync never", "(error) ERR CONFIG SET failed (possibly related to argument 'sync') - argument(s) must be one of the following: always, interval, never"},
		{"CONFIG SET sync always sync never", "(error) ERR CONFIG SET failed (possibly related to argument 'sync') - duplicate parameter"},
		{"CONFIG SET sync", "(error) ERR wrong number of arguments for 'config|set' command"},
		{"CONFIG SET sync always save", "(error) ERR wrong number of arguments for 'config|set' command"},
		{"CONFIG RESETSTAT", "OK"},
		{"CONFIG SET requirepass pw", "OK"},
		{"PING", "PONG"}, // this connection has been let in
	})
	n.client().want("(error) NOAUTH Authentication required.", "PING")
	n.client()
	if _, err := n.NewSession(SessionOptions{}); err != ErrMaxClients { //nolint:errorlint // the very value
		t.Errorf("a fourth connection: %v", err)
	}
}

// infoFields parses INFO.
func infoFields(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, line := range strings.Split(text, "\r\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Errorf("INFO has the line %q", line)
		}
		out[name] = value
	}
	return out
}

func TestInfo(t *testing.T) {
	w := newWorld(t)
	n := w.addNode(func(o *Options) { o.Memory = func() (used, taken uint64) { return 1000, 2000 } })
	n.client().want("OK", "CLUSTERX", "SETNODEID", string(id("a")))
	n.setNodes("1", "", "a 0-16383")
	c := n.client()
	c.want("OK", "SET", "k", "v")
	c.want("OK", "SET", "e", "v", "PX", "100000")
	w.advance(90_000_000_000)
	f := infoFields(t, c.do("INFO").Str)
	for name, want := range map[string]string{
		"redis_version": "7.0.15", "kvrocks_version": "2.15.0", "godwit_version": "0.0.0-test", "redis_mode": "cluster",
		"role": "master", "cluster_enabled": "1", "connected_clients": "3", "uptime_in_seconds": "90", "tcp_port": "7000",
		"cluster_slots_served": "16384", "aof_enabled": "1", "sync_mode": "always", "loading": "0", "expired_keys": "0",
		"cluster_map_version": "1", "used_memory": "1000", "used_memory_rss": "2000",
	} {
		if f[name] != want {
			t.Errorf("INFO has %s:%s, want %s", name, f[name], want)
		}
	}
	if f["sequence"] == "" || f["sequence"] == "0" {
		t.Errorf("sequence:%s", f["sequence"])
	}
	if _, ok := f["db0"]; ok {
		t.Error("INFO without arguments counts the keys")
	}
	f = infoFields(t, c.do("INFO", "Keyspace").Str)
	if f["db0"] != "keys=2,expires=1,avg_ttl=0" {
		t.Errorf("db0:%s", f["db0"])
	}
	if text := c.do("INFO", "server", "stats").Str; !strings.HasPrefix(text, "# Server\r\n") || !strings.Contains(text, "\r\n\r\n# Stats\r\n") || strings.Contains(text, "# Memory") {
		t.Errorf("INFO server stats: %q", text)
	}
	c.want(`""`, "INFO", "nonsense")
	if text := c.do("INFO", "store").Str; !strings.HasPrefix(text, "# Store\r\n") {
		t.Errorf("INFO store: %q", text)
	}
}

// Every command of the table that the node must carry out is known to it: whatever the arguments, there is one reply.
func TestServerCommandsAreAllKnown(t *testing.T) {
	w := newWorld(t)
	n := w.born("a 0-16383")[0]
	check := func(s *command.Spec) {
		if !s.Is(command.Server) || len(s.Sub) > 0 && s.Name != "command" {
			return
		}
		for extra := range 4 {
			args := strings.Split(s.Name, "|")
			count := max(s.Arity, -s.Arity)
			if s.Arity < 0 {
				count += extra
			}
			for len(args) < count {
				args = append(args, "1")
			}
			c := n.client()
			if v := c.do(args...); v.Kind == resp.ErrorKind && strings.Contains(v.Str, "not available on this node") {
				t.Errorf("%q: %s", args, v.Str)
			}
			c.s.Close()
			n.unpauseClients(0) // CLIENT PAUSE 1 was one of them
		}
	}
	for _, s := range command.NewTable().All() {
		check(s)
		for _, sub := range s.Sub {
			check(sub)
		}
	}
}
