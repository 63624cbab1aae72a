package driver

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/mutant"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/migration"
)

// kvrocks is a node of the map that is a Kvrocks, as the target of slots. It answers the messages of this node's sources as a target does, and
// carries them out by what a Kvrocks understands: CLUSTER IMPORT slot 0, commands, CLUSTER IMPORT slot 1, on one connection for each
// slot, its *link*. Sources, their attempts, rounds and pauses, and the decision are those of every job.
//
// A Kvrocks keeps what it imports in memory. What the code below goes by:
//
//  1. When the link ends before IMPORT 1, the Kvrocks deletes what has arrived. So whatever is lost is begun anew: the source is told that there is
//     no import, or that the start was a fresh one.
//  2. IMPORT 1 is said after the decision is durable here, and only on the link on which all data was said and answered. It makes the Kvrocks serve
//     whatever it has of the slot, also nothing: to say it on another connection, because its answer was lost, could make it serve an
//     empty slot.
//  3. IMPORT 2 deletes, also what is served. It is said only on a link on which IMPORT 1 was not.
//  4. Before a link begins, every other connection that bears its name is ended and gone: what an earlier one, of a process that died, still had to say
//     is not executed after that.
//  5. If it is not known whether IMPORT 1 was executed, and the Kvrocks was restarted since, nobody can know whether clients have written to it: an
//     operator decides (resolve.go). Otherwise what is decided is sent again, from the copy that nobody writes to.
//  6. The Kvrocks imports one slot at a time. Others wait for their turn, those that are decided before those that are not.
//  7. It remembers one import, the latest. While a slot is decided and it is not known that the Kvrocks serves it, IMPORT 0 is said of no slot that is
//     not: it would take away what the Kvrocks remembers of the one that is.
type kvrocks struct {
	d  *Driver
	id cluster.NodeID

	// mu is taken after the lock of a slot's stripe and after Driver.mu, if those are held: who holds it calls nothing that takes one of them, as
	// engine.Node.Record and Driver.isClosed do.
	mu     sync.Mutex
	turns  []kvrocksTurn
	now    *kvrocksImport // nil: none
	losses map[slot.Slot]int
	// unsaid are decided slots of which this process knows that IMPORT 1 was not said to the Kvrocks.
	unsaid map[slot.Slot]bool
	// unsettled are the slots that are decided and of which it is not known that the Kvrocks serves them.
	unsettled map[slot.Slot]bool
	// halted are the slots that operators resolve just now: nothing is said of them, and no import begins.
	halted map[slot.Slot]bool
}

// kvrocksTurn is a start or a commit that waits until it is its slot's turn.
type kvrocksTurn struct {
	m    migration.Message
	done func(migration.Reply, error)
}

// kvrocksImport is the slot whose turn it is. kvrocks.mu guards it.
type kvrocksImport struct {
	kvrocksTurn // what is answered when it is live, or, if it settles a commit, when the Kvrocks serves the slot
	conn        env.ServerConn
	live        bool // IMPORT 0 was answered, IMPORT 1 and 2 have not been said
	aborting    bool // IMPORT 2 was said
	over        bool
	prepared    bool // the source was told so, and may decide
	tries       int  // of a step that waits for the Kvrocks
	seq         uint64
	hash        cluster.RunningHash
}

// Times of a Kvrocks.
const (
	// kvrocksRest is how long to wait for it to end a connection.
	kvrocksRest = 20 * time.Millisecond
	// kvrocksTries is how often that is waited for.
	kvrocksTries = 250
)

// kvrocksIncarnation stands for the incarnation of a Kvrocks, which has none. What a restart of it takes away is noticed by the link.
const kvrocksIncarnation = 1

// kvrocksOf is a Kvrocks. Driver.mu is held.
func (d *Driver) kvrocksOf(id cluster.NodeID) *kvrocks {
	k := d.kvrocks[id]
	if k == nil {
		k = &kvrocks{d: d, id: id, losses: map[slot.Slot]int{}, unsaid: map[slot.Slot]bool{}, unsettled: map[slot.Slot]bool{}, halted: map[slot.Slot]bool{}}
		d.kvrocks[id] = k
	}
	return k
}

