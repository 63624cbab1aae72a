package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// programTime is how long a program may take for all its scenarios.
const programTime = 2 * time.Minute

// outcome is what became of a scenario.
type outcome struct {
	Scenario string `json:"scenario"`
	OK       bool   `json:"ok"`
	Error    string `json:"error"`  // why not
	Absent   string `json:"absent"` // instead of both: why the client has nothing of the kind
	Note     string `json:"note"`   // what a reader of the table should know
}

// result is what a client did.
type result struct {
	client, version string
	outcomes        map[string]outcome // by scenario
}

// answers checks that each scenario was answered once, with one answer, and makes a result of the answers.
func answers(client, version string, list []outcome) (result, error) {
	r := result{client: client, version: version, outcomes: map[string]outcome{}}
	var errs []error
	if version == "" {
		errs = append(errs, errors.New("did not say which version it is"))
	}
	for _, o := range list {
		if _, twice := r.outcomes[o.Scenario]; twice {
			errs = append(errs, fmt.Errorf("answered %q twice", o.Scenario))
		}
		kinds := 0
		for _, is := range []bool{o.OK, o.Error != "", o.Absent != ""} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			errs = append(errs, fmt.Errorf("%q is to be one of ok, error and absent: %+v", o.Scenario, o))
		}
		r.outcomes[o.Scenario] = o
	}
	known := 0
	for _, tb := range tables {
		for _, s := range tb.scenarios {
			if _, answered := r.outcomes[s.id]; !answered {
				errs = append(errs, fmt.Errorf("did not answer %q", s.id))
				continue
			}
			known++
		}
	}
	if known != len(r.outcomes) {
		errs = append(errs, fmt.Errorf("answered %d scenarios that nobody asked", len(r.outcomes)-known))
	}
	return r, errors.Join(errs...)
}

// program is a client that is a process of its own.
type program struct {
	client  string
	command []string // it is given the place as its last argument
}

// run runs the program, with a subtest for each scenario that it answers, and returns its answers.
func (pr program) run(t *testing.T, p *place) result {
	t.Helper()
	where, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, pr.command[0], append(pr.command[1:len(pr.command):len(pr.command)], string(where))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	version, list, err := read(stdout, func(o outcome) {
		t.Run(o.Scenario, func(t *testing.T) {
			t.Logf("answered %.1f s after the start", time.Since(began).Seconds())
			if o.Error != "" {
				t.Error(o.Error)
			}
		})
	})
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Errorf("%q: %v\n%s", pr.command, err, stderr.String())
	}
	r, err := answers(pr.client, version, list)
	if err != nil {
		t.Error(err)
	}
	return r
}

// read reads what a program prints: its version, then an outcome a line.
func read(from io.Reader, each func(outcome)) (version string, list []outcome, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Version string `json:"version"`
			outcome
		}
		strict := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&l); err != nil {
			return version, list, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if l.Version != "" {
			version = l.Version
			continue
		}
		list = append(list, l.outcome)
		each(l.outcome)
	}
	return version, list, lines.Err()
}

func TestAnswersMustBeComplete(t *testing.T) {
	var all []outcome
	for _, tb := range tables {
		for _, s := range tb.scenarios {
			all = append(all, outcome{Scenario: s.id, OK: true})
		}
	}
	if _, err := answers("c", "1", all); err != nil {
		t.Errorf("complete answers: %v", err)
	}
	with := func(o outcome) []outcome { return append(slices.Clone(all), o) }
	for want, list := range map[string][]outcome{
		`did not answer "connect"`:                         all[1:],
		`answered "auth" twice`:                            with(outcome{Scenario: "auth", OK: true}),
		`answered 1 scenarios that nobody asked`:           with(outcome{Scenario: "fly", OK: true}),
		`"connect" is to be one of ok, error and absent`:   append([]outcome{{Scenario: "connect"}}, all[1:]...),
		`"connect" is to be one of ok, error and absent: `: append([]outcome{{Scenario: "connect", OK: true, Error: "e"}}, all[1:]...),
	} {
		if _, err := answers("c", "1", list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
	if _, err := answers("c", "", all); err == nil {
		t.Error("a client without a version is not refused")
	}
}

func TestReadWhatAProgramPrints(t *testing.T) {
	in := `{"version":"1"}
{"scenario":"a","ok":true,"note":"n"}
{"scenario":"b","error":"e"}
`
	n := 0
	version, list, err := read(strings.NewReader(in), func(outcome) { n++ })
	want := []outcome{{Scenario: "a", OK: true, Note: "n"}, {Scenario: "b", Error: "e"}}
	if version != "1" || !slices.Equal(list, want) || n != len(want) || err != nil {
		t.Errorf("got %q, %+v, %d and %v", version, list, n, err)
	}
	for _, line := range []string{"hello", `{"scenaro":"a"}`, "[]"} {
		if _, _, err := read(strings.NewReader(line), func(outcome) {}); err == nil {
			t.Errorf("%q is not refused", line)
		}
	}
}
