package host

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// loops read connections: each watches its part of them by epoll, reads what has arrived and runs the commands, one connection after
// another, and then writes the replies of all, on one goroutine. A request that waits for nothing costs a read, a write and a share of
// an epoll_wait, and no switch between goroutines.
//
// A command that takes long does not hold up the other connections of its loop: when a turn has lasted for stuckTime, a new runner takes
// over the loop, and the old one ends with its turn. What a connection must wait for is not waited for in a turn at all: a goroutine
// does (conn.serve), and gives the connection back.
type loops struct {
	all  []*loop
	next atomic.Uint32

	asleep atomic.Bool // nobody looks for turns that take long, since there are none
	wake   chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup
}

// hasLoops says that this system has loops.
const hasLoops = true

const (
	// stuckTime is how long a turn may take before others of its loop are served by another runner: at least so long and at most
	// twice. A runner costs about as much as a goroutine does otherwise.
	stuckTime = time.Millisecond
	// restAfter is after how many times without a turn nobody looks any more until there is one.
	restAfter = 64
	// eventsAtOnce is how many sockets epoll reports at once.
	eventsAtOnce = 128
)

// loop is one of the loops.
type loop struct {
	of     *loops
	log    *slog.Logger
	syncer *Syncer
	rounds rounds
	epoll  int
	pipe   [2]int // a byte in it wakes the loop

	runner atomic.Pointer[runner]

	mu      sync.Mutex
	socks   map[int32]*sock
	posted  []*sock // posted[looked:] are to be looked after, in this order
	looked  int
	polling bool // the runner waits, or is about to: it must be woken
	holding bool // the syncer waits for the loop
	closing bool
}

// runner runs a loop until another takes over.
type runner struct {
	// beat is raised at the beginning and the end of each turn: odd in one. Only the runner raises it; the watch makes it takenOver
	// in a turn, after which the runner ends, so that there is never more than one that is not in a turn.
	beat atomic.Uint64
	seen uint64 // by the watch
}

// takenOver is the beat of a runner whose loop another has taken over. It is odd: the runner is in its last turn.
const takenOver = ^uint64(0)

// startLoops starts n loops.
func startLoops(n int, syncer *Syncer, rounds rounds, log *slog.Logger) (*loops, error) {
	ls := &loops{wake: make(chan struct{}, 1), stop: make(chan struct{})}
	for range n {
		l := &loop{of: ls, log: log, syncer: syncer, rounds: rounds, socks: map[int32]*sock{}}
		if err := l.open(); err != nil {
			ls.close()
			return nil, err
		}
		ls.all = append(ls.all, l)
	}
	for _, l := range ls.all {
		rounds.BeginRound()
		l.start()
	}
	ls.done.Add(1)
	go ls.watch()
	return ls, nil
}

func (l *loop) open() (err error) {
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make an epoll: %w", err)
	}
	if err = syscall.Pipe2(l.pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		_ = syscall.Close(l.epoll)
		return fmt.Errorf("make a pipe: %w", err)
	}
	err = syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, l.pipe[0], &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(l.pipe[0])})
	if err != nil {
		l.closeFiles()
		return fmt.Errorf("watch a pipe: %w", err)
	}
	return nil
}

func (l *loop) closeFiles() {
	for _, fd := range []int{l.epoll, l.pipe[0], l.pipe[1]} {
		_ = syscall.Close(fd) // nothing was written to it that counts
	}
}

// adopt makes a connection one that a loop may read, and returns its socket; nil if that is not possible.
func (ls *loops) adopt(c *conn, nc net.Conn) looped {
	tcp, ok := nc.(*net.TCPConn)
	if !ok || len(ls.all) == 0 {
		return nil
	}
	l := ls.all[int(ls.next.Add(1))%len(ls.all)]
	s, err := newSock(tcp, l)
	if err != nil {
		l.log.Warn("a connection is served by a goroutine of its own", "error", err)
		return nil
	}
	s.c = c
	l.mu.Lock()
	l.socks[int32(s.fd)] = s
	l.mu.Unlock()
	return s
}

// forget is called before the socket is closed, when its number cannot be another's yet.
func (l *loop) forget(s *sock) {
	l.mu.Lock()
	delete(l.socks, int32(s.fd))
	l.mu.Unlock()
}

// close ends the loops. Their connections must have ended.
func (ls *loops) close() {
	close(ls.stop)
	for _, l := range ls.all {
		l.mu.Lock()
		l.closing = true
		l.mu.Unlock()
		l.ring()
	}
	ls.done.Wait()
	for _, l := range ls.all {
		l.closeFiles()
	}
}

// post puts a socket into the list of those that the loop looks after.
func (l *loop) post(s *sock) {
	l.mu.Lock()
	if len(l.posted) == cap(l.posted) { // rather than keep room for what has been looked after
		n := copy(l.posted, l.posted[l.looked:])
		clear(l.posted[n:])
		l.posted, l.looked = l.posted[:n], 0
	}
	l.posted = append(l.posted, s)
	ring := l.polling
	l.polling = false // one byte is enough
	l.mu.Unlock()
	if ring {
		l.ring()
	}
}

