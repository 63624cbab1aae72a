package host

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

func testRequests() requests {
	return requests{bulkBytes: 1000, arguments: 10, totalBytes: 3000}
}

// cut takes all commands out of what was sent and writes them down; what is left over is in brackets.
func cut(r *requests, b []byte) string {
	var out []string
	for {
		args, n, err := r.next(b, nil)
		if err != nil {
			return strings.Join(append(out, err.Error()), "; ")
		}
		if n == 0 {
			break
		}
		out = append(out, fmt.Sprintf("%q", args))
		b = b[n:]
	}
	if len(b) > 0 {
		out = append(out, fmt.Sprintf("(%d bytes)", len(b)))
	}
	return strings.Join(out, "; ")
}

func TestRequests(t *testing.T) {
	for _, c := range []struct{ name, sent, want string }{
		{"array", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", `["GET" "a"]`},
		{"pipeline and a part", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", `["PING"]; (10 bytes)`},
		{"binary argument", "*2\r\n$3\r\nGET\r\n$4\r\n\r\n\x00\n\r\n", `["GET" "\r\n\x00\n"]`},
		{"empty argument", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", `["GET" ""]`},
		{"empty and null array", "*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", `[]; []; ["PING"]`},
		{"inline", "SET a \"b c\"\r\nGET 'd'\nPING\r\n", `["SET" "a" "b c"]; ["GET" "d"]; ["PING"]`},
		{"empty line", "\r\n\r\nPING\r\n", `[]; []; ["PING"]`},
		{"open quote", "SET a \"b\r\n", "ERR Protocol error: unbalanced quotes in request"},
		{"not a length", "*1\r\n:4\r\n", "ERR Protocol error: expected '$', got ':'"},
		{"no array", "$4\r\nPING\r\n", "ERR Protocol error: expected '*', got '$'"},
		{"bulk too long", "*2\r\n$3\r\nGET\r\n$1001\r\n", "ERR Protocol error: invalid bulk length"},
		{"bulk huge", "*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n", "ERR Protocol error: invalid bulk length"},
		{"bulk negative", "*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"},
		{"a length at which redcon's parser panics", "*1\r\n$-7\r\n", "ERR Protocol error: invalid bulk length"},
		{"bulk without number", "*1\r\n$\r\n", "ERR Protocol error: invalid bulk length"},
		{"bulk with a minus alone", "*1\r\n$-\r\n", "ERR Protocol error: invalid bulk length"},
		{"bulk that is longer than it says", "*1\r\n$2\r\nabc\r\n", "ERR Protocol error: invalid bulk length"},
		{"header without CR", "*1\n$1\r\na\r\n", "ERR Protocol error: invalid multibulk length"},
		{"too many arguments", "*11\r\n", "ERR Protocol error: invalid multibulk length"},
		{"not a number", "*x\r\n", "ERR Protocol error: invalid multibulk length"},
		{"endless count", "*" + strings.Repeat("0", 40), "ERR Protocol error: too big mbulk count string"},
		{"endless length", "*1\r\n$" + strings.Repeat("1", 40), "ERR Protocol error: too big bulk count string"},
		{"long command", "*4\r\n" + strings.Repeat("$990\r\n"+strings.Repeat("a", 990)+"\r\n", 3) + "$990\r\n", "ERR Protocol error: command of more than 3000 bytes"},
		{"longest argument", "*1\r\n$1000\r\n" + strings.Repeat("a", 1000) + "\r\n", `["` + strings.Repeat("a", 1000) + `"]`},
		{"most arguments", "*10\r\n" + strings.Repeat("$1\r\na\r\n", 10), `["a"` + strings.Repeat(` "a"`, 9) + `]`},
		{"longest command", "*3\r\n" + strings.Repeat("$990\r\n"+strings.Repeat("a", 990)+"\r\n", 2) + "$994\r\n" + strings.Repeat("a", 994) + "\r\n",
			`["` + strings.Repeat("a", 990) + `" "` + strings.Repeat("a", 990) + `" "` + strings.Repeat("a", 994) + `"]`},
		{"a byte more", "*3\r\n" + strings.Repeat("$990\r\n"+strings.Repeat("a", 990)+"\r\n", 2) + "$995\r\n", "ERR Protocol error: command of more than 3000 bytes"},
		{"longest line", strings.Repeat("a", maxInline) + "\n", `["` + strings.Repeat("a", maxInline) + `"]`},
		{"endless line", strings.Repeat("a", maxInline+1), "ERR Protocol error: too big inline request"},
		{"long line", strings.Repeat("a", maxInline+1) + "\n", "ERR Protocol error: too big inline request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRequests()
			if got := cut(&r, []byte(c.sent)); got != c.want {
				t.Errorf("%q\n is %s\nwant %s", c.sent, got, c.want)
			}
			// Byte by byte, the same comes out, and an error at the latest with the same byte.
			var out []string
			var pending []byte
			r = testRequests()
			for i := range len(c.sent) {
				pending = append(pending, c.sent[i])
				args, n, err := r.next(pending, nil)
				if err != nil {
					out = append(out, err.Error())
					pending = nil
					break
				}
				if n > 0 {
					out = append(out, fmt.Sprintf("%q", args))
					pending = pending[n:]
				}
			}
			if len(pending) > 0 {
				out = append(out, fmt.Sprintf("(%d bytes)", len(pending)))
			}
			if got := strings.Join(out, "; "); got != c.want {
				t.Errorf("byte by byte, %q\n is %s\nwant %s", c.sent, got, c.want)
			}
		})
	}
}

// FuzzRequests checks that no bytes make the parser panic or take more than there is, and that what it lets through is what
// redcon alone makes of it.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "PING\r\n", "*1\r\n$-7\r\n", "*-1\r\n", "SET a 'b\\'' \"c\"\r\n", "*3\r\n$3\r\nSET\r\n$1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := testRequests()
		rest := b
		for {
			args, n, err := r.next(rest, nil)
			if err != nil || n == 0 {
				break
			}
			if n > len(rest) {
				t.Fatalf("a command of %d bytes in %d", n, len(rest))
			}
			size := 0
			for _, a := range args {
				size += len(a)
			}
			if size > n {
				t.Fatalf("arguments of %d bytes in a command of %d", size, n)
			}
			if rest[0] == '*' && !bytes.HasPrefix(rest, []byte("*-")) {
				_, want, _, after, _ := redcon.ReadNextCommand(rest, nil)
				if fmt.Sprintf("%q", want) != fmt.Sprintf("%q", args) || len(rest)-len(after) != n {
					t.Fatalf("%q: got %q of %d bytes, redcon alone %q of %d", rest, args, n, want, len(rest)-len(after))
				}
			}
			rest = rest[n:]
		}
	})
}
