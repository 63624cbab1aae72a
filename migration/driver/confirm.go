package driver

import (
	"fmt"
	"slices"
	"time"

	"godwit/engine/data"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/store"
	"godwit/migration"
)

// confirm compares the source's copy, which no longer changes, with the target's takeover snapshot: chunk by chunk, halving
// those that differ until the keys are known. It steps on the slot's worker, and reads on while some chunks are on their way. Tiles, whose ends are
// known before they are read, are read beside it, two at once: the target mostly answers without reading, so that one reader would leave the others of
// the machine's processors idle.
type confirm struct {
	s       *sourceSlot
	walks   []walk     // still to be read, the first next
	differ  []key.Span // small spans that differ
	reading int        // tiles that are being read
	asked   int        // chunks that have been sent and not been answered
	turn    bool       // a turn to read was asked for
	resting bool       // a read has failed: none begins before the pause is over
	over    bool
	failed  time.Duration
	tries   int
}

// reportSpans bounds how many differing spans are named.
const reportSpans = 16

// confirmAhead is how many chunks are on their way at once: while the target reads one, the source reads another.
const confirmAhead = 4

// confirmReaders is how many tiles are read at once.
const confirmReaders = 2

// newConfirm cuts the slot where the walk before the cutover has cut it: of what has not changed since then the target knows the digest.
func newConfirm(s *sourceSlot) *confirm {
	c := &confirm{s: s}
	s.stream.tiles.cut(key.DataSpan(s.slot), func(span key.Span, t *tile) {
		w := walk{span: span, how: walkCompare, limits: s.stream.digestLimits()}
		if t != nil {
			w.limits, w.tile = s.stream.tileLimits(), t.bytes
		}
		c.walks = append(c.walks, w)
	})
	slices.Reverse(c.walks) // what was read last is what the caches still have, of a slot that is larger than they are
	return c
}

// next compares the next chunk when its turn comes, or ends.
func (c *confirm) next() {
	switch {
	case c.over || c.turn || c.resting:
	case len(c.walks) > 0 && c.reading < confirmReaders && c.reading+c.asked < confirmAhead:
		c.turn = true
		c.s.readPaced()
	case len(c.walks) == 0 && c.reading+c.asked == 0:
		outcome := migration.ConfirmEqual
		if len(c.differ) > 0 {
			outcome = migration.ConfirmDiffer
			for _, span := range c.differ {
				c.s.d.env.Log.Error("the copies differ after takeover", "slot", c.s.slot, "from", fmt.Sprintf("%q", span.Lo), "to", fmt.Sprintf("%q", span.Hi))
			}
		}
		c.end(outcome)
	}
}

// later takes a step on the slot's worker.
func (c *confirm) later(step func()) { c.s.enqueue(queued{step: step}) }

// piece reads and sends the next chunk, or begins to read the next tile, and returns how many bytes it has.
func (c *confirm) piece() int {
	c.turn = false
	if c.over || len(c.walks) == 0 { // enough was known before the turn came: this may have been what the end waited for
		c.next()
		return 0
	}
	w := c.walks[0]
	c.walks = c.walks[1:]
	if w.tile > 0 {
		c.reading++
		c.s.d.env.Workers.Submit(func() {
			chunk, kind, err := c.read(w)
			c.later(func() {
				c.reading--
				c.wasRead(w, chunk, kind, err)
			})
		})
		c.later(c.next)
		return w.tile
	}
	chunk, kind, err := c.read(w)
	c.wasRead(w, chunk, kind, err)
	return chunk.Bytes
}

