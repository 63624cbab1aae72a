package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"

	"godwit/engine"
	"godwit/engine/env"
	"godwit/engine/resp"
	"godwit/migration"
)

// network carries requests and replies between processes and clients, over connections that behave as TCP's do at best and
// worse than they do at worst: see nemesis.go for what can happen.
type network struct {
	w     *world
	dice  dice
	links map[linkKey]*conn // those of peers that are not known to be broken
	conns []*conn           // whose receiving end is open, oldest first
	next  int
	sent  int // numbers the calls
	cuts  []cut
	slow  []slowLink
	// swapped are two machines that are found at each other's address; nil for none. Clients know better.
	swapped []*process
	joined  []byte // arguments of the request that arrives
	packet  [][][]byte
}

type linkKey struct {
	from *process
	life int
	to   env.Peer
	lane env.Lane
}

func newNetwork(w *world) *network {
	return &network{w: w, dice: newDice(w.seed, streamNetwork, 0), links: map[linkKey]*conn{}}
}

// errRefused says that nobody listens there: nothing of the request has been executed.
var errRefused = errors.New("connection refused")

// conn is a connection as both its ends see it.
type conn struct {
	net  *network
	id   int
	key  linkKey // of peers
	from *process
	life int // of from
	to   *process

	client  *client // whose connection it is; nil for those of peers
	watches bool    // its client may watch keys

	// The calling end.
	shaken  bool // the handshake is over; clients need none
	waiting []*call
	open    []*call       // sent and not answered
	heard   time.Duration // when something last came from the other end
	broken  bool

	// The receiving end.
	toLife  int // 0 until the first message has arrived
	session *engine.Session
	closed  bool
	served  []served // executed and not answered, in order
	in      []byte   // of a reply that is not complete

	// The earliest time for the next message of each direction, when order is kept.
	floor [2]time.Duration
	// The highest number of a message that has arrived, in each direction.
	latest [2]int
}

// call is a request on a connection and what becomes of it.
type call struct {
	conn   *conn
	number int // within the run, from 1, once it is sent
	// ahead are commands that travel in front of args in one packet, as clients pipeline; early is what they were answered, which the
	// caller gets with the reply to args.
	ahead [][][]byte
	early []resp.Value
	args  [][]byte
	done  func(resp.Value, error)
	// reply is done of a call between peers.
	reply func([]byte, error)
	over  bool // done has been called
	// ran is called when the receiving end has been given all of it, and left when the last reply leaves there; both may be nil.
	ran  func()
	left func(v resp.Value)
	// try is what a client tries by the call, in place of done, ran and left; nil for others.
	try   *try
	given time.Duration // when a peer asked for it
	// back is the first reply on its way; others are of calls that were duplicated.
	back returning
}

// call takes memory for a call.
func (n *network) call(k call) *call {
	const piece = 32
	at := &n.w.room.calls.take(1, piece)[0]
	*at = k
	return at
}

// hasRun tells that the receiving end has been given all of it.
func (k *call) hasRun() {
	if k.try != nil {
		k.try.ran()
	} else if k.ran != nil {
		k.ran()
	}
}

// leaves tells that the last reply leaves.
func (k *call) leaves(v resp.Value) {
	if k.try != nil {
		k.try.left(v)
	} else if k.left != nil {
		k.left(v)
	}
}

// end tells the caller what became of it.
func (k *call) end(v resp.Value, err error) {
	switch {
	case k.try != nil:
		k.try.done(v, err)
	case k.reply == nil:
		k.done(v, err)
	case err != nil:
		k.reply(nil, err)
	case v.Kind == resp.ErrorKind:
		k.reply(nil, &env.RemoteError{Text: v.Str})
	default:
		k.reply([]byte(v.Str), nil)
	}
}

// landing is a call whose request comes to where it was sent.
type landing call

func (l *landing) do() {
	k := (*call)(l)
	if k.conn.net.lands(k, 0) {
		k.conn.arrive(k)
	}
}

// returning is a reply that comes back.
type returning struct {
	k *call
	v resp.Value
}

func (r *returning) do() {
	if r.k.conn.net.lands(r.k, 1) {
		r.k.answer(r.v, nil)
	}
}

// overdue is a call of a peer whose time is up.
type overdue call

