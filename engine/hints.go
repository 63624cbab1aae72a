package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"godwit/engine/cluster"
	"godwit/engine/key"
	"godwit/engine/store"
)

// What was announced of slots is stored: who serves a slot says so until every node has answered, and not again to one that starts anew. A node
// that forgot would send clients where its map says, and disagree with the others about the owners of what has moved since.
//
//	| offset | size | field                            |
//	|--------|------|----------------------------------|
//	| 0      | 8    | epoch of the slot, big-endian    |
//	| 8      | 40   | id of the node that serves it    |

// noteHint takes in what was announced, unless more is known.
func (o *Owned) noteHint(h cluster.Hint) {
	n := o.n
	n.mu.Lock()
	old, found := n.hints[h.Slot]
	newer := !found || h.Epoch > old.Epoch
	if newer {
		n.hints[h.Slot] = h
		n.version.Add(1)
	}
	n.mu.Unlock()
	if newer {
		b := n.store.NewBatch()
		b.Set(key.Hint(h.Slot), append(binary.BigEndian.AppendUint64(nil, uint64(h.Epoch)), h.Node...))
		n.store.Commit(b)
	}
}

// loadHints reads what noteHint stored.
func (n *Node) loadHints() error {
	it, err := n.store.NewIter(key.HintSpan())
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		sl, valid := key.HintSlot(it.Key())
		v := it.Value()
		if !valid || len(v) != 8+cluster.NodeIDLen {
			return errors.Join(fmt.Errorf("engine: a hint of %d bytes under key %x: the directory is damaged", len(v), it.Key()), it.Close())
		}
		n.hints[sl] = cluster.Hint{Slot: sl, Epoch: cluster.Epoch(binary.BigEndian.Uint64(v)), Node: cluster.NodeID(v[8:])}
	}
	return it.Close()
}

// sortHints forgets, with a new map, what it makes useless: hints at nodes that it does not have, with force all of them; and no longer stores
// those that say what the map says.
func (n *Node) sortHints(b *store.Batch, m *cluster.Map, force Force) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, sl := range slices.Sorted(maps.Keys(n.hints)) {
		h := n.hints[sl]
		gone := bool(force) || m.Find(h.Node) == nil
		if gone {
			delete(n.hints, sl)
		}
		if owner := m.Owner(sl); gone || owner != nil && owner.ID == h.Node {
			b.Delete(key.Hint(sl))
		}
	}
}