// recallUnsettled finds the slots that an earlier life of the process decided to give to a Kvrocks, before anything is said to one.
func (d *Driver) recallUnsettled() {
	for _, j := range d.jobs {
		if !j.header.Kvrocks || j.header.EndedMs != 0 {
			continue
		}
		for _, sl := range j.order {
			p, r := j.slots[sl], d.node.Record(sl)
			if r.State == cluster.Released && r.Job == d.jobID(j.header.Counter) && !r.DataGone && (p.phase == migration.PhaseDecided || !p.moved()) {
				d.kvrocksOf(j.header.Target).unsettled[sl] = true
			}
		}
	}
}

// close ends the link. Nothing of the driver runs any more.
func (k *kvrocks) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now != nil && k.now.conn != nil {
		k.now.conn.Close()
	}
}

// handle answers a message of a source. It calls done later, once.
func (k *kvrocks) handle(m *migration.Message, done func(migration.Reply, error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := kvrocksTurn{*m, done}
	if k.halted[m.Slot] {
		k.fail(t, errResolving)
		return
	}
	i := k.now
	if i != nil && (i.over || i.m.Slot != m.Slot || i.m.Job != m.Job) {
		i = nil
	}
	switch m.Kind {
	case migration.MsgStart:
		k.start(i, t)
	case migration.MsgData:
		k.data(i, t)
	case migration.MsgPrepare:
		k.prepare(i, t)
	case migration.MsgCommit:
		k.commit(i, t)
	case migration.MsgAbort:
		k.abort(i, t)
	default:
		k.reply(t, migration.Reply{Kind: migration.ReplyRefused, Text: fmt.Sprintf("node %s is a Kvrocks, which is not asked that: its slots are moved by its own CLUSTERX MIGRATE", k.id)})
	}
}

// reply answers a message.
func (k *kvrocks) reply(t kvrocksTurn, r migration.Reply) {
	r.Attempt, r.Incarnation = t.m.Attempt, kvrocksIncarnation
	k.d.env.Workers.Submit(func() { t.done(r, nil) })
}

// fail says that a message got no answer.
func (k *kvrocks) fail(t kvrocksTurn, err error) {
	k.d.env.Workers.Submit(func() { t.done(migration.Reply{}, err) })
}

// unanswered answers what was on its way when the link ended: of the data nothing is left, so that the source begins anew; a start or a commit is
// said again.
func (k *kvrocks) unanswered(t kvrocksTurn, err error) {
	if t.m.Kind == migration.MsgData || t.m.Kind == migration.MsgPrepare {
		k.reply(t, migration.Reply{Kind: migration.ReplyNoImport})
		return
	}
	k.fail(t, err)
}

// start opens an attempt. A link that is live goes on: what it has said is there.
func (k *kvrocks) start(i *kvrocksImport, t kvrocksTurn) {
	switch {
	case i == nil:
		k.queue(t, false)
	case i.live:
		i.m.Attempt, i.seq, i.hash, i.prepared = t.m.Attempt, 0, cluster.RunningHash{}, false
		k.reply(t, migration.Reply{Kind: migration.ReplyStarted})
	case i.aborting:
		k.fail(t, errUnderWay)
	default:
		k.fail(i.kvrocksTurn, errReplaced)
		i.kvrocksTurn = t
	}
}

// errReplaced answers a start that another has replaced.
var errReplaced = errors.New("a later attempt was begun")

// queue lets a slot have its turn.
func (k *kvrocks) queue(t kvrocksTurn, first bool) {
	k.unqueue(t.m.Slot)
	if first {
		k.turns = append([]kvrocksTurn{t}, k.turns...)
	} else {
		k.turns = append(k.turns, t)
	}
	k.next()
}

// unqueue takes a slot out of those that wait for their turn.
func (k *kvrocks) unqueue(sl slot.Slot) {
	for n, t := range k.turns {
		if t.m.Slot == sl {
			k.fail(t, errReplaced)
			k.turns = append(k.turns[:n:n], k.turns[n+1:]...)
			return
		}
	}
}

// next begins with the slot whose turn it is. Those that are decided are the first.
func (k *kvrocks) next() {
	if k.now != nil || len(k.turns) == 0 || len(k.halted) > 0 {
		return
	}
	if len(k.unsettled) > 0 && k.turns[0].m.Kind != migration.MsgCommit {
		return // the source of the decided slot says its commit again
	}
	i := &kvrocksImport{kvrocksTurn: k.turns[0]}
	k.turns, k.now = k.turns[1:], i
	switch n := k.losses[i.m.Slot]; {
	case n == 0:
		k.open(i)
	case n >= k.d.cfg.Source.Pauses && !i.settles():
		k.reply(i.kvrocksTurn, migration.Reply{Kind: migration.ReplyRefused, Text: fmt.Sprintf("it was begun %d times, and something kept it from coming to an end", n)})
		k.finish(i)
	default:
		k.d.env.Clock.AfterFunc(k.d.cfg.Source.RetryMax, func() { k.locked(i, func() { k.open(i) }) })
	}
}

// settles reports whether the import is to bring a slot that is decided, and of which nobody knows what the Kvrocks has, to its end.
func (i *kvrocksImport) settles() bool { return i.m.Kind == migration.MsgCommit }

// owes reports whether what the import was begun by has not been answered.
func (i *kvrocksImport) owes() bool { return !i.live && !i.aborting }

// locked runs fn if the import is not over.
func (k *kvrocks) locked(i *kvrocksImport, fn func()) {
	k.d.env.Workers.Submit(func() {
		if k.d.isClosed() {
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if !i.over {
			fn()
		}
	})
}

// finish ends an import and its link.
func (k *kvrocks) finish(i *kvrocksImport) {
	if i.over {
		return
	}
	i.over, i.live = true, false
	if i.conn != nil {
		i.conn.Close()
	}
	k.now = nil
	k.next()
}

// lost ends an import of which nothing is left, or of which that must be assumed.
func (k *kvrocks) lost(i *kvrocksImport, why error) {
	if i.over {
		return
	}
	if k.losses[i.m.Slot]++; k.losses[i.m.Slot] == 1 {
		k.d.env.Log.Warn("the import of a slot at a Kvrocks is over before its end", "slot", i.m.Slot, "node", k.id, "reason", why)
	}
	if i.owes() {
		k.fail(i.kvrocksTurn, why)
	}
	k.finish(i)
}

// beginAnew ends the import of a slot, so that its source begins it from the beginning.
func (k *kvrocks) beginAnew(sl slot.Slot, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.now; i != nil && i.m.Slot == sl {
		k.lost(i, errors.New(why))
	}
}

// timeout is for how long the Kvrocks may be silent.
func (k *kvrocks) timeout() time.Duration { return k.d.cfg.Source.GiveUpAfter }

// ask says something on the link and gives the replies to then. If they do not come, the import is lost, and t, unless it is what the
// import answers itself, is answered accordingly.
func (k *kvrocks) ask(i *kvrocksImport, t *kvrocksTurn, commands [][][]byte, limit int, then func([]resp.Value)) {
	i.conn.Do(commands, limit, k.timeout(), func(raw [][]byte, err error) {
		values := parsed(raw)
		k.d.env.Workers.Submit(func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			if err == nil && !i.over {
				then(values)
				return
			}
			if err == nil {
				err = errReplaced
			}
			k.lost(i, err)
			if t != nil {
				k.unanswered(*t, err)
			}
		})
	})
}

// smallReply bounds replies that are short, clientListReply those to CLIENT LIST.
const (
	smallReply      = 64 << 10
	clientListReply = 16 << 20
)

// words makes a command of strings.
func words(s ...string) [][]byte {
	out := make([][]byte, len(s))
	for i, w := range s {
		out[i] = []byte(w)
	}
	return out
}

func (i *kvrocksImport) importCommand(state int) [][]byte {
	return words("CLUSTER", "IMPORT", strconv.Itoa(int(i.m.Slot)), strconv.Itoa(state))
}

// of reports whether a message belongs to the attempt that is live.
func (i *kvrocksImport) of(m *migration.Message) bool {
	return i != nil && i.live && i.m.Attempt == m.Attempt
}

// data says what a message of the source has.
func (k *kvrocks) data(i *kvrocksImport, t kvrocksTurn) {
	switch {
	case !i.of(&t.m):
		k.reply(t, migration.Reply{Kind: migration.ReplyNoImport})
		return
	case t.m.Seq != i.seq+1: // a repetition of what is on its way: that is answered
		k.reply(t, migration.Reply{Kind: migration.ReplyGap, Seq: i.seq})
		return
	}
	said, err := kvrocksBody(t.m.Slot, t.m.Body, k.d.env.Clock.WallMs())
	if err != nil {
		k.fail(t, err)
		return
	}
	i.seq++
	i.hash = migration.Chain(i.hash, i.seq, t.m.Body)
	ack := migration.Reply{Kind: migration.ReplyAck, Seq: i.seq}
	if len(said.commands) == 0 {
		k.reply(t, ack)
		return
	}
	k.ask(i, &t, said.commands, said.limit, func(replies []resp.Value) {
		differ, away, err := said.judge(replies)
		switch {
		case err != nil && away:
			k.lost(i, err)
			k.unanswered(t, err)
			return
		case err != nil:
			k.reply(t, migration.Reply{Kind: migration.ReplyRefused, Text: err.Error()})
			return
		}
		ack.Differ = differ
		k.reply(t, ack)
	})
}

// prepare says that the Kvrocks has everything, and only waits for IMPORT 1. It writes to its log before it answers, and syncs when it
// likes: nothing better can be had.
func (k *kvrocks) prepare(i *kvrocksImport, t kvrocksTurn) {
	switch {
	case !i.of(&t.m):
		k.reply(t, migration.Reply{Kind: migration.ReplyNoImport})
		return
	case t.m.Seq != i.seq || t.m.Hash != i.hash:
		k.reply(t, migration.Reply{Kind: migration.ReplyRefused, Text: fmt.Sprintf("the stream differs: %d messages were said, %d read, or other bytes", i.seq, t.m.Seq)})
		return
	}
	prepared := migration.Reply{Kind: migration.ReplyPrepared, Seq: i.seq, Hash: i.hash}
	k.ask(i, &t, [][][]byte{words("CLUSTER", "INFO")}, smallReply, func(v []resp.Value) {
		if state, slots := importState(v[0].Str); state != "start" || slots != strconv.Itoa(int(i.m.Slot)) {
			err := fmt.Errorf("node %s does not import slot %d any more: CLUSTER INFO says %q of slots %q", k.id, i.m.Slot, state, slots)
			k.lost(i, err)
			k.unanswered(t, err)
			return
		}
		i.prepared, k.unsaid[i.m.Slot] = true, true
		k.reply(t, prepared)
	})
}

// commit makes the Kvrocks serve the slot. The decision is durable.
func (k *kvrocks) commit(i *kvrocksImport, t kvrocksTurn) {
	k.unsettled[t.m.Slot] = true
	switch {
	case i.of(&t.m) && !i.settles():
		i.kvrocksTurn, i.live = t, false
		k.sayServe(i)
	case i == nil:
		k.queue(t, true)
		k.pushAside(t.m.Slot)
	case i.live: // of an attempt that was not the one that is decided
		k.queue(t, true)
		k.finish(i)
	default:
		k.fail(t, errUnderWay)
	}
}

// pushAside lets a slot that is decided, which is the first of those that wait, go before one that is not, unless that is about to be.
func (k *kvrocks) pushAside(decided slot.Slot) {
	other := k.now
	switch {
	case other == nil || other.settles() || other.aborting || other.live && other.prepared:
	case other.live:
		k.lost(other, fmt.Errorf("slot %d, which is decided and served by nobody, goes first", decided))
	default: // nothing is lost: it keeps its place
		k.turns = slices.Insert(k.turns, 1, other.kvrocksTurn)
		k.finish(other)
	}
}

// errUnderWay answers what is said again while it is being done.
var errUnderWay = errors.New("that is under way")

// sayServe says IMPORT 1, on the link on which everything else was said and answered.
func (k *kvrocks) sayServe(i *kvrocksImport) {
	delete(k.unsaid, i.m.Slot)
	k.ask(i, nil, [][][]byte{i.importCommand(1)}, smallReply, func(v []resp.Value) {
		if v[0].Kind == resp.ErrorKind {
			k.lost(i, fmt.Errorf("node %s answers CLUSTER IMPORT %d 1 with %q", k.id, i.m.Slot, v[0].Str))
			return
		}
		k.committed(i)
	})
}

// committed answers the commit: the Kvrocks serves the slot.
func (k *kvrocks) committed(i *kvrocksImport) {
	delete(k.losses, i.m.Slot)
	delete(k.unsettled, i.m.Slot)
	k.reply(i.kvrocksTurn, migration.Reply{Kind: migration.ReplyCommitted, Epoch: i.m.Epoch})
	k.finish(i)
}

// abort gives an import up. If nothing can be said any more the Kvrocks deletes by itself, since the link has ended.
func (k *kvrocks) abort(i *kvrocksImport, t kvrocksTurn) {
	k.unqueue(t.m.Slot)
	delete(k.losses, t.m.Slot)
	delete(k.unsaid, t.m.Slot)
	delete(k.unsettled, t.m.Slot)
	aborted := migration.Reply{Kind: migration.ReplyAborted}
	if i == nil || !i.live {
		if i != nil {
			if i.owes() {
				k.fail(i.kvrocksTurn, errReplaced)
			}
			k.finish(i)
		}
		k.next()
		k.reply(t, aborted)
		return
	}
	i.live, i.aborting = false, true
	conn := i.conn
	conn.Do([][][]byte{i.importCommand(2)}, smallReply, k.timeout(), func([][]byte, error) {
		k.d.env.Workers.Submit(func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.finish(i)
			k.reply(t, aborted)
		})
	})
}

