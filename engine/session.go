package engine

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/mutant"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// SessionOptions says who is at the other end of a connection.
type SessionOptions struct {
	// Remote and Local are addresses for CLIENT LIST and logs.
	Remote, Local string
	// Loopback says that the connection comes from this machine.
	Loopback bool
	// Deliver receives replies that may leave, in order. It is called with the session's lock held, on the goroutine of
	// Execute or Flush or, when something had to be waited for, on another; it must not block nor call back. The slice is
	// valid only during the call.
	Deliver func(b []byte)
	// Hangup ends the connection at once, as CLIENT KILL asks; nil if nobody can. It is called without locks, when the session
	// has been closed.
	Hangup func()
}

// Session is one connection of a client or a peer: it runs commands one after another and delivers their replies, in
// order, when the gate allows.
type Session struct {
	n    *Node
	id   uint64
	opts SessionOptions

	mu       sync.Mutex
	out      resp.Writer    // replies of the commands since the last Flush
	need     store.Position // what the replies in out depend on
	releases func()         // release, once it was needed
	held     []heldReplies  // flushed, waiting for the gate, oldest first
	pending  *parkedCommand // the command that waits; those behind it are in queue
	resumed  *parkedCommand // the one that runs again after a wait
	slot     slot.Slot      // for which pending waits
	queue    [][][]byte
	queued   int    // bytes in queue
	failure  string // of the protocol: to be answered after the commands before it
	closing  bool   // after QUIT or a fatal protocol error: deliver what is there, then close
	closed   bool

	// What the client told about itself, and what it may do.
	authed  bool
	peer    *PeerInfo
	asking  bool          // said ASKING just before; only a mutant cares
	created time.Duration // on the monotonic clock
	reply   replyMode
	multi   *transaction                  // the commands since MULTI
	watched *watchSet                     // what EXEC depends on
	monitor *monitor                      // what MONITOR shows
	foreign atomic.Pointer[foreignImport] // the import of which the session is the link
	verify  *verification                 // what GODWIT VERIFY OPEN holds; nil if nothing
	// What follows is read by other sessions' CLIENT LIST and the like.
	shown         atomic.Pointer[clientInfo]
	active        atomic.Int64 // monotonic clock of the latest command
	lastCmd       atomic.Pointer[command.Spec]
	queuedInMulti atomic.Int32 // one more than the commands since MULTI, 0 without
	isPeer        atomic.Bool  // peer is not nil
	waitsForKey   atomic.Bool  // pending waits for a key
	doomed        atomic.Bool  // it is about to be closed, by another's CLIENT KILL or for what its client does not read: it runs nothing more

	reads     uint64 // of slots, see countRead
	tx        data.Tx
	positions []int
	ctx       command.Context
	work      work
	group     group
	blocks    *command.Wait // what the handler that just ran wants to wait for
	untried   bool          // without having looked
}

// heldReplies is a run of replies and the position at which they may leave.
type heldReplies struct {
	at    store.Position
	began time.Duration // the last command of them, or uncounted
	bytes []byte
}

// NewSession opens a session. It fails when there are too many.
func (n *Node) NewSession(o SessionOptions) (*Session, error) {
	s := &Session{n: n, opts: o, created: n.opts.Clock.Mono(), authed: n.password() == ""}
	s.active.Store(int64(s.created))
	s.shown.Store(&clientInfo{protocol: resp.V2})
	s.out.Reset(nil, resp.V2)
	s.tx.SetRand(n.random)
	s.group.commit = s.commitGroup
	if err := n.sessions.add(s, n.maxClients()); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the session. A parked command is forgotten; whether it would have run is unknown to the client.
func (s *Session) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	p, at := s.pending, s.slot
	s.pending, s.queue, s.held = nil, nil, nil
	s.endMulti()
	s.endMonitor()
	s.endVerify()
	s.group.Close()
	s.mu.Unlock()
	s.n.sessions.remove(s)
	if f := s.foreign.Load(); f != nil {
		s.n.dropForeign(f)
	}
	if p != nil {
		s.n.forget(at, p)
	}
}

// Execute runs one command, or queues it behind one that waits. args are valid only during the call. Its reply leaves
// after the next Flush.
func (s *Session) Execute(args [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runNext(args)
}

// runNext runs one command, or queues it. s.mu is held.
func (s *Session) runNext(args [][]byte) {
	switch {
	case s.closed || s.closing || s.doomed.Load() || s.failure != "" || len(args) == 0:
	case s.pending != nil:
		c, n := cloneArgs(args)
		s.queue = append(s.queue, c)
		s.queued += n
	default:
		s.run(args, verdict{})
	}
}

// Flush ends a pipeline: the replies so far are delivered as soon as the gate allows. Replies behind a parked command
// are flushed when that completes.
func (s *Session) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

// Fail answers a protocol error, after the commands before it, and ends the session: Closing becomes true.
func (s *Session) Fail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = text; s.pending == nil {
		s.drain()
	}
}

// Idle reports whether every command has run and every reply was delivered.
func (s *Session) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending == nil && len(s.held) == 0 && s.out.Len() == 0
}

