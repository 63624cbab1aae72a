package engine

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// foreignImport is slots that arrive from a Kvrocks, by CLUSTER IMPORT: commands on one connection, its link, write into slots that are not
// served here. It lives in memory, as Kvrocks' own does. What is durable is the record of each slot: aborted from the
// beginning on, under which nobody is served and no claim is made, and serving when Kvrocks says that all has arrived. So whatever dies
// in the middle, the slot stays where it was, and what had arrived is deleted: when the link ends, when the import begins anew, when this
// node starts.
//
//	none, aborted ── start ──► aborted, the link writes ── success ──► serving
//	                                  │ failed, the link ends, a restart
//	                                  └──────────► aborted, empty
type foreignImport struct {
	set  slot.Set
	from cluster.NodeID // the owner by the map; "" if it has none
	link *Session       // nil when it is over
	done bool           // Kvrocks said that all had arrived
}

// ownerTimeout is how long nodes may take to say whether they know of slots that a Kvrocks begins to send, and kindTimeout how long one may take that
// refuses to be a peer to say what it is, for each of up to three waits. A Kvrocks waits for a second itself.
const (
	ownerTimeout = 500 * time.Millisecond
	kindTimeout  = 100 * time.Millisecond
)

// serverKind is what answers at the address of a node.
type serverKind uint8

const (
	serverUnknown serverKind = iota
	serverKvrocks
	serverGodwit // of another version, or with another secret
)

// kindOf reads what INFO answers. A Godwit names a version of Kvrocks, too.
func kindOf(info string) serverKind {
	switch {
	case strings.Contains(info, "godwit_version:"):
		return serverGodwit
	case strings.Contains(info, "kvrocks_version:"):
		return serverKvrocks
	default:
		return serverUnknown
	}
}

// IsKvrocks tells by what INFO answers whether a server is a Kvrocks.
func IsKvrocks(info string) bool { return kindOf(info) == serverKvrocks }

// meet asks a server what it is. As between Kvrocks, its password is the node's own.
func (n *Node) meet(addr string, done func(serverKind)) {
	if n.opts.Servers == nil {
		done(serverUnknown)
		return
	}
	var commands [][][]byte
	if p := n.password(); p != "" {
		commands = append(commands, [][]byte{[]byte("AUTH"), []byte(p)})
	}
	commands = append(commands, [][]byte{[]byte("INFO"), []byte("server")})
	n.opts.Servers.Do(addr, commands, kindTimeout, func(replies [][]byte, err error) {
		if err != nil {
			done(serverUnknown)
			return
		}
		done(kindOf(string(replies[len(replies)-1])))
	})
}

// States of CLUSTER IMPORT.
const (
	importStart   = 0
	importSuccess = 1
	importFailed  = 2
)

// clusterImport answers CLUSTER IMPORT range state, as Kvrocks sends it.
func (s *Session) clusterImport(args [][]byte) {
	n := s.n
	ranges, err := slot.ParseRanges(string(args[0]))
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	state, err := strconv.Atoi(string(args[1]))
	if err != nil || state < importStart || state > importFailed {
		s.out.Error(errImportState)
		return
	}
	if node := n.topology().Find(n.ID()); node != nil && node.Replica {
		s.out.Error(errImportReplica)
		return
	}
	set := slot.SetOf(ranges...)
	current, live, success := n.foreignNow()
	switch {
	case state == importStart:
		s.startForeign(&set)
	case current == nil || current.set != set:
		s.out.Error(errImportMismatch(current, live, &set))
	case state == importSuccess && success: // said again, since the answer was lost
		s.answerSlot(done)
	case !live:
		s.out.Error(errImportOver)
	case state == importSuccess:
		s.answerSlot(n.endForeign(current))
	default:
		n.dropForeign(current)
		s.answerSlot(done)
	}
}

// foreignNow is the latest import from outside, nil if there was none, and whether it is live or came to its end.
func (n *Node) foreignNow() (f *foreignImport, live, success bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.foreign == nil {
		return nil, false, false
	}
	return n.foreign, n.foreign.link != nil, n.foreign.done
}

// arrivesForeign reports whether a slot arrives from outside.
func (n *Node) arrivesForeign(sl slot.Slot) bool {
	f, live, _ := n.foreignNow()
	return live && f.set.Has(sl)
}