// waiting says for what a slot waits, or "".
func (k *kvrocks) waiting(sl slot.Slot) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.turns {
		if t.m.Slot == sl {
			if first := sortedSlots(k.unsettled); len(first) > 0 && !k.unsettled[sl] {
				return fmt.Sprintf("slot %d waits for slot %d, which is decided, until it is known that node %s serves that", sl, first[0], k.id)
			}
			return fmt.Sprintf("slot %d waits for its turn: node %s is a Kvrocks, which imports one slot at a time", sl, k.id)
		}
	}
	return ""
}

// importState reads the state of the latest import out of CLUSTER INFO; it is "" if there was none since the Kvrocks was started.
func importState(info string) (state, slots string) {
	for line := range strings.SplitSeq(info, "\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "import_state":
			state = strings.TrimSpace(value)
		case "importing_slot(s)", "importing_slot":
			slots = strings.TrimSpace(value)
		}
	}
	return state, slots
}

// meet finds out whether a node that has refused to be a peer is a Kvrocks.
func (d *Driver) meet(to cluster.NodeID, then func(isKvrocks bool)) {
	peer, ok := d.node.Peer(to)
	if !ok || d.env.Servers == nil {
		d.env.Workers.Submit(func() { then(false) })
		return
	}
	conn := d.env.Servers.Open(peer.Addr)
	conn.Do(append(d.login(), words("INFO", "server")), smallReply, d.cfg.CallTimeout, func(raw [][]byte, err error) {
		conn.Close()
		d.env.Workers.Submit(func() {
			then(err == nil && len(raw) > 0 && engine.IsKvrocks(string(raw[len(raw)-1])))
		})
	})
}

