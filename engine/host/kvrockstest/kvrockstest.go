// Package kvrockstest plays a Kvrocks in cluster mode on a real socket, for tests that move slots to and from one. It does what a Kvrocks does
// with connections, maps and CLUSTER IMPORT, its carelessness included: the state of an import and the slots that it has imported
// are in memory, IMPORT 1 and 2 look at nothing but the slots, and a link that ends deletes what it brought. The data are kept by a server that
// stands alone, so that their content can be compared. It is no peer of a Godwit: PEER is an unknown command.
package kvrockstest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine/resp"
	"godwit/engine/slot"
)

// Fate is what becomes of a command.
type Fate int

// The fates.
const (
	Answered  Fate = iota // it is executed and answered
	CutOff                // the connection ends before it is executed
	Lost                  // it is executed, and the connection ends before its answer
	Dies                  // the process ends before it is executed, and another begins
	DiesLater             // it is executed, and the process ends before its answer
)

// Server is a Kvrocks.
type Server struct {
	ID       string // of the node, 40 bytes
	t        testing.TB
	judge    func(conn, command string) Fate
	listener net.Listener
	backend  net.Conn
	buf      []byte // read from backend

	mu       sync.Mutex
	conns    map[int64]*conn
	nextID   int64
	version  int64
	owners   map[slot.Slot]string // of each slot by the map: host:port
	imported slot.Set
	imports  string // the slots of the latest import, "" if there was none
	state    string
	closed   bool
}

type conn struct {
	id        int64
	name      string
	nc        net.Conn
	importing bool
}

// Start starts a Kvrocks that keeps its data in the server at backend. It ends with the test. judge, unless it is nil, decides what becomes of a
// command, "name argument ..." in lower case, on a connection of a name; it is called with one command at a time.
func Start(t testing.TB, id, backend string, judge func(conn, command string) Fate) *Server {
	t.Helper()
	s := &Server{ID: id, t: t, judge: judge, conns: map[int64]*conn{}, version: -1, owners: map[slot.Slot]string{}}
	var err error
	if s.backend, err = net.Dial("tcp", backend); err != nil {
		t.Fatal(err)
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.accept()
	}()
	t.Cleanup(func() {
		_ = s.listener.Close()
		<-done
		s.mu.Lock()
		s.closed = true
		s.endAll()
		s.mu.Unlock()
		_ = s.backend.Close()
	})
	return s
}

// Addr is its address, host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Restart ends the process, by kill, and begins another: all connections end, what is in memory is gone, what is on disk stays.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart()
}

func (s *Server) restart() {
	s.imports, s.state, s.imported = "", "", slot.Set{} // first: nothing is deleted by a process that was killed
	s.endAll()
}

func (s *Server) endAll() {
	for id, c := range s.conns {
		_ = c.nc.Close()
		delete(s.conns, id)
	}
}

// Links counts the connections whose names begin with a prefix.
func (s *Server) Links(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if strings.HasPrefix(c.name, prefix) {
			n++
		}
	}
	return n
}

// Serves reports whether clients are served from a slot.
func (s *Server) Serves(sl slot.Slot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owners[sl] == s.Addr() || s.imported.Has(sl)
}

// SetMap gives it a map, as CLUSTERX SETNODES.
func (s *Server) SetMap(text string, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if problem := s.setNodes(text, version); problem != "" {
		s.t.Errorf("SETNODES: %s", problem)
	}
}

func (s *Server) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.nextID++
		c := &conn{id: s.nextID, nc: nc}
		s.conns[c.id] = c
		s.mu.Unlock()
		go s.serve(c)
	}
}

// serve answers the commands of a connection.
func (s *Server) serve(c *conn) {
	var buf []byte
	piece := make([]byte, 64<<10)
	for {
		n, err := c.nc.Read(piece)
		buf = append(buf, piece[:n]...)
		next := buf
		for {
			v, rest, perr := resp.ParseReply(next)
			if perr != nil {
				break
			}
			raw := next[:len(next)-len(rest)]
			next = rest
			args := make([]string, len(v.Elems))
			for i, e := range v.Elems {
				args[i] = e.Str
			}
			reply, ok := s.execute(c, args, raw)
			if !ok {
				return
			}
			if _, err := c.nc.Write(reply); err != nil {
				break
			}
		}
		buf = buf[:copy(buf, next)]
		if err != nil {
			s.mu.Lock()
			s.end(c)
			s.mu.Unlock()
			return
		}
	}
}

