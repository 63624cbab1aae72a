package host

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// sock is a socket of which a loop says when it can be read and written, instead of the Go runtime: a connection that a loop reads
// costs no goroutine and, for each request, no switch to one. To goroutines it is a net.Conn like others, for what a loop must not
// wait for.
//
// Who reads is one of two: the loop, between park and the turn that does not end with nil, or else a goroutine of the connection.
type sock struct {
	c             *conn
	l             *loop
	local, remote net.Addr

	fdMu sync.RWMutex // held over each system call, none of which waits: a closed number is soon another socket's
	fd   int          // -1 when closed

	mu       sync.Mutex
	mask     uint32 // what the loop's epoll has been told to watch; 0: nothing, and not the socket either
	looped   bool   // the loop reads
	turning  bool   // a runner is in the connection's turn
	missed   bool   // something arrived in a turn that another runner has not ended; it is not watched until then
	stop     error  // the reader is to end with this
	posted   bool   // in the loop's list
	late     bool   // replies are to be written by the loop
	read     waitState
	write    waitState
	isClosed bool
}

// waitState is what a goroutine needs to wait until a socket can be read, or written.
type waitState struct {
	wanted   bool
	ready    chan struct{} // made by the first who waits, and holds one token
	deadline time.Time
}

func (w *waitState) wake() {
	if w.wanted {
		w.wanted = false
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
}

// newSock makes a copy of a connection's descriptor that the Go runtime does not watch, and closes the connection.
func newSock(nc *net.TCPConn, l *loop) (*sock, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &sock{l: l, local: nc.LocalAddr(), remote: nc.RemoteAddr()}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		var copied uintptr
		copied, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
		s.fd = int(copied)
	})
	switch {
	case err != nil:
		return nil, err
	case errno != 0:
		return nil, fmt.Errorf("copy the descriptor of a socket: %w", errno)
	}
	_ = nc.Close() // only the descriptor: the socket is open by its copy
	return s, nil
}

// readNow implements looped.
func (s *sock) readNow(b []byte) (int, error) {
	n, err := s.call(syscall.SYS_READ, b)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// writeNow implements looped.
func (s *sock) writeNow(b []byte) (int, error) {
	for done := 0; ; {
		n, err := s.call(syscall.SYS_WRITE, b[done:])
		if done += n; err != nil || done == len(b) {
			return done, err
		}
	}
}

// call makes a system call that never waits, and does not tell Go's scheduler of it: to take others in meanwhile, as it would if the
// system had lent the processor to another program, costs more than the call.
func (s *sock) call(number uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.fdMu.RLock()
	defer s.fdMu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	for {
		n, _, errno := syscall.RawSyscall(number, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, errNotNow
		default:
			return 0, errno
		}
	}
}

// watch tells the loop's epoll what is of interest now. s.mu is held.
func (s *sock) watch() {
	var mask uint32
	if s.looped && !s.missed || s.read.wanted {
		mask |= syscall.EPOLLIN
	}
	if s.write.wanted {
		mask |= syscall.EPOLLOUT
	}
	if mask == s.mask {
		return
	}
	op := syscall.EPOLL_CTL_MOD
	switch {
	case s.mask == 0:
		op = syscall.EPOLL_CTL_ADD
	case mask == 0: // and not an empty mask, which would still report a peer that has gone, again and again
		op = syscall.EPOLL_CTL_DEL
	}
	s.mask = mask
	s.fdMu.RLock()
	defer s.fdMu.RUnlock()
	if s.fd < 0 {
		return
	}
	if err := syscall.EpollCtl(s.l.epoll, op, s.fd, &syscall.EpollEvent{Events: mask, Fd: int32(s.fd)}); err != nil {
		s.l.log.Error("a socket cannot be watched", "error", err) // no memory, or too many watches for this user
		s.fail(err)
	}
}

// fail ends whoever reads or waits. s.mu is held.
func (s *sock) fail(err error) {
	if s.stop == nil {
		s.stop = err
	}
	s.read.wake()
	s.write.wake()
	if s.looped {
		s.post()
	}
}

// post has the loop look at the socket. s.mu is held.
func (s *sock) post() {
	if !s.posted {
		s.posted = true
		s.l.post(s)
	}
}

// interrupt implements looped.
func (s *sock) interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		s.stop = err
	}
	s.read.wake()
	if s.looped {
		s.post()
	}
}

// writeSoon implements looped.
func (s *sock) writeSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = true
	s.post()
}

