// Package driver carries out the effects of the machines of package migration against a node: it reads rounds from
// snapshots, sends messages, persists, pauses, decides, cleans, and feeds what comes of it back as events. It implements
// engine.Migrator.
//
// Concurrency. Each slot at its source has a queue of events; at most one worker steps its machine at a time, one event a
// step, so the machine and what belongs to it need no lock. Messages at a target run on the session's goroutine under the
// slot's exclusive lock. Lock order: a slot's stripe (Node.Exclusive), then Driver.mu, then a queue's mutex; nothing is
// called with Driver.mu held that could take a stripe. Driver.returns comes before all of them.
package driver

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/reuse"
	"godwit/engine/slot"
	"godwit/migration"
)

// Config bounds what a driver does. Zero fields take the defaults. Driver.mu guards those that operators may set, see settings.go.
type Config struct {
	// Source bounds each slot's machine.
	Source migration.Config
	// ChunkBytes and ChunkRecords bound one message of records. Defaults 256 KiB and 4,096.
	ChunkBytes, ChunkRecords int
	// DigestBytes and DigestRecords bound one chunk of a walk. Defaults 1 MiB and 16,384.
	DigestBytes, DigestRecords int
	// TableBytes is how much of the records of a slot goes into one table where the base is sent as tables; the source holds two. Default 4 MiB.
	TableBytes int
	// IngestBytes is from how many bytes of records on, in one message, a target makes a table of them and ingests it, which spares its log and its
	// memory table. Messages of the base grow up to TableBytes while they are answered quickly. Default 1 MiB.
	IngestBytes int
	// TablesFrom is from which size on disk on a slot is sent as tables when the job leaves it open, in bytes. Default 64 MiB.
	TablesFrom int
	// TrackerBytes bounds the memory of the changed keys of a slot; beyond it they collapse into a span. Default 16 MiB.
	TrackerBytes int
	// JobMemory bounds what all slots of a job hold together of their own, in bytes: messages on their way, tables, and changed keys. See memory.
	// Default 64 MiB.
	JobMemory int
	// SlotsAtOnce is how many slots of a job move at the same time: also of those that were held and are told to cut over, that rested
	// and go on, and that were on their way before a restart. Default 4.
	SlotsAtOnce int
	// SmallSlotBytes is up to which size, in bytes of keys and values, a slot counts for a quarter of one in SlotsAtOnce: four times as many small
	// slots move at a time. Behind a row of small ones the next count as small until they are found to be larger. Default 256 KiB; 1 means that none is small.
	SmallSlotBytes int
	// JobsAtOnce is how many jobs of the node move slots at the same time; the others wait, see pumpJobs. Jobs that rest, or of which
	// all slots are held or only copies are kept, are not among them. Default 4.
	JobsAtOnce int
	// ImportsAtOnce is how many slots may arrive from other nodes at the same time, whatever their sources; the others wait. Default 16.
	ImportsAtOnce int
	// ImportBytes is how much of what arrives may be applied and not be durable yet before sources are told to wait, in bytes. Default 64 MiB.
	ImportBytes int
	// HeldAtOnce is how many slots of a job may be held before their handover, copied, while further ones are copied. Each can
	// take TrackerBytes. Default 64.
	HeldAtOnce int
	// Throttle is the limit that all jobs of the node keep together, as migration.ParseLimit reads it, until operators say otherwise. Default
	// none.
	Throttle string
	// CallTimeout is how long the answer to a message of ChunkBytes may take, and the time for each ChunkBytes that it is longer. One that asks the
	// target to read more than a window gets the time for that, too. Default 2 s.
	CallTimeout time.Duration
	// AskAfter is how long a target waits for a silent source before it asks. Default 2 s.
	AskAfter time.Duration
	// ResolvePatience is for how long the other side of a handoff that an operator resolves is asked before its silence counts. Default 30 s.
	ResolvePatience time.Duration
	// SnapshotKept is how long a target keeps the takeover snapshot for a source that does not come to compare. Default
	// 10 min.
	SnapshotKept time.Duration
	// JobsKept is how many jobs are remembered when one is added, which forgets the oldest that have ended; those that have not stay
	// beyond it. Default 100.
	JobsKept int
	// Busy, if it is not nil, is asked whenever data arrive, and says why there is no room for them, "" if there is. It is called with the
	// slot's stripe held. The simulator makes targets busy so.
	Busy func() string
	// Latency, if it is not nil, is asked instead of the node's TakeLatency, of which it must keep the contract. It is called with locks held. Tests
	// let clients wait so.
	Latency func(least uint64) (p99 time.Duration, replies uint64)
	// Spoil has the memory of messages overwritten when nobody needs it any more, in place of being used again. Tests and the simulator set it, so that who
	// does need it is found.
	Spoil bool
	// OnStep, if it is not nil, is called when a slot that is given away has entered a step, as Driver.Step names it: once before what
	// the machine wants done there is carried out, and once after. It runs on the slot's worker, which waits for it. Tests stop the
	// process there.
	OnStep func(sl slot.Slot, step string, carriedOut bool)
}

