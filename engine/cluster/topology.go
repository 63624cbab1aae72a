package cluster

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"godwit/engine/slot"
)

// Limits of a map.
const (
	// MaxNodes bounds the nodes of a map. Redis Cluster is made for up to 1,000; at 2 KiB of slots a node, 4,096 nodes are
	// 8 MiB, which a pushed map may take and no more.
	MaxNodes = 4096
	// MaxHost is the longest host in bytes, that of a name in DNS.
	MaxHost = 253
	// busPortOffset is what Redis adds to a port to get that of its cluster bus. Godwit has no bus; CLUSTER NODES has the column.
	busPortOffset = 10000
)

// Node is one node of a map.
type Node struct {
	ID   NodeID
	Host string
	Port int // 1 to 65535
	// Replica says that the node copies Master and has no slots of its own.
	Replica bool
	// Failed is the controller's word about a replica ("slave,fail"); it is shown, and not acted on.
	Failed bool
	// Master is empty unless Replica. It need not be a node of the map.
	Master NodeID
	Slots  slot.Set
}

// Map is a topology: who should serve which slot, as a controller said under Version. It does not change once it is built,
// and may be read from any goroutine. A nil *Map and NoMap both mean that no map was ever pushed.
type Map struct {
	Version int64 // -1 in NoMap, not negative otherwise
	Nodes   []Node

	owners []owned        // ascending; slots that no node has are in none
	ranges [][]slot.Range // by index into Nodes: its slots
	byID   map[NodeID]int
	addrs  []string // by index into Nodes: calls to peers ask for them
	hash   uint64   // set by NewMap: handshakes ask for it
}

// owned is slots in a row that one node has.
type owned struct {
	slots slot.Range
	node  uint16 // index into Nodes
}

// NoMap is the map of a node that never got one: version -1, no nodes.
func NoMap() *Map { return &Map{Version: -1} }

// NewMap builds a map of the nodes, in their order. It copies them. The errors are those of a SETNODES text that says the same.
func NewMap(nodes []Node, version int64) (*Map, error) {
	return newMap(slices.Clone(nodes), version)
}

// newMap is NewMap that takes the nodes over.
func newMap(nodes []Node, version int64) (*Map, error) {
	if version < 0 {
		return nil, ErrClusterVersion
	}
	if len(nodes) == 0 || len(nodes) > MaxNodes {
		return nil, ErrNodesInfo
	}
	m := &Map{
		Version: version,
		Nodes:   nodes,
		byID:    make(map[NodeID]int, len(nodes)),
		addrs:   make([]string, len(nodes)),
		ranges:  make([][]slot.Range, len(nodes)),
	}
	var taken slot.Set
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if err := n.check(); err != nil {
			return nil, err
		}
		// Kvrocks lets a later line replace an earlier one with the same id, which leaves slots with a node that is gone.
		if _, twice := m.byID[n.ID]; twice {
			return nil, ErrNodesInfo
		}
		m.byID[n.ID] = i
		m.addrs[i] = n.Host + ":" + strconv.Itoa(n.Port)
		m.ranges[i] = n.Slots.Ranges()
		for _, r := range m.ranges[i] {
			if taken.HasAny(r) {
				return nil, ErrSlotOverlap
			}
			taken.AddRange(r)
			m.owners = append(m.owners, owned{r, uint16(i)})
		}
	}
	slices.SortFunc(m.owners, func(a, b owned) int { return cmp.Compare(a.slots.First, b.slots.First) })
	m.hash = m.sum()
	return m, nil
}

// check reports what is wrong with a node by itself, apart from its slots' other claimants.
func (n *Node) check() error {
	switch {
	case !validID(n.ID):
		return ErrNodeID
	case len(n.Host) == 0 || len(n.Host) > MaxHost || !printable(n.Host):
		return ErrNodesInfo
	case n.Port < 1 || n.Port > 65535:
		return ErrNodePort
	case n.Replica && !validID(n.Master), !n.Replica && n.Master != "":
		return ErrNodeID
	case n.Failed && !n.Replica:
		return ErrNodeRole
	case n.Replica && n.Slots.Len() != 0:
		return ErrNodesInfo
	}
	return nil
}

