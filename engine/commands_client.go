package engine

import (
	"crypto/subtle"
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/engine/command"
	"godwit/engine/resp"
)

// clientInfo is what a client told about itself. It is replaced, never changed, so that other sessions can show it without
// taking this one's lock.
type clientInfo struct {
	name, lib, libVersion string
	protocol              resp.Version
	noEvict, noTouch      bool
}

// tell changes what is shown of the session.
func (s *Session) tell(change func(*clientInfo)) {
	info := *s.shown.Load()
	change(&info)
	s.shown.Store(&info)
}

// runClient runs the subcommands of CLIENT.
func (s *Session) runClient(spec *command.Spec, args [][]byte) {
	switch spec.Name {
	case "client|id":
		s.out.Int(int64(s.id))
	case "client|info":
		s.out.Verbatim("txt", s.describe()+"\n")
	case "client|list":
		s.clientList(args[2:])
	case "client|getname":
		if name := s.shown.Load().name; name != "" {
			s.out.BulkString(name)
		} else {
			s.out.Null()
		}
	case "client|setname":
		if !printable(args[2]) {
			s.out.Error(errClientName)
			return
		}
		s.tell(func(c *clientInfo) { c.name = string(args[2]) })
		s.out.OK()
	case "client|setinfo":
		s.clientSetInfo(args[2], args[3])
	case "client|no-evict":
		s.clientSwitch(args[2], func(c *clientInfo, on bool) { c.noEvict = on })
	case "client|no-touch":
		s.clientSwitch(args[2], func(c *clientInfo, on bool) { c.noTouch = on })
	default:
		if !s.runClients(spec, args) {
			s.out.Error(errNotHere(spec.Name))
		}
	}
}