// Validate names the first field that makes no sense and fills in defaults.
func (c *Config) Validate() error {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defDur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.ChunkBytes, 256<<10)
	def(&c.ChunkRecords, 4096)
	def(&c.DigestBytes, 1<<20)
	def(&c.DigestRecords, 16384)
	def(&c.TableBytes, 4<<20)
	def(&c.IngestBytes, 1<<20)
	def(&c.TablesFrom, 64<<20)
	def(&c.TrackerBytes, 16<<20)
	def(&c.JobMemory, 64<<20)
	def(&c.SlotsAtOnce, 4)
	def(&c.SmallSlotBytes, 256<<10)
	def(&c.JobsAtOnce, 4)
	def(&c.ImportsAtOnce, 16)
	def(&c.ImportBytes, 64<<20)
	def(&c.HeldAtOnce, 64)
	def(&c.JobsKept, 100)
	defDur(&c.CallTimeout, 2*time.Second)
	defDur(&c.AskAfter, 2*time.Second)
	defDur(&c.SnapshotKept, 10*time.Minute)
	defDur(&c.ResolvePatience, 30*time.Second)
	for _, n := range []int{c.ChunkBytes, c.ChunkRecords, c.DigestBytes, c.DigestRecords, c.TableBytes, c.IngestBytes, c.TablesFrom, c.TrackerBytes, c.JobMemory, c.SlotsAtOnce, c.SmallSlotBytes, c.JobsAtOnce, c.ImportsAtOnce, c.ImportBytes, c.HeldAtOnce, c.JobsKept} {
		if n < 0 {
			return errors.New("migration: a limit of the driver is negative")
		}
	}
	for _, d := range []time.Duration{c.CallTimeout, c.AskAfter, c.SnapshotKept, c.ResolvePatience} {
		if d < 0 {
			return errors.New("migration: a time of the driver is negative")
		}
	}
	return c.Source.Validate()
}

// Driver moves the slots of one node, as source and as target.
type Driver struct {
	node *engine.Node
	env  *engine.Options
	cfg  Config

	// returns is held while a slot that is asked back is looked for among the jobs, and its job started.
	returns sync.Mutex

	mu      sync.Mutex
	closed  bool
	counter uint64 // of the latest job
	jobs    []*job // oldest first
	sources map[slot.Slot]*sourceSlot
	// resolving are the slots about which an operator's order is being carried out.
	resolving map[slot.Slot]bool
	targets   map[slot.Slot]*targetSlot
	// importing are the targets that are live, and when much of them arrived last: what is looked at often, while targets has all that ever
	// arrived.
	importing map[slot.Slot]time.Duration
	announces map[announceKey]*announce
	kvrocks   map[cluster.NodeID]*kvrocks // targets that are no peers
	ask       env.Timer
	askAgain  func()    // what ask runs
	words     [2][]byte // that every call begins with
	tables    int       // made of messages that arrived: names for their files
	readBack  atomic.Uint64
	taken     atomic.Uint64

	pacer    pacer
	arrivals arrivals

	bodies, messages reuse.Slices // that were sent

	pauses   pauseHistogram
	measured float64 // bytes that the last slot to be copied sent in a second
}

