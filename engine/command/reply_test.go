package command

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"godwit/engine/resp"
)

const scripts = "testdata/replies"

// TestReplies runs the scripts against this package. They hold nothing that depends on the time of day.
func TestReplies(t *testing.T) {
	datadriven.Walk(t, scripts, func(t *testing.T, path string) {
		l := newLocal(t, versionOf(path), func() int64 { return 1_700_000_000_000 })
		runScript(t, path, l)
	})
}

// TestRepliesOfRedis runs the same scripts against a real Redis 7.0: the expected replies are its own. Scripts whose names
// begin with "own" are about what Redis does otherwise, or has not.
func TestRepliesOfRedis(t *testing.T) {
	r, ok := startRedis(t)
	if !ok {
		t.Log("NOT RUN: no redis-server 7.0 on PATH, so the replies in " + scripts + " were not compared with a real Redis")
		return
	}
	datadriven.Walk(t, scripts, func(t *testing.T, path string) {
		if strings.HasPrefix(filepath.Base(path), "own") {
			return
		}
		r.do(t, "HELLO", strconv.Itoa(int(versionOf(path))))
		r.do(t, "FLUSHALL")
		runScript(t, path, r)
	})
}

func versionOf(path string) resp.Version {
	if strings.Contains(path, "resp3") {
		return resp.V3
	}
	return resp.V2
}

// runScript runs the commands of each block, one a line, and compares their replies.
func runScript(t *testing.T, path string, s server) {
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			args := splitArgs(t, strings.TrimSpace(line))
			out.WriteString(s.do(t, args...).String() + "\n")
		}
		return out.String()
	})
}

// splitArgs splits a line at spaces, except within double quotes, where Go's escapes apply.
func splitArgs(t *testing.T, line string) (args []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		var arg string
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if arg, err = strconv.Unquote(quoted); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			line = line[len(quoted):]
		} else {
			arg, line, _ = strings.Cut(line, " ")
		}
		args = append(args, arg)
	}
	return args
}
