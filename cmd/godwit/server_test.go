package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"godwit/migration/driver"
)

// TestMain lets the test binary be godwit itself, so that tests run the real program as processes.
func TestMain(m *testing.M) {
	if os.Getenv("GODWIT_TEST_BE_GODWIT") != "" {
		moves := driver.Config{}
		if file := os.Getenv(haltVariable); file != "" {
			moves = haltHere(file)
		}
		if file := os.Getenv(latencyVariable); file != "" {
			moves.Latency = latencyIn(file)
		}
		runProgram(moves)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func godwit(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "GODWIT_TEST_BE_GODWIT=1")
	return cmd
}

// process is a running godwit server.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	mu   sync.Mutex
	log  bytes.Buffer
	over chan error
}

var readyLine = regexp.MustCompile(`msg=ready addr=(\S+)`)

// startServer starts a server on a free port and returns when it is ready.
func startServer(t *testing.T, args ...string) *process {
	t.Helper()
	return startServerWith(t, nil, args...)
}

// startServerWith is startServer with more variables in the server's environment.
func startServerWith(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, over: make(chan error, 1)}
	p.cmd = godwit(append([]string{"server", "--listen", "127.0.0.1:0"}, args...)...)
	p.cmd.Env = append(p.cmd.Env, env...)
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			p.mu.Lock()
			fmt.Fprintln(&p.log, lines.Text())
			p.mu.Unlock()
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m[1]
			}
		}
		p.over <- p.cmd.Wait()
	}()
	select {
	case p.addr = <-ready:
	case err := <-p.over:
		t.Fatalf("the server ended: %v\n%s", err, p.output())
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it prints what it waits for
		err := <-p.over
		t.Fatalf("the server is not ready, and ended with %v\n%s", err, p.output())
	}
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// signal ends the server and checks its exit status.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.over:
		if err != nil {
			p.t.Fatalf("the server ended with %v\n%s", err, p.output())
		}
	case <-time.After(20 * time.Second):
		p.t.Fatalf("the server goes on\n%s", p.output())
	}
}

// ask sends inline commands and reads until it has what is wanted.
func (p *process) ask(commands, want string) {
	p.t.Helper()
	nc, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(nc, commands); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, len(want))
	if n, err := io.ReadFull(nc, b); string(b) != want {
		p.t.Fatalf("got %q (%v), want %q", b[:n], err, want)
	}
}

func TestSignalsEndTheServerInGoodOrder(t *testing.T) {
	dir := t.TempDir()
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startServer(t, "--dir", dir, "--sync", "never")
		if i > 0 {
			p.ask("GET a\r\n", "$1\r\n0\r\n")
		}
		p.ask(fmt.Sprintf("SET a %d\r\n", i), "+OK\r\n")
		p.signal(s)
		if !strings.Contains(p.output(), "stopped: everything is synced") {
			t.Errorf("the log does not say so:\n%s", p.output())
		}
	}
}

func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, "--dir", dir)
	p.ask("SET a kept\r\n", "+OK\r\n")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.over; err == nil {
		t.Error("a killed server ended without an error")
	}
	startServer(t, "--dir", dir).ask("GET a\r\n", "$4\r\nkept\r\n")
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, "--dir", dir)
	out, err := godwit("server", "--listen", "127.0.0.1:0", "--dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another") || !strings.Contains(string(out), dir) {
		t.Errorf("a second process said %q (%v), want that %s is in use", out, err, dir)
	}
	p.ask("PING\r\n", "+PONG\r\n")
}

func TestServerReadsAConfigFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "godwit.conf")
	text := fmt.Sprintf("dir %s\nrequirepass sesame\ncluster yes\n", filepath.Join(dir, "data"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, "--config", path)
	p.ask("PING\r\nAUTH sesame\r\nPING\r\n", "-NOAUTH Authentication required.\r\n+OK\r\n+PONG\r\n")
	if !strings.Contains(p.output(), "cluster mode without a peer secret") {
		t.Errorf("no warning about the peer secret:\n%s", p.output())
	}
	if err := os.WriteFile(path, []byte("listn 127.0.0.1:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := godwit("server", "--config", path).CombinedOutput()
	if want := path + `:1: the key "listn" is unknown: did you mean "listen"?`; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("got %q (%v), want %q", out, err, want)
	}
}

func TestVersion(t *testing.T) {
	out, err := godwit("--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "godwit "+release) {
		t.Errorf("got %q and %v", out, err)
	}
}

// TestRedisTools runs the ordinary tools against a server that stands alone.
func TestRedisTools(t *testing.T) {
	cli, benchmark := redisTool(t, "redis-cli"), redisTool(t, "redis-benchmark")
	p := startServer(t, "--dir", t.TempDir())
	_, port, _ := net.SplitHostPort(p.addr)
	for _, c := range [][]string{{"set", "a", "b", "OK"}, {"get", "a", "b"}, {"-3", "get", "a", "b"}, {"dbsize", "1"}} {
		args := append([]string{"-p", port}, c[:len(c)-1]...)
		out, err := exec.Command(cli, args...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != c[len(c)-1] {
			t.Errorf("redis-cli %q: got %q and %v", args, out, err)
		}
	}
	out, err := exec.Command(benchmark, "-p", port, "-t", "set,get", "-n", "20000", "-P", "16", "-q").CombinedOutput()
	if err != nil || strings.Count(string(out), "requests per second") < 2 || strings.Contains(string(out), "rror") {
		t.Errorf("redis-benchmark: %v\n%s", err, out)
	}
}
