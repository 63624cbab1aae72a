package engine

import "godwit/engine/slot"

// Counter is something that a node counts from its start on; it never runs backwards.
type Counter struct {
	Name  string // as INFO spells it, where it has it
	Value uint64
}

// Counters returns what the node counts, always in the same order.
func (n *Node) Counters() []Counter {
	_, ever := n.sessions.count()
	return []Counter{
		{"total_connections_received", ever},
		{"total_commands_processed", n.stats.commands.Load()},
		{"expired_keys", n.stats.expired.Load()},
		{"alarms", n.stats.alarms.Load()},
		{"sequence", uint64(n.store.Last())},
	}
}

// Sessions is how many sessions are open, those of other nodes included.
func (n *Node) Sessions() int {
	open, _ := n.sessions.count()
	return open
}

// Parked says how many commands wait for a slot, and how many bytes they have: while the slot is paused, Limits bounds both,
// up to the moment at which the pause is given up.
func (n *Node) Parked(sl slot.Slot) (commands, bytes int) {
	mu := &n.stripes[stripeOf(sl)]
	mu.RLock()
	defer mu.RUnlock()
	if waiting := n.slots.get(sl).parked; waiting != nil {
		return len(waiting.commands), waiting.bytes
	}
	return 0, 0
}
