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
		op, err := linearize.Command(fields[2:]...)
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
		case reply == "nil":
			op.Reply = linearize.Nil()
		case reply[0] == '"':
			s, err := strconv.Unquote(reply)
			if err != nil {
				return nil, err
			}
			op.Reply = linearize.Bulk(s)
		case reply[0] == '-' && (len(reply) < 2 || reply[1] > '9'):
			op.Reply = linearize.Error(reply[1:])
		default:
			if n, err := strconv.ParseInt(reply, 10, 64); err == nil {
				op.Reply = linearize.Int(n)
			} else {
				op.Reply = linearize.Status(reply)
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
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
