package sim

import (
	"strconv"
	"time"
)

// Elements, members and values of fields are unique, so that each lost, doubled or disordered one shows, and most commands on sorted sets go to a few
// members whose scores are.

// drawTyped draws a command on a key of a type.
func (w *world) drawTyped(d dice, h *hotKey, t keyType, name string, read bool, n int) []string {
	switch t {
	case typeHash:
		return w.drawHash(d, name, read, n)
	case typeList:
		return w.drawList(d, h, name, read, n)
	case typeSet:
		return w.drawSet(d, h, name, read, n)
	case typeSorted:
		return w.drawSorted(d, h, name, read, n)
	default:
		return w.drawRegister(name, read, n)
	}
}

// wholeRead is the command that shows all of a key of a type.
func wholeRead(t keyType, name string) []string {
	switch t {
	case typeHash:
		return []string{"HGETALL", name}
	case typeList:
		return []string{"LRANGE", name, "0", "-1"}
	case typeSet:
		return []string{"SMEMBERS", name}
	case typeSorted:
		return []string{"ZRANGE", name, "0", "-1", "WITHSCORES"}
	default:
		return []string{"GET", name}
	}
}

func (w *world) drawHash(d dice, name string, read bool, n int) []string {
	field := func() string { return "f" + strconv.Itoa(d.IntN(5)) }
	const counted = "n" // a field that is incremented only
	switch {
	case read && n < 45:
		return wholeRead(typeHash, name)
	case read && n < 70:
		return []string{"HGET", name, field()}
	case read && n < 85:
		return []string{"HMGET", name, field(), counted}
	case read:
		return []string{"HLEN", name}
	case n < 40:
		return []string{"HSET", name, field(), w.keys.unique()}
	case n < 55:
		return []string{"HSET", name, field(), w.keys.unique(), field(), w.keys.unique()}
	case n < 68:
		return []string{"HDEL", name, field()}
	case n < 76:
		return []string{"HSETNX", name, field(), w.keys.unique()}
	case n < 94:
		return []string{"HINCRBY", name, counted, strconv.Itoa(n)}
	default:
		return []string{"DEL", name}
	}
}

func (w *world) drawList(d dice, h *hotKey, name string, read bool, n int) []string {
	push := func(command string) []string {
		argv := []string{command, name}
		for range 1 + d.IntN(2) {
			argv = append(argv, h.remember(w.keys.unique()))
		}
		return argv
	}
	switch {
	case read && n < 75:
		return wholeRead(typeList, name)
	case read && n < 90:
		return []string{"LLEN", name}
	case read:
		return []string{"LINDEX", name, "-1"}
	case n < 25:
		return push("RPUSH")
	case n < 46:
		return push("LPUSH")
	case n < 58:
		return []string{"LPOP", name}
	case n < 70:
		return []string{"RPOP", name}
	case n < 77:
		return []string{"LREM", name, "0", h.known(d)}
	case n < 83:
		return []string{"LTRIM", name, "-6", "4"}
	case n < 89:
		return []string{"LMOVE", name, name, pick(d, "LEFT", "RIGHT"), pick(d, "LEFT", "RIGHT")}
	case n < 95:
		return []string{"LINSERT", name, pick(d, "BEFORE", "AFTER"), h.known(d), w.keys.unique()}
	default:
		return []string{"DEL", name}
	}
}

func (w *world) drawSet(d dice, h *hotKey, name string, read bool, n int) []string {
	switch {
	case read && n < 60:
		return wholeRead(typeSet, name)
	case read && n < 85:
		return []string{"SISMEMBER", name, h.known(d)}
	case read:
		return []string{"SCARD", name}
	case n < 35:
		return []string{"SADD", name, h.remember(w.keys.unique())}
	case n < 50:
		return []string{"SADD", name, h.remember(w.keys.unique()), h.known(d)}
	case n < 80:
		return []string{"SREM", name, h.known(d)}
	case n < 86: // seldom: of one that nobody saw come back, any member can be gone
		return []string{"SPOP", name}
	default:
		return []string{"DEL", name}
	}
}

