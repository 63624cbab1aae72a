package engine

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/env"
	"godwit/engine/resp"
	"godwit/engine/slot"
)

// outbound is a MIGRATE to a server that is no node of the cluster. Redis stands still while it sends keys; here only the commands on their slots
// wait: the keys are dumped under the locks, and from then on the slots are marked as being sent from, which parks whatever is to be
// done on them, until the server has answered and what it has is deleted. To let writers go on and send again what they changed would
// overwrite what clients of that server do to the first copy. After an error that leaves open what the server has, the keys stay: they
// may be on both servers then, as with Redis, and never on none.
type outbound struct {
	n     *Node
	s     *Session
	p     *parkedCommand // as what it waits in its session
	m     migrateRequest
	slots []slot.Slot     // of the keys, in the order of locking
	epoch []cluster.Epoch // of each when the keys were loaded

	items   []outboundItem
	problem string // what to answer when what was taken has been deleted, "" if nothing is wrong
}

// outboundItem is a key that is to be sent.
type outboundItem struct {
	user    []byte
	payload []byte // as DUMP has it
	ttlMs   int64
	taken   bool // the server has said that it has it
}

// Limits of a MIGRATE to another server.
const (
	// maxSendKeys is how many keys it may name. They are loaded under the locks of their slots, a few µs each.
	maxSendKeys = 10_000
	// maxSendTimeout is the longest timeout that counts: for so long the other server may be silent while commands wait for it.
	maxSendTimeout = time.Minute
)

// settleRest is how long it waits when it may not delete yet, because a slot or all clients are paused.
const settleRest = 5 * time.Millisecond

// Password is the password that clients must give now, "" if they need none. Nodes that are no peers are given it, as by Kvrocks.
func (n *Node) Password() string { return n.password() }

// migrateOut answers a MIGRATE to another server.
func (s *Session) migrateOut(spec *command.Spec, args [][]byte, m migrateRequest) {
	n := s.n
	if n.opts.Servers == nil {
		s.out.Error(errNoServers)
		return
	}
	m.keys, _ = cloneArgs(m.keys) // what waits owns what it waits with
	if m.keys = distinct(m.keys); len(m.keys) > maxSendKeys {
		s.out.Error(errMigrateCount)
		return
	}
	m.timeout = min(m.timeout, maxSendTimeout)
	m.user, m.password = slices.Clone(m.user), slices.Clone(m.password)
	o := &outbound{n: n, s: s, m: m}
	for _, k := range m.keys {
		o.slots = append(o.slots, slot.OfKey(k))
	}
	o.slots = lockOrder(o.slots)
	before := s.out.Len()
	s.work = work{spec: spec, args: args, slots: o.slots, locks: o.slots, write: true, do: o.begin}
	if s.runLocked(&s.work); s.pending != nil || s.out.Len() > before {
		return
	}
	if len(o.items) == 0 {
		s.out.Simple(noKey)
		return
	}
	o.p = &parkedCommand{session: s}
	s.pending, s.slot = o.p, o.slots[0]
	if n.syncMode() == SyncAlways { // what leaves this node must not be taken back by a crash of it
		n.store.WhenDurable(n.store.Last(), o.send)
	} else {
		n.opts.Workers.Submit(o.send)
	}
}

// distinct removes keys that were named before, in place.
func distinct(keys [][]byte) [][]byte {
	seen := make(map[string]struct{}, len(keys))
	return slices.DeleteFunc(keys, func(k []byte) bool {
		_, again := seen[string(k)]
		seen[string(k)] = struct{}{}
		return again
	})
}

// begin loads the keys and marks their slots, under the exclusive locks.
func (o *outbound) begin(s *Session, w *work) (again bool) {
	tx, start := s.begin(w, data.Write), s.out.Len()
	problem := o.load(tx)
	if tx.Err() != nil {
		s.fail(w, start)
		return false
	}
	s.commit(w) // the deletion of expired keys
	if problem != "" {
		s.out.Error(problem)
		return false
	}
	if len(o.items) > 0 {
		o.mark(true)
	}
	return false
}

// load dumps the keys that are there.
func (o *outbound) load(tx *data.Tx) (problem string) {
	n := o.n
	dump := n.table.Lookup([]byte("dump"))
	total := 0
	for _, user := range o.m.keys {
		e := tx.Load(user)
		if !e.Found {
			continue
		}
		it := outboundItem{user: user}
		var out resp.Writer
		out.Reset(nil, resp.V2)
		dump.Handler(&command.Context{Args: [][]byte{[]byte("DUMP"), user}, Out: &out, Tx: tx, Cluster: n.opts.Cluster})
		v, _, err := resp.ParseReply(out.Bytes())
		if err != nil || v.Kind != resp.BulkKind {
			return cmp.Or(v.Str, errInternal)
		}
		it.payload = []byte(v.Str)
		if e.ExpireMs != data.NoExpiry {
			it.ttlMs = max(e.ExpireMs-tx.NowMs(), 1)
		}
		if total += len(it.payload); total > maxTransactionReply {
			return errMigrateSize
		}
		o.items = append(o.items, it)
	}
	return ""
}

// awaitSent lets a command wait for the answer of the server that a slot's keys were sent to, unless as many wait as may. The stripe is held.
func (n *Node) awaitSent(sl slot.Slot, st slotState) verdict {
	if n.parkedFull(st) {
		return verdict{kind: verdictError, text: cluster.TryAgain}
	}
	return verdict{kind: verdictPark, slot: sl}
}

