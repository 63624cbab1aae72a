package driver

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"godwit/engine/command"
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// The body of a data message is a list of operations, each a kind byte, the length of what follows (4 bytes, big-endian), and:
//
//	| kind | operation     | content                                                                        |
//	|------|---------------|--------------------------------------------------------------------------------|
//	| P    | put           | records, each uvarint length, key, uvarint length, value                        |
//	| D    | delete        | keys, each uvarint length, key                                                  |
//	| R    | replace range | low key, high key (each uvarint length, key), then records as for P             |
//	| G    | digest        | low key, high key, digest of the source's records between them (24 bytes)       |
//
//	| C | commands       | low key, high key, then commands of an export (engine/command); what the target has of the user keys  |
//	|   |                | whose items lie between them is deleted first, which is nothing if they are equal                     |
//	| L | logical digest | as G, of items (engine/data)                                                                          |
//
//	| T | tables         | low key, high key, digest of all records (24), then for each table its length (8, big-endian) and its  |
//	|   |                | XXH3-128 (16): ingest the blocks that were sent, or answer that the span differs                      |
//
// All keys lie in the slot's data span; those of C and L are keys of items. G, C, L and T stand alone in their bodies.
const (
	opPut     = 'P'
	opDelete  = 'D'
	opReplace = 'R'
	opDigest  = 'G'

	opCommands = 'C'
	opContent  = 'L'
	opTables   = 'T'
)

func appendOp(dst []byte, kind byte, content ...[]byte) []byte {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for _, c := range content {
		dst = append(dst, c...)
	}
	return dst
}

// endOp completes a body of one operation, to which content was appended after appendOp had begun it without any.
func endOp(body []byte) []byte {
	binary.BigEndian.PutUint32(body[1:], uint32(len(body)-opHead))
	return body
}

// opHead is the length of what comes before the content of an operation.
const opHead = 5

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func spanBytes(s key.Span) []byte { return appendBytes(appendBytes(nil, s.Lo), s.Hi) }

func cutBytes(b []byte) (head, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, fmt.Errorf("%w: cut off, %d bytes before the end of an operation", migration.ErrMessage, len(b))
	}
	return b[w : w+int(n)], b[w+int(n):], nil
}

// op is a decoded operation. Its slices alias the body.
type op struct {
	kind    byte
	span    key.Span // R, G, C, L and T
	records []byte   // P and R
	keys    []byte   // D
	exports []byte   // C
	digest  store.Digest
	tables  []store.TableSum // T
	table   *store.Arrival   // P: has the records instead; nil unless Driver.arrive has made it
	pieces  []tile           // P: of cutTiles, with the table
}

// alone reports whether an operation is the only one of its body.
func (o *op) alone() bool {
	return o.kind == opDigest || o.kind == opCommands || o.kind == opContent || o.kind == opTables
}

// compares reports whether an operation asks for a comparison.
func (o *op) compares() bool { return o.kind == opDigest || o.kind == opContent }

// decodeBody checks a whole body, keys included, before any of it is used.
func decodeBody(body []byte, sl slot.Slot) ([]op, error) {
	whole := key.DataSpan(sl)
	var out []op
	for len(body) > 0 {
		if len(body) < 5 || uint64(binary.BigEndian.Uint32(body[1:])) > uint64(len(body)-5) {
			return nil, fmt.Errorf("%w: an operation is cut off", migration.ErrMessage)
		}
		n := int(binary.BigEndian.Uint32(body[1:]))
		o := op{kind: body[0]}
		if err := o.decode(body[5:5+n], whole, sl); err != nil {
			return nil, err
		}
		out = append(out, o)
		body = body[5+n:]
		if len(out)+min(len(body), 1) > 1 && out[0].alone() || len(out) > 1 && o.alone() {
			return nil, fmt.Errorf("%w: %q does not stand alone", migration.ErrMessage, out[0].kind)
		}
	}
	return out, nil
}

func (o *op) decode(b []byte, whole key.Span, sl slot.Slot) error {
	var err error
	switch o.kind {
	case opPut:
		o.records = b
		return checkRecords(b, whole)
	case opDelete:
		o.keys = b
		for len(b) > 0 {
			var k []byte
			if k, b, err = cutBytes(b); err != nil {
				return err
			}
			if !whole.Contains(k) {
				return fmt.Errorf("%w: key %x lies outside the slot", migration.ErrMessage, k)
			}
		}
		return nil
	case opReplace, opDigest, opCommands, opContent, opTables:
		if o.span.Lo, b, err = cutBytes(b); err != nil {
			return err
		}
		if o.span.Hi, b, err = cutBytes(b); err != nil {
			return err
		}
		if none := o.kind == opCommands && bytes.Equal(o.span.Lo, o.span.Hi); !whole.Covers(o.span) || o.span.Empty() && !none {
			return fmt.Errorf("%w: the span %x to %x is empty or reaches outside the slot", migration.ErrMessage, o.span.Lo, o.span.Hi)
		}
		switch o.kind {
		case opReplace:
			o.records = b
			return checkRecords(b, o.span)
		case opCommands:
			o.exports = b
			if err := command.CheckExport(sl, b); err != nil {
				return fmt.Errorf("%w: %w", migration.ErrMessage, err)
			}
			return nil
		}
		if o.kind == opTables && len(b) > store.DigestSize {
			if o.tables, err = decodeTables(b[store.DigestSize:]); err != nil {
				return err
			}
			b = b[:store.DigestSize]
		}
		o.digest, err = store.ParseDigest(b)
		return err
	default:
		return fmt.Errorf("%w: unknown operation %q", migration.ErrMessage, o.kind)
	}
}

func checkRecords(b []byte, within key.Span) error {
	for len(b) > 0 {
		k, _, rest, err := store.NextRecord(b)
		if err != nil {
			return err
		}
		if !within.Contains(k) {
			return fmt.Errorf("%w: key %x lies outside its span", migration.ErrMessage, k)
		}
		b = rest
	}
	return nil
}

// apply writes an operation into a batch, or ingests the table that was made of it; a digest writes nothing, and commands are not for it
// (Owned.Import).
func (o *op) apply(b *store.Batch) error {
	if o.table != nil {
		return o.table.Ingest()
	}
	if o.kind == opReplace {
		b.DeleteRange(o.span)
	}
	for rest := o.records; len(rest) > 0; {
		k, v, next, err := store.NextRecord(rest)
		if err != nil {
			panic(err) // checked by decodeBody
		}
		b.Set(k, v)
		rest = next
	}
	for rest := o.keys; len(rest) > 0; {
		k, next, err := cutBytes(rest)
		if err != nil {
			panic(err) // checked by decodeBody
		}
		b.Delete(k)
		rest = next
	}
	return nil
}

// spanDigest compares the digest of a span, giving up with differ when it has more records than expected: the answer is no
// then, and a chunk stays bounded work.
func spanDigest(r store.Reader, sl slot.Slot, o *op) (differ bool, err error) {
	lim := store.ChunkLimits{Bytes: 1 << 62, Records: int(min(o.digest.Records, 1<<31)) + 1}
	var c store.Chunk
	if o.kind == opContent {
		c, err = data.ReadContent(r, sl, o.span, lim, store.WithDigest)
	} else {
		c, err = store.ReadChunk(r, o.span, lim, store.WithDigest)
	}
	if err != nil {
		return false, err
	}
	return !c.Last || c.Digest != o.digest, nil
}
