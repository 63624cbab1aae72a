package clients

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

var tableMode = flag.String("table", "", "run all clients, and check or write the table of the README: `MODE` is check or write")

// python is Debian's: that of a version manager has not the packages of apt-get.
const python = "/usr/bin/python3"

// programs are the clients beside go-redis.
var programs = []program{
	{"redis-py", []string{python, "python/redispy.py"}},
	{"ioredis", []string{"node", "node/ioredis.mjs"}},
	{"node-redis", []string{"node", "node/noderedis.mjs"}},
}

// missing says what a client lacks on this machine.
func (pr program) missing() error {
	if pr.command[0] == python {
		if out, err := exec.Command(python, "-c", "import redis").CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get install python3-redis: %w\n%s", err, out)
		}
		return nil
	}
	if _, err := exec.LookPath(pr.command[0]); err != nil {
		return fmt.Errorf("install Node.js 20 or newer: %w", err)
	}
	if _, err := os.Stat("node/node_modules"); err != nil {
		return fmt.Errorf("run npm ci in clients/node: %w", err)
	}
	return nil
}

// TestClients runs the scenarios with go-redis and, with -table, with all clients, and compares what came of it with the
// README, or writes it there. Each client has servers of its own, so that none suffers from what another did. Where a client is missing the test says so loudly and leaves the table alone; in CI it fails.
func TestClients(t *testing.T) {
	const others = "NOTHING WAS TESTED with %s: %v"
	if *tableMode != "" && *tableMode != "check" && *tableMode != "write" {
		t.Fatalf("-table is check or write, not %q", *tableMode)
	}
	var results []result
	t.Run("go-redis", func(t *testing.T) { results = append(results, runGoRedis(t, startPlace(t))) })
	if *tableMode == "" {
		for _, pr := range programs {
			t.Logf(others, pr.client, "make clients runs it")
		}
		return
	}
	for _, pr := range programs {
		if err := pr.missing(); err != nil {
			if os.Getenv("CI") == "true" {
				t.Errorf(others, pr.client, err)
			} else {
				t.Logf(others, pr.client, err)
			}
			continue
		}
		t.Run(pr.client, func(t *testing.T) { results = append(results, pr.run(t, startPlace(t))) })
	}
	if len(results) <= len(programs) {
		t.Log("the table of the README was neither compared nor written: it wants all clients")
		return
	}
	if err := keepTable(*tableMode, markdown(results)); err != nil {
		t.Error(err)
	}
}
