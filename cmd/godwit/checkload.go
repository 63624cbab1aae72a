package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

const (
	// checkKeyOps is how many operations a name gets before another takes its place in the same slot, so that each is cheap
	// to judge and its picture readable.
	checkKeyOps = 200
	// checkOps bounds the history: at some 200 bytes an operation, 300 MB.
	checkOps = 1_500_000
	// checkRest is what a client waits after an error, so that a node that is away is not asked all the time.
	checkRest = 50 * time.Millisecond
)

// checkKind is what a key is used as. Kinds are not mixed, so that every answer tells as much as it can.
type checkKind int

const (
	registerKind checkKind = iota // SET, GETSET, SETNX, DEL with values that are never written twice
	counterKind                   // INCR, INCRBY
	textKind                      // APPEND of pieces that are never written twice, each ending in ';'
	listKind                      // RPUSH, LPUSH of elements that are never written twice; LPOP now and then
	setKind                       // SADD, SREM of a few members, SADD of members that are never written twice
	checkKinds                    // how many there are
)

var checkKindNames = [checkKinds]string{"register", "counter", "text", "list", "set"}

// checkReads has a read of each kind that shows all there is.
var checkReads = [checkKinds][]string{{"GET"}, {"GET"}, {"GET"}, {"LRANGE", "0", "-1"}, {"SMEMBERS"}}

// readAll is the command that reads a key of the kind.
func (k checkKind) readAll(name string) []string {
	read := checkReads[k]
	return append([]string{read[0], name}, read[1:]...)
}

// checkKey is one of the keys that the clients share: a slot, and a name in it that changes from time to time.
type checkKey struct {
	slot  slot.Slot
	stem  string // of its names
	kind  checkKind
	gen   int   // number of the name in use
	ops   int   // under this name
	since int64 // when the first operation began after which none has succeeded; -1 when the last has
}

// checkKeySet is the set of keys that the clients share, spread evenly over the slots.
type checkKeySet struct {
	mu      sync.Mutex
	keys    []checkKey
	longest checkStall
}

// checkStall is a time in which a key could not be used: from the beginning of the first operation that did not succeed, or
// of one that took long, to the end of one that did.
type checkStall struct {
	begin, end int64
	slot       slot.Slot
	ended      bool // false: when the check ended, it had not
}

func newCheckKeySet(prefix string, n int, first slot.Slot, kinds []checkKind) *checkKeySet {
	s := &checkKeySet{keys: make([]checkKey, n)}
	for i := range s.keys {
		sl := slot.Slot((int(first) + i*slot.Count/n) % slot.Count)
		kind := kinds[i%len(kinds)]
		s.keys[i] = checkKey{slot: sl, kind: kind, since: -1,
			stem: fmt.Sprintf("%s:{%s}:%s", prefix, hashTag(sl), checkKindNames[kind])}
	}
	return s
}

func (k *checkKey) name() string { return k.stem + ":" + strconv.Itoa(k.gen) }

// pick gives the n-th key and the name to use, a new one when the old one has had its share of operations, or of writes of
// which nobody knows the outcome.
func (s *checkKeySet) pick(n int, r *linearize.Recorder) (sl slot.Slot, kind checkKind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.keys[n]
	if k.ops >= checkKeyOps || r.UnknownMutations(k.name()) >= linearize.RetireAfter {
		k.gen++
		k.ops = 0
	}
	k.ops++
	return k.slot, k.kind, k.name()
}

// done notes what became of an operation on the n-th key.
func (s *checkKeySet) done(n int, op *recorded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.keys[n]
	begin := op.Call
	if k.since >= 0 {
		begin = min(begin, k.since)
	}
	if op.Problem != "" {
		k.since = begin
		return
	}
	k.since = -1
	s.stall(checkStall{begin, op.End, k.slot, true})
}

func (s *checkKeySet) stall(st checkStall) {
	if st.end-st.begin > s.longest.end-s.longest.begin {
		s.longest = st
	}
}

// longestStall is the longest stall until now.
func (s *checkKeySet) longestStall(now int64) checkStall {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.since >= 0 {
			s.stall(checkStall{k.since, now, k.slot, false})
		}
	}
	return s.longest
}

// checkName is a name that was used.
type checkName struct {
	slot slot.Slot
	name string
	kind checkKind
	key  int
}

// names lists all names that were used.
func (s *checkKeySet) names() []checkName {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []checkName
	for i, k := range s.keys {
		for last := k.gen; k.gen >= 0; k.gen-- {
			if k.gen < last || k.ops > 0 {
				out = append(out, checkName{k.slot, k.name(), k.kind, i})
			}
		}
	}
	return out
}

