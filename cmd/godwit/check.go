package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"godwit/engine/slot"
	"godwit/linearize"
)

const (
	// checkLead and checkTail are how long clients run before the disturbance begins and after it has ended.
	checkLead = time.Second
	checkTail = time.Second
	// checkTime and checkTimeDuring are how long a check takes when nobody says it: without and, at most, with --during.
	checkTime       = 10 * time.Second
	checkTimeDuring = 5 * time.Minute
	// checkAfterTime bounds the reading back, and then the removal, of the keys of a cluster that does not answer well.
	checkAfterTime = 20 * time.Second
	// checkAfterTries is how often each key is tried to be read back, and to be removed.
	checkAfterTries = 3
	// checkSteps bounds the judgement of one key; those of a check take some thousands.
	checkSteps = 5_000_000
)

// The exit statuses of a check.
const (
	statusIllegal  = 1
	statusUnproven = 2 // unknown, or the check could not be run
)

func newCheckCommand() *cobra.Command {
	o := checkOptions{}
	unproven := func(err error) error {
		if err == nil {
			return nil
		}
		return &statusError{statusUnproven, err}
	}
	c := &cobra.Command{
		Use:   "check",
		Short: "Drive any Redis-protocol cluster, and judge whether what clients saw is linearizable",
		Long: `Let recorded clients read and write on any Redis-protocol cluster or server, perhaps while a command disturbs it, and judge
what they saw: could one copy of the data, changed by one command at a time, have answered so?

Clients use registers (GET, SET, GETSET, SETNX, DEL), counters (INCR, INCRBY), texts (APPEND), lists (RPUSH, LPUSH, LPOP, LRANGE,
LLEN) and sets (SADD, SREM, SMEMBERS, SISMEMBER, SCARD) on keys of their own under a prefix that no other run uses; the keys are
removed at the end. What the servers do not know is left out, and the report says so. Clients follow redirects, wait where the cluster tells them
to, and retry nothing else: an operation without an answer may have run, may run later, or never.

The exit status is 0 if the history is linearizable, 1 if it is not, and 2 if that is unknown, the check could not be run, or
the command of --during failed. A history that is not linearizable is kept, with the picture of a key that shows it.`,
		Example: `  godwit check --addrs 127.0.0.1:7000,127.0.0.1:7001 \
    --during "redis-cli --cluster reshard 127.0.0.1:7000 --cluster-from all --cluster-to ID --cluster-slots 1000 --cluster-yes"`,
		Args: func(c *cobra.Command, args []string) error { return unproven(cobra.NoArgs(c, args)) },
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return unproven(err)
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			r, err := runCheck(ctx, o, c.ErrOrStderr())
			if err != nil {
				return unproven(err)
			}
			if o.json {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				err = r.print(c.OutOrStdout())
			}
			return errors.Join(unproven(err), r.status())
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return unproven(err) })
	f := c.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.addrs, "addrs", nil, "`HOST:PORT,…` of some nodes, of which one has to answer; the others are found")
	f.StringVar(&o.password, "password", "", "authenticate with `PASSWORD`")
	f.StringVar(&o.during, "during", "", "run shell `COMMAND` meanwhile; the check ends a second after it")
	f.DurationVar(&o.duration, "duration", 0, "how long clients run, with --during at most (default 10s, with --during 5m)")
	f.IntVar(&o.clients, "clients", 8, "run `N` clients")
	f.IntVar(&o.keys, "keys", 24, "use `N` keys at a time, spread over the slots")
	f.IntVar(&o.rate, "rate", 4000, "at most `N` operations a second, all clients together; 0: as many as there can be")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long a client waits for a reply, and follows redirects")
	f.StringVar(&o.history, "history", "", "write the history to `FILE`")
	f.StringVar(&o.picture, "picture", "", "write the picture of the failing key, or of the busiest, to `FILE` (HTML)")
	f.BoolVar(&o.keep, "keep", false, "do not remove the keys")
	f.BoolVar(&o.json, "json", false, "print the report as one JSON object")
	return c
}

// checkOptions are the flags of a check.
type checkOptions struct {
	addrs               []string
	password            string
	during              string
	duration, timeout   time.Duration
	clients, keys, rate int
	history, picture    string
	keep, json          bool
}

