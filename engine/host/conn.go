package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"godwit/engine"
)

// Sizes and times of a connection.
const (
	readBuffer    = 16 << 10 // of a connection that sends small commands
	keepBuffer    = 64 << 10 // larger buffers are given back when they are empty
	keepArguments = 1 << 10  // longer lists of arguments are not kept

	// flushEvery is after how many commands of one pipeline, or how many bytes of them, their replies are handed out: it bounds
	// how many replies are held in memory that the client may not be reading. They are given to the session together.
	flushEvery      = 64
	flushEveryBytes = 64 << 10
	// outputBytes is how much may wait to be written before the connection runs no further command.
	outputBytes = 1 << 20
	// sendBytes is how much is written at once, which the client must have taken before the deadline.
	sendBytes = 1 << 20
	// aheadCommands is how many commands may be ahead of the replies, which wait for the disk or for a slot.
	aheadCommands = 16 << 10

	// endGrace is how long the end of what the client sends leaves to what is underway: a client may close its half of the
	// connection and still read.
	endGrace = time.Second
	// lingerTime and lingerBytes bound how long the rest of a refused request is read: closing the socket earlier would
	// reset it and destroy the error on its way.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 16 << 20
)

// conn is a connection. Its reader goroutine reads, runs the commands, and writes the replies that are ready by then, so
// that a request which waits for nothing costs no switch of goroutines. It then reads again: it never waits for replies
// unless a limit is reached, and so notices a peer that has gone. Replies that become ready later are delivered on other
// goroutines and written by a goroutine that lives as long as there are any.
type conn struct {
	srv     *Server
	nc      net.Conn
	session *engine.Session

	// The reader's.
	in         []byte // in[from:] has been read and not been run
	from       int
	requests   requests
	commands   [][][]byte // that are run together
	argv       [][]byte   // their arguments
	ahead      int        // commands since the session was last seen idle
	aheadBytes int        // their bytes
	ending     bool       // the client sends no more, or the server shuts down

	// progress gets a token when a reply was delivered or written: what the reader may wait for has come nearer.
	progress chan struct{}

	mu     sync.Mutex
	out    []byte // delivered, and not yet taken for writing
	spare  []byte // the buffer that out alternates with; nil while it is being written
	writer bool   // somebody writes what is in out, now or at the end of a batch
	broken bool   // a write failed: nothing can be delivered
}

// deliver implements engine.SessionOptions.Deliver.
func (c *conn) deliver(b []byte) {
	c.mu.Lock()
	if c.broken {
		c.mu.Unlock()
		c.noteProgress()
		return
	}
	if n := len(c.out) + len(b); n > c.srv.limits.OutputBytes {
		c.broken, c.out = true, nil
		c.mu.Unlock()
		c.session.Overflow(n)
		c.noteProgress()
		return
	}
	c.out = append(c.out, b...)
	start := !c.writer
	c.writer = true
	c.mu.Unlock()
	if start {
		go c.writeLate()
	}
}

// writeLate writes replies that were delivered while the reader was not running commands.
func (c *conn) writeLate() {
	c.write()
	c.noteProgress()
	if c.session.Closing() && c.session.Idle() {
		_ = c.nc.SetReadDeadline(past) // the reader closes; a socket that fails has done so already
	}
}

func (c *conn) noteProgress() {
	select {
	case c.progress <- struct{}{}:
	default:
	}
}

// become makes the caller the writer, unless somebody is.
func (c *conn) become() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writer {
		return false
	}
	c.writer = true
	return true
}

// write writes until there is nothing left, and then ends the caller's being the writer.
func (c *conn) write() {
	for {
		c.mu.Lock()
		if len(c.out) == 0 {
			c.writer = false
			c.mu.Unlock()
			return
		}
		b := c.out
		c.out, c.spare = c.spare, nil
		c.mu.Unlock()
		err := c.send(b)
		c.mu.Lock()
		if cap(b) <= keepBuffer {
			c.spare = b[:0]
		}
		if err != nil {
			c.broken, c.out = true, nil
		}
		c.mu.Unlock()
		if err != nil {
			_ = c.nc.Close() // wakes the reader
		}
	}
}

