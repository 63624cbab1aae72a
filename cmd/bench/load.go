package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// test is a load of redis-benchmark.
type test struct {
	name     string
	command  string // that redis-benchmark knows; "mixed" is GET on 80 of 100 connections and SET on the others
	pipeline int
}

var tests = []test{
	{"set-p1", "set", 1}, {"get-p1", "get", 1}, {"mixed-p1", "mixed", 1},
	{"set-p16", "set", 16}, {"get-p16", "get", 16}, {"mixed-p16", "mixed", 16},
	{"hset-p16", "hset", 16}, {"lpush-p16", "lpush", 16}, {"sadd-p16", "sadd", 16}, {"zadd-p16", "zadd", 16},
}

// mode is a setting in which both systems promise the same of what they have answered.
type mode struct {
	name   string
	sync   string // of Godwit
	synced bool   // redis-server: syncs before it answers, or writes nothing at all
	args   []string
	tests  map[string]bool // nil: all
	about  string
}

var modes = []mode{
	{name: "never", sync: "never", about: "godwit --sync never; redis-server without persistence"},
	{name: "always", sync: "always", synced: true, about: "godwit --sync always; redis-server with appendfsync always",
		tests: map[string]bool{"set-p1": true, "get-p1": true, "set-p16": true, "get-p16": true, "hset-p16": true}},
	{name: "small-cache", sync: "never", about: "godwit --sync never, caches of an eighth of the data; redis-server without persistence",
		tests: map[string]bool{"get-p1": true, "get-p16": true}},
}

// measure is what redis-benchmark says of one run.
type measure struct {
	perSecond, p50Ms, p99Ms float64
	// cpuUs is the processor time of the server for a request, in microseconds: it says more than the clock on a machine that
	// has other work.
	cpuUs float64
}

// result is a test's medians on both systems.
type result struct {
	mode, test    string
	godwit, redis measure
	memory, disk  [2]int64 // bytes resident and on disk after the test; of Godwit, of redis-server
}

func (r *result) ratio() float64 { return r.godwit.perSecond / r.redis.perSecond }

// cpuRatio is what a request costs redis-server over what it costs Godwit, in processor time.
func (r *result) cpuRatio() float64 { return r.redis.cpuUs / r.godwit.cpuUs }

// run measures both systems in one mode.
func (m *mode) run(ctx context.Context, o *options, dir string) ([]result, error) {
	fmt.Printf("%s\n", m.about)
	args := m.args
	if m.name == "small-cache" {
		data := max(int64(o.keys)*int64(o.valueBytes+32)/8, 2<<20)
		args = []string{"--cache", strconv.FormatInt(data/2, 10), "--row-cache", strconv.FormatInt(data/2, 10), "--memtable", "4mb"}
	}
	godwit, err := startGodwit(ctx, o, dir+"/"+m.name+"-godwit", m.sync, args...)
	if err != nil {
		return nil, err
	}
	defer godwit.stop()
	redis, err := startRedis(ctx, o, dir+"/"+m.name+"-redis", m.synced)
	if err != nil {
		return nil, err
	}
	defer redis.stop()
	systems := []*server{godwit, redis}
	for _, s := range systems {
		began := time.Now()
		if err := preload(ctx, s.addr(), o.keys, o.valueBytes); err != nil {
			return nil, fmt.Errorf("preload %s: %w", s.system, err)
		}
		fmt.Printf("  %s: %d keys of %d bytes loaded in %.1f s\n", s.system, o.keys, o.valueBytes, time.Since(began).Seconds())
	}
	var results []result
	for _, t := range tests {
		if o.tests != nil && !o.tests[t.name] || m.tests != nil && !m.tests[t.name] {
			continue
		}
		var runs [2][]measure
		for range o.rounds {
			for i, s := range systems {
				got, err := t.run(ctx, o, s)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", t.name, s.system, err)
				}
				runs[i] = append(runs[i], got)
			}
		}
		r := result{mode: m.name, test: t.name, godwit: median(runs[0]), redis: median(runs[1])}
		for i, s := range systems {
			r.memory[i], _ = s.memory()
			r.disk[i] = s.disk()
		}
		fmt.Println("  " + r.line())
		results = append(results, r)
	}
	return results, nil
}