// printable reports whether a name can stand in a line of CLIENT LIST: no spaces, no control characters, ASCII only.
func printable(name []byte) bool {
	for _, c := range name {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func (s *Session) clientSetInfo(option, value []byte) {
	name := strings.ToLower(string(option))
	switch {
	case name != "lib-name" && name != "lib-ver":
		s.out.Error(errUnrecognized(option))
	case !printable(value):
		s.out.Error(errAttribute(option))
	default:
		s.tell(func(c *clientInfo) {
			if name == "lib-name" {
				c.lib = string(value)
			} else {
				c.libVersion = string(value)
			}
		})
		s.out.OK()
	}
}

func (s *Session) clientSwitch(word []byte, set func(c *clientInfo, on bool)) {
	on := strings.EqualFold(string(word), "on")
	if !on && !strings.EqualFold(string(word), "off") {
		s.out.Error(errSyntax)
		return
	}
	s.tell(func(c *clientInfo) { set(c, on) })
	s.out.OK()
}

// clientList answers CLIENT LIST [TYPE type | ID id …].
func (s *Session) clientList(args [][]byte) {
	show := func(*Session) bool { return true }
	switch {
	case len(args) == 0:
	case len(args) == 2 && strings.EqualFold(string(args[0]), "type"):
		switch strings.ToLower(string(args[1])) {
		case "normal":
		case "master", "replica", "slave", "pubsub":
			show = func(*Session) bool { return false }
		default:
			s.out.Error(errClientType(args[1]))
			return
		}
	case len(args) >= 2 && strings.EqualFold(string(args[0]), "id"):
		ids := map[uint64]bool{}
		for _, a := range args[1:] {
			id, err := strconv.ParseUint(string(a), 10, 63)
			if err != nil || id == 0 {
				s.out.Error(errClientID)
				return
			}
			ids[id] = true
		}
		show = func(o *Session) bool { return ids[o.id] }
	default:
		s.out.Error(errSyntax)
		return
	}
	var b strings.Builder
	for _, o := range s.n.sessions.list() {
		if show(o) {
			b.WriteString(o.describe())
			b.WriteByte('\n')
		}
	}
	s.out.Verbatim("txt", b.String())
}

// describe is the session's line in CLIENT LIST. It takes no lock of the session, so that any session may call it.
func (s *Session) describe() string {
	info := s.shown.Load()
	now := s.n.opts.Clock.Mono()
	flags := "N"
	if info.noEvict {
		flags = "e"
	}
	if info.noTouch {
		flags = strings.TrimPrefix(flags, "N") + "T"
	}
	queued := s.queuedInMulti.Load() - 1
	if queued >= 0 {
		flags = strings.TrimPrefix(flags, "N") + "x"
	}
	if s.waitsForKey.Load() {
		flags = strings.TrimPrefix(flags, "N") + "b"
	}
	cmd := "NULL"
	if spec := s.lastCmd.Load(); spec != nil {
		cmd = spec.Name
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=0 sub=0 psub=0 ssub=0 multi=%d "+
		"qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=default "+
		"redir=-1 resp=%d lib-name=%s lib-ver=%s",
		s.id, s.opts.Remote, s.opts.Local, info.name, int64((now-s.created)/time.Second),
		int64((now-time.Duration(s.active.Load()))/time.Second), flags, queued, cmd, info.protocol, info.lib, info.libVersion)
}

// auth answers AUTH [user] password.
func (s *Session) auth(args [][]byte) {
	user, pass := []byte(defaultUser), args[0]
	switch {
	case len(args) > 2:
		s.out.Error(errSyntax)
		return
	case len(args) == 2:
		user, pass = args[0], args[1]
	case s.n.password() == "":
		s.out.Error(errNoPassword)
		return
	}
	if !s.authenticate(user, pass) {
		s.out.Error(errWrongPass)
		return
	}
	s.out.OK()
}

// defaultUser is the only user.
const defaultUser = "default"

// authenticate checks a user's password. Without a configured password any will do, as for Redis' default user.
func (s *Session) authenticate(user, pass []byte) bool {
	want := s.n.password()
	if string(user) != defaultUser || want != "" && subtle.ConstantTimeCompare(pass, []byte(want)) != 1 {
		return false
	}
	s.authed = true
	return true
}

// hello answers HELLO [version [AUTH user password] [SETNAME name]]. Nothing changes unless everything is right, except
// that a right password counts.
func (s *Session) hello(args [][]byte) {
	version := s.out.Version()
	if len(args) > 0 {
		v, err := strconv.ParseInt(string(args[0]), 10, 64)
		switch {
		case err != nil:
			s.out.Error(errProtoInteger)
			return
		case v != int64(resp.V2) && v != int64(resp.V3):
			s.out.Error(errNoProto)
			return
		}
		version = resp.Version(v)
		args = args[1:]
	}
	var name []byte
	for len(args) > 0 {
		switch option := args[0]; {
		case strings.EqualFold(string(option), "auth") && len(args) >= 3:
			if !s.authenticate(args[1], args[2]) {
				s.out.Error(errWrongPass)
				return
			}
			args = args[3:]
		case strings.EqualFold(string(option), "setname") && len(args) >= 2:
			if name = args[1]; !printable(name) {
				s.out.Error(errClientName)
				return
			}
			args = args[2:]
		default:
			s.out.Error(errHelloOption(option))
			return
		}
	}
	if !s.authed {
		s.out.Error(errHelloAuth)
		return
	}
	s.tell(func(c *clientInfo) {
		c.protocol = version
		if name != nil {
			c.name = string(name)
		}
	})
	s.out.SetVersion(version)
	mode := "standalone"
	if s.n.opts.Cluster {
		mode = "cluster"
	}
	s.out.Map(7)
	s.out.BulkString("server")
	s.out.BulkString("redis")
	s.out.BulkString("version")
	s.out.BulkString(redisVersion)
	s.out.BulkString("proto")
	s.out.Int(int64(version))
	s.out.BulkString("id")
	s.out.Int(int64(s.id))
	s.out.BulkString("mode")
	s.out.BulkString(mode)
	s.out.BulkString("role")
	s.out.BulkString("master")
	s.out.BulkString("modules")
	s.out.Array(0)
}

// reset answers RESET: the connection is as new.
func (s *Session) reset() {
	s.endMulti()
	s.endMonitor()
	s.reply = replyOn
	s.authed = s.n.password() == ""
	s.tell(func(c *clientInfo) { *c = clientInfo{lib: c.lib, libVersion: c.libVersion, protocol: resp.V2} })
	s.out.SetVersion(resp.V2)
	s.out.Simple("RESET")
}
