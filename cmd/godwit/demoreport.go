package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/engine/slot"
	"godwit/linearize"
)

// judgeSteps bounds the judgement of one key; those of the demo take some thousands.
const judgeSteps = 50_000_000

// demoReport is the summary of a demo, and what --json prints.
type demoReport struct {
	OK       bool     `json:"ok"`
	Failures []string `json:"failures"`
	Seconds  float64  `json:"seconds"`
	Dir      string   `json:"dir"`

	Operations int `json:"operations"`
	Reads      int `json:"reads"`
	Writes     int `json:"writes"`
	// Errors are those that clients saw, after the retries of the library, other than those of the outage: on slots that
	// the killed node owned while it was away.
	Errors         int      `json:"errors"`
	ErrorsShown    []string `json:"errors_shown"`
	ErrorsInOutage int      `json:"errors_in_outage"`
	// ErrorsRemembered are errors of the outage that the library gave again, for up to a second after the node's return,
	// without having tried whether it is back.
	ErrorsRemembered int `json:"errors_remembered"`
	// LongestStallMs is the longest operation, other than those of the outage; LongestOutageMs the longest of these.
	LongestStallMs float64 `json:"longest_stall_ms"`
	LongestStall   string  `json:"longest_stall"` // which operation that was
	// LongestCalmMs is the longest operation that began and ended while all nodes were there.
	LongestCalmMs   float64 `json:"longest_stall_all_nodes_up_ms"`
	LongestOutageMs float64 `json:"longest_stall_in_outage_ms"`

	Killed        string  `json:"killed"`
	KilledInMove  bool    `json:"killed_in_move"`
	OutageSeconds float64 `json:"outage_seconds"`
	OutageSlots   int     `json:"outage_slots"`

	Jobs          int     `json:"jobs"`
	SlotsMoved    int     `json:"slots_moved"`
	BytesMoved    uint64  `json:"bytes_moved"`
	RecordsMoved  uint64  `json:"records_moved"`
	MoveSeconds   float64 `json:"move_seconds"` // in which a job ran and no node was away
	MBPerSecond   float64 `json:"mb_per_second"`
	Pauses        int     `json:"pauses"`
	PauseP50Ms    float64 `json:"pause_p50_ms"`
	PauseP99Ms    float64 `json:"pause_p99_ms"`
	PauseMaxMs    float64 `json:"pause_max_ms"`
	DigestsEqual  int     `json:"digests_equal"`
	DigestsDiffer int     `json:"digests_differing"`

	KeysVerified int      `json:"keys_verified"`
	Lost         int      `json:"lost"`        // keys that do not hold what was acknowledged last
	WrongReads   int      `json:"wrong_reads"` // reads that showed what cannot have been there
	LostShown    []string `json:"lost_shown"`
	Problems     []string `json:"problems"` // of the cluster at the end

	Verdict       string `json:"verdict"`
	VerdictText   string `json:"verdict_text"`
	RecordedOps   int    `json:"recorded_operations"`
	RecordedKeys  int    `json:"recorded_keys"`
	UnknownWrites int    `json:"unknown_writes"`
	Picture       string `json:"picture"`
	History       string `json:"history"`
}

// failures says what is not as it should be.
func (r *demoReport) failures() []string {
	out := []string{}
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(r.Lost > 0, "%d acknowledged writes are lost", r.Lost)
	add(r.WrongReads > 0, "%d reads showed what cannot have been there", r.WrongReads)
	add(r.Errors > 0, "clients saw %d errors", r.Errors)
	add(r.Verdict != linearize.Linearizable.String(), "the verdict is %s", r.Verdict)
	add(r.DigestsDiffer > 0, "the copies of %d slots differ", r.DigestsDiffer)
	add(!r.KilledInMove, "no node was killed in the middle of a move: try more --slots or --keys")
	add(len(r.Problems) > 0, "the cluster is not healthy: %s", strings.Join(r.Problems, ", "))
	return out
}

// settle looks at the cluster once nothing goes on any more, and sums the moves up.
func (d *demo) settle(ctx context.Context, r *demoReport) error {
	s, err := clusterStatus(d.nodes[0].addr, "")
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.Problems = s.Problems
	var pauses []float64
	for _, j := range d.jobs {
		r.Jobs++
		r.SlotsMoved += j.report.MovedSlots
		r.BytesMoved += j.report.Bytes
		r.RecordsMoved += j.report.Records
		r.DigestsEqual += j.report.DigestsEqual
		r.DigestsDiffer += j.report.Differ
		pauses = append(pauses, j.report.PausesMs...)
	}
	slices.Sort(pauses)
	r.Pauses, r.PauseP50Ms, r.PauseP99Ms = len(pauses), quantile(pauses, 0.5), quantile(pauses, 0.99)
	r.PauseMaxMs = quantile(pauses, 1)
	r.MoveSeconds = d.moveTime().Seconds()
	if r.MoveSeconds > 0 {
		r.MBPerSecond = float64(r.BytesMoved) / 1e6 / r.MoveSeconds
	}
	if o := &d.outage; o.node != nil {
		r.Killed, r.KilledInMove, r.OutageSlots = o.node.name(), o.inMove, o.slots.Len()
		r.OutageSeconds = time.Duration(o.end - o.begin).Seconds()
	}
	return nil
}

