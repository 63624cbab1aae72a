package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"godwit/engine/slot"
)

// mapVersion is the version byte of an encoded map.
const mapVersion = 1

// Flags of a node in an encoded map.
const (
	nodeReplica = 1 << iota
	nodeFailed
)

// ErrMap says that bytes are no map of a version that this code knows.
var ErrMap = errors.New("not a cluster map")

// EncodeMap returns the map as the bytes in which a node keeps it:
//
//	| offset | size | field                                                     |
//	|--------|------|-----------------------------------------------------------|
//	| 0      | 1    | version of the format, 1                                  |
//	| 1      | 8    | version of the map, big-endian; -1 without nodes is NoMap |
//	| 9      | 2    | number of nodes, big-endian                               |
//
// and for each node, in the map's order:
//
//	| size | field                                                           |
//	|------|-----------------------------------------------------------------|
//	| 40   | id                                                              |
//	| 1+n  | length of the host, host                                        |
//	| 2    | port, big-endian                                                |
//	| 1    | flags: bit 0 replica, bit 1 failed                              |
//	| 40   | id of the master, only of a replica                             |
//	| 2    | number of slot ranges, big-endian, 0 for a replica              |
//	| 4·r  | first and last slot of each range, big-endian, ascending and with a gap between them |
//
// One map has one encoding. There is no checksum: Pebble has one per block and per log record.
func EncodeMap(m *Map) []byte {
	if m == nil {
		m = NoMap()
	}
	b := append(make([]byte, 0, 11+64*len(m.Nodes)), mapVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Version))
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Nodes)))
	for i := range m.Nodes {
		n := &m.Nodes[i]
		b = append(b, n.ID...)
		b = append(append(b, byte(len(n.Host))), n.Host...)
		b = binary.BigEndian.AppendUint16(b, uint16(n.Port))
		var flags byte
		if n.Replica {
			flags |= nodeReplica
		}
		if n.Failed {
			flags |= nodeFailed
		}
		b = append(append(b, flags), n.Master...)
		ranges := m.ranges[i]
		b = binary.BigEndian.AppendUint16(b, uint16(len(ranges)))
		for _, r := range ranges {
			b = binary.BigEndian.AppendUint16(b, uint16(r.First))
			b = binary.BigEndian.AppendUint16(b, uint16(r.Last))
		}
	}
	return b
}

// DecodeMap reads what EncodeMap wrote, and nothing else: bytes that it accepts are the encoding of the map that it returns.
func DecodeMap(b []byte) (*Map, error) {
	d := decoder{rest: b}
	if format := d.uint8(); d.ok() && format != mapVersion {
		return nil, fmt.Errorf("%w: format version %d, this program knows %d", ErrMap, format, mapVersion)
	}
	version := int64(d.uint64())
	count := int(d.uint16())
	if !d.ok() || count > MaxNodes {
		return nil, fmt.Errorf("%w: %d bytes, %d nodes", ErrMap, len(b), count)
	}
	if version == -1 && count == 0 && len(d.rest) == 0 {
		return NoMap(), nil
	}
	nodes := make([]Node, 0, count)
	for i := range count {
		nodes = append(nodes, Node{})
		if d.node(&nodes[i]); !d.ok() {
			return nil, fmt.Errorf("%w: node %d of %d: %s", ErrMap, i+1, count, d.wrong)
		}
	}
	if len(d.rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrMap, len(d.rest))
	}
	m, err := newMap(nodes, version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMap, err)
	}
	return m, nil
}

// decoder takes fields off the front of bytes. After the first that is wrong all others are zero.
type decoder struct {
	rest  []byte
	wrong string
}

func (d *decoder) ok() bool { return d.wrong == "" }

func (d *decoder) fail(why string) {
	d.wrong, d.rest = why, nil
}

func (d *decoder) take(n int) []byte {
	if !d.ok() || len(d.rest) < n {
		if d.ok() {
			d.fail("cut off")
		}
		return nil
	}
	head := d.rest[:n]
	d.rest = d.rest[n:]
	return head
}

func (d *decoder) uint8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// node reads a node into the zero Node.
func (d *decoder) node(n *Node) {
	n.ID = NodeID(d.take(NodeIDLen))
	n.Host = string(d.take(int(d.uint8())))
	n.Port = int(d.uint16())
	flags := d.uint8()
	if flags > nodeReplica|nodeFailed {
		d.fail("unknown flags")
	}
	n.Replica, n.Failed = flags&nodeReplica != 0, flags&nodeFailed != 0
	if n.Replica {
		n.Master = NodeID(d.take(NodeIDLen))
	}
	next := 0 // the smallest slot that the next range may begin with
	for range d.uint16() {
		r := slot.Range{First: slot.Slot(d.uint16()), Last: slot.Slot(d.uint16())}
		if !d.ok() {
			break
		}
		if int(r.First) < next || r.First > r.Last || !r.Last.Valid() {
			d.fail("slot ranges that do not ascend, touch, or leave the slots")
			break
		}
		next = int(r.Last) + 2
		n.Slots.AddRange(r)
	}
}