// park implements looped.
func (s *sock) park() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return s.stop
	}
	s.looped = true
	s.watch()
	return nil
}

// happened is called by the loop with what epoll says of the socket.
func (s *sock) happened(events uint32) {
	const gone = syscall.EPOLLERR | syscall.EPOLLHUP
	s.mu.Lock()
	if events&(syscall.EPOLLOUT|gone) != 0 {
		s.write.wake()
	}
	turn := false
	if events&(syscall.EPOLLIN|gone) != 0 {
		s.read.wake()
		turn = s.beginTurn()
	}
	s.watch()
	s.mu.Unlock()
	if turn {
		s.endTurn(s.c.turn())
	}
}

// beginTurn reports whether the caller may read and run commands; if so, endTurn must follow. s.mu is held.
func (s *sock) beginTurn() bool {
	if !s.looped {
		return false
	}
	if s.turning {
		s.missed = true
		return false
	}
	s.turning = true
	return true
}

// endTurn ends the turn of a runner. With an error the connection leaves the loop: a goroutine goes on.
func (s *sock) endTurn(err error) {
	s.mu.Lock()
	s.turning, s.missed = false, false
	if err == nil {
		err = s.stop
	}
	s.looped = err == nil
	s.watch()
	s.mu.Unlock()
	if err != nil {
		go s.c.serve(err)
	}
}

// lookAfter is called by the loop for a socket that was posted.
func (s *sock) lookAfter() {
	s.mu.Lock()
	s.posted = false
	late := s.late
	s.late = false
	s.mu.Unlock()
	if late {
		s.c.writeLate()
	}
	s.mu.Lock()
	stop := s.stop != nil && s.beginTurn()
	s.mu.Unlock()
	if stop {
		s.endTurn(nil)
	}
}

// await waits until the loop says that the socket can be read, or written.
func (s *sock) await(w *waitState) error {
	s.mu.Lock()
	if s.isClosed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	if w == &s.read && s.stop != nil {
		defer s.mu.Unlock()
		return s.stop
	}
	if w.ready == nil {
		w.ready = make(chan struct{}, 1)
	}
	var over <-chan time.Time
	if !w.deadline.IsZero() {
		t := time.NewTimer(time.Until(w.deadline))
		defer t.Stop()
		over = t.C
	}
	w.wanted = true
	s.watch()
	s.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-over:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.wanted = false
	s.watch()
	return os.ErrDeadlineExceeded
}

// Read implements net.Conn. Whoever calls it is the reader.
func (s *sock) Read(b []byte) (int, error) {
	for {
		if err := s.stopped(); err != nil { // also while the other side never stops sending
			return 0, err
		}
		n, err := s.readNow(b)
		if err != errNotNow { //nolint:errorlint // readNow returns it as it is
			return n, err
		}
		if err := s.await(&s.read); err != nil {
			return 0, err
		}
	}
}

// stopped is why the reader must end, nil if it need not.
func (s *sock) stopped() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop
}

// Write implements net.Conn. Whoever calls it is the writer.
func (s *sock) Write(b []byte) (int, error) {
	for done := 0; ; {
		n, err := s.writeNow(b[done:])
		if done += n; err != errNotNow { //nolint:errorlint // writeNow returns it as it is
			return done, err
		}
		if err := s.await(&s.write); err != nil {
			return done, err
		}
	}
}

// Close implements net.Conn.
func (s *sock) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return net.ErrClosed
	}
	s.isClosed = true
	s.l.forget(s)
	s.fdMu.Lock()
	err := syscall.Close(s.fd) // epoll forgets it with that: there is no other copy
	s.fd = -1
	s.fdMu.Unlock()
	s.mask = 0
	s.fail(net.ErrClosed)
	return err
}

// CloseWrite tells the peer that nothing more comes.
func (s *sock) CloseWrite() error {
	s.fdMu.RLock()
	defer s.fdMu.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return syscall.Shutdown(s.fd, syscall.SHUT_WR)
}

// LocalAddr implements net.Conn.
func (s *sock) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements net.Conn.
func (s *sock) RemoteAddr() net.Addr { return s.remote }

// SetDeadline implements net.Conn.
func (s *sock) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn, for the next Read: interrupt is for one that waits.
func (s *sock) SetReadDeadline(t time.Time) error { return s.setDeadline(&s.read, t) }

// SetWriteDeadline implements net.Conn, for the next Write.
func (s *sock) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.write, t) }

func (s *sock) setDeadline(w *waitState, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return net.ErrClosed
	}
	w.deadline = t
	return nil
}