func (o *overdue) do() {
	k := (*call)(o)
	if k.over {
		return
	}
	k.over = true
	c := k.conn
	if c.heard < k.given || c.net.dice.chance(0.1) { // as the real links do, which take such a connection for dead
		c.break_("the caller gave it up")
	}
	k.reply(nil, env.ErrTimeout)
}

// names is the last of the commands that names a key, as far as it is a client's: what the call is about.
func (k *call) names() [][]byte {
	for i := len(k.ahead) - 1; i >= 0 && len(k.args) < 2; i-- {
		if len(k.ahead[i]) > 1 {
			return k.ahead[i]
		}
	}
	return k.args
}

// join copies all that the call sends into one slice.
func (k *call) join(dst []byte) []byte {
	for _, args := range k.ahead {
		dst = join(dst, args)
	}
	return join(dst, k.args)
}

// carries reports whether the call is a message of a move, of a kind.
func (k *call) carries(kind migration.MessageKind) bool {
	if len(k.args) != 3 || string(k.args[1]) != "MIGRATION" {
		return false
	}
	m, err := migration.DecodeMessage(k.args[2])
	return err == nil && m.Kind == kind
}

// served is a command of a call that was given to a session.
type served struct {
	*call
	since time.Duration
	more  bool // others of the call follow it
}

func (c *conn) caller() int {
	if c.from == nil {
		return -1
	}
	return c.from.index
}

// dial makes a connection; the receiving end comes into being when the first message arrives.
func (n *network) dial(from *process, to *process) *conn {
	n.next++
	c := &conn{net: n, id: n.next, from: from, to: to}
	if from != nil {
		c.life = from.life
	}
	return c
}

// Call implements env.Peers.
func (s *seat) Call(to env.Peer, lane env.Lane, args [][]byte, timeout time.Duration, done func([]byte, error)) {
	if s.dead() {
		return
	}
	n := s.p.w.net
	key := linkKey{s.p, s.life, to, lane}
	c := n.links[key]
	if c == nil {
		c = n.dial(s.p, n.at(to.Addr))
		c.key = key
		n.links[key] = c
		s.then(n.dice.between(10*time.Microsecond, 200*time.Microsecond), c.shake)
	}
	k := n.call(call{conn: c, args: toArgs(n, args), reply: done, given: n.w.now})
	s.push(timeout, (*overdue)(k), nil)
	if c.shaken {
		c.send(k)
	} else {
		c.waiting = append(c.waiting, k)
	}
}

// toArgs copies the words of a command.
func toArgs[T []byte | string](n *network, args []T) [][]byte {
	const wordsPiece, bytesPiece = 512, 16 << 10
	out := n.w.room.words.take(len(args), wordsPiece)
	for i, a := range args {
		out[i] = n.w.room.bytes.take(len(a), bytesPiece)
		copy(out[i], a)
	}
	return out
}

func (n *network) find(addr string) *process {
	for _, p := range n.w.procs {
		if p.addr() == addr {
			return p
		}
	}
	return nil
}

// shake sends the handshake. It runs on the caller.
func (c *conn) shake() {
	if c.broken || !c.from.ready() {
		return
	}
	if c.to == nil {
		c.break_("no such address")
		return
	}
	k := &call{conn: c, args: c.from.node.Hello(c.key.to)}
	k.done = func(v resp.Value, err error) {
		switch {
		case err != nil:
			return
		case v.Kind != resp.BulkKind:
			c.misdirected()
			c.break_("handshake: " + v.String())
			return
		}
		if err := c.from.node.CheckHello(c.key.to, []byte(v.Str)); err != nil {
			c.misdirected()
			c.break_("handshake: " + err.Error())
			return
		}
		c.shaken = true
		waiting := c.waiting
		c.waiting = nil
		for _, w := range waiting {
			if !w.over {
				c.send(w)
			}
		}
	}
	c.send(k)
	c.from.seat.then(250*time.Millisecond, func() {
		if !c.shaken {
			c.break_("handshake: no answer")
		}
	})
}

// misdirected counts a handshake that was refused because another node answered at the address.
func (c *conn) misdirected() {
	if c.to.addr() != c.key.to.Addr {
		c.net.w.nemesis.count(markWrongNode)
	}
}

