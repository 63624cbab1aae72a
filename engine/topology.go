package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// SetNodeID names the node. The answer is durable when the position is. Another id is refused once a record exists: others
// know this directory under the old one.
func (n *Node) SetNodeID(id cluster.NodeID) (store.Position, error) {
	if len(id) != cluster.NodeIDLen {
		return 0, fmt.Errorf("a node id has %d bytes, got %d", cluster.NodeIDLen, len(id))
	}
	n.change.Lock()
	defer n.change.Unlock()
	if id == n.ID() {
		return n.store.Last(), nil
	}
	if n.ID() != "" && n.hasRecords() {
		return 0, fmt.Errorf("node id can't be changed from %s: this node has ownership records under it", n.ID())
	}
	b := n.store.NewBatch()
	b.Set(key.Named(namedID), []byte(id))
	p := n.store.Commit(b)
	n.setID(id)
	return p, nil
}

func (n *Node) hasRecords() bool {
	records := n.Recorded()
	return records.Len() > 0
}

// Force says whether a map is to be taken at its word.
type Force bool

// SetMap takes a new map from a controller: where to send clients. It makes this node serve a slot at birth only; any other
// slot that the map newly gives to it is claimed. It takes no slot away. With force it is taken at its word: the slots that
// it gives to this node are served and the others released, except those of a live job. The answer is durable when the
// position is.
func (n *Node) SetMap(m *cluster.Map, force Force) (store.Position, error) {
	n.change.Lock()
	defer n.change.Unlock()
	return n.setMap(m, force)
}

// setMap is SetMap under n.change.
func (n *Node) setMap(m *cluster.Map, force Force) (store.Position, error) {
	old := n.topology()
	switch {
	case m.Version < 0 || !bool(force) && m.Version < old.Version:
		return 0, cluster.ErrClusterVersion
	case !bool(force) && m.Version == old.Version:
		if m.Hash() != old.Hash() {
			n.opts.Log.Warn("a map with the current version but another content was ignored", "version", m.Version)
		}
		return n.store.Last(), nil
	}
	b := n.store.NewBatch()
	if n.ID() == "" || bool(force) {
		if id := n.detectSelf(m); id != "" && id != n.ID() && !n.hasRecords() {
			n.setID(id)
			b.Set(key.Named(namedID), []byte(id))
		}
	}
	b.Set(key.Named(namedMap), cluster.EncodeMap(m))
	birth := old.Version < 0 && !n.hasRecords() && n.empty()
	n.mapNow.Store(m)
	n.version.Add(1)
	self := n.ID()
	b.Set(key.Named(namedAsk), n.willAsk(old, m))
	var p store.Position
	switch {
	case self == "" || m.Find(self) == nil:
		p = n.store.Commit(b)
	case bool(force):
		n.opts.Log.Warn("a map was forced", "version", m.Version)
		p = n.forceMap(b, m)
	case birth:
		var born bool
		if p, born = n.serveAtBirth(b, m); !born {
			n.claimNew(old, m)
		}
	default:
		p = n.store.Commit(b)
		n.claimNew(old, m)
	}
	return p, nil
}

// serveAtBirth makes a node that never held anything serve what its first map gives it, in the map's batch. If an import
// began meanwhile the node is not new any more: it reports false and commits the map alone.
func (n *Node) serveAtBirth(b *store.Batch, m *cluster.Map) (p store.Position, born bool) {
	n.stripes.lockAll()
	defer n.stripes.unlockAll()
	for i := range n.slots {
		if n.slots[i].state() != cluster.None {
			return n.store.Commit(b), false
		}
	}
	r := cluster.Record{State: cluster.Serving, Epoch: 1}
	mine := n.givenTo(m, n.ID())
	for _, sl := range mine {
		b.Set(key.Ownership(sl), r.Encode())
	}
	p = n.store.Commit(b)
	for _, sl := range mine {
		o := Owned{n: n, slot: sl, st: &n.slots[sl]}
		o.st.lastWrite = p
		o.setRecord(&r)
	}
	return p, true
}

// forceMap makes the records agree with the map.
func (n *Node) forceMap(b *store.Batch, m *cluster.Map) store.Position {
	p := n.store.Commit(b)
	for i := range n.slots {
		sl := slot.Slot(i)
		owner := m.Owner(sl)
		n.Exclusive(sl, func(o *Owned) {
			r := o.Record()
			switch {
			case owner == nil || r.State == cluster.Importing || r.State == cluster.Prepared || o.st.paused || o.st.sealed:
			case owner.ID == n.ID() && r.State != cluster.Serving:
				p = o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Serving, Epoch: r.Epoch + 1})
			case owner.ID != n.ID() && r.State == cluster.Serving:
				p = o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Released, Epoch: r.Epoch + 1, Peer: owner.ID})
			}
		})
	}
	return p
}

