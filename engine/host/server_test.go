package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// loopsEnv names the variable by which a test that runs other tests sets Config.Loops.
const loopsEnv = "GODWIT_TEST_LOOPS"

// start runs a server for the time of the test.
func start(t *testing.T, change func(*Config)) *Server {
	t.Helper()
	cfg := Config{
		Listen: "127.0.0.1:0", Dir: t.TempDir(), Sync: engine.SyncNever, CacheBytes: 8 << 20, MemTableBytes: 4 << 20,
		Fatal: func(err error) { panic(err) },
	}
	cfg.Loops, _ = strconv.Atoi(os.Getenv(loopsEnv)) // 0 without
	if change != nil {
		change(&cfg)
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// client is a socket that everything must happen on within some seconds.
type client struct {
	t  *testing.T
	nc net.Conn
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{t, nc}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads exactly what is wanted.
func (c *client) expect(want string) {
	c.t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(c.nc, b)
	if string(b[:n]) != want {
		c.t.Fatalf("got %.200q, want %.200q (%v)", b[:n], want, err)
	}
}

// expectEnd reads up to the end of the connection, which must come in good order.
func (c *client) expectEnd(want string) {
	c.t.Helper()
	b, err := io.ReadAll(c.nc)
	if err != nil || string(b) != want {
		c.t.Fatalf("got %.200q and %v, want %.200q and the end", b, err, want)
	}
}

func TestPipelining(t *testing.T) {
	for _, mode := range []engine.SyncMode{engine.SyncAlways, engine.SyncNever} {
		t.Run(mode.String(), func(t *testing.T) {
			s := start(t, func(c *Config) { c.Sync = mode })
			c := dial(t, s)
			const n = 3*flushEvery + 7
			var sent, want strings.Builder
			for i := range n {
				fmt.Fprintf(&sent, "*3\r\n$3\r\nSET\r\n$4\r\n%04d\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$4\r\n%04d\r\nPING\r\n", i, i)
				want.WriteString("+OK\r\n$1\r\nv\r\n+PONG\r\n")
			}
			c.send(sent.String())
			c.expect(want.String())
		})
	}
}

func TestPartialReads(t *testing.T) {
	c := dial(t, start(t, nil))
	for _, b := range []byte("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\n\r\n!\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n") {
		c.send(string(b))
		time.Sleep(200 * time.Microsecond)
	}
	c.expect("+OK\r\n$3\r\n\r\n!\r\n")
}

func TestLargeValue(t *testing.T) {
	c := dial(t, start(t, nil))
	value := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", len(value), value))
	c.expect("+OK\r\n")
	for range 3 {
		c.send("GET a\r\n")
		c.expect(fmt.Sprintf("$%d\r\n%s\r\n", len(value), value))
	}
}

func TestInlineCommands(t *testing.T) {
	c := dial(t, start(t, nil))
	c.send("SET a \"b c\"\r\n\r\nGET a\nPING\r\n")
	c.expect("+OK\r\n$3\r\nb c\r\n+PONG\r\n")
}

func TestProtocolErrors(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.BulkBytes = 1 << 20 })
	for name, sent := range map[string]string{
		"a huge length":           "*2\r\n$3\r\nGET\r\n$1073741824\r\n" + strings.Repeat("x", 1<<20),
		"a length over the limit": "*2\r\n$3\r\nGET\r\n$1048577\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s)
			c.send("PING\r\n" + sent)
			c.expectEnd("+PONG\r\n-ERR Protocol error: invalid bulk length\r\n")
		})
	}
	c := dial(t, s)
	c.send("PING\r\n")
	c.expect("+PONG\r\n")
}

func TestHTTPRequestIsCutOff(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a b\r\n")
	if b, _ := io.ReadAll(c.nc); len(b) > 0 {
		t.Errorf("a POST was answered with %q", b)
	}
	c = dial(t, s)
	c.send("GET a\r\n")
	c.expect("$-1\r\n")
}