// send sends a request.
func (c *conn) send(k *call) {
	c.open = append(c.open, k)
	n := c.net
	n.sent++
	k.number = n.sent
	if c.from != nil {
		n.w.nemesis.faults.sends(c.from, k)
	}
	b := binary.BigEndian.AppendUint32(n.w.trace.room(), uint32(c.id))
	b = k.join(b)
	n.w.trace.message(n.w.now, c.caller(), traceSend, k, b, func() string { return c.show(k) })
	n.transmit(k, 0, (*landing)(k))
}

func (c *conn) show(k *call) string {
	text := c.String()
	for _, args := range k.ahead {
		text += " " + showArgs(args)
	}
	return text + " " + showArgs(k.args)
}

func (c *conn) String() string {
	to := -1
	if c.to != nil {
		to = c.to.index
	}
	return "conn " + strconv.Itoa(c.id) + " " + strconv.Itoa(c.caller()) + "→" + strconv.Itoa(to)
}

// ends are the machines that a message leaves and reaches in a direction; -1 for a client.
func (c *conn) ends(direction int) (from, to int) {
	if direction == 1 {
		return c.to.index, c.caller()
	}
	return c.caller(), c.to.index
}

// transmit lets the network have a message: direction 0 is towards the receiving end. land is what happens when it comes there, if it does not
// get lost before.
func (n *network) transmit(k *call, direction int, land doer) {
	c := k.conn
	s, d := &n.w.swarm, n.dice
	from, to := c.ends(direction)
	delay := 20*time.Microsecond + d.around(s.latency) + n.slowness(from, to)
	ordered := s.fifo || d.chance(s.order)
	sure := n.w.oper.vouching.between(from, to)
	if sure {
		delay, ordered = s.latency, false
	}
	if !n.w.nemesis.over && !sure {
		loss, late := s.drop, s.late
		if direction == 1 {
			loss = s.lostReply
		}
		if s.controlLate > 0 && c.from != nil && c.key.lane == env.Control && !k.carries(migration.MsgData) {
			// Records of the final round travel on that lane, too, but if they suffered no pause would come as far as its prepare.
			loss, late = max(loss, s.controlLoss), max(late, s.controlLate)
		}
		switch {
		case d.chance(loss) && n.w.plan.act("loss"):
			n.w.nemesis.count([]string{markDrop, markLostReply}[direction])
			n.lost(k, direction, "lost")
			return
		case d.chance(s.reset) && n.w.plan.act("reset"):
			n.w.after(d.between(0, 3*delay), c.reset)
		case d.chance(late) && n.w.plan.act("late"):
			n.w.nemesis.count(markLate)
			delay += d.around(s.lateness)
			ordered = s.fifo
		case s.heldPrepares > 0 && direction == 1 && k.carries(migration.MsgPrepare) && d.chance(s.heldPrepares) && n.w.plan.act("late"):
			n.w.nemesis.count(markLate)
			pause := s.driver.Source.PauseDeadline
			delay += d.between(pause, 4*pause)
			ordered = s.fifo
		}
		if direction == 0 && c.from != nil && d.chance(s.duplicate) && n.w.plan.act("duplicate") {
			n.w.nemesis.count(markDuplicate)
			again := delay + d.around(pick(d, s.latency, s.latency*20, s.lateness))
			n.w.after(again, func() {
				if !n.cutBetween(from, to) {
					c.arrive(k)
				}
			})
		}
	}
	at := n.w.now + delay
	if ordered {
		at = max(at, c.floor[direction])
		c.floor[direction] = at + 1
	}
	n.w.later(at-n.w.now, land)
}

// lands reports whether a message arrives that has come to where it was sent: no partition stands before it.
func (n *network) lands(k *call, direction int) bool {
	c := k.conn
	if n.cutBetween(c.ends(direction)) {
		n.w.nemesis.mark([]string{markCutRequest, markCutReply}[direction])
		n.lost(k, direction, "cut")
		return false
	}
	if k.number < c.latest[direction] {
		n.w.nemesis.mark(markOvertaken)
	}
	c.latest[direction] = max(c.latest[direction], k.number)
	return true
}

// reset breaks the connection in the network's name.
func (c *conn) reset() {
	if c.broken {
		return
	}
	if len(c.open) > 0 {
		c.net.w.nemesis.count(markInFlight)
	} else {
		c.net.w.nemesis.count(markReset)
	}
	c.break_("reset")
}

