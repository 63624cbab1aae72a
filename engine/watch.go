package engine

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// watches knows which keys are watched, so that a commit can find who watches what it writes.
//
// A key is registered under the lock of its slot, in one step with the look at it, and a commit marks under that lock held
// exclusively: no change falls between. With nothing watched a commit pays one atomic load.
//
// Imports, handoffs and the deletion of what was handed off do not pass through Node.commit: they are no changes of a
// client. What they do to a watched key shows in the slot's state and epoch, which EXEC compares.
type watches struct {
	count atomic.Int64 // of registered keys

	mu           sync.Mutex
	byKey        map[string][]*watchedKey // the user key
	byGeneration map[slotGeneration][]*watchedKey
}

// slotGeneration names a collection: generations are unique within a slot.
type slotGeneration struct {
	slot       slot.Slot
	generation key.Generation
}

// watchedKey is a key that one session watches, and what it was when the watch began.
type watchedKey struct {
	set    *watchSet
	user   string
	record []byte // the key of the user key's record
	slot   slot.Slot
	// epoch is the slot's, in cluster mode.
	epoch cluster.Epoch
	// found says that the key was there, expires that it has an expiry. generation is not zero for a collection.
	found, expires bool
	generation     key.Generation
}

// watchSet is what a session watches. Its session's lock guards keys. nil watches nothing.
type watchSet struct {
	keys  []*watchedKey
	dirty atomic.Bool // one of the keys was changed
}

// changed reports whether a watched key is known to have been changed. It may become true at any time, unless the locks of
// the keys' slots are held.
func (ws *watchSet) changed() bool { return ws != nil && ws.dirty.Load() }

// lockWith adds the slots of the watched keys to slots, and returns what is to be locked.
func (ws *watchSet) lockWith(slots []slot.Slot) []slot.Slot {
	if ws == nil {
		return slots
	}
	all := append([]slot.Slot(nil), slots...)
	for _, k := range ws.keys {
		all = append(all, k.slot)
	}
	return lockOrder(all)
}

// expired reports whether a watched key has expired since. Its deletion is in the transaction then, which is committed
// before the answer leaves: what tells of an expired key is a write.
func (ws *watchSet) expired(tx *data.Tx) (any bool) {
	if ws == nil {
		return false
	}
	for _, k := range ws.keys {
		if k.expires {
			if e := tx.Load([]byte(k.user)); !e.Found {
				any = true
			}
		}
	}
	return any
}

// watch answers WATCH.
func (s *Session) watch(spec *command.Spec, args [][]byte) {
	n := s.n
	if s.multi != nil {
		s.out.Error(errWatchInMulti)
		return
	}
	positions, err := spec.KeyPositions(args, s.positions[:0])
	if err != nil {
		s.out.Error("ERR " + err.Error())
		return
	}
	s.positions = positions
	slots, text := n.slotsOf(args, positions)
	switch {
	case text != "":
		s.out.Error(text)
		return
	case s.watched != nil && len(s.watched.keys)+len(positions) > n.opts.Limits.WatchedKeys, len(positions) > n.opts.Limits.WatchedKeys:
		s.out.Error(fmt.Sprintf(errWatchedKeys, n.opts.Limits.WatchedKeys))
		return
	}
	s.work = work{spec: spec, args: args, slots: slots, locks: slots, do: (*Session).beginWatch}
	s.runLocked(&s.work)
}

// beginWatch looks at the keys and registers them, under their locks.
func (s *Session) beginWatch(w *work) (again bool) {
	n := s.n
	mode := data.Read
	if w.write {
		mode = data.Write
	}
	tx := s.begin(w, mode)
	start := s.out.Len()
	keys := make([]*watchedKey, 0, len(w.args)-1)
	for _, user := range w.args[1:] {
		e := tx.Load(user)
		sl := slot.OfKey(user)
		k := &watchedKey{user: string(user), record: key.AppendRecord(nil, sl, user), slot: sl, epoch: n.slots.get(sl).rec().Epoch, found: e.Found}
		if e.Found {
			k.expires, k.generation = e.ExpireMs != data.NoExpiry, e.Generation
		}
		keys = append(keys, k)
	}
	switch {
	case tx.Err() != nil:
		s.fail(w, start)
		return false
	case tx.NeedsWrite():
		tx.Discard()
		return true
	}
	s.commit(w) // the deletion of expired keys; before the watch begins, which it would end
	if s.watched == nil {
		s.watched = &watchSet{}
	}
	n.watches.add(s.watched, keys)
	s.out.OK()
	return false
}

// unwatch forgets what the session watches.
func (s *Session) unwatch() {
	if s.watched != nil {
		s.n.watches.remove(s.watched)
		s.watched = nil
	}
}

