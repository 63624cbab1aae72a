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
	readBuffer = 16 << 10 // of a connection that sends small commands
	keepBuffer = 64 << 10 // larger buffers are given back when they are empty
	// keepPeerBuffer is likewise for the connections of peers, whose large messages come one after another: to grow for each anew costs two copies.
	keepPeerBuffer = 8 << 20
	keepArguments  = 1 << 10 // longer lists of arguments are not kept

	// flushEvery is after how many commands of one pipeline, or how many bytes of them, their replies are handed out: it bounds
	// how many replies are held in memory that the client may not be reading. They are given to the session together.
	flushEvery      = 64
	flushEveryBytes = 64 << 10
	// outputBytes is how much may wait to be written before the connection runs no further command.
	outputBytes = 1 << 20
	// putOffBytes is how much may wait for other connections before it is written.
	putOffBytes = 64 << 10
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

// looped is a socket of a connection that a loop reads (see loops), and that can be given to a goroutine and back.
type looped interface {
	net.Conn
	// readNow and writeNow do what can be done without waiting; errNotNow says that there is nothing, or no room. writeNow returns how
	// much it has written also with an error.
	readNow(b []byte) (int, error)
	writeNow(b []byte) (int, error)
	// park gives the connection to the loop, which will call conn.turn when there is something to read. An error is why the reader must
	// end instead.
	park() error
	// interrupt has the reader, whoever it is, end with an error.
	interrupt(err error)
	// writeSoon has the loop call conn.writeLate.
	writeSoon()
}

// conn is a connection. Its reader reads, runs the commands, and writes the replies that are ready by then, so that a request which
// waits for nothing costs no switch of goroutines. It then reads again: it never waits for replies unless a limit is reached,
// and so notices a peer that has gone. Replies that become ready later are delivered on other goroutines and written by the loop,
// or by a goroutine that lives as long as there are any.
//
// The reader is a loop, where there is one, as long as nothing must be waited for: turn. Otherwise, and in the end, it is a
// goroutine: serve.
type conn struct {
	srv     *Server
	nc      net.Conn
	looped  looped // nc if a loop may read, nil if a goroutine does
	session *engine.Session

	// The reader's.
	in         []byte // in[from:] has been read and not been run
	from       int
	requests   requests
	commands   [][][]byte // that are run together
	argv       [][]byte   // their arguments
	ran        int        // how many of them have run
	cutErr     error      // what is wrong with what comes behind them
	cutMore    bool       // there may be others
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
	switch {
	case !start:
	case c.looped != nil:
		c.looped.writeSoon()
	default:
		go c.writeLate()
	}
}

// writeLate writes replies that were delivered while the reader was not running commands.
func (c *conn) writeLate() {
	c.write()
	c.wroteLate()
}

func (c *conn) wroteLate() {
	c.noteProgress()
	if c.session.Closing() && c.session.Idle() {
		c.stopReading() // the reader closes
	}
}

// stopReading has the reader end when it reads next, with an error that is os.ErrDeadlineExceeded.
func (c *conn) stopReading() {
	if c.looped != nil {
		c.looped.interrupt(os.ErrDeadlineExceeded)
		return
	}
	_ = c.nc.SetReadDeadline(past) // a socket that fails ends by itself
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

// write writes until there is nothing left, and then ends the caller's being the writer. What a looped socket has no room for is
// written by a goroutine, which is the writer then.
func (c *conn) write() {
	for {
		b := c.take()
		if b == nil {
			return
		}
		if c.looped == nil {
			c.written(b, c.send(b))
			continue
		}
		n, err := c.looped.writeNow(b)
		if errors.Is(err, errNotNow) {
			go c.writeRest(b, n)
			return
		}
		c.written(b, err)
	}
}

// putOff has the loop write what was delivered when it has run what has arrived on other connections, so that a client is not woken
// by each reply by itself, and what runs commands stays in the processor's cache. The caller is the writer, and is it no more.
func (c *conn) putOff() {
	if n, _ := c.unwritten(); n > 0 && n < putOffBytes {
		c.looped.writeSoon()
		return
	}
	c.write()
}

// writeRest writes all but the first n bytes of a buffer, and what is delivered meanwhile, and waits for a client that does not read.
func (c *conn) writeRest(b []byte, n int) {
	for b != nil {
		c.written(b, c.send(b[n:]))
		b, n = c.take(), 0
	}
	c.wroteLate()
}

// take takes what was delivered for writing. Without anything it returns nil and ends the caller's being the writer.
func (c *conn) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		c.writer = false
		return nil
	}
	b := c.out
	c.out, c.spare = c.spare, nil
	return b
}