// end ends a connection. What its import has brought goes, unless it has come to its end.
func (s *Server) end(c *conn) {
	_ = c.nc.Close()
	if s.conns[c.id] != c { // ended by a restart: of another process
		return
	}
	delete(s.conns, c.id)
	if c.importing && s.state == "start" {
		s.clear()
		s.state = "error"
	}
}

func (s *Server) execute(c *conn, args []string, raw []byte) (reply []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conns[c.id] != c || len(args) == 0 {
		return nil, false
	}
	fate := Answered
	if s.judge != nil {
		fate = s.judge(c.name, strings.ToLower(strings.Join(args, " ")))
	}
	if fate == CutOff {
		s.end(c)
		return nil, false
	}
	if fate == Dies {
		s.restart()
		return nil, false
	}
	reply = s.answer(c, args, raw)
	if fate == Lost {
		s.end(c)
		return nil, false
	}
	if fate == DiesLater {
		s.restart()
		return nil, false
	}
	return reply, true
}

func bulk(text string) []byte { return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(text), text) }

func errorReply(text string) []byte { return []byte("-ERR " + text + "\r\n") }

const okReply = "+OK\r\n"

func (s *Server) answer(c *conn, args []string, raw []byte) []byte {
	word := func(i int) string {
		if i >= len(args) {
			return ""
		}
		return strings.ToLower(args[i])
	}
	switch word(0) {
	case "auth":
		return errorReply("Client sent AUTH, but no password is set")
	case "ping":
		return []byte("+PONG\r\n")
	case "info":
		return bulk("# Server\r\nversion:2.13.0\r\nkvrocks_version:2.13.0\r\nredis_version:7.0.0\r\n")
	case "client":
		return s.client(c, args, word)
	case "clusterx":
		return s.clusterx(args, word)
	case "cluster":
		return s.cluster(c, args, word)
	case "asking":
		return []byte(okReply)
	case "peer":
		return errorReply("unknown command")
	}
	if len(args) < 2 {
		return errorReply("unknown command")
	}
	if problem := s.mayExecute(c, slot.OfKey([]byte(args[1]))); problem != "" {
		return []byte("-" + problem + "\r\n")
	}
	return s.ask(raw)
}

// mayExecute is who executes a command on a slot, in Kvrocks' order.
func (s *Server) mayExecute(c *conn, sl slot.Slot) (problem string) {
	owner := s.owners[sl]
	switch {
	case owner == "":
		return "CLUSTERDOWN Hash slot not served"
	case owner == s.Addr(), c.importing && s.state == "start" && s.importingSlots().Has(sl), s.imported.Has(sl):
		return ""
	}
	return fmt.Sprintf("MOVED %d %s", sl, owner)
}

func (s *Server) importingSlots() *slot.Set {
	ranges, err := slot.ParseRanges(s.imports)
	if err != nil {
		return &slot.Set{}
	}
	set := slot.SetOf(ranges...)
	return &set
}

func (s *Server) client(c *conn, args []string, word func(int) string) []byte {
	switch word(1) {
	case "setname":
		c.name = args[2]
		return []byte(okReply)
	case "id":
		return fmt.Appendf(nil, ":%d\r\n", c.id)
	case "list":
		var text strings.Builder
		for _, o := range s.conns {
			fmt.Fprintf(&text, "id=%d addr=%s fd=9 name=%s age=0 idle=0 flags=N namespace=__namespace qbuf=0 obuf=0 cmd=client\n", o.id, o.nc.RemoteAddr(), o.name)
		}
		return bulk(text.String())
	case "kill":
		if word(2) == "id" && len(args) == 4 {
			id, _ := strconv.ParseInt(args[3], 10, 64)
			if o := s.conns[id]; o != nil {
				s.end(o)
				return []byte(":1\r\n")
			}
		}
		return []byte(":0\r\n")
	}
	return errorReply("Syntax error, try CLIENT LIST|KILL ip:port|GETNAME|SETNAME")
}

func (s *Server) clusterx(args []string, word func(int) string) []byte {
	switch {
	case word(1) == "myid":
		return bulk(s.ID)
	case word(1) == "version":
		return bulk(strconv.FormatInt(s.version, 10))
	case word(1) == "setnodes" && len(args) >= 4:
		version, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil {
			return errorReply("Invalid version")
		}
		if problem := s.setNodes(args[2], version); problem != "" {
			return errorReply(problem)
		}
		return []byte(okReply)
	}
	return errorReply("CLUSTERX command, CLUSTERX VERSION|MYID|SETNODEID|SETNODES|SETSLOT|MIGRATE")
}

