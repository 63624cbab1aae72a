package host

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"godwit/engine/env"
	"godwit/engine/env/envtest"
)

// TestSeams runs the conformance suite against the real world.
func TestSeams(t *testing.T) {
	for _, c := range envtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, newWorld(t))
		})
	}
}

// introduce is a handshake in which the peer answers with its id.
type introduce struct{}

func (introduce) Hello(to env.Peer) [][]byte { return [][]byte{[]byte("HELLO"), []byte(to.ID)} }

func (introduce) CheckHello(to env.Peer, reply []byte) error {
	if string(reply) != to.ID {
		return errors.New("another node")
	}
	return nil
}

func newWorld(t *testing.T) *envtest.World {
	clock, workers, syncer, peers := NewClock(), NewWorkers(0), StartSyncer(), NewPeers(nil)
	peers.Attach(introduce{})
	f := &farEnd{t: t, conns: map[string]map[net.Conn]bool{}}
	var once sync.Once
	closeAll := func() {
		once.Do(func() {
			peers.Close()
			clock.Close()
			workers.Close()
			syncer.Close()
		})
	}
	t.Cleanup(closeAll)
	stranger := f.serve(func([][]byte) envtest.Answer { return envtest.Answer{} })
	stranger.ID = "somebody else"
	return &envtest.World{
		Clock: clock, Rand: NewRand(), Workers: workers, Syncer: syncer, Peers: peers,
		Serve: f.serve, Cut: f.cut, Nobody: env.Peer{ID: "nobody", Addr: freeAddr(t)}, Stranger: stranger,
		Until: until, Close: closeAll,
	}
}

// until waits for a condition in real time.
func until(condition func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if condition() {
			return true
		}
	}
	return condition()
}

// freeAddr is an address at which nobody listens.
func freeAddr(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// farEnd is the other nodes.
type farEnd struct {
	t     *testing.T
	mu    sync.Mutex
	conns map[string]map[net.Conn]bool // by address
}

func (f *farEnd) serve(answer func([][]byte) envtest.Answer) env.Peer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { ln.Close() })
	to := env.Peer{ID: "node at " + ln.Addr().String(), Addr: ln.Addr().String()}
	f.mu.Lock()
	f.conns[to.Addr] = map[net.Conn]bool{}
	f.mu.Unlock()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[to.Addr][nc] = true
			f.mu.Unlock()
			go f.answer(nc, to.ID, answer)
		}
	}()
	return to
}

func (f *farEnd) answer(nc net.Conn, id string, answer func([][]byte) envtest.Answer) {
	defer nc.Close()
	in := bufio.NewReader(nc)
	r := requests{bulkBytes: 1 << 20, arguments: 100, totalBytes: 1 << 20}
	var buf []byte
	for {
		args, n, err := r.next(buf, nil)
		if err != nil {
			f.t.Errorf("a link sent %q: %v", buf, err)
			return
		}
		if n == 0 {
			b, err := in.ReadByte()
			if err != nil {
				return
			}
			buf = append(buf, b)
			continue
		}
		a := envtest.Answer{Reply: []byte(id)}
		if string(args[0]) != "HELLO" {
			a = answer(args)
		}
		buf = buf[n:]
		switch {
		case a.Silent:
			continue
		case a.Error != "":
			_, err = nc.Write([]byte("-" + a.Error + "\r\n"))
		default:
			_, err = nc.Write(appendCommand(nil, [][]byte{a.Reply})[len("*1\r\n"):])
		}
		if err != nil {
			return
		}
	}
}

func (f *farEnd) cut(to env.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for nc := range f.conns[to.Addr] {
		nc.Close()
		delete(f.conns[to.Addr], nc)
	}
}
