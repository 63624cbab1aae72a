//go:build lint

// Built by "make lint" alone, which has the linters' binaries.

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var (
	golangci = flag.String("golangci", "", "absolute path of the golangci-lint binary")
	vettool  = flag.String("vettool", "", "absolute path of the detlint binary")
)

// report is one line of a linter, or, with part of the text only, one that the planted module asks for.
type report struct {
	place  string // file:line
	linter string
	text   string
}

// A linter that is configured to see nothing is silent about good code and bad. This test runs golangci-lint, with the
// project's configuration, on a module with one violation of each rule, and requires each report and no other.
func TestGolangciReportsPlantedViolations(t *testing.T) {
	dir, wanted := plant(t)
	got := runGolangci(t, dir)
	for _, w := range wanted {
		i := slices.IndexFunc(got, func(g report) bool {
			return g.place == w.place && g.linter == w.linter && strings.Contains(g.text, w.text)
		})
		if i < 0 {
			t.Errorf("%s: planted, but not reported: %s: %s", w.place, w.linter, w.text)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, g := range got {
		t.Errorf("%s: reported, but allowed: %s: %s", g.place, g.linter, g.text)
	}
	if len(wanted) < 50 {
		t.Errorf("only %d violations are planted: has the module been emptied?", len(wanted))
	}
}

func TestVetRunsDetlint(t *testing.T) {
	dir, _ := plant(t)
	cmd := exec.Command("go", "vet", "-vettool="+*vettool, "./migration")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "order.go:4:2: range over the map m") {
		t.Errorf("go vet with detlint: %v, and said\n%s", err, out)
	}
}

// plant writes the planted module and the project's configuration to a new directory, and returns it with the reports
// that the module asks for.
func plant(t *testing.T) (string, []report) {
	t.Helper()
	if *golangci == "" || *vettool == "" {
		t.Fatal("needs -golangci and -vettool: run make lint-selftest")
	}
	archive, err := txtar.ParseFile("testdata/planted.txtar")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := append(archive.Files, txtar.File{Name: ".golangci.yml", Data: config})
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var wanted []report
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, wants(t, f)...)
	}
	return dir, wanted
}

// wants are the reports that a planted file asks for.
func wants(t *testing.T, f txtar.File) []report {
	t.Helper()
	var all []report
	for i, line := range strings.Split(string(f.Data), "\n") {
		_, want, ok := strings.Cut(line, "// want ")
		if !ok || !strings.HasSuffix(f.Name, ".go") {
			continue
		}
		for _, w := range strings.Split(want, ";") {
			linter, text, ok := strings.Cut(strings.TrimSpace(w), ": ")
			if !ok && !strings.HasSuffix(w, ":") {
				t.Fatalf("%s:%d: not \"LINTER: text\": %q", f.Name, i+1, w)
			}
			all = append(all, report{place: fmt.Sprintf("%s:%d", f.Name, i+1), linter: linter, text: text})
		}
	}
	return all
}

func runGolangci(t *testing.T, dir string) []report {
	t.Helper()
	cmd := exec.Command(*golangci, "run", "--allow-parallel-runners", "--show-stats=false", "--output.json.path=stdout", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		t.Fatalf("golangci-lint found nothing to report:\n%s", out)
	}
	var found struct {
		Issues []struct {
			FromLinter string
			Text       string
			Pos        struct {
				Filename string
				Line     int
			}
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("golangci-lint: %v\n%s%s", err, out, stderr.String())
	}
	var all []report
	for _, i := range found.Issues {
		all = append(all, report{place: fmt.Sprintf("%s:%d", i.Pos.Filename, i.Pos.Line), linter: i.FromLinter, text: i.Text})
	}
	return all
}
