package command

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
)

// rewriteReadme is the -rewrite of datadriven, which registers it.
func rewriteReadme() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

const (
	redisCommands = "testdata/redis-7.2-commands.txt"
	readmeIntro   = "testdata/readme-intro.md"
)

// TestReadme compares README.md with what the command table says of each command of Redis 7.2.
func TestReadme(t *testing.T) {
	want := readme(t)
	if rewriteReadme() {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("README.md does not say what the command table says: run make golden, and read the diff")
	}
}

func readme(t *testing.T) string {
	intro, err := os.ReadFile(readmeIntro)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(redisCommands)
	if err != nil {
		t.Fatal(err)
	}
	table := NewTable()
	groups := map[string][]string{}
	known := map[string]bool{}
	supported, differing, absent := 0, 0, 0
	for line := range strings.Lines(string(list)) {
		words := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(words) != 3 {
			continue
		}
		group, name := words[0], words[1]
		known[name] = true
		status := "absent"
		switch s := table.lookupFull([]byte(name)); {
		case s == nil:
			absent++
		case s.Differs != "":
			differing++
			status = "differs: " + s.Differs
		default:
			supported++
			status = "supported"
		}
		groups[group] = append(groups[group], fmt.Sprintf("| %s | %s |\n", strings.ToUpper(strings.ReplaceAll(name, "|", " ")), status))
	}
	var out strings.Builder
	out.Write(intro)
	fmt.Fprintf(&out, "\nOf the %d commands and subcommands of Redis 7.2, %d are supported, %d differ and %d are absent.\n", len(known), supported, differing, absent)
	names := make([]string, 0, len(groups))
	for g := range groups {
		names = append(names, g)
	}
	sort.Strings(names)
	for _, g := range names {
		fmt.Fprintf(&out, "\n## %s\n\n| command | |\n|---|---|\n%s", g, strings.Join(groups[g], ""))
	}
	out.WriteString("\n## Beside those of Redis\n\n| command | |\n|---|---|\n")
	for _, s := range table.All() {
		for _, s := range append([]*Spec{s}, s.Sub...) {
			if !known[s.Name] {
				fmt.Fprintf(&out, "| %s | %s |\n", strings.ToUpper(strings.ReplaceAll(s.Name, "|", " ")), s.Summary)
			}
		}
	}
	return out.String()
}

// TestListOfCommands compares the list that README.md is written from with the commands of a real Redis: those that 7.0 does not know came
// with 7.2.
func TestListOfCommands(t *testing.T) {
	r, ok := startRedis(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so the list of commands was not compared with a real Redis")
		return
	}
	list, err := os.ReadFile(redisCommands)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	var news []string
	for line := range strings.Lines(string(list)) {
		words := strings.Fields(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(words) != 3 || listed[words[1]] {
			t.Fatalf("%q is no line of the list, or stands there twice", line)
		}
		listed[words[1]] = true
		if words[2] == "7.2.0" {
			news = append(news, words[1])
		}
	}
	if got := strings.Join(news, " "); got != "cluster|myshardid client|no-touch client|setinfo waitaof" {
		t.Errorf("of 7.2: %s", got)
	}
	known := r.do(t, "COMMAND", "LIST")
	for _, name := range known.Elems {
		if !listed[name.Str] {
			t.Errorf("%s is not in the list", name.Str)
		}
	}
	if len(listed) != len(known.Elems)+len(news) {
		t.Errorf("the list has %d commands, Redis 7.0 has %d, and 7.2 brought %d", len(listed), len(known.Elems), len(news))
	}
}
