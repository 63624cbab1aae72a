package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"godwit/engine"
	"godwit/engine/store"
)

// Config configures a server. Zero fields take the defaults of engine.Options unless something else is said.
type Config struct {
	// Listen is the address to accept connections at, host:port; port 0 takes a free one. Required.
	Listen string
	// Announce is the address at which clients and other nodes reach this one, host:port. Default: the one listened at.
	Announce string
	// Dir is the data directory, made if it is missing. Required.
	Dir string

	// The fields of the same names of engine.Options.
	CacheBytes    int64
	RowCacheBytes int64
	MemTableBytes uint64
	Cluster       bool
	Sync          engine.SyncMode
	RequirePass   string
	PeerSecret    string
	SweepInterval time.Duration
	Limits        engine.Limits
	NewMigrator   func(*engine.Node) engine.Migrator
	Version       string

	// Loops is how many goroutines read the connections, each its part of them; 0 means one for every two processors. A
	// negative number gives each connection a goroutine of its own, as everywhere but on Linux, and with one processor, which a
	// loop would hold while it waits.
	Loops int

	// watchRounds, if it is set, stands between the loops and the store. For tests.
	watchRounds func(rounds) rounds

	// Log receives what happens; nil discards it.
	Log *slog.Logger
	// Fatal is called with an error after which the node cannot go on, and must not return. Default: log it and exit
	// with status 1.
	Fatal func(error)
}

// Validate names the first field that is wrong and what would be right. The engine checks its own.
func (c *Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen address %q is wrong: want HOST:PORT, such as 127.0.0.1:6666", c.Listen)
	}
	if c.Announce != "" {
		if host, port, err := net.SplitHostPort(c.Announce); err != nil || host == "" || port == "" || port == "0" {
			return fmt.Errorf("announced address %q is wrong: want HOST:PORT at which others reach this node", c.Announce)
		}
	}
	if c.Dir == "" {
		return errors.New("the data directory is missing: name one")
	}
	return nil
}

// rounds is told when a loop begins to run what has arrived, when it has sent the replies, and before it waits for more: the store.
type rounds interface {
	BeginRound()
	ApplyRound()
	EndRound()
}

// Server is a node that serves on a socket.
type Server struct {
	log      *slog.Logger
	node     *engine.Node
	listener net.Listener
	limits   engine.Limits

	clock   *Clock
	workers *Workers
	syncer  *Syncer
	peers   *Peers
	servers *Servers
	loops   *loops
	inputs  sync.Pool // of *[readBuffer]byte: input buffers that no connection needs now

	kill chan struct{} // closed when connections must end at once
	done sync.WaitGroup

	mu      sync.Mutex
	conns   map[*conn]struct{}
	closing bool
}

// Start opens the data directory and begins to serve. A directory that another process has open is refused with an error
// that is store.ErrInUse, one of another format version with store.ErrFormat, untouched.
func Start(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) {
			cfg.Log.Error("the node cannot go on", "error", err)
			os.Exit(1)
		}
	}
	// The port is taken first, since the node must know the address. Nobody is answered before it is open.
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", cfg.Listen, err)
	}
	s := &Server{
		log: cfg.Log, listener: listener, conns: map[*conn]struct{}{}, kill: make(chan struct{}),
		clock: NewClock(), workers: NewWorkers(0), syncer: StartSyncer(), peers: NewPeers(cfg.Log), servers: NewServers(),
	}
	if cfg.Announce == "" {
		cfg.Announce = listener.Addr().String()
	}
	if cfg.Loops == 0 {
		cfg.Loops = runtime.GOMAXPROCS(0) / 2
	}
	s.node, err = engine.Open(engine.Options{
		Clock: s.clock, Peers: s.peers, Servers: s.servers, Rand: NewRand(), Workers: s.workers, Syncer: s.syncer, FS: diskFS(),
		Log: cfg.Log, Fatal: cfg.Fatal, Dir: cfg.Dir, CacheBytes: cfg.CacheBytes, RowCacheBytes: cfg.RowCacheBytes, MemTableBytes: cfg.MemTableBytes,
		ApplyBeside: hasLoops && cfg.Loops == 1 && runtime.NumCPU() > 1,
		Cluster:     cfg.Cluster, Addr: cfg.Announce, Sync: cfg.Sync, RequirePass: cfg.RequirePass,
		PeerSecret: cfg.PeerSecret, SweepInterval: cfg.SweepInterval, Limits: cfg.Limits,
		NewMigrator: cfg.NewMigrator, Memory: memory, Version: cfg.Version,
	})
	if err != nil {
		_ = listener.Close()
		s.closeSeams()
		if errors.Is(err, store.ErrInUse) {
			return nil, fmt.Errorf("%s is in use by another godwit: stop it, or name another directory: %w", cfg.Dir, err)
		}
		return nil, err
	}
	var told rounds = s.node.Store()
	if cfg.watchRounds != nil {
		told = cfg.watchRounds(told)
	}
	if s.loops, err = startLoops(max(cfg.Loops, 0), s.syncer, told, s.log); err != nil {
		_ = listener.Close()
		s.closeSeams()
		return nil, errors.Join(err, s.node.Close())
	}
	s.limits = s.node.Options().Limits
	s.peers.Attach(s.node)
	if cfg.Cluster && cfg.PeerSecret == "" {
		s.log.Warn("cluster mode without a peer secret: other nodes are accepted from this machine only")
	}
	s.done.Add(1)
	go s.accept()
	return s, nil
}

