package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/engine/key"
	"godwit/engine/slot"
)

// Versions that tools ask for.
const (
	// redisVersion is the version of Redis whose replies this node gives.
	redisVersion = "7.0.15"
	// kvrocksVersion is what controllers made for Kvrocks see; they want 2.0.5 or later.
	kvrocksVersion = "2.15.0"
)

// infoSection is a part of INFO.
type infoSection struct {
	name  string
	lines func(*Node, *infoLines)
	// asked says that only a client that names the section gets it.
	asked bool
}

// infoLines collects the lines of a section.
type infoLines struct{ strings.Builder }

func (l *infoLines) add(name string, value any) {
	l.WriteString(name + ":" + fmt.Sprint(value) + "\r\n")
}

func infoSections() []infoSection {
	return []infoSection{
		{name: "Server", lines: (*Node).infoServer},
		{name: "Clients", lines: (*Node).infoClients},
		{name: "Memory", lines: (*Node).infoMemory},
		{name: "Persistence", lines: (*Node).infoPersistence},
		{name: "Stats", lines: (*Node).infoStats},
		{name: "Replication", lines: (*Node).infoReplication},
		{name: "Cluster", lines: (*Node).infoCluster},
		{name: "Migration", lines: (*Node).infoMigration},
		{name: "Keyspace", lines: (*Node).infoKeyspace},
		{name: "Store", lines: (*Node).infoStore, asked: true},
	}
}

// info answers INFO [section …]. "keyspace" by name counts the keys, which reads them all; without the name the section has
// its cheap lines only, since tools ask for everything every few seconds.
func (s *Session) info(args [][]byte) {
	everything := len(args) == 0
	named := map[string]bool{}
	for _, a := range args {
		name := strings.ToLower(string(a))
		named[name] = true
		if name == "all" || name == "everything" || name == "default" {
			everything = true
		}
	}
	var b strings.Builder
	for _, sec := range infoSections() {
		name := strings.ToLower(sec.name)
		if !named[name] && (!everything || sec.asked) {
			continue
		}
		var l infoLines
		sec.lines(s.n, &l)
		if name == "keyspace" && named[name] {
			s.n.infoKeys(&l)
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + sec.name + "\r\n" + l.String())
	}
	s.out.Verbatim("txt", b.String())
}

func (n *Node) infoServer(l *infoLines) {
	mode := "standalone"
	if n.opts.Cluster {
		mode = "cluster"
	}
	up := n.opts.Clock.Mono() - n.started
	l.add("redis_version", redisVersion)
	l.add("kvrocks_version", kvrocksVersion)
	l.add("godwit_version", n.opts.Version)
	l.add("redis_mode", mode)
	l.add("arch_bits", strconv.IntSize)
	l.add("run_id", strings.Repeat("0", 24)+n.incarnation.String())
	l.add("tcp_port", n.port())
	l.add("server_time_usec", n.opts.Clock.WallMs()*1000)
	l.add("uptime_in_seconds", int64(up/time.Second))
	l.add("uptime_in_days", int64(up/(24*time.Hour)))
}

func (n *Node) infoClients(l *infoLines) {
	open, _ := n.sessions.count()
	l.add("connected_clients", open)
	l.add("maxclients", n.maxClients())
	l.add("blocked_clients", n.blocking.count.Load()+int64(n.countParked()))
}

// countParked is the number of commands that wait for a slot.
func (n *Node) countParked() int {
	total := 0
	for sl := range slot.Slot(slot.Count) {
		mu := &n.stripes[stripeOf(sl)]
		mu.RLock()
		if waiting := n.slots.get(sl).parked; waiting != nil {
			total += len(waiting.commands)
		}
		mu.RUnlock()
	}
	return total
}

func (n *Node) infoMemory(l *infoLines) {
	if n.opts.Memory != nil {
		used, taken := n.opts.Memory()
		l.add("used_memory", used)
		l.add("used_memory_rss", taken)
	}
	l.add("maxmemory", 0)
	l.add("maxmemory_policy", "noeviction")
}

func (n *Node) infoPersistence(l *infoLines) {
	l.add("loading", 0)
	l.add("rdb_changes_since_last_save", 0)
	l.add("rdb_bgsave_in_progress", 0)
	l.add("aof_enabled", 1)
	l.add("aof_last_write_status", "ok")
	l.add("sync_mode", n.syncMode())
	l.add("sync_pending", uint64(n.store.Last()-min(n.store.Durable(), n.store.Last())))
}

func (n *Node) infoStats(l *infoLines) {
	_, ever := n.sessions.count()
	l.add("total_connections_received", ever)
	l.add("total_commands_processed", n.stats.commands.Load())
	l.add("expired_keys", n.stats.expired.Load())
	l.add("evicted_keys", 0)
	l.add("parked_commands", n.stats.parked.Load())
	l.add("alarms", n.stats.alarms.Load())
}

// infoMigration has the pauses of handovers as a cumulative histogram.
func (n *Node) infoMigration(l *infoLines) {
	if n.migrator == nil {
		return
	}
	for _, c := range n.migrator.Metrics() {
		l.add(c.Name, c.Value)
	}
}

func (n *Node) infoReplication(l *infoLines) {
	l.add("role", "master")
	l.add("connected_slaves", 0)
	l.add("master_replid", strings.Repeat("0", 24)+n.incarnation.String())
	l.add("master_repl_offset", uint64(n.store.Last()))
	l.add("slave_repl_offset", 0)
}

func (n *Node) infoCluster(l *infoLines) {
	enabled := 0
	if n.opts.Cluster {
		enabled = 1
	}
	l.add("cluster_enabled", enabled)
	if !n.opts.Cluster {
		return
	}
	serving := n.Serving()
	l.add("cluster_node_id", n.ID())
	l.add("cluster_map_version", n.topology().Version)
	l.add("cluster_slots_served", serving.Len())
}

func (n *Node) infoKeyspace(l *infoLines) {
	l.add("sequence", uint64(n.store.Last()))
}

// infoKeys is the line about the keys, which takes a look at each.
func (n *Node) infoKeys(l *infoLines) {
	keys, err := n.countLive()
	if err != nil {
		n.opts.Log.Error("counting keys failed", "error", err)
		return
	}
	if keys == 0 {
		return
	}
	expiring, err := n.countExpiring()
	if err != nil {
		n.opts.Log.Error("counting keys that expire failed", "error", err)
		return
	}
	l.add("db0", fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", keys, expiring))
}

// countExpiring counts the entries of the expiry index in the slots that enumerations see.
func (n *Node) countExpiring() (total int64, err error) {
	it, err := n.store.NewIter(key.UserSpan())
	if err != nil {
		return 0, err
	}
	serving := n.Serving()
	for sl := range slot.Slot(slot.Count) {
		if n.opts.Cluster && !serving.Has(sl) {
			continue
		}
		span := key.KindSpan(sl, key.Expiry)
		for ok := it.SeekGE(span.Lo); ok && span.Contains(it.Key()); ok = it.Next() {
			total++
		}
	}
	return total, it.Close()
}

func (n *Node) infoStore(l *infoLines) {
	for line := range strings.Lines(n.store.Metrics()) {
		l.WriteString("#" + strings.TrimRight(line, "\r\n") + "\r\n")
	}
}
