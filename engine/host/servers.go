package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"godwit/engine/env"
	"godwit/engine/resp"
)

// Servers runs commands on servers that are no peers, over TCP, on a connection for each call of Do, and on those of Open.
type Servers struct {
	life life
	stop context.Context
	end  context.CancelFunc
}

var _ env.Servers = (*Servers)(nil)

// NewServers returns servers without connections.
func NewServers() *Servers {
	s := &Servers{}
	s.stop, s.end = context.WithCancel(context.Background())
	return s
}

// Do implements env.Servers.
func (s *Servers) Do(addr string, commands [][][]byte, timeout time.Duration, done func([][]byte, error)) {
	go func() {
		replies, err := s.talk(addr, commands, timeout)
		s.life.run(func() { done(replies, err) })
	}()
}

// Close ends all connections, lets no further callback run and waits for those that run.
func (s *Servers) Close() {
	s.end()
	s.life.end()
}

// replyLimit is the longest reply that is waited for.
const replyLimit = 64 << 10

// talk has one connection from beginning to end.
func (s *Servers) talk(addr string, commands [][][]byte, timeout time.Duration) ([][]byte, error) {
	conn, err := s.dial(addr, timeout)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(s.stop, func() { _ = conn.Close() })()
	defer conn.Close()
	return exchange(conn, commands, replyLimit, timeout)
}

func (s *Servers) dial(addr string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(s.stop, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", env.ErrConnect, err.Error())
	}
	return conn, nil
}

// exchange sends commands and reads their replies. What it sends is not collected first: it may be large. After an error the connection
// is closed.
func exchange(conn net.Conn, commands [][][]byte, limit int, timeout time.Duration) ([][]byte, error) {
	sent := make(chan error, 1)
	go func() { sent <- sendCommands(conn, commands, timeout) }()
	replies, err := readReplies(conn, len(commands), limit, timeout)
	if err != nil {
		_ = conn.Close() // ends the sender, too
	}
	if werr := <-sent; werr != nil && err != nil {
		err = errors.Join(err, werr)
	}
	return replies, err
}

func sendCommands(conn net.Conn, commands [][][]byte, timeout time.Duration) error {
	const piece = 1 << 20 // a deadline is for so much
	for _, args := range commands {
		for b := appendCommand(nil, args); len(b) > 0; {
			if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil { // the reader's, too: it waits for what is being sent
				return err
			}
			n, err := conn.Write(b[:min(len(b), piece)])
			if err != nil {
				return fmt.Errorf("%w: write: %s", env.ErrLink, err.Error())
			}
			b = b[n:]
		}
	}
	return nil
}

// readReplies reads so many replies, of at most limit bytes each.
func readReplies(conn net.Conn, count, limit int, timeout time.Duration) (replies [][]byte, err error) {
	buf := make([]byte, 0, readBuffer)
	for next := buf; len(replies) < count; {
		_, rest, err := resp.ParseReply(next)
		switch {
		case err == nil:
			replies = append(replies, bytes.Clone(next[:len(next)-len(rest)]))
			next = rest
			continue
		case !errors.Is(err, resp.ErrIncomplete):
			return replies, fmt.Errorf("%w: %s", env.ErrLink, err.Error())
		case len(next) >= limit:
			return replies, fmt.Errorf("%w: a reply of more than %d bytes", env.ErrLink, limit)
		}
		buf = buf[:copy(buf[:cap(buf)], next)]
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return replies, err
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		next = buf
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return replies, env.ErrTimeout
		case err != nil && n == 0:
			return replies, fmt.Errorf("%w: read: %s", env.ErrLink, err.Error())
		}
	}
	return replies, nil
}
