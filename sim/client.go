package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/linearize"
)

// client is a virtual client of the cluster: one operation at a time, follows redirects, repeats an operation only when it
// certainly was not executed.
type client struct {
	w     *world
	index int
	id    int // in the history; a fresh one after each operation whose outcome is unknown
	dice  dice
	guess []int // for each slot of the keyspace, the process that is asked first
	conns []*conn
	over  bool // ends after the operation that is underway
	busy  bool
	argv  []string     // nil for a transaction
	tx    *transaction // nil unless it is one
	reads [][]string   // that travel together; nil unless they do
	slot  int
	tries int
	first time.Duration // when the operation was first tried
	op    int           // numbers the operation within the run, or the first of those that travel together, from 1
	class string        // of its operations, as actions of a schedule
	// then is called after the operation instead of drawing the next, with its last reply.
	then func(reply resp.Value, ok bool)
}

// maxTries bounds how often an operation is tried that the cluster refuses.
const maxTries = 12

func newClient(w *world, i int) *client {
	c := &client{w: w, index: i, id: i, class: clientClass(i), dice: newDice(w.seed, streamClient, uint64(i)), conns: make([]*conn, len(w.procs))}
	for range w.keys.slots {
		c.guess = append(c.guess, c.dice.IntN(len(w.procs)))
	}
	return c
}

// rest waits and then goes on with the next operation.
func (c *client) rest() {
	s := &c.w.swarm
	mean := s.think
	if c.w.oper.moving() {
		mean = s.rush
	}
	c.w.later(c.dice.around(mean), (*rested)(c))
}

// rested is a client that goes on with its next operation.
type rested client

func (r *rested) do() { (*client)(r).next() }

func (c *client) next() {
	if c.over || c.busy {
		return
	}
	slot := c.w.oper.focus(c.dice)
	e := c.w.drawErrand(c.dice, slot)
	if p := c.w.plan; p != nil && !p.act(c.class, e.words()) {
		c.rest()
		return
	}
	c.run(slot, e, nil)
}

// words is the operation for people.
func (c *client) words() []string { return errand{argv: c.argv, tx: c.tx}.words() }

// do begins a command on a slot.
func (c *client) do(slot int, argv []string, then func(resp.Value, bool)) {
	c.run(slot, errand{argv: argv}, then)
}

// run begins an operation on a slot.
func (c *client) run(slot int, e errand, then func(resp.Value, bool)) {
	c.busy, c.slot, c.argv, c.tx, c.reads, c.tries, c.then = true, slot, e.argv, e.tx, e.reads, 0, then
	c.first = c.w.now
	c.op = c.w.cover.operations + 1
	c.w.cover.operations += max(1, len(e.reads))
	c.w.trace.begins(c)
	c.try()
}

func (c *client) try() {
	w := c.w
	c.tries++
	to, asks := c.guess[c.slot], false
	if c.dice.chance(w.swarm.asking) && !w.nemesis.over {
		if p := w.importing(w.keys.slots[c.slot]); p != nil {
			to, asks = p.index, true
		}
	}
	conn := c.conns[to]
	if conn == nil || conn.broken {
		conn = w.net.dial(nil, w.procs[to])
		conn.client = c
		c.conns[to] = conn
	}
	if asks { // nothing comes of it where the slot only arrives
		conn.send(&call{conn: conn, args: [][]byte{[]byte("ASKING")}, done: func(resp.Value, error) {}})
	}
	if c.tx != nil {
		c.tx.begin(c, conn)
		return
	}
	if c.reads != nil {
		c.readTogether(w.net.call(call{conn: conn}), c.reads, func([]linearize.Reply) { c.succeed(conn, resp.Value{}) })
		return
	}
	id, ok := c.begin(operation(c.argv))
	if !ok {
		return
	}
	t := &try{c: c, conn: conn, id: id, slot: w.keys.slots[c.slot], argv: c.argv}
	c.send(w.net.call(call{conn: conn, ahead: c.company(), args: toArgs(w.net, c.argv), try: t}), w.swarm.patience+waitOf(c.argv))
}

