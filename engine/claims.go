package engine

import (
	"fmt"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// claims is cluster.Claims and what carries it out: when to ask and to ask again. The node's mu guards it.
type claims struct {
	cluster.Claims
	// rest is how long to wait before the next round after one that did not settle everything.
	rest    time.Duration
	retry   env.Timer // asks again
	resume  env.Timer // takes up what was yielded
	waiting env.Timer // ends the time in which commands wait for claimed slots; nil when they do not
}

// Times of claims.
const (
	// claimRestMin is the rest after a first round that did not settle everything, doubling up to claimRetry: a controller that
	// gives the nodes of a new cluster their ids and maps one by one takes some milliseconds for it.
	claimRestMin = 20 * time.Millisecond
	claimRetry   = time.Second
	// claimTimeout is how long an answer may take.
	claimTimeout = time.Second
	// claimYield is how long a claim that gave way waits.
	claimYield = 3 * time.Second
	// claimWait is for how long after a map commands on the slots that it made this node claim wait instead of being refused,
	// unless another node is known to have them.
	claimWait = time.Second
)

// claimGiven claims those slots of the current map that it gives to this node and that it has no record of, ends the claims of
// all others, and asks, anew if it has asked already. The caller holds n.change.
func (n *Node) claimGiven(old *cluster.Map) {
	given := n.givenTo(n.topology(), n.ID())
	n.mu.Lock()
	ended := n.claims.Retain(&given)
	n.mu.Unlock()
	n.wakeParked(ended)
	var wanted []slot.Slot
	for _, sl := range given.Slots() {
		n.Exclusive(sl, func(o *Owned) {
			if mutant.On(mutant.MapSteals) && o.now().state() != cluster.Serving {
				o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Serving, Epoch: o.now().rec().Epoch + 1})
				return
			}
			if o.now().state() == cluster.None {
				n.mu.Lock()
				n.claims.Claim(sl)
				n.mu.Unlock()
				wanted = append(wanted, sl)
			}
		})
	}
	n.mu.Lock()
	idle := len(n.claims.Open()) == 0
	n.claims.rest = 0
	for _, sl := range wanted {
		if owner := old.Owner(sl); owner != nil && owner.ID != n.ID() {
			if _, ok := n.hints[sl]; !ok {
				n.hints[sl] = cluster.Hint{Slot: sl, Node: owner.ID}
			}
		}
	}
	if !idle && n.claims.waiting == nil {
		n.claims.waiting = n.opts.Clock.AfterFunc(claimWait, n.endClaimWait)
	}
	n.mu.Unlock()
	n.askClaims()
}

// mayAwaitClaim reports whether a command on a slot that is served by nobody whom this node knows may wait for its claim. The
// stripe is held.
func (n *Node) mayAwaitClaim(sl slot.Slot) bool {
	if n.parkedFull(n.slots.get(sl)) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.claims.waiting != nil && n.claims.Claiming(sl)
}

// endClaimWait lets commands wait for claims no longer.
func (n *Node) endClaimWait() {
	n.mu.Lock()
	n.claims.waiting = nil
	open := append([]slot.Slot(nil), n.claims.Open()...)
	n.mu.Unlock()
	n.wakeParked(open)
}

// wakeParked routes the commands anew that wait for slots which this node does not serve.
func (n *Node) wakeParked(slots []slot.Slot) {
	for _, sl := range slots {
		n.Exclusive(sl, func(o *Owned) {
			if o.now().state() == cluster.None {
				o.Unpause()
			}
		})
	}
}

// willAsk adds the nodes of two maps to those that claims ask, and returns them all in the form in which they are stored with
// the new map: lines of id and address. A claim outlives a restart, and must then ask those of the old map, too. Nodes that
// only earlier maps had are forgotten when no claim is open. Of more than cluster.MaxNodes only as many are kept as show that
// they are too many for anything to be served.
func (n *Node) willAsk(old, m *cluster.Map) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	ask := append(contacts(m), contacts(old)...)
	if !n.claims.Idle() {
		ask = append(ask, n.claims.Base()...)
	}
	if !n.claims.SetBase(ask) {
		n.opts.Log.Warn("the maps since the last claim was settled name more nodes than can be asked: slots that no node serves are not "+
			"claimed until a map gives this node none of them or is forced", "version", m.Version, "max", cluster.MaxNodes)
	}
	var text []byte
	for _, to := range n.claims.Base() {
		text = fmt.Appendf(text, "%s %s\n", to.ID, to.Addr)
	}
	return text
}

// contacts are the masters of a map.
func contacts(m *cluster.Map) []cluster.Contact {
	var out []cluster.Contact
	for i := range m.Nodes {
		if node := &m.Nodes[i]; !node.Replica {
			out = append(out, cluster.Contact{ID: node.ID, Addr: fmt.Sprintf("%s:%d", node.Host, node.Port)})
		}
	}
	return out
}

// loadAsk reads what willAsk stored.
func (n *Node) loadAsk() error {
	raw, _, err := n.store.Get(key.Named(namedAsk))
	if err != nil {
		return err
	}
	var ask []cluster.Contact
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if line == "" {
			continue
		}
		id, addr, ok := strings.Cut(line, " ")
		if !ok {
			return fmt.Errorf("engine: the stored list of nodes that a claim asks has the line %q: the directory is damaged", line)
		}
		ask = append(ask, cluster.Contact{ID: cluster.NodeID(id), Addr: addr})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.claims.SetBase(ask)
	return nil
}