// New returns the function that engine.Options.NewMigrator wants. cfg is validated there.
func New(cfg Config) (func(*engine.Node) engine.Migrator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	limit, err := parseThrottle(cfg.Throttle)
	if err != nil {
		return nil, err
	}
	return func(n *engine.Node) engine.Migrator {
		d := &Driver{
			node: n, env: n.Options(), cfg: cfg, words: [2][]byte{[]byte("PEER"), []byte("MIGRATION")},
			sources: map[slot.Slot]*sourceSlot{}, resolving: map[slot.Slot]bool{}, targets: map[slot.Slot]*targetSlot{}, importing: map[slot.Slot]time.Duration{}, announces: map[announceKey]*announce{}, kvrocks: map[cluster.NodeID]*kvrocks{},
		}
		d.arrivals.d = d
		d.bodies.Spoil, d.messages.Spoil = cfg.Spoil, cfg.Spoil
		d.pacer.d, d.pacer.node.limit, d.pacer.latency = d, limit, cfg.Latency
		if d.pacer.latency == nil {
			d.pacer.latency = n.TakeLatency
		}
		return d
	}, nil
}

// Close implements engine.Migrator.
func (d *Driver) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.pacer.close()
	if d.ask != nil {
		d.ask.Stop()
	}
	for _, sl := range sortedSlots(d.sources) {
		d.sources[sl].close()
	}
	for _, k := range d.kvrocks { //det:ok each is closed, in any order
		k.close()
	}
	for _, sl := range sortedSlots(d.targets) {
		d.targets[sl].dropStaging()
		d.targets[sl].endProven(d)
		d.targets[sl].dropSnapshot() // nothing else touches it any more: sessions are closed, timers count for nothing
	}
}

func (d *Driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Recover implements engine.Migrator.
func (d *Driver) Recover() error {
	if err := d.loadJobs(); err != nil {
		return err
	}
	d.recallUnsettled()
	recorded := d.node.Recorded()
	for _, sl := range recorded.Slots() {
		r := d.node.Record(sl)
		switch r.State {
		case cluster.Importing, cluster.Prepared:
			if err := d.loadTarget(sl); err != nil {
				return err
			}
		case cluster.Serving:
			// A job of its own is one that was resolved: what its target believes is not known.
			owner := d.node.Map().Owner(sl)
			if !r.Job.IsZero() && (owner == nil || owner.ID != d.node.ID() || r.Job.Node == d.node.ID()) {
				d.announce(sl, r.Epoch)
			}
		default:
		}
	}
	d.armAsk()
	d.pumpJobs()
	return nil
}

// Start implements engine.Migrator. The checks stand in Kvrocks' order.
func (d *Driver) Start(ranges []slot.Range, to cluster.NodeID, opts engine.JobOptions) (cluster.JobID, error) {
	limit, err := parseThrottle(opts.Throttle)
	if err != nil {
		return cluster.JobID{}, err
	}
	h := header{KeepMs: min(opts.KeepSource, engine.MaxKeepSource).Milliseconds(), Priority: opts.Priority, OnOverload: opts.OnOverload, Payload: opts.Payload}
	if !limit.None() {
		h.Throttle = limit.String()
	}
	if err := d.ownTiming(&h, &opts); err != nil {
		return cluster.JobID{}, err
	}
	if opts.Hold {
		h.Held = ranges
	}
	return d.startJob(ranges, to, h)
}

// errMoving says that a slot is on its way already.
var errMoving = errors.New("There is already a migrating job") //nolint:staticcheck // wire text

// checkStart says why slots cannot be moved to a node, beside that they are on their way already, and lists them.
func (d *Driver) checkStart(set slot.Set, to cluster.NodeID) ([]slot.Slot, error) {
	m := d.node.Map()
	node := m.Find(to)
	if node == nil {
		return nil, errors.New("Can't find the destination node id") //nolint:staticcheck // wire text
	}
	if set.Len() == 0 {
		return nil, errors.New("Slot range is invalid") //nolint:staticcheck // wire text
	}
	list := set.Slots()
	for _, sl := range list {
		switch r := d.node.Record(sl); {
		case r.State == cluster.Released:
			return nil, errors.New("Can't migrate slot which has been migrated") //nolint:staticcheck // wire text
		case r.State != cluster.Serving:
			return nil, errors.New("Can't migrate slot which doesn't belong to me") //nolint:staticcheck // wire text
		}
	}
	if node.Replica {
		return nil, errors.New("Can't migrate slot to a slave") //nolint:staticcheck // wire text
	}
	if to == d.node.ID() {
		return nil, errors.New("Can't migrate slot to myself") //nolint:staticcheck // wire text
	}
	return list, nil
}

// startJob starts a job with what h says of it beside slots and target.
func (d *Driver) startJob(ranges []slot.Range, to cluster.NodeID, h header) (cluster.JobID, error) {
	set := slot.SetOf(ranges...)
	list, err := d.checkStart(set, to)
	if err != nil {
		return cluster.JobID{}, err
	}
	d.mu.Lock()
	if d.movingLocked(list) {
		d.mu.Unlock()
		return cluster.JobID{}, errMoving
	}
	d.counter++
	h.Version, h.Counter, h.Target, h.Ranges, h.StartedMs = jobVersion, d.counter, to, set.Ranges(), d.env.Clock.WallMs()
	j := &job{d: d, header: h, slots: map[slot.Slot]*slotProgress{}}
	j.memory.setLimit(d.cfg.JobMemory)
	j.limiter.limit, _ = migration.ParseLimit(h.Throttle) // it was written by Limit.String
	j.note(fmt.Sprintf("accepted: %d slots to node %s", len(list), to))
	for _, sl := range list {
		j.slots[sl] = &slotProgress{}
	}
	j.order, j.lists.fresh = list, list
	d.jobs = append(d.jobs, j)
	d.mu.Unlock()
	id := d.jobID(j.header.Counter)
	d.env.Log.Info("job accepted", "job", id.String(), "slots", set.String(), "target", to)
	p := j.persist(nil)
	d.node.Store().WhenDurable(p, d.pumpJobs)
	d.trimJobs()
	return id, nil
}

// moving reports whether one of the slots is on its way, or a job still has to begin with it.
func (d *Driver) moving(slots []slot.Slot) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.movingLocked(slots)
}

