package linearize

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// reference is a store written apart from the model, the plainest way: maps, one clock reading per operation.
type reference struct {
	keys map[string]entry
}

// entry is a key: a string, or whichever collection is not nil.
type entry struct {
	text     string
	deadline int64 // unix ms; 0 = none
	list     []string
	set      map[string]bool
	hash     map[string]string
	zset     map[string]float64
}

func (e entry) isString() bool {
	return e.list == nil && e.set == nil && e.hash == nil && e.zset == nil
}

func one(b bool) Reply {
	if b {
		return Int(1)
	}
	return Int(0)
}

var wrongType = Error("WRONGTYPE Operation against a key holding the wrong kind of value")

func (s *reference) run(op Operation, nowMs int64) Reply {
	if op.Cmd != "EXEC" {
		return s.do(append([]string{op.Cmd, op.Key}, op.Args...), nowMs)
	}
	var replies []Reply
	for _, argv := range op.Commands {
		replies = append(replies, s.do(argv, nowMs))
	}
	return Array(replies...)
}

func (s *reference) do(argv []string, nowMs int64) Reply {
	for _, key := range argv[1:] { // arguments that are no keys do no harm
		if e, ok := s.keys[key]; ok && e.deadline != 0 && e.deadline <= nowMs {
			delete(s.keys, key)
		}
	}
	key, args := argv[1], argv[2:]
	e, ok := s.keys[key]
	switch argv[0] {
	case "MGET":
		var values []Reply
		for _, k := range argv[1:] {
			if e, ok := s.keys[k]; ok && e.isString() {
				values = append(values, Bulk(e.text))
			} else {
				values = append(values, Nil())
			}
		}
		return Array(values...)
	case "MSET", "MSETNX":
		for i := 1; i < len(argv) && argv[0] == "MSETNX"; i += 2 {
			if _, ok := s.keys[argv[i]]; ok {
				return Int(0)
			}
		}
		for i := 1; i < len(argv); i += 2 {
			s.keys[argv[i]] = entry{text: argv[i+1]}
		}
		if argv[0] == "MSETNX" {
			return Int(1)
		}
		return Status("OK")
	case "DEL", "EXISTS":
		n := int64(0)
		for _, k := range argv[1:] {
			if _, ok := s.keys[k]; ok {
				n++
				if argv[0] == "DEL" {
					delete(s.keys, k)
				}
			}
		}
		return Int(n)
	case "TYPE":
		switch {
		case !ok:
			return Status("none")
		case e.list != nil:
			return Status("list")
		case e.set != nil:
			return Status("set")
		case e.hash != nil:
			return Status("hash")
		case e.zset != nil:
			return Status("zset")
		}
		return Status("string")
	case "RENAME":
		if !ok {
			return Error("ERR no such key")
		}
		delete(s.keys, key)
		s.keys[args[0]] = e
		return Status("OK")
	case "COPY":
		_, taken := s.keys[args[0]]
		if key == args[0] {
			return Error("ERR source and destination objects are the same")
		}
		if !ok || taken {
			return Int(0)
		}
		e.list, e.set, e.hash, e.zset = slices.Clone(e.list), maps.Clone(e.set), maps.Clone(e.hash), maps.Clone(e.zset)
		s.keys[args[0]] = e
		return Int(1)
	case "PERSIST":
		if !ok || e.deadline == 0 {
			return Int(0)
		}
		e.deadline = 0
		s.keys[key] = e
		return Int(1)
	case "PEXPIREAT", "PEXPIRE":
		if !ok {
			return Int(0)
		}
		n, _ := strconv.ParseInt(args[0], 10, 64)
		if argv[0] == "PEXPIRE" {
			n += nowMs
		}
		e.deadline = n
		s.keys[key] = e
		if n <= nowMs {
			delete(s.keys, key)
		}
		return Int(1)
	case "PTTL":
		switch {
		case !ok:
			return Int(-2)
		case e.deadline == 0:
			return Int(-1)
		}
		return Int(e.deadline - nowMs)
	case "SET":
		if len(args) < 2 || args[1] != "GET" {
			return s.set(key, e, ok, args, nowMs)
		}
	}
	var r Reply
	was := e
	switch name := argv[0]; {
	case strings.HasPrefix(name, "H"):
		if ok && e.hash == nil {
			return wrongType
		}
		r = runHash(&e, name, args)
		ok = len(e.hash) > 0
	case slices.Contains([]string{"LPUSH", "RPUSH", "LPOP", "RPOP", "LRANGE", "LLEN", "LINDEX", "LSET", "LREM", "LTRIM", "LINSERT", "RPUSHX"}, name):
		if ok && e.list == nil {
			return wrongType
		}
		r = runList(&e, name, args)
		ok = len(e.list) > 0
	case slices.Contains([]string{"BLPOP", "BRPOP"}, name):
		if ok && e.list == nil {
			return wrongType
		}
		if r = runList(&e, name[1:], nil); r != Nil() {
			r = Bulks(key, r.Text)
		}
		ok = len(e.list) > 0
	case slices.Contains([]string{"BZPOPMIN"}, name):
		if ok && e.zset == nil {
			return wrongType
		}
		if r = runSorted(&e, name[1:], nil); r == Bulks() {
			r = Nil()
		} else {
			r = Array(append([]Reply{Bulk(key)}, r.Items()...)...)
		}
		ok = len(e.zset) > 0
	case name == "LMOVE", name == "BLMOVE":
		return s.move(key, args)
	case name == "SMOVE":
		return s.moveMember(key, args)
	case strings.HasPrefix(name, "Z"):
		if ok && e.zset == nil {
			return wrongType
		}
		r = runSorted(&e, name, args)
		ok = len(e.zset) > 0
	case slices.Contains([]string{"SADD", "SREM", "SMEMBERS", "SISMEMBER", "SMISMEMBER", "SCARD", "SPOP", "SRANDMEMBER"}, name):
		if ok && e.set == nil {
			return wrongType
		}
		r = runSet(&e, name, args)
		ok = len(e.set) > 0
	default:
		if ok && !e.isString() {
			return wrongType
		}
		r, ok = runString(&e, ok, name, args)
	}
	if !ok {
		e = entry{}
		delete(s.keys, key)
	} else {
		if was.deadline != 0 && e.deadline == was.deadline && e.isString() != was.isString() {
			e.deadline = 0
		}
		s.keys[key] = e
	}
	return r
}

