package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// overwritePipeline is how many SETs the overwrite run sends before it reads their replies.
const overwritePipeline = 16

// runOverwrite overwrites random keys on one connection as fast as Godwit takes it, and shows throughput and the longest gaps
// between replies: what flushes and compactions make a client wait.
func runOverwrite(ctx context.Context, o *options, dir string) error {
	s, err := startGodwit(ctx, o, dir+"/overwrite", "never")
	if err != nil {
		return err
	}
	defer s.stop()
	if err := preload(ctx, s.addr(), o.keys, o.valueBytes); err != nil {
		return err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", s.addr())
	if err != nil {
		return err
	}
	defer nc.Close()
	gaps, writes, err := overwrite(ctx, o, nc)
	if err != nil {
		return err
	}
	slices.Sort(gaps)
	at := func(p float64) time.Duration { return gaps[min(int(p*float64(len(gaps))), len(gaps)-1)] }
	resident, peak := s.memory()
	fmt.Printf("%d writes in %v, %.0f/s; gap between replies to pipelines of %d: p50 %v, p99 %v, p99.99 %v, longest %v; memory %d MB, at most %d MB; disk %d MB\n",
		writes, o.overwrite, float64(writes)/o.overwrite.Seconds(), overwritePipeline,
		at(0.5), at(0.99), at(0.9999), gaps[len(gaps)-1], resident>>20, peak>>20, s.disk()>>20)
	return nil
}

// overwrite writes until the time is over, and returns how long each pipeline waited for its replies.
func overwrite(ctx context.Context, o *options, nc net.Conn) (gaps []time.Duration, writes int, err error) {
	random := rand.New(rand.NewPCG(1, 2)) // the same keys in each run
	value := bytes.Repeat([]byte("y"), o.valueBytes)
	replies := bufio.NewReader(nc)
	var out []byte
	for began := time.Now(); time.Since(began) < o.overwrite; {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		out = out[:0]
		for range overwritePipeline {
			out = fmt.Appendf(out, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n", random.IntN(o.keys), o.valueBytes, value)
		}
		sent := time.Now()
		if _, err := nc.Write(out); err != nil {
			return nil, 0, err
		}
		if err := expectOK(replies, overwritePipeline); err != nil {
			return nil, 0, err
		}
		gaps = append(gaps, time.Since(sent))
		writes += overwritePipeline
	}
	return gaps, writes, nil
}
