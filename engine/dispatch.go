package engine

import (
	"errors"
	"slices"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// verdictKind is what routing says of a command.
type verdictKind uint8

const (
	verdictServe verdictKind = iota // run it here and now
	verdictPark                     // run it when the slot's state has changed
	verdictError                    // answer text, a redirect or an error; without a text, a null array
)

type verdict struct {
	kind verdictKind
	text string
	slot slot.Slot // for which to park
}

// run runs one command to its end or makes it wait. s.mu is held. A verdict other than serve is what the command's wait came
// to and is answered instead of running it.
func (s *Session) run(args [][]byte, waited verdict) {
	n := s.n
	start := s.out.Len()
	muted := s.reply != replyOn
	if isPeer(args[0]) {
		s.runPeer(args)
		return
	}
	spec, text := n.table.Check(args)
	if text != "" {
		s.refuse(args, text)
	} else {
		s.runKnown(spec, args, waited)
	}
	if muted {
		s.mute(start)
	}
}

// isPeer reports whether a command's name is PEER, which the table of commands does not have: to clients it is unknown.
func isPeer(name []byte) bool {
	return len(name) == len("peer") && strings.EqualFold(string(name), "peer")
}

// runKnown runs a command that the table has and whose arguments are of the right number.
func (s *Session) runKnown(spec *command.Spec, args [][]byte, waited verdict) {
	n := s.n
	began := n.opts.Clock.Mono()
	s.active.Store(int64(began))
	s.lastCmd.Store(spec)
	n.stats.commands.Add(1)
	switch {
	case !s.authed && spec.Flags&command.NoAuth == 0:
		s.refuse(args, errNoAuth)
	case waited.kind == verdictError:
		if s.multi != nil { // only EXEC waits then
			s.endMulti()
		}
		s.answer(waited)
	case n.pause.mode.Load() != pauseOff && s.waitForPause(spec, args):
	case s.multi != nil && !runsInMulti(spec):
		s.enqueue(spec, args)
	default:
		if n.monitors.count.Load() != 0 {
			n.monitors.tell(s, spec, args)
		}
		if spec.Flags&command.Server != 0 {
			s.runServer(spec, args)
		} else {
			s.runData(spec, args)
		}
		n.slow.note(s, spec, args, began)
	}
}

// work is what runs under the locks of some slots: a command on keys, or a transaction.
type work struct {
	spec  *command.Spec // for a transaction, that of EXEC
	args  [][]byte
	slots []slot.Slot // that it reads and writes, sorted by stripe
	locks []slot.Slot // that it locks: slots, and those of watched keys
	all   bool        // it looks at, or changes, every slot that is visible
	write bool
	// do runs it under the locks, which route let it take, and reports that it must be run again, as a write.
	do func(*Session, *work) (again bool)
}

// runData runs a command on keys: lock the slots, then route, then read and write the store.
func (s *Session) runData(spec *command.Spec, args [][]byte) {
	positions := positionsOf(spec, args, s.positions[:0])
	s.positions = positions
	slots, text := s.n.slotsOf(args, positions)
	if text != "" {
		s.out.Error(text)
		return
	}
	s.work = work{
		spec: spec, args: args, slots: slots, locks: slots, do: (*Session).serve,
		all: s.n.reachesAll(spec, args), write: spec.Flags&command.Write != 0,
	}
	s.runLocked(&s.work)
}

// reachesAll reports whether a command looks at, or changes, slots of which it names no keys.
func (n *Node) reachesAll(spec *command.Spec, args [][]byte) bool {
	return spec.Flags&command.NodeWide != 0 || !n.opts.Cluster && spec.Reaches != nil && spec.Reaches(args)
}

// runLocked runs a piece of work under its locks: routed, and to its end unless it has to wait.
func (s *Session) runLocked(w *work) {
	n := s.n
	for {
		mode := shared
		if w.write {
			mode = exclusive
		}
		var early verdict
		if mutant.On(mutant.RouteBeforeLock) {
			early = n.route(w)
		}
		n.lockSlots(w, mode)
		v := early
		if !mutant.On(mutant.RouteBeforeLock) {
			v = n.route(w)
		}
		v = s.routeForeign(w, v)
		if w.spec.Flags&command.Server != 0 { // EXEC or WATCH: a watched key whose slot has left decides first
			v = s.routeWatched(v)
		}
		if mutant.On(mutant.AskingServes) && s.asking && len(w.slots) == 1 && n.slots.get(w.slots[0]).state() == cluster.Importing {
			v, s.asking = verdict{}, false
		}
		switch v.kind {
		case verdictError:
			n.unlockSlots(w, mode)
			s.answer(v)
			return
		case verdictPark:
			n.unlockSlots(w, mode)
			if s.parkIfStill(w, v.slot) {
				return
			}
			continue
		case verdictServe:
		}
		if mutant.On(mutant.TornBatch) && w.spec.Name == "mset" && len(w.args) > 3 {
			s.tear(w, mode)
			return
		}
		again := w.do(s, w)
		n.unlockSlots(w, mode)
		if !again {
			return
		}
		w.write = true // an answer "expired" is a write: look again under the exclusive lock
	}
}

// tear runs the first pair of an MSET and then, as a command of its own that is locked and routed anew, the others: what the
// mutant torn-batch does. The stripes are held.
func (s *Session) tear(w *work, mode lockMode) {
	start, args := s.out.Len(), w.args
	w.args = args[:3]
	s.serve(w)
	s.n.unlockSlots(w, mode)
	s.out.Truncate(start)
	s.slot = w.slots[0]
	s.resumed = nil // what waits is another command
	p := s.wait(append([][]byte{args[0]}, args[3:]...))
	s.n.opts.Workers.Submit(func() { s.resume(p, verdict{}) })
}

// answer writes a verdict that is an error.
func (s *Session) answer(v verdict) {
	if v.text == "" {
		s.dependOn(s.n.store.Last(), false) // the change of a watched key that it tells of
		s.out.NullArray()
	} else {
		s.out.Error(v.text)
	}
}

// parkIfStill parks the command if routing, read again under the exclusive lock, still says so; otherwise the caller starts
// over.
func (s *Session) parkIfStill(w *work, at slot.Slot) bool {
	n := s.n
	mu := &n.stripes[stripeOf(at)]
	mu.Lock()
	defer mu.Unlock()
	if v := n.routeOne(at, w.write); v.kind != verdictPark {
		return false
	}
	s.slot = at
	n.park(at, s.wait(w.args))
	n.stats.parked.Add(1)
	return true
}

// serve runs the handler under the locks and commits what it wrote. It reports that the command must be run again, as a
// write.
func (s *Session) serve(w *work) (again bool) {
	n, spec := s.n, w.spec
	mode := spec.Mode(w.args)
	if w.write && mode == data.Read {
		mode = data.Write
	}
	tx := s.begin(w, mode)
	start := s.out.Len()
	s.ctx = command.Context{Args: w.args, Out: &s.out, Tx: tx, Rand: n.random, Cluster: n.opts.Cluster}
	if spec.Flags&command.Blocking != 0 {
		s.ctx.Waiter = s
	}
	spec.Handler(&s.ctx)
	if tx.Err() != nil {
		s.blocks, s.untried = nil, false
		s.fail(w, start)
		return false
	}
	if !w.write && tx.NeedsWrite() && !mutant.On(mutant.ExpiredResurrect) {
		tx.Discard()
		s.out.Truncate(start)
		return true
	}
	s.commit(w)
	if s.blocks != nil {
		s.block(w.args)
	}
	return false
}

// begin begins the transaction of a piece of work.
func (s *Session) begin(w *work, mode data.Mode) *data.Tx {
	n := s.n
	tx := &s.tx
	tx.Reset(n.store, mode, n.opts.Clock.WallMs())
	if w.all {
		visible := n.visible()
		tx.SetVisible(&visible)
	}
	if n.opts.Observer != nil {
		for _, sl := range w.slots {
			n.opts.Observer.Served(sl, w.write)
		}
	}
	return tx
}

// fail drops what was written, and what was replied from a place on, and answers why.
func (s *Session) fail(w *work, start int) {
	err := s.tx.Err()
	s.tx.Discard()
	s.out.Truncate(start)
	if errors.Is(err, data.ErrTooLarge) {
		s.out.Error(errTooLarge)
		return
	}
	s.n.opts.Log.Error("reading the store failed", "command", w.spec.Name, "error", err)
	s.out.Error(errInternal)
}

// commit commits what the transaction wrote, in one batch, and makes the replies wait for what they depend on.
func (s *Session) commit(w *work) {
	n := s.n
	size := 0
	if b := s.tx.Batch(); b != nil {
		size = b.Bytes()
	}
	p, wrote := n.commit(&s.tx)
	if wrote && w.all {
		for sl := range slot.Slot(slot.Count) {
			if !n.opts.Cluster || n.slots.get(sl).record != nil { // no other can have data that was visible
				n.slots.change(sl).lastWrite = p
			}
		}
	}
	if w.all {
		s.dependOn(n.store.Last(), wrote)
	}
	for _, sl := range w.locks {
		if wrote {
			st := n.slots.change(sl)
			st.lastWrite = p
			st.writes++
			n.wrote(sl, size)
			if expires := s.tx.Expires(); expires != data.NoExpiry {
				n.addExpiring(sl, expires)
			}
		} else {
			s.countRead(sl)
		}
		s.dependOn(n.slots.get(sl).lastWrite, wrote)
	}
}

// commit commits a client's or the sweeper's transaction. Whoever watches a key that it writes, or waits for one, is told,
// from the batch itself: no handler can forget it. The stripes of what it writes are held exclusively, so that nobody sees
// the one without the other.
func (n *Node) commit(tx *data.Tx) (store.Position, bool) {
	if b := tx.Batch(); b != nil {
		n.tell(b)
	}
	return tx.Commit()
}

// commitBatch commits a batch of a client, as commit does a transaction.
func (n *Node) commitBatch(b *store.Batch) store.Position {
	n.tell(b)
	return n.store.Commit(b)
}

func (n *Node) tell(b *store.Batch) {
	if n.watches.count.Load() != 0 || n.blocking.count.Load() != 0 {
		n.touch(b)
	}
}

// positionsOf appends the positions of a command's keys: none if they cannot be found, since then the handler answers an error
// before it looks at a key (command.Spec.Count).
func positionsOf(spec *command.Spec, args [][]byte, dst []int) []int {
	if positions, err := spec.KeyPositions(args, dst); err == nil {
		return positions
	}
	return dst
}

// oneSlot holds each slot as an array of one, so that a command with one key need not allocate its slot list. All nodes share
// it, and nobody writes to it.
var oneSlot = func() *[slot.Count][1]slot.Slot {
	var all [slot.Count][1]slot.Slot
	for i := range all {
		all[i][0] = slot.Slot(i)
	}
	return &all
}()

// slotsOf lists the slots of a command's keys, each once, sorted by stripe. In cluster mode they must all be one.
func (n *Node) slotsOf(args [][]byte, positions []int) ([]slot.Slot, string) {
	switch len(positions) {
	case 0:
		return nil, ""
	case 1:
		return oneSlot[slot.OfKey(args[positions[0]])][:], ""
	}
	slots := make([]slot.Slot, 0, len(positions))
	for _, i := range positions {
		slots = append(slots, slot.OfKey(args[i]))
	}
	slots = lockOrder(slots)
	if len(slots) > 1 && n.opts.Cluster {
		return nil, cluster.CrossSlot
	}
	return slots, ""
}

// lockOrder sorts slots by stripe and drops repetitions, in place.
func lockOrder(slots []slot.Slot) []slot.Slot {
	slices.SortFunc(slots, func(a, b slot.Slot) int {
		if d := stripeOf(a) - stripeOf(b); d != 0 {
			return d
		}
		return int(a) - int(b)
	})
	return slices.Compact(slots)
}

// lockSlots takes the stripes of a piece of work in ascending order, each once; all of them for a node-wide one.
func (n *Node) lockSlots(w *work, m lockMode) {
	if w.all {
		for i := range n.stripes {
			n.stripes.lock(i, m)
		}
		return
	}
	last := -1
	for _, sl := range w.locks {
		if i := stripeOf(sl); i != last {
			n.stripes.lock(i, m)
			last = i
		}
	}
}

func (n *Node) unlockSlots(w *work, m lockMode) {
	if w.all {
		for i := range n.stripes {
			n.stripes.unlock(i, m)
		}
		return
	}
	last := -1
	for _, sl := range w.locks {
		if i := stripeOf(sl); i != last {
			n.stripes.unlock(i, m)
			last = i
		}
	}
}

// route says what to do with a piece of work. The stripes are held.
func (n *Node) route(w *work) verdict {
	if !n.opts.Cluster && n.sending.Load() == 0 {
		return verdict{}
	}
	for _, sl := range w.slots {
		if v := n.routeOne(sl, w.write); v.kind != verdictServe {
			return v
		}
	}
	if w.write && w.all {
		for sl := range slot.Slot(slot.Count) {
			switch st := n.slots.get(sl); {
			case st.sending:
				return n.awaitSent(sl, st)
			case st.state() == cluster.Serving && (st.paused || st.sealed):
				return verdict{kind: verdictPark, slot: sl}
			}
		}
	}
	return verdict{}
}

// routeOne says what to do with a command on one slot. The stripe is held.
func (n *Node) routeOne(sl slot.Slot, write bool) verdict {
	st := n.slots.get(sl)
	if !n.opts.Cluster {
		if st.sending {
			return n.awaitSent(sl, st)
		}
		return verdict{}
	}
	switch st.state() {
	case cluster.Serving:
		if st.sending {
			return n.awaitSent(sl, st)
		}
		if st.sealed && !(mutant.On(mutant.LateRead) && !write) || st.paused && write {
			return verdict{kind: verdictPark, slot: sl}
		}
		if write && n.slowed(st) {
			return verdict{kind: verdictPark, slot: sl}
		}
		return verdict{}
	case cluster.Prepared:
		if n.parkedFull(st) {
			return verdict{kind: verdictError, text: cluster.TryAgain}
		}
		return verdict{kind: verdictPark, slot: sl}
	case cluster.Released:
		if mutant.On(mutant.LateRead) && !write && st.sealed {
			return verdict{}
		}
		if st.sealed && !n.parkedFull(st) { // the target has not answered commit yet
			return verdict{kind: verdictPark, slot: sl}
		}
		return n.redirect(sl)
	case cluster.None:
		v := n.redirect(sl)
		if v.text == cluster.SlotNotServed && n.mayAwaitClaim(sl) {
			return verdict{kind: verdictPark, slot: sl}
		}
		return v
	case cluster.Importing, cluster.Aborted:
		return n.redirect(sl)
	}
	return n.redirect(sl)
}

// redirect answers MOVED to where the slot is thought to be. The stripe is held.
func (n *Node) redirect(sl slot.Slot) verdict {
	owner := n.ownerOf(sl)
	if owner == "" || owner == n.ID() {
		return verdict{kind: verdictError, text: cluster.SlotNotServed}
	}
	m := n.topology()
	node := m.Find(owner)
	if node == nil {
		return verdict{kind: verdictError, text: cluster.SlotNotServed}
	}
	return verdict{kind: verdictError, text: cluster.Moved(sl, node.Host, node.Port)}
}

// visible is the set of slots that enumerations and flushes may see. All stripes are held.
func (n *Node) visible() slot.Set {
	var v slot.Set
	for sl := range slot.Slot(slot.Count) {
		if !n.opts.Cluster || n.slots.get(sl).state() == cluster.Serving || mutant.On(mutant.FlushImport) {
			v.Add(sl)
		}
	}
	return v
}