func (n *network) lost(k *call, direction int, how string) {
	text := k.conn.String() + [...]string{" request ", " reply "}[direction] + how
	n.w.trace.message(n.w.now, k.conn.to.index, traceLost, k, []byte(text), func() string { return text })
}

// arrive executes a request at the receiving end.
func (c *conn) arrive(k *call) {
	p := c.to
	if p.stalled() {
		c.net.w.after(p.stalledUntil-c.net.w.now, func() { c.arrive(k) })
		return
	}
	if !p.ready() || c.closed || c.toLife != 0 && c.toLife != p.life {
		if c.toLife == 0 || c.net.dice.chance(0.5) {
			c.refuse()
		}
		return
	}
	c.execute(k)
	p.ran()
}

// execute gives a request to the session of the receiving end, which is made for the first one.
func (c *conn) execute(k *call) {
	p, n := c.to, c.net
	if c.toLife == 0 {
		c.toLife = p.life
		remote := "10.0.1.1:1"
		if c.from != nil {
			remote = c.from.addr()
		}
		s, err := p.node.NewSession(engine.SessionOptions{Remote: remote, Local: p.addr(), Deliver: c.deliver})
		if err != nil {
			n.w.violate(propertyHarness, "node %d refuses a session: %v", p.index, err)
			return
		}
		c.session = s
		n.conns = append(n.conns, c)
	}
	n.joined = k.join(n.joined[:0])
	b := binary.BigEndian.AppendUint32(n.w.trace.room(), uint32(c.id))
	b = binary.BigEndian.AppendUint64(b, xxh3.Hash(n.joined))
	n.w.trace.message(n.w.now, p.index, traceArrive, k, b, func() string { return c.show(k) })
	for range k.ahead {
		c.served = append(c.served, served{call: k, since: n.w.now, more: true})
	}
	c.served = append(c.served, served{call: k, since: n.w.now})
	if k.try != nil {
		k.try.arrives()
	}
	n.packet = append(append(n.packet[:0], k.ahead...), k.args)
	all := n.packet
	for all = all[c.session.ExecuteAll(all):]; len(all) > 0; all = all[c.session.ExecuteAll(all):] {
		c.session.Flush()
	}
	k.hasRun()
	c.session.Flush()
	n.w.points.executed(p, k.args)
	if c.from == nil {
		n.w.nemesis.readBy(p, k.args)
	}
}

// refuse tells the caller that nobody listens, or that the other end has forgotten the connection.
func (c *conn) refuse() {
	n := c.net
	never := c.toLife == 0
	n.w.after(n.dice.around(n.w.swarm.latency), func() {
		if n.cutBetween(c.to.index, c.caller()) {
			return
		}
		if never && c.from == nil {
			c.fail(errRefused)
			return
		}
		c.break_("refused")
	})
}

// deliver takes bytes that the session lets out.
func (c *conn) deliver(b []byte) {
	p := c.to
	if c.closed || p.life != c.toLife || p.gone() {
		return
	}
	c.in = append(c.in, b...)
	n, left, answered := c.net, c.in, 0
	for len(left) > 0 {
		v, rest, err := resp.ParseReply(left)
		if err == resp.ErrIncomplete { //nolint:errorlint // it comes as it is, and errors.Is takes a tenth of the time of a message
			break
		}
		if err != nil || len(c.served) == answered {
			n.w.violate("replies", "node %d answered %q to %d commands: %v", p.index, left, len(c.served)-answered, err)
			return
		}
		wire := left[:len(left)-len(rest)]
		content := binary.BigEndian.AppendUint32(n.w.trace.room(), uint32(c.id))
		k := c.served[answered]
		n.w.trace.message(n.w.now, p.index, traceReply, k.call, append(content, wire...), func() string { return c.String() + " " + showValue(v) })
		left = rest
		answered++
		if k.more {
			if k.early == nil {
				k.early = make([]resp.Value, 0, len(k.ahead)+1)
			}
			k.early = append(k.early, v)
			continue
		}
		k.leaves(v)
		back := &k.back
		if back.k != nil {
			back = &returning{}
		}
		back.k, back.v = k.call, v
		n.transmit(k.call, 1, back)
	}
	c.in = append(c.in[:0], left...)
	c.served = slices.Delete(c.served, 0, answered)
}

