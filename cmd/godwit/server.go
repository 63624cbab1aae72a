package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"godwit/engine"
	"godwit/engine/host"
	"godwit/migration/driver"
)

// shutdownTime is how long a server that was told to stop lets commands finish.
const shutdownTime = 10 * time.Second

func newServerCommand(moves driver.Config) *cobra.Command {
	o := serverOptions{moves: moves}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Serve a data directory",
		Long: `Serve a data directory to clients that speak the Redis protocol.

Every flag may also stand in the file that --config names, one "key value" a line as in Redis' configuration, without
the dashes; # begins a comment, quotes hold spaces together. Flags override the file.

The server stops on SIGTERM and SIGINT: it lets commands finish, syncs, and exits with status 0.`,
		Args: cobra.NoArgs,
	}
	o.addFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.config != "" {
			if err := loadConfig(cmd.Flags(), o.config); err != nil {
				return err
			}
		}
		cfg, err := o.hostConfig(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return runServer(cmd.Context(), cfg)
	}
	return cmd
}

// runServer serves until the process is told to stop.
func runServer(ctx context.Context, cfg host.Config) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if cfg.Sync == engine.SyncAlways {
		addProcessor(&cfg)
	}
	srv, err := host.Start(cfg)
	if err != nil {
		return err
	}
	cfg.Log.Info("ready", "addr", srv.Addr().String(), "dir", cfg.Dir, "cluster", cfg.Cluster, "sync", cfg.Sync.String(), "version", cfg.Version, "pid", os.Getpid())
	<-ctx.Done()
	stop() // a second signal ends the process at once
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return err
	}
	cfg.Log.Info("stopped: everything is synced")
	return nil
}

// addProcessor lets Go run one goroutine more at once than there are processors, unless the environment says how many, and leaves the
// number of loops what it was. A goroutine that waits for the disk counts as one that runs, and so does a loop that waits for clients: on
// two processors there is none left then, and the runtime wakes up every 20 microseconds to see whether it should take one away from
// them, which costs a fifth of all processor time. Where replies do not wait for the disk, one more costs, and gains nothing.
func addProcessor(cfg *host.Config) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	n := runtime.GOMAXPROCS(0)
	if cfg.Loops == 0 {
		if cfg.Loops = n / 2; n == 1 {
			cfg.Loops = -1
		}
	}
	runtime.GOMAXPROCS(n + 1)
}

// serverOptions are the flags of the server.
type serverOptions struct {
	config, listen, announce, dir           string
	cluster                                 bool
	sync                                    string
	requirepass, peerSecret, peerSecretFile string
	maxClients                              atLeastOne
	loops                                   int
	cache, rowCache, memtable               byteSize
	maxBulk, maxPipeline, maxOutput         byteSize
	throttle                                string
	logLevel, logFormat                     string
	moves                                   driver.Config
}

func (o *serverOptions) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	o.sync, o.logLevel, o.logFormat = engine.SyncAlways.String(), "info", "text"
	o.maxClients, o.maxBulk, o.maxPipeline, o.maxOutput = 10_000, 512<<20, 64<<20, 2<<30
	o.cache, o.rowCache, o.memtable = 256<<20, 256<<20, 64<<20
	f.StringVar(&o.listen, "listen", "127.0.0.1:6666", "accept connections at `HOST:PORT`; port 0 takes a free one")
	f.StringVar(&o.dir, "dir", "godwit-data", "keep the data in directory `PATH`, made if it is missing")
	f.StringVar(&o.config, "config", "", "read settings from file `PATH`")
	f.BoolVar(&o.cluster, "cluster", false, "be a node of a cluster")
	f.StringVar(&o.announce, "announce", "", "`HOST:PORT` at which clients and other nodes reach this one (default: where it listens)")
	f.Var(choice{&o.sync, []string{"always", "interval", "never"}}, "sync", "when replies wait for the disk: `always`, interval or never")
	f.StringVar(&o.requirepass, "requirepass", "", "`PASSWORD` that clients must give")
	f.StringVar(&o.peerSecret, "peer-secret", "", "`SECRET` by which the nodes of a cluster know each other; without one only those of this machine are accepted")
	f.StringVar(&o.peerSecretFile, "peer-secret-file", "", "read the peer secret from the first line of file `PATH`")
	f.Var(&o.maxClients, "maxclients", "serve at most `N` connections")
	f.IntVar(&o.loops, "loops", 0, "read the connections on `N` loops; 0: one for every two processors; -1: a goroutine for each connection")
	f.Var(sizeWithin{&o.cache, 1 << 20, 1 << 50}, "cache", "memory for blocks of data read from the disk, such as 256mb")
	f.Var(sizeWithin{&o.rowCache, 1 << 10, 1 << 38}, "row-cache", "memory for single records read or written lately; 1kb switches it off")
	f.Var(sizeWithin{&o.memtable, 1 << 20, 2 << 30}, "memtable", "memory for writes before they become a table on the disk")
	f.Var(sizeWithin{&o.maxBulk, 1 << 10, 2 << 30}, "max-bulk", "the longest argument that a client may send")
	f.Var(sizeWithin{&o.maxPipeline, 1 << 10, 1 << 40}, "max-pipeline", "how much a connection may send ahead of a command that is not finished")
	f.Var(sizeWithin{&o.maxOutput, 1 << 20, 1 << 40}, "max-output", "how much may wait for a connection that does not read its replies before it is closed")
	f.StringVar(&o.throttle, "migration-throttle", "", "how fast moves may send and compare records: a `LIMIT` such as \"20MB/s 23:00-07:00=200MB/s zone=+02:00 auto=20%\"")
	addMoveSettings(f, &o.moves)
	f.Var(choice{&o.logLevel, []string{"debug", "info", "warn", "error"}}, "log-level", "log `debug`, info, warn or error and what is worse")
	f.Var(choice{&o.logFormat, []string{"text", "json"}}, "log-format", "write the log as `text` or json, to standard error")
}