// routeWatched changes what routing says of an EXEC if a watched key decides first: a null array if its slot has left, or has
// left and come back; a wait if it may be about to leave. The stripes are held.
func (s *Session) routeWatched(v verdict) verdict {
	n := s.n
	if s.multi == nil || s.watched == nil {
		return v
	}
	if s.watched.changed() {
		return verdict{kind: verdictError}
	}
	if !n.opts.Cluster {
		return v
	}
	for _, k := range s.watched.keys {
		st := n.slots.get(k.slot)
		switch r := st.rec(); {
		case r.State != cluster.Serving || r.Epoch != k.epoch && !mutant.On(mutant.WatchReturned):
			return verdict{kind: verdictError}
		case st.sealed || st.paused && s.work.write:
			v = verdict{kind: verdictPark, slot: k.slot}
		}
	}
	return v
}

// add registers keys for a set, except those that it has already.
func (w *watches) add(ws *watchSet, keys []*watchedKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey, w.byGeneration = map[string][]*watchedKey{}, map[slotGeneration][]*watchedKey{}
	}
	for _, k := range keys {
		if w.has(ws, k.user) {
			continue
		}
		k.set = ws
		ws.keys = append(ws.keys, k)
		w.byKey[k.user] = append(w.byKey[k.user], k)
		if k.generation != (key.Generation{}) {
			g := slotGeneration{k.slot, k.generation}
			w.byGeneration[g] = append(w.byGeneration[g], k)
		}
		w.count.Add(1)
	}
}

func (w *watches) has(ws *watchSet, user string) bool {
	for _, k := range w.byKey[user] {
		if k.set == ws {
			return true
		}
	}
	return false
}

// remove forgets all keys of a set.
func (w *watches) remove(ws *watchSet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range ws.keys {
		removeFrom(w.byKey, k.user, k)
		if k.generation != (key.Generation{}) {
			removeFrom(w.byGeneration, slotGeneration{k.slot, k.generation}, k)
		}
	}
	w.count.Add(-int64(len(ws.keys)))
	ws.keys = nil
}

// removeFrom takes one value out of a list in a map. The order of the others does not matter.
func removeFrom[K comparable](m map[K][]*watchedKey, at K, k *watchedKey) {
	list := m[at]
	for i, other := range list {
		if other != k {
			continue
		}
		last := len(list) - 1
		list[i], list[last] = list[last], nil
		if m[at] = list[:last]; last == 0 {
			delete(m, at)
		}
		return
	}
}

// touch tells those who watch or wait for the keys that a batch writes. The stripes of its slots are held exclusively.
func (n *Node) touch(b *store.Batch) {
	watched, awaited := n.watches.count.Load() != 0, n.blocking.count.Load() != 0
	if watched {
		n.watches.mu.Lock()
		defer n.watches.mu.Unlock()
	}
	b.Each(func(op store.Op) {
		if watched {
			n.watches.touch(op)
		}
		if awaited {
			n.blocking.touch(op)
		}
	})
}

// touch marks the sets that watch what a write changes. w.mu is held.
func (w *watches) touch(op store.Op) {
	if op.Kind == store.OpDeleteRange {
		w.touchRange(key.Span{Lo: op.Key, Hi: op.Hi})
		return
	}
	sl, kind, rest, ok := key.Split(op.Key)
	if !ok {
		return
	}
	switch kind {
	case key.Record:
		if _, user, ok := key.SplitRecord(rest); ok {
			mark(w.byKey[string(user)])
		}
	case key.Element, key.Score:
		if mutant.On(mutant.WatchElements) {
			return
		}
		if g, _, ok := key.SplitElement(rest); ok {
			mark(w.byGeneration[slotGeneration{sl, g}])
		}
	case key.Expiry, key.Book: // the record changes with its expiry; bookkeeping is not the client's
	}
}

func mark(keys []*watchedKey) {
	for _, k := range keys {
		k.set.dirty.Store(true)
	}
}

// touchRange marks those who watch a key that a range delete takes, or a part of it. One that was not there stays untouched.
func (w *watches) touchRange(span key.Span) {
	for _, keys := range w.byKey { //det:ok each is marked or not, whatever the order
		for _, k := range keys {
			if k.found && (span.Contains(k.record) || k.hasElementsIn(span)) {
				k.set.dirty.Store(true)
			}
		}
	}
}

// hasElementsIn reports whether a span and the spans of the key's elements meet.
func (k *watchedKey) hasElementsIn(span key.Span) bool {
	if k.generation == (key.Generation{}) {
		return false
	}
	for _, kind := range [...]key.Kind{key.Element, key.Score} {
		e := key.ElementSpan(k.slot, kind, k.generation)
		if bytes.Compare(e.Lo, span.Hi) < 0 && bytes.Compare(span.Lo, e.Hi) < 0 {
			return true
		}
	}
	return false
}
