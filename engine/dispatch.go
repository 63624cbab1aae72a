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
)

// verdictKind is what routing says of a command.
type verdictKind uint8

const (
	verdictServe verdictKind = iota // run it here and now
	verdictPark                     // run it when the slot's state has changed
	verdictError                    // answer text: a redirect or an error
)

type verdict struct {
	kind verdictKind
	text string
	slot slot.Slot // for which to park
}

// run runs one command to its end or parks it. s.mu is held. A verdict other than serve is what the command's wait came to
// and is answered instead of running it.
func (s *Session) run(args [][]byte, waited verdict) {
	n := s.n
	spec, text := n.table.Check(args)
	if text != "" {
		if spec == nil && strings.EqualFold(string(args[0]), "peer") {
			s.runPeer(args)
			return
		}
		s.out.Error(text)
		return
	}
	s.active.Store(int64(n.opts.Clock.Mono()))
	s.lastCmd.Store(spec)
	n.stats.commands.Add(1)
	if !s.authed && spec.Flags&command.NoAuth == 0 {
		s.out.Error(errNoAuth)
		return
	}
	if waited.kind == verdictError {
		s.out.Error(waited.text)
		return
	}
	if spec.Flags&command.Server != 0 {
		s.runServer(spec, args)
		return
	}
	s.runData(spec, args)
}

// runData runs a command on keys: lock the slots, then route, then read and write the store.
func (s *Session) runData(spec *command.Spec, args [][]byte) {
	n := s.n
	positions, err := spec.KeyPositions(args, s.positions[:0])
	if err != nil {
		positions = positions[:0] // the handler answers an error before it looks at a key: see command.Spec.Count
	}
	s.positions = positions
	slots, text := n.slotsOf(args, positions)
	if text != "" {
		s.out.Error(text)
		return
	}
	write := spec.Flags&command.Write != 0
	for {
		mode := shared
		if write {
			mode = exclusive
		}
		var early verdict
		if mutant.On(mutant.RouteBeforeLock) {
			early = n.route(spec, slots, write)
		}
		n.lockSlots(spec, slots, mode)
		v := early
		if !mutant.On(mutant.RouteBeforeLock) {
			v = n.route(spec, slots, write)
		}
		if mutant.On(mutant.AskingServes) && s.asking && len(slots) == 1 && n.slots[slots[0]].state() == cluster.Importing {
			v, s.asking = verdict{}, false
		}
		switch v.kind {
		case verdictError:
			n.unlockSlots(spec, slots, mode)
			s.out.Error(v.text)
			return
		case verdictPark:
			n.unlockSlots(spec, slots, mode)
			if s.parkIfStill(spec, args, slots, v.slot, write) {
				return
			}
			continue
		case verdictServe:
		}
		if mutant.On(mutant.TornBatch) && spec.Name == "mset" && len(args) > 3 {
			s.tear(spec, args, slots, mode)
			return
		}
		again := s.serve(spec, args, slots, write)
		n.unlockSlots(spec, slots, mode)
		if !again {
			return
		}
		write = true // an answer "expired" is a write: look again under the exclusive lock
	}
}

// tear runs the first pair of an MSET and then, as a command of its own that is locked and routed anew, the others: what the
// mutant torn-batch does. The stripes are held.
func (s *Session) tear(spec *command.Spec, args [][]byte, slots []slot.Slot, mode lockMode) {
	start := s.out.Len()
	s.serve(spec, args[:3], slots, true)
	s.n.unlockSlots(spec, slots, mode)
	s.out.Truncate(start)
	rest, size := cloneArgs(append([][]byte{args[0]}, args[3:]...))
	p := &parkedCommand{session: s, args: rest, bytes: size}
	s.pending, s.slot = p, slots[0]
	s.n.opts.Workers.Submit(func() { s.resume(p, verdict{}) })
}

// parkIfStill parks the command if routing, read again under the exclusive lock, still says so; otherwise the caller starts
// over.
func (s *Session) parkIfStill(spec *command.Spec, args [][]byte, slots []slot.Slot, at slot.Slot, write bool) bool {
	n := s.n
	mu := &n.stripes[stripeOf(at)]
	mu.Lock()
	defer mu.Unlock()
	if v := n.routeOne(at, write); v.kind != verdictPark {
		return false
	}
	owned, size := cloneArgs(args)
	p := &parkedCommand{session: s, args: owned, bytes: size}
	s.pending, s.slot = p, at
	n.park(at, p)
	n.stats.parked.Add(1)
	return true
}

