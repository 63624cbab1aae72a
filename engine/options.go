package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/env"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// SyncMode says when a client's reply waits for the disk.
type SyncMode uint8

// The sync modes.
const (
	// SyncAlways holds each reply until what it depends on is durable. The default.
	SyncAlways SyncMode = iota
	// SyncInterval syncs about once a second; a crash, of the machine or of the process alone, can take what was acknowledged since.
	SyncInterval
	// SyncNever leaves syncing to the operating system; a crash of the machine can take what it had not written yet. What the operating system
	// gets, it gets in pieces of 32 KiB: a crash of the process alone can take the beginning of one, however old that is, and with ApplyBeside up to 256 KiB
	// of the last milliseconds.
	SyncNever
)

var syncNames = [...]string{"always", "interval", "never"}

func (m SyncMode) String() string { return syncNames[m] }

// ParseSyncMode reads the name of a sync mode.
func ParseSyncMode(text string) (SyncMode, error) {
	for i, name := range syncNames {
		if text == name {
			return SyncMode(i), nil
		}
	}
	return 0, fmt.Errorf("sync mode %q is unknown: use always, interval or never", text)
}

// Limits bounds what can grow. Zero fields take the defaults.
type Limits struct {
	// MaxClients is the number of client connections; more are refused with an error. Default 10,000.
	MaxClients int
	// BulkBytes is the largest argument in bytes. Default 512 MiB, Redis' proto-max-bulk-len.
	BulkBytes int
	// Arguments is the largest number of arguments of a command. Default 1,048,576, as Redis.
	Arguments int
	// PipelineBytes is how many bytes of commands may wait on one connection behind an unfinished one before the
	// connection is no longer read. Default 64 MiB.
	PipelineBytes int
	// ParkedCommands and ParkedBytes bound what waits for one slot. Reaching either abandons its pause, never a request; where
	// the move is decided, the slot is about to arrive, or MIGRATE sends keys of it to another server, further commands are
	// redirected or answered TRYAGAIN at once.
	// Defaults 10,000 and 64 MiB.
	ParkedCommands int
	ParkedBytes    int
	// QueuedCommands and QueuedBytes bound what one connection queues between MULTI and EXEC. Reaching either refuses the
	// command, and so the transaction. Defaults 65,536 and 64 MiB.
	QueuedCommands int
	QueuedBytes    int
	// WatchedKeys is how many keys one connection may watch. Default 10,000.
	WatchedKeys int
	// OutputBytes is how many bytes of replies may wait for one connection, for the disk or to be written. What is beyond closes the
	// connection, with a line in the log. A connection runs no further command while more than 1 MiB waits, but for the commands
	// that had queued up behind one that waited: those run in one go, however fast the client reads. Default 2 GiB, twice the
	// largest reply.
	OutputBytes int
	// UnreadDeadline is how long a client may leave its replies unread while nothing more can be written to it, before the
	// connection is closed with a line in the log. Default 60 s.
	UnreadDeadline time.Duration
	// MonitorBytes is how many bytes may wait to be written to a connection that said MONITOR; one that reads too slowly is
	// closed. Default 1 MiB.
	MonitorBytes int
	// ParkDeadline is how long a command may wait for a slot that is changing hands before it is answered TRYAGAIN by
	// the target or MOVED by the source. Default 5 s.
	ParkDeadline time.Duration
}

func (l *Limits) setDefaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.MaxClients, 10_000)
	def(&l.BulkBytes, 512<<20)
	def(&l.Arguments, 1<<20)
	def(&l.PipelineBytes, 64<<20)
	def(&l.ParkedCommands, 10_000)
	def(&l.ParkedBytes, 64<<20)
	def(&l.QueuedCommands, 1<<16)
	def(&l.QueuedBytes, 64<<20)
	def(&l.WatchedKeys, 10_000)
	def(&l.OutputBytes, 2<<30)
	def(&l.MonitorBytes, 1<<20)
	if l.UnreadDeadline == 0 {
		l.UnreadDeadline = time.Minute
	}
	if l.ParkDeadline == 0 {
		l.ParkDeadline = 5 * time.Second
	}
}

// Observer sees what no client can; the simulator's checkers implement it. Its methods are called with locks held and must
// not call back.
type Observer interface {
	// Served is called when a command has been admitted on a slot and is about to run.
	Served(s slot.Slot, write bool)
	// Recorded is called when an ownership record has been committed (visible, not yet durable).
	Recorded(s slot.Slot, r cluster.Record)
}

// Options configures a node. Open validates it.
type Options struct {
	// The world.
	Clock   env.Clock
	Peers   env.Peers
	Servers env.Servers // nil: MIGRATE reaches nodes of the cluster only
	Rand    env.Rand
	Workers env.Workers
	Syncer  env.Syncer
	FS      vfs.FS
	Log     *slog.Logger
	// Fatal is called with an error after which the node cannot go on; it must not return.
	Fatal func(error)
	// Dir is the data directory on FS.
	Dir string
	// CacheBytes, RowCacheBytes and MemTableBytes are passed to the store.
	CacheBytes    int64
	RowCacheBytes int64
	MemTableBytes uint64
	// ApplyBeside has Workers apply commits beside the goroutine that made them: for a host that runs all connections on one goroutine. Where several
	// do, they insert into the store side by side, and one worker would hold them up.
	ApplyBeside bool
	// StoreSim makes the store deterministic; nil in production.
	StoreSim *store.Sim
	// Observer is nil in production.
	Observer Observer
	// Commands are those that the node knows. It does not change the table, so that nodes of one process can share it. Default
	// command.NewTable().
	Commands *command.Table

	// Cluster switches cluster mode on: slots, redirects, migration.
	Cluster bool
	// Addr is the address at which clients and peers reach this node, host:port, if it is known.
	Addr string
	// Sync is when replies to clients wait for the disk.
	Sync SyncMode
	// RequirePass is the password that clients must give with AUTH; empty for none.
	RequirePass string
	// PeerSecret is what nodes authenticate to each other with. Without one, peers are accepted from loopback only.
	PeerSecret string
	// SweepInterval is how often expired keys are looked for. Default 100 ms; negative switches the sweeper off.
	SweepInterval time.Duration
	// Limits bounds what can grow.
	Limits Limits
	// NewMigrator makes the migrator of the node; nil for a node that cannot move slots. It is called once by Open.
	NewMigrator func(*Node) Migrator
	// Memory tells how many bytes the process uses and has taken from the system, for INFO; nil where nobody knows.
	Memory func() (used, taken uint64)
	// Version is the version of the program, for INFO.
	Version string
}

// Validate names the first field that is wrong and what would be right, and fills in defaults.
func (o *Options) Validate() error {
	switch {
	case o.Clock == nil, o.Rand == nil, o.Workers == nil, o.Syncer == nil, o.FS == nil, o.Fatal == nil:
		return errors.New("engine: Clock, Rand, Workers, Syncer, FS and Fatal must all be set")
	case o.Cluster && o.Peers == nil:
		return errors.New("engine: cluster mode needs Peers")
	case o.Dir == "":
		return errors.New("engine: Dir is empty: name the directory that holds the data")
	case o.Sync > SyncNever:
		return fmt.Errorf("engine: Sync is %d: use SyncAlways, SyncInterval or SyncNever", o.Sync)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Commands == nil {
		o.Commands = command.NewTable()
	}
	if o.SweepInterval == 0 {
		o.SweepInterval = 100 * time.Millisecond
	}
	o.Limits.setDefaults()
	return nil
}
