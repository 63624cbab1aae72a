package engine

import (
	"time"

	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Bounds of a group: how many commands of a pipeline run under locks that are taken once, and are committed at once. More hold more
// locks for longer; their replies are in memory until they have all run.
const (
	groupCommands   = 64
	groupArgsBytes  = 256 << 10
	groupReplyBytes = 256 << 10
)

// groupMember is a command of a group.
type groupMember struct {
	spec  *command.Spec
	slot  slot.Slot
	wrote bool
}

// group is what a session needs to run commands together. It is used again and again.
type group struct {
	store.Group
	commit  func(*store.Batch)
	members []groupMember
	stripes []int
	last    store.Position // of what was committed
	ahead   data.Foresight
}

// ExecuteAll runs commands one after another, as Execute does with each of them. Those that follow each other in a pipeline, and
// name one key each, run as a group: the locks of all their slots are taken once, and what they write is committed at once.
// They are no transaction: to others a part of them may be seen, and what a crash leaves of them is a beginning. It returns how many it
// has taken: not all if their replies are many bytes. Call Flush, and then it again with the rest, when the client may have more.
func (s *Session) ExecuteAll(commands [][][]byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	alone, all := false, len(commands)
	if s.closed {
		return all
	}
	for len(commands) > 0 && s.out.Len() < replyBytes {
		if !alone {
			var n int
			if n, alone = s.runGroup(commands); n > 0 {
				commands = commands[n:]
				continue
			}
		}
		s.runNext(commands[0])
		commands = commands[1:]
	}
	return all - len(commands)
}

// mayGroup reports whether the session is in no state in which a command is anything but run.
func (s *Session) mayGroup() bool {
	n := s.n
	return s.pending == nil && !s.closed && !s.closing && !s.doomed.Load() && s.failure == "" && s.authed && s.multi == nil &&
		s.reply == replyOn && !s.asking && s.foreign.Load() == nil && n.pause.mode.Load() == pauseOff && n.monitors.count.Load() == 0 &&
		!mutant.On(mutant.RouteBeforeLock)
}

// groupable reports whether a command may run in a group: it names one key and touches no other, and never waits.
func groupable(spec *command.Spec) bool {
	const not = command.Server | command.Blocking | command.NodeWide | command.Indexed | command.Movable | command.Alone
	return spec.Flags&not == 0 && spec.Handler != nil && spec.FirstKey == 1 && spec.LastKey == 1 && spec.Count == 0 &&
		spec.Optional == nil && spec.Reaches == nil
}

// runGroup runs the first commands as a group and returns how many have run: 0 if the first must run by itself. alone says that
// slots are on the move, and that the others should not be tried as groups. s.mu is held.
func (s *Session) runGroup(commands [][][]byte) (n int, alone bool) {
	if len(commands) < 2 || !s.mayGroup() {
		return 0, false
	}
	g := &s.group
	write := s.collectGroup(commands)
	if len(g.members) < 2 {
		return 0, false
	}
	mode := shared
	if write {
		mode = exclusive
	}
	began := s.n.opts.Clock.Mono()
	s.lockGroup(mode)
	defer s.unlockGroup(mode)
	if s.n.opts.Cluster || s.n.sending.Load() != 0 {
		for i := range g.members {
			if v := s.n.routeOne(g.members[i].slot, g.members[i].spec.Flags&command.Write != 0); v.kind != verdictServe {
				g.members, alone = g.members[:i], true
				break
			}
		}
	}
	return s.serveGroup(commands, began, write), alone
}

// collectGroup finds out which of the first commands make a group, and whether one of them writes.
func (s *Session) collectGroup(commands [][][]byte) (write bool) {
	g := &s.group
	g.members = g.members[:0]
	size := 0
	for _, args := range commands[:min(len(commands), groupCommands)] {
		if len(args) < 2 {
			break
		}
		spec, text := s.n.table.Check(args)
		if size += argsBytes(args); text != "" || size > groupArgsBytes || !groupable(spec) {
			break
		}
		write = write || spec.Flags&command.Write != 0
		g.members = append(g.members, groupMember{spec: spec, slot: slot.OfKey(args[1])})
	}
	return write
}

// lockGroup takes the stripes of the group's slots in ascending order, each once.
func (s *Session) lockGroup(mode lockMode) {
	g := &s.group
	g.stripes = g.stripes[:0]
	for i := range g.members {
		g.stripes = insertStripe(g.stripes, stripeOf(g.members[i].slot))
	}
	for _, i := range g.stripes {
		s.n.stripes.lock(i, mode)
	}
}

func (s *Session) unlockGroup(mode lockMode) {
	for _, i := range s.group.stripes {
		s.n.stripes.unlock(i, mode)
	}
}

// insertStripe puts a number into a sorted list, unless it is there.
func insertStripe(list []int, stripe int) []int {
	at := len(list)
	for at > 0 && list[at-1] > stripe {
		at--
	}
	if at > 0 && list[at-1] == stripe {
		return list
	}
	list = append(list, 0)
	copy(list[at+1:], list[at:])
	list[at] = stripe
	return list
}

// serveGroup runs the group's handlers under the locks and commits what they wrote. It returns how many have run: it ends early at
// one that met an expired key and must run as a write, and when the replies have become large. In the slow log the first command bears
// the wait for the locks, since began, and the last one the commit.
func (s *Session) serveGroup(commands [][][]byte, began time.Duration, write bool) (ran int) {
	n, g := s.n, &s.group
	nowMs, first := n.opts.Clock.WallMs(), s.out.Len()
	s.active.Store(int64(began))
	g.last = 0
	g.Begin(n.store, g.commit)
	s.foresee(commands, write)
	for ran < len(g.members) && s.out.Len()-first < groupReplyBytes {
		if ran > 0 {
			began = n.slow.noteAt(s, g.members[ran-1].spec, commands[ran-1], began)
		}
		m, args := &g.members[ran], commands[ran]
		if n.opts.Observer != nil {
			n.opts.Observer.Served(m.slot, m.spec.Flags&command.Write != 0)
		}
		if !s.serveMember(m, args, nowMs) {
			break
		}
		ran++
		s.lastCmd.Store(m.spec)
	}
	g.Commit()
	g.End()
	if ran > 0 {
		n.slow.noteAt(s, g.members[ran-1].spec, commands[ran-1], began)
	}
	n.stats.commands.Add(uint64(ran))
	for i := range g.members[:ran] {
		m := &g.members[i]
		if m.wrote {
			st := n.slots.change(m.slot)
			st.lastWrite = g.last
			st.writes++
			n.wrote(m.slot, argsBytes(commands[i]))
		} else {
			s.countRead(m.slot)
		}
		s.dependOn(n.slots.get(m.slot).lastWrite, m.wrote)
	}
	return ran
}

// foresee has what the commands of the group are going to look for brought into the processor's cache: first the records, and then the
// members of collections, whose keys the records tell.
func (s *Session) foresee(commands [][][]byte, write bool) {
	g := &s.group
	g.ahead.Begin(&g.Group)
	members := false
	for i := range g.members {
		g.Expect(g.ahead.Record(g.members[i].slot, commands[i][1]))
		members = members || g.members[i].spec.Member != 0
	}
	g.Fetch(write)
	if members {
		for i := range g.members {
			if at := g.members[i].spec.Member; at != 0 {
				if k, ok := g.ahead.Member(g.members[i].slot, commands[i][1], commands[i][at]); ok {
					g.Expect(k)
				}
			}
		}
		g.Fetch(write)
	}
	g.ahead.End()
}

// serveMember runs one command of a group. It reports false if that must run again, by itself and as a write.
func (s *Session) serveMember(m *groupMember, args [][]byte, nowMs int64) bool {
	mode := data.Read // also where the stripe is held exclusively: an expired key may be deleted only if the slot is not paused
	if m.spec.Flags&command.Write != 0 {
		mode = data.Write
	}
	tx, start := &s.tx, s.out.Len()
	tx.ResetIn(&s.group.Group, mode, nowMs)
	s.ctx = command.Context{Args: args, Out: &s.out, Tx: tx, Rand: s.n.random, Cluster: s.n.opts.Cluster}
	m.spec.Handler(&s.ctx)
	switch {
	case tx.Err() != nil:
		s.fail(&work{spec: m.spec}, start)
	case tx.NeedsWrite() && !mutant.On(mutant.ExpiredResurrect):
		s.out.Truncate(start)
		return false
	default:
		if m.wrote = tx.AddToGroup(); tx.Expires() != data.NoExpiry {
			s.n.addExpiring(m.slot, tx.Expires())
		}
	}
	return true
}

// commitGroup commits a part of what the group wrote, which makes a batch.
func (s *Session) commitGroup(b *store.Batch) {
	s.group.last = s.n.commitBatch(b)
}