// resumeClaims takes up, after a restart, the claims that the stored map implies: slots that it gives to this node and of
// which there is no record at all.
func (n *Node) resumeClaims() {
	if n.opts.Cluster && n.topology().Initialized() {
		n.change.Lock()
		defer n.change.Unlock()
		n.claimGiven(cluster.NoMap())
	}
}

// askClaims starts a round of questions about every slot that is being claimed.
func (n *Node) askClaims() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	if n.claims.retry != nil {
		n.claims.retry.Stop()
	}
	r := n.claims.Ask()
	n.mu.Unlock()
	if r.Number == 0 {
		return
	}
	if len(r.Whom) == 0 {
		n.settleClaims(r.Number)
		return
	}
	about := slot.Set{}
	for _, sl := range r.Slots {
		about.Add(sl)
	}
	args := [][]byte{[]byte("PEER"), []byte("OWNER"), []byte(about.String())}
	for _, to := range r.Whom {
		n.opts.Peers.Call(env.Peer{ID: string(to.ID), Addr: to.Addr}, env.Control, args, claimTimeout, func(reply []byte, err error) {
			n.claimAnswered(r.Number, to, reply, err)
		})
	}
}

func (n *Node) claimAnswered(round uint64, from cluster.Contact, reply []byte, err error) {
	var a cluster.Answer
	if err == nil {
		a, err = cluster.ParseAnswer(string(reply))
	}
	n.mu.Lock()
	done := false
	switch {
	case n.closed:
	case err != nil:
		n.opts.Log.Debug("a node does not answer a claim", "node", from.ID, "addr", from.Addr, "error", err)
		done = n.claims.Failed(round, from.ID)
	default:
		done = n.claims.Answered(round, from.ID, a)
	}
	n.mu.Unlock()
	if done {
		n.settleClaims(round)
	}
}

// settleClaims ends a round: what nobody has is served, in one batch; what somebody has is given up. All stripes are held
// meanwhile: a node that asks about one of the slots must find either the claim or the record.
func (n *Node) settleClaims(round uint64) {
	n.stripes.lockAll()
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		n.stripes.unlockAll()
		return
	}
	out := n.claims.Settle(round)
	for _, a := range out.Ended {
		if h := n.hints[a.Slot]; a.State == cluster.Serving && a.Epoch >= h.Epoch {
			n.hints[a.Slot] = cluster.Hint{Slot: a.Slot, Node: a.From, Epoch: a.Epoch}
		}
	}
	if out.Again && !out.AtOnce {
		n.claims.rest = min(max(2*n.claims.rest, claimRestMin), claimRetry)
		n.claims.retry = n.opts.Clock.AfterFunc(n.claims.rest, n.askClaims)
	}
	if len(out.Yielded) > 0 && n.claims.resume == nil {
		n.claims.resume = n.opts.Clock.AfterFunc(claimYield, n.resumeYielded)
	}
	n.mu.Unlock()
	wake := n.serveClaimed(out.Serve)
	for _, a := range out.Ended {
		wake = append(wake, n.slots.change(a.Slot).takeParked()...)
	}
	for _, sl := range out.Yielded {
		wake = append(wake, n.slots.change(sl).takeParked()...)
	}
	n.stripes.unlockAll()
	n.resumeAll(wake)
	if out.AtOnce {
		n.askClaims()
	}
}

// serveClaimed serves slots of which there is no record, and returns what waited for them. All stripes are held.
func (n *Node) serveClaimed(slots []slot.Slot) (wake []*parkedCommand) {
	if len(slots) == 0 {
		return nil
	}
	r := cluster.Record{State: cluster.Serving, Epoch: 1}
	b := n.store.NewBatch()
	served := slot.Set{}
	for _, sl := range slots {
		b.Set(key.Ownership(sl), r.Encode())
		served.Add(sl)
	}
	p := n.store.Commit(b)
	for _, sl := range slots {
		o := Owned{n: n, slot: sl}
		o.change().lastWrite = p
		o.setRecord(&r)
		wake = append(wake, o.change().takeParked()...)
	}
	n.opts.Log.Info("claimed slots are served: nobody else ever had them", "slots", served.String())
	return wake
}

// resumeYielded takes claims up again that gave way to another node's.
func (n *Node) resumeYielded() {
	n.mu.Lock()
	n.claims.resume = nil
	n.claims.Resume()
	n.mu.Unlock()
	n.askClaims()
}

// ownerAnswer is what this node answers to one that claims slots.
func (n *Node) ownerAnswer(ranges []slot.Range) cluster.Answer {
	a := cluster.Answer{Incarnation: n.incarnation}
	asked := slot.SetOf(ranges...)
	for _, sl := range asked.Slots() {
		mu := &n.stripes[stripeOf(sl)]
		mu.RLock()
		rec := n.slots.get(sl).rec()
		n.mu.Lock()
		claiming := n.claims.Claiming(sl)
		n.mu.Unlock()
		mu.RUnlock()
		if rec.State != cluster.None || claiming {
			a.Slots = append(a.Slots, cluster.SlotAnswer{Slot: sl, State: rec.State, Epoch: rec.Epoch})
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	a.Known = n.claims.Base()
	return a
}

// halt stops the timers of claims. n.mu is held.
func (c *claims) halt() {
	for _, t := range []env.Timer{c.retry, c.resume, c.waiting} {
		if t != nil {
			t.Stop()
		}
	}
}
