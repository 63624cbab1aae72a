package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// Names of the node's own values in the store.
const (
	namedIncarnation = "incarnation"
	namedID          = "id"
	namedMap         = "map"
	namedAsk         = "ask" // whom claims ask
)

// Node is a running node. Make it with Open.
type Node struct {
	opts     Options
	store    *store.Store
	table    *command.Table
	migrator Migrator

	incarnation cluster.Incarnation
	id          atomic.Pointer[cluster.NodeID]
	mapNow      atomic.Pointer[cluster.Map]
	// version counts changes of records and maps, so that the migrator and status displays notice them cheaply.
	version atomic.Uint64

	stripes stripes
	slots   slotTable
	// recorded says where slots has records.
	recorded recorded
	// sending counts the MIGRATEs that have marked slots.
	sending atomic.Int64
	// expiring says where the sweeper has to look.
	expiring expiring

	sessions  sessions
	watches   watches
	blocking  blocking
	slotWaits slotWaits
	pause     clientPause
	slow      slowLog
	latency   latency
	monitors  monitors
	stats     stats
	config    config
	started   time.Duration
	random    func() uint64 // of Options.Rand

	// change serializes changes of the id and the map. It is taken before stripes.
	change sync.Mutex

	mu      sync.Mutex // guards what follows; taken after stripes
	hints   map[slot.Slot]cluster.Hint
	wished  map[slot.Slot]cluster.NodeID // by SETSLOT IMPORTING: whence a slot is to come
	opening map[slot.Slot]cluster.JobID  // by SETSLOT MIGRATING: the latest job of the slot that it was said of
	tasks   []importTask                 // oldest first
	foreign *foreignImport               // the latest from outside; nil if there was none
	alarms  []string
	claims  claims
	sweep   env.Timer
	sync    env.Timer
	closed  bool
}

type stats struct {
	commands, parked, expired, alarms atomic.Uint64
}

// Open opens the data directory, recovers what was in progress and makes the node ready for sessions.
func Open(o Options) (*Node, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	n := &Node{opts: o, table: o.Commands, hints: map[slot.Slot]cluster.Hint{}, wished: map[slot.Slot]cluster.NodeID{}, opening: map[slot.Slot]cluster.JobID{}, started: o.Clock.Mono(), random: o.Rand.Uint64}
	n.expiring.unknown.Store(true)
	n.config.init(&n.opts)
	n.slow.init()
	var beside env.Workers
	if o.ApplyBeside {
		beside = o.Workers
	}
	st, err := store.Open(store.Options{
		FS: o.FS, Dir: o.Dir, CacheBytes: o.CacheBytes, RowCacheBytes: o.RowCacheBytes, MemTableBytes: o.MemTableBytes,
		Syncer: o.Syncer, Workers: beside, Fatal: o.Fatal, Log: o.Log, Sim: o.StoreSim,
	})
	if err != nil {
		return nil, err
	}
	n.store = st
	if err := n.load(); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := n.dropOrphans(); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if o.NewMigrator != nil {
		n.migrator = o.NewMigrator(n)
		if err := n.migrator.Recover(); err != nil {
			return nil, errors.Join(fmt.Errorf("engine: recover migrations: %w", err), st.Close())
		}
	}
	n.resumeClaims()
	n.armSweeper()
	n.armSyncInterval()
	return n, nil
}

// load reads the node's own values and ownership records, and gives a new directory its incarnation.
func (n *Node) load() error {
	raw, found, err := n.store.Get(key.Named(namedIncarnation))
	switch {
	case err != nil:
		return err
	case found && len(raw) == 8:
		n.incarnation = cluster.Incarnation(binary.BigEndian.Uint64(raw))
	case found:
		return fmt.Errorf("engine: the incarnation has %d bytes, want 8: the directory is damaged", len(raw))
	default:
		n.incarnation = cluster.Incarnation(n.opts.Rand.Uint64() | 1)
		b := n.store.NewBatch()
		b.Set(key.Named(namedIncarnation), binary.BigEndian.AppendUint64(nil, uint64(n.incarnation)))
		n.store.Commit(b)
	}
	id, _, err := n.store.Get(key.Named(namedID))
	if err != nil {
		return err
	}
	n.setID(cluster.NodeID(id))
	m := &cluster.Map{Version: -1}
	if raw, found, err = n.store.Get(key.Named(namedMap)); err != nil {
		return err
	} else if found {
		if m, err = cluster.DecodeMap(raw); err != nil {
			return fmt.Errorf("engine: the stored cluster map: %w", err)
		}
	}
	n.mapNow.Store(m)
	if err := n.loadAsk(); err != nil {
		return err
	}
	if err := n.loadHints(); err != nil {
		return err
	}
	return n.loadRecords()
}

func (n *Node) loadRecords() error {
	it, err := n.store.NewIter(key.OwnershipSpan())
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		sl, valid := key.OwnershipSlot(it.Key())
		if !valid {
			return errors.Join(fmt.Errorf("engine: ownership record under key %x: the directory is damaged", it.Key()), it.Close())
		}
		r, err := cluster.DecodeRecord(it.Value())
		if err != nil {
			return errors.Join(fmt.Errorf("engine: slot %d: %w", sl, err), it.Close())
		}
		if mutant.On(mutant.NoneReassigned) && r.State == cluster.Released {
			if owner := n.topology().Owner(sl); owner != nil && owner.ID == n.ID() {
				r = cluster.Record{State: cluster.Serving, Epoch: r.Epoch}
			}
		}
		n.slots.change(sl).record = &r
		n.recorded.add(sl)
		if n.opts.Observer != nil {
			n.opts.Observer.Recorded(sl, r)
		}
	}
	return it.Close()
}

