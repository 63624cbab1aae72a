package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logWatch is the log of one life of a node. It checks that nothing is logged as an error: no fault that is injected
// justifies one. By what the error says the property is "digests" (copies that differ after takeover), "rounds" (the walk
// that verifies the copies before the cutover found a difference, so some round missed a change), "alarms", or else "errors".
type logWatch struct {
	o     *observer
	attrs []slog.Attr
}

var _ slog.Handler = (*logWatch)(nil)

// errorProperties names the property by how the text begins.
func errorProperty(text string) string {
	switch {
	case strings.HasPrefix(text, "the copies differ after takeover"):
		return "digests"
	case strings.HasPrefix(text, "the copies differ before the cutover"):
		return "rounds"
	case strings.HasPrefix(text, "ALARM"):
		return "alarms"
	default:
		return "errors"
	}
}

// Enabled implements slog.Handler.
func (l *logWatch) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError || level >= slog.LevelInfo && l.o.p.w.trace.readable()
}

// Handle implements slog.Handler.
func (l *logWatch) Handle(_ context.Context, r slog.Record) error {
	if l.o.blind() {
		return nil
	}
	text := r.Message
	add := func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	p := l.o.p
	if p.w.trace.readable() {
		// The text stands in readable traces only: it must not make their hashes differ from those of others.
		p.w.trace.say(p.w.now, p.index, traceLog, text)
	}
	if r.Level < slog.LevelError {
		return nil
	}
	if property := errorProperty(r.Message); property != "errors" || !p.excused(text) {
		p.w.violate(property, "node %d logs: %s", p.index, text)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (l *logWatch) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logWatch{o: l.o, attrs: append(append([]slog.Attr(nil), l.attrs...), attrs...)}
}

// WithGroup implements slog.Handler. The nodes use no groups.
func (l *logWatch) WithGroup(string) slog.Handler { return l }
