package engine

import (
	"math"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"godwit/engine/command"
)

// config holds the settings that can be changed while the node runs, those of its migrator aside. A change lasts until the process ends.
type config struct {
	sync        atomic.Uint32
	requirepass atomic.Pointer[string]
	maxClients  atomic.Int64
}

func (c *config) init(o *Options) {
	c.sync.Store(uint32(o.Sync))
	c.requirepass.Store(&o.RequirePass)
	c.maxClients.Store(int64(o.Limits.MaxClients))
}

func (n *Node) syncMode() SyncMode { return SyncMode(n.config.sync.Load()) }

func (n *Node) password() string { return *n.config.requirepass.Load() }

func (n *Node) maxClients() int { return int(n.config.maxClients.Load()) }

// setting is a parameter of CONFIG GET and SET.
type setting struct {
	name string
	get  func(*Node) string
	// check reports why a value is wrong, or returns "" and what applies it. nil: the setting cannot be changed.
	check func(value string) (why string, apply func(*Node))
	// checkAt is check for what depends on the node.
	checkAt func(n *Node, value string) (why string, apply func(*Node))
	// moves says that it is one of the migrator's, which checks and applies it.
	moves bool
}

func fixed(value string) func(*Node) string { return func(*Node) string { return value } }

// fsyncNames are Redis' names of the sync modes, for tools that ask for appendfsync.
var fsyncNames = [...]string{SyncAlways: "always", SyncInterval: "everysec", SyncNever: "no"}

// settings lists the parameters by name. Those that mean nothing here but are asked for by common tools have the value that
// tells the truth: everything is logged before it is acknowledged, and nothing is ever evicted.
func settings() []setting {
	return []setting{
		{name: "appendfsync", get: func(n *Node) string { return fsyncNames[n.syncMode()] }, check: checkFsync},
		{name: "appendonly", get: fixed("yes")},
		{name: "cluster-enabled", get: func(n *Node) string { return yesNo(n.opts.Cluster) }},
		{name: "databases", get: fixed("1")},
		{name: "dir", get: func(n *Node) string { return n.opts.Dir }},
		{name: "maxclients", get: func(n *Node) string { return strconv.Itoa(n.maxClients()) }, check: checkMaxClients},
		{name: "maxmemory", get: fixed("0")},
		{name: "maxmemory-policy", get: fixed("noeviction")},
		{name: "migration-throttle", get: (*Node).throttle, checkAt: checkThrottle},
		{name: "park-deadline-ms", get: func(n *Node) string {
			return strconv.FormatInt(n.opts.Limits.ParkDeadline.Milliseconds(), 10)
		}},
		{name: "pipeline-limit", get: func(n *Node) string { return strconv.Itoa(n.opts.Limits.PipelineBytes) }},
		{name: "port", get: (*Node).port},
		{name: "proto-max-bulk-len", get: func(n *Node) string { return strconv.Itoa(n.opts.Limits.BulkBytes) }},
		{name: "requirepass", get: (*Node).password, check: checkPassword},
		{name: "save", get: fixed("")},
		{name: "slowlog-log-slower-than", get: func(n *Node) string { return strconv.FormatInt(n.slow.slowerThanUs.Load(), 10) }, check: checkSlowerThan},
		{name: "slowlog-max-len", get: func(n *Node) string { return strconv.FormatInt(n.slow.maxLen.Load(), 10) }, check: checkSlowLogLen},
		{name: "sync", get: func(n *Node) string { return n.syncMode().String() }, check: checkSync},
		{name: "timeout", get: fixed("0")},
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// port is the port of the node's address, "0" if it is unknown.
func (n *Node) port() string {
	if _, port, ok := cutAddr(n.opts.Addr); ok {
		return port
	}
	return "0"
}

// cutAddr splits host:port; the brackets of an IPv6 host are cut off.
func cutAddr(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", "", false
	}
	host = addr[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return host, addr[i+1:], true
}

func checkSync(value string) (string, func(*Node)) {
	m, err := ParseSyncMode(strings.ToLower(value))
	if err != nil {
		return whySyncMode, nil
	}
	return "", func(n *Node) { n.config.sync.Store(uint32(m)) }
}

func checkFsync(value string) (string, func(*Node)) {
	for m, name := range fsyncNames {
		if strings.EqualFold(value, name) {
			return "", func(n *Node) { n.config.sync.Store(uint32(m)) }
		}
	}
	return whyFsync, nil
}

func checkPassword(value string) (string, func(*Node)) {
	return "", func(n *Node) { n.config.requirepass.Store(&value) }
}

func checkMaxClients(value string) (string, func(*Node)) {
	v, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return whyNotInteger, nil
	case v < 1 || v > math.MaxUint32:
		return whyMaxClients, nil
	}
	return "", func(n *Node) { n.config.maxClients.Store(v) }
}

// throttle is the limit that the jobs of the node keep together, "" without cluster mode.
func (n *Node) throttle() string {
	if n.migrator == nil {
		return ""
	}
	r, _ := n.migrator.Throttle(0, nil) // only jobs can be unknown
	return r.Limit
}

func checkThrottle(n *Node, value string) (string, func(*Node)) {
	if n.migrator == nil {
		return whyNoMigrator, nil
	}
	if err := n.migrator.CheckThrottle(value); err != nil {
		return err.Error(), nil
	}
	return "", func(n *Node) { _, _ = n.migrator.Throttle(0, &value) } // checked above
}

// allSettings are the parameters of this node: settings, and those of its migrator.
func (n *Node) allSettings() []setting {
	list := settings()
	if n.migrator == nil {
		return list
	}
	for _, s := range n.migrator.Settings() {
		list = append(list, setting{name: s.Name, get: fixed(s.Value), moves: true})
	}
	return list
}

// configGet answers CONFIG GET pattern [pattern …].
func (s *Session) configGet(patterns [][]byte) {
	var found []setting
	for _, p := range s.n.allSettings() {
		for _, pattern := range patterns {
			if command.MatchGlob(pattern, []byte(p.name), true) {
				found = append(found, p)
				break
			}
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].name < found[j].name })
	s.out.Map(len(found))
	for _, p := range found {
		s.out.BulkString(p.name)
		s.out.BulkString(p.get(s.n))
	}
}

