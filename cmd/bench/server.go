package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a process that is measured: a child of this one.
type server struct {
	system string
	dir    string
	port   int
	cmd    *exec.Cmd
	over   chan struct{} // closed when the process has ended
}

const (
	readyTime = 30 * time.Second
	stopTime  = 15 * time.Second
)

// freePort finds a port that nobody listens at. Another process may take it before the server does; the start fails then.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startServer starts a program that serves on the port it is told, and returns when it answers.
func startServer(ctx context.Context, system, dir, program string, args func(port int) []string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	s := &server{system: system, dir: dir, port: port, over: make(chan struct{})}
	s.cmd = exec.Command(program, args(port)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is for us, who end it
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		_ = s.cmd.Wait() // how it ended is in its log
		_ = log.Close()
		close(s.over)
	}()
	for deadline := time.Now().Add(readyTime); ; {
		if nc, err := net.DialTimeout("tcp", s.addr(), time.Second); err == nil {
			return s, nc.Close()
		}
		select {
		case <-s.over:
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("%s ended when it was started: %s", system, text)
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("%s did not answer within %v", system, readyTime)
		}
	}
}

func (s *server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// stop ends the process in good order, or by force when it takes too long.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.over:
	case <-time.After(stopTime):
		_ = s.cmd.Process.Kill()
		<-s.over
	}
}

// memory is what the process holds now, and has held at most, in bytes.
func (s *server) memory() (resident, peak int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64) // the lines that count hold numbers
		switch fields[0] {
		case "VmRSS:":
			resident = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return resident, peak
}

// clockTick is the unit in which Linux tells processor time.
const clockTick = 10 * time.Millisecond

// cpu is the processor time that the process has taken.
func (s *server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64) // the kernel writes numbers
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick
}

// disk is how many bytes the files of the server have.
func (s *server) disk() (total int64) {
	_ = filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error { // files come and go while we look
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// startGodwit starts Godwit with a sync mode.
func startGodwit(ctx context.Context, o *options, dir, sync string, more ...string) (*server, error) {
	return startServer(ctx, "godwit", dir, o.godwit, func(port int) []string {
		args := []string{"server", "--listen", "127.0.0.1:" + strconv.Itoa(port), "--dir", filepath.Join(dir, "data"), "--sync", sync}
		return append(append(args, more...), o.serverArgs...)
	})
}

// startRedis starts redis-server without persistence or with an append-only file that is synced before each reply.
func startRedis(ctx context.Context, o *options, dir string, durable bool) (*server, error) {
	return startServer(ctx, "redis", dir, o.redis, func(port int) []string {
		args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}
		if durable {
			args = append(args[:len(args)-1], "yes", "--appendfsync", "always")
		}
		return args
	})
}
