package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"godwit/engine/slot"
	"godwit/linearize"
)

func newDemoCommand() *cobra.Command {
	o := demoOptions{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Move live slots between real nodes under load, kill one of them, and judge what clients saw",
		Long: `Start a cluster of real nodes on this machine, load it, let clients read and write, move slots between the nodes while
they do, kill one node in the middle of a move, and say what the clients saw.

Load clients use an ordinary cluster client library. Recorded clients follow redirects and retry nothing else; what they
saw is judged: is it what one copy of the data could have answered? The exit status is 0 only if nothing was lost, every
slot has one owner, the history is linearizable, and no client saw an error, other than on the slots that the killed node
owned and while it was away: a slot has one copy.

What is left in the directory: the picture of the history, the history, and the logs of the nodes.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			say := c.OutOrStdout()
			if o.json {
				say = c.ErrOrStderr()
			}
			d := newDemo(o, say)
			r, err := d.run(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return errors.New("interrupted; the nodes are stopped")
				}
				return err
			}
			if o.json {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				err = r.print(c.OutOrStdout())
			}
			if err == nil && !r.OK {
				err = fmt.Errorf("the demo failed: %s", strings.Join(r.Failures, "; "))
			}
			return err
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.IntVar(&o.nodes, "nodes", 3, "start `N` nodes")
	f.IntVar(&o.keys, "keys", 200_000, "load `N` keys")
	f.IntVar(&o.valueSize, "value-size", 128, "`BYTES` of each value")
	f.IntVar(&o.clients, "clients", 16, "run `N` clients; every fourth is recorded and judged")
	f.IntVar(&o.slots, "slots", 96, "move `N` slots")
	f.DurationVar(&o.duration, "duration", 30*time.Second, "how long it shall take, about")
	f.StringVar(&o.dir, "dir", "", "keep everything in directory `PATH`, which must be new or empty (default: a new one here)")
	f.BoolVar(&o.json, "json", false, "print the summary as one JSON object")
	return c
}

// demoOptions are the flags of the demo.
type demoOptions struct {
	nodes, keys, valueSize, clients, slots int
	duration                               time.Duration
	dir                                    string
	json                                   bool
}

func (o *demoOptions) validate() error {
	for _, c := range []struct {
		name            string
		value, min, max int
	}{
		{"nodes", o.nodes, 2, 16},
		{"keys", o.keys, 100, 50_000_000},
		{"value-size", o.valueSize, minDemoValue, 1 << 20},
		{"clients", o.clients, 4, 1000},
		{"slots", o.slots, 4 * o.nodes, slot.Count / o.nodes},
	} {
		if c.value < c.min || c.value > c.max {
			return fmt.Errorf("--%s is %d: want %d to %d", c.name, c.value, c.min, c.max)
		}
	}
	if o.duration < 3*time.Second || o.duration > time.Hour {
		return fmt.Errorf("--duration is %v: want 3s to 1h", o.duration)
	}
	return nil
}

// demo is one run. Times on its axis are nanoseconds since start.
type demo struct {
	o      demoOptions
	say    io.Writer // where people read how it goes
	start  time.Time
	dir    string
	kept   bool // the directory was named by the user: nothing in it is removed
	nodes  []*demoNode
	plan   demoPlan
	keys   *demoKeys
	record *linearize.Recorder

	jobs   []*demoJob
	outage demoOutage
	// refused is, by address, when the client library last began an attempt to connect that failed (int64).
	refused sync.Map
}

func newDemo(o demoOptions, say io.Writer) *demo {
	now := time.Now()
	return &demo{o: o, say: say, start: now, kept: o.dir != "", record: linearize.NewRecorder(now.UnixMilli())}
}

// now is the time on the axis of the demo.
func (d *demo) now() int64 { return int64(time.Since(d.start)) }

func (d *demo) line(what, format string, args ...any) {
	show(d.say, "%6.1fs  %-8s %s\n", time.Since(d.start).Seconds(), what, fmt.Sprintf(format, args...))
}

// run runs the demo. The report says whether what it shows is as it should be; an error means that it could not be run.
func (d *demo) run(ctx context.Context) (*demoReport, error) {
	if err := d.makeDir(); err != nil {
		return nil, err
	}
	defer d.stopNodes()
	if err := d.startCluster(ctx); err != nil {
		return nil, err
	}
	if err := d.load(ctx); err != nil {
		return nil, fmt.Errorf("loading: %w", err)
	}
	loaders, recorded, err := d.traffic(ctx)
	if err != nil {
		return nil, err
	}
	r := &demoReport{Dir: d.dir}
	if err := d.settle(ctx, r); err != nil {
		return nil, err
	}
	if err := d.verify(ctx, r, loaders); err != nil {
		return nil, fmt.Errorf("reading everything back: %w", err)
	}
	r.addClients(d, loaders, recorded)
	if err := d.judge(r); err != nil {
		return nil, err
	}
	d.stopNodes()
	r.Failures = r.failures()
	r.OK = len(r.Failures) == 0
	if r.OK && !d.kept {
		if err := d.removeData(); err != nil {
			return nil, err
		}
	}
	r.Seconds = time.Since(d.start).Seconds()
	return r, nil
}

func (d *demo) makeDir() error {
	d.dir = d.o.dir
	if d.dir == "" {
		d.dir = "demo-" + d.start.Format("20060102-150405")
	}
	entries, err := os.ReadDir(d.dir)
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("directory %s is not empty: want a new or an empty one", d.dir)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.MkdirAll(d.dir, 0o755)
}

// startCluster starts the nodes and makes them a cluster.
func (d *demo) startCluster(ctx context.Context) error {
	secret := make([]byte, 24)
	_, _ = rand.Read(secret) // never fails
	secretFile := filepath.Join(d.dir, "peer-secret")
	if err := os.WriteFile(secretFile, []byte(hex.EncodeToString(secret)+"\n"), 0o600); err != nil {
		return err
	}
	var addrs []string
	for i := range d.o.nodes {
		n := newDemoNode(i, d.dir, secretFile)
		d.nodes = append(d.nodes, n)
		if err := n.start(ctx); err != nil {
			return err
		}
		addrs = append(addrs, n.addr)
	}
	m, err := createCluster(ctx, addrs, "")
	if err != nil {
		return err
	}
	for i, n := range d.nodes {
		n.id, n.born = m.Nodes[i].ID, m.Nodes[i].Slots
	}
	d.line("cluster", "%d nodes at %s, in %s", len(addrs), strings.Join(addrs, ", "), d.dir)
	d.plan = newDemoPlan(d.nodes, d.o.slots)
	d.keys = newDemoKeys(d.o, d.plan.moving())
	return nil
}

// stopNodes ends the processes that were started. It may be called twice.
func (d *demo) stopNodes() {
	var group sync.WaitGroup
	for _, n := range d.nodes {
		group.Go(n.stop)
	}
	group.Wait()
}

// removeData leaves the pictures and logs of a directory that nobody asked for.
func (d *demo) removeData() error {
	err := os.Remove(filepath.Join(d.dir, "peer-secret"))
	for _, n := range d.nodes {
		err = errors.Join(err, os.RemoveAll(n.dir))
	}
	return err
}

// traffic runs the clients, and the moves while they run.
func (d *demo) traffic(ctx context.Context) ([]*loadClient, []*recordedClient, error) {
	// Reading everything back takes about as long as loading it.
	left := max(d.o.duration-2*time.Since(d.start), d.o.duration/2)
	count := max(2, d.o.clients/4)
	clients, stop := context.WithCancel(ctx)
	defer stop()
	library := newLoadLibrary(d, d.nodes)
	defer func() { _ = library.Close() }() // its connections end with it
	var group sync.WaitGroup
	var loaders []*loadClient
	for i := range d.o.clients - count {
		c := newLoadClient(d, library, i, d.o.clients-count)
		loaders = append(loaders, c)
		group.Go(func() { c.run(clients) })
	}
	shared := newRecordedKeys(d.plan)
	var recorded []*recordedClient
	for i := range count {
		c := newRecordedClient(d, shared, i)
		recorded = append(recorded, c)
		group.Go(func() { c.run(clients) })
	}
	d.line("traffic", "%d clients through go-redis, %d recorded", len(loaders), len(recorded))
	deadline := time.Now().Add(left)
	err := d.move(ctx, left)
	if err == nil {
		err = sleep(ctx, time.Until(deadline))
	}
	stop()
	group.Wait()
	if err != nil {
		return nil, nil, err
	}
	d.line("traffic", "stopped")
	return loaders, recorded, nil
}

// sleep waits, or returns the context's error when that ends first.
func sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(t):
		return nil
	}
}

// bar is a progress bar on a terminal and nothing elsewhere.
func (d *demo) bar(n int, what string) *progressbar.ProgressBar {
	if !isTerminal(d.say) {
		return progressbar.DefaultSilent(int64(n))
	}
	b := newBar(d.say, n, "keys")
	b.Describe("         " + what)
	return b
}