func (d *Driver) movingLocked(slots []slot.Slot) bool {
	return slices.ContainsFunc(slots, func(sl slot.Slot) bool { return d.sources[sl] != nil || d.pendingIn(sl) })
}

// pendingIn reports whether a live job has yet to begin with a slot, or, after a restart, to go on with it: a slot that waits in the queue
// may have made attempts. d.mu is held.
func (d *Driver) pendingIn(sl slot.Slot) bool {
	for _, j := range d.jobs {
		if p := j.slots[sl]; p != nil && !j.ended() && (p.phase == migration.PhasePending || p.phase == migration.PhaseActive) {
			return true
		}
	}
	return false
}

func (d *Driver) jobID(counter uint64) cluster.JobID {
	return cluster.JobID{Node: d.node.ID(), Incarnation: d.node.Incarnation(), Counter: counter}
}

// find returns the job with a counter.
func (d *Driver) find(counter uint64) *job {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if j.header.Counter == counter {
			return j
		}
	}
	return nil
}

// Step names the step of a slot that this node is giving away, as status shows it; "" if it is not.
func (d *Driver) Step(sl slot.Slot) string {
	d.mu.Lock()
	s := d.sources[sl]
	d.mu.Unlock()
	if s == nil {
		return ""
	}
	seen := s.seen()
	return stepName(seen.step, seen.round)
}

// Jobs implements engine.Migrator.
func (d *Driver) Jobs() []engine.JobStatus {
	d.mu.Lock()
	jobs := append([]*job(nil), d.jobs...)
	d.mu.Unlock()
	out := make([]engine.JobStatus, 0, len(jobs))
	for _, j := range jobs {
		out = append(out, j.status())
	}
	return out
}

// WhenDone implements engine.Migrator.
func (d *Driver) WhenDone(counter uint64, timeout time.Duration, fn func(engine.JobStatus)) {
	j := d.find(counter)
	if j == nil {
		d.env.Workers.Submit(func() { fn(engine.JobStatus{State: engine.JobNone}) })
		return
	}
	j.whenDone(timeout, fn)
}

// ParkLimit implements engine.Migrator.
func (d *Driver) ParkLimit(sl slot.Slot) {
	d.mu.Lock()
	s := d.sources[sl]
	d.mu.Unlock()
	if s != nil {
		s.post(migration.EvParkLimit{})
	}
}

