package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// How recorded clients behave.
const (
	recordedTime = 5 * time.Second // for one reply, and for following redirects
	recordedGap  = 3 * time.Millisecond
	// recordedKeys are recorded at a time, each under a new name after recordedOps operations, so that the judgement of
	// one name stays cheap and its picture readable.
	recordedKeys = 16
	recordedOps  = 250
	// recordedPause is what a client waits after an error, so that a node that is away is not asked all the time.
	recordedPause = 50 * time.Millisecond
)

// recordedKeySet is the small set of keys that recorded clients share. They lie in slots that move.
type recordedKeySet struct {
	mu    sync.Mutex
	slots []slot.Slot
	tags  []string
	gen   []int // number of the name that is in use
	ops   []int // operations under that name
}

func newRecordedKeys(plan demoPlan) *recordedKeySet {
	s := &recordedKeySet{}
	moving := plan.recorded(recordedKeys)
	for _, sl := range moving {
		s.slots, s.tags = append(s.slots, sl), append(s.tags, hashTag(sl))
	}
	s.gen, s.ops = make([]int, len(moving)), make([]int, len(moving))
	return s
}

// pick gives the name to use for the n-th key, a new one when the old one has had its share of operations or of writes that
// nobody knows the outcome of.
func (s *recordedKeySet) pick(n int, r *linearize.Recorder) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.name(n)
	if s.ops[n] >= recordedOps || r.UnknownMutations(name) >= linearize.RetireAfter {
		s.gen[n]++
		s.ops[n] = 0
		name = s.name(n)
	}
	s.ops[n]++
	return name
}

func (s *recordedKeySet) name(n int) string { return fmt.Sprintf("rec:{%s}:%d", s.tags[n], s.gen[n]) }

// recordedClient reads and writes the shared keys and records what it sees.
type recordedClient struct {
	d      *demo
	link   *clusterClient
	number int
	keys   *recordedKeySet
	rng    *rand.Rand
	count  int // makes written values unique
	log    clientLog
	err    error // of the recorder: a bug of the demo
}

func newRecordedClient(d *demo, keys *recordedKeySet, number int) *recordedClient {
	entries := make([]string, len(d.nodes))
	for i, n := range d.nodes {
		entries[i] = n.addr
	}
	// It waits at TRYAGAIN alone: other refusals are errors that the demo counts.
	c := &recordedClient{d: d, link: newClusterClient(entries, "", recordedTime, "TRYAGAIN"), number: number, keys: keys,
		rng: rand.New(rand.NewPCG(2, uint64(number)))}
	owners := d.ownersAtBirth()
	for _, sl := range keys.slots {
		c.link.owner[sl] = d.nodes[owners[sl]].addr
	}
	return c
}

func (c *recordedClient) run(ctx context.Context) {
	defer c.link.close()
	for ctx.Err() == nil && c.err == nil {
		n := c.rng.IntN(len(c.keys.slots))
		wait := recordedGap
		if !c.operate(c.keys.slots[n], c.command(c.keys.pick(n, c.d.record))) {
			wait = recordedPause
		}
		_ = sleep(ctx, wait)
	}
}

// command draws a command. What is written ends in ';' and is unique, so that the judge can tell who wrote what a read shows.
func (c *recordedClient) command(key string) []string {
	c.count++
	text := fmt.Sprintf("%d-%d;", c.number, c.count)
	switch p := c.rng.IntN(100); {
	case p < 45:
		return []string{"GET", key}
	case p < 70:
		return []string{"SET", key, text}
	case p < 85:
		return []string{"APPEND", key, text}
	case p < 90:
		return []string{"STRLEN", key}
	case p < 95:
		return []string{"GETDEL", key}
	default:
		return []string{"DEL", key}
	}
}

// operate runs and records one operation; it reports whether the client saw no error.
func (c *recordedClient) operate(sl slot.Slot, argv []string) bool {
	op, err := c.link.record(c.d.record, c.d.now, c.number, sl, argv...)
	if err != nil {
		c.err = err
		return false
	}
	if op.Mutates() {
		c.log.writes++
	} else {
		c.log.reads++
	}
	c.log.done(clientEvent{begin: op.Call, end: op.End, slot: sl, command: "recorded " + op.Cmd}, op.Err)
	return op.Err == nil
}
