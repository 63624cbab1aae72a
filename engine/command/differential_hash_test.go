package command

import "strconv"

func hashGroup() redisGroup {
	return redisGroup{
		name: "hash",
		draw: func(g *generator) []string {
			if g.oneIn(6) {
				return g.generic()
			}
			return g.hashCommand()
		},
		reads: func(key string) [][]string { return [][]string{{"HGETALL", key}, {"HLEN", key}} },
	}
}

func (g *generator) field() string {
	return g.pick("field", "f", "g", "h", "", "1", "a longer field", "\x00\xff")
}

// fieldValues draws fields and values, seldom with one alone.
func (g *generator) fieldValues() (args []string) {
	for range 1 + g.small("pairs") {
		args = append(args, g.field(), g.value())
	}
	if g.oneIn(20) {
		args = append(args, "alone")
	}
	if g.oneIn(30) {
		for i := range 40 {
			args = append(args, "many"+strconv.Itoa(i%35), g.value())
		}
	}
	return args
}

// small draws 0 to 3.
func (g *generator) small(name string) int {
	n, _ := strconv.Atoi(g.pick(name, "0", "0", "1", "2", "3"))
	return n
}

func (g *generator) fields() (args []string) {
	for range 1 + g.small("fields") {
		args = append(args, g.field())
	}
	return args
}

// count draws the count of a random command.
func (g *generator) count() string {
	return g.pick("count", "0", "1", "2", "3", "5", "100", "-1", "-4", "-20", "x", "", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5")
}

// scanTail draws the options of a scan that reads all at once.
func (g *generator) scanTail() []string {
	switch g.pick("options", "none", "match", "count", "odd") {
	case "none":
		return []string{"COUNT", "1000"}
	case "match":
		return []string{"COUNT", "1000", g.cased("MATCH"), g.pick("pattern", "*", "f*", "?", "[fg]", "", "*longer*", "1*")}
	case "count":
		return []string{g.cased("COUNT"), g.pick("count", "0", "-1", "x", "1000", "", "100000")}
	default:
		return [][]string{{"TYPE", "hash"}, {"COUNT"}, {"MATCH", "*", "COUNT"}, {"BOGUS", "1"}, {"COUNT", "1000", "MATCH", "*", "COUNT", "2000"}}[g.small("odd")]
	}
}

func (g *generator) hashCommand() []string {
	switch name := g.pick("command", "HSET", "HSET", "HSET", "HMSET", "HSETNX", "HGET", "HMGET", "HGETALL", "HKEYS", "HVALS", "HLEN", "HSTRLEN", "HDEL", "HDEL", "HEXISTS",
		"HINCRBY", "HINCRBYFLOAT", "HSCAN", "HRANDFIELD"); name {
	case "HSET", "HMSET":
		return g.keyed(name, g.fieldValues()...)
	case "HSETNX":
		return g.keyed(name, g.field(), g.value())
	case "HGET", "HEXISTS", "HSTRLEN":
		return g.keyed(name, g.field())
	case "HMGET", "HDEL":
		return g.keyed(name, g.fields()...)
	case "HINCRBY":
		return g.keyed(name, g.field(), g.integer())
	case "HINCRBYFLOAT":
		return g.keyed(name, g.field(), g.pick("float", "0.1", "-2.5", "1e10", "3", "x", "0.000001", "-1e-9", "123456789.987654321", "inf", "-inf", "nan", "1e4000", "", " 1"))
	case "HSCAN":
		return g.keyed(name, append([]string{g.pick("cursor", "0", "0", "0", "x", "-1x", "")}, g.scanTail()...)...)
	case "HRANDFIELD":
		args := g.keyed(name)
		if g.oneIn(3) {
			return args
		}
		args = append(args, g.count())
		switch g.pick("withvalues", "no", "no", "yes", "yes", "odd") {
		case "yes":
			args = append(args, g.cased("WITHVALUES"))
		case "odd":
			args = append(args, "WITHVALUES", "BOGUS")
		}
		return args
	default:
		return g.keyed(name)
	}
}
