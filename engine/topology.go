package engine

import (
	"fmt"
	"strconv"
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/key"
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
	if n.topology().Initialized() { // it may give slots to this id, and others to the one of before
		n.claimGiven(cluster.NoMap())
	}
	return p, nil
}

func (n *Node) hasRecords() bool {
	records := n.Recorded()
	return records.Len() > 0
}

// Force says whether a map is to be taken at its word.
type Force bool

// SetMap takes a new map from a controller: where to send clients. It makes this node serve nothing and takes no slot away:
// the slots that it gives to this node and of which there is no record are claimed, see cluster.Claims. With force it is taken at
// its word: the slots that it gives to this node are served and the others released, except those of a live job. The answer is
// durable when the position is.
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
	n.mapNow.Store(m)
	n.version.Add(1)
	b.Set(key.Named(namedAsk), n.willAsk(old, m))
	n.sortHints(b, m, force)
	p := n.store.Commit(b)
	if bool(force) && m.Find(n.ID()) != nil {
		n.opts.Log.Warn("a map was forced", "version", m.Version)
		p = n.forceMap(m, p)
	}
	n.claimGiven(old)
	return p, nil
}

// forceMap makes the records agree with the map and returns the position of the last, or p if none changed.
func (n *Node) forceMap(m *cluster.Map, p store.Position) store.Position {
	for sl := range slot.Slot(slot.Count) {
		owner := m.Owner(sl)
		n.Exclusive(sl, func(o *Owned) {
			st := o.now()
			r := st.rec()
			switch {
			case owner == nil || r.State == cluster.Importing || r.State == cluster.Prepared || st.paused || st.sealed || n.arrivesForeign(sl):
			case owner.ID == n.ID() && r.State != cluster.Serving:
				p = o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Serving, Epoch: r.Epoch + 1})
				o.Unpause()
			case owner.ID != n.ID() && r.State == cluster.Serving:
				p = o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Released, Epoch: r.Epoch + 1, Peer: owner.ID})
			}
		})
	}
	return p
}

// givenTo is the set of slots that a map gives to a node.
func (n *Node) givenTo(m *cluster.Map, id cluster.NodeID) slot.Set {
	if node := m.Find(id); node != nil {
		return node.Slots
	}
	return slot.Set{}
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
	for i := range m.Nodes {
		node := &m.Nodes[i]
		if strconv.Itoa(node.Port) == port && (anywhere || sameHost(node.Host, host)) {
			return node.ID
		}
	}
	return ""
}

// sameHost reports whether two hosts are written alike, or are both this machine.
func sameHost(a, b string) bool {
	loopback := func(h string) bool {
		return strings.EqualFold(h, "localhost") || strings.HasPrefix(h, "127.") || h == "::1"
	}
	return strings.EqualFold(a, b) || loopback(a) && loopback(b)
}
