package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"godwit/engine/slot"
)

// slowOp is how long an operation must take to be remembered with its time and slot.
const slowOp = 20 * time.Millisecond

// clientLog is what a client saw. Only its own goroutine touches it until the client has stopped.
type clientLog struct {
	reads, writes int
	errs          []clientEvent
	slow          []clientEvent // operations of at least slowOp
	longest       time.Duration // of the others
}

// clientEvent is an operation that failed or took long.
type clientEvent struct {
	begin, end int64 // on the axis of the demo
	slot       slot.Slot
	command    string
	text       string // what went wrong
	connecting bool   // it went wrong before there was a connection
}

// done notes an operation that has ended, with the error that the client saw, if any.
func (l *clientLog) done(e clientEvent, err error) {
	if err != nil {
		e.text = err.Error()
		var op *net.OpError
		e.connecting = errors.As(err, &op) && op.Op == "dial"
		l.errs = append(l.errs, e)
	}
	if took := time.Duration(e.end - e.begin); took >= slowOp {
		l.slow = append(l.slow, e)
	} else {
		l.longest = max(l.longest, took)
	}
}

// loadClient reads and writes through an ordinary client library with its defaults. It is the only writer of its keys, and
// so knows what they may hold.
type loadClient struct {
	d       *demo
	library *redis.ClusterClient
	first   int // its keys are first, first+step, first+2*step…
	step    int
	rng     *rand.Rand
	log     clientLog

	acked   []int32       // by key: the last version of which the write was acknowledged
	next    []int32       // by key: the next version to write
	unknown map[int][]int // by key: versions of which the write ended in an error: they may be there or not
	wrong   []string      // reads that showed what cannot have been there
}

// quiet is a logger of go-redis that says nothing: what it would say is in the errors that clients see.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// newLoadLibrary is the client library with its defaults, and a look at its attempts to connect.
func newLoadLibrary(d *demo, nodes []*demoNode) *redis.ClusterClient {
	redis.SetLogger(quiet{})
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.addr
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	c.OnNewNode(func(node *redis.Client) { node.AddHook(dialWatch{d}) })
	return c
}

// dialWatch notes when the library last tried in vain to connect to a node. It matters since the library remembers: once as
// many attempts failed as its pool is large, it asks once a second whether the node is back, and answers with the old error
// until then.
type dialWatch struct{ d *demo }

func (w dialWatch) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		begin := w.d.now()
		c, err := next(ctx, network, addr)
		if err != nil {
			w.d.refused.Store(addr, begin)
		}
		return c, err
	}
}

func (dialWatch) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialWatch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func newLoadClient(d *demo, library *redis.ClusterClient, index, of int) *loadClient {
	own := (d.keys.count - index + of - 1) / of
	c := &loadClient{d: d, library: library, first: index, step: of, rng: rand.New(rand.NewPCG(1, uint64(index))),
		acked: make([]int32, own), next: make([]int32, own), unknown: map[int][]int{}}
	for i := range c.next {
		c.next[i] = 1
	}
	return c
}

func (c *loadClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		n := c.rng.IntN(len(c.acked))
		if c.rng.IntN(2) == 0 {
			c.write(n)
		} else {
			c.read(n)
		}
	}
}

// write sets the client's n-th key to its next version.
func (c *loadClient) write(n int) {
	key, version := c.first+n*c.step, c.next[n]
	c.next[n]++
	name := c.d.keys.name(key)
	begin := c.d.now()
	err := c.library.Set(context.Background(), name, c.d.keys.value(key, int(version)), 0).Err()
	c.log.writes++
	if err != nil {
		c.unknown[n] = append(c.unknown[n], int(version))
	} else {
		c.acked[n] = version
	}
	c.end(begin, "SET", name, err)
}

// read looks at the client's n-th key.
func (c *loadClient) read(n int) {
	key := c.first + n*c.step
	name := c.d.keys.name(key)
	begin := c.d.now()
	value, err := c.library.Get(context.Background(), name).Result()
	c.log.reads++
	if errors.Is(err, redis.Nil) {
		value, err = "", nil
	}
	if err == nil && !c.may(n, value) {
		c.wrong = append(c.wrong, name)
	}
	c.end(begin, "GET", name, err)
}

func (c *loadClient) end(begin int64, command, name string, err error) {
	c.log.done(clientEvent{begin: begin, end: c.d.now(), slot: slot.OfKey([]byte(name)), command: command}, err)
}

// may reports whether the client's n-th key may hold a value.
func (c *loadClient) may(n int, value string) bool {
	version := c.d.keys.version(c.first+n*c.step, value)
	return version >= 0 && (version == int(c.acked[n]) || slices.Contains(c.unknown[n], version))
}
