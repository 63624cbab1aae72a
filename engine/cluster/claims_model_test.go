package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"godwit/engine/mutant"
	"godwit/engine/slot"
)

// The model check of claims explores, breadth first and exhaustively within its bounds, three nodes that are given two maps in any
// order, claim what the maps give them, and move slots to each other, while questions get no answer, nodes crash with what they had not synced
// lost or kept, and a node loses its directory. Claims is the production code. Around it stands what the engine does with it, as
// plainly as possible, and a move reduced to its records: prepared at the target, released at the source, serving at the target.
//
// Each state must have at most one server of each slot. From each a good end must be reachable without further faults: every slot is
// served by one node. Only a slot whose owner's directory was lost need not be served again.
//
// What a node says of its records leaves when they are synced; so whatever it says syncs it here. An answer that travels for long
// is one that was given early: between the last answer and the end of the round anything may happen.

const claimNodes, claimSlots = 3, 2

// claimBounds limits an exploration. The maps say of each slot which node has it, and which nodes they know.
type claimBounds struct {
	name                 string
	slots                int
	maps                 [2][claimSlots]int8
	known                [2][]int8
	moves, faults, wipes int
	told                 bool // a node loses its directory only when all have the second map
	states               int  // at which the exploration stops as too large: a failure of the test
}

func claimID(i int8) NodeID { return NodeID(rune('a' + i)) }

// claimRec is a record in short: the job of the move that made it takes the place of order and attempt.
type claimRec struct {
	state State
	epoch uint8
	peer  int8
	job   uint8
}

// claimDisk is what a crash leaves of a node.
type claimDisk struct {
	version int8  // of its map: 0 none
	base    uint8 // whom claims ask, as bits
	recs    [claimSlots]claimRec
}

type claimNode struct {
	now, durable claimDisk
	incarnation  uint8
	claims       Claims
	retry        bool // a timer will ask again
	// moving is, for a slot that is served and asked to move, its job and target.
	moving [claimSlots]struct {
		job uint8
		to  int8
	}
}

type claimPacketKind uint8

const (
	claimQuestion claimPacketKind = iota // of a round
	claimPrepare
	claimPrepared
	claimCommit
)

type claimPacket struct {
	kind        claimPacketKind
	from, to    int8
	incarnation uint8 // of the one who waits for the answer
	slot        uint8
	epoch, job  uint8
}

type claimModel struct {
	b                    *claimBounds
	nodes                [claimNodes]claimNode
	net                  []claimPacket
	moves, faults, wipes int
	lost                 [claimSlots]bool // the owner's directory was lost
}

func newClaimModel(b *claimBounds) *claimModel {
	m := &claimModel{b: b}
	for i := range m.nodes {
		m.nodes[i].incarnation = 1
	}
	return m
}

func (m *claimModel) clone() *claimModel {
	c := *m
	c.net = slices.Clone(m.net)
	for i := range c.nodes {
		x := &c.nodes[i].claims
		x.base, x.learned, x.seen = slices.Clone(x.base), slices.Clone(x.learned), slices.Clone(x.seen)
		x.open, x.yielded, x.slots = slices.Clone(x.open), slices.Clone(x.yielded), slices.Clone(x.slots)
		x.asked = slices.Clone(x.asked) // nil stays nil; answers do not change
	}
	return &c
}

// key identifies a state. Numbers of rounds are left out: packets of void rounds are dropped.
func (m *claimModel) key() string {
	b := make([]byte, 0, 512)
	disk := func(d *claimDisk) {
		b = append(b, byte(d.version), d.base)
		for _, r := range d.recs[:m.b.slots] {
			b = append(b, byte(r.state), r.epoch, byte(r.peer), r.job)
		}
	}
	slots := func(list []slot.Slot) {
		bits := byte(0)
		for _, s := range list {
			bits |= 1 << s
		}
		b = append(b, bits)
	}
	for i := range m.nodes {
		n := &m.nodes[i]
		x := &n.claims
		disk(&n.now)
		disk(&n.durable)
		b = append(b, n.incarnation, bit(n.retry), bit(x.hurried), bit(x.asked == nil), contactBits(x.learned))
		slots(x.open)
		slots(x.yielded)
		slots(x.slots)
		for _, s := range x.seen {
			b = append(b, s.id[0], byte(s.incarnation))
		}
		for i := range x.asked {
			q := &x.asked[i]
			b = append(b, q.ID[0], byte(q.state), byte(q.answer.Incarnation), contactBits(q.answer.Known), byte(len(q.answer.Slots)))
			for _, s := range q.answer.Slots {
				b = append(b, byte(s.Slot), byte(s.State), byte(s.Epoch))
			}
		}
		for _, v := range n.moving[:m.b.slots] {
			b = append(b, v.job, byte(v.to))
		}
	}
	packets := make([]string, 0, len(m.net))
	for _, p := range m.net {
		packets = append(packets, string([]byte{byte(p.kind), byte(p.from), byte(p.to), p.incarnation, p.slot, p.epoch, p.job}))
	}
	slices.Sort(packets)
	b = append(b, byte(len(packets)))
	for _, p := range packets {
		b = append(b, p...)
	}
	return string(append(b, byte(m.moves), byte(m.faults), byte(m.wipes), bit(m.lost[0]), bit(m.lost[1])))
}

