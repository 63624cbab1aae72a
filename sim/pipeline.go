package sim

import (
	"errors"

	"godwit/engine/resp"
	"godwit/linearize"
)

// readTogether sends commands that only read, one behind the other in the packet of a call, which may have some ahead of them. Each is an
// operation of its own. done gets the replies if all commands of the packet were answered; else the client goes on as after any
// operation that was refused, or whose outcome is unknown.
func (c *client) readTogether(k *call, reads [][]string, done func(replies []linearize.Reply)) {
	w, ahead := c.w, len(k.ahead)
	ids := make([]linearize.ID, len(reads))
	for i, argv := range reads {
		id, ok := c.begin(operation(argv))
		if !ok {
			return
		}
		ids[i] = id
		k.ahead = append(k.ahead, toArgs(w.net, argv))
	}
	last := len(k.ahead) - 1
	k.ahead, k.args = k.ahead[:last], k.ahead[last]
	k.done = func(v resp.Value, err error) {
		refused := errors.Is(err, errRefused)
		for _, id := range ids {
			switch {
			case refused:
				w.must(w.history.Fail(id, int64(w.now)))
			case err != nil:
				w.must(w.history.Unknown(id))
			}
		}
		switch {
		case refused:
			c.elsewhere()
		case err != nil:
			c.lost(v)
		default:
			all := append(k.early, v)
			c.readAnswered(k.conn, reads, ids, all[:ahead], all[ahead:], done)
		}
	}
	c.send(k, w.swarm.patience)
}

// readAnswered takes the replies to reads that were sent together, and those to what was ahead of them.
func (c *client) readAnswered(conn *conn, reads [][]string, ids []linearize.ID, before, answers []resp.Value, done func([]linearize.Reply)) {
	w := c.w
	trouble := ""
	replies := make([]linearize.Reply, 0, len(reads))
	for i, v := range answers {
		if conn.to.unread(v) {
			w.must(w.history.Fail(ids[i], int64(w.now)))
			trouble = v.Str
			continue
		}
		reply, err := historyReply(v)
		if err != nil {
			w.violate("replies", "%q was answered %s: %v", reads[i], v, err)
			return
		}
		w.must(w.history.End(ids[i], reply, int64(w.now)))
		w.nemesis.faults.answered(conn.to, w.keys.slots[c.slot], ids[i])
		replies = append(replies, reply)
		if reply.Outcome() != linearize.Ok {
			trouble = reply.Text
		} else if reply.Kind == linearize.ErrorReply && !expected(reply.Text) {
			w.violate("replies", "%q was answered %s", reads[i], v)
			return
		}
	}
	for _, v := range before {
		if v.Kind == resp.ErrorKind {
			trouble = v.Str
		}
	}
	if trouble != "" || w.failed != nil {
		c.turnedAway(trouble)
		return
	}
	done(replies)
}
