package engine

import (
	"bytes"
	"fmt"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// transaction is what a session has queued since MULTI. It ends with EXEC, DISCARD, RESET or the session, whatever comes of it.
type transaction struct {
	commands []queuedCommand
	bytes    int
	// broken says that a command was refused, so that EXEC will be.
	broken bool
	// writes and nodeWide say that one of the commands is.
	writes, nodeWide bool
	// servers is how many of the commands the node carries out itself, without keys.
	servers int
	// ends are where the replies of the commands end in the session's output, when EXEC has run them.
	ends []int
	// torn is the reply to what the mutant torn-exec has carried out already.
	torn []byte
}

type queuedCommand struct {
	spec *command.Spec
	args [][]byte // owned
}

// maxTransactionBatch is how many bytes a transaction may have written when its next command begins. No command writes more
// than 1 GiB, and a batch may not reach 4.
const maxTransactionBatch = 1 << 30

// maxTransactionReply is how many bytes its replies may hold when its next command begins; no reply holds more than 1 GiB.
const maxTransactionReply = 1 << 30

// runsInMulti reports whether a command acts at once even after MULTI.
func runsInMulti(spec *command.Spec) bool {
	switch spec.Name {
	case "exec", "discard", "multi", "watch", "quit", "reset":
		return true
	}
	return false
}

// refuse answers an error to a command that was not carried out. After MULTI it makes EXEC fail; EXEC itself ends the
// transaction.
func (s *Session) refuse(args [][]byte, text string) {
	switch {
	case strings.EqualFold(string(args[0]), "exec"):
		if code, rest, _ := strings.Cut(text, " "); code == "ERR" {
			text = errExecAbortBecause + rest
		}
		s.endMulti()
	case s.multi != nil:
		s.multi.broken = true
	}
	s.out.Error(text)
}

// startMulti answers MULTI.
func (s *Session) startMulti() {
	if s.multi != nil {
		s.out.Error(errNestedMulti)
		return
	}
	s.multi = &transaction{}
	s.queuedInMulti.Store(1)
	s.out.OK()
}

// discard answers DISCARD.
func (s *Session) discard() {
	if s.multi == nil {
		s.out.Error(errDiscard)
		return
	}
	s.endMulti()
	s.out.OK()
}

// endMulti forgets what was queued and what is watched.
func (s *Session) endMulti() {
	s.multi = nil
	s.queuedInMulti.Store(0)
	s.unwatch()
}

// enqueue queues a command, or refuses it: what cannot be carried out here is said at once, so that a client need not send
// the rest. Where its keys are to be found may have changed by the time of EXEC, which routes again.
func (s *Session) enqueue(spec *command.Spec, args [][]byte) {
	n, m := s.n, s.multi
	if spec.Flags&command.Alone != 0 {
		s.refuse(args, errAlone)
		return
	}
	if text := n.routeQueued(spec, args); text != "" {
		s.refuse(args, text)
		return
	}
	size := argsBytes(args)
	switch l := &n.opts.Limits; {
	case len(m.commands) >= l.QueuedCommands:
		s.refuse(args, fmt.Sprintf(errQueuedCommands, l.QueuedCommands))
		return
	case m.bytes+size > l.QueuedBytes:
		s.refuse(args, fmt.Sprintf(errQueuedBytes, l.QueuedBytes))
		return
	}
	owned, _ := cloneArgs(args)
	m.commands = append(m.commands, queuedCommand{spec, owned})
	m.bytes += size
	if spec.Flags&command.Server != 0 {
		m.servers++
	}
	m.writes = m.writes || spec.Flags&command.Write != 0
	m.nodeWide = m.nodeWide || s.n.reachesAll(spec, args)
	s.queuedInMulti.Add(1)
	s.out.Simple("QUEUED")
}

// routeQueued is the redirect or error that a command would meet now because of its keys, or "".
func (n *Node) routeQueued(spec *command.Spec, args [][]byte) string {
	if !n.opts.Cluster || spec.Flags&command.Server != 0 {
		return ""
	}
	slots, text := n.slotsOf(args, positionsOf(spec, args, nil))
	if text != "" || len(slots) == 0 {
		return text
	}
	w := work{slots: slots, locks: slots}
	n.lockSlots(&w, shared)
	defer n.unlockSlots(&w, shared)
	if v := n.route(&w); v.kind == verdictError {
		return v.text
	}
	return ""
}

// exec answers EXEC: everything that was queued, as one batch under the locks of all its slots, or nothing.
func (s *Session) exec(spec *command.Spec, args [][]byte) {
	m := s.multi
	if m == nil {
		s.out.Error(errExec)
		return
	}
	start := s.out.Len()
	switch slots, text := s.n.slotsOfAll(m); {
	case m.broken:
		s.out.Error(errExecAbort)
	case s.watched.changed():
		s.answer(verdict{kind: verdictError})
	case text != "":
		s.out.Error(text)
	default:
		s.work = work{spec: spec, args: args, slots: slots, locks: s.watched.lockWith(slots), all: m.nodeWide, write: m.writes, do: (*Session).execute}
		if mutant.On(mutant.TornExec) && len(m.commands) > 1 && len(m.torn) == 0 {
			s.tearExec(m, start)
			return
		}
		if s.runLocked(&s.work); s.pending != nil {
			return
		}
		s.runQueuedServers(m, start)
	}
	s.endMulti()
}

// slotsOfAll lists the slots of all keys of a transaction as slotsOf does.
func (n *Node) slotsOfAll(m *transaction) ([]slot.Slot, string) {
	var slots []slot.Slot
	var positions []int
	for i := range m.commands {
		if q := &m.commands[i]; q.spec.Flags&command.Server == 0 {
			positions = positionsOf(q.spec, q.args, positions[:0])
			for _, p := range positions {
				slots = append(slots, slot.OfKey(q.args[p]))
			}
		}
	}
	slots = lockOrder(slots)
	if len(slots) > 1 && n.opts.Cluster {
		return nil, cluster.CrossSlot
	}
	return slots, ""
}

// execute runs a transaction's commands under the locks, in one transaction of the store, and commits them in one batch. A
// command that comes to an error has written nothing, and the others stand, as in Redis; an error of the store undoes all.
func (s *Session) execute(w *work) (again bool) {
	m := s.multi
	mode := data.Read
	if w.write {
		mode = data.WriteIndexed // later commands see what earlier ones wrote
	}
	tx := s.begin(w, mode)
	start := s.out.Len()
	m.ends = m.ends[:0]
	if s.watched.expired(tx) {
		s.out.NullArray()
	} else {
		if len(m.torn) > 0 {
			s.out.Array(1 + len(m.commands))
			s.out.Raw(m.torn)
		} else {
			s.out.Array(len(m.commands))
		}
		for i := range m.commands {
			if q := &m.commands[i]; q.spec.Flags&command.Server == 0 {
				s.executeOne(q)
			}
			if mutant.On(mutant.ExecUnbatched) && w.write {
				s.commit(w)
				tx = s.begin(w, mode)
			}
			m.ends = append(m.ends, s.out.Len())
			b := tx.Batch()
			if b != nil && b.Bytes() > maxTransactionBatch || s.out.Len()-start > maxTransactionReply {
				tx.Discard()
				s.out.Truncate(start)
				s.out.Error(errTransactionSize)
				m.ends = nil
				return false
			}
		}
	}
	switch {
	case tx.Err() != nil:
		s.fail(w, start)
		m.ends = nil
		return false
	case !w.write && tx.NeedsWrite():
		tx.Discard()
		s.out.Truncate(start)
		return true
	}
	s.commit(w)
	return false
}

// tearExec runs the first command of a transaction and then, as a transaction of its own that is locked and routed anew, the others: what the mutant
// torn-exec does. s.work is that of EXEC.
func (s *Session) tearExec(m *transaction, start int) {
	const head = "*1\r\n"
	all, args := m.commands, s.work.args
	m.commands = all[:1]
	s.runLocked(&s.work)
	reply := bytes.Clone(s.out.Bytes()[start:])
	switch {
	case s.pending != nil:
		m.commands = all
	case !bytes.HasPrefix(reply, []byte(head)): // nothing has run
		s.endMulti()
	default:
		s.out.Truncate(start)
		m.commands, m.torn = all[1:], reply[len(head):]
		s.unwatch()
		s.resumed = nil // what waits is another command
		p := s.wait(args)
		s.n.opts.Workers.Submit(func() { s.resume(p, verdict{}) })
	}
}

// executeOne runs one command of a transaction.
func (s *Session) executeOne(q *queuedCommand) {
	n := s.n
	began := n.opts.Clock.Mono()
	s.ctx = command.Context{Args: q.args, Out: &s.out, Tx: &s.tx, Rand: n.random, Cluster: n.opts.Cluster}
	q.spec.Handler(&s.ctx)
	if n.monitors.count.Load() != 0 {
		n.monitors.tell(s, q.spec, q.args)
	}
	n.slow.note(s, q.spec, q.args, began)
}

// runQueuedServers runs the commands of a transaction that the node carries out itself, each in its place among the replies,
// when the transaction has been committed. They touch no keys, and some take locks that EXEC holds.
func (s *Session) runQueuedServers(m *transaction, start int) {
	if m.servers == 0 || len(m.ends) != len(m.commands) {
		return
	}
	replies := bytes.Clone(s.out.Bytes()[start:])
	s.out.Truncate(start)
	s.out.Array(len(m.commands))
	from := s.out.Len() - start
	for i := range m.commands {
		q := &m.commands[i]
		to := m.ends[i] - start
		s.out.Raw(replies[from:to])
		from = to
		if q.spec.Flags&command.Server != 0 {
			s.runServer(q.spec, q.args)
		}
	}
}