// answer brings a reply to the caller, unless the call is over.
func (k *call) answer(v resp.Value, err error) {
	c := k.conn
	if c.from != nil && c.from.stalled() {
		c.net.w.after(c.from.stalledUntil-c.net.w.now, func() { k.answer(v, err) })
		return
	}
	if c.broken {
		return
	}
	c.heard = c.net.w.now
	if k.over {
		return
	}
	k.over = true
	c.forget(k)
	if c.from == nil {
		if t := c.net.w.trace; t.readable() {
			t.tell(c.net.w.now, -1, traceAnswer, k, c.String()+" "+showValue(v))
		}
		k.end(v, err)
		return
	}
	if c.from.life != c.life || !c.from.ready() {
		return
	}
	t := c.net.w.trace
	t.message(c.net.w.now, c.from.index, traceAnswer, k, append(t.room(), v.Str...), func() string { return c.String() + " " + showValue(v) })
	c.net.w.nemesis.faults.hears(c.from, k, v.Str)
	k.end(v, err)
	c.net.w.points.answered(c.from, v.Str)
	c.from.ran()
}

func (c *conn) forget(k *call) {
	for i, o := range c.open {
		if o == k {
			c.open = append(c.open[:i], c.open[i+1:]...)
			return
		}
	}
}

// break_ ends a connection as its calling end sees it: calls that are not answered fail. The receiving end learns of it
// later, and executes what is still on its way until then.
func (c *conn) break_(why string) { c.fail(linkError(why)) }

// linkError says why a connection broke.
type linkError string

// Error implements error.
func (e linkError) Error() string { return env.ErrLink.Error() + ": " + string(e) }

// Unwrap returns env.ErrLink.
func (linkError) Unwrap() error { return env.ErrLink }

func (c *conn) fail(why error) {
	if c.broken {
		return
	}
	n := c.net
	c.broken = true
	b := binary.BigEndian.AppendUint32(n.w.trace.room(), uint32(c.id))
	n.w.trace.note(n.w.now, c.caller(), traceBreak, append(b, why.Error()...), func() string { return fmt.Sprintf("%s: %v", c, why) })
	if c.from != nil && n.links[c.key] == c {
		delete(n.links, c.key)
	}
	calls := append(c.open, c.waiting...)
	c.open, c.waiting = nil, nil
	for _, k := range calls {
		if k.over {
			continue
		}
		k.over = true
		if c.from == nil {
			k.end(resp.Value{}, why)
		} else if c.from.life == c.life && c.from.up {
			c.from.seat.then(0, func() { k.end(resp.Value{}, why) })
		}
	}
	linger := n.dice.between(time.Millisecond, 2*n.w.swarm.lateness)
	n.w.after(linger, c.close)
}

// close ends the receiving end.
func (c *conn) close() {
	if c.closed {
		return
	}
	if c.to != nil && c.to.stalled() {
		c.net.w.after(c.to.stalledUntil-c.net.w.now, c.close)
		return
	}
	c.closed = true
	if c.session != nil && c.to.ready() && c.to.life == c.toLife {
		c.to.run(c.session.Close)
	}
	for i, o := range c.net.conns {
		if o == c {
			c.net.conns = append(c.net.conns[:i], c.net.conns[i+1:]...)
			return
		}
	}
}

// down ends the connections of a machine that has lost power. The other ends notice at once, later, or by their timeouts
// only.
func (n *network) down(p *process) {
	var kept []*conn
	for _, c := range n.conns {
		mine := c.to == p || c.from == p
		if !mine {
			kept = append(kept, c)
			continue
		}
		if c.to == p {
			c.closed = true
			if !c.broken && n.dice.chance(0.6) {
				n.w.after(n.dice.around(5*time.Millisecond), func() { c.break_("the other end crashed") })
			}
			continue
		}
		c.broken = true
		kept = append(kept, c)
		n.w.after(n.dice.between(0, n.w.swarm.lateness), c.close)
	}
	n.conns = kept
}

// cut is a direction in which nothing passes, between two machines; -1 stands for all clients.
type cut struct{ from, to int }

func (n *network) cutBetween(from, to int) bool {
	if n.w.nemesis.faults.cuts(from, to) {
		return true
	}
	if n.w.oper.vouching.between(from, to) {
		return false
	}
	for _, c := range n.cuts {
		if c.from == from && c.to == to {
			return true
		}
	}
	return false
}
