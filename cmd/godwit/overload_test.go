package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"godwit/engine"
	"godwit/engine/slot"
)

// hotWriters are clients that write the keys of one slot as fast as they can, each its own keys, by pipelines of go-redis's cluster client. Each value
// is the number of the write, so that what a key holds tells whether a write was lost.
type hotWriters struct {
	t      *testing.T
	tag    string
	client *redis.ClusterClient
	stop   context.CancelFunc
	done   sync.WaitGroup
	keys   int
	bytes  int // of a value, roughly
	// acked and sent are by key: the last write that was acknowledged, and the last that may have arrived.
	acked, sent []int
	writes      atomic.Int64
	failed      atomic.Pointer[error]
}

// pipelined is how many writes a client sends at once.
const pipelined = 100

// startHotWriters begins to write so many keys of the slot of a tag, of so many bytes. With forgiving, writes that fail, since a node is down, are no
// error.
func startHotWriters(t *testing.T, nodes []*process, tag string, keys, bytes, clients int, forgiving bool) *hotWriters {
	ctx, stop := context.WithCancel(context.Background())
	h := &hotWriters{
		t: t, tag: tag, stop: stop, keys: keys, bytes: bytes, acked: make([]int, keys), sent: make([]int, keys),
		client: redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: strings.Split(addrsOf(nodes), ","), ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxRedirects: 30,
		}),
	}
	t.Cleanup(func() { stop(); h.done.Wait(); _ = h.client.Close() })
	for c := range clients {
		h.done.Add(1)
		go func() {
			defer h.done.Done()
			padding := strings.Repeat(".", h.bytes)
			for n, at := 1, c; ctx.Err() == nil; {
				p := h.client.Pipeline()
				cmds := make([]*redis.StatusCmd, 0, pipelined)
				keys := make([]int, 0, pipelined)
				for range pipelined {
					h.sent[at] = n
					keys = append(keys, at)
					cmds = append(cmds, p.Set(context.Background(), h.key(at), strconv.Itoa(n)+" "+padding, 0))
					n++
					if at += clients; at >= h.keys {
						at = c
					}
				}
				_, _ = p.Exec(context.Background()) // each command has its own error
				for i, cmd := range cmds {
					if err := cmd.Err(); err == nil {
						h.acked[keys[i]] = n - pipelined + i
						h.writes.Add(1)
					} else if !forgiving {
						h.failed.CompareAndSwap(nil, &err)
						return
					}
				}
			}
		}()
	}
	return h
}

func (h *hotWriters) key(i int) string { return "{" + h.tag + "}" + strconv.Itoa(i) }

// settle stops the writers, and requires that every key holds its last acknowledged write, or a later one that was not answered.
func (h *hotWriters) settle() {
	h.t.Helper()
	h.stop()
	h.done.Wait()
	if err := h.failed.Load(); err != nil {
		h.t.Fatalf("a client saw an error: %v", *err)
	}
	for i := range h.acked {
		text, err := h.client.Get(context.Background(), h.key(i)).Result()
		if h.acked[i] == 0 && errors.Is(err, redis.Nil) {
			continue
		}
		n, _ := strconv.Atoi(strings.Fields(text + " x")[0])
		if err != nil || n < h.acked[i] || n > h.sent[i] {
			h.t.Fatalf("%s is %.20q (%v), the last write that was acknowledged is %d, the last that was sent %d", h.key(i), text, err, h.acked[i], h.sent[i])
		}
	}
}

