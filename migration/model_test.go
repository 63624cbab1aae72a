package migration

import (
	"bytes"
	"fmt"
	"testing"

	"godwit/engine/cluster"
)

// The model check explores, breadth first and exhaustively within its bounds, every interleaving of one slot's handoff, and,
// where copies are kept, of its rollback: two nodes, clients that write to whichever serves, a network that delivers in any order, and a budget of
// faults: a message lost (before or after it was executed), a message executed twice, a crash of either node in which all of
// its unsynced commits are lost or all survive, a pause that reaches its deadline, a cancel, an old map pushed to the source, an
// operator who makes the job rest (and will let it go on, as one who holds it will tell it to cut over), a target that has no room, a side that is lost
// for good (model_resolve_test.go).
// The machines are the production code; only the stores, the network and the clients are modelled, as plainly as possible: a
// slot holds two keys, whose values are the numbers of the writes.

// modelBounds limits an exploration.
type modelBounds struct {
	writes, faults int
	attempts       cluster.Attempt // beyond which a state is not explored further
	rests          bool            // a fault may be that an operator makes the job rest
	busy           bool            // a fault may be that the target has no room for a message
	losses         bool            // a fault may be that a side is lost for good, or that an operator says so of one that lives
	states         int             // at which the exploration stops as too large: a failure of the test
}

// action is one thing that can happen next in a model M.
type action[M any] struct {
	name  string
	fault bool
	late  bool // may never happen: a message arrives that nobody waits for
	do    func(M)
}

type modelResult struct {
	states, ends int
	tooLarge     bool
	failure      string
	trace        []string
}

// explorable is a model of something that moves.
type explorable[M any] interface {
	clone() M
	key() [16]byte
	actions(modelBounds) []action[M]
	// spent is how many faults have struck.
	spent() *int
	// beyond reports that the state lies outside the bounds.
	beyond(modelBounds) bool
	// broken names the invariant that the state violates, unfinished what keeps it from being a good end; "" for none.
	broken() string
	unfinished() string
}

// explore visits every state within the bounds, breadth first, so that a failure comes with a shortest trace. Each state must
// satisfy the invariants, and from each a good end must be reachable by what happens without further faults: neither a
// deadlock nor an endless repetition passes.
func explore[M explorable[M]](start M, b modelBounds) modelResult {
	type node struct {
		m      M
		parent int32
		action string
	}
	nodes := []node{{start, -1, "start"}}
	seen := map[[16]byte]int32{start.key(): 0}
	var from, to []int32 // edges without faults
	var good []int32     // good ends, and states at the edge of the bounds
	why := map[int32]string{}
	var res modelResult
	fail := func(i int32, text string) modelResult {
		res.failure, res.states = text, len(nodes)
		for ; i >= 0; i = nodes[i].parent {
			res.trace = append([]string{nodes[i].action}, res.trace...)
		}
		return res
	}
	for i := int32(0); int(i) < len(nodes); i++ {
		m := nodes[i].m
		if len(nodes) > b.states {
			res.states, res.tooLarge = len(nodes), true
			return res
		}
		for _, a := range m.actions(b) {
			if a.fault && *m.spent() >= b.faults {
				continue
			}
			next := m.clone()
			a.do(next)
			if a.fault {
				*next.spent()++
			}
			k := next.key()
			j, known := seen[k]
			switch {
			case next.beyond(b):
				good = append(good, i)
				continue
			case !known:
				j = int32(len(nodes))
				seen[k] = j
				nodes = append(nodes, node{next, i, a.name})
				if text := next.broken(); text != "" {
					return fail(j, text)
				}
			}
			if !a.fault && !a.late {
				from, to = append(from, i), append(to, j)
			}
		}
		if text := m.unfinished(); text == "" {
			good = append(good, i)
			res.ends++
		} else {
			why[i] = text
		}
		var none M
		nodes[i].m = none
	}
	res.states = len(nodes)
	// Walk back from the good ends over the edges.
	back := make([][]int32, len(nodes))
	for e := range from {
		back[to[e]] = append(back[to[e]], from[e])
	}
	reached := make([]bool, len(nodes))
	for len(good) > 0 {
		i := good[len(good)-1]
		good = good[:len(good)-1]
		if !reached[i] {
			reached[i] = true
			good = append(good, back[i]...)
		}
	}
	for i := range nodes {
		if !reached[i] {
			return fail(int32(i), "no good end can be reached: "+why[int32(i)])
		}
	}
	return res
}

func TestModelHandoff(t *testing.T) {
	for _, c := range []struct {
		orders Orders
		modelBounds
	}{
		{Orders{}, modelBounds{writes: 2, faults: 1, attempts: 6, states: 300_000}},
		{Orders{}, modelBounds{writes: 1, faults: 1, attempts: 6, rests: true, states: 300_000}},
		{Orders{}, modelBounds{writes: 1, faults: 2, attempts: 6, states: 1_500_000}},
		{Orders{}, modelBounds{writes: 2, faults: 1, attempts: 6, busy: true, states: 600_000}},
		{Orders{Keep: true}, modelBounds{writes: 1, faults: 1, attempts: 6, states: 500_000}},
		{Orders{Keep: true}, modelBounds{writes: 2, faults: 0, attempts: 6, states: 300_000}},
		{Orders{}, modelBounds{writes: 1, faults: 2, attempts: 4, losses: true, states: 1_500_000}},
		{Orders{Hold: true}, modelBounds{writes: 1, faults: 1, attempts: 6, rests: true, states: 500_000}},
	} {
		b := c.modelBounds
		r := explore(newModelOf(c.orders, b), b)
		t.Logf("%+v, %d writes, %d faults: %d states, %d ends", c.orders, b.writes, b.faults, r.states, r.ends)
		if r.failure != "" {
			t.Fatalf("%s, after:\n%s", r.failure, lines(r.trace))
		}
		if r.tooLarge {
			t.Fatal("the exploration is larger than its bound")
		}
	}
}

func lines(trace []string) string {
	var b bytes.Buffer
	for i, s := range trace {
		fmt.Fprintf(&b, "%3d %s\n", i, s)
	}
	return b.String()
}