func TestQuit(t *testing.T) {
	c := dial(t, start(t, func(c *Config) { c.Sync = engine.SyncAlways }))
	c.send("SET a b\r\nQUIT\r\nGET a\r\n")
	c.expectEnd("+OK\r\n+OK\r\n")
}

func TestAuth(t *testing.T) {
	c := dial(t, start(t, func(c *Config) { c.RequirePass = "sesame" }))
	c.send("GET a\r\nAUTH sesame\r\nGET a\r\n")
	c.expect("-NOAUTH Authentication required.\r\n+OK\r\n$-1\r\n")
}

// TestHalfClosed is "printf … | nc": the client says that it has no more to send, and reads.
func TestHalfClosed(t *testing.T) {
	c := dial(t, start(t, func(c *Config) { c.Sync = engine.SyncAlways }))
	c.send("SET a b\r\nGET a\r\n")
	if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.expectEnd("+OK\r\n$1\r\nb\r\n")
}

func (s *Server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func TestMaxClients(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.MaxClients = 2 })
	a, b := dial(t, s), dial(t, s)
	for _, c := range []*client{a, b} {
		c.send("PING\r\n")
		c.expect("+PONG\r\n")
	}
	dial(t, s).expectEnd("-ERR max number of clients reached\r\n")
	a.nc.Close()
	if !until(func() bool { return s.connections() == 1 }) {
		t.Fatal("the connection of a client that went is still there")
	}
	d := dial(t, s)
	d.send("PING\r\n")
	d.expect("+PONG\r\n")
}

func TestChurn(t *testing.T) {
	s := start(t, nil)
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 50 {
				nc, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				want := "+PONG\r\n"
				_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err = io.WriteString(nc, "PING\r\n"); err != nil {
					t.Error(err)
				}
				b := make([]byte, len(want))
				if i%3 != w%3 { // the others go without reading
					if _, err = io.ReadFull(nc, b); err != nil || string(b) != want {
						t.Errorf("got %q and %v", b, err)
					}
				}
				nc.Close()
			}
		}()
	}
	wg.Wait()
	if !until(func() bool { return s.connections() == 0 }) {
		t.Errorf("%d connections are left", s.connections())
	}
}

// TestClientThatDoesNotRead checks that a client cannot make the server hold more than some replies for it.
func TestClientThatDoesNotRead(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	value := strings.Repeat("v", 1<<20)
	c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", len(value), value))
	c.expect("+OK\r\n")
	const gets = 2000 // two gigabytes of replies
	c.send(strings.Repeat("GET a\r\n", gets))
	time.Sleep(100 * time.Millisecond)
	other := dial(t, s)
	other.send("INFO stats\r\n")
	c.expect(fmt.Sprintf("$%d\r\n%s\r\n", len(value), value))
	c.nc.Close()
	if !until(func() bool { return s.connections() == 1 }) {
		t.Error("the connection of a client that went is still there")
	}
}

// pause makes a node of a cluster that serves every slot park the writes of one.
func pausedNode(t *testing.T, change func(*Config)) (*Server, slot.Slot) {
	s := start(t, func(c *Config) {
		c.Cluster = true
		if change != nil {
			change(c)
		}
	})
	sl := slot.OfKey([]byte("a"))
	s.Node().Exclusive(sl, func(o *engine.Owned) {
		o.Commit(o.Store().NewBatch(), cluster.Record{State: cluster.Serving, Epoch: 1})
		o.Pause()
	})
	return s, sl
}

func TestParkedCommand(t *testing.T) {
	s, sl := pausedNode(t, nil)
	c := dial(t, s)
	c.send("SET a 1\r\nGET a\r\n")
	c.send("GET a\r\nSET a 2\r\nGET a\r\nQUIT\r\n")
	time.Sleep(50 * time.Millisecond)
	s.Node().Exclusive(sl, func(o *engine.Owned) { o.Unpause() })
	c.expectEnd("+OK\r\n$1\r\n1\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n+OK\r\n")
}