func bit(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func contactBits(list []Contact) (bits byte) {
	for _, to := range list {
		bits |= 1 << (to.ID[0] - 'a')
	}
	return bits
}

func contactsOf(bits uint8) (list []Contact) {
	for i := range int8(claimNodes) {
		if bits>>i&1 == 1 {
			list = append(list, Contact{ID: claimID(i)})
		}
	}
	return list
}

func (m *claimModel) knownBits(version int8) (bits uint8) {
	if version > 0 {
		for _, i := range m.b.known[version-1] {
			bits |= 1 << i
		}
	}
	return bits
}

func (m *claimModel) given(version, to int8) (set slot.Set) {
	for s := range m.b.slots {
		if version > 0 && m.b.maps[version-1][s] == to {
			set.Add(slot.Slot(s))
		}
	}
	return set
}

// push gives a node a map, and its name if it has none.
func (m *claimModel) push(i, version int8) {
	n := &m.nodes[i]
	n.claims.SetSelf(claimID(i))
	old := n.now.version
	n.now.version = version
	base := m.knownBits(version) | m.knownBits(old)
	if !n.claims.Idle() {
		base |= n.now.base
	}
	n.now.base = base
	n.claims.SetBase(contactsOf(base))
	m.claimGiven(i)
}

// claimGiven is what the engine does with a map, new or read from its disk.
func (m *claimModel) claimGiven(i int8) {
	n := &m.nodes[i]
	given := m.given(n.now.version, i)
	n.claims.Retain(&given)
	for _, s := range given.Slots() {
		r := n.now.recs[s]
		switch {
		case mutant.On(mutant.MapSteals) && r.state != Serving:
			m.record(i, int(s), claimRec{state: Serving, epoch: r.epoch + 1})
		case r.state == None:
			n.claims.Claim(s)
		}
	}
	m.ask(i)
}

func (m *claimModel) ask(i int8) {
	n := &m.nodes[i]
	n.retry = false
	r := n.claims.Ask()
	m.dropQuestions(i)
	for _, to := range r.Whom {
		m.net = append(m.net, claimPacket{kind: claimQuestion, from: i, to: int8(to.ID[0] - 'a')})
	}
}

// dropQuestions takes those of void rounds off the network: whatever they are answered counts for nothing.
func (m *claimModel) dropQuestions(i int8) {
	m.net = slices.DeleteFunc(m.net, func(p claimPacket) bool { return p.kind == claimQuestion && p.from == i })
}

func (m *claimModel) settle(i int8) {
	n := &m.nodes[i]
	out := n.claims.Settle(n.claims.round)
	for _, s := range out.Serve {
		m.record(i, int(s), claimRec{state: Serving, epoch: 1})
	}
	n.retry = out.Again && !out.AtOnce
	if out.AtOnce {
		m.ask(i)
	}
}

func (m *claimModel) record(i int8, s int, r claimRec) {
	n := &m.nodes[i]
	n.now.recs[s] = r
	n.claims.Drop(slot.Slot(s))
}

func (m *claimModel) sync(i int8) { m.nodes[i].durable = m.nodes[i].now }

// answer is what a node says of the slots that another claims.
func (m *claimModel) answer(i int8, about []slot.Slot) Answer {
	n := &m.nodes[i]
	if !mutant.On(mutant.UndurableAnswer) {
		m.sync(i)
	}
	a := Answer{Incarnation: Incarnation(n.incarnation), Known: contactsOf(n.now.base)}
	for _, s := range about {
		if r := n.now.recs[s]; r.state != None || n.claims.Claiming(s) {
			a.Slots = append(a.Slots, SlotAnswer{Slot: s, State: r.state, Epoch: Epoch(r.epoch)})
		}
	}
	return a
}

// deliver takes a packet off the network and executes it.
func (m *claimModel) deliver(k int) {
	p := m.net[k]
	m.net = slices.Delete(m.net, k, k+1)
	to := &m.nodes[p.to]
	switch p.kind {
	case claimQuestion:
		asker := &m.nodes[p.from]
		if to.claims.self == "" { // the handshake fails
			asker.claims.Failed(asker.claims.round, claimID(p.to))
			return
		}
		asker.claims.Answered(asker.claims.round, claimID(p.to), m.answer(p.to, asker.claims.slots))
	case claimPrepare:
		r := to.now.recs[p.slot]
		if to.claims.self == "" || r.state == Serving || r.state == Prepared || r.state != None && r.epoch > p.epoch {
			return
		}
		m.record(p.to, int(p.slot), claimRec{state: Prepared, epoch: p.epoch, peer: p.from, job: p.job})
		m.sync(p.to)
		m.net = append(m.net, claimPacket{kind: claimPrepared, from: p.to, to: p.from, incarnation: p.incarnation, slot: p.slot, job: p.job})
	case claimPrepared:
		r := to.now.recs[p.slot]
		if to.incarnation != p.incarnation || r.state != Serving || to.moving[p.slot].job != p.job {
			return
		}
		m.record(p.to, int(p.slot), claimRec{state: Released, epoch: r.epoch + 1, peer: p.from, job: p.job})
	case claimCommit:
		m.commit(p.to, int(p.slot), p.job)
	}
}

func (m *claimModel) commit(i int8, s int, job uint8) {
	if r := m.nodes[i].now.recs[s]; r.state == Prepared && r.job == job {
		m.record(i, s, claimRec{state: Serving, epoch: r.epoch + 1, peer: r.peer, job: job})
	}
}

// begin asks a node to move a slot that it serves.
func (m *claimModel) begin(from, to int8, s int) {
	m.moves++
	n := &m.nodes[from]
	n.moving[s].job, n.moving[s].to = uint8(m.moves), to
	m.sync(from)
	m.net = append(m.net, claimPacket{kind: claimPrepare, from: from, to: to, incarnation: n.incarnation, slot: uint8(s), epoch: n.now.recs[s].epoch, job: uint8(m.moves)})
}

// inquire is the question of a prepared target to its source, and what it does with the answer. A source that has lost its directory
// does not know.
func (m *claimModel) inquire(i int8, s int) {
	r := m.nodes[i].now.recs[s]
	source := &m.nodes[r.peer]
	m.sync(r.peer)
	switch about := source.now.recs[s]; {
	case about.state == Released && about.job == r.job:
		m.commit(i, s, r.job)
	case about.state != None && source.moving[s].job != r.job:
		m.record(i, s, claimRec{state: Aborted, epoch: r.epoch, peer: r.peer, job: r.job})
	}
}

func (m *claimModel) crash(i int8, keep bool) {
	n := &m.nodes[i]
	if keep {
		m.sync(i)
	}
	*n = claimNode{now: n.durable, durable: n.durable, incarnation: n.incarnation}
	m.dropQuestions(i)
	if n.now.version > 0 {
		n.claims.SetSelf(claimID(i))
		n.claims.SetBase(contactsOf(n.now.base))
		for s, r := range n.now.recs {
			given := m.given(n.now.version, i)
			if mutant.On(mutant.NoneReassigned) && r.state == Released && given.Has(slot.Slot(s)) {
				m.record(i, s, claimRec{state: Serving, epoch: r.epoch})
			}
		}
		m.claimGiven(i)
	}
}

// wipe takes a node's directory away. It comes back without a name and a map.
func (m *claimModel) wipe(i int8) {
	n := &m.nodes[i]
	for s, r := range n.now.recs {
		taken := false // by the one to whom the slot was released
		if r.state == Released {
			to := m.nodes[r.peer].now.recs[s]
			taken = to.epoch >= r.epoch && to.state != Prepared
		}
		m.lost[s] = m.lost[s] || r.state == Serving || r.state == Prepared || r.state == Released && !taken
	}
	*n = claimNode{incarnation: n.incarnation + 1}
	m.dropQuestions(i)
}

type claimAction struct {
	name  string
	fault bool
	do    func(*claimModel)
}

func (m *claimModel) actions() (out []claimAction) {
	add := func(do func(*claimModel), name string, args ...any) {
		out = append(out, claimAction{name: fmt.Sprintf(name, args...), do: do})
	}
	fault := func(do func(*claimModel), name string, args ...any) {
		if m.faults < m.b.faults {
			out = append(out, claimAction{name: fmt.Sprintf(name, args...), fault: true, do: func(m *claimModel) { do(m); m.faults++ }})
		}
	}
	for k, p := range m.net {
		add(func(m *claimModel) { m.deliver(k) }, "deliver %d %c→%c", p.kind, 'a'+p.from, 'a'+p.to)
		fault(func(m *claimModel) { m.lose(k) }, "lose %d %c→%c", p.kind, 'a'+p.from, 'a'+p.to)
	}
	all := true
	for i := range int8(claimNodes) {
		all = all && m.nodes[i].durable.version == 2
	}
	for i := range int8(claimNodes) {
		n := &m.nodes[i]
		for v := n.now.version + 1; v <= 2; v++ {
			add(func(m *claimModel) { m.push(i, v) }, "map %d to %c", v, 'a'+i)
		}
		if n.claims.asked != nil && !slices.ContainsFunc(n.claims.asked, func(q asked) bool { return q.state == askOut }) {
			add(func(m *claimModel) { m.settle(i) }, "%c settles", 'a'+i)
		}
		if n.retry {
			add(func(m *claimModel) { m.ask(i) }, "%c asks again", 'a'+i)
		}
		if len(n.claims.yielded) > 0 {
			add(func(m *claimModel) { m.nodes[i].claims.Resume(); m.ask(i) }, "%c resumes", 'a'+i)
		}
		for s := range m.b.slots {
			m.slotActions(i, s, add, fault)
		}
		if n.now != n.durable {
			fault(func(m *claimModel) { m.crash(i, false) }, "%c crashes, unsynced lost", 'a'+i)
		}
		if n.now.version > 0 {
			fault(func(m *claimModel) { m.crash(i, true) }, "%c crashes", 'a'+i)
		}
		if m.wipes < m.b.wipes && (all || !m.b.told) {
			out = append(out, claimAction{name: fmt.Sprintf("%c loses its directory", 'a'+i), fault: true, do: func(m *claimModel) { m.wipe(i); m.wipes++ }})
		}
		if m.b.told && !all && n.now != n.durable {
			add(func(m *claimModel) { m.sync(i) }, "%c syncs", 'a'+i)
		}
	}
	return out
}

func (m *claimModel) slotActions(i int8, s int, add, fault func(do func(*claimModel), name string, args ...any)) {
	n := &m.nodes[i]
	r := n.now.recs[s]
	moving := n.moving[s].job != 0
	switch {
	case r.state == Serving && !moving && m.moves < m.b.moves:
		for to := range int8(claimNodes) {
			if to != i && m.knownBits(n.now.version)>>to&1 == 1 {
				add(func(m *claimModel) { m.begin(i, to, s) }, "move %d from %c to %c", s, 'a'+i, 'a'+to)
			}
		}
	case r.state == Serving && moving:
		// Without a fault it happens only when no answer will come.
		add(func(m *claimModel) { m.nodes[i].moving[s].job = 0 }, "%c gives up moving %d", 'a'+i, s)
	case r.state == Released && moving && r.job == n.moving[s].job:
		add(func(m *claimModel) {
			m.sync(i)
			m.nodes[i].moving[s].job = 0
			m.net = append(m.net, claimPacket{kind: claimCommit, from: i, to: r.peer, slot: uint8(s), job: r.job})
		}, "%c has decided %d", 'a'+i, s)
	case r.state == Prepared:
		add(func(m *claimModel) { m.inquire(i, s) }, "%c inquires about %d", 'a'+i, s)
	}
}

// lose lets a packet get lost, or its answer; who asked a question learns that none came.
func (m *claimModel) lose(k int) {
	p := m.net[k]
	m.net = slices.Delete(m.net, k, k+1)
	if p.kind == claimQuestion {
		c := &m.nodes[p.from].claims
		c.Failed(c.round, claimID(p.to))
	}
}

// broken names the invariant that the state violates, or "".
func (m *claimModel) broken() string {
	for s := range m.b.slots {
		if n := m.servers(s); n > 1 {
			return fmt.Sprintf("%d nodes serve slot %d", n, s)
		}
	}
	for i := range m.nodes {
		c := &m.nodes[i].claims
		for _, s := range c.open {
			if slices.Contains(c.yielded, s) || m.nodes[i].now.recs[s].state != None {
				return fmt.Sprintf("node %c claims slot %d and has yielded it, or has a record of it", 'a'+i, s)
			}
		}
		for _, s := range c.slots {
			if c.asked == nil {
				return fmt.Sprintf("node %c has a round about slot %d without questions", 'a'+i, s)
			}
		}
	}
	return ""
}

func (m *claimModel) servers(s int) (count int) {
	for i := range m.nodes {
		if m.nodes[i].now.recs[s].state == Serving {
			count++
		}
	}
	return count
}

// good reports that the state is a good end.
func (m *claimModel) good() bool {
	for s := range m.b.slots {
		if m.servers(s) != 1 && !m.lost[s] {
			return false
		}
	}
	return true
}

type claimResult struct {
	states   int
	tooLarge bool
	failure  string
	trace    []string
}

// exploreClaims visits every state within the bounds.
func exploreClaims(b *claimBounds) (res claimResult) {
	type node struct {
		m      *claimModel
		parent int32
		action string
	}
	start := newClaimModel(b)
	nodes := []node{{start, -1, "start"}}
	seen := map[string]int32{start.key(): 0}
	back := [][]int32{nil} // edges without faults, from their ends
	var good []int32
	fail := func(i int32, text string) claimResult {
		res.failure, res.states = text, len(nodes)
		for ; i >= 0; i = nodes[i].parent {
			res.trace = append(res.trace, nodes[i].action)
		}
		slices.Reverse(res.trace)
		return res
	}
	for i := int32(0); int(i) < len(nodes); i++ {
		m := nodes[i].m
		if len(nodes) > b.states {
			res.states, res.tooLarge = len(nodes), true
			return res
		}
		for _, a := range m.actions() {
			next := m.clone()
			a.do(next)
			k := next.key()
			j, known := seen[k]
			if !known {
				j = int32(len(nodes))
				seen[k] = j
				nodes = append(nodes, node{next, i, a.name})
				back = append(back, nil)
				if text := next.broken(); text != "" {
					return fail(j, text)
				}
			}
			if !a.fault {
				back[j] = append(back[j], i)
			}
		}
		if m.good() {
			good = append(good, i)
		}
		nodes[i].m = nil
	}
	res.states = len(nodes)
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
			return fail(int32(i), "no good end can be reached")
		}
	}
	return res
}

