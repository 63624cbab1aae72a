package linearize

import (
	"math"
	"strconv"
)

// Blocking commands take effect when something is there for them, at one moment between call and return, as the command that
// does not wait would. One that was answered by nil has done nothing. That there was nothing to take while it waited is not
// judged: a store may let it wait behind others, or for a slot that is moving.

// parseBlocking parses those that wait for one key.
func (in *input) parseBlocking() (bool, error) {
	switch in.op.Cmd {
	case "BLPOP", "BRPOP":
		in.kind, in.back = kindPop, in.op.Cmd == "BRPOP"
		if err := in.timeout(1); err != nil {
			return true, err
		}
		if popped, ok := in.taken(2); ok {
			in.reply = popped[0]
			in.impossible = in.reply.Kind != BulkReply
		}
		return true, nil
	case "BZPOPMIN", "BZPOPMAX":
		in.kind, in.back, in.end = kindZPop, in.op.Cmd == "BZPOPMAX", 1
		if err := in.timeout(1); err != nil {
			return true, err
		}
		if popped, ok := in.taken(3); ok {
			in.reply = Array(popped...)
			in.takeScores(true)
		}
		return true, nil
	case "BLMOVE":
		in.kind, in.target = kindLMove, ""
		if err := in.timeout(4); err != nil {
			return true, err
		}
		in.target = in.op.Args[0]
		err := in.sides(in.op.Args[1:3])
		if in.waitedInVain() {
			in.kind, in.target = kindNothing, ""
		}
		return true, err
	}
	return false, nil
}

// timeout demands n arguments behind the key, the last of them the longest wait in seconds.
func (in *input) timeout(n int) error {
	if err := in.exactly(n); err != nil {
		return err
	}
	text := in.op.Args[n-1]
	if f, err := strconv.ParseFloat(text, 64); err != nil || !(f >= 0) || math.IsInf(f, 0) {
		return in.refuse("timeout %s", quote(text))
	}
	return nil
}

// waitedInVain reports that the command was answered, and has done nothing.
func (in *input) waitedInVain() bool { return !in.free && in.reply == Nil() }

// taken returns what the reply, which must be an array of n with the key at its head, says was taken; false if it says something
// else, which the model of the command judges.
func (in *input) taken(n int) ([]Reply, bool) {
	if in.waitedInVain() {
		in.kind = kindNothing
		return nil, false
	}
	if in.free || in.reply.Kind == ErrorReply {
		return nil, false
	}
	items := in.reply.Items()
	if len(items) != n || items[0] != Bulk(in.op.Key) {
		in.impossible = true
		return nil, false
	}
	return items[1:], true
}
