package sim

import (
	"strings"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// What clients have met is counted where the node decides it, by marks like those of faults.

// typeOfCommand is the type of the keys that a command is for; that of strings if it is for any.
func typeOfCommand(name string) keyType {
	name = strings.TrimPrefix(name, "B")
	switch {
	case strings.HasPrefix(name, "H"):
		return typeHash
	case strings.HasPrefix(name, "L"), strings.HasPrefix(name, "RP"):
		return typeList
	case strings.HasPrefix(name, "Z"):
		return typeSorted
	case strings.HasPrefix(name, "SADD"), strings.HasPrefix(name, "SREM"), strings.HasPrefix(name, "SPOP"), strings.HasPrefix(name, "SMOVE"):
		return typeSet
	default:
		return typeString
	}
}

// ran notes which types are written to while the changes of a slot that moves are being sent. It is called when a node has been given
// commands, and nothing in it holds a lock.
func (c *coverage) ran(p *process, sl slot.Slot, commands ...[]string) {
	if _, moving := c.writes[sl]; !moving || p.gone() || p.stepOf(sl) != "changes" {
		return
	}
	for _, argv := range commands {
		if op := operation(argv); len(op.Changes()) > 0 {
			c.changed[sl] |= 1 << typeOfCommand(argv[0])
		}
	}
}

// arrived notes what a slot has brought along that has just arrived somewhere.
func (c *coverage) arrived(w *world, sl slot.Slot) {
	for t, name := range keyTypes {
		if c.changed[sl]&(1<<t) != 0 {
			w.nemesis.mark(markChanges + name)
		}
	}
	delete(c.changed, sl)
	if c.ranged[sl] {
		w.nemesis.mark(markRangeDelete)
	}
	delete(c.ranged, sl)
}

// droppedWide notes that a wide collection was dropped while its slot moved.
func (c *coverage) droppedWide(sl slot.Slot) {
	if _, moving := c.writes[sl]; moving {
		c.ranged[sl] = true
	}
}

// executed notes how an EXEC was answered by a node with a record of the slot.
func (c *coverage) executed(k *call, t *transaction, r cluster.Record, sl slot.Slot, v resp.Value) {
	n := k.conn.net.w.nemesis
	_, moving := c.writes[sl]
	refused := false
	for _, q := range k.early {
		refused = refused || q.Kind == resp.ErrorKind
	}
	switch {
	case v.Kind == resp.ArrayKind && moving:
		n.mark(markExecInMove)
	case v.Kind == resp.ErrorKind && !refused && strings.HasPrefix(v.Str, "MOVED "):
		n.mark(markExecMoved)
	case v.Kind == resp.NullKind && r.State == cluster.Serving && r.Epoch == t.epoch:
		n.mark(markWatchChanged)
	case v.Kind == resp.NullKind && r.State == cluster.Serving:
		n.mark(markWatchReturned)
	case v.Kind == resp.NullKind:
		n.mark(markWatchLeft)
	}
}

// waited notes how a command ended that waited for a key.
func (c *coverage) waited(w *world, v resp.Value) {
	switch {
	case v.Kind == resp.NullKind:
		w.nemesis.mark(markWaitInVain)
	case v.Kind == resp.ErrorKind && strings.HasPrefix(v.Str, "MOVED "):
		w.nemesis.mark(markWaitMoved)
	case v.Kind != resp.ErrorKind:
		w.nemesis.mark(markWaitServed)
	}
}
