package engine

// replyBytes is how many bytes of replies a session gathers before it hands them out, and how many may wait for the disk before its
// connection runs no further command: with the largest reply on top, what one connection holds in memory.
const replyBytes = 1 << 20

// replyKeeps is how many bytes of memory for replies a session keeps when it has none.
const replyKeeps = 256 << 10

// Output reports how many bytes of replies wait for the disk.
func (s *Session) Output() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heldBytes()
}

// heldBytes is how many bytes of replies wait for the disk. s.mu is held.
func (s *Session) heldBytes() int {
	n := 0
	for _, h := range s.held {
		n += len(h.bytes)
	}
	return n
}

// Overflow closes a session whose client does not take its replies: it runs nothing more, and its connection is hung up. It may be called
// from Deliver.
func (s *Session) Overflow(waiting int) {
	if s.doomed.Swap(true) {
		return
	}
	s.n.opts.Log.Warn("a connection was closed because too many bytes of replies waited for it", "remote", s.opts.Remote, "bytes", waiting,
		"limit", s.n.opts.Limits.OutputBytes)
	s.n.opts.Workers.Submit(s.kill)
}