// Busy implements engine.Migrator.
func (d *Driver) Busy() bool {
	return d.Live() || len(d.Importing()) > 0
}

// Live reports whether any job of this node as source has not ended, at less cost than Jobs.
func (d *Driver) Live() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.jobs, func(j *job) bool { return !j.ended() })
}

// Importing implements engine.Migrator.
func (d *Driver) Importing() []engine.ImportStatus {
	d.mu.Lock()
	slots := sortedSlots(d.importing)
	d.mu.Unlock()
	var out []engine.ImportStatus
	for _, sl := range slots {
		if r := d.node.Record(sl); r.State == cluster.Importing || r.State == cluster.Prepared {
			out = append(out, engine.ImportStatus{Slot: sl, Record: r})
		}
	}
	return out
}

// slowDisk is how many bytes a target syncs and reads in a microsecond at least, when one message asks for more than a window: tables that are to be taken in.
const slowDisk = 50

// patience is how long the answer to a message may take.
func (c *Config) patience(m *migration.Message) time.Duration {
	onItsWay := c.CallTimeout * time.Duration(1+len(m.Body)/c.ChunkBytes)
	return onItsWay + time.Duration(max(0, m.Asks-c.Source.WindowBytes)/slowDisk)*time.Microsecond
}

// peer is where to call a node, if the map knows it.
func (d *Driver) call(to cluster.NodeID, lane env.Lane, m *migration.Message, done func(migration.Reply, error)) {
	p, ok := d.node.Peer(to)
	if !ok {
		d.env.Workers.Submit(func() { done(migration.Reply{}, fmt.Errorf("node %s is not in the cluster map", to)) })
		return
	}
	raw := m.Append(d.messages.Get())
	defer d.messages.Put(raw) // Call copies it
	args := [][]byte{d.words[0], d.words[1], raw}
	d.env.Peers.Call(p, lane, args, d.cfg.patience(m), func(raw []byte, err error) {
		if err != nil {
			done(migration.Reply{}, err)
			return
		}
		r, err := migration.DecodeReply(raw)
		done(r, err)
	})
}

// announceKey names an announcement that has not been answered.
type announceKey struct {
	slot slot.Slot
	to   cluster.NodeID
}

type announce struct{ epoch cluster.Epoch }

// announceRetry is how long an announcement waits before it is repeated.
const announceRetry = time.Second

// announce tells every node of the map that this node serves a slot, until each has answered or left the map.
func (d *Driver) announce(sl slot.Slot, e cluster.Epoch) {
	for _, n := range d.node.Map().Nodes {
		if n.ID == d.node.ID() || n.Replica {
			continue
		}
		k := announceKey{sl, n.ID}
		a := &announce{e}
		d.mu.Lock()
		d.announces[k] = a
		d.mu.Unlock()
		d.sendAnnounce(k, a)
	}
}

func (d *Driver) sendAnnounce(k announceKey, a *announce) {
	d.mu.Lock()
	current := !d.closed && d.announces[k] == a
	d.mu.Unlock()
	if !current {
		return
	}
	r := d.node.Record(k.slot)
	p, ok := d.node.Peer(k.to)
	if !ok || r.State != cluster.Serving || r.Epoch != a.epoch {
		d.forgetAnnounce(k, a)
		return
	}
	d.node.Announce(p, k.slot, a.epoch, func(err error) {
		if err == nil {
			d.forgetAnnounce(k, a)
			return
		}
		d.env.Clock.AfterFunc(announceRetry, func() { d.sendAnnounce(k, a) })
	})
}

func (d *Driver) forgetAnnounce(k announceKey, a *announce) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.announces[k] == a {
		delete(d.announces, k)
	}
}

func sortedSlots[V any](m map[slot.Slot]V) []slot.Slot {
	if len(m) == 0 {
		return nil
	}
	out := make([]slot.Slot, 0, len(m))
	for sl := range m { //det:ok sorted below
		out = append(out, sl)
	}
	slices.Sort(out)
	return out
}

// bookCursor names the bookkeeping value that holds the cursor of an import.
const bookCursor = "cursor"

func cursorKey(sl slot.Slot) []byte { return key.AppendBook(nil, sl, bookCursor) }
