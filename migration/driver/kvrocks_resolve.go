package driver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"godwit/engine/env"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// inquiry finds out for an operator whether a Kvrocks serves a slot, when nothing that this node has said of the slot can be executed any more: its links
// are closed here, then ended and gone there, then it is asked.
type inquiry struct {
	k     *kvrocks
	slot  slot.Slot
	conn  env.ServerConn
	tries int
	then  func(serves bool, err error)
}

// errResolving answers what a source says of a slot while an operator resolves it.
var errResolving = errors.New("an operator resolves the slot")

// halt lets nothing more be said of a decided slot, until resume or forget, and asks the Kvrocks whether it serves the slot. An error says that this
// is not known, though something answers, or takes the connection and is silent; a Kvrocks that cannot be reached is lost, and serves nothing. The slot
// must not be halted already: one order to resolve it is carried out at a time.
func (k *kvrocks) halt(sl slot.Slot, then func(serves bool, err error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.halted[sl] = true
	k.unqueue(sl)
	if i := k.now; i != nil && i.m.Slot == sl {
		if i.owes() {
			k.fail(i.kvrocksTurn, errResolving)
		}
		k.finish(i)
	}
	q := &inquiry{k: k, slot: sl, then: then}
	peer, ok := k.d.node.Peer(k.id)
	if !ok || k.d.env.Servers == nil { // the map does not have it
		k.d.env.Workers.Submit(func() { q.end(false, nil) })
		return
	}
	q.conn = k.d.env.Servers.Open(peer.Addr)
	q.fence(k.d.login())
}

// resume lets a slot that was halted go on by itself: its source says the commit again.
func (k *kvrocks) resume(sl slot.Slot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.halted, sl)
	k.next()
}

// forget gives up what is under way for a slot, of which nothing more will be said.
func (k *kvrocks) forget(sl slot.Slot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unqueue(sl)
	delete(k.losses, sl)
	delete(k.unsaid, sl)
	delete(k.unsettled, sl)
	delete(k.halted, sl)
	if i := k.now; i != nil && i.m.Slot == sl {
		k.finish(i)
	}
	k.next()
}

func (q *inquiry) end(serves bool, err error) {
	if q.conn != nil {
		q.conn.Close()
	}
	if !q.k.d.isClosed() {
		q.then(serves, err)
	}
}

// say says commands and gives the replies to then.
func (q *inquiry) say(commands [][][]byte, limit int, then func([]resp.Value)) {
	q.conn.Do(commands, limit, q.k.d.cfg.CallTimeout, func(raw [][]byte, err error) {
		values := parsed(raw)
		q.k.d.env.Workers.Submit(func() {
			switch {
			case err == nil:
				then(values)
			case errors.Is(err, env.ErrConnect):
				q.end(false, nil)
			default:
				q.end(false, fmt.Errorf("node %s takes connections and does not answer (%w): end its process, or say this again", q.k.id, err))
			}
		})
	})
}

// fence ends the links of the slot, after login, and goes on when they are gone.
func (q *inquiry) fence(login [][][]byte) {
	q.say(append(login, words("CLIENT", "ID"), words("CLIENT", "LIST")), clientListReply, func(v []resp.Value) {
		kill, err := linksOf(q.slot, v[len(login):])
		switch {
		case err != nil:
			q.end(false, fmt.Errorf("node %s %w", q.k.id, err))
		case len(kill) == 0:
			q.look()
		default:
			q.say(kill, smallReply, func([]resp.Value) { q.again("an earlier link does not end", func() { q.fence(nil) }) })
		}
	})
}

// again repeats a step after a while.
func (q *inquiry) again(why string, step func()) {
	if q.tries++; q.tries >= kvrocksTries {
		q.end(false, fmt.Errorf("node %s: %s", q.k.id, why))
		return
	}
	q.k.d.env.Clock.AfterFunc(kvrocksRest, func() { q.k.d.env.Workers.Submit(step) })
}

// look asks for a key of the slot, and for what was imported last.
func (q *inquiry) look() {
	q.say([][][]byte{words("EXISTS", someKeyOf(q.slot)), words("CLUSTER", "INFO")}, smallReply, func(v []resp.Value) {
		state, slots := importState(v[1].Str)
		ours := slots == strconv.Itoa(int(q.slot))
		code, _, _ := strings.Cut(v[0].Str, " ")
		switch {
		case v[0].Kind == resp.IntKind:
			q.end(true, nil)
		case v[0].Kind != resp.ErrorKind || code != "MOVED" && code != "CLUSTERDOWN":
			q.end(false, fmt.Errorf("node %s answers EXISTS with %s", q.k.id, v[0]))
		case state == "start" && ours: // of a link that has ended, which is noticed in a moment
			q.again("it imports the slot by a link that is gone", q.look)
		default:
			q.end(code == "CLUSTERDOWN" && state == "success" && ours, nil) // then a map makes it serve what it has
		}
	})
}

// linksOf reads the answers to CLIENT ID and CLIENT LIST, and returns what ends all other links of a slot.
func linksOf(sl slot.Slot, v []resp.Value) (kill [][][]byte, err error) {
	if v[0].Kind != resp.IntKind || v[1].Kind == resp.ErrorKind {
		return nil, fmt.Errorf("answers CLIENT ID with %s and CLIENT LIST with %.100q", v[0], v[1].Str)
	}
	for line := range strings.SplitSeq(v[1].Str, "\n") {
		if id := clientID(line, linkName(sl)); id != "" && id != strconv.FormatInt(v[0].Int, 10) {
			kill = append(kill, words("CLIENT", "KILL", "ID", id))
		}
	}
	return kill, nil
}

// parsed parses replies.
func parsed(raw [][]byte) []resp.Value {
	values := make([]resp.Value, len(raw))
	for n := range raw {
		if v, _, err := resp.ParseReply(raw[n]); err == nil { // Servers has parsed it
			values[n] = v
		}
	}
	return values
}
