package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
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
	recordedPause    = 50 * time.Millisecond
	recordedTryAgain = 20 * time.Millisecond
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

// recordedClient is a small cluster client of its own: it follows redirects, which promise that nothing was executed, and
// retries nothing else. A network error is an unknown outcome, and the next try a new operation.
type recordedClient struct {
	d      *demo
	number int
	keys   *recordedKeySet
	rng    *rand.Rand
	conns  map[string]*conn
	owner  []string // by slot: where its last answer came from
	count  int      // makes written values unique
	log    clientLog
	err    error // of the recorder: a bug of the demo
}

func newRecordedClient(d *demo, keys *recordedKeySet, number int) *recordedClient {
	c := &recordedClient{d: d, number: number, keys: keys, rng: rand.New(rand.NewPCG(2, uint64(number))),
		conns: map[string]*conn{}, owner: make([]string, slot.Count)}
	for sl, at := range d.ownersAtBirth() {
		c.owner[sl] = d.nodes[at].addr
	}
	return c
}

func (c *recordedClient) run(ctx context.Context) {
	defer func() {
		for _, at := range c.conns {
			at.close()
		}
	}()
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
	op, err := linearize.Command(argv...)
	if err != nil {
		c.err = err
		return false
	}
	op.Client, op.Slot, op.Call = c.number, uint16(sl), c.d.now()
	id, err := c.d.record.Begin(op)
	if err != nil {
		c.err = err
		return false
	}
	if op.Mutates() {
		c.log.writes++
	} else {
		c.log.reads++
	}
	r, sent, err := c.ask(sl, argv)
	end := c.d.now()
	var refused errReply
	switch {
	case err == nil:
		c.err = c.d.record.End(id, recordedReply(r), end)
	case errors.As(err, &refused):
		c.err = c.d.record.End(id, linearize.Error(string(refused)), end)
	case sent:
		c.err = c.d.record.Unknown(id)
	default:
		c.err = c.d.record.Fail(id, end)
	}
	c.log.done(clientEvent{begin: op.Call, end: end, slot: sl, command: "recorded " + op.Cmd}, err)
	return err == nil
}

// recordedReply is a reply in the form of the judge.
func recordedReply(r reply) linearize.Reply {
	switch {
	case r.Null:
		return linearize.Nil()
	case r.Kind == ':':
		return linearize.Int(r.Int)
	case r.Kind == '+':
		return linearize.Status(r.Text)
	default:
		return linearize.Bulk(r.Text)
	}
}

// ask sends a command to where the slot is thought to be and follows redirects. sent says whether the command may have been
// executed although there is an error that is no reply.
func (c *recordedClient) ask(sl slot.Slot, argv []string) (r reply, sent bool, err error) {
	deadline := time.Now().Add(recordedTime)
	addr, asking := c.owner[sl], false
	tried := map[string]bool{} // nodes that could not be reached
	for {
		at, err := c.connection(addr)
		if err != nil {
			// Nothing was sent: another node may know that the slot is elsewhere by now.
			tried[addr] = true
			next := c.other(tried)
			if next == "" || time.Now().After(deadline) {
				return reply{}, false, err
			}
			addr, asking = next, false
			continue
		}
		if asking {
			if _, err := at.do(recordedTime, "ASKING"); err != nil {
				c.drop(addr)
				return reply{}, false, err
			}
			asking = false
		}
		r, err := at.do(recordedTime, argv...)
		var refused errReply
		if err == nil || !errors.As(err, &refused) {
			if err != nil {
				c.drop(addr)
			} else {
				c.owner[sl] = addr
			}
			return r, true, err
		}
		f := strings.Fields(string(refused))
		switch {
		case time.Now().After(deadline):
			return r, true, err
		case len(f) == 3 && f[0] == "MOVED":
			if tried[f[2]] {
				return r, false, fmt.Errorf("%s sends to %s, which cannot be reached", addr, f[2])
			}
			addr = f[2]
			c.owner[sl] = addr
		case len(f) == 3 && f[0] == "ASK":
			addr, asking = f[2], true
		case len(f) > 0 && f[0] == "TRYAGAIN":
			time.Sleep(recordedTryAgain)
		default:
			return r, true, err
		}
	}
}

// other is a node that was not tried, "" if there is none.
func (c *recordedClient) other(tried map[string]bool) string {
	i := slices.IndexFunc(c.d.nodes, func(n *demoNode) bool { return !tried[n.addr] })
	if i < 0 {
		return ""
	}
	return c.d.nodes[i].addr
}

func (c *recordedClient) connection(addr string) (*conn, error) {
	if at, ok := c.conns[addr]; ok {
		return at, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.Atoi(port)
	}
	if err != nil || host == "" {
		return nil, fmt.Errorf("a redirect to %q", addr)
	}
	at, err := dial(addr, "")
	if err == nil {
		c.conns[addr] = at
	}
	return at, err
}

func (c *recordedClient) drop(addr string) {
	c.conns[addr].close()
	delete(c.conns, addr)
}
