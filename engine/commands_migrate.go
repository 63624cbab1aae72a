package engine

import (
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/slot"
)

// migrateRequest is what MIGRATE asks for:
//
//	MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password] [KEYS key...]
type migrateRequest struct {
	host, port     string
	keys           [][]byte
	db             int64
	timeout        time.Duration
	copy, replace  bool
	user, password []byte // password is nil without AUTH; user is nil without AUTH2
}

// migrateTimeout is the timeout of MIGRATE if it says none, as in Redis.
const migrateTimeout = time.Second

// parseMigrate reads the arguments of MIGRATE, its name included, or says what is wrong with them. The keys alias args.
func parseMigrate(args [][]byte) (m migrateRequest, problem string) {
	m.host, m.port = string(args[1]), string(args[2])
	for i := 6; i < len(args); i++ {
		left := len(args) - i - 1
		switch word := strings.ToLower(string(args[i])); {
		case word == "copy":
			m.copy = true
		case word == "replace":
			m.replace = true
		case word == "auth" && left >= 1:
			m.password = args[i+1]
			i++
		case word == "auth2" && left >= 2:
			m.user, m.password = args[i+1], args[i+2]
			i += 2
		case word == "keys" && len(args[3]) > 0:
			return m, errMigrateKeys
		case word == "keys":
			m.keys = args[i+1:]
			i = len(args)
		default:
			return m, errSyntax
		}
	}
	if m.keys == nil {
		m.keys = args[3:4]
	}
	var err error
	ms, err1 := strconv.ParseInt(string(args[5]), 10, 64)
	if m.db, err = strconv.ParseInt(string(args[4]), 10, 32); err != nil || err1 != nil {
		return m, errNotInteger
	}
	if m.timeout = migrateTimeout; ms > 0 {
		m.timeout = time.Duration(min(ms, maxTimeoutMs)) * time.Millisecond
	}
	return m, ""
}

// maxTimeoutMs is the longest timeout that is told from a longer one: a year.
const maxTimeoutMs = 365 * 24 * 3600 * 1000

// migrateKeys answers MIGRATE. To a node of the cluster the slot of the keys moves as a whole: a slot is served by one node, and so no key of it
// can be anywhere else.
func (s *Session) migrateKeys(spec *command.Spec, args [][]byte) {
	n := s.n
	m, problem := parseMigrate(args)
	switch {
	case problem != "":
		s.out.Error(problem)
		return
	case len(m.keys) == 0:
		s.out.Simple(noKey)
		return
	}
	if n.opts.Cluster {
		sl := slot.OfKey(m.keys[0])
		for _, k := range m.keys[1:] {
			if slot.OfKey(k) != sl {
				s.out.Error(cluster.CrossSlot)
				return
			}
		}
		switch to, problem := n.member(&m, sl); {
		case problem != "":
			s.out.Error(problem)
			return
		case to != "":
			s.migrateSlot(spec, args, &m, sl, to)
			return
		}
	}
	s.migrateOut(spec, args, m)
}

// noKey is what MIGRATE answers when none of its keys is there.
const noKey = "NOKEY"

// member is the other node of the cluster that MIGRATE names, "" if it names none. A node may be named otherwise than in the map, as tools do that
// were told a name of it: one to which the slot is moving because of SETSLOT MIGRATING is known by its port, since the tool that said that
// says MIGRATE next. Where a slot moves for another reason the same port is no proof, and problem says so.
func (n *Node) member(m *migrateRequest, sl slot.Slot) (id cluster.NodeID, problem string) {
	topology := n.topology()
	for i := range topology.Nodes {
		node := &topology.Nodes[i]
		if strconv.Itoa(node.Port) == m.port && node.ID != n.ID() && sameHost(node.Host, m.host) {
			return node.ID, ""
		}
	}
	j, found := n.liveJob(sl)
	if !found {
		return "", ""
	}
	target := topology.Find(j.Target)
	switch {
	case target == nil || strconv.Itoa(target.Port) != m.port:
		return "", ""
	case !n.isOpening(sl, j.ID):
		return "", errMigrateElsewhere(sl, j)
	}
	return j.Target, ""
}

// migrateSlot answers a MIGRATE to a node of the cluster: when the slot is there.
func (s *Session) migrateSlot(spec *command.Spec, args [][]byte, m *migrateRequest, sl slot.Slot, to cluster.NodeID) {
	n := s.n
	switch {
	case m.copy:
		s.out.Error(errMigrateCopy)
		return
	case m.db != 0:
		s.out.Error(errDBIndex)
		return
	case n.Record(sl).State == cluster.Released && n.Owner(sl) == to: // with all that it had
		s.dependOn(n.store.Last(), false)
		s.out.Simple(noKey)
		return
	}
	found := false
	slots := oneSlot[sl][:]
	s.work = work{spec: spec, args: args, slots: slots, locks: slots, do: func(s *Session, w *work) bool {
		var again bool
		found, again = s.anyKey(w, m.keys)
		return again
	}}
	before := s.out.Len()
	if s.runLocked(&s.work); s.pending != nil || s.out.Len() > before {
		return
	}
	if !found {
		s.out.Simple(noKey)
		return
	}
	j, moving := n.liveJob(sl)
	if !moving || j.Target != to {
		if r := n.Record(sl); r.State == cluster.Serving {
			s.out.Error(errNotMigrating(sl, to))
			return
		}
	}
	s.awaitSlot(sl, m.timeout, errMigrateTimeout(sl), func() string {
		reply := n.giveAway(sl, to, false)
		if code, text, _ := strings.Cut(reply, " "); code == "ERR" {
			return "IOERR error or timeout: " + text // what tools know as a failure that may be tried again
		}
		return reply
	})
}

// anyKey reports whether one of the keys is there. The stripe of their slot is held. again says to look again under the exclusive lock.
func (s *Session) anyKey(w *work, keys [][]byte) (found, again bool) {
	mode := data.Read
	if w.write {
		mode = data.Write
	}
	tx := s.begin(w, mode)
	start := s.out.Len()
	for _, k := range keys {
		if e := tx.Load(k); e.Found {
			found = true
			break
		}
	}
	switch {
	case tx.Err() != nil:
		s.fail(w, start)
		return false, false
	case !w.write && tx.NeedsWrite():
		tx.Discard()
		return false, true
	}
	s.commit(w)
	return found, false
}
