package sim

import (
	"encoding/binary"
	"fmt"
	"strings"

	"godwit/engine/key"
	"godwit/engine/resp"
	"godwit/migration"
)

// showArgs is a command for people: messages between nodes are decoded.
func showArgs(args [][]byte) string {
	if len(args) == 3 && string(args[0]) == "PEER" && string(args[1]) == "MIGRATION" {
		m, err := migration.DecodeMessage(args[2])
		if err != nil {
			return fmt.Sprintf("PEER MIGRATION: %v", err)
		}
		text := fmt.Sprintf("%s slot %d job %d/%c attempt %d", m.Kind, m.Slot, m.Job.Counter, m.Job.Node[len(m.Job.Node)-1], m.Attempt)
		switch m.Kind {
		case migration.MsgData, migration.MsgPrepare:
			text += fmt.Sprintf(" seq %d", m.Seq)
		case migration.MsgStart, migration.MsgCommit:
			text += fmt.Sprintf(" epoch %d fresh %v", m.Epoch, m.Fresh)
		default:
		}
		return text + showBody(m.Body)
	}
	const most = 10 // a command on more keys than these fills screens
	if len(args) > most {
		return fmt.Sprintf("%.120q and %d more", args[:most], len(args)-most)
	}
	return fmt.Sprintf("%.120q", args)
}

// showBody names the operations of the body of a message and the keys in them.
func showBody(b []byte) string {
	var out strings.Builder
	for len(b) >= 5 && out.Len() < 600 {
		n := int(binary.BigEndian.Uint32(b[1:]))
		if n > len(b)-5 {
			break
		}
		fmt.Fprintf(&out, " %c[", b[0])
		showFields(&out, b[5:5+n], b[0])
		out.WriteByte(']')
		b = b[5+n:]
	}
	return out.String()
}

// showFields shows the keys of one operation. Of a span, both ends.
func showFields(out *strings.Builder, b []byte, kind byte) {
	for i := 0; len(b) > 0 && out.Len() < 600; i++ {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return
		}
		field := b[w : w+int(n)]
		b = b[w+int(n):]
		span := (kind == 'R' || kind == 'G') && i < 2
		if span || kind == 'D' || i%2 == 0 {
			out.WriteString(" " + showKey(field))
		}
		if kind == 'G' && i == 1 {
			return
		}
	}
}

// showKey is a key of the store for people.
func showKey(k []byte) string {
	_, kind, rest, ok := key.Split(k)
	if !ok {
		return fmt.Sprintf("%x", k)
	}
	if kind == key.Record && len(rest) > 4 {
		return string(rest[4:])
	}
	return fmt.Sprintf("%02x:%x", byte(kind), rest)
}

// showValue is a reply of any kind for people.
func showValue(v resp.Value) string {
	if v.Kind == resp.BulkKind {
		return showReply(v.Str)
	}
	return fmt.Sprintf("%.120s", v)
}

// showReply is a reply for people: those between nodes are decoded.
func showReply(text string) string {
	if r, err := migration.DecodeReply([]byte(text)); err == nil {
		out := fmt.Sprintf("%s attempt %d seq %d", r.Kind, r.Attempt, r.Seq)
		if r.Differ {
			out += " differ"
		}
		if r.Gone {
			out += " gone"
		}
		if r.Fresh {
			out += " fresh"
		}
		return out + " " + r.Text
	}
	return fmt.Sprintf("%.120q", text)
}
