package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"godwit/engine/cluster"
	"godwit/engine/slot"
)

// Times of the demo's nodes.
const (
	demoReadyTime = 30 * time.Second
	demoStopTime  = 15 * time.Second
)

// demoReady matches the log line by which a server says that it serves, and where.
var demoReady = regexp.MustCompile(`msg=ready addr=(\S+)`)

// demoNode is a server of the demo: a child process, which is ended by its process id alone.
type demoNode struct {
	index      int
	dir        string
	log        string
	secretFile string
	addr       string // chosen by the system at the first start, kept afterwards
	id         cluster.NodeID
	born       slot.Set // what it served at first

	cmd  *exec.Cmd     // nil while it does not run
	over chan struct{} // closed when the process has ended
}

func newDemoNode(index int, dir, secretFile string) *demoNode {
	name := fmt.Sprintf("node-%d", index+1)
	return &demoNode{index: index, dir: filepath.Join(dir, name), log: filepath.Join(dir, name+".log"), secretFile: secretFile, addr: "127.0.0.1:0"}
}

func (n *demoNode) name() string { return fmt.Sprintf("node %d", n.index+1) }

// start starts the process and returns when it serves.
func (n *demoNode) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "server", "--cluster", "--listen", n.addr, "--dir", n.dir, "--peer-secret-file", n.secretFile,
		"--cache", "64mb", "--memtable", "16mb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is for the demo, which ends its nodes
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	over, ready := make(chan struct{}), make(chan string, 1)
	n.cmd, n.over = cmd, over
	go func() {
		defer close(over)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			show(log, "%s\n", lines.Text())
			if m := demoReady.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case ready <- m[1]:
				default:
				}
			}
		}
		_ = cmd.Wait() // how it ended is in its log
		_ = log.Close()
	}()
	select {
	case n.addr = <-ready:
		return nil
	case <-over:
		return fmt.Errorf("%s ended when it was started: see %s", n.name(), n.log)
	case <-time.After(demoReadyTime):
		return fmt.Errorf("%s is not ready after %v: see %s", n.name(), demoReadyTime, n.log)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the process as a crash would, and returns when it is gone.
func (n *demoNode) kill() error {
	if err := n.cmd.Process.Kill(); err != nil {
		return err
	}
	<-n.over
	n.cmd = nil
	return nil
}

// stop ends the process in good order, or by force when it takes too long.
func (n *demoNode) stop() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-n.over:
	case <-time.After(demoStopTime):
		_ = n.cmd.Process.Kill()
		<-n.over
	}
	n.cmd = nil
}