// Close stops the node: no callback of it has an effect afterwards. What was committed is synced. Sessions must have been
// closed.
func (n *Node) Close() error {
	n.halt()
	return n.store.Close()
}

// Abandon ends a simulated node that has crashed: nothing of it runs any more and nothing more is written.
func (n *Node) Abandon() {
	n.halt()
	n.store.Abandon()
}

func (n *Node) halt() {
	if n.migrator != nil {
		n.migrator.Close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.claims.halt()
	for _, t := range []env.Timer{n.sweep, n.sync} {
		if t != nil {
			t.Stop()
		}
	}
}

// ID is the node's id, empty until an operator or a map has given it one.
func (n *Node) ID() cluster.NodeID { return *n.id.Load() }

func (n *Node) setID(id cluster.NodeID) {
	n.id.Store(&id)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.claims.SetSelf(id)
}

// Incarnation identifies the data directory.
func (n *Node) Incarnation() cluster.Incarnation { return n.incarnation }

// Store is the node's store, for the migrator.
func (n *Node) Store() *store.Store { return n.store }

// Options are the options that the node was opened with.
func (n *Node) Options() *Options { return &n.opts }

// Migrator is the node's migrator, or nil.
func (n *Node) Migrator() Migrator { return n.migrator }

// Map is the current cluster map; its version is -1 when there is none.
func (n *Node) Map() *cluster.Map { return n.topology() }

func (n *Node) topology() *cluster.Map { return n.mapNow.Load() }

// Peer is where to call a node of the map.
func (n *Node) Peer(id cluster.NodeID) (env.Peer, bool) {
	addr, found := n.topology().Addr(id)
	if !found {
		return env.Peer{}, false
	}
	return env.Peer{ID: string(id), Addr: addr}, true
}

// Record is the ownership record of a slot at this moment.
func (n *Node) Record(s slot.Slot) cluster.Record {
	mu := &n.stripes[stripeOf(s)]
	mu.RLock()
	defer mu.RUnlock()
	return n.slots.get(s).rec()
}

// Serving is the set of slots that this node serves.
func (n *Node) Serving() slot.Set {
	return n.slotsWhere(func(s cluster.State) bool { return s == cluster.Serving })
}

// Recorded is the set of slots of which this node has an ownership record.
func (n *Node) Recorded() slot.Set {
	return n.slotsWhere(func(s cluster.State) bool { return s != cluster.None })
}

// ownerOf is who is thought to own a slot: this node's own record if it says so, then the highest epoch among the record's
// other party and what was announced, then the map. The stripe is held.
func (n *Node) ownerOf(sl slot.Slot) cluster.NodeID {
	r := n.slots.get(sl).rec()
	if r.State == cluster.Serving {
		return n.ID()
	}
	n.mu.Lock()
	hint, hinted := n.hints[sl]
	n.mu.Unlock()
	if r.State != cluster.None && (!hinted || r.Epoch >= hint.Epoch) {
		return r.Peer
	}
	if hinted {
		return hint.Node
	}
	if owner := n.topology().Owner(sl); owner != nil {
		return owner.ID
	}
	return ""
}

// Owner is who is thought to own a slot, for displays.
func (n *Node) Owner(sl slot.Slot) cluster.NodeID {
	mu := &n.stripes[stripeOf(sl)]
	mu.RLock()
	defer mu.RUnlock()
	return n.ownerOf(sl)
}

// Announced takes in that a node serves a slot under an epoch. If this node serves the slot under a lower one, it stops: it
// was restored from a backup, or something worse, and the other is right.
func (n *Node) Announced(h cluster.Hint) {
	n.Exclusive(h.Slot, func(o *Owned) {
		r := o.Record()
		stale := mutant.On(mutant.StaleEpoch) && h.Epoch <= r.Epoch
		if r.State == cluster.Serving && (h.Epoch > r.Epoch || stale) && h.Node != n.ID() {
			if !stale { // the mutant keeps silent, so that what it does must be seen
				n.alarm(fmt.Sprintf("slot %d was served here under epoch %d but %s serves it under %d: stopped serving it", h.Slot, r.Epoch, h.Node, h.Epoch))
			}
			o.Commit(n.store.NewBatch(), cluster.Record{State: cluster.Released, Epoch: h.Epoch, Peer: h.Node})
		}
		o.noteHint(h)
	})
}

// alarm records something that an operator must see.
func (n *Node) alarm(text string) {
	n.stats.alarms.Add(1)
	n.opts.Log.Error("ALARM: " + text)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.alarms) < maxAlarms {
		n.alarms = append(n.alarms, text)
	}
}

// maxAlarms bounds what is kept of alarms in memory; the log has them all.
const maxAlarms = 100

// Alarms lists what an operator must see, oldest first.
func (n *Node) Alarms() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.alarms...)
}

// armSyncInterval keeps the promise of SyncInterval.
func (n *Node) armSyncInterval() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.sync = n.opts.Clock.AfterFunc(time.Second, func() {
		if n.syncMode() == SyncInterval && n.store.Last() > n.store.Durable() {
			n.store.WhenDurable(n.store.Last(), func() {})
		}
		n.armSyncInterval()
	})
}