// moveTime is the time in which at least one job ran and no node was away. Jobs of a wave begin together; waves do not overlap.
func (d *demo) moveTime() time.Duration {
	var total, upTo int64
	for _, j := range d.jobs {
		from := max(j.begin, upTo)
		if j.end > from {
			total += j.end - from
			upTo = j.end
		}
		if o := &d.outage; o.node != nil && from <= o.begin && o.end <= j.end {
			total -= o.end - o.begin
		}
	}
	return time.Duration(total)
}

// verify reads every loaded key and compares it with what was acknowledged.
func (d *demo) verify(ctx context.Context, r *demoReport, loaders []*loadClient) error {
	owners, err := d.ownersNow()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	bar := d.bar(d.keys.count, "reading everything back")
	err = d.eachKey(ctx, bar, owners, func(i int) []string {
		return []string{"GET", d.keys.name(i)}
	}, func(i int, got reply) error {
		c := loaders[i%len(loaders)]
		if !c.may(i/len(loaders), got.Text) {
			mu.Lock()
			defer mu.Unlock()
			r.Lost++
			if len(r.LostShown) < 5 {
				r.LostShown = append(r.LostShown, fmt.Sprintf("%s holds %.30q, acknowledged was version %d", d.keys.name(i), got.Text, c.acked[i/len(loaders)]))
			}
		}
		return nil
	})
	_ = bar.Clear()
	if err != nil {
		return err
	}
	r.KeysVerified = d.keys.count
	for _, c := range loaders {
		r.WrongReads += len(c.wrong)
		for _, name := range c.wrong[:min(len(c.wrong), 2)] {
			r.LostShown = append(r.LostShown, "a read of "+name+" showed what cannot have been there")
		}
	}
	d.line("verified", "%s keys read back, %d lost", countText(r.KeysVerified), r.Lost)
	return nil
}

// ownersNow tells for each slot the index of the node that serves it.
func (d *demo) ownersNow() ([]int, error) {
	owners := make([]int, slot.Count)
	for i := range owners {
		owners[i] = -1
	}
	for i, n := range d.nodes {
		r, err := askStatus(n.addr, "")
		if err != nil {
			return nil, err
		}
		set, err := slotSet(r.Serving)
		if err != nil {
			return nil, err
		}
		for _, sl := range set.Slots() {
			owners[sl] = i
		}
	}
	if i := slices.Index(owners, -1); i >= 0 {
		return nil, fmt.Errorf("slot %d has no owner", i)
	}
	return owners, nil
}

// addClients sums up what the clients saw.
func (r *demoReport) addClients(d *demo, loaders []*loadClient, recorded []*recordedClient) {
	var logs []*clientLog
	for _, c := range loaders {
		logs = append(logs, &c.log)
	}
	for _, c := range recorded {
		logs = append(logs, &c.log)
	}
	r.ErrorsShown = []string{}
	var longest, calm, inOutage time.Duration
	for _, l := range logs {
		r.Reads += l.reads
		r.Writes += l.writes
		longest, calm = max(longest, l.longest), max(calm, l.longest)
		for _, e := range l.slow {
			took := time.Duration(e.end - e.begin)
			if !d.outage.during(e) {
				calm = max(calm, took)
			}
			if d.outage.covers(e) {
				inOutage = max(inOutage, took)
			} else if took > longest {
				longest = took
				r.LongestStall = fmt.Sprintf("%s on slot %d at %.1f s", e.command, e.slot, time.Duration(e.begin).Seconds())
			}
		}
		for _, e := range l.errs {
			if d.outage.covers(e) {
				r.ErrorsInOutage++
				continue
			}
			if d.remembered(e) {
				r.ErrorsRemembered++
				continue
			}
			r.Errors++
			if len(r.ErrorsShown) < 10 {
				r.ErrorsShown = append(r.ErrorsShown, fmt.Sprintf("%s on slot %d, %.3f s to %.3f s: %s", e.command, e.slot,
					time.Duration(e.begin).Seconds(), time.Duration(e.end).Seconds(), e.text))
			}
		}
	}
	for _, c := range recorded {
		if c.err != nil {
			r.Problems = append(r.Problems, "recording failed: "+c.err.Error())
		}
	}
	r.Operations = r.Reads + r.Writes
	r.LongestStallMs = float64(longest) / float64(time.Millisecond)
	r.LongestCalmMs = float64(calm) / float64(time.Millisecond)
	r.LongestOutageMs = float64(inOutage) / float64(time.Millisecond)
}

