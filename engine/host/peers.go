package host

import (
	"log/slog"
	"sync"
	"time"

	"godwit/engine/env"
	"godwit/engine/reuse"
)

// Times and sizes of links.
const (
	dialTimeout  = 2 * time.Second // for the connection, and again for the handshake
	writeTimeout = 10 * time.Second
	// backOffMin is how long a link rests after its first failure, doubling up to backOffMax with each that follows.
	backOffMin, backOffMax = 20 * time.Millisecond, time.Second
	// idleTime is after how long without a call a link is closed.
	idleTime = 5 * time.Minute
	// outstandingBytes is how much may have been given to one link and not been answered; a call beyond fails.
	outstandingBytes = 256 << 20
	// handshakeBytes is the longest reply to a handshake: nobody knows yet who is answering.
	handshakeBytes = 64 << 10
)

// Peers calls other nodes over TCP, on one link for each peer and lane.
type Peers struct {
	log  *slog.Logger
	life life
	room reuse.Slices // for what links write

	mu        sync.Mutex
	handshake env.Handshake // nil until Attach
	links     map[linkKey]*link
	closed    bool
}

type linkKey struct {
	to   env.Peer
	lane env.Lane
}

var _ env.Peers = (*Peers)(nil)

// NewPeers returns peers without links; nil discards the log. Calls fail with env.ErrLink until Attach.
func NewPeers(log *slog.Logger) *Peers {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Peers{log: log, links: map[linkKey]*link{}}
}

// Attach names who introduces this node on new links: the node itself, which cannot be opened before its Peers exist.
func (p *Peers) Attach(h env.Handshake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handshake = h
}

func (p *Peers) attached() env.Handshake {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handshake
}

// Call implements env.Peers. A call that cannot be sent yet waits for the link until its timeout, so that whoever tries again
// after a failure is slowed down by the link's rests.
func (p *Peers) Call(to env.Peer, lane env.Lane, args [][]byte, timeout time.Duration, done func([]byte, error)) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	key := linkKey{to, lane}
	l := p.links[key]
	if l == nil {
		l = newLink(p, key)
		p.links[key] = l
	}
	p.mu.Unlock()
	l.call(args, timeout, done)
}

// Close closes all links, lets no further callback run and waits for those that run.
func (p *Peers) Close() {
	p.mu.Lock()
	p.closed = true
	links := p.links
	p.links = nil
	p.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	p.life.end()
}
