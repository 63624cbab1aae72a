package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// latency is what writers saw in some time.
type latency struct {
	seconds             float64 // how long it was
	perSecond           float64
	p50Ms, p99Ms, gapMs float64 // gapMs is the longest time in which one of them had no write acknowledged
}

// seen is what writers saw, not yet summed up.
type seen struct {
	took    []float64 // of each write, in milliseconds
	gapMs   float64
	seconds float64
}

// and is what was seen in two times together.
func (a seen) and(b seen) seen {
	return seen{slices.Concat(a.took, b.took), max(a.gapMs, b.gapMs), a.seconds + b.seconds}
}

func (a seen) latency() latency {
	l := latency{seconds: a.seconds}
	if n := len(a.took); n > 0 {
		took := slices.Sorted(slices.Values(a.took))
		l.perSecond, l.p50Ms, l.p99Ms, l.gapMs = float64(n)/a.seconds, took[n/2], took[n*99/100], a.gapMs
	}
	return l
}

// writers write to what moves, at a rate, and follow redirects.
type writers struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	since  time.Time
	took   []float64
	gapMs  float64
	failed error
}

const (
	writerCount = 8
	// writerTick is how often a writer sends what is due. It does not wait for what a slow server owes: what comes late counts
	// from when it was due to be sent.
	writerTick = time.Millisecond
)

// startWriters starts writers that together make so many writes a second; none for 0.
func startWriters(ctx context.Context, o *options, d *load, addr string, tags []string, rate int) *writers {
	ctx, cancel := context.WithCancel(ctx)
	w := &writers{cancel: cancel, since: time.Now()}
	for i := range min(writerCount, rate) {
		w.running.Go(func() {
			if err := w.write(ctx, o, d, addr, tags, float64(rate)/writerCount, uint64(i)); err != nil && ctx.Err() == nil {
				w.mu.Lock()
				w.failed = errors.Join(w.failed, err)
				w.mu.Unlock()
			}
		})
	}
	return w
}

// take returns what was seen since the last call.
func (w *writers) take() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := seen{w.took, w.gapMs, time.Since(w.since).Seconds()}
	w.took, w.gapMs, w.since = nil, 0, time.Now()
	return s
}

// stop ends the writers and returns what went wrong: any error but a redirect.
func (w *writers) stop() error {
	w.cancel()
	w.running.Wait()
	return w.failed
}

// write is a writer.
func (w *writers) write(ctx context.Context, o *options, d *load, addr string, tags []string, rate float64, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 1)) // the same keys in each run
	value := strings.Repeat("w", o.valueBytes)
	nodes := map[string]*client{}
	defer func() {
		for _, c := range nodes {
			c.close()
		}
	}()
	owner := make([]string, len(tags)) // where the slots were last; "" is addr
	began, sent, last := time.Now(), 0, time.Now()
	for ctx.Err() == nil {
		due := int(time.Since(began).Seconds()*rate) - sent
		if due <= 0 {
			sleep(ctx, writerTick)
			continue
		}
		due = min(due, 64)
		dueAt := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
		sent += due
		var todo []request
		for range due {
			t := random.IntN(len(tags))
			todo = append(todo, request{t, d.write(tags[t], random.IntN(max(d.keys, d.members)), value)})
		}
		for len(todo) > 0 {
			var err error
			if todo, err = sendAll(ctx, nodes, addr, owner, todo); err != nil {
				return err
			}
		}
		now := time.Now()
		w.mu.Lock()
		for range due {
			w.took = append(w.took, float64(now.Sub(dueAt).Microseconds())/1000)
		}
		w.gapMs = max(w.gapMs, float64(now.Sub(last).Microseconds())/1000)
		w.mu.Unlock()
		last = now
	}
	return ctx.Err()
}

// request is a write to a slot.
type request struct {
	tag  int
	args []string
}

// sendAll sends requests in pipelines, each to where its slot is, and returns those that were redirected.
func sendAll(ctx context.Context, nodes map[string]*client, addr string, owner []string, todo []request) (again []request, err error) {
	var order []string
	groups := map[string][]request{}
	for _, r := range todo {
		at := owner[r.tag]
		if at == "" {
			at = addr
		}
		if groups[at] == nil {
			order = append(order, at)
		}
		groups[at] = append(groups[at], r)
	}
	for _, at := range order {
		if nodes[at] == nil {
			c, err := connect(ctx, at)
			if err != nil {
				return nil, err
			}
			nodes[at] = c
		}
		for _, r := range groups[at] {
			nodes[at].add(r.args...)
		}
		if err := nodes[at].flush(); err != nil {
			return nil, err
		}
	}
	for _, at := range order {
		for _, r := range groups[at] {
			_, err := nodes[at].reply()
			if to := movedTo(err); to != "" {
				owner[r.tag] = to
				again = append(again, r)
			} else if err != nil {
				return nil, fmt.Errorf("%s %s: %w", r.args[0], r.args[1], err)
			}
		}
	}
	return again, nil
}