// try is one attempt of a client to have a command executed.
type try struct {
	c      *client
	conn   *conn
	id     linearize.ID
	slot   slot.Slot
	argv   []string
	waited bool           // for a key
	found  key.Generation // the wide collection that it found while its slot moved; zero if there was none
}

func (t *try) done(v resp.Value, err error) { t.c.answered(t.conn, t.id, v, err) }

func (t *try) ran() {
	t.waited = t.conn.session.WaitsForKey()
	t.c.w.cover.ran(t.conn.to, t.slot, t.argv)
	if t.dropped() {
		t.c.w.cover.droppedWide(t.slot)
	}
}

func (t *try) left(v resp.Value) {
	if t.waited {
		t.c.w.cover.waited(t.c.w, v)
	}
}

// company is what travels in front of a command in the same packet, of every third one: a look at the same key, which nobody
// records. The node runs the two as a group where it can, as it does with all pipelines.
func (c *client) company() [][][]byte {
	if c.op%3 != 0 || len(c.argv) < 2 || slot.OfKey([]byte(c.argv[1])) != c.w.keys.slots[c.slot] {
		return nil
	}
	return [][][]byte{toArgs(c.w.net, []string{"TYPE", c.argv[1]})}
}

// begin records that an operation is about to be sent; false if it cannot be.
func (c *client) begin(op linearize.Operation) (linearize.ID, bool) {
	w := c.w
	op.Client, op.Slot, op.Call = c.id, uint16(w.keys.slots[c.slot]), int64(w.now)
	id, err := w.history.Begin(op)
	if err != nil {
		w.violate(propertyHarness, "command %q: %v", c.words(), err)
	}
	return id, err == nil
}

// operation is a command as the history has it, which says whether a model knows it when it begins.
func operation(argv []string) linearize.Operation {
	return linearize.Operation{Cmd: argv[0], Key: argv[1], Args: argv[2:]}
}

// send sends a call, and breaks the connection if no answer comes for too long.
func (c *client) send(k *call, patience time.Duration) {
	k.conn.send(k)
	c.w.later(patience, (*impatience)(k))
}

// impatience is a call that the client has waited for as long as it does.
type impatience call

func (i *impatience) do() {
	if !i.over {
		i.conn.break_("the client lost its patience")
	}
}

// waitOf is how long a command may wait for a key; 0 unless it is one that does.
func waitOf(argv []string) time.Duration {
	if !blocks(argv[0]) {
		return 0
	}
	seconds, _ := strconv.ParseFloat(argv[len(argv)-1], 64) // the history has parsed it
	return time.Duration(seconds * float64(time.Second))
}

// blocks reports whether a command is one that waits for a key.
func blocks(name string) bool {
	return len(name) > 1 && name[0] == 'B' && strings.IndexByte("LRZ", name[1]) >= 0
}

// answered ends a try.
func (c *client) answered(conn *conn, id linearize.ID, v resp.Value, err error) {
	w := c.w
	switch {
	case errors.Is(err, errRefused):
		w.must(w.history.Fail(id, int64(w.now)))
		c.elsewhere()
		return
	case err != nil:
		w.must(w.history.Unknown(id))
		c.lost(v)
		return
	}
	if conn.to.unread(v) {
		w.must(w.history.Fail(id, int64(w.now)))
		c.again(c.dice.around(15 * time.Millisecond))
		return
	}
	reply, err := historyReply(v)
	if err != nil {
		w.violate("replies", "%q was answered %s: %v", c.argv, v, err)
		return
	}
	w.must(w.history.End(id, reply, int64(w.now)))
	w.nemesis.faults.answered(conn.to, w.keys.slots[c.slot], id)
	if reply.Outcome() == linearize.Ok {
		if reply.Kind == linearize.ErrorReply && !expected(reply.Text) {
			w.violate("replies", "%q was answered %s", c.argv, v)
			return
		}
		c.succeed(conn, v)
		return
	}
	c.turnedAway(reply.Text)
}

