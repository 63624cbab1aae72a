package command

import "strconv"

func setGroup() redisGroup {
	return redisGroup{
		name: "set",
		draw: func(g *generator) []string {
			if g.oneIn(6) {
				return g.generic()
			}
			return g.setCommand()
		},
		reads: func(key string) [][]string { return [][]string{{"SMEMBERS", key}, {"SCARD", key}} },
	}
}

func (g *generator) member() string {
	return g.pick("member", "a", "b", "c", "d", "", "1", "2", "-7", "a longer member", "\x00\xff")
}

func (g *generator) members() (args []string) {
	for range 1 + g.small("members") {
		args = append(args, g.member())
	}
	if g.oneIn(30) {
		for i := range 150 {
			args = append(args, strconv.Itoa(i%140))
		}
	}
	return args
}

func (g *generator) setCommand() []string {
	switch name := g.pick("command", "SADD", "SADD", "SADD", "SADD", "SREM", "SISMEMBER", "SMISMEMBER", "SCARD", "SMEMBERS", "SPOP", "SRANDMEMBER", "SMOVE", "SMOVE",
		"SUNION", "SINTER", "SDIFF", "SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE", "SINTERCARD", "SSCAN"); name {
	case "SADD", "SREM", "SMISMEMBER":
		return g.keyed(name, g.members()...)
	case "SISMEMBER":
		return g.keyed(name, g.member())
	case "SPOP", "SRANDMEMBER":
		args := g.keyed(name)
		if g.oneIn(2) {
			args = append(args, g.count())
		}
		if g.oneIn(20) {
			args = append(args, "BOGUS", "1")
		}
		return args
	case "SMOVE":
		return g.keyed(name, g.key(), g.member())
	case "SUNION", "SINTER", "SDIFF":
		return append([]string{g.cased(name)}, g.keys()...)
	case "SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE":
		return g.keyed(name, g.keys()...)
	case "SINTERCARD":
		keys := g.keys()
		args := append([]string{g.cased(name), strconv.Itoa(len(keys))}, keys...)
		if g.oneIn(8) {
			args[1] = g.pick("numkeys", "0", "-1", "x", "100", "", "1")
		}
		switch g.pick("limit", "no", "yes", "odd") {
		case "yes":
			args = append(args, g.cased("LIMIT"), g.pick("limit", "0", "1", "2", "100", "-1", "x", ""))
		case "odd":
			args = append(args, [][]string{{"LIMIT"}, {"BOGUS"}, {"LIMIT", "1", "LIMIT", "2"}, {"BOGUS", "1"}}[g.small("odd")]...)
		}
		return args
	case "SSCAN":
		return g.keyed(name, append([]string{g.pick("cursor", "0", "0", "0", "x", "-1x", "")}, g.scanTail()...)...)
	default:
		return g.keyed(name)
	}
}
