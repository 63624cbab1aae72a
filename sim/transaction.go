package sim

import (
	"errors"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/resp"
	"godwit/linearize"
)

// transaction is what a client does between MULTI and EXEC, and before: it can watch keys and read them, think, and then send the commands.
// MULTI, the commands and EXEC travel in one packet, as clients send them, and so do WATCH and the reads.
//
// For the history it is one operation, begun when that packet is sent, whose first commands are the reads: what they had shown must still
// hold when it runs, which is what WATCH promises. One that is answered by nil has done nothing.
type transaction struct {
	watched  [][]string // the reads of what is watched
	commands [][]string
	thinks   time.Duration // between the reads and the rest
	// discarded says that the client thinks better of it.
	discarded bool

	seen []linearize.Reply // of the reads
	// epoch is the slot's at the node, when the answer to WATCH left it, and arrived when EXEC came there.
	epoch, arrived cluster.Epoch
}

// words is the transaction for people.
func (t *transaction) words() []string {
	var out []string
	for _, argv := range t.watched {
		out = append(out, "WATCH "+strings.Join(argv, " "))
	}
	out = append(out, "MULTI")
	for _, argv := range t.commands {
		out = append(out, strings.Join(argv, " "))
	}
	return append(out, t.end())
}

// end is the command that ends it.
func (t *transaction) end() string {
	if t.discarded {
		return "DISCARD"
	}
	return "EXEC"
}

// begin begins a try.
func (t *transaction) begin(c *client, conn *conn) {
	t.seen = nil
	if len(t.watched) == 0 {
		t.send(c, conn)
		return
	}
	t.watch(c, conn)
}

// watch sends WATCH and the reads. Each read is also an operation of its own.
func (t *transaction) watch(c *client, conn *conn) {
	w := c.w
	packet := [][][]byte{{[]byte("WATCH")}}
	for _, argv := range t.watched {
		packet[0] = append(packet[0], []byte(argv[1]))
	}
	k := &call{conn: conn, ahead: conn.unwatched(packet)}
	conn.watches = true
	k.left = func(resp.Value) { t.epoch = conn.to.record(w.keys.slots[c.slot]).Epoch }
	c.readTogether(k, t.watched, func(replies []linearize.Reply) {
		t.seen = replies
		w.after(t.thinks, func() {
			if conn.broken { // and nothing is watched any more
				c.again(0)
				return
			}
			t.send(c, conn)
		})
	})
}

// unwatched puts UNWATCH in front of a packet if something may be watched still, of a try that came to nothing.
func (c *conn) unwatched(packet [][][]byte) [][][]byte {
	if c.watches {
		packet = append([][][]byte{{[]byte("UNWATCH")}}, packet...)
	}
	return packet
}

// send sends MULTI, the commands, and EXEC or DISCARD.
func (t *transaction) send(c *client, conn *conn) {
	w := c.w
	packet := [][][]byte{{[]byte("MULTI")}}
	for _, argv := range t.commands {
		packet = append(packet, toArgs(w.net, argv))
	}
	if len(t.watched) == 0 {
		packet = conn.unwatched(packet)
	}
	k := &call{conn: conn, ahead: packet, args: [][]byte{[]byte(t.end())}}
	if t.discarded {
		k.done = func(v resp.Value, err error) { t.dropped(c, conn, v, err) }
		c.send(k, w.swarm.patience)
		return
	}
	commands := append(append([][]string(nil), t.watched...), t.commands...)
	id, ok := c.begin(linearize.Operation{Cmd: "EXEC", Commands: commands})
	if !ok {
		return
	}
	k.done = func(v resp.Value, err error) { t.answered(c, k, id, v, err) }
	sl := w.keys.slots[c.slot]
	k.ran = func() {
		t.arrived = conn.to.record(sl).Epoch
		w.cover.ran(conn.to, sl, t.commands...)
	}
	k.left = func(v resp.Value) {
		w.checks.watches.answered(t, conn.to, sl, v)
		w.cover.executed(k, t, conn.to.record(sl), sl, v)
	}
	c.send(k, w.swarm.patience)
}

// dropped ends a transaction that was discarded.
func (t *transaction) dropped(c *client, conn *conn, v resp.Value, err error) {
	switch {
	case errors.Is(err, errRefused):
		c.elsewhere()
	case err != nil:
		c.lost(v)
	case v.Kind != resp.SimpleKind:
		c.w.violate("replies", "%q was answered %s", c.words(), v)
	default:
		conn.watches = false
		c.succeed(conn, v)
	}
}

// answered ends a try.
func (t *transaction) answered(c *client, k *call, id linearize.ID, v resp.Value, err error) {
	w, conn := c.w, k.conn
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
	conn.watches = false
	if conn.to.unread(v) {
		w.must(w.history.Fail(id, int64(w.now)))
		c.again(c.dice.around(15 * time.Millisecond))
		return
	}
	reply, ok := t.reply(v)
	if !ok {
		w.violate("replies", "%q was answered %s", c.words(), v)
		return
	}
	w.must(w.history.End(id, reply, int64(w.now)))
	w.nemesis.faults.answered(conn.to, w.keys.slots[c.slot], id)
	if reply.Outcome() == linearize.Ok {
		c.succeed(conn, v)
		return
	}
	text := reply.Text
	for _, q := range k.early { // a queued command knows better where the slot is than EXEC, which says only that one was refused
		if q.Kind == resp.ErrorKind {
			text = q.Str
		}
	}
	c.turnedAway(text)
}

// reply is the reply to EXEC as the history has it; false if EXEC cannot have such a one.
func (t *transaction) reply(v resp.Value) (linearize.Reply, bool) {
	switch v.Kind {
	case resp.NullKind:
		return linearize.Nil(), len(t.watched) > 0
	case resp.ErrorKind:
		r := linearize.Error(v.Str)
		return r, r.Outcome() == linearize.Fail
	case resp.ArrayKind:
		items := append([]linearize.Reply(nil), t.seen...)
		for _, e := range v.Elems {
			item, err := historyReply(e)
			if err != nil || item.Kind == linearize.ErrorReply && !expected(item.Text) {
				return linearize.Reply{}, false
			}
			items = append(items, item)
		}
		return linearize.Array(items...), len(v.Elems) == len(t.commands)
	default:
		return linearize.Reply{}, false
	}
}
