package cluster

import (
	"strconv"
	"strings"

	"godwit/engine/resp"
	"godwit/engine/slot"
)

// Move is a move of slots in which this node takes part, as CLUSTER NODES shows it.
type Move struct {
	Ranges []slot.Range
	Peer   NodeID // the other node
}

// View is what one node shows of the cluster to clients, at one moment. Its methods are pure: the caller holds whatever
// keeps OwnerOf steady. They are for a node that has a map; without one, clients get NotInitialized.
type View struct {
	Map  *Map
	Self NodeID
	// OwnerOf is the owner of a slot as far as this node knows from its records, hints and the map; "" if none. An owner
	// that the map does not have, or has as a replica, is shown as none, because clients need its address. Nil takes the
	// map's owners.
	OwnerOf func(slot.Slot) NodeID
	// Migrating and Importing are the moves in progress, with this node as source and as target.
	Migrating, Importing []Move
	// NowMs is the wall clock (unix ms), shown as the time of the last pong.
	NowMs int64
}

// owner is the master that is shown as the owner of a slot, nil if none.
func (v View) owner(s slot.Slot) *Node {
	if v.OwnerOf == nil {
		return v.Map.Owner(s)
	}
	if n := v.Map.Find(v.OwnerOf(s)); n != nil && !n.Replica {
		return n
	}
	return nil
}

// run is a maximal range of slots with one owner.
type run struct {
	slot.Range
	owner *Node
}

// runs lists the slots that have an owner, ascending.
func (v View) runs() []run {
	var out []run
	for s := slot.Slot(0); s < slot.Count; s++ {
		n := v.owner(s)
		if n == nil {
			continue
		}
		if k := len(out); k > 0 && out[k-1].owner == n && out[k-1].Last+1 == s {
			out[k-1].Last = s
		} else {
			out = append(out, run{Range: slot.Range{First: s, Last: s}, owner: n})
		}
	}
	return out
}

// slotsByNode lists for each node of the map, by its index, the ranges that it is shown to own.
func (v View) slotsByNode() [][]slot.Range {
	out := make([][]slot.Range, len(v.Map.Nodes))
	for _, r := range v.runs() {
		i := v.Map.byID[r.owner.ID]
		out[i] = append(out[i], r.Range)
	}
	return out
}

// replicasOf lists the replicas of a node, in the map's order.
func (m *Map) replicasOf(id NodeID) []*Node {
	var out []*Node
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Replica && n.Master == id {
			out = append(out, n)
		}
	}
	return out
}

