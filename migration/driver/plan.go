package driver

import (
	"fmt"
	"strings"
	"time"

	"godwit/engine"
	"godwit/engine/cluster"
	"godwit/engine/env"
	"godwit/engine/key"
	"godwit/engine/slot"
	"godwit/engine/store"
	"godwit/migration"
)

// Limits of what a plan looks at.
const (
	// planSample is how many bytes of a slot are read for an estimate: a slot that has no more is counted. Of all slots of a node it is 1 GiB.
	planSample = 64 << 10
	// planRecords is how many records a step reads at most.
	planRecords = 16384
	// planSlots is up to how many slots a plan lists one by one.
	planSlots = 256
	// assumedRate is what a node is taken to send in a second while it has not sent anything.
	assumedRate = 50e6
)

// planning is a plan that is being made. Its steps follow one another.
type planning struct {
	d      *Driver
	opts   engine.PlanOptions
	report engine.PlanReport
	slots  []slot.Slot
	next   int
	span   key.Span // of the slot that is being counted
	slot   engine.PlannedSlot
	done   func(engine.PlanReport)
}

// Plan implements engine.Migrator.
func (d *Driver) Plan(ranges []slot.Range, to cluster.NodeID, opts engine.PlanOptions, done func(engine.PlanReport)) error {
	if _, err := parseThrottle(opts.Throttle); err != nil {
		return err
	}
	set := slot.SetOf(ranges...)
	p := &planning{d: d, opts: opts, slots: set.Slots(), done: done}
	p.report = engine.PlanReport{Slots: set.Len(), Ranges: set.String(), Target: to, Exact: opts.Exact, Version: d.env.Version, TargetFreeBytes: -1}
	if _, err := d.checkStart(set, to); err != nil {
		p.report.Problems = append(p.report.Problems, err.Error())
	} else if d.moving(p.slots) {
		p.report.Problems = append(p.report.Problems, errMoving.Error())
	}
	p.step(p.ask)
	return nil
}

func (p *planning) step(fn func()) {
	p.d.env.Workers.Submit(func() {
		if !p.d.isClosed() {
			fn()
		}
	})
}

// ask asks the target what room it has. The link's handshake tells whether it is the node that is meant, and lets this one in.
func (p *planning) ask() {
	d := p.d
	peer, ok := d.node.Peer(p.report.Target)
	if !ok || p.report.Target == d.node.ID() {
		p.step(p.look)
		return
	}
	d.env.Peers.Call(peer, env.Control, [][]byte{[]byte("PEER"), []byte("CAPACITY")}, d.cfg.CallTimeout, func(raw []byte, err error) {
		r := &p.report
		switch free, version, parsed := engine.ParseCapacity(raw); {
		case err != nil:
			r.Problems = append(r.Problems, fmt.Sprintf("the target at %s cannot be asked: %s", peer.Addr, strings.TrimPrefix(err.Error(), "peer ")))
		case parsed != nil:
			r.Problems = append(r.Problems, fmt.Sprintf("the target at %s answers what this node does not understand: %v", peer.Addr, parsed))
		default:
			r.Reachable, r.TargetFreeBytes, r.TargetVersion = true, free, version
		}
		p.step(p.look)
	})
}

// look counts or estimates the next piece.
func (p *planning) look() {
	if p.next == len(p.slots) {
		p.finish()
		return
	}
	sl := p.slots[p.next]
	if p.span.Empty() {
		p.span, p.slot = key.DataSpan(sl), engine.PlannedSlot{Slot: sl}
	}
	st := p.d.node.Store()
	limits := store.ChunkLimits{Bytes: planSample, Records: planRecords}
	if p.opts.Exact {
		limits.Bytes = p.d.cfg.DigestBytes
	}
	c, err := store.ReadChunk(st, p.span, limits, store.WithDigest)
	if err != nil {
		p.report.Problems = append(p.report.Problems, fmt.Sprintf("slot %d cannot be read: %v", sl, err))
		p.slotDone()
		return
	}
	p.slot.Bytes += uint64(c.Bytes)
	p.slot.Records += c.Digest.Records
	if c.Last {
		p.slotDone()
		return
	}
	if p.opts.Exact {
		p.span.Lo = c.Covers.Hi
		p.step(p.look)
		return
	}
	if disk, err := st.DiskBytes(key.DataSpan(sl)); err == nil && disk > p.slot.Bytes {
		p.slot.Records = uint64(float64(p.slot.Records) * float64(disk) / float64(p.slot.Bytes))
		p.slot.Bytes = disk
	}
	p.report.Estimated++
	p.slotDone()
}

func (p *planning) slotDone() {
	r := &p.report
	r.Bytes += p.slot.Bytes
	r.Records += p.slot.Records
	r.LargestBytes = max(r.LargestBytes, p.slot.Bytes)
	if len(p.slots) <= planSlots {
		r.PerSlot = append(r.PerSlot, p.slot)
	}
	p.next++
	p.span = key.Span{}
	p.step(p.look)
}

// finish says what follows from the sizes.
func (p *planning) finish() {
	d, r := p.d, &p.report
	limit, _ := parseThrottle(p.opts.Throttle) // checked at the beginning
	rate, words := d.planRate(limit)
	r.RateBytes, r.RateFrom = int64(rate), words
	// Everything is sent, and then compared; a comparison that no throttle counts takes about a quarter of the time.
	times := 1.25
	if words != rateMeasured && words != rateAssumed {
		times = 2
	}
	perSlot := 20 * time.Millisecond // starts, pauses and their syncs
	r.PauseMs, r.PausesMeasured = d.expectedPause()
	d.mu.Lock()
	r.EstimatedMs = int64(1000*times*float64(r.Bytes)/rate) + (time.Duration(r.Slots) * perSlot / time.Duration(d.cfg.SlotsAtOnce)).Milliseconds()
	for _, j := range d.jobs {
		if j.header.EndedMs == 0 {
			r.JobsBefore++
		}
	}
	d.mu.Unlock()
	switch need := int64(r.Bytes) + int64(r.Bytes)/4; { // and some for tables that are being merged
	case r.Reachable && r.TargetFreeBytes < 0:
		r.Warnings = append(r.Warnings, "the target does not know how much room its disk has")
	case r.Reachable && r.TargetFreeBytes < need:
		r.Problems = append(r.Problems, fmt.Sprintf("the target has %d bytes free on its disk, and %d may be needed", r.TargetFreeBytes, need))
	default:
		r.Fits = r.Reachable
	}
	if r.Reachable && r.TargetVersion != r.Version {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the target runs version %s, this node %s", r.TargetVersion, r.Version))
	}
	r.Possible = len(r.Problems) == 0
	p.done(*r)
}

// Where the rate of a plan comes from, if no throttle sets it.
const (
	rateMeasured = "measured"
	rateAssumed  = "assumed: this node has moved too little since it was started"
)

// planRate is at which rate a job under a limit would go, in bytes per second, and where that number comes from.
func (d *Driver) planRate(limit migration.Limit) (rate float64, from string) {
	d.mu.Lock()
	rate, from = d.measured, rateMeasured
	d.mu.Unlock()
	if rate == 0 {
		rate, from = assumedRate, rateAssumed
	}
	node, _ := d.pacer.limitOf(&d.pacer.node)
	now := d.env.Clock.WallMs()
	for _, l := range []migration.Limit{limit, node} {
		if r, words := l.At(now); r > 0 && float64(r) < rate {
			rate, from = float64(r), "throttle: "+words
		}
	}
	return rate, from
}