func (s *reference) set(key string, e entry, ok bool, args []string, nowMs int64) Reply {
	next := entry{text: args[0]}
	if len(args) > 1 {
		switch args[1] {
		case "NX":
			if ok {
				return Nil()
			}
		case "XX":
			if !ok {
				return Nil()
			}
		case "KEEPTTL":
			next.deadline = e.deadline
		case "PX":
			n, _ := strconv.ParseInt(args[2], 10, 64)
			next.deadline = nowMs + n
		}
	}
	s.keys[key] = next
	return Status("OK")
}

// runString runs a command on a string, and returns whether the key is there afterwards.
func runString(e *entry, ok bool, name string, args []string) (Reply, bool) {
	old := Nil()
	if ok {
		old = Bulk(e.text)
	}
	switch name {
	case "GET":
		return old, ok
	case "STRLEN":
		return Int(int64(len(e.text))), ok
	case "GETDEL":
		return old, false
	case "APPEND":
		e.text += args[0]
		return Int(int64(len(e.text))), true
	case "INCR":
		n := int64(0)
		if ok {
			var err error
			if n, err = strconv.ParseInt(e.text, 10, 64); err != nil {
				return Error("ERR value is not an integer or out of range"), ok
			}
		}
		e.text = strconv.FormatInt(n+1, 10)
		return Int(n + 1), true
	case "GETSET", "SET": // SET with GET
		*e = entry{text: args[0]}
		return old, true
	case "GETBIT":
		at, _ := strconv.Atoi(args[0])
		return Int(int64(digits(e.text)(at) - '0')), ok
	case "BITCOUNT":
		return Int(int64(strings.Count(spelled(e.text), "1"))), ok
	case "SETBIT":
		at, _ := strconv.Atoi(args[0])
		was := digits(e.text)(at)
		e.text = withDigits(e.text, at, args[1])
		return Int(int64(was - '0')), true
	case "BITFIELD":
		return runFields(e, ok, args)
	}
	panic("no reference for " + name)
}

