package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"godwit/engine/env"
	"godwit/engine/resp"
	"godwit/engine/reuse"
)

// link is the connection to one peer on one lane. It exists from the first call on; a goroutine keeps it connected while
// there are calls (run), one reads the replies (read). Calls are encoded into one buffer when they are given and written
// together, as many as have come while the last write was underway.
//
//	down ── call ──► resting, dialling, shaking hands ──► up ── failure, or idle for long ──► down
//	                             │ failure: the calls so far fail; later ones wait for the next attempt
//	                             └──────────► resting
type link struct {
	peers *Peers
	key   linkKey
	wake  chan struct{} // a token when out is not empty or the link must close
	stop  context.Context
	end   context.CancelFunc

	mu      sync.Mutex
	running bool    // run is
	calls   []*call // not answered and not failed, in the order given; calls[0] is the next to be answered
	out     []byte  // their encoding, as far as it has not been taken for writing
	bytes   int     // of the encodings of calls
	conn    net.Conn
	heard   time.Time // when bytes last came from the peer on conn
}

// call is one command to a peer. It stays in its link's list after its timeout, for its reply to be passed over.
type call struct {
	bytes int
	done  func([]byte, error)
	timer *time.Timer
	given time.Time
	limit time.Duration
	over  bool // done has been called or is about to be
}

func newLink(p *Peers, key linkKey) *link {
	l := &link{peers: p, key: key, wake: make(chan struct{}, 1)}
	l.stop, l.end = context.WithCancel(context.Background())
	return l
}

func (l *link) call(args [][]byte, timeout time.Duration, done func([]byte, error)) {
	c := &call{done: done, given: time.Now(), limit: timeout}
	l.mu.Lock()
	defer l.mu.Unlock()
	if cap(l.out) == 0 {
		l.out = l.peers.room.Get()
	}
	at := len(l.out)
	l.out = appendCommand(l.out, args)
	c.bytes = len(l.out) - at
	if len(l.calls) > 0 && l.bytes+c.bytes > outstandingBytes {
		l.out = l.out[:at]
		go l.finish(c, nil, fmt.Errorf("%w: more than %d bytes wait for %s", env.ErrLink, outstandingBytes, l.key.to.Addr))
		return
	}
	l.calls = append(l.calls, c)
	l.bytes += c.bytes
	c.timer = time.AfterFunc(timeout, func() { l.timeout(c) })
	if !l.running {
		l.running = true
		go l.run()
	}
	l.notify()
}

func (l *link) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// appendCommand encodes a command as clients do.
func appendCommand(b []byte, args [][]byte) []byte {
	size := 0
	for _, a := range args {
		size += len(a) + 2*maxHeader
	}
	b = slices.Grow(b, size) // once: a large argument is not copied again
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(args)), 10)
	b = append(b, '\r', '\n')
	for _, a := range args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(a)), 10)
		b = append(b, '\r', '\n')
		b = append(b, a...)
		b = append(b, '\r', '\n')
	}
	return b
}

// finish runs the callback of a call that is over. No lock is held.
func (l *link) finish(c *call, reply []byte, err error) {
	l.peers.life.run(func() { c.done(reply, err) })
}

// timeout ends a call. A link from which nothing at all came while the call waited is taken for dead.
func (l *link) timeout(c *call) {
	l.mu.Lock()
	if c.over {
		l.mu.Unlock()
		return
	}
	if quiet := time.Since(l.heard); l.conn != nil && l.heard.After(c.given) && quiet < c.limit {
		c.timer.Reset(c.limit - quiet) // answers come in order, and they are coming
		l.mu.Unlock()
		return
	}
	c.over = true
	if l.conn != nil && l.heard.Before(c.given) {
		_ = l.conn.Close() // the reader fails the others
	}
	l.mu.Unlock()
	l.finish(c, nil, env.ErrTimeout)
}

func (l *link) close() {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		c.over = true
		c.timer.Stop()
	}
	l.calls, l.out = nil, nil
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.notify()
}

// run connects and writes until there are no calls.
func (l *link) run() {
	rest := time.Duration(0)
	for {
		if !l.sleep(rest) {
			return
		}
		conn, err := l.connect()
		if err == nil {
			rest = 0
			err = l.carry(conn)
		}
		if l.stop.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, errIdle) {
			l.peers.log.Debug("peer link failed", "peer", l.key.to.ID, "addr", l.key.to.Addr, "lane", l.key.lane.String(), "error", err)
		}
		if l.fail(err) {
			return
		}
		rest = min(max(2*rest, backOffMin), backOffMax)
	}
}

func (l *link) sleep(d time.Duration) bool {
	if d <= 0 {
		return l.stop.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.stop.Done():
		return false
	}
}