// send writes to the socket, a part at a time, each within the time that a client may leave its replies unread.
func (c *conn) send(b []byte) error {
	for len(b) > 0 {
		part := b[:min(len(b), sendBytes)]
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.UnreadDeadline)); err != nil {
			return fmt.Errorf("set a deadline for writing: %w", err)
		}
		if _, err := c.nc.Write(part); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.srv.log.Warn("a connection was closed whose client left its replies unread", "remote", c.nc.RemoteAddr().String(),
					"bytes", len(b), "after", c.srv.limits.UnreadDeadline)
			}
			return fmt.Errorf("write: %w", err)
		}
		b = b[len(part):]
	}
	return nil
}

// unwritten is how many bytes wait to be written, -1 if none can be, and whether somebody is writing.
func (c *conn) unwritten() (bytes int, writing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return -1, c.writer
	}
	return len(c.out), c.writer
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// serve is the life of a connection after its session has been opened.
func (c *conn) serve() {
	err := c.readAll()
	var protocol *protocolError
	switch {
	case errors.As(err, &protocol):
		// What came before is answered before the error is.
		c.settle(0)
		c.session.Fail(protocol.Error())
		c.settle(0)
		c.linger()
	case errors.Is(err, io.EOF):
		c.ending = true
		c.settle(endGrace)
	case errors.Is(err, os.ErrDeadlineExceeded): // QUIT behind a command that waited, or the server shuts down
		c.ending = true
		c.settle(0)
	case err == nil: // QUIT
		c.settle(0)
	}
	c.session.Close()
	_ = c.nc.Close()
}