// spelled is a string as the digits of its bits.
func spelled(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%08b", text[i])
	}
	return b.String()
}

// digits gives the digit of each bit.
func digits(text string) func(at int) byte {
	all := spelled(text)
	return func(at int) byte {
		if at >= len(all) {
			return '0'
		}
		return all[at]
	}
}

// withDigits is a string of which some bits, from one on, are replaced.
func withDigits(text string, at int, by string) string {
	all := spelled(text)
	for len(all) < at+len(by) {
		all += "00000000"
	}
	all = all[:at] + by + all[at+len(by):]
	out := ""
	for ; all != ""; all = all[8:] {
		n, _ := strconv.ParseUint(all[:8], 2, 8)
		out += string([]byte{byte(n)})
	}
	return out
}

// runFields is BITFIELD of unsigned fields of eight bits, and of signed ones of four.
func runFields(e *entry, ok bool, args []string) (Reply, bool) {
	var replies []Reply
	mode := "WRAP"
	for len(args) > 0 {
		if args[0] == "OVERFLOW" {
			mode, args = args[1], args[2:]
			continue
		}
		width, least, most := 8, 0, 255
		if args[1] == "i4" {
			width, least, most = 4, -8, 7
		}
		at, _ := strconv.Atoi(strings.TrimPrefix(args[2], "#"))
		if strings.HasPrefix(args[2], "#") {
			at *= width
		}
		read := ""
		for i := range width {
			read += string(digits(e.text)(at + i))
		}
		wide, _ := strconv.ParseUint(read, 2, 64)
		old := int(wide)
		if old > most {
			old -= most - least + 1
		}
		if args[0] == "GET" {
			replies, args = append(replies, Int(int64(old))), args[3:]
			continue
		}
		e.text, ok = withDigits(e.text, at, read), true // it grows
		n, _ := strconv.Atoi(args[3])
		if args[0] == "INCRBY" {
			n += old
		}
		fits := true
		for n < least || n > most {
			switch {
			case mode == "FAIL":
				fits = false
				n = old
			case mode == "SAT" && n > most:
				n = most
			case mode == "SAT":
				n = least
			case n > most:
				n -= most - least + 1
			default:
				n += most - least + 1
			}
		}
		switch {
		case !fits:
			replies = append(replies, Nil())
		case args[0] == "INCRBY":
			replies = append(replies, Int(int64(n)))
		default:
			replies = append(replies, Int(int64(old)))
		}
		text := fmt.Sprintf("%0*b", width, (n+256)%256)
		e.text = withDigits(e.text, at, text[len(text)-width:])
		args = args[4:]
	}
	return Array(replies...), ok
}