// moveSetting is a flag for a setting of moves.
type moveSetting struct {
	cfg         *driver.Config
	name, value string
}

var _ pflag.Value = (*moveSetting)(nil)

// addMoveSettings adds a flag for each setting of moves. The configuration's zero fields take their defaults.
func addMoveSettings(f *pflag.FlagSet, cfg *driver.Config) {
	if err := cfg.Validate(); err != nil {
		panic(err) // it is this program's
	}
	for _, s := range cfg.Settings() {
		f.Var(&moveSetting{cfg, s.Name, s.Value}, s.Name, s.Usage)
	}
}

// String implements pflag.Value.
func (s *moveSetting) String() string { return s.value }

// Set implements pflag.Value.
func (s *moveSetting) Set(text string) error {
	if err := s.cfg.Set(s.name, text); err != nil {
		return err
	}
	s.value = text
	return nil
}

// Type implements pflag.Value.
func (s *moveSetting) Type() string { return "VALUE" }

// hostConfig checks the options; the log goes to w.
func (o *serverOptions) hostConfig(w io.Writer) (host.Config, error) {
	mode, err := engine.ParseSyncMode(o.sync)
	if err != nil {
		return host.Config{}, err
	}
	log, err := newLogger(w, o.logLevel, o.logFormat)
	if err != nil {
		return host.Config{}, err
	}
	secret, err := o.secret()
	if err != nil {
		return host.Config{}, err
	}
	cfg := host.Config{
		Listen: o.listen, Announce: o.announce, Dir: o.dir,
		CacheBytes: int64(o.cache), RowCacheBytes: int64(o.rowCache), MemTableBytes: uint64(o.memtable),
		Cluster: o.cluster, Sync: mode, RequirePass: o.requirepass, PeerSecret: secret,
		Limits: engine.Limits{
			MaxClients: int(o.maxClients), BulkBytes: int(o.maxBulk), PipelineBytes: int(o.maxPipeline), OutputBytes: int(o.maxOutput),
		},
		Version: release, Log: log, Loops: o.loops,
	}
	if o.cluster {
		o.moves.Throttle = o.throttle
		if err := o.moves.CheckSettings(); err != nil {
			return host.Config{}, err
		}
		if cfg.NewMigrator, err = driver.New(o.moves); err != nil {
			return host.Config{}, err
		}
	}
	return cfg, cfg.Validate()
}

func (o *serverOptions) secret() (string, error) {
	if o.peerSecretFile == "" {
		return o.peerSecret, nil
	}
	if o.peerSecret != "" {
		return "", errors.New("peer-secret and peer-secret-file are both given: want one of them")
	}
	text, err := os.ReadFile(o.peerSecretFile)
	if err != nil {
		return "", fmt.Errorf("peer-secret-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("peer-secret-file %s: the first line is empty: want the secret there", o.peerSecretFile)
	}
	return line, nil
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	o := &slog.HandlerOptions{}
	switch level {
	case "debug":
		o.Level = slog.LevelDebug
	case "info":
		o.Level = slog.LevelInfo
	case "warn":
		o.Level = slog.LevelWarn
	case "error":
		o.Level = slog.LevelError
	default:
		return nil, fmt.Errorf("log-level %q is unknown: use debug, info, warn or error", level)
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log-format %q is unknown: use text or json", format)
}