// WaitsForKey reports whether the command that runs waits for a key to hold something, which it may do for ever.
func (s *Session) WaitsForKey() bool { return s.waitsForKey.Load() }

// IsPeer reports whether the other end is a node that has shown who it is.
func (s *Session) IsPeer() bool { return s.isPeer.Load() }

// Backlog reports how many bytes of commands wait behind an unfinished one; the listener stops reading over its limit.
func (s *Session) Backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// Closing reports whether the connection is to be closed once the session is idle.
func (s *Session) Closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// wait makes the command that is being run the pending one. s.mu is held; whatever will end the wait cannot do so yet.
func (s *Session) wait(args [][]byte) *parkedCommand {
	p := &parkedCommand{session: s}
	if was := s.resumed; was != nil {
		p.args, p.bytes, p.blocked = was.args, was.bytes, was.blocked
	} else {
		p.args, p.bytes = cloneArgs(args)
		if s.multi != nil {
			p.bytes += s.multi.bytes
		}
	}
	s.pending = p
	return p
}

// resume runs a parked command again, or answers it with the verdict that its wait came to, and then those behind it.
func (s *Session) resume(p *parkedCommand, v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pending != p || s.doomed.Load() {
		return
	}
	s.pending = nil
	s.waitsForKey.Store(false)
	b := p.blocked
	if b != nil {
		if end := s.n.blocking.begin(b); end != waitGoesOn {
			s.endWait(p, end)
			s.drain()
			return
		}
	}
	s.resumed = p
	s.run(p.args, v)
	s.resumed = nil
	if b != nil {
		s.n.blocking.ran(b, s.pending)
	}
	s.drain()
}

// complete answers a command that waited for something else than a slot, and goes on with those behind it.
func (s *Session) complete(p *parkedCommand, reply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pending != p {
		return
	}
	s.pending = nil
	start := s.out.Len()
	reply()
	if s.reply != replyOn {
		s.mute(start)
	}
	s.drain()
}

// drain runs the commands that queued up behind one that waited, until another has to wait. s.mu is held.
func (s *Session) drain() {
	for s.pending == nil && len(s.queue) > 0 && !s.closing && !s.doomed.Load() {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.queued -= argsBytes(next)
		s.run(next, verdict{})
		if s.out.Len() >= replyBytes {
			s.flush()
		}
	}
	if s.failure != "" && s.pending == nil && !s.closing {
		s.out.Error(s.failure)
		s.closing = true
	}
	s.flush()
}

// flush moves what was answered to the gate. s.mu is held.
func (s *Session) flush() {
	if s.closed || s.out.Len() == 0 {
		return
	}
	if len(s.held) == 0 && (s.need <= s.n.store.Durable()) {
		s.opts.Deliver(s.out.Bytes())
		s.n.countLatency(s.beganAt())
		s.emptyOut()
		return
	}
	if n := s.heldBytes() + s.out.Len(); n > s.n.opts.Limits.OutputBytes {
		s.emptyOut()
		s.Overflow(n)
		return
	}
	h := heldReplies{at: s.need, began: s.beganAt(), bytes: bytes.Clone(s.out.Bytes())}
	s.emptyOut()
	s.held = append(s.held, h)
	if s.releases == nil {
		s.releases = s.release
	}
	s.n.store.WhenDurable(h.at, s.releases)
}

// emptyOut forgets the replies that were handed on, and the memory of large ones. s.mu is held.
func (s *Session) emptyOut() {
	if cap(s.out.Bytes()) > replyKeeps {
		s.out.Reset(nil, s.out.Version())
		return
	}
	s.out.Truncate(0)
}

// release delivers the held replies that the gate lets through.
func (s *Session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	durable := s.n.store.Durable()
	n := 0
	for n < len(s.held) && s.held[n].at <= durable {
		s.opts.Deliver(s.held[n].bytes)
		s.n.countLatency(s.held[n].began)
		n++
	}
	s.held = slices.Delete(s.held, 0, n) // not s.held[n:], which would soon take new memory
}

// dependOn makes the replies of the session wait for a position. A reply to a client waits in the mode that promises
// durability only.
func (s *Session) dependOn(p store.Position, wrote bool) {
	if s.n.syncMode() != SyncAlways {
		return
	}
	if mutant.On(mutant.AckBeforeSync) && wrote || mutant.On(mutant.ReadUnsynced) && !wrote {
		return
	}
	s.need = max(s.need, p)
}

// dependAlways makes the replies of the session wait for a position in every mode: replies to peers, and to operators about
// what ownership rests on.
func (s *Session) dependAlways(p store.Position) { s.need = max(s.need, p) }

func cloneArgs(args [][]byte) ([][]byte, int) {
	n := argsBytes(args)
	buf := make([]byte, 0, n)
	out := make([][]byte, len(args))
	for i, a := range args {
		at := len(buf)
		buf = append(buf, a...)
		out[i] = buf[at:len(buf):len(buf)]
	}
	return out, n
}

func argsBytes(args [][]byte) int {
	n := 0
	for _, a := range args {
		n += len(a)
	}
	return n
}
