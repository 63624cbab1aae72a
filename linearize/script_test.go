package linearize_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"godwit/linearize"
)

// parseScript reads a history from lines such as
//
//	c1 0-10 SET k a NX => OK
//	c2 5-? APPEND k b => ?
//	c3 11-20 GET k => "a"
//	c3 21-22 GET k => fail
//	c3 23-24 EXEC SADD s a ; SMEMBERS s => [1 ["a"]]
//
// with times in ms. The replies are written as Reply.String shows them.
func parseScript(text string) ([]linearize.Operation, error) {
	var ops []linearize.Operation
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		left, reply, ok := strings.Cut(l, " => ")
		fields := strings.Fields(left)
		if !ok || len(fields) < 3 {
			return nil, fmt.Errorf("line %q: must be: client interval command => reply", l)
		}
		for i, f := range fields {
			fields[i] = strings.ReplaceAll(f, `""`, "")
		}
		op, err := parseCommand(fields[2:])
		if err != nil {
			return nil, err
		}
		if op.Client, err = strconv.Atoi(strings.TrimPrefix(fields[0], "c")); err != nil {
			return nil, err
		}
		from, to, _ := strings.Cut(fields[1], "-")
		if op.Call, err = strconv.ParseInt(from, 10, 64); err != nil {
			return nil, err
		}
		op.Call *= 1e6
		if to != "?" {
			if op.Return, err = strconv.ParseInt(to, 10, 64); err != nil {
				return nil, err
			}
			op.Return *= 1e6
		}
		op.Outcome = linearize.Ok
		switch {
		case reply == "?":
			op.Outcome = linearize.Unknown
		case reply == "fail":
			op.Outcome = linearize.Fail
		default:
			if op.Reply, reply, err = parseShown(reply); err != nil || reply != "" {
				return nil, fmt.Errorf("line %q: reply, with %q left: %w", l, reply, err)
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func parseCommand(words []string) (linearize.Operation, error) {
	if words[0] != "EXEC" {
		return linearize.Command(words...)
	}
	commands := [][]string{nil}
	for _, w := range words[1:] {
		if last := len(commands) - 1; w == ";" {
			commands = append(commands, nil)
		} else {
			commands[last] = append(commands[last], w)
		}
	}
	return linearize.Transaction(commands...)
}

// parseShown parses the first reply of a text, and returns the rest.
func parseShown(text string) (linearize.Reply, string, error) {
	switch text[0] {
	case '"':
		q, err := strconv.QuotedPrefix(text)
		if err != nil {
			return linearize.Reply{}, text, err
		}
		s, err := strconv.Unquote(q)
		return linearize.Bulk(s), text[len(q):], err
	case '[':
		var items []linearize.Reply
		text = text[1:]
		for text != "" && text[0] != ']' {
			item, rest, err := parseShown(text)
			if err != nil {
				return linearize.Reply{}, text, err
			}
			items = append(items, item)
			text = strings.TrimPrefix(rest, " ")
		}
		return linearize.Array(items...), strings.TrimPrefix(text, "]"), nil
	}
	if text[0] == '-' && (len(text) < 2 || text[1] > '9') {
		return linearize.Error(text[1:]), "", nil
	}
	end := strings.IndexAny(text, " ]")
	if end < 0 {
		end = len(text)
	}
	word, rest := text[:end], text[end:]
	if word == "nil" {
		return linearize.Nil(), rest, nil
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return linearize.Int(n), rest, nil
	}
	return linearize.Status(word), rest, nil
}

// TestScripts judges the histories of testdata/*.txt. Commands:
//
//	accept [error-ms=N]   the history must be linearizable
//	reject [error-ms=N]   it must not be, and the explanation is compared
//
// Time 0 is unix 1,000,000 ms.
func TestScripts(t *testing.T) {
	files, err := os.ReadDir("testdata/scripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		datadriven.RunTest(t, "testdata/scripts/"+f.Name(), func(t *testing.T, d *datadriven.TestData) string {
			ops, err := parseScript(d.Input)
			if err != nil {
				return err.Error() + "\n"
			}
			var opts linearize.Options
			if d.HasArg("error-ms") {
				var ms int
				d.ScanArgs(t, "error-ms", &ms)
				opts.ClockError = time.Duration(ms) * time.Millisecond
			}
			v, err := linearize.Check(&linearize.History{UnixMs: 1_000_000, Operations: ops}, opts)
			if err != nil {
				return err.Error() + "\n"
			}
			want := map[string]linearize.Result{"accept": linearize.Linearizable, "reject": linearize.Illegal}[d.Cmd]
			if v.Result != want {
				t.Errorf("%s: want %s, got %s", d.Pos, d.Cmd, v)
			}
			return v.String() + "\n"
		})
	}
}