// configSet answers CONFIG SET name value [name value …]: all or nothing.
func (s *Session) configSet(pairs [][]byte) {
	if len(pairs)%2 != 0 {
		s.out.Error(errArity("config|set"))
		return
	}
	known := map[string]setting{}
	for _, p := range s.n.allSettings() {
		known[p.name] = p
	}
	seen := map[string]bool{}
	var apply []func(*Node)
	var moves []Setting
	for i := 0; i < len(pairs); i += 2 {
		name := strings.ToLower(string(pairs[i]))
		p, ok := known[name]
		switch {
		case !ok:
			s.out.Error(errConfigUnknown(string(pairs[i])))
			return
		case seen[name]:
			s.out.Error(errConfig(name, whyDuplicate))
			return
		case p.moves:
			moves = append(moves, Setting{Name: name, Value: string(pairs[i+1])})
		case p.check == nil && p.checkAt == nil:
			s.out.Error(errConfig(name, whyImmutable))
			return
		}
		if seen[name] = true; p.moves {
			continue
		}
		check := p.check
		if p.checkAt != nil {
			check = func(value string) (string, func(*Node)) { return p.checkAt(s.n, value) }
		}
		why, fn := check(string(pairs[i+1]))
		if why != "" {
			s.out.Error(errConfig(name, why))
			return
		}
		apply = append(apply, fn)
	}
	if len(moves) > 0 {
		if err := s.n.migrator.CheckSettings(moves); err != nil {
			s.out.Error(errConfig(moves[0].Name, err.Error()))
			return
		}
		s.n.migrator.Set(moves)
	}
	for _, fn := range apply {
		fn(s.n)
	}
	s.out.OK()
}