// login is what is said first on a connection to a Kvrocks. As between Kvrocks themselves, the password is the node's own.
func (d *Driver) login() [][][]byte {
	if p := d.node.Password(); p != "" {
		return [][][]byte{words("AUTH", p)}
	}
	return nil
}

// turnToKvrocks makes the slot's target a Kvrocks, once that is known, if nothing of the slot has been sent in this attempt.
func (s *sourceSlot) turnToKvrocks() {
	step, _ := s.machine.Now()
	if s.stream.outside != nil || step != migration.StepStarting {
		return
	}
	d, j := s.d, s.job
	d.mu.Lock()
	payload := j.header.Payload
	if payload != engine.PayloadAuto && payload != engine.PayloadCommand {
		d.mu.Unlock()
		j.stop(fmt.Sprintf("node %s is a Kvrocks, which takes commands only: start the job with PAYLOAD command, or leave the payload open", j.header.Target))
		return
	}
	k := d.kvrocksOf(j.header.Target)
	if first := !j.header.Kvrocks; first {
		j.header.Kvrocks, j.header.Payload = true, engine.PayloadCommand
		j.note(fmt.Sprintf("node %s is a Kvrocks: it gets commands, slot after slot", j.header.Target))
	}
	d.mu.Unlock()
	j.persist(nil)
	s.stream.content, s.stream.outside = true, k
}

