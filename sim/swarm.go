package sim

import (
	"time"

	"godwit/migration"
	"godwit/migration/driver"
)

// swarm is what a seed has drawn for its whole run: sizes, and which classes of faults occur and how often. A class that is
// switched off in a part of the seeds lets the others go deeper there.
type swarm struct {
	nodes, clients, slots int
	safety                time.Duration // length of the safety phase
	filler                int           // records that each slot has from the beginning
	fillerBytes           int

	// Network. Probabilities are per message.
	latency   time.Duration // mean of the everyday delay
	drop      float64
	lostReply float64
	duplicate float64
	late      float64 // delayed by lateness, long enough to arrive after what followed it
	lateness  time.Duration
	reset     float64 // breaks the connection
	fifo      bool    // messages of one connection keep their order
	// order is the chance that a message keeps its place in a run without fifo, unless it is late. Where all overtake one another a source
	// sends each window again and again, and the run shows little else.
	order float64
	// Control messages decide: in a part of the runs they suffer more.
	controlLate, controlLoss float64
	heldPrepares             float64       // chance that an answer to a prepare comes after the pause, in the next or the one after that
	partitions               time.Duration // mean time between, 0: none
	partitioned              time.Duration // mean length

	// Machines.
	crashes     time.Duration // mean time between crashes of some node, 0: none
	aimed       float64       // chance that a step of a move is answered with a crash of a party
	readCrashes float64       // chance that a read of what is not durable yet is answered with a crash
	midway      float64       // share of the crashes that strike in the middle of an event
	restart     time.Duration // mean time until a crashed node comes back
	sync        time.Duration // mean latency of a sync
	slowSync    float64       // chance that a sync takes slowSyncTime
	slowTime    time.Duration
	skew        time.Duration // bound of what a clock may be off; 0: none
	skewChanges time.Duration // mean time between jumps
	work        time.Duration // the longest that a step of work waits for a worker
	beside      bool          // commits are postponed, and applied by a worker or by who reads
	backlog     int           // how many bytes of them may wait; 0: 2 KiB
	flush       float64       // chance per operator's turn that a node flushes its memtable

	stalls      time.Duration // mean time between stalls of some node, 0: none
	busies      time.Duration // mean time between the times in which some node has no room for what arrives, 0: none
	crashLoops  float64       // chance that a machine that has crashed crashes again while it starts
	several     float64       // chance that others crash along
	drift       float64       // bound of the rate by which clocks are fast or slow
	slowLinks   time.Duration // mean time between, 0: none
	fullDisks   time.Duration // mean time between, 0: none
	failedSyncs time.Duration // mean time between, 0: none
	swaps       time.Duration // mean time between exchanges of addresses, 0: none

	readErrors   time.Duration // mean time between, 0: none
	flips        time.Duration // mean time between, 0: none
	badStarts    float64       // chance that a start meets reads that fail or flipped bits
	reconfigures float64       // chance that a start has the other configuration
	oldMaps      float64       // chance that a node that has started is given an old map
	wipes        time.Duration // mean time between attempts to wipe a node, 0: none
	losses       time.Duration // mean time between attempts to lose a party of a move for good, 0: none

	// Clients.
	asking      float64       // chance that an operation is tried with ASKING at the node where the slot arrives
	think, rush time.Duration // mean time between operations of a client, in calm and while slots move
	patience    time.Duration // how long a client waits for a reply
	expiry      bool
	// kinds are those of keys beside strings: see keyspace.go. 0: strings only.
	kinds int
	// wide is the type of a collection in one of the slots that has more elements than are deleted one by one, as a number from 1; 0: there is none.
	wide int
	// transactions and blocking are the chances that an operation is a transaction, and that one on a list or a sorted set is a command that waits
	// until there is something to take.
	transactions, blocking float64

	// Operator.
	jobs    time.Duration // mean time between starts of jobs
	cancels float64       // chance that a job is cancelled, and that one is that has just been decided
	verbs   float64       // chance that a job is one that operators tell to wait, or to come back
	classic float64       // chance that a slot is moved by the verbs of Redis
	returns float64       // chance that a slot is sent back to where it has just come from
	// resolves is the chance that a handoff that goes on by itself is resolved, which is refused.
	resolves float64
	flushes  float64       // chance per turn of the operator, and per job, that a node is told to flush all its data
	maps     time.Duration // mean time between pushed maps, 0: none
	settled  bool          // a true map is pushed before the liveness phase

	park   time.Duration
	parked int           // commands that a slot may park; 0: the default
	sweep  time.Duration // between rounds of the sweeper
	driver driver.Config
}

