package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
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
	text += fmt.Sprintf(" moved and verified in %.2f s (%.0f MB/s, %.0f records/s); processor time of the source %.2f s, of the target %.2f s; pauses p50 %.1f p99 %.1f longest %.1f ms",
		m.totalSec, m.totalMB(), m.perSecond(), m.sourceSec, m.targetSec, m.pause(0.5), m.pause(0.99), m.pause(1))
	if m.rate > 0 {
		text += fmt.Sprintf("; writers without a move (%.1f s) %.0f/s p50 %.2f p99 %.2f longest gap %.1f ms, during it (%.1f s) %.0f/s p50 %.2f p99 %.2f longest gap %.1f ms",
			m.without.seconds, m.without.perSecond, m.without.p50Ms, m.without.p99Ms, m.without.gapMs,
			m.during.seconds, m.during.perSecond, m.during.p50Ms, m.during.p99Ms, m.during.gapMs)
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
		"pause_p50_ms", "pause_p99_ms", "pause_max_ms", "writes_without", "p50_without_ms", "p99_without_ms", "gap_without_ms", "writes_during", "p50_during_ms", "p99_during_ms", "gap_during_ms",
		"loopback_mb_per_second", "disk_mb_per_second", "source_cpu_s", "target_cpu_s"}}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	for _, m := range moves {
		row := []string{m.load, m.payload, m.throttle, strconv.Itoa(m.rate), strconv.Itoa(m.records)}
		for _, v := range []float64{m.megabytes, m.copySec, m.copyMB(), m.totalSec, m.totalMB(), m.perSecond(), m.pause(0.5), m.pause(0.99), m.pause(1),
			m.without.perSecond, m.without.p50Ms, m.without.p99Ms, m.without.gapMs, m.during.perSecond, m.during.p50Ms, m.during.p99Ms, m.during.gapMs, l.loopbackMB, l.diskMB, m.sourceSec, m.targetSec} {
			row = append(row, number(v))
		}
		rows = append(rows, row)
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// drawMoves draws two bars for each move: the copy, if it was measured, and all of it with verification.
func drawMoves(l limits, moves []moved) []byte {
	greatest := 1.0
	for _, m := range moves {
		greatest = max(greatest, m.copyMB(), m.totalMB())
	}
	p := newPlot(fmt.Sprintf("Moves, MB/s of keys and values (one stream over loopback %.0f, a file written and synced %.0f)", l.loopbackMB, l.diskMB), 100, greatest)
	for _, m := range moves {
		p.heading(m.name())
		if m.copySec > 0 {
			p.bar("copied", m.copyMB(), fmt.Sprintf("%.1f", m.copyMB()), "#4878a8")
		}
		p.bar("and verified", m.totalMB(), fmt.Sprintf("%.1f", m.totalMB()), "#88a8c8")
	}
	return p.svg()
}