// Addr is the address that is listened at.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Node is the node that is served.
func (s *Server) Node() *engine.Node { return s.node }

// acceptPause is how long accepting rests after a failure such as having too many files open.
const acceptPause = 50 * time.Millisecond

func (s *Server) accept() {
	defer s.done.Done()
	for {
		nc, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.log.Error("accepting a connection failed", "error", err)
			time.Sleep(acceptPause)
		default:
			s.open(nc)
		}
	}
}

// open begins to serve a connection, or refuses it.
func (s *Server) open(nc net.Conn) {
	c := &conn{srv: s, nc: nc, progress: make(chan struct{}, 1)}
	c.requests = requests{
		bulkBytes: s.limits.BulkBytes, arguments: s.limits.Arguments, totalBytes: s.limits.BulkBytes + s.limits.PipelineBytes,
	}
	if c.looped = s.loops.adopt(c, nc); c.looped != nil {
		c.nc = c.looped
	}
	remote, _ := nc.RemoteAddr().(*net.TCPAddr)
	session, err := s.node.NewSession(engine.SessionOptions{
		Remote: nc.RemoteAddr().String(), Local: nc.LocalAddr().String(),
		Loopback: remote != nil && remote.IP.IsLoopback(), Deliver: c.deliver,
		Hangup: func() { _ = c.nc.Close() }, // wakes the reader, which ends
	})
	if err != nil {
		// The socket of a new connection takes so few bytes without waiting.
		_, _ = c.nc.Write([]byte("-" + err.Error() + "\r\n"))
		_ = c.nc.Close()
		return
	}
	c.session = session
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		session.Close()
		_ = c.nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.done.Add(1)
	s.mu.Unlock()
	go c.serve(errGoOn)
}

// forget ends the server's part in a connection that has been closed.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.done.Done()
}

// Shutdown stops accepting, lets the commands that have been read finish until the context ends, closes all connections,
// syncs and closes the node. It must be called once.
func (s *Server) Shutdown(ctx context.Context) error {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closing = true
	n := len(s.conns)
	for c := range s.conns {
		c.stopReading()
	}
	s.mu.Unlock()
	s.log.Info("shutting down", "connections", n)
	finished := make(chan struct{})
	go func() {
		s.done.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		s.log.Warn("commands were still underway when the time to finish them was over")
		close(s.kill)
		s.mu.Lock()
		for c := range s.conns {
			_ = c.nc.Close()
		}
		s.mu.Unlock()
		<-finished
	}
	s.loops.close()
	s.closeSeams()
	if err := s.node.Close(); err != nil {
		return fmt.Errorf("close the data directory: %w", err)
	}
	return nil
}

// closeSeams ends all callbacks of the node. The store syncs by itself when it is closed.
func (s *Server) closeSeams() {
	s.peers.Close()
	s.servers.Close()
	s.clock.Close()
	s.workers.Close()
	s.syncer.Close()
}