// startForeign begins an import, unless this cluster knows of one of the slots: a slot that a node of Godwit has a record of moves by a job. A node
// that does not answer is taken for a Kvrocks, unless it says what it is: a Godwit that does not let this node in may know of the slots.
func (s *Session) startForeign(set *slot.Set) {
	n := s.n
	if current, live, _ := n.foreignNow(); live && current.set != *set {
		s.out.Error(errImportOther(current))
		return
	}
	if problem := n.mayImport(set); problem != "" {
		s.out.Error(problem)
		return
	}
	var questions []peerQuestion
	for i := range n.topology().Nodes {
		if node := &n.topology().Nodes[i]; !node.Replica && node.ID != n.ID() {
			if peer, ok := n.Peer(node.ID); ok {
				questions = append(questions, peerQuestion{peer, [][]byte{[]byte("PEER"), []byte("OWNER"), []byte(set.String())}})
			}
		}
	}
	ask := func(q peerQuestion, done func(peerAnswer)) {
		n.opts.Peers.Call(q.to, env.Control, q.args, ownerTimeout, func(raw []byte, err error) {
			if !errors.Is(err, env.ErrNotPeer) {
				done(peerAnswer{raw: raw, err: err})
				return
			}
			n.meet(q.to.Addr, func(is serverKind) { done(peerAnswer{err: err, is: is}) })
		})
	}
	s.askEach(questions, ask, func(answers []peerAnswer) {
		for i := range answers {
			if answers[i].is == serverGodwit {
				s.out.Error(errImportStranger(questions[i].to))
				return
			}
			if a, err := cluster.ParseAnswer(string(answers[i].raw)); answers[i].err == nil && err == nil && len(a.Slots) > 0 {
				s.out.Error(errImportKnown(a.Slots[0].Slot, questions[i].to))
				return
			}
		}
		if problem := n.mayReturn(set, questions, answers); problem != "" {
			s.out.Error(problem)
			return
		}
		s.answerSlot(n.beginForeign(s, set))
	})
}

// mayImport says why slots cannot be imported from a Kvrocks as far as this node knows, or "".
func (n *Node) mayImport(set *slot.Set) string {
	for _, sl := range set.Slots() {
		n.mu.Lock()
		claiming := n.claims.Claiming(sl)
		n.mu.Unlock()
		switch state := n.Record(sl).State; {
		case state == cluster.Serving || claiming:
			return errImportMine
		case state != cluster.None && state != cluster.Aborted && !n.givenAway(sl):
			return errImportBusy(sl, state)
		}
	}
	return ""
}

// givenAway reports whether a slot was released to the node that owns it by the map, and nothing of it is left here.
func (n *Node) givenAway(sl slot.Slot) bool {
	r, owner := n.Record(sl), n.topology().Owner(sl)
	return r.State == cluster.Released && r.DataGone && owner != nil && owner.ID == r.Peer
}

// mayReturn says why slots that were given away cannot come back by an import, or "". They were given to a Kvrocks if what answers there refuses to be a
// peer and says that it is one; a node of Godwit gives them back by a job.
func (n *Node) mayReturn(set *slot.Set, questions []peerQuestion, answers []peerAnswer) string {
	for _, sl := range set.Slots() {
		r := n.Record(sl)
		if r.State != cluster.Released {
			continue
		}
		kvrocks := false
		for i := range answers {
			kvrocks = kvrocks || questions[i].to.ID == string(r.Peer) && answers[i].is == serverKvrocks
		}
		if !kvrocks {
			return errImportReturn(sl, r.Peer)
		}
	}
	return ""
}

// beginForeign makes the records and binds the link, or says why not.
func (n *Node) beginForeign(link *Session, set *slot.Set) string {
	n.stripes.lockAll()
	defer n.stripes.unlockAll()
	b := n.store.NewBatch()
	records := map[slot.Slot]cluster.Record{}
	f := &foreignImport{set: *set, link: link}
	for _, sl := range set.Slots() {
		r := n.slots.get(sl).rec()
		n.mu.Lock()
		claiming := n.claims.Claiming(sl)
		n.mu.Unlock()
		known := r.State != cluster.None && r.State != cluster.Aborted && (r.State != cluster.Released || !r.DataGone)
		if claiming || known { // as mayImport, of which time has passed
			return errImportMine
		}
		if owner := n.topology().Owner(sl); owner != nil {
			f.from = owner.ID
		}
		r.State, r.Peer = cluster.Aborted, f.from // the order of an earlier import stays
		records[sl] = r
		b.DeleteRange(key.SlotSpan(sl))
		b.Set(foreignKey(sl), nil)
		b.Set(key.Ownership(sl), r.Encode())
	}
	current, live, _ := n.foreignNow()
	if live && current.set != *set { // another began while nodes were asked
		return errImportOther(current)
	}
	n.mu.Lock()
	if live {
		current.link.foreign.CompareAndSwap(current, nil)
		current.link = nil
	}
	n.foreign = f
	n.mu.Unlock()
	n.commitRecords(b, set, records)
	link.foreign.Store(f)
	n.opts.Log.Info("slots arrive from outside", "slots", set.String(), "from", f.from)
	return done
}