// median is the median of each figure by itself, which need not be of one run.
func median(runs []measure) measure {
	of := func(field func(measure) float64) float64 {
		all := make([]float64, 0, len(runs))
		for _, r := range runs {
			all = append(all, field(r))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return measure{
		perSecond: of(func(m measure) float64 { return m.perSecond }),
		p50Ms:     of(func(m measure) float64 { return m.p50Ms }),
		p99Ms:     of(func(m measure) float64 { return m.p99Ms }),
		cpuUs:     of(func(m measure) float64 { return m.cpuUs }),
	}
}

// run runs the test once on a system. A pipelined test has four times the requests, which take about as long.
func (t *test) run(ctx context.Context, o *options, s *server) (measure, error) {
	requests := o.requests
	if t.pipeline > 1 {
		requests *= 4
	}
	before := s.cpu()
	m, err := t.load(ctx, o, s, requests)
	m.cpuUs = float64((s.cpu() - before).Microseconds()) / float64(requests)
	return m, err
}

// load makes the requests.
func (t *test) load(ctx context.Context, o *options, s *server, requests int) (measure, error) {
	if t.command != "mixed" {
		return benchmark(ctx, o, s, t.command, t.pipeline, o.clients, requests)
	}
	// redis-benchmark sends one command; two of them share the connections and the requests 80 to 20.
	type outcome struct {
		measure
		err error
	}
	writes := max(o.clients/5, 1)
	sets := make(chan outcome, 1)
	began := time.Now()
	go func() {
		m, err := benchmark(ctx, o, s, "set", t.pipeline, writes, requests/5)
		sets <- outcome{m, err}
	}()
	gets, err := benchmark(ctx, o, s, "get", t.pipeline, max(o.clients-writes, 1), requests-requests/5)
	set := <-sets
	if err := errors.Join(err, set.err); err != nil {
		return measure{}, err
	}
	return measure{
		perSecond: float64(requests) / time.Since(began).Seconds(),
		p50Ms:     0.8*gets.p50Ms + 0.2*set.p50Ms, p99Ms: max(gets.p99Ms, set.p99Ms),
	}, nil
}

// benchmark runs redis-benchmark once.
func benchmark(ctx context.Context, o *options, s *server, command string, pipeline, clients, requests int) (measure, error) {
	cmd := exec.CommandContext(ctx, o.benchmark, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-t", command, "-P", strconv.Itoa(pipeline),
		"-c", strconv.Itoa(clients), "-n", strconv.Itoa(requests), "-d", strconv.Itoa(o.valueBytes), "-r", strconv.Itoa(o.keys), "--csv")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return measure{}, err
	}
	return parseBenchmark(text)
}

// parseBenchmark reads what redis-benchmark --csv prints of one test: a line of names and a line of values.
func parseBenchmark(text []byte) (m measure, err error) {
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 2 {
		return m, fmt.Errorf("redis-benchmark printed %q, want two lines of CSV", text)
	}
	for i, name := range rows[0] {
		v, err := strconv.ParseFloat(rows[1][i], 64)
		if err != nil {
			continue // the test's name
		}
		switch name {
		case "rps":
			m.perSecond = v
		case "p50_latency_ms":
			m.p50Ms = v
		case "p99_latency_ms":
			m.p99Ms = v
		}
	}
	if m.perSecond == 0 {
		return m, fmt.Errorf("redis-benchmark printed no rps: %q", text)
	}
	return m, nil
}

// preloadPipeline is how many SETs the preload sends before it reads their replies.
const preloadPipeline = 256

// preload sets all keys from which redis-benchmark draws.
func preload(ctx context.Context, addr string, keys, valueBytes int) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	value := bytes.Repeat([]byte("x"), valueBytes)
	replies := bufio.NewReader(nc)
	var out []byte
	for at := 0; at < keys && ctx.Err() == nil; {
		out = out[:0]
		n := min(preloadPipeline, keys-at)
		for i := range n {
			out = fmt.Appendf(out, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n", at+i, valueBytes, value)
		}
		if _, err := nc.Write(out); err != nil {
			return err
		}
		if err := expectOK(replies, n); err != nil {
			return err
		}
		at += n
	}
	return ctx.Err()
}

// expectOK reads replies, all of which must be OK.
func expectOK(r io.Reader, n int) error {
	const ok = "+OK\r\n"
	buf := make([]byte, n*len(ok))
	if _, err := io.ReadFull(r, buf); err != nil {
		return err
	}
	if !bytes.Equal(buf, bytes.Repeat([]byte(ok), n)) {
		return fmt.Errorf("a SET was answered %q", buf[:min(len(buf), 80)])
	}
	return nil
}
