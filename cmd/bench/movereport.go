package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// pause is the pause of a slot at a quantile, in milliseconds.
func (m *moved) pause(q float64) float64 {
	if len(m.pauses) == 0 {
		return 0
	}
	p := slices.Sorted(slices.Values(m.pauses))
	return p[min(int(q*float64(len(p))), len(p)-1)]
}

func (m *moved) totalMB() float64   { return m.megabytes / m.totalSec }
func (m *moved) perSecond() float64 { return float64(m.records) / m.totalSec }

// copyMB is the rate of the copy, 0 if it was not measured.
func (m *moved) copyMB() float64 {
	if m.copySec == 0 {
		return 0
	}
	return m.megabytes / m.copySec
}

// name says what was moved, and how.
func (m *moved) name() string {
	text := fmt.Sprintf("%s, %s, %d writes/s", m.load, m.payload, m.rate)
	if m.throttle != "" {
		text += ", " + m.throttle
	}
	return text
}

// line is a move for people.
func (m *moved) line() string {
	text := fmt.Sprintf("%s: %d records, %.0f MB;", m.name(), m.records, m.megabytes)
	if m.copySec > 0 {
		text += fmt.Sprintf(" copied in %.2f s (%.0f MB/s, %.0f records/s),", m.copySec, m.copyMB(), float64(m.records)/m.copySec)
	}
	text += fmt.Sprintf(" moved and verified in %.2f s (%.0f MB/s, %.0f records/s); pauses p50 %.1f p99 %.1f longest %.1f ms",
		m.totalSec, m.totalMB(), m.perSecond(), m.pause(0.5), m.pause(0.99), m.pause(1))
	if m.rate > 0 {
		text += fmt.Sprintf("; writers before %.0f/s p50 %.2f p99 %.2f ms, during %.0f/s p50 %.2f p99 %.2f ms, longest gap %.1f ms (before %.1f)",
			m.before.perSecond, m.before.p50Ms, m.before.p99Ms, m.during.perSecond, m.during.p50Ms, m.during.p99Ms, m.during.gapMs, m.before.gapMs)
	}
	return text
}

// writeMoves writes the table and the plot.
func writeMoves(o *options, l limits, moves []moved) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	table, err := formatMoves(l, moves)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"migration.csv": table, "migration.svg": drawMoves(l, moves)} {
		if err := os.WriteFile(filepath.Join(o.out, name), content, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("written: %s and %s\n", filepath.Join(o.out, "migration.csv"), filepath.Join(o.out, "migration.svg"))
	return nil
}

// formatMoves is the table: one line for each load at each rate.
func formatMoves(l limits, moves []moved) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	rows := [][]string{{"load", "payload", "throttle", "writes_per_second", "records", "megabytes", "copy_s", "copy_mb_per_second", "total_s", "total_mb_per_second", "total_records_per_second",
		"pause_p50_ms", "pause_p99_ms", "pause_max_ms", "writes_before", "p50_before_ms", "p99_before_ms", "writes_during", "p50_during_ms", "p99_during_ms", "gap_during_ms",
		"loopback_mb_per_second", "disk_mb_per_second"}}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	for _, m := range moves {
		row := []string{m.load, m.payload, m.throttle, strconv.Itoa(m.rate), strconv.Itoa(m.records)}
		for _, v := range []float64{m.megabytes, m.copySec, m.copyMB(), m.totalSec, m.totalMB(), m.perSecond(), m.pause(0.5), m.pause(0.99), m.pause(1),
			m.before.perSecond, m.before.p50Ms, m.before.p99Ms, m.during.perSecond, m.during.p50Ms, m.during.p99Ms, m.during.gapMs, l.loopbackMB, l.diskMB} {
			row = append(row, number(v))
		}
		rows = append(rows, row)
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// moveUnit is the width of a bar of 100 MB/s, and moveLeft where bars begin, in pixels.
const (
	moveUnit = 140
	moveLeft = 260
)

// drawMoves draws two bars for each move: the copy, and all of it with verification.
func drawMoves(l limits, moves []moved) []byte {
	var out bytes.Buffer
	height := plotHeader + 2*plotRow*len(moves) + 10
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&out, `<text x="10" y="20" font-size="14">Moves, MB/s of keys and values: the copy, and with verification (loopback %.0f, disk %.0f)</text>`+"\n", l.loopbackMB, l.diskMB)
	for i, m := range moves {
		for j, b := range []struct {
			what, color string
			mb          float64
		}{{m.name(), "#4878a8", m.copyMB()}, {"verified", "#88a8c8", m.totalMB()}} {
			y := plotHeader + plotRow*(2*i+j)
			width := min(b.mb/100*moveUnit, plotWidth-moveLeft-60)
			fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", moveLeft-8, y+plotBar-2, html.EscapeString(b.what))
			fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.0f" height="%d" fill="%s"/>`+"\n", moveLeft, y, width, plotBar, b.color)
			fmt.Fprintf(&out, `<text x="%.0f" y="%d">%.0f</text>`+"\n", moveLeft+width+6, y+plotBar-2, b.mb)
		}
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}