// deliver sends a message to the target, whatever it is.
func (s *sourceSlot) deliver(lane env.Lane, m *migration.Message, done func(migration.Reply, error)) {
	if k := s.stream.outside; k != nil {
		k.handle(m, done)
		return
	}
	start := m.Kind == migration.MsgStart
	s.d.call(s.job.header.Target, lane, m, func(r migration.Reply, err error) {
		if !start || !errors.Is(err, env.ErrNotPeer) {
			done(r, err)
			return
		}
		s.d.meet(s.job.header.Target, func(isKvrocks bool) {
			if isKvrocks {
				s.enqueue(queued{step: s.turnToKvrocks})
			}
			done(r, err) // it is sent again, to whom it is now
		})
	})
	if m.Kind == migration.MsgData && mutant.On(mutant.ReusedEarly) {
		s.d.bodies.Put(m.Body)
	}
}

// beginConfirm begins the comparison after the takeover. A Kvrocks has no snapshot of that moment.
func (s *sourceSlot) beginConfirm() {
	if s.stream.outside != nil {
		s.post(migration.EvConfirmed{Outcome: migration.ConfirmGone})
		return
	}
	s.confirm = newConfirm(s)
	s.confirm.next()
}

// outside is the Kvrocks that a job's slots go to, nil if its target is a peer. Driver.mu is held.
func (j *job) outside() *kvrocks {
	if !j.header.Kvrocks {
		return nil
	}
	return j.d.kvrocksOf(j.header.Target)
}

// outsideWaiting says for what slots of a job wait at a Kvrocks, or "". Driver.mu is held.
func (j *job) outsideWaiting() string {
	k := j.outside()
	if k == nil {
		return ""
	}
	for _, sl := range j.order {
		if s := j.d.sources[sl]; s != nil && s.job == j {
			if w := k.waiting(sl); w != "" {
				return w
			}
		}
	}
	return ""
}

// anew makes a move to a Kvrocks begin from the beginning, since what it has cannot be told from what it should have: it does not list the keys
// of a slot.
func (s *stream) anew(why string) {
	if s.outside != nil {
		s.outside.beginAnew(s.slot, why)
	}
}

// compareAgain makes what is about to be replaced at a Kvrocks be compared after that. What is different still, again, will not become equal by being
// sent once more.
func (s *stream) compareAgain(again bool) {
	w := s.walks[0]
	switch {
	case again:
		s.broken = fmt.Errorf("node %s does not keep what it is sent: what was found different was sent again, and is different still", s.outside.id)
	case w.how == walkReplace:
		s.walks = slices.Insert(s.walks, 1, walk{span: w.span, how: walkCompare, limits: s.digestLimits(), again: true})
	}
}
