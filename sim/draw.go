package sim

import (
	"strconv"
	"time"
)

// errand is what a client does in one operation of its own.
type errand struct {
	argv  []string     // a command; nil for a transaction
	tx    *transaction // nil for a command
	reads [][]string   // commands that travel in one packet, argv the first of them; nil for one by itself
}

// words is what the client does, for people.
func (e errand) words() []string {
	if e.tx != nil {
		return e.tx.words()
	}
	return e.argv
}

// shareFiller is the part of the operations that go to the filler.
const shareFiller = 0.15

// shareWide is the part of the operations on a slot that go to its wide key, beside its turn: there is one such slot in few runs.
const shareWide = 0.2

// drawErrand draws what a client does with a slot, by weight.
func (w *world) drawErrand(d dice, slot int) errand {
	k := w.keys
	s := &w.swarm
	if d.chance(shareFiller) {
		name := k.fillers[slot][d.IntN(len(k.fillers[slot]))]
		switch n := d.IntN(10); {
		case n < 4:
			return errand{argv: []string{"GET", name}}
		case n < 8:
			return errand{argv: []string{"SET", name, k.unique()}}
		default:
			return errand{argv: []string{"DEL", name}}
		}
	}
	kinds := len(k.hot[slot])
	if !s.expiry {
		kinds -= mortals
	}
	i := d.IntN(kinds)
	if k.hot[slot][0].kind == wide && d.chance(shareWide) {
		i = 0
	}
	names := k.use(slot, i, w.history.Recorder)
	h := &k.hot[slot][i]
	if d.chance(s.transactions) {
		return w.drawTransaction(d, h, names)
	}
	if d.chance(s.blocking) {
		if argv := w.drawBlocking(d, h, names); argv != nil {
			return errand{argv: argv}
		}
	}
	return errand{argv: w.drawCommand(d, h, names)}
}

// drawCommand draws a command on a hot key.
func (w *world) drawCommand(d dice, h *hotKey, names []string) []string {
	k, name := w.keys, names[0]
	read := d.chance(0.38)
	n := d.IntN(100)
	switch h.kind {
	case text:
		switch {
		case read && n < 90:
			return []string{"GET", name}
		case read:
			return []string{"STRLEN", name}
		case n < 88:
			return []string{"APPEND", name, k.unique()}
		default:
			return []string{"SET", name, k.unique()}
		}
	case counter:
		switch {
		case read:
			return []string{"GET", name}
		case n < 80:
			return []string{"INCR", name}
		default:
			return []string{"INCRBY", name, strconv.Itoa(2 + n)}
		}
	case mortal:
		return w.drawMortal(d, name, read, n)
	case batch:
		return w.drawBatch(d, names, read, n)
	case hashes, lists, sets, ranks:
		return w.drawTyped(d, h, h.types[0], name, read, n)
	case changing:
		return w.drawChanging(d, h, name, read, n)
	case groups:
		return w.drawGroup(d, h, names, read, n)
	case fading:
		return w.drawFading(d, h, name, read, n)
	case bitmaps:
		return w.drawBitmap(d, name, read, n)
	case wide:
		return w.drawWide(d, h, name, read, n)
	default:
		return w.drawRegister(name, read, n)
	}
}

// drawRegister draws a command on a string of which values are written as a whole.
func (w *world) drawRegister(name string, read bool, n int) []string {
	k := w.keys
	switch {
	case read && n < 85:
		return []string{"GET", name}
	case read:
		return []string{"EXISTS", name}
	case n < 60:
		return []string{"SET", name, k.unique()}
	case n < 72:
		return []string{"DEL", name}
	case n < 82:
		return []string{"GETSET", name, k.unique()}
	case n < 92:
		return []string{"SETNX", name, k.unique()}
	default:
		return []string{"GETDEL", name}
	}
}

// drawBitmap draws a command on the bits of a short string. Most of them tell what was there before; one field is only counted.
func (w *world) drawBitmap(d dice, name string, read bool, n int) []string {
	bit := func() string { return strconv.Itoa(d.IntN(24)) } // before the counter
	switch {
	case read && n < 35:
		return []string{"GETBIT", name, bit()}
	case read && n < 60:
		return []string{"BITCOUNT", name}
	case read && n < 75:
		return []string{"BITFIELD", name, "GET", "u24", "0", "GET", "u16", "24"}
	case read:
		return []string{"GET", name}
	case n < 50:
		return []string{"SETBIT", name, bit(), pick(d, "0", "1")}
	case n < 75:
		return []string{"BITFIELD", name, "INCRBY", "u16", "24", "1"}
	case n < 90:
		return []string{"BITFIELD", name, "SET", "u5", bit(), strconv.Itoa(d.IntN(32)), "OVERFLOW", "SAT", "INCRBY", "i4", bit(), "3"}
	default:
		return []string{"DEL", name}
	}
}

// drawBatch draws a command on some of the keys of a batch, in any order.
func (w *world) drawBatch(d dice, names []string, read bool, n int) []string {
	d.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	some := names[:2+d.IntN(len(names)-1)]
	with := func(command string) []string { return append([]string{command}, some...) }
	withValues := func(command string) []string {
		argv := []string{command}
		for _, name := range some {
			argv = append(argv, name, w.keys.unique())
		}
		return argv
	}
	switch {
	case read && n < 85:
		return append([]string{"MGET"}, names...)
	case read:
		return with("EXISTS")
	case n < 60:
		return withValues("MSET")
	case n < 70:
		return withValues("MSETNX")
	case n < 78:
		return with("DEL")
	case n < 84:
		return with("UNLINK")
	case n < 90:
		return []string{"RENAME", names[0], names[1]}
	case n < 95:
		return []string{"RENAMENX", names[0], names[1]}
	default:
		return []string{"SET", names[0], w.keys.unique()}
	}
}

// drawMortal draws a command on a string that expires.
func (w *world) drawMortal(d dice, name string, read bool, n int) []string {
	long := 3 * time.Second
	if skew := w.swarm.skew; skew > 0 { // nodes disagree about more of these
		long = pick(d, skew, 2*skew, long)
		read = read || d.chance(0.4)
	}
	ms := strconv.FormatInt(int64(d.between(20*time.Millisecond, long)/time.Millisecond), 10)
	switch {
	case read && n < 75:
		return []string{"GET", name}
	case read:
		return []string{"PTTL", name}
	case n < 50:
		return []string{"SET", name, w.keys.unique(), "PX", ms}
	case n < 65:
		return []string{"SET", name, w.keys.unique()}
	case n < 75:
		at := unixMs + (w.now + d.between(0, 2*time.Second)).Milliseconds()
		return []string{"PEXPIREAT", name, strconv.FormatInt(at, 10)}
	case n < 85:
		return []string{"PEXPIRE", name, ms}
	case n < 93:
		return []string{"PERSIST", name}
	default:
		return []string{"DEL", name}
	}
}
