package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/engine"
	"godwit/engine/slot"
)

// load is data that is moved: keys of some slots, or the members of one key.
type load struct {
	name    string
	slots   int
	keys    int // in each slot
	members int // of the one key of a slot; 0: the keys are strings
}

var (
	oneSlot   = load{name: "one slot", slots: 1, keys: 1_000_000}
	manySlots = load{name: "1024 slots", slots: 1024, keys: 400}
	oneKey    = load{name: "one key", slots: 1, keys: 1, members: 1_000_000}
)

// way is a load and how it is moved: under so many writes a second into it, by which payload and under which throttle.
type way struct {
	load     load
	rate     int
	payload  engine.Payload
	throttle string
}

// throttleAuto keeps what clients wait within one and a half of what it is without a move.
const throttleAuto = "auto=50%"

// ways are what is measured.
var ways = []way{
	{oneSlot, 0, engine.PayloadRaw, ""}, {oneSlot, 3_000, engine.PayloadRaw, ""}, {oneSlot, 5_000, engine.PayloadRaw, ""}, {oneSlot, 30_000, engine.PayloadRaw, ""},
	{oneSlot, 0, engine.PayloadTables, ""}, {oneSlot, 5_000, engine.PayloadTables, ""},
	{oneSlot, 0, engine.PayloadCommand, ""}, {oneSlot, 5_000, engine.PayloadCommand, ""},
	{oneSlot, 5_000, engine.PayloadRaw, throttleAuto},
	{manySlots, 0, engine.PayloadRaw, ""}, {manySlots, 5_000, engine.PayloadRaw, ""}, {manySlots, 30_000, engine.PayloadRaw, ""},
	{oneKey, 0, engine.PayloadRaw, ""}, {oneKey, 0, engine.PayloadTables, ""}, {oneKey, 0, engine.PayloadCommand, ""},
}

// shrink makes a load smaller that would take too long: all of them if the run is to be quick, and those of what is slow in any case.
func (w *way) shrink(quick bool) {
	if w.load.slots == 1 && (quick || w.payload == engine.PayloadCommand || w.throttle != "") {
		w.load.keys, w.load.members = max(w.load.keys/5, 1), w.load.members/5
	} else if quick {
		w.load.keys /= 5
	}
}

// name is the way for people.
func (w *way) name() string {
	text := fmt.Sprintf("%s, %s, %d writes/s", w.load.name, w.payload, w.rate)
	if w.throttle != "" {
		text += ", " + w.throttle
	}
	return text
}

// moved is what a move came to.
type moved struct {
	load       string
	payload    string
	throttle   string
	rate       int
	records    int     // that were loaded
	megabytes  float64 // of their keys and values
	copySec    float64 // until the first copy was complete; 0 for many slots, which are copied while others are verified
	totalSec   float64 // until the job had ended, verified
	sourceSec  float64 // of processor time that the process of the source took until then, its clients' requests included
	targetSec  float64
	pauses     []float64
	without    latency // of the writers before the move and, until that is as long as the move, after it
	during     latency
	verified   string
	equal      int // slots whose copies were compared after the takeover, and equal
	ownersKeys int // keys at the target in the end
}

// limits are what the machine can do at best: one stream over loopback, and a file that is written and synced.
type limits struct{ loopbackMB, diskMB float64 }