// ring wakes the loop.
func (l *loop) ring() {
	_, _ = syscall.Write(l.pipe[1], []byte{0}) // a pipe that is full has woken it
}

// nextPosted takes the first socket out of the list; nil if there is none.
func (l *loop) nextPosted() *sock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looked == len(l.posted) {
		l.posted, l.looked = l.posted[:0], 0
		return nil
	}
	s := l.posted[l.looked]
	l.posted[l.looked] = nil
	l.looked++
	return s
}

// start starts a runner, which takes the loop over.
func (l *loop) start() {
	r := &runner{}
	l.runner.Store(r)
	l.of.done.Add(1)
	go l.run(r)
}

// happening is what epoll said of a socket.
type happening struct {
	s      *sock
	events uint32
}

// run runs the loop until it is closed or taken over. What epoll has reported and this runner has not come to then, epoll
// reports to the next, which goes on with the round, too.
func (l *loop) run(r *runner) {
	defer l.of.done.Done()
	var events [eventsAtOnce]syscall.EpollEvent
	var batch [eventsAtOnce]happening
	for {
		for s := l.nextPosted(); s != nil; s = l.nextPosted() {
			if !l.turn(r, func() { s.lookAfter() }) {
				return
			}
		}
		if !l.turn(r, l.rounds.ApplyRound) { // a turn, since the engine may hold up who writes
			return
		}
		l.rounds.EndRound()
		n, open := l.wait(events[:])
		if !open {
			return
		}
		l.rounds.BeginRound()
		for _, h := range batch[:l.find(events[:n], &batch)] {
			if !l.turn(r, func() { h.s.happened(h.events) }) {
				return
			}
			l.syncer.hurry()
		}
		clear(batch[:])
	}
}

// turn lets the runner do something for one connection, and reports whether it is still the loop's.
func (l *loop) turn(r *runner, do func()) bool {
	beat := r.beat.Add(1)
	if l.of.asleep.Load() && l.of.asleep.CompareAndSwap(true, false) {
		select {
		case l.of.wake <- struct{}{}:
		default:
		}
	}
	do()
	return r.beat.CompareAndSwap(beat, beat+1)
}

// wait waits until there is something to do. Before it sleeps, sync rounds begin that waited for the loop.
func (l *loop) wait(events []syscall.EpollEvent) (n int, open bool) {
	if l.syncer.waits() {
		if n = l.poll(events, 0); n > 0 { // what has arrived meanwhile goes with the round
			return n, true
		}
	}
	l.mu.Lock()
	if l.closing {
		l.hold(false)
		l.mu.Unlock()
		return 0, false
	}
	timeout := 0
	if l.polling = l.looked == len(l.posted); l.polling {
		l.hold(false)
		timeout = -1
	}
	l.mu.Unlock()
	n = l.poll(events, timeout)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polling = false
	l.hold(!l.closing)
	return n, !l.closing
}

// hold tells the syncer whether the loop has requests to run. l.mu is held.
func (l *loop) hold(on bool) {
	switch {
	case on == l.holding:
	case on:
		l.syncer.hold()
	default:
		l.syncer.letGo()
	}
	l.holding = on
}

func (l *loop) poll(events []syscall.EpollEvent, timeout int) int {
	for {
		n, err := syscall.EpollWait(l.epoll, events, timeout)
		switch err {
		case nil:
			return n
		case syscall.EINTR:
		default:
			panic(fmt.Sprintf("host: epoll_wait: %v", err)) // its arguments are wrong
		}
	}
}

// find finds the sockets that epoll has named, and empties the pipe.
func (l *loop) find(events []syscall.EpollEvent, batch *[eventsAtOnce]happening) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		if s := l.socks[e.Fd]; s != nil {
			batch[n] = happening{s, e.Events}
			n++
		} else if int(e.Fd) == l.pipe[0] {
			var b [16]byte
			_, _ = syscall.Read(l.pipe[0], b[:])
		}
	}
	return n
}

// watch looks for turns that take long, and gives their loops a new runner.
func (ls *loops) watch() {
	defer ls.done.Done()
	t := time.NewTicker(stuckTime)
	defer t.Stop()
	for still := 0; ; {
		select {
		case <-ls.stop:
			return
		case <-t.C:
		}
		moved := ls.moved()
		for _, l := range ls.all {
			r := l.runner.Load()
			beat := r.beat.Load()
			if beat == r.seen && beat%2 == 1 && r.beat.CompareAndSwap(beat, takenOver) { // not if the turn has ended just now
				l.start()
			}
			r.seen = beat
		}
		if still++; moved {
			still = 0
		}
		if still < restAfter {
			continue
		}
		still = 0
		t.Stop()
		ls.asleep.Store(true)
		if ls.moved() && ls.asleep.CompareAndSwap(true, false) { // a turn that began before it could have seen that
			t.Reset(stuckTime)
			continue
		}
		select {
		case <-ls.stop:
			return
		case <-ls.wake:
		}
		t.Reset(stuckTime)
	}
}

// moved reports whether there is a turn now, or has been one since the watch looked.
func (ls *loops) moved() bool {
	for _, l := range ls.all {
		r := l.runner.Load()
		if beat := r.beat.Load(); beat != r.seen || beat%2 == 1 {
			return true
		}
	}
	return false
}
