package command

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/mutant"
	"godwit/engine/resp"
	"godwit/engine/slot"
	"godwit/engine/store"
)

// ErrExport says that bytes are no commands that Export writes, or that they could not be carried out.
var ErrExport = errors.New("not the commands of an export")

// maxExported bounds the elements that one command of an export adds.
const maxExported = 512

// Exported is a part of a slot as commands that make the same of nothing: SET, RPUSH, HSET, SADD, ZADD and PEXPIREAT, in the encoding
// of AppendRequest. The commands of a key that has many elements stand in several parts, which must be carried out in their
// order; those of a list append to what the part before has made.
type Exported struct {
	Commands []byte
	// Covers is the span of items (data.Content) that the commands speak for, Last says that nothing of the span asked for is left.
	Covers key.Span
	Last   bool
	Items  int
	Bytes  int // of items and their keys
}

// Export reads items of a slot from the low end of a span until a limit is reached, and tells them as commands. It holds no more
// than the limit and one item, whatever the size of a key. What cannot be decoded is an error: nothing may be made of it.
func Export(r store.Reader, s slot.Slot, span key.Span, lim store.ChunkLimits) (Exported, error) {
	out := Exported{Covers: span}
	c, err := data.NewContent(r, s, span)
	if err != nil {
		return out, err
	}
	var e exporter
	ok := c.Next()
	for ok {
		item := c.Item()
		if item.Damage != nil {
			_ = c.Close() // the damage is what is reported
			return out, item.Damage
		}
		e.add(item)
		out.Items++
		out.Bytes += len(c.Key()) + len(item.Value)
		if out.Items >= lim.Records || out.Bytes >= lim.Bytes {
			out.Covers.Hi = append(bytes.Clone(c.Key()), 0)
			ok = c.Next()
			break
		}
		ok = c.Next()
	}
	e.end()
	out.Commands = e.out
	if out.Last = !ok; out.Last {
		out.Covers.Hi = span.Hi
	}
	return out, c.Close()
}

// exporter turns items into commands.
type exporter struct {
	out      []byte
	request  [][]byte // of the elements of one key; empty: none
	elements int
	user     []byte
	expireMs int64
}

func (e *exporter) add(i *data.Item) {
	r := &i.Record
	if r.Type == data.String {
		e.end()
		args := [][]byte{[]byte("SET"), i.User, r.Value}
		if r.ExpireMs != data.NoExpiry && !mutant.On(mutant.ExportNoExpiry) {
			args = append(args, []byte("PXAT"), strconv.AppendInt(nil, r.ExpireMs, 10))
		}
		e.out = AppendRequest(e.out, args)
		return
	}
	if len(i.Element) == 0 { // the key comes into being with its first element
		e.end()
		return
	}
	if e.elements == maxExported || !bytes.Equal(e.user, i.User) {
		e.end()
	}
	if e.elements == 0 {
		e.user, e.expireMs = bytes.Clone(i.User), r.ExpireMs
		e.request = append(e.request[:0], []byte(adders[r.Type]), e.user)
	}
	e.elements++
	switch r.Type {
	case data.List:
		e.request = append(e.request, bytes.Clone(i.Value))
	case data.Hash:
		e.request = append(e.request, bytes.Clone(i.Member()), bytes.Clone(i.Value))
	case data.ZSet:
		score, _ := data.DecodeScore(i.Value) // an item without damage has one
		e.request = append(e.request, appendExactScore(nil, score), bytes.Clone(i.Member()))
	case data.Set, data.String, data.Stream:
		e.request = append(e.request, bytes.Clone(i.Member()))
	}
}

// adders are the commands that add elements.
var adders = map[data.Type]string{data.List: "RPUSH", data.Hash: "HSET", data.Set: "SADD", data.ZSet: "ZADD"}

// appendExactScore appends a score as the shortest text that reads as the same number.
func appendExactScore(dst []byte, score float64) []byte {
	switch {
	case math.IsInf(score, 1):
		return append(dst, "inf"...)
	case math.IsInf(score, -1):
		return append(dst, "-inf"...)
	}
	return strconv.AppendFloat(dst, score, 'g', -1, 64)
}

// end writes the command that collects elements, and the expiry of its key: with each of them, since nobody knows which is the last.
func (e *exporter) end() {
	if e.elements == 0 {
		return
	}
	e.out = AppendRequest(e.out, e.request)
	if e.expireMs != data.NoExpiry && !mutant.On(mutant.ExportNoExpiry) {
		e.out = AppendRequest(e.out, [][]byte{[]byte("PEXPIREAT"), e.user, strconv.AppendInt(nil, e.expireMs, 10)})
	}
	e.elements, e.request = 0, e.request[:0]
}

// AppendRequest appends a request as uvarint number of arguments, then each as uvarint length and bytes.
func AppendRequest(dst []byte, args [][]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(args)))
	for _, a := range args {
		dst = binary.AppendUvarint(dst, uint64(len(a)))
		dst = append(dst, a...)
	}
	return dst
}

// NextRequest splits the first request off b. The arguments alias b.
func NextRequest(b []byte) (args [][]byte, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n == 0 || n > uint64(len(b)-w) { // an argument takes a byte at least
		return nil, nil, fmt.Errorf("%w: %d bytes before the end", ErrExport, len(b))
	}
	args = make([][]byte, 0, min(n, 2*maxExported+2))
	b = b[w:]
	for range n {
		size, w := binary.Uvarint(b)
		if w <= 0 || size > uint64(len(b)-w) {
			return nil, nil, fmt.Errorf("%w: cut off, %d bytes before the end", ErrExport, len(b))
		}
		args = append(args, b[w:w+int(size)])
		b = b[w+int(size):]
	}
	return args, b, nil
}

// importable are the commands that an export has, and their least number of arguments.
var importable = map[string]int{"SET": 3, "RPUSH": 3, "HSET": 4, "SADD": 3, "ZADD": 4, "PEXPIREAT": 3}

// CheckExport says what is wrong with commands that claim to be an export of a slot, without carrying them out.
func CheckExport(s slot.Slot, commands []byte) error {
	for len(commands) > 0 {
		args, rest, err := NextRequest(commands)
		if err != nil {
			return err
		}
		if least := importable[string(args[0])]; least == 0 || len(args) < least || len(args[1]) > key.MaxUserKey {
			return fmt.Errorf("%w: %q with %d arguments", ErrExport, args[0][:min(len(args[0]), maxName)], len(args))
		}
		if slot.OfKey(args[1]) != s {
			return fmt.Errorf("%w: a key of slot %d among those of slot %d", ErrExport, slot.OfKey(args[1]), s)
		}
		commands = rest
	}
	return nil
}

// Import carries out commands that CheckExport has found right, in a transaction of mode WriteIndexed whose time is 0, so that no
// clock but that of who serves the key says that it has expired. rand is as in Context. On an error the transaction must be
// discarded.
func (t *Table) Import(tx *data.Tx, commands []byte, rand func() uint64) error {
	var out resp.Writer
	out.Reset(nil, resp.V2)
	for len(commands) > 0 {
		args, rest, err := NextRequest(commands)
		if err != nil {
			return err
		}
		c := Context{Args: args, Out: &out, Tx: tx, Rand: rand, Cluster: true}
		t.Lookup(args[0]).Handler(&c)
		if err := tx.Err(); err != nil {
			return err
		}
		if reply := out.Bytes(); len(reply) > 0 && reply[0] == '-' {
			return fmt.Errorf("%w: %s is answered with %q", ErrExport, args[0], reply)
		}
		out.Truncate(0)
		commands = rest
	}
	return nil
}
