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

// Sizes of the plot, in pixels.
const (
	plotWidth  = 760
	plotLeft   = 150 // where bars begin
	plotUnit   = 480 // a bar of ratio 1
	plotRow    = 22
	plotBar    = 14
	plotHeader = 40
)

// formatSVG draws a bar for each ratio, and a line at 1, where the systems are equal.
func formatSVG(results []result) []byte {
	var out bytes.Buffer
	height := plotHeader + plotRow*len(results) + 10
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&out, `<text x="10" y="20" font-size="14">Throughput of Godwit as ratio to redis-server in the same run</text>`+"\n")
	for i, r := range results {
		y := plotHeader + plotRow*i
		width := min(r.ratio()*plotUnit, plotWidth-plotLeft-60)
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-8, y+plotBar-2, html.EscapeString(r.mode+" "+r.test))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.0f" height="%d" fill="#4878a8"/>`+"\n", plotLeft, y, width, plotBar)
		fmt.Fprintf(&out, `<text x="%.0f" y="%d">%.2f</text>`+"\n", plotLeft+width+6, y+plotBar-2, r.ratio())
	}
	fmt.Fprintf(&out, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#a04040" stroke-dasharray="4 3"/>`+"\n", plotLeft+plotUnit, plotHeader-8, plotLeft+plotUnit, height-6)
	out.WriteString("</svg>\n")
	return out.Bytes()
}