// mark says whether the slots are being sent from, and remembers under which epochs they are. Their stripes are held exclusively.
func (o *outbound) mark(sending bool) {
	o.epoch = o.epoch[:0]
	for _, sl := range o.slots {
		st := o.n.slots.change(sl)
		st.sending = sending
		o.epoch = append(o.epoch, st.rec().Epoch)
	}
	if sending {
		o.n.sending.Add(1)
	} else {
		o.n.sending.Add(-1)
	}
}

// send sends what was loaded.
func (o *outbound) send() {
	var commands [][][]byte
	say := func(words ...[]byte) { commands = append(commands, words) }
	switch {
	case o.m.password == nil:
	case o.m.user == nil:
		say([]byte("AUTH"), o.m.password)
	default:
		say([]byte("AUTH"), o.m.user, o.m.password)
	}
	if o.m.db != 0 {
		say([]byte("SELECT"), strconv.AppendInt(nil, o.m.db, 10))
	}
	opening := len(commands)
	restore := []byte("RESTORE")
	if o.n.opts.Cluster {
		restore = []byte("RESTORE-ASKING") // which a node of another cluster takes for a slot that it imports
	}
	for i := range o.items {
		it := &o.items[i]
		args := [][]byte{restore, it.user, strconv.AppendInt(nil, it.ttlMs, 10), it.payload}
		if o.m.replace {
			args = append(args, []byte("REPLACE"))
		}
		commands = append(commands, args)
	}
	host := o.m.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	o.n.opts.Servers.Do(host+":"+o.m.port, commands, o.m.timeout, func(replies [][]byte, err error) {
		o.n.opts.Workers.Submit(func() { o.answered(opening, replies, err) })
	})
}

// answered takes in what the server said: to opening commands first, then to one for each key.
func (o *outbound) answered(opening int, replies [][]byte, err error) {
	for i, raw := range replies {
		v, _, perr := resp.ParseReply(raw)
		switch {
		case perr != nil:
			o.complain(errMigrateRead)
		case v.Kind == resp.ErrorKind:
			o.complain("ERR Target instance replied with error: " + oneLine(v.Str))
		case i >= opening && i-opening < len(o.items):
			o.items[i-opening].taken = true
		}
		if i < opening && o.problem != "" { // what followed was said to a server that does not let us in
			break
		}
	}
	switch {
	case errors.Is(err, env.ErrConnect):
		o.complain(errMigrateConnect)
	case err != nil:
		o.complain(errMigrateRead)
	}
	o.items = slices.DeleteFunc(o.items, func(it outboundItem) bool { return !it.taken })
	o.settle()
}

// complain notes the first thing that went wrong.
func (o *outbound) complain(problem string) {
	if o.problem == "" {
		o.problem = problem
	}
}

// settle deletes what the server has, unless it was to be copied, lets those go on who wait, and answers.
func (o *outbound) settle() {
	n := o.n
	w := work{locks: o.slots, slots: o.slots, write: true}
	n.lockSlots(&w, exclusive)
	if len(o.items) > 0 && !o.m.copy {
		switch o.may() {
		case verdictPark:
			n.unlockSlots(&w, exclusive)
			n.opts.Clock.AfterFunc(settleRest, o.settle)
			return
		case verdictError:
			o.problem = errMigrateLeft
		case verdictServe:
			o.remove()
		}
	}
	o.mark(false)
	var wake []*parkedCommand
	for _, sl := range o.slots {
		if st := n.slots.change(sl); !st.paused && !st.sealed {
			wake = append(wake, st.takeParked()...)
		}
	}
	n.unlockSlots(&w, exclusive)
	n.resumeAll(wake)
	o.s.complete(o.p, func() {
		o.s.dependOn(n.store.Last(), true)
		if o.problem != "" {
			o.s.out.Error(o.problem)
		} else {
			o.s.out.OK()
		}
	})
}

// may says whether the keys may be deleted now, must wait, or have gone with their slot. The stripes are held.
func (o *outbound) may() verdictKind {
	n := o.n
	if n.pause.mode.Load() != pauseOff {
		return verdictPark
	}
	if !n.opts.Cluster {
		return verdictServe
	}
	for i, sl := range o.slots {
		st := n.slots.get(sl)
		switch r := st.rec(); {
		case r.State != cluster.Serving || r.Epoch != o.epoch[i]:
			return verdictError
		case st.paused || st.sealed:
			return verdictPark
		}
	}
	return verdictServe
}

// remove deletes the keys. The stripes are held exclusively.
func (o *outbound) remove() {
	n := o.n
	var tx data.Tx
	tx.SetRand(n.random)
	tx.Reset(n.store, data.Write, n.opts.Clock.WallMs())
	for i := range o.items {
		if e := tx.Load(o.items[i].user); e.Found {
			tx.Remove(&e)
		}
	}
	if err := tx.Err(); err != nil {
		tx.Discard()
		n.opts.Log.Error("reading the store failed", "command", "migrate", "error", err)
		o.problem = errInternal
		return
	}
	if p, wrote := n.commit(&tx); wrote {
		for _, sl := range o.slots {
			n.slots.change(sl).lastWrite = p
		}
	}
}
