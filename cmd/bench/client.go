package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// client is a connection to a server that speaks the Redis protocol.
type client struct {
	nc  net.Conn
	in  *bufio.Reader
	out []byte
}

func connect(ctx context.Context, addr string) (*client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{nc: nc, in: bufio.NewReaderSize(nc, 64<<10)}, nil
}

func (c *client) close() { _ = c.nc.Close() } // everything was answered, or an error has been told

// add puts a command into the pipeline that flush sends.
func (c *client) add(args ...string) {
	c.out = fmt.Appendf(c.out, "*%d\r\n", len(args))
	for _, a := range args {
		c.out = fmt.Appendf(c.out, "$%d\r\n%s\r\n", len(a), a)
	}
}

func (c *client) flush() error {
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// errReply is an error that the server answered with.
type errReply string

func (e errReply) Error() string { return string(e) }

// reply reads a reply that is no array: its text, or an error that is an errReply if the server says so.
func (c *client) reply() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(line[1:], "\r\n")
	switch line[0] {
	case '+', ':':
		return text, nil
	case '-':
		return "", errReply(text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", fmt.Errorf("the server answered %q", line)
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(c.in, b)
		return string(b[:n]), err
	}
	return "", fmt.Errorf("the server answered %q", line)
}

// do sends one command and reads its reply.
func (c *client) do(args ...string) (string, error) {
	c.add(args...)
	if err := c.flush(); err != nil {
		return "", err
	}
	text, err := c.reply()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(args[:min(len(args), 3)], " "), err)
	}
	return text, nil
}

// json sends one command whose reply is JSON.
func (c *client) json(v any, args ...string) error {
	text, err := c.do(args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), v)
}

// movedTo is the address that a MOVED redirect names, "" if an error is none.
func movedTo(err error) string {
	var e errReply
	if !errors.As(err, &e) || !strings.HasPrefix(string(e), "MOVED ") {
		return ""
	}
	return string(e[strings.LastIndexByte(string(e), ' ')+1:])
}
