package main

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"testing"

	"godwit/engine/slot"
)

func TestParseBenchmark(t *testing.T) {
	const header = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	m, err := parseBenchmark([]byte(header + `"SET","83333.34","0.322","0.128","0.319","0.423","0.511","1.007"` + "\n"))
	if err != nil || m.perSecond != 83333.34 || m.p50Ms != 0.319 || m.p99Ms != 0.511 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, bad := range []string{"", header, "Could not connect\n", header + `"SET","-","0.322","0.128","0.319","0.423","0.511","1.007"` + "\n"} {
		if m, err := parseBenchmark([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, m)
		}
	}
}

func TestMedian(t *testing.T) {
	m := median([]measure{{perSecond: 3, p50Ms: 1, p99Ms: 9}, {perSecond: 1, p50Ms: 2, p99Ms: 7}, {perSecond: 2, p50Ms: 3, p99Ms: 8}})
	if (m != measure{perSecond: 2, p50Ms: 2, p99Ms: 8}) {
		t.Fatalf("%+v", m)
	}
}

// TestReports: both files can be read by what reads such files, and say what was measured.
func TestReports(t *testing.T) {
	results := []result{
		{mode: "never", test: "set-p1", godwit: measure{perSecond: 50, p99Ms: 1.5}, redis: measure{perSecond: 100}},
		{mode: "never", test: "get <p16>", godwit: measure{perSecond: 900}, redis: measure{perSecond: 100}},
	}
	table, err := formatCSV(results)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][4] != "0.50" || rows[2][4] != "9.00" {
		t.Fatalf("%v, %v", rows, err)
	}
	if n := rectangles(t, formatSVG(results)); n != 1+len(results) {
		t.Fatalf("%d rectangles", n)
	}
}

// rectangles counts them in a picture, which must be well-formed.
func rectangles(t *testing.T, svg []byte) (n int) {
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			n++
		}
	}
}

// TestMoveReports: of several rounds the one with the median time counts, with the pauses of all; and both files can be read.
func TestMoveReports(t *testing.T) {
	moves := medianMoves([]moved{
		{load: "one slot", megabytes: 100, copySec: 1, totalSec: 3, pauses: []float64{1}, during: latency{gapMs: 7}},
		{load: "one slot", megabytes: 100, copySec: 1, totalSec: 1, pauses: []float64{9}},
		{load: "one slot", megabytes: 100, copySec: 0.5, totalSec: 2, pauses: []float64{2}},
		{load: "one slot", rate: 5000, megabytes: 100, copySec: 4, totalSec: 5},
		{load: "many <slots>", rate: 5000, megabytes: 10, totalSec: 5},
	})
	if len(moves) != 3 || moves[0].totalSec != 2 || moves[0].pause(1) != 9 || moves[0].pause(0.5) != 2 || moves[0].during.gapMs != 7 || moves[1].pause(1) != 0 {
		t.Fatalf("%+v", moves)
	}
	table, err := formatMoves(limits{1000, 500}, moves)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || len(rows) != 4 || rows[1][7] != "200.00" || rows[3][7] != "0.00" || len(rows[0]) != len(rows[3]) {
		t.Fatalf("%v, %v", rows, err)
	}
	if n := rectangles(t, drawMoves(limits{}, moves)); n != 1+2*len(moves)-1 { // the copy of many slots was not measured
		t.Fatalf("%d rectangles", n)
	}
}

// TestSeen: what was seen in two times is summed up as one.
func TestSeen(t *testing.T) {
	a, b := seen{took: []float64{5, 1, 3}, gapMs: 7, seconds: 1}, seen{took: []float64{2}, gapMs: 9, seconds: 3}
	if l := a.and(b).latency(); (l != latency{seconds: 4, perSecond: 1, p50Ms: 3, p99Ms: 5, gapMs: 9}) {
		t.Errorf("%+v", l)
	}
	if l := (seen{seconds: 2}).latency(); (l != latency{seconds: 2}) {
		t.Errorf("without a write: %+v", l)
	}
}

func TestTagsOf(t *testing.T) {
	for i, tag := range tagsOf(100) {
		if s := slot.OfKey([]byte("{" + tag + "}1")); int(s) != i {
			t.Fatalf("the tag of slot %d is %q, of slot %d", i, tag, s)
		}
	}
}

func TestMovedTo(t *testing.T) {
	if to := movedTo(fmt.Errorf("SET a: %w", errReply("MOVED 15495 127.0.0.1:7002"))); to != "127.0.0.1:7002" {
		t.Errorf("the redirect is to %q", to)
	}
	for _, err := range []error{nil, io.EOF, errReply("TRYAGAIN later")} {
		if to := movedTo(err); to != "" {
			t.Errorf("%v redirects to %q", err, to)
		}
	}
}

func TestExpectOK(t *testing.T) {
	if err := expectOK(bytes.NewReader([]byte("+OK\r\n+OK\r\n")), 2); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"+OK\r\n-ERR\r\n", "+OK\r\n"} {
		if err := expectOK(bytes.NewReader([]byte(bad)), 2); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
