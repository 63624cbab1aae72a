package host

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine/env"
	"godwit/engine/env/envtest"
)

// rawPeer accepts links, reads the handshake, sends what is given and leaves the link open.
func rawPeer(t *testing.T, replies string) (to env.Peer, links func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var mu sync.Mutex
	n := 0
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			go func() {
				defer nc.Close()
				_, _ = io.WriteString(nc, replies)
				_, _ = io.Copy(io.Discard, nc)
			}()
		}
	}()
	return env.Peer{ID: "id", Addr: ln.Addr().String()}, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// result makes one call and returns what became of it.
func result(t *testing.T, p *Peers, to env.Peer, timeout time.Duration) error {
	t.Helper()
	done := make(chan error, 2)
	p.Call(to, env.Control, [][]byte{[]byte("PEER")}, timeout, func(_ []byte, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the call did not end")
		return nil
	}
}

func newPeers(t *testing.T) *Peers {
	p := NewPeers(nil)
	p.Attach(introduce{})
	t.Cleanup(p.Close)
	return p
}

func TestLinkIsClosedOnWhatIsUnexpected(t *testing.T) {
	for name, replies := range map[string]string{
		"handshake refused":         "-ERR unknown command\r\n",
		"another node":              "-WRONGNODE this is node x, not the one that was called\r\n",
		"handshake of another type": ":1\r\n",
		"handshake too long":        "$100000\r\n" + strings.Repeat("x", 100000),
		"handshake and more":        "$2\r\nid\r\n$1\r\na\r\n",
		"no protocol":               "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to, _ := rawPeer(t, replies)
			err := result(t, newPeers(t), to, 5*time.Second)
			var remote *env.RemoteError
			if !errors.Is(err, env.ErrLink) || errors.As(err, &remote) {
				t.Errorf("got %v, want a failed link", err)
			}
			if refused := name == "handshake refused"; errors.Is(err, env.ErrNotPeer) != refused {
				t.Errorf("got %v: that the handshake was refused should be said: %v", err, refused)
			}
		})
	}
}

func TestAnswerOfAnotherTypeBreaksTheLink(t *testing.T) {
	f := &farEnd{t: t, conns: map[string]map[net.Conn]bool{}}
	// farEnd answers errors in a line of their own: what follows it looks like an answer to no call.
	to := f.serve(func([][]byte) envtest.Answer { return envtest.Answer{Error: "ERR no\r\n*0"} })
	p := newPeers(t)
	err := result(t, p, to, 5*time.Second)
	var remote *env.RemoteError
	if !errors.As(err, &remote) {
		t.Fatalf("got %v, want an error reply", err)
	}
	l := p.links[linkKey{to, env.Control}]
	if !until(func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.running }) {
		t.Error("the link is still there")
	}
}

func TestPeersNeedAHandshake(t *testing.T) {
	p := NewPeers(nil)
	defer p.Close()
	to, links := rawPeer(t, "$2\r\nid\r\n")
	if err := result(t, p, to, 5*time.Second); !errors.Is(err, env.ErrLink) {
		t.Errorf("got %v, want a failed link", err)
	}
	if links() != 0 {
		t.Error("a link was made without a handshake")
	}
}

// TestDeadLinkIsReplaced: a peer that accepts and never answers again, as behind a partition, must not keep the link.
func TestDeadLinkIsReplaced(t *testing.T) {
	p := newPeers(t)
	to, links := rawPeer(t, "$2\r\nid\r\n")
	if err := result(t, p, to, 50*time.Millisecond); !errors.Is(err, env.ErrTimeout) {
		t.Fatalf("got %v, want a timeout", err)
	}
	for range 20 {
		// A call that is given before the dead link has been cleared away fails with it.
		if err := result(t, p, to, 50*time.Millisecond); !errors.Is(err, env.ErrTimeout) && !errors.Is(err, env.ErrLink) {
			t.Fatalf("got %v, want a timeout or a failed link", err)
		}
		if links() > 1 {
			return
		}
	}
	t.Error("21 calls without an answer all used the first link")
}

func TestOutstandingBytesAreBounded(t *testing.T) {
	p := newPeers(t)
	to, _ := rawPeer(t, "$2\r\nid\r\n")
	big := make([]byte, 48<<20)
	failed := make(chan error, 10)
	for range 8 {
		p.Call(to, env.Bulk, [][]byte{big}, time.Minute, func(_ []byte, err error) { failed <- err })
	}
	select {
	case err := <-failed:
		if !errors.Is(err, env.ErrLink) {
			t.Errorf("got %v, want a failed link", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("384 MB were taken for a peer that does not answer")
	}
}

func TestWorkersAreBounded(t *testing.T) {
	w := NewWorkers(3)
	defer w.Close()
	var mu sync.Mutex
	running, most, done := 0, 0, 0
	for range 50 {
		w.Submit(func() {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			running--
			done++
			mu.Unlock()
		})
	}
	if !until(func() bool { mu.Lock(); defer mu.Unlock(); return done == 50 }) {
		t.Fatal("steps are left")
	}
	if most > 3 {
		t.Errorf("%d steps ran at once, want at most 3", most)
	}
	if now, longest := w.Queued(); now != 0 || longest < 40 {
		t.Errorf("%d steps wait and %d did at most", now, longest)
	}
}
