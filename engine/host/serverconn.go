package host

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"godwit/engine/env"
)

// serverConn is a connection to a server that is no peer. A goroutine runs while there is something to say; it says one thing after the
// other, and waits for the replies in between.
type serverConn struct {
	s    *Servers
	addr string

	mu      sync.Mutex
	queue   []saying
	running bool
	broken  bool
	conn    net.Conn    // nil before it was made
	unhook  func() bool // ends the watch on Servers.stop
}

// saying is one call of Do.
type saying struct {
	commands [][][]byte
	limit    int
	timeout  time.Duration
	done     func([][]byte, error)
}

// Open implements env.Servers.
func (s *Servers) Open(addr string) env.ServerConn { return &serverConn{s: s, addr: addr} }

// Do implements env.ServerConn.
func (c *serverConn) Do(commands [][][]byte, limit int, timeout time.Duration, done func([][]byte, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, saying{commands, limit, timeout, done})
	if !c.running {
		c.running = true
		go c.run()
	}
}

// Close implements env.ServerConn.
func (c *serverConn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = true
	c.drop()
}

// drop closes the connection, if there is one. c.mu is held.
func (c *serverConn) drop() {
	if c.conn != nil {
		c.unhook()
		_ = c.conn.Close()
	}
}

// run says what there is to say.
func (c *serverConn) run() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		next := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		replies, err := c.say(&next)
		c.s.life.run(func() { next.done(replies, err) })
	}
}

func (c *serverConn) say(w *saying) ([][]byte, error) {
	conn, err := c.connected(w.timeout)
	if err != nil {
		return nil, err
	}
	replies, err := exchange(conn, w.commands, w.limit, w.timeout)
	if err != nil {
		c.Close()
	}
	return replies, err
}

// connected is the connection, which is made if there was none.
func (c *serverConn) connected(timeout time.Duration) (net.Conn, error) {
	c.mu.Lock()
	conn, broken := c.conn, c.broken
	c.mu.Unlock()
	switch {
	case broken:
		return nil, fmt.Errorf("%w: the connection to %s is closed", env.ErrLink, c.addr)
	case conn != nil:
		return conn, nil
	}
	conn, err := c.s.dial(c.addr, timeout)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.broken = true
		return nil, err
	}
	c.conn = conn
	c.unhook = context.AfterFunc(c.s.stop, func() { _ = conn.Close() })
	if c.broken { // closed meanwhile
		c.drop()
	}
	return conn, nil
}