// validID reports whether an id can stand in a map: 40 bytes, none of which would tear a line or a reply apart.
func validID(id NodeID) bool { return len(id) == NodeIDLen && printable(string(id)) }

// printable reports whether text has no space and no control character.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] == 0x7f {
			return false
		}
	}
	return true
}

// ParseNodes reads the text of CLUSTERX SETNODES: a line for each node, fields separated by spaces,
//
//	<id> <host> <port> master - [<slot> | <first>-<last>]...
//	<id> <host> <port> slave|replica|slave,fail <master id>
//
// with roles in any case and empty lines passed over. Grammar and errors are those of Kvrocks, with these differences: a
// port of 0, an id given twice, control characters in ids and hosts, and "-5" for slot 5 are refused.
func ParseNodes(text string, version int64) (*Map, error) {
	nodes := make([]Node, 0, min(strings.Count(text, "\n")+1, MaxNodes))
	var taken slot.Set
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			continue
		}
		if len(nodes) == MaxNodes {
			return nil, ErrNodesInfo
		}
		nodes = append(nodes, Node{})
		if err := nodes[len(nodes)-1].parse(line, &taken); err != nil {
			return nil, err
		}
	}
	return newMap(nodes, version)
}

// parse reads one line and adds its slots to those taken by the lines before it. n is the zero Node.
func (n *Node) parse(line string, taken *slot.Set) error {
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' })
	if len(fields) < 5 {
		return ErrNodesInfo
	}
	n.ID, n.Host = NodeID(fields[0]), fields[1]
	if !validID(n.ID) {
		return ErrNodeID
	}
	port, err := strconv.ParseUint(fields[2], 10, 16)
	if err != nil {
		return ErrNodePort
	}
	n.Port = int(port)
	switch strings.ToLower(fields[3]) {
	case "master":
	case "slave", "replica":
		n.Replica = true
	case "slave,fail", "replica,fail":
		n.Replica, n.Failed = true, true
	default:
		return ErrNodeRole
	}
	if n.Replica {
		n.Master = NodeID(fields[4])
	} else if fields[4] != "-" {
		return ErrNodeID
	}
	if err := n.check(); err != nil {
		return err
	}
	if n.Replica && len(fields) != 5 {
		return ErrNodesInfo
	}
	for _, f := range fields[5:] {
		r, err := parseSlots(f)
		if err != nil {
			return err
		}
		if taken.HasAny(r) {
			return ErrSlotOverlap
		}
		taken.AddRange(r)
		n.Slots.AddRange(r)
	}
	return nil
}

// parseSlots reads "5" or "5-9" as SETNODES has it: stricter than slot.ParseRange, and with other errors.
func parseSlots(field string) (slot.Range, error) {
	if len(field) == NodeIDLen {
		return slot.Range{}, ErrMissingNewline
	}
	first, last, isRange := strings.Cut(field, "-")
	a, err := strconv.ParseUint(first, 10, 16)
	if err != nil || a >= slot.Count {
		return slot.Range{}, ErrSlotRange
	}
	if !isRange {
		return slot.Range{First: slot.Slot(a), Last: slot.Slot(a)}, nil
	}
	b, err := strconv.ParseUint(last, 10, 16)
	if err != nil || b >= slot.Count || a >= b {
		return slot.Range{}, ErrSlotRange
	}
	return slot.Range{First: slot.Slot(a), Last: slot.Slot(b)}, nil
}

// Initialized reports whether a map was ever pushed.
func (m *Map) Initialized() bool { return m != nil && m.Version >= 0 }

