package main

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"testing"
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
	d := xml.NewDecoder(bytes.NewReader(formatSVG(results)))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 1+len(results) {
		t.Fatalf("%d rectangles", bars)
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
