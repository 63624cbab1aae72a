// Package redistest starts a real redis-server for tests that compare this program with it.
package redistest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// version is what the replies are compared with: that of Debian 12.
const version = "7.0."

// Start starts an empty redis-server 7.0 on a loopback port of its own, which ends with the test, and returns its address when it accepts
// connections. It reports false if there is none on PATH: the test says then what it has not run. Where CI runs, which installs one, the
// test fails instead, since a comparison that nobody makes must not pass there.
func Start(t *testing.T) (addr string, ok bool) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		mayLack(t)
		return "", false
	}
	if text, err := exec.Command(path, "--version").Output(); err != nil || !strings.Contains(string(text), "v="+version) {
		t.Logf("redis-server is not of version %s: %s%v", version, text, err)
		mayLack(t)
		return "", false
	}
	for range 10 { // another process may take the port before the server does
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := free.Addr()
		if err := free.Close(); err != nil {
			t.Fatal(err)
		}
		if try(t, path, addr.(*net.TCPAddr).Port) {
			return addr.String(), true
		}
	}
	t.Fatal("redis-server does not start")
	return "", false
}

func mayLack(t *testing.T) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal("redis-server 7.0 is missing: install Debian's redis-server")
	}
}

// try starts the server on a port and reports whether it got so far as to accept connections. What it logs is read that far; it
// logs too little afterwards to fill the pipe.
func try(t *testing.T, path string, port int) bool {
	t.Helper()
	cmd := exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1",
		"--loglevel", "notice", "--dir", t.TempDir())
	logged, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	for lines := bufio.NewScanner(logged); lines.Scan(); {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			t.Cleanup(stop)
			return true
		}
	}
	stop()
	return false
}
