package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// simProgress shows how far many runs have come: on a terminal one line that changes, elsewhere a line now and then.
type simProgress struct {
	out    io.Writer
	long   time.Duration // how long it takes; 0 is not known
	sum    *simSummary
	live   bool
	ticker *time.Ticker
	shown  bool // the live line stands there
}

// How often progress is shown.
const (
	liveEvery  = 500 * time.Millisecond
	plainEvery = 10 * time.Second
)

// newSimProgress shows what sum says at each tick. It must be ended.
func newSimProgress(out io.Writer, long time.Duration, sum *simSummary) *simProgress {
	p := &simProgress{out: out, long: long, sum: sum, live: isTerminal(out)}
	every := plainEvery
	if p.live {
		every = liveEvery
	}
	p.ticker = time.NewTicker(every)
	return p
}

// tick says when to show.
func (p *simProgress) tick() <-chan time.Time { return p.ticker.C }

// text is the line: what there is, how fast, and what is missing.
func (p *simProgress) text(took time.Duration) string {
	s := p.sum
	all, missing := s.marks()
	text := fmt.Sprintf("%d seeds, %.1f/s, %d of %d marks, %d failed", s.Seeds(), float64(s.Seeds())/max(took.Seconds(), 1e-3), all-len(missing), all, s.Failed)
	if names := s.properties(); len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	text += ", " + took.Round(time.Second).String()
	if p.long > 0 {
		text += " of " + p.long.String()
	}
	return text
}

// show shows the line as it is now.
func (p *simProgress) show() {
	line := p.text(time.Since(p.sum.started))
	if !p.live {
		show(p.out, "%s\n", line)
		return
	}
	show(p.out, "\r\x1b[K%s", line)
	p.shown = true
}

// clear takes the live line away, so that something else can be printed.
func (p *simProgress) clear() {
	if p.shown {
		show(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// end ends the progress; nothing is shown any more.
func (p *simProgress) end() {
	p.clear()
	p.ticker.Stop()
}
