package host

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/engine"
)

// BenchmarkConnection measures requests on one connection, without waiting for the disk.
func BenchmarkConnection(b *testing.B) {
	s, err := Start(Config{Listen: "127.0.0.1:0", Dir: b.TempDir(), Sync: engine.SyncNever})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Shutdown(b.Context()) }()
	for _, request := range []struct{ name, sent, reply string }{
		{"ping", "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"},
		{"set", "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", "+OK\r\n"},
		{"get", "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "$5\r\nvalue\r\n"},
	} {
		for _, pipeline := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/pipeline=%d", request.name, pipeline), func(b *testing.B) {
				nc, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer nc.Close()
				sent, replies := strings.Repeat(request.sent, pipeline), make([]byte, len(request.reply)*pipeline)
				b.ReportAllocs()
				for n := 0; n < b.N; n += pipeline {
					if _, err := io.WriteString(nc, sent); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(nc, replies); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkTripBesideWorkers measures a request and its reply while workers have steps without end, as while slots are copied.
func BenchmarkTripBesideWorkers(b *testing.B) {
	s, err := Start(Config{Listen: "127.0.0.1:0", Dir: b.TempDir(), Sync: engine.SyncNever})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Shutdown(b.Context()) }()
	nc, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	w := NewWorkers(0)
	defer w.Close()
	var over atomic.Bool
	defer over.Store(true)
	var step func()
	step = func() {
		for began := time.Now(); time.Since(began) < 300*time.Microsecond; {
		}
		if !over.Load() {
			w.Submit(step)
		}
	}
	for range 16 {
		w.Submit(step)
	}
	reply := make([]byte, len("+PONG\r\n"))
	for b.Loop() {
		if _, err := io.WriteString(nc, "*1\r\n$4\r\nPING\r\n"); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(nc, reply); err != nil {
			b.Fatal(err)
		}
	}
}