func (w *world) drawSorted(d dice, h *hotKey, name string, read bool, n int) []string {
	member := func() string {
		if d.chance(0.7) {
			return "m" + strconv.Itoa(d.IntN(5))
		}
		return h.remember(w.keys.unique())
	}
	score := func() string { // one in four is another's, so that members with one score are told apart
		if w.keys.next++; d.chance(0.25) {
			return "7"
		}
		return strconv.Itoa(w.keys.next%2*2000 - w.keys.next)
	}
	switch {
	case read && n < 65:
		return wholeRead(typeSorted, name)
	case read && n < 80:
		return []string{"ZSCORE", name, member()}
	case read && n < 90:
		return []string{"ZRANGEBYSCORE", name, "(0", "+inf", "WITHSCORES"}
	case read:
		return []string{"ZCARD", name}
	case n < 40:
		return []string{"ZADD", name, score(), member()}
	case n < 52:
		return []string{"ZADD", name, score(), member(), score(), member()}
	case n < 68:
		return []string{"ZINCRBY", name, "0.5", member()}
	case n < 80:
		return []string{"ZREM", name, h.known(d), member()}
	case n < 88:
		return []string{"ZPOPMIN", name}
	case n < 94:
		return []string{"ZPOPMAX", name}
	default:
		return []string{"DEL", name}
	}
}

// drawChanging draws a command on a key whose type changes: most of them fit the type only now and then.
func (w *world) drawChanging(d dice, h *hotKey, name string, read bool, n int) []string {
	if read && d.chance(0.3) {
		return []string{"TYPE", name}
	}
	switch d.IntN(10) {
	case 0:
		return []string{"SET", name, w.keys.unique()}
	case 1, 2:
		return []string{"DEL", name}
	default:
		return w.drawTyped(d, h, pick(d, typeString, typeHash, typeList, typeSet, typeSorted), name, read, n)
	}
}

// drawGroup draws a command on one or two keys of a group. What is renamed keeps its type, so commands can find another than they want.
func (w *world) drawGroup(d dice, h *hotKey, names []string, read bool, n int) []string {
	i := d.IntN(len(names))
	one, other := names[i], names[(i+1+d.IntN(len(names)-1))%len(names)]
	switch n := d.IntN(100); {
	case n < 60 || read:
	case n < 80:
		if argv := w.drawBetween(d, h, names); argv != nil {
			return argv
		}
	case n < 88:
		return []string{"RENAME", one, other}
	case n < 92:
		return []string{"RENAMENX", one, other}
	case n < 96:
		return []string{"COPY", one, other, "REPLACE"}
	default:
		return []string{"DEL", one, other}
	}
	return w.drawTyped(d, h, h.types[i], one, read, n)
}

// drawBetween draws a command that moves an element between two keys of a group, nil if there are none of one type that has such.
func (w *world) drawBetween(d dice, h *hotKey, names []string) []string {
	from, to := h.pair(d)
	switch {
	case from == to:
		return nil
	case h.types[from] == typeList:
		return []string{"LMOVE", names[from], names[to], pick(d, "LEFT", "RIGHT"), pick(d, "LEFT", "RIGHT")}
	case h.types[from] == typeSet:
		return []string{"SMOVE", names[from], names[to], h.known(d)}
	}
	return nil
}

// pair draws two keys of a group that have one type; twice the same if there are none.
func (h *hotKey) pair(d dice) (from, to int) {
	for from = range h.types {
		for to = from + 1; to < len(h.types); to++ {
			if h.types[from] != h.types[to] {
				continue
			}
			if d.chance(0.5) {
				return to, from
			}
			return from, to
		}
	}
	return 0, 0
}

// drawFading draws a command on a collection that expires.
func (w *world) drawFading(d dice, h *hotKey, name string, read bool, n int) []string {
	switch {
	case read && n < 70, !read && n < 60:
		return w.drawTyped(d, h, h.types[0], name, read, d.IntN(100))
	case read:
		return []string{"PTTL", name}
	case n < 75:
		at := unixMs + (w.now + d.between(0, 2*time.Second)).Milliseconds()
		return []string{"PEXPIREAT", name, strconv.FormatInt(at, 10)}
	case n < 88:
		return []string{"PEXPIRE", name, milliseconds(d.between(20*time.Millisecond, 3*time.Second))}
	case n < 92:
		return []string{"EXPIRE", name, "1"}
	default:
		return []string{"PERSIST", name}
	}
}

