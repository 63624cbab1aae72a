package command

// MatchGlob reports whether a string matches a pattern as KEYS and SCAN understand it: '*', '?', '[a-z]', '[^a]' and
// '\' before a character that is meant literally. It does as Redis' stringmatchlen does, oddities included: ranges compare
// signed bytes and may be written backwards, an unclosed bracket ends with the pattern, and the empty string matches only the
// empty pattern. ignoreCase makes ASCII letters of either case the same, as CONFIG GET does; it is a bool because the
// function is Redis' and that has it.
func MatchGlob(pattern, s []byte, ignoreCase bool) bool {
	if ignoreCase {
		pattern, s = asciiLower(pattern), asciiLower(s)
	}
	var g glob
	return g.match(pattern, s)
}

func asciiLower(b []byte) []byte { return appendLower(make([]byte, 0, len(b)), b) }

// glob carries what a failed attempt has shown. hopeless says that what follows some '*' matches nowhere in the rest of the
// string, so that no earlier '*' needs to be stretched: without it patterns such as "*a*a*a*b" take exponential time. The
// depth of the recursion is at most the length of the string, which is that of a key.
type glob struct{ hopeless bool }

func (g *glob) match(p, s []byte) bool {
	for len(p) > 0 && len(s) > 0 {
		switch p[0] {
		case '*':
			for len(p) > 1 && p[1] == '*' {
				p = p[1:]
			}
			if len(p) == 1 {
				return true
			}
			for ; len(s) > 0; s = s[1:] {
				if g.match(p[1:], s) {
					return true
				}
				if g.hopeless {
					return false
				}
			}
			g.hopeless = true
			return false
		case '?':
		case '[':
			var in bool
			if in, p = matchClass(p[1:], s[0]); !in {
				return false
			}
		case '\\':
			if len(p) >= 2 {
				p = p[1:]
			}
			if p[0] != s[0] {
				return false
			}
		default:
			if p[0] != s[0] {
				return false
			}
		}
		s = s[1:]
		if len(p) > 0 {
			p = p[1:]
		}
		if len(s) == 0 {
			for len(p) > 0 && p[0] == '*' {
				p = p[1:]
			}
		}
	}
	return len(p) == 0 && len(s) == 0
}

// matchClass matches a byte with the inside of brackets and returns the pattern from the closing bracket on, or its empty end.
func matchClass(p []byte, c byte) (in bool, rest []byte) {
	not := len(p) > 0 && p[0] == '^'
	if not {
		p = p[1:]
	}
	for {
		switch {
		case len(p) == 0, p[0] == ']':
			return in != not, p
		case len(p) >= 2 && p[0] == '\\':
			p = p[1:]
			in = in || p[0] == c
		case len(p) >= 3 && p[1] == '-':
			lo, hi := int8(p[0]), int8(p[2])
			if lo > hi {
				lo, hi = hi, lo
			}
			in = in || lo <= int8(c) && int8(c) <= hi
			p = p[2:]
		default:
			in = in || p[0] == c
		}
		p = p[1:]
	}
}