// connect dials and shakes hands.
func (l *link) connect() (net.Conn, error) {
	h := l.peers.attached()
	if h == nil {
		return nil, errors.New("the node is not open yet")
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(l.stop, "tcp", l.key.to.Addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.conn, l.heard = conn, time.Now()
	l.mu.Unlock()
	if err := l.shake(conn, h); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("handshake (another peer secret, or not a node in cluster mode?): %w", err)
	}
	return conn, nil
}

// errHandshake says that the other side answered the handshake with an error, though it did not say that it is another node.
var errHandshake = errors.New("refused")

func (l *link) shake(conn net.Conn, h env.Handshake) error {
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(appendCommand(nil, h.Hello(l.key.to))); err != nil {
		return err
	}
	buf := make([]byte, 0, 1024)
	for {
		if len(buf) >= handshakeBytes {
			return fmt.Errorf("the reply is longer than %d bytes", handshakeBytes)
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return err
		}
		v, rest, err := resp.ParseReply(buf)
		switch {
		case errors.Is(err, resp.ErrIncomplete):
			continue
		case err != nil:
			return err
		case v.Kind == resp.ErrorKind && strings.HasPrefix(v.Str, env.WrongNode+" "):
			return errors.New(v.Str)
		case v.Kind == resp.ErrorKind:
			return fmt.Errorf("%w: %s", errHandshake, v.Str)
		case v.Kind != resp.BulkKind || len(rest) > 0:
			return fmt.Errorf("the reply is %s", v)
		}
		if err := h.CheckHello(l.key.to, []byte(v.Str)); err != nil {
			return err
		}
		return conn.SetDeadline(time.Time{})
	}
}

// errIdle ends a link that nobody uses.
var errIdle = errors.New("the link is idle")

// carry writes calls until the link fails. Nothing of it runs when it returns.
func (l *link) carry(conn net.Conn) error {
	failed := make(chan error, 1)
	go func() { failed <- l.read(conn) }()
	err := l.write(conn, failed)
	_ = conn.Close()
	if rerr := <-failed; err == nil {
		err = rerr
	}
	return err
}

// write returns when the reader has failed, whose error it leaves in the channel, or with an error of its own.
func (l *link) write(conn net.Conn, failed chan error) error {
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	var spare []byte
	for {
		l.mu.Lock()
		b := l.out
		l.out, spare = spare, nil
		l.mu.Unlock()
		if len(b) > 0 {
			idle.Reset(idleTime)
			if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := conn.Write(b); err != nil {
				return err
			}
		}
		if cap(b) <= reuse.Least {
			spare = b[:0]
		} else {
			l.peers.room.Put(b)
		}
		select {
		case err := <-failed:
			failed <- err
			return nil
		case <-l.wake:
			if l.stop.Err() != nil {
				return l.stop.Err()
			}
		case <-idle.C:
			l.mu.Lock()
			unused := len(l.calls) == 0
			l.mu.Unlock()
			if unused {
				return errIdle
			}
			idle.Reset(idleTime)
		}
	}
}

// read matches replies to calls until the link fails.
func (l *link) read(conn net.Conn) error {
	buf := make([]byte, 0, readBuffer)
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return err
		}
		l.mu.Lock()
		l.heard = time.Now()
		l.mu.Unlock()
		rest := buf
		for len(rest) > 0 {
			v, after, err := resp.ParseReply(rest)
			if errors.Is(err, resp.ErrIncomplete) {
				break
			}
			if err != nil {
				return err
			}
			if err := l.answer(v); err != nil {
				return err
			}
			rest = after
		}
		switch {
		case len(rest) == 0 && cap(buf) > keepBuffer:
			buf = make([]byte, 0, readBuffer)
		case len(rest) < len(buf):
			buf = buf[:copy(buf, rest)]
		case len(buf) == cap(buf):
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
	}
}

// answer ends the oldest call.
func (l *link) answer(v resp.Value) error {
	var reply []byte
	var err error
	switch v.Kind {
	case resp.BulkKind:
		reply = []byte(v.Str)
	case resp.ErrorKind:
		err = &env.RemoteError{Text: v.Str}
	default:
		return fmt.Errorf("a call was answered with %s", v)
	}
	l.mu.Lock()
	if len(l.calls) == 0 {
		l.mu.Unlock()
		return errors.New("there was an answer to no call")
	}
	c := l.calls[0]
	l.calls[0] = nil
	l.calls = l.calls[1:]
	l.bytes -= c.bytes
	over := c.over
	c.over = true
	c.timer.Stop()
	l.mu.Unlock()
	if !over {
		l.finish(c, reply, err)
	}
	return nil
}

// fail fails the calls that the broken link has taken and reports that there are no others: the caller ends then.
func (l *link) fail(cause error) (ended bool) {
	l.mu.Lock()
	calls := l.calls
	l.calls, l.out, l.bytes, l.conn = nil, nil, 0, nil
	failed := calls[:0]
	for _, c := range calls {
		c.timer.Stop()
		if !c.over {
			c.over = true
			failed = append(failed, c)
		}
	}
	l.mu.Unlock()
	// The cause is for people: were it wrapped, a refused handshake would look like a refused call.
	kind := env.ErrLink
	if errors.Is(cause, errHandshake) {
		kind = env.ErrNotPeer
	}
	err := fmt.Errorf("%w: %s: %s", kind, l.key.to.Addr, cause.Error())
	for _, c := range failed {
		l.finish(c, nil, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = len(l.calls) > 0
	return !l.running
}