func milliseconds(t time.Duration) string { return strconv.FormatInt(t.Milliseconds(), 10) }

// shortestWait is the shortest that a command may wait for a key.
const shortestWait = 10 * time.Millisecond

// wideTypes is how many types a wide collection can have: hash, list or set.
const wideTypes = 3

// dropsByRange is up to how many elements a node deletes one by one; more it drops by one range delete. A wide collection is filled with wideSize.
const (
	dropsByRange = 512
	wideSize     = dropsByRange + 8
)

// drawWide draws a command on a collection that comes and goes as a whole.
func (w *world) drawWide(d dice, h *hotKey, name string, read bool, n int) []string {
	t := h.types[0]
	switch {
	case read && n < 20:
		return wholeRead(t, name)
	case read:
		return []string{[...]string{typeHash: "HLEN", typeList: "LLEN", typeSet: "SCARD"}[t], name}
	case n < 25:
		return w.drawTyped(d, h, t, name, false, d.IntN(100))
	case !h.filled:
		h.filled = true
		return w.fillWide(t, name)
	}
	h.filled = false // so that it does not grow without end
	switch {
	case n < 50 && w.swarm.expiry:
		return []string{"PEXPIRE", name, milliseconds(d.between(time.Millisecond, 200*time.Millisecond))}
	case n < 65 && w.swarm.expiry:
		return []string{"SET", name, w.keys.unique(), "PX", milliseconds(d.between(time.Millisecond, 100*time.Millisecond))}
	default:
		return []string{pick(d, "DEL", "UNLINK"), name}
	}
}

// fillWide is a command that adds all the elements of a wide collection, unique ones, or sets all its fields.
func (w *world) fillWide(t keyType, name string) []string {
	argv := append(make([]string, 0, 2+2*wideSize), [...]string{typeHash: "HSET", typeList: "RPUSH", typeSet: "SADD"}[t], name)
	value := w.keys.unique()
	for i := range wideSize {
		element := value + strconv.Itoa(i)
		if t == typeHash {
			argv = append(argv, "w"+strconv.Itoa(i))
		}
		argv = append(argv, element)
	}
	return argv
}

// drawBlocking draws a command that waits until a key has something to take, nil if none of the keys is of such a type.
func (w *world) drawBlocking(d dice, h *hotKey, names []string) []string {
	if h.kind == changing || h.kind == fading || h.kind == wide {
		return nil
	}
	wait := strconv.FormatFloat(d.between(shortestWait, pick(d, 300*time.Millisecond, time.Second)).Seconds(), 'f', 3, 64)
	i := d.IntN(len(names))
	switch from, to := 0, 0; h.types[i] {
	case typeSorted:
		return []string{pick(d, "BZPOPMIN", "BZPOPMAX"), names[i], wait}
	case typeList:
		if len(names) > 1 {
			from, to = h.pair(d)
		}
		if from != to && d.chance(0.5) {
			return []string{"BLMOVE", names[from], names[to], pick(d, "LEFT", "RIGHT"), pick(d, "LEFT", "RIGHT"), wait}
		}
		return []string{pick(d, "BLPOP", "BRPOP"), names[i], wait}
	default:
		return nil
	}
}

// drawTransaction draws two to four commands on a hot key, some of them behind a WATCH of what they then read.
func (w *world) drawTransaction(d dice, h *hotKey, names []string) errand {
	tx := &transaction{}
	if d.chance(0.5) {
		i := d.IntN(len(names))
		for range 1 + d.IntN(min(len(names), 2)) {
			tx.watched = append(tx.watched, wholeRead(h.typeAt(d, i), names[i]))
			i = (i + 1) % len(names)
		}
		tx.thinks = d.around(pick(d, 2*time.Millisecond, 30*time.Millisecond, 150*time.Millisecond))
	}
	for range 2 + d.IntN(3) {
		tx.commands = append(tx.commands, w.drawCommand(d, h, names))
	}
	tx.discarded = d.chance(0.05)
	return errand{tx: tx}
}

// typeAt is the type as which a key of its is read.
func (h *hotKey) typeAt(d dice, i int) keyType {
	if h.kind == changing {
		return pick(d, typeString, typeHash, typeList, typeSet, typeSorted)
	}
	return h.types[i]
}
