package sim

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine/slot"
)

// Filter says which moments of a run a timeline shows. The zero value shows all. The conditions hold together.
type Filter struct {
	// Nodes shows what happens on these, and messages to and from them.
	Nodes []int
	// Slots and Jobs show what is about one of these.
	Slots []int
	Jobs  []uint64
	// Kinds are names of MomentKinds; empty shows all.
	Kinds []string
	// From and To bound the virtual time; To 0 is the end of the run.
	From, To time.Duration
}

// kindGroups are the kinds that a filter knows by one word.
var kindGroups = []struct {
	name  string
	kinds []traceKind
}{
	{"message", []traceKind{traceSend, traceArrive, traceLost, traceBreak}},
	{"reply", []traceKind{traceReply, traceAnswer}},
	{"file", []traceKind{traceDisk}},
	{"record", []traceKind{traceRecord}},
	{"fault", []traceKind{traceLife, traceNemesis, traceLost, traceBreak}},
	{"client", []traceKind{traceBegin, traceEnd}},
	{"note", []traceKind{traceNote}},
	{"log", []traceKind{traceLog}},
}

// MomentKinds lists what a filter takes as a kind: groups first, then the kinds that the lines show.
func MomentKinds() []string {
	var out []string
	for _, g := range kindGroups {
		out = append(out, g.name)
	}
	for _, n := range traceNames[1:] {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Validate says what is wrong with the filter.
func (f *Filter) Validate() error {
	for _, k := range f.Kinds {
		if known := MomentKinds(); !slices.Contains(known, k) {
			return fmt.Errorf("kind %q: want one of %s", k, strings.Join(known, ", "))
		}
	}
	for _, n := range f.Slots {
		if n < 0 || n >= slot.Count {
			return fmt.Errorf("slot %d: want 0 to %d", n, slot.Count-1)
		}
	}
	if f.To > 0 && f.To < f.From {
		return fmt.Errorf("until %v: want no less than %v, where it begins", f.To, f.From)
	}
	return nil
}

// Shows reports whether the filter lets a moment through. The verdict of the run always is.
func (f *Filter) Shows(m *Moment) bool {
	if strings.HasPrefix(m.Text, verdictPrefix) {
		return true
	}
	if m.At < f.From || f.To > 0 && m.At > f.To {
		return false
	}
	if len(f.Nodes) > 0 {
		ends := m.Call != 0 && (slices.Contains(f.Nodes, m.From) || slices.Contains(f.Nodes, m.To))
		if !ends && !slices.Contains(f.Nodes, m.Node) {
			return false
		}
	}
	if len(f.Jobs) > 0 && !slices.Contains(f.Jobs, m.Job) {
		return false
	}
	return f.showsSlot(m) && f.showsKind(m)
}

// showsSlot lets through what is about one of the slots; what is about several names them in its text only.
func (f *Filter) showsSlot(m *Moment) bool {
	if len(f.Slots) == 0 || slices.Contains(f.Slots, m.Slot) {
		return true
	}
	if m.Kind != traceNames[traceNote] {
		return false
	}
	for _, word := range textNumber.FindAllString(m.Text, -1) {
		if n, err := strconv.Atoi(word); err == nil && slices.Contains(f.Slots, n) {
			return true
		}
	}
	return false
}

var textNumber = regexp.MustCompile(`\b\d+\b`)

func (f *Filter) showsKind(m *Moment) bool {
	if len(f.Kinds) == 0 || slices.Contains(f.Kinds, m.Kind) {
		return true
	}
	for _, g := range kindGroups {
		if !slices.Contains(f.Kinds, g.name) {
			continue
		}
		for _, k := range g.kinds {
			if traceNames[k] == m.Kind {
				return true
			}
		}
	}
	return false
}

// verdictPrefix begins the text of the moment at which a property was violated.
const verdictPrefix = "VIOLATION "

// Timeline writes moments as lines of aligned columns: seconds of virtual time, where (a node n0…, a client c0…, or "-"),
// kind, and text.
type Timeline struct {
	out    io.Writer
	filter Filter
}

// NewTimeline makes a timeline that writes to out what the filter shows.
func NewTimeline(out io.Writer, f Filter) *Timeline { return &Timeline{out, f} }

// Add writes a moment. Who reads the lines sees that they end should out fail.
func (t *Timeline) Add(m *Moment) {
	if t.filter.Shows(m) {
		_, _ = fmt.Fprintln(t.out, m) // see above
	}
}

// String is the line of a timeline that shows the moment.
func (m *Moment) String() string {
	where := "-"
	switch {
	case m.Node >= 0:
		where = fmt.Sprintf("n%d", m.Node)
	case m.Client >= 0:
		where = fmt.Sprintf("c%d", m.Client)
	}
	return fmt.Sprintf("%12.6f  %-3s  %-7s  %s", m.At.Seconds(), where, m.Kind, m.Text)
}
