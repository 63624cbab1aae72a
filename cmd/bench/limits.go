package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Sizes of what is measured of the machine.
const (
	loopbackBytes = 2 << 30
	diskBytes     = 512 << 20
	limitsChunk   = 256 << 10
)

// measureLimits measures what a move cannot exceed.
func measureLimits(ctx context.Context, dir string) (l limits, err error) {
	if l.loopbackMB, err = measureLoopback(ctx); err != nil {
		return l, err
	}
	l.diskMB, err = measureDisk(dir)
	return l, err
}

// measureLoopback sends bytes over one connection, from one goroutine to another.
func measureLoopback(ctx context.Context) (mbPerSecond float64, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	sent := make(chan error, 1)
	began := time.Now()
	go func() {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", listener.Addr().String())
		if err != nil {
			sent <- err
			return
		}
		b := make([]byte, limitsChunk)
		for n := 0; n < loopbackBytes && err == nil; n += len(b) {
			_, err = nc.Write(b)
		}
		sent <- errors.Join(err, nc.Close())
	}()
	nc, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{nc}, make([]byte, limitsChunk))
	if err := errors.Join(err, <-sent); err != nil {
		return 0, err
	}
	return float64(n) / 1e6 / time.Since(began).Seconds(), nil
}

// onlyReader and onlyWriter hide the ways around memory that the kernel offers: who moves records cannot go them.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// measureDisk writes a file and syncs it.
func measureDisk(dir string) (mbPerSecond float64, err error) {
	name := filepath.Join(dir, "limit")
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	b := make([]byte, limitsChunk)
	for i := range b {
		b[i] = byte(i * 7)
	}
	began := time.Now()
	for n := 0; n < diskBytes; n += len(b) {
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return diskBytes / 1e6 / time.Since(began).Seconds(), nil
}