func runHash(e *entry, name string, args []string) Reply {
	if e.hash == nil {
		e.hash = map[string]string{}
	}
	get := func(f string) Reply {
		if v, ok := e.hash[f]; ok {
			return Bulk(v)
		}
		return Nil()
	}
	switch name {
	case "HSET":
		n := len(e.hash)
		for i := 0; i < len(args); i += 2 {
			e.hash[args[i]] = args[i+1]
		}
		return Int(int64(len(e.hash) - n))
	case "HSETNX":
		if _, ok := e.hash[args[0]]; ok {
			return Int(0)
		}
		e.hash[args[0]] = args[1]
		return Int(1)
	case "HGET":
		return get(args[0])
	case "HMGET":
		return Array(get(args[0]), get(args[1]))
	case "HDEL":
		n := len(e.hash)
		for _, f := range args {
			delete(e.hash, f)
		}
		return Int(int64(n - len(e.hash)))
	case "HINCRBY":
		n := 0
		if v, ok := e.hash[args[0]]; ok {
			var err error
			if n, err = strconv.Atoi(v); err != nil {
				return Error("ERR hash value is not an integer")
			}
		}
		d, _ := strconv.Atoi(args[1])
		e.hash[args[0]] = strconv.Itoa(n + d)
		return Int(int64(n + d))
	case "HLEN":
		return Int(int64(len(e.hash)))
	case "HEXISTS":
		return one(get(args[0]) != Nil())
	case "HSTRLEN":
		return Int(int64(len(e.hash[args[0]])))
	}
	// In an order that is not that of the model.
	var all []string
	for _, f := range slices.Backward(slices.Sorted(maps.Keys(e.hash))) {
		if name != "HVALS" {
			all = append(all, f)
		}
		if name != "HKEYS" {
			all = append(all, e.hash[f])
		}
	}
	return Bulks(all...)
}

func runList(e *entry, name string, args []string) Reply {
	n := len(e.list)
	number := func(i int) int {
		k, _ := strconv.Atoi(args[i])
		if k < 0 {
			k += n
		}
		return k
	}
	cut := func() []string {
		lo, hi := max(number(0), 0), min(number(1)+1, n)
		if lo >= hi {
			return nil
		}
		return slices.Clone(e.list[lo:hi])
	}
	switch name {
	case "RPUSHX":
		if n == 0 {
			return Int(0)
		}
		e.list = append(e.list, args...)
	case "RPUSH":
		e.list = append(e.list, args...)
	case "LPUSH":
		for _, a := range args {
			e.list = append([]string{a}, e.list...)
		}
	case "LPOP", "RPOP":
		if n == 0 {
			return Nil()
		}
		if len(args) > 0 {
			var all []string
			for range min(number(0), n) {
				all = append(all, runList(e, name, nil).Text)
			}
			return Bulks(all...)
		}
		at := 0
		if name == "RPOP" {
			at = n - 1
		}
		popped := e.list[at]
		e.list = slices.Concat(e.list[:at], e.list[at+1:])
		return Bulk(popped)
	case "LRANGE":
		return Bulks(cut()...)
	case "LTRIM":
		e.list = cut()
		return Status("OK")
	case "LINDEX":
		if i := number(0); i >= 0 && i < n {
			return Bulk(e.list[i])
		}
		return Nil()
	case "LSET":
		if i := number(0); i >= 0 && i < n {
			e.list = slices.Clone(e.list)
			e.list[i] = args[1]
			return Status("OK")
		}
		return Error("ERR index out of range")
	case "LREM": // with count 0
		e.list = slices.DeleteFunc(slices.Clone(e.list), func(x string) bool { return x == args[1] })
		return Int(int64(n - len(e.list)))
	case "LINSERT":
		i := slices.Index(e.list, args[1])
		switch {
		case n == 0:
			return Int(0)
		case i < 0:
			return Int(-1)
		case args[0] == "AFTER":
			i++
		}
		e.list = slices.Insert(slices.Clone(e.list), i, args[2])
	}
	return Int(int64(len(e.list)))
}

// move is LMOVE.
func (s *reference) move(from string, args []string) Reply {
	a, ok := s.keys[from]
	b, there := s.keys[args[0]]
	if !ok {
		return Nil()
	}
	if a.list == nil || there && b.list == nil {
		return wrongType
	}
	x := runList(&a, map[string]string{"LEFT": "LPOP", "RIGHT": "RPOP"}[args[1]], nil)
	if from == args[0] {
		b = a
	}
	runList(&b, map[string]string{"LEFT": "LPUSH", "RIGHT": "RPUSH"}[args[2]], []string{x.Text})
	s.keys[from] = a
	if len(a.list) == 0 {
		delete(s.keys, from)
	}
	s.keys[args[0]] = b
	return x
}