// Owner is the master to which the map gives a slot, nil if none. The node is the map's own: it must not be changed.
func (m *Map) Owner(s slot.Slot) *Node {
	if m == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(m.owners, s, func(o owned, s slot.Slot) int {
		switch {
		case o.slots.Last < s:
			return -1
		case o.slots.First > s:
			return 1
		default:
			return 0
		}
	})
	if !found {
		return nil
	}
	return &m.Nodes[m.owners[i].node]
}

// Find is the node with an id, nil if the map has none. The node is the map's own: it must not be changed.
func (m *Map) Find(id NodeID) *Node {
	if m == nil {
		return nil
	}
	if i, ok := m.byID[id]; ok {
		return &m.Nodes[i]
	}
	return nil
}

// Addr is where a node of the map is called, host and port; not found if the map has no such node.
func (m *Map) Addr(id NodeID) (addr string, found bool) {
	if m == nil {
		return "", false
	}
	i, found := m.byID[id]
	if !found {
		return "", false
	}
	return m.addrs[i], true
}

// WithSlots is CLUSTERX SETSLOT: the map in which the slots of the ranges belong to the node, under another version. m stays
// as it is. Whether version is the next one is the caller's to check.
func (m *Map) WithSlots(ranges []slot.Range, id NodeID, version int64) (*Map, error) {
	if version < 0 {
		return nil, ErrVersion
	}
	to := m.Find(id)
	if to == nil {
		return nil, ErrUnknownNode
	}
	if to.Replica {
		return nil, ErrNotMaster
	}
	nodes := slices.Clone(m.Nodes)
	for _, r := range ranges {
		if r.First > r.Last || !r.Last.Valid() {
			return nil, ErrSlotRange
		}
		for i := range nodes {
			nodes[i].Slots.RemoveRange(r)
		}
	}
	target := &nodes[m.byID[id]]
	for _, r := range ranges {
		target.Slots.AddRange(r)
	}
	return newMap(nodes, version)
}

// Text is the map as CLUSTERX SETNODES takes it: the nodes in their order, slots ascending in ranges as long as can be, each
// line ended by a newline. Equal maps give equal texts. NoMap gives the empty text.
func (m *Map) Text() string {
	if m == nil {
		return ""
	}
	var b []byte
	for i := range m.Nodes {
		b = m.appendNode(b, i)
	}
	return string(b)
}

// appendNode appends the line of a node.
func (m *Map) appendNode(b []byte, i int) []byte {
	n := &m.Nodes[i]
	b = append(append(b, n.ID...), ' ')
	b = append(append(b, n.Host...), ' ')
	b = append(strconv.AppendInt(b, int64(n.Port), 10), ' ')
	b = append(append(b, n.role()...), ' ')
	b = append(b, n.masterColumn()...)
	if len(m.ranges[i]) > 0 {
		b = slot.Ranges(m.ranges[i]).AppendText(append(b, ' '))
	}
	return append(b, '\n')
}

// role is the role as SETNODES and CLUSTER NODES write it.
func (n *Node) role() string {
	switch {
	case !n.Replica:
		return "master"
	case n.Failed:
		return "slave,fail"
	default:
		return "slave"
	}
}

// masterColumn is the id of a replica's master, "-" for a master.
func (n *Node) masterColumn() string {
	if !n.Replica {
		return "-"
	}
	return string(n.Master)
}

// Hash is the same for two maps if and only if (but for chance) they have equal versions and say the same about the same
// nodes, in whatever order. It is no part of any file, but is compared between nodes: changing it is a change of protocol.
func (m *Map) Hash() uint64 {
	if !m.Initialized() {
		return NoMap().sum()
	}
	return m.hash
}

func (m *Map) sum() uint64 {
	order := make([]int, len(m.Nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(m.Nodes[a].ID, m.Nodes[b].ID) })
	b := append(strconv.AppendInt(make([]byte, 0, 32+128*len(order)), m.Version, 10), '\n')
	for _, i := range order {
		b = m.appendNode(b, i)
	}
	return xxh3.Hash(b)
}
