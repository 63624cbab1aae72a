package linearize

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// ErrFormat is wrapped by errors that say that a file is no history of a version that this package reads.
var ErrFormat = errors.New("linearize: bad history file")

const (
	formatName    = "godwit-history"
	formatVersion = 1
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
	Client  int        `json:"client"`
	Slot    uint16     `json:"slot,omitempty"`
	Key     text       `json:"key"`
	Cmd     string     `json:"cmd"`
	Args    []text     `json:"args,omitempty"`
	Call    int64      `json:"call"`
	Return  *int64     `json:"return,omitempty"`
	Outcome string     `json:"outcome"`
	Reply   *fileReply `json:"reply,omitempty"`
}

// fileReply has exactly one field.
type fileReply struct {
	Nil    bool   `json:"nil,omitempty"`
	Status *text  `json:"status,omitempty"`
	Int    *int64 `json:"int,omitempty"`
	Bulk   *text  `json:"bulk,omitempty"`
	Error  *text  `json:"error,omitempty"`
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
	case head.Version != formatVersion:
		return nil, fmt.Errorf("line 1: %w: version %d, this program reads version %d", ErrFormat, head.Version,
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
	if op.Return != Open {
		f.Return = &op.Return
	}
	t := text(op.Reply.Text)
	switch op.Reply.Kind {
	case NoReply:
	case NilReply:
		f.Reply = &fileReply{Nil: true}
	case StatusReply:
		f.Reply = &fileReply{Status: &t}
	case IntReply:
		f.Reply = &fileReply{Int: &op.Reply.Int}
	case BulkReply:
		f.Reply = &fileReply{Bulk: &t}
	case ErrorReply:
		f.Reply = &fileReply{Error: &t}
	}
	return f
}

// operation is the inverse of toFile.
func (f *fileOperation) operation() (Operation, error) {
	op := Operation{Client: f.Client, Slot: f.Slot, Key: string(f.Key), Cmd: f.Cmd, Call: f.Call, Return: Open}
	for _, a := range f.Args {
		op.Args = append(op.Args, string(a))
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
	given := 0
	take := func(present bool, r Reply) {
		if present {
			given++
			op.Reply = r
		}
	}
	str := func(t *text) string {
		if t == nil {
			return ""
		}
		return string(*t)
	}
	take(f.Reply.Nil, Nil())
	take(f.Reply.Status != nil, Status(str(f.Reply.Status)))
	take(f.Reply.Bulk != nil, Bulk(str(f.Reply.Bulk)))
	take(f.Reply.Error != nil, Error(str(f.Reply.Error)))
	if f.Reply.Int != nil {
		take(true, Int(*f.Reply.Int))
	}
	if given != 1 {
		return op, fmt.Errorf("a reply must have exactly one of nil, status, int, bulk, error; it has %d", given)
	}
	return op, nil
}
