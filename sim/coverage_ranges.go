package sim

import (
	"slices"

	"godwit/engine/data"
	"godwit/engine/key"
)

// Collections of more elements than are deleted one by one are dropped by one range delete, which a tracker notes as a span. Such a drop counts when the slot
// has arrived since it happened.

// wideAt is the collection that a key holds at a node, and how many elements it has, whether it has expired or not; zeros if it holds none.
func (w *world) wideAt(p *process, name string) (key.Generation, int) {
	w.wideTx.Reset(p.node.Store(), data.Read, 0)
	e := w.wideTx.Load([]byte(name))
	if w.wideTx.Err() != nil || !e.Found || e.Type == data.String {
		return key.Generation{}, 0
	}
	return e.Generation, int(e.Size)
}

// arrives looks at what a command on a wide key finds.
func (t *try) arrives() {
	w := t.c.w
	if !w.keys.isWide(t.argv[1]) || !slices.Contains(trackedSteps, t.conn.to.stepOf(t.slot)) {
		return
	}
	if generation, size := w.wideAt(t.conn.to, t.argv[1]); size > dropsByRange {
		t.found = generation
	}
}

// trackedSteps are those of a source that keeps account of what changes.
var trackedSteps = []string{"base", "resume", "changes", "verify", "holding", "suspended", "pausing"}

// dropped reports whether the command has dropped what it found.
func (t *try) dropped() bool {
	if t.found == (key.Generation{}) || t.conn.to.gone() {
		return false
	}
	generation, _ := t.c.w.wideAt(t.conn.to, t.argv[1])
	return generation != t.found
}

// isWide reports whether a name is that of a wide key.
func (k *keyspace) isWide(name string) bool {
	tag := len(k.tags[0])
	return k.hot[0][0].kind == wide && len(name) > tag && name[:tag] == k.tags[0] && name[tag] == byte(wide)
}