// misreads reports whether reads of disks fail or are wrong. Then it matters which blocks are in memory, which what ran before in the
// process must not decide.
func (s *swarm) misreads() bool { return s.readErrors > 0 || s.flips > 0 }

// drawSwarm draws the swarm of a seed.
func drawSwarm(seed uint64) swarm {
	s := rollSwarm(newDice(seed, streamSwarm, 0))
	if engineOf(seed) != EnginePebble { // the engine in memory reads its disk only when it starts
		s.readErrors, s.flips = 0, 0
	}
	return s
}

func rollSwarm(d dice) swarm {
	s := swarm{
		nodes: pick(d, 3, 3, 3, 3, 4, 5), clients: 4 + d.IntN(4), slots: 5 + d.IntN(4),
		safety: d.between(4*time.Second, 7*time.Second),
		filler: drawFiller(d), fillerBytes: pick(d, 20, 40, 40, 150),
		latency: pick(d, 200*time.Microsecond, 500*time.Microsecond, time.Millisecond, 4*time.Millisecond),
		fifo:    d.chance(0.3), order: pick(d, 0, 0.9, 0.99, 0.99, 0.99, 0.99),
		restart: pick(d, 30*time.Millisecond, 200*time.Millisecond, 600*time.Millisecond),
		sync:    pick(d, 300*time.Microsecond, time.Millisecond, 4*time.Millisecond),
		think:   pick(d, 50*time.Millisecond, 85*time.Millisecond), rush: pick(d, 4*time.Millisecond, 12*time.Millisecond, 30*time.Millisecond),
		patience: pick(d, 300*time.Millisecond, 600*time.Millisecond, 1200*time.Millisecond),
		expiry:   d.chance(0.4),
		jobs:     pick(d, 250*time.Millisecond, 500*time.Millisecond, 900*time.Millisecond),
		settled:  d.chance(0.5),
		park:     drawPark(d),
		flush:    pick(d, 0, 0.05, 0.2),
		work:     pick(d, 50*time.Microsecond, 50*time.Microsecond, 2*time.Millisecond),
	}
	calm := d.chance(0.04) // a run without faults must be boring
	on := func(p float64) bool { return !calm && d.chance(p) }
	if on(0.45) {
		s.drop = pick(d, 0.002, 0.01, 0.04)
	}
	if on(0.45) {
		s.lostReply = pick(d, 0.002, 0.01, 0.04)
	}
	if on(0.45) {
		s.duplicate = pick(d, 0.005, 0.02, 0.08)
	}
	if on(0.5) {
		s.late = pick(d, 0.005, 0.02, 0.06)
	}
	s.lateness = pick(d, 30*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond, 1500*time.Millisecond, 6*time.Second)
	if on(0.2) {
		s.controlLate, s.controlLoss = pick(d, 0.1, 0.3), pick(d, 0, 0.05, 0.15)
	}
	storm := on(0.2)
	if on(0.4) {
		s.reset = pick(d, 0.001, 0.005, 0.02)
	}
	if on(0.45) {
		s.partitions = pick(d, 800*time.Millisecond, 3*time.Second)
		s.partitioned = pick(d, 150*time.Millisecond, 500*time.Millisecond, 1500*time.Millisecond)
	}
	if on(0.45) {
		s.crashes = pick(d, time.Second, 3*time.Second)
	}
	if on(0.55) {
		s.aimed = pick(d, 0.02, 0.05, 0.12)
	}
	s.midway = pick(d, 0, 0.5, 1)
	if on(0.35) {
		s.slowSync, s.slowTime = pick(d, 0.01, 0.05, 0.25), pick(d, 20*time.Millisecond, 80*time.Millisecond, 250*time.Millisecond)
	}
	if on(0.4) {
		s.skew = pick(d, 20*time.Millisecond, 300*time.Millisecond, 2*time.Second)
		s.skewChanges = pick(d, 0, time.Second, 4*time.Second)
	}
	if d.chance(0.35) {
		s.cancels = pick(d, 0.1, 0.3)
	}
	if d.chance(0.25) {
		s.flushes = 0.1
	}
	if d.chance(0.6) {
		s.maps = pick(d, 500*time.Millisecond, 1500*time.Millisecond)
	}
	s.driver = drawDriver(d)
	if on(0.25) {
		s.stalls = pick(d, 800*time.Millisecond, 3*time.Second)
	}
	if on(0.3) {
		s.crashLoops = pick(d, 0.1, 0.4)
	}
	if on(0.3) {
		s.several = pick(d, 0.2, 0.6)
	}
	if on(0.3) {
		s.drift = pick(d, 0.001, 0.01, 0.05)
	}
	if on(0.3) {
		s.slowLinks = pick(d, 500*time.Millisecond, 2*time.Second)
	}
	if on(0.2) {
		s.fullDisks = pick(d, time.Second, 3*time.Second)
	}
	if on(0.2) {
		s.failedSyncs = pick(d, time.Second, 3*time.Second)
	}
	if on(0.25) {
		s.swaps = pick(d, 500*time.Millisecond, 2*time.Second)
	}
	if d.chance(0.4) {
		s.asking = pick(d, 0.02, 0.1)
	}
	if storm { // pauses are given up and tried again while answers to the ones before are still on their way
		s.controlLate, s.controlLoss = 0.3, pick(d, 0.08, 0.2)
		s.lateness = pick(d, 80*time.Millisecond, 160*time.Millisecond, 320*time.Millisecond)
		s.driver.Source.PauseDeadline = 40 * time.Millisecond
		s.driver.Source.GiveUpAfter = 8 * time.Second
		s.driver.CallTimeout = pick(d, 500*time.Millisecond, 900*time.Millisecond)
	}
	if on(0.6) {
		s.readErrors = pick(d, time.Second, 3*time.Second)
	}
	if on(0.6) {
		s.flips = pick(d, time.Second, 3*time.Second)
	}
	if on(0.3) {
		s.badStarts = pick(d, 0.1, 0.4)
	}
	if on(0.3) {
		s.reconfigures = pick(d, 0.2, 0.6)
	}
	if on(0.3) {
		s.oldMaps = pick(d, 0.2, 0.6)
	}
	s.returns = pick(d, 0, 0.1, 0.4)
	s.sweep = pick(d, 400*time.Millisecond, 3*time.Second)
	if s.skew > 0 && d.chance(0.6) {
		s.expiry = true // clocks matter little otherwise
	}
	if !storm && on(0.12) { // many short attempts, whose messages come late
		s.heldPrepares = 0.5
		s.duplicate, s.late = max(s.duplicate, 0.08), max(s.late, 0.04)
		s.lateness = pick(d, 50*time.Millisecond, 150*time.Millisecond)
		s.driver.Source.PauseDeadline = pick(d, 30*time.Millisecond, 60*time.Millisecond)
		s.driver.Source.GiveUpAfter = 8 * time.Second
		s.driver.CallTimeout = 900 * time.Millisecond
	}
	if on(0.3) {
		s.wipes = pick(d, time.Second, 2*time.Second)
	}
	s.classic = pick(d, 0, 0, 0.1, 0.3)
	if on(0.3) {
		s.losses = pick(d, 100*time.Millisecond, 500*time.Millisecond)
	}
	s.resolves = pick(d, 0, 0, 0.1, 0.3)
	if on(0.4) {
		s.readCrashes = pick(d, 0.1, 0.4)
	}
	if on(0.2) { // pauses are given up because too much waits for the slot, and what waits for a decided one is turned away
		s.parked = pick(d, 1, 2, 4)
	}
	switch d.IntN(4) {
	case 0:
	case 1:
		s.kinds = withAll
	default:
		s.kinds = 1 + d.IntN(withAll)
	}
	if d.chance(0.12) {
		s.wide = 1 + d.IntN(wideTypes)
	}
	s.driver = s.forWide(s.driver)
	s.transactions = pick(d, 0, 0.1, 0.3)
	s.blocking = pick(d, 0, 0.15, 0.4)
	if s.verbs = pick(d, 0, 0.3, 0.6); s.verbs > 0 {
		s.driver.Source.HoldEvery = pick(d, 20*time.Millisecond, 200*time.Millisecond)
	}
	if on(0.3) {
		s.busies = pick(d, 100*time.Millisecond, 400*time.Millisecond, time.Second)
	}
	s.driver.ImportsAtOnce = pick(d, 1, 2, 16)
	s.driver.ImportBytes = pick(d, 1<<10, 1<<20)
	s.beside = d.chance(0.5)
	s.backlog = pick(d, 1<<10, 256<<10) // so that it fills often, or as much as in production
	s.driver.ResolvePatience = drawResolvePatience(d, s.driver)
	return s
}

