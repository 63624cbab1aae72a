package linearize

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// ErrFormat is wrapped by errors that say that a file is no history of a version that this package reads.
var ErrFormat = errors.New("linearize: bad history file")

const (
	formatName = "godwit-history"
	// formatVersion is what Write writes. Read reads the versions before it, too: version 1 had neither transactions nor
	// replies that are arrays.
	formatVersion = 2
	// maxLineBytes bounds a line of a history file, and with it keys and values: 10 MiB if every byte is escaped.
	maxLineBytes = 64 << 20
	// maxEvents bounds the events of a file.
	maxEvents = 1 << 20
)

// header is the first line of a file.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	UnixMs  int64  `json:"unix_ms"`
}

// line is any other: exactly one of its fields.
type line struct {
	Op    *fileOperation `json:"op,omitempty"`
	Event *Event         `json:"event,omitempty"`
}

// fileOperation is an Operation in a file. Return and Reply are absent when open.
type fileOperation struct {
	Client   int        `json:"client"`
	Slot     uint16     `json:"slot,omitempty"`
	Key      text       `json:"key"`
	Cmd      string     `json:"cmd"`
	Args     []text     `json:"args,omitempty"`
	Commands [][]text   `json:"commands,omitempty"`
	Call     int64      `json:"call"`
	Return   *int64     `json:"return,omitempty"`
	Outcome  string     `json:"outcome"`
	Reply    *fileReply `json:"reply,omitempty"`
}

// fileReply has exactly one field.
type fileReply struct {
	Nil    bool         `json:"nil,omitempty"`
	Status *text        `json:"status,omitempty"`
	Int    *int64       `json:"int,omitempty"`
	Bulk   *text        `json:"bulk,omitempty"`
	Error  *text        `json:"error,omitempty"`
	Array  *[]fileReply `json:"array,omitempty"`
}

// text is a byte string in a file: a JSON string if it is valid UTF-8, else {"b64": "…"}.
type text string

type base64Text struct {
	B64 []byte `json:"b64"`
}

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(base64Text{B64: []byte(t)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var b base64Text
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&b); err != nil {
			return err
		}
		*t = text(b.B64)
		return nil
	}
	if string(data) == "null" {
		return errors.New("null instead of a string")
	}
	return json.Unmarshal(data, (*string)(t))
}

// Write writes h in its file format, in canonical order whatever order h is in. The same content gives the same
// bytes. The error wraps ErrHistory if h is invalid (nothing was written then), or is w's.
func Write(w io.Writer, h *History) error {
	if err := h.Validate(); err != nil {
		return err
	}
	sorted := History{UnixMs: h.UnixMs, Operations: append([]Operation(nil), h.Operations...),
		Events: append([]Event(nil), h.Events...)}
	sorted.Sort()
	buffered := bufio.NewWriter(w)
	e := json.NewEncoder(buffered)
	e.SetEscapeHTML(false)
	if err := e.Encode(header{Format: formatName, Version: formatVersion, UnixMs: h.UnixMs}); err != nil {
		return fmt.Errorf("linearize: write history: %w", err)
	}
	for _, op := range sorted.Operations {
		if err := e.Encode(line{Op: toFile(op)}); err != nil {
			return fmt.Errorf("linearize: write history: %w", err)
		}
	}
	for i := range sorted.Events {
		if err := e.Encode(line{Event: &sorted.Events[i]}); err != nil {
			return fmt.Errorf("linearize: write history: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("linearize: write history: %w", err)
	}
	return nil
}

// Read reads a file that Write wrote, and leaves the history in canonical order. The error names the line and wraps
// ErrFormat, with ErrHistory where an operation is understood but makes no sense; or it is r's. A file that ends early
// cannot be told from a shorter one unless it ends within a line.
func Read(r io.Reader) (*History, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLineBytes)
	number := 0
	// next decodes the next line into v; false at the end of the file.
	next := func(v any) (bool, error) {
		if !s.Scan() {
			if err := s.Err(); err != nil {
				return false, fmt.Errorf("line %d: %w: %w", number+1, ErrFormat, err)
			}
			return false, nil
		}
		number++
		if err := decodeLine(s.Bytes(), v); err != nil {
			return false, fmt.Errorf("line %d: %w: %w", number, ErrFormat, err)
		}
		return true, nil
	}
	var head header
	found, err := next(&head)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("%w: empty, must begin with a header", ErrFormat)
	case head.Format != formatName:
		return nil, fmt.Errorf("line 1: %w: format %s, must be %q", ErrFormat, quote(head.Format), formatName)
	case head.Version < 1 || head.Version > formatVersion:
		return nil, fmt.Errorf("line 1: %w: version %d, this program reads versions 1 to %d", ErrFormat, head.Version,
			formatVersion)
	}
	h := &History{UnixMs: head.UnixMs}
	for {
		var l line
		found, err := next(&l)
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
		switch {
		case (l.Op == nil) == (l.Event == nil):
			return nil, fmt.Errorf("line %d: %w: must have either op or event", number, ErrFormat)
		case l.Event != nil:
			if len(h.Events) == maxEvents {
				return nil, fmt.Errorf("line %d: %w: more than %d events", number, ErrFormat, maxEvents)
			}
			h.Events = append(h.Events, *l.Event)
		default:
			if len(h.Operations) == MaxOperations {
				return nil, fmt.Errorf("line %d: %w: more than %d operations", number, ErrFormat, MaxOperations)
			}
			op, err := l.Op.operation()
			if err == nil {
				err = op.validate()
			}
			if err == nil && head.Version == 1 && (l.Op.Commands != nil || op.Reply.Kind == ArrayReply) {
				err = errors.New("transactions and arrays are of version 2")
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: %w: %w", number, ErrFormat, err)
			}
			h.Operations = append(h.Operations, op)
		}
	}
	h.Sort()
	if err := h.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return h, nil
}