func TestParkedCommandOfAClosedPeer(t *testing.T) {
	s, _ := pausedNode(t, nil)
	c := dial(t, s)
	c.send("SET a 1\r\n")
	if !until(func() bool { return s.connections() == 1 }) {
		t.Fatal("no connection")
	}
	c.nc.Close()
	begin := time.Now()
	if !until(func() bool { return s.connections() == 0 }) {
		t.Fatal("the connection is still there")
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("the server noticed after %v", d)
	}
}

func TestParkedPipelineIsBounded(t *testing.T) {
	const limit = 1 << 20
	s, sl := pausedNode(t, func(c *Config) { c.Limits.PipelineBytes = limit })
	c := dial(t, s)
	c.send("SET a 1\r\n")
	one := "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000\r\n" + strings.Repeat("v", 1000) + "\r\n"
	const n = 20_000 // 20 MB
	var sent sync.WaitGroup
	sent.Add(1)
	go func() {
		defer sent.Done()
		_, _ = io.WriteString(c.nc, strings.Repeat(one, n)) // what did not arrive shows in the replies
	}()
	if !until(func() bool { return s.backlog() > limit*9/10 }) {
		t.Errorf("%d bytes wait behind the parked command, want about %d", s.backlog(), limit)
	}
	if got := s.backlog(); got > limit+keepBuffer {
		t.Errorf("%d bytes wait behind the parked command, want at most about %d", got, limit)
	}
	s.Node().Exclusive(sl, func(o *engine.Owned) { o.Unpause() })
	c.expect(strings.Repeat("+OK\r\n", n+1))
	sent.Wait()
}

func TestShutdownLetsCommandsFinish(t *testing.T) {
	s, sl := pausedNode(t, func(c *Config) { c.Sync = engine.SyncAlways })
	c := dial(t, s)
	c.send("SET a 1\r\n")
	if !until(func() bool { return s.connections() == 1 }) {
		t.Fatal("no connection")
	}
	time.Sleep(50 * time.Millisecond)
	time.AfterFunc(100*time.Millisecond, func() {
		s.Node().Exclusive(sl, func(o *engine.Owned) { o.Unpause() })
	})
	stop(t, s)
	c.expectEnd("+OK\r\n")
}

func TestShutdownIsBounded(t *testing.T) {
	s, _ := pausedNode(t, nil)
	c := dial(t, s)
	c.send("SET a 1\r\n")
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("shutting down took %v", d)
	}
}

func TestShutdownKeepsWhatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	s := start(t, func(c *Config) { c.Dir = dir })
	c := dial(t, s)
	c.send("SET a kept\r\n")
	c.expect("+OK\r\n")
	stop(t, s)
	c.expectEnd("")
	c = dial(t, start(t, func(c *Config) { c.Dir = dir }))
	c.send("GET a\r\n")
	c.expect("$4\r\nkept\r\n")
}

func TestFutureFormatIsRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	stop(t, start(t, func(c *Config) { c.Dir = dir }))
	names, err := filepath.Glob(filepath.Join(dir, "*FORMAT*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("the file of the format version: %q, %v", names, err)
	}
	if err := os.WriteFile(names[0], []byte("godwit 99\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	_, err = Start(Config{Listen: "127.0.0.1:0", Dir: dir})
	if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v, want an error that names version 99", err)
	}
	if after := snapshot(t, dir); !bytes.Equal(before, after) {
		t.Errorf("the directory was changed:\n%s\nbecame\n%s", before, after)
	}
}

// snapshot lists the files of a directory with their sizes, times and contents.
func snapshot(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %v %x\n", e.Name(), info.Size(), info.ModTime(), text)
	}
	return b.Bytes()
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Listen: "6666", Dir: "d"}, "want HOST:PORT"},
		{Config{Listen: "127.0.0.1:0", Dir: "d", Announce: "here"}, "announced address"},
		{Config{Listen: "127.0.0.1:0"}, "data directory is missing"},
		{Config{Listen: "127.0.0.1:99999", Dir: "d"}, "listen at 127.0.0.1:99999"},
	} {
		if _, err := Start(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