// wasRead sends what was read of a walk, the rest of which is read later.
func (c *confirm) wasRead(w walk, chunk store.Chunk, kind byte, err error) {
	if c.over {
		return
	}
	if !c.s.frozen() { // asked after the read: what was read of a copy that is replaced says nothing
		c.end(migration.ConfirmGone)
		return
	}
	if err != nil {
		c.s.d.env.Log.Error("reading a copy that the target has taken over failed", "slot", c.s.slot, "error", err)
		c.walks = slices.Insert(c.walks, 0, w)
		if !c.resting { // one pause for both readers
			c.resting = true
			c.again(func() {
				c.resting = false
				c.next()
			})
		}
		return
	}
	if !chunk.Last {
		w.span.Lo, w.tile = chunk.Covers.Hi, 0
		c.walks = slices.Insert(c.walks, 0, w)
	}
	c.asked++
	c.ask(appendOp(nil, kind, spanBytes(chunk.Covers), chunk.Digest.Append(nil)), chunk)
	c.later(c.next)
}

// read digests the next chunk of a walk: of records, or of items if the payload was commands. Nobody writes to the copy.
func (c *confirm) read(w walk) (store.Chunk, byte, error) {
	st := c.s.d.node.Store()
	if c.s.stream.content {
		chunk, err := data.ReadContent(st, c.s.slot, w.span, w.limits, store.WithDigest)
		return chunk, opContent, err
	}
	chunk, err := store.ReadChunk(st, w.span, w.limits, store.WithDigest)
	return chunk, opDigest, err
}

// compared goes on after the target's answer about a chunk.
func (c *confirm) compared(chunk store.Chunk, r migration.Reply) {
	c.asked--
	c.tries = 0
	if r.Gone {
		c.end(migration.ConfirmGone)
		return
	}
	if r.Differ {
		switch n := int(chunk.Digest.Records); {
		case n > 1:
			c.walks = append([]walk{{span: chunk.Covers, how: walkCompare, limits: store.ChunkLimits{Bytes: 1 << 62, Records: n/2 + n%2}}}, c.walks...)
		case len(c.differ) < reportSpans:
			c.differ = append(c.differ, chunk.Covers)
		default:
			c.walks = nil // enough is known
		}
	}
	c.next()
}

// ask sends a confirm message until it is answered or given up.
func (c *confirm) ask(body []byte, chunk store.Chunk) {
	s := c.s
	m := migration.Message{Kind: migration.MsgConfirm, Slot: s.slot, Job: s.id, Attempt: s.machine.Attempt(), Body: body}
	s.d.call(s.job.header.Target, env.Bulk, &m, func(r migration.Reply, err error) {
		c.later(func() {
			switch {
			case c.over:
			case err == nil && r.Kind == migration.ReplyConfirm:
				c.compared(chunk, r)
			default:
				c.again(func() { c.ask(body, chunk) })
			}
		})
	})
}

// again repeats what has failed after a while. Once nothing has succeeded for too long it gives the comparison up: that it could not
// be made says nothing of the copies.
func (c *confirm) again(do func()) {
	d := c.s.d
	now := d.env.Clock.Mono()
	if c.tries++; c.tries == 1 {
		c.failed = now
	}
	if now-c.failed >= d.cfg.Source.GiveUpAfter {
		c.end(migration.ConfirmGone)
		return
	}
	d.env.Clock.AfterFunc(d.cfg.Source.RetryMax, func() {
		c.later(func() {
			if !c.over {
				do()
			}
		})
	})
}

// end reports the outcome; the target may drop its snapshot.
func (c *confirm) end(o migration.ConfirmOutcome) {
	c.over = true
	c.s.stream.tiles = tiles{}
	if o != migration.ConfirmGone {
		m := migration.Message{Kind: migration.MsgConfirm, Slot: c.s.slot, Job: c.s.id, Attempt: c.s.machine.Attempt()}
		c.s.d.call(c.s.job.header.Target, env.Bulk, &m, func(migration.Reply, error) {})
	}
	c.s.post(migration.EvConfirmed{Outcome: o})
}

func sortedSeqs(m map[uint64]covered) []uint64 {
	out := make([]uint64, 0, len(m))
	for n := range m { //det:ok sorted below
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