// decodeLine decodes one JSON value strictly: known fields only, nothing behind it, UTF-8.
func decodeLine(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value on the line")
	}
	return nil
}

func toFile(op Operation) *fileOperation {
	f := &fileOperation{Client: op.Client, Slot: op.Slot, Key: text(op.Key), Cmd: op.Cmd, Call: op.Call,
		Outcome: op.Outcome.String()}
	for _, a := range op.Args {
		f.Args = append(f.Args, text(a))
	}
	for _, c := range op.Commands {
		words := make([]text, 0, len(c))
		for _, w := range c {
			words = append(words, text(w))
		}
		f.Commands = append(f.Commands, words)
	}
	if op.Return != Open {
		f.Return = &op.Return
	}
	f.Reply = toFileReply(op.Reply)
	return f
}

// toFileReply returns nil for no reply.
func toFileReply(r Reply) *fileReply {
	t := text(r.Text)
	switch r.Kind {
	case NilReply:
		return &fileReply{Nil: true}
	case StatusReply:
		return &fileReply{Status: &t}
	case IntReply:
		return &fileReply{Int: &r.Int}
	case BulkReply:
		return &fileReply{Bulk: &t}
	case ErrorReply:
		return &fileReply{Error: &t}
	case ArrayReply:
		items := []fileReply{}
		for _, item := range r.Items() {
			items = append(items, *toFileReply(item))
		}
		return &fileReply{Array: &items}
	default:
		return nil
	}
}

// operation is the inverse of toFile.
func (f *fileOperation) operation() (Operation, error) {
	op := Operation{Client: f.Client, Slot: f.Slot, Key: string(f.Key), Cmd: f.Cmd, Call: f.Call, Return: Open}
	for _, a := range f.Args {
		op.Args = append(op.Args, string(a))
	}
	for _, c := range f.Commands {
		var words []string
		for _, w := range c {
			words = append(words, string(w))
		}
		op.Commands = append(op.Commands, words)
	}
	switch f.Outcome {
	case "unknown":
	case "ok":
		op.Outcome = Ok
	case "fail":
		op.Outcome = Fail
	default:
		return op, fmt.Errorf("outcome %s, must be ok, fail or unknown", quote(f.Outcome))
	}
	if f.Return != nil {
		op.Return = *f.Return
	}
	if f.Reply == nil {
		return op, nil
	}
	var err error
	op.Reply, err = f.Reply.reply(1)
	return op, err
}

// reply is the inverse of toFileReply. Arrays may nest up to MaxDepth.
func (f *fileReply) reply(depth int) (r Reply, err error) {
	given := 0
	take := func(present bool, of func() Reply) {
		if present {
			given++
			r = of()
		}
	}
	take(f.Nil, Nil)
	take(f.Status != nil, func() Reply { return Status(string(*f.Status)) })
	take(f.Int != nil, func() Reply { return Int(*f.Int) })
	take(f.Bulk != nil, func() Reply { return Bulk(string(*f.Bulk)) })
	take(f.Error != nil, func() Reply { return Error(string(*f.Error)) })
	take(f.Array != nil, func() Reply {
		if depth > MaxDepth {
			err = fmt.Errorf("arrays nested deeper than %d", MaxDepth)
			return Reply{}
		}
		var items []Reply
		for i := range *f.Array {
			item, failed := (*f.Array)[i].reply(depth + 1)
			err = cmp.Or(err, failed)
			items = append(items, item)
		}
		return Array(items...)
	})
	if err == nil && given != 1 {
		err = fmt.Errorf("a reply must have exactly one of nil, status, int, bulk, error, array; it has %d", given)
	}
	return r, err
}
