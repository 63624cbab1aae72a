package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"godwit/engine/command"
)

// monitors is the sessions that said MONITOR.
type monitors struct {
	count atomic.Int32 // with none a command pays one atomic load

	mu   sync.Mutex // taken after sessions' locks
	open []*monitor // in the order of their coming
}

// monitor is what waits to be shown to one session. monitors.mu guards it.
type monitor struct {
	session   *Session
	text      []byte
	scheduled bool // a worker will take text
	over      bool // it has more to read than it may
}

// startMonitor answers MONITOR.
func (s *Session) startMonitor() {
	s.out.OK()
	if s.monitor != nil {
		return
	}
	s.monitor = &monitor{session: s}
	ms := &s.n.monitors
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.open = append(ms.open, s.monitor)
	ms.count.Add(1)
}

// endMonitor ends what MONITOR began. s.mu is held.
func (s *Session) endMonitor() {
	if s.monitor == nil {
		return
	}
	m, ms := s.monitor, &s.n.monitors
	s.monitor = nil
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.open = slices.DeleteFunc(ms.open, func(o *monitor) bool { return o == m })
	ms.count.Add(-1)
}

// tell shows a command to all who watch. Operators' commands and what may hold secrets are not shown, as in Redis. The line is
// handed to the others by a worker: their locks cannot be taken under this session's.
func (ms *monitors) tell(s *Session, spec *command.Spec, args [][]byte) {
	if spec.Flags&command.Admin != 0 || isSecret(spec, 1) {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if len(ms.open) == 0 {
		return
	}
	line := monitorLine(s, args)
	for _, m := range ms.open {
		if m.over {
			continue
		}
		m.text = append(append(append(m.text, '+'), line...), "\r\n"...)
		if len(m.text) > s.n.opts.Limits.MonitorBytes {
			m.over, m.text = true, nil
		}
		if !m.scheduled {
			m.scheduled = true
			s.n.opts.Workers.Submit(m.show)
		}
	}
}

// monitorLine is the line that shows a command.
func monitorLine(s *Session, args [][]byte) string {
	ms := s.n.opts.Clock.WallMs()
	var b strings.Builder
	fmt.Fprintf(&b, "%d.%06d [0 %s]", ms/1000, ms%1000*1000, s.opts.Remote)
	for _, a := range args {
		b.WriteByte(' ')
		writeQuoted(&b, a)
	}
	return b.String()
}

// writeQuoted writes a string as Redis' sdscatrepr does.
func writeQuoted(b *strings.Builder, text []byte) {
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= 7 && c <= 13 && c != 11 && c != 12:
			b.WriteByte('\\')
			b.WriteByte("abtn..r"[c-7])
		case c < ' ' || c > '~':
			fmt.Fprintf(b, "\\x%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// show delivers what waits for a monitoring session, and closes one that does not keep up. It takes up to the limit at a time,
// and what the connection has not written yet counts for its own limit.
func (m *monitor) show() {
	s := m.session
	s.mu.Lock()
	ms := &s.n.monitors
	ms.mu.Lock()
	text, over := m.text, m.over
	m.text, m.scheduled = nil, false
	ms.mu.Unlock()
	if !over && s.monitor == m && !s.closed {
		s.out.Raw(text)
		s.flush()
	}
	s.mu.Unlock()
	if over {
		s.kill()
	}
}
