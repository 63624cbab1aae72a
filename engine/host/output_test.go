package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine"
)

// logged is a log that tests may read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// logTo makes a server log to l.
func logTo(l *logged) func(*Config) {
	return func(c *Config) { c.Log = slog.New(slog.NewTextHandler(l, nil)) }
}

// setLarge writes a value of a mebibyte under the key a and returns the reply of reading it.
func setLarge(c *client) (reply string) {
	value := strings.Repeat("v", 1<<20)
	c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", len(value), value))
	c.expect("+OK\r\n")
	return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
}

// TestOutputLimit: what waits for a connection may reach its limit, and a byte more closes it, with a line in the log.
func TestOutputLimit(t *testing.T) {
	const limit = 100
	var log logged
	s := start(t, func(c *Config) {
		logTo(&log)(c)
		c.Limits.OutputBytes = limit
	})
	here, there := net.Pipe()
	defer there.Close()
	c := &conn{srv: s, nc: here, progress: make(chan struct{}, 1), writer: true} // as if somebody wrote what the client does not read
	var err error
	if c.session, err = s.Node().NewSession(engine.SessionOptions{Remote: "pipe", Deliver: c.deliver, Hangup: func() { here.Close() }}); err != nil {
		t.Fatal(err)
	}
	c.deliver(make([]byte, limit-1))
	c.deliver(make([]byte, 1))
	if n, _ := c.unwritten(); n != limit || c.broken {
		t.Fatalf("%d bytes wait, want the limit of %d", n, limit)
	}
	c.deliver(make([]byte, 1))
	if n, _ := c.unwritten(); n != -1 || len(c.out) != 0 {
		t.Errorf("%d bytes wait although the limit was exceeded", len(c.out))
	}
	if _, err := there.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is not closed")
	}
	if !log.has("too many bytes of replies waited") || !log.has("remote=pipe bytes=101 limit=100") {
		t.Errorf("the log says %s", log.b.String())
	}
}

// TestQueuedReadsAreBounded: a client whose reads waited for a slot, and that does not read what they answer, is closed before more than
// the limit waits for it; with less than that it gets everything.
func TestQueuedReadsAreBounded(t *testing.T) {
	const reads = 64
	for name, limit := range map[string]int{"all fits": (reads + 1) << 21, "too much": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			var log logged
			s, sl := pausedNode(t, func(c *Config) {
				logTo(&log)(c)
				c.Limits.OutputBytes = limit
			})
			s.Node().Exclusive(sl, func(o *engine.Owned) { o.Unpause() })
			c := dial(t, s)
			reply := setLarge(c)
			s.Node().Exclusive(sl, func(o *engine.Owned) { o.Pause() })
			c.send("SET b{a} 1\r\n" + strings.Repeat("GET a\r\n", reads))
			if !until(func() bool { return s.backlog() == reads*len("GETa") }) {
				t.Fatalf("%d bytes wait behind the parked command", s.backlog())
			}
			s.Node().Exclusive(sl, func(o *engine.Owned) { o.Unpause() })
			if name == "all fits" {
				c.expect("+OK\r\n" + strings.Repeat(reply, reads))
				return
			}
			if !until(func() bool { return s.connections() == 0 }) {
				t.Error("the connection is still there")
			}
			if !log.has("too many bytes of replies waited") {
				t.Errorf("the log says %s", log.b.String())
			}
		})
	}
}

// TestUnreadReplies: a client that reads nothing for too long is closed, with a line in the log. Meanwhile no more of its commands run than
// give it something to read.
func TestUnreadReplies(t *testing.T) {
	var log logged
	s := start(t, func(c *Config) {
		logTo(&log)(c)
		c.Limits.UnreadDeadline = 300 * time.Millisecond
	})
	c := dial(t, s)
	setLarge(c)
	before := s.Node().Store().Last()
	c.send(strings.Repeat("GET a\r\n", 200) + "SET b 1\r\n")
	if !until(func() bool { return s.connections() == 0 }) {
		t.Fatal("the connection is still there")
	}
	if s.Node().Store().Last() != before {
		t.Error("the command behind the replies that nobody read has run")
	}
	if !log.has("whose client left its replies unread") {
		t.Errorf("the log says %s", log.b.String())
	}
}

// TestSlowReaderIsKept: a client that takes its replies slowly gets all of them.
func TestSlowReaderIsKept(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.UnreadDeadline = 2 * time.Second })
	c := dial(t, s)
	reply := setLarge(c)
	const gets = 100
	c.send(strings.Repeat("GET a\r\n", gets))
	for range gets {
		c.expect(reply)
	}
}

// backlog is how many bytes of commands wait behind unfinished ones.
func (s *Server) backlog() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		n += c.session.Backlog()
	}
	return n
}