// judge checks the recorded history, and writes it and a picture of its most telling key.
func (d *demo) judge(r *demoReport) error {
	h := d.record.History()
	opts := linearize.Options{Steps: judgeSteps}
	v, err := linearize.Check(h, opts)
	if err != nil {
		return err
	}
	r.Verdict, r.VerdictText = v.Result.String(), v.String()
	r.RecordedOps, r.RecordedKeys, r.UnknownWrites = v.Operations, v.Keys, v.Open
	r.History, r.Picture = filepath.Join(d.dir, "history.jsonl"), filepath.Join(d.dir, "history.html")
	if err := writeFile(r.History, func(w io.Writer) error { return linearize.Write(w, h) }); err != nil {
		return err
	}
	key := telling(h, v, &d.outage)
	d.line("judged", "%s", strings.SplitN(v.String(), "\n", 2)[0])
	return writeFile(r.Picture, func(w io.Writer) error {
		_, err := linearize.WritePicture(w, h, key, opts)
		return err
	})
}

// telling picks the key for the picture: one that failed, else the one with most operations around the kill.
func telling(h *linearize.History, v linearize.Verdict, o *demoOutage) string {
	if len(v.Failures) > 0 {
		return v.Failures[0].Key
	}
	count := map[string]int{}
	for _, op := range h.Operations {
		score := 1
		if op.Call <= o.end && op.Return >= o.begin {
			score = 1000
		}
		if op.Outcome != linearize.Fail {
			count[op.Key] += score
		}
	}
	best := ""
	for key, n := range count {
		if best == "" || n > count[best] || n == count[best] && key < best {
			best = key
		}
	}
	return best
}

// uncounted explains a number of digests that is not that of the slots: a target that is killed loses the snapshot with
// which the source wanted to compare its copy.
func (r *demoReport) uncounted() string {
	n := r.SlotsMoved - r.DigestsEqual - r.DigestsDiffer
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%d slots handed over right before the kill were compared before that only)", n)
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func (r *demoReport) print(out io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-16s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(&b)
	row("operations", "%s: %s reads and %s writes", countText(r.Operations), countText(r.Reads), countText(r.Writes))
	row("errors", "%d", r.Errors)
	row("", "and %d on slots of the killed node while it was away", r.ErrorsInOutage)
	if r.ErrorsRemembered > 0 {
		row("", "and %d that go-redis remembered from then, before it tried again", r.ErrorsRemembered)
	}
	row("longest stall", "%.1f ms (%s)", r.LongestStallMs, r.LongestStall)
	row("", "%.1f ms while all nodes were there; %.0f ms on slots of the killed node while it was away", r.LongestCalmMs, r.LongestOutageMs)
	row("killed", "%s, in the middle of a move; away for %.2f s with %s slots", r.Killed, r.OutageSeconds, countText(r.OutageSlots))
	row("moved", "%d slots in %d jobs: %s in %s records, %.1f MB/s", r.SlotsMoved, r.Jobs, bytesText(r.BytesMoved), countText(int(r.RecordsMoved)), r.MBPerSecond)
	row("pause per slot", "p50 %.1f ms, p99 %.1f ms, longest %.1f ms (%d pauses)", r.PauseP50Ms, r.PauseP99Ms, r.PauseMaxMs, r.Pauses)
	row("digests", "%d equal, %d differ%s", r.DigestsEqual, r.DigestsDiffer, r.uncounted())
	row("lost", "%d of %s keys", r.Lost, countText(r.KeysVerified))
	row("history", "%s: %s operations on %d keys, %d writes of unknown outcome", r.Verdict, countText(r.RecordedOps), r.RecordedKeys, r.UnknownWrites)
	row("picture", "%s", r.Picture)
	for _, text := range slices.Concat(r.ErrorsShown, r.LostShown, r.Problems) {
		row("!", "%s", text)
	}
	if r.Verdict != linearize.Linearizable.String() {
		row("!", "%s", strings.ReplaceAll(r.VerdictText, "\n", "\n"+strings.Repeat(" ", 19)))
	}
	verdict := "ok: nothing lost, no error, linearizable"
	if !r.OK {
		verdict = "FAILED: " + strings.Join(r.Failures, "; ")
	}
	fmt.Fprintf(&b, "\n  %s (%.1f s)\n", verdict, r.Seconds)
	_, err := io.WriteString(out, b.String())
	return err
}
