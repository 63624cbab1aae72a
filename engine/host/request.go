package host

import (
	"bytes"
	"fmt"

	"github.com/tidwall/redcon"
)

// Limits on lines, as in Redis.
const (
	maxInline = 64 << 10 // an inline command, in bytes
	maxHeader = 32       // the line that announces a number of arguments or a length, in bytes: "$536870912\r\n" has 12
)

// protocolError is what is wrong with the bytes that a client sent. Its text is the reply, after which the connection
// is closed: where the next command begins is unknown.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return "ERR Protocol error: " + e.text }

// requests cuts the commands out of what a client sends. redcon's parser splits inline commands only: it knows no limits, goes
// through a command from its beginning each time that more of it has arrived, and panics on lengths that are negative or
// overflow.
type requests struct {
	// bulkBytes is the longest argument, arguments the most of one command, totalBytes the longest command.
	bulkBytes, arguments, totalBytes int

	begun bool  // the command's number of arguments is known
	left  int   // arguments that have not been passed yet
	bulk  int   // length of the argument at the offset, or -1 before its header has been read
	at    int   // offset from the command's first byte up to which it has been checked
	spans []int // where each argument that has been passed begins and ends
}

// next takes the first command of b. It returns how long the command is, 0 when it is incomplete: call again with more
// behind the same bytes. A command without arguments is to be passed over. The arguments alias b and use argv's memory.
func (r *requests) next(b []byte, argv [][]byte) (args [][]byte, length int, err error) {
	if len(b) == 0 {
		return nil, 0, nil
	}
	if b[0] == '*' {
		length, err = r.checkArray(b)
	} else {
		length, err = r.checkInline(b)
	}
	if err != nil || length == 0 {
		return nil, 0, err
	}
	r.begun, r.left, r.bulk, r.at = false, 0, 0, 0
	if b[0] == '*' {
		args = argv[:0]
		for i := 0; i < len(r.spans); i += 2 {
			args = append(args, b[r.spans[i]:r.spans[i+1]:r.spans[i+1]])
		}
		if r.spans = r.spans[:0]; cap(r.spans) > 2*keepArguments {
			r.spans = nil
		}
		return args, length, nil
	}
	complete, args, _, rest, err := redcon.ReadNextCommand(b[:length], argv)
	switch {
	case err != nil: // the one error left: quotes that do not match
		return nil, 0, &protocolError{"unbalanced quotes in request"}
	case !complete || len(rest) != 0:
		return nil, 0, &protocolError{"malformed request"}
	}
	return args, length, nil
}

// checkInline finds the end of a command that is a line of words.
func (r *requests) checkInline(b []byte) (int, error) {
	if b[0] == '$' { // a length without a command: the client is out of step
		return 0, &protocolError{"expected '*', got '$'"}
	}
	i := bytes.IndexByte(b[r.at:], '\n')
	switch {
	case i < 0 && len(b) > maxInline, i >= 0 && r.at+i > maxInline:
		return 0, &protocolError{"too big inline request"}
	case i < 0:
		r.at = len(b)
		return 0, nil
	}
	return r.at + i + 1, nil
}

// checkArray goes on checking a command that is an array of strings and returns its length once it is complete.
func (r *requests) checkArray(b []byte) (int, error) {
	if !r.begun {
		n, after, err := header(b, 0, "mbulk count")
		if err != nil || after == 0 {
			return 0, err
		}
		if n == invalid || n > r.arguments {
			return 0, &protocolError{"invalid multibulk length"}
		}
		r.begun, r.left, r.bulk, r.at = true, n, -1, after
	}
	for r.left > 0 {
		if r.bulk < 0 {
			if r.at == len(b) {
				return 0, nil
			}
			if b[r.at] != '$' {
				return 0, &protocolError{fmt.Sprintf("expected '$', got '%c'", b[r.at])}
			}
			n, after, err := header(b, r.at, "bulk count")
			if err != nil || after == 0 {
				return 0, err
			}
			if n < 0 || n > r.bulkBytes {
				return 0, &protocolError{"invalid bulk length"}
			}
			if n > r.totalBytes-after {
				return 0, &protocolError{fmt.Sprintf("command of more than %d bytes", r.totalBytes)}
			}
			r.bulk, r.at = n, after
		}
		if len(b)-r.at < r.bulk+2 {
			return 0, nil
		}
		if b[r.at+r.bulk] != '\r' || b[r.at+r.bulk+1] != '\n' {
			return 0, &protocolError{"invalid bulk length"}
		}
		r.spans = append(r.spans, r.at, r.at+r.bulk)
		r.at += r.bulk + 2
		r.bulk = -1
		r.left--
	}
	return r.at, nil
}

// invalid is what header returns for a line that holds no number.
const invalid = -1 << 31

// header reads the number in the line at an offset, whose first byte says what it counts, and returns the offset behind the
// line, 0 when the line is incomplete.
func header(b []byte, at int, what string) (n, after int, err error) {
	line := b[at+1 : min(len(b), at+maxHeader)]
	end := bytes.IndexByte(line, '\n')
	switch {
	case end < 0 && len(b)-at >= maxHeader:
		return 0, 0, &protocolError{"too big " + what + " string"}
	case end < 0:
		return 0, 0, nil
	case end < 2 || line[end-1] != '\r':
		return invalid, at + 1 + end + 1, nil
	}
	return number(line[:end-1]), at + 1 + end + 1, nil
}

// number reads a decimal number of at most 18 digits, which cannot overflow, and an optional minus sign.
func number(digits []byte) int {
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return invalid
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return invalid
		}
		n = n*10 + int(c-'0')
	}
	if negative {
		return -min(n, 1<<30)
	}
	return n
}
