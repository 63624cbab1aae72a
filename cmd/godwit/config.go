package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// byteSize is a number of bytes, written as in Redis' configuration: 1k is 1,000 and 1kb is 1,024 bytes, likewise m, mb, g
// and gb.
type byteSize int64

var _ pflag.Value = (*byteSize)(nil)

// sizeUnits are the units of sizes, longest first where one ends in another.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}}

// String implements pflag.Value: the form that Set reads, with the largest unit that divides the size.
func (s byteSize) String() string {
	for _, i := range []int{2, 1, 0} {
		if u := sizeUnits[i]; s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Set implements pflag.Value.
func (s *byteSize) Set(text string) error {
	number, unit := strings.ToLower(text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > (1<<63-1)/uint64(unit) {
		return fmt.Errorf("%q is no size: want a number of bytes, or one with k, kb, m, mb, g or gb", text)
	}
	*s = byteSize(int64(n) * unit)
	return nil
}

// Type implements pflag.Value.
func (*byteSize) Type() string { return "SIZE" }

// sizeWithin is a byteSize of which Set refuses what is out of bounds, so that the error says where the value was given.
type sizeWithin struct {
	*byteSize
	min, max byteSize
}

// Set implements pflag.Value.
func (s sizeWithin) Set(text string) error {
	var size byteSize
	if err := size.Set(text); err != nil {
		return err
	}
	if size < s.min || size > s.max {
		return fmt.Errorf("%s is out of bounds: want %s to %s", text, &s.min, &s.max)
	}
	*s.byteSize = size
	return nil
}

// atLeastOne is a number of which Set refuses what is less than 1.
type atLeastOne int

var _ pflag.Value = (*atLeastOne)(nil)

// String implements pflag.Value.
func (n *atLeastOne) String() string { return strconv.Itoa(int(*n)) }

// Set implements pflag.Value.
func (n *atLeastOne) Set(text string) error {
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v < 1 {
		return fmt.Errorf("%q is no number of them: want a whole number from 1 on", text)
	}
	*n = atLeastOne(v)
	return nil
}

// Type implements pflag.Value.
func (*atLeastOne) Type() string { return "N" }

// choice is one of a few words; Set refuses others.
type choice struct {
	word  *string
	words []string
}

var _ pflag.Value = choice{}

// String implements pflag.Value.
func (c choice) String() string {
	if c.word == nil {
		return ""
	}
	return *c.word
}

// Set implements pflag.Value.
func (c choice) Set(text string) error {
	if !slices.Contains(c.words, text) {
		last := len(c.words) - 1
		return fmt.Errorf("%q is unknown: use %s or %s", text, strings.Join(c.words[:last], ", "), c.words[last])
	}
	*c.word = text
	return nil
}

// Type implements pflag.Value.
func (choice) Type() string { return "WORD" }

// loadConfig sets the flags that a file names and the command line does not.
func loadConfig(flags *pflag.FlagSet, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := applyConfig(flags, string(text)); err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	return nil
}

// applyConfig is loadConfig for the text of a file; its errors begin with the number of the line.
func applyConfig(flags *pflag.FlagSet, text string) error {
	seen := map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		words, err := splitLine(line)
		if err != nil {
			return fmt.Errorf("%d: %w", i+1, err)
		}
		if len(words) == 0 {
			continue
		}
		key := strings.ToLower(words[0])
		flag := flags.Lookup(key)
		switch {
		case flag == nil || key == "config" || key == "help":
			return fmt.Errorf("%d: the key %q is unknown: did you mean %q?", i+1, words[0], nearestKey(flags, key))
		case len(words) != 2:
			return fmt.Errorf("%d: %s has %d values: want one, in quotes if it holds spaces", i+1, key, len(words)-1)
		case seen[key] > 0:
			return fmt.Errorf("%d: %s was given before, in line %d", i+1, key, seen[key])
		}
		seen[key] = i + 1
		value := words[1]
		if flag.Value.Type() == "bool" {
			switch strings.ToLower(value) {
			case "yes", "true":
				value = "true"
			case "no", "false":
				value = "false"
			default:
				return fmt.Errorf("%d: %s is %q: want yes or no", i+1, key, value)
			}
		}
		if flag.Changed {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return fmt.Errorf("%d: %s: %w", i+1, key, err)
		}
	}
	return nil
}

// splitLine cuts a line into words as Redis does: "double quotes" know \n \r \t \\ \" and \xHH, 'single quotes' only \'.
// A # at the beginning of a word makes the rest of the line a comment.
func splitLine(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		var word string
		var err error
		switch line[0] {
		case '"', '\'':
			word, line, err = quoted(line)
		default:
			end := strings.IndexAny(line, " \t\r")
			if end < 0 {
				end = len(line)
			}
			word, line = line[:end], line[end:]
		}
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
}

// quoted reads the quoted word at the beginning of a line.
func quoted(line string) (word, rest string, err error) {
	quote := line[0]
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			if rest = line[i+1:]; rest != "" && !strings.ContainsRune(" \t\r", rune(rest[0])) {
				return "", "", errors.New("a closing quote is not followed by a space")
			}
			return b.String(), rest, nil
		case c == '\\' && quote == '\'' && strings.HasPrefix(line[i+1:], "'"):
			i++
			b.WriteByte('\'')
		case c == '\\' && quote == '"' && i+1 < len(line):
			i++
			if n, err := strconv.ParseUint(line[min(i+1, len(line)):min(i+3, len(line))], 16, 8); err == nil && line[i] == 'x' && i+3 <= len(line) {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
			b.WriteByte(unescape(line[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("a quote is not closed")
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'a':
		return '\a'
	case 'b':
		return '\b'
	}
	return c
}

// nearestKey is the key that a misspelt one is closest to; of several, the first by name.
func nearestKey(flags *pflag.FlagSet, key string) string {
	best, distance := "", 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "help" {
			return
		}
		d := editDistance(key, f.Name)
		if best == "" || d < distance || d == distance && f.Name < best {
			best, distance = f.Name, d
		}
	})
	return best
}

// editDistance counts the bytes that must be inserted, removed or replaced to make one text of another.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
