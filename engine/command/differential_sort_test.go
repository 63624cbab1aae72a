package command

import "strings"

// sortGroup sorts lists, sets and sorted sets by themselves, and by strings and hashes whose keys follow from the elements.
func sortGroup() redisGroup {
	return redisGroup{
		name: "sort",
		draw: func(g *generator) []string {
			switch {
			case g.oneIn(6):
				return g.generic()
			case g.oneIn(3):
				return g.pickCommand(g.keyed("RPUSH", g.sortable(), g.sortable(), g.sortable()), g.keyed("SADD", g.sortable(), g.sortable(), g.sortable()),
					g.keyed("ZADD", "1", g.sortable(), "2", g.sortable(), "-3", g.sortable()), []string{"SET", "w" + g.sortable(), g.sortable()},
					[]string{"HSET", "h" + g.sortable(), "f", g.sortable(), "", g.sortable()}, []string{"DEL", g.key()})
			}
			return g.sortCommand()
		},
		reads: anyReads,
	}
}

// sortable draws an element, most often a number: one that is none makes an error of the most frequent requests. There are none out of
// range: after one, a Redis takes others for such too, as long as errno says so.
func (g *generator) sortable() string {
	if g.oneIn(30) {
		return g.pick("odd", "x", "nan", "1x", " ", "1_0", "0x", "1 ", "--1", "")
	}
	return g.pick("number", "1", "2", "3", "10", "-7", "2.5", "1e3", "-inf", "+inf", "0", "0x1f", " 5", "-0", "9223372036854775807", "1.0", "007", "+4", "infinity", "0x1p-2")
}

// sortCommand leaves out what follows from an order that Redis leaves open.
func (g *generator) sortCommand() []string {
	name := g.pick("command", "SORT", "SORT", "SORT", "SORT", "SORT_RO")
	args := g.keyed(name)
	for range 1 + g.small("options") {
		switch o := g.pick("option", "ASC", "DESC", "ALPHA", "LIMIT", "LIMIT", "BY", "BY", "GET", "GET", "STORE", "odd"); o {
		case "LIMIT":
			args = append(args, g.cased(o), g.sortLimit(), g.sortLimit())
		case "BY":
			args = append(args, g.cased(o), g.pick("by", "w*", "w*", "h*->f", "h*->f", "h*->", "*", "*x", "nosort", "w*->f", "#"))
		case "GET":
			args = append(args, g.cased(o), g.pick("get", "#", "#", "w*", "h*->f", "h*->g", "h*->", "*->f", "#x", "none", "*"))
		case "STORE":
			args = append(args, g.cased(o), g.key())
		case "odd":
			if g.oneIn(4) {
				args = append(args, g.pick("odd", "LIMIT", "BY", "GET", "STORE", "BOGUS"))
			}
		default:
			args = append(args, g.cased(o))
		}
	}
	if text := strings.ToLower(strings.Join(args[2:], " ")); sortLeavesOpen(args) && (strings.Contains(text, "limit") || strings.Contains(text, "store")) {
		return g.keyed(name, "ALPHA")
	}
	return args
}

func (g *generator) sortLimit() string {
	return g.pick("limit", "0", "0", "1", "2", "3", "-1", "10", "100", "9223372036854775807", "-9223372036854775808", "x")
}

// sortLeavesOpen reports whether Redis may leave open in which order it returns elements: with ALPHA and a pattern those of one weight, and
// without an order those of a set.
func sortLeavesOpen(args []string) bool {
	alpha, by, constant := false, false, false
	for i := 2; i < len(args); i++ {
		word := strings.ToLower(args[i])
		if word == "by" && i+1 < len(args) {
			by = by || strings.Contains(args[i+1], "*")
			constant = constant || !strings.Contains(args[i+1], "*")
		}
		alpha = alpha || word == "alpha"
		i += sortWidth(word)
	}
	return alpha && by || constant
}