// written notes what came of writing a buffer that was taken.
func (c *conn) written(b []byte, err error) {
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

// errNotNow says that a socket has nothing to read, or no room for more.
var errNotNow = errors.New("not now")

// What turn and readAll return when nothing is wrong.
var (
	errGoOn   = errors.New("a goroutine must go on")
	errParked = errors.New("the loop reads")
	errQuit   = errors.New("the session is over")
)

// turn reads once and runs what has arrived, on a loop, which must not wait: nil says that the loop may go on reading, errGoOn
// that a goroutine must, and anything else why the connection ends.
func (c *conn) turn() error {
	err := c.read(c.looped.readNow)
	switch {
	case errors.Is(err, errNotNow):
		c.lendBuffer()
		return nil
	case err != nil:
		return err
	}
	if err := c.runBatch(errGoOn); err != nil {
		return err
	}
	if c.session.Closing() {
		return errQuit
	}
	if c.session.IsPeer() { // whose messages are large, and keep a loop from its clients
		return errGoOn
	}
	far, err := c.tooFar()
	switch {
	case err != nil:
		return err
	case far:
		return errGoOn
	}
	c.lendBuffer()
	return nil
}

// lendBuffer gives an empty input buffer to the other connections: one that says nothing needs none, and it is in a cache of the
// processor.
func (c *conn) lendBuffer() {
	if c.from == len(c.in) && cap(c.in) == readBuffer {
		c.srv.inputs.Put((*[readBuffer]byte)(c.in[:readBuffer]))
		c.in, c.from = nil, 0
	}
}

// inputBuffer is an empty input buffer.
func (c *conn) inputBuffer() []byte {
	if b, ok := c.srv.inputs.Get().(*[readBuffer]byte); ok {
		return b[:0]
	}
	return make([]byte, 0, readBuffer)
}

// serve is the life of a connection on a goroutine: it goes on reading after errGoOn, and otherwise ends the connection for
// the reason given. It returns early when the loop can read again.
func (c *conn) serve(why error) {
	if errors.Is(why, errGoOn) {
		why = c.readAll()
	}
	var protocol *protocolError
	switch {
	case errors.Is(why, errParked):
		return // the connection may be a runner's by now
	case errors.As(why, &protocol):
		// What came before is answered before the error is.
		c.settle(0)
		c.session.Fail(protocol.Error())
		c.settle(0)
		c.linger()
	case errors.Is(why, io.EOF):
		c.ending = true
		c.settle(endGrace)
	case errors.Is(why, os.ErrDeadlineExceeded): // QUIT behind a command that waited, or the server shuts down
		c.ending = true
		c.settle(0)
	case errors.Is(why, errQuit):
		c.settle(0)
	}
	c.session.Close()
	_ = c.nc.Close()
	c.srv.forget(c)
}

// readAll reads and runs commands until the session wants to be closed, the client's bytes are wrong, the socket fails, or the
// loop can go on.
func (c *conn) readAll() error {
	for {
		if err := c.holdBack(); err != nil {
			return err
		}
		if err := c.runBatch(nil); err != nil {
			return err
		}
		if c.session.Closing() {
			return errQuit
		}
		if err := c.holdBack(); err != nil {
			return err
		}
		if c.looped != nil && !c.session.IsPeer() {
			if err := c.looped.park(); err != nil {
				return err
			}
			return errParked
		}
		if err := c.read(c.nc.Read); err != nil {
			return err
		}
	}
}

// read reads once, into a buffer that grows with what arrives, never with what was announced.
func (c *conn) read(from func([]byte) (int, error)) error {
	switch {
	case c.from == len(c.in):
		if cap(c.in) == 0 || cap(c.in) > keepBuffer && (cap(c.in) > keepPeerBuffer || !c.session.IsPeer()) {
			c.in = c.inputBuffer()
		}
		c.in, c.from = c.in[:0], 0
	case len(c.in) == cap(c.in) && c.from > 0 && c.from >= cap(c.in)/2:
		c.in, c.from = c.in[:copy(c.in, c.in[c.from:])], 0
	case len(c.in) == cap(c.in):
		grown := make([]byte, len(c.in)-c.from, 2*cap(c.in))
		copy(grown, c.in[c.from:])
		c.in, c.from = grown, 0
	}
	n, err := from(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil // an error will come again
	}
	return err
}

// runBatch runs the complete commands that have been read, some at a time, and writes the replies that are ready. When the client
// is too far ahead it waits, or returns tooFar if that is not nil, as on a loop: called again, it goes on. A loop writes the last
// replies later.
func (c *conn) runBatch(tooFar error) error {
	if c.from == len(c.in) && len(c.commands) == 0 {
		return nil
	}
	for mine := c.become(); ; mine = c.become() {
		if len(c.commands) == 0 {
			c.cutMore, c.cutErr = c.cut()
		}
		c.ran += c.session.ExecuteAll(c.commands[c.ran:])
		c.session.Flush()
		switch {
		case !mine:
		case tooFar != nil && c.ran == len(c.commands) && !c.cutMore: // a loop, and nothing is left to run
			c.putOff()
		default:
			c.write()
		}
		if c.ran == len(c.commands) {
			c.forgetCommands()
			if c.cutErr != nil || !c.cutMore {
				return c.cutErr
			}
		}
		if c.session.Closing() {
			return nil
		}
		if tooFar != nil {
			if far, err := c.tooFar(); err != nil {
				return err
			} else if far {
				return tooFar
			}
		} else if err := c.holdBack(); err != nil {
			return err
		}
	}
}

// forgetCommands lets go of the commands that have run, and makes room for as many arguments as they had, within limits.
func (c *conn) forgetCommands() {
	arguments := 0
	for _, args := range c.commands {
		arguments += len(args)
	}
	clear(c.commands)
	clear(c.argv)
	c.commands, c.argv, c.ran = c.commands[:0], c.argv[:0], 0
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

// tooFar reports whether the client is too far ahead: its replies wait to be written, or its commands to be run. The error
// says that nothing can be written any more.
func (c *conn) tooFar() (bool, error) {
	n, writing := c.unwritten()
	if n < 0 {
		return false, net.ErrClosed
	}
	if writing && n > outputBytes || c.session.Output() > outputBytes {
		return true, nil
	}
	if c.ahead < aheadCommands && c.aheadBytes < c.srv.limits.PipelineBytes {
		return false, nil
	}
	if !c.session.Idle() {
		return true, nil
	}
	c.ahead, c.aheadBytes = 0, 0
	return false, nil
}

// holdBack waits while the client is too far ahead.
func (c *conn) holdBack() error {
	for {
		if far, err := c.tooFar(); err != nil || !far {
			return err
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
	half, ok := c.nc.(interface{ CloseWrite() error })
	if ok && half.CloseWrite() == nil && c.nc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.nc, lingerBytes) // whatever it is, the connection is closed next
	}
}