// moveMember is SMOVE.
func (s *reference) moveMember(from string, args []string) Reply {
	a, ok := s.keys[from]
	b, there := s.keys[args[0]]
	switch {
	case !ok:
		return Int(0)
	case a.set == nil || there && b.set == nil:
		return wrongType
	case !a.set[args[1]]:
		return Int(0)
	case from == args[0]:
		return Int(1)
	}
	runSet(&a, "SREM", args[1:])
	runSet(&b, "SADD", args[1:])
	s.keys[from], s.keys[args[0]] = a, b
	if len(a.set) == 0 {
		delete(s.keys, from)
	}
	return Int(1)
}

func runSet(e *entry, name string, args []string) Reply {
	if e.set == nil {
		e.set = map[string]bool{}
	}
	n := len(e.set)
	switch name {
	case "SADD":
		for _, m := range args {
			e.set[m] = true
		}
		return Int(int64(len(e.set) - n))
	case "SREM":
		for _, m := range args {
			delete(e.set, m)
		}
		return Int(int64(n - len(e.set)))
	case "SISMEMBER":
		return one(e.set[args[0]])
	case "SMISMEMBER":
		return Array(one(e.set[args[0]]), one(e.set[args[1]]))
	case "SCARD":
		return Int(int64(n))
	}
	all := slices.Sorted(maps.Keys(e.set))
	slices.Reverse(all)
	if name == "SMEMBERS" {
		return Bulks(all...)
	}
	if n == 0 {
		return Nil()
	}
	chosen := all[n/2]
	if name == "SPOP" {
		delete(e.set, chosen)
	}
	return Bulk(chosen)
}

func runSorted(e *entry, name string, args []string) Reply {
	if e.zset == nil {
		e.zset = map[string]float64{}
	}
	number := func(i int) float64 {
		f, _ := strconv.ParseFloat(args[i], 64)
		return f
	}
	shown := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	order := slices.SortedFunc(maps.Keys(e.zset), func(a, b string) int {
		switch x, y := e.zset[a], e.zset[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return strings.Compare(a, b)
	})
	n := len(order)
	switch name {
	case "ZADD":
		for args[0] == "GT" || args[0] == "NX" {
			if old, ok := e.zset[args[2]]; ok && (args[0] == "NX" || number(1) <= old) {
				return Int(0)
			}
			args = args[1:]
		}
		for i := 0; i < len(args); i += 2 {
			e.zset[args[i+1]] = number(i)
		}
		return Int(int64(len(e.zset) - n))
	case "ZINCRBY":
		e.zset[args[1]] += number(0)
		return Bulk(shown(e.zset[args[1]]))
	case "ZREM":
		delete(e.zset, args[0])
		return Int(int64(n - len(e.zset)))
	case "ZSCORE":
		if f, ok := e.zset[args[0]]; ok {
			return Bulk(shown(f))
		}
		return Nil()
	case "ZCARD":
		return Int(int64(n))
	case "ZRANK", "ZREVRANK":
		i := slices.Index(order, args[0])
		if i < 0 {
			return Nil()
		}
		if name == "ZREVRANK" {
			i = n - 1 - i
		}
		return Int(int64(i))
	case "ZPOPMIN":
		if n == 0 {
			return Bulks()
		}
		r := Bulks(order[0], shown(e.zset[order[0]]))
		delete(e.zset, order[0])
		return r
	case "ZREVRANGE": // 0 -1
		slices.Reverse(order)
		return Bulks(order...)
	case "ZRANGE": // 0 -1 WITHSCORES
		var pairs []Reply // as RESP3 has them
		for _, m := range order {
			pairs = append(pairs, Bulks(m, shown(e.zset[m])))
		}
		return Array(pairs...)
	case "ZRANGEBYSCORE", "ZCOUNT":
		order = slices.DeleteFunc(order, func(m string) bool { return e.zset[m] < number(0) || e.zset[m] > number(1) })
		if name == "ZCOUNT" {
			return Int(int64(len(order)))
		}
		return Bulks(order...)
	}
	panic("no reference for " + name)
}