// checkClient is one client. After an operation of unknown outcome it goes on under an identity of its own, since the old
// one may still be busy with it.
type checkClient struct {
	c      *checker
	link   *clusterClient
	number int
	rng    *rand.Rand
	reads  int
	writes int
	acked  int // writes that were answered
	errs   map[string]int
	shown  map[string]string // an example for each kind of error
	err    error             // of the recorder: a bug of the check
}

func (c *checker) newClient(number int) *checkClient {
	// Each begins with another address, and so asks another node when it knows nothing.
	nodes := c.topology.Nodes
	first := number % len(nodes)
	entries := append(append([]string{}, nodes[first:]...), nodes[:first]...)
	link := newClusterClient(entries, c.o.password, c.o.timeout, waitCodes[:]...)
	for i := range c.keys.keys {
		sl := c.keys.keys[i].slot // the rest of a key belongs to its lock
		link.owner[sl] = c.topology.Owners[sl]
	}
	return &checkClient{c: c, link: link, number: number, rng: rand.New(rand.NewPCG(c.seed, uint64(number))),
		errs: map[string]int{}, shown: map[string]string{}}
}

// run draws and runs operations until ctx is done.
func (k *checkClient) run(ctx context.Context) {
	next := time.Now()
	for ctx.Err() == nil && k.err == nil {
		if k.c.record.Len() >= checkOps {
			k.c.full()
			return
		}
		n := k.rng.IntN(len(k.c.keys.keys))
		sl, kind, name := k.c.keys.pick(n, k.c.record)
		if !k.operate(n, sl, k.draw(kind, name)...) {
			_ = sleep(ctx, checkRest)
		}
		if k.c.o.rate > 0 {
			// What a stall has kept from being sent is not made up for.
			next = next.Add(time.Duration(k.c.o.clients) * time.Second / time.Duration(k.c.o.rate))
			if late := time.Since(next); late > 0 {
				next = next.Add(late)
			} else {
				_ = sleep(ctx, -late)
			}
		}
	}
}

// draw draws a command.
func (k *checkClient) draw(kind checkKind, name string) []string {
	unique := strconv.FormatInt(k.c.written.Add(1), 10) + ";"
	p := k.rng.IntN(100)
	switch kind {
	case counterKind:
		switch {
		case p < 40:
			return kind.readAll(name)
		case p < 70:
			return []string{"INCR", name}
		default:
			return []string{"INCRBY", name, strconv.Itoa(2 + k.rng.IntN(8))}
		}
	case textKind:
		if p < 40 {
			return kind.readAll(name)
		}
		return []string{"APPEND", name, unique}
	case listKind:
		switch {
		case p < 35:
			return kind.readAll(name)
		case p < 45:
			return []string{"LLEN", name}
		case p < 75:
			return []string{"RPUSH", name, unique}
		case p < 90:
			return []string{"LPUSH", name, unique}
		default:
			return []string{"LPOP", name}
		}
	case setKind:
		// One of a few members that come and go; others are added once.
		other := "m" + strconv.Itoa(k.rng.IntN(20)) + ";"
		switch {
		case p < 30:
			return kind.readAll(name)
		case p < 38:
			return []string{"SCARD", name}
		case p < 46:
			return []string{"SISMEMBER", name, other}
		case p < 75:
			return []string{"SADD", name, unique}
		case p < 90:
			return []string{"SADD", name, unique, other}
		default:
			return []string{"SREM", name, other}
		}
	default:
		switch {
		case p < 40:
			return kind.readAll(name)
		case p < 65:
			return []string{"SET", name, unique}
		case p < 78:
			return []string{"GETSET", name, unique}
		case p < 88:
			return []string{"SETNX", name, unique}
		default:
			return []string{"DEL", name}
		}
	}
}

// operate runs one operation and reports whether it succeeded.
func (k *checkClient) operate(n int, sl slot.Slot, argv ...string) bool {
	op, err := k.link.record(k.c.record, k.c.now, k.number, sl, argv...)
	if err != nil {
		k.err = errors.Join(k.err, err)
		return false
	}
	k.c.keys.done(n, &op)
	if op.Mutates() {
		k.writes++
		if op.Problem == "" {
			k.acked++
		}
	} else {
		k.reads++
	}
	if op.Unknown {
		k.number = int(k.c.identities.Add(1))
	}
	if op.Problem != "" {
		k.errs[op.Problem]++
		k.shown[op.Problem] = op.Err.Error()
	}
	return op.Problem == ""
}
