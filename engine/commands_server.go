package engine

import (
	"strconv"
	"strings"

	"godwit/engine/command"
	"godwit/engine/data"
)

// runServer runs a command that needs the node rather than keys. s.mu is held. It appends exactly one reply, or leaves the
// command pending.
func (s *Session) runServer(spec *command.Spec, args [][]byte) {
	if spec.IsHelp() {
		s.n.table.WriteHelp(spec, &s.out)
		return
	}
	container, _, _ := strings.Cut(spec.Name, "|")
	switch container {
	case "multi":
		s.startMulti()
	case "exec":
		s.exec(spec, args)
	case "discard":
		s.discard()
	case "watch":
		s.watch(spec, args)
	case "unwatch":
		s.unwatch()
		s.out.OK()
	case "wait":
		s.waitReplicas(args)
	case "waitaof":
		s.waitDisk(args)
	case "slowlog":
		s.slowlog(spec, args)
	case "monitor":
		if s.multi != nil {
			s.out.Error(errMonitorInMulti)
			return
		}
		s.startMonitor()
	case "ping":
		s.ping(args)
	case "echo":
		s.out.Bulk(args[1])
	case "hello":
		s.hello(args[1:])
	case "auth":
		s.auth(args[1:])
	case "select":
		s.selectDB(args[1])
	case "quit":
		s.queue, s.queued = nil, 0
		s.closing = true
		s.out.OK()
	case "reset":
		s.reset()
	case "time":
		s.time()
	case "command":
		s.n.table.WriteCommand(args, &s.out)
	case "info":
		s.info(args[1:])
	case "config":
		s.runConfig(spec, args)
	case "client":
		s.runClient(spec, args)
	case "cluster":
		s.runCluster(spec, args)
	case "clusterx":
		s.runClusterX(args)
	case "readonly", "readwrite", "asking":
		s.acknowledge(args[0])
	case "migrate":
		s.migrateKeys(spec, args)
	case "godwit":
		s.runGodwit(spec, args)
	default:
		s.out.Error(errNotHere(spec.Name))
	}
}

func (s *Session) ping(args [][]byte) {
	switch len(args) {
	case 1:
		s.out.Simple("PONG")
	case 2:
		s.out.Bulk(args[1])
	default:
		s.out.Error(errArity("ping"))
	}
}

// selectDB answers SELECT. There is one database.
func (s *Session) selectDB(arg []byte) {
	db, err := strconv.ParseInt(string(arg), 10, 32)
	switch {
	case err != nil:
		s.out.Error(errNotInteger)
	case db != 0 && s.n.opts.Cluster:
		s.out.Error(errSelect)
	case db != 0:
		s.out.Error(errDBIndex)
	default:
		s.out.OK()
	}
}

func (s *Session) time() {
	ms := s.n.opts.Clock.WallMs()
	s.out.Array(2)
	s.out.BulkString(strconv.FormatInt(ms/1000, 10))
	s.out.BulkString(strconv.FormatInt(ms%1000*1000, 10))
}

func (s *Session) runConfig(spec *command.Spec, args [][]byte) {
	switch spec.Name {
	case "config|get":
		s.configGet(args[2:])
	case "config|set":
		s.configSet(args[2:])
	case "config|resetstat":
		s.n.stats.commands.Store(0)
		s.n.stats.parked.Store(0)
		s.n.stats.expired.Store(0)
		s.out.OK()
	default:
		s.out.Error(errNotHere(spec.Name))
	}
}

// countLive counts the live keys that enumerations see.
func (n *Node) countLive() (int64, error) {
	var tx data.Tx
	tx.Reset(n.store, data.Read, n.opts.Clock.WallMs())
	defer tx.Discard()
	if n.opts.Cluster {
		serving := n.Serving()
		tx.SetVisible(&serving)
	}
	return tx.CountAll(), tx.Err()
}