// serve runs the handler under the locks and commits what it wrote. It reports that the command must be run again, as a
// write.
func (s *Session) serve(spec *command.Spec, args [][]byte, slots []slot.Slot, write bool) (again bool) {
	n := s.n
	mode := spec.Mode(args)
	if write && mode == data.Read {
		mode = data.Write
	}
	tx := &s.tx
	tx.Reset(n.store, mode, n.opts.Clock.WallMs())
	nodeWide := spec.Flags&command.NodeWide != 0
	if nodeWide {
		visible := n.visible()
		tx.SetVisible(&visible)
	}
	if n.opts.Observer != nil {
		for _, sl := range slots {
			n.opts.Observer.Served(sl, write)
		}
	}
	start := s.out.Len()
	s.ctx = command.Context{Args: args, Out: &s.out, Tx: tx, Rand: n.opts.Rand.Uint64}
	spec.Handler(&s.ctx)
	if err := tx.Err(); err != nil {
		tx.Discard()
		s.out.Truncate(start)
		if errors.Is(err, data.ErrTooLarge) {
			s.out.Error(errTooLarge)
			return false
		}
		n.opts.Log.Error("reading the store failed", "command", spec.Name, "error", err)
		s.out.Error(errInternal)
		return false
	}
	if !write && tx.NeedsWrite() && !mutant.On(mutant.ExpiredResurrect) {
		tx.Discard()
		s.out.Truncate(start)
		return true
	}
	wrote := false
	if p, ok := tx.Commit(); ok {
		wrote = true
		if nodeWide {
			for i := range n.slots {
				n.slots[i].lastWrite = p
			}
		}
		for _, sl := range slots {
			n.slots[sl].lastWrite = p
		}
	}
	if nodeWide {
		s.dependOn(n.store.Last(), wrote)
	}
	for _, sl := range slots {
		s.dependOn(n.slots[sl].lastWrite, wrote)
	}
	return false
}

// slotsOf lists the slots of a command's keys, each once. In cluster mode they must all be one.
func (n *Node) slotsOf(args [][]byte, positions []int) ([]slot.Slot, string) {
	switch len(positions) {
	case 0:
		return nil, ""
	case 1:
		return n.oneSlot[slot.OfKey(args[positions[0]])][:], ""
	}
	slots := make([]slot.Slot, 0, len(positions))
	for _, i := range positions {
		slots = append(slots, slot.OfKey(args[i]))
	}
	slices.SortFunc(slots, func(a, b slot.Slot) int {
		if d := stripeOf(a) - stripeOf(b); d != 0 {
			return d
		}
		return int(a) - int(b)
	})
	slots = slices.Compact(slots)
	if len(slots) > 1 && n.opts.Cluster {
		return nil, cluster.CrossSlot
	}
	return slots, ""
}

// lockSlots takes the stripes of the slots, which are sorted by stripe, each once; all stripes for a node-wide command.
func (n *Node) lockSlots(spec *command.Spec, slots []slot.Slot, m lockMode) {
	if spec.Flags&command.NodeWide != 0 {
		for i := range n.stripes {
			n.stripes.lock(i, m)
		}
		return
	}
	last := -1
	for _, sl := range slots {
		if i := stripeOf(sl); i != last {
			n.stripes.lock(i, m)
			last = i
		}
	}
}

func (n *Node) unlockSlots(spec *command.Spec, slots []slot.Slot, m lockMode) {
	if spec.Flags&command.NodeWide != 0 {
		for i := range n.stripes {
			n.stripes.unlock(i, m)
		}
		return
	}
	last := -1
	for _, sl := range slots {
		if i := stripeOf(sl); i != last {
			n.stripes.unlock(i, m)
			last = i
		}
	}
}

// route says what to do with a command. The stripes are held.
func (n *Node) route(spec *command.Spec, slots []slot.Slot, write bool) verdict {
	if !n.opts.Cluster {
		return verdict{}
	}
	for _, sl := range slots {
		if v := n.routeOne(sl, write); v.kind != verdictServe {
			return v
		}
	}
	if write && spec.Flags&command.NodeWide != 0 {
		for i := range n.slots {
			if st := &n.slots[i]; st.state() == cluster.Serving && (st.paused || st.sealed) {
				return verdict{kind: verdictPark, slot: slot.Slot(i)}
			}
		}
	}
	return verdict{}
}

// routeOne says what to do with a command on one slot. The stripe is held.
func (n *Node) routeOne(sl slot.Slot, write bool) verdict {
	st := &n.slots[sl]
	switch st.state() {
	case cluster.Serving:
		if st.sealed && !(mutant.On(mutant.LateRead) && !write) || st.paused && write {
			return verdict{kind: verdictPark, slot: sl}
		}
		return verdict{}
	case cluster.Prepared:
		return verdict{kind: verdictPark, slot: sl}
	case cluster.Released:
		if mutant.On(mutant.LateRead) && !write && st.sealed {
			return verdict{}
		}
		if st.sealed { // the target has not answered commit yet
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
	for i := range n.slots {
		if !n.opts.Cluster || n.slots[i].state() == cluster.Serving || mutant.On(mutant.FlushImport) {
			v.Add(slot.Slot(i))
		}
	}
	return v
}