// NodesText is the text of CLUSTER NODES, a line for each node in the map's order:
//
//	<id> <host>:<port>@<port+10000> [myself,]<role> <master id|-> <ping ms> <pong ms> <version> connected[ <slots>]...
//
// The moves in progress follow on the line of this node, each range in brackets: [5-9->-<id>] on its way out, [5-9-<-<id>]
// on its way in. Redis would have the config epoch where the version stands, and no ranges in brackets.
func (v View) NodesText() string {
	slots := v.slotsByNode()
	var b strings.Builder
	for i := range v.Map.Nodes {
		n := &v.Map.Nodes[i]
		v.appendNode(&b, n)
		for _, r := range slots[i] {
			b.WriteString(" " + r.String())
		}
		if n.ID == v.Self {
			appendMoves(&b, v.Migrating, "->-")
			appendMoves(&b, v.Importing, "-<-")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// appendNode writes the first eight columns of CLUSTER NODES.
func (v View) appendNode(b *strings.Builder, n *Node) {
	port := strconv.Itoa(n.Port)
	b.WriteString(string(n.ID) + " " + n.Host + ":" + port + "@" + strconv.Itoa(n.Port+busPortOffset) + " ")
	if n.ID == v.Self {
		b.WriteString("myself,")
	}
	b.WriteString(n.role() + " " + n.masterColumn() + " ")
	b.WriteString(strconv.FormatInt(v.NowMs-1, 10) + " " + strconv.FormatInt(v.NowMs, 10) + " ")
	b.WriteString(strconv.FormatInt(v.Map.Version, 10) + " connected")
}

func appendMoves(b *strings.Builder, moves []Move, arrow string) {
	for _, m := range moves {
		for _, r := range m.Ranges {
			b.WriteString(" [" + r.String() + arrow + string(m.Peer) + "]")
		}
	}
}

// ReplicasText is the text of CLUSTER REPLICAS: the lines of CLUSTER NODES of a master's replicas, empty if it has none. The
// errors are ErrNodeID for a node that the map does not have, and ErrNotMaster.
func (v View) ReplicasText(id NodeID) (string, error) {
	n := v.Map.Find(id)
	if n == nil {
		return "", ErrNodeID
	}
	if n.Replica {
		return "", ErrNotMaster
	}
	var b strings.Builder
	for _, r := range v.Map.replicasOf(id) {
		v.appendNode(&b, r)
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// WriteSlots writes the reply of CLUSTER SLOTS: for each range of slots with one owner, ascending, first slot, last slot, and
// host, port and id of the owner and of its replicas. Failed replicas are left out, as in Redis: a client would read from
// them.
func (v View) WriteSlots(w *resp.Writer) {
	runs := v.runs()
	w.Array(len(runs))
	for _, r := range runs {
		nodes := []*Node{r.owner}
		for _, n := range v.Map.replicasOf(r.owner.ID) {
			if !n.Failed {
				nodes = append(nodes, n)
			}
		}
		w.Array(2 + len(nodes))
		w.Int(int64(r.First))
		w.Int(int64(r.Last))
		for _, n := range nodes {
			w.Array(3)
			w.BulkString(n.Host)
			w.Int(int64(n.Port))
			w.BulkString(string(n.ID))
		}
	}
}

// WriteShards writes the reply of CLUSTER SHARDS as Redis 7 has it: for each master in the map's order, its slots as pairs of
// first and last, and itself and its replicas. A replica whose master the map does not have is a shard without slots.
func (v View) WriteShards(w *resp.Writer) {
	slots := v.slotsByNode()
	var heads []int
	for i := range v.Map.Nodes {
		if n := &v.Map.Nodes[i]; !n.Replica || v.masterOf(n) == nil {
			heads = append(heads, i)
		}
	}
	w.Array(len(heads))
	for _, i := range heads {
		head := &v.Map.Nodes[i]
		nodes := []*Node{head}
		if !head.Replica {
			nodes = append(nodes, v.Map.replicasOf(head.ID)...)
		}
		w.Map(2)
		w.BulkString("slots")
		w.Array(2 * len(slots[i]))
		for _, r := range slots[i] {
			w.Int(int64(r.First))
			w.Int(int64(r.Last))
		}
		w.BulkString("nodes")
		w.Array(len(nodes))
		for _, n := range nodes {
			writeShardNode(w, n)
		}
	}
}

// masterOf is the master of a replica, nil if the map does not have it or has it as another replica.
func (v View) masterOf(n *Node) *Node {
	if m := v.Map.Find(n.Master); m != nil && !m.Replica {
		return m
	}
	return nil
}

// ShardID is the id of the shard that the node itself is of: that of its master, and its own if it has none.
func (v View) ShardID() NodeID {
	if n := v.Map.Find(v.Self); n != nil && n.Replica {
		if m := v.masterOf(n); m != nil {
			return m.ID
		}
	}
	return v.Self
}

func writeShardNode(w *resp.Writer, n *Node) {
	role, health := "master", "online"
	if n.Replica {
		role, health = "replica", "loading" // what Redis says of a replica at offset 0, so that no client reads from it
	}
	if n.Failed {
		health = "fail"
	}
	w.Map(7)
	w.BulkString("id")
	w.BulkString(string(n.ID))
	w.BulkString("port")
	w.Int(int64(n.Port))
	w.BulkString("ip")
	w.BulkString(n.Host)
	w.BulkString("endpoint")
	w.BulkString(n.Host)
	w.BulkString("role")
	w.BulkString(role)
	w.BulkString("replication-offset")
	w.Int(0) // there is no replication stream whose offset could be shown
	w.BulkString("health")
	w.BulkString(health)
}