// commitRecords commits a batch that holds these records and makes them the current ones. All stripes are held.
func (n *Node) commitRecords(b *store.Batch, set *slot.Set, records map[slot.Slot]cluster.Record) {
	p := n.store.Commit(b)
	for _, sl := range set.Slots() {
		o := Owned{n: n, slot: sl}
		o.change().lastWrite = p
		r := records[sl]
		o.setRecord(&r)
	}
}

// endForeign makes this node the owner of what has arrived, in one batch.
func (n *Node) endForeign(f *foreignImport) string {
	n.stripes.lockAll()
	if current, live, _ := n.foreignNow(); current != f || !live {
		n.stripes.unlockAll()
		return errImportOver
	}
	b := n.store.NewBatch()
	records := map[slot.Slot]cluster.Record{}
	for _, sl := range f.set.Slots() {
		r := n.slots.get(sl).rec()
		if r.State != cluster.Aborted { // a job, or a forced map, has come in between
			n.stripes.unlockAll()
			n.dropForeign(f)
			return errImportBusy(sl, r.State)
		}
		r = cluster.Record{State: cluster.Serving, Epoch: r.Epoch + 1}
		records[sl] = r
		b.Delete(foreignKey(sl))
		b.Set(key.Ownership(sl), r.Encode())
	}
	n.commitRecords(b, &f.set, records)
	n.mu.Lock()
	f.link.foreign.CompareAndSwap(f, nil)
	f.link, f.done = nil, true
	n.mu.Unlock()
	var wake []*parkedCommand
	for _, sl := range f.set.Slots() {
		wake = append(wake, n.slots.change(sl).takeParked()...)
	}
	n.stripes.unlockAll()
	n.resumeAll(wake)
	n.opts.Log.Info("slots have arrived from outside and are served", "slots", f.set.String(), "from", f.from)
	return done
}

// dropForeign ends an import that came to nothing and deletes what had arrived.
func (n *Node) dropForeign(f *foreignImport) {
	n.mu.Lock()
	live := f.link != nil
	if live {
		f.link.foreign.CompareAndSwap(f, nil)
		f.link = nil
	}
	n.mu.Unlock()
	if !live {
		return
	}
	for _, sl := range f.set.Slots() {
		n.Exclusive(sl, func(o *Owned) {
			// Another import may have begun, which has its own data.
			if current, _, _ := n.foreignNow(); current == f && o.Record().State == cluster.Aborted {
				b := n.store.NewBatch()
				b.DeleteRange(key.SlotSpan(sl))
				o.Write(b)
			}
		})
	}
	n.opts.Log.Warn("slots that arrived from outside were given up", "slots", f.set.String(), "from", f.from)
}

// routeForeign changes what routing says of a command on the link of an import: it writes into what arrives. The stripes are held.
func (s *Session) routeForeign(w *work, v verdict) verdict {
	f := s.foreign.Load()
	if f == nil || v.kind == verdictServe || len(w.slots) == 0 || w.all {
		return v
	}
	for _, sl := range w.slots {
		if !f.set.Has(sl) || s.n.slots.get(sl).state() != cluster.Aborted {
			return v
		}
	}
	return verdict{}
}

// foreignKey is the key of the bookkeeping value that marks what is in a slot as brought by an import from outside that has not ended.
func foreignKey(sl slot.Slot) []byte { return key.AppendBook(nil, sl, "foreign") }

// dropOrphans deletes what imports had brought that were under way when the node stopped.
func (n *Node) dropOrphans() error {
	aborted := n.slotsWhere(func(s cluster.State) bool { return s == cluster.Aborted })
	for _, sl := range aborted.Slots() {
		_, found, err := n.store.Get(foreignKey(sl))
		if err != nil {
			return err
		}
		if found {
			b := n.store.NewBatch()
			b.DeleteRange(key.SlotSpan(sl))
			n.store.Commit(b)
			n.opts.Log.Warn("what had arrived of a slot from outside before the node stopped was deleted", "slot", sl)
		}
	}
	return nil
}

// foreignMoves is the import from outside that is under way, for CLUSTER NODES.
func (n *Node) foreignMoves() []cluster.Move {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.foreign; f != nil && f.link != nil && f.from != "" {
		return []cluster.Move{{Ranges: f.set.Ranges(), Peer: f.from}}
	}
	return nil
}

// foreignLines are the lines of CLUSTER INFO about the latest import from outside.
func (n *Node) foreignLines() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.foreign
	if f == nil {
		return nil
	}
	state := "error"
	switch {
	case f.done:
		state = "success"
	case f.link != nil:
		state = "start"
	}
	return cluster.ImportingLines(cluster.Move{Ranges: f.set.Ranges()}, state)
}
