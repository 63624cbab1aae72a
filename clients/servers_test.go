package clients

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/engine/slot"
)

// The slots that scenarios move. The first node serves them before and after each scenario.
const (
	movingSlots = "0-31"
	movingEnd   = slot.Slot(32)
)

// place is what a client is told about the servers. Programs get it as JSON.
type place struct {
	Single   string   `json:"single"`  // the address of a node that is in no cluster
	Secured  string   `json:"secured"` // and of one that wants Password
	Password string   `json:"password"`
	Nodes    []string `json:"nodes"`  // of the cluster
	Slots    string   `json:"slots"`  // those that scenarios move, as godwit migrate takes them
	Tags     []string `json:"tags"`   // hash tags, braces included, each of another of these slots
	Still    []string `json:"still"`  // hash tags of slots that stay, at least one on each node
	Godwit   string   `json:"godwit"` // the binary, for godwit migrate
}

var godwit = flag.String("godwit", "", "run the servers with this `BINARY` instead of building one")

// startPlace starts the servers. They end with the test.
func startPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{Password: "of the clients", Slots: movingSlots, Godwit: *godwit}
	if p.Godwit == "" {
		p.Godwit = filepath.Join(dir, "godwit")
		if out, err := exec.Command("go", "build", "-o", p.Godwit, "godwit/cmd/godwit").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	p.Single = startServer(t, p.Godwit, "--dir", filepath.Join(dir, "single"))
	p.Secured = startServer(t, p.Godwit, "--dir", filepath.Join(dir, "secured"), "--requirepass", p.Password)
	for i := range 3 {
		p.Nodes = append(p.Nodes, startServer(t, p.Godwit, "--cluster", "--dir", filepath.Join(dir, fmt.Sprint("node", i)),
			"--peer-secret", "of the nodes"))
	}
	if out, err := exec.Command(p.Godwit, "cluster", "create", "--nodes", strings.Join(p.Nodes, ",")).CombinedOutput(); err != nil {
		t.Fatalf("godwit cluster create: %v\n%s", err, out)
	}
	for i := 0; len(p.Tags) < 8 || len(p.Still) < 8; i++ {
		tag := fmt.Sprintf("{%d}", i)
		if sl := slot.OfKey([]byte(tag)); sl < movingEnd {
			p.Tags = append(p.Tags, tag)
		} else if len(p.Still) < 8 {
			p.Still = append(p.Still, tag)
		}
	}
	return p
}

// move moves the slots from one node of the cluster to another, both by index. With a new map all nodes tell clients where
// the slots are; otherwise clients are redirected until they have asked the right node.
func (p *place) move(from, to int, newMap bool) error {
	args := []string{"migrate", "start", "--node", p.Nodes[from], "--to", p.Nodes[to], "--slots", p.Slots, "--wait"}
	if newMap {
		args = append(args, "--update-map")
	}
	if out, err := exec.Command(p.Godwit, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("godwit %q: %w\n%s", args, err, out)
	}
	return nil
}

var readyLine = regexp.MustCompile(`msg=ready addr=(\S+)`)

// startServer starts a server on a free port and returns its address when it is ready. It ends with the test, and its warnings
// are shown when the test has failed.
func startServer(t *testing.T, binary string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"server", "--listen", "127.0.0.1:0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	ready, over := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(over)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if !strings.Contains(lines.Text(), "level=INFO") {
				mu.Lock()
				fmt.Fprintln(&log, lines.Text())
				mu.Unlock()
			}
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m[1]
			}
		}
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-over
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() && log.Len() > 0 {
			t.Logf("what godwit server %q warned of:\n%s", args, log.String())
		}
	})
	select {
	case addr := <-ready:
		return addr
	case <-over:
		t.Fatal("the server ended")
	case <-time.After(30 * time.Second):
		t.Fatal("the server is not ready")
	}
	return ""
}