// validate checks the options and fills in defaults.
func (o *checkOptions) validate() error {
	if len(o.addrs) == 0 {
		return errors.New("--addrs is missing: want the address of a node at least, host:port")
	}
	for _, addr := range o.addrs {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return fmt.Errorf("--addrs: %q is no address: want host:port", addr)
		}
	}
	for _, c := range []struct {
		name            string
		value, min, max int
	}{
		{"clients", o.clients, 1, 1000},
		{"keys", o.keys, 1, 4096},
		{"rate", o.rate, 0, 1_000_000},
	} {
		if c.value < c.min || c.value > c.max {
			return fmt.Errorf("--%s is %d: want %d to %d", c.name, c.value, c.min, c.max)
		}
	}
	if o.duration == 0 {
		o.duration = checkTime
		if o.during != "" {
			o.duration = checkTimeDuring
		}
	}
	if o.duration < 100*time.Millisecond || o.duration > 24*time.Hour {
		return fmt.Errorf("--duration is %v: want 100ms to 24h", o.duration)
	}
	if o.timeout < 10*time.Millisecond || o.timeout > 10*time.Minute {
		return fmt.Errorf("--timeout is %v: want 10ms to 10m", o.timeout)
	}
	return nil
}

// checker is one run. Times on its axis are nanoseconds since start.
type checker struct {
	o        checkOptions
	say      io.Writer // what is not part of the report: what --during prints
	start    time.Time
	run      string // names this run in keys and files
	seed     uint64
	topology *checkTopology
	record   *linearize.Recorder
	keys     *checkKeySet

	written    atomic.Int64 // makes written values unique
	identities atomic.Int64 // the last identity of a client that was given out
	isFull     atomic.Bool
	stop       context.CancelFunc // ends the clients
}

func (c *checker) now() int64 { return int64(time.Since(c.start)) }

// full ends the run because the history has got as long as it may.
func (c *checker) full() {
	c.isFull.Store(true)
	c.stop()
}

// runCheck drives, judges and cleans up. An error means that there is no report; a report may be of a run that was cut short
// by ctx.
func runCheck(ctx context.Context, o checkOptions, say io.Writer) (*checkReport, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	topology, err := discover(o.addrs, o.password)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &checker{o: o, say: say, start: now, run: hex.EncodeToString(random[:4]), seed: binary.BigEndian.Uint64(random[8:]),
		topology: topology, record: linearize.NewRecorder(now.UnixMilli())}
	kinds, missing := c.kinds()
	c.keys = newCheckKeySet("godwit-check:"+c.run, o.keys, slot.Slot(c.seed%slot.Count), kinds)
	c.identities.Store(int64(2*o.clients - 1)) // clients, and those that read everything back

	r := &checkReport{Run: c.run, Cluster: topology.Cluster, Nodes: len(topology.Nodes), Slots: len(topology.Owners), LeftOut: missing}
	begun, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	c.stop = cancel
	var clients []*checkClient
	var group sync.WaitGroup
	for i := range o.clients {
		k := c.newClient(i)
		clients = append(clients, k)
		group.Go(func() {
			defer k.link.close()
			k.run(begun)
		})
	}
	if o.during != "" {
		r.During = c.disturb(begun)
		cancel()
	}
	group.Wait()
	r.Seconds = time.Since(now).Seconds()
	r.Interrupted, r.Full = ctx.Err() != nil, c.isFull.Load()

	readers := c.readBack(r)
	r.addClients(c, append(clients, readers...))
	if !o.keep {
		r.KeysLeft = c.remove()
	}
	return r, c.judge(r)
}

// kinds asks which kinds of keys the servers know, and names those that they do not. Who does not answer knows all.
func (c *checker) kinds() (known []checkKind, missing []string) {
	missing = []string{}
	c.keys = newCheckKeySet("godwit-check:"+c.run, 1, slot.Slot(c.seed%slot.Count), []checkKind{registerKind})
	link := c.newClient(0).link
	defer link.close()
	for kind := range checkKinds {
		at := c.keys.keys[0]
		_, err := link.ask(at.slot, kind.readAll(at.name())...)
		var refused errReply
		if errors.As(err, &refused) && strings.Contains(strings.ToLower(string(refused)), "unknown command") {
			missing = append(missing, checkKindNames[kind])
		} else {
			known = append(known, kind)
		}
	}
	if len(known) == 0 { // then nothing will be acknowledged, and the verdict says so
		known = []checkKind{registerKind}
	}
	return known, missing
}

