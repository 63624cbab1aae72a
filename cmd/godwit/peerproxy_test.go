package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// peerProxy stands before a node, at the address that the node announces, and passes on what clients and other nodes send. The
// connections of nodes can be cut while those of clients go on.
type peerProxy struct {
	addr string

	mu      sync.Mutex
	to      string // where the node listens
	cut     linkState
	changed chan struct{} // closed and replaced when cut changes
	peers   map[net.Conn]struct{}
	lost    int // connections and pieces of nodes that were cut, since set
}

// linkState is what becomes of the connections of other nodes.
type linkState int

const (
	linkUp     linkState = iota
	linkClosed           // they are reset, and new ones as soon as they say what they are
	linkSilent           // nothing passes any more, and nobody is told
)

// peerHello is what the first command of a node begins with.
var peerHello = []byte("PEER")

func newPeerProxy(t *testing.T) *peerProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peerProxy{addr: l.Addr().String(), changed: make(chan struct{}), peers: map[net.Conn]struct{}{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// lead says where the node listens now.
func (p *peerProxy) lead(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

// set changes what becomes of the links of nodes.
func (p *peerProxy) set(s linkState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.cut
	p.cut, p.lost = s, 0
	close(p.changed)
	p.changed = make(chan struct{})
	if s == linkClosed || was == linkSilent { // what was lost in silence does not come back on the same connection
		for c := range p.peers {
			p.lost++
			_ = c.Close()
		}
	}
}

// cutOff reports whether the cut has cut anything.
func (p *peerProxy) cutOff() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost > 0
}

// serve passes one connection on until either side closes it.
func (p *peerProxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	first := make([]byte, 4096)
	n, err := c.Read(first)
	if err != nil {
		return
	}
	first = first[:n]
	peer := bytes.Contains(first, peerHello)
	if peer {
		p.mu.Lock()
		p.peers[c] = struct{}{}
		closed := p.cut == linkClosed
		if closed {
			p.lost++
		}
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.peers, c)
		}()
		if closed {
			return
		}
	}
	go func() {
		p.pass(server, c, peer, nil)
		_ = c.Close()
	}()
	p.pass(c, server, peer, first)
}

// pass copies from one side to the other, of nodes while their links are up.
func (p *peerProxy) pass(from, to net.Conn, peer bool, chunk []byte) {
	buf := make([]byte, 64<<10)
	for {
		p.mu.Lock()
		cut, changed := p.cut, p.changed
		p.mu.Unlock()
		if peer && cut == linkSilent {
			p.mu.Lock()
			p.lost++
			p.mu.Unlock()
			<-changed
			return // set has closed the connection, or will
		}
		if len(chunk) > 0 {
			if _, err := to.Write(chunk); err != nil {
				return
			}
		}
		n, err := from.Read(buf)
		if chunk = buf[:n]; err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
			return
		}
	}
}
