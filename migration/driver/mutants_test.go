//go:build mutants

package driver

import (
	"os"
	"os/exec"
	"testing"

	"godwit/engine/mutant"
)

// TestMain switches a mutant on in a child process of TestMutantsFailTests.
func TestMain(m *testing.M) {
	mutant.Set(mutant.Name(os.Getenv("GODWIT_TEST_MUTANT")))
	os.Exit(m.Run())
}

// Each mutant of this package that no exploration looks for makes the named test fail.
func TestMutantsFailTests(t *testing.T) {
	if os.Getenv("GODWIT_TEST_MUTANT") != "" {
		return
	}
	for name, test := range map[mutant.Name]string{
		mutant.QueueForgotten:  "TestQueueAfterRestart",
		mutant.ThrottleIgnored: "TestThrottle",
		mutant.BusyApplied:     "TestBusyTarget",
		mutant.NeverConverges:  "TestKeepOnOverload",
		mutant.PauseUnbounded:  "TestPauseBudget",
		mutant.ReadBackEarlier: "TestReadBackOfAnEarlierBase",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
		cmd.Env = append(os.Environ(), "GODWIT_TEST_MUTANT="+string(name))
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s passes with the mutant %s:\n%s", test, name, out)
		}
	}
}