var (
	everybody = []int8{0, 1, 2}
	allThree  = [2][]int8{everybody, everybody}
)

// claimChecks are the explorations of each test run.
func claimChecks() []claimBounds {
	return []claimBounds{
		{name: "the second map gives the slot to another", slots: 1, maps: [2][claimSlots]int8{{0}, {1}}, known: allThree, moves: 1, faults: 1, states: 2_000_000},
		{name: "a directory is lost", slots: 1, maps: [2][claimSlots]int8{{0}, {1}}, known: allThree, moves: 1, wipes: 1, states: 2_000_000},
		{name: "a node comes later", slots: 1, maps: [2][claimSlots]int8{{0}, {0}}, known: [2][]int8{{0, 1}, everybody}, moves: 1, wipes: 1, told: true, states: 2_000_000},
		{name: "two slots", slots: 2, maps: [2][claimSlots]int8{{0, 1}, {1, 1}}, known: allThree, states: 2_000_000},
	}
}

// TestModelClaims runs the explorations; GODWIT_MODEL=large adds two that take longer.
func TestModelClaims(t *testing.T) {
	checks := claimChecks()
	if os.Getenv("GODWIT_MODEL") == "large" {
		checks = append(checks,
			claimBounds{name: "large: two faults", slots: 1, maps: [2][claimSlots]int8{{0}, {1}}, known: allThree, moves: 1, faults: 2, states: 20_000_000},
			claimBounds{name: "large: two slots and a move", slots: 2, maps: [2][claimSlots]int8{{0, 1}, {1, 1}}, known: allThree, moves: 1, states: 20_000_000},
		)
	}
	for _, b := range checks {
		t.Run(b.name, func(t *testing.T) {
			r := exploreClaims(&b)
			t.Logf("%d states", r.states)
			if r.failure != "" {
				t.Fatalf("%s, after:\n%s", r.failure, strings.Join(r.trace, "\n"))
			}
			if r.tooLarge {
				t.Fatal("the exploration is larger than its bound")
			}
		})
	}
}
