package engine

import (
	"strconv"
	"strings"

	"godwit/engine/command"
)

// What one client does to others, and CLIENT REPLY.

// replyMode says which replies CLIENT REPLY lets through.
type replyMode uint8

const (
	replyOn    replyMode = iota
	replyOff             // none
	replySkip            // not that of the next command
	replyTwice           // not that of this command, which is a second CLIENT REPLY SKIP, nor of the next
)

// clientReply answers CLIENT REPLY ON|OFF|SKIP, OFF and SKIP by not answering.
func (s *Session) clientReply(word []byte) {
	switch strings.ToLower(string(word)) {
	case "on":
		s.reply = replyOn
		s.out.OK()
	case "off":
		s.reply = replyOff
	case "skip":
		switch s.reply {
		case replyOn:
			s.reply = replySkip
		case replySkip:
			s.reply = replyTwice
		case replyOff, replyTwice:
		}
	default:
		s.out.Error(errSyntax)
	}
}

// mute takes back what a command has answered from a place in the output on, as CLIENT REPLY asks.
func (s *Session) mute(start int) {
	if s.pending != nil {
		return // the command answers later
	}
	switch s.reply {
	case replyOn: // by the command itself: it wants its OK
		return
	case replySkip:
		s.reply = replyOn
	case replyTwice:
		s.reply = replySkip
	case replyOff:
	}
	s.out.Truncate(start)
}

// clientUnblock answers CLIENT UNBLOCK id [TIMEOUT|ERROR].
func (s *Session) clientUnblock(args [][]byte) {
	end := waitTimeout
	if len(args) == 2 {
		switch strings.ToLower(string(args[1])) {
		case "timeout":
		case "error":
			end = waitUnblocked
		default:
			s.out.Error(errUnblockReason)
			return
		}
	} else if len(args) > 2 {
		s.out.Error(errSyntax)
		return
	}
	id, err := strconv.ParseInt(string(args[0]), 10, 64)
	if err != nil {
		s.out.Error(errNotInteger)
		return
	}
	other := s.n.sessions.find(uint64(id))
	if other != nil && s.n.blocking.unblock(other, end) {
		s.out.Int(1)
	} else {
		s.out.Int(0)
	}
}

// kill ends a session from elsewhere: nothing more is run or answered. It must not be called with a session's lock held.
func (s *Session) kill() {
	s.Close()
	if s.opts.Hangup != nil {
		s.opts.Hangup()
	}
}

// clientKill answers CLIENT KILL addr, or CLIENT KILL option value …
func (s *Session) clientKill(args [][]byte) {
	if len(args) == 1 {
		for _, o := range s.n.sessions.list() {
			if !o.isPeer.Load() && o.opts.Remote == string(args[0]) {
				s.end(o)
				s.out.OK()
				return
			}
		}
		s.out.Error(errNoSuchClient)
		return
	}
	match, problem := s.parseKill(args)
	if problem != "" {
		s.out.Error(problem)
		return
	}
	killed := int64(0)
	for _, o := range s.n.sessions.list() {
		if match(o) {
			s.end(o)
			killed++
		}
	}
	s.out.Int(killed)
}

// end ends a session; its own after this command has been answered.
func (s *Session) end(o *Session) {
	if o == s {
		s.queue, s.queued, s.closing = nil, 0, true
		return
	}
	o.doomed.Store(true)
	s.n.opts.Workers.Submit(o.kill)
}

// parseKill reads the filters of CLIENT KILL, all of which a session must match.
func (s *Session) parseKill(args [][]byte) (match func(*Session) bool, problem string) {
	var filters []func(*Session) bool
	skipMe := true
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			return nil, errSyntax
		}
		value := string(args[1])
		switch strings.ToLower(string(args[0])) {
		case "id":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id < 1 {
				return nil, errKillID
			}
			filters = append(filters, func(o *Session) bool { return o.id == uint64(id) })
		case "addr":
			filters = append(filters, func(o *Session) bool { return o.opts.Remote == value })
		case "laddr":
			filters = append(filters, func(o *Session) bool { return o.opts.Local == value })
		case "user":
			if value != defaultUser {
				return nil, errNoSuchUser(args[1])
			}
		case "type":
			switch strings.ToLower(value) {
			case "normal":
			case "master", "replica", "slave", "pubsub":
				filters = append(filters, func(*Session) bool { return false })
			default:
				return nil, errClientType(args[1])
			}
		case "skipme":
			switch strings.ToLower(value) {
			case "yes":
				skipMe = true
			case "no":
				skipMe = false
			default:
				return nil, errSyntax
			}
		default:
			return nil, errSyntax
		}
	}
	return func(o *Session) bool {
		for _, f := range filters {
			if !f(o) {
				return false
			}
		}
		return !(skipMe && o == s) && !o.isPeer.Load()
	}, ""
}

// waitReplicas answers WAIT replicas timeout: there are none, and no time brings one.
func (s *Session) waitReplicas(args [][]byte) {
	if _, err := strconv.ParseInt(string(args[1]), 10, 64); err != nil {
		s.out.Error(errNotInteger)
		return
	}
	ms, err := strconv.ParseInt(string(args[2]), 10, 64)
	switch {
	case err != nil:
		s.out.Error(errTimeoutInteger)
	case ms < 0:
		s.out.Error(errTimeoutNegative)
	default:
		s.out.Int(0)
	}
}

// waitDisk answers WAITAOF local replicas timeout, when all that has been written here is durable: the log is the only place that there is.
func (s *Session) waitDisk(args [][]byte) {
	local, err := strconv.ParseInt(string(args[1]), 10, 64)
	switch {
	case err != nil:
		s.out.Error(errNotInteger)
		return
	case local < 0 || local > 1:
		s.out.Error(errWaitLocal)
		return
	}
	replicas, err := strconv.ParseInt(string(args[2]), 10, 64)
	switch {
	case err != nil:
		s.out.Error(errNotInteger)
		return
	case replicas < 0:
		s.out.Error(errNotPositive)
		return
	}
	ms, err := strconv.ParseInt(string(args[3]), 10, 64)
	switch {
	case err != nil:
		s.out.Error(errTimeoutInteger)
		return
	case ms < 0:
		s.out.Error(errTimeoutNegative)
		return
	}
	s.dependAlways(s.n.store.Last())
	s.out.Array(2)
	s.out.Int(1)
	s.out.Int(0)
}

// runClients runs the subcommands of CLIENT that concern other clients, and reports whether the command is one.
func (s *Session) runClients(spec *command.Spec, args [][]byte) bool {
	switch spec.Name {
	case "client|kill":
		s.clientKill(args[2:])
	case "client|pause":
		s.clientPause(args[2:])
	case "client|reply":
		s.clientReply(args[2])
	case "client|unblock":
		s.clientUnblock(args[2:])
	case "client|unpause":
		s.n.unpauseClients(0)
		s.out.OK()
	default:
		return false
	}
	return true
}