// reportOf is all that the node knows of its job.
func reportOf(t *testing.T, p *process, job string) engine.JobDetails {
	t.Helper()
	var r engine.JobDetails
	if err := json.Unmarshal([]byte(mustRun(t, "migrate", "report", job, "--node", p.addr)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// statusOfJob is a job as its node shows it.
func statusOfJob(t *testing.T, p *process, job string) engine.JobReport {
	t.Helper()
	var j engine.JobReport
	if err := json.Unmarshal([]byte(mustRun(t, "migrate", "status", job, "--node", p.addr, "--json")), &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// TestOverload writes one slot as fast as the clients of this machine can while it moves, over a link that the clients of any machine outrun, with some
// two hundred writes a second, and over one that is not held back. However it goes, it ends: the slot has been handed over, its writers slowed down if the job
// was told so, or the job says that it cannot converge and the slot has stayed, as it does if writers are left alone on the slow link. No client
// sees an error, and no write is lost.
func TestOverload(t *testing.T) {
	const (
		tag = "hot"
		// More than 256 KiB, which a slot that is written may be behind and still be handed over, and no more than that: a round sends all of it at rate.
		keys, bytes = 350, 1000
		rate        = "200kB/s"
	)
	sl := strconv.Itoa(int(slot.OfKey([]byte("{" + tag + "}"))))
	nodes := startNodes(t, 2, "--sync", "never")
	mustRun(t, "cluster", "create", "--nodes", addrsOf(nodes))
	at := 0
	if servedSlot(t, nodes[1], sl) {
		at = 1
	}
	jobs := [2]int{}
	for _, c := range []struct{ mode, rate string }{{"slow", rate}, {"keep", rate}, {"slow", ""}, {"keep", ""}} {
		h := startHotWriters(t, nodes, tag, keys, bytes, 8, false)
		eventually(t, "all keys are written", func() error {
			if n := h.writes.Load(); n < 4*keys {
				return fmt.Errorf("%d writes", n)
			}
			return nil
		})
		from, to := nodes[at], nodes[1-at]
		args := []string{"migrate", "start", "--node", from.addr, "--slots", sl, "--to", to.addr, "--on-overload", c.mode, "--converge-within", "3s"}
		if c.rate != "" {
			args = append(args, "--rate", c.rate)
		}
		slowings := from.slowings()
		before, began := h.writes.Load(), time.Now()
		mustRun(t, args...)
		jobs[at]++
		j := endOfJob(t, from, strconv.Itoa(jobs[at]))
		took, written := time.Since(began), h.writes.Load()-before
		h.settle()
		slowed := from.slowings() > slowings
		stayed := servedSlot(t, from, sl)
		switch {
		case j.State == engine.JobSuccess && !stayed && servedSlot(t, to, sl):
			at = 1 - at
		case j.State == engine.JobFail && stayed && !servedSlot(t, to, sl) && strings.Contains(j.Error, "cannot converge"):
		default:
			t.Errorf("%+v: %+v, stayed %v", c, j, stayed)
		}
		if c.mode == "keep" && slowed {
			t.Errorf("%+v: writers that were to be left alone were slowed down", c)
		}
		if c.rate != "" && c.mode == "slow" && !slowed || c.rate != "" && c.mode == "keep" && j.State != engine.JobFail {
			t.Errorf("%+v: %+v: was the slot not written faster than it could be sent?", c, j)
		}
		t.Logf("%+v: %s after %v, %.0f writes a second, slowed down %v, pauses %v ms %s", c, j.State, took.Round(time.Millisecond), float64(written)/took.Seconds(), slowed, j.PausesMs, j.Error)
	}
}

// slowings is how often the node has said that it slows the writers of a slot down.
func (p *process) slowings() int {
	return strings.Count(p.output(), "the writers of a slot are slowed down")
}

// endOfJob waits until a job has ended, which it must within three minutes.
func endOfJob(t *testing.T, p *process, job string) engine.JobReport {
	t.Helper()
	wait := godwit("migrate", "status", job, "--node", p.addr, "--wait", "--json")
	late := time.AfterFunc(3*time.Minute, func() { _ = wait.Process.Kill() })
	defer late.Stop()
	out, err := wait.Output()
	if err != nil {
		t.Fatalf("job %s goes on for ever, or is not known: %v: %+v", job, err, statusOfJob(t, p, job))
	}
	var j engine.JobReport
	if err := json.Unmarshal(out, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// servedSlot reports whether a node serves a slot.
func servedSlot(t *testing.T, p *process, sl string) bool {
	t.Helper()
	n, err := strconv.Atoi(sl)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range statusOf(t, p).Nodes {
		if member.Address == p.addr {
			set, err := slotSet(member.Report.Serving)
			if err != nil {
				t.Fatal(err)
			}
			return set.Has(slot.Slot(n))
		}
	}
	t.Fatalf("the status of %s does not tell of itself", p.addr)
	return false
}