func (n *Node) givenTo(m *cluster.Map, id cluster.NodeID) []slot.Slot {
	node := m.Find(id)
	if node == nil {
		return nil
	}
	return node.Slots.Slots()
}

// empty reports whether the store holds no user key at all.
func (n *Node) empty() bool {
	it, err := n.store.NewIter(key.UserSpan())
	if err != nil {
		return false
	}
	found := it.First()
	return it.Close() == nil && !found
}

// detectSelf finds this node in a map by its address: the port must be the same, and the host too, unless this node
// listens on every interface. Hosts are compared as they are written.
func (n *Node) detectSelf(m *cluster.Map) cluster.NodeID {
	host, port, ok := cutAddr(n.opts.Addr)
	if !ok {
		return ""
	}
	anywhere := host == "" || host == "0.0.0.0" || host == "::"
	loopback := func(h string) bool {
		return strings.EqualFold(h, "localhost") || strings.HasPrefix(h, "127.") || h == "::1"
	}
	for i := range m.Nodes {
		node := &m.Nodes[i]
		if strconv.Itoa(node.Port) == port && (anywhere || strings.EqualFold(node.Host, host) || loopback(node.Host) && loopback(host)) {
			return node.ID
		}
	}
	return ""
}

// A claim settles a slot that a map newly gives to this node and of which it has no record: every node of the old and the new
// map is asked, and the slot is served only when all have answered and none has a record of it or claims it too. Of two nodes
// that claim a slot at once, the one with the smaller id gives its claim up for a while, so that the other finds nobody.
//
// Why any record ends a claim, and not "serving" alone: nodes are asked one after another while the slot may be moving, so its
// owner can be missed: asked last, it has by then given the slot to one that was asked first. But it has a record, and so has
// everybody who ever had to do with the slot. A slot that anybody ever had is therefore never claimed; if all of them are lost,
// a forced map is what is left.
//
// Why two can never both win: a node answers "claiming" from before it asks the first question until its claim ends, so of
// two claimants the one that asks second is told so.
type claims struct {
	ask   map[cluster.NodeID]env.Peer // whom to ask
	round uint64                      // of the questions that are out; answers to older rounds are void
	timer env.Timer
	// waiting is the number of claims that gave way and will be taken up again.
	waiting int
}

// claimRetry is how long a claim waits before it asks again, claimTimeout how long for an answer.
const (
	claimRetry   = time.Second
	claimTimeout = time.Second
)

// claimNew claims the slots that a map gives to this node and that it does not have.
func (n *Node) claimNew(old, m *cluster.Map) {
	var wanted []slot.Slot
	for _, sl := range n.givenTo(m, n.ID()) {
		n.Exclusive(sl, func(o *Owned) {
			st := o.st
			if mutant.On(mutant.MapSteals) && st.state() != cluster.Serving {
				o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Serving, Epoch: st.rec().Epoch + 1})
				return
			}
			if st.state() == cluster.None && !st.claiming {
				st.claiming = true
				wanted = append(wanted, sl)
			}
		})
	}
	if len(wanted) == 0 {
		return
	}
	n.mu.Lock()
	for _, sl := range wanted {
		if owner := old.Owner(sl); owner != nil && owner.ID != n.ID() {
			if _, ok := n.hints[sl]; !ok {
				n.hints[sl] = cluster.Hint{Slot: sl, Node: owner.ID}
			}
		}
	}
	n.mu.Unlock()
	n.askClaims()
}

// willAsk adds the nodes of two maps to those that claims ask, and returns them all in the form in which they are stored with
// the new map: lines of id and address. A claim outlives a restart, and must then ask those of the old map, too. Nodes that
// only earlier maps had are forgotten when no claim is open.
func (n *Node) willAsk(old, m *cluster.Map) []byte {
	open := n.slotsWhere(func(st *slotState) bool { return st.claiming })
	n.mu.Lock()
	defer n.mu.Unlock()
	if open.Len() == 0 && n.claims.waiting == 0 {
		n.claims.ask = nil
	}
	n.claims.addMap(old, n.ID())
	n.claims.addMap(m, n.ID())
	var text []byte
	for _, id := range sortedIDs(n.claims.ask) {
		text = fmt.Appendf(text, "%s %s\n", id, n.claims.ask[id].Addr)
	}
	return text
}

// loadAsk reads what willAsk stored.
func (n *Node) loadAsk() error {
	raw, _, err := n.store.Get(key.Named(namedAsk))
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.claims.ask = map[cluster.NodeID]env.Peer{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if line == "" {
			continue
		}
		id, addr, ok := strings.Cut(line, " ")
		if !ok {
			return fmt.Errorf("engine: the stored list of nodes that a claim asks has the line %q: the directory is damaged", line)
		}
		n.claims.ask[cluster.NodeID(id)] = env.Peer{ID: id, Addr: addr}
	}
	return nil
}

