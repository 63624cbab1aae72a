package sim

import (
	"fmt"
	"strconv"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// keyspace is the keys that a run uses: in each of its slots a few hot ones of different kinds, and filler.
type keyspace struct {
	tags  []string
	slots []slot.Slot
	index map[slot.Slot]int
	// generation of each hot key: a key that has been used much, or whose fate is too uncertain to be judged, is left for
	// its successor.
	hot  [][]hotKey
	next int // numbers values, so that each is unique
}

// hotKey is a key that clients fight over.
type hotKey struct {
	kind       keyKind
	generation int
	ops        int
}

// keyKind is what a key is used for: values that are told apart by who wrote them make histories cheap to judge, so
// counters and texts do not mix.
type keyKind byte

const (
	register keyKind = 'r' // whole values
	text     keyKind = 'a' // pieces are appended
	counter  keyKind = 'n'
	mortal   keyKind = 'x' // values that expire
	batch    keyKind = 'b' // several keys, which commands touch together
	filling  keyKind = 'f'
)

// opsPerKey is after how many operations a key is left for its successor, opsPerBatch the same of keys that are judged together,
// and unknownPerBatch after how many writes of unknown outcome to one of them: such a judgement costs more.
const (
	opsPerKey       = 110
	opsPerBatch     = 50
	unknownPerBatch = 3
)

// mortals is how many of the hot keys of a slot, the last ones, have values that expire.
const mortals = 2

// batchKeys is how many keys of a batch commands touch together.
const batchKeys = 3

func newKeyspace(slots int) *keyspace {
	k := &keyspace{index: map[slot.Slot]int{}}
	for i := 0; len(k.slots) < slots; i++ {
		tag := "{t" + strconv.Itoa(i) + "}"
		s := slot.OfKey([]byte(tag))
		if _, taken := k.index[s]; taken {
			continue
		}
		k.index[s] = len(k.slots)
		k.tags, k.slots = append(k.tags, tag), append(k.slots, s)
		k.hot = append(k.hot, []hotKey{{kind: register}, {kind: register}, {kind: text}, {kind: counter}, {kind: batch}, {kind: mortal}, {kind: mortal}})
	}
	return k
}

func (k *keyspace) unique() string {
	k.next++
	return strconv.Itoa(k.next) + ";"
}

func (k *keyspace) fillerKey(slot, i int) string { return fmt.Sprintf("%sf%d", k.tags[slot], i) }

// hotNames are the names of a hot key in a generation: one, or those of a batch.
func (k *keyspace) hotNames(slot, i, generation int) []string {
	h := &k.hot[slot][i]
	name := fmt.Sprintf("%s%c%d.%d", k.tags[slot], h.kind, i, generation)
	if h.kind != batch {
		return []string{name}
	}
	names := make([]string, batchKeys)
	for n := range names {
		names[n] = fmt.Sprintf("%s.%c", name, 'a'+n)
	}
	return names
}

// use gives the present names of a hot key, whose use is counted.
func (k *keyspace) use(slot, i int, rec *linearize.Recorder) []string {
	h := &k.hot[slot][i]
	ops, unknown := opsPerKey, linearize.RetireAfter
	if h.kind == batch {
		ops, unknown = opsPerBatch, unknownPerBatch
	}
	h.ops++
	worn := h.ops > ops
	for _, name := range k.hotNames(slot, i, h.generation) {
		worn = worn || rec.UnknownMutations(name) >= unknown
	}
	if worn {
		h.ops = 1
		h.generation++
	}
	return k.hotNames(slot, i, h.generation)
}

// drawCommand draws a command on a slot, by weight.
func (w *world) drawCommand(d dice, slot int) []string {
	k := w.keys
	s := &w.swarm
	if d.chance(0.15) {
		name := k.fillerKey(slot, d.IntN(s.filler+4))
		switch n := d.IntN(10); {
		case n < 4:
			return []string{"GET", name}
		case n < 8:
			return []string{"SET", name, k.unique()}
		default:
			return []string{"DEL", name}
		}
	}
	kinds := len(k.hot[slot])
	if !s.expiry {
		kinds -= mortals
	}
	i := d.IntN(kinds)
	names := k.use(slot, i, w.history.Recorder)
	name := names[0]
	read := d.chance(0.38)
	n := d.IntN(100)
	switch k.hot[slot][i].kind {
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
	default:
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
