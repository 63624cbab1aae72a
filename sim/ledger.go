package sim

import (
	"strconv"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// history records what clients see, and tells it to the checkers that judge at the moment of a reply.
type history struct {
	*linearize.Recorder
	ledger *ledger
	begun  linearize.Operation // the latest: the ledger looks at it here, where it takes no memory of its own
}

// Begin records the beginning of an operation, as linearize.Recorder does.
func (h *history) Begin(op linearize.Operation) (linearize.ID, error) {
	id, err := h.Recorder.Begin(op)
	if err == nil {
		h.begun = op
		h.ledger.begin(&h.begun)
	}
	return id, err
}

// End records a reply.
func (h *history) End(id linearize.ID, reply linearize.Reply, at int64) error {
	if err := h.Recorder.End(id, reply, at); err != nil {
		return err
	}
	if reply.Outcome() == linearize.Fail || h.ledger.inVain(id, reply) {
		h.ledger.failed(id)
	} else {
		h.ledger.answered(id, reply)
	}
	return nil
}

// Fail records that the operation has not run and never will.
func (h *history) Fail(id linearize.ID, at int64) error {
	h.ledger.failed(id)
	return h.Recorder.Fail(id, at)
}

// forget takes back what a client was told of an operation, of which nothing is left: it may have happened or not. Nothing is known of its keys any more without a
// search.
func (h *history) forget(id linearize.ID) {
	op, err := h.Recorder.Forget(id)
	h.ledger.w.must(err)
	words := append([]string{op.Key}, op.Args...)
	for _, argv := range op.Commands {
		words = append(words, argv...)
	}
	for _, word := range words {
		if a := h.ledger.accounts[word]; a != nil {
			a.sure = false
			a.mutations++ // that it is lost is one: what was written there last is not what it is any more
			a.others.last, a.others.ever = h.ledger.w.now, true
		}
	}
}

// ledger knows of each key what clients have been told, as far as that is certain without a search: which write made which
// value, which of them have certainly taken effect, and what the key is where nothing else was under way. It is told of
// operations in the order in which they happen. The checkers "sessions", "expiry" and "durability" go by it.
type ledger struct {
	w        *world
	accounts map[string]*account
	order    []*account          // in the order of their first use
	deeds    [][]deed            // by operation
	adding   []deed              // those of the operation that begins
	part     linearize.Operation // the command of a transaction that is looked at: here it takes no memory of its own
}

// forever is the end of what has not ended, or of which nobody knows whether it ever will.
const forever = time.Duration(1<<63 - 1)

// account is what is known of one key.
type account struct {
	name string
	slot slot.Slot
	// writes are those that set the whole value or append to it, by what they write, which is unique; those that failed or
	// changed nothing are not in it.
	writes writes
	// floor is the write that began last among those that have certainly taken effect.
	floor *write
	count int64 // of a counter: the highest value that was shown

	underway  int // mutations begun and not ended; those of unknown outcome never end
	mutations int // begun so far
	// Intervals of kinds of mutations: until when one may have taken effect, forever while one can.
	erasers, timers, setters, appends, counts, others kindOfChange
	timed                                             bool // some write gave its value a deadline

	known
}

// known is what a key certainly is.
type known struct {
	// sure says that the key is known: nothing else was under way when it was last written or read.
	sure    bool
	present bool
	value   string
	since   time.Duration // of the reply that made it sure
}

// kindOfChange sums up the mutations of one kind on a key.
type kindOfChange struct {
	underway int
	last     time.Duration // end of the latest that has ended
	ever     bool
}

// until is up to when one may have taken effect; negative if there was none.
func (k *kindOfChange) until() time.Duration {
	switch {
	case k.underway > 0:
		return forever
	case !k.ever:
		return -1
	}
	return k.last
}

// write is a command that writes a value of its own.
type write struct {
	value      string
	begin, end time.Duration // end is forever unless it was answered
	client     int
	ms         int64 // its value expires after so many ms; 0: does not
	// alone says that no other mutation of the key was under way when it began; mutations is how many had begun by then.
	alone     bool
	mutations int
}

// writes are the writes of a key by what they write. Most keys have one write, so the first is kept without a map.
type writes struct {
	first  *write
	others map[string]*write // nil before the second
}

// of is the write of a value, nil if there is none.
func (w *writes) of(value string) *write {
	if w.first != nil && w.first.value == value {
		return w.first
	}
	return w.others[value]
}

// put adds a write, in place of one of the same value.
func (w *writes) put(added *write) {
	switch {
	case w.first == nil && w.others == nil, w.first != nil && w.first.value == added.value:
		w.first = added
		return
	case w.others == nil:
		w.others = map[string]*write{}
	}
	w.others[added.value] = added
}

// forget takes the write of a value away.
func (w *writes) forget(value string) {
	if w.first != nil && w.first.value == value {
		w.first = nil
		return
	}
	delete(w.others, value)
}

// deedKind is what a command does to one key.
type deedKind uint8

const (
	deedRead   deedKind = iota + 1 // GET
	deedSet                        // SET, SETNX, GETSET, a part of MSET
	deedAppend                     // APPEND
	deedErase                      // DEL, GETDEL
	deedTime                       // PERSIST, PEXPIRE and their like
	deedCount                      // INCR, INCRBY
	deedOther                      // a mutation of which nothing is known
)

// deed is what an operation does to one key.
type deed struct {
	a      *account
	kind   deedKind
	cmd    string
	item   int // which of the replies of a transaction is its own; -1 of a command by itself
	client int
	call   time.Duration
	write  *write // deedSet, deedAppend
	// As it was at the call: what had certainly taken effect, and whether the key's mutations had all ended.
	floor     *write
	count     int64
	alone     bool
	mutations int // including this one
	before    known
}

func newLedger(w *world) *ledger {
	return &ledger{w: w, accounts: map[string]*account{}, order: w.room.order, deeds: w.room.deedsOf}
}

func (l *ledger) account(name string) *account {
	a := l.accounts[name]
	if a == nil {
		const piece = 64
		a = &l.w.room.accounts.take(1, piece)[0]
		a.name, a.slot = name, slot.OfKey([]byte(name))
		l.accounts[name] = a
		l.order = append(l.order, a)
	}
	return a
}

// begin notes an operation, whose id is one more than that of the operation before.
func (l *ledger) begin(op *linearize.Operation) {
	deeds := l.adding[:0]
	if len(op.Commands) == 0 {
		deeds = l.beginCommand(deeds, op, -1)
	}
	for i, argv := range op.Commands {
		l.part = linearize.Operation{Client: op.Client, Cmd: argv[0], Key: argv[1], Args: argv[2:]}
		deeds = l.beginCommand(deeds, &l.part, i)
	}
	l.adding = deeds
	const piece = 128
	kept := l.w.room.deeds.take(len(deeds), piece)
	copy(kept, deeds)
	l.deeds = append(l.deeds, kept)
}

// beginCommand adds what a command does, the one of a transaction whose reply is the item, or -1 for one by itself.
func (l *ledger) beginCommand(deeds []deed, op *linearize.Operation, item int) []deed {
	add := func(name string, kind deedKind, value string, ms int64) {
		d := l.beginDeed(op, name, kind, value, ms)
		d.item = item
		deeds = append(deeds, d)
	}
	switch op.Cmd {
	case "GET":
		add(op.Key, deedRead, "", 0)
	case "SET":
		ms := int64(0)
		if len(op.Args) == 3 && op.Args[1] == "PX" {
			ms, _ = strconv.ParseInt(op.Args[2], 10, 64) // the history has parsed it
		}
		if len(op.Args) == 1 || ms > 0 {
			add(op.Key, deedSet, op.Args[0], ms)
		} else {
			add(op.Key, deedOther, "", 0)
		}
	case "SETNX", "GETSET":
		add(op.Key, deedSet, op.Args[0], 0)
	case "APPEND":
		add(op.Key, deedAppend, op.Args[0], 0)
	case "MSET":
		add(op.Key, deedSet, op.Args[0], 0)
		for i := 1; i+1 < len(op.Args); i += 2 {
			add(op.Args[i], deedSet, op.Args[i+1], 0)
		}
	case "DEL", "UNLINK":
		add(op.Key, deedErase, "", 0)
		for _, name := range op.Args {
			add(name, deedErase, "", 0)
		}
	case "GETDEL":
		add(op.Key, deedErase, "", 0)
	case "INCR", "INCRBY":
		add(op.Key, deedCount, "", 0)
	case "PERSIST", "PEXPIRE", "PEXPIREAT", "EXPIRE", "EXPIREAT":
		add(op.Key, deedTime, "", 0)
	default:
		for _, name := range op.Changes() {
			add(name, deedOther, "", 0)
		}
	}
	return deeds
}

func (l *ledger) beginDeed(op *linearize.Operation, name string, kind deedKind, value string, ms int64) deed {
	a := l.account(name)
	d := deed{a: a, kind: kind, cmd: op.Cmd, client: op.Client, call: l.w.now, floor: a.floor, count: a.count, alone: a.underway == 0}
	if kind == deedRead {
		d.mutations = a.mutations
		return d
	}
	d.before = a.known
	a.sure = false
	a.underway++
	a.mutations++
	d.mutations = a.mutations
	a.changes(kind).underway++
	if kind == deedSet || kind == deedAppend {
		d.write = &write{value: value, begin: l.w.now, end: forever, client: op.Client, ms: ms, alone: d.alone, mutations: a.mutations}
		a.writes.put(d.write)
		a.timed = a.timed || ms > 0
	}
	return d
}

// changes sums up the mutations of a kind.
func (a *account) changes(kind deedKind) *kindOfChange {
	switch kind {
	case deedErase:
		return &a.erasers
	case deedTime:
		return &a.timers
	case deedSet:
		return &a.setters
	case deedAppend:
		return &a.appends
	case deedCount:
		return &a.counts
	default:
		return &a.others
	}
}

// undisturbed reports whether no other mutation was under way at any time since the call.
func (d *deed) undisturbed() bool {
	underway := 1
	if d.kind == deedRead {
		underway = 0
	}
	return d.alone && d.a.mutations == d.mutations && d.a.underway == underway
}

// inVain reports whether the operation is a transaction, and the reply says that it has not run.
func (l *ledger) inVain(id linearize.ID, reply linearize.Reply) bool {
	return reply == linearize.Nil() && len(l.deeds[id]) > 0 && l.deeds[id][0].item >= 0
}

// failed forgets an operation that has not run.
func (l *ledger) failed(id linearize.ID) {
	for i := range l.deeds[id] {
		d := &l.deeds[id][i]
		a := d.a
		if d.kind == deedRead {
			continue
		}
		if d.undisturbed() {
			a.known = d.before
		}
		a.underway--
		a.changes(d.kind).underway--
		if d.write != nil && a.writes.of(d.write.value) == d.write {
			a.writes.forget(d.write.value)
		}
	}
	l.deeds[id] = nil
}

// answered takes note of a reply, after the checkers have judged it.
func (l *ledger) answered(id linearize.ID, reply linearize.Reply) {
	whole, items := reply, reply.Items()
	for i := range l.deeds[id] {
		d := &l.deeds[id][i]
		if reply = whole; d.item >= 0 && d.item < len(items) {
			reply = items[d.item]
		}
		shown, shows := d.shown(reply)
		if shows {
			l.w.checks.sessions.read(d, shown)
			l.w.checks.expiry.read(d, shown)
			if w := d.a.writes.of(shown.Text); w != nil && shown.Kind == linearize.BulkReply && d.a.whole() {
				d.a.raise(w)
			}
		}
		l.end(d, reply, shown, shows)
	}
	l.deeds[id] = nil
}

// shown is what the reply shows of the key's value before the operation.
func (d *deed) shown(reply linearize.Reply) (linearize.Reply, bool) {
	switch d.cmd {
	case "GET", "GETSET", "GETDEL":
		return reply, reply.Kind == linearize.BulkReply || reply.Kind == linearize.NilReply
	}
	return linearize.Reply{}, false
}

func (l *ledger) end(d *deed, reply, shown linearize.Reply, shows bool) {
	a := d.a
	settled := d.undisturbed()
	if d.kind == deedRead {
		if couldCount(shown.Text) { // the error of the others would take memory
			if n, err := strconv.ParseInt(shown.Text, 10, 64); err == nil {
				a.count = max(a.count, n)
			}
		}
		if shows && (settled || a.only(shown)) {
			a.settle(l.w.now, shown.Kind == linearize.BulkReply, shown.Text)
		}
		return
	}
	a.underway--
	k := a.changes(d.kind)
	k.underway--
	k.last, k.ever = l.w.now, true
	switch d.kind {
	case deedSet:
		if d.cmd == "SETNX" && reply == linearize.Int(0) || reply.Kind == linearize.ErrorReply {
			a.writes.forget(d.write.value)
			if settled {
				a.known = d.before
			}
			return
		}
		d.write.end = l.w.now
		a.raise(d.write)
		if settled {
			a.settle(l.w.now, true, d.write.value)
		}
	case deedAppend:
		d.write.end = l.w.now
		a.raise(d.write)
		if settled && d.before.sure {
			a.settle(l.w.now, true, d.before.value+d.write.value)
		}
	case deedErase:
		if settled {
			a.settle(l.w.now, false, "")
		}
	case deedCount:
		a.count = max(a.count, reply.Int)
		if settled && reply.Kind == linearize.IntReply {
			a.settle(l.w.now, true, strconv.FormatInt(reply.Int, 10))
		}
	default:
	}
}

// couldCount reports whether a text can be what a counter shows.
func couldCount(text string) bool {
	return text != "" && (text[0] == '-' || '0' <= text[0] && text[0] <= '9') && len(text) <= 20
}

// only reports whether a reply shows the value of a write that nobody has been answered yet, but that is the only mutation since
// nothing was under way: then it has taken effect, and the key is what it wrote.
func (a *account) only(shown linearize.Reply) bool {
	w := a.writes.of(shown.Text)
	return shown.Kind == linearize.BulkReply && w != nil && a.whole() && w.alone && w.end == forever && a.underway == 1 && a.mutations == w.mutations
}

// settle makes the key known.
func (a *account) settle(now time.Duration, present bool, value string) {
	a.known = known{sure: true, present: present, value: value, since: now}
	if !present {
		a.value = ""
	}
}

// raise notes that a write has certainly taken effect.
func (a *account) raise(w *write) {
	if a.floor == nil || w.begin > a.floor.begin {
		a.floor = w
	}
}

// mortal reports whether the key may have had a deadline.
func (a *account) mortal() bool { return a.timed || a.timers.until() >= 0 || a.others.until() >= 0 }

// whole reports whether all values of the key are whole values of writes.
func (a *account) whole() bool {
	return a.others.until() < 0 && a.appends.until() < 0 && a.counts.until() < 0
}
