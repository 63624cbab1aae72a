package sim

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"godwit/engine/slot"
)

// watch collects the moments of a seed.
func watch(seed uint64) (moments []Moment, r Result) {
	r = Run(seed, Config{Watch: func(m *Moment) { moments = append(moments, *m) }})
	return moments, r
}

// TestWatchDoesNotChange demands that a run that is watched has the hash of one that is not.
func TestWatchDoesNotChange(t *testing.T) {
	moments, watched := watch(2)
	if alone := Run(2, Config{}); alone.TraceHash != watched.TraceHash {
		t.Errorf("hash %016x, watched %016x", alone.TraceHash, watched.TraceHash)
	}
	begun, ended := 0, 0
	for _, m := range moments {
		switch m.Kind {
		case "begin":
			begun++
		case "end":
			ended++
		}
	}
	if begun != watched.Operations || ended != begun {
		t.Errorf("%d operations, of which %d were seen to begin and %d to end", watched.Operations, begun, ended)
	}
}

// TestFilter checks each condition on what a run really does.
func TestFilter(t *testing.T) {
	moments, _ := watch(3)
	var sl int
	for _, m := range moments {
		if m.Kind == "record" && m.Job == 1 {
			sl = m.Slot
		}
	}
	for name, c := range map[string]struct {
		filter Filter
		holds  func(m *Moment) bool
	}{
		"kind":  {Filter{Kinds: []string{"record", "client"}}, func(m *Moment) bool { return m.Kind == "record" || m.Kind == "begin" || m.Kind == "end" }},
		"slot":  {Filter{Slots: []int{sl}}, func(m *Moment) bool { return m.Slot == sl || m.Kind == "note" }},
		"job":   {Filter{Jobs: []uint64{1}}, func(m *Moment) bool { return m.Job == 1 }},
		"time":  {Filter{From: time.Second, To: 2 * time.Second}, func(m *Moment) bool { return m.At >= time.Second && m.At <= 2*time.Second }},
		"node":  {Filter{Nodes: []int{1}}, func(m *Moment) bool { return m.Node == 1 || m.Call != 0 && (m.From == 1 || m.To == 1) }},
		"fault": {Filter{Kinds: []string{"fault"}}, func(m *Moment) bool { return strings.Contains("life nemesis lost break", m.Kind) }},
	} {
		shown := 0
		for i := range moments {
			if c.filter.Shows(&moments[i]) {
				shown++
				if !c.holds(&moments[i]) {
					t.Errorf("%s: shows %+v", name, moments[i])
				}
			}
		}
		if shown == 0 || shown == len(moments) {
			t.Errorf("%s: %d of %d moments are shown", name, shown, len(moments))
		}
	}
	for name, f := range map[string]Filter{
		"an unknown kind": {Kinds: []string{"records"}},
		"a slot beyond":   {Slots: []int{slot.Count}},
		"a negative slot": {Slots: []int{-1}},
		"an empty time":   {From: 2 * time.Second, To: time.Second},
	} {
		if f.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestTimelineColumns demands that every line has its columns where the others have them.
func TestTimelineColumns(t *testing.T) {
	var text bytes.Buffer
	Run(4, Config{Trace: &text})
	shape := regexp.MustCompile(`^ *\d+\.\d{6}  (n\d |c\d |-  )  [a-z ]{7}  \S`)
	lines := 0
	for line := range strings.Lines(text.String()) {
		if lines++; !shape.MatchString(line) || strings.Index(line, ".") != 5 {
			t.Fatalf("line %d: %q", lines, line)
		}
	}
	if lines == 0 {
		t.Error("no lines")
	}
}

// TestPage demands that the page has the run in it and asks nobody for anything.
func TestPage(t *testing.T) {
	p := NewPage()
	r := Run(5, Config{Watch: p.Add})
	r.Violation = &Violation{Property: "digests", Detail: "</script> slot=1", At: time.Second}
	var out bytes.Buffer
	if err := p.Write(&out, &r, "a title"); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, bad := range []string{"http:", "https:", "src=", "@import", "<link", pageData} {
		if strings.Contains(text, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if n := strings.Count(text, "</script>"); n != 1 {
		t.Errorf("%d ends of a script", n)
	}
	if len(p.calls) < 500 || len(p.ops) != r.Operations || len(p.records) == 0 || !strings.Contains(text, `"title":"a title"`) {
		t.Errorf("%d messages, %d operations of %d, %d records", len(p.calls), len(p.ops), r.Operations, len(p.records))
	}
	kinds := map[string]int{}
	for _, c := range p.calls {
		kinds[c.Kind]++
		if len(c.Arrived) == 0 && c.Back > 0 {
			t.Errorf("a reply without a request: %+v", c)
		}
	}
	if kinds["client"] == 0 || kinds["copy"] == 0 || kinds["decide"] == 0 || kinds["other"] == 0 {
		t.Errorf("kinds of messages: %v", kinds)
	}
}