// expected reports whether an error is one that a command can come to when it runs.
func expected(text string) bool {
	return text == "ERR no such key" || strings.HasPrefix(text, "WRONGTYPE ") || strings.HasPrefix(text, "ERR value is not an integer")
}

// elsewhere tries again at another node: nobody listens at this one.
func (c *client) elsewhere() {
	c.guess[c.slot] = c.dice.IntN(len(c.w.procs))
	c.again(c.dice.around(30 * time.Millisecond))
}

// lost ends an operation of unknown outcome.
func (c *client) lost(v resp.Value) {
	w := c.w
	w.cover.unknown++
	w.lostClients++
	c.id = len(w.clients) + w.lostClients
	c.guess[c.slot] = c.dice.IntN(len(w.procs))
	c.finish(v, false)
}

// succeed ends an operation that was answered.
func (c *client) succeed(conn *conn, v resp.Value) {
	c.guess[c.slot] = conn.to.index
	c.w.cover.succeeded += max(1, len(c.reads))
	c.finish(v, true)
}

// turnedAway tries again after an error that says that the operation has not run: where it says, if it does.
func (c *client) turnedAway(text string) {
	w := c.w
	wait := c.dice.around(15 * time.Millisecond)
	if strings.HasPrefix(text, "ASK ") { // until a slot is handed over its source has every key, after it the target has
		w.violate("replies", "%q was sent on by %s, which no node of these says", c.argv, text)
		return
	}
	if addr, ok := strings.CutPrefix(text, "MOVED "); ok {
		_, addr, _ = strings.Cut(addr, " ")
		to := w.net.find(addr)
		if to == nil {
			w.violate("replies", "%q was redirected to nowhere: %s", c.argv, text)
			return
		}
		c.guess[c.slot] = to.index
		if c.tries < 4 {
			wait = 0
		} else if c.dice.chance(0.3) { // wrong maps can send it round in circles
			c.guess[c.slot] = c.dice.IntN(len(w.procs))
		}
	} else if c.dice.chance(0.5) {
		c.guess[c.slot] = c.dice.IntN(len(w.procs))
	}
	c.again(wait)
}

func (c *client) again(after time.Duration) {
	if c.tries >= maxTries {
		c.finish(resp.Value{}, false)
		return
	}
	c.w.after(after, c.try)
}

func (c *client) finish(v resp.Value, ok bool) {
	c.busy = false
	c.w.trace.ends(c, v, ok)
	if then := c.then; then != nil {
		c.then = nil
		then(v, ok)
		return
	}
	c.rest()
}

// must turns an error of the recorder, which is one of this package, into a violation.
func (w *world) must(err error) {
	if err != nil {
		w.violate(propertyHarness, "%v", err)
	}
}

// historyReply is a reply as histories have it.
func historyReply(v resp.Value) (linearize.Reply, error) {
	switch v.Kind {
	case resp.SimpleKind:
		return linearize.Status(v.Str), nil
	case resp.ErrorKind:
		return linearize.Error(v.Str), nil
	case resp.IntKind:
		return linearize.Int(v.Int), nil
	case resp.BulkKind:
		return linearize.Bulk(v.Str), nil
	case resp.NullKind:
		return linearize.Nil(), nil
	case resp.ArrayKind:
		items := make([]linearize.Reply, len(v.Elems))
		for i, e := range v.Elems {
			item, err := historyReply(e)
			if err != nil {
				return linearize.Reply{}, err
			}
			items[i] = item
		}
		return linearize.Array(items...), nil
	default:
		return linearize.Reply{}, fmt.Errorf("no modelled command is answered with a reply of kind %q", byte(v.Kind))
	}
}
