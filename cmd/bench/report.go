package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strconv"
)

// line is a result for people.
func (r *result) line() string {
	return fmt.Sprintf("%-10s godwit %7.0f/s p50 %6.3f p99 %7.3f ms cpu %5.2f us   redis %7.0f/s p50 %6.3f p99 %7.3f ms cpu %5.2f us   ratio %.2f, by cpu %.2f   memory %d / %d MB, disk %d MB",
		r.test, r.godwit.perSecond, r.godwit.p50Ms, r.godwit.p99Ms, r.godwit.cpuUs, r.redis.perSecond, r.redis.p50Ms, r.redis.p99Ms, r.redis.cpuUs, r.ratio(), r.cpuRatio(),
		r.memory[0]>>20, r.memory[1]>>20, r.disk[0]>>20)
}

// writeResults writes the table and the plot.
func writeResults(o *options, results []result) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	table, err := formatCSV(results)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"bench.csv": table, "bench.svg": formatSVG(results)} {
		if err := os.WriteFile(filepath.Join(o.out, name), content, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("written: %s and %s\n", filepath.Join(o.out, "bench.csv"), filepath.Join(o.out, "bench.svg"))
	return nil
}

// formatCSV is the table: one line for each test in each mode.
func formatCSV(results []result) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	rows := [][]string{{"mode", "test", "godwit_per_second", "redis_per_second", "ratio", "godwit_p50_ms", "redis_p50_ms", "godwit_p99_ms", "redis_p99_ms", "godwit_cpu_us", "redis_cpu_us",
		"godwit_memory_bytes", "redis_memory_bytes", "godwit_disk_bytes", "redis_disk_bytes"}}
	number := func(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	for _, r := range results {
		rows = append(rows, []string{r.mode, r.test, number(r.godwit.perSecond, 0), number(r.redis.perSecond, 0), number(r.ratio(), 2),
			number(r.godwit.p50Ms, 3), number(r.redis.p50Ms, 3), number(r.godwit.p99Ms, 3), number(r.redis.p99Ms, 3), number(r.godwit.cpuUs, 2), number(r.redis.cpuUs, 2),
			strconv.FormatInt(r.memory[0], 10), strconv.FormatInt(r.memory[1], 10), strconv.FormatInt(r.disk[0], 10), strconv.FormatInt(r.disk[1], 10)})
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// Sizes of the plots, in pixels.
const (
	plotWidth  = 760
	plotRow    = 22
	plotBar    = 14
	plotHeader = 40
	plotNumber = 60 // room for a number behind the longest bar
)

// plot is a picture of bars. It grows downwards.
type plot struct {
	out  bytes.Buffer
	y    int
	left int     // where bars begin
	unit float64 // pixels of a bar of 1
}

// newPlot makes a plot whose bars begin at left and are as long as there is room for the greatest value.
func newPlot(title string, left int, greatest float64) *plot {
	p := &plot{y: plotHeader, left: left, unit: float64(plotWidth-left-plotNumber) / greatest}
	p.text(10, 20, "start", 14, title)
	return p
}

func (p *plot) text(x, y int, anchor string, size int, text string) {
	fmt.Fprintf(&p.out, `<text x="%d" y="%d" text-anchor="%s" font-size="%d">%s</text>`+"\n", x, y, anchor, size, html.EscapeString(text))
}

// heading writes a line over the bars that follow.
func (p *plot) heading(text string) {
	p.y += plotRow / 2
	p.text(10, p.y+plotBar-2, "start", 12, text)
	p.y += plotRow
}

// bar draws a bar with a name before it and words behind it.
func (p *plot) bar(name string, value float64, words, color string) {
	width := int(value * p.unit)
	p.text(p.left-8, p.y+plotBar-2, "end", 12, name)
	fmt.Fprintf(&p.out, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", p.left, p.y, width, plotBar, color)
	p.text(p.left+width+6, p.y+plotBar-2, "start", 12, words)
	p.y += plotRow
}

// svg is the picture.
func (p *plot) svg() []byte {
	height := p.y + 10
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif">`+"\n"+
		`<rect width="%d" height="%d" fill="white"/>`+"\n%s</svg>\n", plotWidth, height, plotWidth, height, p.out.Bytes())
}

// formatSVG draws a bar for each ratio, under what is measured by what, and a line at 1, where the systems are equal.
func formatSVG(results []result) []byte {
	greatest := 1.0
	for _, r := range results {
		greatest = max(greatest, r.ratio())
	}
	p := newPlot("Throughput of Godwit as ratio to redis-server in the same run", 100, greatest)
	for i, r := range results {
		if i == 0 || r.mode != results[i-1].mode {
			p.heading(aboutMode(r.mode))
		}
		p.bar(r.test, r.ratio(), strconv.FormatFloat(r.ratio(), 'f', 2, 64), "#4878a8")
	}
	x := p.left + int(p.unit)
	fmt.Fprintf(&p.out, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#a04040" stroke-dasharray="4 3"/>`+"\n", x, plotHeader, x, p.y)
	p.text(x, plotHeader-4, "middle", 12, "redis-server")
	return p.svg()
}

// aboutMode says what a mode compares.
func aboutMode(name string) string {
	for _, m := range modes {
		if m.name == name {
			return m.about
		}
	}
	return name
}