// drawFiller draws how many records a slot begins with. Some dozens make rounds long and fill tables, in a part of the seeds: in the others
// moves are over sooner, and cost less.
func drawFiller(d dice) int {
	if d.chance(0.3) {
		return 12 + d.IntN(22)
	}
	return 4 + d.IntN(9)
}

// forWide gives a migrator limits with which a wide collection can be moved in a run: messages that hold more of it, since hundreds take longer, where links
// are slow, than a job may; as much memory as there is by default, since the account of a small one would not hold a few of them; and no writers
// that are slowed because of it, since what one of its commands brings takes longer to send than any pause.
func (s *swarm) forWide(c driver.Config) driver.Config {
	if s.wide > 0 {
		c.ChunkRecords, c.ChunkBytes = 8*c.ChunkRecords, 4*c.ChunkBytes
		c.Source.WindowBytes *= 4
		c.DigestRecords *= 4
		c.Source.Rounds, c.JobMemory = 1000, 0
	}
	return c
}

// drawPark draws how long a command may wait for a slot that changes hands.
func drawPark(d dice) time.Duration {
	return pick(d, 400*time.Millisecond, time.Second, 3*time.Second)
}

// drawResolvePatience draws for how long a node must be silent while it is asked before an operator may call it lost: for two calls that get no answer, or some more.
func drawResolvePatience(d dice, c driver.Config) time.Duration {
	return time.Duration(2+d.IntN(7)) * c.CallTimeout
}