func (c *claims) addMap(m *cluster.Map, self cluster.NodeID) {
	if c.ask == nil {
		c.ask = map[cluster.NodeID]env.Peer{}
	}
	for i := range m.Nodes {
		if node := &m.Nodes[i]; node.ID != self && !node.Replica {
			c.ask[node.ID] = env.Peer{ID: string(node.ID), Addr: fmt.Sprintf("%s:%d", node.Host, node.Port)}
		}
	}
}

// resumeClaims takes up, after a restart, the claims that the stored map implies: slots that it gives to this node and of
// which there is no record at all.
func (n *Node) resumeClaims() {
	m := n.topology()
	if !n.opts.Cluster || m.Version < 0 {
		return
	}
	for _, sl := range n.givenTo(m, n.ID()) {
		n.Exclusive(sl, func(o *Owned) { o.st.claiming = o.st.state() == cluster.None })
	}
	n.askClaims()
}

// claimRound is one round of questions.
type claimRound struct {
	slots   []slot.Slot
	waiting int
	failed  bool
	blocked map[slot.Slot]ownerAnswer
}

// askClaims starts a round of questions about every slot that is being claimed.
func (n *Node) askClaims() {
	set := n.slotsWhere(func(st *slotState) bool { return st.claiming })
	slots := set.Slots()
	if len(slots) == 0 {
		return
	}
	n.mu.Lock()
	n.claims.round++
	round := n.claims.round
	var peers []env.Peer
	for _, id := range sortedIDs(n.claims.ask) {
		peers = append(peers, n.claims.ask[id])
	}
	n.mu.Unlock()
	cr := &claimRound{slots: slots, waiting: len(peers), blocked: map[slot.Slot]ownerAnswer{}}
	if len(peers) == 0 {
		n.opts.Workers.Submit(func() { n.settleClaims(round, cr) })
		return
	}
	args := [][]byte{[]byte("PEER"), []byte("OWNER"), []byte(set.String())}
	for _, p := range peers {
		n.opts.Peers.Call(p, env.Control, args, claimTimeout, func(reply []byte, err error) {
			n.claimAnswer(round, cr, reply, err)
		})
	}
}

func (n *Node) claimAnswer(round uint64, cr *claimRound, reply []byte, err error) {
	n.mu.Lock()
	if n.closed || round != n.claims.round {
		n.mu.Unlock()
		return
	}
	answers, perr := parseOwnerAnswers(reply)
	if err != nil || perr != nil {
		cr.failed = true
	}
	for _, a := range answers {
		if old, ok := cr.blocked[a.slot]; !ok || a.owns() || a.ends() && !old.owns() {
			cr.blocked[a.slot] = a
		}
	}
	cr.waiting--
	done := cr.waiting == 0
	n.mu.Unlock()
	if done {
		n.settleClaims(round, cr)
	}
}

// settleClaims ends a round: serve what nobody has, give up what somebody serves, ask again about the rest.
func (n *Node) settleClaims(round uint64, cr *claimRound) {
	again := cr.failed
	for _, sl := range cr.slots {
		if cr.failed {
			break
		}
		n.Exclusive(sl, func(o *Owned) {
			st := o.st
			n.mu.Lock()
			current := round == n.claims.round && !n.closed
			n.mu.Unlock()
			if !st.claiming || !current {
				return
			}
			b, blocked := cr.blocked[sl]
			switch {
			case !blocked:
				n.opts.Log.Info("a claimed slot is served: nobody ever had it", "slot", sl)
				o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Serving, Epoch: 1})
				o.Unpause()
			case b.ends():
				st.claiming = false
				n.mu.Lock()
				if h := n.hints[sl]; b.owns() && b.epoch >= h.Epoch {
					n.hints[sl] = cluster.Hint{Slot: sl, Node: b.node, Epoch: b.epoch}
				}
				n.mu.Unlock()
			case b.node > n.ID():
				st.claiming = false
				n.reclaimLater(sl)
			default:
				again = true
			}
		})
	}
	if again {
		n.retryClaims()
	}
}

func (n *Node) retryClaims() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	if n.claims.timer != nil {
		n.claims.timer.Stop()
	}
	n.claims.timer = n.opts.Clock.AfterFunc(claimRetry, n.askClaims)
}

// reclaimLater takes a claim up again that gave way to another node's.
func (n *Node) reclaimLater(sl slot.Slot) {
	n.mu.Lock()
	n.claims.waiting++
	n.mu.Unlock()
	n.opts.Clock.AfterFunc(3*claimRetry, func() {
		n.mu.Lock()
		n.claims.waiting--
		n.mu.Unlock()
		if o := n.topology().Owner(sl); o == nil || o.ID != n.ID() {
			return
		}
		n.Exclusive(sl, func(o *Owned) {
			o.st.claiming = o.st.state() == cluster.None
		})
		n.retryClaims()
	})
}
