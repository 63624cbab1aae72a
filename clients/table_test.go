package clients

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// readme is the file that has the table.
const readme = "../README.md"

// keepTable compares the table of the README with what was found, or writes it.
func keepTable(mode, found string) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	want, err := replaceTable(string(text), found)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", readme, err)
	case string(text) == want:
		return nil
	case mode == "write":
		return os.WriteFile(readme, []byte(want), 0o644)
	}
	return fmt.Errorf("the table of clients in the README is not what was found: run make clients-table. Found:\n%s", found)
}

// What the table stands between.
const (
	tableBegin = "<!-- clients: written by make clients-table -->\n"
	tableEnd   = "<!-- clients: end -->\n"
)

// replaceTable puts a table between its marks in a text.
func replaceTable(text, table string) (string, error) {
	before, rest, begins := strings.Cut(text, tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return "", errors.New("the marks of the table of clients are missing")
	}
	return before + tableBegin + table + tableEnd + after, nil
}

// markdown is the tables of what clients did: a row for each scenario, a column for each client, notes below.
func markdown(results []result) string {
	var b strings.Builder
	var notes []string
	for _, tb := range tables {
		fmt.Fprintf(&b, "| %s |", tb.title)
		for _, r := range results {
			fmt.Fprintf(&b, " %s %s |", r.client, r.version)
		}
		b.WriteString("\n|---|" + strings.Repeat(":-:|", len(results)) + "\n")
		for _, s := range tb.scenarios {
			fmt.Fprintf(&b, "| %s |", s.title)
			for _, r := range results {
				o := r.outcomes[s.id]
				fmt.Fprintf(&b, " %s%s |", sign(o), noted(&notes, r.client, o))
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	for i, n := range notes {
		fmt.Fprintf(&b, "<sup>%d</sup> %s  \n", i+1, n)
	}
	return b.String()
}

// sign is the cell of an outcome.
func sign(o outcome) string {
	switch {
	case o.OK:
		return "✓"
	case o.Absent != "":
		return "–"
	}
	return "✗"
}

// noted adds what there is to say of an outcome to the notes, once, and returns the mark that refers to it.
func noted(notes *[]string, client string, o outcome) string {
	text := o.Note + o.Absent
	if text == "" {
		return ""
	}
	text = client + ": " + text + "."
	for i, n := range *notes {
		if n == text {
			return fmt.Sprintf(" <sup>%d</sup>", i+1)
		}
	}
	*notes = append(*notes, text)
	return fmt.Sprintf(" <sup>%d</sup>", len(*notes))
}

// sample is a client that did everything but what is said.
func sample(client string, but ...outcome) result {
	r := result{client: client, version: "1.2", outcomes: map[string]outcome{}}
	for _, tb := range tables {
		for _, s := range tb.scenarios {
			r.outcomes[s.id] = outcome{Scenario: s.id, OK: true}
		}
	}
	for _, o := range but {
		r.outcomes[o.Scenario] = o
	}
	return r
}

func TestMarkdownShowsWhatWorksAndWhatNot(t *testing.T) {
	got := markdown([]result{
		sample("one", outcome{Scenario: "auth", Error: "lost"}, outcome{Scenario: "resp3", Absent: "too old"}),
		sample("two", outcome{Scenario: "resp3", Absent: "too old"}, outcome{Scenario: "lists", OK: true, Note: "slowly"},
			outcome{Scenario: "sets", OK: true, Note: "slowly"}),
	})
	for _, want := range []string{
		"| One node | one 1.2 | two 1.2 |\n|---|:-:|:-:|\n",
		"| connect in RESP3: maps, doubles, null | – <sup>1</sup> | – <sup>2</sup> |\n",
		"| a password: right, wrong, none | ✗ | ✓ |\n",
		"| lists | ✓ | ✓ <sup>3</sup> |\n| sets | ✓ | ✓ <sup>3</sup> |\n",
		"\n\n<sup>1</sup> one: too old.  \n<sup>2</sup> two: too old.  \n<sup>3</sup> two: slowly.  \n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table has not %q:\n%s", want, got)
		}
	}
}

func TestReplaceTable(t *testing.T) {
	got, err := replaceTable("before\n"+tableBegin+"old\n"+tableEnd+"after\n", "new\n")
	if want := "before\n" + tableBegin + "new\n" + tableEnd + "after\n"; err != nil || got != want {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
	for _, text := range []string{"", tableBegin, tableEnd + tableBegin} {
		if _, err := replaceTable(text, "new\n"); err == nil {
			t.Errorf("%q has no place for a table, and got one", text)
		}
	}
}

// TestReadmeAsksTheScenarios compares the rows of the README's table with the scenarios, which needs no client.
func TestReadmeAsksTheScenarios(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), tableBegin)
	shown, _, _ := strings.Cut(rest, tableEnd)
	var got, want []string
	for line := range strings.Lines(shown) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && !strings.HasPrefix(line, "|---") {
			got = append(got, strings.TrimSpace(cells[1]))
		}
	}
	for _, tb := range tables {
		want = append(want, tb.title)
		for _, s := range tb.scenarios {
			want = append(want, s.title)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the README's table has the rows\n%q\nwant\n%q\nrun make clients-table", got, want)
	}
}