// runMigration measures moves between two nodes on this machine.
func runMigration(ctx context.Context, o *options, dir string) error {
	l, err := measureLimits(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Printf("this machine: one stream over loopback %.0f MB/s, a file written and synced %.0f MB/s\n", l.loopbackMB, l.diskMB)
	var all []moved
	for n, w := range ways {
		if o.tests != nil && !o.tests[w.load.name] || o.payloads != nil && !o.payloads[string(w.payload)] || o.rates != nil && !o.rates[strconv.Itoa(w.rate)] {
			continue
		}
		w.shrink(o.quick)
		for round := range o.rounds {
			m, err := moveOnce(ctx, o, filepath.Join(dir, fmt.Sprintf("%d-%d", n, round)), &w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name(), err)
			}
			fmt.Println("  " + m.line())
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return errors.New("no load was chosen")
	}
	return writeMoves(o, l, medianMoves(all))
}

// Times of a move.
const (
	warmTime   = time.Second     // in which writers find their pace
	settleTime = 2 * time.Second // in which they are measured before the move
	afterTime  = time.Minute     // in which they are measured after it, at most
	jobTime    = 5 * time.Minute
	pollEvery  = 10 * time.Millisecond
)

// moveOnce loads two new nodes, and moves.
func moveOnce(ctx context.Context, o *options, dir string, w *way) (m moved, err error) {
	source, target, err := startPair(ctx, o, dir)
	if err != nil {
		return m, err
	}
	defer func() {
		source.stop()
		target.stop()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	d := &w.load
	tags := tagsOf(d.slots)
	m = moved{load: d.name, payload: string(w.payload), throttle: w.throttle, rate: w.rate}
	if err := d.fill(ctx, o, source.addr(), tags, &m); err != nil {
		return m, fmt.Errorf("load: %w", err)
	}
	writing := startWriters(ctx, o, d, source.addr(), tags, w.rate)
	defer func() { _ = writing.stop() }() // for the ways out before the one that looks at the error
	if w.rate > 0 && !sleep(ctx, warmTime) {
		return m, ctx.Err()
	}
	writing.take()
	if w.rate > 0 && !sleep(ctx, settleTime) {
		return m, ctx.Err()
	}
	without := writing.take()
	if err := w.move(ctx, source, target, &m); err != nil {
		return m, err
	}
	during := writing.take()
	// A 99th percentile, and a longest gap all the more, of many more writes than it is held against would say nothing.
	missing := time.Duration((during.seconds - without.seconds) * float64(time.Second))
	if w.rate > 0 && missing > 0 && !sleep(ctx, min(missing, afterTime)) {
		return m, ctx.Err()
	}
	m.during, m.without = during.latency(), without.and(writing.take()).latency()
	if err := writing.stop(); err != nil {
		return m, fmt.Errorf("a writer: %w", err)
	}
	return m, d.verify(ctx, target, &m)
}

// startPair starts a cluster of two nodes.
func startPair(ctx context.Context, o *options, dir string) (source, target *server, err error) {
	if source, err = startGodwit(ctx, o, dir+"/source", "never", "--cluster"); err != nil {
		return nil, nil, err
	}
	if target, err = startGodwit(ctx, o, dir+"/target", "never", "--cluster"); err != nil {
		source.stop()
		return nil, nil, err
	}
	text, err := exec.CommandContext(ctx, o.godwit, "cluster", "create", "--nodes", source.addr()+","+target.addr()).CombinedOutput()
	if err != nil {
		source.stop()
		target.stop()
		return nil, nil, fmt.Errorf("godwit cluster create: %w: %s", err, text)
	}
	return source, target, nil
}

// tagsOf finds a hash tag for each of the first n slots, which the first node of a new cluster has.
func tagsOf(n int) []string {
	tags, missing := make([]string, n), n
	for i := 0; missing > 0; i++ {
		tag := "t" + strconv.Itoa(i)
		if s := int(slot.OfKey([]byte("{" + tag + "}"))); s < n && tags[s] == "" {
			tags[s] = tag
			missing--
		}
	}
	return tags
}

// fill writes the data to the source.
func (d *load) fill(ctx context.Context, o *options, addr string, tags []string, m *moved) error {
	c, err := connect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.close()
	value := strings.Repeat("x", o.valueBytes)
	bytes, waiting := 0, 0
	finish := func() error {
		if err := c.flush(); err != nil {
			return err
		}
		for ; waiting > 0; waiting-- {
			if _, err := c.reply(); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	for _, tag := range tags {
		for i := range max(d.keys, d.members) {
			args := d.write(tag, i, value)
			c.add(args...)
			for _, a := range args[1:] {
				bytes += len(a)
			}
			m.records++
			if waiting++; waiting == preloadPipeline {
				if err := finish(); err != nil {
					return err
				}
			}
		}
	}
	m.megabytes = float64(bytes) / 1e6
	return finish()
}

// write is the command that writes the record of a number.
func (d *load) write(tag string, i int, value string) []string {
	if d.members > 0 {
		return []string{"HSET", "{" + tag + "}", fmt.Sprintf("member:%08d", i), value}
	}
	return []string{"SET", fmt.Sprintf("{%s}%08d", tag, i), value}
}

// move moves the slots and waits until the job has ended.
func (w *way) move(ctx context.Context, source, target *server, m *moved) error {
	d := &w.load
	from, err := connect(ctx, source.addr())
	if err != nil {
		return err
	}
	defer from.close()
	to, err := connect(ctx, target.addr())
	if err != nil {
		return err
	}
	defer to.close()
	id, err := to.do("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	began := time.Now()
	sourceCPU, targetCPU := source.cpu(), target.cpu()
	start := []string{"GODWIT", "MIGRATION", "START", fmt.Sprintf("0-%d", d.slots-1), id, "PAYLOAD", string(w.payload)}
	if w.throttle != "" {
		start = append(start, "THROTTLE", w.throttle)
	}
	if _, err := from.do(start...); err != nil {
		return err
	}
	for deadline := began.Add(jobTime); ; {
		var jobs []engine.JobReport
		if err := from.json(&jobs, "GODWIT", "MIGRATION", "STATUS"); err != nil {
			return err
		}
		if len(jobs) != 1 {
			return fmt.Errorf("the source has %d jobs, want 1", len(jobs))
		}
		j := jobs[0]
		if j.State == engine.JobFail {
			return fmt.Errorf("the job failed: %s", j.Error)
		}
		if d.slots == 1 && m.copySec == 0 && j.State != engine.JobStart && j.State != engine.JobSnapshot && j.State != engine.JobNone {
			m.copySec = time.Since(began).Seconds()
		}
		if j.Ended {
			m.totalSec = time.Since(began).Seconds()
			m.sourceSec, m.targetSec = (source.cpu() - sourceCPU).Seconds(), (target.cpu() - targetCPU).Seconds()
			m.pauses, m.verified, m.equal = j.PausesMs, j.Verified, j.DigestsEqual
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the job has not ended within %v: %s, %s, %d of %d slots", jobTime, j.State, j.Step, j.MovedSlots, d.slots)
		}
		if !sleep(ctx, pollEvery) {
			return ctx.Err()
		}
	}
}

// verify counts what the target has in the end.
func (d *load) verify(ctx context.Context, target *server, m *moved) error {
	c, err := connect(ctx, target.addr())
	if err != nil {
		return err
	}
	defer c.close()
	text, err := c.do("DBSIZE")
	if err != nil {
		return err
	}
	if m.ownersKeys, err = strconv.Atoi(text); err != nil {
		return err
	}
	if want := d.slots * d.keys; m.ownersKeys != want {
		return fmt.Errorf("the target has %d keys after the move, want %d", m.ownersKeys, want)
	}
	return nil
}

// sleep waits, and reports whether the context lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// medianMoves takes, of the rounds of each load and rate, the one that took the median time, with the longest gap and pauses of all.
func medianMoves(all []moved) (out []moved) {
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].name() == all[0].name() {
			n++
		}
		rounds := all[:n]
		all = all[n:]
		slices.SortFunc(rounds, func(a, b moved) int { return int(1e6 * (a.totalSec - b.totalSec)) })
		m := rounds[len(rounds)/2]
		m.pauses = nil
		for _, r := range rounds { // of what is rare, all that was seen
			m.pauses = append(m.pauses, r.pauses...)
			m.during.gapMs = max(m.during.gapMs, r.during.gapMs)
		}
		out = append(out, m)
	}
	return out
}