// readAll reads and runs commands until the session wants to be closed (nil), the client's bytes are wrong, or the socket
// fails.
func (c *conn) readAll() error {
	for {
		if err := c.runBatch(); err != nil || c.session.Closing() {
			return err
		}
		if err := c.holdBack(); err != nil {
			return err
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}

// read reads once, into a buffer that grows with what arrives, never with what was announced.
func (c *conn) read() error {
	switch {
	case c.from == len(c.in):
		if cap(c.in) == 0 || cap(c.in) > keepBuffer {
			c.in = make([]byte, 0, readBuffer)
		}
		c.in, c.from = c.in[:0], 0
	case len(c.in) == cap(c.in) && c.from > 0 && c.from >= cap(c.in)/2:
		c.in, c.from = c.in[:copy(c.in, c.in[c.from:])], 0
	case len(c.in) == cap(c.in):
		grown := make([]byte, len(c.in)-c.from, 2*cap(c.in))
		copy(grown, c.in[c.from:])
		c.in, c.from = grown, 0
	}
	n, err := c.nc.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil // an error will come again
	}
	return err
}

// runBatch runs the complete commands that have been read and writes the replies that are ready.
func (c *conn) runBatch() error {
	if c.from == len(c.in) {
		return nil
	}
	mine := c.become()
	err := c.runCommands(&mine)
	c.session.Flush()
	if mine {
		c.write()
	}
	return err
}

// runCommands runs commands, some at a time; mine says whether the caller is the writer.
func (c *conn) runCommands(mine *bool) error {
	for {
		more, err := c.cut()
		rest := c.commands[c.session.ExecuteAll(c.commands):]
		for len(rest) > 0 {
			if err := c.handOut(mine); err != nil || c.session.Closing() {
				return err
			}
			rest = rest[c.session.ExecuteAll(rest):]
		}
		c.forgetCommands()
		if err != nil || !more {
			return err
		}
		if err := c.handOut(mine); err != nil || c.session.Closing() {
			return err
		}
	}
}

// handOut writes the replies that there are, and waits while the client is too far ahead.
func (c *conn) handOut(mine *bool) error {
	c.session.Flush()
	if *mine {
		c.write()
		*mine = false
	}
	if err := c.holdBack(); err != nil {
		return err
	}
	*mine = c.become()
	return nil
}

// forgetCommands lets go of the commands that have run, and makes room for as many arguments as they had, within limits.
func (c *conn) forgetCommands() {
	arguments := 0
	for _, args := range c.commands {
		arguments += len(args)
	}
	clear(c.commands)
	clear(c.argv)
	c.commands, c.argv = c.commands[:0], c.argv[:0]
	if cap(c.argv) < arguments && arguments <= keepArguments {
		c.argv = make([][]byte, 0, arguments)
	}
}

// cut cuts the next commands out of what has been read, as many as may run before their replies are handed out. more says that
// there may be others. The error belongs behind the commands that were cut.
func (c *conn) cut() (more bool, err error) {
	for begin := c.from; len(c.commands) < flushEvery && c.from-begin < flushEveryBytes; {
		args, length, err := c.requests.next(c.in[c.from:], c.argv[len(c.argv):])
		if err != nil || length == 0 {
			return false, err
		}
		if c.in[c.from] != '*' && crossProtocol(args) {
			c.srv.log.Warn("a connection was closed that sent an HTTP request: a web page may be trying to use this server", "remote", c.nc.RemoteAddr().String())
			return false, errCrossProtocol
		}
		c.from += length
		if len(args) == 0 {
			continue
		}
		c.commands = append(c.commands, args)
		if at := len(c.argv); at+len(args) <= cap(c.argv) { // else they got memory of their own
			c.argv = c.argv[:at+len(args)]
		}
		c.ahead++
		c.aheadBytes += length
	}
	return true, nil
}

// errCrossProtocol ends a connection without an answer.
var errCrossProtocol = errors.New("an HTTP request")

// crossProtocol recognises the lines by which a browser that was led to this port gives itself away, as Redis does: a page
// could otherwise send commands in the body of a request.
func crossProtocol(args [][]byte) bool {
	return len(args) > 0 && (bytes.EqualFold(args[0], []byte("post")) || bytes.EqualFold(args[0], []byte("host:")))
}

// holdBack waits while the client is too far ahead: its replies wait to be written, or its commands to be run. The error says that
// nothing can be written any more.
func (c *conn) holdBack() error {
	for {
		n, writing := c.unwritten()
		if n < 0 {
			return net.ErrClosed
		}
		tooMuch := writing && n > outputBytes || c.session.Output() > outputBytes
		if c.ahead >= aheadCommands || c.aheadBytes >= c.srv.limits.PipelineBytes {
			if c.session.Idle() {
				c.ahead, c.aheadBytes = 0, 0
			} else {
				tooMuch = true
			}
		}
		if !tooMuch {
			return nil
		}
		select {
		case <-c.progress:
		case <-c.srv.kill:
			return net.ErrClosed
		}
	}
}

// settle waits until every command has run and every reply has been written, at most for the time given; 0 means until
// the server's patience with shutting down ends, which is for ever while it is not.
func (c *conn) settle(limit time.Duration) {
	var expired <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		expired = t.C
	}
	for {
		if c.session.Idle() && !c.writing() { // in this order: what is delivered is written next
			return
		}
		if c.ending && c.session.WaitsForKey() { // perhaps for ever; and who has gone should not be given what others wait for
			return
		}
		select {
		case <-c.progress:
		case <-expired:
			return
		case <-c.srv.kill:
			return
		}
	}
}

func (c *conn) writing() bool {
	_, writing := c.unwritten()
	return writing
}

// linger ends our half of the connection and passes over what the client is still sending.
func (c *conn) linger() {
	if tcp, ok := c.nc.(*net.TCPConn); ok && tcp.CloseWrite() == nil && c.nc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.nc, lingerBytes) // whatever it is, the connection is closed next
	}
}
