package sim

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// pageText is the page without its data: markup, style and script in one file, so that the page needs nothing else.
//
//go:embed page.html
var pageText string

// pageData stands in pageText where the data belong.
const pageData = "/*DATA*/null"

// Page collects what happens in a run and writes it as one page for a browser, which shows it by itself: no other file, no network.
type Page struct {
	calls   []*pageCall
	byCall  map[int]*pageCall
	ops     []*pageOp
	byOp    map[int]*pageOp
	records []pageRecord
	files   []pageMark
	marks   []pageMark
	slots   map[int]bool
	nodes   int
	clients int
}

// NewPage makes an empty page.
func NewPage() *Page {
	return &Page{byCall: map[int]*pageCall{}, byOp: map[int]*pageOp{}, slots: map[int]bool{}}
}

// Times on the page are microseconds with their fractions.
type pageTime float64

func pageAt(d time.Duration) pageTime { return pageTime(float64(d) / 1e3) }

// pageCall is a request and what became of it. Ends: nodes from 0, clients from -1 downwards.
type pageCall struct {
	From    int        `json:"f"`
	To      int        `json:"t"`
	Kind    string     `json:"k"` // "client", "copy", "decide" or "other"
	Sent    pageTime   `json:"s"`
	Arrived []pageTime `json:"a,omitempty"` // twice if it was duplicated
	Replied []pageTime `json:"r,omitempty"`
	Back    pageTime   `json:"b,omitempty"`
	Lost    pageTime   `json:"l,omitempty"`
	How     string     `json:"h,omitempty"` // what was lost
	Text    string     `json:"x"`
	Reply   string     `json:"y,omitempty"`
	Slot    int        `json:"o"`
}

// pageOp is an operation of a client.
type pageOp struct {
	Client int      `json:"c"`
	Begin  pageTime `json:"s"`
	End    pageTime `json:"e,omitempty"` // absent if it never ended
	Result string   `json:"k"`           // "ok", "unknown", "refused" or "open"
	Text   string   `json:"x"`
	Slot   int      `json:"o"`
	Guilty bool     `json:"g,omitempty"` // no order of operations explains its reply
}

type pageRecord struct {
	Node  int      `json:"n"`
	Slot  int      `json:"o"`
	At    pageTime `json:"s"`
	State string   `json:"k"`
	Text  string   `json:"x"`
}

type pageMark struct {
	Node int      `json:"n"`
	At   pageTime `json:"s"`
	Kind string   `json:"k"`
	Text string   `json:"x"`
	Slot int      `json:"o"`
}

// Add takes a moment of the run.
func (p *Page) Add(m *Moment) {
	at := pageAt(m.At)
	p.nodes, p.clients = max(p.nodes, m.Node+1, m.To+1), max(p.clients, m.Client+1)
	switch m.Kind {
	case traceNames[traceBegin]:
		o := &pageOp{Client: m.Client, Begin: at, Result: "open", Text: m.Text, Slot: m.Slot}
		p.ops, p.byOp[m.Op] = append(p.ops, o), o
	case traceNames[traceEnd]:
		if o := p.byOp[m.Op]; o != nil {
			o.End, o.Text, o.Result = at, m.Text, "ok"
			if strings.Contains(m.Text, "outcome unknown;") {
				o.Result = "unknown"
			} else if strings.Contains(m.Text, "refused, given up;") {
				o.Result = "refused"
			}
		}
	case traceNames[traceRecord]:
		p.slots[m.Slot] = true
		state := ""
		if words := strings.Fields(m.Text); len(words) > 2 {
			state, _, _ = strings.Cut(words[2], "(")
		}
		if strings.HasSuffix(m.Text, "data gone") {
			state = "gone"
		}
		p.records = append(p.records, pageRecord{m.Node, m.Slot, at, state, m.Text})
	case traceNames[traceDisk]:
		p.files = append(p.files, pageMark{m.Node, at, m.Kind, m.Text, -1})
	default:
		if m.Call == 0 {
			p.marks = append(p.marks, pageMark{m.Node, at, m.Kind, m.Text, m.Slot})
			return
		}
		p.message(m, at)
	}
}

// message adds what happens to a request.
func (p *Page) message(m *Moment, at pageTime) {
	c := p.byCall[m.Call]
	if c == nil {
		c = &pageCall{From: m.From, To: m.To, Sent: at, Slot: m.Slot, Text: m.Text}
		if c.Kind = messageKind(m.Text); m.Client >= 0 {
			c.From, c.Kind = -1-m.Client, "client"
		}
		p.calls, p.byCall[m.Call] = append(p.calls, c), c
	}
	switch m.Kind {
	case traceNames[traceArrive]:
		c.Arrived = append(c.Arrived, at)
	case traceNames[traceReply]:
		c.Replied, c.Reply = append(c.Replied, at), m.Text
	case traceNames[traceAnswer]:
		c.Back = at
	case traceNames[traceLost]:
		c.Lost, c.How = at, m.Text
	}
}

// messageKind sorts requests between nodes by the text of showArgs, which follows the connection's.
func messageKind(text string) string {
	words := strings.Fields(text)
	if len(words) < 4 {
		return "other"
	}
	switch words[3] {
	case "start", "data", "confirm":
		return "copy"
	case "prepare", "commit", "abort", "ask":
		return "decide"
	}
	return "other"
}

// Write writes the page. The title says what ran.
func (p *Page) Write(out io.Writer, r *Result, title string) error {
	var slots []int
	for s := range p.slots { //det:ok sorted by the page
		slots = append(slots, s)
	}
	data := map[string]any{
		"title": title, "seed": strconv.FormatUint(r.Seed, 10), "end": pageAt(r.Virtual), "nodes": p.nodes, "clients": p.clients, "slots": slots,
		"calls": p.calls, "ops": p.ops, "records": p.records, "files": p.files, "marks": p.marks, "hash": fmt.Sprintf("%016x", r.TraceHash),
	}
	if v := r.Violation; v != nil {
		m := Moment{Text: v.Detail, Slot: -1}
		m.concern()
		data["violation"] = map[string]any{"property": v.Property, "detail": v.Detail, "at": pageAt(v.At), "slot": m.Slot}
		for _, at := range v.Returns {
			for _, o := range p.ops {
				o.Guilty = o.Guilty || o.End == pageAt(at)
			}
		}
	}
	raw, err := json.Marshal(data) // escapes "<", so that no text can end the script
	if err != nil {
		return err
	}
	before, after, ok := strings.Cut(pageText, pageData)
	if !ok {
		return fmt.Errorf("page.html has no place for the data")
	}
	for _, part := range []string{before, string(raw), after} {
		if _, err := io.WriteString(out, part); err != nil {
			return err
		}
	}
	return nil
}