// setNodes takes a map. One that is new ends what is known of imports: the link of one that is under way is refused from then on.
func (s *Server) setNodes(text string, version int64) (problem string) {
	if version < s.version || version < 0 {
		return "Invalid cluster version"
	}
	if version == s.version {
		return ""
	}
	owners := map[slot.Slot]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 5 {
			return "Invalid cluster nodes info"
		}
		if f[3] != "master" {
			continue
		}
		ranges, err := slot.ParseRanges(strings.Join(f[5:], " "))
		if err != nil && len(f) > 5 {
			return "Slot is out of range"
		}
		set := slot.SetOf(ranges...)
		for _, sl := range set.Slots() {
			owners[sl] = net.JoinHostPort(f[1], f[2])
		}
	}
	s.owners, s.version, s.imported = owners, version, slot.Set{}
	for _, c := range s.conns {
		c.importing = false
	}
	return ""
}

func (s *Server) cluster(c *conn, args []string, word func(int) string) []byte {
	switch {
	case s.version < 0:
		return []byte("-CLUSTERDOWN The cluster is not initialized\r\n")
	case word(1) == "info":
		text := "cluster_state:ok\r\n"
		if s.imports != "" {
			text += "importing_slot(s): " + s.imports + "\r\nimport_state: " + s.state + "\r\n"
		}
		return bulk(text)
	case word(1) == "import" && len(args) == 4:
		return s.importSlots(c, args[2], args[3])
	}
	return errorReply("CLUSTER command, CLUSTER INFO|NODES|SLOTS|KEYSLOT|RESET|REPLICAS")
}

func (s *Server) importSlots(c *conn, text, state string) []byte {
	ranges, err := slot.ParseRanges(text)
	if err != nil {
		return errorReply("Invalid slot range")
	}
	set := slot.SetOf(ranges...)
	for _, sl := range set.Slots() {
		if s.owners[sl] == s.Addr() {
			return errorReply("Can't import slot which belongs to me")
		}
	}
	mismatch := errorReply(fmt.Sprintf("mismatch slot, importing slot(s): %s, but got: %s", s.imports, text))
	switch state {
	case "0":
		if s.state == "start" && s.imports != text {
			return errorReply("only one importing job is allowed, current importing: " + s.imports)
		}
		if s.state != "start" {
			s.imports = text
			s.clear()
		}
		s.state, c.importing = "start", true
	case "1":
		if s.imports != text {
			return mismatch
		}
		for _, sl := range set.Slots() {
			s.imported.Add(sl)
		}
		s.state = "success"
	case "2":
		if s.imports != text {
			return mismatch
		}
		s.clear()
		s.state = "error"
	default:
		return errorReply("Invalid import state")
	}
	return []byte(okReply)
}

// clear deletes the keys of the slots of the latest import.
func (s *Server) clear() {
	for _, k := range s.keys() {
		if s.importingSlots().Has(slot.OfKey([]byte(k))) {
			s.ask(fmt.Appendf(nil, "*2\r\n$3\r\nDEL\r\n$%d\r\n%s\r\n", len(k), k))
		}
	}
}

// Keys lists the keys of a slot that are on disk.
func (s *Server) Keys(sl slot.Slot) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(s.keys(), func(k string) bool { return slot.OfKey([]byte(k)) != sl })
}

func (s *Server) keys() (out []string) {
	v, _, err := resp.ParseReply(s.ask([]byte("*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n")))
	if err != nil {
		s.t.Errorf("KEYS: %v", err)
	}
	for _, e := range v.Elems {
		out = append(out, e.Str)
	}
	slices.Sort(out)
	return out
}

// ask lets the server behind answer a command.
func (s *Server) ask(raw []byte) []byte {
	if err := s.backend.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Error(err)
	}
	if _, err := s.backend.Write(raw); err != nil {
		return errorReply("the server behind: " + err.Error())
	}
	piece := make([]byte, 64<<10)
	for {
		if _, rest, err := resp.ParseReply(s.buf); err == nil {
			reply := slices.Clone(s.buf[:len(s.buf)-len(rest)])
			s.buf = slices.Clone(rest)
			return reply
		}
		n, err := s.backend.Read(piece)
		s.buf = append(s.buf, piece[:n]...)
		if err != nil {
			return errorReply("the server behind: " + err.Error())
		}
	}
}