// disturbance is what became of the command of --during.
type disturbance struct {
	Command string  `json:"command"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error"` // "" if it ended well
	// Cut says that it was still running at the end of the time, or never began: the check is of what it did until then.
	Cut bool `json:"cut"`
}

// disturb runs the command, with some time before and after it, until ctx is done at most.
func (c *checker) disturb(ctx context.Context) *disturbance {
	d := &disturbance{Command: c.o.during}
	if sleep(ctx, checkLead) != nil {
		d.Cut = true
		return d
	}
	begin := c.now()
	cmd := exec.CommandContext(ctx, "sh", "-c", c.o.during)
	cmd.Stdout, cmd.Stderr = c.say, c.say
	// What the shell has started is to end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	end := c.now()
	d.Seconds = time.Duration(end - begin).Seconds()
	c.record.Event(linearize.Event{Tag: "during", Start: begin, End: end, Description: firstLine(c.o.during), Colour: "#fde9c8"})
	switch {
	case ctx.Err() != nil:
		d.Cut = true
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // that one is of what it left running in the background
		d.Error = err.Error()
	}
	_ = sleep(ctx, checkTail)
	return d
}

// readBack reads every name once more after all clients have stopped, so that the last write to each is seen, too. Its clients
// are new; it gives up where the cluster does not answer for long.
func (c *checker) readBack(r *checkReport) []*checkClient {
	names := c.keys.names()
	deadline := time.Now().Add(checkAfterTime)
	var next, unread atomic.Int64
	var group sync.WaitGroup
	var readers []*checkClient
	for i := range c.o.clients {
		k := c.newClient(c.o.clients + i)
		readers = append(readers, k)
		group.Go(func() {
			defer k.link.close()
			for n := next.Add(1) - 1; n < int64(len(names)) && k.err == nil; n = next.Add(1) - 1 {
				read := false
				for tries := 0; !read && tries < checkAfterTries && time.Now().Before(deadline); tries++ {
					read = k.operate(names[n].key, names[n].slot, names[n].kind.readAll(names[n].name)...)
				}
				if !read {
					unread.Add(1)
				}
			}
		})
	}
	group.Wait()
	r.Unread = int(unread.Load())
	return readers
}

// remove deletes all names, and returns how many it could not. An operation of unknown outcome that runs later can bring a
// key back: nobody can know.
func (c *checker) remove() (left int) {
	link := c.newClient(0).link
	defer link.close()
	deadline := time.Now().Add(checkAfterTime)
	for _, n := range c.keys.names() {
		removed := false
		for tries := 0; !removed && tries < checkAfterTries && time.Now().Before(deadline); tries++ {
			_, err := link.ask(n.slot, "DEL", n.name)
			removed = err == nil
		}
		if !removed {
			left++
		}
	}
	return left
}

// judge checks the history, and writes what was asked for, and the evidence where it is not linearizable.
func (c *checker) judge(r *checkReport) error {
	h := c.record.History()
	opts := linearize.Options{Steps: checkSteps}
	v, err := linearize.Check(h, opts)
	if err != nil {
		return err
	}
	r.verdict(v)
	r.History, r.Picture = c.o.history, c.o.picture
	if !v.OK() {
		if r.History == "" {
			r.History = "godwit-check-" + c.run + ".jsonl"
		}
		if r.Picture == "" {
			r.Picture = "godwit-check-" + c.run + ".html"
		}
	}
	if r.History != "" {
		if err := writeFile(r.History, func(w io.Writer) error { return linearize.Write(w, h) }); err != nil {
			return err
		}
	}
	if r.Picture == "" || v.Operations == 0 {
		r.Picture = "" // there is nothing to show
		return nil
	}
	key := telling(h, v, &demoOutage{})
	return writeFile(r.Picture, func(w io.Writer) error {
		_, err := linearize.WritePicture(w, h, key, opts)
		return err
	})
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
