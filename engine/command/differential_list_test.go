package command

import (
	"strconv"
	"strings"
)

func listGroup() redisGroup {
	return redisGroup{
		name: "list",
		draw: func(g *generator) []string {
			if g.oneIn(6) {
				return g.generic()
			}
			return g.listCommand()
		},
		reads: func(key string) [][]string { return [][]string{{"LRANGE", key, "0", "-1"}, {"LLEN", key}} },
	}
}

// element draws an element of a list, seldom one that is stored apart.
func (g *generator) element() string {
	if g.oneIn(4) {
		return strings.Repeat(g.pick("letter", "x", "y"), 60+g.small("length")*10)
	}
	return g.pick("element", "a", "b", "c", "", "1", "-7", "\x00\xff")
}

func (g *generator) elements() (args []string) {
	for range 1 + g.small("elements") {
		args = append(args, g.element())
	}
	if g.oneIn(20) {
		for i := range 20 {
			args = append(args, strconv.Itoa(i%15))
		}
	}
	return args
}

func (g *generator) index() string {
	return g.pick("index", "0", "1", "2", "3", "7", "-1", "-2", "-3", "-8", "100", "-100", "x", "", "9223372036854775807", "-9223372036854775808", "9223372036854775808")
}

func (g *generator) listEnd() string {
	return g.cased(g.pick("end", "LEFT", "RIGHT", "LEFT", "RIGHT", "LEFT", "RIGHT", "LEFT", "RIGHT", "UP"))
}

// numKeys draws how many keys a request says that it names.
func (g *generator) numKeys(keys []string) string {
	if g.oneIn(8) {
		return g.pick("numkeys", "0", "-1", "x", "100", "", "1", "2")
	}
	return strconv.Itoa(len(keys))
}

// popTail draws what follows the end in LMPOP, ZMPOP and their kin.
func (g *generator) popTail() []string {
	switch g.pick("count", "no", "yes", "yes", "odd") {
	case "yes":
		return []string{g.cased("COUNT"), g.pick("count", "1", "2", "3", "100", "0", "-1", "x", "", "9223372036854775807")}
	case "odd":
		return [][]string{{"COUNT"}, {"BOGUS", "1"}, {"COUNT", "1", "COUNT", "1"}, {"COUNT", "x", "BOGUS"}}[g.small("odd")]
	}
	return nil
}

func (g *generator) searchOptions() (args []string) {
	for range g.small("options") {
		switch g.pick("option", "RANK", "RANK", "COUNT", "COUNT", "MAXLEN", "odd") {
		case "RANK":
			args = append(args, g.cased("RANK"), g.pick("rank", "1", "2", "3", "-1", "-2", "0", "x", "9223372036854775807"))
		case "COUNT":
			args = append(args, g.cased("COUNT"), g.pick("count", "0", "1", "2", "100", "-1", "x"))
		case "MAXLEN":
			args = append(args, g.cased("MAXLEN"), g.pick("maxlen", "0", "1", "3", "100", "-1", "x"))
		default:
			args = append(args, g.pick("odd", "RANK", "BOGUS"))
		}
	}
	return args
}

func (g *generator) listCommand() []string {
	switch name := g.pick("command", "LPUSH", "LPUSH", "RPUSH", "RPUSH", "RPUSH", "LPUSHX", "RPUSHX", "LPOP", "RPOP", "LLEN", "LRANGE", "LRANGE", "LINDEX", "LSET", "LSET",
		"LINSERT", "LINSERT", "LINSERT", "LREM", "LREM", "LREM", "LTRIM", "LPOS", "LPOS", "LMOVE", "LMOVE", "RPOPLPUSH", "LMPOP"); name {
	case "LPUSH", "RPUSH", "LPUSHX", "RPUSHX":
		return g.keyed(name, g.elements()...)
	case "LPOP", "RPOP":
		args := g.keyed(name)
		if g.oneIn(2) {
			args = append(args, g.count())
		}
		if g.oneIn(20) {
			args = append(args, "BOGUS", "1")
		}
		return args
	case "LRANGE", "LTRIM":
		return g.keyed(name, g.index(), g.index())
	case "LINDEX":
		return g.keyed(name, g.index())
	case "LSET":
		return g.keyed(name, g.index(), g.element())
	case "LINSERT":
		return g.keyed(name, g.cased(g.pick("where", "BEFORE", "AFTER", "BEFORE", "AFTER", "BEFORE", "AFTER", "AT")), g.element(), g.element())
	case "LREM":
		return g.keyed(name, g.pick("count", "0", "1", "2", "-1", "-2", "100", "x", "-9223372036854775808", ""), g.element())
	case "LPOS":
		return g.keyed(name, append([]string{g.element()}, g.searchOptions()...)...)
	case "LMOVE":
		return g.keyed(name, g.key(), g.listEnd(), g.listEnd())
	case "RPOPLPUSH":
		return g.keyed(name, g.key())
	case "LMPOP":
		keys := g.keys()
		args := append([]string{g.cased(name), g.numKeys(keys)}, keys...)
		return append(append(args, g.listEnd()), g.popTail()...)
	default:
		return g.keyed(name)
	}
}
