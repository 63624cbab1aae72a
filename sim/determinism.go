package sim

import (
	"bytes"
	"fmt"
	"strings"
)

// Line is one moment of a run as it is compared with the same moment of another run of the seed.
type Line struct {
	Hash    uint64 // the trace hash up to and including it
	Text    string // as a timeline shows it
	Content []byte // what the hash covers besides time, node and kind
}

// Lines makes a Config.Watch that passes on each moment as a line, which the receiver may keep.
func Lines(each func(Line)) func(*Moment) {
	return func(m *Moment) { each(Line{m.Hash, m.String(), bytes.Clone(m.Content)}) }
}

// Difference is where two runs of one seed part.
type Difference struct {
	Number int      // of the first line that differs, from 1
	Before []string // the last lines that both have
	A, B   string   // the lines that differ; "" where a run has ended
	Bytes  string   // where their contents differ, if the texts do not show it
}

// linesBefore is how many lines a difference shows that both runs have.
const linesBefore = 8

// Compare finds where two runs part; nil if they do not.
func Compare(a, b []Line) *Difference {
	n := 0
	for n < len(a) && n < len(b) && a[n].Hash == b[n].Hash && a[n].Text == b[n].Text {
		n++
	}
	if n == len(a) && n == len(b) {
		return nil
	}
	d := &Difference{Number: n + 1}
	for _, l := range a[max(0, n-linesBefore):n] {
		d.Before = append(d.Before, l.Text)
	}
	if n < len(a) {
		d.A = a[n].Text
	}
	if n < len(b) {
		d.B = b[n].Text
	}
	if n < len(a) && n < len(b) && d.A == d.B {
		d.Bytes = differ(a[n].Content, b[n].Content)
	}
	return d
}

// excerpt is the beginning of a line, and what is around a place in it.
func excerpt(line string, at int) string {
	const begin, before, after = 80, 20, 100
	if len(line) <= begin+before+after {
		return line
	}
	from := max(begin, at-before)
	out, to := line[:begin], min(len(line), from+before+after)
	if from > begin {
		out += "…"
	}
	if out += line[from:to]; to < len(line) {
		out += "…"
	}
	return strings.ToValidUTF8(out, "…")
}

// common is how many bytes two texts have in common at their beginning.
func common[T ~string | ~[]byte](a, b T) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// differ shows where two contents differ.
func differ(a, b []byte) string {
	n := common(a, b)
	return fmt.Sprintf("the contents differ at byte %d, of %d and %d: %q and %q", n, len(a), len(b), a[n:min(n+24, len(a))], b[n:min(n+24, len(b))])
}

// Show is the difference for people, given what the two runs are called.
func (d *Difference) Show(a, b string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "they part at line %d:\n", d.Number)
	for _, l := range d.Before {
		fmt.Fprintf(&out, "    %s\n", excerpt(l, 0))
	}
	at := common(d.A, d.B)
	for _, side := range []struct{ mark, line, name string }{{"-", d.A, a}, {"+", d.B, b}} {
		text := excerpt(side.line, at)
		if text == "" {
			text = "(the run has ended)"
		}
		fmt.Fprintf(&out, "  %s %s    [%s]\n", side.mark, text, side.name)
	}
	if d.Bytes != "" {
		fmt.Fprintf(&out, "  %s\n", d.Bytes)
	}
	return out.String()
}

// Parted says between which checkpoints two runs part, as numbers of lines that the hash covers and as virtual times. To is 0 if it is
// after the last checkpoint that both have.
func Parted(a, b []Checkpoint) (from, to Checkpoint, line int) {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n > 0 {
		from = a[n-1]
	}
	if n < len(a) && n < len(b) {
		to = a[n]
		if b[n].At > to.At {
			to = b[n]
		}
	}
	return from, to, n * checkpointLines
}
