package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Limits of the tools' connections to a node.
const (
	dialTime = 3 * time.Second
	// callTime bounds one command: a node answers changes of the map once they are on its disk.
	callTime = 15 * time.Second
	// maxReplyBytes bounds one bulk string of a reply, maxReplyItems one array: no answer to the tools is longer.
	maxReplyBytes = 64 << 20
	maxReplyItems = 1 << 20
)

// errReply is a reply that begins with '-': the node understood and refused.
type errReply string

func (e errReply) Error() string { return string(e) }

// reply is an answer in RESP2. Kind is the first byte on the wire; a null has Null set.
type reply struct {
	Kind  byte
	Null  bool
	Text  string // '+', '-', '$'
	Int   int64  // ':'
	Items []reply
}

// conn is a connection of a tool to one node: one command at a time, one goroutine at a time.
type conn struct {
	addr string
	nc   net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

// dial connects to a node and, when there is a password, authenticates.
func dial(addr, password string) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, dialTime)
	if err != nil {
		return nil, fmt.Errorf("%s does not answer: %w", addr, err)
	}
	c := &conn{addr: addr, nc: nc, r: bufio.NewReader(nc), w: bufio.NewWriter(nc)}
	if password != "" {
		if _, err := c.do(callTime, "AUTH", password); err != nil {
			nc.Close()
			return nil, explain(addr, err)
		}
	}
	return c, nil
}

func (c *conn) close() { c.nc.Close() }

// do sends a command and waits for its reply. An error that is an errReply leaves the connection usable; after any other
// it must be closed, and the command may have run or not.
func (c *conn) do(timeout time.Duration, args ...string) (reply, error) {
	if err := c.nc.SetDeadline(time.Now().Add(timeout)); err != nil {
		return reply{}, err
	}
	c.send(args...)
	if err := c.w.Flush(); err != nil {
		return reply{}, err
	}
	return c.receive()
}

// send buffers a command; a failure shows when the buffer is flushed.
func (c *conn) send(args ...string) {
	head := func(kind byte, n int) {
		_, _ = c.w.Write(append(strconv.AppendInt([]byte{kind}, int64(n), 10), '\r', '\n'))
	}
	head('*', len(args))
	for _, a := range args {
		head('$', len(a))
		_, _ = c.w.WriteString(a)
		_, _ = c.w.WriteString("\r\n")
	}
}

// receive reads one reply; one that begins with '-' is returned as an errReply.
func (c *conn) receive() (reply, error) {
	r, err := readReply(c.r, 0)
	if err == nil && r.Kind == '-' {
		return r, errReply(r.Text)
	}
	return r, err
}

// text is do for commands that are answered by a status or a bulk string.
func (c *conn) text(args ...string) (string, error) {
	r, err := c.do(callTime, args...)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.addr, err)
	}
	return r.Text, nil
}

// json is do for commands that are answered by a JSON document, which is decoded into v.
func (c *conn) json(v any, args ...string) error { return c.jsonWithin(callTime, v, args...) }

// jsonWithin is json for a command that may take that long.
func (c *conn) jsonWithin(timeout time.Duration, v any, args ...string) error {
	r, err := c.do(timeout, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.addr, err)
	}
	if err := json.Unmarshal([]byte(r.Text), v); err != nil {
		return fmt.Errorf("%s: the answer to %s is not what this version understands: %w", c.addr, strings.Join(args, " "), err)
	}
	return nil
}

var errProtocol = errors.New("the answer is not RESP")

func readReply(r *bufio.Reader, depth int) (reply, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = errProtocol
		}
		return reply{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return reply{}, errProtocol
	}
	kind, body := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+', '-':
		return reply{Kind: kind, Text: body}, nil
	case ':':
		n, err := strconv.ParseInt(body, 10, 64)
		if err != nil {
			return reply{}, errProtocol
		}
		return reply{Kind: kind, Int: n}, nil
	case '$':
		n, err := strconv.Atoi(body)
		switch {
		case err != nil || n < -1 || n > maxReplyBytes:
			return reply{}, errProtocol
		case n == -1:
			return reply{Kind: kind, Null: true}, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return reply{}, err
		}
		if b[n] != '\r' || b[n+1] != '\n' {
			return reply{}, errProtocol
		}
		return reply{Kind: kind, Text: string(b[:n])}, nil
	case '*':
		n, err := strconv.Atoi(body)
		switch {
		case err != nil || n < -1 || n > maxReplyItems || depth > 8:
			return reply{}, errProtocol
		case n == -1:
			return reply{Kind: kind, Null: true}, nil
		}
		var items []reply
		for range n {
			item, err := readReply(r, depth+1)
			if err != nil {
				return reply{}, err
			}
			items = append(items, item)
		}
		return reply{Kind: kind, Items: items}, nil
	}
	return reply{}, errProtocol
}