// drawDriver draws limits of the migrator that are small enough for a slot of some dozens of records to need many
// messages, several windows and, now and then, a tracker that collapses.
func drawDriver(d dice) driver.Config {
	c := driver.Config{
		Source: migration.Config{
			WindowBytes:   pick(d, 600, 2<<10, 4<<10),
			PauseDeadline: pick(d, 30*time.Millisecond, 80*time.Millisecond, 200*time.Millisecond, 500*time.Millisecond),
			RetryMin:      pick(d, 5*time.Millisecond, 20*time.Millisecond),
			RetryMax:      pick(d, 60*time.Millisecond, 200*time.Millisecond),
			GiveUpAfter:   pick(d, 1500*time.Millisecond, 4*time.Second, 8*time.Second),
			LagBytes:      pick(d, int64(300), 1<<10, 8<<10),
			LagKeys:       pick(d, 3, 8, 20),
			Rounds:        pick(d, 3, 10, 30),
			Pauses:        pick(d, 12, 20),
			AbortTries:    pick(d, 5, 20),
		},
		ChunkBytes: pick(d, 300, 1<<10), ChunkRecords: pick(d, 3, 8),
		DigestBytes: 4 << 10, DigestRecords: pick(d, 8, 16, 100),
		TableBytes:   2 << 10,
		TrackerBytes: pick(d, 200, 600, 64<<10, 64<<10),
		SlotsAtOnce:  pick(d, 1, 2, 4),
		CallTimeout:  pick(d, 100*time.Millisecond, 300*time.Millisecond, 700*time.Millisecond),
		AskAfter:     pick(d, 40*time.Millisecond, 150*time.Millisecond, 500*time.Millisecond),
		SnapshotKept: pick(d, 2*time.Second, time.Minute), SmallSlotBytes: 1,
	}
	if c.ChunkBytes > 1000 && c.ChunkRecords == 8 {
		c.IngestBytes = 600 // a message of the base becomes a table at the target
	}
	if c.TrackerBytes == 600 {
		c.JobMemory = 32 << 10 // slots wait for each other's, and trackers collapse before they are full
	}
	return c
}
