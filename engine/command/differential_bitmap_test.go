package command

import "strconv"

func bitmapGroup() redisGroup {
	return redisGroup{
		name: "bitmap",
		draw: func(g *generator) []string {
			switch {
			case g.oneIn(8):
				return g.generic()
			case g.oneIn(8):
				return g.pickCommand(g.keyed("SET", "\xff\xff\xff"), g.keyed("SET", "\x00\x00\x80"), g.keyed("SET", g.value()), g.keyed("APPEND", "\xff\x00\x0f"),
					g.keyed("SETRANGE", "9", "\x01"))
			}
			return g.bitmapCommand()
		},
		reads: func(key string) [][]string { return [][]string{{"GET", key}, {"BITCOUNT", key}} },
	}
}

func (g *generator) bitOffset() string {
	if g.oneIn(12) {
		return g.pick("odd offset", "-1", "x", "", "4294967296", "9223372036854775807", "#1", "1.0", " 1")
	}
	return strconv.Itoa(g.pickInt("offset", 0, 1, 2, 5, 7, 8, 9, 15, 16, 17, 23, 31, 62, 63, 64, 100, 130))
}

func (g *generator) pickInt(name string, from ...int) int {
	s := make([]string, len(from))
	for i, n := range from {
		s[i] = strconv.Itoa(n)
	}
	n, _ := strconv.Atoi(g.pick(name, s...))
	return n
}

func (g *generator) bitEnd() string {
	return g.pick("end", "0", "1", "2", "3", "8", "11", "17", "-1", "-2", "-3", "-9", "-17", "100", "-100", "x", "", "9223372036854775807", "-9223372036854775808")
}

func (g *generator) bitUnit() string {
	return g.cased(g.pick("unit", "BYTE", "BIT", "BIT", "BYTE", "BIT", "BIT", "NIBBLE"))
}

// bitField draws the type and the offset of a field.
func (g *generator) bitField() []string {
	offset := g.bitOffset()
	if g.oneIn(3) {
		offset = g.pick("index", "#0", "#1", "#2", "#3", "#7", "#", "#-1", "#x", "##1")
	}
	return []string{
		g.pick("type", "u1", "u2", "u4", "u7", "u8", "i1", "i2", "i4", "i8", "i9", "u16", "i31", "u32", "i33", "u63", "u63", "i63", "i64",
			"i64", "i64", "u64", "i65", "i0", "u", "", "x8", "u08", "u-1", "u8\x00z", "I8"),
		offset,
	}
}

func (g *generator) bitNumber() string {
	return g.pick("number", "0", "1", "-1", "2", "-2", "3", "7", "100", "-100", "127", "128", "-129", "255", "256", "65535", "4294967295", "-4294967296",
		"4611686018427387904", "9223372036854775807", "-9223372036854775808", "-9223372036854775807", "9223372036854775808", "x", "")
}

func (g *generator) bitfieldOps() (args []string) {
	if g.oneIn(3) { // one field at the ends of what it can hold
		field := g.bitField()
		return append(append(append(append(append([]string{"SET"}, field...), g.bitNumber(), "OVERFLOW", g.pick("overflow", "WRAP", "SAT", "FAIL"),
			g.pick("operation", "INCRBY", "INCRBY", "SET")), field...), g.bitNumber(), "GET"), field...)
	}
	for range g.small("operations") {
		switch g.pick("operation", "GET", "SET", "SET", "INCRBY", "INCRBY", "OVERFLOW", "odd") {
		case "GET":
			args = append(append(args, g.cased("GET")), g.bitField()...)
		case "SET":
			args = append(append(append(args, g.cased("SET")), g.bitField()...), g.bitNumber())
		case "INCRBY":
			args = append(append(append(args, g.cased("INCRBY")), g.bitField()...), g.bitNumber())
		case "OVERFLOW":
			args = append(args, g.cased("OVERFLOW"), g.cased(g.pick("overflow", "WRAP", "SAT", "SAT", "FAIL", "FAIL", "NONE")))
		default:
			if g.oneIn(4) {
				args = append(args, g.pick("odd", "GET", "SET", "INCRBY", "OVERFLOW", "BOGUS"))
			}
		}
	}
	return args
}

func (g *generator) bitmapCommand() []string {
	switch name := g.pick("command", "SETBIT", "SETBIT", "SETBIT", "GETBIT", "BITCOUNT", "BITCOUNT", "BITPOS", "BITPOS", "BITOP", "BITOP", "BITFIELD",
		"BITFIELD", "BITFIELD", "BITFIELD", "BITFIELD_RO"); name {
	case "SETBIT":
		return g.keyed(name, g.bitOffset(), g.pick("bit", "0", "1", "1", "1", "0", "1", "2", "-1", "x", ""))
	case "GETBIT":
		return g.keyed(name, g.bitOffset())
	case "BITCOUNT", "BITPOS":
		var args []string
		if name == "BITPOS" {
			args = append(args, g.pick("bit", "0", "1", "0", "1", "0", "1", "0", "1", "2", "x"))
		}
		switch g.small("range") {
		case 0:
		case 1:
			args = append(args, g.bitEnd())
		case 2:
			args = append(args, g.bitEnd(), g.bitEnd())
		default:
			args = append(args, g.bitEnd(), g.bitEnd(), g.bitUnit())
		}
		if g.oneIn(30) {
			args = append(args, "BIT", "BIT")
		}
		return g.keyed(name, args...)
	case "BITOP":
		op := g.pick("operation", "AND", "OR", "XOR", "NOT", "AND", "OR", "XOR", "NOR")
		args := []string{g.cased(name), g.cased(op), g.key(), g.key()}
		if op != "NOT" || g.oneIn(5) {
			args = append(args, g.keys()...)
		}
		return args
	default:
		return g.keyed(name, g.bitfieldOps()...)
	}
}
